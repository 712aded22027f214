"""A budget that several tasks draw on at once, without ever promising the same dollar twice.

    reserve   before the work: takes the amounts out of what is left, all of them or none
    commit    after the work: what was really used is spent, the rest of the reservation is free again
    release   the work did not happen: the whole reservation is free again

Invariant, per resource: spent + reserved <= cap + overrun. Work may use more than it reserved (a model wrote more than
was foreseen, and the provider has charged it already); `overrun` says by how much, and what is left shrinks at once.

Sums are whole numbers inside (10^-9 dollars and seconds: a thirtieth of what the cheapest tier takes for one token), so
that 0.1 + 0.2 fits into 0.3. Knows nothing of plans or prices: see profiler.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from kapelle.errors import BudgetExceeded, InvalidInput

_UNITS = {"usd": 10**9, "tokens": 1, "calls": 1, "seconds": 10**9}
_Units = dict[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Amounts:
    """An amount of every resource that a budget counts."""

    usd: float = 0.0
    tokens: float = 0
    """Whole; `math.inf` only in what is left where there is no limit."""
    calls: float = 0
    """Whole; `math.inf` only in what is left where there is no limit."""
    seconds: float = 0.0
    """Seconds of agents' work added up: two agents that work for 3 seconds side by side use 6."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Reservation:
    """Amounts that are set aside for one piece of work. Made by `Budget.reserve` and settled once."""

    amounts: Amounts


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetStatistics:
    """A budget at one moment: the amounts fit together, whatever other threads do."""

    spent: Amounts
    reserved: Amounts
    left: Amounts
    overrun: Amounts
    open_reservations: int
    refused: int
    """How many reservations did not fit."""


class Budget:
    """What may be used: dollars, tokens, calls, and seconds of agents' work added up. None is no limit.

    Thread-safe, and never blocks for long: it may be called from an event loop. `spent` starts with what an earlier
    part of the same run has used.

    Raises:
        InvalidInput: a limit is negative or not a number.

    >>> budget = Budget(usd=0.3)
    >>> first, second = budget.reserve(usd=0.1), budget.reserve(usd=0.2)
    >>> budget.left.usd
    0.0
    >>> budget.commit(first, usd=0.05)
    >>> budget.release(second)
    >>> budget.left.usd, budget.spent.usd
    (0.25, 0.05)
    """

    def __init__(
        self,
        usd: float | None = None,
        tokens: int | None = None,
        calls: int | None = None,
        seconds: float | None = None,
        *,
        spent: Amounts | None = None,
    ) -> None:
        given = {"usd": usd, "tokens": tokens, "calls": calls, "seconds": seconds}
        self._caps: _Units = {name: _units(name, value) for name, value in given.items() if value is not None}
        self._spent = _all_units(spent or Amounts())
        self._overrun = {name: max(0, self._spent[name] - self._caps.get(name, self._spent[name])) for name in _UNITS}
        self._reserved: _Units = dict.fromkeys(_UNITS, 0)
        self._open: dict[Reservation, _Units] = {}
        self._refused = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        caps = ", ".join(f"{name}={_amount(name, units):g}" for name, units in self._caps.items())
        return f"Budget({caps})"

    def reserve(self, usd: float = 0, tokens: int = 0, calls: int = 0, seconds: float = 0) -> Reservation:
        """Set these amounts aside, all of them or, when it raises, none.

        Raises:
            BudgetExceeded: one of them is not left; `.resource` is its name as an argument here.
            InvalidInput: an amount is negative or not a number.
        """
        reservation = Reservation(amounts=Amounts(usd=usd, tokens=tokens, calls=calls, seconds=seconds))
        wanted = _all_units(reservation.amounts)
        with self._lock:
            for name, units in wanted.items():
                left = self._left(name)
                if left is not None and units > max(left, 0):
                    self._refused += 1
                    raise BudgetExceeded(name, wanted=_amount(name, units), left=_amount(name, max(left, 0)))
            self._move(self._reserved, wanted)
            self._open[reservation] = wanted
        return reservation

    def commit(
        self,
        reservation: Reservation,
        usd: float | None = None,
        tokens: int | None = None,
        calls: int | None = None,
        seconds: float | None = None,
    ) -> None:
        """Settle a reservation with what was really used; what is not given was used as reserved.

        Using more than was reserved is recorded, not refused: the money is gone. See `overrun`.

        Raises:
            InvalidInput: it is settled already, or an amount is negative or not a number; nothing changes then.
        """
        given = {"usd": usd, "tokens": tokens, "calls": calls, "seconds": seconds}
        used = {name: _units(name, value) for name, value in given.items() if value is not None}
        with self._lock:
            reserved = self._settle(reservation)
            used = {**reserved, **used}
            self._move(self._spent, used)
            self._move(self._overrun, {name: max(0, used[name] - reserved[name]) for name in _UNITS})

    def release(self, reservation: Reservation) -> None:
        """Give a reservation back unused.

        Raises:
            InvalidInput: it is settled already.
        """
        with self._lock:
            self._settle(reservation)

    @property
    def spent(self) -> Amounts:
        """What settled work has used."""
        return self.statistics().spent

    @property
    def reserved(self) -> Amounts:
        """What is set aside for work that is not settled."""
        return self.statistics().reserved

    @property
    def left(self) -> Amounts:
        """What can still be reserved; `math.inf` where there is no limit."""
        return self.statistics().left

    @property
    def overrun(self) -> Amounts:
        """By how much work has used more than it reserved, added up. Work that used less does not make up for it."""
        return self.statistics().overrun

    def statistics(self) -> BudgetStatistics:
        """Return the whole state at one moment."""
        with self._lock:
            left = {name: self._left(name) for name in _UNITS}
            return BudgetStatistics(
                spent=_amounts(self._spent),
                reserved=_amounts(self._reserved),
                left=Amounts(
                    **{n: math.inf if units is None else _amount(n, max(units, 0)) for n, units in left.items()}
                ),
                overrun=_amounts(self._overrun),
                open_reservations=len(self._open),
                refused=self._refused,
            )

    def _left(self, name: str) -> int | None:
        if name not in self._caps:
            return None
        return self._caps[name] - self._spent[name] - self._reserved[name]

    def _settle(self, reservation: Reservation) -> _Units:
        reserved = self._open.pop(reservation, None)
        if reserved is None:
            raise InvalidInput(
                f"This reservation is settled already, or another budget made it: {reservation!r}. "
                "Commit or release each reservation once."
            )
        self._move(self._reserved, {name: -units for name, units in reserved.items()})
        return reserved

    @staticmethod
    def _move(total: _Units, change: _Units) -> None:
        for name, units in change.items():
            total[name] += units


def _units(name: str, value: float) -> int:
    whole = _UNITS[name] == 1
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise InvalidInput(f"A budget was given {name}={value!r}; it must be a finite number, zero or more.")
    if whole and value != int(value):
        raise InvalidInput(f"A budget was given {name}={value!r}; {name} are counted in whole numbers.")
    return int(value) if whole else round(value * _UNITS[name])


def _all_units(amounts: Amounts) -> _Units:
    return {name: _units(name, getattr(amounts, name)) for name in _UNITS}


def _amount(name: str, units: int) -> float:
    return units if _UNITS[name] == 1 else units / _UNITS[name]


def _amounts(units: _Units) -> Amounts:
    return Amounts(**{name: _amount(name, value) for name, value in units.items()})
