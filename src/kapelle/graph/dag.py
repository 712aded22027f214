"""A graph of tasks without cycles. Says what may run when; runs nothing, and knows nothing of agents or prices.

Every edge goes from a task to one that waits for it: because it says so (`depends_on`), or because its inputs refer to
the other's output. Plans change by patches, which make a new version and leave the old one as it was.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from kapelle.errors import CycleFound, InvalidGraph, UnknownTask

from . import topology
from .bands import MAX_DRAWN, draw_together
from .patch import GraphPatch, apply_patch
from .task import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class CriticalPath:
    """The chain of tasks that decides how long the whole takes, however many run at once."""

    tasks: tuple[str, ...]
    seconds: float


class TaskDAG:
    """Tasks and their dependencies, never with a cycle.

    `tasks` may come in any order; their order is kept, and is the tie-breaker wherever one is needed.

    Raises:
        InvalidGraph: two tasks have the same id.
        UnknownTask: a task depends on, or refers to, one that is not there.
        CycleFound: tasks wait for each other; the error names those of one cycle.

    >>> dag = TaskDAG([
    ...     Task(task_id="s1", task_type="search", inputs={"query": "capital of France"}),
    ...     Task(task_id="s2", task_type="search", inputs={"query": "population of {s1}"}),
    ... ])
    >>> dag.levels()
    (('s1',), ('s2',))
    """

    __hash__ = None  # type: ignore[assignment]  # equal by content, and add_task changes that

    def __init__(self, tasks: Iterable[Task] = (), *, version: int = 1) -> None:
        if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version < 2**63:
            raise InvalidGraph(f"{version!r} is no version of a graph. Versions count from 1.")
        self._version = version
        self._sealed = False
        self._shares_edges = False
        self._tasks: dict[str, Task] = {}
        for task in tasks:
            self._check_new(task)
            self._tasks[task.task_id] = task
        # Tasks are numbered in insertion order; topology works on the numbers.
        self._ids = list(self._tasks)
        self._numbers = {task_id: number for number, task_id in enumerate(self._ids)}
        self._predecessors = [self._find_numbers(task) for task in self._tasks.values()]
        self._successors = topology.reverse_edges(self._predecessors)
        cycle = topology.find_cycle(self._predecessors, self._successors)
        if cycle is not None:
            raise CycleFound(self._names(cycle))

    def add_task(self, task: Task) -> None:
        """Add a task whose dependencies are all there already, so that no cycle can arise.

        Raises:
            InvalidGraph: its id is taken, or the graph is sealed.
            UnknownTask: a dependency is not there (yet).
        """
        if self._sealed:
            raise InvalidGraph(
                f"The graph is sealed, so {task.task_id!r} cannot be added: it was approved as it is. "
                "Make a new version with patched(), and have that approved."
            )
        self._check_new(task)
        before = self._find_numbers(task)
        if self._shares_edges:
            self._ids, self._numbers, self._shares_edges = [*self._ids], {**self._numbers}, False
            self._predecessors = [*self._predecessors]
            self._successors = [[*numbers] for numbers in self._successors]
        number = len(self._ids)
        self._tasks[task.task_id] = task
        self._ids.append(task.task_id)
        self._numbers[task.task_id] = number
        self._predecessors.append(before)
        self._successors.append([])
        for other in before:
            self._successors[other].append(number)

    def sealed(self) -> TaskDAG:
        """Return the graph such that it refuses `add_task`: a copy, unless it does already. Approved plans hold one."""
        if self._sealed:
            return self
        copy = self._alike({**self._tasks})
        copy._sealed = True
        return copy

    def copied(self) -> TaskDAG:
        """Return the graph with tasks of its own: whoever gets it may change them."""
        return self._alike({task_id: task.copied() for task_id, task in self._tasks.items()})

    def _alike(self, tasks: dict[str, Task]) -> TaskDAG:
        """Return a graph of the same edges, which is not proven once more: a run has several, and edges are most of
        them. Both share what tells of the edges until one of them gets another task."""
        copy = TaskDAG(version=self._version)
        copy._tasks, copy._ids, copy._numbers = tasks, self._ids, self._numbers
        copy._predecessors, copy._successors = self._predecessors, self._successors
        copy._shares_edges = self._shares_edges = True
        return copy

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The tasks by id, in insertion order; read-only."""
        return MappingProxyType(self._tasks)

    @property
    def version(self) -> int:
        """1 for a new plan; each patch adds one."""
        return self._version

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """All edges as (from, to): the second task waits for the first."""
        return tuple(
            (self._ids[before], task_id)
            for task_id, numbers in zip(self._ids, self._predecessors, strict=True)
            for before in numbers
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """The tasks that wait for nothing."""
        return tuple(task_id for task_id, before in zip(self._ids, self._predecessors, strict=True) if not before)

    @property
    def sinks(self) -> tuple[str, ...]:
        """The tasks that nothing waits for: their outputs are the result of the plan."""
        return tuple(task_id for task_id, after in zip(self._ids, self._successors, strict=True) if not after)

    @property
    def depth(self) -> int:
        """The number of levels: tasks on the longest chain."""
        return len(self._levels())

    def dependencies(self, task_id: str) -> tuple[str, ...]:
        """Return the tasks that this one waits for."""
        return self._names(self._predecessors[self._number(task_id)])

    def dependents(self, task_id: str) -> tuple[str, ...]:
        """Return the tasks that wait for this one."""
        return self._names(self._successors[self._number(task_id)])

    def topological_order(self) -> tuple[str, ...]:
        """Return all tasks, each after its dependencies; among those that could be next, in insertion order."""
        return self._names(topology.topological_order(self._predecessors))

    def levels(self) -> tuple[tuple[str, ...], ...]:
        """Return the tasks by level: no task depends on another of its level. For showing; runs need no levels."""
        return tuple(map(self._names, self._levels()))

    def ready_tasks(self, done: Collection[str]) -> tuple[str, ...]:
        """Return the tasks that are not done and whose dependencies all are. A running task is among them."""
        finished = done if isinstance(done, (set, frozenset)) else set(done)
        return tuple(
            task_id
            for task_id, task in self._tasks.items()
            if task_id not in finished and finished.issuperset(task.dependencies)
        )

    def critical_path(self, seconds: Mapping[str, float] | None = None) -> CriticalPath:
        """Return the chain of tasks that takes longest; `seconds` says how long each task takes, None: 1 each.

        Raises:
            InvalidGraph: a task's seconds are missing, negative or not finite.
        """
        longest = self._longest_paths(seconds)
        path = topology.heaviest_path(self._successors, longest)
        return CriticalPath(tasks=self._names(path), seconds=longest[path[0]] if path else 0.0)

    def urgency(self, seconds: Mapping[str, float] | None = None) -> Mapping[str, float]:
        """Return for every task the seconds from its start to the end of the graph, if nothing has to queue.

        Starting the most urgent first is critical-path list scheduling: at most twice the shortest time possible
        (Graham 1969). The errors are those of `critical_path`.
        """
        return dict(zip(self._ids, self._longest_paths(seconds), strict=True))

    def transitive_reduction(self) -> TaskDAG:
        """Return the graph without the `depends_on` edges that other edges imply; references always stay."""
        kept = topology.transitive_reduction(self._predecessors, topology.topological_order(self._predecessors))
        reduced = []
        for task, numbers in zip(self._tasks.values(), kept, strict=True):
            keep = {*self._names(numbers), *task.references}
            depends_on = tuple(other for other in task.depends_on if other in keep)
            reduced.append(task if depends_on == task.depends_on else replace(task, depends_on=depends_on))
        return TaskDAG(reduced, version=self._version)

    def patched(self, patch: GraphPatch, *, finished: Collection[str] = frozenset()) -> TaskDAG:
        """Return the next version of the graph, not sealed; this one stays as it is.

        Raises:
            InvalidGraph: the patch touches `finished` or absent tasks, or takes away an output that is used.
            UnknownTask, CycleFound: the new tasks do not fit the rest.
        """
        return TaskDAG(apply_patch(self._tasks, patch, finished=finished), version=self._version + 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the graph as plain JSON values; `from_dict` gives back the same tasks, order and version."""
        return {"version": self._version, "tasks": [task.to_dict() for task in self]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TaskDAG:
        """Return the graph that `to_dict` described.

        Raises:
            InvalidGraph: the values do not describe a graph (see also the errors of `TaskDAG`).
        """
        if not isinstance(values, Mapping) or not isinstance(values.get("tasks"), (list, tuple)):
            raise InvalidGraph("A graph is a mapping with the list 'tasks' (and the number 'version').")
        unknown = [name for name in values if name not in ("tasks", "version")]
        if unknown:
            raise InvalidGraph(f"A graph has no field {unknown[0]!r}. Use 'tasks' and 'version'.")
        return cls(map(Task.from_dict, values["tasks"]), version=values.get("version", 1))

    def to_xml(self) -> str:
        """Return the graph as the `<graph>` element of graph plans; `from_xml` gives back the same tasks."""
        from .xml_writing import write_graph

        return write_graph(self, self._version)

    @classmethod
    def from_xml(cls, text: str) -> TaskDAG:
        """Return the graph of the one `<graph>` element in an XML document; `graph_xml` says how it is read.

        Raises:
            InvalidPlan: it is malformed; the message names the line and the node.
            InvalidGraph: the nodes are well-formed but make no graph (see `TaskDAG`).

        >>> dag = TaskDAG.from_xml('''
        ... <graph>
        ...   <node id="s1">search("capital of France")</node>
        ...   <node id="s2" depends="s1">search("population of {s1}")</node>
        ... </graph>''')
        >>> dag["s2"].inputs
        {'query': 'population of {s1}'}
        """
        from .graph_xml import parse_graph  # see to_xml

        tasks, version = parse_graph(text)
        return cls(tasks, version=version)

    def to_mermaid(
        self,
        *,
        direction: Literal["LR", "TD"] = "LR",
        status: Mapping[str, str] | None = None,
        notes: Mapping[str, str] | None = None,
        critical_path: Sequence[str] = (),
        full: bool = False,
    ) -> str:
        """Return the graph as a Mermaid flowchart, from left to right or top down; the rest is as in `to_svg`."""
        from .mermaid import draw_mermaid  # drawn by few

        if len(self) > MAX_DRAWN and not full:
            bands, states, told = draw_together(self.tasks, self.levels(), status, notes)
            return draw_mermaid(bands, direction=direction, status=states, notes=told)
        return draw_mermaid(self, direction=direction, status=status, notes=notes, critical_path=critical_path)

    def to_svg(
        self,
        *,
        status: Mapping[str, str] | None = None,
        notes: Mapping[str, str] | None = None,
        critical_path: Sequence[str] = (),
        full: bool = False,
    ) -> str:
        """Return a picture of the graph, a column for each level; of more than MAX_DRAWN tasks, a box for each of a few
        bands of levels, with what is in it.

        Args:
            status: the state of each task, to colour its box: waiting, running, done, failed, cancelled or skipped.
            notes: a line for each task, such as the agent that does it.
            critical_path: tasks to emphasise, with the edges between neighbours (see `CriticalPath.tasks`).
            full: draw every task, however many there are.
        """
        from .svg import draw_svg  # see to_mermaid

        if len(self) > MAX_DRAWN and not full:
            bands, states, told = draw_together(self.tasks, self.levels(), status, notes)
            return TaskDAG(bands).to_svg(status=states, notes=told)
        return draw_svg(
            tuple(self), self._predecessors, self._successors, status=status, notes=notes, critical_path=critical_path
        )

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks.values())

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._tasks

    def __getitem__(self, task_id: str) -> Task:
        self._number(task_id)
        return self._tasks[task_id]

    def __eq__(self, other: object) -> bool:
        """Whether both have the same tasks; order, version and seal do not count."""
        return self._tasks == other._tasks if isinstance(other, TaskDAG) else NotImplemented

    def __repr__(self) -> str:
        edges = sum(map(len, self._predecessors))
        return f"<TaskDAG version {self._version}: {len(self)} tasks, {edges} edges, {self.depth} levels>"

    def _check_new(self, task: Task) -> None:
        if not isinstance(task, Task):
            raise InvalidGraph(f"{task!r} is no Task.")
        if task.task_id in self._tasks:
            raise InvalidGraph(f"Two tasks have the id {task.task_id!r}. Rename one of them.")

    def _find_numbers(self, task: Task) -> list[int]:
        try:
            return [self._numbers[other] for other in task.dependencies]
        except KeyError:
            missing = next(other for other in task.dependencies if other not in self._numbers)
        if missing in task.depends_on:
            raise UnknownTask(task.task_id, missing)
        raise UnknownTask(
            task.task_id, missing, hint=f"Add it, or write {{{{{missing}}}}} if the braces are meant literally."
        )

    def _number(self, task_id: str) -> int:
        number = self._numbers.get(task_id)
        if number is None:
            some = ", ".join(map(repr, self._ids[:10])) + (", ..." if len(self) > 10 else "")
            raise InvalidGraph(f"There is no task {task_id!r} in the graph. It has {some or 'no tasks'}.")
        return number

    def _names(self, numbers: Iterable[int]) -> tuple[str, ...]:
        return tuple([self._ids[number] for number in numbers])

    def _levels(self) -> list[list[int]]:
        return topology.levels(self._predecessors, self._successors)

    def _longest_paths(self, seconds: Mapping[str, float] | None) -> list[float]:
        weights = [1.0] * len(self) if seconds is None else self._durations(seconds)
        order = [number for level in self._levels() for number in level]
        return topology.longest_paths(self._successors, order, weights)

    def _durations(self, seconds: Mapping[str, float]) -> list[float]:
        try:
            durations = [seconds[task_id] for task_id in self._ids]
        except KeyError:
            missing = [task_id for task_id in self._ids if task_id not in seconds]
            raise InvalidGraph(f"No seconds are given for {missing[0]!r} ({len(missing)} such tasks).") from None
        for number, duration in enumerate(durations):
            if not 0 <= duration < math.inf:
                raise InvalidGraph(f"Task {self._ids[number]!r} takes {duration!r} seconds. Give zero or more.")
        return durations
