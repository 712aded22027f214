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
from collections.abc import Iterable
from dataclasses import dataclass

from kapelle.errors import BudgetExceeded, InvalidInput

_NAMES = ("usd", "tokens", "calls", "seconds")
_SCALES = (10**9, 1, 1, 10**9)
_Units = tuple[int, int, int, int]
"""Whole numbers of each resource, in the order of `_NAMES`. No mappings: every task passes here twice."""
_NOTHING: _Units = (0, 0, 0, 0)


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


class Reservation:
    """Amounts that are set aside for one piece of work. Made by `Budget.reserve` and settled once."""

    __slots__ = ("_units",)

    def __init__(self, units: _Units) -> None:
        self._units = units

    def __repr__(self) -> str:
        return f"Reservation({self.amounts!r})"

    @property
    def amounts(self) -> Amounts:
        """What is set aside."""
        return _amounts(self._units)

    @property
    def usd(self) -> float:
        """The dollars of it."""
        return _amount(0, self._units[0])


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
        given = (usd, tokens, calls, seconds)
        self._caps = tuple(None if value is None else _units(place, value) for place, value in enumerate(given))
        used = spent or Amounts()
        self._spent = _fours(_units(place, getattr(used, name)) for place, name in enumerate(_NAMES))
        self._overrun: _Units = _fours(
            0 if cap is None else max(0, used - cap) for cap, used in zip(self._caps, self._spent, strict=True)
        )
        self._overrun_before = self._overrun
        self._reserved = _NOTHING
        self._open: dict[Reservation, _Units] = {}
        self._refused = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        caps = ", ".join(f"{_NAMES[i]}={_amount(i, cap):g}" for i, cap in enumerate(self._caps) if cap is not None)
        return f"Budget({caps})"

    def reserve(self, usd: float = 0, tokens: int = 0, calls: int = 0, seconds: float = 0) -> Reservation:
        """Set these amounts aside, all of them or, when it raises, none.

        Raises:
            BudgetExceeded: one of them is not left; `.resource` is its name as an argument here.
            InvalidInput: an amount is negative or not a number.
        """
        wanted = (_units(0, usd), _units(1, tokens), _units(2, calls), _units(3, seconds))
        reservation = Reservation(wanted)
        with self._lock:
            for place, cap in enumerate(self._caps):
                if cap is None:
                    continue
                left = max(0, cap - self._spent[place] - self._reserved[place])
                if wanted[place] > left:
                    self._refused += 1
                    wanted_here, left_here = _amount(place, wanted[place]), _amount(place, left)
                    raise BudgetExceeded(_NAMES[place], wanted=wanted_here, left=left_here)
            self._reserved = _add(self._reserved, wanted)
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
        usd_units = None if usd is None else _units(0, usd)
        token_units = None if tokens is None else _units(1, tokens)
        call_units = None if calls is None else _units(2, calls)
        second_units = None if seconds is None else _units(3, seconds)
        with self._lock:
            reserved = self._settle(reservation)
            used = (
                reserved[0] if usd_units is None else usd_units,
                reserved[1] if token_units is None else token_units,
                reserved[2] if call_units is None else call_units,
                reserved[3] if second_units is None else second_units,
            )
            self._spent = _add(self._spent, used)
            if used[0] > reserved[0] or used[1] > reserved[1] or used[2] > reserved[2] or used[3] > reserved[3]:
                more = _fours(max(0, one - set_aside) for one, set_aside in zip(used, reserved, strict=True))
                self._overrun = _add(self._overrun, more)

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
        with self._lock:
            return self._left()

    @property
    def overrun(self) -> Amounts:
        """By how much work has used more than it reserved, added up. Work that used less does not make up for it."""
        return self.statistics().overrun

    @property
    def cap_usd(self) -> float | None:
        """The dollars that may be spent; None where there is no limit."""
        cap = self._caps[0]
        return None if cap is None else _amount(0, cap)

    @property
    def usd_is_spent(self) -> bool:
        """Whether settled work has spent all the dollars there are; never where there is no limit, or nothing spent."""
        cap = self._caps[0]
        with self._lock:
            return cap is not None and 0 < self._spent[0] >= cap

    @property
    def own_overrun_usd(self) -> float:
        """The dollars of `overrun` that came with work settled here, not with what had been spent before."""
        with self._lock:
            return _amount(0, self._overrun[0] - self._overrun_before[0])

    def _left(self) -> Amounts:
        left = [
            math.inf if cap is None else _amount(place, max(0, cap - self._spent[place] - self._reserved[place]))
            for place, cap in enumerate(self._caps)
        ]
        return Amounts(**dict(zip(_NAMES, left, strict=True)))

    def statistics(self) -> BudgetStatistics:
        """Return the whole state at one moment."""
        with self._lock:
            return BudgetStatistics(
                spent=_amounts(self._spent),
                reserved=_amounts(self._reserved),
                left=self._left(),
                overrun=_amounts(self._overrun),
                open_reservations=len(self._open),
                refused=self._refused,
            )

    def _settle(self, reservation: Reservation) -> _Units:
        reserved = self._open.pop(reservation, None)
        if reserved is None:
            raise InvalidInput(
                f"This reservation is settled already, or another budget made it: {reservation!r}. "
                "Commit or release each reservation once."
            )
        held = self._reserved
        self._reserved = (held[0] - reserved[0], held[1] - reserved[1], held[2] - reserved[2], held[3] - reserved[3])
        return reserved


def _units(place: int, value: float) -> int:
    """Return an amount of a resource in whole units."""
    kind = type(value)
    if kind is float or kind is int:
        if value == 0:
            return 0
        if value > 0 and math.isfinite(value):
            scale = _SCALES[place]
            if scale != 1:
                return round(value * scale)
            if value == int(value):
                return int(value)
            raise InvalidInput(
                f"A budget was given {_NAMES[place]}={value!r}; {_NAMES[place]} are counted in whole numbers."
            )
    elif not isinstance(value, bool) and isinstance(value, (int, float)):  # a subclass, as NumPy's floats are
        return _units(place, float(value) if isinstance(value, float) else int(value))
    raise InvalidInput(f"A budget was given {_NAMES[place]}={value!r}; it must be a finite number, zero or more.")


def _add(first: _Units, second: _Units) -> _Units:
    return (first[0] + second[0], first[1] + second[1], first[2] + second[2], first[3] + second[3])


def _fours(units: Iterable[int]) -> _Units:
    usd, tokens, calls, seconds = units
    return (usd, tokens, calls, seconds)


def _amount(place: int, units: int) -> float:
    return units if _SCALES[place] == 1 else units / _SCALES[place]


def _amounts(units: _Units) -> Amounts:
    return Amounts(**{name: _amount(place, units[place]) for place, name in enumerate(_NAMES)})
