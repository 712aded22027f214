from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.estimates.forest import FOLDS, Floats, Forest, Ints


def world(size: int, *, seed: int = 0) -> tuple[Floats, Floats, Ints]:
    """Rows whose first two numbers decide everything, six that decide nothing, and two targets."""
    rng = np.random.default_rng(seed)
    rows = rng.random((size, 8), dtype=np.float32)
    truth = np.column_stack([rows[:, 0] > 0.5, (rows[:, 0] > 0.5) & (rows[:, 1] > 0.5)])
    noisy = np.where(rng.random(truth.shape) < 0.1, ~truth, truth)
    return rows, noisy.astype(np.float32), (np.arange(size) % FOLDS).astype(np.int32)


def test_it_finds_what_decides_and_beats_the_mean() -> None:
    rows, targets, folds = world(800)
    forest = Forest.grow(rows, targets, folds, least=8, seed=0, trees=60)
    new, outcome, _ = world(400, seed=1)
    error = ((forest.predict(new) - outcome) ** 2).mean()
    assert error < 0.65 * ((targets.mean(axis=0) - outcome) ** 2).mean()


def test_predictions_for_its_own_rows_are_as_good_as_for_new_ones_and_no_better() -> None:
    rows, targets, folds = world(800)
    forest = Forest.grow(rows, targets, folds, least=5, seed=0, trees=60)
    new, outcome, _ = world(2000, seed=1)
    known = ((forest.predict(rows) - targets) ** 2).mean()
    honest = ((forest.predict_unseen(rows, folds) - targets) ** 2).mean()
    later = ((forest.predict(new) - outcome) ** 2).mean()
    assert known < honest
    assert abs(honest - later) < 0.02


def test_what_a_row_came_to_says_nothing_of_its_own_unseen_prediction() -> None:
    rows, targets, folds = world(200)
    changed = targets.copy()
    changed[folds == 2] = 1 - changed[folds == 2]
    before, after = (
        Forest.grow(rows, one, folds, least=5, seed=0, trees=40).predict_unseen(rows, folds)
        for one in (targets, changed)
    )
    # Trees draw from one stream, so those of other folds may differ by chance; the rows' own outcomes do not count.
    assert np.abs(before[folds == 2] - after[folds == 2]).mean() < 0.1
    assert np.abs(before[folds == 1] - after[folds == 1]).mean() > 0.1


@settings(max_examples=25, deadline=None)
@given(st.integers(FOLDS, 60), st.integers(1, 30), st.integers(0, 9))
def test_no_prediction_leaves_the_range_of_the_targets(size: int, least: int, seed: int) -> None:
    rows, targets, folds = world(size, seed=seed)
    forest = Forest.grow(rows, targets, folds, least=least, seed=seed, trees=8)
    for predicted in (forest.predict(rows * 9 - 4), forest.predict_unseen(rows, folds)):
        assert np.isfinite(predicted).all()
        assert (predicted >= -1e-6).all()
        assert (predicted <= 1 + 1e-6).all()


def test_the_same_seed_grows_the_same_trees() -> None:
    rows, targets, folds = world(100)
    one, other, third = (Forest.grow(rows, targets, folds, least=5, seed=seed, trees=8) for seed in (1, 1, 2))
    assert np.array_equal(one.predict(rows), other.predict(rows))
    assert not np.array_equal(one.predict(rows), third.predict(rows))


def test_rows_that_are_all_alike_get_their_mean() -> None:
    folds = (np.arange(40) % FOLDS).astype(np.int32)
    targets = (np.arange(40) // FOLDS % 2).astype(np.float32)[:, None]
    forest = Forest.grow(np.zeros((40, 3), dtype=np.float32), targets, folds, least=2, seed=0, trees=8)
    assert np.allclose(forest.predict(np.ones((1, 3), dtype=np.float32)), 0.5)
