"""Plays a world: the real engine, executor, ledger, budget, lease and resume, on a virtual clock.

What is not real are the agents, the people, the router (the world says who does what), the time, and the faults: the
ledger that an engine sees refuses, stays silent or dies with its process when the world says so. A dead process has an
engine whose every call to the ledger raises `Killed`, so that nothing of it reaches the store any more.

What happened is written down as it happens, by the agents and by the ledger, in one list: the history. The model (see
model) judges it; nothing here judges anything.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from unittest import mock

import kapelle.allocation.optimizer
import kapelle.engine.run_lease
from kapelle import Engine, Plan
from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.errors import (
    AgentFailed,
    AskPerson,
    InvalidInput,
    KapelleError,
    LeaseLost,
    LedgerBusy,
    PlanRejected,
    RunBusy,
    TryAgain,
)
from kapelle.execution import ExecutionLimits, HedgePolicy, Reflection, RetryPolicy
from kapelle.graph import GraphPatch, Task, TaskDAG
from kapelle.ledger import Event, Lease, Ledger, Outcome, Run, SqliteLedger, Usage, answer_message
from kapelle.routing import HALORouter, RoutingPlan
from kapelle.strategies import Cascade, Check, Single, Strategy, Vote
from kapelle.testing import LoopHeartbeat, VirtualClock

from .world import PLANNING_USD, REFLECT_USD, REPLAN_USD, Act, Session, TaskSpec, Way, World

EPOCH = 1_700_000_000.0
RUN_ID = "simulated"
MAX_SESSIONS = 18
LONGEST_S = 50_000.0
"""Of virtual time. A world that takes longer does not end."""

ItemKind = Literal["event", "begin", "end", "cancelled", "session", "over", "killed", "read"]


class Killed(BaseException):
    """The process is dead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One thing that happened."""

    kind: ItemKind
    at: float
    session: int
    task: str | None = None
    agent: str | None = None
    call: int = -1
    """Which of all calls of the agents, from 0: `begin`, then `end` or `cancelled`."""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class History:
    """What happened in a world, in order."""

    world: World
    items: list[Item] = field(default_factory=list)
    run: Run | None = None
    """As the ledger tells it in the end."""
    outcomes: tuple[Outcome, ...] = ()
    """What is learned from it."""
    complaints: list[str] = field(default_factory=list)
    """What asyncio complained of: exceptions that nobody retrieved."""

    @property
    def fingerprint(self) -> tuple[object, ...]:
        """What two plays of one world have in common."""
        return tuple(
            (one.kind, one.at, one.session, one.task, one.agent, one.call, _plain(one.data)) for one in self.items
        )


def play(world: World) -> History:
    """Let a world happen, and return its history. Whatever goes wrong in it is in there."""
    history = History(world=world)
    clock = VirtualClock()
    logging.disable(logging.CRITICAL)
    kapelle.engine.run_lease._numbers = itertools.count(
        1
    )  # of the engines of a process: here every world is a process of its own
    try:
        with mock.patch.object(kapelle.allocation.optimizer, "call_in_thread", _call_here):
            clock.run(_Player(world, history, clock).whole())
    finally:
        logging.disable(logging.NOTSET)
        kapelle.engine.run_lease._held.clear()
    return history


class _Player:
    def __init__(self, world: World, history: History, clock: VirtualClock) -> None:
        self.world, self.history, self.clock = world, history, clock
        self.calls = 0
        self.calls_of: Counter[tuple[str, str]] = Counter()
        self.asked: Counter[str] = Counter()
        self.saying = 0
        """Answers that are still to be given."""
        self.all_said = asyncio.Event()
        self.posted = False
        self.current: _SessionLedger | None = None
        self.store = SqliteLedger(clock=lambda: EPOCH + clock())

    def note(self, kind: ItemKind, session: int, **what: Any) -> None:
        self.history.items.append(Item(kind=kind, at=self.clock(), session=session, **what))

    async def whole(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.history.complaints.append(str(context.get("message"))))
        try:
            async with asyncio.timeout(LONGEST_S):
                await self._sessions()
        except TimeoutError:
            self.note("over", -1, data={"raised": "Stuck", "text": f"it did not end within {LONGEST_S:g} s"})
        with suppress(KapelleError):
            self.history.run = self.store.run(RUN_ID)
            self.history.outcomes = self.store.outcomes()

    async def _sessions(self) -> None:
        budget, resumes, deadline = self.world.budget_usd, self.world.resumes, self.world.deadline_s
        number = 0
        patience = 4
        waits: list[asyncio.Task[Any]] = []
        while number < MAX_SESSIONS:
            trouble = self.world.sessions[number] if number < len(self.world.sessions) else Session()
            outcome, work = await self._session(number, trouble, budget, deadline)
            if work is not None:
                waits.append(work)
            number += 1
            if isinstance(outcome, RunBusy):
                await asyncio.sleep(min(outcome.wait_s, 100.0) + 0.01)
                continue
            if isinstance(outcome, Run):
                if outcome.state == "done":
                    break
                if outcome.state == "waiting":
                    if not self.saying:
                        break
                    await self.all_said.wait()
                    continue
                if resumes <= 0:
                    break
                resumes -= 1
                budget = None if budget is None else budget * 2
                continue
            if isinstance(outcome, InvalidInput) and _asks_for_more(outcome):
                patience -= 1
                if patience < 0:
                    break
                budget = None if budget is None else budget * 5
                deadline = None if deadline is None else deadline * 20
                continue
            if isinstance(outcome, (Killed, LedgerBusy, LeaseLost, asyncio.CancelledError)) or outcome is None:
                continue  # the next engine goes on; without a run id a new run begins
            break
        else:
            self.note("over", -1, data={"raised": "Stuck", "text": f"it did not end within {MAX_SESSIONS} sessions"})
        for work in waits:
            await asyncio.wait({work})

    async def _session(
        self, number: int, trouble: Session, budget: float | None, deadline: float | None
    ) -> tuple[Run | BaseException | None, asyncio.Task[Any] | None]:
        """Let one engine work; return what it returned or raised, and the engine itself if it was overtaken."""
        ledger = _SessionLedger(self, number, trouble)
        self.current = ledger
        is_new = not self.store.events(RUN_ID)
        data = {"budget_usd": budget, "deadline_s": deadline, "resumes": not is_new}
        self.note("session", number, data=data)
        engine = self._engine(ledger)
        if is_new:
            doing = engine.run(self._plan(), budget_usd=budget, deadline_s=deadline)
        else:
            doing = engine.resume(RUN_ID, budget_usd=budget, deadline_s=deadline)
        work = asyncio.create_task(doing)
        loop = asyncio.get_running_loop()
        timers = []
        if trouble.kill_at_s is not None:
            timers.append(loop.call_later(trouble.kill_at_s, ledger.die))
            timers.append(loop.call_later(trouble.kill_at_s, work.cancel))
        if trouble.cancel_at_s is not None:
            timers.append(loop.call_later(trouble.cancel_at_s, work.cancel))
        if trouble.stop_at_s is not None:
            timers.append(loop.call_later(trouble.stop_at_s, self._stop))
        rival: asyncio.Task[Any] | None = None
        if trouble.rival_at_s is not None:
            rival = asyncio.create_task(self._rival(number, trouble.rival_at_s, work))
        work.add_done_callback(lambda done: self._over(number, done))
        overtaken = trouble.overtaken_at_s
        await asyncio.wait(
            {work}, timeout=None if overtaken is None else overtaken + kapelle.engine.run_lease.LEASE_S * 1.5
        )
        for timer in timers:
            timer.cancel()
        if rival is not None:
            rival.cancel()
        if not work.done():
            return None, work
        if ledger.is_dead and trouble.is_far:
            kapelle.engine.run_lease._held.add(ledger.owner)
        return _outcome(work), None

    def _over(self, number: int, work: asyncio.Task[Run]) -> None:
        found = _outcome(work)
        if isinstance(found, Killed):
            return  # it was noted when it died
        if isinstance(found, BaseException):
            self.note("over", number, data={"raised": type(found).__name__, "text": str(found)[:300]})
            return
        assert found is not None
        data: dict[str, Any] = {"state": found.state, "reason": found.stop_reason, "cost_usd": found.cost_usd}
        self.note("over", number, data=data)
        self._read(number, found)

    def _read(self, number: int, returned: Run) -> None:
        """Hold the run that was returned against the one that the ledger tells of, unless others went on with it."""
        try:
            again = self.store.run(RUN_ID)
        except KapelleError as error:
            self.note("read", number, data={"problem": f"the run cannot be read: {error}"})
            return
        if again.events[: len(returned.events)] != returned.events:
            self.note("read", number, data={"problem": "the events read back are not those of the run returned"})
        elif len(again.events) == len(returned.events) and again != returned:
            self.note("read", number, data={"problem": "the run read back is not the run returned"})

    async def _rival(self, number: int, at_s: float, work: asyncio.Task[Any]) -> None:
        await asyncio.sleep(at_s)
        if work.done() or not self.store.events(RUN_ID):
            return
        try:
            await self._engine(_SessionLedger(self, number + 1000, Session())).resume(RUN_ID)
        except RunBusy:
            return
        except InvalidInput as error:
            if work.done() or "is done" in str(error):
                return
            raised: BaseException = error
        except KapelleError as error:
            raised = error
        else:
            raised = AssertionError("it went on with a run that another engine works on")
        self.note("over", number + 1000, data={"raised": type(raised).__name__, "text": f"a rival engine: {raised}"})

    def _stop(self) -> None:
        events = self.store.events(RUN_ID)
        sessions = sum(1 for event in events if event.kind == "run_resumed")
        with suppress(KapelleError):
            self.store.post(RUN_ID, f"stop-{sessions}", {"by": "a person"})
            self.posted = True

    def _engine(self, ledger: _SessionLedger) -> Engine:
        world = self.world
        hedge = None if world.hedge_after_s is None else HedgePolicy(after=1e-6, least_s=world.hedge_after_s)
        engine = Engine(
            self._agents(ledger),
            model="none",
            ledger=cast(Ledger, ledger),  # what it does not define the store does
            environ={},
            reflector=_Reflector(self, ledger) if world.reflects else None,
            limits=ExecutionLimits(
                task_timeout_s=world.task_timeout_s,
                retry=RetryPolicy(max_attempts=world.max_attempts, first_delay_s=0.5, max_delay_s=2.0),
                max_fallbacks=world.max_fallbacks,
                hedge=hedge,
            ),
            timer=self.clock,
            clock=lambda: EPOCH + self.clock(),
            heartbeat=lambda: _Heartbeat(ledger),
        )
        engine.router = _Router(world)  # type: ignore[assignment]  # it stands in for the whole of routing
        if world.reassigns:
            engine.router = _MovableRouter(world, engine)
        if world.replans:
            engine.team = dataclasses.replace(
                engine.team, replanner=_Replanner(self, ledger), planning_cost_usd=PLANNING_USD
            )
            engine.reflection = dataclasses.replace(engine.reflection, cost_usd=PLANNING_USD)  # a planner looks on
        return engine

    def _agents(self, ledger: _SessionLedger) -> AgentRegistry:
        cards = [
            AgentCapability(
                agent_id=one.name,
                task_types=("work", "verify"),
                cost_usd=one.price_usd,
                seconds=one.seconds,
                max_concurrency=one.places,
            )
            for one in self.world.agents
        ]
        return AgentRegistry(cards, runners={card.agent_id: _Agent(self, ledger, card.agent_id) for card in cards})

    def _plan(self) -> Plan:
        graph = TaskDAG(make_task(task) for task in self.world.tasks)
        return Plan(request="simulated", graph=graph, planner="simulation")

    def heard(self, event: Event) -> None:
        """An event is durable: people hear of questions."""
        if event.kind != "task_asked":
            return
        task = event.task_id or ""
        say = self.world.say(task, self.asked[task])
        self.asked[task] += 1
        if say.yes is None:
            return
        self.saying += 1
        self.all_said.clear()
        asyncio.get_running_loop().call_later(say.after_s, self._say, event.data, say.yes)

    def _say(self, asked: Mapping[str, Any], yes: bool) -> None:
        self.saying -= 1
        if not self.saying:
            self.all_said.set()
        found = [one for one in self.store.questions(RUN_ID) if one.question_id == asked["question_id"]]
        for question in found:
            answer: Any = yes if question.kind == "approval" else "so" if yes else "otherwise"
            with suppress(KapelleError):
                self.store.post(RUN_ID, question.question_id, answer_message(question, answer=answer, by="a person"))
                self.posted = True


def make_task(spec: TaskSpec, *, of: str = "") -> Task:
    """Return the task that a world specifies, or a part `of` one."""
    return Task(
        task_id=spec.name,
        task_type="work",
        description=f"Do {spec.name} {of}".strip(),
        depends_on=spec.after,
        inputs={f"from_{name}": f"{{{name}}}" for name in spec.refers},
        priority=spec.priority,
        deadline_s=spec.deadline_s,
        risk=spec.risk,
        on_failure=spec.on_failure,
        needs=spec.needs,
        approval=spec.approval,
        metadata={"output_schema": {"type": "integer"}} if spec.way.kind == "cascade" and not spec.way.judge else {},
    )


def make_strategy(way: Way) -> Strategy:
    """Return the strategy that a world specifies."""
    match way.kind:
        case "cascade":
            check = Check(kind="well_formed") if way.judge is None else Check(kind="verifier", agent=way.judge)
            return Cascade(cheap=way.agents[0], check=check, strong=Single(agent=way.agents[1]))
        case "vote":
            further = None if way.escalate_to is None else Single(agent=way.escalate_to)
            return Vote(agents=way.agents, escalate_to=further)
    return Single(agent=way.agents[0])


async def _call_here(function: Any, *args: Any, **options: Any) -> Any:
    """Do at once what would be done on a thread: threads do not see the virtual clock."""
    return function(*args, **options)


class _Router:
    """Gives every task to whom the world gives it."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def route_tasks(self, dag: TaskDAG, **_: Any) -> RoutingPlan:
        await asyncio.sleep(self._world.approval_s)
        ways = {task_id: self._world.way_of(task_id) for task_id in dag.tasks}
        return RoutingPlan(
            assignments={task_id: way.agents[0] for task_id, way in ways.items()},
            explanations=dict.fromkeys(ways, "the world says so"),
            strategies={task_id: make_strategy(way) for task_id, way in ways.items() if way.kind != "single"},
        )

    def find_firm(self, tasks: Iterable[Task], available_agents: Iterable[str] | None = None) -> dict[str, str]:
        return {}


class _MovableRouter(HALORouter):
    """Gives every task to whom the world gives it at first; the engine's optimiser may move it later."""

    def __init__(self, world: World, engine: Engine) -> None:
        super().__init__(
            engine.team.registry,
            rules=(),
            enable_cost_optimization=True,
            cost_profiler=engine.profiler,
            daao_optimizer=engine.optimizer,
        )
        self._router = _Router(world)

    async def route_tasks(self, dag: TaskDAG, *_: Any, **__: Any) -> RoutingPlan:
        return await self._router.route_tasks(dag)


class _Agent:
    def __init__(self, player: _Player, ledger: _SessionLedger, name: str) -> None:
        self._player, self._ledger, self._name = player, ledger, name

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        player, session = self._player, self._ledger.number
        judged = context.idempotency_key.split("/")[1] if task.task_type == "verify" else None
        where = {"task": judged or task.task_id, "agent": self._name, "call": player.calls}
        player.calls += 1
        place = ("verify" if judged else task.task_id, self._name)
        act = player.world.act(*place, player.calls_of[place])
        player.calls_of[place] += 1
        seen = {
            "key": context.idempotency_key,
            "upstream": dict(context.upstream),
            "missing": sorted(context.missing),
            "answers": [one.value for one in context.answers],
            "inputs": {} if judged else dict(task.inputs),
            "judges": judged is not None,
            "does": act.does,
        }
        player.note("begin", session, data=seen, **where)
        try:
            await asyncio.sleep(1e6 if act.does == "hang" else act.seconds)
        except asyncio.CancelledError:
            if act.does != "stubborn":
                player.note("cancelled", session, **where)
                raise
            try:
                await asyncio.sleep(7.0)
            except asyncio.CancelledError:  # its run is over
                player.note("cancelled", session, **where)
                raise
        did = {"does": act.does, "value": act.value, "cost_usd": act.cost_usd, "rest_s": act.rest_s}
        player.note("end", session, data=did, **where)
        if judged and act.does == "answer":
            return AgentResult(output="yes" if act.value == 1 else "no", cost_usd=act.cost_usd)
        return _give(act, task.task_id, player.world.grows.get(task.task_id, ()))


def _give(act: Act, task: str, children: Sequence[TaskSpec]) -> AgentResult:
    match act.does:
        case "fail":
            raise AgentFailed("it cannot be done", cost_usd=act.cost_usd)
        case "crash":
            raise ValueError("a bug")
        case "again":
            raise TryAgain("it is overloaded", cost_usd=act.cost_usd, retry_after_s=act.rest_s or None)
        case "ask":
            raise AskPerson("Which one?", cost_usd=act.cost_usd)
        case "grow":
            parts = TaskDAG(make_task(child, of=task) for child in children)
            return AgentResult(output=None, cost_usd=act.cost_usd, expansion=parts)
        case "odd":
            return _odd(act.value)
    return AgentResult(output=act.value, cost_usd=act.cost_usd)


def _odd(name: str) -> AgentResult:
    what, _, value = name.partition(" ")
    match what:
        case "cost":
            figure: Any = {"-1": -1.0, "nan": math.nan, "inf": math.inf, "1e300": 1e300, "text": "0.1"}[value]
            return AgentResult(output=1, cost_usd=figure)
        case "tokens":
            count: Any = {"1.5": 1.5, "nan": math.nan, "-3": -3, "2**63": 2**63}[value]
            return AgentResult(output=1, usage=Usage(input_tokens=count))
        case "quality":
            return AgentResult(output=1, quality=math.nan)
        case "output":
            itself: list[Any] = []
            itself.append(itself)
            return AgentResult(output={"set": {1, 2}, "lambda": _odd, "itself": itself}[value])
        case "raises":
            raise {
                "KeyboardInterrupt": KeyboardInterrupt(),
                "CancelledError": asyncio.CancelledError(),
                "what cannot be shown": _Unshowable(),
            }[value]
    return cast(AgentResult, None if value == "is None" else 7)


class _Unshowable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


class _Replanner:
    def __init__(self, player: _Player, ledger: _SessionLedger) -> None:
        self._player, self._ledger = player, ledger

    async def replan(self, task: Task, reason: str, context: TaskContext) -> AgentResult | None:
        await asyncio.sleep(self._player.world.replan_s)
        children = self._player.world.replans.get(task.task_id, ())
        if not children:
            return None
        parts = TaskDAG(make_task(child, of=task.task_id) for child in children)
        return AgentResult(output=None, cost_usd=REPLAN_USD, expansion=parts)


class _Reflector:
    def __init__(self, player: _Player, ledger: _SessionLedger) -> None:
        self._player, self._ledger = player, ledger

    async def reflect(self, task: Task, output: Any, graph: TaskDAG) -> Reflection | None:
        await asyncio.sleep(0.3)
        name = self._player.world.reflects.get(task.task_id)
        if name is None or name in graph.tasks or task.task_id not in graph.tasks:
            return None
        new = Task(task_id=name, task_type="work", description=f"Do {name}", depends_on=(task.task_id,))
        return Reflection(patch=GraphPatch(add=(new,)), reason="there is more to do", cost_usd=REFLECT_USD)


class _Heartbeat(LoopHeartbeat):
    """Beats until its engine is not heard of any more."""

    def __init__(self, ledger: _SessionLedger) -> None:
        super().__init__()
        self._ledger = ledger

    def start(self, beat: Any, every_s: float) -> None:
        super().start(lambda: None if self._ledger.is_silent else beat(), every_s)


class _SessionLedger:
    """The store as one engine sees it."""

    def __init__(self, player: _Player, number: int, trouble: Session) -> None:
        self._player, self.number, self._trouble = player, number, trouble
        self._store = player.store
        self._began = player.clock()
        self._writes = 0
        self.is_dead = False
        self.owner = ""

    def __getattr__(self, name: str) -> Any:
        if self.is_dead:
            raise Killed
        return getattr(self._store, name)

    def die(self) -> None:
        if not self.is_dead:
            self.is_dead = True
            self._player.note("killed", self.number)

    @property
    def is_silent(self) -> bool:
        """Whether nothing is heard of the engine any more."""
        at = self._trouble.overtaken_at_s
        return self.is_dead or (at is not None and self._passed >= at)

    @property
    def _passed(self) -> float:
        return self._player.clock() - self._began

    def new_run_id(self) -> str:
        return RUN_ID

    def append(self, run_id: str, kind: Any, data: Any = None, **more: Any) -> Event:
        trouble = self._trouble
        if self.is_dead:
            raise Killed
        self._writes += 1
        first, count = trouble.busy_events
        if count and first <= self._writes < first + count:
            raise LedgerBusy("The store is out of order.")
        dies = trouble.kill_at_event is not None and self._writes >= trouble.kill_at_event
        if dies and not trouble.kill_after_commit:
            self.die()
            raise Killed
        event = self._store.append(run_id, kind, data, **more)
        self._player.note("event", self.number, task=event.task_id, data={"kind": kind, "data": event.data})
        self._player.heard(event)
        if dies:
            self.die()
            raise Killed
        return event

    def inbox(self, run_id: str) -> dict[str, dict[str, Any]]:
        self._check_hearing()
        return self._store.inbox(run_id) if self._player.posted else {}

    def acquire_lease(self, run_id: str, owner: str, ttl_s: float, *, dead: str | None = None) -> Lease:
        self.owner = owner
        return self._store.acquire_lease(run_id, owner, ttl_s, dead=dead)

    def renew_lease(self, lease: Lease, ttl_s: float) -> Lease:
        self._check_hearing()
        return self._store.renew_lease(lease, ttl_s)

    def _check_hearing(self) -> None:
        if self.is_dead:
            raise Killed
        begin, length = self._trouble.deaf_s
        if begin <= self._passed < begin + length:
            raise InvalidInput("The disk is full.")


def _asks_for_more(error: InvalidInput) -> bool:
    """Whether the limits of a run are too tight for its plan, or used up: then a person gives more."""
    return isinstance(error, PlanRejected) or any(part in str(error) for part in ("has cost", "that it was given"))


def _outcome(work: asyncio.Task[Run]) -> Run | BaseException | None:
    if work.cancelled():
        return asyncio.CancelledError()
    return work.exception() or work.result()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple((key, _plain(one)) for key, one in value.items() if key != "owner")  # it names this very process
    if isinstance(value, (list, tuple)):
        return tuple(_plain(one) for one in value)
    return repr(value)
