"""All runs of an engine share the places of its agents: none is ever asked more often at once than it allows.

No run starves, whatever the others have to do; who is cancelled gives its places back.
"""

from __future__ import annotations

import asyncio
import gc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kapelle import AgentCapability, Engine, Plan, Run, SqliteLedger, Task, TaskDAG
from kapelle.agents import AgentResult, TaskContext
from kapelle.errors import AgentFailed
from kapelle.execution import ExecutionLimits, RetryPolicy
from kapelle.testing import LoopHeartbeat, VirtualClock


class Counting:
    """An agent that takes ten seconds, and remembers how many it did at once and which task it began when."""

    def __init__(self, *, failing: bool = False) -> None:
        self.failing = failing
        self.now = self.most = 0
        self.begun: list[tuple[float, str]] = []

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        self.now += 1
        self.most = max(self.most, self.now)
        self.begun.append((asyncio.get_running_loop().time(), task.task_id))
        try:
            await asyncio.sleep(10)
            if self.failing:
                raise AgentFailed("no")
            return AgentResult(output=task.task_id)
        finally:
            self.now -= 1


def engine_of(agent: Counting, clock: VirtualClock, places: int) -> Engine:
    card = AgentCapability(agent_id="busy", task_types=("work",), cost_usd=0.0, max_concurrency=places)
    limits = ExecutionLimits(retry=RetryPolicy(max_attempts=1), max_fallbacks=0)
    return Engine(
        [(card, agent)],
        model="none",
        ledger=SqliteLedger(":memory:", clock=clock),
        limits=limits,
        timer=clock,
        clock=clock,
        heartbeat=LoopHeartbeat,
    )


def plan_of(name: str, count: int) -> Plan:
    tasks = [Task(task_id=f"{name}{number}", task_type="work") for number in range(count)]
    return Plan(request=name, graph=TaskDAG(tasks), planner="me")


@example(sizes=[3, 3], places=3, failing=False)
@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=4), places=st.integers(1, 3), failing=st.booleans())
@settings(max_examples=30, deadline=None)
def test_runs_together_ask_no_more_than_one_would_and_all_end(sizes: list[int], places: int, failing: bool) -> None:
    clock, agent = VirtualClock(), Counting(failing=failing)

    async def whole() -> list[Run]:
        with engine_of(agent, clock, places) as engine:
            return await asyncio.gather(*(engine.run(plan_of(f"r{n}t", size)) for n, size in enumerate(sizes)))

    runs = clock.run(whole())
    assert agent.most <= places
    assert {run.state for run in runs} == {"failed" if failing else "done"}
    assert len(agent.begun) == sum(sizes)
    assert clock() == pytest.approx(10.0 * -(-sum(sizes) // places))  # no place is left empty while anybody waits


def test_four_runs_of_an_agent_with_two_places_have_two_tasks_in_it() -> None:
    clock, agent = VirtualClock(), Counting()

    async def whole() -> list[Run]:
        with engine_of(agent, clock, 2) as engine:
            return await asyncio.gather(*(engine.run(plan_of(f"r{n}t", 4)) for n in range(4)))

    runs = clock.run(whole())
    assert agent.most == 2
    assert [run.state for run in runs] == ["done"] * 4


def test_a_small_run_does_not_wait_for_the_end_of_a_large_one() -> None:
    clock, agent = VirtualClock(), Counting()

    async def whole() -> None:
        with engine_of(agent, clock, 1) as engine:
            large = asyncio.ensure_future(engine.run(plan_of("large", 20)))
            await asyncio.sleep(5)
            await engine.run(plan_of("small", 2))
            assert not large.done()
            await large

    clock.run(whole())
    small = [at for at, name in agent.begun if name.startswith("small")]
    assert small == [10.0, 30.0]  # they take turns


def test_a_run_that_is_cancelled_gives_its_places_back() -> None:
    clock, agent = VirtualClock(), Counting()

    async def whole() -> Run:
        with engine_of(agent, clock, 2) as engine:
            first = asyncio.ensure_future(engine.run(plan_of("first", 9)))
            await asyncio.sleep(1)
            second = asyncio.ensure_future(engine.run(plan_of("second", 3)))
            await asyncio.sleep(1)
            first.cancel()
            run = await second
            with pytest.raises(asyncio.CancelledError):
                await first
            return run

    run = clock.run(whole())
    assert run.state == "done"
    assert agent.most == 2
    assert [at for at, name in agent.begun if name.startswith("second")] == [2.0, 2.0, 12.0]


def test_a_run_that_waits_and_is_cancelled_holds_up_nobody() -> None:
    clock, agent = VirtualClock(), Counting()

    async def whole() -> tuple[Run, Run]:
        with engine_of(agent, clock, 1) as engine:
            first = asyncio.ensure_future(engine.run(plan_of("first", 1)))
            await asyncio.sleep(1)
            waiting = asyncio.ensure_future(engine.run(plan_of("waiting", 1)))
            await asyncio.sleep(1)
            last = asyncio.ensure_future(engine.run(plan_of("last", 1)))
            await asyncio.sleep(1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            return await first, await last

    first, last = clock.run(whole())
    assert (first.state, last.state) == ("done", "done")
    assert agent.begun == [(0.0, "first0"), (10.0, "last0")]


class Asking:
    """An agent that has other agents' work done by runs of the engine that it works for itself."""

    def __init__(self, asks: str, *, deep: int = 1) -> None:
        self.asks, self.deep = asks, deep
        self.engine: Engine | None = None

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        await asyncio.sleep(1)
        left = int(task.inputs.get("left", self.deep))
        if not left or self.engine is None:
            return AgentResult(output="leaf")
        inner = [Task(task_id=f"t{n}", task_type=self.asks, inputs={"left": left - 1}) for n in range(2)]
        plans = [Plan(request="inner", graph=TaskDAG([one]), planner="me") for one in inner]
        runs = await asyncio.gather(*(self.engine.run(plan) for plan in plans))
        return AgentResult(output=[run.state for run in runs])


def run_asking(agents: dict[str, Asking], places: int, backend: str = "asyncio") -> list[Run]:
    clock = VirtualClock()
    cards = [
        (AgentCapability(agent_id=name, task_types=(name,), cost_usd=0.0, max_concurrency=places), one)
        for name, one in agents.items()
    ]

    async def whole() -> list[Run]:
        ledger = SqliteLedger(":memory:", clock=clock)
        with Engine(
            cards, model="none", ledger=ledger, timer=clock, clock=clock, heartbeat=LoopHeartbeat, backend=backend
        ) as engine:
            for one in agents.values():
                one.engine = engine
            graphs = [TaskDAG(Task(task_id=f"o{n}", task_type=name) for n in range(places + 1)) for name in agents]
            runs = await asyncio.gather(
                *(engine.run(Plan(request="outer", graph=graph, planner="me")) for graph in graphs)
            )
            assert not any(engine.executor.places.taken.values())  # each place is given back once
            return runs

    return clock.run(whole())


@pytest.mark.parametrize("places", [1, 2])
@pytest.mark.parametrize("deep", [1, 3])
def test_an_agent_whose_call_runs_more_of_its_own_work_does_not_wait_for_itself(places: int, deep: int) -> None:
    runs = run_asking({"boss": Asking("boss", deep=deep)}, places)
    assert [run.state for run in runs] == ["done"]


def test_agents_that_have_each_others_work_done_do_not_wait_for_each_other() -> None:
    runs = run_asking({"ann": Asking("bob"), "bob": Asking("ann")}, 1)
    assert [run.state for run in runs] == ["done", "done"]


def test_a_run_whose_event_loop_was_closed_leaves_its_places() -> None:
    class Slow:
        is_slow = True

        async def run(self, task: Task, context: TaskContext) -> AgentResult:
            if self.is_slow:
                begun.set()
                await asyncio.Event().wait()
            return AgentResult(output=task.task_id)

    agent, begun = Slow(), asyncio.Event()
    card = AgentCapability(agent_id="busy", task_types=("work",), cost_usd=0.0, max_concurrency=1)
    with Engine([(card, agent)], model="none", ledger=SqliteLedger(":memory:"), heartbeat=LoopHeartbeat) as engine:
        loop = asyncio.new_event_loop()
        lost = loop.create_task(engine.run(plan_of("lost", 2)))

        loop.run_until_complete(begun.wait())
        loop.close()
        agent.is_slow = False
        run = asyncio.run(engine.run(plan_of("next", 1), deadline_s=60))
        assert run.state == "done"
        assert not lost.done()
        lost._log_destroy_pending = False  # type: ignore[attr-defined]  # that is what this test is about
        del lost, loop
        gc.collect()  # what is left of it ends once more
        assert asyncio.run(engine.run(plan_of("last", 2), deadline_s=60)).state == "done"
        assert not any(engine.executor.places.taken.values())


def test_a_call_that_ends_before_the_run_it_began_has_one_place() -> None:
    clock = VirtualClock()
    started: list[asyncio.Task[Run]] = []

    class Leaving:
        engine: Engine

        async def run(self, task: Task, context: TaskContext) -> AgentResult:
            if task.task_id.startswith("outer"):
                started.append(asyncio.ensure_future(self.engine.run(plan_of("inner", 2))))
                await asyncio.sleep(1)
            else:
                await asyncio.sleep(10)
            return AgentResult(output=1)

    agent = Leaving()
    card = AgentCapability(agent_id="busy", task_types=("work",), cost_usd=0.0, max_concurrency=1)

    async def whole() -> list[Run]:
        ledger = SqliteLedger(":memory:", clock=clock)
        with Engine(
            [(card, agent)], model="none", ledger=ledger, timer=clock, clock=clock, heartbeat=LoopHeartbeat
        ) as engine:
            agent.engine = engine
            outer = await engine.run(plan_of("outer", 1))
            runs = [outer, *await asyncio.gather(*started)]
            assert not any(engine.executor.places.taken.values())
            return runs

    assert [run.state for run in clock.run(whole())] == ["done", "done"]
    assert clock() == 20.0
