"""What the validator found in a plan, and the approved plan where it found no error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from kapelle.estimates import Estimate

from .approved import ApprovedPlan
from .issue import Issue


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationResult:
    """What the validator found. A plan that passed has no errors, and is in `approved`."""

    passed: bool
    issues: tuple[Issue, ...] = ()
    """Errors first, then warnings."""
    quality_score: float = 0.0
    """The score in 0..1; higher is better."""
    estimated_cost: float = 0.0
    """Dollars for all tasks."""
    estimated_time: float = 0.0
    """Seconds along the critical path."""
    approved: ApprovedPlan | None = None
    """What may run; None if the plan did not pass."""
    estimates: Mapping[str, Estimate] = field(default_factory=lambda: MappingProxyType({}))
    """What each task is expected to take, for those whose agent can do them."""
    detection_cost_usd: float = 0.0
    """Dollars that a model took to look for faults."""

    @property
    def errors(self) -> tuple[Issue, ...]:
        """The findings that keep the plan from running."""
        return tuple(issue for issue in self.issues if issue.severity == "error")

    @property
    def warnings(self) -> tuple[Issue, ...]:
        """The findings that do not."""
        return tuple(issue for issue in self.issues if issue.severity == "warning")
