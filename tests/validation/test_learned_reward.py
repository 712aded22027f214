"""The documented model as a reward model: its score ranks, its chances are calibrated, bad rows leave no trace."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest

from kapelle.allocation import describe_attempt
from kapelle.errors import InvalidInput
from kapelle.validation import LearnedReward, LearnedRewardModel


def taught(chance_of_success: float, count: int, **features: Any) -> LearnedReward:
    reward, chance = LearnedReward(), random.Random(3)
    for _ in range(count):
        reward.observe(describe_attempt("scout", "search", **features), float(chance.random() < chance_of_success))
    return reward


def test_before_learning_it_is_the_documented_score() -> None:
    features = describe_attempt("scout", "search", success_rate=0.8, cost_position=0.5, time_position=0.25)
    assert LearnedReward().score(features) == pytest.approx(0.4 * 0.8 + 0.3 * 0.8 + 0.2 * 0.5 + 0.1 * 0.75)
    assert LearnedReward().predict(features) == pytest.approx(LearnedReward().score(features))


def test_an_agent_that_fails_is_not_held_for_good_because_it_is_cheap() -> None:
    reward = taught(0.1, 300, cost_position=0.0, time_position=0.0)
    assert reward.predict(describe_attempt("scout", "search", cost_position=0.0)) == pytest.approx(0.1, abs=0.06)


def test_the_weights_are_learned_and_kept_by_the_documented_model(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    reward = LearnedReward(LearnedRewardModel(path))
    for number in range(40):
        reward.observe(describe_attempt("scout", "search", cost_position=1.0), float(number % 4 > 0))
    assert LearnedRewardModel(path).weights == reward.model.weights
    assert reward.model.get_statistics()["total_outcomes"] == 40
    assert reward.model.get_agent_success_rate("scout", "search") == 0.75


@pytest.mark.parametrize(
    ("features", "outcome"),
    [({}, math.nan), ({}, 1.5), ({"cost_position": 2.0}, 1.0), ({"success_rate": math.nan}, 1.0), ({"agent": ""}, 1.0)],
)
def test_a_malformed_row_is_refused_and_counted(features: dict[str, Any], outcome: float) -> None:
    reward = LearnedReward()
    with pytest.raises(InvalidInput):
        reward.observe({**describe_attempt("scout", "search"), **features}, outcome)
    assert (reward.refused, reward.model.get_statistics()["total_outcomes"]) == (1, 0)
