"""Runs that are cut off, ask people, or are stopped, and go on."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kapelle import AskPerson, Engine, Plan, Run, RunBusy, SqliteLedger, Task, TaskDAG, agent
from kapelle.agents import AgentCapability, AgentResult, PartialText, TaskContext
from kapelle.engine.resumption import plan_resumption
from kapelle.engine.run_lease import RunLease, acquire
from kapelle.errors import AgentFailed, InvalidInput, LeaseLost, NotFound
from kapelle.ledger import Event, is_dead, this_process


def work(task_id: str, *after: str, **fields: Any) -> Task:
    return Task(task_id=task_id, task_type=fields.pop("task_type", "work"), depends_on=after, **fields)


def plan(*tasks: Task) -> Plan:
    return Plan(request="test", graph=TaskDAG(tasks), planner="test")


class Worker:
    """An agent whose answers are scripted, and that remembers what it was asked."""

    def __init__(self, **scripts: Callable[[TaskContext], Any]) -> None:
        self.keys: list[str] = []
        self.scripts = scripts

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        self.keys.append(context.idempotency_key.partition("/")[2])
        script = self.scripts.get(task.task_id)
        found = script(context) if script is not None else f"{task.task_id} done"
        if asyncio.iscoroutine(found):
            found = await found
        return AgentResult(output=found, cost_usd=0.01)


def engine_with(worker: Worker, path: Path | str = ":memory:", **options: Any) -> Engine:
    card = AgentCapability(agent_id="worker", task_types=("work",), cost_usd=0.01)
    return Engine([(card, worker)], model="none", ledger=SqliteLedger(path), **options)


def die(_: TaskContext) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def run_and_die(path: Path, *tasks: Task, **terms: Any) -> None:
    """Run a plan in a process that dies in the task `b`."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(engine_with(Worker(b=die), path).run(plan(*tasks), **terms))
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])


def go_on(engine: Engine, run_id: str = "last", **terms: Any) -> Run:
    return asyncio.run(engine.resume(run_id, **terms))


def test_a_run_that_was_killed_goes_on_where_it_was_with_the_same_key(tmp_path: Path) -> None:
    run_and_die(tmp_path / "l", work("a"), work("b", "a"), work("c", "b"), budget_usd=1.0)
    worker = Worker()
    run = go_on(engine_with(worker, tmp_path / "l"))
    assert (run.state, worker.keys) == ("done", ["b", "c"])
    # What was set aside for the attempt that was cut off may have been charged.
    assert run.cost_usd == pytest.approx(0.04)
    assert [event.kind for event in run.events].count("task_interrupted") == 1


def test_what_was_cut_off_at_high_risk_waits_for_a_person(tmp_path: Path) -> None:
    run_and_die(tmp_path / "l", work("a"), work("b", "a", risk="high"), work("c"))
    worker = Worker()
    engine = engine_with(worker, tmp_path / "l")
    run = go_on(engine)
    assert (run.state, run.tasks["b"].state, "b" in worker.keys) == ("waiting", "asking", False)
    (question,) = run.open_questions
    assert (question.about, "may have taken effect" in question.text) == ("rerun", True)
    engine.approve(question.question_id)
    assert (go_on(engine).state, worker.keys.count("b")) == ("done", 1)


def test_a_rejected_rerun_fails_the_task_and_says_why(tmp_path: Path) -> None:
    run_and_die(tmp_path / "l", work("b", risk="high"), work("c", "b"))
    engine = engine_with(Worker(), tmp_path / "l")
    engine.reject(go_on(engine).open_questions[0].question_id, "it was paid")
    run = go_on(engine)
    assert (run.tasks["b"].state, run.tasks["b"].reason) == ("failed", "A person rejected it: it was paid")
    assert run.tasks["c"].state == "skipped"


def test_a_run_that_is_done_is_not_resumed_and_one_that_is_not_there_neither() -> None:
    engine = engine_with(Worker())
    asyncio.run(engine.run(plan(work("a"))))
    with pytest.raises(InvalidInput, match="is done; there is nothing left to do"):
        go_on(engine)
    with pytest.raises(NotFound):
        go_on(engine, "1999")


def test_what_failed_is_tried_again_and_what_is_done_is_not() -> None:
    tries: list[int] = []

    def fails_once(_: TaskContext) -> str:
        tries.append(1)
        if len(tries) == 1:
            raise AgentFailed("no")
        return "now"

    worker = Worker(b=fails_once)
    engine = engine_with(worker)
    first = asyncio.run(engine.run(plan(work("a"), work("b"), work("c", "b"))))
    assert first.state == "partial"
    run = go_on(engine)
    assert (run.state, sorted(worker.keys)) == ("done", ["a", "b", "b", "c"])
    assert run.cost_usd == pytest.approx(0.04)  # the failed attempt has its price


def test_a_run_whose_budget_did_not_reach_goes_on_with_more() -> None:
    engine = engine_with(Worker())
    calls = 0

    async def dear(task: Task, context: TaskContext) -> AgentResult:
        nonlocal calls
        calls += 1
        return AgentResult(output="x", cost_usd=0.02)

    costly = agent(task_types=["work"], cost_usd=0.01)(dear)
    engine = Engine([costly], model="none", ledger=SqliteLedger())
    chain = plan(work("a"), work("b", "a"), work("c", "b"))
    first = asyncio.run(engine.run(chain, budget_usd=0.03))
    assert (first.state, calls) == ("stopped", 1) or (first.state, calls) == ("stopped", 2)
    run = go_on(engine, budget_usd=0.10)
    assert (run.state, calls, run.settings["budget_usd"]) == ("done", 3, 0.10)


def test_the_deadline_counts_the_time_that_engines_worked_on_it() -> None:
    async def for_ever(_: TaskContext) -> None:
        await asyncio.sleep(60)

    worker = Worker(a=for_ever)
    engine = engine_with(worker)
    assert asyncio.run(engine.run(plan(work("a")), deadline_s=0.05)).state == "stopped"
    with pytest.raises(InvalidInput, match="Give it more"):
        go_on(engine)
    worker.scripts = {}
    assert go_on(engine, deadline_s=5).state == "done"


def test_a_deadline_that_was_given_anew_counts_from_then_on() -> None:
    worker = Worker(a=lambda _: AgentResult(output=1 / 0))
    engine = engine_with(worker)
    asyncio.run(engine.run(plan(work("a"))))
    go_on(engine, deadline_s=30)
    worker.scripts = {}
    run = go_on(engine)
    assert (run.state, run.settings["deadline_s"]) == ("done", 30)
    assert 0 < run.settings["deadline_from_s"] <= run.active_seconds


def test_a_budget_below_what_was_spent_is_refused() -> None:
    engine = engine_with(Worker(b=lambda _: 1 / 0))
    before = asyncio.run(engine.run(plan(work("a"), work("b")), budget_usd=1.0))
    with pytest.raises(InvalidInput, match=r"has cost \$0\.02 already"):
        go_on(engine, budget_usd=0.01)
    assert engine.ledger.run("last") == before


def test_a_task_that_must_not_fail_and_cannot_begin_ends_the_run() -> None:
    inputs = {"text": "{a.nothing}"}
    engine = engine_with(Worker(a=lambda _: {"something": 1}))
    run = asyncio.run(engine.run(plan(work("a"), work("b", inputs=inputs, on_failure="fail"), work("c", "b"))))
    assert (run.state, run.tasks["b"].state, run.tasks["c"].state) == ("failed", "failed", "skipped")
    assert "An input cannot be filled" in (run.stop_reason or "")


def asks(context: TaskContext) -> str:
    if not context.answers:
        raise AskPerson("Which account?", options=["savings", "current"])
    if len(context.answers) == 1:
        raise AskPerson("How much?")
    return f"{context.answers[1].value} from {context.answers[0].value}"


def test_an_agent_asks_and_its_task_runs_anew_with_all_answers() -> None:
    engine = engine_with(Worker(a=asks))
    run = asyncio.run(engine.run(plan(work("a"), work("b", "a"), work("c"))))
    assert (run.state, run.tasks["c"].state, run.tasks["b"].state) == ("waiting", "done", "waiting")
    with pytest.raises(InvalidInput, match="takes one of: savings, current"):
        engine.answer(run.open_questions[0].question_id, "mine")
    with pytest.raises(InvalidInput, match="asks for an answer"):
        engine.approve(run.open_questions[0].question_id)
    engine.answer(run.open_questions[0].question_id, "savings", by="ann")
    with pytest.raises(InvalidInput, match="was answered already"):
        engine.answer(run.open_questions[0].question_id, "current")
    run = go_on(engine)
    engine.answer(run.open_questions[0].question_id, 5)
    run = go_on(engine)
    assert (run.state, run.tasks["a"].output) == ("done", "5 from savings")
    assert len({question.question_id for question in run.questions.values()}) == 2


def test_a_task_that_needs_approval_does_not_start_before_it_has_it() -> None:
    worker = Worker()
    engine = engine_with(worker)
    run = asyncio.run(engine.run(plan(work("a"), work("pay", "a", approval=True))))
    assert (run.state, worker.keys) == ("waiting", ["a"])
    assert engine.questions() == engine.questions("last") == run.open_questions
    engine.approve(run.open_questions[0].question_id[:5])
    assert (go_on(engine).state, engine.questions()) == ("done", ())


@pytest.mark.slow
def test_an_engine_at_work_takes_an_answer_from_elsewhere(tmp_path: Path) -> None:
    other = engine_with(Worker(), tmp_path / "l")

    async def waits_for_the_answer(_: TaskContext) -> str:
        while not other.questions():  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.01)
        asked = other.approve(other.questions()[0].question_id).question_id
        while not other.ledger.run("last").questions[asked].answer:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.02)
        return "seen"

    engine = engine_with(Worker(slow=waits_for_the_answer), tmp_path / "l")
    run = asyncio.run(engine.run(plan(work("slow"), work("pay", approval=True))))
    assert run.state == "done"


@pytest.mark.slow
def test_an_engine_at_work_is_stopped_from_elsewhere(tmp_path: Path) -> None:
    other = engine_with(Worker(), tmp_path / "l")

    async def asks_to_stop(_: TaskContext) -> None:
        other.stop("last", by="ann")
        await asyncio.sleep(60)

    worker = Worker(a=asks_to_stop)
    engine = engine_with(worker, tmp_path / "l")
    run = asyncio.run(engine.run(plan(work("a"), work("b", "a"))))
    assert (run.state, run.stop_reason, run.tasks["a"].state) == ("stopped", "It was stopped by ann.", "cancelled")
    with pytest.raises(InvalidInput, match="nobody works on it"):
        other.stop("last")
    worker.scripts = {}
    assert go_on(engine).state == "done"  # the wish to stop was for the session before


def test_two_engines_do_not_work_on_one_run(tmp_path: Path) -> None:
    other = engine_with(Worker(), tmp_path / "l")

    async def meanwhile(_: TaskContext) -> str:
        with pytest.raises(RunBusy, match="is being worked on by"):
            await other.resume("last")
        return "alone"

    run = asyncio.run(engine_with(Worker(a=meanwhile), tmp_path / "l").run(plan(work("a"))))
    assert run.tasks["a"].output == "alone"


def test_an_engine_that_was_overtaken_writes_nothing_more(tmp_path: Path) -> None:
    other = engine_with(Worker(), tmp_path / "l")

    async def is_overtaken(_: TaskContext) -> str:
        ledger = other.ledger
        run_id = ledger.run("last").run_id
        with pytest.raises(RunBusy) as busy:
            ledger.acquire_lease(run_id, "thief", 60)
        ledger.acquire_lease(run_id, "thief", 60, dead=busy.value.owner)  # as after its lease had run out
        return "too late"

    engine = engine_with(Worker(a=is_overtaken), tmp_path / "l")
    with pytest.raises(LeaseLost):
        asyncio.run(engine.run(plan(work("a"), work("b", "a"))))
    run = other.ledger.run("last")
    assert (run.state, run.tasks["a"].state) == ("running", "running")


def test_a_lease_is_taken_from_the_dead_at_once(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "l")
    child = os.fork()
    if child == 0:
        try:
            with SqliteLedger(tmp_path / "l") as mine:
                acquire(mine, "r1", this_process(), 600)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    held = RunLease(ledger, "r1")
    assert held.lease.fence == 2
    with pytest.raises(RunBusy):
        RunLease(ledger, "r1")
    assert not is_dead(this_process())
    assert not is_dead("a friend")


def test_the_stream_is_what_the_journal_holds_and_the_text_as_it_is_written() -> None:
    def tells(context: TaskContext) -> str:
        assert context.tell is not None
        for word in ("Guten ", "Tag"):
            context.tell(word)
        return "Guten Tag"

    engine = engine_with(Worker(a=tells))

    async def listen() -> list[Event | PartialText]:
        return [item async for item in engine.stream(plan(work("a")))]

    items = asyncio.run(listen())
    assert tuple(item for item in items if isinstance(item, Event)) == engine.ledger.run("last").events
    assert [item.text for item in items if isinstance(item, PartialText)] == ["Guten ", "Tag"]


def test_who_stops_listening_stops_the_run() -> None:
    async def for_ever(_: TaskContext) -> None:
        await asyncio.sleep(60)

    engine = engine_with(Worker(a=for_ever))

    async def listen() -> None:
        stream = engine.stream(plan(work("a")))
        async for item in stream:
            if isinstance(item, Event) and item.kind == "task_started":
                break
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator

    asyncio.run(listen())
    assert engine.ledger.run("last").state == "stopped"


def test_a_run_that_died_while_it_was_planned_is_planned_anew(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "l")
    ledger.append("r1", "run_started", {"request": "Compare the capitals of France and Germany", "settings": {}})
    ledger.append("r1", "planning_started", {"reserved_usd": 0.05})

    @agent(task_types=["lookup"], cost_usd=0.001)
    async def atlas(task: Task) -> str:
        return str(task.inputs["query"])

    run = go_on(Engine([atlas], model="none", ledger=ledger))
    assert (run.state, run.planning_cost_usd) == ("done", 0.05)


def test_tasks_whose_agent_is_gone_are_given_to_others(tmp_path: Path) -> None:
    run_and_die(tmp_path / "l", work("a"), work("b", "a"))

    @agent(task_types=["work"], cost_usd=0.0)
    async def another(task: Task) -> str:
        return "from another"

    run = go_on(Engine([another], model="none", ledger=SqliteLedger(tmp_path / "l")))
    assert (run.state, run.tasks["b"].output, run.tasks["a"].agent != "another") == ("done", "from another", True)


def test_a_resume_that_is_refused_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    run_and_die(tmp_path / "l", work("a"), work("b", "a"))
    engine = Engine([], model="none", ledger=SqliteLedger(tmp_path / "l"))
    before = engine.ledger.run("last")
    with pytest.raises(InvalidInput, match="has no agent"):
        go_on(engine)
    assert engine.ledger.run("last") == before
    assert go_on(engine_with(Worker(), tmp_path / "l")).state == "done"


def test_a_budget_that_is_spent_to_the_last_cent_is_no_reason_to_refuse() -> None:
    engine = engine_with(Worker(b=lambda _: 1 / 0))
    run = asyncio.run(engine.run(plan(work("a"), work("b")), budget_usd=1.0))
    spent = replace(run, planning_cost_usd=0.1 + 0.2 - run.cost_usd)  # 0.30000000000000004
    assert spent.cost_usd > 0.3
    assert plan_resumption(spent, {"budget_usd": 0.3}).terms.budget_usd == 0.3
