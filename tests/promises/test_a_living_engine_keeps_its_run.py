"""While an engine lives, its run stays its own: its lease is renewed and given back, whatever agents and stores do."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import kapelle.engine.run_lease
from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG
from kapelle.agents import AgentRegistry
from kapelle.engine.run_lease import RunLease
from kapelle.errors import InvalidInput, LeaseLost, LedgerBusy
from kapelle.ledger import Lease
from kapelle.testing import LoopHeartbeat, ScriptedAgent, VirtualClock


class WatchedLedger(SqliteLedger):
    """Says when a lease was renewed, and fails at that as it is told to."""

    def __init__(self, *failures: BaseException, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self.failures = list(failures)
        self.renewed = threading.Semaphore(0)
        self.renewals = 0
        self.released = 0

    def renew_lease(self, lease: Lease, ttl_s: float) -> Lease:
        if self.failures:
            raise self.failures.pop(0)
        renewed = super().renew_lease(lease, ttl_s)
        self.renewals += 1
        self.renewed.release()
        return renewed

    def release_lease(self, lease: Lease) -> None:
        self.released += 1
        super().release_lease(lease)


def test_a_lease_is_renewed_while_agents_fill_the_pool_of_threads() -> None:
    ledger = WatchedLedger()
    gate = threading.Event()

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        stuck = [asyncio.create_task(asyncio.to_thread(gate.wait)) for _ in range(20)]
        async with RunLease(ledger, "r1", lease_s=0.03, tick_s=0.005):
            await _turns_until(lambda: ledger.renewals >= 3)
        gate.set()
        await asyncio.gather(*stuck)

    asyncio.run(whole())
    assert ledger.released == 1


async def _turns_until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - another thread makes it hold
        await asyncio.sleep(0)


def test_a_lease_is_renewed_while_an_agent_blocks_the_event_loop() -> None:
    ledger = WatchedLedger()

    async def whole() -> None:
        async with RunLease(ledger, "r1", lease_s=0.03, tick_s=0.005):
            for _ in range(3):
                assert ledger.renewed.acquire(timeout=60)  # the loop does nothing else meanwhile

    asyncio.run(whole())
    assert ledger.released == 1


@pytest.mark.parametrize(
    "failure",
    [
        InvalidInput("The disk is full."),
        LedgerBusy("Another process writes."),
        sqlite3.OperationalError("disk I/O error"),
        OSError(28, "No space left on device"),
        RuntimeError("anything"),
        MemoryError(),
    ],
)
def test_a_renewal_that_fails_is_tried_again_and_the_lease_is_given_back(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()
    ledger = WatchedLedger(failure, failure, clock=clock)

    async def whole() -> None:
        async with RunLease(ledger, "r1", heartbeat=LoopHeartbeat(), timer=clock):
            await clock.sleep(kapelle.engine.run_lease.LEASE_S * 3)

    with caplog.at_level(logging.CRITICAL, logger="kapelle"):
        clock.run(whole())
    assert ledger.renewals >= 7
    assert ledger.released == 1
    ledger.acquire_lease("r1", "another", 30)


@pytest.mark.parametrize("failure", [None, LedgerBusy("Another process writes.")])
def test_an_inbox_that_takes_long_to_read_delays_no_renewal(failure: Exception | None) -> None:
    clock = VirtualClock()
    late: list[float] = []

    class Slow(WatchedLedger):
        renewed_at = 0.0
        looks = 0

        def renew_lease(self, lease: Lease, ttl_s: float) -> Lease:
            late.append(clock() - self.renewed_at)
            self.renewed_at = clock()
            return super().renew_lease(lease, ttl_s)

        def inbox(self, run_id: str) -> Any:
            self.looks += 1
            if self.looks == 10:  # when the lease is due, after a third of its time
                clock.advance(kapelle.engine.run_lease.LEASE_S * 0.8)
            if failure is not None:
                raise failure
            return super().inbox(run_id)

    ledger = Slow(clock=clock)

    async def whole() -> None:
        async with RunLease(ledger, "r1", heartbeat=LoopHeartbeat(), timer=clock) as held:
            held.listen(lambda messages: None)
            await clock.sleep(kapelle.engine.run_lease.LEASE_S * 10)

    clock.run(whole())
    assert ledger.renewals >= 20
    assert max(late) < kapelle.engine.run_lease.LEASE_S


def test_a_lease_that_is_lost_is_not_asked_for_again() -> None:
    clock = VirtualClock()
    ledger = WatchedLedger(LeaseLost("r1", fence=1, current=2, owner="another"), clock=clock)

    async def whole() -> None:
        async with RunLease(ledger, "r1", heartbeat=LoopHeartbeat(), timer=clock):
            await clock.sleep(kapelle.engine.run_lease.LEASE_S * 3)

    clock.run(whole())
    assert ledger.renewals == 0


def run_for(seconds: float, ledger: SqliteLedger, clock: VirtualClock) -> Any:
    agent = ScriptedAgent({"work": "done"}, seconds=seconds)
    registry = AgentRegistry([agent.card("one", "work")], runners={"one": agent})
    engine = Engine(
        registry, model="none", ledger=ledger, environ={}, timer=clock, clock=clock, heartbeat=LoopHeartbeat
    )
    plan = Plan(request="x", graph=TaskDAG([Task(task_id="t", task_type="work")]), planner="me")
    return clock.run(engine.run(plan))


@pytest.mark.parametrize("failures", [1, 3, 25])
def test_a_run_ends_well_though_its_store_was_out_of_order_for_a_while(failures: int) -> None:
    clock = VirtualClock()
    ledger = WatchedLedger(*[InvalidInput("The disk is full.")] * failures, clock=clock)
    run = run_for(120.0, ledger, clock)
    assert run.state == "done"
    assert ledger.released == 1
    assert ledger.run("last") == run


def test_a_beat_that_nobody_waits_for_any_more_harms_nobody() -> None:
    async def whole() -> None:
        ledger = WatchedLedger()
        held = RunLease(ledger, "r1", tick_s=60)
        async with held:
            asking = asyncio.create_task(held.fetch())
            await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait({asking})
            assert asking.cancelled()
            await held.fetch()
        assert ledger.released == 1

    asyncio.run(whole())
