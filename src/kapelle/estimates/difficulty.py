"""How hard a task is, and for whom: predicted from its words, learned from what became of others.

DAAO (arXiv:2509.11079) estimates a query's difficulty and routes by it. Here one forest (see forest) predicts the
quality of every agent at once from the words, the form and the type of a task (see features), and one line per agent
predicts its cost from their lengths. The difficulty is what remains: the chance that a typical agent fails, and for
each agent how much better or worse it is expected to do than at an ordinary task of the type.

Partial rows. Where only some agents were seen at a task, what the others would have done is filled in before the forest
grows: how hard the task is by its words, how good the agent is beyond that (found in turns), and how those that were
seen fared at the very task. So an agent that is only given easy tasks is not taken for a good one.

Online. A new outcome moves the leaves that its task falls into, in every tree, and the agent's line of costs; the
branches stay until the next `fit`.
NumPy is imported; load this lazily. Chooses nothing: see policy.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from kapelle.errors import InvalidInput

from .arrays import read_arrays, write_arrays
from .features import Embed, TextFeatures
from .forest import FOLDS, TREES, Forest
from .logged import LoggedOutcome, LoggedTask
from .partial_log import (
    MIN_TASKS,
    PRIOR_QUALITY,
    PULL,
    TASK_PULL,
    cost_lines,
    expect_unseen,
    fill,
    means_of_filled,
    sizes,
    tabulate,
    type_means,
)

Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]

LEAF_SHARE = 140
"""Tasks per leaf grow with the log, one in so many: below it leaves are noise, above it blunt (cross-validated)."""
MIN_LEAF = 5
COST_PULL = 20.0
"""Outcomes that the known line of an agent's costs weighs against a new one."""
MAX_CHANGE = 10.0
"""Times its expected cost that one outcome may say; a slip of the log does not move a price further."""
MAX_SHIFT = 3.0
"""Log-odds: words alone never make an agent more than twenty times as likely to fail."""
MAX_TYPE_COLUMNS = 500
"""Task types that features tell apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What agents are expected to make of tasks."""

    agents: tuple[str, ...]
    quality: Doubles
    """(tasks, agents), each in 0..1."""
    cost_usd: Doubles
    """(tasks, agents)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difficulty:
    """How hard one task is."""

    level: float
    """0..1: the chance that a typical agent fails."""
    shifts: Mapping[str, float] = field(default_factory=dict)
    """Agent to the shift of its log-odds of success against its own mean for the type; 0 is ordinary."""
    usual_shift: float = 0.0

    def shift(self, agent: str) -> float:
        """Return an agent's shift; that of a typical agent for one that was never seen."""
        return self.shifts.get(agent, self.usual_shift)


class DifficultyModel:
    """Predicts quality and cost of every agent from a task's words. See the module's docstring.

    >>> model = DifficultyModel.fit([])
    >>> model.assess("anything", "search").shift("anyone")
    0.0
    """

    def __init__(
        self,
        *,
        agents: tuple[str, ...],
        types: tuple[str, ...],
        means: Doubles,
        costs: Doubles,
        text: TextFeatures | None,
        forest: Forest | None,
        weights: NDArray[np.float32] | None,
    ) -> None:
        """Use `fit` or `load`."""
        self.agents = agents
        self.types = types
        self._columns = types[:MAX_TYPE_COLUMNS]
        """The types that the forest knows; those met later are told apart by their words only, until the next fit."""
        self._means = means
        """(types + 1, agents): quality; the first row is for types never seen."""
        self._costs = costs
        """(3, agents): dollars for a task, and per character of its text and of its context."""
        self._text = text
        self._forest = forest
        self._weights = weights
        """(nodes, agents): outcomes behind each mean of the forest."""

    @classmethod
    def fit(cls, tasks: Sequence[LoggedTask], *, seed: int = 0, embed: Embed | None = None) -> Self:
        """Learn from logged tasks; rows may know one agent or many.

        Args:
            tasks: What was logged. With few of them, or one agent, every task is ordinary.
            seed: For the trees; the same seed and tasks give the same model.
            embed: Further numbers per text, of an embedding model.
        """
        return cls.fit_unseen(tasks, seed=seed, embed=embed)[0]

    @classmethod
    def fit_unseen(
        cls, tasks: Sequence[LoggedTask], *, seed: int = 0, embed: Embed | None = None
    ) -> tuple[Self, Prediction]:
        """Learn, and return with the model what it would have predicted for these same tasks had it not seen them.

        Prices are chosen by these predictions: by those of a model that knows its rows every choice would look too
        good. They are for the tasks that have outcomes, in their order.
        """
        seen = [task for task in tasks if task.outcomes]
        agents = tuple(sorted({agent for task in seen for agent in task.outcomes}))
        types = tuple(sorted({task.task_type for task in seen}))
        table = tabulate(seen, agents, types)
        means = type_means(table, len(types))
        costs = cost_lines(seen, table)
        model = cls(agents=agents, types=types, means=means, costs=costs, text=None, forest=None, weights=None)
        if len(seen) < MIN_TASKS or not agents:
            return model, model.predict(seen)
        texts, contexts = [task.text for task in seen], [task.context for task in seen]
        model._text = TextFeatures.fit(texts, contexts, seed=seed, embed=embed)
        rows = model._rows(seen)
        # Equal texts share a fold, so that no task is predicted from its own double.
        folds = np.array([zlib.crc32(text.encode("utf-8", "replace")) % FOLDS for text in texts], dtype=np.int32)
        folds = folds if len(np.unique(folds)) == FOLDS else np.arange(len(seen), dtype=np.int32) % FOLDS
        least = max(MIN_LEAF, len(seen) // LEAF_SHARE)
        if np.isnan(table.quality).any():
            filled = fill(table, expect_unseen(rows, table, folds, least=least, types=len(types), seed=seed))
            model._means = means_of_filled(filled, table, means)
        else:
            filled = table.quality
        forest = Forest.grow(rows, filled.astype(np.float32), folds, least=least, seed=seed, trees=TREES)
        model._forest = forest
        model._weights = np.full(forest.means.shape, float(least), dtype=np.float32)
        unseen = np.clip(forest.predict_unseen(rows, folds), 0.0, 1.0)
        return model, Prediction(agents=agents, quality=unseen, cost_usd=model._predict_costs(seen))

    def observe(self, task: LoggedTask) -> None:
        """Learn from one more task, in milliseconds; agents never seen before join in."""
        for agent in task.outcomes:
            if agent not in self.agents:
                self._welcome(agent, task.outcomes[agent])
        if task.task_type not in self.types:
            self.types = (*self.types, task.task_type)
            self._means = np.vstack([self._means, self._means[:1]])
        kind = self.types.index(task.task_type) + 1
        leaves = None
        if self._forest is not None:
            leaves = self._forest.find_leaves(self._rows([task]))[0]
        predicted = self._predict_costs([task])[0]
        for agent, outcome in task.outcomes.items():
            column = self.agents.index(agent)
            if predicted[column] > 0:  # prices change: the line moves as a whole, the last outcomes count most
                change = min(max(outcome.cost_usd / predicted[column], 1 / MAX_CHANGE), MAX_CHANGE)
                self._costs[:, column] *= 1 + (change - 1) / COST_PULL
            else:
                self._costs[0, column] += outcome.cost_usd / COST_PULL
            self._means[kind, column] += (outcome.quality - self._means[kind, column]) / (PULL + 1)
            if leaves is not None and self._forest is not None and self._weights is not None:
                self._weights[leaves, column] += 1
                step = (outcome.quality - self._forest.means[leaves, column]) / self._weights[leaves, column]
                self._forest.means[leaves, column] += step

    def predict(self, tasks: Sequence[LoggedTask]) -> Prediction:
        """Return what every agent is expected to make of tasks. Their outcomes are never looked at."""
        quality = self._usual(tasks)
        if self._forest is not None and len(tasks):
            quality = np.clip(self._forest.predict(self._rows(tasks)), 0.0, 1.0)
        return Prediction(agents=self.agents, quality=quality, cost_usd=self._predict_costs(tasks))

    def assess(self, text: str, task_type: str, context: str = "") -> Difficulty:
        """Return how hard a task is, from what is known before anyone has tried it."""
        task = LoggedTask(task_id="", text=text, task_type=task_type, context=context)
        usual = self._usual([task])[0]
        if self._forest is None or not self.agents:
            return Difficulty(level=1 - float(usual.mean()) if len(usual) else 1 - PRIOR_QUALITY)
        expected = self.predict([task]).quality[0]
        shifts = np.clip(_log_odds(expected) - _log_odds(usual), -MAX_SHIFT, MAX_SHIFT)
        return Difficulty(
            level=float(np.clip(1 - expected.mean(), 0.0, 1.0)),
            shifts={agent: float(shift) for agent, shift in zip(self.agents, shifts, strict=True)},
            usual_shift=float(shifts.mean()),
        )

    def save(self, path: Path | str) -> None:
        """Write the model; the file appears whole or not at all. An `embed` function is not saved.

        Raises:
            InvalidInput: the file cannot be written.
        """
        write_arrays(path, *self.to_arrays())

    @classmethod
    def load(cls, path: Path | str, *, embed: Embed | None = None) -> Self:
        """Read a model that `save` wrote; give it the `embed` that it was learned with, if there was one.

        Raises:
            InvalidInput: there is no such file, or it is none of ours, damaged, or of a newer version.
        """
        about, arrays = read_arrays(path)
        try:
            return cls.from_arrays(about, arrays, embed=embed)
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise InvalidInput(
                f"{str(path)!r} is damaged or no difficulty model ({error}). Learn it again from the log."
            ) from error

    def to_arrays(self) -> tuple[dict[str, object], dict[str, NDArray[np.generic]]]:
        """Return the model as plain values and arrays."""
        about: dict[str, object] = {
            "agents": self.agents,
            "types": self.types,
            "columns": self._columns,
            "grown": self._forest is not None,
        }
        arrays: dict[str, NDArray[np.generic]] = {"type_means": self._means, "cost_lines": self._costs}
        if self._forest is not None and self._text is not None and self._weights is not None:
            arrays |= self._text.to_arrays()
            forest = self._forest
            arrays |= {
                "feature": forest.feature,
                "threshold": forest.threshold,
                "low": forest.low,
                "roots": forest.roots,
                "leaf_means": forest.means,
                "leaf_weights": self._weights,
                "depth": np.array([forest.depth], dtype=np.int32),
            }
        return about, arrays

    @classmethod
    def from_arrays(
        cls, about: Mapping[str, object], arrays: Mapping[str, NDArray[np.generic]], *, embed: Embed | None = None
    ) -> Self:
        """Return the model that `to_arrays` gave.

        Raises:
            KeyError, ValueError, TypeError, IndexError: they do not fit together.
        """
        agents, types = _names(about["agents"]), _names(about["types"])
        means = np.array(arrays["type_means"], dtype=np.float64)
        costs = np.array(arrays["cost_lines"], dtype=np.float64)
        _require(means.shape == (len(types) + 1, len(agents)) and costs.shape == (3, len(agents)), "the shapes differ")
        _require(bool(np.isfinite(means).all() and np.isfinite(costs).all()), "a figure is not finite")
        model = cls(agents=agents, types=types, means=means, costs=costs, text=None, forest=None, weights=None)
        model._columns = _names(about["columns"])
        if not about["grown"]:
            return model
        model._text = TextFeatures.from_arrays(arrays, embed=embed)
        feature = np.array(arrays["feature"], dtype=np.int32)
        low = np.array(arrays["low"], dtype=np.int32)
        threshold = np.array(arrays["threshold"], dtype=np.float32)
        roots = np.array(arrays["roots"], dtype=np.int32)
        leaf_means = np.array(arrays["leaf_means"], dtype=np.float32)
        weights = np.array(arrays["leaf_weights"], dtype=np.float32)
        nodes, inner = len(feature), feature >= 0
        shapes = low.shape == threshold.shape == feature.shape == (nodes,) and leaf_means.shape == weights.shape
        _require(shapes and leaf_means.shape == (nodes, len(agents)) and len(roots) > 0, "the trees do not fit")
        finite = np.isfinite(threshold).all() and np.isfinite(leaf_means).all() and (weights > 0).all()
        width = model._rows([LoggedTask(task_id="", text="")]).shape[1]
        # A branch leads on to later nodes, so that no look-up can go in circles or out of the tables.
        forward = (low[inner] > np.flatnonzero(inner)).all() and (low[inner] + 1 < nodes).all()
        inside = (feature < width).all() and ((roots >= 0) & (roots < nodes)).all()
        _require(bool(finite and forward and inside), "the trees are damaged")
        depth = int(np.clip(np.asarray(arrays["depth"]).ravel()[0], 0, 64))
        model._weights = weights
        model._forest = Forest(
            feature=feature, threshold=threshold, low=low, roots=roots, depth=depth, means=leaf_means
        )
        return model

    def _rows(self, tasks: Sequence[LoggedTask]) -> NDArray[np.float32]:
        assert self._text is not None
        described = self._text.describe([task.text for task in tasks], [task.context for task in tasks])
        kinds = np.zeros((len(tasks), len(self._columns)), dtype=np.float32)
        known = {name: column for column, name in enumerate(self._columns)}
        for row, task in enumerate(tasks):
            if task.task_type in known:
                kinds[row, known[task.task_type]] = 1.0
        return np.hstack([described, kinds])

    def _usual(self, tasks: Sequence[LoggedTask]) -> Doubles:
        """What the agents make of ordinary tasks of these types."""
        known = {name: row for row, name in enumerate(self.types, start=1)}
        rows = [known.get(task.task_type, 0) for task in tasks]
        return self._means[rows].reshape(len(tasks), len(self.agents))

    def _predict_costs(self, tasks: Sequence[LoggedTask]) -> Doubles:
        predicted: Doubles = np.maximum(sizes(tasks) @ self._costs, 0.0)
        return predicted

    def _welcome(self, agent: str, outcome: LoggedOutcome) -> None:
        """Take in an agent never seen before: it starts as a typical one."""
        usual = (
            self._means.mean(axis=1, keepdims=True) if self.agents else np.full((len(self._means), 1), PRIOR_QUALITY)
        )
        self._means = np.hstack([self._means, usual])
        self._costs = np.hstack([self._costs, [[outcome.cost_usd], [0.0], [0.0]]])
        if self._forest is not None and self._weights is not None:
            self._forest.means = np.hstack([self._forest.means, self._forest.means.mean(axis=1, keepdims=True)])
            self._weights = np.hstack([self._weights, np.full((len(self._weights), 1), TASK_PULL, dtype=np.float32)])
        self.agents = (*self.agents, agent)


def _log_odds(quality: Doubles) -> Doubles:
    inside = np.clip(quality, 0.02, 0.98)
    odds: Doubles = np.log(inside / (1 - inside))
    return odds


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise ValueError("the names are no texts")
    return tuple(value)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
