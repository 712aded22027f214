"""Figures about a plan, each in 0..1: how likely it succeeds, how well agents fit, where its cost and time lie.

    success     geometric mean of the tasks' success rates: a plan of n such tasks succeeds with this to the power of n,
                so that long and short plans compare
    fit         share of what the tasks ask for (type and required skills) that their agents name
    cost, time  0 where no other assignment could be cheaper or faster, 1 where none could be dearer or slower

Cost and time are relative to the agents at hand, and need no budget. Tasks without an able agent count as failures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from kapelle.agents import AgentCapability
from kapelle.allocation import PlanEstimates
from kapelle.estimates import Estimate
from kapelle.graph import TaskDAG


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The least and the most that a plan could take, over all agents that can do its tasks."""

    least: float
    most: float

    def position_of(self, value: float) -> float:
        """Return where a value lies between the bounds, in 0..1; 0 where there is no choice."""
        width = self.most - self.least
        return min(max((value - self.least) / width, 0.0), 1.0) if width > 0 else 0.0


def total_cost(estimates: Mapping[str, Estimate]) -> float:
    """Return the dollars for all tasks."""
    return math.fsum(estimate.cost_usd for estimate in estimates.values())


def critical_seconds(estimates: Mapping[str, Estimate], dag: TaskDAG) -> float:
    """Return the seconds along the critical path; tasks without an estimate take none."""
    seconds = {task.task_id: estimates[task.task_id].seconds if task.task_id in estimates else 0.0 for task in dag}
    return dag.critical_path(seconds).seconds


def success_rate(estimates: Mapping[str, Estimate], dag: TaskDAG) -> float:
    """Return the geometric mean of the tasks' success rates; 1 for an empty graph."""
    rates = [estimates[task.task_id].success_rate if task.task_id in estimates else 0.0 for task in dag]
    if not rates:
        return 1.0
    if min(rates) <= 0:
        return 0.0
    return min(math.exp(math.fsum(map(math.log, rates)) / len(rates)), 1.0)


def agent_fit(assignments: Mapping[str, str], dag: TaskDAG, agents: Mapping[str, AgentCapability]) -> float:
    """Return the share of what the tasks ask for that their agents name; 1 for an empty graph."""
    shares = []
    for task in dag:
        agent = agents.get(assignments.get(task.task_id, ""))
        if agent is None or not agent.takes(task):
            shares.append(0.0)
            continue
        named = (task.task_type in agent.task_types) + len(task.requirements)
        shares.append(named / (1 + len(task.requirements)))
    return math.fsum(shares) / len(shares) if shares else 1.0


def cost_bounds(estimates: PlanEstimates) -> Bounds:
    """Return the dollars of the cheapest and of the dearest assignment."""
    ranges = _ranges(estimates, "cost_usd")
    return Bounds(
        least=math.fsum(low for low, _ in ranges.values()), most=math.fsum(high for _, high in ranges.values())
    )


def time_bounds(estimates: PlanEstimates) -> Bounds:
    """Return the critical path's seconds with the fastest and with the slowest agent for every task."""
    ranges = _ranges(estimates, "seconds")
    return Bounds(
        least=estimates.dag.critical_path({task_id: low for task_id, (low, _) in ranges.items()}).seconds,
        most=estimates.dag.critical_path({task_id: high for task_id, (_, high) in ranges.items()}).seconds,
    )


def _ranges(estimates: PlanEstimates, field: str) -> dict[str, tuple[float, float]]:
    by_kind: dict[object, tuple[float, float]] = {}
    ranges = {}
    for task in estimates.dag:
        kind = estimates.kind_of(task)
        if kind not in by_kind:
            values = [getattr(estimates.estimate(task, name), field) for name in estimates.takers(task)]
            by_kind[kind] = (min(values, default=0.0), max(values, default=0.0))
        ranges[task.task_id] = by_kind[kind]
    return ranges
