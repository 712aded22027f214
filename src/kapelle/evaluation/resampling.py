"""Intervals from resampling (the bootstrap of Efron, 1979): how far a figure would move with other tasks of the kind.

Tasks with the same text are drawn together, since they are not independent. Beyond MAX_BLOCKS of them they are put
into as many blocks at random, and blocks are drawn: the spread is the same, whatever the size of the log.

What is resampled are the judged tasks; the policies stay as they were learned. So an interval holds the chance of which
tasks came, and not that of a policy learned anew from other ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .report import Interval

Array = npt.NDArray[Any]

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
