"""Reads function calls out of what agents answer, and holds them against the functions that a task declares.

An answer may give its calls as Python would (`[f(a=1), g(b='x')]`), as JSON (`[{"name": "f", "arguments": {"a": 1}}]`)
or as providers log them (`[{"f": "{\\"a\\": 1}"}]`). Declarations are JSON schemas, with the type names of the Berkeley
Function Calling Leaderboard (Patil et al., 2024: `dict`, `float`, `tuple`, `any`, and those of Java and JavaScript).

Answers are untrusted: they are parsed and never run, and what is too long or too deep is no call. Executes nothing.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

MAX_CALL_CHARS = 20_000
"""Longer answers are not read as calls: a parser's time and stack grow with the text."""
MAX_CALL_DEPTH = 30
"""Brackets within brackets; arguments of real calls stay in single digits."""
MAX_OPERATORS = 200
"""Operators in a text that is read as Python: a chain of ten thousand signs nests as deeply as brackets do."""
MAX_DECLARATION_CHARS = 200_000
"""Of a task's declared functions."""

_FENCE = re.compile(r"\A```[a-zA-Z]*\n?(.*?)```\Z", re.DOTALL)
_CALL_START = re.compile(r"\A\[?\s*[A-Za-z_][\w.]*\s*\(")
_OPERATORS = re.compile(r"[-+~*/%@<>=!&|^]|\b(?:not|lambda|if|else|for|and|or|await|yield)\b")


class Expression(str):
    """A piece of code that was given as an argument, such as a variable's name. Its value is not known."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionCall:
    """One function call, as it was written."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    positional: tuple[Any, ...] = ()
    """Arguments without a name, in their order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """A function that a task allows."""

    name: str
    properties: Mapping[str, Any]
    """Argument to its JSON schema, in the declared order."""
    required: frozenset[str]


def flat_name(name: str) -> str:
    """Return the name as tool interfaces write it, which know no dots: `math.hypot` is `math_hypot`."""
    return re.sub(r"\W", "_", name)


def strip_fence(text: str) -> str:
    """Return the text without white space and without the one Markdown fence around the whole of it."""
    text = text.strip()
    fenced = _FENCE.match(text) if text.startswith("```") and len(text) <= MAX_CALL_CHARS else None
    return fenced[1].strip() if fenced else text


def is_too_deep(text: str, most: int = MAX_CALL_DEPTH) -> bool:
    """Return whether brackets nest deeper than `most`. Brackets within texts count too: refusing those is safe."""
    depth = 0
    for bracket in re.findall(r"[\[\](){}]", text):
        depth += 1 if bracket in "([{" else -1
        if depth > most:
            return True
    return False


@lru_cache(maxsize=64)
def read_calls(text: str) -> tuple[FunctionCall, ...] | None:
    """Return the calls that the whole text consists of; an empty tuple for `[]`; None where it is anything else.

    >>> read_calls("[f(a=1, b='x')]")
    (FunctionCall(name='f', arguments={'a': 1, 'b': 'x'}, positional=()),)
    """
    text = strip_fence(text)
    if not text or len(text) > MAX_CALL_CHARS or is_too_deep(text):
        return None
    if text[0] in "[{":
        try:
            return _calls_of_json(json.loads(text))
        except (ValueError, RecursionError):
            pass
    return _calls_of_python(text)


@lru_cache(maxsize=64)
def read_declarations(context: str) -> Mapping[str, Declaration]:
    """Return the functions that a JSON text declares, by their flat names; none where it declares none.

    The text is one declaration, a list of them, or an object whose `functions` or `tools` holds them; a declaration is
    `{"name", "parameters"}`, or the same within `{"type": "function", "function": ...}`.
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


def find_call_problems(calls: Sequence[FunctionCall], declared: Mapping[str, Declaration]) -> list[str]:
    """Return in words what does not fit: unknown functions and arguments, missing arguments, wrong types."""
    problems = []
    for call in calls:
        function = declared.get(flat_name(call.name))
        if function is None:
            problems.append(f"{call.name!r:.80} is no declared function")
            continue
        if len(call.positional) > len(function.properties):
            problems.append(f"{call.name:.80} has more arguments than the function declares")
        arguments = named_arguments(call, function)
        problems += [f"{call.name:.80} lacks {name!r:.80}" for name in function.required if name not in arguments]
        for name, value in arguments.items():
            schema = function.properties.get(name)
            if schema is None:
                problems.append(f"{call.name:.80} knows no argument {name!r:.80}")
            elif not fits(value, schema):
                problems.append(f"{call.name:.80}: {name!r:.80} is no {schema.get('type')!s:.40} that fits")
    return problems


def named_arguments(call: FunctionCall, function: Declaration) -> dict[str, Any]:
    """Return the arguments by name; those without one take the declared names in their order."""
    return {**dict(zip(function.properties, call.positional, strict=False)), **call.arguments}


# Java and JavaScript values reach us as texts (`"new HashMap<>()"`), so a text fits their types too.
_FOREIGN = frozenset(
    [
        *("String", "Boolean", "Integer", "int", "long", "Long", "short", "byte", "char", "Char", "double", "Double"),
        *("Float", "BigInt", "Bigint", "HashMap", "Hashtable", "Map", "ArrayList", "Array", "Queue", "Stack", "Set"),
        "Object",
    ]
)
_WHOLE = frozenset(("integer", "int", "long", "Integer", "Long", "short", "byte", "BigInt", "Bigint"))
_NUMBERS = frozenset(("float", "number", "double", "Double", "Float"))
_BOOLEANS = frozenset(("boolean", "Boolean", "bool"))
_LISTS = frozenset(("array", "tuple", "list", "Array", "ArrayList", "set", "Set", "Queue", "Stack"))
_MAPPINGS = frozenset(("dict", "object", "HashMap", "Hashtable", "Map", "Object"))
_TEXTS = frozenset(("string", "String", "char", "Char", "str"))


def type_family(schema: Mapping[str, Any]) -> str:
    """Return what a declared type is about: whole, number, boolean, list, mapping, text, or any where it is unknown."""
    kind = schema.get("type")
    for family, names in (
        ("whole", _WHOLE),
        ("number", _NUMBERS),
        ("boolean", _BOOLEANS),
        ("list", _LISTS),
        ("mapping", _MAPPINGS),
        ("text", _TEXTS),
    ):
        if isinstance(kind, str) and kind in names:
            return family
    return "any"


def fits(value: Any, schema: Mapping[str, Any], depth: int = 0) -> bool:
    """Return whether an argument fits its declared type, allowed values and, for lists and mappings, their parts."""
    family = type_family(schema)
    allowed = schema.get("enum")
    if isinstance(allowed, list) and allowed and not isinstance(value, (list, Mapping)) and value not in allowed:
        return False
    if family == "any" or depth > MAX_CALL_DEPTH:
        return True
    if isinstance(value, str) and schema.get("type") in _FOREIGN:
        return True
    if family == "text":
        return isinstance(value, str)
    if family == "boolean":
        return isinstance(value, bool)
    if family in ("whole", "number"):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return family == "number" or isinstance(value, int) or float(value).is_integer()
    if family == "list":
        items = schema.get("items")
        if not isinstance(value, list):
            return False
        return not isinstance(items, Mapping) or all(fits(item, items, depth + 1) for item in value)
    properties = schema.get("properties")
    if not isinstance(value, Mapping):
        return False
    if not isinstance(properties, Mapping) or not properties:
        return True
    return all(isinstance(properties.get(key), Mapping) for key in value) and all(
        fits(item, properties[key], depth + 1) for key, item in value.items()
    )


def _declaration(item: Any) -> Declaration | None:
    if isinstance(item, Mapping) and isinstance(item.get("function"), Mapping):
        item = item["function"]
    if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
        return None
    parameters = item.get("parameters", item.get("input_schema"))
    parameters = parameters if isinstance(parameters, Mapping) else {}
    properties = parameters.get("properties")
    required = parameters.get("required")
    return Declaration(
        name=item["name"],
        properties={name: schema for name, schema in properties.items() if isinstance(schema, Mapping)}
        if isinstance(properties, Mapping)
        else {},
        required=frozenset(name for name in required if isinstance(name, str))
        if isinstance(required, list)
        else frozenset(),
    )


def _calls_of_json(value: Any) -> tuple[FunctionCall, ...] | None:
    if isinstance(value, Mapping) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
    calls = [_call_of_json(item) for item in (value if isinstance(value, list) else [value])]
    found = [call for call in calls if call is not None]
    return tuple(found) if len(found) == len(calls) else None


def _call_of_json(item: Any) -> FunctionCall | None:
    if not isinstance(item, Mapping):
        return None
    if isinstance(item.get("function"), Mapping):
        item = item["function"]
    if isinstance(item.get("name"), str) and "arguments" in item:
        arguments = _arguments(item["arguments"])
        return None if arguments is None else FunctionCall(name=item["name"], arguments=arguments)
    if len(item) == 1:
        ((name, value),) = item.items()
        # Only with its arguments as a JSON text is a lone key surely a call, and not data.
        arguments = _arguments(value) if isinstance(value, str) else None
        return None if arguments is None else FunctionCall(name=name, arguments=arguments)
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


def _calls_of_python(text: str) -> tuple[FunctionCall, ...] | None:
    text = text.replace("\\_", "_")  # Markdown's way to write an underscore
    if text == "[]":
        return ()
    if not _CALL_START.match(text) or len(_OPERATORS.findall(text)) > MAX_OPERATORS + 4 * text.count("("):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a stranger's `\d` in a text is no business of ours
            node = ast.parse(text, mode="eval").body
        nodes = node.elts if isinstance(node, (ast.List, ast.Tuple)) else [node]
        calls = [_call_of_node(item) for item in nodes]
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None
    found = [call for call in calls if call is not None]
    return tuple(found) if len(found) == len(calls) else None


def _call_of_node(node: ast.expr) -> FunctionCall | None:
    if not isinstance(node, ast.Call):
        return None
    name = _dotted(node.func)
    if name is None or any(keyword.arg is None for keyword in node.keywords):
        return None
    if any(isinstance(argument, ast.Starred) for argument in node.args):
        return None
    return FunctionCall(
        name=name,
        arguments={str(keyword.arg): _plain(keyword.value) for keyword in node.keywords},
        positional=tuple(_plain(argument) for argument in node.args),
    )


def _dotted(node: ast.expr) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join((node.id, *reversed(parts)))


_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None}


def _plain(node: ast.expr) -> Any:
    """Return the argument as a plain value; what is no literal stays as code, in its one way of being written."""
    match node:
        case ast.Constant(value=bool() | int() | str() | None as value):
            return value
        case ast.Constant(value=float() as value) if math.isfinite(value):
            return value
        case ast.Name(id=name) if name in _WORDS:
            return _WORDS[name]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if math.isfinite(value):
            return -value
        case ast.List(elts=elts) | ast.Tuple(elts=elts) | ast.Set(elts=elts):
            return [_plain(item) for item in elts]
        case ast.Dict(keys=keys, values=values) if all(isinstance(key, ast.Constant) for key in keys):
            return {str(key.value): _plain(item) for key, item in zip(keys, values, strict=True)}  # type: ignore[union-attr]  # see the guard
        case _:
            return Expression(ast.unparse(node))
