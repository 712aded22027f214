"""Tasks that do the same work twice, word for word or nearly so."""

from __future__ import annotations

import json
import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any

from kapelle.errors import InvalidGraph
from kapelle.graph import Task
from kapelle.language import stem, stems_of, word_set
from kapelle.planning import Quantities, read_quantities

from .edit import Edit, redirect
from .issue import Issue, Severity

ALIKE = 0.85
"""Share of stems (Jaccard) above which two descriptions with the same numbers, names and edges say the same."""
MAX_COMPARED = 60
"""Tasks of one type, inputs and numbers that each is compared with; more alike ones are compared with the last. Those
that say the same word for word are found however many there are."""

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
        inputs = json.dumps(_plain_inputs(task.inputs), sort_keys=True) if task.inputs else ""
        groups[(task.task_type, inputs, task.requirements, frozenset(task.dependencies))].append(task)
    for group in groups.values():
        if len(group) > 1:
            yield from _twins_among(group)


def _twins_among(group: Sequence[Task]) -> Iterator[tuple[Task, Task, float]]:
    """Yield the twins among tasks of which nothing but the descriptions differs."""
    same: dict[tuple[str, ...], Task] = {}
    alike: dict[Quantities, deque[_Said]] = defaultdict(lambda: deque(maxlen=MAX_COMPARED))
    """By their numbers, as tasks with other ones are told apart by these."""
    for task in group:
        words = tuple(task.description.casefold().split())
        twin, most = same.get(words), 1.0
        if twin is None and task.inputs and not (words and () not in same):
            twin = next(iter(same.values()), None)  # one of the two says nothing, and the inputs say what it is about
        if twin is None:
            said, near = _Said(task), alike[read_quantities(task)]
            most, twin = max(((said.likeness(one), one.task) for one in near), key=itemgetter(0), default=(0.0, task))
            if most < 1.0:
                near.append(said)
        if most < 1.0:
            same[words] = task
        if most >= ALIKE:
            yield task, twin, most


def find_redundant(tasks: Sequence[Task], *, severity: Severity = "warning") -> Iterator[Issue]:
    """Yield tasks that repeat another, each with the edit that removes it."""
    twins = list(find_twins(tasks))
    gone = {task.task_id for task, _, _ in twins}
    waiting: dict[str, list[Task]] = defaultdict(list)
    for task in tasks if gone else ():
        for other in gone.intersection(task.dependencies):
            waiting[other].append(task)
    for task, twin, likeness in twins:
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


class _Said:
    """What a task says, in the form that it is compared in: worked out where it is compared at all."""

    def __init__(self, task: Task) -> None:
        self.task = task

    @cached_property
    def essence(self) -> frozenset[str]:
        return _essence(self.task.description)

    @cached_property
    def quoted(self) -> tuple[str, ...]:
        return tuple(_QUOTED.findall(self.task.description.casefold()))

    @cached_property
    def names(self) -> frozenset[str]:
        return _name_stems(self.task.description)

    def likeness(self, other: _Said) -> float:
        """Return how much of what two tasks with the same numbers say is the same: 1.0 where only fillers differ."""
        if not self.essence or not other.essence or self.quoted != other.quoted:
            return 0.0
        if (self.names | other.names) & (self.essence ^ other.essence):
            return 0.0
        return len(self.essence & other.essence) / len(self.essence | other.essence)


def _essence(text: str) -> frozenset[str]:
    """Return the stems that say what a task is about; that something is to be found out goes without saying."""
    return stems_of(text) - _FILLING - _FINDING


def _name_stems(text: str) -> frozenset[str]:
    return stems_of(" ".join(quoted or name for quoted, name in _NAME.findall(text)))
