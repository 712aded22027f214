"""Who may do a task, and what each of them is expected to take: every agent that can, and the strategies that pay.

The estimates come from the profiler; those of strategies from whoever judged them on outcomes (a StrategySource). Both
are brought to one scale here, so that they may be compared. Decides nothing: see optimizer.

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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from kapelle.agents import AgentCapability
from kapelle.estimates import DEFAULT_SUCCESS_RATE, CostProfiler, Estimate, beta_quantile, expit, logit
from kapelle.graph import Task
from kapelle.strategies import Cascade, Single, Strategy, Vote, agents_of

from .assignment import Candidate
from .plan import Attempt

Counting = Literal["proven", "beginning", "relative"]
"""How quality is counted: see above."""

USUAL_CONFIDENCE = 0.9
"""How sure the bounds of estimates are where no confidence is asked for."""
MOST_UNTRIED = 0.9
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


class OptionFinder:
    """Finds the options of tasks, and remembers them: tasks that are alike to the estimates share theirs."""

    def __init__(
        self,
        profiler: CostProfiler,
        registry: Mapping[str, AgentCapability],
        strategies: StrategySource | None,
        confidence: float | None,
    ) -> None:
        self._profiler = profiler
        self._registry = registry
        self._strategies = strategies
        self._confidence = confidence
        self._estimates: dict[tuple[str, str, float, str], Estimate] = {}
        self._singles: dict[tuple[str, str, frozenset[str], float, str], Option] = {}
        self._options: dict[tuple[str, frozenset[str], float, str, str], dict[Strategy, Option]] = {}

    def options(self, task: Task, complexity: float, initial: Strategy) -> tuple[Option, ...]:
        """Return the ways to do a task, the initial one first; that is one whether its agent takes the task or not."""
        found = self._for_kind(task, complexity)
        first = found.get(initial)
        if first is None:
            first = self._initial(task, complexity, initial)
        return (first, *(option for option in found.values() if option is not first))

    def alone(self, task: Task, complexity: float, strategy: Strategy) -> Option:
        """Return what one strategy is expected to take, whoever else could do the task."""
        return self._for_kind(task, complexity).get(strategy) or self._initial(task, complexity, strategy)

    def _for_kind(self, task: Task, complexity: float) -> dict[Strategy, Option]:
        key = (task.task_type, task.requirements, complexity, task.description, task.risk)
        if key not in self._options:
            able = [agent for agent, capability in self._registry.items() if capability.takes(task)]
            options: dict[Strategy, Option] = {
                Single(agent=agent): self._single(agent, task, complexity) for agent in able
            }
            for option in self._of_strategies(task, complexity, able):
                options[option.strategy] = option
            self._options[key] = options
        return self._options[key]

    def _single(self, agent: str, task: Task, complexity: float) -> Option:
        key = (agent, task.task_type, task.requirements, complexity, task.description)
        if key not in self._singles:
            estimate = self._estimate(agent, task, complexity)
            lower, evidence = _bound(estimate, self._confidence)
            self._singles[key] = Option(
                strategy=Single(agent=agent),
                cost_usd=estimate.cost_usd,
                seconds=estimate.seconds,
                quality=estimate.success_rate,
                lower=lower,
                evidence=evidence,
                samples=estimate.judged,
            )
        return self._singles[key]

    def _estimate(self, agent: str, task: Task, complexity: float) -> Estimate:
        key = (agent, task.task_type, complexity, task.description)
        if key not in self._estimates:
            self._estimates[key] = self._profiler.estimate(
                self._registry[agent], task.task_type, complexity, text=task.description
            )
        return self._estimates[key]

    def _of_strategies(self, task: Task, complexity: float, able: Sequence[str]) -> list[Option]:
        if self._strategies is None or task.risk == "high":  # what does harm is not done by several
            return []
        judged = self._strategies.for_task(task.task_type, [*self._registry])
        measured = {one.strategy.agent: one for one in judged if isinstance(one.strategy, Single)}
        return [
            self._scaled(one, measured, task, complexity)
            for one in judged
            if not isinstance(one.strategy, Single)
            and set(asked(one.strategy)) <= set(able)
            and all(agent in self._registry for agent in agents_of(one.strategy))
        ]

    def _scaled(
        self, one: JudgedStrategy, measured: Mapping[str, JudgedStrategy], task: Task, complexity: float
    ) -> Option:
        """Bring a strategy to the scale of the task at hand.

        What it came to was measured on other tasks. Where its parts were measured on the same ones, cost and time grow
        as those of its parts do, and the log-odds of success shift by as much as theirs on average: a task that is
        hard for all its parts is hard for it too. Without them the figures stand as measured.
        """
        parts = [agent for agent in asked(one.strategy) if agent in measured]
        here = [self._single(agent, task, complexity) for agent in parts]
        there = [measured[agent] for agent in parts]
        if len(parts) < len(asked(one.strategy)):
            here, there = [], []
        shift = math.fsum(logit(h.quality) - logit(t.quality) for h, t in zip(here, there, strict=True))
        shift /= max(1, len(here))
        lower = min(one.quality, _lower_bound(one.quality, one.quality_sd, one.quality_lower, self._confidence))
        return Option(
            strategy=one.strategy,
            cost_usd=one.cost_usd * _ratio([h.cost_usd for h in here], [t.cost_usd for t in there]),
            seconds=one.seconds * _ratio([h.seconds for h in here], [t.seconds for t in there]),
            quality=_shifted(one.quality, shift),
            lower=_shifted(lower, shift),
            evidence=_evidence(one.quality, one.quality_sd),
            samples=one.samples,
        )

    def _initial(self, task: Task, complexity: float, strategy: Strategy) -> Option:
        if isinstance(strategy, Single):
            return self._single(strategy.agent, task, complexity)
        # It is kept no longer, an agent of it does not take the task, or the plan orders it. The worst is assumed until
        # it is judged: all are asked, one after the other, and what the last one answers is what it comes to.
        parts = [self._single(agent, task, complexity) for agent in asked(strategy)]
        checks = [
            self._profiler.estimate(self._registry[judge], VERIFY, complexity, text=task.description)
            for judge in set(agents_of(strategy)).difference(asked(strategy))
        ]
        return Option(
            strategy=strategy,
            cost_usd=math.fsum([*(part.cost_usd for part in parts), *(check.cost_usd for check in checks)]),
            seconds=math.fsum([*(part.seconds for part in parts), *(check.seconds for check in checks)]),
            quality=parts[-1].quality,
            lower=parts[-1].lower,
            evidence=parts[-1].evidence,
            samples=0,
        )


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


def to_candidate(option: Option, quality: float, attempt: Attempt | None) -> Candidate:
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


def _bound(estimate: Estimate, confidence: float | None) -> tuple[float, float]:
    """Return the lower bound of success, and how many outcomes that belief is worth."""
    mean, evidence = estimate.success_rate, _evidence(estimate.success_rate, estimate.success_sd)
    if estimate.judged or mean <= MOST_UNTRIED:
        bound = _lower_bound(mean, estimate.success_sd, estimate.success_lower, confidence)
        return min(mean, bound), evidence
    evidence = DECLARED if math.isinf(evidence) else evidence
    sure = USUAL_CONFIDENCE if confidence is None else confidence
    return beta_quantile(MOST_UNTRIED * evidence, (1 - MOST_UNTRIED) * evidence, 1 - sure), evidence


def _lower_bound(mean: float, sd: float, usual: float, confidence: float | None) -> float:
    if sd <= 0:
        return mean  # nothing is said of how uncertain it is
    if confidence is None:
        return usual
    size = _evidence(mean, sd)
    if mean >= 1:
        return math.pow(1 - confidence, 1 / size)  # a faultless record: see Option.is_provable
    return beta_quantile(mean * size, (1 - mean) * size, 1 - confidence)


def _evidence(mean: float, sd: float) -> float:
    """Return the size of the Beta distribution that has this mean and deviation: its two parameters' sum. A record that
    is all of one kind has the deviation 1 / size."""
    if sd <= 0:
        return math.inf
    return mean * (1 - mean) / sd**2 - 1 if 0 < mean < 1 else 1 / sd


def _ratio(here: Sequence[float], there: Sequence[float]) -> float:
    total = math.fsum(there)
    return math.fsum(here) / total if total > 0 else 1.0


def _shifted(share: float, shift: float) -> float:
    return expit(logit(share) + shift) if shift and 0 < share < 1 else share
