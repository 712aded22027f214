"""What an agent that runs on a model is told of its task."""

from __future__ import annotations

import json

from kapelle.graph import Task, render_output, title_task

from .agent import TaskContext


def task_prompt(task: Task, context: TaskContext) -> str:
    """Return the user's request, the task with its inputs, and what came before it.

    The request comes first and never changes within a run, so that providers' prompt caches hold from task to task.
    """
    parts = [f"The user's request, of which your task is a part:\n{context.request}"] if context.request else []
    parts.append(f"Your task ({task.task_type}): {task.description or task.task_type}")
    if task.inputs:
        parts.append(f"Inputs:\n{json.dumps(task.inputs, ensure_ascii=False, default=str, indent=1)}")
    for task_id, output in context.upstream.items():
        source = context.upstream_tasks.get(task_id)
        title = title_task(source) if source is not None else task_id
        parts.append(f"Result of an earlier task ({title}):\n{render_output(output)}")
    return "\n\n".join(parts)
