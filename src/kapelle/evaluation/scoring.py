"""Turns what each task cost and reached under some choice into a line of the report, with intervals.

A log is split into parts to learn from and parts to judge on; tasks of the same text never stand on both sides.

Intervals come from resampling (the bootstrap of Efron, 1979): how far a figure would move with other tasks of the kind.
Tasks with the same text are drawn together, since they are not independent. Beyond MAX_BLOCKS of them they are put
into as many blocks at random, and blocks are drawn: the spread is the same, whatever the size of the log. What is
resampled are the judged tasks; the policies stay as they were learned. So an interval holds the chance of which tasks
came, and not that of a policy learned anew from other ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kapelle.estimates import LoggedTask

from .report import Interval, Judged

Array = npt.NDArray[Any]


def group_tasks(tasks: Sequence[LoggedTask]) -> Array:
    """Return for each task the number of its group: same words, same group; a task without words is its own."""
    numbers: dict[object, int] = {}
    return np.array(
        [
            numbers.setdefault(
                " ".join(task.text.split()).casefold() + "\x00" + task.context if task.text else index, len(numbers)
            )
            for index, task in enumerate(tasks)
        ]
    )


def split_tasks(tasks: Sequence[LoggedTask], groups: Array, *, folds: int, seed: int) -> Array:
    """Return for each task the fold in which it is judged.

    Every type is dealt out evenly; a group goes where its first task goes.
    """
    chance = np.random.default_rng(seed)
    _, first = np.unique(groups, return_index=True)
    by_type: dict[str, list[int]] = {}
    for index in chance.permutation(first):
        by_type.setdefault(tasks[index].task_type, []).append(int(index))
    fold_of_group = np.zeros(int(groups.max()) + 1, dtype=int)
    dealt = 0
    for task_type in sorted(by_type):
        for index in by_type[task_type]:
            fold_of_group[groups[index]] = dealt % folds
            dealt += 1
    result: Array = fold_of_group[groups]
    return result


MAX_BLOCKS = 2_000


class Resampler:
    """The same draws for every figure, so that the ratio of two is taken draw by draw.

    Args:
        groups: for each task the number of its group; tasks of a group are drawn together.
        resamples: how many draws.
        confidence: the share of draws within an interval.
    """

    def __init__(
        self, groups: Sequence[int] | Array, *, seed: int, resamples: int = 1_000, confidence: float = 0.95
    ) -> None:
        chance = np.random.default_rng(seed)
        _, numbers = np.unique(np.asarray(groups), return_inverse=True)
        count = int(numbers.max()) + 1
        if count > MAX_BLOCKS:
            numbers = (chance.permutation(count) % MAX_BLOCKS)[numbers]
            count = MAX_BLOCKS
        self._blocks = numbers
        self._count = count
        self._tails = ((1 - confidence) / 2 * 100, (1 + confidence) / 2 * 100)
        # How often each block is drawn.
        self._drawn = chance.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
        self._sizes = self._drawn @ np.bincount(numbers, minlength=count)

    def draws(self, values: Array) -> Array:
        """Return the mean of the values (one per task) in every draw."""
        sums = np.bincount(self._blocks, weights=values, minlength=self._count)
        means: Array = self._drawn @ sums / self._sizes
        return means

    def mean(self, values: Array) -> Interval:
        """Return the mean with its interval."""
        return self._interval(float(values.mean()), self.draws(values))

    def ratio(self, values: Array, to: Array) -> Interval:
        """Return the ratio of two means with its interval. The second must not be zero."""
        below = self.draws(to)
        return self._interval(
            float(values.mean() / to.mean()), self.draws(values) / np.where(below == 0, np.nan, below)
        )

    def _interval(self, value: float, draws: Array) -> Interval:
        low, high = np.nanpercentile(draws, self._tails)
        return Interval(value=value, low=float(low), high=float(high))


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
