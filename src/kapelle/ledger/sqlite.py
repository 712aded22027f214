"""The ledger in one SQLite file: append-only, written ahead (WAL), its schema versioned.

An event and the outcome that belongs to it are written in one transaction. `synchronous=NORMAL` loses nothing when the
process dies; a power cut can lose the last moments but never corrupts the file (sqlite.org/wal.html).

A write blocks its thread, and with it an event loop, for well under a millisecond; while another process writes, for up
to two seconds (`BUSY_TIMEOUT_S`), and then raises LedgerBusy.
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
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import platformdirs

from kapelle.errors import InvalidInput, KapelleError, LedgerBusy, LedgerCorrupt, NotFound

from .connection import Fingerprint, open_for_reading, open_for_writing, refusal
from .event import COST_FIELDS, Event, EventKind
from .fields import Fields, place_of
from .ledger import RunSummary
from .outcome import Outcome
from .rebuild import event_cost, rebuild_run
from .run import Run
from .usage import Usage

_READ_TRIES = 5
"""How often a reader that may not lock the file begins again because somebody wrote meanwhile."""


def ledger_path(explicit: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """Return where the ledger is: what was given, else `KAPELLE_DB`, else the user's data directory."""
    chosen = explicit or environ.get("KAPELLE_DB")
    return chosen or str(Path(platformdirs.user_data_dir("kapelle", appauthor=False)) / "ledger.sqlite")


class SqliteLedger:
    """Run events and outcomes in a SQLite file; `:memory:` keeps them for the life of the object.

    Args:
        path: The file; it is created if it is not there.
        read_only: Read a file that is there, without changing it or what lies beside it: no permission to write is
            needed, neither for the file nor for its folder. See connection for how.
        clock: What time it is.

    Raises:
        NotFound: it is to be read only, and there is no such file.
        InvalidInput: the file is no ledger, or was written by a newer kapelle, or cannot be created or read.
        LedgerBusy: another process holds it for longer than two seconds.
        LedgerCorrupt: the file is damaged.
    """

    def __init__(
        self, path: str | Path = ":memory:", *, read_only: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = str(path)
        self.read_only = read_only
        self._clock = clock
        # One connection for all threads: sqlite3 serialises nothing for us, so every use holds the lock.
        self._lock = threading.Lock()
        self._fingerprint: Fingerprint | None = None
        self._connection: sqlite3.Connection | None = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

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
        outcomes: Sequence[Outcome] = (),
    ) -> Event:
        """Write one event, with the outcomes that belong to it, and return it. It is durable when this returns.

        Raises:
            LedgerBusy: another process was writing for longer than two seconds. The thread was blocked all the while.
            InvalidInput: the ledger is closed or for reading only, the disk is full, or SQLite cannot keep the value.
        """
        data = dict(data or {})
        at = self._clock()
        with self._transaction() as connection:
            (seq,) = connection.execute(
                "SELECT coalesce(max(seq) + 1, 0) FROM events WHERE run_id = ?", (run_id,)
            ).fetchone()
            connection.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", (run_id, seq, at, kind, task_id, json.dumps(data))
            )
            for outcome in outcomes:
                _insert_outcome(connection, outcome)
        return Event(run_id=run_id, seq=seq, at=at, kind=kind, task_id=task_id, data=data)

    def record(self, outcome: Outcome) -> None:
        """Write an outcome that belongs to no event of ours: history that a user imports."""
        with self._transaction() as connection:
            _insert_outcome(connection, outcome)

    def events(self, run_id: str) -> tuple[Event, ...]:
        """Return the events of a run in order; none if there is no such run."""
        rows = self._read("SELECT seq, at, kind, task_id, data FROM events WHERE run_id = ? ORDER BY seq", (run_id,))
        return tuple(_event(run_id, *row) for row in rows)

    def run(self, run_id: str) -> Run:
        """Return a run, rebuilt from its events. An unambiguous beginning of its id is enough; `last` is the newest.

        Raises:
            NotFound: no run, or more than one, has such an id.
        """
        return rebuild_run(self.events(self._full_id(run_id)))

    def runs(self, *, limit: int = 20) -> tuple[RunSummary, ...]:
        """Return the newest runs, newest first.

        What each has cost is what `Run.cost_usd` says. Answers and outputs stay in the file, however large they are.

        Raises:
            LedgerCorrupt: one of these runs has an event that cannot be read.
        """
        rows = self._read(
            f"""
            SELECT s.run_id, s.seq, s.at, s.kind, s.task_id, {_extract("s.data", "request")},
                   f.seq, f.at, f.kind, f.task_id, {_extract("f.data", "state")},
                   (SELECT count(*) FROM events t WHERE t.run_id = s.run_id AND t.kind = 'task_finished')
            FROM (SELECT * FROM events WHERE kind = 'run_started' ORDER BY at DESC, run_id DESC LIMIT ?) s
            LEFT JOIN events f ON f.run_id = s.run_id AND f.kind = 'run_finished'
            ORDER BY s.at DESC, s.run_id DESC
            """,  # noqa: S608 - `_extract` takes our own constants
            (limit,),
        )
        costs = self._costs([row[0] for row in rows])
        found = []
        for run_id, *columns in rows:
            started = _event(run_id, *columns[:5], names=("request",))
            finished = None if columns[5] is None else _event(run_id, *columns[5:10], names=("state",))
            found.append(
                RunSummary(
                    run_id=run_id,
                    request=Fields(started).text("request"),
                    state="running" if finished is None else Fields(finished).end_state("state"),
                    started_at=started.at,
                    seconds=None if finished is None else max(0.0, finished.at - started.at),
                    tasks_done=columns[10],
                    cost_usd=costs.get(run_id, 0.0),
                )
            )
        return tuple(found)

    def outcomes(self, *, agent: str | None = None, limit: int = 10_000) -> tuple[Outcome, ...]:
        """Return the newest outcomes, oldest of them first."""
        where, values = ("WHERE agent = ?", (agent,)) if agent is not None else ("", ())
        rows = self._read(f"SELECT * FROM outcomes {where} ORDER BY outcome_id DESC LIMIT ?", (*values, limit))  # noqa: S608 - `where` is one of two constants
        return tuple(map(_outcome, reversed(rows)))

    def _costs(self, run_ids: Sequence[str]) -> dict[str, float]:
        names = ("cost_usd", "planning_cost_usd")
        rows = self._read(
            f"""
            SELECT run_id, seq, at, kind, task_id, {_extract("data", *names)} FROM events
            WHERE run_id IN (SELECT value FROM json_each(?)) AND kind IN ({", ".join("?" * len(COST_FIELDS))})
            """,  # noqa: S608 - `_extract` takes our own constants
            (json.dumps(run_ids), *COST_FIELDS),
        )
        costs: dict[str, float] = {}
        for run_id, *columns in rows:
            costs[run_id] = costs.get(run_id, 0.0) + event_cost(_event(run_id, *columns, names=names))
        return costs

    def _open(self) -> sqlite3.Connection:
        if self.path.startswith(("postgres://", "postgresql://")):
            raise InvalidInput(
                f"This version keeps its ledger in SQLite files only, not in {self.path.partition(':')[0]}."
            )
        if not self.read_only:
            return open_for_writing(self.path)
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

    def _read(self, sql: str, values: Sequence[Any]) -> list[Any]:
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
    try:
        (_, run_id, task_id, task_type, agent, step, success, quality, tokens_in, cached, tokens_out, calls, *rest) = (
            row
        )
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
            features=dict(json.loads(features)),
            at=at,
        )
    except (TypeError, ValueError, RecursionError) as problem:
        raise LedgerCorrupt(f"Outcome {row[0]} in the ledger cannot be read: {problem}") from problem


def _extract(column: str, *names: str) -> str:
    """Return SQL for these fields of an event's data, so that the rest of it never leaves the file.

    They come as a JSON array, whose texts are escaped as they were written: a lone surrogate, which SQLite would return
    as broken UTF-8, survives. An array it is for two paths or more. Python writes infinity into JSON and SQLite cannot
    read it, so such data come whole.
    """
    paths = ", ".join(f"'$.{name}'" for name in (*names, names[0]))
    return f"CASE WHEN json_valid({column}) THEN json_extract({column}, {paths}) ELSE {column} END"


def _event(
    run_id: str, seq: Any, at: Any, kind: Any, task_id: Any, text: Any, *, names: Sequence[str] | None = None
) -> Event:
    """Return an event from its row. With names, the text holds an array of these fields; or all data, see _extract."""
    event = Event(run_id=run_id, seq=seq, at=at, kind=kind, task_id=task_id)
    if not isinstance(at, (int, float)):
        raise LedgerCorrupt(f"{place_of(event)} has no time but {at!r}.")
    try:
        data = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise LedgerCorrupt(f"{place_of(event)} is not JSON: {error}.") from error
    if names is not None and isinstance(data, list):
        data = dict(zip(names, data, strict=False))
    if not isinstance(data, dict):
        raise LedgerCorrupt(f"{place_of(event)} holds no mapping.")
    return replace(event, data=data)
