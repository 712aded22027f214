from __future__ import annotations

from typing import Any

import pytest

from kapelle.errors import InvalidPlan
from kapelle.graph.calls import parse_call, write_call


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ('search("a")', {"query": "a"}),
        ("search('it\\'s', limit=3,)", {"query": "it's", "limit": 3}),
        ("think()", {}),
        ("summarise({s1})", {"query": "{s1}"}),
        ("compare({s2}, {s-3.x[0]})", {"arg1": "{s2}", "arg2": "{s-3.x[0]}"}),
        ("count(3)", {"arg1": 3}),
        ('f(a=True, b=null, c=-1.5e3, d={"k": [1, ()]}, true=false)',
         {"a": True, "b": None, "c": -1500.0, "d": {"k": [1, []]}, "true": False}),
        ('sql("""select "a"\nfrom t""")', {"query": 'select "a"\nfrom t'}),
        ('f(f"of {s1}", r"\\d")', {"arg1": "of {s1}", "arg2": "\\d"}),
        (r'f("C:\data\u00e9\x41\101\ud83d\ude00")', {"query": "C:\\dataéAA😀"}),
        ("f('')", {"query": ""}),
    ],
)  # fmt: skip
def test_calls_are_read(text: str, inputs: dict[str, Any]) -> None:
    call = parse_call(text)
    assert call.inputs == inputs
    assert parse_call(write_call(call.name, inputs) or "").inputs == inputs


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("no call", "no call"),
        ("f(", "the end of the call"),
        ("f(1", "the end of the call"),
        ('f("a', "closing quote"),
        ("f(France)", "texts need quotes"),
        ("f(1) and more", "nothing more"),
        ("f(a=1, 2)", "keyword"),
        ("f(a=1, a=2)", "twice"),
        ('f("x", query=1)', "by position and by name"),
        ("f({1: 2})", "key in quotes"),
        ('f({"a" 2})', "':'"),
        ("f([1 2])", "','"),
        ("f(" + "[" * 1000, "deeper than"),
        ("f(" + "9" * 5000 + ")", "digits"),
    ],
)
def test_what_is_no_call_is_said(text: str, complaint: str) -> None:
    with pytest.raises(InvalidPlan, match=complaint):
        _ = parse_call(text).inputs


def test_names_that_no_call_can_have_are_not_written() -> None:
    assert write_call("write tests", {}) is None
    assert write_call("f", {"a b": 1}) is None
