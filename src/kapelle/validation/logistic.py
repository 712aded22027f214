"""Logistic regression on sparse rows: Newton's method with conjugate gradients, and one-row updates in between.

    minimise   sum of log losses (outcomes are shares in 0..1)  +  1/2 * sum of penalty * (weight - prior)^2

which is the mode of a Gaussian prior with these means and precisions; with no rows the prior is the answer. Between
two fits a row moves the weights by one step of the extended Kalman filter with a diagonal covariance (much as in
adPredictor, Graepel et al. 2010). Imported lazily, for it needs NumPy. Knows nothing of what a weight stands for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
SparseRow = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]
"""Positions of what is not zero, and the values there. A position may stand twice; its values add up."""

_NEWTON_STEPS = 12
_GRADIENT_STEPS = 30
_ENOUGH = 2e-5
"""Newton stops when a step lowers the loss by less than this share of it: far below what held-out outcomes can tell."""
_CLOSE = 1e-2
"""Conjugate gradients stop when the residual has fallen to this share of its first size (in the squared norm 1e-4)."""


class Rows:
    """Sparse rows, side by side."""

    def __init__(self, rows: Sequence[SparseRow], width: int) -> None:
        self.width = width
        self.count = len(rows)
        lengths = np.fromiter((len(positions) for positions, _ in rows), dtype=np.int64, count=len(rows))
        self._row = np.repeat(np.arange(len(rows)), lengths)
        self._filled = np.flatnonzero(lengths)
        # Rows without entries are left out: reduceat would give them the first entry of the next.
        self._starts = (np.cumsum(lengths) - lengths)[self._filled]
        self._at = np.concatenate([row[0] for row in rows]).astype(np.int64) if rows else np.zeros(0, dtype=np.int64)
        self._value = np.concatenate([row[1] for row in rows]).astype(np.float64) if rows else np.zeros(0)

    def times(self, weights: Floats) -> Floats:
        """Return the weighted sum of every row."""
        sums = np.zeros(self.count)
        if len(self._starts):
            sums[self._filled] = np.add.reduceat(self._value * weights[self._at], self._starts)
        return sums

    def sum_up(self, shares: Floats) -> Floats:
        """Return the sum of the rows, each times its share."""
        return np.asarray(
            np.bincount(self._at, self._value * shares[self._row], minlength=self.width), dtype=np.float64
        )

    def sum_squares(self, shares: Floats) -> Floats:
        """Return the same of the squared values: the diagonal of the curvature."""
        return np.asarray(
            np.bincount(self._at, self._value**2 * shares[self._row], minlength=self.width), dtype=np.float64
        )


def fit_weights(rows: Rows, outcomes: Floats, penalty: Floats, prior: Floats, start: Floats) -> Floats:
    """Return the weights with the least penalised loss. `penalty` is above 0 everywhere."""
    weights = start.copy()
    loss = _loss(rows, outcomes, penalty, prior, weights)
    for _ in range(_NEWTON_STEPS):
        chance = expit(rows.times(weights))
        curve = chance * (1 - chance)
        gradient = rows.sum_up(chance - outcomes) + penalty * (weights - prior)
        step = _solve_curvature(rows, curve, penalty, -gradient)
        # The full step is right near the minimum; far from it, half of it until the loss falls.
        share = 1.0
        while share > 1e-3 and (tried := _loss(rows, outcomes, penalty, prior, weights + share * step)) > loss:
            share /= 2
        if share <= 1e-3:
            break
        weights += share * step
        if loss - tried < _ENOUGH * max(1.0, abs(loss)):
            break
        loss = tried
    return weights


def precision_of(rows: Rows, weights: Floats, penalty: Floats) -> Floats:
    """Return how surely each weight is known by itself: the diagonal of the curvature at the fit."""
    chance = expit(rows.times(weights))
    return rows.sum_squares(chance * (1 - chance)) + penalty


def update_weights(row: SparseRow, outcome: float, weights: Floats, precision: Floats) -> None:
    """Move weights and precision, in place, by one row."""
    at, values = row
    values = values.astype(np.float64)
    chance = float(expit(np.array([values @ weights[at]]))[0])
    curve = max(chance * (1 - chance), 1e-6)
    spread = values / precision[at]
    np.add.at(weights, at, spread * ((outcome - chance) / (1 + curve * float(values @ spread))))
    np.add.at(precision, at, curve * values**2)


def expit(odds: Floats) -> Floats:
    """Return the shares of log-odds, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * odds)))


def log_loss(chances: Floats, outcomes: Floats) -> float:
    """Return the mean log loss; outcomes may be shares."""
    chances = np.clip(chances, 1e-6, 1 - 1e-6)
    return float(np.mean(-outcomes * np.log(chances) - (1 - outcomes) * np.log(1 - chances)))


def _loss(rows: Rows, outcomes: Floats, penalty: Floats, prior: Floats, weights: Floats) -> float:
    odds = rows.times(weights)
    return float(np.sum(np.logaddexp(0, odds) - outcomes * odds) + 0.5 * np.sum(penalty * (weights - prior) ** 2))


def _solve_curvature(rows: Rows, curve: Floats, penalty: Floats, target: Floats) -> Floats:
    """Return x with (X' C X + P) x = target, nearly, by conjugate gradients scaled by the diagonal."""
    diagonal = rows.sum_squares(curve) + penalty
    found = np.zeros_like(target)
    residual = target.copy()
    scaled = residual / diagonal
    direction = scaled.copy()
    size = first = float(residual @ scaled)
    for _ in range(_GRADIENT_STEPS):
        if size <= _CLOSE**2 * first or size == 0:
            break
        turned = rows.sum_up(curve * rows.times(direction)) + penalty * direction
        length = size / float(direction @ turned)
        found += length * direction
        residual -= length * turned
        scaled = residual / diagonal
        size, before = float(residual @ scaled), size
        direction = scaled + (size / before) * direction
    return found
