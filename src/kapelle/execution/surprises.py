"""Notices in one run what an agent took, or how it did, that lies outside of what was expected of it. Decides nothing.

    dearer, cheaper    an attempt cost more, or less, than 90 % of such attempts are expected to (`cost_low_usd` to
                       `cost_high_usd` of its Estimate), or FAR times what is expected, however wide that interval is
                       where little is known; what is only assumed of a cost is no surprise
    slower, faster     it took more seconds, or less; only where the run has a deadline, for else nothing depends on it
    worse              it failed, or was measured to be less right than the lower bound of its chance of success

One attempt in ten lies outside by chance alone, so in a long run there is always one. What comes of a surprise takes
time that grows with the plan, and a further one of the same kind tells less: so of each agent, type of task and kind of
surprise the first counts, the second, the fourth, the eighth and so on. A run of n tasks is held up log n times.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from kapelle.allocation import Seen, SeenInRun
from kapelle.estimates import Estimate
from kapelle.ledger import format_seconds, format_usd

SurpriseKind = Literal["dearer", "cheaper", "slower", "faster", "worse"]

FAR = 2.0
"""So many times what was expected is worth a look at the plan, even where that much was thought possible. What comes of
it is up to what is believed by then: only what left its interval is the least that is expected from then on."""
LEAST = 1e-9
"""Dollars and seconds that differ by less are the same: budgets count in billionths."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Took:
    """What an attempt, or a check that an agent made, has taken."""

    task_id: str
    agent: str
    task_type: str
    expected: Estimate
    units: tuple[float, float]
    """In how many units its dollars and its seconds are counted: see `units_of`."""
    cost_usd: float | None
    """None where it is only assumed."""
    seconds: float | None
    """None where it was cut off."""


@dataclass(slots=True)
class _Total:
    count: int = 0
    amount: float = 0.0
    """Dollars or seconds, per unit."""

    def add(self, amount: float) -> None:
        self.count += 1
        self.amount += amount

    @property
    def mean(self) -> float:
        return self.amount / self.count


class Surprises:
    """Those of one run.

    Args:
        heeds_time: Whether the run has a deadline.
    """

    def __init__(self, *, heeds_time: bool) -> None:
        self._heeds_time = heeds_time
        self._counts: Counter[tuple[str, str, SurpriseKind]] = Counter()
        self._costs: dict[tuple[str, str], _Total] = {}
        """Per agent and type of task, all that was told of its costs: one odd bill among many is no more than that."""
        self._times: dict[tuple[str, str], _Total] = {}
        self._dearer: set[tuple[str, str]] = set()
        self._slower: set[tuple[str, str]] = set()
        self._due: list[str] = []

    @property
    def is_due(self) -> bool:
        """Whether there was one since they were taken last that is worth a look at the plan."""
        return bool(self._due)

    @property
    def seen(self) -> SeenInRun:
        """What the agents took that were dearer or slower than expected."""
        return {
            pair: Seen(
                cost_usd=self._costs[pair].mean if pair in self._dearer else 0.0,
                seconds=self._times[pair].mean if pair in self._slower else 0.0,
            )
            for pair in self._dearer | self._slower
        }

    def take(self) -> tuple[str, ...]:
        """Return those that are due, each as a sentence; they are due no more."""
        due, self._due = tuple(self._due), []
        return due

    def note(self, took: Took) -> None:
        """An attempt has ended: is what it took a surprise?"""
        expected, cost_usd, seconds = took.expected, took.cost_usd, took.seconds
        pair = took.agent, took.task_type
        if cost_usd is not None:
            if cost_usd > max(expected.cost_usd, expected.cost_high_usd) + LEAST:
                self._dearer.add(pair)
                self._count((*pair, "dearer"), _tell_cost(took))
            elif cost_usd > FAR * expected.cost_usd + LEAST:
                self._count((*pair, "dearer"), _tell_cost(took, about=True))
            elif cost_usd < expected.cost_low_usd - LEAST:
                self._count((*pair, "cheaper"), _tell_cost(took))
            _add(self._costs, pair, cost_usd / took.units[0])
        if seconds is not None and self._heeds_time:
            if seconds > max(expected.seconds, expected.seconds_high) + LEAST:
                self._slower.add(pair)
                self._count((*pair, "slower"), _tell_seconds(took))
            elif seconds > FAR * expected.seconds + LEAST:
                self._count((*pair, "slower"), _tell_seconds(took, about=True))
            elif seconds < expected.seconds_low - LEAST:
                self._count((*pair, "faster"), _tell_seconds(took))
            _add(self._times, pair, seconds / took.units[1])

    def judge(self, task_id: str, agent: str, task_type: str, expected: Estimate, quality: float) -> None:
        """What an attempt is worth is known: is that a surprise? `quality` is 0 for one that failed."""
        if quality < expected.success_lower - LEAST:
            found = "failed" if quality == 0.0 else f"was {quality:.0%} right"
            words = f"{agent} {found} at {task_id}, where at least {expected.success_lower:.0%} was expected."
            self._count((agent, task_type, "worse"), words)

    def _count(self, key: tuple[str, str, SurpriseKind], words: str) -> None:
        self._counts[key] += 1
        count = self._counts[key]
        if count & (count - 1) == 0:  # 1, 2, 4, 8, ...
            self._due.append(words)


def _add(totals: dict[tuple[str, str], _Total], pair: tuple[str, str], amount: float) -> None:
    if pair not in totals:
        totals[pair] = _Total()
    totals[pair].add(amount)


def _tell_cost(took: Took, *, about: bool = False) -> str:
    assert took.cost_usd is not None
    expected = took.expected
    between = f"{format_usd(expected.cost_low_usd)} to {format_usd(expected.cost_high_usd)}"
    if about or expected.cost_low_usd >= expected.cost_high_usd:
        between = format_usd(expected.cost_usd)
    return f"{took.agent} took {format_usd(took.cost_usd)} for {took.task_id}, where {between} was expected."


def _tell_seconds(took: Took, *, about: bool = False) -> str:
    assert took.seconds is not None
    expected = took.expected
    between = f"{format_seconds(expected.seconds_low)} to {format_seconds(expected.seconds_high)}"
    if about or expected.seconds_low >= expected.seconds_high:
        between = format_seconds(expected.seconds)
    return f"{took.agent} took {format_seconds(took.seconds)} for {took.task_id}, where {between} was expected."
