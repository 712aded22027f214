"""Applies an edit to a plan and its routing, each a value, and says when a plan is better. Decides nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from kapelle.errors import InvalidInput
from kapelle.graph import TaskDAG
from kapelle.routing import HALORouter, RoutedPlan, RoutedTask

from .approved import ValidationResult
from .edit import Edit
from .issue import Issue

MAX_ROUNDS = 3
"""How often a repaired plan is gone through for what the repair has laid open."""
MAX_EDITS = 40
"""Edits that are tried in one round; a plan with more faults is better planned again."""
MAX_TASKS_CHECKED = 60_000
"""Tasks that all trials of a repair together check: some seconds of work, and no limit for 500 tasks."""


def trials_for(tasks: int) -> int:
    """Return how many edits may be tried on a plan of so many tasks, all rounds together."""
    return max(1, MAX_TASKS_CHECKED // max(1, tasks))


@dataclass(frozen=True, kw_only=True, slots=True)
class Routed:
    """A graph and who does its tasks."""

    dag: TaskDAG
    plan: RoutedPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class Repair:
    """What became of a plan."""

    dag: TaskDAG
    routing_plan: RoutedPlan
    edits: tuple[Edit, ...]
    """What was changed, in order."""
    result: ValidationResult
    """What the validator says now; its errors are what no edit could mend."""


def apply_edit(
    routed: Routed,
    edit: Edit,
    *,
    finished: Collection[str],
    router: HALORouter,
    available: Collection[str] | None,
) -> Routed | None:
    """Return graph and routing with the edit made; None where it cannot be made, or touches what is finished."""
    if not edit.touched.isdisjoint(finished):
        return None
    try:
        patch = edit.patch
        dag = routed.dag if patch is None else routed.dag.patched(patch, finished=finished)
    except InvalidInput:
        return None
    old = routed.plan
    gone = set(edit.changes) - set(dag.tasks)
    tasks = {name: task for name, task in old.tasks.items() if name not in gone and name not in edit.unassign}
    unassigned = {name: why for name, why in old.unassigned.items() if name not in gone}
    new = [task for task in dag if task.task_id not in routed.dag or task.task_id in edit.changes]
    for task in new:
        name, known = task.task_id, tasks.get(task.task_id)
        if known and known.agent in router.agent_registry and router.agent_registry[known.agent].takes(task):
            continue
        choice, why = router.route_task(task, available)
        unassigned.pop(name, None)
        tasks.pop(name, None)
        if choice is None:
            unassigned[name] = why
        else:
            tasks[name] = RoutedTask(agent=choice, reason=why)
    for name, agent_id in edit.assign.items():
        unassigned.pop(name, None)
        known = tasks.get(name)
        why = f"Given to {agent_id}" + (f" instead of {known.agent}" if known else "") + f" by repair: {edit.summary}"
        tasks[name] = (known or RoutedTask(agent=agent_id)).moved(agent_id, why, strategy=None)
    for name in router.find_firm(new, available):
        if name in tasks:
            tasks[name] = replace(tasks[name], firm=True)
    plan = RoutedPlan(
        tasks=tasks, unassigned=unassigned, optimizer_error=old.optimizer_error, remarks=old.remarks
    )  # without the figures: they are of the assignment that it no longer is
    return Routed(dag=dag, plan=plan)


def is_better(after: Iterable[Issue], before: Iterable[Issue]) -> bool:
    """Whether there are strictly fewer errors, and of no kind more; or as many, and fewer agents that fail."""
    (now, now_failing), (then, then_failing) = (_count(issues) for issues in (after, before))
    return now <= then and (now.total(), now_failing) < (then.total(), then_failing)


def is_mendable(issue: Issue) -> bool:
    """Whether repair tries what an issue proposes: that of an error, and that an agent that fails is passed over."""
    return issue.edit is not None and (issue.severity == "error" or issue.kind == "solvable")


def _count(issues: Iterable[Issue]) -> tuple[Counter[str], int]:
    issues = tuple(issues)
    errors = Counter[str](issue.kind for issue in issues if issue.severity == "error")
    return errors, sum(issue.severity == "warning" and issue.kind == "solvable" for issue in issues)
