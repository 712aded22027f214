"""What only a server can do: go away, lose a reply, refuse a password. What both stores do alike is in test_ledger."""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback
from collections.abc import Iterator

import psycopg
import pytest

from kapelle.errors import InvalidInput, KapelleError, LedgerBusy, LedgerCorrupt, RunBusy
from kapelle.ledger import Durability, EventKind, NewEvent, Outcome, PostgresLedger, connection, open_ledger
from kapelle.ledger.postgres_connection import refusal
from kapelle.redaction.secrets import hide_password
from tests.ledger.cut_line import Cut, CutLine
from tests.ledger.postgres_server import PASSWORD_IN_URL, PostgresServer
from tests.ledger.runs import record_run
from tests.ledger.stores import PostgresStore

OUTCOME = Outcome(run_id="r", task_id="a", task_type="x", agent="b", success=True)


@pytest.fixture
def line(postgres: PostgresServer) -> Iterator[CutLine]:
    with CutLine(postgres.socket) as line:
        yield line


@pytest.fixture
def ledger(postgres: PostgresServer, postgres_store: PostgresStore, line: CutLine) -> Iterator[PostgresLedger]:
    """A ledger behind a line that can be cut."""
    with PostgresLedger(postgres.url(host=str(line.folder))) as ledger:
        ledger.append("r", "run_started", {"request": "x"})
        yield ledger


def kinds(ledger: PostgresLedger) -> list[str]:
    return [event.kind for event in ledger.events("r")]


def test_an_event_and_its_outcomes_are_one_round_trip(ledger: PostgresLedger, line: CutLine) -> None:
    before = line.requests
    for number in range(3):
        ledger.append("r", "task_failed", {"number": number}, task_id="a", outcomes=[OUTCOME] * 3)
    assert line.requests == before + 3


def turn(*kinds: EventKind) -> list[NewEvent]:
    return [NewEvent(at=2.5, kind=kind, task_id="a", outcomes=(OUTCOME,)) for kind in kinds]


def test_a_turn_is_one_round_trip(ledger: PostgresLedger, line: CutLine) -> None:
    before = line.requests
    for _ in range(3):
        ledger.append_all("r", turn("task_started", "task_failed", "task_skipped"))
    assert line.requests == before + 3


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_turn_whose_request_or_reply_was_lost_is_written_once(
    ledger: PostgresLedger, line: CutLine, cut: Cut
) -> None:
    line.cut_next(cut)
    events = ledger.append_all("r", turn("task_started", "task_failed"))
    assert ledger.events("r")[1:] == events
    assert len(ledger.outcomes()) == 2


def test_a_turn_that_arrives_after_its_writer_went_on_is_refused_whole(
    ledger: PostgresLedger, line: CutLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(connection, "BUSY_TIMEOUT_S", -1.0)
        line.cut_next("late")
        with pytest.raises(LedgerBusy):
            ledger.append_all("r", turn("task_started", "task_failed"))
    ledger.append("r", "run_finished", {"state": "stopped"})
    assert b"KP002" in line.deliver()
    assert kinds(ledger) == ["run_started", "run_finished"]
    assert ledger.outcomes() == ()


def test_a_ledger_of_the_version_before_is_brought_to_this_one(postgres_store: PostgresStore) -> None:
    with postgres_store.open() as ledger:
        ledger.append("r", "run_started", {"request": "x"})
    postgres_store.change("DROP FUNCTION kapelle.append_all")
    postgres_store.change("CREATE FUNCTION kapelle.append() RETURNS void LANGUAGE sql AS ''")
    postgres_store.set_version(3)
    with postgres_store.open(read_only=True) as ledger:
        assert len(ledger.events("r")) == 1
    with postgres_store.open() as ledger:
        ledger.append("r", "run_finished", {"state": "done"})
        assert ledger.run("r").state == "done"
    assert postgres_store.rows("SELECT max(number) FROM version") == [(4,)]


@pytest.mark.parametrize(
    ("durability", "of_server", "expected"),
    [("full", "off", "on"), ("full", "local", "local"), ("full", "on", "on"), ("normal", "on", "off")],
)
def test_commits_wait_for_the_disk_as_is_asked(
    postgres: PostgresServer, postgres_store: PostgresStore, durability: Durability, of_server: str, expected: str
) -> None:
    url = f"{postgres.url()}&options=-c%20synchronous_commit%3D{of_server}"
    with PostgresLedger(url, durability=durability) as ledger:
        assert ledger._read_rows("SHOW synchronous_commit", ()) == [(expected,)]


@pytest.mark.parametrize("cut", ["before", "after"])
def test_an_append_whose_request_or_reply_was_lost_is_written_once(
    ledger: PostgresLedger, line: CutLine, cut: Cut
) -> None:
    line.cut_next(cut)
    event = ledger.append("r", "task_failed", {"reason": "x"}, task_id="a", outcomes=[OUTCOME])
    assert ledger.events("r")[1:] == (event,)
    assert len(ledger.outcomes()) == 1
    assert ledger.append("r", "task_failed", {"reason": "x"}, task_id="a").seq == 2, "said again, it is another event"


@pytest.mark.parametrize("cut", ["before", "after"])
def test_an_append_that_raised_is_written_once_when_it_is_done_again(
    ledger: PostgresLedger, line: CutLine, cut: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(connection, "BUSY_TIMEOUT_S", -1.0)
        line.cut_next(cut)
        with pytest.raises(LedgerBusy, match="never written twice"):
            ledger.append("r", "task_skipped", {"reason": "x"}, task_id="a")
    event = ledger.append("r", "task_skipped", {"reason": "x"}, task_id="a")
    assert ledger.events("r")[1:] == (event,)


def test_an_append_that_arrives_after_it_was_sent_again_is_not_written_twice(
    ledger: PostgresLedger, line: CutLine
) -> None:
    line.cut_next("late")
    ledger.append("r", "task_skipped", task_id="a", outcomes=[OUTCOME])
    assert b"SELECT 1" in line.deliver()
    assert kinds(ledger) == ["run_started", "task_skipped"]
    assert len(ledger.outcomes()) == 1


def test_an_append_that_arrives_after_its_writer_went_on_is_refused(
    ledger: PostgresLedger, line: CutLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(connection, "BUSY_TIMEOUT_S", -1.0)
        line.cut_next("late")
        with pytest.raises(LedgerBusy):
            ledger.append("r", "task_skipped", task_id="a")
    ledger.append("r", "run_finished", {"state": "stopped"})
    assert b"KP002" in line.deliver()
    assert kinds(ledger) == ["run_started", "run_finished"]


@pytest.mark.parametrize("cut", ["before", "after"])
def test_an_outcome_and_a_lease_whose_reply_was_lost_are_there_once(
    ledger: PostgresLedger, line: CutLine, cut: Cut
) -> None:
    line.cut_next(cut)
    ledger.record(OUTCOME)
    assert len(ledger.outcomes()) == 1
    line.cut_next(cut)
    lease = ledger.acquire_lease("r", "a", 60)
    assert lease.fence == 1
    with pytest.raises(RunBusy):
        ledger.acquire_lease("r", "a", 60)


@pytest.mark.parametrize("number", range(1, 7))
def test_a_lease_is_given_once_wherever_the_line_is_cut(ledger: PostgresLedger, line: CutLine, number: int) -> None:
    """BEGIN, lock, time, look, write, COMMIT: each is a request."""
    line.cut_next("after", skip=number - 1)
    assert ledger.acquire_lease("r", "a", 60).fence == 1
    assert not line.is_armed
    assert ledger.append("r", "task_skipped", fence=1).seq == 1


@pytest.mark.slow
def test_a_server_that_crashes_loses_nothing_and_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", -1.0)
    with PostgresServer() as server, PostgresLedger(server.url()) as ledger:
        record_run(ledger)
        server.kill()
        for _ in range(2):
            with pytest.raises(LedgerBusy, match="try again"):
                ledger.append("r2", "run_started", {"request": "x"})
        with pytest.raises(LedgerBusy, match=r"Cannot reach the server.*--db"):
            ledger.runs()
        server.start()
        assert ledger.append("r2", "run_started", {"request": "x"}).seq == 0
        assert [run.run_id for run in ledger.runs()] == ["r2", "r1"]
        assert (ledger.run("r1").state, len(ledger.outcomes())) == ("done", 1)


def test_a_connection_that_the_server_ends_is_opened_again(postgres_store: PostgresStore) -> None:
    with postgres_store.open() as ledger:
        ledger.append("r", "run_started", {"request": "x"})
        postgres_store.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'kapelle' AND pid <> pg_backend_pid()"
        )
        assert ledger.append("r", "run_finished", {"state": "failed"}).seq == 1


def test_a_run_that_another_holds_is_busy(postgres_store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.001)
    with postgres_store.open() as ledger, psycopg.connect(postgres_store.location) as other:
        other.execute("SELECT kapelle.lock_run('r')")
        with pytest.raises(LedgerBusy, match="Another process holds"):
            ledger.append("r", "run_started", {"request": "x"})
        assert ledger.append("other", "run_started", {"request": "x"}).seq == 0
        other.rollback()
        assert ledger.append("r", "run_started", {"request": "x"}).seq == 0


@pytest.mark.parametrize(
    ("database", "password", "problem", "way_out"),
    [
        ("locked", "", InvalidInput, "Check user, password"),
        ("locked", "wr0ng-secret", InvalidInput, "password authentication failed.*Check user, password"),
        ("nowhere", PASSWORD_IN_URL, InvalidInput, "does not exist.*createdb"),
    ],
)
def test_what_the_server_refuses_is_told_without_the_password(
    postgres: PostgresServer, database: str, password: str, problem: type[KapelleError], way_out: str
) -> None:
    postgres.new_database("locked")
    with pytest.raises(problem, match=way_out) as caught:
        PostgresLedger(postgres.url(database, password=password))
    shown = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in shown
    assert "wr0ng" not in shown


def test_the_password_is_taken_and_not_shown(postgres: PostgresServer, caplog: pytest.LogCaptureFixture) -> None:
    postgres.new_database("locked")
    caplog.set_level(logging.DEBUG)
    with open_ledger(postgres.url("locked", password=PASSWORD_IN_URL)) as ledger:
        assert ledger.runs() == ()
        ledger.close()
        with pytest.raises(InvalidInput, match="was closed") as caught:
            ledger.runs()
    assert "s3cret" not in f"{ledger.path} {caught.value} {caplog.text}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cret@h:port/x",
        "postgresql://u:s3%ZZcret@h/x",
        "postgresql://u:p@s3cret@h/x",
        "postgresql://u:s3cret@h/x?bogus=1",
        "postgresql://h/x?password=s3cret&bogus=@",
        "postgresql://u:s3cret",
    ],
)
def test_a_url_that_cannot_be_is_refused_without_its_password(url: str) -> None:
    with pytest.raises((InvalidInput, LedgerBusy)) as caught:
        PostgresLedger(url)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value)).replace(repr(url), "")


def test_a_password_is_hidden_wherever_it_stands() -> None:
    assert hide_password("postgresql://u:a/b@c?d@h/x") == "postgresql://u@h/x"
    assert (
        hide_password("postgresql://u@h/x?user=v&password=a@b&port=1")
        == "postgresql://u@h/x?user=v&password=***&port=1"
    )
    assert hide_password("postgresql://h/x") == "postgresql://h/x"


def test_a_server_that_is_not_there_may_come_later(postgres: PostgresServer) -> None:
    with pytest.raises(LedgerBusy, match=r"Cannot reach the server.*Start it, or check host and port"):
        PostgresLedger("postgresql:///x?host=/nowhere")


def test_a_schema_of_something_else_is_refused_and_left_as_it_is(postgres: PostgresServer) -> None:
    url = postgres.new_database("other")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SCHEMA kapelle CREATE TABLE customers (name text)")
    for read_only in (True, False):
        with pytest.raises(InvalidInput, match=r"of something else.*--db"):
            PostgresLedger(url, read_only=read_only)


def test_other_tables_of_the_database_do_not_matter(postgres: PostgresServer) -> None:
    url = postgres.new_database("other")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE events (customer text)")
    with PostgresLedger(url) as ledger:
        record_run(ledger)
        assert ledger.run("last").state == "done"


def test_rights_that_are_missing_are_named(postgres: PostgresServer, postgres_store: PostgresStore) -> None:
    with psycopg.connect(postgres_store.location) as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest LOGIN")
    try:
        with pytest.raises(InvalidInput, match="grant CREATE"):
            PostgresLedger(postgres.url(user="guest"))
        with postgres_store.open() as ledger:
            record_run(ledger)
        postgres_store.change("GRANT USAGE ON SCHEMA kapelle TO guest")
        postgres_store.change("GRANT SELECT ON ALL TABLES IN SCHEMA kapelle TO guest")
        with PostgresLedger(postgres.url(user="guest"), read_only=True) as reader:
            assert [run.state for run in reader.runs()] == ["done"]
        with PostgresLedger(postgres.url(user="guest")) as writer, pytest.raises(InvalidInput, match="may not do this"):
            writer.append("r2", "run_started", {"request": "x"})
    finally:
        postgres_store.change("DROP OWNED BY guest")
        postgres_store.change("DROP ROLE guest")


def test_tables_cannot_be_emptied(postgres_store: PostgresStore) -> None:
    with postgres_store.open() as ledger:
        record_run(ledger)
    for table in ("events", "outcomes"):
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            postgres_store.change(f"TRUNCATE {table}")


def test_a_table_that_is_gone_is_damage(postgres_store: PostgresStore) -> None:
    with postgres_store.open() as ledger:
        postgres_store.change("DROP TABLE outcomes")
        with pytest.raises(LedgerCorrupt, match="--db"):
            ledger.outcomes()


@pytest.mark.parametrize(
    ("error", "kind", "way_out"),
    [
        (psycopg.errors.DiskFull, InvalidInput, "Check its disk"),
        (psycopg.errors.TooManyConnections, LedgerBusy, "try again"),
        (psycopg.errors.AdminShutdown, LedgerBusy, "try again"),
        (psycopg.errors.ReadOnlySqlTransaction, InvalidInput, "standby"),
        (psycopg.errors.DataCorrupted, LedgerCorrupt, "Restore"),
    ],
)
def test_errors_are_told_apart_by_what_helps(error: type[psycopg.Error], kind: type[Exception], way_out: str) -> None:
    told = refusal(error("no"), "postgresql://h/x")
    assert isinstance(told, kind)
    assert way_out in str(told)


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InvalidInput, match=r"pip install 'kapelle\[postgres\]'"):
        open_ledger("postgresql://h/x")


def test_the_driver_is_loaded_only_when_it_is_needed() -> None:
    code = "import sys, kapelle.ledger; print('psycopg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
