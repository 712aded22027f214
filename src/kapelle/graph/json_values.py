"""Plain JSON values: what a task carries, and what an agent gives back, must survive a file, a ledger, a process.

Three ways in, by who is trusted with what:

    copy_json_value     what a task is made of: only plain values pass, everything else is refused
    read_json_value     what somebody's code gave back: what has a plain form takes it; counted before it is unfolded
    clone_json_value    what is plain already: a copy that its receiver may change

JSON has no references: a list that is named twice is written out twice, so forty nested pairs are a million millions of
values. So `read_json_value` counts every value and character before it keeps it, whatever their container says of its
own length, and stops at the limit: it takes bounded memory for an endless generator too. What time that takes is up to
the value, whose own code may wait; so whoever reads may stop it before each step of that code (`before_code`).
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kapelle.errors import InvalidGraph, InvalidInput

from .json_reading import Reading, Refusal
from .json_told import Telling

MAX_DEPTH = 50
"""Levels of nesting. Arguments of tools stay in single digits; recursion stays far from Python's limit of 1000."""
MAX_READ_DEPTH = 200
"""The same for what somebody's code gave back: a document's tree is deeper than a tool's arguments."""
MAX_READ_VALUES = 1_000_000
"""Values and keys in one value that is read: about 100 MB as Python objects, whatever they are."""
MAX_READ_CHARS = 10_000_000
"""Characters that one value that is read takes as JSON."""

_MAX_CONTAINERS = 100_000
"""Lists and mappings in what a task carries: a list that is named twice counts twice."""
_MAX_BITS = 1024
"""Integers beyond the largest float (2**1024) cannot be read back by most readers of JSON."""


class TooLarge(InvalidInput):
    """A value has more characters or values than are kept."""


def copy_json_value(value: Any, *, place: str) -> Any:
    """Return a deep copy of a plain JSON value; tuples become lists, as they would in a file.

    Raises:
        InvalidGraph: it is no plain JSON value, or has more than 100,000 lists and mappings; the message starts with
            `place` and the path inside the value.
    """
    return _copy(value, place, 0, itertools.count(1))


def _copy(value: Any, place: str, depth: int, counter: Iterator[int]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _copy_text(value, place)
    if isinstance(value, int):
        if value.bit_length() > _MAX_BITS:
            raise InvalidGraph(f"{place} is an integer of {value.bit_length()} bits. Give it as a text.")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidGraph(f"{place} is {value!r}, which JSON cannot hold. Give a finite number or None.")
        return float(value)
    if depth == MAX_DEPTH:
        raise InvalidGraph(f"{place} is nested deeper than {MAX_DEPTH} levels. Flatten it.")
    if next(counter) > _MAX_CONTAINERS:
        raise InvalidGraph(f"{place} is one of more than {_MAX_CONTAINERS:,} lists and mappings. Put it into a file.")
    if isinstance(value, Mapping):
        return {
            _copy_key(key, place): _copy(item, f"{place}[{key!r}]", depth + 1, counter) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_copy(item, f"{place}[{position}]", depth + 1, counter) for position, item in enumerate(value)]
    raise InvalidGraph(
        f"{place} is a {type(value).__name__}. Give plain values: text, number, bool, None, list, mapping."
    )


def clone_json_value(value: Any) -> Any:
    """Return a copy of a value that is plain JSON already: whoever gets it may change it, and nobody else sees that.

    >>> rows = [[1], {"a": []}]
    >>> copy = clone_json_value(rows)
    >>> copy == rows, copy[0] is rows[0]
    (True, False)
    """
    kind = type(value)
    if kind is dict:
        return {name: item if type(item) is str else clone_json_value(item) for name, item in value.items()}
    if kind is list:
        return [item if type(item) is str else clone_json_value(item) for item in value]
    return value


def read_json_value(
    value: Any,
    *,
    max_chars: int = MAX_READ_CHARS,
    max_values: int = MAX_READ_VALUES,
    max_depth: int = MAX_READ_DEPTH,
    before_code: Callable[[], None] | None = None,
) -> Any:
    """Return what somebody's code gave as plain JSON values, which nobody else holds.

    Nothing is lost but the type: what has no plain form that tells all of it is refused.

        tuple, set, iterator, array            list; a set in the order of its items, or of what they are as JSON
        dataclass, model, attrs, namespace     mapping by the names of its fields; a model as its `model_dump()` says
        NumPy's number, subclass of a number   number; a long double that no float is, text
        NumPy's record                         mapping by its names
        NaN and infinity                       "NaN", "Infinity", "-Infinity"
        Decimal, Fraction, complex             text: "0.10", "1/3", "1+2j"
        date, time, datetime, timedelta        text: ISO 8601
        enum                                   its value
        bytes                                  text, where they are UTF-8
        path, UUID, address, pattern           text
        key                                    text, as the same value would be one; two that are the same are refused

    >>> import datetime
    >>> read_json_value({1: (2.5, {3, 1}), "when": datetime.date(2024, 5, 1)})
    {'1': [2.5, [1, 3]], 'when': '2024-05-01'}

    Args:
        before_code: Called before each piece of code that the value brings with it, as for the next item of an
            iterator. What it raises ends the reading.

    Raises:
        TooLarge: it takes more characters or values than these, written out.
        InvalidInput: a part of it has no plain form; the message says which and why.
        BaseException: what its own code raises, which runs here.
    """
    reading = Reading(max_chars, max_values, max_depth, before_code)
    try:
        found = reading.read(value, 0)
    except Refusal as refusal:
        where = "".join(reversed(refusal.path[-_SHOWN_STEPS:]))
        text = f"{f'at {where}, ' if where else ''}{refusal.problem}"
        raise (TooLarge(text) if refusal.too_large else InvalidInput(text)) from None
    if reading.may_take > max_chars and (size := len(json.dumps(found))) > max_chars:
        raise TooLarge(f"it has {size:,} characters as JSON; at most {max_chars:,} are kept.")
    return found


def tell_json_value(value: Any, *, max_chars: int, before_code: Callable[[], None] | None = None) -> str:
    """Return what `read_json_value` refuses as a text for people: what can be read, and the rest as it tells of itself.

    Raises:
        BaseException: what its own code raises, which runs here.
    """
    told = Telling(max_chars, max_chars, _TOLD_DEPTH, before_code).read(value, 0)
    text = told if type(told) is str else json.dumps(told, ensure_ascii=False)
    return text if len(text) <= max_chars else text[: max_chars - 3] + "..."


_TOLD_DEPTH = 20
_SHOWN_STEPS = 6
"""Of a path inside a value, how many steps a message shows: the innermost."""


def _copy_key(key: Any, place: str) -> str:
    if not isinstance(key, str):
        raise InvalidGraph(f"{place} has the key {key!r}. Give texts as keys.")
    return _copy_text(key, place)


def _copy_text(text: str, place: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidGraph(
                f"{place} holds half of a character (a lone surrogate) at position {error.start}. Remove it."
            ) from error
    return str.__str__(text)  # exactly str, also for a StrEnum
