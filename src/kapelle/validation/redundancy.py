"""Tasks that do the same work twice, word for word or nearly so."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kapelle.errors import InvalidGraph
from kapelle.graph import Task
from kapelle.language import stem, stems_of, word_set
from kapelle.planning import TaskText, read_task

from .edit import Edit, redirect
from .issue import Issue, Severity

ALIKE = 0.85
"""Share of stems (Jaccard) above which two descriptions with the same numbers, names and edges say the same."""
MAX_COMPARED = 60
"""Tasks of one type, inputs and numbers that each is compared with; more alike ones are compared with the last."""

_FINDING = frozenset(
    map(stem, word_set("find get retrieve fetch obtain search look lookup query locate collect gather"))
)
_FILLING = frozenset(map(stem, word_set("please kindly again also then now just up simply carefully once more")))
_QUOTED = re.compile(r"(?<!\w)['\"“‘]([^'\"”’]{1,80})['\"”’](?!\w)")
_NAME = re.compile(r"['\"“‘]([^'\"”’]{1,80})['\"”’]|(?<=[a-z,] )([A-Z][\w-]*)")


def find_twins(tasks: Iterable[Task]) -> Iterator[tuple[Task, Task, float]]:
    """Yield (task, an earlier one that it repeats, how alike they are), each task once.

    The same type, inputs, requirements and dependencies are the same work unless the descriptions tell them apart. One
    without a description is not told apart if there are inputs to say what it is about.
    """
    groups: dict[tuple[object, ...], list[Task]] = defaultdict(list)
    for task in tasks:
        inputs = json.dumps(_plain_inputs(task.inputs), sort_keys=True)
        groups[(task.task_type, inputs, task.requirements, frozenset(task.dependencies))].append(task)
    for group in groups.values():
        if len(group) < 2:
            continue
        kept: list[tuple[Task, TaskText]] = []
        for task in group:
            text = read_task(task)
            alike = [(_likeness(task, text, other, words), other) for other, words in kept[-MAX_COMPARED:]]
            most, twin = max(alike, key=lambda pair: pair[0], default=(0.0, task))
            if most >= ALIKE:
                yield task, twin, most
            if most < 1.0:
                kept.append((task, text))


def find_redundant(tasks: Sequence[Task], *, severity: Severity = "warning") -> Iterator[Issue]:
    """Yield tasks that repeat another, each with the edit that removes it."""
    waiting: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        for other in task.dependencies:
            waiting[other].append(task)
    for task, twin, likeness in find_twins(tasks):
        yield Issue(
            kind="redundant",
            severity=severity if likeness == 1.0 else "warning",
            task_id=task.task_id,
            message=f"Task {task.task_id!r} does the same as {twin.task_id!r}: same type, inputs and dependencies.",
            way_out=f"Let what waits for {task.task_id!r} use {twin.task_id!r}, and remove {task.task_id!r}.",
            edit=merge_edit(task, twin, waiting[task.task_id]),
        )


def merge_edit(task: Task, twin: Task, waiting: Iterable[Task]) -> Edit | None:
    """Return the edit that lets one task do another's work too; None where that one needs its output itself.

    `waiting` are the tasks that wait for the task that goes.
    """
    changes: dict[str, Sequence[Task]] = {task.task_id: ()}
    try:
        for other in waiting:
            if other.task_id != task.task_id:
                changes[other.task_id] = [redirect(other, {task.task_id: twin.task_id})]
    except InvalidGraph:
        return None
    return Edit.of(f"Remove {task.task_id!r}, and let {twin.task_id!r} do its work.", changes)


def _plain_inputs(value: Any) -> Any:
    """Return inputs without what tells no two apart: case, spaces, a mark at the end."""
    if isinstance(value, str):
        return " ".join(value.casefold().split()).rstrip(" .?!")
    if isinstance(value, Mapping):
        return {key: _plain_inputs(item) for key, item in value.items()}
    return [_plain_inputs(item) for item in value] if isinstance(value, list) else value


def _likeness(task: Task, mine: TaskText, other: Task, theirs: TaskText) -> float:
    """Return how much of what two tasks say is the same: 1.0 where nothing but fillers differs."""
    if task.description.casefold().split() == other.description.casefold().split():
        return 1.0
    if not (task.description.split() and other.description.split()):
        return 1.0 if task.inputs else 0.0
    ours, others = _essence(task.description), _essence(other.description)
    if mine.quantities != theirs.quantities or not ours or not others:
        return 0.0
    if _QUOTED.findall(task.description.casefold()) != _QUOTED.findall(other.description.casefold()):
        return 0.0
    names = _name_stems(task.description) | _name_stems(other.description)
    return 0.0 if names & (ours ^ others) else len(ours & others) / len(ours | others)


def _essence(text: str) -> frozenset[str]:
    """Return the stems that say what a task is about; that something is to be found out goes without saying."""
    return stems_of(text) - _FILLING - _FINDING


def _name_stems(text: str) -> frozenset[str]:
    return stems_of(" ".join(quoted or name for quoted, name in _NAME.findall(text)))
