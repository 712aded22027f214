from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import InvalidInput, ModelReplyInvalid
from kapelle.models import find_schema_problems, read_json_reply

PLAN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "steps": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}},
        "mood": {"enum": ["calm", 1, None]},
    },
    "required": ["steps"],
    "additionalProperties": False,
    "$defs": {
        "step": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 1, "pattern": "^[a-z]+$"},
                "hours": {"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 9}, {"type": "null"}]},
            },
            "required": ["name"],
        }
    },
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({}, "steps: is missing"),
        ([], "the reply: is array, not object"),
        ({"steps": []}, "steps: has 0 items, fewer than 1"),
        ({"steps": [{"name": "cook"}, {}]}, "steps[1].name: is missing"),
        ({"steps": [{"name": 3}]}, "steps[0].name: is integer, not string"),
        ({"steps": [{"name": "Cook"}]}, "steps[0].name: 'Cook' does not match '^[a-z]+$'"),
        ({"steps": [{"name": "cook", "hours": 0}]}, "steps[0].hours: fits none of the alternatives"),
        ({"steps": [{"name": "cook", "hours": True}]}, "steps[0].hours: fits none of the alternatives"),
        ({"steps": [{"name": "cook"}], "mood": True}, "mood: is True, not one of ['calm', 1, None]"),
        ({"steps": [{"name": "cook"}], "extra": 1}, "extra: is not a property that was asked for"),
    ],
)
def test_a_problem_is_named_with_its_place(value: Any, problem: str) -> None:
    problems = find_schema_problems(value, PLAN)

    assert any(found.startswith(problem) for found in problems), problems


@pytest.mark.parametrize("hours", [None, 0.5, 9])
def test_what_fits_has_no_problems(hours: float | None) -> None:
    assert find_schema_problems({"steps": [{"name": "cook", "hours": hours}], "mood": 1}, PLAN) == []


@pytest.mark.parametrize(
    ("schema", "fits", "clashes"),
    [
        ({"oneOf": [{"minimum": 3}, {"maximum": 5}]}, 7, 4),
        ({"allOf": [{"minimum": 3}, {"maximum": 5}]}, 4, 7),
        ({"not": {"const": 3}}, 4, 3),
        ({"type": ["integer", "null"]}, None, "x"),
        ({"type": "integer"}, 3.0, 3.5),
        ({"type": "number"}, 3, float("nan")),
        ({"const": 1}, 1.0, True),
        ({"maxLength": 2}, "ab", "abc"),
        ({"uniqueItems": True}, [1, True], [1, 1.0]),
        ({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}, ["a", 1], ["a", "b"]),
        ({"additionalProperties": {"type": "integer"}}, {"a": 1}, {"a": "b"}),
        ({"items": False}, [], [1]),
    ],
)
def test_the_keywords_mean_what_json_schema_says(schema: dict[str, Any], fits: Any, clashes: Any) -> None:
    assert find_schema_problems(fits, schema) == []
    assert find_schema_problems(clashes, schema) != []


@given(json_values)
def test_any_value_is_judged_without_falling_over(value: Any) -> None:
    assert isinstance(find_schema_problems(value, PLAN), list)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ModelReplyInvalid):
        assert isinstance(read_json_reply(text, {"type": "object"}), dict)


@pytest.mark.parametrize("text", ['{"a": 1}', ' {"a": 1}\n', '```json\n{"a": 1}\n```', '```\n{"a": 1}\n```\n'])
def test_one_fence_around_the_whole_is_forgiven(text: str) -> None:
    assert read_json_reply(text, {"type": "object"}) == {"a": 1}


@pytest.mark.parametrize("text", ["", "Sure! {}", '{"a": 1} {"b": 2}', "[" * 100_000])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ModelReplyInvalid):
        read_json_reply(text, {"type": "object"})


def test_many_problems_are_not_all_listed() -> None:
    with pytest.raises(ModelReplyInvalid, match=r"and 15 more"):
        read_json_reply("{}", {"type": "object", "required": [f"field_{index}" for index in range(20)]})


def test_a_deep_reply_to_a_schema_that_refers_to_itself_is_refused() -> None:
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    text = '{"next": ' * 900 + "{}" + "}" * 900

    with pytest.raises(ModelReplyInvalid):
        read_json_reply(text, schema)


@pytest.mark.parametrize("schema", [{"$ref": "#/$defs/none"}, {"$ref": "http://x/y"}, {"type": "text"}])
def test_a_malformed_schema_is_the_callers_fault(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        find_schema_problems({}, schema)
