"""A change to a plan, as a value that can be written down: tasks in the place of tasks, other agents for tasks.

An edit holds plain values, because it is recorded with its issue. It is complete in itself: where it takes a task away,
it also holds the tasks that referred to that one, as they are to be afterwards. It says nothing of whether it helps:
`repair` applies it to a copy and validates that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from kapelle.errors import InvalidGraph
from kapelle.graph import GraphPatch, Reference, Task, replace_references


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """One change to a plan.

    >>> edit = Edit.of("Let 'a' search first.", {"a": [Task(task_id="a", task_type="search")]})
    >>> edit.changes
    {'a': ({'task_id': 'a', 'task_type': 'search'},)}
    """

    summary: str
    """What it does, as a sentence for people."""
    changes: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    """Task id to the tasks that take its place (`Task.to_dict`): none removes it, several split it."""
    add: tuple[dict[str, Any], ...] = ()
    """New tasks."""
    assign: dict[str, str] = field(default_factory=dict)
    """Task id to the agent that is to do it instead."""
    unassign: tuple[str, ...] = ()
    """Tasks whose assignment goes."""

    @classmethod
    def of(
        cls,
        summary: str,
        changes: Mapping[str, Iterable[Task]] | None = None,
        *,
        add: Iterable[Task] = (),
    ) -> Self:
        """Return the edit that makes these changes."""
        return cls(
            summary=summary,
            changes={task_id: tuple(task.to_dict() for task in tasks) for task_id, tasks in (changes or {}).items()},
            add=tuple(task.to_dict() for task in add),
        )

    @property
    def touched(self) -> frozenset[str]:
        """The tasks that it changes or gives to another agent."""
        return frozenset((*self.changes, *self.assign, *self.unassign))

    @property
    def patch(self) -> GraphPatch | None:
        """The change to the graph; None where only agents change.

        Raises:
            InvalidGraph: the edit was read from outside and its tasks are malformed.
        """
        if not self.changes and not self.add:
            return None
        removed, replaced, added = [], [], [Task.from_dict(values) for values in self.add]
        for task_id, values in self.changes.items():
            tasks = [Task.from_dict(one) for one in values]
            same = [task for task in tasks if task.task_id == task_id]
            replaced += same
            added += [task for task in tasks if task.task_id != task_id]
            if not same:
                removed.append(task_id)
        return GraphPatch(add=tuple(added), remove=tuple(removed), replace=tuple(replaced))

    def applied_to(self, tasks: Sequence[Task], *, finished: Collection[str] = ()) -> tuple[Task, ...]:
        """Return the tasks with the change made, each in its place; they need not be a graph before or after.

        Raises:
            InvalidGraph: it touches a finished or absent task.
        """
        ids = {task.task_id for task in tasks}
        if wrong := sorted(task_id for task_id in self.changes if task_id in finished or task_id not in ids):
            raise InvalidGraph(f"The edit changes {wrong[0]!r}, which already ran or is not there.")
        changed: list[Task] = []
        seen: set[str] = set()
        for task in tasks:
            if task.task_id not in self.changes:
                changed.append(task)
            elif task.task_id not in seen:  # of tasks with one id, the change stands in the place of the first
                changed += [Task.from_dict(values) for values in self.changes[task.task_id]]
                seen.add(task.task_id)
        return (*changed, *(Task.from_dict(values) for values in self.add))


def redirect(task: Task, stand_ins: Mapping[str, str | None]) -> Task:
    """Return the task with its edges and references turned to other tasks; None drops a bare edge.

    Raises:
        InvalidGraph: it would refer to itself.
    """
    depends_on = tuple(
        now for other in task.depends_on if (now := stand_ins.get(other, other)) is not None and now != task.task_id
    )

    def turn(reference: Reference) -> tuple[Reference, ...]:
        now = stand_ins.get(reference.task_id)
        return (reference if now is None else replace(reference, task_id=now),)

    return replace(task, depends_on=depends_on, inputs=replace_references(task.inputs, turn))
