"""An output is kept as plain JSON without loss, or refused with the place in it; what was paid for is told.

One table of types, one property over all of them nested, and the same through a run: what a dependent, the caller and
the ledger see is the same value.
"""

from __future__ import annotations

import array
import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import json
import math
import pathlib
import re
import types
import uuid
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import attrs
import numpy
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle import AgentCapability, AgentRegistry, Engine, Plan, Run, SqliteLedger, Task, TaskDAG
from kapelle.agents import as_agent
from kapelle.errors import InvalidInput
from kapelle.graph import read_json_value, tell_json_value


class Colour(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Size(enum.IntFlag):
    SMALL = 1
    LARGE = 2


@dataclasses.dataclass(slots=True)
class Point:
    x: Any
    y: Any = None


@attrs.define
class Box:
    inside: Any


class Pair(NamedTuple):
    first: int
    second: str


class Fact(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", populate_by_name=True)

    name: str = pydantic.Field(default="n", alias="theName")
    more: Any = None
    hidden: int = pydantic.Field(default=1, exclude=True)

    @pydantic.computed_field  # type: ignore[prop-decorator]  # the documented way
    @property
    def ratio(self) -> float:
        return math.nan if self.name == "0/0" else 0.5


class Coded(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(ser_json_bytes="base64")

    raw: bytes


class Handle:
    """No plain form of its own, but a model's field may have one as JSON."""

    def __repr__(self) -> str:
        return "<handle 7>"


class Held(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)

    handle: Annotated[Handle, pydantic.PlainSerializer(lambda held: repr(held), when_used="json")]


RECORD = numpy.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])
THIRD = numpy.longdouble(1) / 3

KEPT: list[tuple[Any, Any]] = [
    (decimal.Decimal("0.10"), "0.10"),
    (decimal.Decimal("1E+400"), "1E+400"),
    ([decimal.Decimal("NaN"), decimal.Decimal("-Infinity")], ["NaN", "-Infinity"]),
    (fractions.Fraction(1, 3), "1/3"),
    ([1 + 2j, numpy.complex64(1 + 2j), numpy.array([1 + 2j], dtype="c8")], ["1+2j", "1+2j", ["1+2j"]]),
    ([numpy.int8(-1), numpy.uint64(2**64 - 1), numpy.bool_(True)], [-1, 2**64 - 1, True]),
    ([numpy.float16(0.5), numpy.float32(0.1), numpy.float64(0.1)], [0.5, float(numpy.float32(0.1)), 0.1]),
    ([numpy.longdouble(0.5), numpy.array([numpy.longdouble(0.5)])], [0.5, [0.5]]),
    ([numpy.float32("nan"), numpy.float64("-inf"), math.inf], ["NaN", "-Infinity", "Infinity"]),
    (numpy.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (numpy.array(7), 7),
    (numpy.array([math.nan, 0.5]), ["NaN", 0.5]),
    (numpy.array([{"a": (1,)}, decimal.Decimal("1.0")], dtype=object), [{"a": [1]}, "1.0"]),
    (numpy.array(["2024-05-01"], dtype="M8[D]"), ["2024-05-01"]),
    (numpy.datetime64("2024-05-01T10:00"), "2024-05-01T10:00"),
    (RECORD, [{"a": 1, "b": 2.5}]),
    (RECORD[0], {"a": 1, "b": 2.5}),
    (numpy.array([numpy.str_("a"), "b"]), ["a", "b"]),
    (datetime.date(2024, 5, 1), "2024-05-01"),
    (datetime.time(1, 2, 3, 4), "01:02:03.000004"),
    (datetime.datetime(2024, 5, 1, 10, tzinfo=datetime.UTC), "2024-05-01T10:00:00+00:00"),
    (datetime.timedelta(days=1, microseconds=1), "P1DT0.000001S"),
    ([Colour.RED, Colour.PAIR, Size.SMALL | Size.LARGE], ["red", [1, 2], 3]),
    ([{3, 1, 2}, frozenset({"b", "a"}), {1, "a", None}], [[1, 2, 3], ["a", "b"], ["a", 1, None]]),
    (Point(1, {2}), {"x": 1, "y": [2]}),
    (Box(Point(1)), {"inside": {"x": 1, "y": None}}),
    (types.SimpleNamespace(a=(1,)), {"a": [1]}),
    (Pair(1, "b"), [1, "b"]),
    (Fact(), {"name": "n", "more": None, "ratio": 0.5}),
    (Fact(more={"b", "a"}), {"name": "n", "more": ["a", "b"], "ratio": 0.5}),
    (Fact(name="0/0", rest=math.inf), {"name": "0/0", "more": None, "rest": "Infinity", "ratio": "NaN"}),  # type: ignore[call-arg]
    (Coded(raw=b"\xff"), {"raw": "_w=="}),
    (Held(handle=Handle()), {"handle": "<handle 7>"}),
    ([b"caf\xc3\xa9", bytearray(b"a"), memoryview(b"a")], ["café", "a", "a"]),
    (memoryview(array.array("i", [1, 2])), [1, 2]),
    ([pathlib.PurePosixPath("/a/b"), uuid.UUID(int=5)], ["/a/b", "00000000-0000-0000-0000-000000000005"]),
    ([ipaddress.ip_address("1.2.3.4"), re.compile("a+")], ["1.2.3.4", "a+"]),
    ([collections.deque([1]), range(2)], [[1], [0, 1]]),
    ([{"a": 1}.keys(), {"a": 1}.values(), {"a": 1}.items()], [["a"], [1], [["a", 1]]]),
    ([collections.Counter("a"), collections.ChainMap({"a": 1})], [{"a": 1}, {"a": 1}]),
    (
        {1: "a", 2.5: "b", None: "c", False: "d", Colour.RED: "e", datetime.date(2024, 5, 1): "f"},
        {"1": "a", "2.5": "b", "None": "c", "false": "d", "red": "e", "2024-05-01": "f"},
    ),
    ([2**70, -0.0, 1e308], [2**70, -0.0, 1e308]),
]


@pytest.mark.parametrize(("value", "plain"), KEPT, ids=[str(number) for number in range(len(KEPT))])
def test_a_value_takes_its_documented_plain_form(value: Any, plain: Any) -> None:
    assert repr(read_json_value(value)) == repr(plain)


def test_what_no_float_holds_is_a_text_and_not_another_number() -> None:
    for found in (read_json_value(THIRD), read_json_value(numpy.array([THIRD]))[0]):
        assert numpy.longdouble(found) == THIRD


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: {1: "a", "1": "b"}, "two of its keys, 1 and '1', are '1' once they are texts"),
    (lambda: {"1": "a", 1: "b"}, "two of its keys, '1' and 1, are '1'"),
    (lambda: {True: "a", "true": "b"}, "True and 'true'"),
    (lambda: {math.nan: "a", "NaN": "b"}, "nan and 'NaN'"),
    (lambda: {"rows": [{(1, 2): "a", "1,2": "b"}]}, "at ['rows'][0], two of its keys, (1, 2) and '1,2'"),
    (lambda: {Colour.RED: "a", "red": "b"}, "a Colour and 'red'"),
    (lambda: {numpy.int64(1): "a", "1": "b"}, "a int64 and '1'"),
    (lambda: Fact(more={1: "a", "1": "b"}), "at ['more'], two of its keys, 1 and '1'"),
    (lambda: Point(1, {1: "a", "1": "b"}), "at ['y'], two of its keys"),
    (lambda: {"a": [b"\xff"]}, "at ['a'][0], it is bytes that are no UTF-8 text"),
    (lambda: Fact(more=b"\xff"), "at ['more'], it is bytes"),
    (lambda: [Handle()], "at [0], it is a Handle, which has no plain form"),
    (lambda: re.compile("a", re.I), "a pattern with flags"),
    (lambda: {"f": print}, "at ['f'], it is a builtin_function_or_method"),
    (lambda: _around(Point(1)), "at ['y'], it contains itself"),
]


def _around(point: Point) -> Point:
    point.y = point
    return point


@pytest.mark.parametrize(("give", "said"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_would_lose_something_is_refused_with_its_place(give: Callable[[], Any], said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_json_value(give())

    assert said in str(caught.value)


class Frame:
    """As a table of a library that kapelle does not know."""

    def to_dict(self) -> dict[str, Any]:
        return {"capital": ["Lima"]}

    def __repr__(self) -> str:
        return "  capital\n0    Lima"


def test_the_way_out_names_what_gives_a_plain_form() -> None:
    with pytest.raises(InvalidInput, match=r"Give what its to_dict\(\) returns"):
        read_json_value({"table": Frame()})


def go(give: Callable[[], Any]) -> Run:
    """A run of one task that gives something, and one that hands on what it sees of it."""
    cards = [AgentCapability(agent_id=name, task_types=(name,), cost_usd=0.25) for name in ("give", "see")]
    runners = {"give": as_agent(lambda task: give()), "see": as_agent(lambda task: task.inputs["value"])}
    engine = Engine(AgentRegistry(cards, runners=runners), model="none", ledger=SqliteLedger(":memory:"))
    tasks = [Task(task_id="g", task_type="give"), Task(task_id="s", task_type="see", inputs={"value": "{g}"})]
    return asyncio.run(engine.run(Plan(request="r", graph=TaskDAG(tasks), planner="me")))


@pytest.mark.parametrize("number", range(0, len(KEPT), 4))
def test_whoever_sees_an_output_sees_the_same_value(number: int) -> None:
    value, plain = KEPT[number]
    run = go(lambda: value)

    assert run.state == "done"
    assert repr(run.tasks["g"].output) == repr(run.tasks["s"].output) == repr(plain)


TOLD: list[tuple[Callable[[], Any], str]] = [
    (lambda: {"table": Frame(), "rows": 1}, "Lima"),
    (lambda: {1: "Lima", "1": "Quito"}, "Quito"),
    (lambda: ["Lima", b"\xff"], "Lima"),
    (lambda: Fact(more=["Lima", object()]), "Lima"),
    (lambda: ["Lima", 10**5000], "Lima"),
    (lambda: Point("Lima", print), "Lima"),
]


@pytest.mark.parametrize(("give", "told"), TOLD, ids=[str(number) for number in range(len(TOLD))])
def test_an_output_that_is_refused_was_paid_for_and_is_told_in_the_reason(give: Callable[[], Any], told: str) -> None:
    task = go(give).tasks["g"]

    assert (task.state, task.cost_usd) == ("failed", 0.25)
    assert "cannot be written as JSON" in (task.reason or "")
    assert told in (task.reason or "").partition("It gave: ")[2]


def _endless() -> Any:
    while True:
        yield [object(), _endless()]


@pytest.mark.parametrize(
    "give",
    [
        _endless,
        lambda: ["x" * 10**6] * 100,
        lambda: 10**5000,
        lambda: _around(Point(1)),
        lambda: {object(): 1},
        lambda: [[[[object()]]]],
    ],
    ids=["endless", "long", "digits", "cycle", "key", "nested"],
)
def test_telling_ends_whatever_the_value_is(give: Callable[[], Any]) -> None:
    assert 0 < len(tell_json_value(give(), max_chars=300)) <= 300


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=4)
    | st.decimals()
    | st.fractions()
    | st.complex_numbers()
    | st.dates()
    | st.times()
    | st.datetimes()
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from([*Colour, Size.SMALL, pathlib.PurePosixPath("a"), RECORD[0], THIRD, Handle()])
    | st.builds(numpy.float32, st.floats(width=32))
    | st.builds(numpy.int64, st.integers(-(2**63), 2**63 - 1))
)
keys = (
    st.text(max_size=2)
    | st.integers(0, 3)
    | st.booleans()
    | st.none()
    | st.floats()
    | st.dates()
    | st.decimals(allow_nan=False)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=4)
        | st.sets(st.integers() | st.text(max_size=2) | st.dates(), max_size=4)
        | st.builds(Point, inner, inner)
        | st.builds(Box, inner)
        | st.builds(lambda more: Fact(more=more), inner)
        | st.builds(lambda items: numpy.array([*items, None], dtype=object)[:-1], st.lists(inner, max_size=3))
    ),
    max_leaves=12,
)


@given(values)
@settings(max_examples=300, deadline=None)
def test_any_value_becomes_json_that_is_read_twice_alike_or_is_refused(value: Any) -> None:
    try:
        found = read_json_value(value)
    except InvalidInput as error:
        assert str(error)  # noqa: PT017 - either outcome is right; no other exception is
        assert tell_json_value(value, max_chars=300)
        return
    assert repr(json.loads(json.dumps(found, allow_nan=False))) == repr(found)
    assert repr(read_json_value(found)) == repr(found)
    assert _count(found) >= _count_keys(value)


def _count(found: Any) -> int:
    """How many keys there are in a plain value."""
    inner = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return (len(found) if isinstance(found, dict) else 0) + sum(map(_count, inner))


def _count_keys(value: Any) -> int:
    """How many keys the mappings of a value have: none is lost on the way."""
    if isinstance(value, dict):
        return len(value) + sum(map(_count_keys, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(_count_keys, value))
    if isinstance(value, Fact):
        return _count_keys(value.more)
    return 0
