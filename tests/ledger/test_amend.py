"""What people say of outcomes afterwards, in both stores: every reader of outcomes finds it, and nothing is changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kapelle.errors import InvalidInput
from kapelle.ledger import Outcome, forget_row, is_forgotten, rating_row
from kapelle.ledger.amend import amend

from .stores import Store

DONE = Outcome(run_id="r", task_id="a", task_type="x", agent="b", success=True, at=100.0)


def forget(agent: str = "b", task_type: str | None = None, before: float | None = None) -> Outcome:
    return forget_row(agent, task_type, before, by="me", at=200.0)


def rating(value: float, task_id: str = "a", agent: str = "b") -> Outcome:
    return rating_row("r", task_id, "x", agent, value, by="me", at=200.0)


def kept(store: Store, *rows: Outcome, agent: str | None = None) -> list[tuple[str, str, float | None]]:
    with store.open() as ledger:
        for row in rows:
            ledger.record(row)
    with store.open(read_only=True) as ledger:
        return [(one.agent, one.task_type, one.quality) for one in ledger.outcomes(agent=agent)]


def test_what_was_before_a_row_that_forgets_is_left_out_and_what_comes_later_counts(store: Store) -> None:
    other, later = replace(DONE, agent="c"), replace(DONE, quality=0.5)
    assert kept(store, DONE, other, forget(), later) == [("c", "x", None), ("b", "x", 0.5)]
    assert len(store.rows("SELECT agent FROM outcomes")) == 4


@pytest.mark.parametrize(
    ("mark", "left"),
    [
        (forget(task_type="x"), ["y"]),
        (forget(task_type="z"), ["x", "y"]),
        (forget(before=100.0), ["x", "y"]),
        (forget(before=100.1), []),
        (forget(task_type="y", before=1e9), ["x"]),
        (forget("nobody"), ["x", "y"]),
    ],
)
def test_only_what_is_meant_is_forgotten(store: Store, mark: Outcome, left: list[str]) -> None:
    found = kept(store, DONE, replace(DONE, task_type="y"), mark, agent="b")
    assert [task_type for _, task_type, _ in found] == left


def test_a_rating_is_the_quality_of_the_last_answer_it_means(store: Store) -> None:
    failed, judge = replace(DONE, success=False, error="no"), replace(DONE, step="verifier")
    again, other = replace(DONE, cost_usd=1.0), replace(DONE, task_id="z")
    found = kept(store, failed, DONE, again, judge, other, rating(0.2), rating(0.7), rating(1.0, "nowhere"))
    assert [quality for _, _, quality in found] == [None, None, 0.7, None, None]


def test_a_rating_that_comes_after_its_outcome_was_forgotten_brings_nothing_back(store: Store) -> None:
    assert kept(store, DONE, forget(), rating(1.0)) == []


def test_a_rating_says_who_gave_it(store: Store) -> None:
    with store.open() as ledger:
        ledger.record(DONE)
        ledger.record(rating(0.0))
        [found] = ledger.outcomes()
    assert (found.measured_by, found.features["by"], found.completed) == ("person", "me", True)


def test_a_rating_outside_of_its_range_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"quality=1\.5"):
        rating(1.5)


def test_who_forgets_often_looks_at_the_agents_own_outcomes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def look(outcome: Outcome, mark: Outcome) -> bool:
        looked.append(outcome.agent)
        return is_forgotten(outcome, mark)

    monkeypatch.setattr("kapelle.ledger.amend.is_forgotten", look)
    others = [replace(DONE, agent="other")] * 1000
    assert len(amend([*others, DONE, *[forget()] * 100])) == 1000
    assert looked == [DONE.agent]
