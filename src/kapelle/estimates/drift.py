"""Notices that an agent has changed: succeeds more or less often, costs more or less, takes longer or less long.

Theory. A two-sided CUSUM (Page 1954) adds up log likelihood ratios: how much better outcomes fit odds that are ODDS
times as high (or as low) as they were. It starts anew whenever it falls to zero, so the last start is the best guess of
when the change came; above THRESHOLD it fires. While nothing changes it fires on average at most once in e^THRESHOLD
outcomes a side (Lorden 1971; in practice ten times more seldom), whatever the distribution: the ratio of a fraction x
in 0..1 is log-linear in x, so that its mean stays below one by convexity. For amounts, x says whether one lies above
the median of those before it, which no heavy tail disturbs. The rate before is itself an estimate, so it is taken one
standard error nearer to the change.

Decides nothing: what a change means for the estimates, see profiler.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ODDS = 4.0
"""The change that is looked for: 90 % success becoming 69 %, or half of the amounts above the median four fifths."""
THRESHOLD = math.log(150.0)
"""Measured: while nothing changes, about one alarm in 2,000 outcomes for each of success, cost and seconds. That 90 %
success became 50 % it notices after some 13 outcomes, 60 % after 22; smaller changes mostly by the window moving on."""
MIN_KNOWN = 20
"""Outcomes that must be known before a change against them can be told."""
_LOG_ODDS = math.log(ODDS)

What = Literal["success", "completion", "cost", "seconds"]
"""`success`: how right answers are, as far as that was measured. `completion`: whether there are any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """A change that was noticed."""

    agent: str
    task_type: str
    what: What
    before: float
    """Share of successes or of answers, or median dollars or seconds per unit of complexity."""
    after: float
    outcomes: int
    """Outcomes since the change, when it was noticed."""
    since: float
    """When the first of them ended, in seconds since the epoch; 0 where that is not known."""

    def __str__(self) -> str:
        if self.what in ("success", "completion"):
            change = f"{self.what} went from {self.before:.0%} to {self.after:.0%}"
        else:
            unit = "$" if self.what == "cost" else ""
            change = f"{self.what} went from {unit}{self.before:.3g} to {unit}{self.after:.3g}"
        return f"{self.agent} at {self.task_type!r}: {change} in the last {self.outcomes} outcomes"


class ShiftDetector:
    """Watches one number in 0..1 for a lasting shift, both ways.

    >>> detector = ShiftDetector()
    >>> ups, downs = reference(0.9, 100)
    >>> [detector.watch(0.0, ups, downs) for _ in range(8)].index(True)
    4
    >>> detector.outcomes, detector.mean
    (5, 0.0)
    """

    __slots__ = ("_down", "_down_n", "_down_since", "_down_sum", "_up", "_up_n", "_up_since", "_up_sum", "mean",
                 "outcomes", "since")  # fmt: skip

    def __init__(self) -> None:
        self.outcomes = 0
        """How many came since the change that was found last."""
        self.mean = 0.0
        """Their mean."""
        self.since = 0.0
        """The time of the first of them."""
        self._restart()

    def _restart(self) -> None:
        self._up = self._down = 0.0
        self._up_n = self._down_n = 0
        self._up_sum = self._down_sum = 0.0
        self._up_since = self._down_since = 0.0

    def watch(self, x: float, ups: float, downs: float, at: float = 0.0) -> bool:
        """Take one more value, and return whether a change was found; see `reference` for `ups` and `downs`."""
        up = self._up + x * _LOG_ODDS - ups
        if up > 0.0:
            if not self._up_n:
                self._up_since = at
            self._up_n += 1
            self._up_sum += x
            self._up = up
            if up > THRESHOLD:
                return self._found(self._up_n, self._up_sum, self._up_since)
        elif self._up_n:
            self._up, self._up_n, self._up_sum = 0.0, 0, 0.0
        down = self._down + (1.0 - x) * _LOG_ODDS - downs
        if down > 0.0:
            if not self._down_n:
                self._down_since = at
            self._down_n += 1
            self._down_sum += x
            self._down = down
            if down > THRESHOLD:
                return self._found(self._down_n, self._down_sum, self._down_since)
        elif self._down_n:
            self._down, self._down_n, self._down_sum = 0.0, 0, 0.0
        return False

    def _found(self, count: int, total: float, since: float) -> bool:
        self.outcomes, self.mean, self.since = count, total / count, since
        self._restart()
        return True


def reference(rate: float, count: float) -> tuple[float, float]:
    """Return what a detector subtracts per outcome, upwards and downwards, for a mean of `rate` over `count` values."""
    rate = (rate * count + 0.5) / (count + 1.0)
    error = math.sqrt(rate * (1.0 - rate) / count)
    high, low = min(rate + error, 1.0), max(rate - error, 0.0)
    return math.log1p((ODDS - 1.0) * high), math.log1p((ODDS - 1.0) * (1.0 - low))


class AmountReference:
    """The median of amounts as they were, and how many of them lay above it."""

    __slots__ = ("downs", "median", "ups")

    def __init__(self, amounts: Sequence[float]) -> None:
        ordered = sorted(amounts)
        count = len(ordered)
        self.median = ordered[count // 2]
        below, upto = bisect_left(ordered, self.median), bisect_right(ordered, self.median)
        self.ups, self.downs = reference((count - upto + (upto - below) / 2) / count, count)

    def place(self, amount: float) -> float:
        """Return 1 for an amount above the median, 0 below it, and one half for the median itself."""
        return 1.0 if amount > self.median else 0.0 if amount < self.median else 0.5
