"""Lets a routed plan explore: some tasks go to agents of which little is known. Which may be moved, cost decides."""

from __future__ import annotations

import math

from kapelle.allocation import Explorer, PlanEstimates
from kapelle.routing import RoutingPlan


def explore(
    explorer: Explorer,
    run_id: str,
    routing: RoutingPlan,
    estimates: PlanEstimates,
    left_usd: float,
) -> None:
    """Move tasks of a routed plan, and note with each task how probable its agent was."""
    dag = estimates.dag
    candidates = {
        task.task_id: estimates.able(task)
        for task in dag
        if task.task_id in routing.assignments and task.task_id not in routing.strategies
    }
    planned = math.fsum(
        able[agent].cost_usd
        for task_id, agent in routing.assignments.items()
        if agent in (able := candidates.get(task_id, {}))
    )
    spent = float(routing.metadata.get("estimated_cost", planned))
    done = explorer.decide(
        run_id,
        dag,
        routing.assignments,
        candidates,
        left_usd=max(0.0, left_usd - max(spent, planned)),
        kept=routing.kept,
    )
    features = routing.metadata.setdefault("features", {})
    features.update({task_id: {"propensity": chance} for task_id, chance in done.stays.items()})
    for task_id, move in done.moves.items():
        features[task_id] = {"propensity": move.propensity, "explored": True}
        routing.explanations[task_id] = f"{routing.explanations.get(task_id, '')} {move.reason}".strip()
        routing.assignments[task_id] = move.agent
    if done.moves and "estimated_cost" in routing.metadata:
        extra = math.fsum(move.extra_cost_usd for move in done.moves.values())
        routing.metadata["estimated_cost"] = spent + extra
