"""Circles are found whatever stands between, and work that goes on is none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.agents.loop.guard import MAX_ROUNDS, WINDOW, find_circle, mark_of
from tests.scale import scaled

CIRCLES = {
    "the same call": "AAA",
    "two in turn": "ABABAB",
    "three in turn": "ABCABCABC",
    "a success beside it that differs": "A1A2A3A",
    "others between": "A12A34A56A",
}


@pytest.mark.parametrize("how", CIRCLES)
def test_a_circle_is_found(how: str) -> None:
    assert find_circle([f"{name}:x" for name in CIRCLES[how]]) is not None


@pytest.mark.parametrize("marks", ["", "A", "AA", "ABAB", "ABCDEFG", "ABCABC", "AABBCC"])
def test_work_that_goes_on_is_none(marks: str) -> None:
    assert find_circle([f"{name}:x" for name in marks]) is None


def test_after_a_warning_it_is_counted_anew() -> None:
    marks = ["A:x"] * MAX_ROUNDS
    assert find_circle(marks, since=len(marks)) is None
    assert find_circle([*marks, *marks], since=len(marks)) is not None


def test_the_order_of_arguments_and_no_other_difference_is_looked_over() -> None:
    assert mark_of("t", {"a": 1, "b": 2}, "r") == mark_of("t", {"b": 2, "a": 1}, "r")
    assert len({mark_of("t", {"a": 1}, "r"), mark_of("t", {"a": 2}, "r"), mark_of("t", {"a": 1}, "s")}) == 3


def test_it_says_what_repeats() -> None:
    found = find_circle(["shell_execute:1", "file_read:2"] * 3)
    assert found is not None
    assert found.words == "shell_execute and file_read gave the same result 3 times for the same arguments"


@settings(max_examples=scaled(300), deadline=None)
@given(before=st.lists(st.integers(), max_size=30, unique=True), cycle=st.lists(st.integers(), min_size=1, max_size=3))
def test_every_cycle_that_repeats_is_found_after_any_work(before: list[int], cycle: list[int]) -> None:
    marks = [f"t:{one}" for one in [*before, *(cycle * MAX_ROUNDS)]]
    assert find_circle(marks) is not None


@settings(max_examples=scaled(300), deadline=None)
@given(marks=st.lists(st.integers(), max_size=2 * WINDOW, unique=True))
def test_calls_that_all_differ_are_none(marks: list[int]) -> None:
    assert find_circle([f"t:{one}" for one in marks]) is None
