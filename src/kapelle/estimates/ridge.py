"""The exact solution of the hierarchical ridge of success: what is believed of agents, given what outcomes add up to.

    quality(agent, task) = declared(agent) + x . (w + v_agent) + noise      w ~ N(0, V)   v_agent ~ N(0, U)
    x = 1 | the task's type | what describes its words

It is Bayesian linear regression (Lindley and Smith, 1972). Each agent is eliminated first, and its types before that,
for they meet each other only in its level and its slopes:

    Q_a = level and slopes of G_a + s/U, less what the types explain      (d x d)
    S   = s/V + sum of G_a - G_a R_a G_a,     w = S^-1 r,    r = sum of b_a - G_a R_a b_a      (d + types)
    mean(a, x) = declared + x . R_a (b_a + w s/U),     var = s (x'R_a x + x'R_a (s/U) S^-1 (s/U) R_a x)

with G_a the products of x, b_a those with quality less what is declared, s the noise, R_a = (G_a + s/U)^-1. An outcome,
also one that fades, changes G_a by k x x', and so Q_a^-1 and S by a product of one vector with itself (Sherman and
Morrison, 1950). With q = x'R_a x and z = (s/U) R_a x,

    S + z z' k / (1 + k q),     r + z (what x'b changes by - k x'R_a b) / (1 + k q)

and S^-1 follows in (d + types)^2 steps. All is solved from the sums where much changes between two questions, and now
and then, lest roundings add up. NumPy is imported; load this lazily. Knows agents by row, types by column: see moments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .moments import Moments

Doubles = NDArray[np.float64]
Ints = NDArray[np.intp]

NOISE = 0.16
"""Variance of one outcome that nothing explains: that of one success in five, and of recorded data within a type."""
_MOST_CHANGES = 1_000
"""In place: then all is solved anew, before roundings add up to anything."""
_FEW = 8
"""Changes in place between two questions, beside one for each agent; solving all takes less time than more."""
_LEAST_GAIN = 1e-6
"""What takes nearly all away that was known of an agent is not subtracted: too few digits would be left."""
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
class _Reach:
    """What one outcome of an agent says of the rest: R_a x."""

    outer: Doubles
    """Of level and slopes, (d)."""
    types: Doubles
    """(1 + types)."""
    all: Doubles
    """(d + 1 + types): (s/U) R_a x, what it says of what all agents share."""
    far: float
    """x'R_a x."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is believed of some agents. Column 0 is the type without an effect of its own: nothing, or variance 0."""

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
        moments: The sums. Whoever adds an outcome to them, or takes it away, tells `change` before; else `forget`.
        declared: What an agent declares that was not told of.
    """

    def __init__(self, scales: Scales, moments: Moments, declared: float) -> None:
        self._scales = scales
        self._moments = moments
        self._outer = NOISE / np.array([scales.own_level, *scales.own_words])
        self._type, self._shared_type = NOISE / scales.own_type, NOISE / scales.shared_type
        self._size = len(self._outer)
        self._default = declared
        self._declared: Doubles = np.full(1, declared)
        """By row."""
        self._inverse: Doubles = np.zeros((0, self._size, self._size))
        self._covariance: Doubles = np.zeros((0, 0))
        """S^-1: level and slopes, column 0 (nothing), types."""
        self._told: Doubles = np.zeros(0)
        """r."""
        self._weights: Doubles = np.zeros(0)
        self._ready: dict[bytes, Posterior] = {}
        self._is_solved = False
        self._changes = self._unasked = 0
        """Since all was solved, and since somebody asked."""

    # What changes

    def forget(self) -> None:
        """Solve all anew when somebody asks."""
        self._is_solved = False

    def declared(self, rows: Ints) -> Doubles:
        """Return what agents declare."""
        self._make_room()
        return self._declared[rows]

    def declare(self, row: int, rate: float) -> None:
        """Take what an agent declares; its outcomes are seen against that from now on."""
        self._make_room()
        step, self._declared[row] = rate - self._declared[row], rate
        if self._begin_change():
            reach = self._reach(row, 0, None).all
            reach[0] -= 1.0
            self._told += step * self._outer[0] * reach
            self._weights = self._covariance @ self._told

    def change(self, row: int, column: int, words: Doubles | None, count: float, total: float) -> None:
        """Count so many more outcomes of one agent, type and description, that sum up to `total`; or fewer, below 0."""
        if not self._begin_change():
            return
        reach = self._reach(row, column, words)
        gain = 1.0 + count * reach.far
        if gain < _LEAST_GAIN:
            self.forget()
            return
        error = total - count * float(self._declared[row])
        self._told += reach.all * ((error - count * self._expected(row, reach)) / gain)
        self._inverse[row] -= np.outer(reach.outer, reach.outer * (count / gain))
        moved = self._covariance @ reach.all
        self._covariance -= np.outer(moved, moved * (count / (gain + count * float(reach.all @ moved))))
        self._weights = self._covariance @ self._told

    def _begin_change(self) -> bool:
        """Return whether one more change is made in place."""
        self._changes += 1
        self._unasked += 1
        if self._changes > _MOST_CHANGES or self._unasked > self._moments.agents + _FEW:
            self._is_solved = False
        if self._is_solved:
            self._make_room()
            self._ready = {}
        return self._is_solved

    def _make_room(self) -> None:
        """Take in agents and types that have joined."""
        missing = 1 + self._moments.agents - len(self._declared)
        if missing > 0:
            self._declared = np.concatenate([self._declared, np.full(missing + len(self._declared), self._default)])
        if not self._is_solved:
            return
        missing = len(self._declared) - len(self._inverse)
        if missing > 0:
            fresh = np.broadcast_to(np.diag(1.0 / self._outer), (missing, self._size, self._size))
            self._inverse = np.concatenate([self._inverse, fresh])
        missing = self._size + 1 + self._moments.types - len(self._told)
        if missing > 0:
            self._covariance = np.pad(self._covariance, [(0, missing)] * 2)
            places = np.arange(len(self._told), len(self._covariance))
            self._covariance[places, places] = 1.0 / self._shared_type
            self._told, self._weights = np.pad(self._told, (0, missing)), np.pad(self._weights, (0, missing))

    def _reach(self, row: int, column: int, words: Doubles | None) -> _Reach:
        """Return what an outcome of an agent at a type says of the rest."""
        types = 1 + self._moments.types
        counts = self._moments.counts[row, :types]
        own = 1.0 / (counts + self._type)
        own[0] = 0.0
        leans = np.zeros((types, self._size))
        leans[:, 0] = counts
        if self._moments.has_words(row):
            leans[:, 1:] = self._moments.words[row, :types]
        leans *= own[:, None]
        apart = -leans[column]
        apart[0] += 1.0
        if words is not None:
            apart[1:] += words
        outer = self._inverse[row] @ apart
        of_types = -(leans @ outer)
        of_types[column] += own[column]
        far = float(apart @ outer) + float(own[column])
        return _Reach(outer, of_types, np.concatenate([self._outer * outer, self._type * of_types]), far)

    def _expected(self, row: int, reach: _Reach) -> float:
        """Return x'R_a b_a."""
        types, declared = slice(0, 1 + self._moments.types), float(self._declared[row])
        errors = self._moments.totals[row, types] - declared * self._moments.counts[row, types]
        found = float(reach.outer[0]) * float(errors.sum()) + float(reach.types @ errors)
        if self._moments.has_words(row):
            products = self._moments.products[row] - declared * self._moments.words[row, types].sum(axis=0)
            found += float(reach.outer[1:] @ products)
        return found

    def _solve(self) -> None:
        """Solve all from the sums, unless what is known is up to date."""
        self._unasked = 0
        if self._is_solved:
            self._make_room()
            return
        self._changes, self._ready, self._is_solved = 0, {}, True
        self._make_room()
        known, size = 1 + self._moments.agents, self._size + 1 + self._moments.types
        shared = NOISE / np.array([self._scales.shared_level, *self._scales.shared_words])
        precision = np.diag(np.concatenate([shared, np.full(1 + self._moments.types, self._shared_type)]))
        self._told = np.zeros(size)
        self._inverse = np.zeros((len(self._declared), self._size, self._size))
        self._inverse[known:] = np.diag(1.0 / self._outer)
        for rows in np.array_split(np.arange(known), 1 + known // self._agents_at_once()):
            self._add(rows, precision)
        self._covariance = np.asarray(np.linalg.inv(precision), dtype=np.float64)
        self._covariance[self._size] = self._covariance[:, self._size] = 0.0
        self._weights = self._covariance @ self._told

    def _add(self, rows: Ints, precision: Doubles) -> None:
        """Add what these agents say of all to S and to r, and keep their Q^-1."""
        leans, own, outer, of_types = self._tables(rows)
        everything = self._products(rows, slice(0, own.shape[1]))
        products = np.diag(self._outer) + np.zeros((len(rows), 1, 1))
        sums = everything.sum(axis=1)
        products[:, 0, :] += sums
        products[:, 1:, 0] += sums[:, 1:]
        told = self._with_words(rows)
        products[told, 1:, 1:] += self._moments.grams[rows[told]]
        products -= np.swapaxes(leans, 1, 2) @ everything
        inverse = np.linalg.inv(products)
        inverse = self._inverse[rows] = (inverse + np.swapaxes(inverse, 1, 2)) / 2.0
        towards = self._towards_all(leans)
        moved = towards @ inverse
        pieces = 1 + len(precision) * towards[0].size // (1 << 18)  # so small, BLAS needs no threads, which wait long
        for part in np.array_split(np.arange(len(precision)), pieces):  # where others have the processors
            precision[part] -= (moved[:, part] @ np.swapaxes(towards, 1, 2)).sum(axis=0)
        shared = self._type * own * everything[..., 0]
        precision[np.diag_indices(len(precision))] += np.concatenate([len(rows) * self._outer, shared.sum(axis=0)])
        self._told += np.einsum("apd,ad->p", moved, outer - (leans * of_types[..., None]).sum(axis=1))
        self._told[self._size :] += (self._type * own * of_types).sum(axis=0)

    # What is asked

    def predict(self, rows: Ints, columns: Ints, words: Doubles | None) -> tuple[Doubles, Doubles]:
        """Return mean less what is declared, and variance, as (tasks, agents).

        Args:
            rows: Of agents; 0 is one of which nothing is known.
            columns: Of the tasks' types; 0 is one of which nothing is known.
            words: (tasks, width), or None.
        """
        self._solve()
        unknown = ((columns == 0) * (self._scales.shared_type + self._scales.own_type))[:, None]
        if len(rows) == len(columns) == 1:
            one = self._predict_one(int(rows[0]), int(columns[0]), None if words is None else words[0])
            return np.array([[one[0]]]), one[1] + unknown
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
        if words is None:
            mean, variance = mean[back.ravel()], variance[back.ravel()]
        return mean, variance + unknown

    def _predict_one(self, row: int, column: int, words: Doubles | None) -> tuple[float, float]:
        """Return (mean less what is declared, variance)."""
        reach = self._reach(row, column, words)
        variance = reach.far + float(reach.all @ self._covariance @ reach.all)
        return self._expected(row, reach) + float(reach.all @ self._weights), NOISE * max(variance, 0.0)

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
        return mean.T, (NOISE * np.maximum(variance, 0.0)).T

    def _agents_at_once(self) -> int:
        return max(1, _ELEMENTS // (self._size * (1 + self._moments.types)))

    def posterior(self, rows: Ints) -> Posterior:
        """Return what is believed of these agents; kept until something changes."""
        self._solve()
        key = rows.tobytes()
        found = self._ready.get(key)
        if found is not None:
            return found
        leans, own, outer, of_types = self._tables(rows)
        means, type_means = self._means(rows, leans, own, outer, of_types)
        towards = self._towards_all(leans)
        shared = self._covariance @ towards
        found = Posterior(
            means=means,
            type_means=type_means,
            inverse=self._inverse[rows],
            leans=leans,
            own=own,
            shared=np.swapaxes(towards, 1, 2) @ shared,
            shared_types=shared[:, self._size :],
            shared_type=np.diag(self._covariance)[self._size :],
        )
        if len(self._ready) >= _KEPT:
            self._ready = {}
        if leans.size <= _ELEMENTS // 8:
            self._ready[key] = found
        return found

    def means(self, rows: Ints) -> tuple[Doubles, Doubles]:
        """Return the means alone of what is believed of these agents: (agents, d), and (agents, 1 + types)."""
        self._solve()
        return self._means(rows, *self._tables(rows))

    def _means(
        self, rows: Ints, leans: Doubles, own: Doubles, outer: Doubles, of_types: Doubles
    ) -> tuple[Doubles, Doubles]:
        outer = outer + self._outer * self._weights[: self._size]
        of_types = of_types + self._type * self._weights[self._size :]
        means = ((outer - (leans * of_types[..., None]).sum(axis=1))[:, None] @ self._inverse[rows])[:, 0]
        return means, own * of_types - (leans @ means[..., None])[..., 0]

    def _towards_all(self, leans: Doubles) -> Doubles:
        """Return E as (agents, d + 1 + types, d): what a step in an agent's level and slopes is a step of all in."""
        outer = np.broadcast_to(np.diag(self._outer), (len(leans), self._size, self._size))
        return np.concatenate([outer, -self._type * leans], axis=1)

    def _tables(self, rows: Ints) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        """Return (leans, own, b of level and slopes, b of types) of these agents; see Posterior."""
        everything = self._products(rows, slice(0, 1 + self._moments.types))
        own = 1.0 / (everything[..., 0] + self._type)
        own[:, 0] = 0.0
        declared = self._declared[rows]
        errors = self._moments.totals[rows, : own.shape[1]] - declared[:, None] * everything[..., 0]
        outer = np.zeros((len(rows), self._size))
        outer[:, 0] = errors.sum(axis=1)
        told = self._with_words(rows)
        if len(told):
            sums = everything[told, :, 1:].sum(axis=1)
            outer[told, 1:] = self._moments.products[rows[told]] - declared[told, None] * sums
        return everything * own[..., None], own, outer, errors

    def _products(self, rows: Ints, columns: slice) -> Doubles:
        """Return (agents, types, d): the products of a type with level and slopes."""
        counts = self._moments.counts[rows, columns]
        products = np.zeros((*counts.shape, self._size))
        products[..., 0] = counts
        told = self._with_words(rows)
        if len(told):
            products[told, :, 1:] = self._moments.words[rows[told], columns]
        return products

    def _with_words(self, rows: Ints) -> Ints:
        """Return the places of those agents whose words are summed."""
        if not self._moments.width:
            return np.zeros(0, dtype=np.intp)
        return np.flatnonzero((rows > 0) & (rows < len(self._moments.grams)))
