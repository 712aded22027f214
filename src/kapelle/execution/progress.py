"""What has become of the tasks of a graph, and what follows for the others. Pure: nothing here starts or writes.

    a task is over        it is done, failed, or skipped; an expanded one has left the graph
    it came to nothing    it is over without an output: it failed, or was skipped
    it is ready           nothing that it depends on is still to come

What depends on a task that came to nothing is skipped, and so on down the graph, with two exceptions. A task with
`needs="some"` waits until all it depends on is over, and runs if one of them is done. Where the task that came to
nothing has `on_failure="continue"`, its dependents run without its output. Both are told what is missing, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kapelle.graph import Task, TaskDAG

from .growth import needs_some


@dataclass(frozen=True, kw_only=True, slots=True)
class Consequences:
    """What follows for other tasks when one is over."""

    ready: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Task to the reason, in an order in which each comes after what it was skipped for."""


@dataclass(kw_only=True, slots=True, eq=False)
class Progress:
    """What has become of the tasks so far."""

    graph: TaskDAG
    missing: dict[str, int] = field(default_factory=dict)
    """Per task that has not begun, of how many tasks something is still to come."""
    outputs: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    cancelled: dict[str, str] = field(default_factory=dict)
    unaffordable: dict[str, str] = field(default_factory=dict)
    """Those of the skipped for which the budget did not reach."""
    asking: dict[str, str] = field(default_factory=dict)
    """Task to the id of the question that it waits for."""
    replanning: set[str] = field(default_factory=set)
    """Failed tasks whose work is being planned anew: of them something is still to come."""
    _dependents: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def adopt(self, graph: TaskDAG) -> None:
        """Take on a new version of the graph, and count anew what each task waits for."""
        self.graph = graph
        self._dependents = {task_id: graph.dependents(task_id) for task_id in graph.tasks}
        self.missing = {
            task.task_id: sum(1 for before in task.dependencies if not self._is_settled(before, task))
            for task in graph
            if not self.is_over(task.task_id)
        }

    def is_over(self, task_id: str) -> bool:
        """Whether nothing more will come of a task."""
        return (
            task_id in self.outputs
            or task_id in self.skipped
            or (task_id in self.failed and task_id not in self.replanning)
            or task_id in self.cancelled
        )

    def is_ready(self, task_id: str) -> bool:
        """Whether a task that has not begun may begin."""
        return self.missing.get(task_id) == 0

    def finish(self, task_id: str, output: Any) -> list[str]:
        """A task is done; return the tasks that may begin now."""
        self.outputs[task_id] = output
        self.missing.pop(task_id, None)
        ready = []
        missing = self.missing
        for dependent in self._dependents[task_id]:
            if dependent in missing:
                missing[dependent] -= 1
                if missing[dependent] == 0:
                    ready.append(dependent)
        return ready

    def come_to_nothing(self, task_id: str, why: str) -> Consequences:
        """A task is over without an output; return what follows. `why` ends a sentence: "failed"."""
        ready: list[str] = []
        skipped: dict[str, str] = {}
        fallen = [(task_id, why)]
        for gone, what in fallen:  # grows while it is read
            self.missing.pop(gone, None)
            task = self.graph[gone]
            for name in self._dependents[gone]:
                if name not in self.missing:
                    continue
                dependent = self.graph[name]
                if needs_some(dependent) or task.on_failure == "continue":
                    self.missing[name] -= 1
                    if self.missing[name] > 0:
                        continue
                    if not needs_some(dependent) or any(before in self.outputs for before in dependent.dependencies):
                        ready.append(name)
                        continue
                skipped[name] = f"It needs the output of {gone!r}, which {what}."
                self.skipped[name] = skipped[name]
                fallen.append((name, "was skipped"))
        return Consequences(ready=tuple(ready), skipped=skipped)

    def is_wanted(self, task_id: str) -> bool:
        """Whether somebody still waits for a task's output: another task, or the user."""
        dependents = self.graph.dependents(task_id)
        return not dependents or any(name not in self.skipped for name in dependents)

    def reason_of(self, task_id: str) -> str:
        """Return why there is no output of a task."""
        return self.failed.get(task_id) or self.skipped.get(task_id) or self.cancelled.get(task_id, "")

    def _is_settled(self, before: str, task: Task) -> bool:
        """Whether a task need not wait for another any more."""
        if before in self.outputs:
            return True
        return self.is_over(before) and (needs_some(task) or self.graph[before].on_failure == "continue")
