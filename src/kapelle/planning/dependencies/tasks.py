"""Mends a graph of tasks: adds the edges that its data flow requires, drops those that nothing needs.

Added are edges that something in the task asks for: a blank input, "compare them", "its capital". What is merely usual
(that instructions follow each other) orders no tasks here. Dropped is, with care, only an edge that was declared
although the task cannot use it: a look-up with all inputs given, no word that points back, and no risk on either side.
References stay, always.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from kapelle.graph import GraphPatch, Task, TaskDAG
from kapelle.language import word_set
from kapelle.models import ToolDefinition

from .infer import infer_dependencies
from .reading import ReadStep
from .step import PlanStep, blank_arguments, literal_arguments

# Work that needs no more than its inputs. Anything else may look at what was done before it.
_LOOK_UPS = word_set("lookup look_up search research sql query read fetch retrieve get find weather geocode translate")


def infer_task_dependencies(
    tasks: TaskDAG | Iterable[Task],
    *,
    request: str = "",
    tools: Mapping[str, ToolDefinition] | None = None,
    drop: bool = True,
) -> GraphPatch:
    """Return the patch that mends the dependencies of tasks; an empty one when there is nothing to mend.

    Args:
        tasks: a graph, or tasks that make one.
        request: what the plan is for.
        tools: what the task types take and give, by type.
        drop: whether declared edges that nothing needs are dropped.

    Raises:
        InvalidGraph: the tasks make no graph.

    >>> dag = TaskDAG([
    ...     Task(task_id="s1", task_type="lookup", description="Population of Peru", inputs={"query": "Peru"}),
    ...     Task(task_id="s2", task_type="lookup", description="Population of Chile", inputs={"query": "Chile"}),
    ...     Task(task_id="s3", task_type="compare", description="Compare both"),
    ... ])
    >>> dag.patched(infer_task_dependencies(dag))["s3"].depends_on
    ('s1', 's2')
    """
    dag = tasks if isinstance(tasks, TaskDAG) else TaskDAG(tasks)
    ordered = [dag[task_id] for task_id in dag.topological_order()]
    steps = [_to_step(task, tools or {}) for task in ordered]
    wanted: dict[str, list[str]] = {task.task_id: [] for task in ordered}
    for edge in infer_dependencies(steps, request=request, tools=tools):
        task = dag[edge.target]
        asked = edge.kind in ("argument", "blank")
        said = edge.kind == "words" and not task.dependencies
        if (asked or said) and edge.source not in task.dependencies:
            wanted[edge.target].append(edge.source)
    changed = []
    for task in dag:
        kept = [other for other in task.depends_on if not drop or _is_needed(dag[other], task)]
        depends_on = (*kept, *wanted[task.task_id])
        if depends_on != task.depends_on:
            changed.append(replace(task, depends_on=depends_on))
    return GraphPatch(replace=tuple(changed))


def _to_step(task: Task, tools: Mapping[str, ToolDefinition]) -> PlanStep:
    called = task.task_type in tools or any(blank_arguments(task.inputs))
    return PlanStep(
        id=task.task_id, text=task.description, tool=task.task_type if called else "", arguments=task.inputs
    )


def _is_needed(source: Task, target: Task) -> bool:
    """Say whether a declared edge may be needed; in doubt, it is."""
    if source.task_id in target.references or source.risk != "low" or target.risk != "low":
        return True
    if target.task_type.casefold() not in _LOOK_UPS:
        return True
    given = [value for _, value in literal_arguments(target.inputs)]
    if not given or any(blank_arguments(target.inputs)):
        return True
    step = ReadStep(text=" . ".join((target.description, *given)))
    return step.blanks > 0 or step.refers_back or step.compares or step.lead != ""
