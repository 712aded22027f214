"""What to show the user when a run has ended: the outputs at the ends of the graph, as far as they were done.

What rests on the memory of a model says so, also where whoever wrote the answer has left that out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from kapelle.graph import TaskDAG, render_output, title_task


def compose_answer(
    graph: TaskDAG, outputs: Mapping[str, Any], from_memory: Collection[str] = (), *, mark: str = ""
) -> str:
    """Return the answer as text: the outputs that no finished task has used.

    One such output is the answer. Several stand under the titles of their tasks, in plan order.

    Args:
        from_memory: Tasks whose output comes from the memory of a model.
        mark: Stands after what such a task has said; empty: nothing is marked.
    """
    ends = [
        task
        for task in graph
        if task.task_id in outputs and not any(d in outputs for d in graph.dependents(task.task_id))
    ]

    def answer_of(task_id: str) -> str:
        text = render_output(outputs[task_id])
        if not mark or not from_memory:
            return text
        if task_id in from_memory:
            return _marked(text, mark)
        unsaid = [name for name in _behind(graph, task_id) if name in from_memory and name in outputs]
        if len(unsaid) <= text.count(mark):
            return text
        titles = "; ".join(dict.fromkeys(title_task(graph[name], outputs) for name in unsaid))
        return f"{text.rstrip()}\n\n{titles} {mark}"

    if len(ends) == 1:
        return answer_of(ends[0].task_id)
    return "\n\n".join(f"## {title_task(task, outputs)}\n\n{answer_of(task.task_id)}" for task in ends)


def _marked(text: str, mark: str) -> str:
    text = text.rstrip()
    return f"{text}\n\n{mark}" if "\n" in text else f"{text} {mark}"


def _behind(graph: TaskDAG, task_id: str) -> Iterator[str]:
    """Return the tasks whose outputs went into one, directly or by others; nearest first."""
    left, seen = [*graph.dependencies(task_id)], set[str]()
    for name in left:  # grows while it is read
        if name not in seen:
            seen.add(name)
            yield name
            left += graph.dependencies(name)
