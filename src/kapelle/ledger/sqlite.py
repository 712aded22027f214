"""The ledger in one SQLite file: append-only, written ahead (WAL), its schema versioned.

Events that are written together, and the outcomes that belong to them, are one transaction. `synchronous=FULL` has it
on the disk when the call returns; with NORMAL nothing is lost when the process dies, and a power cut can lose the last
moments, but never corrupts the file (sqlite.org/wal.html): see durability.

A write blocks its thread, and with it an event loop, for as long as the disk takes (0.2 ms on an SSD, as measured).
While another process writes it waits for up to two seconds (`BUSY_TIMEOUT_S`), and then raises LedgerBusy.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kapelle.errors import InvalidInput, KapelleError, LedgerBusy, LedgerCorrupt
from kapelle.redaction import get_logger

from .chain import follow, head_mismatch
from .collect import COUNTED, OLD_RUNS, UNUSED, Collected
from .connection import Fingerprint, open_for_reading, open_for_writing, refusal, try_write
from .durability import Durability, read_durability
from .event import Event, EventKind
from .examine import Examination
from .history import StoreDialect, StoredLedger
from .kept import keep_events, keep_message
from .lease import Execute, Lease, acquire_lease, check_fence, release_lease, renew_lease
from .ledger import NewEvent
from .location import file_location, is_postgres_url
from .outcome import Outcome
from .question import already_said
from .rows import OUTCOME_COLUMNS, outcome_to_row
from .schema import VERSION

logger = get_logger(__name__)

_READ_TRIES = 5
"""How often a reader that may not lock the file begins again because somebody wrote meanwhile."""


def ledger_path(explicit: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """Return where the ledger is: what was given, else `KAPELLE_DB`, else the user's data directory.

    Raises:
        InvalidInput: what was given is neither a file nor a PostgreSQL server: see location.
    """
    chosen = explicit or environ.get("KAPELLE_DB")
    if chosen:
        return chosen if is_postgres_url(chosen) else file_location(chosen)
    import platformdirs  # only where nothing says where the ledger is

    return str(Path(platformdirs.user_data_dir("kapelle", appauthor=False)) / "ledger.sqlite")


class SqliteLedger(StoredLedger):
    """Run events and outcomes in a SQLite file; `:memory:` keeps them for the life of the object.

    Args:
        path: The file, as a path or `sqlite:///PATH`; it is created if it is not there.
        read_only: Read a file that is there, without changing it or what lies beside it: no permission to write is
            needed, neither for the file nor for its folder. See connection for how.
        clock: What time it is.
        durability: What survives a power cut: see durability.

    Raises:
        NotFound: it is to be read only, and there is no such file.
        InvalidInput: the file is no ledger, or was written by a newer kapelle, or cannot be created or read.
        LedgerBusy: another process holds it for longer than two seconds.
        LedgerCorrupt: the file is damaged.
    """

    def __init__(
        self,
        path: str | Path = ":memory:",
        *,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
        durability: Durability = "full",
    ) -> None:
        super().__init__(self._read_rows, _DIALECT, clock)
        self.path = file_location(path)
        self._file = os.path.expanduser(self.path)
        self.read_only = read_only
        self.durability = read_durability(durability, {})
        # One connection for all threads: sqlite3 serialises nothing for us, so every use holds the lock.
        self._lock = threading.Lock()
        self._fingerprint: Fingerprint | None = None
        self._place: tuple[int, int] | None = None
        """The device and number of the file that is written."""
        self._connection: sqlite3.Connection | None = self._open()

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def append(
        self,
        run_id: str,
        kind: EventKind,
        data: Mapping[str, Any] | None = None,
        *,
        task_id: str | None = None,
        outcomes: Sequence[Outcome] = (),
        fence: int | None = None,
    ) -> Event:
        """Write one event, with the outcomes that belong to it, and return it. It is durable when this returns.

        Args:
            fence: The fence of the lease under which this is written; None writes without asking.

        Raises:
            LeaseLost: another has taken the run over; nothing is written.
            LedgerBusy: another process was writing for longer than two seconds. The thread was blocked all the while.
            InvalidInput: the ledger is closed or for reading only, the disk is full, or SQLite cannot keep the value.
            LedgerCorrupt: another event stands where this one belongs: see chain.
        """
        new = NewEvent(at=self._clock(), kind=kind, task_id=task_id, data=data or {}, outcomes=outcomes)
        return self.append_all(run_id, (new,), fence=fence)[0]

    def append_all(self, run_id: str, new: Sequence[NewEvent], *, fence: int | None = None) -> tuple[Event, ...]:
        """Write several events of a run, in their order, in one transaction: all of them, or none. See `append`."""
        kept = keep_events(new)
        written: list[Event] = []
        rows: list[tuple[Any, ...]] = []
        with self._transaction() as connection:
            if fence is not None:
                check_fence(_executing(connection), run_id, fence)
            head = before = connection.execute(_HEAD, (run_id,)).fetchone()
            for one in kept:
                seq, hashed = follow(run_id, before, one.content(run_id))
                before = (seq + 1, hashed)
                rows.append((run_id, seq, one.at, one.kind, one.task_id, one.text, hashed))
                written.append(one.as_event(run_id, seq))
                for blob in one.blobs:
                    connection.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", (blob.hash, blob.text))
                    values = (run_id, seq, blob.field, blob.hash)
                    connection.execute("INSERT INTO event_blobs VALUES (?, ?, ?, ?)", values)
            if rows:
                _insert_events(connection, run_id, rows, is_first=head is None)
            outcomes = [outcome_to_row(outcome) for one in new for outcome in one.outcomes]
            connection.executemany(_INSERT_OUTCOME, outcomes)
        return tuple(written)

    def record(self, outcome: Outcome) -> None:
        """Write an outcome that belongs to no event of ours: history that a user imports."""
        with self._transaction() as connection:
            connection.execute(_INSERT_OUTCOME, outcome_to_row(outcome))

    def post(self, run_id: str, key: str, data: Mapping[str, Any]) -> None:
        """Leave a message for the engine that works on a run, or will.

        Raises:
            InvalidInput: there is a message with this key already: the first one counts.
        """
        with self._transaction() as connection:
            done = connection.execute(
                "INSERT INTO inbox (run_id, key, at, data) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (run_id, key, self._clock(), json.dumps(keep_message(data))),
            )
            if done.rowcount == 0:
                raise already_said(run_id, key)

    def collect(self, before: float, *, dry_run: bool = False) -> Collected:
        """Forget runs that ended before a time (seconds since the epoch), but not their outcomes: see collect."""
        with self._transaction() as connection:
            found = _count_old(connection, before)
            if not dry_run and found.runs:
                _forget_old(connection, before)
        if not dry_run and found.runs:
            with self._lock:
                try:
                    self._opened().execute("VACUUM")
                except sqlite3.Error as error:  # somebody reads or writes: the room is used again by later runs
                    logger.info("The ledger %r is not made smaller now: %s", self.path, error)
        return found

    def acquire_lease(self, run_id: str, owner: str, ttl_s: float, *, dead: str | None = None) -> Lease:
        """Take the right to work on a run for so many seconds, by this ledger's clock. See lease.

        Raises:
            RunBusy: another holds it; the error says who, and for how long.
        """
        with self._transaction() as connection:
            return acquire_lease(_executing(connection), self._clock(), run_id, owner, ttl_s, dead=dead)

    def renew_lease(self, lease: Lease, ttl_s: float) -> Lease:
        """Hold a lease for so many seconds more, from now on.

        Raises:
            LeaseLost: it was released, or another has taken the run over.
        """
        with self._transaction() as connection:
            return renew_lease(_executing(connection), self._clock(), lease, ttl_s)

    def release_lease(self, lease: Lease) -> None:
        """Give a lease back. Doing it twice, or when it is lost, is allowed."""
        with self._transaction() as connection:
            release_lease(_executing(connection), lease)

    def examine(self) -> Examination:
        """Return who looks for what is wrong with this ledger, as `kapelle doctor` does."""
        return Examination(self, self._clock, version=VERSION, try_write=lambda: try_write(self.path))

    def _open(self) -> sqlite3.Connection:
        if not self.read_only:
            connection = open_for_writing(self.path, self.durability)
            self._place = _place_of(self._file)
            return connection
        connection, self._fingerprint = open_for_reading(self.path)
        return connection

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise InvalidInput(f"The ledger {self.path!r} was closed. Open it anew, or close it later.")
        return self._connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._opened()
            if self.read_only:
                raise InvalidInput(
                    f"The ledger {self.path!r} was opened for reading only. To write, open it without read_only."
                )
            self._check_in_place()
            try:
                # IMMEDIATE takes the write lock at once: two processes cannot both read the same next `seq`.
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:  # a full disk makes SQLite roll back by itself
                        connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise refusal(error, self.path) from error
            except (OverflowError, UnicodeEncodeError) as error:
                raise InvalidInput(f"The ledger {self.path!r} cannot keep this: {error}.") from error

    def _check_in_place(self) -> None:
        """Refuse to write into a file that nobody will find again: SQLite would not notice."""
        if self._place is not None and _place_of(self._file) != self._place:
            raise LedgerCorrupt(
                f"The ledger {self.path!r} was removed or replaced while it was open, so nothing more is written. Put "
                "it back if it was moved, and resume the run; what it held is nowhere else."
            )

    def _read_rows(self, sql: str, values: Sequence[Any]) -> list[Any]:
        with self._lock:
            for _ in range(_READ_TRIES):
                problem: KapelleError | None = None
                rows: list[Any] = []
                try:
                    rows = self._opened().execute(sql, values).fetchall()
                except sqlite3.Error as error:
                    problem = refusal(error, self.path)
                    problem.__cause__ = error
                if self._is_unchanged():
                    if problem is not None:
                        raise problem
                    return rows
                before, self._connection = self._opened(), self._open()
                before.close()
        raise LedgerBusy(f"The ledger {self.path!r} is being written, and may not be locked. Try again.")

    def _is_unchanged(self) -> bool:
        return self._fingerprint is None or self._fingerprint == Fingerprint.of(Path(self.path).expanduser())


def _place_of(path: str) -> tuple[int, int] | None:
    if path == ":memory:":
        return None
    try:
        found = os.stat(path)
    except OSError:
        return (-1, -1)
    return (found.st_dev, found.st_ino)


_HEAD = "SELECT length, hash FROM chains WHERE run_id = ?"
_INSERT_OUTCOME = (
    f"INSERT INTO outcomes ({', '.join(OUTCOME_COLUMNS)}) "  # noqa: S608 - our own names
    f"VALUES ({', '.join('?' * len(OUTCOME_COLUMNS))})"
)


def _insert_events(
    connection: sqlite3.Connection, run_id: str, rows: Sequence[tuple[Any, ...]], *, is_first: bool
) -> None:
    """Insert events of a run that follow each other, and move the head of its chain to the last of them."""
    try:
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    except sqlite3.IntegrityError:
        # By its head, the run ends where these begin. Those of them that were inserted are the last ones now.
        first = rows[0][1]
        found = connection.execute("SELECT max(seq) FROM events WHERE run_id = ?", (run_id,)).fetchone()[0]
        if found is None or found < first:
            raise
        raise head_mismatch(run_id, found + 1, None if is_first else first) from None
    length, hashed = rows[-1][1] + 1, rows[-1][6]
    if is_first:
        connection.execute("INSERT INTO chains VALUES (?, 0, ?, ?)", (run_id, length, hashed))
    else:
        connection.execute("UPDATE chains SET length = ?, hash = ? WHERE run_id = ?", (length, hashed, run_id))


_TRIGGERS = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ('events', 'leases')"


def _count_old(connection: sqlite3.Connection, before: float) -> Collected:
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS old_runs (run_id TEXT PRIMARY KEY)")
    connection.execute("DELETE FROM old_runs")
    connection.execute(f"INSERT INTO old_runs {OLD_RUNS}", (before,))
    return Collected.of(connection.execute(COUNTED).fetchone())


def _forget_old(connection: sqlite3.Connection, before: float) -> None:
    """Forget what `_count_old` has found. The triggers against it are away only within this transaction."""
    triggers = connection.execute(_TRIGGERS).fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(f"DELETE FROM blobs {UNUSED}")  # noqa: S608 - our own constant
    for table in ("event_blobs", "events", "chains", "inbox", "leases"):
        connection.execute(f"DELETE FROM {table} WHERE run_id IN (SELECT run_id FROM old_runs)")  # noqa: S608 - ours
    for _, sql in triggers:
        connection.execute(sql)


def _executing(connection: sqlite3.Connection) -> Execute:
    return lambda sql, values: connection.execute(sql, values).fetchall()


def _pick(column: str, names: Sequence[str]) -> str:
    """Return SQL for fields of an event's data: see Dialect. An array it is for two paths or more."""
    paths = ", ".join(f"'$.{name}'" for name in (*names, names[0]))
    return f"CASE WHEN json_valid({column}) THEN json_extract({column}, {paths}) ELSE {column} END"


_DIALECT = StoreDialect(pick=_pick, texts_in="SELECT value FROM json_each(?)", raw="CAST({} AS BLOB)")
