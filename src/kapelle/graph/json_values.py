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

import dataclasses
import datetime
import decimal
import enum
import io
import itertools
import json
import math
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Any, TypeVar

import pydantic_core

from kapelle.errors import InvalidGraph, InvalidInput
from kapelle.redaction import join_surrogates

MAX_DEPTH = 50
"""Levels of nesting. Arguments of tools stay in single digits; recursion stays far from Python's limit of 1000."""
MAX_READ_DEPTH = 200
"""The same for what somebody's code gave back: a document's tree is deeper than a tool's arguments."""
MAX_READ_VALUES = 1_000_000
"""Values and keys in one value that is read: about 100 MB as Python objects, whatever they are."""
MAX_READ_CHARS = 10_000_000
"""Characters that one value that is read takes as JSON."""
MAX_INTEGER_BITS = 14_000
"""About 4,200 digits: CPython refuses to print and to read integers of more than 4,300."""

_MAX_CONTAINERS = 100_000
"""Lists and mappings in what a task carries: a list that is named twice counts twice."""
_MAX_BITS = 1024
"""Integers beyond the largest float (2**1024) cannot be read back by most readers of JSON."""
_MOST_PER_CHAR = 12
"""A character outside the basic plane is written as two escapes of six characters."""
_MOST_PER_VALUE = 32
"""The longest float, or an integer of 64 bits, with what stands between values."""

_T = TypeVar("_T")


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
    reading = _Reading(max_chars, max_values, max_depth, before_code)
    try:
        found = reading.read(value, 0)
    except _Refusal as refusal:
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
    told = _Telling(max_chars, max_chars, _TOLD_DEPTH, before_code).read(value, 0)
    text = told if type(told) is str else json.dumps(told, ensure_ascii=False)
    return text if len(text) <= max_chars else text[: max_chars - 3] + "..."


_TOLD_DEPTH = 20
_IN_ITSELF = "it contains itself. Leave that part out."
_SHOWN_STEPS = 6
"""Of a path inside a value, how many steps a message shows: the innermost."""


class _Refusal(Exception):
    """Why a value is not read; containers that it lies in add their steps to the path as this passes them."""

    def __init__(self, problem: str, *, too_large: bool = False, is_formless: bool = False) -> None:
        super().__init__(problem)
        self.problem = problem
        self.too_large = too_large
        self.is_formless = is_formless
        """Whether a part has no plain form, which its model may have one for."""
        self.path: list[str] = []


class _Reading:
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
        return self._chars * _MOST_PER_CHAR + self._values * _MOST_PER_VALUE

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
            return value if math.isfinite(value) else _infinite(value)
        if depth >= self._max_depth:
            raise _Refusal(f"it is nested deeper than {self._max_depth} levels. Flatten it.")
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
            raise _Refusal(_IN_ITSELF)
        self._inside.add(mark)
        found: list[Any] = []
        keep, read, depth = found.append, self.read, depth + 1
        try:
            for item in value if steps is None else steps:
                keep(read(item, depth))
        except _Refusal as refusal:
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
            raise _Refusal(_IN_ITSELF)
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
            except _Refusal as refusal:
                refusal.path.append(f"[{name[:40]!r}]")
                raise
        return found

    def _same_name(self, name: str, first: Any, second: Any, found: Mapping[str, Any]) -> str:
        keys = f"{_shown_key(first)} and {_shown_key(second)}"
        raise _Refusal(f"two of its keys, {keys}, are {name[:40]!r} once they are texts. Rename one.")

    def _key(self, key: Any) -> str:
        self._values += 1
        if self._values > self._max_values:
            raise self._too_many()
        kind = type(key)
        if kind is str:
            return self._text(key)
        if kind is tuple:
            if not all(type(part) in _SIMPLE for part in key):
                raise _Refusal("a key of it is a tuple that holds more than texts and numbers. Give texts as keys.")
            self._values += len(key)
        elif issubclass(kind, str):
            return self._text(str.__str__(key))
        elif (numpy := _numpy_of(kind)) is not None and issubclass(kind, numpy.generic):
            return self._key(key.item())
        elif kind is int:
            self._whole(key)
        elif kind is float and not math.isfinite(key):
            return _infinite(key)
        try:
            names = list(pydantic_core.to_jsonable_python({key: None}))
        except (ValueError, TypeError):
            raise _Refusal(f"a key of it is a {kind.__name__}. Give texts as keys.") from None
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
                raise _Refusal("it is a number of more than 4,200 digits. Give it as a text.")
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
        if (numpy := _numpy_of(kind)) is not None:
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
            return lambda value, depth: _sorted(self._own_items(value, depth))
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
        names = _field_names(kind)
        if names is not None:
            return lambda value, depth: self._fields(value, names, depth)
        if issubclass(kind, types.SimpleNamespace):
            return lambda value, depth: self._mapping(vars(value), depth)
        return lambda value, depth: self._unknown(value, kind, depth)

    def _fields(self, value: Any, names: Sequence[str], depth: int) -> dict[str, Any]:
        mark = id(value)
        if mark in self._inside:
            raise _Refusal(_IN_ITSELF)
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
        except _Refusal as refusal:
            if not (refusal.is_formless and finite):
                raise
            try:
                plain = kind.__pydantic_serializer__.to_python(model, mode="json")
            except (ValueError, TypeError):
                raise refusal from None
            return self.read(plain, depth + 1)

    def _unknown(self, value: Any, kind: type, depth: int) -> Any:
        try:
            plain = pydantic_core.to_jsonable_python(value)
        except pydantic_core.PydanticSerializationError:
            ways = [name for name in _WAYS if callable(getattr(kind, name, None))]
            way_out = f"Give what its {ways[0]}() returns." if ways else "Give text, numbers, lists, mappings."
            raise _Refusal(f"it is a {kind.__name__}, which has no plain form. {way_out}", is_formless=True) from None
        return self.read(plain, depth + 1)

    def _bytes(self, value: Any) -> str:
        if len(value) > self._max_chars:
            raise self._too_long()
        try:
            return self._text(bytes(value).decode())
        except UnicodeDecodeError:
            what = "it is bytes that are no UTF-8 text. Write them to a file, or encode them."
            raise _Refusal(what, is_formless=True) from None

    def _pattern(self, value: re.Pattern[Any]) -> str:
        if value.flags & ~re.UNICODE.value:
            raise _Refusal("it is a pattern with flags, which its text lacks. Write them into it: '(?i)...'.")
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
        left: list[Any] = [_parts(model)]
        while left:
            value = left.pop()
            kind = type(value)
            if issubclass(kind, Iterator):
                raise _Refusal("it is a model with a generator in it. Make that a list.")
            if hasattr(kind, "__pydantic_serializer__") or dataclasses.is_dataclass(kind):
                value = _parts(value)
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

    def _too_many(self) -> _Refusal:
        most = f"{self._max_values:,}"
        return _Refusal(f"it holds more than {most} values, written out; at most {most} are kept.", too_large=True)

    def _too_long(self) -> _Refusal:
        most = f"{self._max_chars:,}"
        return _Refusal(f"it has more than {most} characters, written out; at most {most} are kept.", too_large=True)


class _Telling(_Reading):
    """Reads a value for people: what cannot be read is told, and what there is no room for is left out."""

    def read(self, value: Any, depth: int) -> Any:
        try:
            return super().read(value, depth)
        except _Refusal as refusal:
            return _LEFT_OUT if refusal.too_large and not isinstance(value, str) else self._tell(value)

    def _items(self, value: Iterable[Any], depth: int, steps: Iterable[Any] | None = None) -> list[Any]:
        first = itertools.islice(value if steps is None else steps, _MOST_TOLD)
        return super()._items(value, depth, first)

    def _pairs(self, items: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        return super()._pairs(itertools.islice(items, _MOST_TOLD), depth)

    def _key(self, key: Any) -> str:
        try:
            return super()._key(key)
        except _Refusal:
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
        if issubclass(kind, holds) or _field_names(kind) is not None or _numpy_of(kind) is not None:
            return f"<{kind.__name__}>"  # its own text could be without end
        if self._before_code is not None:
            self._before_code()
        try:
            text = str.__str__(repr(value))
        except BaseException:  # also KeyboardInterrupt: it was raised by the object, not by a person
            return f"<{kind.__name__}>"
        return text[: self._max_chars]


_LEFT_OUT = "..."
_MOST_TOLD = 100
"""Items of one container: what is in it may have no end."""
_WAYS = ("to_dict", "to_dicts", "to_list", "tolist", "_asdict", "asdict", "as_dict", "to_json")
"""Methods that give a plain form, by which names libraries have them."""
_SIMPLE = (str, int, float, bool, type(None))


def _field_names(kind: type) -> list[str] | None:
    """Return the names of the fields of a dataclass or an attrs class; None of any other."""
    if dataclasses.is_dataclass(kind):
        return [one.name for one in dataclasses.fields(kind)]
    described = kind.__dict__.get("__attrs_attrs__")
    return None if described is None else [one.name for one in described]


def _parts(value: Any) -> list[Any]:
    """Return what the fields of a model or a dataclass hold, and what it was given beyond them."""
    names = [one.name for one in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    held = [getattr(value, name) for name in names if hasattr(value, name)]
    return [
        *held,
        *getattr(value, "__dict__", {}).values(),
        *(getattr(value, "__pydantic_extra__", None) or {}).values(),
    ]


def _shown_key(key: Any) -> str:
    return f"{key!r:.40}" if type(key) in _SIMPLE or type(key) is tuple else f"a {type(key).__name__}"


def _infinite(value: float) -> str:
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _sorted(items: list[Any]) -> list[Any]:
    """Sets have no order, and the order that they are iterated in differs from process to process."""
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))


def _numpy_of(kind: type) -> Any:
    """Return NumPy, if this is one of its types; it is not imported for this."""
    numpy = sys.modules.get("numpy")
    return numpy if numpy is not None and issubclass(kind, (numpy.generic, numpy.ndarray)) else None


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
