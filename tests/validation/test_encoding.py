"""Rows of attempts: the same for the same attempt, within the width, and saying the past rate before all learning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.validation.encoding import WIDTH, encode, penalties, prior_weights
from kapelle.validation.rates import Rates


def attempt(**features: Any) -> dict[str, Any]:
    return {"agent": "scout", "task_type": "search", **features}


@settings(deadline=None)
@given(st.text(max_size=200), st.text(max_size=100), st.floats(0, 1e308))
def test_rows_are_finite_and_within_the_width(text: str, context: str, cost_usd: float) -> None:
    at, values = encode(attempt(text=text, context=context, cost_usd=cost_usd), Rates())
    assert len(at) == len(values)
    assert at.min() >= 0
    assert at.max() < WIDTH
    assert np.isfinite(values).all()


def test_without_learning_a_row_says_the_past_rate_of_the_agent() -> None:
    rates = Rates()
    for outcome in (1.0, 1.0, 0.0):
        rates.add("scout", "search", outcome)
    at, values = encode(attempt(text="Find it", cost_usd=0.1), rates)
    assert float(values @ prior_weights()[at]) == pytest.approx(rates.view("scout", "search").pair, abs=1e-5)


def test_words_count_for_all_agents_and_for_each() -> None:
    mine = set(encode(attempt(text="Find rivers"), Rates())[0].tolist())
    theirs = set(encode(attempt(agent="other", text="Find rivers"), Rates())[0].tolist())
    unlike = set(encode(attempt(text="Count words"), Rates())[0].tolist())
    assert (mine & theirs) - unlike
    assert (mine - theirs) - unlike


def test_looser_weights_have_smaller_penalties_but_names_and_rates_do_not() -> None:
    loose, usual = penalties(2.0), penalties()
    assert (loose <= usual).all()
    assert (loose[:16] == usual[:16]).all()
    assert (usual > 0).all()
