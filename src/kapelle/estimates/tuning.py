"""Fits the belief of success to a log: describes its texts, and finds how much words, form and types may explain.

The variances of the prior (see success) are right for few outcomes. From MIN_TUNED outcomes on each of them, shared by
all agents or an agent's own, is multiplied by what predicts best what it has not seen: five folds, in which equal texts
stay together, two rounds of STEPS; rare types count as one meanwhile (see TUNED_TYPES). NumPy is imported; load this
lazily. Keeps nothing.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .features import FORM, WORDS, Embed, TextFeatures
from .logged import LoggedTask
from .moments import Moments
from .success import Scales, SuccessModel

Doubles = NDArray[np.float64]
Ints = NDArray[np.intp]

FOLDS = 5
MIN_TASKS = 20
"""Tasks below which nothing is learned from words."""
MIN_TUNED = 300
"""Outcomes below which the variances stay as they are: the folds would choose by chance."""
STEPS = (0.1, 0.3, 1.0, 3.0)
"""By which a variance may be multiplied."""
ROUNDS = 2
TUNED_TYPES = 64
"""Types with an effect of their own while variances are chosen, the most frequent: the work grows with their square."""
USUAL_LEVEL = 0.7
"""Mean quality of a log of which nothing is known yet: that of recorded data."""
LEVEL_OUTCOMES = 100.0
"""Outcomes that count as much as it."""
_LEAST_GAIN = 1e-6
"""Of mean squared error; less is no reason to change a variance."""
_SHARED = {"type": 0.02, "form": 0.01, "words": 0.005, "meaning": 0.005}
_OWN = {"type": 0.03, "form": 0.003, "words": 0.003, "meaning": 0.003}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedSuccess:
    """What a log says of success."""

    text: TextFeatures | None
    """What describes words; None where there were too few tasks to learn it from."""
    scales: Scales
    model: SuccessModel
    """Has seen all of the log; its agents declare `level`."""
    level: float
    """Mean quality of the log; of a short one, drawn towards the usual."""
    unseen: Doubles
    """(tasks, agents): what would have been predicted of each task by a model that had not seen it."""


def fit_success(
    tasks: Sequence[LoggedTask],
    quality: Doubles,
    agents: Sequence[str],
    *,
    seed: int = 0,
    embed: Embed | None = None,
) -> FittedSuccess:
    """Return what these tasks say of success.

    Args:
        tasks: Their outcomes are not looked at.
        quality: (tasks, agents), NaN where an agent was not seen.
        agents: Of the columns.
        seed: For what is drawn.
        embed: Further numbers per text, of an embedding model.
    """
    texts, contexts = [task.text for task in tasks], [task.context for task in tasks]
    text = None
    words = np.zeros((len(tasks), 0))
    if len(tasks) >= MIN_TASKS and any(texts):
        text = TextFeatures.fit(texts, contexts, seed=seed, embed=embed)
        words = text.describe(texts, contexts)
    folds = _deal(texts)
    parts = [_sum_up(tasks, quality, agents, words, folds == fold) for fold in range(FOLDS)]
    seen = ~np.isnan(quality)
    level = float((quality[seen].sum() + LEVEL_OUTCOMES * USUAL_LEVEL) / (seen.sum() + LEVEL_OUTCOMES))
    types = [task.task_type for task in tasks]
    often = list(parts[0].columns)[:TUNED_TYPES]
    factors: dict[tuple[str, str], float] = {}
    if seen.sum() >= MIN_TUNED:
        few = [part.keeping(often) for part in parts] if len(often) < parts[0].types else parts
        fit = _Folds(few, folds, words, quality, level, agents, types)
        error = fit.error(make_scales(text, factors))
        blocks = ["type", *_blocks(text)]
        for who, block in [(who, block) for block in blocks for who in ("shared", "own")] * ROUNDS:
            for step in STEPS:
                if step == factors.get((who, block), 1.0):
                    continue
                tried = {**factors, (who, block): step}
                found = fit.error(make_scales(text, tried))
                if found < error - _LEAST_GAIN:
                    error, factors = found, tried
    scales = make_scales(text, factors)
    unseen = _Folds(parts, folds, words, quality, level, agents, types).predict_unseen(scales)
    model = SuccessModel(scales, moments=Moments.merged(parts), declared=level)
    return FittedSuccess(text=text, scales=scales, model=model, level=level, unseen=unseen)


def make_scales(text: TextFeatures | None, factors: Mapping[tuple[str, str], float]) -> Scales:
    """Return the variances of the prior times these factors, of (`shared` or `own`, block)."""
    names = text.names if text is not None else ()
    blocks = ["form" if name in FORM else "words" if name == WORDS else "meaning" for name in names]
    shared = {block: value * factors.get(("shared", block), 1.0) for block, value in _SHARED.items()}
    own = {block: value * factors.get(("own", block), 1.0) for block, value in _OWN.items()}
    return Scales(
        shared_type=shared["type"],
        own_type=own["type"],
        shared_words=tuple(shared[block] for block in blocks),
        own_words=tuple(own[block] for block in blocks),
        names=names,
    )


def _blocks(text: TextFeatures | None) -> list[str]:
    return [] if text is None else ["form", "words", "meaning"][: len(text.blocks)]


def _deal(texts: Sequence[str]) -> Ints:
    """Return the fold of each text. Equal ones share it, so that no task is predicted from its own double."""
    folds = np.array([zlib.crc32(text.encode("utf-8", "replace")) % FOLDS for text in texts], dtype=np.intp)
    return folds if len(np.unique(folds)) == FOLDS else np.arange(len(texts), dtype=np.intp) % FOLDS


def _sum_up(
    tasks: Sequence[LoggedTask], quality: Doubles, agents: Sequence[str], words: Doubles, chosen: NDArray[np.bool_]
) -> Moments:
    """Return the sums of the chosen tasks; all agents and types have their place, the most frequent first."""
    sums = Moments(words.shape[1])
    for task_type, _ in Counter(task.task_type for task in tasks).most_common():
        sums.column_of(task_type)
    for column, agent in enumerate(agents):
        rows = np.flatnonzero(chosen & ~np.isnan(quality[:, column]))
        types = [tasks[row].task_type for row in rows.tolist()]
        sums.add_many(agent, types, quality[rows, column], words[rows] if words.shape[1] else None)
    return sums


class _Folds:
    """Predicts each fold from the others."""

    def __init__(
        self,
        parts: Sequence[Moments],
        folds: Ints,
        words: Doubles,
        quality: Doubles,
        level: float,
        agents: Sequence[str],
        types: Sequence[str],
    ) -> None:
        self._others = [Moments.merged([*parts[:fold], *parts[fold + 1 :]]) for fold in range(len(parts))]
        self._rows = [np.flatnonzero(folds == fold) for fold in range(len(parts))]
        self._columns = np.array([parts[0].columns.get(name, 0) for name in types], dtype=np.intp)
        self._words, self._quality, self._level, self._agents = words, quality, level, agents
        self._seen = ~np.isnan(quality)

    def error(self, scales: Scales) -> float:
        """Return the mean squared error of `predict_unseen`; 0 where nothing was seen."""
        wrong = (self.predict_unseen(scales) - self._quality)[self._seen]
        return float((wrong**2).mean()) if len(wrong) else 0.0

    def predict_unseen(self, scales: Scales) -> Doubles:
        """Return what is predicted of the tasks, as (tasks, agents)."""
        predicted = np.full(self._quality.shape, self._level)
        for others, rows in zip(self._others, self._rows, strict=True):
            model = SuccessModel(scales, moments=others, declared=self._level)
            found = predict_quality(
                self._level, model.coefficients(self._agents), self._columns[rows], self._words[rows]
            )
            predicted[rows] = found
        return predicted


def predict_quality(level: float, coefficients: tuple[Doubles, Doubles], columns: Ints, words: Doubles) -> Doubles:
    """Return (tasks, agents): quality by the means of a belief alone, in 0.01..0.99.

    Args:
        level: What agents declare.
        coefficients: See `SuccessModel.coefficients`.
        columns: Of the tasks' types.
        words: (tasks, width).
    """
    slopes, types = coefficients
    predicted = level + slopes[:, 0] + types[:, columns].T + words @ slopes[:, 1:].T
    return np.clip(predicted, 0.01, 0.99)
