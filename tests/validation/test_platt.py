"""Calibration: right where there are data, neutral where there are few, and never certain."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.validation.platt import STEEPEST, Calibration, fit_calibration
from kapelle.validation.rates import expit


def total_loss(calibration: Calibration, odds: list[float], outcomes: list[float]) -> float:
    total = 0.0
    for odd, outcome in zip(odds, outcomes, strict=True):
        moved = calibration.slope * odd + calibration.offset
        total -= outcome * math.log(expit(moved)) + (1 - outcome) * math.log(expit(-moved))
    return total


def test_it_finds_the_slope_and_the_offset_of_a_known_world() -> None:
    chance = random.Random(1)
    odds = [chance.uniform(-3, 3) for _ in range(4000)]
    found = fit_calibration(odds, [float(chance.random() < expit(0.5 * odd - 1.0)) for odd in odds])
    assert found.slope == pytest.approx(0.5, abs=0.08)
    assert found.offset == pytest.approx(-1.0, abs=0.12)


def test_no_outcomes_change_nothing_and_few_change_little() -> None:
    assert fit_calibration([], []) == Calibration()
    few = fit_calibration([1.0, -1.0], [0.0, 1.0])
    assert few.slope == pytest.approx(1.0, abs=0.25)


def test_a_score_that_orders_the_wrong_way_round_says_nothing() -> None:
    assert fit_calibration([2.0, -2.0] * 500, [0.0, 1.0] * 500).slope == 0.0


def test_confident_odds_that_are_all_wrong_are_taken_back() -> None:
    found = fit_calibration([14.0] * 1000, [0.0] * 1000)
    assert found.apply(14.0) < 0.05


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-14, 14), st.floats(0, 1)), max_size=30), st.floats(-1e6, 1e6))
def test_what_is_fitted_loses_no_more_than_the_score_as_it_was(rows: list[tuple[float, float]], odd: float) -> None:
    odds, outcomes = [odd for odd, _ in rows], [outcome for _, outcome in rows]
    found = fit_calibration(odds, outcomes)
    assert 0 <= found.slope <= STEEPEST
    assert 0 < found.apply(odd) < 1
    assert total_loss(found, odds, outcomes) <= total_loss(Calibration(), odds, outcomes) + 1e-6
