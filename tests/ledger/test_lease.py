"""Two engines never both write to one run: the lease says who may, and the fence refuses who comes too late."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kapelle.errors import InvalidInput, LeaseLost, RunBusy
from kapelle.ledger import Journal, Lease
from tests.ledger.stores import Store


def test_a_held_run_is_busy_and_the_error_says_who_has_it_and_for_how_long(store: Store) -> None:
    with store.open() as one, store.open() as other:
        one.acquire_lease("r", "host-a", 30)
        with pytest.raises(RunBusy, match=r"host-a.*free in (29|30) s") as busy:
            other.acquire_lease("r", "host-b", 30)
    assert (busy.value.run_id, busy.value.owner) == ("r", "host-a")
    assert 25 < busy.value.wait_s <= 30


def test_who_wakes_up_after_a_takeover_writes_nothing(store: Store) -> None:
    with store.open() as one, store.open() as other:
        first = one.acquire_lease("r", "a", 10)
        one.append("r", "run_started", {"request": "x"}, fence=first.fence)
        store.pass_time(11)
        second = other.acquire_lease("r", "b", 10)
        other.append("r", "run_planned", {"graph": {}, "planner": "p"}, fence=second.fence)
        assert second.fence > first.fence
        for write in (
            lambda: one.append("r", "run_finished", fence=first.fence),
            lambda: one.renew_lease(first, 10),
            lambda: Journal(one, "r", lease=first).write("run_finished"),
        ):
            with pytest.raises(LeaseLost, match=r"taken over by b \(fence 2\)"):
                write()
        one.release_lease(first)
        Journal(other, "r", lease=second).write("run_rejected")
        assert [event.kind for event in one.events("r")] == ["run_started", "run_planned", "run_rejected"]


def test_an_expired_lease_that_nobody_took_still_writes(store: Store) -> None:
    with store.open() as ledger:
        lease = ledger.acquire_lease("r", "a", 10)
        store.pass_time(100)
        assert ledger.append("r", "task_skipped", fence=lease.fence).seq == 0
        assert ledger.renew_lease(lease, 10).fence == lease.fence


def test_a_renewed_lease_goes_on_and_a_released_one_is_free(store: Store) -> None:
    with store.open() as one, store.open() as other:
        lease = one.acquire_lease("r", "a", 10)
        store.pass_time(8)
        lease = one.renew_lease(lease, 10)
        store.pass_time(8)
        with pytest.raises(RunBusy):
            other.acquire_lease("r", "b", 10)
        one.release_lease(lease)
        one.release_lease(lease)
        with pytest.raises(LeaseLost, match="was released"):
            one.append("r", "run_started", {"request": "x"}, fence=lease.fence)
        assert other.acquire_lease("r", "b", 10).fence > lease.fence


def test_leases_of_other_runs_are_no_leases_of_this_one(store: Store) -> None:
    with store.open() as ledger:
        lease = ledger.acquire_lease("r", "a", 10)
        assert ledger.acquire_lease("s", "b", 10).fence == 1
        ledger.append("s", "task_skipped", fence=lease.fence)  # fences count by run
        with pytest.raises(LeaseLost):
            ledger.append("t", "task_skipped", fence=lease.fence)


def test_a_clock_that_jumps_back_hands_out_nothing_that_is_held(store: Store) -> None:
    with store.open() as one, store.open() as other:
        lease = one.acquire_lease("r", "a", 10)
        store.pass_time(-500)
        with pytest.raises(RunBusy):
            other.acquire_lease("r", "b", 10)
        assert one.renew_lease(lease, 10).expires_at >= lease.expires_at
        store.pass_time(505)
        with pytest.raises(RunBusy):
            other.acquire_lease("r", "b", 10)


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, math.inf, math.nan])
def test_a_time_that_is_none_is_refused(store: Store, ttl_s: float) -> None:
    with store.open() as ledger:
        with pytest.raises(InvalidInput, match="no time for a lease"):
            ledger.acquire_lease("r", "a", ttl_s)
        assert ledger.acquire_lease("r", "a", 1).fence == 1


def test_fences_cannot_be_lowered_nor_forgotten_while_the_run_is_there(store: Store) -> None:
    with store.open() as ledger:
        ledger.append("r", "task_skipped")
        ledger.acquire_lease("r", "a", 10)
    for change in ("UPDATE leases SET fence = 0", "DELETE FROM leases"):
        with pytest.raises(store.refused, match=r"fences only grow|leases of a run are kept"):
            store.change(change)


STEPS = st.lists(
    st.tuples(st.sampled_from(["acquire", "renew", "release", "append", "wait"]), st.integers(0, 5)), max_size=20
)


# One ledger serves all examples: each is a run of its own.
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=60
)
@given(steps=STEPS)
def test_whatever_happens_only_the_last_fence_writes_and_fences_only_grow(
    store: Store, steps: list[tuple[str, int]]
) -> None:
    with store.open() as ledger:
        run_id = ledger.new_run_id()
        granted: list[Lease] = []
        current: Lease | None = None
        written = 0
        left_s = 0.0
        for step, number in steps:
            if step == "wait":
                store.pass_time(number * 10.0 - 10)
                left_s -= 0 if current is None else number * 10.0 - 10
            elif step == "acquire":
                try:
                    current = ledger.acquire_lease(run_id, f"engine {number}", 15)
                except RunBusy:
                    assert current is not None
                    assert left_s > 0
                else:
                    assert left_s <= 0
                    left_s = 15
                    assert [lease.fence for lease in granted] == list(range(1, current.fence))
                    granted.append(current)
            elif granted:
                lease = granted[number % len(granted)]
                if step == "release":
                    ledger.release_lease(lease)
                    if lease == current:
                        current, left_s = None, 0
                    continue
                change: dict[str, Callable[[], object]] = {
                    "append": lambda lease=lease: ledger.append(run_id, "task_skipped", fence=lease.fence),  # type: ignore[misc]
                    "renew": lambda lease=lease: ledger.renew_lease(lease, 15),  # type: ignore[misc]
                }
                if lease == current:
                    change[step]()
                    written += step == "append"
                    left_s = max(left_s, 15) if step == "renew" else left_s
                else:
                    with pytest.raises(LeaseLost):
                        change[step]()
        assert len(ledger.events(run_id)) == written


def test_of_many_that_want_a_run_exactly_one_gets_it(store: Store) -> None:
    won: list[int] = []
    busy: list[str] = []

    def want(name: int) -> None:
        with store.open() as ledger:
            try:
                won.append(ledger.acquire_lease("r", str(name), 60).fence)
            except RunBusy as error:
                busy.append(error.owner)

    store.open().close()
    threads = [threading.Thread(target=want, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [1]
    assert len(busy) == 7
    assert len(set(busy)) == 1


ENGINE = """
import sys
from kapelle.errors import LeaseLost, RunBusy
from kapelle.ledger import open_ledger

place, name = sys.argv[1:]
grants = written = 0
with open_ledger(place) as ledger:
    while grants < 40:
        try:
            lease = ledger.acquire_lease("r", name, 0.0005)
        except RunBusy:
            continue
        grants += 1
        for number in range(grants % 5 * 5):  # the more it writes, the surer its time is over before it ends
            try:
                ledger.append("r", "task_skipped", {"fence": lease.fence, "by": name}, task_id="x", fence=lease.fence)
            except LeaseLost:
                break
            written += 1
        if grants % 2:
            ledger.release_lease(lease)
print(written)
"""


@pytest.mark.slow
def test_of_two_processes_that_fight_for_a_run_none_writes_after_the_other_took_over(store: Store) -> None:
    store.open().close()
    command = [sys.executable, "-W", "error", "-c", ENGINE, store.location]
    engines = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in ("one", "other")]
    said = [engine.communicate(timeout=120)[0] for engine in engines]
    with store.open(read_only=True) as ledger:
        events = ledger.events("r")
    assert [event.seq for event in events] == list(range(sum(map(int, said))))
    fences = [event.data["fence"] for event in events]
    assert fences == sorted(fences)
    holders = {(event.data["fence"], event.data["by"]) for event in events}
    assert len(holders) == len(set(fences)), "of one fence there was one holder"
