"""A reflector changes the rest of a plan while it runs; what has begun stays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kapelle import Engine, GraphPatch, Plan, Run, SqliteLedger, Task, TaskDAG, agent
from kapelle.errors import ModelReplyInvalid
from kapelle.execution import Reflection
from kapelle.ledger import Usage


def work(task_id: str, *after: str, **fields: Any) -> Task:
    return Task(task_id=task_id, task_type="work", depends_on=after, description=f"do {task_id}", **fields)


class Thinker:
    """Says what is scripted after a task."""

    def __init__(self, **thoughts: Any) -> None:
        self.thoughts = thoughts
        self.seen: list[tuple[str, Any]] = []

    async def reflect(self, task: Task, output: Any, graph: TaskDAG) -> Reflection | None:
        self.seen.append((task.task_id, output))
        found = self.thoughts.get(task.task_id)
        if isinstance(found, BaseException):
            raise found
        return None if found is None else Reflection(patch=found, reason="it seems better", cost_usd=0.001)


def go(thinker: Thinker, *tasks: Task, **terms: Any) -> Run:
    @agent(task_types=["work"], cost_usd=0.01)
    async def worker(task: Task) -> str:
        await asyncio.sleep(0.02 if task.task_id == "slow" else 0)
        return f"{task.task_id} done"

    engine = Engine([worker], model="none", ledger=SqliteLedger(), reflector=thinker)
    run = asyncio.run(engine.run(Plan(request="test", graph=TaskDAG(tasks), planner="test"), **terms))
    assert engine.ledger.run("last") == run
    return run


def test_what_a_task_gave_may_change_the_rest_of_the_plan() -> None:
    patch = GraphPatch(add=(work("new", "a"),), remove=("late",))
    thinker = Thinker(a=patch)
    run = go(thinker, work("a"), work("slow"), work("late", "slow"), budget_usd=1.0)
    assert (run.state, sorted(run.tasks)) == ("done", ["a", "new", "slow"])
    assert (run.graph_version, run.planning_cost_usd) == (2, 0.001)
    assert sorted(name for name, _ in thinker.seen) == ["a", "new", "slow"]
    assert "The graph changed 1 time while it ran" in run.explain()


def test_a_reflection_that_fails_is_charged_what_its_error_tells() -> None:
    usage = Usage(input_tokens=900, output_tokens=100, calls=1)
    run = go(Thinker(a=ModelReplyInvalid("no", cost_usd=0.3, usage=usage)), work("a"), budget_usd=1.0)
    assert (run.state, run.planning_cost_usd, run.usage) == ("done", 0.3, usage)


@pytest.mark.parametrize(("terms", "most"), [({"max_tokens": 25_000}, 3), ({"budget_usd": 0.65}, 3), ({}, 5)])
def test_nobody_looks_at_outputs_once_what_that_takes_is_spent(terms: dict[str, Any], most: int) -> None:
    usage = Usage(input_tokens=9_000, output_tokens=1_000, calls=1)
    looks = ModelReplyInvalid("no", cost_usd=0.3, usage=usage)
    thinker = Thinker(**{f"t{n}": looks for n in range(5)})
    run = go(thinker, *(work(f"t{n}", *([f"t{n - 1}"] if n else [])) for n in range(5)), **terms)
    assert len(thinker.seen) <= most
    assert run.usage.calls == len(thinker.seen)


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        (GraphPatch(remove=("slow",)), "refused"),
        (GraphPatch(add=(Task(task_id="x", task_type="fly"),)), "refused"),
        (GraphPatch(add=(work("x", "y"), work("y", "x"))), "refused"),
        (RuntimeError("no idea"), "Reflecting failed: RuntimeError: no idea"),
    ],
)
def test_a_change_that_cannot_be_made_changes_nothing_and_is_told(patch: Any, reason: str) -> None:
    run = go(Thinker(a=patch), work("a"), work("slow"), work("b", "slow"))
    assert (run.state, sorted(run.tasks), run.graph_version) == ("done", ["a", "b", "slow"], 1)
    told = [event.data["reason"] for event in run.events if event.kind == "planning_spent"]
    assert any(reason in one for one in told)
