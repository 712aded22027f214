"""Engines without a ledger, and what an engine is told of the one that it opens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kapelle import AskPerson, Engine, Plan, Run, SqliteLedger, Task, TaskDAG, agent
from kapelle.agents import AgentResult
from kapelle.errors import AgentFailed, InvalidInput
from kapelle.ledger import Event
from kapelle.redaction.known import remember
from kapelle.strategies import Vote


@agent(task_types=["work"], cost_usd=0.01)
async def worker(task: Any) -> str:
    if task.task_id == "asks":
        raise AskPerson("Which?")
    if task.task_id == "fails":
        raise AgentFailed("no")
    return f"did {task.task_id}"


def go(engine: Engine, *names: str, **terms: Any) -> Run:
    graph = TaskDAG(Task(task_id=name, task_type="work") for name in names)
    return asyncio.run(engine.run(Plan(request="x", graph=graph, planner="me"), **terms))


def unrecorded(**options: Any) -> Engine:
    return Engine([worker], model="none", ledger=None, **options)


def test_without_a_ledger_a_run_gives_what_it_gives_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"KAPELLE_DB": str(tmp_path / "l.sqlite"), "HOME": str(tmp_path)}
    heard: list[Event] = []
    run = go(unrecorded(environ=environ), "a", "b", "fails", on_event=heard.append)
    other = go(Engine([worker], model="none", ledger=SqliteLedger()), "a", "b", "fails")
    assert (run.state, run.results, run.cost_usd) == (other.state, other.results, other.cost_usd)
    assert [one.kind for one in run.events] == [one.kind for one in other.events]
    assert heard == list(run.events)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wanted",
    [
        lambda engine, run: engine.resume_sync(run.run_id),
        lambda engine, run: engine.questions(),
        lambda engine, run: engine.answer(run.open_questions[0].question_id, "this"),
        lambda engine, run: engine.approve("q"),
        lambda engine, run: engine.stop(run.run_id),
        lambda engine, run: engine.rate(run.run_id),
        lambda engine, run: engine.forget("worker"),
        lambda engine, run: engine.ledger.run("last"),
        lambda engine, run: engine.ledger.stream(run.run_id),
        lambda engine, run: engine.ledger.excerpt(run.run_id, "a"),
        lambda engine, run: engine.ledger.runs(),
    ],
)
def test_what_needs_a_record_says_that_there_is_none(wanted: Callable[[Engine, Run], object]) -> None:
    engine = unrecorded()
    run = go(engine, "a", "asks")
    assert (run.state, len(run.open_questions)) == ("waiting", 1)
    with pytest.raises(InvalidInput, match=r"Nothing is recorded here \(ledger=None\).*open_ledger\(PATH\)"):
        wanted(engine, run)


def test_without_a_ledger_an_engine_still_learns_from_its_runs() -> None:
    engine = unrecorded()
    before = engine.profiler.estimate_success_rate("worker", "work")
    for _ in range(8):
        go(engine, "fails")
    assert engine.profiler.estimate_success_rate("worker", "work") < before


def test_without_a_ledger_a_known_secret_is_hidden_all_the_same() -> None:
    engine = unrecorded()
    remember("sk-very-secret-0123456789", owner=engine)
    graph = TaskDAG([Task(task_id="a", task_type="work", description="Use sk-very-secret-0123456789.")])
    run = asyncio.run(engine.run(Plan(request="x", graph=graph, planner="me")))
    assert "very-secret" not in repr(run.events)


def test_runs_without_a_ledger_go_on_side_by_side() -> None:
    engine = unrecorded()

    async def all_of_them() -> list[Run]:
        plan = Plan(request="x", graph=TaskDAG([Task(task_id="a", task_type="work")]), planner="me")
        return await asyncio.gather(*(engine.run(plan) for _ in range(5)))

    runs = asyncio.run(all_of_them())
    assert [one.state for one in runs] == ["done"] * 5
    assert len({one.run_id for one in runs}) == 5
    assert all([event.seq for event in run.events] == list(range(len(run.events))) for run in runs)


def test_an_engine_opens_its_ledger_as_durably_as_is_asked(tmp_path: Path) -> None:
    for number, (given, said, expected) in enumerate(
        [(None, None, "full"), (None, "normal", "normal"), ("full", "normal", "full"), ("normal", None, "normal")]
    ):
        environ = {"KAPELLE_DB": str(tmp_path / f"{number}.sqlite")}
        environ |= {} if said is None else {"KAPELLE_DURABILITY": said}
        with Engine([worker], model="none", durability=given, environ=environ) as engine:  # type: ignore[arg-type]  # any text
            assert engine.ledger.durability == expected  # type: ignore[attr-defined]  # SQLite's


def test_a_durability_of_what_the_engine_does_not_open_is_refused() -> None:
    for ledger in (None, SqliteLedger()):
        with pytest.raises(InvalidInput, match="durability='normal' is for the ledger that the engine opens"):
            Engine([worker], model="none", ledger=ledger, durability="normal")


def test_a_location_in_place_of_a_ledger_is_refused_with_the_way_to_open_it() -> None:
    with pytest.raises(InvalidInput, match=r"Open it: ledger=open_ledger\('runs.sqlite'\)"):
        Engine([worker], model="none", ledger="runs.sqlite")  # type: ignore[arg-type]  # the fault


def test_what_looks_like_a_key_is_hidden_in_errors_without_a_ledger() -> None:
    @agent(task_types=["work"], cost_usd=0.0)
    async def careless(task: Any) -> str:
        raise AgentFailed("refused: Authorization: Bearer abcdefghijklmnopqrstuvwxyz0123456789")

    run = go(Engine([careless], model="none", ledger=None), "a")
    assert "abcdefghijklmnopqrstuvwxyz" not in repr(run.events)
    assert "refused" in str(run.tasks["a"].reason)


@pytest.mark.parametrize("lacking", ["append_all", "find_run", "outline", "now"])
def test_a_ledger_of_ones_own_that_lacks_a_method_is_refused_before_a_run_begins(lacking: str) -> None:
    class Own:
        def __init__(self) -> None:
            self._kept = SqliteLedger()

        def __getattr__(self, name: str) -> object:
            if name == lacking:
                raise AttributeError(name)
            return getattr(self._kept, name)

    with pytest.raises(InvalidInput, match=rf"ledger=Own is no ledger: it lacks {lacking}\. .*kapelle\.ledger\.Ledger"):
        Engine([worker], model="none", ledger=Own())  # type: ignore[arg-type]  # it lacks one


@pytest.mark.parametrize("odd", [3, object(), SqliteLedger])
def test_what_is_no_ledger_is_refused(odd: object) -> None:
    with pytest.raises(InvalidInput, match="is no ledger: it "):
        Engine([worker], model="none", ledger=odd)  # type: ignore[arg-type]  # the fault


def test_a_run_goes_on_where_what_it_shows_cannot_be_learned(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine([worker], model="none", ledger=SqliteLedger())

    def refuse(outcome: object) -> None:
        raise RuntimeError("what learns is broken")

    engine.profiler.record_outcome = refuse  # type: ignore[method-assign]  # a stand-in
    run = go(engine, "a", "b")
    assert (run.state, len(engine.ledger.outcomes())) == ("done", 2)
    assert "could not be learned" in caplog.text


@agent(task_types=["work"], cost_usd=0.001)
async def dearer(task: Any) -> AgentResult:
    """Costs far more than it declares, so that the rest of its run goes to others."""
    return AgentResult(output="dear", cost_usd=0.3)


@agent(task_types=["grow"], cost_usd=0.01)
async def grower(task: Any) -> AgentResult:
    return AgentResult(output=None, expansion=TaskDAG([work("x"), work("y", "x")]))


def work(name: str, *after: str, **fields: Any) -> Task:
    return Task(task_id=name, task_type="work", depends_on=after, **fields)


@pytest.mark.parametrize("terms", [{}, {"budget_usd": 2.0}, {"budget_usd": 0.35}, {"deadline_s": 60.0}])
def test_without_a_ledger_a_run_grows_votes_and_replans_as_with_one(terms: dict[str, float]) -> None:
    graph = TaskDAG(
        [
            Task(task_id="g", task_type="grow"),
            work("a", "g"),
            work("b", "a"),
            work("c", "b"),
            work("fails", "c"),
            work("v", strategy=Vote(agents=("worker", "dearer"))),
        ]
    )
    told = []
    for ledger in (None, SqliteLedger()):
        engine = Engine([grower, dearer, worker], model="none", ledger=ledger, environ={})
        run = asyncio.run(engine.run(Plan(request="x", graph=graph, planner="me"), **terms))  # type: ignore[arg-type]  # limits
        kinds = sorted(event.kind for event in run.events)
        told.append((run.state, run.results, round(run.cost_usd, 9), dict(run.assignments), kinds))
    assert told[0] == told[1]
    assert {"task_expanded", "plan_reassigned"} <= set(told[0][-1])
