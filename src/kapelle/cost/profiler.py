"""What work costs, how long it takes and how often it succeeds, per agent and task type, learned from outcomes.

Theory. Every estimate is a mean of what was seen, pulled towards what was known before:

    (PRIOR_WEIGHT * prior + n * seen) / (PRIOR_WEIGHT + n)        n outcomes; for success: the mean of a Beta posterior

so one bad outcome does not condemn an agent, and a hundred outvote any declaration. `seen` leans to the recent: cost
and time are means of the last ten outcomes, success is half the last ten and half the whole history (ten outcomes alone
say a rate only to about 0.1). An undeclared cost or time is a guess and no prior: the first outcome replaces it.

Costs and times are kept per unit of complexity, so what was learned on a hard task does not overprice an easy one. What
is declared per task is meant per task: complexity changes neither a declared price nor declared seconds. Chooses
nothing: see optimizer.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidInput
from kapelle.ledger import Outcome, Usage

logger = logging.getLogger(__name__)

RECENT = 10
"""Outcomes that count as recent (documented)."""
PRIOR_WEIGHT = 4.0
"""How many outcomes a declared value is worth: two bad ones of two move 0.85 to 0.57, ten of ten to 0.24."""
DEFAULT_COST_USD = 0.01
"""Dollars for a task of which nothing is known (documented)."""
DEFAULT_SECONDS = 10.0
"""Seconds for a task of which nothing is known (documented)."""
DEFAULT_SUCCESS_RATE = 0.85
"""Share of successes where nothing is known (documented)."""
DEFAULT_TOKENS = 10_000 / 3
"""Tokens that the documented default cost buys at the documented price of the medium tier."""

Source = Literal["declared", "learned", "default"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """What one attempt used, and whether it succeeded."""

    cost_usd: float
    seconds: float
    tokens: int
    success: bool
    complexity: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskProfile:
    """What one agent's attempts at one type of task used. Means are as measured, whatever the complexity."""

    agent_name: str
    task_type: str
    total_executions: int = 0
    successes: int = 0
    total_cost_usd: float = 0.0
    total_seconds: float = 0.0
    total_tokens: int = 0
    recent: tuple[Execution, ...] = ()
    """The last ten, newest last."""

    def with_execution(self, execution: Execution) -> TaskProfile:
        """Return the profile that counts this attempt too."""
        return TaskProfile(
            agent_name=self.agent_name,
            task_type=self.task_type,
            total_executions=self.total_executions + 1,
            successes=self.successes + execution.success,
            total_cost_usd=self.total_cost_usd + execution.cost_usd,
            total_seconds=self.total_seconds + execution.seconds,
            total_tokens=self.total_tokens + execution.tokens,
            recent=(*self.recent, execution)[-RECENT:],
        )

    @property
    def success_rate(self) -> float:
        """Share of the attempts that succeeded; 0 where there are none."""
        return self._mean(self.successes)

    @property
    def avg_cost_usd(self) -> float:
        """Dollars per attempt, failed ones included."""
        return self._mean(self.total_cost_usd)

    @property
    def avg_seconds(self) -> float:
        """Seconds per attempt."""
        return self._mean(self.total_seconds)

    @property
    def avg_tokens(self) -> float:
        """Tokens per attempt."""
        return self._mean(self.total_tokens)

    @property
    def cost_per_success(self) -> float:
        """Dollars spent per success, failures paid for; infinite while nothing has succeeded."""
        return self.total_cost_usd / self.successes if self.successes else math.inf

    def _mean(self, total: float) -> float:
        return total / self.total_executions if self.total_executions else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a task is expected to take from an agent."""

    cost_usd: float
    seconds: float
    success_rate: float
    tokens: int
    samples: int
    """Outcomes behind it."""
    source: Source
    """`learned` as soon as there are outcomes; else `declared` if the price is; else `default`."""
    success_lower: float = 0.0
    """Lower confidence bound of the chance of success, one-sided, at the profiler's `confidence`; 0 where unknown."""
    success_sd: float = 0.0
    """Standard deviation of what is believed of the chance of success."""
    cost_low_usd: float = 0.0
    """The cost of one attempt lies from here to `cost_high_usd` in 90 % of cases."""
    cost_high_usd: float = 0.0
    seconds_low: float = 0.0
    """One attempt takes from here to `seconds_high` in 90 % of cases."""
    seconds_high: float = 0.0
    usage: Usage | None = None
    """Input, cached and output tokens expected of one attempt."""
    note: str = ""
    """What a reader should know of the estimate: that the agent has changed lately, for instance."""


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

    >>> profiler = CostProfiler()
    >>> profiler.record_execution("t1", "builder_agent", "implement", 850_000, 12.0, True, "medium")
    >>> profiler.estimate_cost("builder_agent", "implement")
    2.55
    """

    MODEL_PRICING: ClassVar[dict[str, float]] = {"free": 0.0, "cheap": 0.03, "medium": 3.0, "expensive": 15.0}
    """USD per million tokens, by cost tier, for agents that report no cost of their own. May be reassigned."""

    def __init__(self, difficulty: DifficultyAssessor | None = None) -> None:
        self._difficulty = difficulty
        self._profiles: dict[tuple[str, str], TaskProfile] = {}
        self._by_type: dict[str, TaskProfile] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_outcomes(cls, outcomes: Iterable[Outcome]) -> CostProfiler:
        """Return a profiler that has learned from these outcomes, oldest first."""
        profiler = cls()
        for outcome in outcomes:
            profiler.record_outcome(outcome)
        return profiler

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

        Raises:
            InvalidInput: a number is negative or not finite, or there is no such tier. Nothing is learned then.
        """
        _require_amount("tokens_used", tokens_used)
        _require_amount("execution_time_seconds", execution_time_seconds)
        _require_complexity("complexity", complexity)
        if cost_usd is None:
            cost_usd = self.price_tokens(tokens_used, cost_tier)
        else:
            _require_amount("cost_usd", cost_usd)
        execution = Execution(
            cost_usd=cost_usd,
            seconds=execution_time_seconds,
            tokens=int(tokens_used),
            success=bool(success),
            complexity=complexity,
        )
        self._record(agent_name, task_type, execution)
        logger.debug("Task %s: %s took $%.6f, %.3fs", task_id, agent_name, cost_usd, execution_time_seconds)

    def record_outcome(self, outcome: Outcome) -> None:
        """Learn from an outcome of the ledger. Its feature `complexity` counts, where it has one."""
        complexity = outcome.features.get("complexity", 1.0)
        execution = Execution(
            cost_usd=outcome.cost_usd,
            seconds=outcome.seconds,
            tokens=outcome.usage.tokens,
            success=outcome.success,
            complexity=complexity if _is_positive(complexity) else 1.0,
        )
        self._record(outcome.agent, outcome.task_type, execution)

    def estimate_cost(
        self, agent_name: str, task_type: str, task_complexity: float = 1.0, use_recent: bool = True
    ) -> float:
        """Return the dollars to expect: what was seen (the last ten, or all), or $0.01; times the complexity."""
        _require_amount("task_complexity", task_complexity)
        profile = self.get_profile(agent_name, task_type)
        if profile is None:
            return DEFAULT_COST_USD * task_complexity
        if use_recent:
            return _recent_mean(profile, lambda seen: seen.cost_usd / seen.complexity) * task_complexity
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
            return _recent_mean(profile, lambda seen: seen.seconds / seen.complexity) * task_complexity
        return profile.avg_seconds * task_complexity

    def estimate_success_rate(self, agent_name: str, task_type: str, use_recent: bool = True) -> float:
        """Return the share of successes to expect, starting from 0.85 while little was seen."""
        return _success_rate(self.get_profile(agent_name, task_type), DEFAULT_SUCCESS_RATE, use_recent=use_recent)

    def estimate(
        self, capability: AgentCapability, task_type: str, complexity: float = 1.0, *, text: str = ""
    ) -> Estimate:
        """Return what a task of this type and complexity is expected to take from this agent.

        What the agent declares is the prior. Where it declares no cost and has done no such task, the tokens and the
        time that others took for this type are the guess, or else the defaults, at the price of its tier; so an
        agent that nobody has tried is not taken for a cheap one.
        """
        _require_amount("complexity", complexity)
        profile = self.get_profile(capability.agent_id, task_type)
        others = self._by_type.get(task_type)
        samples = profile.total_executions if profile else 0

        tokens = DEFAULT_TOKENS if capability.model or capability.cost_tier != "free" else 0.0
        tokens_per_unit = _recent_mean(profile or others, lambda seen: seen.tokens / seen.complexity, default=tokens)

        if capability.cost_usd is not None:
            seen_usd = _recent_mean(profile, lambda seen: seen.cost_usd)
            cost_usd = _blend(capability.cost_usd, seen_usd, samples)
        else:
            seen_usd = _recent_mean(profile, lambda seen: seen.cost_usd / seen.complexity)
            if capability.cost_tier == "free":
                cost_usd = _blend(0.0, seen_usd, samples) * complexity
            elif profile is not None:
                cost_usd = seen_usd * complexity
            else:
                cost_usd = self.price_tokens(tokens_per_unit * complexity, capability.cost_tier)

        if capability.seconds is not None:
            seconds = _blend(capability.seconds, _recent_mean(profile, lambda seen: seen.seconds), samples)
        else:
            per_unit = _recent_mean(
                profile or others, lambda seen: seen.seconds / seen.complexity, default=DEFAULT_SECONDS
            )
            seconds = per_unit * complexity

        declared = capability.cost_usd is not None or capability.cost_tier == "free"
        return Estimate(
            cost_usd=cost_usd,
            seconds=seconds,
            success_rate=_success_rate(profile, capability.success_rate),
            tokens=round(tokens_per_unit * complexity),
            samples=samples,
            source="learned" if samples else "declared" if declared else "default",
        )

    def get_profile(self, agent_name: str, task_type: str) -> TaskProfile | None:
        """Return what is known of this agent at this type of task; None where it has done none."""
        return self._profiles.get((agent_name, task_type))

    def get_statistics(self) -> dict[str, Any]:
        """Return totals over all agents: executions, dollars, share of successes, agents, task types."""
        profiles = list(self._profiles.values())
        executions = sum(profile.total_executions for profile in profiles)
        return {
            "total_executions": executions,
            "total_cost_usd": math.fsum(profile.total_cost_usd for profile in profiles),
            "success_rate": sum(profile.successes for profile in profiles) / executions if executions else 0.0,
            "agents_tracked": len({profile.agent_name for profile in profiles}),
            "task_types_tracked": len({profile.task_type for profile in profiles}),
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

    def _record(self, agent_name: str, task_type: str, execution: Execution) -> None:
        key = (agent_name, task_type)
        with self._lock:
            old = self._profiles.get(key) or TaskProfile(agent_name=agent_name, task_type=task_type)
            self._profiles[key] = old.with_execution(execution)
            everyone = self._by_type.get(task_type) or TaskProfile(agent_name="*", task_type=task_type)
            self._by_type[task_type] = everyone.with_execution(execution)


def _blend(prior: float, seen: float, samples: int) -> float:
    return (PRIOR_WEIGHT * prior + samples * seen) / (PRIOR_WEIGHT + samples)


def _recent_mean(profile: TaskProfile | None, measure: Callable[[Execution], float], *, default: float = 0.0) -> float:
    if profile is None:
        return default
    return math.fsum(measure(seen) for seen in profile.recent) / len(profile.recent)


def _success_rate(profile: TaskProfile | None, prior: float, *, use_recent: bool = True) -> float:
    if profile is None:
        return prior
    seen = profile.success_rate
    if use_recent:
        seen = (seen + _recent_mean(profile, lambda execution: float(execution.success))) / 2
    return _blend(prior, seen, profile.total_executions)


def _require_amount(field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise InvalidInput(f"{field} is {value!r}; it must be a finite number, zero or more.")


def _require_complexity(field: str, value: object) -> None:
    if not _is_positive(value):
        raise InvalidInput(f"{field} is {value!r}; it must be a finite number above zero.")


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0
