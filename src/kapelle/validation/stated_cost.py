"""What a plan is said to cost by whoever optimised it, held against what our estimates sum to. Estimates nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kapelle.routing import RoutedPlan

from .issue import Issue

AGREEMENT = 0.01
"""How far, relatively, an optimiser's figure may lie from the sum of our estimates before it is worth a warning."""


def settle_cost(plan: RoutedPlan, summed: float, *, is_known: bool) -> tuple[float, tuple[Issue, ...]]:
    """Return the cost to hold against the budget: the sum of our estimates, or the optimiser's figure.

    Args:
        summed: Dollars, by our estimates.
        is_known: Whether these come from a profiler; without one an optimiser that fits the plan is believed.
    """
    stated = plan.figures.estimated_cost
    if stated is None:
        return summed, ()
    fault = _why_inconsistent(plan, stated)
    if fault is None and not is_known:
        return float(stated), ()
    if fault is None and not math.isclose(stated, summed, rel_tol=AGREEMENT, abs_tol=1e-9):
        fault = f"is ${stated:.4g}, but the estimates of its tasks sum to ${summed:.4g}"
    if fault is None:
        return summed, ()
    doubt = Issue(
        kind="estimate",
        severity="warning",
        message=f"The optimiser's estimated_cost {fault}; ${summed:.4g} is used.",
        way_out="Optimise the plan again after changing it, with the profiler that the validator has.",
    )
    return summed, (doubt,)


def _why_inconsistent(plan: RoutedPlan, stated: Any) -> str | None:
    """Return what does not fit between the optimiser's figures and the plan, as the end of `estimated_cost ...`."""
    if isinstance(stated, bool) or not isinstance(stated, (int, float)) or not math.isfinite(stated) or stated < 0:
        return f"is {stated!r}, which is no amount"
    details = plan.figures.optimization_details
    workload = details.get("agent_workload") if isinstance(details, Mapping) else None
    if isinstance(workload, Mapping) and {agent: n for agent, n in workload.items() if n} != plan.workload:
        return "was made for other assignments"
    return None
