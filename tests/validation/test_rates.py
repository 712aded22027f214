"""Rates of the past: a half where nothing was seen, near the wider rate after little, the agent's own after much."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.validation.rates import Rates, expit, logit


def test_nothing_seen_is_a_half() -> None:
    view = Rates().view("scout", "search")
    assert (view.overall, view.agent, view.task_type, view.pair) == (0.0, 0.0, 0.0, 0.0)


def test_little_moves_an_agent_little_and_much_moves_it_all_the_way() -> None:
    rates = Rates()
    for _ in range(50):
        rates.add("old", "search", 1.0)
        rates.add("old", "search", 0.0)
    rates.add("new", "search", 1.0)
    assert 0.5 < expit(rates.view("new", "search").pair) < 0.75
    for _ in range(500):
        rates.add("new", "search", 1.0)
    assert expit(rates.view("new", "search").pair) > 0.97


def test_an_unseen_pair_is_what_the_agent_is_elsewhere_and_others_are_here() -> None:
    rates = Rates()
    for _ in range(40):
        rates.add("good", "easy", 1.0)
        rates.add("poor", "easy", 0.0)
        rates.add("poor", "hard", 0.0)
    assert rates.view("good", "hard").pair > rates.view("poor", "hard").pair
    assert rates.view("good", "hard").pair < rates.view("good", "easy").pair


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.floats(0, 1)), max_size=30),
)
def test_rates_are_finite_and_survive_json(rows: list[tuple[str, str, float]]) -> None:
    rates = Rates()
    for row in rows:
        rates.add(*row)
    again = Rates.from_rows(json.loads(json.dumps(rates.to_rows())))
    assert again.total == rates.total == len(rows)
    for agent in "abc":
        view = rates.view(agent, "x")
        assert math.isfinite(view.pair)
        assert view.pair == pytest.approx(again.view(agent, "x").pair)


@pytest.mark.parametrize("row", [["a", "x", 1, 2.0], ["a", "x", 1.5, 1.0], ["a", 3, 1, 1.0], ["a", "x", 1, math.nan]])
def test_rows_that_are_no_counts_are_refused(row: list[object]) -> None:
    with pytest.raises(ValueError, match="no rate"):
        Rates.from_rows([row])


@given(st.floats(0.001, 0.999))
def test_odds_and_shares_are_each_others_inverse(share: float) -> None:
    assert expit(logit(share)) == pytest.approx(share)
