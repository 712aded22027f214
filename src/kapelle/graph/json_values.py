"""Checks that values are plain JSON: what a task carries must survive a file, a ledger, a process unchanged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kapelle.errors import InvalidGraph

MAX_DEPTH = 50
"""Levels of nesting. Arguments of tools stay in single digits; recursion stays far from Python's limit of 1000."""

_MAX_BITS = 1024
"""Integers beyond the largest float (2**1024) cannot be read back by most readers of JSON."""


def copy_json_value(value: Any, *, place: str, depth: int = 0) -> Any:
    """Return a deep copy of a plain JSON value; tuples become lists, as they would in a file.

    Raises:
        InvalidGraph: it is no plain JSON value; the message starts with `place` and the path inside the value.
    """
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
    if isinstance(value, Mapping):
        return {
            _copy_key(key, place): copy_json_value(item, place=f"{place}[{key!r}]", depth=depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [
            copy_json_value(item, place=f"{place}[{position}]", depth=depth + 1) for position, item in enumerate(value)
        ]
    raise InvalidGraph(
        f"{place} is a {type(value).__name__}. Give plain values: text, number, bool, None, list, mapping."
    )


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
