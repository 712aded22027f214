"""What `kapelle savings` promises for a log is what `kapelle learn` switches on, and what a run then does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kapelle import Engine, Plan, SqliteLedger, TaskDAG, agent
from kapelle.estimates import LoggedTask
from kapelle.evaluation import RoutingPolicy, log_of_tasks, savings_report
from kapelle.evaluation.curve import OperatingPoint
from kapelle.graph import Task
from kapelle.learning import learn
from kapelle.ledger import Outcome, Run
from kapelle.routing import RoutingRule
from kapelle.strategies import Strategy
from tests.estimates.test_predictor import world

pytestmark = pytest.mark.slow


@agent(task_types=["work"], cost_usd=0.01)
async def weak(task: Task) -> str:
    return "done"


@agent(task_types=["work"], cost_usd=1.0)
async def strong(task: Task) -> str:
    return "done"


def engine(learned: Path | None, **options: Any) -> Engine:
    return Engine(agents=[weak, strong], model="none", ledger=SqliteLedger(":memory:"), learned=learned, **options)


def run(engine: Engine, tasks: Sequence[LoggedTask], **limits: Any) -> Run:
    graph = TaskDAG(Task(task_id=one.task_id, task_type=one.task_type, description=one.text) for one in tasks)
    return asyncio.run(engine.run(Plan(request="all of it", graph=graph, planner="test"), **limits))


class Watched:
    """kapelle's own policy, which keeps what it learned from and what it chose."""

    seen: list[tuple[Sequence[LoggedTask], dict[str, str]]]

    def __init__(self, tasks: Sequence[LoggedTask], seed: int) -> None:
        self._policy = RoutingPolicy.fit(tasks, seed=seed)
        self.chosen: dict[str, str] = {}
        Watched.seen.append((tasks, self.chosen))

    def point(self, quality_share: float) -> OperatingPoint:
        return self._policy.point(quality_share)

    def choose(self, tasks: Sequence[LoggedTask], point: OperatingPoint) -> list[Strategy]:
        found = self._policy.choose(tasks, point)
        if point == self._policy.point(0.97):
            self.chosen.update({task.task_id: str(one) for task, one in zip(tasks, found, strict=True)})
        return found


def test_a_run_chooses_task_by_task_as_the_report_judged(tmp_path: Path) -> None:
    tasks = [replace(task, task_id=f"t{number}") for number, task in enumerate(world(200, seed=3))]
    Watched.seen = []
    savings_report(log_of_tasks(tasks, source="a log"), shares=(0.97,), fit_policy=Watched, resamples=100)
    assert len(Watched.seen) == 2
    for fold, (train, promised) in enumerate(Watched.seen):
        learn(train, tmp_path / str(fold), keep=0.97)
        judged = [task for task in tasks if task.task_id in promised]
        assert len(judged) + len(train) == len(tasks)
        done = run(engine(tmp_path / str(fold)), judged)
        assert done.assignments == promised
        assert set(promised.values()) == {"weak", "strong"}
        assert "as the learned policy has it" in done.explanations[judged[0].task_id]


def test_without_what_was_learned_a_run_chooses_otherwise(tmp_path: Path) -> None:
    tasks = [replace(task, task_id=f"t{number}") for number, task in enumerate(world(200, seed=3))]
    learn(tasks, tmp_path, keep=0.97)
    assert run(engine(tmp_path / "nothing"), tasks[:40]).assignments != run(engine(tmp_path), tasks[:40]).assignments


def test_a_limit_and_an_order_stand_above_the_policy(tmp_path: Path) -> None:
    tasks = [replace(task, task_id=f"t{number}") for number, task in enumerate(world(200, seed=3))]
    learn(tasks, tmp_path, keep=1.0)
    few = tasks[:20]
    free = run(engine(tmp_path), few)
    assert "strong" in free.assignments.values()
    held = run(engine(tmp_path), few, budget_usd=0.5)
    assert set(held.assignments.values()) == {"weak"}
    orders = [RoutingRule(rule_id="mine", task_types=("work",), agent_id="weak", reason="I say so")]
    assert set(run(engine(tmp_path, rules=orders), few).assignments.values()) == {"weak"}


def test_a_log_of_one_agent_a_task_is_obeyed_within_what_it_tells(tmp_path: Path) -> None:
    """Within one type the weak agent is as good as the strong one, within the other it is not."""
    rows = []
    for number in range(400):
        kind, name = ("easy", "hard")[number % 2], ("weak", "strong")[number // 2 % 2]
        quality = 0.1 if (kind, name) == ("hard", "weak") else 1.0
        rows.append(
            Outcome(
                run_id=f"r{number}",
                task_id="t",
                task_type=kind,
                agent=name,
                success=True,
                quality=quality,
                cost_usd={"weak": 0.01, "strong": 1.0}[name],
                features={"text": f"{kind} task {number}"},
            )
        )
    report = learn(rows, tmp_path, keep=1.0)
    assert report.policy.startswith("Runs choose as")

    @agent(agent_id="weak", task_types=["easy", "hard", "other"], cost_usd=0.01)
    async def one(task: Task) -> str:
        return "done"

    @agent(agent_id="strong", task_types=["easy", "hard", "other"], cost_usd=1.0)
    async def another(task: Task) -> str:
        return "done"

    played = Engine(agents=[one, another], model="none", ledger=SqliteLedger(":memory:"), learned=tmp_path)
    kinds = ("easy", "hard", "other")
    done = run(played, [LoggedTask(task_id=kind, text=f"{kind} task", task_type=kind) for kind in kinds])
    assert {kind: done.assignments[kind] for kind in ("easy", "hard")} == {"easy": "weak", "hard": "strong"}
    assert "learned policy" not in done.explanations["other"]


@pytest.mark.parametrize("content", [b"", b"half a file"])
def test_a_policy_that_cannot_be_read_fails_no_run(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "policy.npz").write_bytes(content)
    task = LoggedTask(task_id="t", text="work", task_type="work")
    assert run(engine(tmp_path), [task]).state == "done"


def test_an_agent_that_gives_no_answers_by_now_is_no_choice_of_the_policys(tmp_path: Path) -> None:
    tasks = [replace(task, task_id=f"t{number}") for number, task in enumerate(world(200, seed=3))]
    learn(tasks, tmp_path, keep=0.97)
    ledger = SqliteLedger(":memory:")
    for number in range(60):
        ledger.record(
            Outcome(run_id=f"r{number}", task_id="t", task_type="work", agent="weak", success=False, failure="bug")
        )
    now = Engine(agents=[weak, strong], model="none", ledger=ledger, learned=tmp_path)
    before, after = run(engine(tmp_path), tasks[:20]), run(now, tasks[:20])
    assert all("learned policy" in why for why in before.explanations.values())
    assert not any("learned policy" in why for why in after.explanations.values())
    shares = [list(one.assignments.values()).count("weak") for one in (before, after)]
    assert shares[1] < shares[0]
