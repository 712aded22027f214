"""An issue reads as a sentence with its way out."""

from __future__ import annotations

from kapelle.errors import PlanRejected
from kapelle.validation import Issue

LATE = Issue(kind="deadline", severity="error", task_id="a", message="Task 'a' is late.", way_out="Give it time.")


def test_an_issue_says_what_is_wrong_and_the_way_out() -> None:
    assert str(LATE) == "error (deadline): Task 'a' is late. Give it time."


def test_a_rejected_plan_lists_its_issues_readably() -> None:
    assert "  - error (deadline): Task 'a' is late. Give it time." in str(PlanRejected([LATE]))
