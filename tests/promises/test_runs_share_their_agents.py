"""All runs of an engine share the places of its agents: none is ever asked more often at once than it allows.

No run starves, whatever the others have to do; who is cancelled gives its places back.
"""

from __future__ import annotations

import asyncio

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
