"""How likely an agent is to be right at a task, and how sure that is: one hierarchical ridge over all agents and types.

    quality(agent, task) = declared(agent) + x . (w + v_agent) + noise      w ~ N(0, V)   v_agent ~ N(0, U)
    x = 1 | the task's type | what describes its words

`w` is what is true of all agents here, `v_agent` what is true of one. An agent of which nothing is known is exactly
what it declares, corrected by how right the declarations of others were; what it does moves it from there, at one type,
and at the others for a part of that. V and U say how much each part may explain; a prior on a level of variance U is
worth NOISE / U outcomes (about five).

An outcome is one addition (see moments). The solving (see ridge) waits until somebody asks, and renews only what has
changed. Not thread-safe. NumPy is imported; load this lazily. Knows no costs, no ages of outcomes, and chooses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .moments import Moments, tame
from .ridge import NOISE as NOISE
from .ridge import Ridge
from .ridge import Scales as Scales

Doubles = NDArray[np.float64]
Ints = NDArray[np.intp]

DECLARED = 0.85
"""What an agent that declares nothing is taken to declare (documented)."""
_EDGE = 0.01
"""Nearest to 0 and 1 that a belief comes before outcomes of the pair say more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """One thing that moved an estimate from what is declared."""

    name: str
    """`agent`, `type`, or a name of a number that describes the words."""
    points: float
    """How far, in quality; above zero for the better."""


class SuccessModel:
    """Believes how likely agents are to be right. See the module's docstring.

    >>> model = SuccessModel()
    >>> mean, variance = model.believe(["new"], [0.9], ["search"])
    >>> float(mean[0, 0])
    0.9
    >>> for _ in range(20):
    ...     model.observe("new", "search", 0.0)
    >>> mean, variance = model.believe(["new"], [0.9], ["search"])
    >>> round(float(mean[0, 0]), 2)
    0.06
    """

    def __init__(
        self, scales: Scales | None = None, *, moments: Moments | None = None, declared: float = DECLARED
    ) -> None:
        """Start from these sums, or from none.

        Args:
            scales: How much each part may explain. With its default, words do not count.
            moments: Sums of outcomes, whose width is that of the scales; they are taken over, not copied.
            declared: What an agent declares that was not told of.
        """
        self.scales = scales if scales is not None else Scales()
        width = len(self.scales.shared_words)
        self.moments = moments if moments is not None else Moments(width)
        assert self.moments.width == width == len(self.scales.own_words)
        self._ridge = Ridge(self.scales, self.moments, declared)

    # Learning

    def observe(
        self,
        agent: str,
        task_type: str,
        quality: float,
        words: Doubles | None = None,
        *,
        weight: float = 1.0,
        kept: float = 1.0,
    ) -> None:
        """Learn from one outcome; `words` is what describes the task's text, as far as that is known.

        Those of the agent at the type before it count for a part then, as if they faded: see `fade`.
        """
        assert 0.0 <= quality <= 1.0
        assert weight >= 0.0
        row = self.moments.row_of(agent)
        if not row:
            return
        column = self.moments.column_of(task_type)
        described = None
        if self.moments.has_words(row):
            described = tame(words) if words is not None else None
            self.fade(agent, task_type, kept)
            kept = 1.0
        count, total = (kept - 1.0) * self.moments.counts[row, column], (kept - 1.0) * self.moments.totals[row, column]
        self._ridge.change(row, column, described, float(count) + weight, float(total) + weight * quality)
        self.moments.fade(agent, task_type, kept)
        self.moments.add(agent, task_type, quality, described, weight=weight)

    def fade(self, agent: str, task_type: str, kept: float) -> None:
        """Let what an agent did at a type count for a part, 0..1, of what it counted: its level there, not its slopes.

        An agent or a type of which nothing is known stays as it is.
        """
        assert 0.0 <= kept <= 1.0
        row, column = self.moments.rows.get(agent, 0), self.moments.columns.get(task_type, 0)
        count = self.moments.counts[row, column]
        if row and count > 0.0 and kept < 1.0:
            words = self.moments.words[row, column] / count if self.moments.has_words(row) else None
            gone = 1.0 - kept
            self._ridge.change(row, column, words, -gone * count, -gone * float(self.moments.totals[row, column]))
            self.moments.fade(agent, task_type, kept)

    def declare(self, agent: str, rate: float) -> None:
        """Take what an agent declares; outcomes it already had are seen against that from now on."""
        if self.moments.row_of(agent):
            self._rows_of([agent], [rate])

    def add_slopes(self, agent: str, gram: Doubles, products: Doubles) -> None:
        """Learn how an agent's quality differs with words, from what was summed earlier: see `Moments.slopes_of`."""
        self.moments.add_slopes(agent, gram, products)
        self._ridge.forget()

    def count(self, agent: str, task_type: str) -> float:
        """Return how many outcomes are counted of an agent at a type; faded ones in part."""
        row, column = self.moments.rows.get(agent, 0), self.moments.columns.get(task_type, 0)
        return float(self.moments.counts[row, column]) if row and column else 0.0

    # Believing

    def believe(
        self,
        agents: Sequence[str],
        declared: Sequence[float] | None,
        types: Sequence[str],
        words: Doubles | None = None,
    ) -> tuple[Doubles, Doubles]:
        """Return the mean and the variance of the chance to be right, as (tasks, agents), for all tasks and agents.

        Args:
            agents: Known or not.
            declared: What each of them declares; None leaves what was told before.
            types: Of each task; known or not.
            words: (tasks, width), what describes the tasks' texts; None where they are not known.

        The variance is that of the chance, without the noise of an outcome. Means lie in 0.01..0.99, or nearer to 0 and
        1 the more outcomes there are or where the declaration does.
        """
        rows = self._rows_of(agents, declared)
        told = self._ridge.declared(rows) if declared is None else np.asarray(declared, dtype=np.float64)
        columns = np.array([self.moments.columns.get(name, 0) for name in types], dtype=np.intp)
        described = None if words is None or not self.moments.width else tame(words)
        mean, variance = self._ridge.predict(rows, columns, described)
        mean += told
        edge = np.minimum(_EDGE, 1.0 / (self.moments.counts[rows[:, None], columns].T * (columns > 0)[:, None] + 2.0))
        return np.clip(mean, np.minimum(edge, told), np.maximum(1.0 - edge, told)), variance

    def coefficients(self, agents: Sequence[str]) -> tuple[Doubles, Doubles]:
        """Return what is added to a declaration: (agents, 1 + width) level and slopes, (agents, 1 + types) by column.

        Column 0 is for types of which nothing is known; the others are those of `moments.columns`.
        """
        rows = self._rows_of(agents, None)
        return self._ridge.means(rows)

    def explain(self, agent: str, task_type: str, words: Doubles | None = None) -> tuple[Term, ...]:
        """Return what moved the estimate from what the agent declares, the strongest first; together, all of it."""
        posterior = self._ridge.posterior(np.array([self.moments.rows.get(agent, 0)], dtype=np.intp))
        column = self.moments.columns.get(task_type, 0)
        points = {"agent": float(posterior.means[0, 0]), "type": float(posterior.type_means[0, column])}
        if words is not None and self.moments.width:
            moved = posterior.means[0, 1:] * tame(words)
            names = self.scales.names or ("words",) * self.moments.width
            for name, value in zip(names, moved.tolist(), strict=True):
                points[name] = points.get(name, 0.0) + value
        terms = [Term(name=name, points=value) for name, value in points.items() if value]
        return tuple(sorted(terms, key=lambda term: -abs(term.points)))

    def _rows_of(self, agents: Sequence[str], declared: Sequence[float] | None) -> Ints:
        rows = np.array([self.moments.rows.get(agent, 0) for agent in agents], dtype=np.intp)
        if declared is not None:
            told = np.asarray(declared, dtype=np.float64)
            for at in np.flatnonzero((rows > 0) & (self._ridge.declared(rows) != told)).tolist():
                self._ridge.declare(int(rows[at]), float(told[at]))
        return rows
