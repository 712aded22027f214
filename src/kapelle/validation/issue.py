"""One finding of the validator: what is wrong, where, the way out, and, where one is known, the edit that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .edit import Edit

IssueKind = Literal[
    "solvable",
    "complete",
    "redundant",
    "structure",
    "schema",
    "goal",
    "budget",
    "deadline",
    "capacity",
    "quality",
    "estimate",
    "size",
]
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
    edit: Edit | None = None
    """A change that is expected to mend it; None where only a person or a planner can."""

    def __str__(self) -> str:
        return f"{self.severity} ({self.kind}): {self.message} {self.way_out}"
