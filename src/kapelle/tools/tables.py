"""The tables of a folder - CSV, TSV and SQLite files - as one read-only SQL database.

CSV files are loaded into memory with guessed types; SQLite files are attached read-only. A query is untrusted: it must
be one statement that only reads. SQLite's authorizer decides that, not a look at the text; a progress handler ends what
takes too long or too much memory, and SQLite's own limits end what builds giant values. Files are read again when they
have changed. Turns no questions into SQL: see table_questions.
"""

from __future__ import annotations

import csv
import difflib
import io
import math
import os
import re
import sqlite3
import stat
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kapelle.errors import NotFound, RefusedQuery
from kapelle.knowledge import quote_text

CSV_ENDINGS = frozenset({".csv", ".tsv"})
DATABASE_ENDINGS = frozenset({".sqlite", ".sqlite3", ".db"})
MAX_FILE_BYTES = 100_000_000
MAX_FILES = 500
MAX_COLUMNS = 500
MAX_DATABASES = 8
"""SQLite attaches ten by default."""
MAX_QUERY_CHARS = 100_000
MAX_VALUE_BYTES = 250_000
"""Functions such as `replace` take quadratic time, and the watch cannot interrupt one call: this keeps a call short."""
MAX_RESULT_BYTES = 20_000_000
MAX_MEMORY_GROWTH_BYTES = 512_000_000
"""A query may make the process grow by this much. The rest of the process counts too, so it is generous."""

ColumnKind = Literal["integer", "real", "text"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    """As SQL knows it."""
    label: str
    """As the file's header has it."""
    kind: ColumnKind


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table, and the file it is from."""

    name: str
    file: str
    """Path inside the folder, with forward slashes."""
    columns: tuple[Column, ...]
    rows: int

    def column(self, name: str) -> Column | None:
        """Return the column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class TableResult:
    """The answer to a query: plain JSON values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool
    """Whether there was more than was asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SkippedTable:
    """A file that was not loaded, and why."""

    file: str
    reason: str


class Tables:
    """The tables of a folder, or of the files given, as one read-only database.

    Safe to use from several threads, one query at a time.

    Raises:
        NotFound: a folder or file does not exist.
    """

    def __init__(self, source: Path | str | Sequence[Path | str]) -> None:
        paths = [source] if isinstance(source, (str, Path)) else list(source)
        self._paths = [Path(path).resolve() for path in paths]
        for path in self._paths:
            if not path.exists():
                raise NotFound(f"There is no file or folder {str(path)!r}. Check the path.")
        self.skipped: tuple[SkippedTable, ...] = ()
        """Files that were left out at the last look, with the reason."""
        self._lock = threading.RLock()
        self._store: sqlite3.Connection | None = None
        self._seen: tuple[tuple[str, int, int], ...] = ()
        self._tables: tuple[Table, ...] = ()
        self._lines: dict[str, list[int]] = {}
        self._generation = 0

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables there are, in the order of their files."""
        with self._lock:
            self._refresh()
            return self._tables

    @property
    def generation(self) -> int:
        """A number that changes when the files have been read again."""
        with self._lock:
            self._refresh()
            return self._generation

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

    def place_of(self, table: str, rowid: int) -> str:
        """Return where a row of a table stands: `countries.csv:26`; for SQLite files, the row's number."""
        with self._lock:
            file = next(found.file for found in self._tables if found.name == table)
            lines = self._lines.get(table)
            return f"{file}:{lines[rowid - 1]}" if lines else f"{file}:row {rowid}"

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
        files, skipped = _look_through(self._paths)
        seen = tuple((str(path), facts.st_mtime_ns, facts.st_size) for path, _, facts in files)
        if self._store is not None and seen == self._seen:
            return
        self.close()
        loading = _Loading(skipped)
        for path, name, _ in files:
            if path.suffix.lower() in CSV_ENDINGS:
                loading.load_csv(path, name)
            else:
                loading.attach(path, name)
        _protect(loading.store)
        weakref.finalize(self, loading.store.close)
        self._store, self._seen = loading.store, seen
        self._tables, self._lines, self.skipped = tuple(loading.tables), loading.lines, tuple(loading.skipped)
        self._generation += 1

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
        near = difflib.get_close_matches(last.lower(), known, n=1, cutoff=0.6)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"There is no {kind} {quote_text(name)}.{hint} {self._offer()}"

    def _offer(self) -> str:
        shown = [f"{table.name}({', '.join(column.name for column in table.columns[:12])})" for table in self._tables]
        more = f" and {len(shown) - 20} more" if len(shown) > 20 else ""
        return f"There are: {'; '.join(shown[:20])}{more}." if shown else "There are no tables."


def quote_name(name: str) -> str:
    """Return a name as SQL takes it, whatever it holds.

    >>> quote_name("area km2")
    '"area km2"'
    """
    return '"' + name.replace("\0", "").replace('"', '""') + '"'


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


# SELECT in all its forms, and nothing else: no ATTACH, PRAGMA, transaction, or write.
_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_FORBIDDEN_FUNCTIONS = frozenset(
    {
        *(
            "load_extension",
            "fts3_tokenizer",
            "readfile",
            "writefile",
            "edit",
            "sqlite_log",
        ),  # reach out of the database
        *("printf", "format"),  # printf('%.999999999c', 'x') takes seconds that nothing can interrupt
    }
)


def _authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
    if action not in _ALLOWED or (action == sqlite3.SQLITE_FUNCTION and second in _FORBIDDEN_FUNCTIONS):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _protect(store: sqlite3.Connection) -> None:
    store.execute("PRAGMA trusted_schema = OFF")
    store.execute("PRAGMA temp_store = MEMORY")  # where the watch sees it, instead of filling the disk
    store.execute("PRAGMA query_only = ON")
    store.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    store.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 4 * MAX_QUERY_CHARS)
    store.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 200)
    store.setlimit(sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 50)
    store.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000)
    store.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    store.set_authorizer(_authorize)


def _look_through(paths: Sequence[Path]) -> tuple[list[tuple[Path, str, os.stat_result]], list[SkippedTable]]:
    """Return the files to load, each with its name for people and its facts, and the ones to skip."""
    found: list[tuple[Path, str, os.stat_result]] = []
    skipped: list[SkippedTable] = []
    for root in paths:
        for path in _walk(root):
            if path.suffix.lower() not in CSV_ENDINGS | DATABASE_ENDINGS:
                continue
            name = path.relative_to(root).as_posix() if path != root else path.name
            try:
                leaves = path != root and path.is_symlink() and not path.resolve().is_relative_to(root)
                facts = path.stat()
            except (OSError, RuntimeError) as error:
                skipped.append(SkippedTable(file=name, reason=f"cannot be looked at: {error}"))
                continue
            if leaves:
                skipped.append(SkippedTable(file=name, reason="a link that leads out of the folder"))
            elif not stat.S_ISREG(facts.st_mode):
                skipped.append(SkippedTable(file=name, reason="not a plain file"))
            elif facts.st_size > MAX_FILE_BYTES:
                skipped.append(SkippedTable(file=name, reason=f"larger than {MAX_FILE_BYTES:,} bytes"))
            elif len(found) >= MAX_FILES:
                skipped.append(SkippedTable(file=name, reason=f"more than {MAX_FILES} files"))
            else:
                found.append((path, name, facts))
    return found, skipped


def _walk(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for parent, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(parent, name)


class _Loading:
    """A database while it is being filled."""

    def __init__(self, skipped: list[SkippedTable]) -> None:
        self.store = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None, uri=True)
        self.store.text_factory = lambda data: data.decode("utf-8", "replace")
        self.tables: list[Table] = []
        self.lines: dict[str, list[int]] = {}
        self.skipped = skipped
        self._databases = 0

    def load_csv(self, path: Path, file: str) -> None:
        try:
            header, rows, lines, delimiter = _read_csv(path)
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            self.skipped.append(SkippedTable(file=file, reason=f"not UTF-8 text (line {line}); save it as UTF-8"))
            return
        except (OSError, csv.Error, _NoTable) as error:
            self.skipped.append(SkippedTable(file=file, reason=f"not readable as a table: {error}"))
            return
        names = safe_names(header)
        columns, converted = [], []
        cells = [[row[position] for row in rows] for position in range(len(names))]
        if delimiter == ";":
            cells = _with_decimal_points(cells)
        for position, name in enumerate(names):
            kind, values = _convert(cells[position])
            columns.append(Column(name=name, label=header[position], kind=kind))
            converted.append(values)
        table = self._free_name(safe_names([path.stem])[0])
        shape = ", ".join(f"{quote_name(column.name)} {column.kind.upper()}" for column in columns)
        self.store.execute(f"CREATE TABLE {quote_name(table)} ({shape})")
        marks = ", ".join("?" * len(columns))
        self.store.executemany(
            f"INSERT INTO {quote_name(table)} VALUES ({marks})",  # noqa: S608 - the name is quoted
            zip(*converted, strict=True),
        )
        self.tables.append(Table(name=table, file=file, columns=tuple(columns), rows=len(rows)))
        self.lines[table] = lines

    def attach(self, path: Path, file: str) -> None:
        if self._databases >= MAX_DATABASES:
            self.skipped.append(SkippedTable(file=file, reason=f"more than {MAX_DATABASES} SQLite files"))
            return
        schema = f"file_{self._databases + 1}"
        try:
            self.store.execute(f"ATTACH ? AS {schema}", (f"{path.as_uri()}?mode=ro",))
        except sqlite3.Error as error:
            self.skipped.append(SkippedTable(file=file, reason=f"not readable as SQLite: {error}"))
            return
        self._databases += 1
        try:
            # A temporary view gives each table a name of its own, whatever other files hold.
            for (name,) in self.store.execute(
                f"SELECT name FROM {schema}.sqlite_schema "  # noqa: S608 - numbered by us
                "WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY name"
            ).fetchall():
                self._add_view(schema, name, file)
        except sqlite3.Error as error:
            self.skipped.append(SkippedTable(file=file, reason=f"not readable as SQLite: {error}"))

    def _add_view(self, schema: str, name: str, file: str) -> None:
        source = f"{schema}.{quote_name(name)}"
        table = self._free_name(name)
        try:
            described = self.store.execute(f"PRAGMA {schema}.table_info({quote_name(name)})").fetchall()
            self.store.execute(f"CREATE TEMP VIEW {quote_name(table)} AS SELECT * FROM {source}")  # noqa: S608 - quoted
            count = self.store.execute(f"SELECT count(*) FROM {source}").fetchone()[0]  # noqa: S608 - quoted
        except sqlite3.Error as error:
            self.skipped.append(SkippedTable(file=f"{file}: {name}", reason=f"not readable: {error}"))
            return
        columns = tuple(Column(name=row[1], label=row[1], kind=_declared_kind(row[2])) for row in described)
        self.tables.append(Table(name=table, file=file, columns=columns, rows=count))

    def _free_name(self, name: str) -> str:
        taken = {table.name.lower() for table in self.tables}
        free, number = name, 2
        while free.lower() in taken or free.lower().startswith("sqlite_"):
            free = f"{name.removeprefix('sqlite_') or 'table'}_{number}"
            number += 1
        return free


class _NoTable(ValueError):
    """The file holds no table."""


def _read_csv(path: Path) -> tuple[list[str], list[list[str]], list[int], str]:
    """Return the header, the rows filled up to one length, the line that each row begins on, and the delimiter."""
    text = path.read_bytes().decode("utf-8-sig")
    if "\0" in text:
        raise _NoTable("it holds zero bytes")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header: list[str] | None = None
    rows, lines = [], []
    begins = 1
    for row in reader:
        if row:
            if header is None:
                header = [cell.strip() for cell in row]
            else:
                rows.append([cell.strip() for cell in row])
                lines.append(begins)
        begins = reader.line_num + 1
    if header is None:
        raise _NoTable("it is empty")
    width = max(len(header), *(len(row) for row in rows)) if rows else len(header)
    if width > MAX_COLUMNS:
        raise _NoTable(f"it has more than {MAX_COLUMNS} columns")
    for row in (header, *rows):
        row.extend([""] * (width - len(row)))
    return header, rows, lines, delimiter


def _delimiter(text: str) -> str:
    first = text.lstrip().split("\n", 1)[0]
    return max(",;\t|", key=lambda mark: (first.count(mark), mark == ","))


def safe_names(labels: Sequence[str]) -> list[str]:
    """Return a plain SQL name for every label, all different.

    >>> safe_names(["Area (km2)", "area km2", "", "2023"])
    ['area_km2', 'area_km2_2', 'column_3', 'c_2023']
    """
    names: list[str] = []
    for position, label in enumerate(labels, start=1):
        name = re.sub(r"\W+", "_", label.strip().casefold()).strip("_")[:60] or f"column_{position}"
        if name[0].isdigit():
            name = f"c_{name}"
        free, number = name, 2
        while free in names:
            free = f"{name}_{number}"
            number += 1
        names.append(free)
    return names


_INTEGER = re.compile(r"[-+]?(?:0|[1-9]\d{0,17})")
_REAL = re.compile(r"[-+]?(?:\d{1,15}\.\d+|\.\d+|\d{1,15})(?:[eE][-+]?\d{1,2})?")
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")

_DECIMAL_COMMA = re.compile(r"[-+]?(?:[1-9]\d{0,2}(?:\.\d{3})+|\d{1,15})(?:,\d+)?")


def _with_decimal_points(columns: list[list[str]]) -> list[list[str]]:
    """Return the columns of a file apart by semicolons with `1.234,5` as `1234.5`, where a column holds nothing else.

    Where every comma of the file could separate thousands as well (`1,234`), nothing is changed: that would be a guess.
    """
    decimal = [
        position
        for position, cells in enumerate(columns)
        if any("," in cell for cell in cells) and all(_DECIMAL_COMMA.fullmatch(cell) for cell in cells if cell)
    ]
    clear = any("," in cell and not _GROUPED.fullmatch(cell) for position in decimal for cell in columns[position])
    return [
        [cell.replace(".", "").replace(",", ".") for cell in cells] if clear and position in decimal else cells
        for position, cells in enumerate(columns)
    ]


def _convert(cells: list[str]) -> tuple[ColumnKind, list[Any]]:
    """Return the kind of a column, and its values. One cell that does not fit makes the column a text."""
    filled = [cell for cell in cells if cell]
    # "1,234" is a number only in a column where every comma separates thousands.
    if any("," in cell for cell in filled) and all(
        _GROUPED.fullmatch(cell) or (_REAL.fullmatch(cell) and len(cell.split(".")[0].lstrip("+-")) <= 3)
        for cell in filled
    ):
        numbers = [cell.replace(",", "") for cell in cells]
    else:
        numbers = cells
    filled = [number for number in numbers if number]
    if filled and all(_INTEGER.fullmatch(number) for number in filled):
        return "integer", [int(number) if number else None for number in numbers]
    if filled and all(_REAL.fullmatch(number) and not re.match(r"[-+]?0\d", number) for number in filled):
        return "real", [float(number) if number else None for number in numbers]
    return "text", [cell or None for cell in cells]


def _declared_kind(declared: str) -> ColumnKind:
    # SQLite's rules of affinity: https://www.sqlite.org/datatype3.html#determination_of_column_affinity
    upper = declared.upper()
    if "INT" in upper:
        return "integer"
    if any(word in upper for word in ("CHAR", "CLOB", "TEXT", "BLOB")) or not upper:
        return "text"
    return "real"
