"""Lets a routed plan explore: some tasks go to agents of which little is known. Which may be moved, cost decides."""

from __future__ import annotations

import math
from dataclasses import replace

from kapelle.allocation import Explorer, PlanEstimates
from kapelle.routing import RoutedPlan


def explore(
    explorer: Explorer, run_id: str, routing: RoutedPlan, estimates: PlanEstimates, left_usd: float
) -> RoutedPlan:
    """Return the plan in which some tasks go elsewhere, and each that might says how probable its agent was."""
    dag = estimates.dag
    candidates = {
        task.task_id: estimates.able(task)
        for task in dag
        if task.task_id in routing.tasks and routing.tasks[task.task_id].strategy is None
    }
    planned = math.fsum(
        able[routed.agent].cost_usd
        for task_id, routed in routing.tasks.items()
        if routed.agent in (able := candidates.get(task_id, {}))
    )
    stated = routing.figures.estimated_cost
    spent = float(planned if stated is None else stated)
    found = explorer.decide(
        run_id,
        dag,
        routing.assignments,
        candidates,
        left_usd=max(0.0, left_usd - max(spent, planned)),
        pinned=routing.fixed,
    )
    tasks = {name: replace(routing.tasks[name], propensity=chance) for name, chance in found.stays.items()}
    for name, move in found.moves.items():
        tasks[name] = routing.tasks[name].moved(move.agent, move.reason, propensity=move.propensity, explored=True)
    explored = routing.with_tasks(tasks)
    if not found.moves or stated is None:
        return explored
    cost = spent + math.fsum(move.extra_cost_usd for move in found.moves.values())
    return replace(explored, figures=replace(explored.figures, estimated_cost=cost))
