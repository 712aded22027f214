"""What outcomes say of a chance of success, a cost or a time, as distributions. Pure arithmetic: learns no names.

Theory. Three questions, three models, each of a few floats:

    rate     how likely is success?     Beta posterior: a prior of some outcomes' weight, and discounted outcomes
    amount   what does one attempt      below ORDERED values Student's t on the logarithm (normal-inverse-gamma); from
             take?                      there order statistics: of n + 1 exchangeable values the last lies between the
                                        i-th and the j-th of the others with chance (j - i) / (n + 1), however they
                                        are distributed
    prior    what of a pair that was    logarithms are level + agent + type + pair, each with a variance, learned one
             never seen?                amount at a time by a Kalman filter that keeps no covariances

The filter clips surprises at three standard deviations, so that one absurd bill moves little. Variances have a floor:
nothing is learned for good. What a rate is before outcomes of the pair is another question: see success.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .quantiles import beta_quantile, student_quantile

ORDERED = 19
"""From so many values on, the least and the greatest hold 90 % of what comes next."""
_MANY = 100
"""Quantiles that are found faster together than one by one."""
_DIGITS = 9
COVERAGE = 0.9
"""What predictive intervals hold."""


class Rate(NamedTuple):
    """What is believed of a chance."""

    mean: float
    lower: float
    """It is at least this, at the confidence that was asked for. Never above the mean."""
    sd: float


class Prior(NamedTuple):
    """A normal belief of a logarithm."""

    mean: float
    variance: float


# Rates


def believe_rates(
    parameters: Sequence[tuple[float, float]], *, confidence: float, tosses: Iterable[float] | None = None
) -> list[Rate]:
    """Return the beliefs that are Beta distributions of these parameters: successes and failures, fractions included.

    Args:
        parameters: Of each.
        confidence: Of the lower bounds.
        tosses: So many more outcomes, half of them failures, are counted in all but the mean; by default none.

    >>> belief = believe_rates([(10.0, 2.0)], confidence=0.9)[0]
    >>> round(belief.mean, 3), round(belief.lower, 3)
    (0.833, 0.69)
    """
    counted = parameters
    if tosses is not None:
        more = zip(parameters, tosses, strict=True)
        counted = [(alpha + toss / 2, beta + toss / 2) for (alpha, beta), toss in more]
    bounds = beta_quantiles(counted, 1.0 - confidence)
    found = []
    for (alpha, beta), (right, wrong), bound in zip(parameters, counted, bounds, strict=True):
        mean, weight = min(max(alpha / (alpha + beta), 0.0), 1.0), right + wrong
        # A belief that is all but certain at both ends (U-shaped, few outcomes) has quantiles beyond its mean.
        sd = math.sqrt(max(right * wrong, 0.0) / (weight * weight * (weight + 1.0)))
        found.append(Rate(mean, min(bound, mean), sd))
    return found


def both_rates(pairs: Sequence[tuple[Rate, Rate]], *, confidence: float) -> list[Rate]:
    """Return the belief in both of two independent chances: the Beta distribution of their product's mean and variance.

    What is certain changes nothing.
    """
    found: list[Rate] = []
    unbound: dict[int, tuple[float, float]] = {}
    for first, second in pairs:
        if first.mean >= 1.0 and first.sd == 0.0:
            found.append(second)
            continue
        if second.mean >= 1.0 and second.sd == 0.0:
            found.append(first)
            continue
        mean = first.mean * second.mean
        sd = math.sqrt((first.mean * second.sd) ** 2 + (second.mean * first.sd) ** 2 + (first.sd * second.sd) ** 2)
        if sd <= 0.0 or not 0.0 < mean < 1.0:
            both = Rate(mean=mean, lower=first.lower * second.lower, sd=sd)
        else:
            both = Rate(mean=mean, lower=min(first.lower, second.lower, mean), sd=sd)
            size = mean * (1.0 - mean) / sd**2 - 1.0
            unbound[len(found)] = mean * size, (1.0 - mean) * size
        found.append(both)
    for at, bound in zip(unbound, beta_quantiles([*unbound.values()], 1.0 - confidence), strict=True):
        found[at] = found[at]._replace(lower=min(found[at].lower, bound))
    return found


def beta_quantiles(parameters: Sequence[tuple[float, float]], q: float) -> list[float]:
    """Return the quantile of each of these Beta distributions, to _DIGITS digits: the same alone and among many."""
    if len(parameters) >= _MANY:
        from .quantile_arrays import find_quantiles  # with NumPy, which what is asked one by one does without

        return find_quantiles(parameters, q, _DIGITS)
    return [round(beta_quantile(alpha, beta, q), _DIGITS) for alpha, beta in parameters]


# Amounts


def predict_log(
    logs: Sequence[float], *, centre: float, centre_weight: float, variance: float, variance_weight: float
) -> tuple[float, float]:
    """Return the interval that holds the next logarithm in 90 % of cases, were they normal.

    `centre` counts as `centre_weight` of them, and `variance` as `variance_weight`.
    """
    count = len(logs)
    mean = math.fsum(logs) / count if count else centre
    scatter = math.fsum((value - mean) ** 2 for value in logs)
    weight = centre_weight + count
    location = (centre_weight * centre + count * mean) / weight
    freedom = variance_weight + count
    off = centre_weight * count / weight * (mean - centre) ** 2
    spread = math.sqrt((variance_weight * variance + scatter + off) / freedom * (1.0 + 1.0 / weight))
    reach = student_quantile(round(freedom, 1), (1.0 + COVERAGE) / 2) * spread
    return location - reach, location + reach


def order_interval(ordered: Sequence[float]) -> tuple[float, float]:
    """Return the interval that holds the next value in 90 % of cases, from ORDERED values or more, sorted."""
    count = len(ordered)
    rank = (1.0 - COVERAGE) / 2 * (count + 1) - 1.0
    below = max(int(rank), 0)
    part = max(rank - below, 0.0)
    low = ordered[below] + part * (ordered[below + 1] - ordered[below])
    high = ordered[-1 - below] - part * (ordered[-1 - below] - ordered[-2 - below])
    return low, high


# What a pair that was never seen may be like


class Effects:
    """Level + agent + type + pair of the logarithms of amounts, learned online.

    Every effect is a list [mean, variance, outcomes] that the caller keeps and hands in again, so that an update looks
    nothing up.
    """

    __slots__ = ("_agent_variance", "_floor", "_pair_variance", "_type_variance", "level", "noise", "seen")

    def __init__(
        self, *, level: float, level_sd: float, agent_sd: float, type_sd: float, pair_sd: float, noise: float = 0.5
    ) -> None:
        self.level = [level, level_sd**2, 0.0]
        self.noise = noise
        """Variance of an amount's logarithm within a pair, as far as known."""
        self._agent_variance = agent_sd**2
        self._type_variance = type_sd**2
        self._pair_variance = pair_sd**2
        self._floor = 0.002

    def new_agent(self) -> list[float]:
        """Return the effect of an agent of which nothing is known."""
        return [0.0, self._agent_variance, 0.0]

    def new_type(self) -> list[float]:
        """Return the effect of a type of which nothing is known."""
        return [0.0, self._type_variance, 0.0]

    def new_pair(self) -> list[float]:
        """Return the effect of an agent and a type together of which nothing is known."""
        return [0.0, self._pair_variance, 0.0]

    def observe_amount(self, agent: list[float], task_type: list[float], pair: list[float], log: float) -> None:
        """Learn from one amount's logarithm."""
        level = self.level
        if not level[2]:
            level[0] = log
        total = self.noise + level[1] + agent[1] + task_type[1] + pair[1]
        surprise = log - level[0] - agent[0] - task_type[0] - pair[0]
        most = 3.0 * math.sqrt(total)
        surprise = -most if surprise < -most else most if surprise > most else surprise
        within = surprise * surprise * self.noise / total
        self.noise += (within - self.noise) / min(level[2] + 6.0, 500.0)
        step, shrink, floor = surprise / total, 1.0 / total, self._floor
        for effect in (level, agent, task_type, pair):
            variance = effect[1]
            effect[0] += variance * step
            variance -= variance * variance * shrink
            effect[1] = variance if variance > floor else floor
            effect[2] += 1.0

    def predict(self, agent: list[float] | None, task_type: list[float] | None) -> Prior:
        """Return what is believed of a pair by its agent and its type alone."""
        agent = agent or self.new_agent()
        task_type = task_type or self.new_type()
        return Prior(
            mean=self.level[0] + agent[0] + task_type[0],
            variance=self.level[1] + agent[1] + task_type[1] + self._pair_variance,
        )
