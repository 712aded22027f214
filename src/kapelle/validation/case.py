"""What the user allows a plan and asks of it, under whichever of the documented names, and the case that the checks
look at: the plan, what it was made for, and what it is expected to take. Checks nothing.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from kapelle.agents import AgentCapability
from kapelle.allocation import PlanEstimates
from kapelle.errors import InvalidInput
from kapelle.estimates import Estimate
from kapelle.graph import TaskDAG
from kapelle.limits import MIN_SECONDS, RunLimits, check_limit
from kapelle.routing import RoutedPlan
from kapelle.strategies import Cascade, Single, Strategy, Vote


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What the user allows and asks for, and what of the plan is over already."""

    limits: RunLimits
    request: str | None
    available: Collection[str] | None
    finished: frozenset[str]
    approved: frozenset[str]
    is_known: bool = False
    """Whether the graph, and what its tasks say, was approved before."""


def take_limits(
    limits: RunLimits | None, *, max_budget: float | None, max_time: float | None, min_quality: float | None
) -> RunLimits:
    """Return the limits that were given, under whichever names.

    Raises:
        InvalidInput: they were given under both, or one of them is malformed.
    """
    max_budget, max_time = (None if value == math.inf else value for value in (max_budget, max_time))  # no limit either
    check_limit("max_budget", max_budget)
    check_limit("max_time", max_time)
    check_limit("min_quality", min_quality, most=1.0)
    if limits is None:
        seconds = None if max_time is None else max(max_time, MIN_SECONDS)
        return RunLimits(budget_usd=max_budget, deadline_s=seconds, min_quality=min_quality)
    if (max_budget, max_time, min_quality) != (None, None, None):
        raise InvalidInput("Give `limits`, or max_budget, max_time and min_quality: one of the two.")
    return limits


def after_looking(limits: RunLimits, looked_usd: float) -> RunLimits:
    """Return the limits with what looking at the plan has cost taken from the budget."""
    if not looked_usd or limits.budget_usd is None:
        return limits
    if limits.spent_usd is None:  # the budget of the tasks alone: what is named is what they are left with
        return replace(limits, budget_usd=max(0.0, limits.budget_usd - looked_usd))
    return limits.after(looked_usd)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What is checked: the plan, what it was made for, and what it is expected to take."""

    plan: RoutedPlan
    dag: TaskDAG
    agents: Mapping[str, AgentCapability]
    estimates: PlanEstimates
    """What the tasks are expected to take of everyone."""
    expected: Mapping[str, Estimate]
    """For the tasks whose agent can do them."""
    counted: Mapping[str, float]
    """What each of them counts for: see `PlanEstimates.counted`. Empty where no quality is asked for."""
    cost: float
    seconds: float
    limits: RunLimits = field(default_factory=RunLimits)
    available: Collection[str] | None = None
    """The agents that edits may give tasks to; None: all."""
    approved: Collection[str] = ()
    """Tasks that have their agents by an earlier approval."""

    @property
    def staff(self) -> dict[str, AgentCapability]:
        """The agents that edits may give tasks to."""
        return {name: card for name, card in self.agents.items() if self.available is None or name in self.available}


def strategy_of(plan: RoutedPlan, task_id: str) -> Strategy:
    """Return how a plan has a task done.

    Raises:
        InvalidInput: the plan holds something else where a strategy must be.
    """
    routed = plan.tasks[task_id]
    given = routed.strategy
    if given is not None and not isinstance(given, (Single, Cascade, Vote)):
        raise InvalidInput(
            f"strategies[{task_id!r}] is {given!r:.80}; give a Single, a Cascade or a Vote, or leave it out."
        )
    return Single(agent=routed.agent) if given is None else given


def forget_command(agent_id: str, task_type: str) -> str:
    """Return what makes an agent's past outcomes count no more."""
    return f"kapelle forget {shlex.quote(agent_id)} --type {shlex.quote(task_type)}"
