"""Quantiles of many Beta distributions at once: `beta_quantile` (see quantiles) for arrays.

As there, Newton's method on the log-odds inside a bracket, with the continued fraction of the incomplete beta function.
NumPy is imported; load this lazily. Knows nothing of what the chances are of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .quantiles import LAST_STEP, NEXT_TO_NOTHING, normal_quantile

Doubles = NDArray[np.float64]

_TINY = 1e-300
_AT_ONCE = 1 << 13
"""Distributions that are worked on together, so that what is between stays in the processor's cache."""


def find_quantiles(parameters: Sequence[tuple[float, float]], q: float, digits: int) -> list[float]:
    """Return what each Beta variable, given by its two parameters, stays below with chance q."""
    asked = np.array(parameters, dtype=np.float64).reshape(-1, 2)
    asked, back = np.unique(asked, axis=0, return_inverse=True)
    found = np.where(asked[:, 0] <= NEXT_TO_NOTHING, 0.0, 1.0)
    rest = np.flatnonzero((asked > NEXT_TO_NOTHING).all(axis=1))
    for first in range(0, len(rest), _AT_ONCE):
        part = rest[first : first + _AT_ONCE]
        found[part] = _solve(asked[part, 0], asked[part, 1], q)
    return found.round(digits)[back.ravel()].tolist()  # type: ignore[no-any-return]  # NumPy knows no element type


def _solve(alpha: Doubles, beta: Doubles, q: float) -> Doubles:
    mean = alpha / (alpha + beta)
    guess = mean + normal_quantile(q) * np.sqrt(mean * (1.0 - mean) / (alpha + beta + 1.0))
    guess = np.where(guess <= 0.0, mean * q, np.where(guess >= 1.0, (mean + 1.0) / 2.0, guess))
    found = np.clip(guess, 1e-12, 1.0 - 1e-12)
    low, high = np.zeros_like(found), np.ones_like(found)
    gammas = [np.array([*map(math.lgamma, values.tolist())]) for values in (alpha + beta, alpha, beta)]
    constant = gammas[0] - gammas[1] - gammas[2]
    at = np.arange(len(found))
    """Those that are not found yet."""
    for _ in range(100):
        x, a, b = found[at], alpha[at], beta[at]
        slope = np.exp(constant[at] + a * np.log(x) + b * np.log1p(-x))  # d cdf / d logit(x)
        error = _cdf(a, b, x, slope) - q
        high[at] = np.where(error > 0.0, x, high[at])
        low[at] = np.where(error > 0.0, low[at], x)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = error / slope
            after = 1.0 / (1.0 + (1.0 - x) / x * np.exp(step))
            is_last = np.abs(step) <= LAST_STEP
            is_inside = (np.abs(step) < 30.0) & (low[at] < after) & (after < high[at])
        after = np.where(is_last | is_inside, after, (low[at] + high[at]) / 2.0)
        found[at] = after
        at = at[~is_last & (after != low[at]) & (after != high[at])]
        if not len(at):
            break
    return found


def _cdf(alpha: Doubles, beta: Doubles, x: Doubles, front: Doubles) -> Doubles:
    """Return the regularised incomplete beta function; `front` is x^alpha (1 - x)^beta / B(alpha, beta)."""
    is_turned = x >= (alpha + 1.0) / (alpha + beta + 2.0)
    a, b = np.where(is_turned, beta, alpha), np.where(is_turned, alpha, beta)
    part = front * _fraction(a, b, np.where(is_turned, 1.0 - x, x)) / a
    return np.where(is_turned, 1.0 - part, part)


def _fraction(alpha: Doubles, beta: Doubles, x: Doubles) -> Doubles:
    c = np.ones_like(x)
    d = 1.0 / _off_zero(1.0 - (alpha + beta) * x / (alpha + 1.0))
    result = d.copy()
    for m in range(1, 300):
        twice = alpha + 2 * m
        for term in (
            m * (beta - m) * x / ((twice - 1.0) * twice),
            -(alpha + m) * (alpha + beta + m) * x / (twice * (twice + 1.0)),
        ):
            d = 1.0 / _off_zero(1.0 + term * d)
            c = _off_zero(1.0 + term / c)
            result *= c * d
        if (np.abs(c * d - 1.0) < 1e-12).all():
            break
    return result


def _off_zero(values: Doubles) -> Doubles:
    return np.where(np.abs(values) > _TINY, values, _TINY)
