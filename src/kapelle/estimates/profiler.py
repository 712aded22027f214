"""What work costs, how long it takes and how often it succeeds, per agent and task type, learned from outcomes.

Theory. The parts have their files: distributions in `posterior`, what a pair of agent and type has done in `history`,
changes in `drift`; `experience` puts them together, and the rows are checked and the tokens priced here.

    success   completion times correctness, each a Beta posterior; the older an outcome the less it counts (the
              effective window is 200 outcomes; by age it counts half after a week, or a month; none are older than a
              change that was noticed).
              completion: whether there is an answer, learned from every outcome that says something of the agent (see
              `ledger.BLAMELESS`); certain until something fails.
              correctness: whether the answer is right, learned from nothing but what something measured: a check, a
              person, agreement, the agent's own `quality`. The prior is what the agent and the type are like elsewhere,
              agents of one tier alike at first; and what is declared, which counts as DECLARED_OUTCOMES and fades as
              soon as anything else is known. An agent that nobody checks stays what it declares.
              Outcomes of another version of the agent do not count for either.
    cost,     A mean of the last 64 outcomes, the older the less, pulled towards what is declared (worth PRIOR_WEIGHT
    seconds   outcomes), or else towards what agent and type are like elsewhere. An undeclared cost or time is a guess
              and no prior: the first outcome replaces it. Intervals hold 90 % of single outcomes.
    tokens    Means of input, cached and output tokens; an untried agent with a model pays its model's price for each.

So an agent that nobody has tried is uncertain: its expected success is what it declares, until others or its other work
say more, and its lower bound is far below.
Costs and times are kept per unit of complexity, so what was learned on a hard task does not overprice an easy one. What
is declared per task is meant per task: complexity changes neither a declared price nor declared seconds. Chooses
nothing: see optimizer. The ledger is its only store: `from_outcomes` reads 100,000 outcomes in less than a second.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, Protocol, Self

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidInput, UnknownPrice
from kapelle.ledger import Outcome, Usage
from kapelle.models import PriceTable
from kapelle.redaction import get_logger

from .drift import Drift
from .estimate import Estimate as Estimate
from .estimate import Source as Source
from .experience import PRIOR_WEIGHT, Experience, Success
from .history import WINDOW, History, Tokens
from .history import Execution as Execution
from .history import TaskProfile as TaskProfile
from .posterior import Rate, shift_rate

logger = get_logger("kapelle.cost_profiler")

CONFIDENCE = 0.9
"""Of the lower bounds of success: nine of ten hold."""
DEFAULT_COST_USD = 0.01
"""Dollars for a task of which nothing is known (documented)."""
DEFAULT_SECONDS = 10.0
"""Seconds for a task of which nothing is known (documented)."""
DEFAULT_SUCCESS_RATE = 0.85
"""Share of successes where nothing is known (documented)."""
DEFAULT_TOKENS = 10_000 / 3
"""Tokens that the documented default cost buys at the documented price of the medium tier."""
INPUT_SHARE = 0.75
"""Of tokens that were not told apart: three of input to one of output, the mix that blended prices usually assume."""

MOST_USD, MOST_SECONDS, MOST_TOKENS = 1e6, 1e8, 1e12
"""More for one attempt is taken for a mistake: a million dollars, three years, a trillion tokens."""
LEAST_COMPLEXITY, MOST_COMPLEXITY = 1e-3, 1e3
KEPT_REJECTIONS = 20
"""Rows refused that are named; all are counted."""

_SHIFT_ERROR = 0.5
"""A shift by difficulty is itself known to half of its size."""
_MOST_SHIFT = 6.0


class Assessment(Protocol):
    """How hard one task is."""

    @property
    def level(self) -> float:
        """The chance, 0..1, that a typical agent fails at it."""

    def shift(self, agent: str) -> float:
        """Return the shift of the agent's log-odds of success against its own mean for the type; 0 is ordinary."""


class DifficultyAssessor(Protocol):
    """Says how hard a task is, by its words."""

    def assess(self, text: str, task_type: str) -> Assessment:
        """Return the difficulty of a task."""


class CostProfiler:
    """Learns costs, times and success rates from outcomes, and estimates them for plans.

    Args:
        difficulty: Says how hard a task is by its words; estimates of success then follow it.
        confidence: Of the lower bounds of success, one-sided, between one half and one.
        agents: Cards of agents, so that new ones are taken to be like those of their tier.
        versions: Agent to its present version: whether another one succeeded does not count. By default the cards'.
        prices: Of models; by default the table that comes with kapelle.
        clock: What time it is, in seconds since the epoch: outcomes fade by their age. Without one they do not.

    >>> profiler = CostProfiler()
    >>> profiler.record_execution("t1", "builder_agent", "implement", 850_000, 12.0, True, "medium")
    >>> profiler.estimate_cost("builder_agent", "implement")
    2.55
    """

    MODEL_PRICING: ClassVar[dict[str, float]] = {"free": 0.0, "cheap": 0.03, "medium": 3.0, "expensive": 15.0}
    """USD per million tokens, by cost tier, for agents that report no cost of their own. May be reassigned."""

    def __init__(
        self,
        difficulty: DifficultyAssessor | None = None,
        *,
        confidence: float = CONFIDENCE,
        agents: Iterable[AgentCapability] = (),
        prices: PriceTable | None = None,
        clock: Callable[[], float] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> None:
        if not 0.5 <= confidence < 1.0:
            raise InvalidInput(f"confidence is {confidence!r}; it must lie from 0.5 to below 1.")
        self.confidence = confidence
        self._difficulty = difficulty
        self._prices = prices if prices is not None else PriceTable()
        cards = tuple(agents)
        self._tiers = {agent.agent_id: agent.cost_tier for agent in cards}
        self._versions = {agent.agent_id: agent.version for agent in cards if agent.version is not None}
        self._versions.update(versions or {})
        self._clock = clock
        self._experience = Experience(level=DEFAULT_SUCCESS_RATE, tiers=self._tiers)
        self._drifts: deque[Drift] = deque(maxlen=1000)
        self.revision = 0
        """Counts what was learned: while it stays, so do all estimates."""
        self._rejected = 0
        self._rejections: deque[str] = deque(maxlen=KEPT_REJECTIONS)
        self._ready: dict[tuple[AgentCapability, str, float, float], Estimate] = {}
        self._beliefs: dict[tuple[AgentCapability, str, float], Success] = {}
        self._ready_prices: dict[str, float] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_outcomes(
        cls,
        outcomes: Iterable[Outcome],
        *,
        difficulty: DifficultyAssessor | None = None,
        confidence: float = CONFIDENCE,
        agents: Iterable[AgentCapability] = (),
        prices: PriceTable | None = None,
        clock: Callable[[], float] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> Self:
        """Return a profiler that has learned from these outcomes, oldest first."""
        profiler = cls(difficulty, confidence=confidence, agents=agents, prices=prices, clock=clock, versions=versions)
        for outcome in outcomes:
            profiler.record_outcome(outcome)
        return profiler

    def relearn(self, outcomes: Iterable[Outcome]) -> None:
        """Forget everything, and learn from these outcomes instead, oldest first."""
        with self._lock:
            self._experience = Experience(level=DEFAULT_SUCCESS_RATE, tiers=self._tiers)
            self._drifts.clear()
            self._rejections.clear()
            self._rejected, self._ready, self._beliefs = 0, {}, {}
            self.revision += 1
        for outcome in outcomes:
            self.record_outcome(outcome)

    def record_execution(
        self,
        task_id: str,
        agent_name: str,
        task_type: str,
        tokens_used: int,
        execution_time_seconds: float,
        success: bool,
        cost_tier: str = "cheap",
        cost_usd: float | None = None,
        complexity: float = 1.0,
    ) -> None:
        """Learn from one attempt. Without `cost_usd` the tokens are priced by the tier.

        `success` is the caller's judgement of the answer, so it counts as measured.

        Raises:
            InvalidInput: a number is negative, not finite or absurdly large, or there is no such tier. The message
                names the task and the agent; nothing is learned then.
        """
        row = f"The execution of task {task_id!r} by {agent_name!r}: "
        _require_amount(f"{row}tokens_used", tokens_used, MOST_TOKENS)
        _require_amount(f"{row}execution_time_seconds", execution_time_seconds, MOST_SECONDS)
        if not _is_complexity(complexity):
            raise InvalidInput(
                f"{row}complexity is {complexity!r}; it must be a number from {LEAST_COMPLEXITY} to {MOST_COMPLEXITY}."
            )
        if cost_usd is None:
            cost_usd = self.price_tokens(tokens_used, cost_tier)
        _require_amount(f"{row}cost_usd", cost_usd, MOST_USD)
        split = (tokens_used * INPUT_SHARE, 0.0, tokens_used * (1.0 - INPUT_SHARE))
        self._learn(
            agent_name,
            task_type,
            1.0,
            float(bool(success)),
            bool(success),
            float(cost_usd),
            float(execution_time_seconds),
            split,
            float(complexity),
            0.0,
        )
        logger.debug("Task %s: %s took $%.6f, %.3fs", task_id, agent_name, cost_usd, execution_time_seconds)

    def record_outcome(self, outcome: Outcome) -> None:
        """Learn from an outcome of the ledger. Its feature `complexity` counts, where it has one.

        What an attempt took is learned from each that began; whether the agent answers, from each that says so (see
        `Outcome.completed`); how right it is, where that was measured.

        A row that cannot be is left out, and a feature that cannot be is passed over; never an error. Both are counted
        and named in `get_statistics`.
        """
        problem = _find_problem(outcome)
        if problem:
            self._reject(outcome, f"{problem}; left out")
            return
        complexity = _complexity_of(outcome.features)
        if complexity is None:
            self._reject(outcome, "its feature complexity is no number from 0.001 to 1000; passed over")
            complexity = 1.0
        usage = outcome.usage
        tokens = (float(usage.input_tokens), float(usage.cached_tokens), float(usage.output_tokens))
        if outcome.failure == "budget" and not outcome.seconds:
            return  # it never began
        success = bool(outcome.success)
        completed = None if outcome.completed is None else float(outcome.completed)
        value = None if outcome.quality is None else float(outcome.quality)
        mine = self._versions.get(outcome.agent)
        if mine is not None and outcome.agent_version is not None and mine != outcome.agent_version:
            completed = value = None
        cost_usd = float(outcome.cost_usd)
        seconds, is_known = float(outcome.seconds), (outcome.agent, outcome.task_type) in self._experience.histories
        if outcome.failure == "timeout" and is_known:  # how long we waited is not how long the work takes
            seconds = min(seconds, self.estimate_time(outcome.agent, outcome.task_type, complexity))
        if _is_assumed(outcome.features) and is_known:
            # Nobody measured it. What is set aside is more than is expected, so learning that would raise what is set
            # aside the next time, and so on without end.
            cost_usd = min(cost_usd, self.estimate_cost(outcome.agent, outcome.task_type, complexity))
        self._learn(
            outcome.agent,
            outcome.task_type,
            completed,
            value,
            success,
            cost_usd,
            seconds,
            tokens,
            complexity,
            float(outcome.at),
            cost_told=not _is_assumed(outcome.features),
        )

    def estimate_cost(
        self, agent_name: str, task_type: str, task_complexity: float = 1.0, use_recent: bool = True
    ) -> float:
        """Return the dollars to expect: what was seen (the last ten, or all), or $0.01; times the complexity."""
        _require_amount("task_complexity", task_complexity)
        profile = self.get_profile(agent_name, task_type)
        if profile is None:
            return DEFAULT_COST_USD * task_complexity
        if use_recent:
            return _mean_of_last(profile, lambda seen: seen.cost_usd / seen.complexity) * task_complexity
        return profile.avg_cost_usd * task_complexity

    def estimate_time(
        self, agent_name: str, task_type: str, task_complexity: float = 1.0, use_recent: bool = True
    ) -> float:
        """Return the seconds to expect: what was seen (the last ten, or all), or 10 s; times the complexity."""
        _require_amount("task_complexity", task_complexity)
        profile = self.get_profile(agent_name, task_type)
        if profile is None:
            return DEFAULT_SECONDS * task_complexity
        if use_recent:
            return _mean_of_last(profile, lambda seen: seen.seconds / seen.complexity) * task_complexity
        return profile.avg_seconds * task_complexity

    def estimate_success_rate(self, agent_name: str, task_type: str, use_recent: bool = True) -> float:
        """Return the share of successes, starting from 0.85 while little was seen: the documented figure.

        Answers of which nothing measured how right they were count as 0.85. It knows no other agents and no bounds;
        plans are made with `estimate`.
        """
        profile = self.get_profile(agent_name, task_type)
        if profile is None:
            return DEFAULT_SUCCESS_RATE
        count = profile.total_executions
        seen = (profile.successes - (1.0 - DEFAULT_SUCCESS_RATE) * profile.unchecked) / count
        if use_recent:
            seen = (seen + _mean_of_last(profile, _value_of)) / 2
        return (PRIOR_WEIGHT * DEFAULT_SUCCESS_RATE + count * seen) / (PRIOR_WEIGHT + count)

    def estimate(
        self, capability: AgentCapability, task_type: str, complexity: float = 1.0, *, text: str = ""
    ) -> Estimate:
        """Return what a task of this type, complexity and wording is expected to take from this agent.

        Where an agent declares no cost and has done nothing yet, the tokens and the time that others took for this type
        are the guess, or else the defaults, at the price of its model or tier; so an agent that nobody has tried is not
        taken for a cheap one. The words count where the profiler knows how to assess their difficulty.
        """
        _require_amount("complexity", complexity)
        now = self._now()
        key = (capability, task_type, complexity, now)
        if self._ready_prices != self.MODEL_PRICING:
            self._ready, self._ready_prices = {}, dict(self.MODEL_PRICING)
        estimate = self._ready.get(key)
        if estimate is None:
            with self._lock:
                estimate = self._estimate(capability, task_type, complexity, now)
                if len(self._ready) >= 10_000:
                    self._ready, self._beliefs = {}, {}
                self._ready[key] = estimate
        if self._difficulty is None or not text:
            return estimate
        return self._shifted(estimate, self._difficulty.assess(text, task_type).shift(capability.agent_id))

    def get_profile(self, agent_name: str, task_type: str) -> TaskProfile | None:
        """Return what is known of this agent at this type of task; None where it has done none."""
        with self._lock:
            history = self._experience.histories.get((agent_name, task_type))
            return None if history is None else history.profile()

    def drifts(self) -> tuple[Drift, ...]:
        """Return the changes of agents that were noticed, oldest first; the last thousand."""
        with self._lock:
            return tuple(self._drifts)

    def get_statistics(self) -> dict[str, Any]:
        """Return totals over all agents: executions, dollars, share of successes, agents, task types.

        Also `drifts` (see Drift), `rejected`, how many rows were bad, and `rejections`, which name the last of them.
        """
        with self._lock:
            histories = list(self._experience.histories.values())
            executions = self._experience.executions
            return {
                "total_executions": executions,
                "total_cost_usd": math.fsum(history.cost_usd for history in histories),
                "success_rate": sum(history.successes for history in histories) / executions if executions else 0.0,
                "agents_tracked": len(self._experience.agents),
                "task_types_tracked": len(self._experience.types),
                "drifts": tuple(self._drifts),
                "rejected": self._rejected,
                "rejections": tuple(self._rejections),
            }

    def price_tokens(self, tokens: float, cost_tier: str) -> float:
        """Return a tier's dollars for so many tokens. `free` is free even where a reassigned table forgets it.

        Raises:
            InvalidInput: there is no such tier.
        """
        price = self.MODEL_PRICING.get(cost_tier, 0.0 if cost_tier == "free" else None)
        if price is None:
            raise InvalidInput(
                f"There is no cost_tier {cost_tier!r}. Use one of {', '.join(self.MODEL_PRICING)}, or add its price to "
                "CostProfiler.MODEL_PRICING."
            )
        return tokens * price / 1_000_000

    def _learn(
        self,
        agent: str,
        task_type: str,
        completed: float | None,
        value: float | None,
        success: bool,
        cost_usd: float,
        seconds: float,
        tokens: tuple[float, float, float],
        complexity: float,
        at: float,
        *,
        cost_told: bool = True,
    ) -> None:
        with self._lock:
            changes = self._experience.record(
                agent,
                task_type,
                completed=completed,
                value=value,
                success=success,
                cost_usd=cost_usd,
                seconds=seconds,
                tokens=tokens,
                complexity=complexity,
                at=at,
                cost_told=cost_told,
            )
            self.revision += 1
            if self._ready:
                self._ready, self._beliefs = {}, {}
            if changes:
                self._drifts.extend(changes)
        for change in changes or ():
            logger.info("%s", change)

    def _reject(self, outcome: Outcome, problem: str) -> None:
        name = f"task {outcome.task_id!r:.80} of run {outcome.run_id!r:.80} by {outcome.agent!r:.80}"
        with self._lock:
            self._rejected += 1
            self._rejections.append(f"{name}: {problem}")
        logger.warning("The outcome of %s: %s.", name, problem)

    def _now(self) -> float:
        """Return the time to the hour, so that estimates stay the same within a run; 0 without a clock."""
        return 0.0 if self._clock is None else self._clock() // 3600.0 * 3600.0

    def _estimate(self, capability: AgentCapability, task_type: str, complexity: float, now: float) -> Estimate:
        agent, experience = capability.agent_id, self._experience
        history = experience.histories.get((agent, task_type))
        of_type = experience.types.get(task_type)
        believed = self._believe(capability, task_type, now)
        success = believed.both
        known = history.tokens if history else of_type.tokens if of_type and of_type.tokens.count else None
        usage = _usage(known, capability, complexity)
        is_free = capability.cost_tier == "free"
        declared_usd = 0.0 if capability.cost_usd is None and is_free else capability.cost_usd
        cost = experience.expect(
            "cost",
            agent,
            task_type,
            declared=declared_usd,
            guess=self._price(capability, known) if declared_usd is None else 0.0,
            complexity=complexity,
            is_wild=known is None and capability.model is None,
        )
        seconds = experience.expect(
            "seconds",
            agent,
            task_type,
            declared=capability.seconds,
            guess=of_type.mean_seconds if of_type else DEFAULT_SECONDS,
            complexity=complexity,
        )
        return Estimate(
            cost_usd=cost.mean,
            seconds=seconds.mean,
            success_rate=success.mean,
            tokens=usage.tokens,
            samples=history.executions if history else 0,
            source="learned" if history else "declared" if declared_usd is not None else "default",
            success_lower=success.lower,
            success_sd=success.sd,
            cost_low_usd=cost.low,
            cost_high_usd=cost.high,
            seconds_low=seconds.low,
            seconds_high=seconds.high,
            usage=usage,
            costs_told=experience.agents[agent].costs_told if agent in experience.agents else 0,
            completion=believed.completion.mean,
            judged=history.judged if history else 0,
            basis="measured"
            if history and history.judged
            else "elsewhere"
            if believed.is_from_elsewhere
            else "declared",
            note=_tell_changes(history),
        )

    def _believe(self, capability: AgentCapability, task_type: str, now: float) -> Success:
        """Return what is believed of the chance of success, which is the same at any complexity."""
        key = (capability, task_type, now)
        if key not in self._beliefs:
            self._beliefs[key] = self._experience.believe_success(
                capability.agent_id,
                task_type,
                tier=capability.cost_tier,
                declared=capability.success_rate,
                confidence=self.confidence,
                now=now,
            )
        return self._beliefs[key]

    def _price(self, capability: AgentCapability, known: Tokens | None) -> float:
        """Return the dollars that a task of complexity 1 costs with the agent's model, or else in its tier."""
        if capability.model is not None:
            with suppress(UnknownPrice):
                return self._prices.cost_usd(capability.model, _usage(known, capability, 1.0))
        tokens = known.input + known.output if known is not None else DEFAULT_TOKENS
        return self.price_tokens(tokens, capability.cost_tier)

    def _shifted(self, estimate: Estimate, shift: float) -> Estimate:
        if not math.isfinite(shift) or shift == 0.0:
            return estimate
        shift = min(max(shift, -_MOST_SHIFT), _MOST_SHIFT)
        rate = shift_rate(
            Rate(mean=estimate.success_rate, lower=estimate.success_lower, sd=estimate.success_sd),
            shift,
            shift_sd=_SHIFT_ERROR * abs(shift),
            confidence=self.confidence,
        )
        completion = max(estimate.completion, rate.mean)  # a chance of both is no more than that of one
        return replace(
            estimate, success_rate=rate.mean, success_lower=rate.lower, success_sd=rate.sd, completion=completion
        )


def _usage(known: Tokens | None, capability: AgentCapability, complexity: float) -> Usage:
    if known is not None:
        entered, cached, left = known.input, known.cached, known.output
    else:
        total = DEFAULT_TOKENS if capability.model or capability.cost_tier != "free" else 0.0
        entered, cached, left = total * INPUT_SHARE, 0.0, total * (1.0 - INPUT_SHARE)
    total = round((entered + left) * complexity)
    inside = min(round(entered * complexity), total)
    return Usage(
        input_tokens=inside, cached_tokens=min(round(cached * complexity), inside), output_tokens=total - inside
    )


def _tell_changes(history: History | None) -> str:
    """Return the changes that are still recent: no more than WINDOW outcomes ago."""
    if history is None:
        return ""
    recent = [change for change, when in history.drift.values() if history.executions - when < WINDOW]
    return " ".join(f"Changed: {change}." for change in recent)


def _mean_of_last(profile: TaskProfile, measure: Callable[[Execution], float]) -> float:
    return math.fsum(measure(seen) for seen in profile.recent) / len(profile.recent)


def _value_of(seen: Execution) -> float:
    return float(seen.success) if seen.is_checked else DEFAULT_SUCCESS_RATE


def _require_amount(field: str, value: object, most: float = math.inf) -> None:
    if not _is_amount(value, most):
        limit = f", {most:g} at most" if most < math.inf else ""
        raise InvalidInput(f"{field} is {value!r:.80}; it must be a finite number, zero or more{limit}.")


def _is_amount(value: object, most: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most and value < math.inf


def _is_complexity(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return LEAST_COMPLEXITY <= value <= MOST_COMPLEXITY


def _is_assumed(features: object) -> bool:
    """Whether nobody measured what the attempt cost."""
    return isinstance(features, Mapping) and bool(features.get("cost_assumed"))


def _complexity_of(features: object) -> float | None:
    """Return an outcome's complexity, 1 where it names none; None where it cannot be one."""
    if not isinstance(features, Mapping):
        return None if features else 1.0
    value = features.get("complexity", 1.0)
    return float(value) if _is_complexity(value) else None


def _find_problem(outcome: Outcome) -> str | None:
    """Return what cannot be in an outcome. Outcome checks itself, but not every reader of a ledger makes one."""
    usage = outcome.usage
    for name, value, most in (
        ("cost_usd", outcome.cost_usd, MOST_USD),
        ("seconds", outcome.seconds, MOST_SECONDS),
        ("at", outcome.at, math.inf),
        ("input_tokens", usage.input_tokens, MOST_TOKENS),
        ("cached_tokens", usage.cached_tokens, MOST_TOKENS),
        ("output_tokens", usage.output_tokens, MOST_TOKENS),
        ("quality", 0.0 if outcome.quality is None else outcome.quality, 1.0),
    ):
        if not _is_amount(value, most):
            return f"{name} is {value!r:.80}"
    for name, text in (("agent", outcome.agent), ("task_type", outcome.task_type)):
        if not isinstance(text, str):
            return f"{name} is {text!r:.80}"
    return None
