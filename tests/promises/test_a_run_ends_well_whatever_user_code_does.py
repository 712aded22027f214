"""Observers, planners and cancelling: a run ends, tells the truth, and can be read, whatever the user's code does."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG
from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.errors import AgentFailed, InvalidInput
from kapelle.execution import ExecutionLimits, Reflection
from kapelle.graph import GraphPatch
from kapelle.ledger import Run
from kapelle.testing import LoopHeartbeat, ScriptedAgent, VirtualClock


def work(name: str, *after: str, **fields: Any) -> Task:
    return Task(task_id=name, task_type="work", description=f"Do {name}", depends_on=after, **fields)


class World:
    """An engine with one agent, on a clock of its own."""

    def __init__(self, agent: Any, ledger: SqliteLedger | None = None, **options: Any) -> None:
        self.clock = VirtualClock()
        self.ledger = ledger or SqliteLedger(clock=self.clock)
        card = AgentCapability(agent_id=options.pop("name", "one"), task_types=("work",), cost_usd=0.01)
        limits = options.pop("limits", ExecutionLimits(max_fallbacks=0, task_timeout_s=30, grace_s=5))
        self.engine = Engine(
            AgentRegistry([card], runners={card.agent_id: agent}),
            model="none",
            ledger=self.ledger,
            environ={},
            timer=self.clock,
            clock=self.clock,
            heartbeat=LoopHeartbeat,
            limits=limits,
            **options,
        )

    def run(self, *tasks: Task, **options: Any) -> Run:
        plan = Plan(request="x", graph=TaskDAG(tasks), planner="me")
        return self.clock.run(self.engine.run(plan, **options))

    def resume(self) -> Run:
        return self.clock.run(self.engine.resume("last"))


def states(run: Run) -> dict[str, str]:
    return {name: task.state for name, task in run.tasks.items()}


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError(), AgentFailed("no"), StopIteration()])
def test_a_watcher_that_raises_changes_nothing(error: BaseException) -> None:
    def watch(event: object) -> None:
        raise error

    world = World(ScriptedAgent())
    run = world.run(work("a"), work("b", "a"), on_event=watch)
    assert run.state == "done"
    assert world.ledger.run("last") == run


def test_a_watcher_that_is_async_is_refused_and_one_that_returns_a_coroutine_is_not_called_again() -> None:
    async def watch(event: object) -> None:
        raise AssertionError

    world = World(ScriptedAgent())
    with pytest.raises(InvalidInput, match="async"):
        world.run(work("a"), on_event=watch)
    calls = []

    def tell(event: object) -> object:
        calls.append(event)
        return watch(event)

    run = world.run(work("a"), on_event=tell)
    assert (run.state, len(calls)) == ("done", 1)


class Thinker:
    """A reflector, and a replanner, that does something odd after every task."""

    def __init__(self, found: Any) -> None:
        self.found = found

    async def reflect(self, task: Task, output: Any, graph: TaskDAG) -> Any:
        if self.found == "hangs":
            await asyncio.sleep(1e6)
        return self.found


NO_TASK: Any = "no task"
NO_PATCH: Any = "no patch"


@pytest.mark.parametrize(
    "found",
    [
        "hangs",
        7,
        Reflection(patch=NO_PATCH, reason="odd"),
        Reflection(patch=GraphPatch(add=()), reason="nothing"),
    ],
)
def test_a_reflector_ends_no_run_and_keeps_none_from_ending(found: Any) -> None:
    world = World(ScriptedAgent(), reflector=Thinker(found))
    run = world.run(work("a"), work("b", "a"))
    assert run.state == "done"
    assert world.clock() < 100


def test_a_name_that_a_replaced_task_had_is_used_up() -> None:
    class Grower:
        async def run(self, task: Task, context: TaskContext) -> AgentResult:
            if task.task_id == "a":
                return AgentResult(output=None, expansion=TaskDAG([work("x")]))
            return AgentResult(output=task.task_id)

    again = Reflection(patch=GraphPatch(add=(work("a", "a-x"),)), reason="once more")
    world = World(Grower(), reflector=Thinker(again))
    run = world.run(work("a"), work("b", "a"))
    assert states(run) == {"a-x": "done", "b": "done"}
    assert world.ledger.runs()[0].cost_usd == pytest.approx(run.cost_usd)


@pytest.mark.parametrize("how", ["on_failure", "deadline", "stop"])
def test_who_cancels_a_run_that_is_stopping_is_heard(how: str) -> None:
    class Stubborn:
        async def run(self, task: Task, context: TaskContext) -> AgentResult:
            if task.task_id == "fails":
                await asyncio.sleep(1)
                raise AgentFailed("no")
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                await asyncio.sleep(60)
            return AgentResult(output="late")

    limits = ExecutionLimits(max_fallbacks=0, grace_s=5, deadline_s=2.5 if how == "deadline" else None)
    world = World(Stubborn(), limits=limits)
    tasks = [work("slow"), *([work("fails", on_failure="fail")] if how == "on_failure" else [])]
    plan = Plan(request="x", graph=TaskDAG(tasks), planner="me")

    async def whole() -> bool:
        running = asyncio.create_task(world.engine.run(plan))
        await asyncio.sleep(1.5)
        if how == "stop":
            world.engine.stop("last")
        await asyncio.sleep(2.0)  # it waits now for the agent to tidy up
        running.cancel()
        await asyncio.wait({running})
        return running.cancelled()

    assert world.clock.run(whole())
    assert world.ledger.run("last").ended
    assert world.resume().ended


def test_a_failed_task_whose_agent_is_gone_stays_failed_and_the_rest_goes_on() -> None:
    class Killed(BaseException):
        pass

    def give(task: Task, context: TaskContext) -> str:
        if task.task_id == "a":
            raise AgentFailed("no")
        return "done"

    class DyingLedger(SqliteLedger):
        dies = True

        def append_all(self, run_id: str, new: Any, **more: Any) -> Any:
            kinds = [one.kind for one in new]
            if self.dies and "task_asked" in kinds:  # as where each event was written by itself
                super().append_all(run_id, new[: kinds.index("task_asked")], **more)
                raise Killed
            return super().append_all(run_id, new, **more)

    ledger = DyingLedger()
    agent = ScriptedAgent({"work": give})
    world = World(agent, ledger)
    with pytest.raises(Killed):
        world.run(work("a", on_failure="continue"), work("b", "a", approval=True))
    ledger.dies = False
    other = World(ScriptedAgent(), ledger, name="two")
    run = other.resume()
    assert (run.state, run.tasks["a"].state) == ("waiting", "failed")
    other.engine.approve(other.engine.questions()[0].question_id)
    assert states(other.resume()) == {"a": "failed", "b": "done"}


@pytest.mark.parametrize("first", ["fails", "is cancelled"])
def test_a_task_of_high_risk_begins_a_second_time_only_when_a_person_says_so(first: str) -> None:
    def give(task: Task, context: TaskContext) -> Any:
        if len(agent.tasks) == 1 and first == "fails":
            return AgentFailed("half of it")
        return "paid"

    agent = ScriptedAgent({"work": give}, seconds=5.0)
    world = World(agent)

    async def begin() -> Run:
        running = asyncio.create_task(
            world.engine.run(Plan(request="x", graph=TaskDAG([work("pay", risk="high")]), planner="me"))
        )
        await asyncio.sleep(2.0)
        if first == "is cancelled":
            world.engine.stop("last")
        return await running

    run = world.clock.run(begin())
    assert run.tasks["pay"].state == ("failed" if first == "fails" else "cancelled")
    for _ in range(2):  # rejected, it is not done; and the next resume asks once more
        assert world.resume().state == "waiting"
        (question,) = world.engine.questions()
        assert ("failed" if first == "fails" else "cancelled") in question.text
        world.engine.reject(question.question_id)
        assert world.resume().tasks["pay"].state == "failed"
        first = "fails"
        assert len(agent.tasks) == 1
    assert world.resume().state == "waiting"
    world.engine.approve(world.engine.questions()[0].question_id)
    assert world.resume().state == "done"
    assert len(agent.tasks) == 2


def test_what_a_run_took_more_than_was_set_aside_is_told_over_all_its_sessions() -> None:
    class Dear:
        async def run(self, task: Task, context: TaskContext) -> AgentResult:
            return AgentResult(output="done", cost_usd=0.05)

    world = World(Dear())
    run = world.run(work("a"), work("b", "a", approval=True), budget_usd=0.2)
    assert run.state == "waiting"
    assert run.overrun_usd == pytest.approx(0.04)
    world.engine.approve(world.engine.questions()[0].question_id)
    run = world.resume()
    assert run.state == "done"
    assert run.overrun_usd >= 0.04 - 1e-9


def test_a_stop_that_was_asked_for_while_the_run_was_planned_is_heard_before_anything_begins() -> None:
    agent = ScriptedAgent()

    class Slow:
        async def plan(self, request: str, agents: object) -> Plan:
            await asyncio.sleep(3)
            world.engine.stop("last")
            await asyncio.sleep(3)
            return Plan(request=request, graph=TaskDAG([work("a")]), planner="me")

    world = World(agent, planner=Slow())

    async def whole() -> Run:
        return await world.engine.run("do it")

    run = world.clock.run(whole())
    assert (run.state, agent.tasks) == ("stopped", [])


def test_a_task_whose_deadline_has_passed_does_not_begin() -> None:
    agent = ScriptedAgent(seconds=5.0)
    world = World(agent)
    run = world.run(work("a"), work("b", "a", deadline_s=5.0, risk="high"))
    assert states(run) == {"a": "done", "b": "failed"}
    assert "deadline" in (run.tasks["b"].reason or "")
    assert [task.task_id for task in agent.tasks] == ["a"]


def test_agents_that_fill_the_pool_of_threads_do_not_keep_a_run_from_being_planned() -> None:
    gate = threading.Event()

    async def whole() -> Run:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        stuck = asyncio.create_task(asyncio.to_thread(gate.wait))
        agent = ScriptedAgent()
        registry = AgentRegistry([agent.card("one", "work", seconds=1.0)], runners={"one": agent})
        engine = Engine(registry, model="none", ledger=SqliteLedger(), environ={})
        try:
            plan = Plan(request="x", graph=TaskDAG([work("a"), work("b", "a")]), planner="me")
            return await engine.run(plan, budget_usd=1.0, deadline_s=50.0, min_quality=0.1)
        finally:
            gate.set()
            await stuck

    assert asyncio.run(whole()).state == "done"
