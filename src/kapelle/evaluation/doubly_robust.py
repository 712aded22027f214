"""Doubly robust scores: what each agent would have made of each task, predicted, and put right where it was seen.

    score(task, agent) = predicted + seen / propensity * (what was seen - predicted)

The theory, and what it takes for granted, stand in logged_bandit, which judges by these. Chooses by price, and knows no
target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kapelle.estimates import LoggedTask

from .overlap import Overlap

Array = npt.NDArray[Any]


class Predicted(Protocol):
    """Predictions for some tasks; see `kapelle.estimates.difficulty.Prediction`."""

    @property
    def agents(self) -> Sequence[str]:
        """The columns."""

    @property
    def quality(self) -> Array:
        """Tasks by agents, 0..1."""

    @property
    def cost_usd(self) -> Array:
        """Tasks by agents."""


class Predictor(Protocol):
    """What tells beforehand how agents fare; see `kapelle.estimates.DifficultyModel`."""

    def predict(self, tasks: Sequence[LoggedTask]) -> Predicted:
        """Return the predictions, without a look at the outcomes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Doubly robust scores of some tasks; the last column is the task as it was logged."""

    quality: Array
    cost: Array
    predicted_quality: Array
    predicted_cost: Array
    allowed: Array
    weights: Array

    def decide(self, price: float, mean_cost: float) -> Array:
        """Return for each task the column of the most predicted quality less cost, or the last where none may be."""
        worth = self.predicted_quality - price * self.predicted_cost / mean_cost
        choice = np.where(self.allowed, worth, -np.inf).argmax(axis=1)
        return np.asarray(np.where(self.allowed.sum(axis=1) >= 2, choice, self.allowed.shape[1]))

    def always(self, column: int) -> Array:
        """Return one agent for each task, and the task as logged where that agent may not be chosen."""
        keep = self.allowed.shape[1]
        if column == keep:
            return np.full(len(self.allowed), keep)
        return np.asarray(np.where(self.allowed[:, column], column, keep))


def score(
    overlap: Overlap, rows: Array, observed: Mapping[str, Array], logged: Mapping[str, Array], predicted: Predicted
) -> Scores:
    """Return the scores of these rows."""
    agents = overlap.agents
    columns = [list(predicted.agents).index(agent) if agent in predicted.agents else -1 for agent in agents]
    known = np.array([column >= 0 for column in columns])
    seen, chance = overlap.seen[rows], overlap.propensity[rows]
    scored, guesses = {}, {}
    for name, values in (("quality", predicted.quality), ("cost", predicted.cost_usd)):
        guess = np.where(known, np.nan_to_num(np.asarray(values, dtype=float)[:, columns]), 0.0)
        guess = np.clip(guess, 0.0, 1.0 if name == "quality" else None)
        error = np.where(seen, observed[name][rows] - guess, 0.0)
        scored[name] = np.column_stack([guess + error / chance, logged[name][rows]])
        guesses[name] = guess
    return Scores(
        quality=scored["quality"],
        cost=scored["cost"],
        predicted_quality=guesses["quality"],
        predicted_cost=guesses["cost"],
        allowed=overlap.allowed[rows] & known,
        weights=np.column_stack([np.where(seen, 1 / chance, 0.0), np.ones(len(rows))]),
    )
