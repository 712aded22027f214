"""The upper hull of points of cost and quality: what no mix of the others beats. Pure, and without NumPy."""

from __future__ import annotations

from collections.abc import Sequence


def upper_hull(cost: Sequence[float], quality: Sequence[float]) -> list[int]:
    """Return the positions of the points on the upper left hull, from the cheapest to the best.

    >>> upper_hull([1.0, 2.0, 3.0, 2.5], [0.5, 0.6, 0.9, 0.4])
    [0, 2]
    """
    hull: list[int] = []
    for at in sorted(range(len(cost)), key=lambda at: (cost[at], -quality[at])):
        if hull and quality[at] <= quality[hull[-1]]:
            continue
        while len(hull) >= 2 and _is_below(hull[-2], hull[-1], at, cost, quality):
            hull.pop()
        hull.append(at)
    return hull


def _is_below(first: int, middle: int, last: int, cost: Sequence[float], quality: Sequence[float]) -> bool:
    """Whether the middle point lies on or below the line of the other two."""
    rise = (quality[middle] - quality[first]) * (cost[last] - cost[first])
    return rise <= (quality[last] - quality[first]) * (cost[middle] - cost[first])
