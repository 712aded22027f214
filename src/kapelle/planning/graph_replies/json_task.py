"""One task in JSON, with its work, its inputs and what it waits for, as models write them. Nothing of it is dropped.

A task may say its work as a call: `"function": "search(\\"capital of France\\")"`. What stands beside its inputs is an
input too; remarks about a task (why, status) are kept in its metadata. Both leave a note.
"""

from __future__ import annotations

import json
import re
from typing import Any

from kapelle.errors import InvalidPlan

from .json_fields import (
    DEPENDS,
    DESCRIPTION,
    ID,
    INPUTS,
    LISTS,
    NO_KIND,
    TASK_ID,
    TAUGHT,
    THOUGHTS,
    TYPE,
    clean_id,
    holds_tasks,
    take,
)
from .loose_json import JsonObject
from .nodes import Node, Repairs, is_whole_call

_LEVELS_OF = {"priority": re.compile(r"-?\d+"), "risk": re.compile("low|medium|high"),
    "on_failure": re.compile("skip|fail|continue"), "approval": re.compile("true|false"),
    "deadline": re.compile(r"\d+(?:\.\d+)?")}  # fmt: skip
"""What these fields of a task may say; other words are no setting."""
_NAMES_OF_TASK = ("task", "name", "step", "node", "from", "on", "target", "source", "$ref", "ref", "key")
"""Where a mapping names the task that is waited for, beside its id."""
_NO_NAME = re.compile(
    r"\s{0,9}(?:n\.?/?a\.?|[-–—]{1,9}|\[\s{0,9}\]|\{\s{0,9}\}|nothing|undefined|null|none|nil|independent|"
    r"(?:no|none|without)\s{1,9}(?:\w{1,30}\s{1,9})?(?:dependenc(?:y|ies)|prerequisites?))\s{0,9}\.?\s{0,9}",
    re.IGNORECASE,
)
"""How models write that a task waits for nothing."""
_BEFORE_NAMES = re.compile(
    r"\b(?:(?:steps?|tasks?|nodes?)\s+(?=\d)|(?:after|both|waits? for|depends on)\s+)", re.IGNORECASE
)
_NUMBERED_ID = re.compile(r"[#$]?(?:[A-Za-z]{1,8}[_-]?)?\d{1,3}")
_SKILLS = ("requirements", "requires", "skills")
_DEADLINE = ("deadline_s", "deadline")
_CARRIED = ("priority", "risk", "on_failure", "approval")
_REMARKS = frozenset({
    "why", "reason", "rationale", "note", "notes", "comment", "comments", "status", "state", "parallel", "level",
    "step", "step_number", "number", "order", "expected_output", "output", "outputs", "result", "estimated_time",
    "estimated_duration", "duration", "agent", "agent_id", "assigned_to", "assignee", "strategy", "timeout_s",
    "retries", "priority", "risk", "on_failure", "optional", "required", "confidence", "complexity",
    "estimated_cost", "estimated_cost_usd", "cost_estimate", "cost_usd", "estimated_tokens", "max_tokens", *THOUGHTS,
})  # fmt: skip
"""What is said about a task, or is the user's to order: no part of its work."""
_STEERS = frozenset({
    "condition", "conditions", "if", "run_if", "when", "unless", "repeat", "loop", "while", "until", "for_each",
    "foreach", "iterate_over",
})  # fmt: skip
"""What would have a task run sometimes, or several times: no task here does."""
_IDLE = frozenset({"always", "true", "false", "none", "no", "never", "1"})
"""What these fields say where they ask for nothing."""


def read_node(item: JsonObject, repairs: Repairs) -> Node:
    fields = dict(item)
    given = _take_text(fields, ID, item)
    task_id = clean_id(given)
    place = f"line {item.line}, node {task_id!r}"
    if task_id != given.lstrip("#$").strip("{}"):
        repairs.note("Ids were written as ids of tasks are", task_id)
    node = Node(line=item.line, attributes={"id": task_id}, names=[given])
    attributes = node.attributes
    # Our own word for it is never a call, so that our own JSON means what it says.
    may_call = "task_type" not in fields
    node.is_loose = may_call
    kind, inputs = _read_work(fields)
    description = take(fields, DESCRIPTION)
    if isinstance(fields.get("name"), str):
        name = fields.pop("name")
        node.names.append(name)
        description = name if description is None and " " in name.strip() and name.strip() != kind else description
    if isinstance(kind, list) and len(kind) == 1:
        kind = kind[0]
    for what, text in (("type", kind), ("description", description)):
        if text is not None and not isinstance(text, str):
            raise InvalidPlan(f"The {what} is {json.dumps(text)[:40]}. Give a text.", place=place)
    if kind is None and description is not None and inputs is None and is_whole_call(description.strip()):
        kind, description = description, None
    node.names += [text for text in (description, kind, fields.get("title")) if isinstance(text, str)]
    _read_depends(fields, attributes)
    values: dict[str, Any] = {}
    if may_call and kind is not None and inputs is None and "(" in kind and not any(key in fields for key in TAUGHT):
        node.text = kind.strip()
    else:
        attributes["type"] = kind if kind is not None else "task"
        values = _read_inputs(inputs, place)
    if description:
        attributes["escaped_description"] = json.dumps(description)
    _read_rest(fields, node, values, repairs, place)
    if values:
        attributes["inputs"] = json.dumps(values)
    if not attributes.get("type", "x").isprintable():
        raise InvalidPlan(f"The type {attributes['type'][:40]!r} holds odd characters.", place=place)
    return node


def _read_work(fields: dict[str, Any]) -> tuple[Any, Any]:
    """Take a task's type and inputs out of its fields."""
    kind = take(fields, TYPE)
    if isinstance(kind, str) and kind.strip().lower() in NO_KIND and any(fields.get(name) for name in (*TYPE, "name")):
        kind = take(fields, TYPE)  # {"type": "function", "function": ...}
    inputs = take(fields, INPUTS)
    if isinstance(kind, JsonObject):  # as in the tool calls of providers: {"name": ..., "arguments": ...}
        called: JsonObject = kind
        kind, inputs = called.get("name"), take(dict(called), INPUTS) if inputs is None else inputs
    task = fields.get("task")
    if kind is None and isinstance(task, str) and re.fullmatch(r"\s*[A-Za-z]\w*\s*", task):
        kind = fields.pop("task").strip()
    if kind is None and isinstance(fields.get("name"), str) and " " not in fields["name"].strip():
        kind = fields.pop("name")
    return kind, inputs


def _read_rest(fields: dict[str, Any], node: Node, values: dict[str, Any], repairs: Repairs, place: str) -> None:
    """Read what stands beside a task's work. What nobody knows is an input, or a remark, and never lost."""
    attributes = node.attributes
    skills = take(fields, _SKILLS)
    if skills:
        attributes["requires"] = json.dumps(skills if isinstance(skills, list) else [skills])
    for name, keys in (("deadline", _DEADLINE), *((name, (name,)) for name in _CARRIED)):
        value = take(fields, keys)
        said = value if isinstance(value, str) else json.dumps(value)
        if value is not None and (_LEVELS_OF[name].fullmatch(said.strip().lower()) or not isinstance(value, str)):
            attributes[name] = said.strip().lower() if isinstance(value, str) else said
        elif value:
            fields[name] = value  # words: "high", "in two days"
    if isinstance(fields.get("needs"), str):
        attributes["needs"] = fields.pop("needs")
    metadata = take(fields, ("metadata",)) or {}
    if not isinstance(metadata, JsonObject) and metadata:
        raise InvalidPlan("The metadata is no mapping.", place=place)
    kept = dict(metadata)
    for name, value in fields.items():
        if value is None or value == "" or value == [] or value == {}:
            continue
        if name not in _REMARKS and (name in LISTS or holds_tasks(value)) and holds_tasks(value):
            raise InvalidPlan(f"It holds tasks of its own in {name!r}. Put them into 'subtasks'.", place=place)
        if name in _STEERS and not (isinstance(value, (bool, int, str)) and str(value).strip().lower() in _IDLE):
            raise InvalidPlan(
                f"It has {name!r}, and a task runs once, as soon as what it waits for is done. Say it in the "
                "description, plan the tasks that are sure, or leave it out.",
                place=place,
            )
        if name in _REMARKS or name in _STEERS or node.text:
            kept[name] = value
            repairs.note(f"What {name!r} says was kept as a remark", node.task_id)
        elif values.get(name, value) != value:
            raise InvalidPlan(f"It says {name!r} twice, in its inputs and beside them. Keep one.", place=place)
        else:
            values[name] = value
            if name not in TAUGHT:
                repairs.note(f"The field {name!r} was read as an input", node.task_id)
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
        if set(inputs) == {"name", "value"} and isinstance(inputs["name"], str):
            return {inputs["name"]: inputs["value"]}
        return dict(inputs)
    if isinstance(inputs, str):
        return {"query": inputs} if inputs else {}
    if isinstance(inputs, list):
        pairs = [_read_pair(item) for item in inputs]
        if pairs and None not in pairs:
            named = [pair for pair in pairs if pair is not None]
            if len(dict(named)) < len({json.dumps(pair) for pair in named}):
                raise InvalidPlan("Two of its inputs have the same name, and say different things.", place=place)
            return dict(named)
        if len(inputs) == 1 and isinstance(inputs[0], str):
            return {"query": inputs[0]}
        return {f"arg{position}": item for position, item in enumerate(inputs, start=1)}
    raise InvalidPlan(f"The inputs are {json.dumps(inputs)[:40]}. Give a mapping.", place=place)


def _read_pair(item: Any) -> tuple[str, Any] | None:
    """`{"name": "query", "value": ...}`, or `{"query": ...}`."""
    if not isinstance(item, dict):
        return None
    if len(item) == 1:
        return next(iter((str(name), value) for name, value in item.items()))
    for name in ("name", "key", "parameter", "argument"):
        if len(item) == 2 and isinstance(item.get(name), str) and "value" in item:
            return item[name], item["value"]
    return None


def _read_depends(fields: dict[str, Any], attributes: dict[str, str]) -> None:
    needs = fields.pop("needs") if fields.get("needs") in ("all", "some") else None
    names = take_names(fields)
    if names:
        attributes["depends"] = ",".join(names)
    if needs is not None:
        fields["needs"] = needs


def take_names(fields: dict[str, Any]) -> list[str]:
    """Take what a task waits for out of its fields: all that say so, and not the first alone."""
    names: list[str] = []
    is_first = True
    for name in DEPENDS:
        given = fields.get(name)
        words = re.split(r"[\s,;]+|\band\b", given.strip()) if isinstance(given, str) else []
        # Beside another, a text of words such as "after": "the war" is an input.
        if given is None or (not is_first and not all(_NUMBERED_ID.fullmatch(word) for word in words if word)):
            continue
        names += _read_names(fields.pop(name))
        is_first = False
    return list(dict.fromkeys(names))


def _read_names(given: Any) -> list[str]:
    """The ids in a list of them, or in a text.

    Raises:
        InvalidPlan: a mapping among them names no task.
    """
    if isinstance(given, JsonObject):
        held = take(dict(given), ("tasks", "ids", "all", "any"))
        named = any(name in given for name in (*ID, *_NAMES_OF_TASK))
        given = [given] if named else held if held is not None else list(given)
    if isinstance(given, str):
        given = _split_names(given)
    names = []
    for word in [] if given is None else given if isinstance(given, list) else [given]:
        if isinstance(word, dict) and word:
            said = word
            word = take(dict(word), (*ID, *_NAMES_OF_TASK))
            if word is None:
                raise InvalidPlan(f'{json.dumps(said)[:60]} names no task to wait for. Write "depends_on": ["s1"].')
            word = word.rpartition("/")[2] if isinstance(word, str) and word.startswith("#/") else word
        if word is None or isinstance(word, bool) or (isinstance(word, (int, float)) and word < 0):
            continue
        if isinstance(word, (list, dict)):
            names += _read_names(word)
        elif str(word).strip() and not (isinstance(word, str) and _NO_NAME.fullmatch(word)):
            names.append(clean_id(str(int(word)) if isinstance(word, float) and word.is_integer() else str(word)))
    return names


def _split_names(text: str) -> list[Any]:
    """The names in a text: a list in JSON, or with anything between them."""
    if text.strip()[:1] == "[":
        try:
            held = json.loads(text)
        except (ValueError, RecursionError):
            held = None
        if isinstance(held, list):
            return held
    if _NO_NAME.fullmatch(text):
        return []
    text = _BEFORE_NAMES.sub("", text)
    parts = re.split(r"[,;|]|\band\b", text)
    apart = [word for word in re.split(r"[\s,;|&+/]+|\band\b", text) if word]
    if all(_NUMBERED_ID.fullmatch(word) for word in apart):
        return apart
    if all(TASK_ID.fullmatch(word) for part in parts for word in part.split()):
        parts = [word for part in parts for word in part.split()]
    return parts


def _take_text(fields: dict[str, Any], names: tuple[str, ...], item: JsonObject) -> str:
    value = take(fields, names)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, (str, int)) or isinstance(value, bool) or not str(value).strip():
        raise InvalidPlan('A task has no id. Write "id": "s1".', place=f"line {item.line}")
    return str(value).strip()
