"""The case that the checks look at: the plan, what it was made for, and what it is expected to take. Checks nothing."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from kapelle.agents import AgentCapability
from kapelle.allocation import PlanEstimates
from kapelle.errors import InvalidInput
from kapelle.estimates import Estimate
from kapelle.graph import TaskDAG
from kapelle.limits import RunLimits
from kapelle.routing import RoutedPlan
from kapelle.strategies import Cascade, Single, Strategy, Vote


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
    """What each of them counts for where a quality is asked for: see `PlanEstimates.counted`."""
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
