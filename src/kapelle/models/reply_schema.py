"""Reads the JSON that a model was asked for, and says in words what is wrong with it.

The part of JSON Schema that language models are asked with: types, properties, required, additionalProperties,
items, enum, const, bounds, pattern, anyOf, oneOf, allOf, not, and local `$ref`. Left out on purpose: remote
references, `format`, and conditionals; unknown keywords are ignored, as the specification says. The schema is ours or
the user's and is trusted; the reply is not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kapelle.documents import parse_json
from kapelle.errors import InvalidInput, InvalidPlan, ModelReplyInvalid

MAX_PROBLEMS = 5
"""What a model can mend in one go; more only lengthens the prompt of the next attempt."""

_FENCE = re.compile(r"```(?:json)?[^\S\n]*\n(.*)```", re.DOTALL | re.IGNORECASE)

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: _is_number(value),
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
}


def read_json_reply(text: str, schema: Mapping[str, Any]) -> Any:
    """Return the value that a model wrote as JSON, fitting `schema`.

    One Markdown fence around the whole is forgiven, as models without native JSON output add it.

    Raises:
        ModelReplyInvalid: it is not JSON, or does not fit; the message lists what is wrong and where.
        InvalidInput: the schema itself is malformed.
    """
    fenced = _FENCE.fullmatch(text.strip())
    try:
        value = parse_json(fenced[1] if fenced else text, place="the reply")
    except InvalidPlan as error:
        raise ModelReplyInvalid(f"The model was asked for JSON. {error} It began with {text[:80]!r}.") from error
    try:
        problems = find_schema_problems(value, schema)
    except RecursionError as error:
        raise ModelReplyInvalid("The model's JSON is nested too deeply to read.") from error
    if problems:
        rest = f" (and {len(problems) - MAX_PROBLEMS} more)" if len(problems) > MAX_PROBLEMS else ""
        raise ModelReplyInvalid(f"The model's JSON does not fit: {'; '.join(problems[:MAX_PROBLEMS])}{rest}.")
    return value


def find_schema_problems(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """Return what does not fit, each with its place (`steps[2].name: is missing`); empty when all fits.

    Raises:
        InvalidInput: the schema is malformed.
    """
    return _problems(value, schema, root=schema, place="")


def _problems(value: Any, schema: Any, *, root: Mapping[str, Any], place: str) -> list[str]:
    if schema is True:
        return []
    if schema is False:
        return [f"{place or 'the reply'}: is not allowed here"]
    if not isinstance(schema, Mapping):
        raise InvalidInput(f"An output schema holds {schema!r} where a schema belongs.")
    where = place or "the reply"

    found: list[str] = []
    if "$ref" in schema:
        found += _problems(value, _resolve(str(schema["$ref"]), root), root=root, place=place)
    wanted = schema.get("type")
    if wanted is not None:
        names = [wanted] if isinstance(wanted, str) else list(wanted)
        if unknown := [name for name in names if name not in _TYPES]:
            raise InvalidInput(f"An output schema has the type {unknown[0]!r}; use one of {sorted(_TYPES)}.")
        if not any(_TYPES[name](value) for name in names):
            return [*found, f"{where}: is {_type_name(value)}, not {' or '.join(names)}"]
    if "enum" in schema and not any(_equal(value, allowed) for allowed in schema["enum"]):
        found.append(f"{where}: is {_short(value)}, not one of {list(schema['enum'])!r}")
    if "const" in schema and not _equal(value, schema["const"]):
        found.append(f"{where}: is {_short(value)}, not {schema['const']!r}")

    if isinstance(value, Mapping):
        found += _object_problems(value, schema, root=root, place=place)
    elif isinstance(value, list):
        found += _array_problems(value, schema, root=root, place=place)
    elif isinstance(value, str):
        found += _text_problems(value, schema, where=where)
    elif _is_number(value):
        found += _number_problems(value, schema, where=where)
    return found + _combination_problems(value, schema, root=root, place=place)


def _object_problems(
    value: Mapping[str, Any], schema: Mapping[str, Any], *, root: Mapping[str, Any], place: str
) -> list[str]:
    properties = schema.get("properties", {})
    found = [f"{_join(place, name)}: is missing" for name in schema.get("required", ()) if name not in value]
    extra = schema.get("additionalProperties", True)
    for name, item in value.items():
        if name in properties:
            found += _problems(item, properties[name], root=root, place=_join(place, name))
        elif extra is False:
            found.append(f"{_join(place, name)}: is not a property that was asked for")
        else:
            found += _problems(item, extra, root=root, place=_join(place, name))
    return found


def _array_problems(value: list[Any], schema: Mapping[str, Any], *, root: Mapping[str, Any], place: str) -> list[str]:
    found = _count_problems(len(value), schema, "minItems", "maxItems", where=place or "the reply", unit="items")
    first = schema.get("prefixItems", ())
    for index, item in enumerate(value):
        of_item = first[index] if index < len(first) else schema.get("items", True)
        found += _problems(item, of_item, root=root, place=f"{place}[{index}]")
    if schema.get("uniqueItems") and any(_equal(a, b) for i, a in enumerate(value) for b in value[:i]):
        found.append(f"{place or 'the reply'}: holds the same item twice")
    return found


def _text_problems(value: str, schema: Mapping[str, Any], *, where: str) -> list[str]:
    found = _count_problems(len(value), schema, "minLength", "maxLength", where=where, unit="characters")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{where}: {_short(value)} does not match {schema['pattern']!r}")
    return found


def _number_problems(value: float, schema: Mapping[str, Any], *, where: str) -> list[str]:
    bounds: Sequence[tuple[str, str, Callable[[float], bool]]] = (
        ("minimum", "at least", lambda bound: value >= bound),
        ("maximum", "at most", lambda bound: value <= bound),
        ("exclusiveMinimum", "more than", lambda bound: value > bound),
        ("exclusiveMaximum", "less than", lambda bound: value < bound),
    )
    return [
        f"{where}: is {_short(value)}, which is not {words} {schema[keyword]!r}"
        for keyword, words, holds in bounds
        if keyword in schema and not holds(schema[keyword])
    ]


def _count_problems(
    count: int, schema: Mapping[str, Any], least: str, most: str, *, where: str, unit: str
) -> list[str]:
    found = []
    if count < schema.get(least, 0):
        found.append(f"{where}: has {count} {unit}, fewer than {schema[least]}")
    if count > schema.get(most, math.inf):
        found.append(f"{where}: has {count} {unit}, more than {schema[most]}")
    return found


def _combination_problems(value: Any, schema: Mapping[str, Any], *, root: Mapping[str, Any], place: str) -> list[str]:
    found = []
    for part in schema.get("allOf", ()):
        found += _problems(value, part, root=root, place=place)
    for keyword in ("anyOf", "oneOf"):
        if keyword not in schema:
            continue
        attempts = [_problems(value, part, root=root, place=place) for part in schema[keyword]]
        fitting = sum(not attempt for attempt in attempts)
        if not fitting:
            nearest = min(attempts, key=len, default=[])
            found.append(f"{place or 'the reply'}: fits none of the alternatives ({'; '.join(nearest[:2])})")
        elif keyword == "oneOf" and fitting > 1:
            found.append(f"{place or 'the reply'}: fits {fitting} of the alternatives, and only one may fit")
    if "not" in schema and not _problems(value, schema["not"], root=root, place=place):
        found.append(f"{place or 'the reply'}: is what the schema forbids")
    return found


def _resolve(reference: str, root: Mapping[str, Any]) -> Any:
    if not reference.startswith("#"):
        raise InvalidInput(f"An output schema refers to {reference!r}; only references inside it ('#/$defs/...') work.")
    found: Any = root
    for step in reference[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or key not in found:
            raise InvalidInput(f"An output schema refers to {reference!r}, which is not in it.")
        found = found[key]
    return found


def _is_number(value: Any) -> bool:
    # No float holds some integers, so `isfinite` is asked of floats alone.
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and math.isfinite(value)
    )


def _equal(left: Any, right: Any) -> bool:
    # In JSON true is not 1, and 1 is 1.0.
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _type_name(value: Any) -> str:
    return next((name for name in ("null", "boolean", "integer", *_TYPES) if _TYPES[name](value)), type(value).__name__)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
