"""What a request names: read in one form, and missed where no task has it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.graph import Task
from kapelle.language import find_quantities, is_yes_no_question
from kapelle.planning import find_gaps, read_task


def gaps(request: str, *descriptions: str) -> list[tuple[str, str]]:
    texts = [
        read_task(Task(task_id=f"t{number}", task_type="do", description=text))
        for number, text in enumerate(descriptions)
    ]
    return [(gap.subject, gap.text) for gap in find_gaps(request, texts)]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("5k, 5,000, five thousand", ["5000", "5000", "5000"]),
        ("$100,000.0 or 2.50%", ["100000", "2.5"]),
        ("1.5 million", ["1500000"]),
        ("August 15, 2024; 2024-08-15; 15 Aug; 8/15/2024", ["08-15"] * 4),
        ("host 192.168.1.1, ID A5b9, report.csv", ["192.168.1.1", "a5b9", "report.csv"]),
        ("COVID-19 on day 10", ["covid-19", "10"]),
        ("", []),
    ],
)
def test_numbers_dates_and_identifiers_have_one_form(text: str, values: list[str]) -> None:
    assert [one.value for one in find_quantities(text)] == values


def test_a_date_is_the_same_with_and_without_its_year_but_not_in_another() -> None:
    keys = frozenset(key for one in find_quantities("on 2024-08-15") for key in one.keys)
    assert [one.is_among(keys) for one in find_quantities("August 15th, August 15, 2023, 16 August")] == [
        True,
        False,
        False,
    ]


def test_a_number_of_a_question_that_no_task_has_is_missed() -> None:
    request = "Were there under 150,000 American troops in Vietnam in 1965?"
    assert gaps(request, "How many American troops were in Vietnam in 1965?", "Is that less than 150k?") == []
    assert gaps(request, "How many American troops were in Vietnam?", "Is that few?") == [("number", "150,000")]


PARTS = "First, read the sensor with ID 59. Then, compute the volume for a length of 10 m and a width of 5 m."


def test_details_that_prose_leaves_out_as_a_whole_are_not_missed() -> None:
    assert gaps(PARTS, "Read sensor with ID 59", "Compute the volume for the given dimensions") == []


def test_a_number_is_missed_where_what_stands_beside_it_is_there() -> None:
    volume = "Compute the volume for a length of 10 m and a width of 5 m"
    assert gaps(PARTS, "Read the sensor with ID", volume) == [("number", "59")]


def test_a_number_is_missed_where_another_stands_in_its_place() -> None:
    volume = "Compute the volume for a length of 10 m and a width of 5 m"
    assert gaps(PARTS, "Read sensor 61", volume) == [("number", "59")]


def test_a_quoted_name_is_missed_where_no_word_of_it_is_in_any_task() -> None:
    request = "Please scan the host 'Alpha' for viruses. Then encrypt the archive 'Family Photos'."
    assert gaps(request, "Scan Alpha for viruses", "Encrypt the photos") == []
    assert gaps(request, "Scan Alpha for viruses") == [("name", "Family Photos")]


@pytest.mark.parametrize(
    "request_",
    [
        "List hotels in Lisbon without breakfast, as a table",
        "Ask the mayor of Vienna, then book a room",
        "Install PHP 5 for IIS 6",
        "Help a healthy 6th grader, as in the 1990s",
        "Will the producer become an octogenarian in 2021?",
        "Call 'getBugCount' with the password 'letmein'",
    ],
)
def test_what_plans_reword_or_reason_away_is_not_missed(request_: str) -> None:
    assert gaps(request_, "Do something about it") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Would a dog respond to a bell?", True),
        ("If it rains, is the road wet?", True),
        ("Can you find me a hotel in Rome?", False),
        ("What is the capital of France?", False),
        ("Is it far? How far?", False),
    ],
)
def test_questions_of_whether_are_told_from_polite_orders(text: str, expected: bool) -> None:
    assert is_yes_no_question(text) == expected


@settings(deadline=None)
@given(st.text(max_size=300), st.lists(st.text(max_size=40), max_size=4))
def test_no_text_makes_it_raise(request: str, descriptions: list[str]) -> None:
    descriptions = [text.encode("utf-8", "ignore").decode() for text in descriptions]
    assert all(text for _, text in gaps(request, *descriptions))


@settings(deadline=None)
@given(st.text(max_size=200))
def test_a_plan_that_says_the_request_itself_lacks_none_of_its_numbers(request: str) -> None:
    request = request.encode("utf-8", "ignore").decode().replace("{", "").replace("}", "")
    assert [gap for gap in gaps(request, request) if gap[0] in ("number", "date")] == []


@pytest.mark.parametrize(
    "text", ["a" * 20_000, "1," * 10_000, "'" * 20_000, "and find " * 2_500, "1.1." * 5_000, "-" * 20_000]
)
def test_text_of_any_length_is_read_to_its_end(text: str) -> None:
    assert isinstance(gaps(text, text), list)  # an expression that backtracks would take hours
