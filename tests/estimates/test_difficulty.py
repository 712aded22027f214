"""Difficulty is learned from words and outcomes, in small worlds whose truth is known."""

from __future__ import annotations

import copy
import random
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import InvalidInput
from kapelle.estimates import LoggedOutcome, LoggedTask
from kapelle.estimates.arrays import write_arrays
from kapelle.estimates.difficulty import DifficultyModel

EASY = ("add two small numbers", "say the capital of a country", "name a colour")
HARD = ("prove a theorem of topology", "schedule forty nurses", "translate a legal contract")


def world(count: int = 300, *, seed: int = 0, partial: bool = False) -> list[LoggedTask]:
    """`strong` does nearly everything; `weak` does easy tasks only, and costs a tenth."""
    rng = random.Random(seed)
    tasks = []
    for number in range(count):
        hard = rng.random() < 0.5
        text = f"{rng.choice(HARD if hard else EASY)} ({rng.randrange(10_000)})"
        outcomes = {
            "strong": LoggedOutcome(quality=float(rng.random() < 0.95), cost_usd=0.001 * len(text)),
            "weak": LoggedOutcome(quality=float(rng.random() < (0.1 if hard else 0.95)), cost_usd=0.0001 * len(text)),
        }
        if partial:  # the weak agent is given easy tasks mostly
            name = "weak" if rng.random() < (0.1 if hard else 0.8) else "strong"
            outcomes = {name: outcomes[name]}
        tasks.append(LoggedTask(task_id=str(number), text=text, task_type="work", outcomes=outcomes))
    return tasks


@cache
def of_the_world() -> DifficultyModel:
    """Return what is learned of the world; to be asked only: who tells it more takes a copy."""
    return DifficultyModel.fit(world())


def ask(text: str) -> LoggedTask:
    return LoggedTask(task_id="new", text=text, task_type="work")


@pytest.mark.slow
def test_it_knows_what_is_hard_and_for_whom() -> None:
    model = of_the_world()
    easy, hard = model.assess(EASY[0], "work"), model.assess(HARD[0], "work")
    assert easy.level < 0.2 < hard.level
    assert hard.shift("weak") < -1 < hard.shift("strong")
    assert easy.shift("weak") > 0.5


@pytest.mark.slow
def test_predictions_beat_the_mean_of_the_type_on_tasks_never_seen() -> None:
    train, test = world(seed=1), world(seed=2)
    predicted = DifficultyModel.fit(train).predict(test)
    column = predicted.agents.index("weak")
    truth = np.array([task.outcomes["weak"].quality for task in test])
    mean = np.mean([task.outcomes["weak"].quality for task in train])
    assert np.mean((predicted.quality[:, column] - truth) ** 2) < 0.6 * np.mean((mean - truth) ** 2)


@pytest.mark.slow
def test_what_was_predicted_unseen_is_as_honest_as_on_new_tasks() -> None:
    train, test = world(seed=3), world(seed=4)
    model, unseen = DifficultyModel.fit_unseen(train)

    def error(predicted: np.ndarray, tasks: list[LoggedTask]) -> float:
        truth = np.array([[task.outcomes[agent].quality for agent in model.agents] for task in tasks])
        return float(np.mean((predicted - truth) ** 2))

    assert error(unseen.quality, train) == pytest.approx(error(model.predict(test).quality, test), rel=0.35)


@pytest.mark.slow
def test_costs_follow_the_lengths_of_texts() -> None:
    model = of_the_world()
    predicted = model.predict([ask("x" * 20), ask("x" * 200)]).cost_usd
    assert predicted[1, 0] == pytest.approx(0.2, rel=0.05)
    assert predicted[0, 0] < predicted[1, 0] / 5


@pytest.mark.slow
def test_an_agent_that_was_given_easy_tasks_only_is_not_taken_for_a_good_one() -> None:
    model = DifficultyModel.fit(world(1500, partial=True))
    predicted = dict(zip(model.agents, model.predict([ask(HARD[1])]).quality[0], strict=True))
    assert predicted["weak"] < predicted["strong"] - 0.3


@pytest.mark.slow
def test_outcomes_move_later_predictions_and_new_agents_join_in() -> None:
    model = copy.deepcopy(of_the_world())
    before = model.predict([ask(EASY[0])])
    for number in range(60):
        outcomes = {
            "weak": LoggedOutcome(quality=0.0, cost_usd=0.1),
            "newcomer": LoggedOutcome(quality=1.0, cost_usd=0.1),
        }
        model.observe(LoggedTask(task_id=str(number), text=EASY[0], task_type="work", outcomes=outcomes))
    after = model.predict([ask(EASY[0])])
    weak = model.agents.index("weak")
    assert after.quality[0, weak] < before.quality[0, weak] - 0.15
    assert after.quality[0, model.agents.index("newcomer")] > 0.8


@pytest.mark.parametrize("tasks", [[], world(5), [LoggedTask(task_id="1", text="nobody tried")]])
def test_with_little_to_learn_from_every_task_is_ordinary(tasks: list[LoggedTask]) -> None:
    found = DifficultyModel.fit(tasks).assess("anything at all", "work")
    assert (found.shift("weak"), found.shift("nobody")) == (0.0, 0.0)
    assert 0 <= found.level <= 1


@given(st.text(max_size=300), st.text(max_size=20), st.text(max_size=100))
def test_any_text_has_a_difficulty_and_none_is_nan(text: str, task_type: str, context: str) -> None:
    found = MODEL.assess(text, task_type, context)
    assert 0 <= found.level <= 1
    assert all(abs(shift) <= 3 for shift in found.shifts.values())


MODEL = DifficultyModel.fit(world(120))


@pytest.mark.slow
def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    model = copy.deepcopy(of_the_world())
    model.observe(world(1, seed=9)[0])
    model.save(tmp_path / "m.npz")
    loaded = DifficultyModel.load(tmp_path / "m.npz")
    tasks = [ask(text) for text in (*EASY, *HARD, "")]
    assert (loaded.predict(tasks).quality == model.predict(tasks).quality).all()
    assert (loaded.predict(tasks).cost_usd == model.predict(tasks).cost_usd).all()
    assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]


@pytest.mark.slow
def test_the_same_tasks_and_seed_give_the_same_model() -> None:
    one, other = DifficultyModel.fit(world(), seed=5), DifficultyModel.fit(world(), seed=5)
    assert (one.predict([ask(HARD[0])]).quality == other.predict([ask(HARD[0])]).quality).all()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"{}", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_none_of_ours_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.npz"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"m\.npz"):
        DifficultyModel.load(path)


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_damaged_file_is_refused_or_gives_finite_figures(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int
) -> None:
    data = bytearray(SAVED)
    data[at % len(data)] ^= flip
    path = tmp_path_factory.mktemp("damaged") / "m.npz"
    path.write_bytes(bytes(data))
    try:
        loaded = DifficultyModel.load(path)
    except InvalidInput:
        return
    assert np.isfinite(loaded.predict([ask(HARD[0])]).quality).all()


def _saved() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        MODEL.save(Path(folder) / "m.npz")
        return (Path(folder) / "m.npz").read_bytes()


SAVED = _saved()


def test_trees_that_lead_in_circles_are_refused(tmp_path: Path) -> None:
    about, arrays = MODEL.to_arrays()
    low = arrays["low"].copy()
    low[:] = 0
    write_arrays(tmp_path / "m.npz", about, {**arrays, "low": low})
    with pytest.raises(InvalidInput, match="damaged"):
        DifficultyModel.load(tmp_path / "m.npz")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Cannot write"):
        MODEL.save(tmp_path / "nowhere" / "m.npz")
