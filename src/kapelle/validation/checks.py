"""The checks of a plan, each a pure function that yields its findings.

Solvability, completeness and non-redundancy are AOP's criteria (arXiv:2410.02189), here in their checkable form: what
the graph, the agents and the ledger's outcomes say. What the tasks say (whether they cover the request, fit their
tools, repeat each other) is checked by `content` and `redundancy`, for drafts as for plans.

What a plan takes is held to its limits in `limit_checks`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from kapelle.allocation import why_unable
from kapelle.graph import Task, find_literals

from .case import Case, forget_command, strategy_of
from .edit import Edit
from .issue import Issue
from .limit_checks import find_lateness, find_overspending, find_poor_quality
from .solvability import best_agent, rework


def find_unassigned(case: Case) -> Iterator[Issue]:
    """Completeness: every task has an agent, and every assignment has a task."""
    for task in case.dag:
        if task.task_id not in case.plan.assignments:
            yield Issue(
                kind="complete",
                severity="error",
                task_id=task.task_id,
                message=f"Task {task.task_id!r} ({task.task_type}) has no agent.",
                way_out=case.plan.unassigned.get(task.task_id, "Route the graph again, or assign the task."),
                edit=_find_doer(case, task),
            )
    for task_id, agent_id in case.plan.assignments.items():
        if task_id not in case.dag:
            yield Issue(
                kind="complete",
                severity="error",
                task_id=task_id,
                message=f"The plan assigns {task_id!r} to {agent_id!r}, but there is no such task in the graph.",
                way_out="Route this graph, or remove the assignment.",
                edit=Edit(summary=f"Forget the assignment of {task_id!r}.", unassign=(task_id,)),
            )


def find_unsolvable(case: Case) -> Iterator[Issue]:
    """Solvability: the agent exists, takes the task's type, and has the skills."""
    for task in case.dag:
        agent_id = case.plan.assignments.get(task.task_id)
        if agent_id is None or task.task_id in case.expected:
            continue
        fault = why_unable(task, strategy_of(case.plan, task.task_id), case.agents)
        if fault is not None:
            able = [agent.agent_id for agent in case.agents.values() if agent.takes(task)]
            yield Issue(
                kind="solvable",
                severity="error",
                task_id=task.task_id,
                message=f"Task {task.task_id!r} is assigned to {fault}.",
                way_out=f"Assign it to {_listed(able)}." if able else f"Add an agent with {_wanted(task)}.",
                edit=_find_doer(case, task),
            )


def find_hopeless(case: Case) -> Iterator[Issue]:
    """Solvability by experience: outcomes say that this agent fails at such tasks nearly always.

    No error: the world, or the agent, may be mended, and nothing but another try could tell.
    """
    for task in case.dag:
        routed = case.plan.tasks.get(task.task_id)
        agent = None if routed is None else case.agents.get(routed.agent)
        if routed is None or agent is None or not agent.takes(task):
            continue
        known = case.estimates.estimate(task, agent.agent_id)
        if known.is_hopeless:
            other = best_agent(task, case.staff, case.estimates)
            if routed.firm and other not in (None, agent.agent_id):
                continue  # it is asked first, and where it refuses, the other one is
            is_kept = routed.pinned or task.task_id in case.approved or task.strategy is not None
            yield Issue(
                kind="solvable",
                severity="warning",
                task_id=task.task_id,
                message=(
                    f"Task {task.task_id!r} is assigned to {agent.agent_id!r}, which at {task.task_type!r} is expected "
                    f"to succeed in {known.success_rate:.0%}, at best {known.success_bounds[1]:.0%}, as learned from "
                    f"{known.samples} outcomes. It is tried all the same."
                ),
                way_out=(f"Assign it to {other}" if other is not None else f"Add an agent with {_wanted(task)}")
                + f"; or, where what failed is mended: {forget_command(agent.agent_id, task.task_type)}",
                edit=_assign(task, other) if other is not None and not is_kept else None,
            )


def find_literal_references(case: Case) -> Iterator[Issue]:
    """What reads like a reference to a task and stays text is noticed: whoever wrote it may have meant the output."""
    names = case.dag.tasks.keys()
    for task in case.dag:
        if not (task.inputs or "{{" in task.description):
            continue
        places = {"inputs": task.inputs, "description": task.description}
        for found in (one for name, value in places.items() for one in find_literals(value, names, place=name)):
            if found.reference.task_id == task.task_id:
                continue
            what = "a mapping" if found.written == str(found.reference) else f"the text {found.written!r}"
            where = "in quotes" if found.written == str(found.reference) else "as a value in the inputs"
            yield Issue(
                kind="structure",
                severity="warning",
                task_id=task.task_id,
                message=f"Task {task.task_id!r}: {found.place} keeps {what}, not the output of "
                f"{found.reference.task_id!r}.",
                way_out=f"Write '{found.reference}' {where} to have the output there.",
            )


def _find_doer(case: Case, task: Task) -> Edit | None:
    """Return the edit that gives a task to the agent that does it best; else describes it again, or splits it."""
    if task.strategy is not None:
        return None  # who does it is an order, which only whoever gave it changes
    other = best_agent(task, case.staff, case.estimates) or best_agent(
        task, case.staff, case.estimates, even_hopeless=True
    )
    return _assign(task, other) if other is not None else rework(task, list(case.staff.values()), case.dag.tasks)


def _assign(task: Task, agent_id: str) -> Edit:
    return Edit(summary=f"Give {task.task_id!r} to {agent_id}.", assign={task.task_id: agent_id})


def find_queues(case: Case) -> Iterator[Issue]:
    """Capacity: agents with more tasks at one level than they do at a time. They queue, so it is only a warning."""
    for number, level in enumerate(case.dag.levels()):
        load = Counter(case.plan.assignments[task_id] for task_id in level if task_id in case.plan.assignments)
        for agent_id, count in load.items():
            agent = case.agents.get(agent_id)
            if agent is not None and count > agent.max_concurrency:
                yield Issue(
                    kind="capacity",
                    severity="warning",
                    message=(
                        f"{agent_id} has {count} tasks at level {number} and does {agent.max_concurrency} at a time: "
                        "the others wait."
                    ),
                    way_out="Raise its max_concurrency, or add an agent that shares the work.",
                )


CHECKS = (
    find_unassigned,
    find_literal_references,
    find_unsolvable,
    find_hopeless,
    find_overspending,
    find_lateness,
    find_poor_quality,
    find_queues,
)


def find_issues(case: Case) -> tuple[Issue, ...]:
    """Return every finding, errors first."""
    found = [issue for check in CHECKS for issue in check(case)]
    return tuple(sorted(found, key=lambda issue: issue.severity != "error"))


def _wanted(task: Task) -> str:
    skills = f" and skills: [{', '.join(sorted(task.requirements))}]" if task.requirements else ""
    return f"task_types: [{task.task_type}]{skills}"


def _listed(names: Collection[str], *, most: int = 5) -> str:
    some = list(names)[:most]
    rest = f" or {len(names) - most} others" if len(names) > most else ""
    return " or ".join(some) + rest
