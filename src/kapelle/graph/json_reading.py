"""Reads what somebody's code gave back into plain JSON values, and says where one cannot be kept; see json_values."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import io
import math
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Any, TypeVar

from kapelle.redaction import join_surrogates

from .foreign_values import as_list, field_names, held_parts, infinite, numpy_of

MAX_INTEGER_BITS = 14_000
"""About 4,200 digits: CPython refuses to print and to read integers of more than 4,300."""
_MAX_PER_CHAR = 12
"""A character outside the basic plane is written as two escapes of six characters."""
_MAX_PER_VALUE = 32
"""The longest float, or an integer of 64 bits, with what stands between values."""
_T = TypeVar("_T")

_IN_ITSELF = "it contains itself. Leave that part out."


class Refusal(Exception):
    """Why a value is not read; containers that it lies in add their steps to the path as this passes them."""

    def __init__(self, problem: str, *, too_large: bool = False, is_formless: bool = False) -> None:
        super().__init__(problem)
        self.problem = problem
        self.too_large = too_large
        self.is_formless = is_formless
        """Whether a part has no plain form, which its model may have one for."""
        self.path: list[str] = []


class Reading:
    """Reads one value, and counts what it takes."""

    def __init__(self, max_chars: int, max_values: int, max_depth: int, before_code: Callable[[], None] | None) -> None:
        self._max_chars, self._max_values, self._max_depth = max_chars, max_values, max_depth
        self._before_code = before_code
        self._chars = 0
        """At least so many characters the value takes as JSON."""
        self._values = 0
        self._inside: set[int] = set()
        """The containers around the value that is read now, by identity."""
        self._ways: dict[type, Callable[[Any, int], Any]] = {}
        """How values of a type that is none of JSON's are read, once that is known."""

    @property
    def may_take(self) -> int:
        """At most so many characters what was read takes as JSON."""
        return self._chars * _MAX_PER_CHAR + self._values * _MAX_PER_VALUE

    def read(self, value: Any, depth: int) -> Any:
        """Return a value as plain JSON."""
        self._values += 1
        if self._values > self._max_values:
            raise self._too_many()
        kind = type(value)
        if kind is str:
            return self._text(value)
        if kind is int:
            return self._whole(value)
        if kind is bool or value is None:
            return value
        if kind is float:
            return value if math.isfinite(value) else infinite(value)
        if depth >= self._max_depth:
            raise Refusal(f"it is nested deeper than {self._max_depth} levels. Flatten it.")
        if kind is dict:
            return self._mapping(value, depth)
        if kind is list or kind is tuple:
            return self._items(value, depth)
        way = self._ways.get(kind)
        if way is None:
            way = self._ways[kind] = self._way_of(kind)
        if self._before_code is not None:
            self._before_code()
        return way(value, depth)

    def _steps(self, items: Iterable[_T]) -> Iterable[_T]:
        """Return items that code of the value's own hands out, each of which may be waited for."""
        return items if self._before_code is None else self._each(items, self._before_code)

    @staticmethod
    def _each(items: Iterable[_T], before_code: Callable[[], None]) -> Iterator[_T]:
        steps = iter(items)
        while True:
            before_code()
            try:
                item = next(steps)
            except StopIteration:
                return
            yield item

    def _own_items(self, value: Iterable[Any], depth: int) -> list[Any]:
        return self._items(value, depth, self._steps(value))

    def _items(self, value: Iterable[Any], depth: int, steps: Iterable[Any] | None = None) -> list[Any]:
        mark = id(value)
        if mark in self._inside:
            raise Refusal(_IN_ITSELF)
        self._inside.add(mark)
        found: list[Any] = []
        keep, read, depth = found.append, self.read, depth + 1
        try:
            for item in value if steps is None else steps:
                keep(read(item, depth))
        except Refusal as refusal:
            refusal.path.append(f"[{len(found)}]")
            raise
        self._inside.discard(mark)
        return found

    def _own_mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        return self._mapping(value, depth, self._steps(value.items()))

    def _mapping(
        self, value: Mapping[Any, Any], depth: int, steps: Iterable[tuple[Any, Any]] | None = None
    ) -> dict[str, Any]:
        mark = id(value)
        if mark in self._inside:
            raise Refusal(_IN_ITSELF)
        self._inside.add(mark)
        found = self._pairs(value.items() if steps is None else steps, depth)
        self._inside.discard(mark)
        return found

    def _pairs(self, items: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        changed: dict[str, Any] = {}
        """The keys that were no texts, by their names."""
        for key, item in items:
            name = self._key(key)
            if name in found:
                name = self._same_name(name, changed.get(name, name), key, found)
            if type(key) is not str:
                changed[name] = key
            try:
                found[name] = self.read(item, depth + 1)
            except Refusal as refusal:
                refusal.path.append(f"[{name[:40]!r}]")
                raise
        return found

    def _same_name(self, name: str, first: Any, second: Any, found: Mapping[str, Any]) -> str:
        keys = f"{_shown_key(first)} and {_shown_key(second)}"
        raise Refusal(f"two of its keys, {keys}, are {name[:40]!r} once they are texts. Rename one.")

    def _key(self, key: Any) -> str:
        self._values += 1
        if self._values > self._max_values:
            raise self._too_many()
        kind = type(key)
        if kind is str:
            return self._text(key)
        if kind is tuple:
            if not all(type(part) in _SIMPLE for part in key):
                raise Refusal("a key of it is a tuple that holds more than texts and numbers. Give texts as keys.")
            self._values += len(key)
        elif issubclass(kind, str):
            return self._text(str.__str__(key))
        elif (numpy := numpy_of(kind)) is not None and issubclass(kind, numpy.generic):
            return self._key(key.item())
        elif kind is int:
            self._whole(key)
        elif kind is float and not math.isfinite(key):
            return infinite(key)
        import pydantic_core  # what JSON has a name for, it needs not be asked

        try:
            names = list(pydantic_core.to_jsonable_python({key: None}))
        except (ValueError, TypeError):
            raise Refusal(f"a key of it is a {kind.__name__}. Give texts as keys.") from None
        return self._text(str.__str__(names[0]))

    def _text(self, text: str) -> str:
        self._chars += len(text)
        if self._chars > self._max_chars:
            raise self._too_long()
        if text.isascii():
            return text
        return join_surrogates(text)

    def _whole(self, value: int) -> int:
        bits = value.bit_length()
        if bits > 64:
            if bits > MAX_INTEGER_BITS:
                raise Refusal("it is a number of more than 4,200 digits. Give it as a text.")
            self._chars += bits // 4
            if self._chars > self._max_chars:
                raise self._too_long()
        return value

    def _way_of(self, kind: type) -> Callable[[Any, int], Any]:
        """Return how values of a type are read that is none of JSON's own: by the type alone, an object may lie."""
        if issubclass(kind, enum.Enum):
            return lambda value, depth: self.read(value._value_, depth + 1)
        if issubclass(kind, str):
            return lambda value, _: self._text(str.__str__(value))
        if issubclass(kind, int):
            return lambda value, _: self._whole(int.__int__(value))
        if issubclass(kind, float):
            return lambda value, depth: self.read(float.__float__(value), depth)
        if (numpy := numpy_of(kind)) is not None:
            return lambda value, depth: self._numpy(value, kind, numpy, depth)
        if issubclass(kind, Mapping):
            return self._own_mapping
        if issubclass(kind, memoryview):
            return lambda value, depth: (
                self._bytes(value) if value.format in ("B", "b", "c") else self.read(value.tolist(), depth)
            )
        if issubclass(kind, (bytes, bytearray)):
            return lambda value, _: self._bytes(value)
        if issubclass(kind, (datetime.date, datetime.time)):
            return lambda value, _: self._text(value.isoformat())
        if issubclass(kind, decimal.Decimal):
            return lambda value, _: self._text(decimal.Decimal.__str__(value))
        if issubclass(kind, AbstractSet):
            return lambda value, depth: as_list(self._own_items(value, depth))
        if issubclass(kind, PurePath):
            return lambda value, _: self._text(str(value))
        if issubclass(kind, re.Pattern):
            return lambda value, _: self._pattern(value)
        if issubclass(kind, (Sequence, Iterator, ValuesView)) and not issubclass(
            kind, io.IOBase
        ):  # an open file is no list
            return self._own_items
        if hasattr(kind, "__pydantic_serializer__"):
            return lambda value, depth: self._model(value, kind, depth)
        names = field_names(kind)
        if names is not None:
            return lambda value, depth: self._fields(value, names, depth)
        if issubclass(kind, types.SimpleNamespace):
            return lambda value, depth: self._mapping(vars(value), depth)
        return lambda value, depth: self._unknown(value, kind, depth)

    def _fields(self, value: Any, names: Sequence[str], depth: int) -> dict[str, Any]:
        mark = id(value)
        if mark in self._inside:
            raise Refusal(_IN_ITSELF)
        self._inside.add(mark)
        found = self._pairs(self._held(value, names), depth)
        self._inside.discard(mark)
        return found

    def _held(self, value: Any, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
        before_code = self._before_code
        for name in names:
            if before_code is not None:
                before_code()
            yield name, getattr(value, name)

    def _model(self, model: Any, kind: Any, depth: int) -> Any:
        # As Python, for as JSON the library keeps one of two keys that are the same text, puts sets in no order, and
        # writes what is not finite as null. A type of the model's own may have a form as JSON alone.
        finite = self._check_fields(model)
        try:
            return self.read(kind.__pydantic_serializer__.to_python(model, mode="python"), depth + 1)
        except Refusal as refusal:
            if not (refusal.is_formless and finite):
                raise
            try:
                plain = kind.__pydantic_serializer__.to_python(model, mode="json")
            except (ValueError, TypeError):
                raise refusal from None
            return self.read(plain, depth + 1)

    def _unknown(self, value: Any, kind: type, depth: int) -> Any:
        import pydantic_core  # as in _key

        try:
            plain = pydantic_core.to_jsonable_python(value)
        except pydantic_core.PydanticSerializationError:
            ways = [name for name in _WAYS if callable(getattr(kind, name, None))]
            way_out = f"Give what its {ways[0]}() returns." if ways else "Give text, numbers, lists, mappings."
            raise Refusal(f"it is a {kind.__name__}, which has no plain form. {way_out}", is_formless=True) from None
        return self.read(plain, depth + 1)

    def _bytes(self, value: Any) -> str:
        if len(value) > self._max_chars:
            raise self._too_long()
        try:
            return self._text(bytes(value).decode())
        except UnicodeDecodeError:
            what = "it is bytes that are no UTF-8 text. Write them to a file, or encode them."
            raise Refusal(what, is_formless=True) from None

    def _pattern(self, value: re.Pattern[Any]) -> str:
        if value.flags & ~re.UNICODE.value:
            raise Refusal("it is a pattern with flags, which its text lacks. Write them into it: '(?i)...'.")
        return str(self.read(value.pattern, 0))

    def _numpy(self, value: Any, kind: type, numpy: Any, depth: int) -> Any:
        if issubclass(kind, numpy.ndarray):
            if value.size > self._max_values - self._values:
                raise self._too_many()
            if value.dtype.names is not None and value.ndim:
                return self._own_items(value, depth)  # records, one by one
            if value.dtype.names is not None:
                return self.read(value[()], depth + 1)
            if value.dtype.kind in "mM":
                value = value.astype(str)
            wide = {"f": numpy.float64, "c": numpy.complex128}.get(value.dtype.kind)
            if wide is not None and value.dtype.itemsize > numpy.dtype(wide).itemsize:
                plain = value.astype(wide)
                value = plain if numpy.array_equal(plain, value, equal_nan=True) else value.astype(str)
            return self.read(value.tolist(), depth)
        if issubclass(kind, numpy.void) and value.dtype.names is not None:
            return self._pairs(((name, value[name]) for name in value.dtype.names), depth)
        if issubclass(kind, (numpy.datetime64, numpy.timedelta64)):
            return self._text(str(value))
        if issubclass(kind, (numpy.floating, numpy.complexfloating)):
            plain = (float if issubclass(kind, numpy.floating) else complex)(value)
            exact = plain == value or value != value
            return self.read(plain, depth + 1) if exact else self._text(str(value))
        return self.read(value.item(), depth + 1)

    def _check_fields(self, model: Any) -> bool:
        """Refuse a model that its own serializer would unfold without end, for that one counts nothing.

        Returns whether all of its numbers are finite.
        """
        count, finite = self._values, True
        left: list[Any] = [held_parts(model)]
        while left:
            value = left.pop()
            kind = type(value)
            if issubclass(kind, Iterator):
                raise Refusal("it is a model with a generator in it. Make that a list.")
            if hasattr(kind, "__pydantic_serializer__") or dataclasses.is_dataclass(kind):
                value = held_parts(value)
            elif issubclass(kind, dict):
                value = list(value.values())
            elif not issubclass(kind, (list, tuple, set, frozenset)):
                finite = finite and not (issubclass(kind, float) and not math.isfinite(value))
                continue
            count += len(value)
            if count > self._max_values:
                raise self._too_many()
            left.extend(value)
        return finite

    def _too_many(self) -> Refusal:
        most = f"{self._max_values:,}"
        return Refusal(f"it holds more than {most} values, written out; at most {most} are kept.", too_large=True)

    def _too_long(self) -> Refusal:
        most = f"{self._max_chars:,}"
        return Refusal(f"it has more than {most} characters, written out; at most {most} are kept.", too_large=True)


_WAYS = ("to_dict", "to_dicts", "to_list", "tolist", "_asdict", "asdict", "as_dict", "to_json")
"""Methods that give a plain form, by which names libraries have them."""
_SIMPLE = (str, int, float, bool, type(None))


def _shown_key(key: Any) -> str:
    return f"{key!r:.40}" if type(key) in _SIMPLE or type(key) is tuple else f"a {type(key).__name__}"
