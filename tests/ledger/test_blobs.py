"""Large values are kept once, and what is old is forgotten, in both stores alike."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import LedgerCorrupt
from kapelle.ledger import Outcome
from kapelle.ledger.blobs import BLOB_CHARS, hash_of, put_together, take_apart
from kapelle.ledger.event import Event
from tests.ledger.stores import Store

LARGE = "x" * (BLOB_CHARS + 1)


def write_run(ledger: Any, run_id: str, output: Any, *, ends: bool = True) -> None:
    ledger.append(run_id, "run_started", {"request": "test"})
    ledger.append(run_id, "planning_spent", {"reason": output})
    if ends:
        ledger.append(run_id, "run_finished", {"state": "done", "answer": ""})


def test_a_large_value_is_kept_once_and_read_back_as_it_was(store: Store) -> None:
    with store.open() as ledger:
        write_run(ledger, "r1", LARGE)
        write_run(ledger, "r2", LARGE)
        assert [event.data.get("reason") for event in ledger.events("r2")] == [None, LARGE, None]
    assert store.rows("SELECT count(*), max(length(text)) FROM blobs") == [(1, len(LARGE) + 2)]
    assert store.rows("SELECT max(length(data)) FROM events")[0][0] < 200


@pytest.mark.parametrize("value", [{"text": LARGE}, [LARGE, None], "ä\u2028\x00" + LARGE, {"hash": hash_of(LARGE)}])
def test_whatever_a_value_looks_like_it_comes_back(store: Store, value: Any) -> None:
    with store.open() as ledger:
        write_run(ledger, "r1", value)
        assert ledger.events("r1")[1].data["reason"] == value


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.just(LARGE) | st.integers(), max_size=4))
def test_taking_apart_and_putting_together_changes_nothing(data: dict[str, Any]) -> None:
    text, blobs = take_apart(data)
    assert len(text) <= BLOB_CHARS + 100

    event = Event(run_id="r", seq=0, at=0.0, kind="run_started", data=json.loads(text))
    rows = [(0, blob.field, blob.hash, blob.text) for blob in blobs]
    assert put_together([event], rows)[0].data == data


def test_a_large_value_that_is_missing_or_damaged_is_named(store: Store) -> None:
    with store.open() as ledger:
        write_run(ledger, "r1", LARGE)
        store.change("UPDATE blobs SET text = 'y'")
        with pytest.raises(LedgerCorrupt, match=r"event 1 .* has a large 'reason', which is damaged"):
            ledger.events("r1")
        store.change("DELETE FROM blobs")
        with pytest.raises(LedgerCorrupt, match="which is missing"):
            ledger.run("r1")


def test_old_runs_are_forgotten_and_their_outcomes_are_not(store: Store) -> None:
    store.clock.now = 1000.0
    outcome = Outcome(run_id="r1", task_id="a", task_type="work", agent="one", success=True)
    with store.open() as ledger:
        write_run(ledger, "r1", LARGE)
        ledger.record(outcome)
        ledger.post("r1", "stop-0", {})
        ledger.acquire_lease("r1", "me", 1)
        store.clock.now = 2000.0
        write_run(ledger, "r2", "small")
        would = ledger.collect(1500.0, dry_run=True)
        assert (would.runs, would.events, would.blobs) == (1, 3, 1)
        assert len(ledger.runs()) == 2
        assert ledger.collect(1500.0) == would
        assert [one.run_id for one in ledger.runs()] == ["r2"]
        assert (ledger.events("r1"), ledger.inbox("r1"), len(ledger.outcomes())) == ((), {}, 1)
        assert ledger.collect(1500.0).runs == 0
    assert store.rows("SELECT count(*) FROM blobs") == [(0,)]
    assert store.rows("SELECT count(*) FROM leases") == [(0,)]


def test_what_is_not_over_stays_and_so_does_what_others_refer_to(store: Store) -> None:
    store.clock.now = 1000.0
    with store.open() as ledger:
        write_run(ledger, "old", LARGE)
        write_run(ledger, "open", LARGE, ends=False)
        write_run(ledger, "resumed", "x")
        ledger.append("resumed", "run_resumed", {"state": "planning"})
        assert ledger.collect(9e9).runs == 1
        assert {one.run_id for one in ledger.runs()} == {"open", "resumed"}
        assert ledger.events("open")[1].data["reason"] == LARGE


def test_after_a_collection_the_ledger_is_append_only_as_before(store: Store) -> None:
    with store.open() as ledger:
        write_run(ledger, "r1", "x")
        ledger.collect(9e9)
        write_run(ledger, "r2", "x")
    for change in ("DELETE FROM events", "UPDATE events SET kind = 'x'"):
        with pytest.raises(store.refused):
            store.change(change)


def test_the_list_of_runs_tells_how_each_stands(store: Store) -> None:
    with store.open() as ledger:
        write_run(ledger, "done", "x")
        write_run(ledger, "resumed", "x")
        ledger.append("resumed", "run_resumed", {"state": "planning"})
        write_run(ledger, "waits", "x", ends=False)
        ledger.append("waits", "run_waiting")
        found = {one.run_id: (one.state, one.seconds is None) for one in ledger.runs()}
    assert found == {"done": ("done", False), "resumed": ("running", True), "waits": ("waiting", True)}
