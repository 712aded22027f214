"""Quantiles of the Beta, Student and normal distributions, which the standard library lacks or has in part. Many Beta
quantiles at once: see quantile_arrays.
"""

from __future__ import annotations

import math
from functools import lru_cache

NEXT_TO_NOTHING = 1e-6
"""A parameter that is no more puts all weight on one end."""
LAST_STEP = 1e-7
"""Of Newton's method in log-odds, after which there are no more digits to find: the error is squared in each."""


def expit(log_odds: float) -> float:
    """Return the chance of these log-odds."""
    if log_odds < 0.0:
        odds = math.exp(max(log_odds, -700.0))
        return odds / (1.0 + odds)
    return 1.0 / (1.0 + math.exp(-min(log_odds, 700.0)))


def logit(chance: float) -> float:
    """Return the log-odds of a chance; those of certainty are taken for those of one in a million."""
    chance = min(max(chance, 1e-6), 1.0 - 1e-6)
    return math.log(chance / (1.0 - chance))


def beta_cdf(alpha: float, beta: float, x: float) -> float:
    """Return the chance that a Beta variable is at most x: the regularised incomplete beta function.

    By its continued fraction, evaluated as Lentz does (Numerical Recipes, 6.4).
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = math.exp(
        math.lgamma(alpha + beta) - math.lgamma(alpha) - math.lgamma(beta) + alpha * math.log(x) + beta * math.log1p(-x)
    )
    if x < (alpha + 1.0) / (alpha + beta + 2.0):
        return front * _beta_fraction(alpha, beta, x) / alpha
    return 1.0 - front * _beta_fraction(beta, alpha, 1.0 - x) / beta


@lru_cache(maxsize=4096)  # pairs of which as much is known are alike
def beta_quantile(alpha: float, beta: float, q: float) -> float:
    """Return the x that a Beta variable stays below with chance q, to about nine digits, near the ends too.

    Newton's method on the log-odds of x, kept inside a bracket.
    """
    if alpha <= NEXT_TO_NOTHING:
        return 0.0
    if beta <= NEXT_TO_NOTHING:
        return 1.0
    low, high = 0.0, 1.0
    mean = alpha / (alpha + beta)
    sd = math.sqrt(mean * (1.0 - mean) / (alpha + beta + 1.0))
    guess = mean + normal_quantile(q) * sd
    x = guess if 0.0 < guess < 1.0 else mean * q if guess <= 0.0 else (mean + 1.0) / 2
    x = min(max(x, 1e-12), 1.0 - 1e-12)
    constant = math.lgamma(alpha + beta) - math.lgamma(alpha) - math.lgamma(beta)
    for _ in range(100):
        error = beta_cdf(alpha, beta, x) - q
        if error > 0.0:
            high = x
        else:
            low = x
        slope = math.exp(constant + alpha * math.log(x) + beta * math.log1p(-x))  # d cdf / d logit(x)
        step = error / slope if slope > 0.0 else math.inf
        after = expit(math.log(x) - math.log1p(-x) - step) if abs(step) < 30.0 else -1.0
        if abs(step) <= LAST_STEP:
            return after
        if not low < after < high:
            after = (low + high) / 2
        if after in (low, high):
            return after
        x = after
    return x


def _beta_fraction(alpha: float, beta: float, x: float) -> float:
    tiny = 1e-300
    c = 1.0
    d = 1.0 - (alpha + beta) * x / (alpha + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    result = d
    for m in range(1, 300):
        twice = alpha + 2 * m
        for term in (
            m * (beta - m) * x / ((twice - 1.0) * twice),
            -(alpha + m) * (alpha + beta + m) * x / (twice * (twice + 1.0)),
        ):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + term / c
            c = c if abs(c) > tiny else tiny
            result *= c * d
        if abs(c * d - 1.0) < 1e-12:
            break
    return result


@lru_cache(maxsize=1024)
def student_quantile(freedom: float, q: float) -> float:
    """Return the quantile of Student's t, for q from one half up."""
    x = beta_quantile(freedom / 2.0, 0.5, 2.0 * (1.0 - q))
    return math.sqrt(freedom * (1.0 - x) / x)


@lru_cache(maxsize=64)
def normal_quantile(q: float) -> float:
    """Return the quantile of the standard normal distribution."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(q)
