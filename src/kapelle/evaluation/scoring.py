"""Turns what each task cost and reached under some choice into a line of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .report import Judged
from .resampling import Resampler

Array = npt.NDArray[Any]


class Judge:
    """Compares with today: the same tasks, the same draws.

    Args:
        quality: today's, for each task.
        cost: today's, for each task. Their mean must not be zero, and neither may that of the quality.
    """

    def __init__(self, resampler: Resampler, quality: Array, cost: Array) -> None:
        self._resampler = resampler
        self._quality = quality
        self._cost = cost

    def judge(
        self,
        name: str,
        quality: Array,
        cost: Array,
        *,
        uses: Iterable[str] = (),
        weights: Array | None = None,
    ) -> Judged:
        """Return the line for a choice.

        Args:
            name: what it is called.
            quality: for each task.
            cost: for each task.
            uses: for each task, who does it.
            weights: in a partial log, the weight with which each task was seen under this choice.
        """
        return Judged(
            name=name,
            cost_share=self._resampler.ratio(cost, self._cost),
            quality=self._resampler.mean(quality),
            quality_share=self._resampler.ratio(quality, self._quality),
            uses=count_shares(uses),
            effective_tasks=None if weights is None else effective_size(weights),
        )


def count_shares(names: Iterable[str]) -> dict[str, float]:
    """Return each name's share, most frequent first."""
    counts = Counter(names)
    total = sum(counts.values())
    return {name: count / total for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))}


def shares_by_type(types: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return for each type each name's share, the most frequent types first."""
    by_type: dict[str, list[str]] = {}
    for task_type, name in zip(types, names, strict=True):
        by_type.setdefault(task_type, []).append(name)
    ranked = sorted(by_type.items(), key=lambda item: (-len(item[1]), item[0]))
    return {task_type: count_shares(of) for task_type, of in ranked}


def effective_size(weights: Array) -> float:
    """Return how many equally weighted tasks tell as much (Kish, 1965)."""
    squares = float(np.square(weights).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def thin_out(curve: Iterable[Judged]) -> tuple[Judged, ...]:
    """Return the points of a curve, cheapest first, without those that repeat another."""
    kept: dict[tuple[float, float], Judged] = {}
    for point in curve:
        kept.setdefault((round(point.cost_share.value, 6), round(point.quality.value, 6)), point)
    return tuple(sorted(kept.values(), key=lambda point: (point.cost_share.value, point.quality.value)))
