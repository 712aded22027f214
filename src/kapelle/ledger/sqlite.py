"""The ledger in one SQLite file: append-only, written ahead (WAL), its schema versioned.

An event and the outcome that belongs to it are written in one transaction. `synchronous=NORMAL` loses nothing when the
process dies; a power cut can lose the last moments but never corrupts the file (sqlite.org/wal.html).
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import platformdirs

from kapelle.errors import InvalidInput, LedgerBusy, LedgerCorrupt, NotFound

from .event import Event, EventKind
from .ledger import RunSummary
from .outcome import Outcome
from .rebuild import rebuild_run
from .run import Run
from .usage import Usage

_BUSY_TIMEOUT_S = 10.0

MIGRATIONS: tuple[str, ...] = (
    # 1: events and outcomes
    """
    CREATE TABLE events (
        run_id  TEXT NOT NULL,
        seq     INTEGER NOT NULL,
        at      REAL NOT NULL,
        kind    TEXT NOT NULL,
        task_id TEXT,
        data    TEXT NOT NULL,
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
    """,
)
"""One script per schema version, applied in order. Never edit one that was released: add the next."""


def ledger_path(explicit: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """Return where the ledger is: what was given, else `KAPELLE_DB`, else the user's data directory."""
    chosen = explicit or environ.get("KAPELLE_DB")
    return chosen or str(Path(platformdirs.user_data_dir("kapelle", appauthor=False)) / "ledger.sqlite")


class SqliteLedger:
    """Run events and outcomes in a SQLite file; `:memory:` keeps them for the life of the object.

    Raises:
        InvalidInput: the file is no ledger, or was written by a newer kapelle, or cannot be created.
        LedgerBusy: another process holds it for longer than ten seconds.
    """

    def __init__(self, path: str | Path = ":memory:", *, clock: Callable[[], float] = time.time) -> None:
        self.path = str(path)
        self._clock = clock
        # One connection for all threads: sqlite3 serialises nothing for us, so every use holds the lock.
        self._lock = threading.Lock()
        self._connection = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
        with self._lock:
            self._connection.close()

    def new_run_id(self) -> str:
        """Return an id for a run: sorts by time, and is short enough to type."""
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(self._clock()))
        return f"{stamp}-{uuid.uuid4().hex[:6]}"

    def append(
        self,
        run_id: str,
        kind: EventKind,
        data: Mapping[str, Any] | None = None,
        *,
        task_id: str | None = None,
        outcome: Outcome | None = None,
    ) -> Event:
        """Write one event, with the outcome that belongs to it, and return it. It is durable when this returns."""
        data = dict(data or {})
        at = self._clock()
        with self._transaction() as connection:
            (seq,) = connection.execute(
                "SELECT coalesce(max(seq) + 1, 0) FROM events WHERE run_id = ?", (run_id,)
            ).fetchone()
            connection.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", (run_id, seq, at, kind, task_id, json.dumps(data))
            )
            if outcome is not None:
                _insert_outcome(connection, outcome)
        return Event(run_id=run_id, seq=seq, at=at, kind=kind, task_id=task_id, data=data)

    def record(self, outcome: Outcome) -> None:
        """Write an outcome that belongs to no event of ours: history that a user imports."""
        with self._transaction() as connection:
            _insert_outcome(connection, outcome)

    def events(self, run_id: str) -> tuple[Event, ...]:
        """Return the events of a run in order; none if there is no such run."""
        rows = self._read("SELECT seq, at, kind, task_id, data FROM events WHERE run_id = ? ORDER BY seq", (run_id,))
        return tuple(
            Event(run_id=run_id, seq=seq, at=at, kind=kind, task_id=task_id, data=_parse(data, run_id))
            for seq, at, kind, task_id, data in rows
        )

    def run(self, run_id: str) -> Run:
        """Return a run, rebuilt from its events. An unambiguous beginning of its id is enough; `last` is the newest.

        Raises:
            NotFound: no run, or more than one, has such an id.
        """
        return rebuild_run(self.events(self._full_id(run_id)))

    def runs(self, *, limit: int = 20) -> tuple[RunSummary, ...]:
        """Return the newest runs, newest first."""
        rows = self._read(
            """
            SELECT s.run_id, s.at, s.data, f.at, f.data,
                   (SELECT count(*) FROM events t WHERE t.run_id = s.run_id AND t.kind = 'task_finished'),
                   (SELECT total(cost_usd) FROM outcomes o WHERE o.run_id = s.run_id)
            FROM (SELECT * FROM events WHERE kind = 'run_started' ORDER BY at DESC, run_id DESC LIMIT ?) s
            LEFT JOIN events f ON f.run_id = s.run_id AND f.kind = 'run_finished'
            ORDER BY s.at DESC, s.run_id DESC
            """,
            (limit,),
        )
        return tuple(
            RunSummary(
                run_id=run_id,
                request=_parse(started, run_id)["request"],
                state="running" if finished is None else _parse(finished, run_id)["state"],
                started_at=at,
                seconds=None if finished is None else max(0.0, finished_at - at),
                tasks_done=done,
                cost_usd=cost,
            )
            for run_id, at, started, finished_at, finished, done, cost in rows
        )

    def outcomes(self, *, agent: str | None = None, limit: int = 10_000) -> tuple[Outcome, ...]:
        """Return the newest outcomes, oldest of them first."""
        where, values = ("WHERE agent = ?", (agent,)) if agent is not None else ("", ())
        rows = self._read(f"SELECT * FROM outcomes {where} ORDER BY outcome_id DESC LIMIT ?", (*values, limit))  # noqa: S608 - `where` is one of two constants
        return tuple(_outcome(row) for row in reversed(rows))

    def _open(self) -> sqlite3.Connection:
        if self.path.startswith(("postgres://", "postgresql://")):
            raise InvalidInput(
                f"This version keeps its ledger in SQLite files only, not in {self.path.partition(':')[0]}."
            )
        try:
            if self.path != ":memory:":
                Path(self.path).expanduser().parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self.path if self.path == ":memory:" else Path(self.path).expanduser(),
                timeout=_BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
        except (OSError, ValueError, sqlite3.Error) as error:
            raise InvalidInput(f"Cannot open the ledger {self.path!r}: {error}. Name another with --db.") from error
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            _migrate(connection, self.path)
        except sqlite3.OperationalError as error:
            connection.close()
            raise self._refusal(error) from error
        except sqlite3.DatabaseError as error:
            connection.close()
            raise InvalidInput(f"{self.path!r} is no ledger: {error}. Name another file with --db.") from error
        except InvalidInput:
            connection.close()
            raise
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                # IMMEDIATE takes the write lock at once: two processes cannot both read the same next `seq`.
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
            except sqlite3.OperationalError as error:
                raise self._refusal(error) from error

    def _read(self, sql: str, values: Sequence[Any]) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.OperationalError as error:
                raise self._refusal(error) from error

    def _refusal(self, error: sqlite3.OperationalError) -> Exception:
        if "locked" in str(error) or "busy" in str(error):
            return LedgerBusy(f"Another process holds the ledger {self.path!r}. Try again, or name another with --db.")
        return InvalidInput(f"Cannot use the ledger {self.path!r}: {error}. Check the disk and the file's permissions.")

    def _full_id(self, run_id: str) -> str:
        if run_id == "last":
            rows = self._read(
                "SELECT run_id FROM events WHERE kind = 'run_started' ORDER BY at DESC, run_id DESC LIMIT 1", ()
            )
            if not rows:
                raise NotFound(
                    "There are no runs yet. Start one: kapelle run 'Compare the capitals of France and Germany'."
                )
        else:
            # `substr` compares the text as it is: LIKE would read % and _ in it as patterns.
            rows = self._read(
                "SELECT DISTINCT run_id FROM events WHERE kind = 'run_started' AND substr(run_id, 1, ?) = ? LIMIT 6",
                (len(run_id), run_id),
            )
            rows = [row for row in rows if row[0] == run_id] or rows
        found: list[str] = [row[0] for row in rows]
        if not found or not run_id:
            raise NotFound(f"There is no run {run_id!r}. `kapelle runs` lists them.")
        if len(found) > 1:
            raise NotFound(f"{run_id!r} begins the ids of several runs: {', '.join(found)}. Give more of it.")
        return found[0]


def _migrate(connection: sqlite3.Connection, path: str) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == len(MIGRATIONS):
        return
    if version > len(MIGRATIONS):
        raise InvalidInput(f"The ledger {path!r} was written by a newer kapelle (schema {version}). Upgrade kapelle.")
    connection.execute("BEGIN IMMEDIATE")  # a second process waits here, and then finds the work done
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        foreign = connection.execute("SELECT name FROM sqlite_master LIMIT 1").fetchone()
        if version == 0 and foreign is not None:
            raise InvalidInput(
                f"{path!r} is a database of something else (it has {foreign[0]!r}). Name another with --db."
            )
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """Split a script: `executescript` would commit the transaction that makes a migration all or nothing."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _insert_outcome(connection: sqlite3.Connection, outcome: Outcome) -> None:
    row = asdict(outcome)
    usage = row.pop("usage")
    row |= usage
    row["success"] = int(outcome.success)
    row["features"] = json.dumps(row["features"])
    # A lone surrogate, as in a file name that is not UTF-8, cannot be stored as text.
    row = {key: _storable(value) for key, value in row.items()}
    columns = ", ".join(row)
    connection.execute(
        f"INSERT INTO outcomes ({columns}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608 - our own field names
        tuple(row.values()),
    )


def _storable(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def _outcome(row: Sequence[Any]) -> Outcome:
    (_, run_id, task_id, task_type, agent, step, success, quality, tokens_in, cached, tokens_out, calls, *rest) = row
    cost, seconds, error, features, at = rest
    usage = Usage(input_tokens=tokens_in, cached_tokens=cached, output_tokens=tokens_out, calls=calls)
    return Outcome(
        run_id=run_id,
        task_id=task_id,
        task_type=task_type,
        agent=agent,
        step=step,
        success=bool(success),
        quality=quality,
        usage=usage,
        cost_usd=cost,
        seconds=seconds,
        error=error,
        features=json.loads(features),
        at=at,
    )


def _parse(text: str, run_id: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise LedgerCorrupt(f"Run {run_id!r} has an event that is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise LedgerCorrupt(f"Run {run_id!r} has an event that is not a mapping.")
    return found
