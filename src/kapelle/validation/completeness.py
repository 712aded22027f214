"""Turns what a request names and no task has into notes: only the user knows whether it was left out on purpose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kapelle.planning import TaskText, find_gaps

from .issue import Issue

_NOUN = {"number": "the number ", "date": "the date ", "identifier": "", "name": "the name "}


def find_uncovered(texts: Sequence[TaskText], request: str) -> Iterator[Issue]:
    """Yield a warning for each thing that no task has."""
    for gap in find_gaps(request, texts):
        yield Issue(
            kind="complete",
            severity="warning",
            task_id=gap.nearest,
            message=f"The request names {_NOUN[gap.subject]}{gap.text!r}, and no task does.",
            way_out=f"Say it in task {gap.nearest!r}." if gap.nearest is not None else "Say it in a task.",
        )
