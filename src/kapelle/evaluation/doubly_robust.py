"""Doubly robust scores: what each agent would have made of each task, predicted, and put right where it was seen.

    score(task, agent) = predicted + seen / propensity * (what was seen - predicted)

`find_overlap` tells who was seen where, who may be chosen there, and `find_uneven` whether the choice of whom to ask
was a fair one. Both look at no quality and at no cost: what may be chosen must not depend on how it went.

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

Array = npt.NDArray[Any]

MIN_SEEN = 20
"""Tasks of a type that an agent must have been seen with, to be chosen there."""
MIN_SHARE = 0.02
"""Of the tasks of a type. It bounds the weight of a task at 1 / MIN_SHARE = 50: no propensity is taken as lower."""
_UNEVEN = 0.25
"""Standardised difference of two means beyond which groups are called unlike (Stuart, 2010)."""
_UNLIKELY = 4.0
"""Standard errors; with it chance alone hardly ever calls groups unlike, however many pairs are compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """Who was seen where, and how often."""

    agents: tuple[str, ...]
    seen: Array
    """Tasks by agents, true where there is an outcome."""
    propensity: Array
    """Tasks by agents: the share of the task's type that was seen with the agent, at least MIN_SHARE."""
    allowed: Array
    """Tasks by agents: whether the agent may be chosen."""

    @property
    def choosable(self) -> Array:
        """For each task, whether there are two agents or more to choose from."""
        return np.asarray(self.allowed.sum(axis=1) >= 2)


def find_overlap(tasks: Sequence[LoggedTask], agents: Sequence[str]) -> Overlap:
    """Return who was seen where. Looks at no quality and no cost."""
    seen = np.array([[agent in task.outcomes for agent in agents] for task in tasks])
    _, kinds = np.unique([task.task_type for task in tasks], return_inverse=True)
    sizes = np.bincount(kinds)
    counts = np.array([np.bincount(kinds, weights=seen[:, column]) for column in range(len(agents))]).T
    share = counts / sizes[:, None]
    return Overlap(
        agents=tuple(agents),
        seen=seen,
        propensity=np.maximum(share, MIN_SHARE)[kinds],
        allowed=((counts >= MIN_SEEN) & (share >= MIN_SHARE))[kinds],
    )


def find_uneven(tasks: Sequence[LoggedTask], overlap: Overlap) -> str | None:
    """Return a warning if, within a type, an agent was given texts of other lengths than the rest; None if not."""
    lengths = np.log1p([len(task.text) for task in tasks])
    types = np.array([task.task_type for task in tasks])
    worst: tuple[float, str, str, str] | None = None
    for task_type in np.unique(types):
        inside = types == task_type
        for column, agent in enumerate(overlap.agents):
            given, others = (lengths[inside & (overlap.seen[:, column] == has)] for has in (True, False))
            if min(len(given), len(others)) < MIN_SEEN:
                continue
            difference = float(given.mean() - others.mean())
            spread = float(np.sqrt((given.var() + others.var()) / 2))
            error = float(np.sqrt(given.var() / len(given) + others.var() / len(others)))
            if abs(difference) > max(_UNEVEN * spread, _UNLIKELY * error) and (
                worst is None or abs(difference) > worst[0]
            ):
                worst = (abs(difference), agent, str(task_type), "longer" if difference > 0 else "shorter")
    if worst is None:
        return None
    _, agent, task_type, how = worst
    return (
        f"Within the type {task_type!r} {agent!r} was given {how} texts than the others. Who got a task depended on "
        "more than its type, so the estimates now lean on the predictions alone. Log a random share to be sure."
    )


def tell_excluded(tasks: Sequence[LoggedTask], overlap: Overlap) -> dict[str, str]:
    told = {}
    types = np.array([task.task_type for task in tasks])
    for column, agent in enumerate(overlap.agents):
        allowed = overlap.allowed[:, column]
        seen = int(overlap.seen[:, column].sum())
        if not allowed.any():
            told[agent] = f"left out: seen with {seen:,} of {len(tasks):,} tasks, in no type often enough"
        elif not allowed.all():
            lacking = sorted(set(types[~allowed].tolist()))
            shown = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
            told[agent] = (
                f"not chosen for {shown} ({1 - allowed.mean():.0%} of the tasks), where it was seen too seldom"
            )
    return told


class Predicted(Protocol):
    """Predictions for some tasks; see `kapelle.estimates.predictor.Prediction`."""

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
    """What tells beforehand how agents fare; see `kapelle.estimates.OutcomePredictor`."""

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
