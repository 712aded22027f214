"""Opens the ledger's SQLite file, for writing or for reading only, and says in plain words what SQLite refuses.

Reading needs no permission to write, which WAL makes less simple than it sounds (sqlite.org/wal.html, section 5): a
reader shares its place in the log with writers through a file `-shm` beside the database, and would create it.

    who reads                          how           what could go wrong
    may write the file and its folder  mode=ro       nothing: locks as usual
    may not, and the log is empty      immutable=1   a writer that comes meanwhile: the fingerprint tells, read again
    may not, and the log holds more    mode=ro       the writer's own -shm serves; without one SQLite refuses

A reader who may write the folder but not the file would leave a `-wal` that the owner cannot write, so it is immutable
for them too. `immutable=1` takes no locks and reads no log: never while a log or a journal holds anything.
"""

from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from kapelle.errors import InvalidInput, KapelleError, LedgerBusy, LedgerCorrupt, NotFound

from .durability import Durability
from .schema import check_readable, make_tables

BUSY_TIMEOUT_S = 2.0
"""How long to wait for another process. A write takes well under a millisecond; who holds on longer has stopped."""
_RETRY_S = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """A database and its logs by size and time: while it is the same, nothing was written."""

    database: tuple[int, int, int] | None
    logs: tuple[int, int]
    """Bytes in the write-ahead log and in the journal; 0 where there is none."""

    @classmethod
    def of(cls, path: Path) -> Fingerprint:
        """Look at the files as they are now."""
        found = _stat(path)
        return cls(
            database=None if found is None else (found.st_ino, found.st_size, found.st_mtime_ns),
            logs=(_size(path, "-wal"), _size(path, "-journal")),
        )


def open_for_writing(path: str, durability: Durability) -> sqlite3.Connection:
    """Open or create a ledger, and bring it to the newest version.

    Raises:
        InvalidInput: the file is no ledger, or was written by a newer kapelle, or cannot be created.
        LedgerBusy: another process holds it for longer than two seconds.
        LedgerCorrupt: the file is damaged.
    """
    target: str | Path = path
    try:
        if path != ":memory:":
            target = Path(path).expanduser()
            target.parent.mkdir(parents=True, exist_ok=True)
        connection = _connect(target)
    except (OSError, ValueError, RuntimeError, sqlite3.Error) as error:
        raise InvalidInput(f"Cannot open the ledger {path!r}: {error}. Name another with --db.") from error
    try:
        _write_ahead(connection)
        connection.execute(f"PRAGMA synchronous = {durability}")
        # On macOS fsync leaves what is written in the drive's cache, unless this is on (sqlite.org/pragma.html).
        connection.execute(f"PRAGMA fullfsync = {'ON' if durability == 'full' else 'OFF'}")
        make_tables(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise refusal(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: str) -> tuple[sqlite3.Connection, Fingerprint | None]:
    """Open a ledger that is there.

    With a fingerprint, what is read counts only while the file still has it.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is no ledger, or may not be read.
        LedgerCorrupt: the file is damaged.
    """
    if path == ":memory:":
        raise InvalidInput("A ledger in memory begins empty, so there is nothing to read. Name a file.")
    try:
        target = Path(path).expanduser().absolute()
        if not target.exists():
            raise NotFound(f"There is no ledger at {path!r}. `kapelle run` makes one; --db names another.")
        if not target.is_file():
            raise InvalidInput(f"The ledger {path!r} is no file. Name another with --db.")
        fingerprint = Fingerprint.of(target)
        untouchable = not (os.access(target, os.W_OK) and os.access(target.parent, os.W_OK))
        immutable = untouchable and not any(fingerprint.logs)
        # as_uri() quotes ?, # and % in names, which would end the path or begin a code.
        connection = _connect(f"{target.as_uri()}?mode=ro{'&immutable=1' if immutable else ''}", uri=True)
    except (OSError, ValueError, RuntimeError, sqlite3.Error) as error:
        if isinstance(error, KapelleError):
            raise
        raise InvalidInput(f"Cannot open the ledger {path!r}: {error}. Name another with --db.") from error
    try:
        check_readable(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise refusal(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection, fingerprint if immutable else None


def try_write(path: str) -> None:
    """Take the right to write into a ledger that is there, and give it back: nothing is changed.

    Raises:
        InvalidInput: the file may not be written.
        LedgerBusy: another process holds it for longer than two seconds.
        LedgerCorrupt: the file is damaged.
    """
    try:
        connection = _connect(f"{Path(path).expanduser().absolute().as_uri()}?mode=rw", uri=True)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise refusal(error, path) from error


def refusal(error: sqlite3.Error, path: str) -> KapelleError:
    """Return what to raise for an error of SQLite: by what the caller can do about it."""
    text = str(error)
    if isinstance(error, sqlite3.OperationalError):
        if "locked" in text or "busy" in text:
            return LedgerBusy(f"Another process holds the ledger {path!r}. Try again, or name another with --db.")
        if "decode" not in text:  # text that is not UTF-8 is damage, though SQLite's driver calls it an operation
            return InvalidInput(
                f"Cannot use the ledger {path!r}: {text}. Check the disk, and the permissions of the file, its folder "
                "and of -wal and -shm beside it; or copy all three to a folder of your own."
            )
    elif isinstance(error, (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.ProgrammingError)):
        return InvalidInput(f"The ledger {path!r} cannot keep this: {text}. Give something smaller or plainer.")
    elif "not a database" in text:
        return InvalidInput(f"{path!r} is no ledger: {text}. Name another file with --db.")
    return LedgerCorrupt(
        f"The ledger {path!r} is damaged: {text}. Put a copy in its place, save what can be read "
        "(sqlite3 OLD .recover | sqlite3 NEW), or name another with --db."
    )


def _connect(target: str | Path, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(
        target, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, uri=uri
    )  # fmt: skip


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to WAL. Of two processes that create a file, SQLite tells one that it is busy without waiting."""
    give_up = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
            time.sleep(_RETRY_S)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _size(path: Path, suffix: str) -> int:
    found = _stat(path.with_name(path.name + suffix))
    return 0 if found is None else found.st_size
