"""That an agent answers is learned from every outcome; that it is right only where something measured it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG
from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.errors import AgentFailed, InvalidInput, NotFound
from kapelle.estimates import CostProfiler, Estimate
from kapelle.execution import ExecutionLimits
from kapelle.ledger import Event, Outcome
from kapelle.routing import RoutingPlan
from kapelle.strategies import Verdict, Vote

CARD = AgentCapability(agent_id="one", task_types=("work",), cost_usd=0.0, seconds=1.0)


class Says:
    """Always gives the same answer."""

    def __init__(self, output: Any = "6. 16. 200, 801", quality: float | None = None) -> None:
        self.output, self.quality = output, quality

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        if isinstance(self.output, Exception):
            raise self.output
        return AgentResult(output=self.output, quality=self.quality)


def engine_of(ledger: SqliteLedger, runner: Any = None, **options: Any) -> Engine:
    registry = AgentRegistry([CARD], runners={"one": runner or Says()})
    options = {"limits": ExecutionLimits(max_fallbacks=0), **options}
    return Engine(registry, model="none", ledger=ledger, environ={}, **options)


def plan_of(*names: str, after: dict[str, tuple[str, ...]] | None = None) -> Plan:
    tasks = (Task(task_id=name, task_type="work", depends_on=(after or {}).get(name, ())) for name in names or ("a",))
    return Plan(request="x", graph=TaskDAG(tasks), planner="me")


def run_often(engine: Engine, times: int) -> Estimate:
    for _ in range(times):
        asyncio.run(engine.run(plan_of()))
    return engine.profiler.estimate(CARD, "work")


def outcome(**fields: Any) -> Outcome:
    return Outcome(**{"run_id": "r", "task_id": "t", "task_type": "work", "agent": "one", "success": True, **fields})


@pytest.mark.slow
def test_answers_that_nothing_checks_raise_no_agent_above_what_it_declares() -> None:
    ledger = SqliteLedger()
    cold, learned = run_often(engine_of(ledger), 0), run_often(engine_of(ledger), 40)
    again = engine_of(ledger).profiler.estimate(CARD, "work")
    for found in (learned, again):
        assert (found.success_rate, found.success_lower, found.success_sd) == (
            cold.success_rate,
            cold.success_lower,
            cold.success_sd,
        )
        assert (found.samples, found.judged, found.basis, found.completion) == (40, 0, "declared", 1.0)
        assert "85% declared, not checked yet; completes 100%, learned from 40 outcomes" in found.explain()
        assert again.success_rate == 0.85


MEASURED: dict[str, tuple[Callable[[SqliteLedger], Engine], bool]] = {
    "a validator accepts": (lambda ledger: engine_of(ledger, validators={"work": lambda output: True}), True),
    "a validator refuses": (lambda ledger: engine_of(ledger, validators={"work": lambda output: False}), False),
    "the agent measured it": (lambda ledger: engine_of(ledger, Says(quality=1.0)), True),
    "the agent measured it as bad": (lambda ledger: engine_of(ledger, Says(quality=0.0)), False),
}


@pytest.mark.parametrize("how", MEASURED)
def test_what_something_measured_is_learned(how: str) -> None:
    build, is_good = MEASURED[how]
    found = run_often(build(SqliteLedger()), 10)
    assert (found.success_rate > 0.9) if is_good else (found.success_rate < 0.3)
    assert (found.judged, found.basis) == (10, "measured")


def test_agreement_measures_who_voted() -> None:
    cards = [replace(CARD, agent_id=name) for name in ("a", "b", "c")]
    answers = {"a": Says("Paris"), "b": Says("Paris"), "c": Says("Rome")}
    engine = Engine(AgentRegistry(cards, runners=answers), model="none", ledger=SqliteLedger(), environ={})

    class Votes:
        async def route_tasks(self, dag: TaskDAG, **_: Any) -> RoutingPlan:
            return RoutingPlan(assignments={"t": "a"}, strategies={"t": Vote(agents=("a", "b", "c"))})

    engine.router = Votes()  # type: ignore[assignment]  # it stands in for the whole of routing
    for _ in range(10):
        asyncio.run(engine.run(plan_of("t")))
    right, wrong = (engine.profiler.estimate(card, "work") for card in (cards[0], cards[2]))
    assert right.success_rate > 0.9
    assert wrong.success_rate < 0.3


def test_failures_lower_what_is_expected_and_are_told_apart() -> None:
    found = run_often(engine_of(SqliteLedger(), Says(AgentFailed("no"))), 6)
    assert found.success_rate < 0.3
    assert found.correctness == pytest.approx(0.85)
    assert "85% declared, not checked yet; completes 25%, learned from 6 outcomes" in found.explain()


@settings(deadline=None)
@given(st.lists(st.sampled_from(["answer", "fail", "cannot_answer"]), max_size=60), st.floats(0, 1))
def test_no_sequence_of_unmeasured_outcomes_raises_an_agent_above_what_it_declares(
    kinds: list[str], rate: float
) -> None:
    card, profiler = replace(CARD, success_rate=rate), CostProfiler()
    for kind in kinds:
        failure = None if kind == "answer" else "bug" if kind == "fail" else "cannot_answer"
        profiler.record_outcome(outcome(success=kind == "answer", failure=failure))
    found = profiler.estimate(card, "work")
    assert found.success_rate <= rate + 1e-12
    assert found.success_lower <= CostProfiler().estimate(card, "work").success_lower + 1e-9
    assert profiler.estimate_success_rate("one", "work") <= 0.85 + 1e-12
    if "fail" not in kinds:
        assert found.success_rate == pytest.approx(rate)


def test_that_others_are_right_makes_nobody_so_whom_nobody_checks() -> None:
    profiler = CostProfiler()
    for number in range(200):
        profiler.record_outcome(outcome(agent=f"good{number % 4}", quality=1.0))
        profiler.record_outcome(outcome())
    assert profiler.estimate(CARD, "work").success_rate <= 0.85


def test_a_run_and_a_plan_say_which_of_the_two_a_figure_is() -> None:
    engine = engine_of(SqliteLedger())
    run_often(engine, 3)
    run = asyncio.run(engine.run(plan_of()))
    known = "85% success (85% declared, not checked yet; completes 100%, learned from 3 outcomes)"
    assert known in run.explain()
    assert run.estimates["a"]["basis"] == "declared"
    assert run.estimates["a"]["judged"] == 0


# Ratings: a person's word, also days later


@pytest.mark.parametrize(("value", "share"), [(True, 1.0), (1, 1.0), (0.25, 0.25), (False, 0.0)])
def test_a_rating_is_measured_quality_of_who_answered(value: float, share: float) -> None:
    ledger = SqliteLedger()
    engine = engine_of(ledger)
    run = asyncio.run(engine.run(plan_of()))
    events: tuple[Event, ...] = ledger.events(run.run_id)
    assert engine.rate(run.run_id, "a", value, by="me") == ["a"]
    [found] = ledger.outcomes()
    assert (found.quality, found.measured_by, found.features["by"]) == (share, "person", "me")
    for one in (engine, engine_of(ledger)):
        estimate = one.profiler.estimate(CARD, "work")
        assert (estimate.judged, estimate.basis) == (1, "measured")
        assert estimate.success_rate == pytest.approx(0.85 + (share - 0.85) * 0.12 / 0.28, abs=1e-4)
    assert ledger.events(run.run_id) == events


def test_the_last_rating_counts() -> None:
    engine = engine_of(SqliteLedger())
    asyncio.run(engine.run(plan_of()))
    engine.rate("last", value=0.0)
    engine.rate("last", value=1.0)
    assert [found.quality for found in engine.ledger.outcomes()] == [1.0]


def test_a_run_is_rated_by_its_last_tasks() -> None:
    engine = engine_of(SqliteLedger())
    asyncio.run(engine.run(plan_of("a", "b", "c", after={"b": ("a",), "c": ("a",)})))
    assert engine.rate("last", value=0.5) == ["b", "c"]
    assert {found.task_id: found.quality for found in engine.ledger.outcomes()} == {"a": None, "b": 0.5, "c": 0.5}


def test_what_was_rated_and_then_forgotten_counts_no_more() -> None:
    engine = engine_of(SqliteLedger())
    asyncio.run(engine.run(plan_of()))
    engine.rate("last", value=0.0)
    engine.forget("one")
    asyncio.run(engine.run(plan_of()))
    assert [found.quality for found in engine.ledger.outcomes()] == [None]
    assert engine.profiler.estimate(CARD, "work").success_rate == 0.85


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "good", None, [1]])
def test_what_is_no_rating_is_refused_and_nothing_is_rated(value: Any) -> None:
    engine = engine_of(SqliteLedger())
    asyncio.run(engine.run(plan_of()))
    with pytest.raises(InvalidInput, match=r"is no rating. Give a number from 0 \(bad\) to 1 \(good\)"):
        engine.rate("last", value=value)
    assert [found.quality for found in engine.ledger.outcomes()] == [None]


def test_a_rating_of_what_has_no_answer_says_the_way_out() -> None:
    engine = engine_of(SqliteLedger(), Says(AgentFailed("no")))
    asyncio.run(engine.run(plan_of()))
    with pytest.raises(InvalidInput, match=r"none of its last tasks is done.*kapelle explain"):
        engine.rate("last")
    with pytest.raises(InvalidInput, match=r"Task 'a' .* is failed: there is no answer to rate"):
        engine.rate("last", "a")
    with pytest.raises(NotFound, match=r"has no task 'z'. It has: a"):
        engine.rate("last", "z")
    with pytest.raises(NotFound):
        engine.rate("nobody")


def test_there_is_nothing_to_forget_of_who_did_nothing() -> None:
    engine = engine_of(SqliteLedger())
    with pytest.raises(NotFound, match="The ledger holds no outcomes"):
        engine.forget("one")
    asyncio.run(engine.run(plan_of()))
    with pytest.raises(NotFound, match="There are outcomes of: one"):
        engine.forget("two")
    with pytest.raises(NotFound, match="What it has done: work"):
        engine.forget("one", "sql")
    with pytest.raises(InvalidInput, match="is no time"):
        engine.forget("one", before=float("nan"))


async def _never(output: object) -> bool:
    await asyncio.sleep(60)
    return True


SILENT: dict[str, Any] = {
    "returns nothing": lambda output: None,
    "returns a tuple": lambda output: (True, "fine"),
    "returns a figure of a verdict that is none": lambda output: Verdict(passed=True, cost_usd=-1.0),
    "says that it cannot say": lambda output: Verdict(passed=False, measured=False),
    "never ends": _never,
}


@pytest.mark.parametrize("how", SILENT)
def test_a_guard_that_cannot_say_takes_no_answer_and_is_not_held_against_who_gave_it(how: str) -> None:
    ledger = SqliteLedger()
    limits = ExecutionLimits(max_fallbacks=0, task_timeout_s=0.2)
    engine = engine_of(ledger, validators={"work": SILENT[how]}, limits=limits)
    run = asyncio.run(engine.run(plan_of()))
    assert run.state == "failed"
    (found,) = ledger.outcomes()
    assert (found.success, found.completed, found.quality, found.measured_by) == (True, True, None, None)
    for _ in range(20):
        ledger.record(found)
    assert engine_of(ledger).profiler.estimate(CARD, "work").success_rate == 0.85


def test_a_judge_that_says_neither_yes_nor_no_measures_nothing() -> None:
    cards = [CARD, replace(CARD, agent_id="judge", task_types=("verify",)), replace(CARD, agent_id="two")]
    registry = AgentRegistry(cards, runners={"one": Says(), "judge": Says("well ..."), "two": Says()})
    ledger = SqliteLedger()
    check = {"cheap": "one", "check": {"verifier": "judge"}, "strong": "two"}
    graph = TaskDAG([Task(task_id="a", task_type="work", strategy={"cascade": check})])
    engine = Engine(registry, model="none", ledger=ledger, environ={})
    run = asyncio.run(engine.run(Plan(request="x", graph=graph, planner="me")))
    assert run.state == "done"
    found = {one.agent: one for one in ledger.outcomes()}
    assert (found["one"].completed, found["one"].quality) == (True, None)
    assert found["judge"].completed is False


@pytest.mark.parametrize(
    ("answers", "further", "measured"),
    [
        (("x", "y", None), None, {}),
        (("x", "y", None), "z", {}),
        (("x", "y", None), "y", {"a": 0.0, "b": 1.0, "c": 0.0}),
        (("x", "x", "y"), None, {"a": 1.0, "b": 1.0, "c": 0.0}),
    ],
)
def test_where_nobody_agrees_nothing_is_measured(
    answers: tuple[str | None, ...], further: str | None, measured: dict[str, float]
) -> None:
    runners: dict[str, Any] = {name: Says(answer) for name, answer in zip("abc", answers, strict=True)}
    vote: dict[str, Any] = {"vote": list(runners)}
    if further is not None:
        runners["d"] = Says(further)
        vote["escalate_to"] = "d"
    registry = AgentRegistry([replace(CARD, agent_id=name) for name in runners], runners=runners)
    ledger = SqliteLedger()
    graph = TaskDAG([Task(task_id="t", task_type="work", strategy=vote)])
    run = asyncio.run(
        Engine(registry, model="none", ledger=ledger, environ={}).run(Plan(request="x", graph=graph, planner="me"))
    )
    assert run.state == "done"
    found = {one.agent: one.quality for one in ledger.outcomes() if one.quality is not None}
    assert found == measured
