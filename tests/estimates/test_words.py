"""What was learned about words: levels are not among it, its file is untrusted, and it starts a belief off."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import InvalidInput
from kapelle.estimates import LearnedWords, LoggedTask, SuccessModel, read_arrays, write_arrays
from tests.estimates.test_predictor import EASY, HARD, world


@cache
def of_the_world() -> LearnedWords:
    found = LearnedWords.fit(world(), learned_at=7.0)
    assert found is not None
    return found


@cache
def saved() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        of_the_world().save(Path(folder) / "w.npz")
        return (Path(folder) / "w.npz").read_bytes()


def believe(words: LearnedWords, agent: str, text: str) -> float:
    model = SuccessModel(words.scales)
    for name, slopes in words.slopes.items():
        model.add_slopes(name, *slopes)
    mean, _ = model.believe([agent], [0.6], ["work"], words.describe(text, "work")[None])
    return float(mean[0, 0])


def test_a_belief_that_starts_from_it_knows_hard_words_from_easy_ones() -> None:
    words = of_the_world()
    assert believe(words, "weak", f"{EASY[0]} (4)") > 0.75
    assert believe(words, "weak", f"{HARD[0]} (4)") < 0.4
    assert abs(believe(words, "strong", f"{HARD[0]} (4)") - 0.6) < 0.15


def test_an_ordinary_text_is_nothing_and_so_moves_nothing() -> None:
    words = of_the_world()
    described = words.describe_all([task.text for task in world()], ["work"] * 300)
    assert np.abs(described.mean(axis=0)).max() < 1e-9


def test_what_tasks_declare_for_their_answers_leaves_their_words_as_they_are() -> None:
    declaring = [replace(task, context='{"functions": []}' * (1 + number % 9)) for number, task in enumerate(world())]
    found = LearnedWords.fit(declaring, learned_at=7.0)
    assert found is not None
    assert found.scales == of_the_world().scales
    for text in (EASY[0], HARD[0]):
        assert believe(found, "weak", text) == pytest.approx(believe(of_the_world(), "weak", text), abs=1e-12)


@pytest.mark.parametrize("tasks", [[], world(5), [LoggedTask(task_id=str(n), text="") for n in range(50)]])
def test_of_too_little_nothing_is_learned(tasks: list[LoggedTask]) -> None:
    assert LearnedWords.fit(tasks) is None


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(saved())
    loaded = LearnedWords.load(tmp_path / "w.npz")
    assert loaded.learned_at == 7.0
    assert loaded.scales == of_the_world().scales
    assert believe(loaded, "weak", HARD[1]) == pytest.approx(believe(of_the_world(), "weak", HARD[1]), abs=1e-12)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"{}", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_none_of_ours_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"w\.npz"):
        LearnedWords.load(tmp_path / "w.npz")


@pytest.mark.parametrize(
    "change",
    [
        {"words": 1},
        {"agents": ["a"]},
        {"types": 7},
        {"learned_at": float("nan")},
        {"type_scales": [0.0, 0.1]},
        {"type_scales": [10**400, 0.1]},
        {"type_scales": ["x", "y"]},
        {"grams": np.full((2, 46, 46), -1.0)},
        {"grams": np.full((2, 46, 46), 1e300)},
        {"scales": np.zeros((2, 46))},
        {"scales": np.full((2, 46), 1e-300)},
        {"form_spreads": np.full(14, 1e-300)},
        {"form_means": np.full(14, 1e300)},
        {"block_0": np.append(np.zeros(14), 1e-300)},
        {"words_weights": np.full(1, 1e39)},
        {"words_buckets": np.full(1, np.nan)},
        {"grams": np.zeros((2, 46, 46), dtype=np.complex128)},
        {"grams": np.full((2, 46, 46), "x")},
        {"products": np.zeros((1, 46))},
    ],
)
def test_figures_that_cannot_be_are_refused_with_the_way_out(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "w.npz"
    path.write_bytes(saved())
    about, arrays = read_arrays(path)
    told = {name: value for name, value in change.items() if not isinstance(value, np.ndarray)}
    numbers = {name: value for name, value in change.items() if isinstance(value, np.ndarray)}
    write_arrays(path, {**about, **told}, {**arrays, **numbers})
    with pytest.raises(InvalidInput, match="Learn it again"):
        LearnedWords.load(path)


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_damaged_file_is_refused_or_gives_finite_figures(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int
) -> None:
    data = bytearray(saved())
    data[at % len(data)] ^= flip
    path = tmp_path_factory.mktemp("damaged") / "w.npz"
    path.write_bytes(bytes(data))
    try:
        loaded = LearnedWords.load(path)
    except InvalidInput:
        return
    assert np.isfinite(believe(loaded, "weak", HARD[0]))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Cannot write"):
        of_the_world().save(tmp_path / "nowhere" / "w.npz")
