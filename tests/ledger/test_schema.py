from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from kapelle.ledger import Outcome, SqliteLedger


def test_rows_can_neither_be_changed_nor_deleted_nor_replaced(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "l.sqlite") as ledger:
        ledger.append("r", "run_started", {"request": "x"})
        ledger.record(Outcome(run_id="r", task_id="t", task_type="x", agent="a", success=True))
    refuse_changes(tmp_path / "l.sqlite")


def refuse_changes(path: Path) -> None:
    connection = sqlite3.connect(path)
    for table in ("events", "outcomes"):
        for change in ("UPDATE {} SET at = 0", "DELETE FROM {}", "INSERT OR REPLACE INTO {0} SELECT * FROM {0}"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(change.format(table))
    connection.close()


def test_a_collection_of_garbage_can_drop_the_triggers_in_its_transaction(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "l.sqlite") as ledger:
        ledger.append("r", "run_started", {"request": "x"})
    connection = sqlite3.connect(tmp_path / "l.sqlite", isolation_level=None)
    (trigger,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'events_are_kept'").fetchone()
    for statement in ("BEGIN IMMEDIATE", "DROP TRIGGER events_are_kept", "DELETE FROM events", trigger, "COMMIT"):
        connection.execute(statement)
    connection.close()
    with SqliteLedger(tmp_path / "l.sqlite") as ledger:
        assert ledger.runs() == ()
        ledger.append("r", "run_started", {"request": "y"})
    refuse_deletion(tmp_path / "l.sqlite")


def refuse_deletion(path: Path) -> None:
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("DELETE FROM events")
    connection.close()
