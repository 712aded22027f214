"""What was learned refuses nothing for good: an agent that failed is tried again, and can show that it was mended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG
from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.errors import PlanRejected
from kapelle.execution import ExecutionLimits
from kapelle.failures.sorting import FailureKind
from kapelle.ledger import BLAMELESS, Outcome, Run

DAY_S = 86_400.0
NOW = 1_800_000_000.0
KINDS: tuple[FailureKind | None, ...] = (None, *get_args(FailureKind))


class Mended:
    """Failed in the past, by what the ledger says; works now. The task `grow` becomes another one."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        self.asked.append(task.task_id)
        if task.task_id == "grow":
            return AgentResult(output=None, expansion=TaskDAG([Task(task_id="x", task_type="work")]))
        return AgentResult(output="done")


def failures(count: int, kind: FailureKind | None = "bug", *, agent: str = "one", **fields: Any) -> list[Outcome]:
    fields = {"at": NOW - 60.0, "seconds": 2.0, "task_type": "work", **fields}
    return [
        Outcome(run_id="past", task_id=f"t{n}", agent=agent, success=False, failure=kind, error="no", **fields)
        for n in range(count)
    ]


def ledger_with(*outcomes: Outcome) -> SqliteLedger:
    ledger = SqliteLedger(clock=lambda: NOW)
    for outcome in outcomes:
        ledger.record(outcome)
    return ledger


def engine_of(ledger: SqliteLedger, *cards: AgentCapability, runner: Any = None, **options: Any) -> Engine:
    cards = cards or (card("one"),)
    runner = runner or Mended()
    registry = AgentRegistry(cards, runners={one.agent_id: runner for one in cards})
    options = {"limits": ExecutionLimits(max_fallbacks=0), **options}
    return Engine(registry, model="none", ledger=ledger, environ={}, clock=lambda: NOW, **options)


def card(name: str, **fields: Any) -> AgentCapability:
    return AgentCapability(agent_id=name, **{"task_types": ("work", "rest"), "cost_usd": 0.001, **fields})


def plan_of(*tasks: Task) -> Plan:
    return Plan(request="x", graph=TaskDAG(tasks or [Task(task_id="a", task_type="work")]), planner="me")


def file_of(folder: Path, agent: str | None) -> Path:
    path = folder / "plan.yaml"
    path.write_text(
        "tasks:\n  - id: a\n    type: work\n    description: Do it\n" + (f"    agent: {agent}\n" if agent else "")
    )
    return path


def by_plan(ledger: SqliteLedger, folder: Path) -> Run:
    return asyncio.run(engine_of(ledger).run(plan_of()))


def by_file(ledger: SqliteLedger, folder: Path) -> Run:
    return asyncio.run(engine_of(ledger).run(file_of(folder, None)))


def by_named_agent(ledger: SqliteLedger, folder: Path) -> Run:
    return asyncio.run(engine_of(ledger).run(file_of(folder, "one")))


def by_quality(ledger: SqliteLedger, folder: Path) -> Run:
    return asyncio.run(engine_of(ledger).run(plan_of(), min_quality=0.8))


def by_deadline(ledger: SqliteLedger, folder: Path) -> Run:
    return asyncio.run(engine_of(ledger).run(plan_of(), deadline_s=1.5))


def by_budget(ledger: SqliteLedger, folder: Path) -> Run:
    return asyncio.run(engine_of(ledger).run(plan_of(), budget_usd=0.05))


def by_exploring(ledger: SqliteLedger, folder: Path) -> Run:
    return asyncio.run(engine_of(ledger, explore=1.0).run(plan_of()))


def by_growth(ledger: SqliteLedger, folder: Path) -> Run:
    return asyncio.run(engine_of(ledger).run(plan_of(Task(task_id="grow", task_type="rest"))))


WAYS = (by_plan, by_file, by_named_agent, by_quality, by_deadline, by_budget, by_exploring, by_growth)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_an_only_agent_that_failed_is_tried_again(
    way: Callable[[SqliteLedger, Path], Run], kind: FailureKind | None, tmp_path: Path
) -> None:
    run = way(ledger_with(*failures(60, kind)), tmp_path)
    assert run.state == "done"


def test_an_only_agent_that_fails_is_a_warning_with_its_figure_and_the_way_out() -> None:
    run = asyncio.run(engine_of(ledger_with(*failures(20))).run(plan_of()))
    [issue] = run.issues
    assert issue["severity"] == "warning"
    assert "8%" in issue["message"]
    assert "20 outcomes" in issue["message"]
    assert "kapelle forget one --type work" in issue["way_out"]


def test_a_quality_that_measured_answers_do_not_reach_is_refused_with_figure_source_and_way_out() -> None:
    wrong = [Outcome(run_id="p", task_id=f"t{n}", task_type="work", agent="one", success=False, quality=0.0, at=NOW)
             for n in range(20)]  # fmt: skip
    with pytest.raises(PlanRejected, match=r"of 20 outcomes.*learned from 20 outcomes.*kapelle forget one --type work"):
        asyncio.run(engine_of(ledger_with(*wrong)).run(plan_of(), min_quality=0.8))
    later = engine_of(ledger_with(*wrong))
    later.profiler._clock = lambda: NOW + 365 * DAY_S
    assert asyncio.run(later.run(plan_of(), min_quality=0.8)).state == "done"  # it is not for good


def test_another_agent_does_what_one_fails_at_unless_the_user_has_said_who(tmp_path: Path) -> None:
    cards = (card("one"), card("two", cost_usd=0.002))
    ledger = ledger_with(*failures(30))
    assert asyncio.run(engine_of(ledger, *cards).run(plan_of())).tasks["a"].agent == "two"
    assert asyncio.run(engine_of(ledger, *cards).run(file_of(tmp_path, None))).tasks["a"].agent == "two"
    ordered = Task(task_id="a", task_type="work", metadata={"agent": "one"})
    run = asyncio.run(engine_of(ledger, *cards).run(plan_of(ordered)))
    assert run.tasks["a"].agent == "one"
    assert "Assign it to two; or, where what failed is mended: kapelle forget one" in run.issues[0]["way_out"]


@pytest.mark.parametrize("count", [2, 5, 20])
def test_exploration_reaches_an_agent_that_failed(count: int) -> None:
    cards = (card("one", cost_usd=0.0), card("two"))
    agents = set()
    for _ in range(60):
        engine = engine_of(ledger_with(*failures(count)), *cards, explore=1.0)
        run = asyncio.run(engine.run(plan_of(*(Task(task_id=f"t{n}", task_type="work") for n in range(10)))))
        agents |= {task.agent for task in run.tasks.values()}
        if "one" in agents:
            break
    assert agents == {"one", "two"}


@pytest.mark.parametrize("kind", sorted(BLAMELESS))
def test_what_is_no_fault_of_the_agent_does_not_count_against_it(kind: FailureKind) -> None:
    engine = engine_of(ledger_with(*failures(50, kind)))
    assert engine.profiler.estimate(card("one"), "work").success_rate == 0.85


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in BLAMELESS])
def test_what_is_its_fault_does(kind: FailureKind | None) -> None:
    estimate = engine_of(ledger_with(*failures(50, kind))).profiler.estimate(card("one"), "work")
    assert estimate.success_rate < 0.05
    assert estimate.completion < 0.05
    assert estimate.correctness == pytest.approx(0.85)


def test_what_failed_last_month_is_worth_another_try() -> None:
    fresh = engine_of(ledger_with(*failures(20))).profiler.estimate(card("one"), "work")
    old = engine_of(ledger_with(*failures(20, at=NOW - 30 * DAY_S))).profiler.estimate(card("one"), "work")
    older = engine_of(ledger_with(*failures(20, at=NOW - 90 * DAY_S))).profiler.estimate(card("one"), "work")
    assert fresh.success_rate < 0.1
    assert 0.5 < old.success_rate < older.success_rate <= 0.85
    assert older.success_rate > 0.84


def test_an_agent_that_works_again_is_believed_soon() -> None:
    runner = Mended()
    engine = engine_of(ledger_with(*failures(60)), runner=runner)
    asyncio.run(engine.run(plan_of(*(Task(task_id=f"t{n}", task_type="work") for n in range(20)))))
    assert engine.profiler.estimate(card("one"), "work").completion > 0.8


@pytest.mark.parametrize("kind", ["lookup", "work"])
def test_a_folder_that_does_not_know_stays_the_folder_that_is_asked(kind: str) -> None:
    engine = engine_of(ledger_with(*failures(20, "cannot_answer")))
    assert asyncio.run(engine.run(plan_of())).issues == ()


# Code that changed


@pytest.mark.parametrize(("then", "now", "counts"), [("1", "2", False), ("1", "1", True), (None, "2", True)])
def test_another_version_of_an_agent_starts_anew(then: str | None, now: str, counts: bool) -> None:
    engine = engine_of(ledger_with(*failures(20, agent_version=then)), card("one", version=now))
    estimate = engine.profiler.estimate(card("one", version=now), "work")
    assert (estimate.success_rate < 0.1) is counts
    assert estimate.samples == 20  # what it takes is learned all the same


def test_a_run_notes_the_version_of_the_agent_that_did_it() -> None:
    ledger = ledger_with()
    asyncio.run(engine_of(ledger, card("one", version="7")).run(plan_of()))
    assert [outcome.agent_version for outcome in ledger.outcomes()] == ["7"]


# Forgetting


@pytest.mark.parametrize("task_type", [None, "work"])
def test_what_is_forgotten_counts_no_more_and_nothing_is_deleted(task_type: str | None) -> None:
    ledger = ledger_with(*failures(20), *failures(3, agent="two"), *failures(4, task_type="rest"))
    engine = engine_of(ledger, card("one"), card("two"))
    gone = 24 if task_type is None else 20
    assert engine.forget("one", task_type, dry_run=True) == gone
    assert engine.profiler.estimate(card("one"), "work").samples == 20
    assert engine.forget("one", task_type) == gone
    for again in (engine, engine_of(ledger, card("one"), card("two"))):
        assert again.profiler.get_profile("one", "work") is None
        assert again.profiler.estimate(card("two"), "work").samples == 3
        assert (again.profiler.get_profile("one", "rest") is None) is (task_type is None)
    assert len(ledger._read("SELECT * FROM outcomes", ())) == 28
    assert asyncio.run(engine.run(plan_of())).issues == ()


def test_only_what_was_before_a_time_is_forgotten() -> None:
    engine = engine_of(ledger_with(*failures(5, at=NOW - 10 * DAY_S), *failures(2)))
    assert engine.forget("one", before=NOW - DAY_S) == 5
    assert engine.profiler.estimate(card("one"), "work").samples == 2
