"""Turns what a request names and no task covers into issues, each with the edit that brings it back into the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kapelle.graph import Task

from .coverage import TaskText, find_gaps
from .coverage.check import Gap
from .coverage.reading import read_task
from .edit import Edit
from .goal import free_id
from .issue import Issue
from .schemas import ToolSignature

_NOUN = {"number": "the number", "date": "the date", "identifier": "", "demand": "the part", "name": "the name"}


def find_uncovered(texts: Sequence[TaskText], request: str, tools: Mapping[str, ToolSignature]) -> Iterator[Issue]:
    """Yield what no task covers: errors where that is sure, else warnings."""
    tasks = [text.task for text in texts]
    for gap in find_gaps(request, texts):
        what = f"{_NOUN.get(gap.subject, f'the {gap.subject}')} {gap.text!r}".strip()
        yield Issue(
            kind="complete",
            severity="error" if gap.is_sure else "warning",
            task_id=gap.nearest,
            message=f"The request names {what}, and no task does.",
            way_out=(
                f"Say it in task {gap.nearest!r}." if gap.nearest is not None else "Add a task, or say it in one."
            ),
            edit=_edit_for(gap, tasks, tools, texts) if gap.is_sure else None,
        )


def _edit_for(
    gap: Gap, tasks: Sequence[Task], tools: Mapping[str, ToolSignature], texts: Sequence[TaskText]
) -> Edit | None:
    if gap.subject == "demand":
        return _add_task(gap, tasks, tools)
    nearest = gap.nearest or _most_like(gap, texts)
    task = next((task for task in tasks if task.task_id == nearest), None)
    if task is None:
        return None
    said = task.description.rstrip()
    joined = f"{said}{'' if said.endswith(('.', '!', '?')) or not said else '.'} As requested: {gap.clause}".strip()
    return Edit.of(
        f"Tell {task.task_id!r} what the request says about {gap.text!r}.",
        {task.task_id: [replace(task, description=joined)]},
    )


def _most_like(gap: Gap, texts: Sequence[TaskText]) -> str | None:
    stems = read_task(Task(task_id="x", task_type="x", description=gap.clause)).own
    best = max(sorted(texts, key=lambda text: text.task.task_id), key=lambda text: len(stems & text.own), default=None)
    return best.task.task_id if best is not None else None


def _add_task(gap: Gap, tasks: Sequence[Task], tools: Mapping[str, ToolSignature]) -> Edit:
    kinds = [task.task_type for task in tasks]
    kind = max(sorted(set(kinds)), key=kinds.count)
    if tools:
        words = read_task(Task(task_id="x", task_type="x", description=gap.text)).own
        best = max(
            sorted(tools.values(), key=lambda tool: tool.name),
            key=lambda tool: len(words & read_task(Task(task_id="x", task_type="x", description=tool.words)).own),
        )
        kind = best.name
    new = Task(task_id=free_id("added", {task.task_id for task in tasks}), task_type=kind, description=gap.text)
    return Edit.of(f"Add a task for {gap.text!r}.", add=[new])
