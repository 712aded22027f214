"""A request as it would be run. Only a value: whoever runs it has it validated once more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from kapelle.allocation import PlanEstimates
from kapelle.errors import PlanRejected
from kapelle.limits import RunLimits
from kapelle.planning import Plan
from kapelle.routing import RoutedPlan
from kapelle.validation import ApprovedPlan, ValidationResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """A request as it would be run: the plan, who would do what, and what the validator says. Nothing has run."""

    plan: Plan
    routing: RoutedPlan
    validation: ValidationResult
    limits: RunLimits = field(default_factory=RunLimits)
    """What it was validated for; a run of it is held to that where it is given no limits of its own."""
    estimates: PlanEstimates | None = None
    """What it was made by."""

    def __repr__(self) -> str:
        return f"<Proposal: {len(self.plan.graph)} tasks, {self.validation!r}>"

    @property
    def lower_bound_usd(self) -> float | None:
        """What no other assignment of its tasks within the limits costs less than, as the cost optimiser proved; None
        where it did not choose the agents."""
        details = self.routing.figures.optimization_details
        if not isinstance(details, Mapping) or details.get("status") not in ("optimal", "feasible"):
            return None
        bound = details.get("lower_bound")
        return float(bound) if isinstance(bound, (int, float)) and math.isfinite(bound) else None

    @property
    def gap(self) -> float | None:
        """What share of its cost may be saved at most by another assignment within the limits; None as above."""
        bound, cost = self.lower_bound_usd, self.validation.estimated_cost
        if bound is None:
            return None
        return max(0.0, cost - bound) / cost if cost > 0 else 0.0

    @property
    def approved(self) -> ApprovedPlan:
        """What may run.

        Raises:
            PlanRejected: the plan was refused.
        """
        if self.validation.approved is None:
            raise PlanRejected(self.validation.errors)
        return self.validation.approved
