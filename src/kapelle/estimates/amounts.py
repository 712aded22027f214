"""What one attempt is expected to cost or take: what was seen of it against what was believed before. Pure arithmetic.

Theory. What is declared, or known from elsewhere, counts as some outcomes while the pair's own agree with it. Where
they do not, one of two things is so: the belief is about right and the outcomes scatter, or it is of another order and
says nothing. The evidence for the second is how far the outcomes' median lies from the belief against their scatter,
and how many of them lie on one side of it; no outcome adds more than MOST_EACH to it, and the first MOST_EACH change
nothing, for one bill may be odd itself. Beyond that the weight of the belief falls with e to the evidence: five
outcomes that contradict it leave nothing of it, and one among others that agree leaves all.

Learns nothing and knows no names: see experience.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .history import recent_mean
from .posterior import COVERAGE, ORDERED, order_interval, predict_log
from .quantiles import student_quantile

MAX_VARIANCE = 2.0
"""Of a logarithm, where a mean is told from a median: that of log-normal amounts is e^(variance / 2) times as high.
More is not believed of tails, however heavy a few outcomes make them look."""
MOST_EACH = 2.0
"""Evidence, in natural logarithms of odds, that one outcome may give against a belief."""
_WITHIN_WEIGHT = 4.0
"""How many outcomes the variance within all pairs is worth for that within one."""
_APART = math.log(1.5)
"""An outcome contradicts a belief that is off by at least this factor, whatever the others scatter."""
_NOTHING_LEFT = 0.0025
"""A smaller part of its weight is none: a price that was a hundred times too high would still show."""
_FAR = 10.0
"""What the logarithm of a ratio counts as where one of the two is nothing."""


class Amount(NamedTuple):
    """The cost or the time of one attempt: what is expected, and an interval that holds 90 % of attempts."""

    mean: float
    low: float
    high: float


class Belief(NamedTuple):
    """What an amount is believed to be before a pair's own outcomes are seen."""

    mean: float
    weight: float
    """Outcomes that the mean is worth."""
    log: float | None
    """The logarithm of a typical amount; None where that is nothing."""
    log_variance: float


def log_of_typical(mean: float, noise: float) -> float | None:
    """Return the logarithm of a typical amount of those with this mean; None where that is nothing."""
    return math.log(mean) - min(noise, MAX_VARIANCE) / 2 if mean > 0.0 else None


def expect_amount(values: list[float], belief: Belief, noise: float) -> Amount:
    """Return what the next attempt takes, by those before it, oldest first.

    `noise` is the variance of an amount's logarithm within a pair.

    >>> belief = Belief(0.01, 4.0, math.log(0.01), 0.36)
    >>> [round(expect_amount([0.3] * count, belief, 0.5).mean, 3) for count in (0, 1, 2, 5)]
    [0.01, 0.068, 0.238, 0.3]
    """
    count = len(values)
    if not count:
        mean, low, high = belief.mean, 0.0, 0.0
        if belief.log is not None:
            reach = student_quantile(_WITHIN_WEIGHT, (1.0 + COVERAGE) / 2) * math.sqrt(noise + belief.log_variance)
            low, high = math.exp(max(belief.log - reach, -700.0)), math.exp(min(belief.log + reach, 50.0))
        return Amount(mean, min(low, mean), max(high, mean))
    kept = trust(values, belief, noise)
    weight = belief.weight * kept
    mean = (weight * belief.mean + count * recent_mean(values)) / (weight + count)
    if count >= ORDERED:
        low, high = order_interval(sorted(values))
    else:
        logs = [math.log(value) for value in values if value > 0.0]
        known = belief.log if kept else None
        if known is None and not logs:
            low = high = 0.0
        else:
            centre, weight = (known, kept * noise / belief.log_variance) if known is not None else (0.0, 0.0)
            low, high = predict_log(
                logs, centre=centre, centre_weight=weight, variance=noise, variance_weight=_WITHIN_WEIGHT
            )
            low, high = math.exp(max(low, -700.0)), math.exp(min(high, 50.0))
            if len(logs) < count:
                low = 0.0
    return Amount(mean=mean, low=min(low, mean), high=max(high, mean))


def trust(values: Sequence[float], belief: Belief, noise: float) -> float:
    """Return the part of its weight, 0..1, that a belief keeps beside these outcomes."""
    count = len(values)
    off = [_ratio(value, belief) for value in values]
    ordered = sorted(off)
    middle = (ordered[count // 2] + ordered[(count - 1) // 2]) / 2
    scatter = (noise + math.fsum((value - middle) ** 2 for value in off)) / (1.0 + count)
    against = count * middle * middle / (2.0 * max(scatter, 1e-9))
    same = sum(value * middle > 0.0 and abs(value) >= _APART for value in off)
    against = max(against, MOST_EACH * (same - 2 * (count - same)))
    kept = math.exp(min(MOST_EACH - min(against, MOST_EACH * count), 0.0))
    return kept if kept >= _NOTHING_LEFT else 0.0


def _ratio(value: float, belief: Belief) -> float:
    """Return the logarithm of how many times as high an amount is as a typical one."""
    if belief.log is None:
        return _FAR if value > 0.0 else 0.0
    return min(max(math.log(value) - belief.log, -_FAR), _FAR) if value > 0.0 else -_FAR
