"""The calibrated reward model: better than fixed weights where the truth is known, never certain, and safe on disk."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.allocation import RewardModel, describe_attempt
from kapelle.errors import InvalidInput, NotFound
from kapelle.validation import CalibratedRewardModel, LearnedReward

Row = tuple[dict[str, Any], float]
TRUTH = {("small", "short"): 0.9, ("small", "long"): 0.2, ("large", "short"): 0.95, ("large", "long"): 0.8}
"""Chance of success by agent and by what the text says: the type of task is the same for all."""
POSITIONS = {"small": 0.0, "large": 1.0}


def tiny_world(count: int, seed: int) -> list[Row]:
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        agent, size = chance.choice(sorted(TRUTH))
        text = f"Write a {size} proof, number {number}"
        features = describe_attempt(agent, "proof", text=text, cost_position=POSITIONS[agent])
        rows.append((features, float(chance.random() < TRUTH[agent, size])))
    return rows


def log_loss(chances: Iterable[float], outcomes: Sequence[float]) -> float:
    losses = [
        -(y * math.log(p) + (1 - y) * math.log(1 - p)) for p, y in zip(chances, outcomes, strict=True)
    ]  # fails where a chance is 0 or 1
    return math.fsum(losses) / len(losses)


def static_score(rate: float, cost: float) -> float:
    return 0.4 * rate + 0.3 * rate + 0.2 * (1 - cost) + 0.1


@pytest.fixture(scope="module")
def taught() -> CalibratedRewardModel:
    return CalibratedRewardModel.fit(tiny_world(800, seed=1))


@pytest.mark.slow
def test_it_beats_static_weights_by_more_than_the_wanted_share(taught: CalibratedRewardModel) -> None:
    seen, held_out = tiny_world(800, seed=1), tiny_world(400, seed=2)
    outcomes = [outcome for _, outcome in held_out]
    rates = {}
    for agent in POSITIONS:
        of_agent = [outcome for features, outcome in seen if features["agent"] == agent]
        rates[agent] = sum(of_agent) / len(of_agent)
    static = log_loss(
        (static_score(rates[row["agent"]], row["cost_position"]) for row, _ in held_out),
        outcomes,
    )
    assert log_loss((taught.predict(row) for row, _ in held_out), outcomes) < 0.85 * static
    learned = LearnedReward()
    for features, outcome in seen:
        learned.observe(features, outcome)
    assert log_loss((learned.predict(row) for row, _ in held_out), outcomes) < static


def test_it_comes_close_to_the_true_chances(taught: CalibratedRewardModel) -> None:
    for (agent, size), truth in TRUTH.items():
        features = describe_attempt(agent, "proof", text=f"Write a {size} proof, number 9", cost_position=0.0)
        assert taught.predict({**features, "cost_position": POSITIONS[agent]}) == pytest.approx(truth, abs=0.12)


@pytest.mark.slow
def test_one_outcome_after_another_comes_near_to_fitting_all_at_once() -> None:
    online, rows = CalibratedRewardModel(), tiny_world(400, seed=3)
    for features, outcome in rows:
        online.observe(features, outcome)
    held_out = tiny_world(200, seed=4)
    outcomes = [outcome for _, outcome in held_out]
    at_once = CalibratedRewardModel.fit(rows)
    apart = log_loss((online.predict(row) for row, _ in held_out), outcomes) - log_loss(
        (at_once.predict(row) for row, _ in held_out), outcomes
    )
    assert apart < 0.05
    assert online.statistics().fits > 1
    assert at_once.statistics().fits == 1


def test_both_models_are_reward_models() -> None:
    assert isinstance(CalibratedRewardModel(), RewardModel)
    assert isinstance(LearnedReward(), RewardModel)


@pytest.mark.slow
def test_few_outcomes_move_it_little_from_the_rate_of_all() -> None:
    model = CalibratedRewardModel()
    assert model.predict(describe_attempt("scout", "search")) == pytest.approx(0.5)
    for _ in range(200):
        model.observe(describe_attempt("old", "search"), 1.0)
        model.observe(describe_attempt("old", "search"), 0.0)
    model.observe(describe_attempt("scout", "search"), 1.0)
    assert 0.5 < model.predict(describe_attempt("scout", "search")) < 0.7


@pytest.mark.parametrize("outcome", [math.nan, -0.1, 1.1, math.inf, None, "1"])
def test_an_outcome_that_is_none_is_refused_and_counted(outcome: Any) -> None:
    model = CalibratedRewardModel()
    with pytest.raises(InvalidInput, match="outcome"):
        model.observe(describe_attempt("scout", "search"), outcome)
    statistics = model.statistics()
    assert (statistics.outcomes, statistics.refused, len(statistics.refusals)) == (0, 1, 1)
    assert model.predict(describe_attempt("scout", "search")) == 0.5


@pytest.mark.parametrize(
    "bad",
    [
        {"agent": ""},
        {"task_type": None},
        {"cost_usd": -1.0},
        {"cost_usd": math.nan},
        {"success_rate": 1.5},
        {"seconds": 10**400},
        {"level": True},
        {"shift": math.inf},
        {"context": {(1, 2): "x"}},
    ],
)
def test_a_malformed_feature_is_refused_by_name(bad: dict[str, Any]) -> None:
    features = {**describe_attempt("scout", "search"), **bad}
    model = CalibratedRewardModel.fit([(features, 1.0), (describe_attempt("scout", "search"), 1.0)])
    assert (model.statistics().outcomes, model.statistics().refused) == (1, 1)
    (name,) = bad
    with pytest.raises(InvalidInput, match=name):
        model.predict(features)


NUMBERS = st.floats(0, 1e300)
FEATURES = st.fixed_dictionaries(
    {"agent": st.text(min_size=1, max_size=8) | st.just("small"), "task_type": st.text(min_size=1, max_size=8)},
    optional={
        "text": st.text(max_size=60),
        "context": st.text(max_size=30),
        "complexity": NUMBERS,
        "dependencies": st.integers(0, 10**6),
        "success_rate": st.floats(0, 1),
        "cost_usd": NUMBERS,
        "seconds": NUMBERS,
        "cost_position": st.floats(0, 1),
        "level": st.floats(0, 1),
        "shift": st.floats(-1e300, 1e300),
    },
)


@settings(max_examples=60, deadline=None)
@given(features=FEATURES)
def test_no_chance_is_ever_certain(taught: CalibratedRewardModel, features: dict[str, Any]) -> None:
    for model in (taught, CalibratedRewardModel(), LearnedReward()):
        assert 0 < model.predict(features) < 1


def test_what_is_saved_predicts_and_learns_on_as_before(taught: CalibratedRewardModel, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "reward.npz"
    taught.save(path)
    loaded = CalibratedRewardModel.load(path)
    rows = tiny_world(40, seed=5)
    assert [loaded.predict(row) for row, _ in rows] == [taught.predict(row) for row, _ in rows]
    assert loaded.statistics() == taught.statistics()
    twins = [CalibratedRewardModel.load(path) for _ in range(2)]
    for features, outcome in rows:
        for twin in twins:
            twin.observe(features, outcome)
    assert twins[0].predict(rows[0][0]) == twins[1].predict(rows[0][0]) != taught.predict(rows[0][0])
    assert [one.name for one in path.parent.iterdir()] == ["reward.npz"]


def test_a_model_without_outcomes_can_be_saved(tmp_path: Path) -> None:
    CalibratedRewardModel().save(tmp_path / "new.npz")
    assert CalibratedRewardModel.load(tmp_path / "new.npz").predict(describe_attempt("a", "b")) == 0.5


def test_a_damaged_file_is_refused_by_name_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "reward.npz"
    CalibratedRewardModel.fit(tiny_world(30, seed=6)).save(path)
    whole = path.read_bytes()
    for content in (b"", b"{}", whole[: len(whole) // 2], whole[:-1], b"PK" + bytes(200)):
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match=r"reward\.npz"):
            CalibratedRewardModel.load(path)
        assert path.read_bytes() == content
    with pytest.raises(NotFound, match=r"absent\.npz"):
        CalibratedRewardModel.load(tmp_path / "absent.npz")


def test_no_flipped_byte_raises_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "reward.npz"
    CalibratedRewardModel.fit(tiny_world(5, seed=6)).save(path)
    whole, chance, refused = path.read_bytes(), random.Random(7), 0
    for _ in range(60):
        flipped = bytearray(whole)
        flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            CalibratedRewardModel.load(path)
        except InvalidInput:
            refused += 1
    assert refused > 30  # a flipped time stamp of the archive, say, is no damage


@pytest.mark.parametrize("settings", [{"memory": 0}, {"memory": True}, {"growth": 1.0}, {"growth": math.nan}])
def test_malformed_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(settings))):
        CalibratedRewardModel(**settings)


def test_only_the_last_outcomes_are_kept_and_all_are_counted() -> None:
    model = CalibratedRewardModel.fit(tiny_world(30, seed=8), memory=10)
    assert (model.statistics().outcomes, model.statistics().remembered) == (30, 10)
