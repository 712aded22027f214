"""What values of other classes hold, without running much of their code: fields, parts, NumPy's figures."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any


def field_names(kind: type) -> list[str] | None:
    """Return the names of the fields of a dataclass or an attrs class; None of any other."""
    if dataclasses.is_dataclass(kind):
        return [one.name for one in dataclasses.fields(kind)]
    described = kind.__dict__.get("__attrs_attrs__")
    return None if described is None else [one.name for one in described]


def held_parts(value: Any) -> list[Any]:
    """Return what the fields of a model or a dataclass hold, and what it was given beyond them."""
    names = [one.name for one in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    held = [getattr(value, name) for name in names if hasattr(value, name)]
    return [
        *held,
        *getattr(value, "__dict__", {}).values(),
        *(getattr(value, "__pydantic_extra__", None) or {}).values(),
    ]


def infinite(value: float) -> str:
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def as_list(items: list[Any]) -> list[Any]:
    """Sets have no order, and the order that they are iterated in differs from process to process."""
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))


def numpy_of(kind: type) -> Any:
    """Return NumPy, if this is one of its types; it is not imported for this."""
    numpy = sys.modules.get("numpy")
    return numpy if numpy is not None and issubclass(kind, (numpy.generic, numpy.ndarray)) else None
