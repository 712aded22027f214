"""Plans in YAML, as models write them that were shown plan files: in a fence, or below a line `tasks:`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kapelle.documents import parse_yaml
from kapelle.errors import InvalidPlan

from .json_plan import JsonPlan, read_plan_value
from .loose_json import JsonObject
from .nodes import Repairs

_FENCE = re.compile(
    r"^[ \t]*```(?:ya?ml)[ \t]*\n(?P<body>.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE | re.IGNORECASE
)
_BEGINS = re.compile(
    r"^(?:(?:tasks|plan|steps|nodes|subtasks|phases|stages|workflow):[ \t]*$|"
    r"- (?:id|name|task|task_id|type|step): ?\S)",
    re.MULTILINE,
)
_GOES_ON = re.compile(r"[ \t]|-(?:[ \t]|\Z)|[\w-]+:(?:[ \t]|\Z)|#|\s*\Z")
_ALONE = re.compile(r"[A-Za-z_]\w*(?:\.\w+|\[\d+\])*")


def find_yaml_plans(text: str, repairs: Repairs) -> list[JsonPlan]:
    """Return the plan that stands in a text as YAML; none if it has none.

    Raises:
        InvalidPlan: what looks like one is malformed.
    """
    found = []
    for body, line in _blocks(text):
        try:
            value = parse_yaml(body, place="the YAML")
        except InvalidPlan as error:
            raise InvalidPlan(f"Not readable as YAML: {error}", place=f"line {line}") from error
        plan = read_plan_value(_as_json(value, line), repairs)
        if plan is not None:
            plan.line, plan.is_open = line, True
            found.append(plan)
    if found:
        repairs.note("The plan was read as YAML")
    return found


def _blocks(text: str) -> Iterator[tuple[str, int]]:
    fences = list(_FENCE.finditer(text))
    for fence in fences:
        yield fence["body"], text.count("\n", 0, fence.start("body")) + 1
    begins = None if fences else _BEGINS.search(text)
    if begins is None:
        return
    kept = []
    for line in text[begins.start() :].split("\n"):
        if not _GOES_ON.match(line) or line.startswith("```"):
            break
        kept.append(line)
    yield "\n".join(kept), text.count("\n", 0, begins.start()) + 1


def _as_json(value: Any, line: int) -> Any:
    """The value with mappings that JSON has; `{s1}` without quotes is a mapping in YAML, and a reference here."""
    if isinstance(value, dict):
        name, only = next(iter(value.items()), ("", ""))
        if len(value) == 1 and only is None and isinstance(name, str) and _ALONE.fullmatch(name):
            return "{" + name + "}"
        made = JsonObject({str(key): _as_json(item, line) for key, item in value.items()})
        made.line = line
        return made
    if isinstance(value, (list, tuple)):
        return [_as_json(item, line) for item in value]
    return value if value is None or isinstance(value, (str, bool, int, float)) else str(value)
