"""Plans and patches in JSON, in the shapes that models give them; what a shape cannot mean is an error, never dropped.

    {"tasks": [{"id": "s1", "type": "search", "inputs": {...}, "depends_on": [...]}]}      also nodes, steps, subtasks
    {"nodes": [...], "edges": [["s1", "s2"], {"from": "s1", "to": "s2"}]}
    {"tasks": {"s1": {...}, "s2": {...}}}      [{...}, {...}]      {"plan": {"tasks": ...}}
    {"graph": "<graph>...</graph>"}            {"patch": {"add": [...], "replace": [...], "remove": [...]}}

A task may say its work as a call: `"function": "search(\\"capital of France\\")"`. Fields that nobody knows are kept in
the task's metadata.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kapelle.errors import InvalidPlan

from .loose_json import JsonObject, LooseJson
from .markup import SECTIONS, FoundPatch
from .nodes import Node, Repairs, is_whole_call

_LISTS = ("tasks", "nodes", "steps", "subtasks", "sub_tasks", "graph", "plan", "dag", "task_graph")
_EDGES = ("edges", "links", "dependencies")
_PATCH = ("add", "replace", "remove", "expand")
_THOUGHTS = ("think", "thought", "thoughts", "reasoning", "analysis")
_ID = ("id", "task_id", "node_id", "step_id")
_TYPE = ("type", "task_type", "tool", "tool_name", "function", "action", "operation", "call")
_DESCRIPTION = ("description", "task", "text", "content", "instruction", "desc", "title", "goal")
_INPUTS = ("inputs", "input", "args", "arguments", "parameters", "params")
_DEPENDS = ("depends_on", "depends", "dependencies", "deps", "dependsOn", "dep", "after")
_SKILLS = ("requirements", "requires", "skills")
_DEADLINE = ("deadline_s", "deadline")
_START = re.compile(r"[\[{]")
_JSON_LIKE = re.compile(r"\{\s*(?:[\"'“”„‘}]|//|/\*|#|[A-Za-z_]\w*\s*:)|\[\s*(?:\{|//|/\*|#|\"[^\"\n]{0,80}\"\s*,|\Z)")
_EDGE_TEXT = re.compile(r"\s*([\w-]{1,128}?)\s*-{1,9}>\s*([\w-]+)\s*")
_TASK_ID = re.compile(r"[#$]?[A-Za-z0-9_][A-Za-z0-9_-]*")


@dataclass(kw_only=True, slots=True)
class JsonPlan:
    """What one JSON value of a reply says."""

    line: int
    nodes: list[Node] | None = None
    xml: str = ""
    """A `<graph>` inside of the JSON."""
    patch: FoundPatch | None = None
    sections: dict[str, str] = field(default_factory=dict)


def find_json_plans(text: str, repairs: Repairs) -> list[JsonPlan]:
    """Return the plans and patches among the JSON values in a text, prose and fences around them left aside.

    Raises:
        InvalidPlan: what looks like a plan is malformed, ambiguous or cut off; the line is named.
    """
    found: list[JsonPlan] = []
    position, line, counted = 0, 1, 0
    while (start := _START.search(text, position)) is not None:
        line, counted = line + text.count("\n", counted, start.start()), start.start()
        if _JSON_LIKE.match(text, start.start()) is None:
            position = start.end()
            continue
        value, position = LooseJson(text, start.start(), line, repairs).read()
        plan = _read_plan(value, line)
        if plan is not None:
            found.append(plan)
    return found


def _read_plan(value: Any, line: int) -> JsonPlan | None:
    if isinstance(value, list):
        mappings = [item for item in value if isinstance(item, JsonObject)]
        if not mappings:
            return None
        return JsonPlan(line=line, nodes=_read_nodes(value, f"line {line}"))
    if not isinstance(value, JsonObject):
        return None
    plan = JsonPlan(line=line)
    for name in (*SECTIONS, *_THOUGHTS):
        if isinstance(value.get(name), str):
            plan.sections["think" if name in _THOUGHTS else name] = value[name]
    if "patch" in value or any(name in value for name in _PATCH):
        plan.patch = _read_patch(value.get("patch", value), line)
        return plan
    holders = [name for name in _LISTS if isinstance(value.get(name), (list, JsonObject))]
    texts = [name for name in (*_LISTS, "xml") if isinstance(value.get(name), str) and "<node" in value[name]]
    if len(holders) + len(texts) > 1:
        both = " and ".join(map(repr, [*holders, *texts]))
        raise InvalidPlan(f"There are {both}. Put all tasks into one list 'tasks'.", place=f"line {value.line}")
    if texts:
        plan.xml = value[texts[0]]
        return plan
    if not holders:
        return plan if plan.sections else None
    _refuse_more_work(value, holders[0])
    inner = value[holders[0]]
    if isinstance(inner, JsonObject) and any(isinstance(inner.get(name), (list, JsonObject)) for name in _LISTS):
        nested = _read_plan(inner, inner.line)
        assert nested is not None
        nested.sections = {**plan.sections, **nested.sections}
        return nested
    plan.nodes = _read_nodes(inner, repr(holders[0]))
    _add_edges(plan.nodes, value)
    return plan


def _refuse_more_work(value: JsonObject, holder: str) -> None:
    """Tasks that stand beside the list of tasks would be lost."""
    for name, item in value.items():
        if name == holder or name in _EDGES:
            continue
        items = item if isinstance(item, list) else [item]
        if any(isinstance(part, JsonObject) and (set(part) & {*_ID, *_TYPE, *_DEPENDS}) for part in items):
            raise InvalidPlan(
                f"There is {name!r} beside {holder!r}. Put all tasks into {holder!r}.", place=f"line {value.line}"
            )


def _read_nodes(value: Any, place: str) -> list[Node]:
    if isinstance(value, JsonObject):
        value = [_with_id(task_id, item, value.line) for task_id, item in value.items()]
    for position, item in enumerate(value):
        if not isinstance(item, JsonObject):
            raise InvalidPlan(
                f"Item {position + 1} of the tasks is {json.dumps(item)[:40]}, not a task. "
                'Write {"id": "s1", "type": "...", "inputs": {...}}.',
                place=place,
            )
    named = [any(name in item for name in _ID) for item in value]
    if value and not any(named):
        value = [_with_id(f"s{position}", item, item.line) for position, item in enumerate(value, start=1)]
    return [_read_node(item) for item in value]


def _with_id(task_id: str, item: Any, line: int) -> JsonObject:
    if not isinstance(item, JsonObject):
        raise InvalidPlan(f"{task_id!r} is no task. Give a mapping.", place=f"line {line}")
    named = JsonObject({"id": task_id, **item})
    named.line = item.line
    return named


def _read_node(item: JsonObject) -> Node:
    fields = dict(item)
    task_id = _take_text(fields, _ID, item)
    place = f"line {item.line}, node {task_id!r}"
    node = Node(line=item.line, attributes={"id": task_id})
    attributes = node.attributes
    # Our own word for it is never a call, so that our own JSON means what it says.
    may_call = "task_type" not in fields
    kind = _take(fields, _TYPE)
    inputs = _take(fields, _INPUTS)
    if isinstance(kind, JsonObject):  # as in the tool calls of providers: {"name": ..., "arguments": ...}
        called: JsonObject = kind
        kind, inputs = called.get("name"), called.get("arguments", inputs)
    if kind is None and isinstance(fields.get("name"), str):
        kind = fields.pop("name")
    description = _take(fields, _DESCRIPTION)
    for name, text in (("type", kind), ("description", description)):
        if text is not None and not isinstance(text, str):
            raise InvalidPlan(f"The {name} is {json.dumps(text)[:40]}. Give a text.", place=place)
    if kind is None and description is not None and inputs is None and is_whole_call(description.strip()):
        kind, description = description, None
    _read_depends(fields, attributes, place)
    if may_call and kind is not None and inputs is None and "query" not in fields and "(" in kind:
        node.text = kind.strip()
    else:
        attributes["type"] = kind if kind is not None else "task"
        values = _read_inputs(inputs, place)
        if "query" in fields and "query" not in values:
            values["query"] = fields.pop("query")
        if values:
            attributes["inputs"] = json.dumps(values)
    if description:
        attributes["escaped_description"] = json.dumps(description)
    _read_rest(fields, attributes, place)
    if not attributes.get("type", "x").isprintable():
        raise InvalidPlan(f"The type {attributes['type'][:40]!r} holds odd characters.", place=place)
    return node


def _read_rest(fields: dict[str, Any], attributes: dict[str, str], place: str) -> None:
    skills = _take(fields, _SKILLS)
    if skills:
        attributes["requires"] = json.dumps(skills if isinstance(skills, list) else [skills])
    for name, keys in (("priority", ("priority",)), ("deadline", _DEADLINE), ("risk", ("risk",))):
        value = _take(fields, keys)
        if value is not None:
            attributes[name] = value if isinstance(value, str) else json.dumps(value)
    metadata = _take(fields, ("metadata",)) or {}
    if not isinstance(metadata, JsonObject) and metadata:
        raise InvalidPlan("The metadata is no mapping.", place=place)
    kept = {**metadata, **{name: value for name, value in fields.items() if value is not None}}
    if kept:
        attributes["metadata"] = json.dumps(kept)


def _read_inputs(inputs: Any, place: str) -> dict[str, Any]:
    if isinstance(inputs, str) and inputs.lstrip().startswith("{") and inputs.rstrip().endswith("}"):
        try:
            parsed = json.loads(inputs)
        except (ValueError, RecursionError):
            parsed = None
        inputs = parsed if isinstance(parsed, dict) else inputs
    if inputs is None:
        return {}
    if isinstance(inputs, dict):
        return dict(inputs)
    if isinstance(inputs, str):
        return {"query": inputs} if inputs else {}
    if isinstance(inputs, list):
        if all(isinstance(item, dict) and set(item) == {"name", "value"} for item in inputs):
            return {str(item["name"]): item["value"] for item in inputs}
        if len(inputs) == 1 and isinstance(inputs[0], str):
            return {"query": inputs[0]}
        return {f"arg{position}": item for position, item in enumerate(inputs, start=1)}
    raise InvalidPlan(f"The inputs are {json.dumps(inputs)[:40]}. Give a mapping.", place=place)


def _read_depends(fields: dict[str, Any], attributes: dict[str, str], place: str) -> None:
    given = _take(fields, _DEPENDS)
    words = [] if given is None else given if isinstance(given, list) else [given]
    names = []
    for word in words:
        if isinstance(word, dict):
            word = _take(dict(word), _ID)
        if word is None or isinstance(word, bool) or (isinstance(word, (int, float)) and word < 0):
            continue
        if not isinstance(word, (str, int)) or (isinstance(given, list) and not _TASK_ID.fullmatch(str(word).strip())):
            raise InvalidPlan(f"It depends on {json.dumps(word)[:40]}, which is no id of a task.", place=place)
        names.append(str(word).strip())
    if names:
        attributes["depends"] = ",".join(names)


def _add_edges(nodes: list[Node], value: JsonObject) -> None:
    by_id = {node.task_id: node for node in nodes}
    for before, after in _read_edges(value):
        node = by_id.get(after)
        if node is None:
            raise InvalidPlan(
                f"An edge leads to {after!r}, which is not among the tasks. Add it, or remove the edge.",
                place=f"line {value.line}",
            )
        depends = node.attributes.get("depends", "")
        if before not in depends.split(","):
            node.attributes["depends"] = f"{depends},{before}" if depends else before


def _read_edges(value: JsonObject) -> Iterator[tuple[str, str]]:
    for name in _EDGES:
        edges = value.get(name)
        if isinstance(edges, JsonObject):  # the tasks that each one waits for
            for after, before in edges.items():
                for task_id in before if isinstance(before, list) else [before]:
                    if task_id is not None:
                        yield str(task_id), str(after)
            continue
        for edge in edges if isinstance(edges, list) else ():
            yield _read_edge(edge, value.line)


def _read_edge(edge: Any, line: int) -> tuple[str, str]:
    if isinstance(edge, JsonObject):
        before = _take(dict(edge), ("from", "source", "src", "start"))
        after = _take(dict(edge), ("to", "target", "dst", "end"))
        if before is not None and after is not None:
            return str(before), str(after)
    elif isinstance(edge, list) and len(edge) == 2:
        return str(edge[0]), str(edge[1])
    elif isinstance(edge, str) and (ends := _EDGE_TEXT.fullmatch(edge)) is not None:
        return ends[1], ends[2]
    raise InvalidPlan(f'{json.dumps(edge)[:40]} is no edge. Write ["s1", "s2"]: s2 waits for s1.', place=f"line {line}")


def _read_patch(value: Any, line: int) -> FoundPatch:
    patch = FoundPatch(line=line)
    if value is None:
        return patch
    if not isinstance(value, JsonObject):
        raise InvalidPlan(
            'A patch is a mapping with "add", "replace", "remove" and "expand", or null.', place=f"line {line}"
        )
    patch.line = value.line
    for name, item in value.items():
        if item is None or item == []:
            continue
        if name in ("add", "replace"):
            single = isinstance(item, JsonObject) and any(key in item for key in _ID)
            getattr(patch, name).extend(_read_nodes([item] if single else item, repr(name)))
        elif name == "remove":
            patch.remove += [str(task_id) for task_id in (item if isinstance(item, list) else [item])]
        elif name == "expand" and isinstance(item, JsonObject):
            patch.expand.update({key: _read_nodes(nodes, repr(key)) for key, nodes in item.items()})
        elif not isinstance(item, (str, bool)) and name not in SECTIONS:
            raise InvalidPlan(
                f"A patch has no {name!r}. Use 'add', 'replace', 'remove', 'expand'.", place=f"line {value.line}"
            )
    return patch


def _take(fields: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Remove and return the first of these fields that says something; the others stay."""
    for name in names:
        if fields.get(name) is not None:
            return fields.pop(name)
    return None


def _take_text(fields: dict[str, Any], names: tuple[str, ...], item: JsonObject) -> str:
    value = _take(fields, names)
    if not isinstance(value, (str, int)) or isinstance(value, bool) or not str(value).strip():
        raise InvalidPlan('A task has no id. Write "id": "s1".', place=f"line {item.line}")
    return str(value).strip()
