import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.graph.calls import Call, Expression
from kapelle.strategies.function_calls import find_call_problems, read_calls, read_declarations

TREE = {
    "name": "trees.plant",
    "parameters": {
        "type": "dict",
        "properties": {
            "kind": {"type": "string", "enum": ["oak", "elm"]},
            "count": {"type": "integer"},
            "height": {"type": "float"},
            "places": {"type": "array", "items": {"type": "string"}},
            "watered": {"type": "boolean"},
            "notes": {"type": "HashMap"},
            "soil": {"type": "dict", "properties": {"ph": {"type": "float"}}},
            "span": {"type": "tuple", "items": {"type": "integer"}},
            "what": {"type": "any"},
        },
        "required": ["kind"],
    },
}


def problems(answer: str) -> list[str]:
    calls = read_calls(answer)
    assert calls is not None
    return find_call_problems(calls, read_declarations(json.dumps(TREE)))


@pytest.mark.parametrize(
    "answer",
    [
        "trees.plant(kind='oak', count=3, height=2, places=['here'], watered=True)",
        "[trees.plant('elm', 4)]",
        '[{"trees_plant": "{\\"kind\\": \\"oak\\"}"}]',
        "trees.plant(kind='oak', notes='new HashMap<>()', soil={'ph': 6}, span=(1, 2), what=garden)",
        "[]",
    ],
)
def test_calls_that_fit_have_no_problems(answer: str) -> None:
    assert problems(answer) == []


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("trees.cut(kind='oak')", "no declared function"),
        ("trees.plant(count=3)", "kind: is missing"),
        ("trees.plant(kind='oak', colour='red')", "colour: is not a property that was asked for"),
        ("trees.plant(kind='fir')", "kind: is 'fir', not one of ['oak', 'elm']"),
        ("trees.plant(kind='oak', count='3')", "count: is string, not integer"),
        ("trees.plant(kind='oak', count=True)", "count: is boolean, not integer"),
        ("trees.plant(kind='oak', count=2.5)", "count: is number, not integer"),
        ("trees.plant(kind='oak', count=trees)", "count: is string, not integer"),
        ("trees.plant(kind='oak', watered='true')", "watered: is string, not boolean"),
        ("trees.plant(kind='oak', places=[1])", "places[0]: is integer, not string"),
        ("trees.plant(kind='oak', soil={'salt': 1})", "soil.salt: is not a property that was asked for"),
        ("trees.plant('oak', 1, 1, [], True, '', {}, (), 0, 0)", "more arguments"),
    ],
)
def test_what_does_not_fit_is_said(answer: str, problem: str) -> None:
    assert problem in "; ".join(problems(answer))


@pytest.mark.parametrize(
    "text", ["plain words", "f", "f(a=1", "[f(a=1), 2]", "import os", "f(**x)", "1 + f()", '{"a": 1}']
)
def test_other_texts_are_no_calls(text: str) -> None:
    assert read_calls(text) is None


def test_code_in_an_argument_stays_code_and_is_never_run() -> None:
    assert read_calls("f(a=__import__('os').getcwd(), b=true)") == (
        Call(name="f", arguments={"a": Expression("__import__('os').getcwd()"), "b": True}),
    )


@pytest.mark.parametrize(
    "context",
    ["", "no json", "[1, null, {}]", '{"functions": 3}', '{"name": 3}', '{"name": "f", "parameters": []}', "[" * 500],
)
def test_declarations_may_be_malformed(context: str) -> None:
    declared = read_declarations(context)
    assert all(function.properties == {} for function in declared.values())


@given(
    st.dictionaries(st.from_regex("[a-z]{1,5}", fullmatch=True), st.integers() | st.booleans() | st.text(max_size=9))
)
def test_calls_in_json_and_in_python_are_the_same(arguments: dict[str, object]) -> None:
    written = ", ".join(f"{name}_={value!r}" for name, value in arguments.items())
    named = {f"{name}_": value for name, value in arguments.items()}
    calls = read_calls(json.dumps([{"name": "f", "arguments": named}]))
    assert calls == (Call(name="f", arguments=named),)
    if "\\_" not in written:  # which Markdown means as an underscore
        assert read_calls(f"f({written})") == calls
