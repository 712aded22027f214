"""Two engines never both write to one run: the lease says who may, and the fence refuses who comes too late."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest

from kapelle.errors import InvalidInput, LeaseLost, RunBusy
from kapelle.ledger import SqliteLedger


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def ledgers(path: Path) -> tuple[SqliteLedger, SqliteLedger, Clock]:
    clock = Clock()
    return SqliteLedger(path / "l.sqlite", clock=clock), SqliteLedger(path / "l.sqlite", clock=clock), clock


def test_a_held_run_is_busy_and_the_error_says_who_has_it_and_for_how_long(tmp_path: Path) -> None:
    one, other, _ = ledgers(tmp_path)
    one.acquire_lease("r", "host-a", 30)
    with pytest.raises(RunBusy, match="host-a") as busy:
        other.acquire_lease("r", "host-b", 30)
    assert "30" in str(busy.value)


def test_who_wakes_up_after_a_takeover_writes_nothing(tmp_path: Path) -> None:
    one, other, clock = ledgers(tmp_path)
    first = one.acquire_lease("r", "a", 10)
    one.append("r", "run_started", {"request": "x"}, fence=first.fence)
    clock.now += 10
    second = other.acquire_lease("r", "b", 10)
    other.append("r", "run_planned", {"graph": {}, "planner": "p"}, fence=second.fence)
    assert second.fence > first.fence
    for write in (lambda: one.append("r", "run_finished", fence=first.fence), lambda: one.renew_lease(first, 10)):
        with pytest.raises(LeaseLost):
            write()
    assert [event.kind for event in one.events("r")] == ["run_started", "run_planned"]


def test_a_renewed_lease_goes_on_and_a_released_one_is_free(tmp_path: Path) -> None:
    one, other, clock = ledgers(tmp_path)
    lease = one.acquire_lease("r", "a", 10)
    clock.now += 8
    lease = one.renew_lease(lease, 10)
    clock.now += 8
    with pytest.raises(RunBusy):
        other.acquire_lease("r", "b", 10)
    one.release_lease(lease)
    one.release_lease(lease)
    assert other.acquire_lease("r", "b", 10).fence > lease.fence
    with pytest.raises(LeaseLost):
        one.append("r", "run_started", {"request": "x"}, fence=lease.fence)


def test_a_clock_that_jumps_back_hands_out_nothing_that_is_held(tmp_path: Path) -> None:
    one, other, clock = ledgers(tmp_path)
    one.acquire_lease("r", "a", 10)
    clock.now -= 500
    with pytest.raises(RunBusy):
        other.acquire_lease("r", "b", 10)


def test_of_many_that_want_a_run_exactly_one_gets_it(tmp_path: Path) -> None:
    won: list[int] = []

    def want(name: int) -> None:
        with SqliteLedger(tmp_path / "l.sqlite") as ledger:
            try:
                won.append(ledger.acquire_lease("r", str(name), 60).fence)
            except RunBusy:
                return

    SqliteLedger(tmp_path / "l.sqlite").close()
    threads = [threading.Thread(target=want, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [1]


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, math.inf, math.nan])
def test_a_time_that_is_none_is_refused(tmp_path: Path, ttl_s: float) -> None:
    with pytest.raises(InvalidInput, match="no time for a lease"):
        SqliteLedger(tmp_path / "l.sqlite").acquire_lease("r", "a", ttl_s)
