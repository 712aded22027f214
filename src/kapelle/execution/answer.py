"""What to show the user when a run has ended: the outputs at the ends of the graph, as far as they were done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kapelle.graph import TaskDAG, render_output


def compose_answer(graph: TaskDAG, outputs: Mapping[str, Any]) -> str:
    """Return the answer as text: the outputs that no finished task has used.

    One such output is the answer. Several stand under the descriptions of their tasks, in plan order.
    """
    ends = [
        task
        for task in graph
        if task.task_id in outputs and not any(d in outputs for d in graph.dependents(task.task_id))
    ]
    if len(ends) == 1:
        return render_output(outputs[ends[0].task_id])
    return "\n\n".join(
        f"## {task.description or task.task_id}\n\n{render_output(outputs[task.task_id])}" for task in ends
    )
