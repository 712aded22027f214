"""What a run's events hold of the values that its stages make: plain JSON, written here and read in the ledger."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from kapelle.cost import strategy_to_dict
from kapelle.planning import Plan
from kapelle.routing import RoutingPlan
from kapelle.validation import ValidationResult


def planned(plan: Plan) -> dict[str, Any]:
    """What `run_planned` holds."""
    return {
        "graph": plan.graph.to_dict(),
        "planner": plan.planner,
        "notes": list(plan.notes),
        "usage": asdict(plan.usage),
        "cost_usd": plan.cost_usd,
    }


def routed(routing: RoutingPlan) -> dict[str, Any]:
    """What `run_routed` holds."""
    return {
        "assignments": dict(routing.assignments),
        "explanations": dict(routing.explanations),
        "strategies": {task_id: strategy_to_dict(one) for task_id, one in routing.strategies.items()},
        "unassigned": dict(routing.unassigned),
        "metadata": dict(routing.metadata),
    }


def validated(validation: ValidationResult) -> dict[str, Any]:
    """What `run_approved` and `run_rejected` hold."""
    return {
        "score": validation.quality_score,
        "issues": [asdict(issue) for issue in validation.issues],
        "estimates": {task_id: asdict(estimate) for task_id, estimate in validation.estimates.items()},
    }
