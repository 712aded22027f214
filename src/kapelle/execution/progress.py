"""What has become of the tasks of a graph, what follows for the others, and what to show when all has ended. Pure.

    a task is over        it is done, failed, or skipped; an expanded one has left the graph
    it came to nothing    it is over without an output: it failed, or was skipped
    it is ready           nothing that it depends on is still to come

What depends on a task that came to nothing is skipped, and so on down the graph, with two exceptions. A task with
`needs="some"` waits until all it depends on is over, and runs if one of them is done. Where the task that came to
nothing has `on_failure="continue"`, its dependents run without its output. Both are told what is missing, and why.

The answer is the outputs at the ends of the graph, as far as they were done. What rests on the memory of a model says
so, also where whoever wrote the answer has left that out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kapelle.graph import Task, TaskDAG, render_output, title_task

from .growth import needs_some


@dataclass(frozen=True, kw_only=True, slots=True)
class Consequences:
    """What follows for tasks that have not begun."""

    ready: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Task to the reason, in an order in which each comes after what it was skipped for."""


@dataclass(kw_only=True, slots=True, eq=False)
class Progress:
    """What has become of the tasks so far."""

    graph: TaskDAG
    waits_for: dict[str, set[str]] = field(default_factory=dict)
    """Per task that is not over, the tasks of which something is still to come: a set, so none counts twice."""
    outputs: dict[str, Any] = field(default_factory=dict)
    from_memory: set[str] = field(default_factory=set)
    """Tasks whose output comes from the memory of a model."""
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

    def adopt(self, graph: TaskDAG) -> Consequences:
        """Take on a new version of the graph, and return what follows from all that is over in it.

        What is ready has its inputs, and may have begun already: the caller knows.
        """
        self.graph = graph
        self._dependents = {task_id: graph.dependents(task_id) for task_id in graph.tasks}
        self.waits_for = {}
        ready: list[str] = []
        skipped: dict[str, str] = {}
        for task_id in graph.topological_order():
            if not self.is_over(task_id):
                self.waits_for[task_id] = {before for before in graph[task_id].dependencies if not self.is_over(before)}
                self._judge(task_id, ready, skipped)
        return Consequences(ready=tuple(ready), skipped=skipped)

    def is_over(self, task_id: str) -> bool:
        """Whether nothing more will come of a task."""
        return (
            task_id in self.outputs
            or task_id in self.skipped
            or (task_id in self.failed and task_id not in self.replanning)
            or task_id in self.cancelled
        )

    def finish(self, task_id: str, output: Any) -> list[str]:
        """A task is done; return the tasks that may begin now."""
        self.outputs[task_id] = output
        waits_for = self.waits_for
        waits_for.pop(task_id, None)
        ready = []
        for dependent in self._dependents[task_id]:
            waits = waits_for.get(dependent)
            if waits is not None and task_id in waits:
                waits.remove(task_id)
                if not waits:
                    ready.append(dependent)
        return ready

    def propagate_failure(self, task_id: str) -> Consequences:
        """A task is over without an output; return what follows. Each task falls once, whatever it has lost."""
        self.waits_for.pop(task_id, None)
        return self._fall([task_id], [], {})

    def answer(self, task_id: str) -> Consequences:
        """A person has answered what a task asked; return what follows: its inputs may have come to nothing since."""
        del self.asking[task_id]
        ready: list[str] = []
        skipped: dict[str, str] = {}
        fallen = [task_id] if self._judge(task_id, ready, skipped) else []
        return self._fall(fallen, ready, skipped)

    def _fall(self, fallen: list[str], ready: list[str], skipped: dict[str, str]) -> Consequences:
        """Return what follows from tasks that came to nothing."""
        for gone in fallen:  # grows while it is read
            for name in self._dependents[gone]:
                waits = self.waits_for.get(name)
                if waits is None or gone not in waits:
                    continue
                waits.remove(gone)
                if self._judge(name, ready, skipped):
                    fallen.append(name)
        return Consequences(ready=tuple(ready), skipped=skipped)

    def is_wanted(self, task_id: str) -> bool:
        """Whether somebody still waits for a task's output: another task, or the user."""
        dependents = self.graph.dependents(task_id)
        return not dependents or any(name not in self.skipped for name in dependents)

    def reason_of(self, task_id: str) -> str:
        """Return why there is no output of a task."""
        return self.failed.get(task_id) or self.skipped.get(task_id) or self.cancelled.get(task_id, "")

    def _judge(self, task_id: str, ready: list[str], skipped: dict[str, str]) -> bool:
        """Say of a task that has not begun whether it may begin, or is skipped; return whether it is skipped."""
        if task_id in self.asking:
            return False  # a question stands until it is answered
        reason = self._why_skipped(self.graph[task_id])
        if reason is not None:
            del self.waits_for[task_id]
            self.skipped[task_id] = skipped[task_id] = reason
            return True
        if not self.waits_for[task_id]:
            ready.append(task_id)
        return False

    def _why_skipped(self, task: Task) -> str | None:
        """Return why a task can never begin, if it cannot."""
        waits = self.waits_for[task.task_id]
        gone = [name for name in task.dependencies if name not in waits and name not in self.outputs]
        if not gone:
            return None
        if needs_some(task):
            if waits or len(gone) < len(task.dependencies):
                return None
            needed = gone[-1]
        else:
            missed = [name for name in gone if self.graph[name].on_failure != "continue"]
            if not missed:
                return None
            needed = missed[0]
        return f"It needs the output of {needed!r}, which {'failed' if needed in self.failed else 'was skipped'}."


def compose_answer(
    graph: TaskDAG, outputs: Mapping[str, Any], from_memory: Collection[str] = (), *, mark: str = ""
) -> str:
    """Return the answer as text: the outputs that no finished task has used.

    One such output is the answer. Several stand under the titles of their tasks, in plan order.

    Args:
        from_memory: Tasks whose output comes from the memory of a model.
        mark: Stands after what such a task has said; empty: nothing is marked.
    """
    ends = [
        task
        for task in graph
        if task.task_id in outputs and not any(d in outputs for d in graph.dependents(task.task_id))
    ]

    def answer_of(task_id: str) -> str:
        text = render_output(outputs[task_id])
        if not mark or not from_memory:
            return text
        if task_id in from_memory:
            return _marked(text, mark)
        unsaid = [name for name in _behind(graph, task_id) if name in from_memory and name in outputs]
        if len(unsaid) <= text.count(mark):
            return text
        titles = "; ".join(dict.fromkeys(title_task(graph[name], outputs) for name in unsaid))
        return f"{text.rstrip()}\n\n{titles} {mark}"

    if len(ends) == 1:
        return answer_of(ends[0].task_id)
    return "\n\n".join(f"## {title_task(task, outputs)}\n\n{answer_of(task.task_id)}" for task in ends)


def _marked(text: str, mark: str) -> str:
    text = text.rstrip()
    return f"{text}\n\n{mark}" if "\n" in text else f"{text} {mark}"


def _behind(graph: TaskDAG, task_id: str) -> Iterator[str]:
    """Return the tasks whose outputs went into one, directly or by others; nearest first."""
    left, seen = [*graph.dependencies(task_id)], set[str]()
    for name in left:  # grows while it is read
        if name not in seen:
            seen.add(name)
            yield name
            left += graph.dependencies(name)
