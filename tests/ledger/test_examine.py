"""What `kapelle doctor` asks a ledger, in both stores alike."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from kapelle.cli.doctor import CHECKS, Surroundings, examine
from kapelle.errors import InvalidInput, LedgerBusy
from kapelle.ledger import connection, this_process, try_making
from tests.ledger.runs import record_run
from tests.ledger.stores import SqliteStore, Store


def dead_owner() -> str:
    """Return an owner that is no more: a process with this one's number, begun in the first tick of this boot."""
    return this_process().rpartition("@")[0] + "@1"


def start_run(store: Store, run_id: str) -> None:
    with store.open() as ledger:
        ledger.append(run_id, "run_started", {"request": "x"})


def test_a_run_is_abandoned_where_nobody_holds_its_lease_or_the_holder_is_dead(store: Store) -> None:
    for run_id in ("alone", "dead", "expired", "held"):
        start_run(store, run_id)
    with store.open() as ledger:
        record_run(ledger, "done")
        start_run(store, "waits")
        ledger.append("waits", "run_waiting")
        start_run(store, "again")
        ledger.append("again", "run_finished", {"state": "failed"})
        ledger.append("again", "run_resumed", {"state": "planning"})
        ledger.acquire_lease("expired", "another machine", 10)
        store.pass_time(20)
        ledger.acquire_lease("dead", dead_owner(), 1000)
        ledger.acquire_lease("held", "another machine", 1000)
        ledger.release_lease(ledger.acquire_lease("again", this_process(), 1000))
    with store.open(read_only=True) as ledger:
        assert set(ledger.examine().abandoned()) == {"alone", "dead", "expired", "again"}


def test_the_newest_event_is_that_with_the_latest_time(store: Store) -> None:
    with store.open() as ledger:
        assert ledger.newest_at() is None
        store.clock.now = 5000.0
        record_run(ledger, "r1")
        store.clock.now = 10.0
        record_run(ledger, "r2")
        assert ledger.newest_at() == 5000.0


def test_trying_to_write_changes_nothing(store: Store) -> None:
    try_making(store.location)
    with pytest.raises(Exception, match=r"no such table|does not exist"):
        store.rows("SELECT * FROM events")
    with store.open() as ledger:
        record_run(ledger)
        before = store.rows("SELECT count(*) FROM events")
        ledger.examine().try_write()
    assert store.rows("SELECT count(*) FROM events") == before


def test_a_ledger_that_somebody_holds_is_busy(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.05)
    with store.open() as ledger:
        record_run(ledger)
        with hold(store), pytest.raises(LedgerBusy):
            ledger.examine().try_write()


@contextmanager
def hold(store: Store) -> Iterator[None]:
    """Keep everybody else from writing."""
    if isinstance(store, SqliteStore):
        with closing(sqlite3.connect(store.location, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            yield
    else:
        with psycopg.connect(store.location) as server:
            server.execute("LOCK TABLE kapelle.events")
            yield


def test_a_place_where_no_ledger_can_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInput, match="--db"):
        try_making(str(tmp_path / "file" / "l.sqlite"))


def test_every_check_passes_on_a_whole_ledger_of_each_kind(store: Store) -> None:
    with store.open() as ledger:
        record_run(ledger)
    found = {check.name: check for check in examine(Surroundings(db=store.location, environ={}))}
    assert [check.detail for check in found.values() if not check.ok] == []
    assert list(found) == [check.__name__.removeprefix("check_") for check in CHECKS]
