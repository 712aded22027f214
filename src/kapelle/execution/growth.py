"""What a graph may grow into while it runs: other tasks take the place of one task. Pure; the executor applies it.

A task is expanded when its agent returns tasks instead of an output, or planned anew when it failed. Either way its
place, and nothing else, is taken by a subgraph: what depended on it waits for the subgraph's ends, so the change is
contained. A reflector may change whatever has not begun. Growth ends: a subgraph is one level deeper than the task it
replaces, and depth, size and the number of changes have limits.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from kapelle.agents import AgentResult, TaskContext
from kapelle.errors import InvalidGraph, InvalidInput
from kapelle.failures import FailureKind
from kapelle.graph import GraphPatch, Task, TaskDAG, rename_references
from kapelle.planning import Reflection as Reflection
from kapelle.validation import ApprovedPlan

_RISKS = ("low", "medium", "high")
DEPTH = "depth"
"""In a task's metadata: how many expansions it is away from the first plan. Absent means none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowthLimits:
    """How far a graph may grow while it runs."""

    max_depth: int = 4
    """Expansions of expansions. A planner that always expands ends here."""
    max_tasks: int = 1_000
    """Tasks in the graph, finished ones included."""
    max_replans: int = 2
    """How often the work of one task is planned anew after failures."""
    max_changes: int = 200
    """Expansions and new plans of a run together: planning costs money too."""

    def __post_init__(self) -> None:
        if min(self.max_depth, self.max_tasks, self.max_replans, self.max_changes) < 0:
            raise InvalidInput(f"A limit of growth cannot be negative: {self!r}")


class PlanApprover(Protocol):
    """Routes and validates a graph that has grown."""

    async def approve(self, dag: TaskDAG, current: ApprovedPlan, begun: Collection[str]) -> ApprovedPlan:
        """Return the approved plan for the grown graph; what `current` assigns stays assigned.

        `begun` are the tasks that run or are over: what they cost is in the budget already.

        Raises:
            PlanRejected: the new tasks cannot be done within what is left.
        """
        ...


class Replanner(Protocol):
    """Plans the work of a failed task anew."""

    async def replan(self, task: Task, reason: str, context: TaskContext) -> AgentResult | None:
        """Return other tasks that do the work, as an expansion; None if there is no other way."""
        ...


class Reflector(Protocol):
    """Looks at what a task gave, and says whether the rest of the plan should change."""

    async def reflect(self, task: Task, output: Any, graph: TaskDAG) -> Reflection | None:
        """Return a change to what has not begun; None to go on as planned.

        It is asked beside the run, which goes on meanwhile: a change that touches what has begun by then is refused.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphChanges:
    """Who approves what a graph grows into, who plans anew, and how far it may go."""

    approver: PlanApprover
    replanner: Replanner | None = None
    replanning_cost_usd: float = 0.0
    """Dollars to set aside for planning the work of one failed task anew."""
    replanning_is_priced: bool = True
    """Whether that is its price. Without one nobody is asked once nothing is left of a budget."""
    replanning_tokens: int = 0
    reflector: Reflector | None = None
    reflection_cost_usd: float = 0.0
    """Dollars to set aside for looking at one task's output."""
    reflection_is_priced: bool = True
    """Whether that is its price. Without one nobody is asked once nothing is left of a budget."""
    reflection_tokens: int = 0
    max_reflections: int | None = None
    """After how many outputs it is asked; None for all."""
    limits: GrowthLimits = field(default_factory=GrowthLimits)


def needs_some(task: Task) -> bool:
    """Whether a task runs as soon as all it depends on is over and at least one of that is done."""
    return task.needs == "some" and len(task.dependencies) > 1


def count_of(task: Task, name: str) -> int:
    """A count in a task's metadata. A plan file may hold anything there: what is no count is none."""
    value = task.metadata.get(name, 0)
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0


def is_grown(task: Task) -> bool:
    """Whether a task was not in the first plan."""
    return bool(count_of(task, DEPTH) or count_of(task, "replans"))


def may_replan(dag: TaskDAG, task: Task, limits: GrowthLimits) -> bool:
    """Whether the work of a task may be planned anew, before anyone is paid for doing so."""
    return count_of(task, "replans") < limits.max_replans and len(dag) <= limits.max_tasks


_FOR_NAUGHT: frozenset[FailureKind] = frozenset(
    {"provider", "timeout", "refused", "quota", "content", "reply", "budget"}
)
"""Failures that another plan for the same work does not mend: its calls would end as these did, and be paid as well."""


def may_help_anew(kinds: Collection[object]) -> bool:
    """Whether work may succeed if it is planned anew, by the kinds of failure of its attempts."""
    return not kinds or any(kind not in _FOR_NAUGHT for kind in kinds)


def is_same_again(task: Task, plan: TaskDAG) -> bool:
    """Whether a new plan for a failed task only asks for the same thing once more."""
    if len(plan) != 1:
        return False
    mine, other = (_asked(one) for one in (task, next(iter(plan))))
    return mine == other and any(mine[1:])  # a task that says nothing but its type is known by its name only


def _asked(task: Task) -> tuple[str, object, str]:
    """What is asked for: where there are inputs, they tell, and the words are only worded."""
    words = " ".join(task.description.casefold().split())
    return task.task_type, task.inputs, "" if task.inputs else words


def mode_of(task: Task) -> dict[str, Any]:
    """What a task's metadata say of the planning mode in which its request runs (see planning, `Gate`)."""
    return {name: value for name, value in task.metadata.items() if name == "arm" or name.startswith("gate_")}


def grow(dag: TaskDAG, task: Task, subgraph: TaskDAG, limits: GrowthLimits, *, replan: bool = False) -> TaskDAG:
    """Return the graph in which the subgraph has taken the place of a task.

    The subgraph's ids become `TASK-ID`, so that two expansions never clash. What the task was held to its parts are
    held to as well: risk, priority, deadline, and approval where its work was planned anew. The first of them need what
    it needed, and the last ones fail as it would have, so that to its neighbours nothing changes.

    Raises:
        InvalidGraph: it would grow too deep or too large, the subgraph is empty, or the two do not fit together.
    """
    replans = count_of(task, "replans") + int(replan)
    depth = count_of(task, DEPTH) + int(not replan)  # another way to the same result is no deeper
    if depth > limits.max_depth:
        raise InvalidGraph(
            f"Task {task.task_id!r} is {limits.max_depth} expansions deep, and expands again. Plan it in fewer steps, "
            "or allow a greater max_depth."
        )
    if len(dag) - 1 + len(subgraph) > limits.max_tasks:
        raise InvalidGraph(
            f"Expanding task {task.task_id!r} into {len(subgraph)} tasks would make {len(dag) - 1 + len(subgraph)} in "
            f"all; at most {limits.max_tasks} are allowed. Ask for less at a time, or allow a greater max_tasks."
        )
    ids = {inner: f"{task.task_id}-{inner}" for inner in subgraph.tasks}
    tasks = tuple(
        replace(
            inner,
            # Its parts are as urgent, and do as much harm if they are done twice.
            priority=max(task.priority, inner.priority),
            deadline_s=min((due for due in (task.deadline_s, inner.deadline_s) if due is not None), default=None),
            risk=max(task.risk, inner.risk, key=_RISKS.index),
            approval=inner.approval or (replan and task.approval),  # other work than a person has approved
            needs=task.needs if inner.needs == "all" and not inner.dependencies else inner.needs,
            on_failure=task.on_failure
            if inner.on_failure == "skip" and _is_last(inner, subgraph)
            else inner.on_failure,
            task_id=ids[inner.task_id],
            depends_on=tuple(ids[before] for before in inner.depends_on),
            inputs=rename_references(inner.inputs, lambda name: ids.get(name, name)),
            metadata={**mode_of(task), **inner.metadata, DEPTH: depth, "parent": task.task_id, "replans": replans},
        )
        for inner in subgraph
    )
    return dag.patched(GraphPatch(expand={task.task_id: tasks}))


def _is_last(task: Task, dag: TaskDAG) -> bool:
    return not dag.dependents(task.task_id)
