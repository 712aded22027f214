"""The tables of the ledger's SQLite file, and how a file gets them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from kapelle.errors import InvalidInput

VERSION = 5
"""Of the tables below. A file of an earlier one was written before the first release: see `too_old`."""
SCHEMA = """
    CREATE TABLE events (
        run_id  TEXT NOT NULL,
        seq     INTEGER NOT NULL,
        at      REAL NOT NULL,
        kind    TEXT NOT NULL,
        task_id TEXT,
        data    TEXT NOT NULL,
        hash    BLOB,
        PRIMARY KEY (run_id, seq)
    ) WITHOUT ROWID;
    CREATE INDEX events_by_kind ON events (kind, at);
    CREATE TABLE outcomes (
        outcome_id    INTEGER PRIMARY KEY,
        run_id        TEXT NOT NULL,
        task_id       TEXT NOT NULL,
        task_type     TEXT NOT NULL,
        agent         TEXT NOT NULL,
        step          TEXT NOT NULL,
        success       INTEGER NOT NULL,
        quality       REAL,
        input_tokens  INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        calls         INTEGER NOT NULL,
        cost_usd      REAL NOT NULL,
        seconds       REAL NOT NULL,
        error         TEXT,
        features      TEXT NOT NULL,
        at            REAL NOT NULL
    );
    CREATE INDEX outcomes_by_agent ON outcomes (agent, task_type);
    CREATE TRIGGER events_are_final BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
    CREATE TRIGGER outcomes_are_final BEFORE UPDATE ON outcomes
        BEGIN SELECT RAISE(ABORT, 'outcomes are append-only'); END;
    -- A garbage collection of whole runs drops these triggers and creates them anew within its own transaction, so that
    -- nobody else ever finds the ledger without them.
    CREATE TRIGGER events_are_kept BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
    CREATE TRIGGER outcomes_are_kept BEFORE DELETE ON outcomes
        BEGIN SELECT RAISE(ABORT, 'outcomes are append-only'); END;
    -- INSERT OR REPLACE deletes without asking the triggers above (sqlite.org/lang_conflict.html)
    CREATE TRIGGER events_are_not_replaced BEFORE INSERT ON events
        WHEN EXISTS (SELECT 1 FROM events WHERE run_id = NEW.run_id AND seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
    CREATE TRIGGER outcomes_are_not_replaced BEFORE INSERT ON outcomes
        WHEN EXISTS (SELECT 1 FROM outcomes WHERE outcome_id = NEW.outcome_id)
        BEGIN SELECT RAISE(ABORT, 'outcomes are append-only'); END;
    -- who may work on a run; a row is kept when it is released, so that fences only grow
    CREATE TABLE leases (
        run_id     TEXT PRIMARY KEY NOT NULL,
        owner      TEXT,
        fence      INTEGER NOT NULL,
        expires_at REAL NOT NULL,
        stamp      INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TRIGGER fences_only_grow BEFORE UPDATE ON leases WHEN NEW.fence < OLD.fence
        BEGIN SELECT RAISE(ABORT, 'fences only grow'); END;
    CREATE TRIGGER leases_are_kept BEFORE DELETE ON leases
        WHEN EXISTS (SELECT 1 FROM events WHERE run_id = OLD.run_id)
        BEGIN SELECT RAISE(ABORT, 'the leases of a run are kept as long as its events'); END;
    -- messages to runs
    CREATE TABLE inbox (
        number INTEGER PRIMARY KEY,
        run_id TEXT NOT NULL,
        key    TEXT NOT NULL,
        at     REAL NOT NULL,
        data   TEXT NOT NULL,
        UNIQUE (run_id, key)
    );
    CREATE TRIGGER messages_are_final BEFORE UPDATE ON inbox
        BEGIN SELECT RAISE(ABORT, 'messages are not changed'); END;
    -- large fields of events, each kept once by its hash
    CREATE TABLE blobs (
        hash TEXT PRIMARY KEY NOT NULL,
        text TEXT NOT NULL
    );
    CREATE TABLE event_blobs (
        run_id TEXT NOT NULL,
        seq    INTEGER NOT NULL,
        field  TEXT NOT NULL,
        hash   TEXT NOT NULL,
        PRIMARY KEY (run_id, seq, field)
    ) WITHOUT ROWID;
    CREATE INDEX event_blobs_by_hash ON event_blobs (hash);
    -- the head of a hash chain per run: see chain
    CREATE TABLE chains (
        run_id TEXT PRIMARY KEY NOT NULL,
        start  INTEGER NOT NULL,
        length INTEGER NOT NULL,
        hash   BLOB NOT NULL
    ) WITHOUT ROWID;
"""
"""Once a version was released, a change is another script, applied to files of the version before."""


def make_tables(connection: sqlite3.Connection, path: str) -> None:
    """Give an empty file the tables, in one transaction: all of them or none.

    Raises:
        InvalidInput: it is a database of something else, or was written by another version of kapelle.
    """
    if _version(connection, path) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")  # a second process waits here, and then finds the work done
    try:
        if _version(connection, path) == 0:
            for statement in _statements(SCHEMA):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check_readable(connection: sqlite3.Connection, path: str) -> None:
    """Check that the file is a ledger.

    Raises:
        InvalidInput: it is empty, a database of something else, or of another version.
    """
    if _version(connection, path) == 0:
        raise InvalidInput(f"{path!r} is no ledger: it is empty. `kapelle run` writes one; --db names another.")


def _version(connection: sqlite3.Connection, path: str) -> int:
    # In one statement, or another process could make the tables between the two answers.
    rows = connection.execute(
        "SELECT user_version, name FROM pragma_user_version LEFT JOIN sqlite_master ON type = 'table'"
    ).fetchall()
    version: int = rows[0][0]
    names = [name for _, name in rows if name is not None]
    if version > VERSION:
        raise InvalidInput(f"The ledger {path!r} was written by a newer kapelle (schema {version}). Upgrade kapelle.")
    if (version == 0 and names) or (version > 0 and not {"events", "outcomes"} <= set(names)):
        has = f"it has {names[0]!r}" if names else "it has no tables"
        raise InvalidInput(f"{path!r} is a database of something else ({has}). Name another with --db.")
    if 0 < version < VERSION:
        raise InvalidInput(too_old(path, version))
    return version


def too_old(place: str, version: int) -> str:
    """Say why a ledger is not opened that was written before the first release, and what to do."""
    return (
        f"The ledger {place!r} is of schema {version}, which was never released. It is left as it is: name a new one "
        "with --db or KAPELLE_DB, or read this one with the kapelle that wrote it."
    )


def _statements(script: str) -> Iterator[str]:
    """Split a script: `executescript` would commit the transaction that makes it all or nothing."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
