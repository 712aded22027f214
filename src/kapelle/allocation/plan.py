"""OptimizedPlan: who does what, what that is expected to come to, and what is proven about it. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kapelle.strategies import Strategy


@dataclass(frozen=True, kw_only=True, slots=True)
class SpentSoFar:
    """What work on a task has really used so far."""

    cost_usd: float
    seconds: float
    success: bool
    finished: bool
    """False: it failed, and is to be tried again."""

    def plus(self, later: SpentSoFar) -> SpentSoFar:
        """Return this attempt and a later one as one: what both used, and how the later one ended."""
        return SpentSoFar(
            cost_usd=self.cost_usd + later.cost_usd,
            seconds=self.seconds + later.seconds,
            success=later.success,
            finished=later.finished,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizedPlan:
    """An assignment, what it is expected to come to, and what is proven about it."""

    assignments: Mapping[str, str]
    """Task id to agent id, for the tasks that the initial plan assigned; of a strategy the agent that it asks first."""
    estimated_cost: float
    """Dollars; finished tasks count with what they really cost."""
    estimated_time: float
    """Seconds along the critical path; finished tasks count with what they really took."""
    quality_score: float
    """Expected share of successes among the tasks that are not finished; once all are, the share that succeeded."""
    cost_savings: float
    """Dollars less than the initial plan; negative where keeping the limits costs more than breaking them."""
    optimization_details: Mapping[str, Any] = field(default_factory=dict)
    """`status`: optimal (proven), feasible (limits kept, not proven the cheapest), infeasible (proven; `binding` says
    which limits stand in the way and by how much), unknown (neither a plan nor a proof in time), empty. Where it is
    infeasible or unknown the assignments are those of the initial plan.

    Also: baseline_cost, baseline_time, baseline_quality, savings_pct, agent_workload, completed_tasks, moved_tasks,
    solver, lower_bound, gap, min_quality_score, missed (limits that these assignments break, and by how much);
    quality_lower (see the field), quality_note (tasks that count with what is expected, since nobody is proven good at
    them; or the quality that nobody asked for and that gave way), and strategies: by task what was chosen instead of
    one agent, and why it pays.
    """
    attempts: Mapping[str, SpentSoFar] = field(default_factory=dict)
    """What is known of tasks that were worked on, by task id; `replan_from_feedback` carries it on."""
    strategies: Mapping[str, Strategy] = field(default_factory=dict)
    """Task id to strategy, for the tasks that are best not left to one agent."""
    quality_lower: float = 0.0
    """Lower confidence bound of `quality_score`."""
    comparisons: Mapping[str, str] = field(default_factory=dict)
    """Task id to what is expected of its agent and of the one that it was moved from, as a sentence."""
