from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from kapelle.errors import InvalidInput, LedgerCorrupt
from kapelle.ledger import SqliteLedger, ledger_path
from tests.ledger.runs import record_run
from tests.ledger.stores import SqliteStore


def test_a_file_that_is_no_ledger_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be one " * 50)
    with pytest.raises(InvalidInput, match="is no ledger"):
        SqliteLedger(path)
    assert path.read_text().startswith("not a database")


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "other.sqlite")
    connection.execute("CREATE TABLE customers (name TEXT)")
    connection.close()
    with pytest.raises(InvalidInput, match="a database of something else"):
        SqliteLedger(tmp_path / "other.sqlite")


def test_a_folder_where_the_file_should_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--db"):
        SqliteLedger(tmp_path)


def test_the_path_is_the_option_else_the_variable_else_the_data_directory() -> None:
    assert ledger_path("a.db", {"KAPELLE_DB": "b.db"}) == "a.db"
    assert ledger_path(None, {"KAPELLE_DB": "b.db"}) == "b.db"
    assert ledger_path(None, {}).endswith("ledger.sqlite")


def test_a_url_is_no_file() -> None:
    with pytest.raises(InvalidInput, match="open_ledger"):
        SqliteLedger("postgresql://db.example/work")


@pytest.mark.parametrize(
    ("statement", "place"),
    [
        ("UPDATE events SET at = 'yesterday' WHERE seq = 0", r"Run 'r1', event 0 \('run_started'\)"),
        ("UPDATE events SET data = x'ff' WHERE seq = 0", r"Run 'r1', event 0 \('run_started'\)"),
        ("UPDATE events SET data = CAST(x'22ff22' AS TEXT)", r"Run 'r1', event 0 \('run_started'\)"),
        ("UPDATE outcomes SET cost_usd = 'x'", "Outcome 1 in the ledger"),
        ("UPDATE outcomes SET calls = 'x'", "Outcome 1 in the ledger"),
    ],
)
def test_values_that_only_this_store_lets_in_are_named(tmp_path: Path, statement: str, place: str) -> None:
    store = SqliteStore(location=str(tmp_path / "l.sqlite"))
    with store.open() as ledger:
        record_run(ledger)
    store.change(statement, triggers=False)
    with store.open(read_only=True) as ledger, pytest.raises(LedgerCorrupt, match=place):
        print(ledger.run("r1"), ledger.outcomes())


def test_a_full_disk_is_told_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "l.sqlite") as ledger:
        ledger.append("r", "run_started", {"request": "x"})
        assert ledger._connection is not None
        (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
        ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(InvalidInput, match=r"full.*Check the disk"):
            ledger.append("r", "task_finished", {"output": "x" * 100_000}, task_id="a")
        ledger._connection.execute("PRAGMA max_page_count = 100000")
        assert ledger.append("r", "task_finished", {"output": "x" * 100_000}, task_id="a").seq == 1
