"""Brings answers into one form, in which those that mean the same are equal. Votes and agreement compare these forms.

    1,000 = 1000.0      (B) = The answer is B.      {"a": 1, "b": 2} = {"b":2,"a":1.0}      5 January 2024 = 2024-01-05
    [f(a=1, b='x'), g()] = [g(), f(b='x', a=1)] = [{"g": "{}"}, {"f": "{\\"a\\": 1, \\"b\\": \\"x\\"}"}]

With the functions that a task declares, arguments take their declared types, arguments that only repeat a default fall
away, and every answer in plain words means "no call". Two forms may differ though they mean the same, which costs a
vote an escalation; they should never be equal though they differ, which would cost the answer.

The form is for comparing and is never the answer itself. Answers are untrusted: whatever they hold, this neither raises
nor takes long. Knows nothing of right and wrong: see checks.
"""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kapelle.graph import Call, render_output

from .declared import is_too_deep
from .function_calls import (
    declared_type,
    flat_name,
    named_arguments,
    read_calls,
    read_declarations,
    strip_fence,
)

if TYPE_CHECKING:
    from kapelle.models import ToolDefinition

MAX_ANSWER_CHARS = 100_000
"""Longer answers are compared by their digest, letter by letter."""
MAX_JSON_DEPTH = 50
NO_CALL = "[]"
"""What every answer that calls none of the declared functions means."""


def canonical_answer(output: object, context: str = "") -> str | None:
    """Return the answer's canonical form; None where there is no answer.

    Applied to its own result, without the context, it changes nothing.

    Args:
        output: The answer: a text, or plain JSON values as some agents give them.
        context: What the task declares, as JSON: the functions that may be called, for instance.

    >>> canonical_answer("The answer is **1,000.00**."), canonical_answer("(b)"), canonical_answer("  ")
    ('1000', 'B', None)
    >>> canonical_answer("[f(b='x', a=1.0)]") == canonical_answer("f(a=1, b='x')")
    True
    """
    if output is None:
        return None
    text = render_output(output)
    if len(text) > MAX_ANSWER_CHARS:
        return _digest(text) if text.strip() else None
    text = strip_fence(text)
    if not text:
        return None
    form = _form(text, read_declarations(context))
    # What an answer comes to may be of another kind than the whole of it, and folding letters may uncover what folds
    # again, in a few scripts. A form must be its own form.
    for _ in range(4):
        again = _form(form, {})
        if again == form:
            return form
        form = again
    return _digest(text)


def _form(text: str, declared: Mapping[str, ToolDefinition]) -> str:
    calls = read_calls(text)
    if calls is not None:
        return _form_of_calls(calls, declared)
    if declared:
        return _form_of_words(text, declared)
    return _form_of_json(text) or _form_of_value(text)


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _form_of_calls(calls: tuple[Call, ...], declared: Mapping[str, ToolDefinition]) -> str:
    # The order of calls is not compared: calls of one answer are meant to be made side by side.
    forms = (_form_of_call(call, declared.get(flat_name(call.name))) for call in calls)
    return f"[{','.join(sorted(forms))}]"


def _form_of_call(call: Call, function: ToolDefinition | None) -> str:
    properties = function.properties if function is not None else {}
    arguments = {str(place): _plain_form(value) for place, value in enumerate(call.positional[len(properties) :])}
    for name, value in (named_arguments(call, function) if function is not None else call.arguments).items():
        schema = properties.get(name, {})
        form, default = _typed_form(value, schema), schema.get("default")
        optional = function is not None and name not in function.required
        if not (optional and default is not None and form == _typed_form(default, schema)):
            arguments[name] = form
    return _dump({"name": flat_name(call.name), "arguments": arguments})


def _typed_form(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return an argument in the type that was declared for it, where it can be read so."""
    kind = declared_type(schema)
    if isinstance(value, str) and kind in ("boolean", "integer", "number", "array", "object"):
        value = _read_argument(value)
    if kind == "array" and isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [_typed_form(item, schema["items"]) for item in value]
    if kind == "object" and isinstance(value, Mapping) and isinstance(schema.get("properties"), Mapping):
        inner = schema["properties"]
        return {
            key: _typed_form(item, inner[key] if isinstance(inner.get(key), Mapping) else {})
            for key, item in value.items()
        }
    if kind == "string" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(_plain_form(value))
    return _plain_form(value)


def _read_argument(text: str) -> Any:
    """Return what a text holds that stands where no text was declared: `"true"`, `"5"`, `"[1, 2]"`."""
    word = text.strip()
    if word.casefold() in ("true", "false"):
        return word.casefold() == "true"
    if is_too_deep(word, MAX_JSON_DEPTH):
        return text
    try:
        value = _load(word)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, (int, float, list, dict)) else text


def _plain_form(value: Any) -> Any:
    """Return an argument so that equal ones are equal: 1.0 is 1, and texts lose their case and extra spaces."""
    if isinstance(value, str):
        return _normal_argument(value)
    if isinstance(value, float):
        return _normal_float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain_form(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_form(item) for item in value]
    return value


def _normal_argument(text: str) -> str:
    # A text within a text ("'id'") is how agents write the literal of another language.
    return _normal_text(text).strip("\"' ")


def _normal_float(value: float) -> int | float | str:
    if not math.isfinite(value):
        return str(value)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _form_of_words(text: str, declared: Mapping[str, ToolDefinition]) -> str:
    """Return the form of an answer in words to a task that declares functions: it calls none, or cannot be read."""
    flat = re.sub(r"[^\w(]", "_", text.replace("\\_", "_").casefold())
    # With something like a call in it, it did not mean to make none.
    tried = any(re.search(re.escape(name.casefold()) + r"_{0,3}\(", flat) for name in declared)
    return _form_of_value(text) if tried else NO_CALL


def _form_of_json(text: str) -> str | None:
    if text[0] not in "[{" or is_too_deep(text, MAX_JSON_DEPTH):
        return None
    try:
        return _dump(_normal_json(_load(text)))
    except (ValueError, RecursionError):
        return None


def _normal_json(value: Any) -> Any:
    # Unlike arguments, texts in data stay as they are: a key or an identifier may differ in its case alone.
    if isinstance(value, float):
        return _normal_float(value)
    if isinstance(value, dict):
        return {key: _normal_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_normal_json(item) for item in value]
    return value


def _load(text: str) -> Any:
    return json.loads(text, parse_constant=str)


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


_ANSWER = re.compile(
    r"(?:\A|[\s*_.:;,(])(?:####|(?:(?:the|my|final|correct|best)\s{1,3}){0,4}(?:answer|choice|option)(?:\s{1,3}is)?\s{0,3}:?)"
    r"[\s*_:`]+(?P<rest>[^\n]{1,200})\Z",
    re.IGNORECASE,
)
_BOXED = re.compile(r"\\boxed\{([^{}]{1,200})\}[\s$.]*\Z")
_LETTER = re.compile(r"[(\[]?([a-j])[)\]]?", re.IGNORECASE)
_LETTER_AND_WORDS = re.compile(r"\(?([a-j])\)\s+[^\n()]{1,200}", re.IGNORECASE)
_NUMBER = re.compile(
    r"\$?\s?(?P<number>[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:\.[0-9]+)?(?:e[-+]?[0-9]{1,4})?)(?P<percent>\s?%)?",
    re.IGNORECASE,
)
MAX_NUMBER_CHARS = 300
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            *(("january", "jan"), ("february", "feb"), ("march", "mar"), ("april", "apr"), ("may",), ("june", "jun")),
            *(
                ("july", "jul"),
                ("august", "aug"),
                ("september", "sept", "sep"),
                ("october", "oct"),
                ("november", "nov"),
            ),
            ("december", "dec"),
        ),
        start=1,
    )
    for name in names
}
_DATES = (
    re.compile(r"(?P<year>[0-9]{4})[-/](?P<month>[0-9]{1,2})[-/](?P<day>[0-9]{1,2})"),
    re.compile(r"(?P<month>[a-z]{3,9})\.? (?P<day>[0-9]{1,2})(?:st|nd|rd|th)?,? (?P<year>[0-9]{4})"),
    re.compile(r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)? (?:of )?(?P<month>[a-z]{3,9})\.?,? (?P<year>[0-9]{4})"),
)


def _form_of_value(text: str) -> str:
    """Return the form of an answer in words, numbers or letters."""
    tail = text[-400:]  # what an answer comes to stands at its end
    found = _BOXED.search(tail) or _ANSWER.search(tail)
    if found and (said := found[found.lastindex or 0]).strip():
        text = said
    plain = _normal_text(text)
    bare = plain.lstrip("*_`\"' ").rstrip("*_`\"'.,:;! ")
    if letter := _LETTER.fullmatch(bare) or _LETTER_AND_WORDS.fullmatch(bare):
        return letter[1].upper()
    return _form_of_number(bare) or _form_of_date(bare) or bare or plain


def _form_of_number(text: str) -> str | None:
    found = _NUMBER.fullmatch(text) if len(text) <= MAX_NUMBER_CHARS else None
    if not found or not re.search("[0-9]", found["number"][:2].lstrip("+-.") or found["number"]):
        return None
    try:
        number = decimal.Decimal(found["number"].replace(",", ""))
    except decimal.InvalidOperation:
        return None
    sign, digits, exponent = number.as_tuple()
    mantissa = "".join(map(str, digits)).lstrip("0")
    if not mantissa or not isinstance(exponent, int):
        return "0%" if found["percent"] else "0"
    shorter = mantissa.rstrip("0")
    exponent += len(mantissa) - len(shorter)
    number = decimal.Decimal((sign, tuple(map(int, shorter)), exponent))
    # A short text may name a number of ten thousand digits; that one stays in powers of ten.
    form = f"{number:f}" if -30 <= exponent <= 30 else str(number).lower()
    return f"{form}%" if found["percent"] else form


def _form_of_date(text: str) -> str | None:
    for pattern in _DATES:
        if (found := pattern.fullmatch(text)) is None:
            continue
        month = found["month"] if found["month"].isdigit() else _MONTHS.get(found["month"])
        try:
            return datetime.date(int(found["year"]), int(month or 0), int(found["day"])).isoformat()
        except ValueError:  # the thirtieth of February is a text
            return None
    return None


def _normal_text(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())
