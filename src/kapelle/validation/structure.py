"""What keeps tasks from being a graph, or edges from being meant: ids, dangling edges, cycles, the wrong way round.

Works on tasks that no `TaskDAG` would take. Where an author lists tasks in the order in which they are to be done
(`in_order`, as models and people do in plans), an edge to a task that is listed later stands the wrong way round.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kapelle.errors import CycleFound, InvalidGraph
from kapelle.graph import Task, TaskDAG, find_references

from .edit import Edit, redirect
from .issue import Issue
from .schemas import gives

if TYPE_CHECKING:
    from kapelle.models import ToolDefinition

MAX_SAID = 2_000
"""Characters of a task's description that we write ourselves."""
MAX_FAULTS = 50
"""Faults of one kind that are listed: a file that was cut off in the middle has thousands."""


def find_structure_faults(
    tasks: Sequence[Task],
    *,
    request: str | None = None,
    in_order: bool = False,
    tools: Mapping[str, ToolDefinition] | None = None,
) -> Iterator[Issue]:
    """Yield what is wrong with ids and edges; a `TaskDAG` has at most edges the wrong way round."""
    yield from _repeated_ids(tasks)
    first: dict[str, Task] = {}
    for task in tasks:
        first.setdefault(task.task_id, task)
    position = {task_id: number for number, task_id in enumerate(first)}
    yield from _limited(_dangling(first, position, in_order, tools or {}, request))
    in_cycles: set[tuple[str, str]] = set()
    yield from _cycles(first, position, in_order, in_cycles)
    if in_order:
        yield from _limited(_backward(first, position, in_cycles))


def _limited(issues: Iterator[Issue]) -> Iterator[Issue]:
    for number, issue in enumerate(issues):
        if number == MAX_FAULTS:
            return
        yield issue


def _repeated_ids(tasks: Sequence[Task]) -> Iterator[Issue]:
    counts = Counter(task.task_id for task in tasks)
    for task_id in [one for one, count in counts.items() if count > 1][:MAX_FAULTS]:
        alike = [task for task in tasks if task.task_id == task_id]
        different = list(dict.fromkeys(task_key(task) for task in alike))
        kept = [next(task for task in alike if task_key(task) == key) for key in different]
        renamed = kept[:1]
        for task in kept[1:]:
            name = free_id(task_id, counts)
            counts[name] += 1
            renamed.append(replace(task, task_id=name))
        yield Issue(
            kind="structure",
            severity="error",
            task_id=task_id,
            message=f"{len(alike)} tasks have the id {task_id!r}.",
            way_out="Rename them, and what refers to them.",
            edit=Edit.of(f"Keep one {task_id!r}, and give what differs an id of its own.", {task_id: renamed}),
        )


def task_key(task: Task) -> str:
    """Return a task as a text that is equal for equal tasks."""
    return repr(task.to_dict())


def free_id(wish: str, taken: Collection[str]) -> str:
    """Return the wish, or the wish with a number, so that it is no id there is."""
    if wish not in taken:
        return wish
    return next(name for number in itertools.count(2) if (name := f"{wish[:120]}-{number}") not in taken)


def _dangling(
    tasks: Mapping[str, Task],
    position: Mapping[str, int],
    in_order: bool,
    tools: Mapping[str, ToolDefinition],
    request: str | None,
) -> Iterator[Issue]:
    supplied: set[str] = set()
    used = Counter(other for task in tasks.values() for other in task.dependencies)
    for task in tasks.values():
        for missing in [other for other in task.dependencies if other not in tasks]:
            is_data = missing in task.references
            here = position[task.task_id]
            others = [
                other
                for other in tasks
                if other != task.task_id
                and other not in task.dependencies
                and (position[other] < here if in_order else not _waits_for(other, task.task_id, tasks))
            ]
            found = _meant_task(task, missing, others, used, tools, tasks) if is_data or others else None
            edit = None
            if found is not None:
                used[found] += 1
                edit = Edit.of(
                    f"Let {task.task_id!r} take from {found!r} what it wants from {missing!r}, which is not there.",
                    {task.task_id: [redirect(task, {missing: found})]},
                )
            elif not is_data:
                edit = Edit.of(
                    f"Let {task.task_id!r} wait no longer for {missing!r}, which is not there.",
                    {task.task_id: [redirect(task, {missing: None})]},
                )
            elif request and task.task_type not in tools and missing not in supplied and valid_id(missing):
                supplied.add(missing)
                edit = _supply(task, missing, tasks, request)
            yield Issue(
                kind="structure",
                severity="error",
                task_id=task.task_id,
                message=(
                    f"Task {task.task_id!r} {'needs the output of' if is_data else 'waits for'} {missing!r}, "
                    "which is not there."
                ),
                way_out=f"Add {missing!r}, or correct the reference." if found is None else f"Did you mean {found!r}?",
                edit=edit,
            )


def _supply(task: Task, missing: str, tasks: Mapping[str, Task], request: str) -> Edit:
    """Return the edit that adds the task that is missing, as far as what needs it and the request tell."""
    wanted = "; ".join(value for value in task.inputs.values() if isinstance(value, str)) or task.description
    said = f"Find out what {missing} stands for in: {wanted} (asked for: {request.strip()})"
    new = Task(task_id=missing, task_type=task.task_type, description=said[:MAX_SAID])
    changes = {
        first.task_id: (new, first) for first in list(tasks.values())[:1]
    }  # before all others: it waits for none
    return Edit.of(f"Add {missing!r}, which {task.task_id!r} needs.", changes)


def valid_id(name: str) -> bool:
    """Whether a name that something refers to can be a task's id."""
    try:
        Task(task_id=name, task_type="x")
    except InvalidGraph:
        return False
    return True


def _meant_task(
    task: Task,
    missing: str,
    others: Sequence[str],
    used: Counter[str],
    tools: Mapping[str, ToolDefinition],
    tasks: Mapping[str, Task],
) -> str | None:
    """Return the one task that a dangling reference can mean; None where there are several or none."""
    parts = [
        step
        for reference in find_references(task.inputs)
        if reference.task_id == missing
        for step in reference.path[:1]
        if isinstance(step, str)
    ]
    if parts and tools:
        giving = [
            other
            for other in others
            if (tool := tools.get(tasks[other].task_type)) is not None and all(gives(tool, part) for part in parts)
        ]
        if giving:
            idle = [other for other in giving if not used[other]]
            return (idle or giving)[-1]
    idle = [other for other in others if not used[other]]
    if len(idle) == 1:
        return idle[0]
    from difflib import get_close_matches  # only plans with a fault pay for it

    close = get_close_matches(missing, [one for one in others if len(missing) > 3], n=2, cutoff=0.85)
    if len(close) == 1:
        return close[0]
    return idle[-1] if idle else None


def _waits_for(task_id: str, target: str, tasks: Mapping[str, Task]) -> bool:
    stack, seen = [task_id], set[str]()
    while stack:
        one = stack.pop()
        if one == target:
            return True
        if one in tasks and one not in seen:
            seen.add(one)
            stack += tasks[one].dependencies
    return False


def _cycles(
    tasks: Mapping[str, Task], position: Mapping[str, int], in_order: bool, cut: set[tuple[str, str]]
) -> Iterator[Issue]:
    edges = {task_id: [other for other in task.dependencies if other in tasks] for task_id, task in tasks.items()}
    for _ in range(MAX_FAULTS):
        cycle = _find_cycle(edges)
        if cycle is None:
            return
        pairs = list(zip(cycle, (*cycle[1:], cycle[0]), strict=True))  # the second waits for the first
        bare = [(before, after) for before, after in pairs if before not in tasks[after].references]
        wrong = [(before, after) for before, after in pairs if position[before] > position[after]]
        choice = next(iter([pair for pair in wrong if pair in bare] if in_order else bare), bare[0] if bare else None)
        edit = None
        if choice is not None:
            before, after = choice
            edit = Edit.of(
                f"Let {after!r} wait no longer for {before!r}: it takes nothing from it, and they wait for each other.",
                {after: [redirect(tasks[after], {before: None})]},
            )
        yield Issue(
            kind="structure",
            severity="error",
            task_id=choice[1] if choice is not None else cycle[0],
            message=str(CycleFound(cycle)).removesuffix(" Remove one of these edges."),
            way_out="Remove one of these edges."
            if choice is None
            else f"Let {choice[1]!r} not wait for {choice[0]!r}.",
            edit=edit,
        )
        before, after = choice or pairs[0]
        cut.update(pairs)
        edges[after] = [other for other in edges[after] if other != before]


def _find_cycle(edges: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    try:
        TaskDAG(Task(task_id=task_id, task_type="x", depends_on=tuple(others)) for task_id, others in edges.items())
    except CycleFound as error:
        return error.tasks
    return None


def _backward(
    tasks: Mapping[str, Task], position: Mapping[str, int], in_cycles: set[tuple[str, str]]
) -> Iterator[Issue]:
    for task in tasks.values():
        for other in task.dependencies:
            if position.get(other, -1) <= position[task.task_id] or (other, task.task_id) in in_cycles:
                continue
            is_data = other in task.references
            yield Issue(
                kind="structure",
                severity="error",
                task_id=task.task_id,
                message=(
                    f"Task {task.task_id!r} {'needs the output of' if is_data else 'waits for'} {other!r}, "
                    "which is listed after it."
                ),
                way_out=f"Let {other!r} wait for {task.task_id!r}, or list it first.",
                edit=None if is_data else _turned_round(task, tasks[other]),
            )


def _turned_round(task: Task, other: Task) -> Edit | None:
    try:
        return Edit.of(
            f"Let {other.task_id!r} wait for {task.task_id!r}, instead of the other way round.",
            {
                task.task_id: [redirect(task, {other.task_id: None})],
                other.task_id: [replace(other, depends_on=(*other.depends_on, task.task_id))],
            },
        )
    except InvalidGraph:
        return None
