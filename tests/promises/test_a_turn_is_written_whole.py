"""docs/guarantees.md, "A turn": what an engine settles and starts together is written together, before its effects."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import pytest

from kapelle import AskPerson, Engine, Plan, Run, SqliteLedger, Task, TaskDAG
from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.errors import AgentFailed, InvalidInput, LeaseLost
from kapelle.execution import ExecutionLimits, RetryPolicy
from kapelle.ledger import EVENT_KINDS, Event, NewEvent, Outcome
from kapelle.strategies import Cascade, Check, Single, Vote
from kapelle.testing import LoopHeartbeat, ScriptedAgent, VirtualClock


class Killed(BaseException):
    """The process is gone."""


Trouble = Literal["killed before", "killed after", "disk full", "lease lost"]


class Cut(SqliteLedger):
    """A ledger that notes its turns, and in one of them lets trouble happen."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock=clock)
        self.tried: list[tuple[str, ...]] = []
        self.written: list[tuple[str, ...]] = []
        self.at: int | None = None
        self.trouble: Trouble = "killed before"

    def append_all(self, run_id: str, new: Sequence[NewEvent], *, fence: int | None = None) -> tuple[Event, ...]:
        kinds = tuple(one.kind for one in new)
        is_cut = len(self.tried) == self.at
        self.tried.append(kinds)
        if is_cut and self.trouble == "killed before":
            raise Killed
        if is_cut and self.trouble == "disk full":
            raise InvalidInput("Cannot use the ledger: database or disk is full.")
        if is_cut and self.trouble == "lease lost":
            assert self._connection is not None
            ((owner,),) = self._connection.execute("SELECT owner FROM leases").fetchall()
            self.release_lease(self.acquire_lease(run_id, "another engine", 60.0, dead=owner))
        events = super().append_all(run_id, new, fence=fence)
        self.written.append(kinds)
        if is_cut:
            raise Killed
        return events


class Replanner:
    """Has another way for one task."""

    async def replan(self, task: Task, reason: str, context: TaskContext) -> AgentResult | None:
        if task.task_id != "fails":
            return None
        return AgentResult(output=None, expansion=TaskDAG([work("anew")]), cost_usd=0.01)


def work(name: str, *after: str, **fields: Any) -> Task:
    return Task(task_id=name, task_type="work", description=f"Do {name}", depends_on=after, **fields)


def ask(task: Task, context: TaskContext) -> Any:
    return "asked" if context.answers else AskPerson("Which?")


OUTPUTS = {
    "fails": AgentFailed("no"),
    "grows": AgentResult(output=None, expansion=TaskDAG([work("x"), work("y", "x")])),
    "asks": ask,
    "hopeless": AgentFailed("never"),
    "verify": "yes",
}
CASCADE = Cascade(cheap="one", strong=Single(agent="two"), check=Check(kind="verifier", agent="three"))
TASKS = (
    *(work(name) for name in ("a", "fails", "hopeless", "grows", "asks", "slow", "late")),
    work("b", "a"),
    work("skipped", "hopeless"),
    work("vote", strategy=Vote(agents=("one", "two", "three"))),
    work("checked", strategy=CASCADE),
    work("approved", "a", approval=True),
)


class Stage:
    """An engine in which every kind of event happens, at no time and so in the same turns."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.ledger = Cut(self.clock)
        self.heard: list[Event] = []
        self.learned: list[Outcome] = []
        self.engine = self.open()

    def open(self) -> Engine:
        self.agent = ScriptedAgent(OUTPUTS, seconds={"slow": 1000.0, "late": 1000.0})
        names = ("one", "two", "three")
        cards = [AgentCapability(agent_id=name, task_types=("work", "verify"), cost_usd=0.01) for name in names]
        engine = Engine(
            AgentRegistry(cards, runners=dict.fromkeys(names, self.agent)),
            model="none",
            ledger=self.ledger,
            environ={},
            timer=self.clock,
            clock=self.clock,
            heartbeat=LoopHeartbeat,
            limits=ExecutionLimits(max_fallbacks=1, retry=RetryPolicy(max_attempts=1), task_timeout_s=300.0),
        )
        engine.team = replace(engine.team, replanner=Replanner(), planning_cost_usd=0.01)
        engine.profiler.record_outcome = self.learned.append  # type: ignore[method-assign, assignment]  # told
        return engine

    def go_through(self) -> None:
        """Stop the run while two tasks are late, answer what was asked, and go on with it; as far as it gets."""
        try:
            self.work(self.engine.run(Plan(request="x", graph=TaskDAG(TASKS), planner="me"), on_event=self.hear))
            for question in self.engine.questions():
                if question.kind == "approval":
                    self.engine.approve(question.question_id)
                else:
                    self.engine.answer(question.question_id, "this")
            self.work(self.engine.resume("last", on_event=self.hear))
        except (Killed, InvalidInput, LeaseLost):
            assert self.ledger.at is not None

    def hear(self, event: Event) -> None:
        assert event in self.ledger.events(event.run_id), "it was told before it was written"
        self.heard.append(event)

    def work(self, doing: Any) -> Run:
        async def stopped() -> Run:
            running = asyncio.ensure_future(doing)
            await asyncio.wait({running}, timeout=50.0)
            if not running.done():
                self.engine.stop("last")
            found: Run = await running
            return found

        run: Run = self.clock.run(stopped())
        return run


def turns_of_all() -> list[tuple[str, ...]]:
    stage = Stage()
    stage.go_through()
    return stage.ledger.written


TURNS = turns_of_all()
CUT = [number for number, kinds in enumerate(TURNS) if len(kinds) > 1]


def test_every_kind_of_event_that_can_shares_a_turn_with_others() -> None:
    alone = {"run_finished", "run_waiting", "run_rejected", "run_resumed", "task_interrupted", "plan_reassigned"}
    alone |= {"task_step"}  # written by agents, between the turns of the executor
    assert {kind for number in CUT for kind in TURNS[number]} == set(EVENT_KINDS) - alone


@pytest.mark.parametrize("number", CUT)
@pytest.mark.parametrize("trouble", get_args(Trouble))
def test_a_turn_that_is_cut_is_written_whole_or_not_at_all(trouble: Trouble, number: int) -> None:
    stage, is_there = Stage(), trouble == "killed after"
    stage.ledger.at, stage.ledger.trouble = number, trouble
    stage.go_through()
    ledger = stage.ledger
    assert (ledger.tried, ledger.written) == (TURNS[: number + 1], TURNS[: number + is_there]), "nothing follows it"
    kept = [] if not ledger.written else ledger.run("last").events
    assert [one.kind for one in kept] == [kind for turn in ledger.written for kind in turn]
    untold = len(TURNS[number]) if is_there else 0
    assert stage.heard == list(kept)[: len(kept) - untold], "watchers hear of what is written, in order"
    outcomes = ledger.outcomes()
    assert stage.learned == list(outcomes)[: len(stage.learned)]
    assert is_there or len(stage.learned) == len(outcomes)
    begun = {one.task_id for one in kept if one.kind == "task_started"}
    assert {task.task_id for task in stage.agent.tasks if task.task_type == "work"} <= begun


@pytest.mark.parametrize("number", CUT[1:])
@pytest.mark.parametrize("trouble", get_args(Trouble))
def test_a_run_goes_on_from_the_last_whole_turn(trouble: Trouble, number: int) -> None:
    stage = Stage()
    stage.ledger.at, stage.ledger.trouble = number, trouble
    stage.go_through()
    before = stage.ledger.run("last")
    done = {name for name, task in before.tasks.items() if task.state == "done"}
    stage.ledger.at = None
    stage.engine = stage.open()
    after = stage.work(stage.engine.resume("last"))
    assert after == stage.ledger.run("last")
    assert after.ended
    assert not done & {task.task_id for task in stage.agent.tasks if task.task_type == "work"}
    assert {name: after.results[name] for name in done} == dict(before.results)
