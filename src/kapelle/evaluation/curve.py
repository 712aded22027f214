"""The curve of cost and quality that predictions open up: one price of quality for each of its points.

Whoever predicts quality and cost can choose by price (quality less price times cost). What each price came to on logged
tasks, with predictions that had not seen them, gives points; their upper hull is the curve. Between two of its points
lies a mix of both, task by task. NumPy is imported; load this lazily.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kapelle.strategies import upper_hull

Doubles = NDArray[np.float64]

PRICES = 400
"""Prices that are tried, from free to all-deciding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatingPoint:
    """How a policy weighs quality against cost."""

    price: float
    """Units of quality that a dollar must buy, for a share of the tasks."""
    other_price: float
    """The same, for the other tasks."""
    share: float
    """0..1, of the tasks for which `price` holds."""
    expected_quality: float
    """Mean quality, as learned."""
    expected_cost_usd: float
    """Mean dollars per task, as learned."""
    quality_error: float = 0.0
    """Standard error of the mean quality's difference to the reference."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curve:
    """Points as rows of mean cost, mean quality, price and standard error; cost and quality ascend.

    The standard error is that of the quality's difference to a reference, task by task; 0 where none was given.
    """

    points: Doubles

    @classmethod
    def draw(
        cls,
        predicted_quality: Doubles,
        predicted_cost: Doubles,
        quality: Doubles,
        cost: Doubles,
        *,
        reference: Doubles | None = None,
    ) -> Curve:
        """Return the curve of predictions for tasks whose outcomes are known; all four are (tasks, columns).

        `reference` is the quality, per task, that the standard errors compare with.
        """
        scale = max(float(cost.mean(axis=0).max()), 1e-12)
        prices = np.concatenate([[0.0], np.geomspace(1e-4, 1e3, PRICES)]) / scale
        rows = np.arange(len(quality))
        points = []
        for price in prices:
            chosen = (predicted_quality - price * predicted_cost).argmax(axis=1)
            found = quality[rows, chosen]
            error = 0.0 if reference is None else float((found - reference).std() / np.sqrt(len(found)))
            points.append((float(cost[rows, chosen].mean()), float(found.mean()), float(price), error))
        drawn = np.array(points)
        return cls(points=drawn[upper_hull(drawn[:, 0].tolist(), drawn[:, 1].tolist())])

    def at_quality(self, quality: float) -> OperatingPoint:
        """Return the cheapest point of this mean quality; the best there is, where none reaches it."""
        return self._at(1, quality)

    def at_cost(self, cost_usd: float) -> OperatingPoint:
        """Return the best point of no more than this mean cost; the cheapest, where all cost more."""
        return self._at(0, min(cost_usd, float(self.points[-1, 0])))

    def _at(self, column: int, wanted: float) -> OperatingPoint:
        values = self.points[:, column]
        above = int(np.searchsorted(values, wanted - 1e-12))
        high = min(above, len(values) - 1)
        low = max(0, high - 1) if above < len(values) else high
        width = float(values[high] - values[low])
        share = 1.0 if width <= 0 else float(np.clip((wanted - values[low]) / width, 0.0, 1.0))
        mixed = share * self.points[high] + (1 - share) * self.points[low]
        return OperatingPoint(
            price=float(self.points[high, 2]),
            other_price=float(self.points[low, 2]),
            share=share,
            expected_quality=float(mixed[1]),
            expected_cost_usd=float(mixed[0]),
            quality_error=float(mixed[3]) if len(mixed) > 3 else 0.0,
        )


def choose_columns(
    predicted_quality: Doubles, predicted_cost: Doubles, point: OperatingPoint, drawn: Doubles
) -> NDArray[np.intp]:
    """Return the column that is worth its price, for every task.

    Args:
        predicted_quality: (tasks, columns).
        predicted_cost: (tasks, columns), dollars.
        point: The prices.
        drawn: A number from 0 to 1 for each task, which says whose price holds for it.
    """
    price = np.where(drawn < point.share, point.price, point.other_price)
    chosen: NDArray[np.intp] = (predicted_quality - price[:, None] * predicted_cost).argmax(axis=1)
    return chosen
