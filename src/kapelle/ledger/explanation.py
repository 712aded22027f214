"""Parts of a run told to a person: how a task was understood, its queries, what it asked, where it failed. Lines of
text; the run as a whole tells itself (see run).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kapelle.graph import render_output

from .question import Question, describe_question
from .task_run import TaskRun, cited_files

_MAX_FILES = 3
"""Named in the line that says how a task was understood."""


def tell_understood(task: TaskRun) -> str:
    """Return in a line how a task was understood, and which files it was answered from."""
    said = " ".join(task.understood.split()).removesuffix(".")
    writer = f" · query by {' '.join(task.sql_by.split())}" if task.sql_by else ""
    unsaid = [file for file in cited_files(task) if file not in said]
    more = f" and {len(unsaid) - _MAX_FILES} more" if len(unsaid) > _MAX_FILES else ""
    return said + (f" · from {', '.join(unsaid[:_MAX_FILES])}{more}" if unsaid else "") + writer


def tell_issue(issue: Mapping[str, Any]) -> str:
    """Tell a finding about the plan."""
    place = f"{issue['task_id']}: " if issue.get("task_id") else ""
    return f"{issue['severity']}: {place}{issue['message']} {issue['way_out']}"


def tell_tracebacks(task: TaskRun) -> Iterator[str]:
    """Tell where the attempts at a task failed that raised an error."""
    for attempt in task.attempts or (task,):
        if attempt.traceback is not None:
            yield f"\nWhere {attempt.agent} failed at {task.task_id}:"
            yield from (f"  {line}" for line in attempt.traceback.splitlines())


def tell_query(name: str, sql: str) -> Iterator[str]:
    """A query keeps its lines: one joined to a comment would be another query."""
    first, *others = sql.strip().splitlines() or [""]
    yield f"        {name}: {first}"
    yield from (f"          {line}" for line in others)


def tell_question(question: Question) -> Iterator[str]:
    """Tell what a task asked, and what was answered."""
    who = f" by {question.asker}" if question.asker else ""
    first, *more = describe_question(question)
    yield f"        asked{who} ({question.question_id}): {first}"
    yield from (f"        {line}" for line in more)
    if question.is_open:
        yield "        not answered yet"
        return
    said = {True: "approved", False: "rejected"}.get(question.answer) if question.kind == "approval" else None
    note = f" ({question.note})" if question.note else ""
    yield f"        answered: {said or render_output(question.answer)}{note}"
