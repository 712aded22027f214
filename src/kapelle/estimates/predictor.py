"""OutcomePredictor: what each agent would make of a task, and what that costs, learned from a log at once.

Quality is what the belief of success says (see success), fitted to the log with its words (see tuning); cost is one
line per agent over the lengths of text and context (see cost_lines). It keeps the means alone: what a policy weighs.

Partial rows. Where only some agents were seen at a task, the belief takes what there is: how hard the task is by its
words and type is shared by all agents, so one that is only given easy tasks is not taken for a good one.

With many agents the largest overestimate wins, so predictions may be pulled towards what each agent reaches in the mean
(see `pulled`). NumPy is imported; load this lazily. Chooses nothing: see policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .cost_lines import cost_lines, sizes
from .features import Embed, TextFeatures
from .logged import LoggedTask
from .tuning import fit_success, predict_quality

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prediction:
    """What agents are expected to make of tasks."""

    agents: tuple[str, ...]
    quality: Doubles
    """(tasks, agents), each in 0..1."""
    cost_usd: Doubles
    """(tasks, agents)."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OutcomePredictor:
    """Predicts quality and cost of every agent. See the module's docstring.

    >>> OutcomePredictor.fit([]).predict([LoggedTask(task_id="1", text="anything")]).quality.shape
    (1, 0)
    """

    agents: tuple[str, ...]
    types: tuple[str, ...]
    """Whose effect is known; the first are those of `type_effects` from column 1."""
    level: float
    """Mean quality of the log; of a short one, drawn towards the usual."""
    slopes: Doubles
    """(agents, 1 + width): of the level, and of what describes words."""
    type_effects: Doubles
    """(agents, 1 + types): quality added at a type; column 0, for types never seen, adds none."""
    costs: Doubles
    """(3, agents): dollars for a task, and per character of its text and of its context."""
    text: TextFeatures | None
    """What describes words; None where they do not count."""
    pull: float = 0.0
    """0..1: how far predictions are pulled towards `means`."""
    means: Doubles
    """(agents): mean quality of each in the log."""

    @classmethod
    def fit(cls, tasks: Sequence[LoggedTask], *, seed: int = 0, embed: Embed | None = None) -> Self:
        """Learn from logged tasks; rows may know one agent or many.

        Args:
            tasks: What was logged.
            seed: For what is drawn; the same seed and tasks give the same predictor.
            embed: Further numbers per text, of an embedding model.
        """
        return cls.fit_unseen(tasks, seed=seed, embed=embed)[0]

    @classmethod
    def fit_unseen(
        cls, tasks: Sequence[LoggedTask], *, seed: int = 0, embed: Embed | None = None
    ) -> tuple[Self, Prediction]:
        """Learn, and return with the predictor what it would have predicted for these same tasks had it not seen them.

        Prices are chosen by these predictions: by those of a model that knows its rows every choice would look too
        good. They are for the tasks that have outcomes, in their order.
        """
        seen = [task for task in tasks if task.outcomes]
        agents = tuple(sorted({agent for task in seen for agent in task.outcomes}))
        quality, cost = tabulate(seen, agents)
        fitted = fit_success(seen, quality, agents, seed=seed, embed=embed)
        slopes, type_effects = fitted.model.coefficients(agents)
        counts = (~np.isnan(quality)).sum(axis=0)
        predictor = cls(
            agents=agents,
            types=tuple(fitted.model.moments.columns),
            level=fitted.level,
            slopes=slopes,
            type_effects=type_effects,
            costs=cost_lines(seen, cost),
            text=fitted.text,
            means=np.nansum(quality, axis=0) / np.maximum(counts, 1),
        )
        unseen = Prediction(agents=agents, quality=fitted.unseen, cost_usd=predictor._predict_costs(seen))
        return predictor, unseen

    def pulled(self, pull: float) -> Self:
        """Return the predictor whose predictions are pulled this far, 0..1, towards each agent's mean."""
        return replace(self, pull=pull)

    def predict(self, tasks: Sequence[LoggedTask]) -> Prediction:
        """Return what every agent is expected to make of tasks. Their outcomes are never looked at."""
        known = {name: column for column, name in enumerate(self.types, start=1)}
        columns = np.array([known.get(task.task_type, 0) for task in tasks], dtype=np.intp)
        words = np.zeros((len(tasks), 0))
        if self.text is not None:
            words = self.text.describe([task.text for task in tasks], [task.context for task in tasks])
        quality = predict_quality(self.level, (self.slopes, self.type_effects), columns, words)
        quality = quality + self.pull * (self.means - quality)
        return Prediction(agents=self.agents, quality=quality, cost_usd=self._predict_costs(tasks))

    def to_arrays(self) -> tuple[dict[str, object], dict[str, NDArray[np.generic]]]:
        """Return the predictor as plain values and arrays; an `embed` function is not among them."""
        about: dict[str, object] = {
            "predictor": _FORMAT,
            "agents": self.agents,
            "types": self.types,
            "level": self.level,
            "pull": self.pull,
            "words": self.text is not None,
        }
        arrays: dict[str, NDArray[np.generic]] = {
            "slopes": self.slopes,
            "type_effects": self.type_effects,
            "cost_lines": self.costs,
            "means": self.means,
        }
        return about, arrays | (self.text.to_arrays() if self.text is not None else {})

    @classmethod
    def from_arrays(
        cls, about: Mapping[str, object], arrays: Mapping[str, NDArray[np.generic]], *, embed: Embed | None = None
    ) -> Self:
        """Return the predictor that `to_arrays` gave; give it the `embed` that it was learned with.

        Raises:
            KeyError, ValueError, TypeError: they do not fit together.
        """
        if about.get("predictor") != _FORMAT:
            raise ValueError("it is of an earlier version")
        agents, types = read_names(about["agents"]), read_names(about["types"])
        text = TextFeatures.from_arrays(arrays, embed=embed) if about["words"] else None
        width = len(text.names) if text is not None else 0
        slopes, effects, costs, means = (
            np.array(arrays[name], dtype=np.float64) for name in ("slopes", "type_effects", "cost_lines", "means")
        )
        level, pull = float(str(about["level"])), float(str(about["pull"]))
        count = len(agents)
        shapes = slopes.shape, effects.shape, costs.shape, means.shape
        if shapes != ((count, 1 + width), (count, 1 + len(types)), (3, count), (count,)):
            raise ValueError("the shapes differ")
        figures = np.concatenate([slopes.ravel(), effects.ravel(), costs.ravel(), means, [level, pull]])
        if not (np.abs(figures) <= _MOST).all():
            raise ValueError("a figure is not finite, or beyond all measure")
        if not (0 <= level <= 1 and 0 <= pull <= 1):
            raise ValueError("a figure lies outside 0..1")
        return cls(
            agents=agents,
            types=types,
            level=level,
            slopes=slopes,
            type_effects=effects,
            costs=costs,
            text=text,
            pull=pull,
            means=means,
        )

    def _predict_costs(self, tasks: Sequence[LoggedTask]) -> Doubles:
        predicted: Doubles = np.maximum(sizes(tasks) @ self.costs, 0.0)
        return predicted


def tabulate(tasks: Sequence[LoggedTask], agents: Sequence[str]) -> tuple[Doubles, Doubles]:
    """Return (quality, cost) as (tasks, agents), NaN where an agent was not seen."""
    quality, cost = np.full((2, len(tasks), len(agents)), np.nan)
    column = {agent: at for at, agent in enumerate(agents)}
    for row, task in enumerate(tasks):
        for agent, outcome in task.outcomes.items():
            quality[row, column[agent]], cost[row, column[agent]] = outcome.quality, outcome.cost_usd
    return quality, cost


def read_names(value: object) -> tuple[str, ...]:
    """Return names that came from a file.

    Raises:
        ValueError: they are none.
    """
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise ValueError("the names are no texts")
    return tuple(value)


_FORMAT = 2
"""1 were trees and their leaves."""
_MOST = 1e12
"""No figure of a predictor that was learned is as high; products of higher ones would overflow."""
