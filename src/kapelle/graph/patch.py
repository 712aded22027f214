"""Changes to a plan, as values: what is added, removed, replaced or split up. Makes new lists of tasks, edits nothing.

What becomes of those that depended on a task that is gone:

    edge from `depends_on` to a removed task   goes on to what the removed task waited for: the order stays guaranteed
    reference `{x}` to a removed task          an error, for its output will not exist: replace the referring task too
    edge to an expanded task                   waits for the subgraph's sinks, the tasks whose outputs are its result
    reference to an expanded task              means the sink's output; with several sinks, the list of their outputs

The last line in full, for `x` that became a subgraph with the sinks `a` and `b`: the value `"{x}"` becomes the list
`["{a}", "{b}"]`, the text `"of {x}"` becomes `"of {a}; {b}"`, an item `{x[0]}` becomes `{a}`, a numbered part
`{city_2_from_x}` becomes `{b}`, and any other part is an error because no single task has it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kapelle.errors import InvalidGraph

from .references import Reference, part_number, replace_references
from .task import Task

MAX_NEW_EDGES = 200_000
"""What one patch may add in edges and references. A few lines can ask for the product of all they name: that many
tasks waiting for that many parts. Graphs that people run have a few edges a task, and at most 10,000 tasks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphPatch:
    """One change to a graph; `TaskDAG.patched` applies it.

    Added and replacing tasks are written for the new graph: they may depend on each other and on what stays.

    Raises:
        InvalidGraph: a task is removed, replaced or expanded at once, or an expansion is empty.
    """

    add: tuple[Task, ...] = ()
    """New tasks, with new ids."""
    remove: tuple[str, ...] = ()
    """Ids of tasks that go."""
    replace: tuple[Task, ...] = ()
    """Tasks that take the place of those with the same id."""
    expand: Mapping[str, Iterable[Task]] = field(default_factory=dict)
    """Ids of compound tasks, each with the tasks of the subgraph that takes its place. Their ids are new. Those that
    wait for none of the others inherit what the compound waited for; what waited for it waits for the sinks."""

    def __post_init__(self) -> None:
        put = object.__setattr__  # the documented way to normalise a frozen value while it is built
        put(self, "add", tuple(self.add))
        put(self, "remove", tuple(dict.fromkeys(self.remove)))
        put(self, "replace", tuple(self.replace))
        put(self, "expand", {compound: tuple(tasks) for compound, tasks in self.expand.items()})
        for compound, tasks in self.expand.items():
            if not tasks:
                raise InvalidGraph(f"The patch expands {compound!r} to nothing. Remove it instead.")
        seen: set[str] = set()
        for task_id in self.touched:
            if task_id in seen:
                raise InvalidGraph(f"The patch changes {task_id!r} in two ways. Remove, replace or expand it, once.")
            seen.add(task_id)

    @property
    def touched(self) -> tuple[str, ...]:
        """The ids of the tasks that the patch removes, replaces or expands."""
        return (*self.remove, *(task.task_id for task in self.replace), *self.expand)


def apply_patch(tasks: Mapping[str, Task], patch: GraphPatch, *, finished: Collection[str] = ()) -> list[Task]:
    """Return the tasks of the new graph, those of an expansion in the place of their compound, new ones at the end.

    Whether they make a graph (ids, dangling edges, cycles) is for `TaskDAG` to say.

    Raises:
        InvalidGraph: the patch touches tasks that are not there or are finished, or takes away an output that is used.
    """
    _check_touched(tasks, patch, finished)
    replacing = {task.task_id: task for task in patch.replace}
    removed = frozenset(patch.remove)
    room = _Room()
    changed: list[Task] = []
    for task_id, task in tasks.items():
        if task_id in patch.expand:
            inherited = _bridge_removed(task.dependencies, tasks, removed, room)
            changed += _inherit_dependencies(tuple(patch.expand[task_id]), inherited, room)
        elif task_id in replacing:
            changed.append(replacing[task_id])
        elif task_id not in removed:
            changed.append(_skip_removed(task, tasks, removed, room))
    changed += patch.add
    sinks = {compound: find_sinks(tuple(parts)) for compound, parts in patch.expand.items()}
    return redirect_dependents(changed, sinks)


def find_sinks(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Return the ids of those tasks that none of the others waits for."""
    awaited = {dependency for task in tasks for dependency in task.dependencies}
    return tuple(task.task_id for task in tasks if task.task_id not in awaited)


def redirect_dependents(tasks: Iterable[Task], parts: Mapping[str, Sequence[str]]) -> list[Task]:
    """Return the tasks with every edge and reference to a key of `parts` turned to the tasks that took its place."""
    room = _Room()
    stand_ins = _find_stand_ins(parts, room)
    return [_redirect(task, parts, stand_ins, room) for task in tasks]


class _Room:
    """Counts the edges and references that a patch adds."""

    def __init__(self) -> None:
        self._left = MAX_NEW_EDGES

    def use(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise InvalidGraph(
                f"The change would add more than {MAX_NEW_EDGES:,} edges and references. "
                "Put a task between those that wait and those that are waited for."
            )


def _check_touched(tasks: Mapping[str, Task], patch: GraphPatch, finished: Collection[str]) -> None:
    absent = [task_id for task_id in patch.touched if task_id not in tasks]
    if absent:
        raise InvalidGraph(f"The patch changes {_listed(absent)}, which the graph does not have. Add it instead.")
    done = [task_id for task_id in patch.touched if task_id in finished]
    if done:
        raise InvalidGraph(f"The patch changes {_listed(done)}, which already ran. Add new tasks instead.")
    new = [task.task_id for task in patch.add]
    new += [task.task_id for parts in patch.expand.values() for task in parts]
    taken = [task_id for task_id in new if task_id in tasks]
    if taken:
        raise InvalidGraph(f"The patch adds {_listed(taken)}, which the graph already has. Choose new ids.")


def _inherit_dependencies(parts: Sequence[Task], inherited: Sequence[str], room: _Room) -> list[Task]:
    inside = {task.task_id for task in parts}
    return [task if inside.intersection(task.dependencies) else _wait_also_for(task, inherited, room) for task in parts]


def _wait_also_for(task: Task, others: Sequence[str], room: _Room) -> Task:
    room.use(len(others))
    return replace(task, depends_on=(*task.depends_on, *others))


def _skip_removed(task: Task, tasks: Mapping[str, Task], removed: frozenset[str], room: _Room) -> Task:
    """Return the task with edges to removed tasks turned to what those waited for."""
    lost = task.references & removed
    if lost:
        name = min(lost)
        raise InvalidGraph(
            f"Task {task.task_id!r} refers to the output {{{name}}} of a task that the patch removes. "
            f"Remove or replace {task.task_id!r} in the same patch, or expand {name!r}."
        )
    if removed.isdisjoint(task.depends_on):
        return task
    return replace(task, depends_on=_bridge_removed(task.depends_on, tasks, removed, room))


def _bridge_removed(
    dependencies: Sequence[str], tasks: Mapping[str, Task], removed: frozenset[str], room: _Room
) -> tuple[str, ...]:
    """Return the dependencies with each removed task replaced by what it waited for, however many are in a row."""
    bridged: dict[str, None] = {}
    stack = list(reversed(dependencies))
    seen = set()
    while stack:
        other = stack.pop()
        if other not in removed:
            bridged[other] = None
        elif other not in seen:
            seen.add(other)
            room.use(len(tasks[other].dependencies))
            stack += reversed(tasks[other].dependencies)
    return tuple(bridged)


def _redirect(
    task: Task,
    parts: Mapping[str, Sequence[str]],
    stand_ins: Callable[[Reference], Sequence[Reference]],
    room: _Room,
) -> Task:
    if parts.keys().isdisjoint(task.dependencies):
        return task
    room.use(sum(len(parts.get(other, ())) for other in task.depends_on))
    depends_on = [part for other in task.depends_on for part in parts.get(other, (other,))]
    try:
        inputs = replace_references(task.inputs, stand_ins)
    except InvalidGraph as error:
        raise InvalidGraph(f"Task {task.task_id!r}: {error}") from None
    return replace(task, depends_on=tuple(depends_on), inputs=inputs)


def _find_stand_ins(parts: Mapping[str, Sequence[str]], room: _Room) -> Callable[[Reference], Sequence[Reference]]:
    def find(reference: Reference) -> Sequence[Reference]:
        now = parts.get(reference.task_id)
        if now is None:
            return (reference,)
        if len(now) == 1:
            return (replace(reference, task_id=now[0]),)
        if not reference.path:
            room.use(len(now))
            return [Reference(task_id=part) for part in now]
        step, *path = reference.path
        number = part_number(step) if isinstance(step, str) else step + 1
        if number is None or not 1 <= number <= len(now):
            raise InvalidGraph(
                f"{reference} is a part of {reference.task_id!r}, whose place was taken by {_listed(now)}. "
                "Refer to one of these."
            )
        return (Reference(task_id=now[number - 1], path=tuple(path)),)

    return find


def _listed(names: Sequence[str]) -> str:
    some = ", ".join(map(repr, names[:10]))
    return f"{some} and {len(names) - 10} more" if len(names) > 10 else some
