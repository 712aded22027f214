"""Folds a run's events into the Run that they tell; nothing else ever makes a Run.

So a run that has just ended and one that is read back a year later are the same value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from kapelle.errors import LedgerCorrupt
from kapelle.graph import TaskDAG

from .event import RUN_STEPS, TASK_STEPS, Event
from .run import Run, TaskRun
from .usage import Usage


def rebuild_run(events: Iterable[Event]) -> Run:
    """Return the run that these events tell.

    Raises:
        LedgerCorrupt: the events are not a run: the first does not start it, one is missing, or one cannot follow.
    """
    run: Run | None = None
    seen: list[Event] = []
    for event in events:
        if event.seq != len(seen):
            raise LedgerCorrupt(f"Run {event.run_id!r}: event {len(seen)} is missing, {event.seq} was found.")
        seen.append(event)
        run = _apply(run, event)
    if run is None:
        raise LedgerCorrupt("A run without events cannot be rebuilt.")
    return replace(run, events=tuple(seen))


def _apply(run: Run | None, event: Event) -> Run:
    state = None if run is None else run.state
    if (state, event.kind) not in RUN_STEPS:
        raise LedgerCorrupt(
            f"Run {event.run_id!r}, event {event.seq}: {event.kind!r} cannot follow in state {state!r}."
        )
    if run is None:
        settings = dict(event.data.get("settings", {}))
        return Run(run_id=event.run_id, request=event.data["request"], started_at=event.at, settings=settings)
    match event.kind:
        case "run_planned":
            graph = TaskDAG.from_dict(event.data["graph"])
            tasks = {task_id: TaskRun(task_id=task_id) for task_id in graph.tasks}
            notes = tuple(event.data.get("notes", ()))
            return replace(
                run,
                graph=graph,
                tasks=tasks,
                planner=event.data["planner"],
                planning_cost_usd=event.data.get("cost_usd", 0.0),
                planning_usage=Usage(**event.data.get("usage", {})),
                notes=notes,
            )
        case "run_routed":
            return replace(
                run,
                assignments=event.data["assignments"],
                explanations=event.data["explanations"],
                routing=event.data.get("metadata", {}),
            )
        case "run_approved":
            return replace(
                run,
                state="running",
                approved_at=event.at,
                estimates=event.data["estimates"],
                issues=tuple(event.data["issues"]),
            )
        case "run_rejected":
            return replace(run, issues=tuple(event.data["issues"]))
        case "run_finished":
            return replace(
                run,
                state=event.data["state"],
                stop_reason=event.data.get("stop_reason"),
                answer=event.data.get("answer", ""),
                finished_at=event.at,
            )
        case "graph_patched":
            return _patch(run, event)
        case "task_expanded":
            return _patch(_apply_to_task(run, event), event)
        case _:
            return _apply_to_task(run, event)


def _patch(run: Run, event: Event) -> Run:
    """Take on a new version of the graph. Tasks keep what became of them, also those that it no longer has."""
    data = event.data
    graph = TaskDAG.from_dict(data["graph"])
    gone = {task_id: task for task_id, task in run.tasks.items() if task_id not in graph}
    return replace(
        run,
        graph=graph,
        tasks={task_id: run.tasks.get(task_id, TaskRun(task_id=task_id)) for task_id in graph.tasks},
        replaced={**run.replaced, **gone},
        assignments={**run.assignments, **data["assignments"]},
        explanations={**run.explanations, **data["explanations"]},
        estimates={**run.estimates, **data["estimates"]},
        planning_cost_usd=run.planning_cost_usd + data.get("planning_cost_usd", 0.0),
        planning_usage=run.planning_usage + Usage(**data.get("planning_usage", {})),
    )


def _apply_to_task(run: Run, event: Event) -> Run:
    task = run.tasks.get(event.task_id or "")
    if task is None or (task.state, event.kind) not in TASK_STEPS:
        state = "unknown" if task is None else task.state
        raise LedgerCorrupt(
            f"Run {event.run_id!r}, event {event.seq}: {event.kind!r} cannot happen to task {event.task_id!r}, "
            f"which is {state}."
        )
    data = event.data
    changed = replace(
        task,
        state=TASK_STEPS[(task.state, event.kind)],
        agent=data.get("agent", task.agent),
        output=data.get("output"),
        reason=data.get("reason"),
        usage=Usage(**data.get("usage", {})),
        cost_usd=data.get("cost_usd", 0.0),
        quality=data.get("quality"),
        started_at=event.at if event.kind == "task_started" else task.started_at,
        seconds=data.get("seconds", 0.0),
    )
    # One new dict per event keeps Run a value; runs have tens of tasks, seldom thousands.
    return replace(run, tasks={**run.tasks, task.task_id: changed})
