"""Tasks that do the same work twice, word for word or nearly so."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kapelle.errors import InvalidGraph
from kapelle.graph import Task
from kapelle.knowledge import word_set

from .coverage.reading import TaskText, read_task, stem_of, stems_of
from .edit import Edit, redirect
from .issue import Issue, Severity

ALIKE = 0.85
"""Share of stems (Jaccard) above which two descriptions with the same numbers, names and edges say the same."""
MOST_COMPARED = 60
"""Tasks of one type, inputs and numbers that each is compared with; more alike ones are compared with the last."""

_FINDING = frozenset(
    map(stem_of, word_set("find get retrieve fetch obtain search look lookup query locate collect gather"))
)
_FILLING = frozenset(map(stem_of, word_set("please kindly again also then now just simply carefully once more")))
_ORDER = re.compile(r"[^\W_]+|…")


def find_twins(tasks: Iterable[Task]) -> Iterator[tuple[Task, Task]]:
    """Yield (task, the earlier one that it repeats), each task once; earlier means by id, so that order is no matter.

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
            twin = next(
                (other for other, words in kept[-MOST_COMPARED:] if _says_the_same(task, text, other, words)), None
            )
            if twin is None:
                kept.append((task, text))
            else:
                yield task, twin


def find_redundant(tasks: Sequence[Task], *, severity: Severity = "warning") -> Iterator[Issue]:
    """Yield tasks that repeat another, each with the edit that removes it."""
    for task, twin in find_twins(tasks):
        yield Issue(
            kind="redundant",
            severity=severity,
            task_id=task.task_id,
            message=f"Task {task.task_id!r} does the same as {twin.task_id!r}: same type, inputs and dependencies.",
            way_out=f"Let what waits for {task.task_id!r} use {twin.task_id!r}, and remove {task.task_id!r}.",
            edit=_merge(task, twin, tasks),
        )


def _merge(task: Task, twin: Task, tasks: Sequence[Task]) -> Edit | None:
    changes: dict[str, Sequence[Task]] = {task.task_id: ()}
    try:
        for other in tasks:
            if task.task_id in other.dependencies and other.task_id != task.task_id:
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


def _says_the_same(task: Task, mine: TaskText, other: Task, theirs: TaskText) -> bool:
    if task.description.casefold().split() == other.description.casefold().split():
        return True
    if not (task.description.split() and other.description.split()):
        return bool(task.inputs)
    if mine.quantities != theirs.quantities or _names(task.description) != _names(other.description):
        return False
    ours, others = _essence(task.description), _essence(other.description)
    if not ours or not others:
        return False
    common = len(ours & others)
    return common >= ALIKE * len(ours | others)


def _essence(text: str) -> frozenset[str]:
    stems = stems_of(text) - _FILLING
    return stems - _FINDING | {"find"} if stems & _FINDING else stems


_NAME: Callable[[str], list[str]] = re.compile(r"['\"“‘]([^'\"”’]{1,80})['\"”’]|(?<=[a-z,] )([A-Z][\w-]*)").findall  # type: ignore[assignment]


def _names(text: str) -> frozenset[object]:
    return frozenset(_NAME(text))
