"""Options: the ways to get a task done, and what the chance of success of each counts for. Values and pure functions.

The figures of an agent come from the profiler, those of strategies from whoever judged them on outcomes (a
StrategySource); `plan_estimates` brings both to one scale. Decides nothing: see optimizer.

Quality is counted in one of three ways (`measure`), all of them per task, so that a plan's quality stays a sum:

    proven      the lower confidence bound; but where nobody was ever tried at a task there is nothing to compare, and
                what is expected counts, unless a confidence was asked for
    beginning   the same; but where nobody is proven good enough at a task, and the evidence on an agent is so thin that
                even a faultless record would prove nothing, that agent counts with what is expected of it
    relative    what is expected; but where the initial agent is proven good min(expected, bound + d), d being how far
                expectation and bound of the initial agent lie apart. If the sum of these is no less than the initial
                plan's, then neither is the sum of the expectations, nor that of the bounds: one linear limit holds both
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from kapelle.estimates import DEFAULT_SUCCESS_RATE, Estimate, beta_quantile, expit, logit
from kapelle.strategies import Cascade, Single, Strategy, Vote, agents_of

from .assignment import Candidate
from .plan import SpentSoFar

Counting = Literal["proven", "beginning", "relative"]
"""How quality is counted: see above."""

USUAL_CONFIDENCE = 0.9
"""How sure the bounds of estimates are where no confidence is asked for."""
MAX_UNTRIED = 0.9
"""Bounds of an agent that was never tried at a task, or never checked, are those of this rate at most: one that
declares 1.0 would be certain of success otherwise."""
DECLARED = 2.0
"""Outcomes that a declared rate is worth, where its estimate does not say."""


class JudgedStrategy(Protocol):
    """A strategy and what it came to on outcomes. `StrategyEstimate` is one."""

    @property
    def strategy(self) -> Strategy: ...
    @property
    def cost_usd(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    @property
    def quality(self) -> float: ...
    @property
    def quality_lower(self) -> float: ...
    @property
    def quality_sd(self) -> float: ...
    @property
    def samples(self) -> int: ...


class StrategySource(Protocol):
    """Knows which strategies pay, by task type. `StrategyBook` is one."""

    def for_task(self, task_type: str, agents: Collection[str]) -> Sequence[JudgedStrategy]:
        """Return the strategies that pay for this type of task and use no other agents. Singles among them are not
        taken as candidates: they say on what scale the others were measured."""
        ...


VERIFY = "verify"
"""The type of task under which the outcomes of verifiers are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One way to get a task done, and what it is expected to take."""

    strategy: Strategy
    cost_usd: float
    seconds: float
    quality: float
    """Expected success, 0..1."""
    lower: float
    """Lower confidence bound of it."""
    evidence: float
    """How many outcomes the belief in its quality is worth, what was known before them included."""
    samples: int
    """Outcomes behind it of which something measured how good they were."""

    @property
    def agent(self) -> str:
        """Who is asked first."""
        return first_asked(self.strategy)

    def is_provable(self, quality: float, confidence: float) -> bool:
        """Whether a faultless record of as much evidence would prove this quality: it bounds success by
        (1 - confidence) ** (1 / evidence), from Beta(evidence, 1)."""
        return math.pow(1 - confidence, 1 / max(self.evidence, 1e-9)) >= quality


def measure(options: Sequence[Option], counting: Counting, least: float, confidence: float | None) -> list[float]:
    """Return what each option of a task counts for; `least` is the quality that is asked of the task."""
    if counting == "relative":
        if options[0].lower < DEFAULT_SUCCESS_RATE:
            return [option.quality for option in options]
        apart = options[0].quality - options[0].lower
        return [min(option.quality, option.lower + apart) for option in options]
    if confidence is None and least > 0 and not any(option.samples for option in options):
        return [option.quality for option in options]
    proven = [option.lower for option in options]
    if counting == "proven" or max(proven) >= least:
        return proven
    sure = USUAL_CONFIDENCE if confidence is None else confidence
    return [option.lower if option.is_provable(least, sure) else option.quality for option in options]


def to_candidate(option: Option, quality: float, attempt: SpentSoFar | None) -> Candidate:
    """Return the option as a solver sees it. What a failed attempt has used is gone, whoever tries next."""
    return Candidate(
        agent=option.agent,
        cost=option.cost_usd + (attempt.cost_usd if attempt else 0.0),
        seconds=option.seconds + (attempt.seconds if attempt else 0.0),
        quality=quality,
        uses=() if isinstance(option.strategy, Single) else agents_of(option.strategy),
    )


def first_asked(strategy: Strategy) -> str:
    """Return the agent that a strategy asks first."""
    return strategy.agent if isinstance(strategy, Single) else asked(strategy)[0]


def asked(strategy: Strategy) -> tuple[str, ...]:
    """Return the agents that a strategy may ask to do the task, in this order; those who only judge are not among
    them."""
    match strategy:
        case Single(agent=agent):
            names: tuple[str, ...] = (agent,)
        case Cascade(cheap=cheap, strong=strong):
            names = (cheap, *asked(strong))
        case Vote(agents=agents, escalate_to=escalate_to):
            names = (*agents, *(asked(escalate_to) if escalate_to is not None else ()))
    return tuple(dict.fromkeys(names))


def bound_of(estimate: Estimate, confidence: float | None) -> tuple[float, float]:
    """Return the lower bound of success, and how many outcomes that belief is worth."""
    mean, evidence = estimate.success_rate, evidence_of(estimate.success_rate, estimate.success_sd)
    if estimate.judged or mean <= MAX_UNTRIED:
        bound = lower_bound(mean, estimate.success_sd, estimate.success_lower, confidence)
        return min(mean, bound), evidence
    evidence = DECLARED if math.isinf(evidence) else evidence
    sure = USUAL_CONFIDENCE if confidence is None else confidence
    return beta_quantile(MAX_UNTRIED * evidence, (1 - MAX_UNTRIED) * evidence, 1 - sure), evidence


def lower_bound(mean: float, sd: float, usual: float, confidence: float | None) -> float:
    if sd <= 0:
        return mean  # nothing is said of how uncertain it is
    if confidence is None:
        return usual
    size = evidence_of(mean, sd)
    if mean >= 1:
        return math.pow(1 - confidence, 1 / size)  # a faultless record: see Option.is_provable
    return beta_quantile(mean * size, (1 - mean) * size, 1 - confidence)


def evidence_of(mean: float, sd: float) -> float:
    """Return the size of the Beta distribution that has this mean and deviation: its two parameters' sum. A record that
    is all of one kind has the deviation 1 / size."""
    if sd <= 0:
        return math.inf
    return mean * (1 - mean) / sd**2 - 1 if 0 < mean < 1 else 1 / sd


def shifted(share: float, shift: float) -> float:
    return expit(logit(share) + shift) if shift and 0 < share < 1 else share
