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

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml

from kapelle.characters import STEERS, escape_yaml
from kapelle.documents import describe_validation_error, parse_json, parse_yaml, read_text
from kapelle.errors import InvalidGraph, InvalidPlan
from kapelle.graph import MAX_TASKS, Task, TaskDAG

from .planner import Plan

PLAN_SUFFIXES = (".xml", ".yaml", ".yml", ".json")


def read_plan(path: Path | str) -> Plan:
    """Return the plan in a file; its suffix says how to read it.

    Raises:
        InvalidPlan: the file is malformed; the message names the line or the task.
        InvalidGraph: its tasks make no graph.
        NotFound: there is no such file.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in PLAN_SUFFIXES:
        raise InvalidPlan(f"A plan file ends in one of {', '.join(PLAN_SUFFIXES)}.", place=str(path))
    return parse_plan(read_text(path), suffix=suffix, place=str(path))


def parse_plan(text: str, *, suffix: str = ".yaml", place: str = "plan") -> Plan:
    """Return the plan in a text; the errors are those of `read_plan`."""
    planner = f"file {place}"
    if suffix == ".xml":
        try:
            graph = TaskDAG.from_xml(text)
        except InvalidPlan as error:
            raise InvalidPlan(str(error), place=place) from error
        return Plan(request=_describe(graph), graph=graph, planner=planner)
    document = parse_json(text, place=place) if suffix == ".json" else parse_yaml(text, place=place)
    file = _validated(document, place)
    graph = build_graph([entry.task(place) for entry in file.tasks], place=place)
    return Plan(request=file.request or _describe(graph), graph=graph, planner=planner, notes=tuple(file.notes))


def write_plan(request: str, graph: TaskDAG) -> str:
    """Return a plan as YAML that `parse_plan` reads back as the same graph."""
    tasks = []
    for task in graph:
        fields = task.to_dict()
        entry = {"id": fields.pop("task_id"), "type": fields.pop("task_type")}
        tasks.append({**entry, **fields})
    document = {"request": request, "tasks": tasks}
    # Folding long lines would lose spaces at their ends.
    return escape_yaml(yaml.dump(document, Dumper=_PlanDumper, sort_keys=False, allow_unicode=True, width=math.inf))


def build_graph(tasks: list[Task], *, place: str) -> TaskDAG:
    """Return the graph of these tasks; an empty one is refused, and errors name the place."""
    if not tasks:
        raise InvalidPlan("The plan has no tasks. Give at least one.", place=place)
    return TaskDAG(tasks)


class PlannedTask(pydantic.BaseModel):
    """One task as it stands in a file."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    task_id: Annotated[str, pydantic.Field(validation_alias=pydantic.AliasChoices("task_id", "id"))]
    task_type: Annotated[str, pydantic.Field(validation_alias=pydantic.AliasChoices("task_type", "type"))]
    description: str = ""
    depends_on: list[str] = []
    inputs: dict[str, Any] = {}
    requirements: Annotated[
        list[str], pydantic.Field(validation_alias=pydantic.AliasChoices("requirements", "requires"))
    ] = []
    priority: int = 0
    deadline_s: float | None = None
    timeout_s: float | None = None
    retries: int | None = None
    agent: str | None = None
    """Who is to do it: short for a strategy of one agent."""
    strategy: str | dict[str, Any] | None = None
    risk: Literal["low", "medium", "high"] = "low"
    on_failure: Literal["skip", "fail", "continue"] = "skip"
    needs: Literal["all", "some"] = "all"
    approval: bool = False
    metadata: dict[str, Any] = {}

    def task(self, place: str) -> Task:
        """Return it as a Task."""
        fields = self.model_dump(exclude={"agent"})
        strategy = self.agent if self.strategy is None else self.strategy
        if self.agent is not None and self.strategy is not None:
            raise InvalidPlan(f"Task {self.task_id!r} names an agent and a strategy. Keep one.", place=place)
        try:
            return Task(**{**fields, "requirements": frozenset(self.requirements), "strategy": strategy})
        except InvalidGraph as error:
            raise InvalidPlan(str(error), place=place) from error


class _PlanFile(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    request: str = ""
    tasks: Annotated[list[PlannedTask], pydantic.Field(max_length=MAX_TASKS)]
    notes: list[str] = []


def _validated(document: Any, place: str) -> _PlanFile:
    if isinstance(document, list):
        document = {"tasks": document}
    if not isinstance(document, dict):
        raise InvalidPlan("A plan is a mapping with a list of 'tasks'.", place=place)
    try:
        return _PlanFile.model_validate(document)
    except pydantic.ValidationError as error:
        raise InvalidPlan(describe_validation_error(error), place=place) from error
    except RecursionError as error:
        raise InvalidPlan("The values are nested too deeply.", place=place) from error


def _describe(graph: TaskDAG) -> str:
    last = [graph.tasks[task_id] for task_id in graph.sinks]
    return "; ".join(task.description or task.task_type for task in last[:3]) + ("; ..." if len(last) > 3 else "")


class _PlanDumper(yaml.SafeDumper):
    """Quotes texts with characters that change what is shown, so that they can be escaped; among them are line breaks
    of other scripts, which the library's plain style would turn into spaces."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if STEERS.search(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_PlanDumper.add_representer(str, _represent_text)
