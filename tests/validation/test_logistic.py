"""Logistic regression on sparse rows: its minimum is one, its prior holds without rows, and single rows move it."""

from __future__ import annotations

import numpy as np
import pytest

from kapelle.validation.logistic import (
    Floats,
    Rows,
    SparseRow,
    expit,
    fit_weights,
    log_loss,
    precision_of,
    update_weights,
)

WIDTH = 12


def random_rows(count: int, seed: int) -> tuple[list[SparseRow], Floats]:
    """Rows, some of whose positions stand twice, and outcomes drawn from known weights."""
    chance = np.random.default_rng(seed)
    truth = chance.normal(size=WIDTH)
    rows: list[SparseRow] = [
        (chance.integers(0, WIDTH, 5).astype(np.int32), chance.normal(size=5).astype(np.float32)) for _ in range(count)
    ]
    chances = expit(Rows(rows, WIDTH).times(truth))
    return rows, (chance.random(count) < chances).astype(np.float64)


def dense(rows: list[SparseRow]) -> Floats:
    table = np.zeros((len(rows), WIDTH))
    for number, (at, values) in enumerate(rows):
        np.add.at(table[number], at, values)
    return table


def test_sums_are_those_of_the_dense_table() -> None:
    rows, _ = random_rows(20, seed=1)
    weights = np.arange(WIDTH, dtype=np.float64)
    shares = np.arange(20, dtype=np.float64)
    assert Rows(rows, WIDTH).times(weights) == pytest.approx(dense(rows) @ weights, abs=1e-5)
    assert Rows(rows, WIDTH).sum_up(shares) == pytest.approx(dense(rows).T @ shares, abs=1e-4)


def test_at_the_minimum_the_gradient_is_nought() -> None:
    rows, outcomes = random_rows(300, seed=2)
    penalty, prior = np.linspace(0.5, 3, WIDTH), np.linspace(-1, 1, WIDTH)
    found = fit_weights(Rows(rows, WIDTH), outcomes, penalty, prior, np.zeros(WIDTH))
    table = dense(rows)
    gradient = table.T @ (expit(table @ found) - outcomes) + penalty * (found - prior)
    assert float(np.abs(gradient).max()) < 0.05
    elsewhere = fit_weights(Rows(rows, WIDTH), outcomes, penalty, prior, np.full(WIDTH, 4.0))
    assert found == pytest.approx(elsewhere, abs=0.01)


def test_without_rows_the_prior_is_the_answer() -> None:
    prior = np.linspace(-1, 1, WIDTH)
    nothing = Rows([], WIDTH)
    assert fit_weights(nothing, np.zeros(0), np.ones(WIDTH), prior, np.zeros(WIDTH)) == pytest.approx(prior, abs=1e-3)


def test_single_rows_lead_near_to_the_fit_of_all() -> None:
    rows, outcomes = random_rows(3000, seed=3)
    penalty, prior = np.ones(WIDTH), np.zeros(WIDTH)
    weights, precision = prior.copy(), penalty.copy()
    for row, outcome in zip(rows[:2000], outcomes[:2000].tolist(), strict=True):
        update_weights(row, outcome, weights, precision)
    together = fit_weights(Rows(rows[:2000], WIDTH), outcomes[:2000], penalty, prior, prior)
    unseen, truth = rows[2000:], outcomes[2000:]
    online, best = (log_loss(expit(Rows(unseen, WIDTH).times(one)), truth) for one in (weights, together))
    assert online < best + 0.02
    assert online < 0.8 * log_loss(np.full(1000, truth.mean()), truth)


def test_rows_make_weights_surer() -> None:
    rows, _ = random_rows(50, seed=4)
    penalty = np.ones(WIDTH)
    assert (precision_of(Rows(rows, WIDTH), np.zeros(WIDTH), penalty) > penalty).all()
