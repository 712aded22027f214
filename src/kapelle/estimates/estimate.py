"""What one agent is expected to take for one task, and how sure that is, from what was experienced of it and of others.
Remembers nothing: see profiler.

An undeclared cost or time of an agent that nobody has tried is a guess at the documented defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from kapelle.agents import AgentCapability
from kapelle.ledger import Usage, format_seconds, format_usd, tell_success

from .amounts import Amount
from .experience import Experience, Success
from .history import WINDOW, PairHistory, Tokens

Source = Literal["declared", "learned", "default"]
Basis = Literal["declared", "elsewhere", "measured"]

WIDTH = 2.0
"""Standard deviations between the mean and a bound: one in forty lies beyond, were it normal."""
MIN_OUTCOMES = 5
"""Fewer say nothing against an agent."""
HOPELESS = 0.3
"""An upper bound below this: the pair fails far more often than not, nineteen of nineteen for a declared 0.85."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a task is expected to take from an agent."""

    cost_usd: float
    seconds: float
    success_rate: float
    """Chance that it answers (`completion`), and that its answer is right."""
    tokens: int
    samples: int
    """Outcomes of this agent at this type of task behind it."""
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
    costs_told: int = 0
    """Outcomes of this agent, at whatever type of task, whose cost was told; 0 where all was declared or assumed."""
    usage: Usage | None = None
    """Input, cached and output tokens expected of one attempt."""
    completion: float = 1.0
    """Chance that it gives any answer, learned from every outcome; 1 while nothing has failed."""
    judged: int = 0
    """Of `samples`, those of which something measured how right the answer was: a check, a person, other agents, or the
    agent itself."""
    basis: Basis = "measured"
    """Where the chance that an answer is right comes from: it was `measured`; or it is what the agent declares, because
    nothing has; or that mixed with what was measured `elsewhere`, of other agents and other types of task."""
    why: str = ""
    """The few things that moved the chance of success from what is declared: `look-ups 41 of 44; long words: less`.
    Told of the estimates that a plan was made by; "" of others, and where nothing moved it."""
    note: str = ""
    """What a reader should know of the estimate: that the agent has changed lately, for instance."""

    @property
    def correctness(self) -> float:
        """Chance that an answer is right, where there is one."""
        return min(1.0, self.success_rate / self.completion) if self.completion > 0 else 0.0

    @property
    def correctness_bounds(self) -> tuple[float, float]:
        """The least and the most that is believed of the chance that an answer is right."""
        reach = WIDTH * self.success_sd / max(self.completion, 1e-9)
        return max(0.0, self.correctness - reach), min(1.0, self.correctness + reach)

    @property
    def success_bounds(self) -> tuple[float, float]:
        """The least and the most that is believed of the chance of success, both as sure: see `success_lower` for the
        bound that a quality is held to."""
        reach = WIDTH * self.success_sd
        return max(0.0, self.success_rate - reach), min(1.0, self.success_rate + reach)

    @property
    def is_hopeless(self) -> bool:
        """Whether outcomes say that the agent is not worth trying at such tasks. Declarations alone condemn nobody."""
        return self.samples >= MIN_OUTCOMES and self.success_bounds[1] < HOPELESS

    @property
    def is_measured(self) -> bool:
        """Whether enough was measured of how right its answers are to compare it by that."""
        return self.judged >= MIN_OUTCOMES

    def tell_success(self) -> str:
        """Return where the chance of success comes from.

        >>> Estimate(cost_usd=0, seconds=1, success_rate=0.82, tokens=0, samples=40, judged=0, completion=0.97,
        ...          basis="declared", source="learned").tell_success()
        '85% declared, not checked yet; completes 97%, learned from 40 outcomes'
        >>> Estimate(cost_usd=0, seconds=1, success_rate=0.9, tokens=0, samples=44, judged=44, source="learned",
        ...          why="look-ups 41 of 44; long words: less").tell_success()
        'learned from 44 outcomes: look-ups 41 of 44; long words: less'
        """
        return tell_success(self.success_rate, self.completion, self.samples, self.judged, self.basis, self.why)

    def explain(self) -> str:
        """Return the estimate in words, with its bounds.

        >>> Estimate(cost_usd=0.01, seconds=2.0, success_rate=0.85, success_lower=0.53, tokens=0, samples=0,
        ...          source="default", cost_low_usd=0.001, cost_high_usd=0.1, seconds_low=0.5, seconds_high=8).explain()
        'a guess: 85% success (at least 53%), $0.0100 ($0.0010 to $0.1000), 2.0 s (500 ms to 8.0 s)'
        """
        known = {"declared": "declared by the agent", "default": "a guess"}.get(
            self.source, f"learned from {self.samples} outcome{'s' * (self.samples != 1)}"
        )
        detail = f"; {self.tell_success()}" if self.samples > self.judged or self.why else ""
        text = (
            f"{known}: {self.success_rate:.0%} success (at least {self.success_lower:.0%}{detail}), "
            f"{format_usd(self.cost_usd)} ({format_usd(self.cost_low_usd)} to {format_usd(self.cost_high_usd)}), "
            f"{format_seconds(self.seconds)} ({format_seconds(self.seconds_low)} to "
            f"{format_seconds(self.seconds_high)})"
        )
        return f"{text}. {self.note}" if self.note else text


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


class Pair(NamedTuple):
    """What is expected of an agent at a type of task, whatever its words. Amounts are per unit of complexity."""

    capability: AgentCapability
    history: PairHistory | None
    tokens: Tokens | None
    cost: Amount
    has_declared_cost: bool
    """Declared costs and times are meant for any task, whatever its complexity."""
    seconds: Amount
    costs_told: int
    note: str


def read_pair(
    experience: Experience,
    capability: AgentCapability,
    task_type: str,
    *,
    price_usd: Callable[[Tokens | None], float],
) -> Pair:
    """Return what is expected of an agent at a type of task.

    Args:
        experience: What is known.
        capability: Of the agent.
        task_type: Of the tasks.
        price_usd: What so many tokens, or those of a task of which nothing is known, cost with its model or tier.
    """
    agent = capability.agent_id
    history = experience.histories.get((agent, task_type))
    of_type = experience.types.get(task_type)
    known = history.tokens if history else of_type.tokens if of_type and of_type.tokens.count else None
    declared_usd = 0.0 if capability.cost_usd is None and capability.cost_tier == "free" else capability.cost_usd
    return Pair(
        capability,
        history,
        known,
        experience.expect(
            "cost",
            agent,
            task_type,
            declared=declared_usd,
            guess=price_usd(known) if declared_usd is None else 0.0,
            is_wild=known is None and capability.model is None,
        ),
        declared_usd is not None,
        experience.expect(
            "seconds",
            agent,
            task_type,
            declared=capability.seconds,
            guess=of_type.mean_seconds if of_type else DEFAULT_SECONDS,
        ),
        experience.agents[agent].costs_told if agent in experience.agents else 0,
        _tell_changes(history),
    )


def make_estimate(pair: Pair, complexity: float, success: Success, usual: Success) -> Estimate:
    """Return what a task of this complexity is expected to take; `usual` is the success at any task of its type.

    Words make no agent worth trying where it is hopeless at the type.
    """
    history, capability = pair.history, pair.capability
    samples = history.executions if history is not None else 0
    if samples >= MIN_OUTCOMES and usual.both.mean + WIDTH * usual.both.sd < HOPELESS:
        success = usual
    usage = usage_of(pair.tokens, capability, complexity)
    cost_unit = 1.0 if pair.has_declared_cost else complexity
    seconds_unit = 1.0 if capability.seconds is not None else complexity
    cost, seconds, rate = pair.cost, pair.seconds, success.both
    is_judged = history is not None and history.judged > 0
    return Estimate(
        cost_usd=cost.mean * cost_unit,
        seconds=seconds.mean * seconds_unit,
        success_rate=rate.mean,
        tokens=usage.tokens,
        samples=samples,
        source="learned" if history else "declared" if pair.has_declared_cost else "default",
        success_lower=rate.lower,
        success_sd=rate.sd,
        cost_low_usd=cost.low * cost_unit,
        cost_high_usd=cost.high * cost_unit,
        seconds_low=seconds.low * seconds_unit,
        seconds_high=seconds.high * seconds_unit,
        usage=usage,
        costs_told=pair.costs_told,
        completion=success.completion,
        judged=history.judged if history else 0,
        basis="measured" if is_judged else "elsewhere" if success.is_from_elsewhere else "declared",
        note=pair.note,
    )


def usage_of(known: Tokens | None, capability: AgentCapability, complexity: float) -> Usage:
    """Return the tokens that a task of this complexity is expected to take."""
    if known is not None:
        entered, cached, left = known.input, known.cached, known.output
    else:
        total = DEFAULT_TOKENS if capability.model or capability.cost_tier != "free" else 0.0
        entered, cached, left = total * INPUT_SHARE, 0.0, total * (1.0 - INPUT_SHARE)
    return _scale(entered, cached, left, complexity)


@lru_cache(maxsize=4096)  # agents that report no tokens have all the same
def _scale(entered: float, cached: float, left: float, complexity: float) -> Usage:
    total = round((entered + left) * complexity)
    inside = min(round(entered * complexity), total)
    return Usage(
        input_tokens=inside, cached_tokens=min(round(cached * complexity), inside), output_tokens=total - inside
    )


def _tell_changes(history: PairHistory | None) -> str:
    """Return the changes that are still recent: no more than WINDOW outcomes ago."""
    if history is None:
        return ""
    recent = [change for change, when in history.drift.values() if history.executions - when < WINDOW]
    return " ".join(f"Changed: {change}." for change in recent)
