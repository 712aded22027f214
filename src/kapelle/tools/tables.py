"""The tables of a folder - CSV, TSV and SQLite files - as one read-only SQL database.

CSV files are loaded into a database of their own with guessed types; SQLite files are attached read-only, once a
process that may be killed has looked at them (see kapelle.knowledge.reading): what cannot be read within limits is
left out and named. A query is untrusted: it must be one statement that only reads. SQLite's authorizer decides that,
not a look at the text; a progress handler ends what takes too long or too much memory, and SQLite's own limits end
what builds giant values. Files are read again when they have changed. Turns no questions into SQL: see
table_questions.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kapelle.errors import NotFound, RefusedQuery
from kapelle.knowledge import FileReader, FoundFile, ReadingLimits, authorize_reading, look_through
from kapelle.language import quote_text

from .table_loading import (
    DATABASE_ENDINGS,
    MAX_QUERY_CHARS,
    MAX_VALUE_BYTES,
    Lines,
    Loading,
    SkippedTable,
    Table,
    is_database,
)

CSV_ENDINGS = frozenset({".csv", ".tsv"})
MAX_FILE_BYTES = 600_000_000
MAX_FOLDER_BYTES = 1_000_000_000
MAX_FILES = 500
MAX_COMPARED_CHARS = 60
MAX_RESULT_BYTES = 20_000_000
MAX_MEMORY_GROWTH_BYTES = 150_000_000
"""A query may make the process grow by this much. The rest of the process counts too, so it is generous."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableResult:
    """The answer to a query: plain JSON values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool
    """Whether there was more than was asked for."""


class Tables:
    """The tables of a folder, or of the files given, as one read-only database.

    Safe to use from several threads, one query at a time.

    Raises:
        NotFound: a folder or file does not exist.
    """

    def __init__(self, source: Path | str | Sequence[Path | str], *, limits: ReadingLimits | None = None) -> None:
        paths = [source] if isinstance(source, (str, Path)) else list(source)
        self._paths = [Path(path).resolve() for path in paths]
        for path in self._paths:
            if not path.exists():
                raise NotFound(f"There is no file or folder {str(path)!r}. Check the path.")
        self.skipped: tuple[SkippedTable, ...] = ()
        """Files that were left out at the last look, with the reason."""
        self._lock = threading.RLock()
        self._store: sqlite3.Connection | None = None
        self._seen: tuple[tuple[str | int, ...], ...] = ()
        self._tables: tuple[Table, ...] = ()
        self._lines: dict[str, Lines] = {}
        self._generation = 0
        self._limits = limits
        self._holds = 0

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables there are, in the order of their files, those of SQLite files last."""
        with self._lock:
            self._refresh()
            return self._tables

    @property
    def generation(self) -> int:
        """A number that changes when the files have been read again."""
        with self._lock:
            self._refresh()
            return self._generation

    @contextmanager
    def held(self) -> Iterator[None]:
        """Look at the files once, and then at what was found only, while others wait."""
        with self._lock:
            self._refresh()
            self._holds += 1
            try:
                yield
            finally:
                self._holds -= 1

    def query(
        self, sql: str, parameters: Sequence[Any] = (), *, max_rows: int = 1000, timeout_s: float = 5.0
    ) -> TableResult:
        """Return the rows of one reading statement.

        Raises:
            RefusedQuery: it is malformed, more than one statement, wants to change something, or takes too much.
        """
        if len(sql) > MAX_QUERY_CHARS:
            raise RefusedQuery(f"The query is longer than {MAX_QUERY_CHARS:,} characters. Shorten it.")
        with self._lock:
            self._refresh()
            assert self._store is not None
            watch = _Watch(timeout_s)
            self._store.set_progress_handler(watch.must_stop, 1_000)
            try:
                return _fetch(self._store, sql, parameters, max_rows)
            except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, TypeError, MemoryError) as error:
                raise RefusedQuery(watch.reason or self._explain(error)) from error
            finally:
                self._store.set_progress_handler(None, 0)

    def reads(self, sql: str) -> frozenset[tuple[str, str]]:
        """Return (table, column) of all that a statement reads, as SQLite tells it before running it.

        The column is empty where only rows are counted. What a view of ours reads inside is not told.

        Raises:
            RefusedQuery: it is malformed, more than one statement, wants to change something, or reads what is none
                of these tables.
        """
        found: set[tuple[str, str]] = set()
        foreign: list[str] = []
        known = {table.name for table in self.tables}

        def note(action: int, first: str | None, second: str | None, _: str | None, inside: str | None) -> int:
            if action == sqlite3.SQLITE_READ and inside not in known and first is not None:
                if first in known:
                    found.add((first, second or ""))
                elif second:
                    foreign.append(first)
            return authorize_reading(action, first, second)

        with self._lock:
            self._refresh()
            assert self._store is not None
            self._store.set_authorizer(note)
            try:
                self.query(f"EXPLAIN {sql}")
            finally:
                self._store.set_authorizer(authorize_reading)
        if foreign:
            raise RefusedQuery(f"{quote_text(foreign[0])} is none of the tables. {self._offer()}")
        return frozenset(found)

    def place_of(self, table: str, rowid: int) -> str:
        """Return where a row of a table stands: `countries.csv:26`; for SQLite files, the row's number."""
        with self._lock:
            file = next(found.file for found in self._tables if found.name == table)
            lines = self._lines.get(table)
            return f"{file}:{lines.line_of(rowid)}" if lines is not None else f"{file}:row {rowid}"

    def close(self) -> None:
        """Close the database; a later query opens it again."""
        with self._lock:
            if self._store is not None:
                self._store.close()
            self._store, self._seen = None, ()

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refresh(self) -> None:
        if self._holds:
            return
        files, skipped = self._look()
        seen = tuple(
            (found.path, found.mtime_ns, found.size, *(_log_facts(found.path) if is_database(found) else ()))
            for found in files
        )
        if self._store is not None and seen == self._seen:
            return
        self.close()
        loading = Loading(skipped)
        weakref.finalize(self, loading.store.close)
        try:
            with FileReader(self._limits) as reader:
                for found, parts in reader.read([(found, _kind_of(found)) for found in files]):
                    loading.load(found, parts)
        except BaseException:
            loading.store.close()
            raise
        _protect(loading.store)
        self._store, self._seen = loading.store, seen
        self._tables, self._lines, self.skipped = tuple(loading.tables), loading.lines, tuple(loading.skipped)
        self._generation += 1

    def _look(self) -> tuple[list[FoundFile], list[SkippedTable]]:
        files: list[FoundFile] = []
        skipped: list[SkippedTable] = []
        for path in self._paths:
            there, left_out = look_through(
                path,
                CSV_ENDINGS | DATABASE_ENDINGS,
                max_file_bytes=MAX_FILE_BYTES,
                max_folder_bytes=MAX_FOLDER_BYTES,
                max_files=MAX_FILES - len(files),
            )
            files += there
            skipped += left_out
        # SQLite files last: they hold programs, which may use up the time there is.
        return sorted(files, key=is_database), skipped

    def _explain(self, error: Exception) -> str:
        text = str(error)
        missing = re.search(r"no such (table|column): (.+)", text)
        if missing is not None:
            return self._missing(missing[1], missing[2])
        if "one statement" in text:
            return "That is more than one statement. Send one SELECT at a time."
        if "authoriz" in text or "prohibited" in text or "readonly" in text:
            return "The query was refused: the tables can only be read. Send one SELECT statement."
        if "too big" in text or isinstance(error, MemoryError):
            return f"The query builds a value of more than {MAX_VALUE_BYTES:,} bytes. Make it do less."
        return f"The query cannot be run: {text}. {self._offer()}"

    def _missing(self, kind: str, name: str) -> str:
        last = name.strip("\"'` ").rsplit(".", 1)[-1]
        known = [table.name for table in self._tables]
        if kind == "column":
            known = list(dict.fromkeys(column.name for table in self._tables for column in table.columns))
        # Comparing takes the product of the lengths.
        known = [one for one in known if len(one) <= MAX_COMPARED_CHARS]
        near = difflib.get_close_matches(last.lower()[:MAX_COMPARED_CHARS], known, n=1, cutoff=0.6)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"There is no {kind} {quote_text(name)}.{hint} {self._offer()}"

    def _offer(self) -> str:
        shown = [f"{table.name}({', '.join(column.name for column in table.columns[:12])})" for table in self._tables]
        more = f" and {len(shown) - 20} more" if len(shown) > 20 else ""
        return f"There are: {'; '.join(shown[:20])}{more}." if shown else "There are no tables."


def quote_value(value: str | int | float) -> str:
    """Return a value as an SQL literal; a text can hold anything.

    >>> quote_value("Cote d'Ivoire")
    "'Cote d''Ivoire'"
    """
    if isinstance(value, str):
        return "'" + value.replace("\0", "").replace("'", "''") + "'"
    return repr(value) if math.isfinite(value) else "NULL"


class _Watch:
    """Says when a query must stop, and why."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.deadline = time.monotonic() + timeout_s
        self.most_bytes = _resident_bytes() + MAX_MEMORY_GROWTH_BYTES
        self.calls = 0
        self.reason = ""

    def must_stop(self) -> int:
        self.calls += 1
        if time.monotonic() > self.deadline:
            self.reason = f"The query took more than {self.timeout_s:g} seconds. Make it do less."
        elif self.calls % 4 == 0 and _resident_bytes() > self.most_bytes:
            self.reason = f"The query took more than {MAX_MEMORY_GROWTH_BYTES:,} bytes of memory. Make it do less."
        return bool(self.reason)


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as facts:
            return int(facts.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    try:  # the most there ever was: coarser, but it still ends a query that eats everything
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _fetch(store: sqlite3.Connection, sql: str, parameters: Sequence[Any], max_rows: int) -> TableResult:
    cursor = store.execute(sql, tuple(parameters))
    try:
        if cursor.description is None:
            raise ValueError("it returns nothing")
        rows: list[tuple[Any, ...]] = []
        size = 0
        for row in cursor:
            size += sum(len(value) if isinstance(value, (str, bytes)) else 8 for value in row) + 16
            if len(rows) >= max_rows or size > MAX_RESULT_BYTES:
                return TableResult(columns=_names(cursor), rows=tuple(rows), truncated=True)
            rows.append(tuple(_plain_value(value) for value in row))
        return TableResult(columns=_names(cursor), rows=tuple(rows), truncated=False)
    finally:
        cursor.close()


def _names(cursor: sqlite3.Cursor) -> tuple[str, ...]:
    return tuple(str(entry[0]) for entry in cursor.description)


def _plain_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _protect(store: sqlite3.Connection) -> None:
    store.execute("PRAGMA query_only = ON")
    store.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    store.set_authorizer(authorize_reading)


def _kind_of(found: FoundFile) -> str:
    return "database" if is_database(found) else found.ending[1:]


def _log_facts(path: str) -> tuple[int, int]:
    """Return time and size of the log beside an SQLite file, where its last changes are."""
    try:
        facts = os.stat(f"{path}-wal")
    except OSError:
        return 0, 0
    return facts.st_mtime_ns, facts.st_size
