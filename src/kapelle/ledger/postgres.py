"""The ledger in a PostgreSQL database, for engines on several machines: append-only, its schema versioned.

It keeps what the SQLite file keeps, in tables of a schema `kapelle`; see postgres_schema. An event and its outcomes are
one statement, one transaction and one round trip. It is durable when the call returns, as far as the server's
`synchronous_commit` says.

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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from kapelle.errors import LedgerBusy

from .event import Event, EventKind
from .history import History
from .lease import check_fence
from .ledger import make_run_id
from .outcome import Outcome
from .postgres_connection import hide_password

if TYPE_CHECKING:
    import psycopg

_RETRY_S = 0.05
_APPEND = "SELECT kapelle.append(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
_NOW = "SELECT extract(epoch FROM clock_timestamp())::double precision"

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Unsure:
    """An append of which nobody knows whether it was written: the same again goes by the same stamp and time."""

    content: tuple[object, ...]
    at: float
    stamp: int


class PostgresLedger:
    """Run events and outcomes in a PostgreSQL database.

    Args:
        url: `postgresql://user:password@host:port/database`, with libpq's options. What it leaves open comes from the
            environment and the password file, as with any PostgreSQL client.
        read_only: Read a ledger that is there; a user who may only read is enough.
        clock: What time it is for events and run ids. Leases go by the server's clock, which all engines share.

    Raises:
        NotFound: it is to be read only, and the database holds no ledger.
        InvalidInput: the driver is missing, the URL or the password is wrong, the database does not exist or is of
            something else, or the ledger was written by a newer kapelle.
        LedgerBusy: the server cannot be reached.
    """

    def __init__(self, url: str, *, read_only: bool = False, clock: Callable[[], float] = time.time) -> None:
        self.path = hide_password(url)
        """The URL without its password."""
        self.read_only = read_only
        self._url = url
        self._clock = clock
        # One connection for all threads; every use holds the lock, so what a thread reads was written before.
        self._lock = threading.Lock()
        self._closed = False
        self._writer = secrets.randbits(31) << 32
        self._count = 0
        self._known: dict[str, int] = {}
        """The last place of every run under way that this ledger has written."""
        self._unsure: dict[str, _Unsure] = {}
        self._history = History(self._read, _DIALECT)
        self._connection: psycopg.Connection[Any] | None = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Closing twice is allowed."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def new_run_id(self) -> str:
        """Return an id for a run: sorts by time, and is short enough to type."""
        return make_run_id(self._clock())

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
        """
        data = dict(data or {})
        text = json.dumps(data)
        rows = json.dumps([_row(outcome) for outcome in outcomes]) if outcomes else None
        content = (kind, task_id, text, rows, fence)
        with self._lock:
            self._check_writable()
            unsure = self._unsure.get(run_id)
            if unsure is None or unsure.content != content:
                unsure = _Unsure(content=content, at=self._clock(), stamp=self._stamp())
            values = (run_id, unsure.at, kind, task_id, text, rows, fence, unsure.stamp, self._known.get(run_id, -1))

            def send(connection: psycopg.Connection[Any]) -> int:
                ((seq,),) = connection.execute(_APPEND, values).fetchall()
                return int(seq)

            self._unsure[run_id] = unsure
            try:
                seq = self._perform(send)
            except LedgerBusy:
                raise  # nobody knows whether it was written
            except BaseException as error:
                if isinstance(error, Exception):
                    del self._unsure[run_id]
                if isinstance(error, _FenceRefused) and fence is not None:
                    self._perform(lambda connection: check_fence(_executing(connection), run_id, fence))
                raise
            del self._unsure[run_id]
            self._known[run_id] = seq
            if kind == "run_finished":
                del self._known[run_id]
        return Event(run_id=run_id, seq=seq, at=unsure.at, kind=kind, task_id=task_id, data=data)
