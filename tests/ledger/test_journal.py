"""What a journal does with events that are held, whatever ledger it writes into."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from kapelle.errors import InvalidInput, LedgerBusy
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Event, Journal, NewEvent, Outcome, SqliteLedger
from kapelle.redaction.known import remember
from tests.ledger.runs import record_run

OUTCOME = Outcome(run_id="r", task_id="a", task_type="x", agent="b", success=True)


class Busy(SqliteLedger):
    """A ledger that refuses a write when it is told to."""

    is_busy = False

    def append_all(self, run_id: str, new: Sequence[NewEvent], **more: Any) -> tuple[Event, ...]:
        if self.is_busy:
            raise LedgerBusy("Another process writes.")
        return super().append_all(run_id, new, **more)


def begun(ledger: SqliteLedger, **options: Any) -> Journal:
    journal = Journal(ledger, "r", **options)
    journal.write("run_started", {"request": "x"})
    return journal


def test_what_is_held_is_nowhere_until_it_is_committed_and_is_told_then_in_order() -> None:
    told: list[object] = []
    ledger = SqliteLedger()
    journal = begun(ledger, on_event=lambda event: told.append(event.kind), on_outcome=told.append)
    with journal.held():
        journal.write("task_started", task_id="a")
        journal.write("task_finished", {"output": 1}, task_id="a", outcomes=[OUTCOME])
        journal.write("task_skipped", {"reason": "x"}, task_id="b")
        assert (told, len(ledger.events("r"))) == (["run_started"], 1)
        journal.commit()
        assert told == ["run_started", "task_started", "task_finished", OUTCOME, "task_skipped"]
        assert len(ledger.events("r")) == 4


def test_a_block_that_ends_with_an_error_has_written_what_it_held() -> None:
    ledger = SqliteLedger()
    journal = begun(ledger)
    with suppress(ZeroDivisionError), journal.held():
        journal.write("task_started", task_id="a")
        1 / 0  # noqa: B018 - fails
    assert len(ledger.events("r")) == 2


def test_within_an_outer_block_events_stay_held_after_an_inner_one() -> None:
    ledger = SqliteLedger()
    journal = begun(ledger)
    with journal.held():
        with journal.held():
            journal.write("task_started", task_id="a")
        assert len(ledger.events("r")) == 2
        journal.write("task_finished", {"output": 1}, task_id="a")
        assert len(ledger.events("r")) == 2
    assert len(ledger.events("r")) == 3


def test_after_a_turn_that_could_not_be_written_nothing_more_is_and_nobody_was_told() -> None:
    told: list[object] = []
    ledger = Busy()
    journal = begun(ledger, on_event=told.append, on_outcome=told.append)
    ledger.is_busy = True
    with pytest.raises(LedgerBusy), journal.held():
        journal.write("task_finished", {"output": 1}, task_id="a", outcomes=[OUTCOME])
    ledger.is_busy = False
    with pytest.raises(LedgerBusy), journal.held():
        journal.write("run_finished", {"state": "done"})
    assert journal.is_lost
    assert (len(told), len(ledger.events("r")), ledger.outcomes()) == (1, 1, ())


def test_a_single_event_that_could_not_be_written_may_be_written_again() -> None:
    ledger = Busy()
    journal = begun(ledger)
    ledger.is_busy = True
    with pytest.raises(LedgerBusy):
        journal.write("run_finished", {"state": "done"})
    ledger.is_busy = False
    journal.write("run_finished", {"state": "failed"})
    assert journal.run() == ledger.run("r")


def test_a_graph_that_is_handed_over_is_the_one_that_is_read_back_and_nobody_elses() -> None:
    ledger = SqliteLedger()
    journal = begun(ledger)
    graph = TaskDAG([Task(task_id="a", task_type="x", inputs={"of": [1, {"k": (2,)}]}, metadata={"note": None})])
    journal.write("run_planned", {"graph": graph.to_dict(), "planner": "me"}, graph=graph)
    graph.add_task(Task(task_id="b", task_type="x"))
    assert journal.run() == ledger.run("r")
    found = journal.run().graph
    assert found is not None
    assert list(found.tasks) == ["a"]


def test_a_graph_in_which_a_secret_is_hidden_is_read_from_what_is_kept() -> None:
    ledger = SqliteLedger()
    remember("sk-very-secret-0123456789", owner=ledger)
    journal = begun(ledger)
    graph = TaskDAG([Task(task_id="a", task_type="x", description="Use sk-very-secret-0123456789.")])
    journal.write("run_planned", {"graph": graph.to_dict(), "planner": "me"}, graph=graph)
    found = journal.run().graph
    assert found is not None
    assert found["a"].description == "Use ***."
    assert journal.run() == ledger.run("r")


def test_without_a_ledger_outcomes_are_told_at_once_and_nothing_is_held() -> None:
    told: list[Outcome] = []
    journal = Journal(None, "r", on_outcome=told.append)
    with journal.held():
        journal.write("task_finished", {"output": 1}, task_id="a", outcomes=[OUTCOME])
        assert told == [OUTCOME]
        journal.commit()


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_a_file_is_written_as_durably_as_is_asked(durability: Any, tmp_path: Any) -> None:
    with SqliteLedger(tmp_path / "l.sqlite", durability=durability) as ledger:
        record_run(ledger)
        assert ledger._connection is not None
        (level,) = ledger._connection.execute("PRAGMA synchronous").fetchone()
        (through_the_cache,) = ledger._connection.execute("PRAGMA fullfsync").fetchone()
    assert (level, through_the_cache) == {"full": (2, 1), "normal": (1, 0)}[durability]


def test_a_durability_that_is_not_known_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"'full'.*'normal'"):
        SqliteLedger(durability="paranoid")  # type: ignore[arg-type]  # what a user may type


def test_an_outcome_that_cannot_be_learned_ends_no_turn_and_the_rest_of_it_is_told() -> None:
    told: list[str] = []

    def learn(outcome: Outcome) -> None:
        raise RuntimeError("what learns is broken")

    ledger = SqliteLedger()
    journal = begun(ledger, on_event=lambda event: told.append(event.kind), on_outcome=learn)
    with journal.held():
        journal.write("task_started", task_id="a")
        journal.write("task_finished", {"output": 1}, task_id="a", outcomes=[OUTCOME])
        journal.write("task_skipped", {"reason": "x"}, task_id="b")
    assert told == [event.kind for event in ledger.events("r")]
    assert len(ledger.outcomes()) == 1
    assert not journal.is_lost
