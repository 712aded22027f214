"""Why each task of a plan waits for another, in words a person can check. Adds and drops nothing: see dependencies."""

from __future__ import annotations

from collections.abc import Mapping

from kapelle.graph import MAX_DRAWN, Task, TaskDAG, find_references

from .dependencies import PlanStep, infer_dependencies

_JOINING = frozenset({"compare", "report", "write", "summarize", "combine", "join", "answer"})


def explain_edges(graph: TaskDAG, request: str = "") -> Mapping[tuple[str, str], str]:
    """Return the reason of every edge, by (source, target).

    >>> graph = TaskDAG([
    ...     Task(task_id="s1", task_type="lookup"),
    ...     Task(task_id="s2", task_type="lookup", inputs={"query": "population of {s1.answer}"}),
    ... ])
    >>> explain_edges(graph)[("s1", "s2")]
    'its query uses {s1.answer}'
    """
    steps = [PlanStep(id=task_id, text=graph[task_id].description) for task_id in graph.topological_order()]
    if len(steps) > MAX_DRAWN:  # nobody reads so many, and words are compared with those of all other tasks
        steps = []
    inferred = {
        (edge.source, edge.target): edge.reason
        for edge in infer_dependencies(steps, request=request)
        if edge.kind != "usual"
    }
    reasons: dict[tuple[str, str], str] = {}
    for source, target in graph.edges:
        task = graph[target]
        if used := _uses(task, source):
            reasons[(source, target)] = used
        elif task.task_type in _JOINING:
            reasons[(source, target)] = "it puts together what that finds"
        else:
            reasons[(source, target)] = inferred.get((source, target), "the plan says that it comes after")
    return reasons


def _uses(task: Task, source: str) -> str:
    places = [
        f"its {name} uses {reference}"
        for name, value in task.inputs.items()
        for reference in find_references(value)
        if reference.task_id == source
    ]
    return ", ".join(places)
