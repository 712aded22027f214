"""The Pareto frontier of a plan: what can be had of cost, time and quality together, so that a person may choose.

A plan is on the frontier if no other one within the limits is at least as cheap, as fast and as good, and better in
one of the three. Quality is the lower bound that the limits count as well (see OptimizationConstraints).

    enumeration          few enough plans to look at every one: the frontier is complete
    epsilon-constraint   the cheapest plan for each of a grid of qualities and deadlines (Haimes et al. 1971), each then
                         made as fast as its cost and quality allow. Every point is proven to be on the frontier, up to
                         `gap`; between two of them there may be others

Chooses nothing: see Frontier.choose. Runs on the caller's thread; hand it to another one where that matters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kapelle.errors import InvalidInput
from kapelle.strategies import strategy_to_dict

from .assignment import Assignment, Limits, exceeds, round_off
from .constraints import is_amount
from .plan import OptimizedPlan
from .solve import Solution

Method = Literal["enumeration", "epsilon-constraint"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontierPoint:
    """A plan that no other one beats, and what it comes to."""

    cost_usd: float
    seconds: float
    """Along the critical path."""
    quality: float
    """Lower bound of the expected share of tasks that succeed; what is expected is `plan.quality_score`."""
    plan: OptimizedPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class Frontier:
    """Plans from the cheapest to the dearest, none of which beats another one."""

    points: tuple[FrontierPoint, ...]
    method: Method
    complete: bool
    """Whether every plan on the frontier is here; plans that come to the same count once."""
    gap: float
    """No plan that is as fast and as good as a point is cheaper by more than this share. 0: proven the cheapest."""
    note: str
    """How it was found, and what may be missing; or why there is no point at all."""

    def __len__(self) -> int:
        return len(self.points)

    def cheapest(self) -> FrontierPoint:
        """Return the point of least cost; among equals the better one. Raises InvalidInput if there is no point."""
        return min(self._some(), key=lambda point: (point.cost_usd, -point.quality, point.seconds))

    def fastest(self) -> FrontierPoint:
        """Return the point that takes least time; among equals the cheaper one."""
        return min(self._some(), key=lambda point: (point.seconds, point.cost_usd))

    def best(self) -> FrontierPoint:
        """Return the point of the highest quality; among equals the cheaper one."""
        return min(self._some(), key=lambda point: (-point.quality, point.cost_usd))

    def knee(self) -> FrontierPoint:
        """Return the point nearest to the best of everything at once, each of the three measured by its range here."""
        points = self._some()
        lows, spans = ranges_of(points)

        def distance(point: FrontierPoint) -> float:
            return math.hypot(*((v - low) / span for v, low, span in zip(vector_of(point), lows, spans, strict=True)))

        return min(points, key=distance)

    def choose(
        self,
        *,
        max_cost: float | None = None,
        max_seconds: float | None = None,
        min_quality: float | None = None,
    ) -> FrontierPoint:
        """Return the cheapest point within these limits.

        Raises:
            InvalidInput: there is none; the message says what comes nearest.
        """
        for name, value in (("max_cost", max_cost), ("max_seconds", max_seconds), ("min_quality", min_quality)):
            if value is not None and not is_amount(value):
                raise InvalidInput(f"{name} is {value!r}; it must be a finite number, zero or more, or None.")
        fitting = [
            point
            for point in self._some()
            if (max_cost is None or not exceeds(point.cost_usd, max_cost))
            and (max_seconds is None or not exceeds(point.seconds, max_seconds))
            and (min_quality is None or not exceeds(min_quality, point.quality))
        ]
        if not fitting:
            cheapest, fastest, best = self.cheapest(), self.fastest(), self.best()
            raise InvalidInput(
                "No point of the frontier keeps these limits together. By themselves, cost begins at "
                f"${cheapest.cost_usd:.4g}, time at {fastest.seconds:.4g} s, and quality ends at {best.quality:.3g}."
            )
        return min(fitting, key=lambda point: (point.cost_usd, -point.quality, point.seconds))

    def to_dict(self) -> dict[str, Any]:
        """Return the frontier as plain JSON values."""
        return {
            "method": self.method,
            "complete": self.complete,
            "gap": self.gap,
            "note": self.note,
            "points": [
                {
                    "cost_usd": point.cost_usd,
                    "seconds": point.seconds,
                    "quality": point.quality,
                    "expected_quality": point.plan.quality_score,
                    "assignments": dict(point.plan.assignments),
                    "strategies": {task: strategy_to_dict(one) for task, one in point.plan.strategies.items()},
                }
                for point in self.points
            ],
        }

    def _some(self) -> tuple[FrontierPoint, ...]:
        if not self.points:
            raise InvalidInput(f"The frontier has no points. {self.note}")
        return self.points


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundPoint:
    """A choice of the reduced problem and what it comes to."""

    choice: Assignment
    cost: float
    seconds: float
    quality: float
    solution: Solution
    limits: Limits

    @property
    def vector(self) -> tuple[float, float, float]:
        """Smaller is better in each."""
        return round_off(self.cost), round_off(self.seconds), round_off(-self.quality)


def vector_of(one: FrontierPoint | FoundPoint) -> tuple[float, float, float]:
    return (one.cost_usd if isinstance(one, FrontierPoint) else one.cost), one.seconds, -one.quality


def ranges_of(points: Sequence[FrontierPoint | FoundPoint]) -> tuple[list[float], list[float]]:
    columns = list(zip(*map(vector_of, points), strict=True))
    lows = [min(column) for column in columns]
    return lows, [(max(column) - low) or 1.0 for column, low in zip(columns, lows, strict=True)]
