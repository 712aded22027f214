"""What becomes of a run when its plan changes while it runs: other agents for what waits, another graph. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .fields import Fields
from .run import Run
from .task_run import TaskRun


def reassigned(run: Run, tasks: Mapping[str, TaskRun], data: Fields) -> Run:
    """Take on who does some of the tasks that wait. What was drawn when others were to do them holds no more."""
    moved = data.texts_by_task("assignments")
    for task_id in moved:
        if tasks[task_id].state != "waiting":
            raise ValueError(f"the task {task_id!r} is {tasks[task_id].state}, and is given to another agent")
    kept = {task_id: one for task_id, one in run.strategies.items() if task_id not in moved}
    routing = dict(run.routing)
    if isinstance(drawn := routing.get("features"), Mapping):
        routing["features"] = {task_id: one for task_id, one in drawn.items() if task_id not in moved}
    return replace(
        run,
        assignments={**run.assignments, **moved},
        strategies={**kept, **data.mappings_by_task("strategies")},
        explanations={**run.explanations, **data.texts_by_task("explanations")},
        estimates={**run.estimates, **data.estimates("estimates")},
        routing=routing,
    )


def patched(run: Run, tasks: dict[str, TaskRun], data: Fields) -> tuple[Run, dict[str, TaskRun]]:
    """Take on a new version of the graph. Tasks keep what became of them, also those that it no longer has."""
    graph = data.changed_graph("change", run.graph)
    gone = {task_id: task for task_id, task in tasks.items() if task_id not in graph}
    changed = replace(
        run,
        graph=graph,
        graph_version=run.graph_version + 1,
        replaced={**run.replaced, **gone},
        assignments={**run.assignments, **data.texts_by_task("assignments")},
        strategies={**run.strategies, **data.mappings_by_task("strategies")},
        explanations={**run.explanations, **data.texts_by_task("explanations")},
        estimates={**run.estimates, **data.estimates("estimates")},
        planning_cost_usd=run.planning_cost_usd + data.number("planning_cost_usd", 0.0),
        planning_usage=run.planning_usage + data.usage("planning_usage"),
    )
    return changed, {task_id: tasks.get(task_id, TaskRun(task_id=task_id)) for task_id in graph.tasks}
