"""A request as it would be run. Only a value: whoever runs it has it validated once more."""

from __future__ import annotations

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
    def approved(self) -> ApprovedPlan:
        """What may run.

        Raises:
            PlanRejected: the plan was refused.
        """
        if self.validation.approved is None:
            raise PlanRejected(self.validation.errors)
        return self.validation.approved
