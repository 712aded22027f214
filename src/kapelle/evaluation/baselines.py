"""What a router must beat: one agent for all tasks, a weighted coin between two, and hindsight. Pure arithmetic.

Everything takes means or matrices of quality and cost, and chooses from them alone; what it chose is judged elsewhere,
on other tasks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_SLACK = 1e-12
"""Of rounding: an agent reaches its own mean."""


def best_single(quality: Array, cost: Array) -> int:
    """Return the agent of the highest mean quality; among equals the cheapest."""
    return int(np.lexsort((cost, -quality))[0])


def cheapest_single(quality: Array, cost: Array, target: float) -> int | None:
    """Return the cheapest agent whose mean quality reaches the target; among equals the better one."""
    reaching = np.flatnonzero(quality >= target - _SLACK)
    if not reaching.size:
        return None
    return int(reaching[np.lexsort((-quality[reaching], cost[reaching]))[0]])


def cheapest_mix(quality: Array, cost: Array, target: float) -> tuple[int, int, float] | None:
    """Return (worse agent, better agent, share of the better one): the cheapest mix that reaches the target.

    A mix of two is enough: the cheapest mix of any number lies on an edge of the hull of (quality, cost).
    """
    best: tuple[float, int, int, float] | None = None
    for high in np.flatnonzero(quality >= target - _SLACK):
        for low in range(len(quality)):
            if quality[low] >= target - _SLACK:
                share = 1.0 if low == high else 0.0
                mixed = float(cost[high] if low == high else cost[low])
            else:
                share = float((target - quality[low]) / (quality[high] - quality[low]))
                share = min(1.0, share)
                mixed = float((1 - share) * cost[low] + share * cost[high])
            if best is None or mixed < best[0] - 1e-15:
                best = (mixed, low, int(high), share)
    return None if best is None else best[1:]


class Hindsight:
    """The cheapest choice of an agent per task that has some mean quality, by one who knows every outcome.

    This is the linear relaxation of a multiple-choice knapsack, solved exactly (Sinha and Zoltners, 1979): from each
    task's lower hull of cost over quality the steps of the best quality per dollar are taken until the target is met,
    the last one in part. So it costs no more than any policy of that mean quality.

    Args:
        quality: tasks by agents.
        cost: the same shape, dollars.
    """

    def __init__(self, quality: Array, cost: Array) -> None:
        start = np.lexsort((-quality, cost), axis=1)[:, 0]
        rows = np.arange(len(quality))
        self._quality = quality[rows, start].astype(float)
        self._cost = cost[rows, start].astype(float)
        slopes, orders, tasks, gains, prices = [], [], [], [], []
        here, order = start, 0
        while rows.size:
            gain = quality[rows] - quality[rows, here][:, None]
            dearer = cost[rows] - cost[rows, here][:, None]
            slope = np.where(gain > 0, dearer / np.where(gain > 0, gain, 1.0), np.inf)
            least = slope.min(axis=1)
            # Among equal slopes the longest step.
            pick = np.where(slope <= least[:, None], gain, -1.0).argmax(axis=1)
            going = np.isfinite(least)
            rows, pick, least = rows[going], pick[going], least[going]
            at = np.arange(len(pick))
            slopes.append(least)
            orders.append(np.full(len(rows), order))
            tasks.append(rows)
            gains.append(gain[going][at, pick])
            prices.append(dearer[going][at, pick])
            here, order = pick, order + 1
        # Along a hull the price of quality only grows, so a task's own steps keep their order.
        sort = np.lexsort((np.concatenate(orders), np.concatenate(slopes)))
        self._tasks, self._gains, self._prices = (np.concatenate(x)[sort] for x in (tasks, gains, prices))

    def reach(self, target: float) -> tuple[Array, Array]:
        """Return (quality, cost) of each task; where nobody reaches the target, of the best choice there is."""
        quality, cost = self._quality.copy(), self._cost.copy()
        missing = target * len(quality) - quality.sum()
        if missing > _SLACK and self._tasks.size:
            total = np.cumsum(self._gains)
            whole = int(np.searchsorted(total, missing))
            np.add.at(quality, self._tasks[:whole], self._gains[:whole])
            np.add.at(cost, self._tasks[:whole], self._prices[:whole])
            if whole < len(total):
                part = (missing - (total[whole - 1] if whole else 0.0)) / self._gains[whole]
                quality[self._tasks[whole]] += part * self._gains[whole]
                cost[self._tasks[whole]] += part * self._prices[whole]
        return quality, cost
