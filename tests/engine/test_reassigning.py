"""A look at the rest of a plan that ends early has overlooked nothing."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG
from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.engine import reassigning
from kapelle.engine.reassigning import RestReassigner
from kapelle.execution import Rest
from kapelle.validation import ApprovedPlan


class Surprising:
    """An agent that costs what nobody said, and fails as often as it likes."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._cost, self._spread = chance.choice([0.01, 0.1, 0.3]), chance.choice([0.0, 0.3, 1.0])
        self._failures = chance.choice([0.0, 0.0, 0.1, 0.9])

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        if self._chance.random() < self._failures:
            raise RuntimeError("not today")
        return AgentResult(output="done", cost_usd=self._cost * self._chance.lognormvariate(0.0, self._spread))


def drawn(chance: random.Random) -> tuple[AgentRegistry, TaskDAG]:
    kinds, names = ["write", "code", "search"], ["a", "b", "c", "d"][: chance.randint(2, 4)]
    cards = [
        AgentCapability(
            agent_id=name,
            task_types=tuple(kinds if name == "a" else chance.sample(kinds, 2)),
            cost_usd=chance.choice([0.005, 0.02, 0.1]),
            success_rate=chance.choice([0.8, 0.9, 0.95]),
            max_concurrency=2,
        )
        for name in names
    ]
    tasks = [
        Task(task_id=f"t{n}", task_type=chance.choice(kinds), depends_on=(f"t{n - 4}",) if n > 3 else ())
        for n in range(24)
    ]
    return AgentRegistry(cards, runners={name: Surprising(chance) for name in names}), TaskDAG(tasks)


def test_a_look_that_ends_early_would_have_moved_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    can_gain, reassign = reassigning._can_gain, RestReassigner.reassign
    said: list[bool] = []
    looks: list[tuple[bool, bool]] = []

    def look_on(*given: Any) -> bool:
        said.append(can_gain(*given))
        return True

    async def reassigned(self: RestReassigner, current: ApprovedPlan, rest: Rest) -> ApprovedPlan | None:
        said.clear()
        plan = await reassign(self, current, rest)
        looks.extend((one, plan is not None) for one in said)
        return plan

    monkeypatch.setattr(reassigning, "_can_gain", look_on)
    monkeypatch.setattr(RestReassigner, "reassign", reassigned)
    for seed in range(16):
        chance = random.Random(seed)
        registry, dag = drawn(chance)
        with Engine(agents=registry, model="none", ledger=SqliteLedger(":memory:"), environ={}) as engine:
            engine.run_sync(
                Plan(request="Work", graph=dag, planner="test"), budget_usd=chance.choice([None, 2.5, 100.0])
            )
    assert (False, True) not in looks
    assert {(True, True), (False, False)} <= set(looks)
