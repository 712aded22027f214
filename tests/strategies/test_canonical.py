import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kapelle.strategies.canonical import MAX_ANSWER_CHARS, NO_CALL, canonical_answer

AREA = json.dumps(
    [
        {
            "name": "geometry.area",
            "parameters": {
                "type": "dict",
                "properties": {
                    "width": {"type": "float"},
                    "unit": {"type": "string", "default": "m"},
                    "round": {"type": "boolean"},
                },
                "required": ["width"],
            },
        }
    ]
)


@pytest.mark.parametrize(
    "same",
    [
        ["1,000", "1000.0", "$1,000.00", "**1000**", "The answer is 1000.", "#### 1000", "so it is \\boxed{1000}."],
        ["B", "(b)", "The answer is B.", "Answer: (B)", "B) Paris"],
        ['{"a": 1, "b": [2.0]}', '{"b":[2],\n"a":1.0}', '```json\n{"a": 1, "b": [2]}\n```'],
        ["[f(a=1, b='x')]", "f(b='x', a=1.0)", '[{"name": "f", "arguments": {"b": "x", "a": 1}}]'],
        ["[f(a=1), g()]", "[g(), f(a=1)]", '[{"g": "{}"}, {"f": "{\\"a\\": 1}"}]'],
        ["5 January 2024", "January 5th, 2024", "2024-01-05", "2024/1/5"],
        ["Paris.", "  paris", "PARIS"],
    ],
)
def test_answers_that_mean_the_same_are_equal(same: list[str]) -> None:
    assert len({canonical_answer(answer) for answer in same}) == 1


@pytest.mark.parametrize(
    "different",
    [
        ["1000", "1,0", "100.0", "1000%", "-1000"],
        ["A", "B", "the choice is hard"],
        ["[f(a=1)]", "[f(a=2)]", "[f(b=1)]", "[g(a=1)]", "[f(a=1), f(a=1)]"],
        ['{"a": "x"}', '{"a": "X"}', '{"a": ["x"]}', "[]"],
        ["2024-02-01", "2024-01-02", "30 February 2024"],
    ],
)
def test_answers_that_mean_something_else_are_not(different: list[str]) -> None:
    assert len({canonical_answer(answer) for answer in different}) == len(different)


@pytest.mark.parametrize("nothing", [None, "", " \n\t", "```\n```"])
def test_no_answer_is_none(nothing: str | None) -> None:
    assert canonical_answer(nothing) is None


def test_arguments_take_their_declared_types_and_lose_what_only_repeats_a_default() -> None:
    forms = {
        canonical_answer(answer, AREA)
        for answer in (
            "[geometry.area(width=5)]",
            "[geometry_area(5.0)]",
            "geometry.area(width='5', unit='M')",
            '[{"geometry_area": "{\\"width\\": 5, \\"unit\\": \\"m\\"}"}]',
        )
    }
    assert len(forms) == 1
    assert canonical_answer("geometry.area(width=5, unit='km')", AREA) not in forms


def test_words_mean_no_call_unless_something_like_a_call_is_among_them() -> None:
    assert canonical_answer("None of the functions can do that.", AREA) == NO_CALL
    assert canonical_answer("[]", AREA) == NO_CALL
    assert canonical_answer("I would call geometry.area (width: 5 m).", AREA) != NO_CALL


@given(st.text() | st.from_regex(r"[\[({]?[a-zA-Z0-9_.,:'\"(){}\[\]= %$*-]{0,40}", fullmatch=True))
@example("ŉ ﬁ İ")
@example("the answer is the answer is (b)")
@example("[f(a=x.y, b=not z)]")
@example("\ud800")
def test_a_form_is_its_own_form(answer: str) -> None:
    form = canonical_answer(answer)
    assert form is None or canonical_answer(form) == form


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_plain_values_have_a_form_that_ignores_their_order(value: object) -> None:
    form = canonical_answer(json.dumps({"value": value, "z": 1}))
    assert form == canonical_answer(json.dumps({"z": 1.0, "value": value}, indent=2))


@pytest.mark.parametrize(
    "attack",
    [
        "[" * 100_000,
        "f(" * 9_000,
        "f(a=" + "-" * 19_000 + "1)",
        "f(a=" + "+".join("1" * 4_000) + ")",
        "f(a=" + "not " * 4_000 + "1)",
        "f(a=" + "x." * 9_000 + "y)",
        "f" + ".x()" * 4_000,
        "f(a=" + "9" * 9_000 + ")",
        "1e" + "9" * 5_000,
        "1e9999",
        "9" * 90_000,
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        "a" * (MAX_ANSWER_CHARS + 1),
        "the answer is " * 7_000,
        "\x00(\ud800\u202e)" * 1_000,
        "f(a='\\d\\q', b=b'x', c=1j, d=...)",
        "f(**x)",
        "f(*x)",
        "[f(a=1e999)]",
        "[f(a=x if y else z for q in w)]",
    ],
    ids=range(20),
)
def test_no_answer_is_too_much(attack: str) -> None:
    for context in ("", AREA, attack):
        form = canonical_answer(attack, context)
        assert form is not None
        assert canonical_answer(form) == form


def test_long_answers_are_compared_letter_by_letter() -> None:
    long = "word " * MAX_ANSWER_CHARS
    assert canonical_answer(long) == canonical_answer(long) != canonical_answer(long + ".")
    assert len(canonical_answer(long) or "") < 100
