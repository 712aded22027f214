"""The exact solution of the hierarchical ridge of success: what is believed of agents, given what outcomes add up to.

    quality(agent, task) = declared(agent) + x . (w + v_agent) + noise      w ~ N(0, V)   v_agent ~ N(0, U)
    x = 1 | the task's type | what describes its words

It is Bayesian linear regression (Lindley and Smith, 1972). Each agent is eliminated first, and its types before that,
for they meet each other only in its level and its slopes:

    Q_a = level and slopes of G_a + s/U, less what the types explain      (d x d)
    S   = s/V + sum of G_a - G_a R_a G_a,     w = S^-1 r,    r = sum of b_a - G_a R_a b_a      (d + types)
    mean(a, x) = declared + x . R_a (b_a + w s/U),     var = s (x'R_a x + x'R_a (s/U) S^-1 (s/U) R_a x)

with G_a the products of x, b_a those with quality less what is declared, s the noise, R_a = (G_a + s/U)^-1. Only what
has changed is solved anew. NumPy is imported; load this lazily. Knows agents by row and types by column: see moments.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .moments import Moments

Doubles = NDArray[np.float64]
Ints = NDArray[np.intp]

NOISE = 0.16
"""Variance of one outcome that nothing explains: that of one success in five, and of recorded data within a type."""
_BLOCK = 32
"""Agents whose parts of S are kept as one sum: when one changes, these are summed anew, and not all."""
_ELEMENTS = 1 << 20
"""Of the largest table in one step; more agents or tasks are taken in several."""
_KEPT = 64
"""Groups of agents whose posteriors are kept until the next outcome."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scales:
    """Variances that each part may explain: shared by all agents (V), and of an agent's own (U)."""

    shared_level: float = 0.04
    own_level: float = 0.03
    shared_type: float = 0.02
    own_type: float = 0.03
    shared_words: tuple[float, ...] = ()
    """One per number that describes a text."""
    own_words: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    """What each of these numbers is called in explanations; numbers of one name are one term."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is believed of some agents. Column 0 is the type without an effect of its own."""

    means: Doubles
    """(agents, d): of level and slopes."""
    type_means: Doubles
    """(agents, 1 + types)."""
    inverse: Doubles
    """(agents, d, d): Q^-1."""
    leans: Doubles
    """(agents, 1 + types, d): how a type's outcomes lean on level and slopes."""
    own: Doubles
    """(agents, 1 + types): 1 / (outcomes + what the prior of a type counts)."""
    shared: Doubles
    """(agents, d, d): E' S^-1 E, where E takes what is believed of an agent to what is believed of all."""
    shared_types: Doubles
    """(agents, 1 + types, d): S^-1 E, the rows of types."""
    shared_type: Doubles
    """(1 + types): the diagonal of S^-1."""


class Ridge:
    """What is believed of agents by their rows. See the module's docstring.

    Args:
        scales: How much each part may explain.
        moments: The sums; whoever changes them says whose, see `solve`.
    """

    def __init__(self, scales: Scales, moments: Moments) -> None:
        self._scales = scales
        self._moments = moments
        self._outer = NOISE / np.array([scales.own_level, *scales.own_words])
        self._shared_outer = NOISE / np.array([scales.shared_level, *scales.shared_words])
        self._type, self._shared_type = NOISE / scales.own_type, NOISE / scales.shared_type
        self._size = len(self._outer)
        self._declared: Doubles = np.zeros(0)
        self._inverse: Doubles = np.zeros((0, self._size, self._size))
        self._sums: list[tuple[Doubles, Doubles]] = []
        """Of each block of agents: its part of S, and of r."""
        self._covariance: Doubles = np.zeros((0, 0))
        self._weights: Doubles = np.zeros(0)
        self._ready: dict[bytes, Posterior] = {}

    def solve(self, rows: Iterable[int], declared: Doubles) -> None:
        """Bring everything up to date with the sums of these rows; `declared` is what each agent declares, by row."""
        changed: Ints = np.array(sorted(rows), dtype=np.intp)
        self._declared = declared
        known, size = 1 + self._moments.agents, self._size + self._moments.types
        if known > len(self._inverse):
            fresh = np.zeros((max(known, 2 * len(self._inverse)), self._size, self._size))
            fresh[:] = np.diag(1.0 / self._outer)
            fresh[: len(self._inverse)] = self._inverse
            self._inverse = fresh
        step = self._agents_at_once()
        for first in range(0, len(changed), step):
            part = changed[first : first + step]
            self._inverse[part] = self._invert(part)
        blocks = set(((changed - 1) // _BLOCK).tolist())
        empty = (np.zeros((0, 0)), np.zeros(0))
        self._sums += [empty] * (1 + max(blocks, default=-1) - len(self._sums))
        for block in blocks:
            first = 1 + block * _BLOCK
            self._sums[block] = self._sum_block(np.arange(first, min(first + _BLOCK, known)))
        precision = np.diag(np.concatenate([self._shared_outer, np.full(self._moments.types, self._shared_type)]))
        told = np.zeros(size)
        for products, results in self._sums:
            precision[: len(products), : len(products)] += products
            told[: len(results)] += results
        self._covariance = np.asarray(np.linalg.inv(precision), dtype=np.float64)
        self._weights = self._covariance @ told
        self._ready = {}

    def predict(self, rows: Ints, columns: Ints, words: Doubles | None) -> tuple[Doubles, Doubles]:
        """Return mean less what is declared, and variance, as (tasks, agents); call `solve` before.

        Args:
            rows: Of agents; 0 is one of which nothing is known.
            columns: Of the tasks' types; 0 is one of which nothing is known.
            words: (tasks, width), or None.
        """
        if words is None:  # tasks of one type are one task then
            columns, back = np.unique(columns, return_inverse=True)
        mean, variance = np.zeros((len(columns), len(rows))), np.zeros((len(columns), len(rows)))
        step = self._agents_at_once()
        for first in range(0, len(rows), step):
            agents = slice(first, first + step)
            posterior = self.posterior(rows[agents])
            many = max(1, _ELEMENTS // (self._size * len(rows[agents])))
            for begin in range(0, len(columns), many):
                tasks = slice(begin, begin + many)
                told = None if words is None else words[tasks]
                mean[tasks, agents], variance[tasks, agents] = self._predict(posterior, columns[tasks], told)
        return (mean, variance) if words is not None else (mean[back.ravel()], variance[back.ravel()])

    def _predict(self, posterior: Posterior, columns: Ints, words: Doubles | None) -> tuple[Doubles, Doubles]:
        """Return (mean less what is declared, variance) as (tasks, agents)."""
        own = posterior.own[:, columns]
        apart = -posterior.leans[:, columns]
        apart[..., 0] += 1.0
        mean = posterior.means[:, :1] + posterior.type_means[:, columns]
        if words is not None:
            apart[..., 1:] += words
            mean = mean + posterior.means[:, 1:] @ words.T
        moved = apart @ posterior.inverse
        kept = own * self._type
        variance = (apart * moved).sum(-1) + own
        variance += ((moved @ posterior.shared) * moved).sum(-1)
        variance += 2.0 * kept * (moved * posterior.shared_types[:, columns]).sum(-1)
        variance += kept**2 * posterior.shared_type[columns]
        unknown = (columns == 0) * (self._scales.shared_type + self._scales.own_type)
        return mean.T, (NOISE * np.maximum(variance, 0.0)).T + unknown[:, None]

    def _agents_at_once(self) -> int:
        return max(1, _ELEMENTS // (self._size * (1 + self._moments.types)))

    def _invert(self, rows: Ints) -> Doubles:
        """Return Q^-1 of these agents."""
        products = np.zeros((len(rows), self._size, self._size))
        products[:] = np.diag(self._outer)
        everything = self._products(rows, slice(0, 1 + self._moments.types))
        sums = everything.sum(axis=1)
        products[:, 0, :] += sums
        products[:, 1:, 0] += sums[:, 1:]
        told = self._with_words(rows)
        products[told, 1:, 1:] += self._moments.grams[rows[told]]
        by_type = everything[:, 1:]
        own = 1.0 / (by_type[..., 0] + self._type)
        products -= np.swapaxes(by_type * own[..., None], 1, 2) @ by_type
        inverse: Doubles = np.asarray(np.linalg.inv(products), dtype=np.float64)
        even: Doubles = (inverse + np.swapaxes(inverse, 1, 2)) / 2.0
        return even

    def _sum_block(self, rows: Ints) -> tuple[Doubles, Doubles]:
        """Return what these agents add to S and to r."""
        size, types = self._size, self._moments.types
        products, results = np.zeros((size + types, size + types)), np.zeros(size + types)
        step = self._agents_at_once()
        for first in range(0, len(rows), step):
            part = rows[first : first + step]
            leans, own, outer, of_types = self._tables(part)
            towards = self._towards_all(leans)
            moved = towards @ self._inverse[part]
            products -= (moved @ np.swapaxes(towards, 1, 2)).sum(axis=0)
            counts = self._moments.counts[part, 1 : 1 + types]
            diagonal = np.concatenate([len(part) * self._outer, (self._type * counts * own).sum(axis=0)])
            products[np.diag_indices(size + types)] += diagonal
            rest = outer - (leans * of_types[..., None]).sum(axis=1)
            results += np.einsum("apd,ad->p", moved, rest)
            results[size:] += (self._type * own * of_types).sum(axis=0)
        return products, results

    def posterior(self, rows: Ints) -> Posterior:
        """Return what is believed of these agents; kept until something changes."""
        key = rows.tobytes()
        found = self._ready.get(key)
        if found is not None:
            return found
        size = self._size
        leans, own, outer, of_types = self._tables(rows)
        means, type_means = self._means(rows, leans, own, outer, of_types)
        towards = self._towards_all(leans)
        shared = self._covariance @ towards
        nothing = [(0, 0), (1, 0)]
        found = Posterior(
            means=means,
            type_means=np.pad(type_means, nothing),
            inverse=self._inverse[rows],
            leans=np.pad(leans, [*nothing, (0, 0)]),
            own=np.pad(own, nothing),
            shared=np.swapaxes(towards, 1, 2) @ shared,
            shared_types=np.pad(shared[:, size:], [*nothing, (0, 0)]),
            shared_type=np.concatenate([[0.0], np.diag(self._covariance)[size:]]),
        )
        if len(self._ready) >= _KEPT:
            self._ready = {}
        if leans.size <= _ELEMENTS // 8:
            self._ready[key] = found
        return found

    def means(self, rows: Ints) -> tuple[Doubles, Doubles]:
        """Return the means alone of what is believed of these agents: (agents, d), and (agents, 1 + types)."""
        means, type_means = self._means(rows, *self._tables(rows))
        return means, np.pad(type_means, [(0, 0), (1, 0)])

    def _means(
        self, rows: Ints, leans: Doubles, own: Doubles, outer: Doubles, of_types: Doubles
    ) -> tuple[Doubles, Doubles]:
        outer = outer + self._outer * self._weights[: self._size]
        of_types = of_types + self._type * self._weights[self._size :]
        means = ((outer - (leans * of_types[..., None]).sum(axis=1))[:, None] @ self._inverse[rows])[:, 0]
        return means, own * of_types - (leans @ means[..., None])[..., 0]

    def _towards_all(self, leans: Doubles) -> Doubles:
        """Return E as (agents, d + types, d): what a step in an agent's level and slopes is a step of all in."""
        outer = np.broadcast_to(np.diag(self._outer), (len(leans), self._size, self._size))
        return np.concatenate([outer, -self._type * leans], axis=1)

    def _tables(self, rows: Ints) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        """Return (leans, own, b of level and slopes, b of types) of these agents; see Posterior."""
        types = 1 + self._moments.types
        everything = self._products(rows, slice(0, types))
        counts, totals = self._moments.counts[rows, :types], self._moments.totals[rows, :types]
        declared = self._declared[rows]
        errors = totals - declared[:, None] * counts
        outer = np.zeros((len(rows), self._size))
        outer[:, 0] = errors.sum(axis=1)
        told = self._with_words(rows)
        sums = everything[told, :, 1:].sum(axis=1)
        outer[told, 1:] = self._moments.products[rows[told]] - declared[told, None] * sums
        own = 1.0 / (counts[:, 1:] + self._type)
        return everything[:, 1:] * own[..., None], own, outer, errors[:, 1:]

    def _products(self, rows: Ints, columns: slice) -> Doubles:
        """Return (agents, types, d): the products of a type with level and slopes."""
        counts = self._moments.counts[rows, columns]
        products = np.zeros((*counts.shape, self._size))
        products[..., 0] = counts
        told = self._with_words(rows)
        products[told, :, 1:] = self._moments.words[rows[told], columns]
        return products

    def _with_words(self, rows: Ints) -> Ints:
        """Return the places of those agents whose words are summed."""
        if not self._moments.width:
            return np.zeros(0, dtype=np.intp)
        return np.flatnonzero((rows > 0) & (rows < len(self._moments.grams)))
