"""Looks at an SQLite file: which tables and views of it can be read, with their columns and how many rows they have.

Runs where it can be killed. Views are programs: each is run once, for a moment, and one that does not end is left out.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

MAX_TABLES = 200
MAX_COLUMNS = 500
VIEW_SECONDS = 0.2
VIEWS_SECONDS = 0.3  # less than a file may take: the tables are to be found all the same
"""Processor time for all views of a file; when it is used up, a view gets the shortest time."""
SHORTEST_VIEW_SECONDS = 0.005
MAX_VALUE_BYTES = 1_000_000

# SELECT in all its forms, and nothing else: no ATTACH, PRAGMA, transaction, or write.
_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_REACHING_OUT = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit", "sqlite_log"})
# printf('%.999999999c', 'x') takes seconds that nothing can interrupt.
_FORBIDDEN_FUNCTIONS = _REACHING_OUT | {"printf", "format"}


def authorize_reading(action: int, first: str | None, second: str | None, *_: object) -> int:
    """Allow a statement to read, and nothing else: an authorizer for `set_authorizer`."""
    if action not in _ALLOWED or (action == sqlite3.SQLITE_FUNCTION and second in _FORBIDDEN_FUNCTIONS):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def read_database(path: Path) -> Iterator[tuple[str, list[tuple[str, str]], int] | tuple[str, str]]:
    """Yield (name, (column, declared type) of all columns, rows) of what can be read, and (name, reason) of the rest.

    Raises:
        sqlite3.Error: the file is no database, or damaged.
    """
    # Without a log beside it, the file is all there is: then SQLite neither looks for one nor makes one.
    log = Path(f"{path}-wal")
    whole = "&immutable=1" if not log.exists() or os.path.getsize(log) == 0 else ""
    store = sqlite3.connect(f"{path.as_uri()}?mode=ro{whole}", uri=True, isolation_level=None)
    try:
        store.text_factory = lambda data: data.decode("utf-8", "replace")
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "temp_store = MEMORY", "query_only = ON"):
            store.execute(f"PRAGMA {pragma}")
        store.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        store.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        names = store.execute(
            "SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' "
            "ORDER BY type, name"  # tables first: views may use up the time
        ).fetchmany(MAX_TABLES + 1)
        seconds_left = VIEWS_SECONDS
        for kind, name in names[:MAX_TABLES]:
            started = time.process_time()
            seconds = min(VIEW_SECONDS, max(seconds_left, SHORTEST_VIEW_SECONDS)) if kind == "view" else None
            yield _read_table(store, name, seconds)
            if kind == "view":
                seconds_left -= time.process_time() - started
        if len(names) > MAX_TABLES:
            yield "others", f"more than {MAX_TABLES} tables and views"
    finally:
        store.close()


def _read_table(
    store: sqlite3.Connection, name: str, seconds: float | None
) -> tuple[str, list[tuple[str, str]], int] | tuple[str, str]:
    quoted = '"' + name.replace('"', '""') + '"'
    if "\0" in name:
        return name, "its name holds zero bytes"
    try:
        described = store.execute(f"PRAGMA table_info({quoted})").fetchall()
        if len(described) > MAX_COLUMNS:
            return name, f"more than {MAX_COLUMNS} columns"
        if seconds is not None:
            deadline = time.process_time() + seconds
            store.set_progress_handler(lambda: time.process_time() > deadline, 1_000)
        store.set_authorizer(authorize_reading)
        rows = store.execute(f"SELECT count(*) FROM {quoted}").fetchone()[0]  # noqa: S608 - quoted
        if seconds is not None:  # counting may skip what reading must compute
            for _ in store.execute(f"SELECT * FROM {quoted}"):  # noqa: S608 - quoted
                pass
        return name, [(str(row[1]), str(row[2] or "")) for row in described], int(rows)
    except sqlite3.Error as error:
        if "interrupted" in str(error):
            return name, "a view that takes too long to read"
        return name, f"not readable: {error}"
    finally:
        store.set_progress_handler(None, 0)
        store.set_authorizer(None)
