"""Fitting success to a log: rare types are one while variances are chosen, and have their effects afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.estimates import LoggedOutcome, LoggedTask, OutcomePredictor, tuning
from kapelle.estimates.moments import Moments

TYPES = [f"type {number}" for number in range(8)]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(TYPES), st.floats(0, 1)), max_size=40),
    st.lists(st.sampled_from(TYPES), unique=True, max_size=7),
)
def test_types_that_are_kept_count_as_if_the_others_had_come_too_late(
    outcomes: list[tuple[str, str, float]], kept: list[str]
) -> None:
    sums, fresh = Moments(2), Moments(2)
    for number, (agent, task_type, quality) in enumerate([("a", name, 0.5) for name in TYPES] + outcomes):
        words = np.array([number % 3 - 1.0, quality])
        sums.add(agent, task_type, quality, words)
        row, column = fresh.row_of(agent), kept.index(task_type) + 1 if task_type in kept else 0
        fresh.counts[row, column] += 1.0
        fresh.totals[row, column] += quality
        fresh.words[row, column] += words
    found = sums.keeping(kept)
    wide = 1 + len(kept)
    assert list(found.columns) == kept
    for part in ("counts", "totals", "words"):
        assert getattr(found, part)[:, :wide] == pytest.approx(getattr(fresh, part)[:, :wide])


def log(tasks: int) -> list[LoggedTask]:
    """Types 0 to 7, each half as frequent as the one before; the agent is right at every other one."""
    kinds = [(number & -number).bit_length() - 1 for number in range(1, tasks + 1)]
    return [
        LoggedTask(
            task_id=str(at),
            text=f"a thing like {at}",
            task_type=TYPES[min(kind, 7)],
            outcomes={"a": LoggedOutcome(quality=float(kind % 2), cost_usd=0.01)},
        )
        for at, kind in enumerate(kinds)
    ]


def test_a_type_too_rare_to_be_tuned_by_has_its_effect_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "TUNED_TYPES", 2)
    predictor = OutcomePredictor.fit(log(400))
    asked = [LoggedTask(task_id="new", text="a thing like 7", task_type=name) for name in TYPES[:5]]
    found = predictor.predict(asked).quality[:, 0]
    assert [round(value) for value in found] == [0, 1, 0, 1, 0]


def test_where_there_are_too_many_types_the_most_frequent_have_effects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kapelle.estimates.moments.MAX_TYPES", 3)
    assert OutcomePredictor.fit(list(reversed(log(400)))).types == tuple(TYPES[:3])
