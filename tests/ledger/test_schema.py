from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from kapelle.ledger import Outcome, SqliteLedger
from kapelle.ledger.schema import MIGRATIONS


def write_version_1(path: Path) -> None:
    """A ledger as version 1 wrote it, with one run and one outcome."""
    connection = sqlite3.connect(path)
    connection.executescript(MIGRATIONS[0])
    connection.execute("PRAGMA user_version = 1")
    connection.execute("""INSERT INTO events VALUES ('r', 0, 1.0, 'run_started', NULL, '{"request": "x"}')""")
    connection.execute(
        "INSERT INTO outcomes VALUES (1, 'r', 't', 'x', 'a', 'single', 1, NULL, 0, 0, 0, 0, 0.5, 1.0, NULL, '{}', 1.0)"
    )
    connection.commit()
    connection.close()


def version_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return version


def test_a_ledger_of_version_1_is_migrated_and_keeps_its_rows(tmp_path: Path) -> None:
    write_version_1(tmp_path / "l.sqlite")
    with SqliteLedger(tmp_path / "l.sqlite") as ledger:
        assert (ledger.run("last").request, ledger.outcomes()[0].cost_usd) == ("x", 0.5)
    assert version_of(tmp_path / "l.sqlite") == len(MIGRATIONS) >= 2
    refuse_changes(tmp_path / "l.sqlite")


def test_a_ledger_of_version_1_is_read_as_it_is(tmp_path: Path) -> None:
    write_version_1(tmp_path / "l.sqlite")
    with SqliteLedger(tmp_path / "l.sqlite", read_only=True) as ledger:
        assert (ledger.runs()[0].request, len(ledger.outcomes())) == ("x", 1)
    assert version_of(tmp_path / "l.sqlite") == 1


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
