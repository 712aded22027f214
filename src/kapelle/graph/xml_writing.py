"""Writes a graph as the <graph> XML that graph_xml reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kapelle.redaction import escape_xml

from .calls import fits_in_xml, looks_like_call, write_call, write_json
from .graph_xml import ENTITIES, PARALLEL_TYPE
from .task import Task


def write_graph(tasks: Iterable[Task], version: int) -> str:
    """Return the `<graph>` element from which `parse_graph` reads the same tasks."""
    attribute = f' version="{version}"' if version != 1 else ""
    return "\n".join([f"<graph{attribute}>", *map(_write_node, tasks), "</graph>"])


def _write_node(task: Task) -> str:
    call = _write_task_call(task)
    text = call if call is not None else task.description if _stands_as_text(task.description) else ""
    attributes = dict(_find_attributes(task, call))
    if task.description and task.description != text:
        if fits_in_xml(task.description):
            attributes["description"] = task.description
        else:
            attributes["escaped_description"] = write_json(task.description)
    opening = "".join(f" {name}={_quote(value)}" for name, value in attributes.items())
    return f"  <node{opening}>{_escape(text, '&<>')}</node>" if text else f"  <node{opening}/>"


def _write_task_call(task: Task) -> str | None:
    if task.description and not task.inputs:
        return None  # a description reads better than an empty call
    query = task.inputs.get("query")
    literal_query = task.task_type == PARALLEL_TYPE and isinstance(query, str) and "|" in query
    return write_call(task.task_type, task.inputs, literal_query=literal_query)


def _find_attributes(task: Task, call: str | None) -> Iterator[tuple[str, str]]:
    yield "id", task.task_id
    if call is None:
        yield "type", task.task_type
    if task.depends_on:
        yield "depends", ",".join(task.depends_on)
    if task.requirements:
        yield "requires", _write_requirements(sorted(task.requirements))
    if task.priority:
        yield "priority", str(task.priority)
    if task.deadline_s is not None:
        yield "deadline", repr(task.deadline_s).removesuffix(".0")
    if task.timeout_s is not None:
        yield "timeout", repr(task.timeout_s).removesuffix(".0")
    if task.retries is not None:
        yield "retries", str(task.retries)
    if task.strategy is not None:
        yield "strategy", write_json(task.strategy)
    if task.risk != "low":
        yield "risk", task.risk
    if task.on_failure != "skip":
        yield "on_failure", task.on_failure
    if task.needs != "all":
        yield "needs", task.needs
    if task.approval:
        yield "approval", "true"
    if call is None and task.inputs:
        yield "inputs", write_json(task.inputs)
    if task.metadata:
        yield "metadata", write_json(task.metadata)


def _write_requirements(skills: list[str]) -> str:
    plain = all(skill == skill.strip() and "," not in skill and fits_in_xml(skill) for skill in skills)
    return ",".join(skills) if plain and not skills[0].startswith("[") else write_json(skills)


def _stands_as_text(description: str) -> bool:
    """Say whether the text of a node gives back this description: whitespace at its ends and "\\r" get lost there."""
    same = description == description.strip() and "\r" not in description
    return same and fits_in_xml(description) and not looks_like_call(description)


def _quote(value: str) -> str:
    escaped = _escape(value, "&<\n\r\t")  # readers turn bare line breaks in attributes into spaces
    return f"'{escaped}'" if '"' in escaped and "'" not in escaped else '"' + escaped.replace('"', "&quot;") + '"'


def _escape(text: str, characters: str) -> str:
    for character in characters:
        text = text.replace(character, ENTITIES[character])
    return escape_xml(text)
