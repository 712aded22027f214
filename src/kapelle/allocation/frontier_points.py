"""The points of a Pareto frontier, and which of them to take or to show. Values and pure functions; solves nothing."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from kapelle.errors import InvalidInput
from kapelle.strategies import strategy_to_dict

from .assignment import exceeds, round_off
from .constraints import is_amount
from .plan import OptimizedPlan

Method = Literal["enumeration", "epsilon-constraint"]


class Figures(Protocol):
    """What a plan comes to."""

    @property
    def cost_usd(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    @property
    def quality(self) -> float: ...


Some = TypeVar("Some", bound=Figures)


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
        lows, spans = _ranges(points)

        def distance(point: FrontierPoint) -> float:
            return math.hypot(*((v - low) / span for v, low, span in zip(_vector(point), lows, spans, strict=True)))

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


def unbeaten(seconds: Sequence[float], lost: Sequence[float]) -> list[int]:
    """Return the positions of what nothing before it beats, in lists that are sorted by cost, quality lost, seconds.

    What came before is at most as dear, so it is beaten if one of those was as good and as fast. `edge` holds the
    fastest for every quality so far: the more is lost, the fewer seconds.
    """
    kept: list[int] = []
    edge: list[tuple[float, float]] = []
    for position, (second, loss) in enumerate(zip(seconds, lost, strict=True)):
        place = bisect.bisect_right(edge, (loss, math.inf))
        if place and edge[place - 1][1] <= second:
            continue
        end = place
        while end < len(edge) and edge[end][1] >= second:
            end += 1
        begin = place - 1 if place and edge[place - 1][0] == loss else place
        edge[begin:end] = [(loss, second)]
        kept.append(position)
    return kept


def spread(found: Sequence[Some], most: int) -> list[Some]:
    """Return so many at most: the cheapest, fastest and best, then always the one farthest from those taken."""
    if len(found) <= most:
        return list(found)
    lows, spans = _ranges(found)
    places = [tuple((v - low) / span for v, low, span in zip(_vector(one), lows, spans, strict=True)) for one in found]
    columns = list(zip(*map(vector, found), strict=True))
    taken = list(dict.fromkeys(column.index(min(column)) for column in columns))[:most]
    away = [min(math.dist(place, places[n]) for n in taken) for place in places]
    while len(taken) < most:
        n = max(range(len(found)), key=away.__getitem__)
        taken.append(n)
        away = [min(old, math.dist(place, places[n])) for old, place in zip(away, places, strict=True)]
    return [found[n] for n in sorted(taken)]


def vector(one: Figures) -> tuple[float, float, float]:
    """Return what a plan comes to, without the last digits; smaller is better in each."""
    return round_off(one.cost_usd), round_off(one.seconds), round_off(-one.quality)


def _vector(one: Figures) -> tuple[float, float, float]:
    return one.cost_usd, one.seconds, -one.quality


def _ranges(points: Sequence[Figures]) -> tuple[list[float], list[float]]:
    columns = list(zip(*map(_vector, points), strict=True))
    lows = [min(column) for column in columns]
    return lows, [(max(column) - low) or 1.0 for column, low in zip(columns, lows, strict=True)]
