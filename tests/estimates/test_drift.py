from __future__ import annotations

import random
from collections import Counter

import pytest

from kapelle.estimates.drift import MIN_KNOWN, Drift, ShiftDetector, reference
from kapelle.estimates.history import PairAmounts, PairHistory


def history() -> PairHistory:
    return PairHistory(
        "atlas",
        "lookup",
        cost=PairAmounts([0.0, 1.0, 0.0]),
        seconds=PairAmounts([0.0, 1.0, 0.0]),
    )


def attempt(past: PairHistory, rng: random.Random, *, chance: float, factor: float = 1.0, at: float = 0.0) -> list[str]:
    success = rng.random() < chance
    changes = past.add(
        float(success),
        success,
        factor * rng.lognormvariate(0, 0.5),
        factor * rng.paretovariate(1.5),
        (100.0, 0.0, 10.0),
        1.0,
        at,
    )
    return [change.what for change in changes or ()]


@pytest.mark.parametrize("chance", [0.5, 0.85, 0.97])
def test_while_nothing_changes_alarms_are_rarer_than_one_in_a_thousand_outcomes(chance: float) -> None:
    alarms: Counter[str] = Counter()
    for seed in range(40):
        rng, past = random.Random(seed), history()
        for _ in range(500):
            alarms.update(attempt(past, rng, chance=chance))
    assert all(count <= 20 for count in alarms.values()), alarms  # of 20,000 outcomes


@pytest.mark.parametrize("after", [0.4, 0.5])
def test_a_fall_is_noticed_within_three_dozen_outcomes_mostly(after: float) -> None:
    delays = []
    for seed in range(30):
        rng, past = random.Random(seed), history()
        for _ in range(100):
            attempt(past, rng, chance=0.9)
        delays.append(next((n for n in range(1, 200) if "success" in attempt(past, rng, chance=after)), 200))
    assert sorted(delays)[20] <= 36


def test_a_change_says_from_what_to_what_and_since_when() -> None:
    rng, past = random.Random(3), history()
    for at in range(100):
        attempt(past, rng, chance=0.9, at=float(at))
    for at in range(100, 140):
        attempt(past, rng, chance=0.2, factor=5.0, at=float(at))
    success, cost = past.drift["success"][0], past.drift["cost"][0]
    assert success.before == pytest.approx(0.9, abs=0.1)
    assert success.after < 0.5
    assert cost.after / cost.before == pytest.approx(5.0, rel=0.5)
    assert 90 <= success.since <= 110
    assert 90 <= cost.since <= 110
    assert str(success).startswith("atlas at 'lookup': success went from ")


def test_what_was_before_a_change_counts_little_after_it() -> None:
    rng, past = random.Random(4), history()
    for _ in range(200):
        attempt(past, rng, chance=0.95)
    for _ in range(20):
        attempt(past, rng, chance=0.0)
    assert past.correctness.total / past.correctness.count < 0.2
    assert past.correctness.count < 25


def test_a_price_that_never_varied_and_then_does_is_noticed_and_the_window_begins_anew() -> None:
    rng, past = random.Random(5), history()
    for _ in range(60):
        past.add(1.0, True, 0.01, 1.0, (0.0, 0.0, 0.0), 1.0, 0.0)
    for _ in range(20):
        past.add(1.0, True, 0.03, rng.random() + 0.5, (0.0, 0.0, 0.0), 1.0, 0.0)
    assert past.drift["cost"][0].before == 0.01
    assert set(past.amounts("cost", per_unit=True)) == {0.03}


def test_values_that_tie_with_the_median_are_no_change() -> None:
    rng, past = random.Random(6), history()
    changes: list[Drift] = []
    for _ in range(600):  # half of them free
        cost = float(rng.random() < 0.5)
        changes += past.add(1.0, True, cost, 1.0, (0.0, 0.0, 0.0), 1.0, 0.0) or ()
    assert len(changes) <= 1


def test_a_detector_restarts_after_an_alarm() -> None:
    detector, (ups, downs) = ShiftDetector(), reference(0.9, MIN_KNOWN)
    found = [detector.watch(0.0, ups, downs, at=float(at)) for at in range(50)]
    assert found.count(True) == 50 // detector.outcomes
    assert detector.mean == 0.0
