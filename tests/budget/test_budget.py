from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from kapelle.budget import Amounts, Budget, Reservation
from kapelle.errors import BudgetExceeded, InvalidInput


def test_cents_that_add_up_to_the_limit_fit() -> None:
    budget = Budget(usd=0.3)
    budget.reserve(usd=0.1)
    budget.reserve(usd=0.2)
    assert budget.left.usd == 0


@given(st.lists(st.integers(min_value=0, max_value=10**6), min_size=1, max_size=50))
def test_any_cents_that_add_up_to_the_limit_fit(cents: list[int]) -> None:
    budget = Budget(usd=sum(cents) / 100)
    for cent in cents:
        budget.reserve(usd=cent / 100)
    assert budget.left.usd == 0


@pytest.mark.parametrize("resource", ["usd", "tokens", "calls", "seconds"])
def test_a_refusal_names_the_resource_and_takes_nothing(resource: str) -> None:
    budget = Budget(usd=10, tokens=10, calls=10, seconds=10)
    wanted: dict[str, Any] = {"usd": 1, "tokens": 1, "calls": 1, "seconds": 1, resource: 11}
    with pytest.raises(BudgetExceeded, match=f"10 {resource} left, and 11") as caught:
        budget.reserve(**wanted)
    assert (caught.value.resource, caught.value.wanted, caught.value.left) == (resource, 11, 10)
    assert budget.reserved == Amounts()
    assert budget.statistics().refused == 1


def test_what_was_reserved_but_not_used_is_free_again() -> None:
    budget = Budget(usd=1.0, tokens=100)
    reservation = budget.reserve(usd=0.8, tokens=100)
    budget.commit(reservation, usd=0.3)
    assert budget.spent == Amounts(usd=0.3, tokens=100)
    assert budget.left.usd == 0.7
    assert budget.reserved == Amounts()


def test_a_released_reservation_costs_nothing() -> None:
    budget = Budget(calls=1)
    budget.release(budget.reserve(calls=1))
    budget.reserve(calls=1)
    assert budget.spent.calls == 0


def test_a_reservation_is_settled_once() -> None:
    budget = Budget(usd=1)
    reservation = budget.reserve(usd=0.5)
    budget.commit(reservation, usd=0.1)
    with pytest.raises(InvalidInput, match="settled already"):
        budget.release(reservation)
    with pytest.raises(InvalidInput, match="settled already"):
        budget.commit(reservation, usd=0.1)
    assert budget.spent.usd == 0.1


def test_a_reservation_of_another_budget_is_refused() -> None:
    with pytest.raises(InvalidInput, match="another budget"):
        Budget(usd=1).release(Budget(usd=1).reserve(usd=0.5))


def test_using_more_than_reserved_is_recorded_and_stops_the_next() -> None:
    budget = Budget(usd=1.0)
    budget.commit(budget.reserve(usd=0.9), usd=1.25)
    assert budget.overrun.usd == 0.35
    assert budget.left.usd == 0
    with pytest.raises(BudgetExceeded):
        budget.reserve(usd=0.01)
    budget.reserve(usd=0, calls=3)


def test_what_an_earlier_part_of_the_run_used_counts() -> None:
    budget = Budget(usd=1.0, calls=2, spent=Amounts(usd=0.75, calls=3))
    assert budget.left.usd == 0.25
    assert budget.overrun == Amounts(calls=1)
    with pytest.raises(BudgetExceeded, match="0 calls left"):
        budget.reserve(calls=1)


def test_no_limit_is_no_limit() -> None:
    budget = Budget()
    budget.reserve(usd=1e6, tokens=10**15, calls=10**6, seconds=1e6)
    assert budget.left == Amounts(usd=math.inf, tokens=math.inf, calls=math.inf, seconds=math.inf)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1, True, "1", None])
def test_a_malformed_amount_is_named_and_changes_nothing(bad: Any) -> None:
    budget = Budget(usd=5)
    reservation = budget.reserve(usd=1)
    with pytest.raises(InvalidInput, match="seconds="):
        budget.reserve(usd=1, seconds=bad)
    if bad is not None:
        with pytest.raises(InvalidInput, match="usd="):
            budget.commit(reservation, usd=bad)
        with pytest.raises(InvalidInput, match="usd="):
            Budget(usd=bad)
    assert (budget.reserved.usd, budget.spent.usd) == (1, 0)


def test_half_a_token_is_refused() -> None:
    with pytest.raises(InvalidInput, match="whole"):
        Budget(tokens=1.5)  # type: ignore[arg-type]  # the point


def test_many_threads_together_never_reserve_more_than_there_is() -> None:
    budget = Budget(usd=1.0, calls=500)
    start = threading.Barrier(8)

    def draw() -> int:
        start.wait()
        won = 0
        for _ in range(50):
            try:
                budget.reserve(usd=0.01, calls=1)
            except BudgetExceeded:
                continue
            won += 1
        return won

    with ThreadPoolExecutor(8) as pool:
        won = sum(future.result() for future in [pool.submit(draw) for _ in range(8)])
    assert won == 100
    assert budget.reserved == Amounts(usd=1.0, calls=100)


_cents = st.integers(min_value=0, max_value=60).map(lambda cents: cents / 100)


class _Spending(RuleBasedStateMachine):
    """Whatever happens in whatever order, no more is promised and spent than the limit, recorded overruns apart."""

    reservations = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(usd=1.0, calls=4)
        self.spent_cents = 0

    @rule(target=reservations, usd=_cents, calls=st.integers(0, 2))
    def reserve(self, usd: float, calls: int) -> Reservation | None:
        before = self.budget.statistics()
        fits = round(usd * 100) <= round(before.left.usd * 100) and calls <= before.left.calls
        try:
            reservation = self.budget.reserve(usd=usd, calls=calls)
        except BudgetExceeded:
            assert not fits
            assert self.budget.reserved == before.reserved
            return None
        assert fits
        return reservation

    @rule(reservation=consumes(reservations), usd=_cents)
    def commit(self, reservation: Reservation | None, usd: float) -> None:
        if reservation is not None:
            self.budget.commit(reservation, usd=usd)
            self.spent_cents += round(usd * 100)

    @rule(reservation=consumes(reservations))
    def release(self, reservation: Reservation | None) -> None:
        if reservation is not None:
            self.budget.release(reservation)

    @invariant()
    def holds(self) -> None:
        now = self.budget.statistics()
        assert round(now.spent.usd * 100) == self.spent_cents
        assert now.spent.usd + now.reserved.usd <= 1.0 + now.overrun.usd + 1e-9
        assert now.spent.calls + now.reserved.calls <= 4


TestSpending = _Spending.TestCase
