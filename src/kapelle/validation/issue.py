"""One finding of the validator: what is wrong, where, and the way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

IssueKind = Literal["solvable", "complete", "redundant", "budget", "deadline", "capacity", "quality", "estimate"]
"""The first three are AOP's criteria (arXiv:2410.02189): solvability, completeness, non-redundancy."""
Severity = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """One finding. An error keeps a plan from running; a warning does not.

    >>> print(Issue(kind="complete", severity="error", message="Task 'a' has no agent.", way_out="Add one."))
    error (complete): Task 'a' has no agent. Add one.
    """

    kind: IssueKind
    severity: Severity
    task_id: str | None = None
    """The task it is about; None where it is about the whole plan."""
    message: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.severity} ({self.kind}): {self.message} {self.way_out}"
