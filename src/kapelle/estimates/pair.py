"""What one agent is expected to take for one task, from what was experienced of it and of others. Remembers nothing.

An undeclared cost or time of an agent that nobody has tried is a guess at the documented defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from kapelle.agents import AgentCapability
from kapelle.ledger import Usage

from .estimate import Estimate
from .experience import Experience, Success
from .history import WINDOW, PairHistory, Tokens
from .posterior import Rate, shift_rate

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
_SHIFT_ERROR = 0.5
"""A shift by difficulty is itself known to half of its size."""
_MAX_SHIFT = 6.0


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


def estimate_pair(
    experience: Experience,
    capability: AgentCapability,
    task_type: str,
    complexity: float,
    *,
    believed: Success,
    price_usd: Callable[[Tokens | None], float],
) -> Estimate:
    """Return what a task of this type and complexity is expected to take from this agent.

    Args:
        believed: Its chance of success.
        price_usd: What so many tokens, or those of a task of which nothing is known, cost with its model or tier.
    """
    agent = capability.agent_id
    history = experience.histories.get((agent, task_type))
    of_type = experience.types.get(task_type)
    success = believed.both
    known = history.tokens if history else of_type.tokens if of_type and of_type.tokens.count else None
    usage = usage_of(known, capability, complexity)
    is_free = capability.cost_tier == "free"
    declared_usd = 0.0 if capability.cost_usd is None and is_free else capability.cost_usd
    cost = experience.expect(
        "cost",
        agent,
        task_type,
        declared=declared_usd,
        guess=price_usd(known) if declared_usd is None else 0.0,
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
        basis="measured" if history and history.judged else "elsewhere" if believed.is_from_elsewhere else "declared",
        note=_tell_changes(history),
    )


def shift_estimate(estimate: Estimate, shift: float, *, confidence: float) -> Estimate:
    """Return an estimate whose log-odds of success are shifted, because the task is harder or easier than usual."""
    if not math.isfinite(shift) or shift == 0.0:
        return estimate
    shift = min(max(shift, -_MAX_SHIFT), _MAX_SHIFT)
    rate = shift_rate(
        Rate(mean=estimate.success_rate, lower=estimate.success_lower, sd=estimate.success_sd),
        shift,
        shift_sd=_SHIFT_ERROR * abs(shift),
        confidence=confidence,
    )
    completion = max(estimate.completion, rate.mean)  # a chance of both is no more than that of one
    return replace(
        estimate, success_rate=rate.mean, success_lower=rate.lower, success_sd=rate.sd, completion=completion
    )


def usage_of(known: Tokens | None, capability: AgentCapability, complexity: float) -> Usage:
    """Return the tokens that a task of this complexity is expected to take."""
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


def _tell_changes(history: PairHistory | None) -> str:
    """Return the changes that are still recent: no more than WINDOW outcomes ago."""
    if history is None:
        return ""
    recent = [change for change, when in history.drift.values() if history.executions - when < WINDOW]
    return " ".join(f"Changed: {change}." for change in recent)
