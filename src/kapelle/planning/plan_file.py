"""A plan that a person or a program wrote: `<graph>` XML, YAML or JSON.

request: Compare two capitals          # optional: what the plan is for
tasks:
  - id: s1
    type: lookup
    description: Find the capital of France
    inputs: {query: capital of France}
  - id: s2
    type: lookup
    inputs: {query: "population of {s1.answer}"}   # a reference is a dependency
    depends_on: [s1]                               # so this line is optional here
    requires: [search]                             # skills the agent must have
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import pydantic

from kapelle.documents import (
    MAX_DOCUMENT_BYTES,
    MAX_YAML_CHARS,
    STDIN,
    describe_validation_error,
    find_place,
    parse_json,
    parse_yaml,
    read_stream,
    read_text,
    write_yaml,
)
from kapelle.errors import CycleFound, InvalidGraph, InvalidPlan, UnknownTask
from kapelle.graph import Task, TaskDAG
from kapelle.limits import MAX_TASKS

from .planner import Plan

PLAN_SUFFIXES = (".xml", ".yaml", ".yml", ".json")


def read_plan(path: Path | str, *, max_tasks: int = MAX_TASKS) -> Plan:
    """Return the plan in a file; its suffix says how to read it.

    Args:
        max_tasks: How many it may have; the file may be as much larger than other documents as these are more.

    Raises:
        InvalidPlan: the file is malformed, or its tasks make no graph (`PlanIsNoGraph`); the message names file, line
            and column, and the task.
        NotFound: there is no such file.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in PLAN_SUFFIXES:
        raise InvalidPlan(f"A plan file ends in one of {', '.join(PLAN_SUFFIXES)}.", place=str(path))
    text = read_text(path, most_bytes=_most_bytes(max_tasks))
    return parse_plan(text, suffix=suffix, place=str(path), max_tasks=max_tasks)


def read_plan_stream(stream: BinaryIO, *, max_tasks: int = MAX_TASKS) -> Plan:
    """Return the plan that is piped in: XML, JSON or YAML, as its first character tells; the errors are those of
    `read_plan`."""
    text, place = read_stream(stream, most_bytes=_most_bytes(max_tasks)), STDIN
    first = text.lstrip()[:1]
    if first == "<":
        return parse_plan(text, suffix=".xml", place=place)
    if first in ("{", "["):
        try:
            parse_json(text, place=place)
        except InvalidPlan:
            if len(text) > MAX_YAML_CHARS:
                raise
            return parse_plan(text, place=place, max_tasks=max_tasks)  # YAML has such brackets too
        return parse_plan(text, suffix=".json", place=place, max_tasks=max_tasks)
    return parse_plan(text, place=place, max_tasks=max_tasks)


def parse_plan(text: str, *, suffix: str = ".yaml", place: str = "plan", max_tasks: int = MAX_TASKS) -> Plan:
    """Return the plan in a text; the errors are those of `read_plan`."""
    planner = f"file {place}"
    if suffix == ".xml":
        try:
            graph = TaskDAG.from_xml(text)
        except InvalidPlan as error:
            raise InvalidPlan(str(error), place=place) from error
        except InvalidGraph as error:
            raise PlanIsNoGraph(str(error), place=place) from error
        return Plan(request=_describe(graph), graph=graph, planner=planner)
    document = parse_json(text, place=place) if suffix == ".json" else parse_yaml(text, place=place)
    source = _Source(text=text, place=place, is_list=isinstance(document, list))
    file = _validated(document, source, max_tasks)
    graph = _build(file, source)
    return Plan(request=file.request or _describe(graph), graph=graph, planner=planner, notes=tuple(file.notes))


def write_plan(request: str, graph: TaskDAG) -> str:
    """Return a plan as YAML that `parse_plan` reads back as the same graph."""
    tasks = []
    for task in graph:
        fields = task.to_dict()
        entry = {"id": fields.pop("task_id"), "type": fields.pop("task_type")}
        tasks.append({**entry, **fields})
    return write_yaml({"request": request, "tasks": tasks})


def build_graph(tasks: list[Task], *, place: str) -> TaskDAG:
    """Return the graph of these tasks; an empty one is refused, and errors name the place."""
    if not tasks:
        raise InvalidPlan("The plan has no tasks. Give at least one.", place=place)
    return TaskDAG(tasks)


class PlanIsNoGraph(InvalidPlan, InvalidGraph):
    """The tasks of a file, each well-formed, make no graph; `place` is that of the task at fault."""


class PlannedTask(pydantic.BaseModel):
    """One task as it stands in a file."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    task_id: Annotated[str, pydantic.Field(validation_alias=pydantic.AliasChoices("id", "task_id"))]
    task_type: Annotated[str, pydantic.Field(validation_alias=pydantic.AliasChoices("type", "task_type"))]
    description: str = ""
    depends_on: list[str] = []
    inputs: dict[str, Any] = {}
    requirements: Annotated[
        list[str], pydantic.Field(validation_alias=pydantic.AliasChoices("requires", "requirements"))
    ] = []
    priority: int = 0
    deadline_s: float | None = None
    timeout_s: float | None = None
    retries: int | None = None
    agent: str | None = None
    """Who is to do it: short for a strategy of one agent."""
    strategy: Any = None
    risk: Literal["low", "medium", "high"] = "low"
    on_failure: Literal["skip", "fail", "continue"] = "skip"
    needs: Literal["all", "some"] = "all"
    approval: bool = False
    metadata: dict[str, Any] = {}

    def task(self) -> Task:
        """Return it as a Task.

        Raises:
            InvalidGraph: a field is malformed.
        """
        if self.agent is not None and self.strategy is not None:
            raise InvalidGraph(f"Task {self.task_id!r} names an agent and a strategy. Keep one.")
        fields = self.model_dump(exclude={"agent"})
        fields["requirements"] = frozenset(self.requirements)
        fields["strategy"] = self.agent if self.strategy is None else self.strategy
        return Task(**fields)


_FIELDS = (
    "id",
    "type",
    "requires",
    *[name for name, one in PlannedTask.model_fields.items() if not one.validation_alias],
)


class _PlanFile(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    request: str = ""
    tasks: list[PlannedTask]
    notes: list[str] = []


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """Where a plan stands, to tell the place of what is wrong with it."""

    text: str
    place: str
    is_list: bool
    """Whether the tasks stand alone, without the mapping around them."""

    def at(self, *path: int | str) -> str:
        """Return the place of a part of the plan: file, line and column."""
        found = find_place(self.text, path[1:] if self.is_list else path)
        return f"{self.place}, {found}" if found else self.place


def _validated(document: Any, source: _Source, max_tasks: int) -> _PlanFile:
    if source.is_list:
        document = {"tasks": document}
    if not isinstance(document, dict):
        raise InvalidPlan("A plan is a mapping with a list of 'tasks'.", place=source.place)
    tasks = document.get("tasks")
    if isinstance(tasks, list) and len(tasks) > max_tasks:
        raise InvalidPlan(
            f"The plan has {len(tasks):,} tasks, and at most {max_tasks:,} are read. Split it, let tasks work on "
            f"lists, or allow more: --max-tasks {len(tasks)}, or max_tasks={len(tasks)} in Python.",
            place=source.place,
        )
    try:
        return _PlanFile.model_validate(document)
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False)
        first, unknown = found[0], next((one for one in found if one["type"] == "extra_forbidden"), None)
        known = list(_PlanFile.model_fields) if unknown is not None and len(unknown["loc"]) == 1 else _FIELDS
        way_out = f". Use {', '.join(known)}." if unknown is not None else ""
        raise InvalidPlan(describe_validation_error(error) + way_out, place=source.at(*first["loc"])) from error
    except RecursionError as error:
        raise InvalidPlan("The values are nested too deeply.", place=source.place) from error


def _most_bytes(max_tasks: int) -> int:
    return MAX_DOCUMENT_BYTES * max(1, -(-max_tasks // MAX_TASKS))


def _build(file: _PlanFile, source: _Source) -> TaskDAG:
    tasks: list[Task] = []
    for number, entry in enumerate(file.tasks):
        try:
            tasks.append(entry.task())
        except InvalidGraph as error:
            raise InvalidPlan(str(error), place=source.at("tasks", number)) from error
    try:
        return build_graph(tasks, place=source.place)
    except InvalidGraph as error:
        raise PlanIsNoGraph(str(error), place=source.at(*_find_fault(error, tasks))) from error


def _find_fault(error: InvalidGraph, tasks: list[Task]) -> tuple[int | str, ...]:
    """Return the path to the task that makes no graph of the others."""
    ids = [task.task_id for task in tasks]
    if isinstance(error, CycleFound):
        return "tasks", ids.index(error.tasks[0])
    if isinstance(error, UnknownTask):
        return "tasks", ids.index(error.task_id)
    return "tasks", next((number for number, one in enumerate(ids) if one in ids[:number]), 0)


def _describe(graph: TaskDAG) -> str:
    last = [graph.tasks[task_id] for task_id in graph.sinks]
    return "; ".join(task.description or task.task_type for task in last[:3]) + ("; ..." if len(last) > 3 else "")
