"""Rates of success per agent and task type, from the past only, and shrunken: no agent is judged by one outcome.

    rate(agent)        = (its outcomes + PULL * all outcomes' rate) / (their number + PULL);  the same for types
    rate(agent, type)  = the same, pulled to the sum of both in log-odds: what an agent is elsewhere,
                         what others are here

With nothing seen, every rate is a half. Plain Python: the documented model works without NumPy.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kapelle.errors import InvalidInput

PULL = 4.0
"""How many outcomes the wider rate is worth (the profiler's PRIOR_WEIGHT)."""
_FLOOR = 1e-6
_MOST = sys.float_info.max


@dataclass(frozen=True, kw_only=True, slots=True)
class RateView:
    """What is expected of an agent at a type of task, as log-odds."""

    overall: float
    agent: float
    task_type: float
    pair: float


class Rates:
    """Counts outcomes. `view` looks at what was counted so far and at nothing else."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], tuple[int, float]] = {}
        self._agents: dict[str, tuple[int, float]] = {}
        self._types: dict[str, tuple[int, float]] = {}
        self._all = (0, 0.0)

    def add(self, agent: str, task_type: str, outcome: float) -> None:
        """Count an outcome in 0..1."""
        self._add(agent, task_type, 1, outcome)

    def view(self, agent: str, task_type: str) -> RateView:
        """Return what is expected now."""
        count, total = self._all
        overall = (total + 1) / (count + 2)
        by_agent = logit(_pulled(self._agents.get(agent), overall))
        by_type = logit(_pulled(self._types.get(task_type), overall))
        base = logit(overall)
        pair = _pulled(self._counts.get((agent, task_type)), expit(by_agent + by_type - base))
        return RateView(overall=base, agent=by_agent, task_type=by_type, pair=logit(pair))

    @property
    def total(self) -> int:
        """How many outcomes were counted."""
        return self._all[0]

    def to_rows(self) -> list[list[Any]]:
        """Return the counts as plain values: agent, type, outcomes, their sum."""
        return [[*key, *counts] for key, counts in self._counts.items()]

    @classmethod
    def from_rows(cls, rows: Any) -> Rates:
        """Return the rates of `to_rows`.

        Raises:
            ValueError, TypeError: the rows are not such rows.
        """
        rates = cls()
        for agent, task_type, count, total in rows:
            whole = isinstance(count, int) and not isinstance(count, bool)
            if not (isinstance(agent, str) and isinstance(task_type, str) and whole and 0 <= total <= count):
                raise ValueError(f"{agent!r:.40}, {task_type!r:.40}: {total!r:.20} of {count!r:.20} is no rate")
            rates._add(agent, task_type, count, float(total))
        return rates

    def _add(self, agent: str, task_type: str, count: int, total: float) -> None:
        tables: tuple[tuple[dict[Any, tuple[int, float]], Any], ...] = (
            (self._counts, (agent, task_type)),
            (self._agents, agent),
            (self._types, task_type),
        )
        for table, key in tables:
            old_count, old_total = table.get(key, (0, 0.0))
            table[key] = (old_count + count, old_total + total)
        self._all = (self._all[0] + count, self._all[1] + total)


def names_of(features: Mapping[str, Any]) -> tuple[str, str]:
    """Return the agent and the task type of an attempt.

    Raises:
        InvalidInput: one is missing or no text.
    """
    if not isinstance(features, Mapping):
        raise InvalidInput(
            f"The features are {features!r:.40}; give a mapping, see kapelle.allocation.describe_attempt."
        )
    for name in ("agent", "task_type"):
        value = features.get(name)
        if not (isinstance(value, str) and value):
            raise InvalidInput(f"The features have {name}={value!r:.40}; give its name as a text.")
    return features["agent"], features["task_type"]


def number_of(features: Mapping[str, Any], name: str, *, least: float = 0.0, most: float = math.inf) -> float | None:
    """Return a number of an attempt's features, None where it is missing.

    Raises:
        InvalidInput: it is not finite, or out of its range.
    """
    value = features.get(name)
    if value is None:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # whole numbers may be larger than any float: those are refused as infinite ones are
    if not (number and least <= value <= most and -_MOST <= value <= _MOST):
        raise InvalidInput(f"The features have {name}={value!r:.40}; give a finite number from {least:g} to {most:g}.")
    return float(value)


def require_outcome(outcome: object) -> float:
    """Return an outcome as a number.

    Raises:
        InvalidInput: it does not lie in 0..1.
    """
    if isinstance(outcome, bool):
        return float(outcome)
    if isinstance(outcome, (int, float)) and 0 <= outcome <= 1:
        return float(outcome)
    raise InvalidInput(f"The outcome is {outcome!r:.40}; it must lie in 0..1.")


def logit(share: float) -> float:
    """Return the log-odds of a share; shares of 0 and 1 are taken for nearly so."""
    share = min(max(share, _FLOOR), 1 - _FLOOR)
    return math.log(share / (1 - share))


def expit(odds: float) -> float:
    """Return the share of log-odds."""
    if odds >= 0:
        return 1 / (1 + math.exp(-odds))
    return math.exp(odds) / (1 + math.exp(odds))


def _pulled(counts: tuple[int, float] | None, towards: float) -> float:
    count, total = counts or (0, 0.0)
    return (total + PULL * towards) / (count + PULL)
