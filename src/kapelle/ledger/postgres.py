"""The ledger in a PostgreSQL database, for engines on several machines: append-only, its schema versioned.

It keeps what the SQLite file keeps, in tables of a schema `kapelle`; see postgres_schema. Events that are written
together, and their outcomes, are one statement, one transaction and one round trip, durable when the call returns.

When the server goes away, a call waits up to two seconds (`BUSY_TIMEOUT_S`) for it to come back, and then raises
LedgerBusy. Whether a lost append was written is found out by sending it again, and never makes two of it.

Not covered: a pooler in transaction mode (settings belong to the session), and a server that accepts and stays silent.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

from kapelle.errors import InvalidInput, LeaseLost, LedgerBusy, LedgerCorrupt
from kapelle.redaction import hide_password, remember_location

from . import connection as timing
from .chain import head_mismatch
from .collect import COUNTED, OLD_RUNS, UNUSED, Collected
from .durability import Durability, read_durability
from .event import Event, EventKind
from .examine import Examination
from .history import StoreDialect, StoredLedger
from .kept import keep_events, keep_message
from .lease import Execute, Lease, acquire_lease, release_lease, renew_lease
from .ledger import NewEvent
from .outcome import Outcome
from .postgres_connection import connect, import_driver, is_away, refusal
from .postgres_schema import BROKEN_CHAIN, LEASE_LOST, VERSION, check_readable, make_tables
from .question import already_said
from .rows import OUTCOME_COLUMNS, outcome_to_row

if TYPE_CHECKING:
    import psycopg

_RETRY_S = 0.05

Result = TypeVar("Result")

# The statements in words of its own; the others are those of SQLite.
_APPEND = """
    SELECT kapelle.append_all(
        %s, %s, %s, %s::double precision[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[],
        %s::bytea[]
    )
"""
_DURABILITY: Mapping[Durability, LiteralString] = {
    # A server, a role or a URL may ask for more than `on`, such as `remote_apply`: that stays.
    "full": "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
    "normal": "SET synchronous_commit = off",
}
_PROBE = "INSERT INTO events (run_id, seq, at, kind, data, stamp) VALUES ('', -1, 0, '', '', 0)"
_NOW = "SELECT extract(epoch FROM clock_timestamp())::double precision"
_POST = "INSERT INTO inbox (run_id, key, at, data, stamp) VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
_POSTED = "SELECT stamp FROM inbox WHERE run_id = %s AND key = %s"
_FORGET = (
    # First, for appends lock the head of their run before its events: whoever waits for the other, none does for both.
    "DELETE FROM chains WHERE run_id IN (SELECT run_id FROM old_runs)",
    # Nobody appends meanwhile, so no event comes to refer to what goes. Readers go on.
    "LOCK TABLE events, event_blobs, blobs IN SHARE ROW EXCLUSIVE MODE",
    "ALTER TABLE events DISABLE TRIGGER events_are_kept",
    f"DELETE FROM blobs {UNUSED}",  # noqa: S608 - our own constant
    *(f"DELETE FROM {table} WHERE run_id IN (SELECT run_id FROM old_runs)"  # noqa: S608 - our own names
      for table in ("event_blobs", "events", "inbox", "leases")),
    "ALTER TABLE events ENABLE TRIGGER events_are_kept",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class _Unsure:
    """An append of which nobody knows whether it was written: the same again goes by the same stamp and time."""

    content: tuple[object, ...]
    at: list[float]
    """Of each event."""
    stamps: list[int]


class PostgresLedger(StoredLedger):
    """Run events and outcomes in a PostgreSQL database.

    Args:
        url: `postgresql://user:password@host:port/database`, with libpq's options, or a connection string of libpq
            such as `host=db.example dbname=work`. What it leaves open comes from the
            environment and the password file, as with any PostgreSQL client.
        read_only: Read a ledger that is there; a user who may only read is enough.
        clock: What time it is for events and run ids. Leases go by the server's clock, which all engines share.
        durability: What survives when the server's power goes: `full` has `synchronous_commit` as the server says, but
            never off; `normal` has it off. See durability.

    Raises:
        NotFound: it is to be read only, and the database holds no ledger.
        InvalidInput: the driver is missing, the URL or the password is wrong, the database does not exist or is of
            something else, or the ledger was written by a newer kapelle.
        LedgerBusy: the server cannot be reached.
    """

    def __init__(
        self,
        url: str,
        *,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
        durability: Durability = "full",
    ) -> None:
        super().__init__(self._read_rows, _DIALECT, clock)
        remember_location(url, owner=self)
        self.path = hide_password(url)
        """The URL, or connection string, without its password."""
        self.read_only = read_only
        self.durability = read_durability(durability, {})
        self._url = url
        # One connection for all threads; every use holds the lock, so what a thread reads was written before.
        self._lock = threading.Lock()
        self._closed = False
        self._writer = secrets.randbits(31) << 32
        self._count = 0
        self._known: dict[str, int] = {}
        """The last place of every run under way that this ledger has written."""
        self._unsure: dict[str, _Unsure] = {}
        self._driver = import_driver()
        self._connection: psycopg.Connection[Any] | None = self._open()

    def close(self) -> None:
        """Close the connection. Closing twice is allowed."""
        with self._lock:
            self._closed = True
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
            LedgerBusy: the server is away for longer than two seconds. The event may have been written all the same:
                append the same again, and it is there once; append another, and this one is before it or nowhere.
            InvalidInput: the ledger is closed or for reading only, or PostgreSQL cannot keep the value.
            LedgerCorrupt: the run's last event is not the one that was written last: see chain.
        """
        new = NewEvent(at=self._clock(), kind=kind, task_id=task_id, data=data or {}, outcomes=outcomes)
        return self.append_all(run_id, (new,), fence=fence)[0]

    def append_all(self, run_id: str, new: Sequence[NewEvent], *, fence: int | None = None) -> tuple[Event, ...]:
        """Write several events of a run, in their order, by one statement: all of them, or none. See `append`."""
        if not new:
            return ()
        kept = keep_events(new)
        rows = [json.dumps([_row(outcome) for outcome in one.outcomes]) if one.outcomes else None for one in new]
        content = tuple((one.kind, one.task_id, one.text, one.blobs, row) for one, row in zip(kept, rows, strict=True))
        with self._lock:
            unsure = self._unsure.get(run_id)
            if unsure is None or unsure.content != content:
                unsure = _Unsure(content=content, at=[one.at for one in kept], stamps=[self._stamp() for _ in kept])
            self._unsure[run_id] = unsure
            kept = [replace(one, at=at) for one, at in zip(kept, unsure.at, strict=True)]
            known = self._known.get(run_id, -1)
            values = (
                run_id,
                fence,
                known,
                unsure.at,
                [one.kind for one in kept],
                [one.task_id for one in kept],
                [one.text for one in kept],
                rows,
                unsure.stamps,
                [json.dumps([asdict(blob) for blob in one.blobs]) if one.blobs else None for one in kept],
                [one.content(run_id) for one in kept],
            )
            try:
                ((first,),) = self._write(lambda connection: connection.execute(_APPEND, values).fetchall())
            except (InvalidInput, LeaseLost, LedgerCorrupt):
                del self._unsure[run_id]  # the server answered: nothing is written
                raise
            del self._unsure[run_id]
            if kept[-1].kind == "run_finished":
                self._known.pop(run_id, None)
            else:
                self._known[run_id] = first + len(kept) - 1
        return tuple(one.as_event(run_id, seq) for seq, one in enumerate(kept, first))

    def record(self, outcome: Outcome) -> None:
        """Write an outcome that belongs to no event of ours: history that a user imports."""
        with self._lock:
            row = {**_row(outcome), "stamp": self._stamp()}
            sql = (
                f"INSERT INTO outcomes ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))}) "  # noqa: S608 - ours
                "ON CONFLICT (stamp) WHERE stamp IS NOT NULL DO NOTHING"  # sent again: its first reply was lost
            )
            self._write(lambda connection: connection.execute(sql.encode(), tuple(row.values())))

    def post(self, run_id: str, key: str, data: Mapping[str, Any]) -> None:
        """Leave a message for the engine that works on a run, or will.

        Raises:
            InvalidInput: there is a message with this key already: the first one counts.
        """
        with self._lock:
            stamp = self._stamp()
            values = (run_id, key, self._clock(), json.dumps(keep_message(data)), stamp)
            self._write(lambda connection: connection.execute(_POST, values))
            # Sent again after its reply was lost, it finds itself.
            ((first,),) = self._perform(lambda connection: connection.execute(_POSTED, (run_id, key)).fetchall())
        if first != stamp:
            raise already_said(run_id, key)

    def collect(self, before: float, *, dry_run: bool = False) -> Collected:
        """Forget runs that ended before a time (seconds since the epoch), but not their outcomes: see collect."""

        def forget(connection: psycopg.Connection[Any]) -> Collected:
            with connection.transaction():
                found = _count_old(connection, before)
                if not dry_run and found.runs:
                    for statement in _FORGET:
                        connection.execute(statement.encode())
                return found

        with self._lock:
            return self._write(forget)

    def acquire_lease(self, run_id: str, owner: str, ttl_s: float, *, dead: str | None = None) -> Lease:
        """Take the right to work on a run for so many seconds, by the server's clock. See lease.

        Raises:
            RunBusy: another holds it; the error says who, and for how long.
        """
        with self._lock:
            stamp = self._stamp()
        return self._lease(
            run_id,
            lambda execute, now: acquire_lease(execute, now, run_id, owner, ttl_s, stamp=stamp, dead=dead),
        )

    def renew_lease(self, lease: Lease, ttl_s: float) -> Lease:
        """Hold a lease for so many seconds more, from now on.

        Raises:
            LeaseLost: it was released, or another has taken the run over.
        """
        return self._lease(lease.run_id, lambda execute, now: renew_lease(execute, now, lease, ttl_s))

    def release_lease(self, lease: Lease) -> None:
        """Give a lease back. Doing it twice, or when it is lost, is allowed."""
        self._lease(lease.run_id, lambda execute, _: release_lease(execute, lease))

    def examine(self) -> Examination:
        """Return who looks for what is wrong with this ledger, as `kapelle doctor` does."""

        def now() -> float:
            ((found,),) = self._read(_NOW, ())
            return float(found)

        return Examination(self, now, version=VERSION, try_write=self._try_write)

    def _stamp(self) -> int:
        self._count += 1
        return self._writer + self._count

    def _lease(self, run_id: str, change: Callable[[Execute, float], Result]) -> Result:
        """Change a run's lease while nobody else can, nor append under it."""

        def locked(connection: psycopg.Connection[Any]) -> Result:
            with connection.transaction():
                # Two statements: the time must be taken after the wait for the lock.
                connection.execute("SELECT kapelle.lock_run(%s)", (run_id,))
                ((now,),) = connection.execute(_NOW).fetchall()
                return change(lambda sql, values: _rows(connection, sql, values), now)

        with self._lock:
            return self._write(locked)

    def _read_rows(self, sql: str, values: Sequence[Any]) -> list[Any]:
        with self._lock:
            return self._perform(lambda connection: _rows(connection, sql, [_without_nul(one) for one in values]))

    def _write(self, work: Callable[[psycopg.Connection[Any]], Result]) -> Result:
        if self.read_only and not self._closed:
            raise InvalidInput(
                f"The ledger {self.path!r} was opened for reading only. To write, open it without read_only."
            )
        return self._perform(work)

    def _perform(self, work: Callable[[psycopg.Connection[Any]], Result]) -> Result:
        """Do something that may be done again: if the server goes away meanwhile, it is, once it is back."""
        give_up = time.monotonic() + timing.BUSY_TIMEOUT_S
        while True:
            if self._closed:
                raise InvalidInput(f"The ledger {self.path!r} was closed. Open it anew, or close it later.")
            try:
                if self._connection is None:
                    self._connection = self._open()
                return work(self._connection)
            except LedgerBusy:  # it cannot be reached
                if time.monotonic() > give_up:
                    raise
            except self._driver.Error as error:
                if error.sqlstate == LEASE_LOST:
                    raise _lease_lost(error) from None
                if error.sqlstate == BROKEN_CHAIN:
                    found = json.loads(error.diag.message_detail or "{}")
                    raise head_mismatch(found["run_id"], found["events"], found["length"]) from None
                problem = refusal(error, self.path)
                if self._connection is None or not is_away(error, self._connection):
                    raise problem from error
                self._connection.close()
                self._connection = None
                if time.monotonic() > give_up:
                    raise problem from error
            except (OverflowError, UnicodeEncodeError) as error:
                raise InvalidInput(f"The ledger {self.path!r} cannot keep this: {error}.") from error
            time.sleep(_RETRY_S)

    def _try_write(self) -> None:
        connection = connect(self._url)
        try:
            with connection.transaction(force_rollback=True):
                connection.execute(_PROBE)
        except self._driver.Error as error:
            raise refusal(error, self.path) from error
        finally:
            connection.close()

    def _open(self) -> psycopg.Connection[Any]:
        connection = connect(self._url)
        try:
            if self.read_only:
                connection.execute("SET default_transaction_read_only = on")
                check_readable(connection, self.path)
            else:
                make_tables(connection, self.path)
                connection.execute(_DURABILITY[self.durability])
        except self._driver.Error as error:
            connection.close()
            raise refusal(error, self.path) from error
        except BaseException:
            connection.close()
            raise
        return connection


def _count_old(connection: psycopg.Connection[Any], before: float) -> Collected:
    old = OLD_RUNS.replace("?", "%s")
    connection.execute(f"CREATE TEMP TABLE old_runs ON COMMIT DROP AS {old}".encode(), (before,))
    return Collected.of(connection.execute(COUNTED.encode()).fetchall()[0])


def _rows(connection: psycopg.Connection[Any], sql: str, values: Sequence[Any]) -> list[Any]:
    cursor = connection.execute(sql.replace("?", "%s").encode(), values)
    return cursor.fetchall() if cursor.description is not None else []


def _row(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome's columns."""
    return dict(zip(OUTCOME_COLUMNS, map(_without_nul, outcome_to_row(outcome)), strict=True))


def _without_nul(value: Any) -> Any:
    """Return a value in which a NUL, which PostgreSQL cannot keep in a text, is the sign for it."""
    return value.replace("\0", "\N{SYMBOL FOR NULL}") if isinstance(value, str) else value


def _lease_lost(error: psycopg.Error) -> LeaseLost:
    """Read what `kapelle.append_all` says of the lease that is the current one."""
    found = json.loads(error.diag.message_detail or "{}")
    return LeaseLost(found["run_id"], fence=found["shown"], current=found["fence"], owner=found["owner"])


def _pick(column: str, names: Sequence[str]) -> str:
    """Return SQL for fields of an event's data: see Dialect."""
    return "pick({}, {})".format(column, ", ".join(f"'{name}'" for name in names))


_DIALECT = StoreDialect(pick=_pick, texts_in="SELECT json_array_elements_text(?::json)", raw="{}")
