"""What a reply changes in a plan that is under way, as a patch that was checked against it. What has run stays."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from kapelle.errors import InvalidPlan
from kapelle.graph import GraphPatch, Task, TaskDAG

from .nodes import FoundPatch


def find_difference(made: Sequence[Task], current: TaskDAG, finished: Collection[str]) -> GraphPatch | None:
    """Return the patch that leads from the current plan to the graph of these tasks; None if that is the same.

    Raises:
        InvalidPlan, InvalidGraph: a task that has not run is left out, or the patch does not fit the plan.
    """
    old = current.tasks
    new = {task.task_id: task for task in made}
    left_out = [task_id for task_id in old if task_id not in new and task_id not in finished]
    if left_out:
        raise InvalidPlan(
            f"The new graph leaves out {left_out[0]!r}, which has not run. "
            f'Repeat it, or send a patch with <remove id="{left_out[0]}"/>.'
        )
    patch = GraphPatch(
        add=tuple(task for task_id, task in new.items() if task_id not in old),
        replace=tuple(task for task_id, task in new.items() if task_id in old and old[task_id] != task),
    )
    return _checked(patch, current, finished)


def read_patch(
    found: FoundPatch, made: Sequence[Sequence[Task]], current: TaskDAG, finished: Collection[str]
) -> GraphPatch | None:
    """Return a patch whose nodes, in the order of `found.nodes`, became these tasks; None if it changes nothing.

    Raises:
        InvalidGraph: the patch does not fit the plan.
    """
    per_node = iter(zip(found.nodes, made, strict=True))
    add = [task for _ in found.add for task in next(per_node)[1]]
    replaced: list[Task] = []
    expand: dict[str, tuple[Task, ...]] = {}
    for _ in found.replace:
        node, tasks = next(per_node)
        if len(tasks) == 1 and tasks[0].task_id == node.task_id:
            replaced += tasks
        else:  # it became several searches
            expand[node.task_id] = tuple(tasks)
    for task_id, nodes in found.expand.items():
        expand[task_id] = tuple(task for _ in nodes for task in next(per_node)[1])
    removed = tuple(task_id.strip().lstrip("#") for task_id in found.remove)
    patch = GraphPatch(add=tuple(add), remove=removed, replace=tuple(replaced), expand=expand)
    return _checked(patch, current, finished)


def _checked(patch: GraphPatch, current: TaskDAG, finished: Collection[str]) -> GraphPatch | None:
    if not (patch.add or patch.remove or patch.replace or patch.expand):
        return None
    current.patched(patch, finished=finished)
    return patch
