"""The learned weights: always weights, better than the static ones where the truth is known, and safe on disk."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.errors import InvalidInput
from kapelle.learning import LearnedRewardModel, TaskOutcome

STATIC = (0.4, 0.3, 0.2, 0.1)


def outcome(**fields: Any) -> TaskOutcome:
    given = {"success": 1.0, "quality": 0.9, "cost": 0.4, "time": 0.2, "predicted_score": 0.8, **fields}
    return TaskOutcome(**{"task_id": "t", "task_type": "deploy", "agent_name": "deploy_agent", **given})


def score(weights: Sequence[float], features: Sequence[float]) -> float:
    return sum(w * f for w, f in zip(weights, features, strict=True))


def tiny_world(weights: Sequence[float], count: int, seed: int) -> list[tuple[float, float, float, float, float]]:
    """Outcomes whose true score is known: (success, quality, cost, time, score)."""
    chance = random.Random(seed)
    rows = []
    for _ in range(count):
        success, quality, cost, time = (chance.random() for _ in range(4))
        rows.append((success, quality, cost, time, score(weights, (success, quality, 1 - cost, 1 - time))))
    return rows


def taught(weights: Sequence[float], count: int = 200, seed: int = 7, **options: Any) -> LearnedRewardModel:
    model = LearnedRewardModel(**options)
    for success, quality, cost, time, truth in tiny_world(weights, count, seed):
        predicted = model.predict_quality(success, quality, cost, time)
        model.record_outcome(
            outcome(
                success=success, quality=quality, cost=cost, time=time, predicted_score=predicted, actual_score=truth
            )
        )
    return model


def mean_error(weights: Sequence[float], rows: Sequence[tuple[float, float, float, float, float]]) -> float:
    errors = [abs(score(weights, (s, q, 1 - c, 1 - t)) - truth) for s, q, c, t, truth in rows]
    return sum(errors) / len(errors)


def test_it_starts_with_the_documented_weights() -> None:
    model = LearnedRewardModel()
    assert model.weights == {"success": 0.4, "quality": 0.3, "cost": 0.2, "time": 0.1}
    assert model.predict_quality(1.0, 0.5, 0.25, 0.0) == pytest.approx(0.4 + 0.15 + 0.15 + 0.1)


@pytest.mark.parametrize("truth", [(0.1, 0.2, 0.3, 0.4), (0.7, 0.1, 0.1, 0.1), (0.05, 0.9, 0.04, 0.01)])
def test_in_a_world_with_known_weights_it_errs_less_than_the_static_weights(truth: tuple[float, ...]) -> None:
    learned = list(taught(truth).weights.values())
    unseen = tiny_world(truth, 100, seed=8)
    assert mean_error(learned, unseen) < 0.35 * mean_error(STATIC, unseen)


def test_more_outcomes_bring_the_weights_closer_to_the_truth() -> None:
    truth = (0.1, 0.2, 0.3, 0.4)
    distances = [math.dist(taught(truth, count).weights.values(), truth) for count in (0, 50, 100, 400)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.02


def test_learning_is_repeatable() -> None:
    assert taught((0.1, 0.2, 0.3, 0.4)).weights == taught((0.1, 0.2, 0.3, 0.4)).weights


def test_weights_that_are_right_already_stay() -> None:
    assert list(taught(STATIC).weights.values()) == pytest.approx(STATIC)


@pytest.mark.parametrize(("count", "min_samples", "learns"), [(9, 1, False), (10, 10, True), (10, 11, False)])
def test_it_learns_every_ten_outcomes_once_there_are_enough(count: int, min_samples: int, learns: bool) -> None:
    model = taught((0.1, 0.2, 0.3, 0.4), count, min_samples=min_samples)
    assert (tuple(model.weights.values()) != STATIC) == learns


def test_without_a_measured_score_success_times_quality_is_the_truth() -> None:
    assert outcome(success=0.5, quality=0.8).observed_score == 0.4
    assert outcome(success=0.5, quality=0.8, actual_score=0.9).observed_score == 0.9


shares = st.floats(0, 1)
outcomes = st.builds(
    TaskOutcome,
    task_id=st.just("t"),
    task_type=st.sampled_from(["deploy", "test"]),
    agent_name=st.sampled_from(["a", "b"]),
    success=shares,
    quality=shares,
    cost=shares,
    time=shares,
    predicted_score=shares,
    actual_score=st.none() | shares,
)


@settings(max_examples=40, deadline=None)  # every example runs the whole search
@given(st.lists(outcomes, min_size=10, max_size=20), st.sampled_from([0.1, 1.0]))
def test_weights_stay_normalised_and_none_is_nothing(rows: list[TaskOutcome], learning_rate: float) -> None:
    model = LearnedRewardModel(learning_rate=learning_rate)
    for row in rows:
        model.record_outcome(row)
        assert min(model.weights.values()) > 0.009
        assert max(model.weights.values()) < 1
        assert sum(model.weights.values()) == pytest.approx(1.0)


@settings(max_examples=40, deadline=None)  # as above
@given(st.lists(outcomes, min_size=10, max_size=60), st.sampled_from([0.1, 1.0]), shares)
def test_without_a_measured_score_cost_and_time_weigh_what_they_did_and_a_dearer_plan_scores_less(
    rows: list[TaskOutcome], learning_rate: float, time: float
) -> None:
    model = LearnedRewardModel(learning_rate=learning_rate)
    for row in rows:
        model.record_outcome(replace(row, actual_score=None))
    weights = model.weights
    assert (weights["cost"], weights["time"]) == pytest.approx((0.2, 0.1))
    assert sum(weights.values()) == pytest.approx(1.0)
    assert all(0 < weight < 1 for weight in weights.values())
    scores = [model.predict_quality(0.9, 0.8, cost, time) for cost in (0.0, 0.01, 0.5, 1.0)]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4


def test_a_thousand_documented_calls_leave_a_dear_plan_worth_less() -> None:
    model = LearnedRewardModel()
    for number in range(1000):
        predicted = model.predict_quality(success_prob=0.85, quality=0.82, cost=0.5, time=0.2)
        model.record_outcome(
            outcome(quality=(0.88, 0.6, 0.95)[number % 3], cost=0.45, time=0.18, predicted_score=predicted)
        )
    assert model.predict_quality(0.9, 0.9, 0.01, 0.5) - model.predict_quality(0.9, 0.9, 1.0, 0.5) == pytest.approx(
        0.99 * 0.2
    )
    assert model.weights["quality"] > 0.3  # what was delivered followed it


@settings(max_examples=40, deadline=None)  # every example runs the whole search
@given(st.lists(outcomes, min_size=10, max_size=10))
def test_an_update_never_raises_the_error_on_what_it_has_seen(rows: list[TaskOutcome]) -> None:
    model = LearnedRewardModel()
    for row in rows:
        model.record_outcome(row)

    def error(weights: Sequence[float]) -> float:
        both = weights[0] + weights[1]
        alone = [one / both for one in weights[:2]]
        return sum(
            abs(score(alone, (row.success, row.quality)) - row.success * row.quality)
            if row.actual_score is None
            else abs(score(weights, (row.success, row.quality, 1 - row.cost, 1 - row.time)) - row.actual_score)
            for row in rows
        )

    assert error(list(model.weights.values())) <= error(STATIC) + 1e-9


@given(shares, shares, shares, shares)
def test_a_prediction_lies_in_0_to_1_and_falls_with_cost(
    success: float, quality: float, cost: float, time: float
) -> None:
    model = LearnedRewardModel()
    predicted = model.predict_quality(success, quality, cost, time)
    assert 0 <= predicted <= 1
    assert model.predict_quality(success, quality, 1.0, time) <= predicted


def test_the_error_is_an_exponential_moving_average_of_what_was_predicted() -> None:
    model = LearnedRewardModel(learning_rate=0.5)
    for predicted in (0.5, 0.9):
        model.record_outcome(outcome(predicted_score=predicted, actual_score=1.0))
    assert model.get_statistics()["mean_absolute_error"] == pytest.approx(0.5 * 0.5 + 0.5 * 0.1)


def test_success_rates_are_kept_by_agent_and_task_type() -> None:
    model = LearnedRewardModel()
    for success, task_type in ((1.0, "deploy"), (0.0, "deploy"), (1.0, "test")):
        model.record_outcome(outcome(success=success, task_type=task_type))
    assert model.get_statistics()["agent_success_rates"] == {"deploy_agent": {"deploy": 0.5, "test": 1.0}}


def test_it_is_written_every_ten_outcomes_and_read_back_whole(tmp_path: Path) -> None:
    path = tmp_path / "models" / "reward_model.json"
    model = taught((0.1, 0.2, 0.3, 0.4), 9, persistence_path=path)
    assert not path.exists()
    model.record_outcome(outcome())
    again = LearnedRewardModel(persistence_path=path)
    assert again.get_statistics() == model.get_statistics()
    assert [file.name for file in path.parent.iterdir()] == ["reward_model.json"]


def test_learning_goes_on_after_a_restart_as_if_there_had_been_none(tmp_path: Path) -> None:
    truth, path = (0.1, 0.2, 0.3, 0.4), tmp_path / "model.json"
    whole = taught(truth, 40)
    taught(truth, 20, persistence_path=path)
    resumed = LearnedRewardModel(persistence_path=path)
    for success, quality, cost, time, score in tiny_world(truth, 40, seed=7)[20:]:
        predicted = resumed.predict_quality(success, quality, cost, time)
        row = outcome(
            success=success, quality=quality, cost=cost, time=time, predicted_score=predicted, actual_score=score
        )
        resumed.record_outcome(row)
    assert resumed.weights == pytest.approx(whole.weights)


def test_several_models_with_one_file_lose_nothing_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    models = [LearnedRewardModel(persistence_path=path) for _ in range(3)]
    for turn in range(4):
        for number, model in enumerate(models):
            model.record_outcome(outcome(agent_name=f"agent{number}", quality=0.2 * turn))
            if turn % 2:
                model.save()
    for model in models:
        model.save()
    kept = LearnedRewardModel(persistence_path=path).get_statistics()
    assert kept["total_outcomes"] == 12
    assert set(kept["agent_success_rates"]) == {"agent0", "agent1", "agent2"}
    assert models[-1].get_statistics() == kept


def test_threads_that_write_one_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    models = [LearnedRewardModel(persistence_path=path) for _ in range(4)]

    def learn(model: LearnedRewardModel) -> None:
        for _ in range(5):
            model.record_outcome(outcome())
            model.save()

    with ThreadPoolExecutor(len(models)) as pool:
        list(pool.map(learn, models * 2))
    assert LearnedRewardModel(persistence_path=path).get_statistics()["total_outcomes"] == 40


def test_a_file_that_is_damaged_by_now_stays_and_nothing_learned_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    model = LearnedRewardModel(persistence_path=path)
    model.record_outcome(outcome())
    path.write_text("{half a file")
    with pytest.raises(InvalidInput, match="move it away"):
        model.save()
    assert path.read_text() == "{half a file"
    path.unlink()
    model.save()
    assert LearnedRewardModel(persistence_path=path).get_statistics()["total_outcomes"] == 1


def test_a_file_of_before_is_read_with_no_weight_at_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    weights = {"success": 0.0, "quality": 1.0, "cost": 0.0, "time": 0.0}
    path.write_text(damaged(weights=weights, total_outcomes=2, window=[[1, 0.8, 0.5, 0.5, 0.8], [1, 0.8, 0.5, 0.5, 1]]))
    model = LearnedRewardModel(persistence_path=path)
    assert min(model.weights.values()) > 0.009
    model.record_outcome(outcome(actual_score=0.5))
    model.save()
    assert [row[-1] for row in json.loads(path.read_text())["window"]] == [None, 1.0, 0.5]


def damaged(**changes: Any) -> str:
    return json.dumps(
        {
            "format": 1,
            "weights": {"success": 0.4, "quality": 0.3, "cost": 0.2, "time": 0.1},
            "total_outcomes": 0,
            "mean_absolute_error": None,
            "window": [],
            "agents": [],
            **changes,
        }
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{half a file",
        "[]",
        "{}",
        damaged(format=99),
        damaged(weights={"success": 2, "quality": -1, "cost": 0, "time": 0}),
        damaged(weights={"success": 1, "quality": 1, "cost": 0, "time": 0}),
        damaged(total_outcomes=-1),
        damaged(mean_absolute_error=math.nan),
        damaged(window=[[0.1, 0.2]]),
        damaged(window=[[0.1, 0.2, 0.3, 0.4, 5]]),
        damaged(agents=[["a", "t", 1, 2]]),
        damaged(agents="abc"),
    ],
)
def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=r"model\.json") as caught:
        LearnedRewardModel(persistence_path=path)
    assert "move it away" in str(caught.value)
    assert path.read_text() == text


def test_a_file_that_cannot_be_written_says_so_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    model = LearnedRewardModel(persistence_path=blocked / "model.json")
    with pytest.raises(InvalidInput, match="Cannot write"):
        model.save()
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["success", "quality", "cost", "time", "predicted_score", "actual_score"])
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, "high"])
def test_a_figure_outside_0_to_1_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=name):
        outcome(**{name: value})


def test_a_prediction_refuses_figures_outside_0_to_1() -> None:
    with pytest.raises(InvalidInput, match="cost=12"):
        LearnedRewardModel().predict_quality(0.9, 0.9, 12.0, 0.1)


@pytest.mark.parametrize("options", [{"learning_rate": 0}, {"learning_rate": 2.0}, {"min_samples": 0}])
def test_a_malformed_setting_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(options))):
        LearnedRewardModel(**options)
