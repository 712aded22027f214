"""What a run's events hold of the values that its stages make: plain JSON, written here and read in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kapelle.estimates import estimates_to_dict
from kapelle.graph import read_json_value
from kapelle.planning import Plan
from kapelle.routing import RoutedPlan
from kapelle.strategies import strategy_to_dict
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


def routed(routing: RoutedPlan) -> dict[str, Any]:
    """What `run_routed` holds."""
    return {
        "assignments": dict(routing.assignments),
        "explanations": dict(routing.explanations),
        "strategies": {task_id: strategy_to_dict(one) for task_id, one in routing.strategies.items()},
        "unassigned": dict(routing.unassigned),
        "metadata": _told(routing.metadata),
    }


def validated(validation: ValidationResult) -> dict[str, Any]:
    """What `run_approved` and `run_rejected` hold."""
    return {
        "score": validation.quality_score,
        "issues": [_plain(asdict(issue)) for issue in validation.issues],
        "estimates": estimates_to_dict(validation.estimates),
    }


def _told(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a plan says besides as JSON: what somebody's router or optimiser says may be anything."""
    told: dict[str, Any] = {}
    for name, value in metadata.items():
        try:
            told[str(name)] = read_json_value(value)
        except Exception:  # its own code runs here
            told[str(name)] = f"a {type(value).__name__}"
    return told


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back: a run that has just ended is the same value as one that is read."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
