"""The edit that moves tasks to other agents so that a plan keeps its limits. Finds it; applies nothing: see repair."""

from __future__ import annotations

from dataclasses import replace

from kapelle.allocation import DAAOOptimizer, OptimizationConstraints
from kapelle.errors import KapelleError

from .case import Case
from .edit import Edit

_SOLVER_S = 1.0
"""For the assignment that would keep the limits, asked for only when a plan breaks one."""


async def reassign_within(case: Case) -> Edit | None:
    """Return the edit that moves tasks to other agents so that all limits hold together; None where none does.

    The quality that nobody asked for gives way only where the limits cannot be kept with it.
    """
    optimizer = DAAOOptimizer(case.estimates.profiler, case.staff, time_limit_s=_SOLVER_S)
    estimates = case.estimates.among(case.staff)
    asked = case.limits.min_quality
    for quality in (asked,) if asked is not None else (None, 0.0):
        constraints = OptimizationConstraints.of(replace(case.limits, min_quality=quality))
        assigned = {task: agent for task, agent in case.plan.assignments.items() if task in case.expected}
        try:
            found = await optimizer.optimize_routing_plan(assigned, case.dag, constraints, estimates=estimates)
        except (
            KapelleError
        ):  # agents that only an assignment names, and the like: what is wrong is said by other issues
            return None
        moved = {task: agent for task, agent in found.assignments.items() if agent != assigned[task]}
        if moved and found.optimization_details.get("status") in ("optimal", "feasible"):
            return Edit(
                summary=(
                    f"Give {len(moved)} task{'s' if len(moved) > 1 else ''} to other agents: the plan is then expected "
                    f"to cost ${found.estimated_cost:.4g} and take {found.estimated_time:.4g} s."
                ),
                assign=moved,
            )
    return None
