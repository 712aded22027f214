"""All that outcomes have taught, and what it says of any pair of agent and type, also of pairs that were never seen.

How right answers are is believed by one model of all agents (correctness); whether there are answers is counted. Of
costs and times a pair's own outcomes speak first (history), what the agent is like elsewhere and what the type is like
with others second (posterior.Effects), what is declared or guessed last (amounts). Checks no input and prices no
tokens: see profiler.

A pair takes 2 to 6 KB, and MAX_PAIRS are kept, 0.2 GB at the most: a log of made-up names cannot fill the memory.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import NamedTuple

from .amounts import MAX_VARIANCE, Amount, Belief, expect_amount, log_of_typical, trust
from .correctness import Correctness, WordSource
from .drift import Drift, What
from .history import Effect, PairAmounts, PairHistory, Tokens, recent_mean
from .posterior import Effects, Rate, believe_rates, both_rates
from .rows import Observation

PRIOR_WEIGHT = 4.0
"""How many outcomes a declared cost or time is worth, while outcomes do not contradict it (see amounts)."""
COMPLETION_OUTCOMES = 2.0
"""How many answers an agent is taken to have given before anything is known of it. With DECLARED_OUTCOMES as many, a
failure lowers what is expected of an untried agent as much as a wrong answer does."""
DECLARED_OUTCOMES = 2.0
"""How many outcomes a belief of how right an agent is is worth at least: so many a declared rate is worth while nothing
else is known."""
TOSS = 0.25
"""Outcomes of a lower bound that are a coin's toss: some right answers elsewhere make an agent likely to be right here,
and prove nothing. Measured on recorded routing data (see bench.estimates): without it one bound in six fails there."""

# Standard deviations of logarithms of amounts: the best of those tried on recorded routing data.
_AMOUNTS = {"level_sd": 3.0, "agent_sd": 1.5, "type_sd": 1.0, "pair_sd": 0.5}
_TRUST = 0.7
"""What a prior from elsewhere weighs against what its variance says, which leaves covariances out."""
_DECLARED_VARIANCE = 0.6**2
_GUESS_VARIANCE = 1.5**2
"""How far declared costs and times, and mere guesses, may be off: factors of 1.8 and 4.5, as one standard deviation."""
MAX_PAIRS = 32_000
"""Pairs of agent and type whose history is kept. Before another one begins, a tenth is forgotten: the least recently
used, by their last outcomes. Who asks is no use, for then estimates would depend on what was asked."""
_MEMORY = 200
_TOLD = 16
"""Of an agent's last answers, at whatever type, so many say whether what it declares is true."""


class Success(NamedTuple):
    """What is believed of an agent's chance of success."""

    both: Rate
    """That it answers, and that its answer is right."""
    completion: float
    """That it answers."""
    is_from_elsewhere: bool
    """Whether what the agent or others did elsewhere speaks of how right it is."""


@dataclass(slots=True)
class Known:
    """What is known of an agent over all types, or of a type over all agents."""

    cost: Effect
    seconds: Effect
    executions: int = 0
    judged: int = 0
    costs_told: int = 0
    """Outcomes whose cost was told."""
    histories: list[PairHistory] = field(default_factory=list)
    answers: tuple[float, float, float] | None = None
    """Of an agent: when it was summed up last, at how many attempts it was seen by then, and how many it answered."""
    told: deque[tuple[str, float, float]] = field(default_factory=lambda: deque(maxlen=_TOLD))
    """Of an agent, what its last answers took: their type, dollars where they told them, seconds."""
    mean_seconds: float = 0.0
    """Per unit of complexity, the newer the more."""
    tokens: Tokens = field(default_factory=Tokens)

    def effect(self, what: What) -> Effect:
        """Return the effect on costs or on seconds."""
        return self.cost if what == "cost" else self.seconds


class Experience:
    """All that outcomes have taught. Not thread-safe.

    Args:
        words: What was learned of words, if anything.
    """

    def __init__(self, words: WordSource | None = None) -> None:
        self.histories: dict[tuple[str, str], PairHistory] = {}
        self.agents: dict[str, Known] = {}
        self.types: dict[str, Known] = {}
        self.executions = 0
        self._forgotten = 0.0, 0
        """Dollars and successes of pairs that were forgotten."""
        self.correctness = Correctness(self.histories, words)
        self._costs = Effects(level=0.0, **_AMOUNTS)
        self._times = Effects(level=0.0, **_AMOUNTS)

    def record(self, agent: str, task_type: str, seen: Observation) -> list[Drift] | None:
        """Learn from one attempt, and return the changes of the agent that it made evident, if any."""
        completed, value, success, cost_usd, seconds, tokens, complexity, at, cost_told, text = seen
        history = self.histories.get((agent, task_type)) or self._begin(agent, task_type)
        self.executions += 1
        history.used = self.executions
        of_agent, of_type = self.agents[agent], self.types[task_type]
        of_agent.executions += 1
        of_agent.answers = None
        of_type.executions += 1
        of_agent.costs_told += cost_told and (success or cost_usd > 0.0)
        if cost_usd > 0.0:
            log = math.log(cost_usd / complexity)
            self._costs.observe_amount(of_agent.cost, of_type.cost, history.cost.effect, log)
        if seconds > 0.0:
            log = math.log(seconds / complexity)
            self._times.observe_amount(of_agent.seconds, of_type.seconds, history.seconds.effect, log)
        of_type.mean_seconds += (seconds / complexity - of_type.mean_seconds) / min(of_type.executions, _MEMORY)
        if tokens[0] + tokens[2] > 0.0:  # without any they are unknown, or those of an agent without a model
            of_type.tokens.add(tokens, complexity)
        if success:  # what failed may have ended early
            of_agent.told.append((task_type, cost_usd if cost_told else 0.0, seconds))
        changes = history.add(value, success, cost_usd, seconds, tokens, complexity, at, completed)
        if value is not None:
            of_agent.judged += 1
            has_changed = any(change.what == "success" for change in changes or ())
            self.correctness.learn(history, value, has_changed=has_changed, at=at, text=text)
        return changes

    def _begin(self, agent: str, task_type: str) -> PairHistory:
        if len(self.histories) >= MAX_PAIRS:
            self._forget_pairs()
        if agent not in self.agents:
            self.agents[agent] = Known(self._costs.new_agent(), self._times.new_agent())
        if task_type not in self.types:
            self.types[task_type] = Known(self._costs.new_type(), self._times.new_type())
        history = self.histories[agent, task_type] = PairHistory(
            agent,
            task_type,
            cost=PairAmounts(self._costs.new_pair()),
            seconds=PairAmounts(self._times.new_pair()),
        )
        self.agents[agent].histories.append(history)
        self.types[task_type].histories.append(history)
        return history

    def _forget_pairs(self) -> None:
        """Forget the pairs that were used longest ago, and agents and types of which none is left.

        What they taught of costs and times in general stays, and so do totals; of how right agents are, nothing stays.
        """
        cost_usd, successes = self._forgotten
        oldest = nsmallest(max(MAX_PAIRS // 10, 1), self.histories.values(), key=lambda history: history.used)
        for gone in oldest:
            del self.histories[gone.agent, gone.task_type]
            cost_usd, successes = cost_usd + gone.cost_usd, successes + gone.successes
            for names, name in ((self.agents, gone.agent), (self.types, gone.task_type)):
                names[name].histories.remove(gone)
                if not names[name].histories:
                    del names[name]
        self._forgotten = cost_usd, successes
        self.correctness.forget_pairs()

    def totals(self) -> tuple[float, int]:
        """Return the dollars and the successes of all executions."""
        cost_usd, successes = self._forgotten
        histories = self.histories.values()
        dollars = math.fsum([cost_usd, *(history.cost_usd for history in histories)])
        return dollars, successes + sum(history.successes for history in histories)

    # What it says

    def believe_success(
        self,
        agents: Sequence[tuple[str, float]],
        tasks: Sequence[tuple[str, str]],
        *,
        confidence: float,
        now: float = 0.0,
    ) -> list[list[Success]]:
        """Return what is believed of the chance of every agent at every task, a list per task.

        Args:
            agents: With the rate that each declares.
            tasks: Types, and the texts where words count.
            confidence: Of the lower bounds.
            now: Fades what is old; 0 fades nothing.
        """
        kinds = dict.fromkeys(kind for kind, _ in tasks)
        answers = [self._answers_of(agent, now) for agent, _ in agents]
        counted = [
            self._count_answers(agent, kind, every, now)
            for kind in kinds
            for (agent, _), every in zip(agents, answers, strict=True)
        ]
        completions = iter(believe_rates(counted, confidence=confidence))
        of_kind = {kind: [next(completions) for _ in agents] for kind in kinds}
        completed = [completion for kind, _ in tasks for completion in of_kind[kind]]
        correct = believe_rates(
            self._count_correct(agents, tasks, now),
            confidence=confidence,
            tosses=[TOSS if self._is_judged(agent) else 0.0 for agent, _ in agents] * len(tasks),
        )
        both = both_rates([*zip(completed, correct, strict=True)], confidence=confidence)
        judged = self.correctness.judged
        found = iter(zip(both, completed, strict=True))
        return [
            [
                Success(rate, completion.mean, judged > (history.judged if history is not None else 0))
                for (agent, _), (rate, completion) in zip(agents, found, strict=False)
                for history in [self.histories.get((agent, kind))]
            ]
            for kind, _ in tasks
        ]

    def _count_correct(
        self, agents: Sequence[tuple[str, float]], tasks: Sequence[tuple[str, str]], now: float
    ) -> list[tuple[float, float]]:
        """Return how many right and wrong answers what is believed is worth, of every agent at every task."""
        if not self.correctness.judged and self.correctness.words is None:
            return [(rate * DECLARED_OUTCOMES, (1.0 - rate) * DECLARED_OUTCOMES) for _, rate in agents] * len(tasks)
        return [
            (mean * outcomes, (1.0 - mean) * outcomes)
            for beliefs in self.correctness.believe(agents, tasks, now)
            for (agent, rate), belief in zip(agents, beliefs, strict=True)
            # That others are right does not make an agent that nobody checks so, nor what it declares less sure.
            for mean, outcomes in [
                belief if self._is_judged(agent) else (min(belief.mean, rate), max(belief.outcomes, DECLARED_OUTCOMES))
            ]
        ]

    def _is_judged(self, agent: str) -> bool:
        known = self.agents.get(agent)
        return known is not None and known.judged > 0

    def _answers_of(self, agent: str, now: float) -> tuple[float, float]:
        """Return at how many attempts it was seen, whatever their type, and how many of them it answered."""
        known = self.agents.get(agent)
        if known is None:
            return 0.0, 0.0
        if known.answers is None or known.answers[0] != now:
            seen = [history.completion.seen_at(now) for history in known.histories]
            known.answers = now, sum(count for count, _ in seen), sum(total for _, total in seen)
        return known.answers[1:]

    def _count_answers(
        self, agent: str, task_type: str, answers: tuple[float, float], now: float
    ) -> tuple[float, float]:
        """Return how many answers and failures to answer what is believed is worth; no failures as long as nothing has
        failed."""
        history = self.histories.get((agent, task_type))
        count, total = (0.0, 0.0) if history is None else history.completion.seen_at(now)
        weight = COMPLETION_OUTCOMES + max(0.0, answers[0] - count)
        elsewhere = COMPLETION_OUTCOMES * min(1.0, (COMPLETION_OUTCOMES + max(0.0, answers[1] - total)) / weight)
        return elsewhere + total, COMPLETION_OUTCOMES - elsewhere + count - total

    def expect(
        self,
        what: What,
        agent: str,
        task_type: str,
        *,
        declared: float | None,
        guess: float,
        is_wild: bool = False,
    ) -> Amount:
        """Return the dollars, or the seconds, of one attempt: per unit of complexity, or of any task where they are
        declared.

        `guess` is for an agent that nobody has tried. A wild one gives way to what others took for the type.
        """
        effects = self._costs if what == "cost" else self._times
        history = self.histories.get((agent, task_type))
        values = history.amounts(what, per_unit=declared is None) if history else []
        known, of_type = self.agents.get(agent), self.types.get(task_type)
        if declared is not None:
            told = known.told if known is not None else ()
            elsewhere = [cost if what == "cost" else seconds for kind, cost, seconds in told if kind != task_type]
            belief = _believe_declared(declared, [each for each in elsewhere if each > 0.0], effects.noise)
            return expect_amount(values, belief, effects.noise)
        own = history.effect(what)[2] if history else 0.0
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
        return expect_amount(values, belief, effects.noise)


def _believe_declared(declared: float, elsewhere: list[float], noise: float) -> Belief:
    """Return what is believed of an amount that an agent declares, beside what answers of other types took: as much of
    it as these leave, for who is wrong about one type is likely wrong about another. What was free is no price."""
    if elsewhere:
        belief = Belief(declared, PRIOR_WEIGHT, log_of_typical(declared, noise), _DECLARED_VARIANCE)
        kept = trust(elsewhere, belief, noise)
        declared = kept * declared + (1.0 - kept) * recent_mean(elsewhere)
    return Belief(declared, PRIOR_WEIGHT, log_of_typical(declared, noise), _DECLARED_VARIANCE)
