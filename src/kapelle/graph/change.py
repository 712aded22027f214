"""The difference between two versions of a graph as plain values, so that a journal holds what is new and no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kapelle.errors import InvalidGraph

from .dag import TaskDAG
from .task import Task


def describe_change(old: TaskDAG, new: TaskDAG) -> dict[str, Any]:
    """Return what `apply_change` needs to make `new` of `old`.

    >>> old = TaskDAG([Task(task_id="a", task_type="x"), Task(task_id="b", task_type="x", depends_on=("a",))])
    >>> parts = [Task(task_id="a1", task_type="x"), Task(task_id="b", task_type="x", depends_on=("a1",))]
    >>> new = TaskDAG(parts, version=2)
    >>> change = describe_change(old, new)
    >>> change["removed"], [task["task_id"] for task in change["tasks"]]
    (['a'], ['a1', 'b'])
    >>> apply_change(old, change) == new
    True
    """
    kept = old.tasks
    return {
        "version": new.version,
        "removed": [task_id for task_id in kept if task_id not in new],
        "tasks": [task.to_dict() for task in new if kept.get(task.task_id) != task],
    }


def apply_change(old: TaskDAG, change: Mapping[str, Any]) -> TaskDAG:
    """Return the new version of a graph. New tasks stand where the first removed one stood, else at the end.

    Raises:
        InvalidGraph: the change is malformed, does not fit the graph, or leaves no graph.
    """
    removed, given, version = change.get("removed"), change.get("tasks"), change.get("version")
    if not (isinstance(removed, list) and isinstance(given, list) and isinstance(version, int)):
        raise InvalidGraph("A change of a graph has a version, and lists of removed ids and of tasks.")
    tasks = {task.task_id: task for task in map(Task.from_dict, given)}
    added = [task for task_id, task in tasks.items() if task_id not in old]
    after: list[Task] = []
    for task in old:
        if task.task_id in removed:
            after += added
            added = []
        else:
            after.append(tasks.get(task.task_id, task))
    return TaskDAG([*after, *added], version=version)
