"""Reads the figures that somebody's code reports: counts, dollars, shares. What leaves here every store keeps.

Code that reports figures takes them from a provider's reply, from NumPy, from `Decimal`, out of a division. What is the
same number in another type is taken as Python's own; what is no such number is refused by the name of its field, so
that one slip costs one attempt and never the run that it is part of.
"""

from __future__ import annotations

import decimal
import math
import numbers
import sys
from typing import Any

from kapelle.errors import InvalidInput

MAX_COUNT = 10**12
"""Of one report. More than any one piece of work uses, and nine million such still add up within 64 bits, which is what
SQLite and PostgreSQL keep."""
MAX_REPORTED_USD = 1_000_000.0
"""Of one report. What costs more is tokens given for dollars, and would use up any budget at once."""
MAX_SECONDS = 1e9
AN_AGENT = "An agent"
"""Who reports a figure, where nothing else is said."""
_SHOWN_CHARS = 60


class RefusedFigure(InvalidInput):
    """A figure that was reported is none (`field`). `cost_usd` and `usage` are what else was reported, where it was."""

    # Set after it is made, so that it can be pickled: an agent may be on another machine.
    field: str = ""
    cost_usd: Any = None
    usage: Any = None


def read_count(value: object, name: str, *, by: str = AN_AGENT) -> int:
    """Return a number of tokens or calls, reported by somebody.

    Raises:
        RefusedFigure: it is negative, fractional, not finite, more than a million million, or no number.
    """
    if type(value) is int and 0 <= value <= MAX_COUNT:
        return value
    number = _plain_number(value)
    if number is not None and 0 <= number <= MAX_COUNT and number == int(number):
        return int(number)
    raise _refusal(by, name, value, f"give a whole number from 0 to {MAX_COUNT:,}")


def read_usd(value: object, *, by: str = AN_AGENT) -> float:
    """Return an amount of dollars, reported by somebody as `cost_usd`.

    Raises:
        RefusedFigure: it is negative, not finite, more than a million, or no number.
    """
    if type(value) is float and 0.0 <= value <= MAX_REPORTED_USD:
        return value
    number = _plain_number(value)
    if number is not None and 0 <= number <= MAX_REPORTED_USD:
        return float(number)
    raise _refusal(by, "cost_usd", value, f"it must be zero or more dollars, at most {MAX_REPORTED_USD:,.0f}")


def read_seconds(value: object) -> float:
    """Return a duration, reported by somebody.

    Raises:
        RefusedFigure: it is negative, longer than thirty years, or no number.
    """
    number = _plain_number(value)
    if number is not None and 0 <= number <= MAX_SECONDS:
        return float(number)
    raise _refusal(AN_AGENT, "seconds", value, f"it must be zero or more seconds, at most {MAX_SECONDS:,.0f}")


def read_share(value: object, name: str) -> float:
    """Return a share, such as a quality, reported by somebody.

    Raises:
        RefusedFigure: it lies outside 0..1, or is no number.
    """
    number = value if type(value) is float else _plain_number(value)
    if number is not None and 0 <= number <= 1:
        return float(number)
    raise _refusal(AN_AGENT, name, value, "it must lie in 0..1")


def _plain_number(value: object) -> int | float | None:
    """Return a finite number as Python's own; None where it is none. What is true or false is no number."""
    kind = type(value)
    if kind is bool:
        return None
    try:
        found: Any = value
        if kind is int:
            return found  # type: ignore[no-any-return]  # by its type
        numpy = sys.modules.get("numpy")
        if numpy is not None and issubclass(kind, (numpy.generic, numpy.ndarray)):
            if issubclass(kind, numpy.ndarray) and found.ndim != 0:
                return None
            if found.dtype.kind not in "iuf":
                return None
            found = int(found) if found.dtype.kind in "iu" else float(found)
        elif issubclass(kind, int):
            found = int.__int__(found)
        elif issubclass(kind, float):
            found = float.__float__(found)
        elif issubclass(kind, (decimal.Decimal, numbers.Rational)):
            found = int(found) if found == int(found) else float(found)
        else:
            return None
        return found if math.isfinite(found) else None
    except BaseException:  # a type of somebody's own may raise whatever it likes
        return None


def _refusal(by: str, name: str, value: object, way_out: str) -> RefusedFigure:
    error = RefusedFigure(f"{by} reported {name}={show_figure(value)}; {way_out}.")
    error.field = name
    return error


def show_figure(value: object) -> str:
    """Return what was given for a figure as a message shows it; its own class may fail to."""
    if type(value) is int and value.bit_length() > 200:
        return f"a number of {value.bit_length()} bits"
    try:
        text = repr(value)
        return str.__str__(text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…")
    except BaseException:  # as above
        return f"a {type(value).__name__}"


def tell_success(rate: float, completion: float, samples: int, judged: int, basis: str, why: str = "") -> str:
    """Return in words where a chance of success comes from: what something measured, and what is only declared.

    `why` are the few things that moved it, if they are known.
    """
    because = f": {why}" if why else ""
    if not samples:
        known = "declared" if basis == "declared" else "from what is known elsewhere"
        return f"{known}, no outcomes yet{because}"
    outcomes = f"learned from {samples} outcome{'s' * (samples != 1)}{because}"
    if judged >= samples:
        return outcomes
    right = f"{min(1.0, rate / completion) if completion > 0 else 0.0:.0%}"
    known = (
        f"{right} measured of {judged} answer{'s' * (judged != 1)}"
        if judged
        else f"{right} declared, not checked yet"
        if basis == "declared"
        else f"{right} expected by what was measured elsewhere, not checked here yet"
    )
    return f"{known}; completes {completion:.0%}, {outcomes}"
