"""What a person's word about a run or an agent is about: which answers a rating means, and what there is to forget."""

from __future__ import annotations

from collections.abc import Sequence

from kapelle.errors import InvalidInput, NotFound
from kapelle.ledger import Outcome, Run

MOST_NAMES = 8


def find_rated(run: Run, task_id: str | None) -> list[tuple[str, str, str]]:
    """Return the tasks that are rated, each with its type and the agent whose answer was taken.

    Raises:
        NotFound: the run has no such task.
        InvalidInput: the task, or none of the run's last ones, is done.
    """
    tasks = run.graph.tasks if run.graph is not None else {}
    if task_id is not None and task_id not in tasks:
        names = _listed(sorted(tasks))
        raise NotFound(f"Run {run.run_id} has no task {task_id!r}. It has: {names}." if names else _no_answer(run))
    if run.graph is None:
        raise InvalidInput(_no_answer(run))
    wanted = [task_id] if task_id is not None else _last_tasks(run)
    rated = []
    for name in wanted:
        state, agent = run.tasks[name].state, run.tasks[name].agent or run.assignments.get(name)
        if state == "done" and agent is not None:
            rated.append((name, tasks[name].task_type, agent))
        elif task_id is not None:
            raise InvalidInput(
                f"Task {name!r} of run {run.run_id} is {state}: there is no answer to rate. "
                f"`kapelle explain {run.run_id}` shows which tasks are done."
            )
    if not rated:
        raise InvalidInput(_no_answer(run))
    return rated


def nothing_to_forget(agent: str, task_type: str | None, known: Sequence[Outcome], rows: Sequence[Outcome]) -> str:
    """Return why there is nothing to forget, and what there is instead."""
    if known:
        types = _listed(sorted({outcome.task_type for outcome in known}))
        what = "before that time" if task_type is None else f"at {task_type!r} that is meant"
        return f"Agent {agent!r} has done nothing {what}. What it has done: {types}."
    agents = _listed(sorted({outcome.agent for outcome in rows}))
    there = f"There are outcomes of: {agents}." if agents else "The ledger holds no outcomes."
    return f"No outcome of an agent {agent!r} counts. {there}"


def _last_tasks(run: Run) -> list[str]:
    assert run.graph is not None
    needed = {before for task in run.graph for before in run.graph.dependencies(task.task_id)}
    return [task.task_id for task in run.graph if task.task_id not in needed]


def _no_answer(run: Run) -> str:
    return (
        f"Run {run.run_id} is {run.state}, and none of its last tasks is done: there is no answer to rate. Rate a task "
        f"that is done; `kapelle explain {run.run_id}` shows them."
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
