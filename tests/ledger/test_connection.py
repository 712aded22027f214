from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kapelle.errors import InvalidInput, LedgerBusy, LedgerCorrupt, NotFound
from kapelle.ledger import Outcome, SqliteLedger, connection
from kapelle.ledger.schema import VERSION


def record(path: Path, request: str = "x") -> None:
    outcome = Outcome(run_id="r", task_id="t", task_type="x", agent="a", success=True)
    with SqliteLedger(path) as ledger:
        ledger.append("r", "run_started", {"request": request}, outcomes=[outcome])


@contextmanager
def sealed(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take the permission to write a file and its folder; from the superuser, who needs none, by word only."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        yield
    finally:
        path.parent.chmod(0o755)
        path.chmod(0o644)


@contextmanager
def changed(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file as somebody with any SQLite tool would."""
    database = sqlite3.connect(path, isolation_level=None)
    yield database
    database.close()


@pytest.mark.parametrize("name", ["l.sqlite", "a ?mode=rw#b%41 ü 漢.sqlite", "%2e%2e", "a&immutable=1"])
def test_a_ledger_is_read_whatever_its_name(tmp_path: Path, name: str) -> None:
    record(tmp_path / name)
    with SqliteLedger(tmp_path / name, read_only=True) as ledger:
        assert [run.request for run in ledger.runs()] == ["x"]
        assert ledger.run("last").run_id == "r"
        assert len(ledger.outcomes()) == 1


def test_a_ledger_that_may_not_be_written_is_read_and_nothing_is_left_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "here" / "l.sqlite"
    record(path)
    with sealed(path, monkeypatch):
        with SqliteLedger(path, read_only=True) as ledger:
            assert (len(ledger.runs()), ledger.run("r").request, len(ledger.outcomes())) == (1, "x", 1)
        assert [file.name for file in path.parent.iterdir()] == ["l.sqlite"]


def test_a_reader_without_locks_sees_what_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    record(tmp_path / "l.sqlite")
    with SqliteLedger(tmp_path / "l.sqlite", read_only=True) as reader:
        assert len(reader.events("r")) == 1
        with SqliteLedger(tmp_path / "l.sqlite") as writer:
            writer.append("r", "run_finished", {"state": "failed"})
            assert len(reader.events("r")) == 2, "still in the log"
        assert len(reader.events("r")) == 2


def test_a_reader_follows_a_writer(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "l.sqlite") as writer, SqliteLedger(tmp_path / "l.sqlite", read_only=True) as reader:
        writer.append("r", "run_started", {"request": "x"})
        assert len(reader.events("r")) == 1


def test_a_ledger_for_reading_refuses_to_write(tmp_path: Path) -> None:
    record(tmp_path / "l.sqlite")
    with SqliteLedger(tmp_path / "l.sqlite", read_only=True) as ledger:
        with pytest.raises(InvalidInput, match="opened for reading only"):
            ledger.append("r", "run_finished", {"state": "failed"})
        assert len(ledger.events("r")) == 1


def test_reading_what_is_not_there_names_the_way_out_and_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="--db names another"):
        SqliteLedger(tmp_path / "no" / "l.sqlite", read_only=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("path", [".", "~nobody-has-this-name/l.sqlite", "a\0b", "x" * 300])
def test_a_path_that_cannot_be_a_ledger_is_refused(path: str, read_only: bool) -> None:
    with pytest.raises(InvalidInput, match="--db"):
        SqliteLedger(path, read_only=read_only)


def test_an_empty_file_is_no_ledger_to_read(tmp_path: Path) -> None:
    (tmp_path / "l.sqlite").touch()
    with pytest.raises(InvalidInput, match="it is empty"):
        SqliteLedger(tmp_path / "l.sqlite", read_only=True)
    with pytest.raises(InvalidInput, match="begins empty"):
        SqliteLedger(":memory:", read_only=True)


def test_a_database_with_our_version_but_other_tables_is_refused(tmp_path: Path) -> None:
    with changed(tmp_path / "other.sqlite") as database:
        database.execute("CREATE TABLE customers (name TEXT)")
        database.execute(f"PRAGMA user_version = {VERSION}")
    for read_only in (True, False):
        with pytest.raises(InvalidInput, match="something else"):
            SqliteLedger(tmp_path / "other.sqlite", read_only=read_only)


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("start", [100, 4096, 8192, 20_000])
def test_a_damaged_file_is_told_and_never_a_traceback(tmp_path: Path, start: int, read_only: bool) -> None:
    path = tmp_path / "l.sqlite"
    record(path, "x" * 50_000)
    content = bytearray(path.read_bytes())
    content[start:] = b"\xa5" * (len(content) - start)
    path.write_bytes(content)
    with pytest.raises((LedgerCorrupt, InvalidInput), match=r"--db|event 0|Outcome"):
        read_all(path, read_only)


def test_a_file_damaged_while_it_is_open_is_told_too(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    record(path, "x" * 50_000)
    with SqliteLedger(path) as ledger:
        path.write_bytes(path.read_bytes()[:4096] + b"\xa5" * 60_000)
        with pytest.raises(LedgerCorrupt, match=r"is damaged.*\.recover"):
            ledger.events("r")
        with pytest.raises(LedgerCorrupt, match="is damaged"):
            ledger.append("r", "run_finished", {"state": "failed"})


def read_all(path: Path, read_only: bool) -> None:
    with SqliteLedger(path, read_only=read_only) as ledger:
        ledger.runs()
        ledger.run("last")
        ledger.outcomes()


def test_a_ledger_that_another_holds_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.0)
    record(tmp_path / "l.sqlite")
    with changed(tmp_path / "l.sqlite") as other, SqliteLedger(tmp_path / "l.sqlite") as ledger:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerBusy, match="Try again"):
            ledger.append("r", "run_finished", {"state": "failed"})
        other.execute("ROLLBACK")
        assert ledger.append("r", "run_finished", {"state": "failed"}).seq == 1


WRITER = """
import sys
from kapelle.ledger import SqliteLedger
with SqliteLedger(sys.argv[1]) as ledger:
    for number in range(100):
        ledger.append("r", "task_skipped", {"by": sys.argv[2], "number": number}, task_id="x")
"""


@pytest.mark.slow
def test_processes_that_create_and_write_one_ledger_lose_no_event(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    command = [sys.executable, "-W", "error", "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, name]) for name in ("one", "other")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    with SqliteLedger(path, read_only=True) as ledger:
        events = ledger.events("r")
    assert [event.seq for event in events] == list(range(200))
    for name in ("one", "other"):
        assert [event.data["number"] for event in events if event.data["by"] == name] == list(range(100))
