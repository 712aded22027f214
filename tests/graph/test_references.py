from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import InvalidGraph
from kapelle.graph import (
    Reference,
    escape_braces,
    find_references,
    is_reference,
    rename_references,
    render_output,
    replace_references,
    resolve_references,
)
from tests.strategies.graphs import input_texts, json_values

OUTPUTS = {
    "s1": {"capital": "Paris", "rivers": ["Seine", {"name": "Marne"}]},
    "s2": ["Berlin", "Bonn"],
    "s3": "China, India; Indonesia",
    "s-4": 7,
    "s5": {"text": "a report", "pages": 3},
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{s1}", [Reference(task_id="s1")]),
        ("{s1.a[0].b} and {s-4}", [Reference(task_id="s1", path=("a", 0, "b")), Reference(task_id="s-4")]),
        ("{city_1_from_s1.name}", [Reference(task_id="s1", path=("city_1", "name"))]),
        ("{s1}{s1}", [Reference(task_id="s1")]),
        ("{{s1}} {{{s2}}}", [Reference(task_id="s2")]),
        ({"{s1}": ["{s2}", {"x": "{s3}"}], "n": 3}, [Reference(task_id="s2"), Reference(task_id="s3")]),
    ],
)
def test_references_are_found(text: Any, found: list[Reference]) -> None:
    assert list(find_references(text)) == found


@pytest.mark.parametrize(
    "text", ["{", "}", "{}", "{ s1 }", "{1}", "{s1.}", "{s1[-1]}", "{s1[a]}", "{s1", "{{s1}", '{"a": 1}']
)
def test_stray_braces_are_refused_wherever_they_are_met(text: str) -> None:
    for function in (
        find_references,
        lambda value: resolve_references(value, OUTPUTS),
        lambda value: rename_references(value, str),
    ):
        with pytest.raises(InvalidGraph, match="brace at position"):
            function(["fine {s1}", text])


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("{s2}", ["Berlin", "Bonn"]),
        ("{s-4}", 7),
        ("{s1.capital}", "Paris"),
        ("{s1.rivers[1].name}", "Marne"),
        ("{s2[1]} is not {s2[0]}", "Bonn is not Berlin"),
        ("{city_2_from_s2}", "Bonn"),
        ("{country_3_from_s3}", "Indonesia"),
        ("{capital_from_s3}", "China, India; Indonesia"),
        ("{capital_from_s1}", "Paris"),
        ("see {s5}", "see a report"),
        ("all: {s2}", 'all: ["Berlin", "Bonn"]'),
        ("{{s1}} {{{s-4}}}", "{s1} {7}"),
        ({"a": ["{s-4}", 1], "b": None}, {"a": [7, 1], "b": None}),
    ],
)
def test_references_are_replaced_by_outputs(value: Any, resolved: Any) -> None:
    assert resolve_references(value, OUTPUTS) == resolved


@pytest.mark.parametrize(
    "text", ["{s9}", "{s1.river}", "{s2[2]}", "{s1[0]}", "{city_3_from_s2}", "{s-4.x}", "{s2[999999999]}"]
)
def test_what_does_not_exist_is_named(text: str) -> None:
    with pytest.raises(LookupError, match="output of 's"):
        resolve_references(text, OUTPUTS)


@given(st.text())
def test_escaped_text_survives(text: str) -> None:
    assert resolve_references(escape_braces(text), {}) == text
    assert find_references(escape_braces(text)) == ()


@given(json_values(input_texts(("s1", "s2"))))
def test_replacing_references_by_themselves_changes_nothing(value: Any) -> None:
    assert rename_references(value, lambda task_id: task_id) == value


@given(json_values(input_texts(("s1", "s2"))))
def test_renamed_references_keep_their_paths(value: Any) -> None:
    renamed = rename_references(value, lambda task_id: f"x_{task_id}")
    expected = [Reference(task_id=f"x_{one.task_id}", path=one.path) for one in find_references(value)]
    assert list(find_references(renamed)) == expected


@given(json_values(input_texts(("s1", "s2"))))
def test_a_reference_can_be_written_and_read(value: Any) -> None:
    for reference in find_references(value):
        assert find_references(str(reference)) == (reference,)
        assert is_reference(str(reference))


def test_one_reference_may_become_several() -> None:
    several = [Reference(task_id="a"), Reference(task_id="b")]
    assert replace_references({"x": "{s}", "y": "of {s}"}, lambda _: several) == {
        "x": ["{a}", "{b}"],
        "y": "of {a}; {b}",
    }


def test_outputs_that_json_cannot_hold_are_still_rendered() -> None:
    assert render_output({(1, 2): "x"}) == "{(1, 2): 'x'}"
    endless: list[Any] = []
    endless.append(endless)
    assert render_output(endless) == "[[...]]"
