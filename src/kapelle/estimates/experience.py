"""All that outcomes have taught, and what it says of any pair of agent and type, also of pairs that were never seen.

A pair's own outcomes speak first (history), what the agent is like elsewhere and what the type is like with others
second (posterior.Effects), what is declared or guessed last. Checks no input and prices no tokens: see profiler.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from .amounts import MAX_VARIANCE, Amount, Belief, expect_amount, log_of_typical
from .drift import Drift, What
from .history import Effect, PairAmounts, PairHistory, Tokens
from .posterior import (
    Effects,
    Rate,
    believe_rate,
    both_rates,
    rate_level,
    rate_prior,
)
from .rows import Observation

PRIOR_WEIGHT = 4.0
"""How many outcomes a declared cost or time is worth, while outcomes do not contradict it (see amounts)."""
COMPLETION_OUTCOMES = 2.0
"""How many answers an agent is taken to have given before anything is known of it. With DECLARED_OUTCOMES as many, a
failure lowers what is expected of an untried agent as much as a wrong answer does."""
DECLARED_OUTCOMES = 2.0
"""How many outcomes a declared success rate is worth while nothing else is known. On recorded routing data one
outcome's worth predicts better still, but lets a single failure condemn an agent."""

# Standard deviations of log-odds (rates) and of logarithms (amounts): the best of those tried on recorded routing data.
_RATES = {"level_sd": 1.5, "agent_sd": 1.0, "type_sd": 1.2, "pair_sd": 0.8}
_AMOUNTS = {"level_sd": 3.0, "agent_sd": 1.5, "type_sd": 1.0, "pair_sd": 0.5}
_TRUST = 0.7
"""What a prior from elsewhere weighs against what its variance says, which leaves covariances out."""
_DOUBT = 2.0
"""So many other agents, or outcomes of the same agent elsewhere, halve what a declared rate is worth."""
_DECLARED_VARIANCE = 0.6**2
_GUESS_VARIANCE = 1.5**2
"""How far declared costs and times, and mere guesses, may be off: factors of 1.8 and 4.5, as one standard deviation."""
_MEMORY = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Success:
    """What is believed of an agent's chance of success: that it answers, and that its answer is right."""

    completion: Rate
    correctness: Rate
    both: Rate
    is_from_elsewhere: bool
    """Whether what the agent or others did elsewhere speaks of how right it is."""


@dataclass(slots=True)
class Known:
    """What is known of an agent over all types, or of a type over all agents."""

    rate: Effect | None
    """Of how right answers are; None while nothing measured one."""
    cost: Effect
    seconds: Effect
    executions: int = 0
    judged: int = 0
    costs_told: int = 0
    """Outcomes whose cost was told."""
    histories: list[PairHistory] = field(default_factory=list)
    mean_seconds: float = 0.0
    """Per unit of complexity, the newer the more."""
    tokens: Tokens = field(default_factory=Tokens)

    def effect(self, what: What) -> Effect:
        """Return the effect on costs or on seconds."""
        return self.cost if what == "cost" else self.seconds


class Experience:
    """All that outcomes have taught. Not thread-safe.

    Args:
        level: The share of successes where nothing is known.
        tiers: Agent to tier, as far as known; a new agent is at first taken to be like the others of its tier.
    """

    def __init__(self, *, level: float, tiers: Mapping[str, str]) -> None:
        self.histories: dict[tuple[str, str], PairHistory] = {}
        self.agents: dict[str, Known] = {}
        self.types: dict[str, Known] = {}
        self.executions = 0
        self._judged_agents = 0
        self._tiers = tiers
        variance = math.fsum(sd * sd for sd in _RATES.values())
        self._rates = Effects(level=rate_level(level, variance), **_RATES)
        self._costs = Effects(level=0.0, **_AMOUNTS)
        self._times = Effects(level=0.0, **_AMOUNTS)

    def record(self, agent: str, task_type: str, seen: Observation) -> list[Drift] | None:
        """Learn from one attempt, and return the changes of the agent that it made evident, if any."""
        completed, value, success, cost_usd, seconds, tokens, complexity, at, cost_told = seen
        history = self.histories.get((agent, task_type)) or self._begin(agent, task_type)
        self.executions += 1
        of_agent, of_type = self.agents[agent], self.types[task_type]
        of_agent.executions += 1
        of_type.executions += 1
        of_agent.costs_told += cost_told and (success or cost_usd > 0.0)
        if value is not None:
            if of_agent.rate is None:
                of_agent.rate = self._rate_of_new(self._tiers.get(agent))
                self._judged_agents += 1
            of_type.rate = of_type.rate or self._rates.new_type()
            of_agent.judged += 1
            self._rates.observe_rate(of_agent.rate, of_type.rate, history.rate_effect, value)
        if cost_usd > 0.0:
            log = math.log(cost_usd / complexity)
            self._costs.observe_amount(of_agent.cost, of_type.cost, history.cost.effect, log)
        if seconds > 0.0:
            log = math.log(seconds / complexity)
            self._times.observe_amount(of_agent.seconds, of_type.seconds, history.seconds.effect, log)
        of_type.mean_seconds += (seconds / complexity - of_type.mean_seconds) / min(of_type.executions, _MEMORY)
        if tokens[0] + tokens[2] > 0.0:  # without any they are unknown, or those of an agent without a model
            of_type.tokens.add(tokens, complexity)
        return history.add(value, success, cost_usd, seconds, tokens, complexity, at, completed)

    def _begin(self, agent: str, task_type: str) -> PairHistory:
        if agent not in self.agents:
            self.agents[agent] = Known(None, self._costs.new_agent(), self._times.new_agent())
        if task_type not in self.types:
            self.types[task_type] = Known(None, self._costs.new_type(), self._times.new_type())
        history = self.histories[agent, task_type] = PairHistory(
            agent,
            task_type,
            rate_effect=self._rates.new_pair(),
            cost=PairAmounts(self._costs.new_pair()),
            seconds=PairAmounts(self._times.new_pair()),
        )
        self.agents[agent].histories.append(history)
        return history

    def _rate_of_new(self, tier: str | None) -> Effect:
        """Return the effect on log-odds of an agent that nobody has tried: that of its tier, where that is known."""
        effect = self._rates.new_agent()
        if tier is None:
            return effect
        spread = effect[1]
        precision = 1.0 / spread
        total = 0.0
        for name, known in self.agents.items():
            if known.rate is not None and self._tiers.get(name) == tier:
                weight = 1.0 / (known.rate[1] + spread)
                precision += weight
                total += weight * known.rate[0]
        return [total / precision, spread + 1.0 / precision, 0.0] if total else effect

    # What it says

    def believe_success(
        self, agent: str, task_type: str, *, tier: str | None, declared: float, confidence: float, now: float = 0.0
    ) -> Success:
        """Return what is believed of an agent's chance at a type of task; `now` fades what is old, 0 fades nothing."""
        completion = self._believe_completion(agent, task_type, confidence, now)
        history = self.histories.get((agent, task_type))
        count, total = history.correctness.seen_at(now) if history else (0.0, 0.0)
        weight, mean = DECLARED_OUTCOMES, declared
        known_agent, known_type = self.agents.get(agent), self.types.get(task_type)
        elsewhere = self._judged_agents  # what one other agent did says little: is it the agent, or the work?
        if known_agent is not None and known_agent.judged:
            elsewhere += known_agent.judged - (history.judged if history else 0) - 1
        if elsewhere:
            prior = self._rates.predict(
                known_agent.rate if known_agent and known_agent.rate else self._rate_of_new(tier),
                known_type.rate if known_type else None,
            )
            guess, outcomes = rate_prior(prior)
            doubt = _DOUBT / (_DOUBT + elsewhere)
            outcomes *= _TRUST * (1.0 - doubt)
            declaration = DECLARED_OUTCOMES * doubt
            weight = outcomes + declaration
            mean = (outcomes * guess + declaration * declared) / weight
            if known_agent is not None and not known_agent.judged:
                mean = min(mean, declared)  # that others are right does not make an agent that nobody checks so
        correctness = believe_rate(total, count, prior_mean=mean, prior_weight=weight, confidence=confidence)
        return Success(
            completion=completion,
            correctness=correctness,
            both=both_rates(completion, correctness, confidence=confidence),
            is_from_elsewhere=elsewhere > 0,
        )

    def _believe_completion(self, agent: str, task_type: str, confidence: float, now: float) -> Rate:
        """Return what is believed of the chance of any answer; certain as long as nothing has failed."""
        known = self.agents.get(agent)
        weight = elsewhere = COMPLETION_OUTCOMES
        count = total = 0.0
        for history in known.histories if known is not None else ():
            more, answered = history.completion.seen_at(now)
            if history.task_type == task_type:
                count, total = more, answered
            else:
                weight += more
                elsewhere += answered
        return believe_rate(
            total, count, prior_mean=elsewhere / weight, prior_weight=COMPLETION_OUTCOMES, confidence=confidence
        )

    def expect(
        self,
        what: What,
        agent: str,
        task_type: str,
        *,
        declared: float | None,
        guess: float,
        complexity: float,
        is_wild: bool = False,
    ) -> Amount:
        """Return the dollars, or the seconds, of one attempt.

        `declared` is meant for any task; `guess`, for an agent that nobody has tried, for one of complexity 1. A wild
        guess gives way to what others took for the type.
        """
        effects = self._costs if what == "cost" else self._times
        history = self.histories.get((agent, task_type))
        values = history.amounts(what, per_unit=declared is None) if history else []
        if declared is not None:
            belief = Belief(declared, PRIOR_WEIGHT, log_of_typical(declared, effects.noise), _DECLARED_VARIANCE)
            return expect_amount(values, belief, effects.noise)
        own = history.effect(what)[2] if history else 0.0
        known, of_type = self.agents.get(agent), self.types.get(task_type)
        is_tried = known is not None and known.effect(what)[2] > 0.0 and effects.level[2] > own
        if is_tried or (is_wild and known is None and of_type is not None and of_type.effect(what)[2] > 0.0):
            prior = effects.predict(known.effect(what) if known else None, of_type.effect(what) if of_type else None)
            weight = min(_TRUST * effects.noise / prior.variance, PRIOR_WEIGHT)
            mean = math.exp(min(prior.mean + min(effects.noise + prior.variance, MAX_VARIANCE) / 2, 50.0))
            belief = Belief(mean, weight if values else 1.0, prior.mean, prior.variance)
        else:
            if what == "cost" and known is not None:  # whatever it did so far was free
                guess = 0.0
            belief = Belief(guess, 0.0 if values else 1.0, log_of_typical(guess, effects.noise), _GUESS_VARIANCE)
        amount = expect_amount(values, belief, effects.noise)
        return Amount(mean=amount.mean * complexity, low=amount.low * complexity, high=amount.high * complexity)
