"""Tells what cannot be kept as JSON in plain values, as well as it goes: what a failure or a question holds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from .foreign_values import field_names, numpy_of
from .json_reading import Reading, Refusal


class Telling(Reading):
    """Reads a value for people: what cannot be read is told, and what there is no room for is left out."""

    def read(self, value: Any, depth: int) -> Any:
        try:
            return super().read(value, depth)
        except Refusal as refusal:
            return _LEFT_OUT if refusal.too_large and not isinstance(value, str) else self._tell(value)

    def _items(self, value: Iterable[Any], depth: int, steps: Iterable[Any] | None = None) -> list[Any]:
        first = itertools.islice(value if steps is None else steps, _MAX_TOLD)
        return super()._items(value, depth, first)

    def _pairs(self, items: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        return super()._pairs(itertools.islice(items, _MAX_TOLD), depth)

    def _key(self, key: Any) -> str:
        try:
            return super()._key(key)
        except Refusal:
            return f"<{type(key).__name__}>"

    def _same_name(self, name: str, first: Any, second: Any, found: Mapping[str, Any]) -> str:
        numbered = (f"{name} ({number})" for number in itertools.count(2))
        return next(other for other in numbered if other not in found)

    def _tell(self, value: Any) -> str:
        kind = type(value)
        if issubclass(kind, str):
            return str.__str__(value)[: self._max_chars]
        if issubclass(kind, (bytes, bytearray)):
            return repr(bytes(value[: self._max_chars]))
        holds = (Mapping, Sequence, AbstractSet, Iterator, int, type)
        if issubclass(kind, holds) or field_names(kind) is not None or numpy_of(kind) is not None:
            return f"<{kind.__name__}>"  # its own text could be without end
        if self._before_code is not None:
            self._before_code()
        try:
            text = str.__str__(repr(value))
        except BaseException:  # also KeyboardInterrupt: it was raised by the object, not by a person
            return f"<{kind.__name__}>"
        return text[: self._max_chars]


_LEFT_OUT = "..."
_MAX_TOLD = 100
"""Items of one container: what is in it may have no end."""
