"""Reads function calls out of what agents answer, and holds them against the functions that a task declares.

An answer may give its calls as Python would (`[f(a=1), g(b='x')]`), as JSON (`[{"name": "f", "arguments": {"a": 1}}]`)
or as providers log them (`[{"f": "{\\"a\\": 1}"}]`). Declarations are JSON schemas, with the type names of the Berkeley
Function Calling Leaderboard (Patil et al., 2024: `dict`, `float`, `tuple`, `any`, and those of Java and JavaScript).

Answers are untrusted: they are parsed and never run, and what is too long or too deep is no call. Executes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kapelle.errors import InvalidPlan
from kapelle.graph import Call, parse_code_calls

from .declared import MAX_CALL_DEPTH, MAX_DECLARATION_CHARS, is_too_deep

if TYPE_CHECKING:
    from kapelle.models import ToolDefinition

MAX_CALL_CHARS = 20_000
"""Longer answers are not read as calls: a parser's time and stack grow with the text."""

_FENCE = re.compile(r"\A```[a-zA-Z]*\n?(.*?)```\Z", re.DOTALL)


def flat_name(name: str) -> str:
    """Return the name as tool interfaces write it, which know no dots: `math.hypot` is `math_hypot`."""
    return re.sub(r"\W", "_", name)


def strip_fence(text: str) -> str:
    """Return the text without white space and without the one Markdown fence around the whole of it."""
    text = text.strip()
    fenced = _FENCE.match(text) if text.startswith("```") and len(text) <= MAX_CALL_CHARS else None
    return fenced[1].strip() if fenced else text


@lru_cache(maxsize=64)
def read_calls(text: str) -> tuple[Call, ...] | None:
    """Return the calls that the whole text consists of; an empty tuple for `[]`; None where it is anything else.

    >>> read_calls("[f(a=1, b='x')]")
    (Call(name='f', arguments={'a': 1, 'b': 'x'}, positional=()),)
    """
    text = strip_fence(text)
    if not text or text[0] == "#" or len(text) > MAX_CALL_CHARS or is_too_deep(text):
        return None
    if text[0] in "[{":
        try:
            return _calls_of_json(json.loads(text))
        except (ValueError, RecursionError):
            pass
    try:
        return parse_code_calls(text.replace("\\_", "_"))  # Markdown's way to write an underscore
    except InvalidPlan:
        return None


@lru_cache(maxsize=64)
def read_declarations(context: str) -> Mapping[str, ToolDefinition]:
    """Return the functions that a JSON text declares, by their flat names; none where it declares none.

    The text is one declaration, a list of them, or an object whose `functions` or `tools` holds them; a declaration is
    `{"name", "parameters"}`, or the same within `{"type": "function", "function": ...}`. What is declared in the words
    of Java, JavaScript or Python comes back in those of JSON schemas.
    """
    if not context or context.lstrip()[:1] not in ("[", "{") or len(context) > MAX_DECLARATION_CHARS:
        return {}
    if is_too_deep(context, 100):
        return {}
    try:
        data = json.loads(context)
    except (ValueError, RecursionError):
        return {}
    if isinstance(data, Mapping) and "name" not in data and "function" not in data:
        data = data.get("functions", data.get("tools"))
    found = {}
    for item in data if isinstance(data, list) else [data]:
        declared = _declaration(item)
        if declared is not None:
            found[flat_name(declared.name)] = declared
    return found


def find_call_problems(calls: Sequence[Call], declared: Mapping[str, ToolDefinition]) -> list[str]:
    """Return in words what does not fit: unknown functions and arguments, missing arguments, wrong types."""
    from kapelle.models import find_schema_problems  # for who declares functions

    problems = []
    for call in calls:
        function = declared.get(flat_name(call.name))
        if function is None:
            problems.append(f"{call.name!r:.80} is no declared function")
            continue
        if len(call.positional) > len(function.properties):
            problems.append(f"{call.name:.80} has more arguments than the function declares")
        found = find_schema_problems(named_arguments(call, function), function.parameters)
        problems += [f"{call.name:.80}: {problem:.200}" for problem in found]
    return problems


def named_arguments(call: Call, function: ToolDefinition) -> dict[str, Any]:
    """Return the arguments by name; those without one take the declared names in their order."""
    return {**dict(zip(function.properties, call.positional, strict=False)), **call.arguments}


_TYPES = {
    name: kind
    for kind, names in {
        "integer": "integer int long Integer Long short byte BigInt Bigint",
        "number": "float number double Double Float",
        "boolean": "boolean Boolean bool",
        "array": "array tuple list Array ArrayList set Set Queue Stack",
        "object": "dict object HashMap Hashtable Map Object",
        "string": "string String char Char str",
    }.items()
    for name in names.split()
}
"""The type names of declarations to those of JSON schemas; others say nothing of the value."""
_OUR_NAMES = frozenset(
    [
        *("integer", "float", "number", "boolean", "bool", "array", "tuple", "list", "set"),
        *("dict", "object", "string", "str"),
    ]
)
"""The rest are names of Java and JavaScript, whose values reach us as texts (`"new HashMap<>()"`): a text fits them."""


def declared_type(schema: Mapping[str, Any]) -> str | None:
    """Return the JSON type of an argument, as `read_declarations` gives it; None where any value fits."""
    kind = schema.get("type")
    return kind[0] if isinstance(kind, list) else kind


def _declaration(item: Any) -> ToolDefinition | None:
    if isinstance(item, Mapping) and isinstance(item.get("function"), Mapping):
        item = item["function"]
    if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
        return None
    parameters = item.get("parameters", item.get("input_schema"))
    parameters = parameters if isinstance(parameters, Mapping) else {}
    properties, required = parameters.get("properties"), parameters.get("required")
    from kapelle.models import ToolDefinition  # as above

    return ToolDefinition(
        name=item["name"],
        parameters={
            "properties": _schemas(properties, 0),
            "required": [name for name in required if isinstance(name, str)] if isinstance(required, list) else [],
            "additionalProperties": False,
        },
    )


def _schemas(properties: Any, depth: int) -> dict[str, Any]:
    if not isinstance(properties, Mapping):
        return {}
    return {name: _schema(declared, depth) for name, declared in properties.items() if isinstance(declared, Mapping)}


def _schema(declared: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Return the JSON schema of what is declared: its type, allowed values, default and parts.

    Bounds and patterns are left out: no function of these benchmarks has them, and a pattern may take for ever.
    """
    schema = {"default": declared["default"]} if "default" in declared else {}
    name = declared.get("type")
    kind = _TYPES.get(name) if isinstance(name, str) else None
    allowed = declared.get("enum")
    if isinstance(allowed, list) and allowed and kind not in ("array", "object"):
        schema["enum"] = allowed
    if kind is None or depth > MAX_CALL_DEPTH:
        return schema
    schema["type"] = [kind, "string"] if name not in _OUR_NAMES and kind != "string" else kind
    if kind == "array" and isinstance(declared.get("items"), Mapping):
        schema["items"] = _schema(declared["items"], depth + 1)
    if kind == "object" and declared.get("properties"):
        schema |= {"properties": _schemas(declared["properties"], depth + 1), "additionalProperties": False}
    return schema


def _calls_of_json(value: Any) -> tuple[Call, ...] | None:
    if isinstance(value, Mapping) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
    calls = [_call_of_json(item) for item in (value if isinstance(value, list) else [value])]
    found = [call for call in calls if call is not None]
    return tuple(found) if len(found) == len(calls) else None


def _call_of_json(item: Any) -> Call | None:
    if not isinstance(item, Mapping):
        return None
    if isinstance(item.get("function"), Mapping):
        item = item["function"]
    if isinstance(item.get("name"), str) and "arguments" in item:
        arguments = _arguments(item["arguments"])
        return None if arguments is None else Call(name=item["name"], arguments=arguments)
    if len(item) == 1:
        ((name, value),) = item.items()
        # Only with its arguments as a JSON text is a lone key surely a call, and not data.
        arguments = _arguments(value) if isinstance(value, str) else None
        return None if arguments is None else Call(name=name, arguments=arguments)
    return None


def _arguments(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str):
        if is_too_deep(value):
            return None
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return dict(value) if isinstance(value, Mapping) else None
