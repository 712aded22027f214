"""A routing plan: which agent does which task, why, and what is missing where none can. Proves nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class RoutingPlan:
    """Which agent does which task, and why.

    The fields are fixed but the dicts are open, because documented code writes into them; what freezes a plan is the
    validator, which copies them.

    >>> plan = RoutingPlan(unassigned={"ship": "no agent takes 'deploy'"})
    >>> plan.is_complete
    False
    >>> plan.assignments["ship"] = "deploy_agent"
    >>> plan.is_complete, plan.workload
    (True, {'deploy_agent': 1})
    """

    assignments: dict[str, str] = field(default_factory=dict)
    """Task id to agent id."""
    explanations: dict[str, str] = field(default_factory=dict)
    """Task id to the reason for its agent, with the runner-up and why it lost."""
    strategies: dict[str, Any] = field(default_factory=dict)
    """Task id to the way in which several agents are asked, where that pays; `assignments` has the first of them. The
    router hands these on as the optimiser made them: see `kapelle.strategies.Strategy`."""
    unassigned: dict[str, str] = field(default_factory=dict)
    """Task id to what is missing, and the way out."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What the cost optimiser made of the plan: `daao_optimized`, `cost_savings`, `estimated_cost`, `baseline_cost`,
    `estimated_time`, `quality_score`, `optimization_details`; or `daao_error`, where it failed."""

    @property
    def is_complete(self) -> bool:
        """Whether every task that was routed has an agent."""
        return all(task_id in self.assignments for task_id in self.unassigned)

    @property
    def kept(self) -> frozenset[str]:
        """The tasks that no optimiser and no exploration moves: `pinned` by order of the user's, `firm` by a rule."""
        return frozenset((*self.metadata.get("pinned", ()), *self.metadata.get("firm", ())))

    @property
    def workload(self) -> dict[str, int]:
        """How many tasks each agent of the plan has."""
        counts: dict[str, int] = {}
        for agent_id in self.assignments.values():
            counts[agent_id] = counts.get(agent_id, 0) + 1
        return counts
