"""Applies an edit to a plan and its routing, each a value, and says when a plan is better. Decides nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from kapelle.errors import InvalidInput
from kapelle.graph import TaskDAG
from kapelle.routing import HALORouter, RoutingPlan

from .edit import FIGURES, Edit
from .issue import Issue
from .result import ValidationResult

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
    plan: RoutingPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class Repair:
    """What became of a plan."""

    dag: TaskDAG
    routing_plan: RoutingPlan
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
    assignments = {task: agent for task, agent in old.assignments.items() if task not in edit.unassign}
    explanations, unassigned = dict(old.explanations), dict(old.unassigned)
    gone = set(edit.changes) - set(dag.tasks)
    for task_id in gone:
        for known in (assignments, explanations, unassigned):
            known.pop(task_id, None)
    new = [task.task_id for task in dag if task.task_id not in routed.dag or task.task_id in edit.changes]
    for task_id in new:
        task, agent_id = dag[task_id], assignments.get(task_id)
        if agent_id is not None and agent_id in router.agent_registry and router.agent_registry[agent_id].takes(task):
            continue
        choice, why = router.route_task(task, available)
        unassigned.pop(task_id, None)
        assignments.pop(task_id, None)
        if choice is None:
            unassigned[task_id] = why
        else:
            assignments[task_id], explanations[task_id] = choice, why
    for task_id, agent_id in edit.assign.items():
        unassigned.pop(task_id, None)
        before = assignments.get(task_id)
        assignments[task_id] = agent_id
        moved = f"Given to {agent_id}" + (f" instead of {before}" if before else "") + f" by repair: {edit.summary}"
        explanations[task_id] = f"{explanations.get(task_id, '')} {moved}".strip()
    metadata = _still_true(old.metadata)
    firm = {name for name in metadata.get("firm", ()) if name in dag}
    if firm := firm.union(router.find_firm([dag[task_id] for task_id in new], available)):
        metadata["firm"] = sorted(firm)
    plan = RoutingPlan(
        assignments=assignments,
        explanations=explanations,
        strategies=dict(old.strategies),
        unassigned=unassigned,
        metadata=metadata,
    )
    return Routed(dag=dag, plan=plan)


def _still_true(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of a plan without the figures of the assignment that it no longer is."""
    return {key: value for key, value in metadata.items() if key not in FIGURES}


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
