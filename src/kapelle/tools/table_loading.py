"""Loads the files of a folder into one database in memory: names, types, and what was left out."""

from __future__ import annotations

import bisect
import itertools
import re
import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kapelle.knowledge import FoundFile, Skipped, Unreadable, printable_name

DATABASE_ENDINGS = frozenset({".sqlite", ".sqlite3", ".db"})

MAX_COLUMNS = 5_000
"""Of all tables together: what a word of a question is held against."""
MAX_CELLS = 100_000_000
"""Rows times columns of all CSV files together. They are on disk, but loading them takes a minute and more."""
MAX_DATABASES = 8
"""SQLite attaches ten by default."""
MAX_QUERY_CHARS = 100_000
MAX_VALUE_BYTES = 250_000
"""Functions such as `replace` take quadratic time, and the watch cannot interrupt one call: this keeps a call short."""

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
    notes: tuple[str, ...] = ()
    """What is to be known of how it was read: each a sentence that begins with its place, `sales.csv:7: ...`."""

    def column(self, name: str) -> Column | None:
        """Return the column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)


SkippedTable = Skipped


def quote_name(name: str) -> str:
    """Return a name as SQL takes it, whatever it holds.

    >>> quote_name("area km2")
    '"area km2"'
    """
    return '"' + name.replace("\0", "").replace('"', '""') + '"'


def _limit(store: sqlite3.Connection) -> None:
    store.execute("PRAGMA trusted_schema = OFF")
    store.execute("PRAGMA cell_size_check = ON")
    store.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    store.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 4 * MAX_QUERY_CHARS)
    store.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 200)
    store.setlimit(sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 50)
    store.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000)


def is_database(found: FoundFile) -> bool:
    return found.ending in DATABASE_ENDINGS


class Lines:
    """On which line of its file each row begins; holds only where a line's number less the row's changes."""

    def __init__(self) -> None:
        self.rows = 0
        self._from_row = array("I")
        self._shift = array("I")

    def extend(self, lines: list[int]) -> None:
        """Take in the lines of the next rows."""
        is_steady = len(lines) > 1 and lines[-1] - lines[0] == len(lines) - 1
        for row, line in enumerate(lines[:1] if is_steady else lines, start=self.rows + 1):
            if not self._shift or line - row != self._shift[-1]:
                self._from_row.append(row)
                self._shift.append(line - row)
        self.rows += len(lines)

    def line_of(self, row: int) -> int:
        """Return the line of a row; the first is row 1."""
        return row + self._shift[bisect.bisect_right(self._from_row, row) - 1]


class Loading:
    """A database while it is being filled."""

    def __init__(self, skipped: list[SkippedTable]) -> None:
        # "": a file without a name, which holds what the memory should not.
        self.store = sqlite3.connect("", check_same_thread=False, isolation_level=None, uri=True)
        self.store.text_factory = lambda data: data.decode("utf-8", "replace")
        self.store.execute("PRAGMA journal_mode = MEMORY")
        # Where the watch sees it, instead of filling the disk. Set later, it would drop the views made here.
        self.store.execute("PRAGMA temp_store = MEMORY")
        _limit(self.store)
        self.tables: list[Table] = []
        self.lines: dict[str, Lines] = {}
        self.skipped = skipped
        self._names: set[str] = set()
        self._columns = 0
        self._cells = 0
        self._databases = 0

    def load(self, found: FoundFile, parts: Iterator[list[Any]]) -> None:
        """Take in a file; one that cannot be read is skipped, and leaves nothing behind."""
        if is_database(found):
            self._attach(found, parts)
            return
        self.store.execute("SAVEPOINT file")
        try:
            table, lines = self._load_csv(found, parts)
        except (Unreadable, sqlite3.Error) as error:
            reason = str(error) if isinstance(error, Unreadable) else f"not readable as a table: {error}"
            self.store.execute("ROLLBACK TO file")
            self.skipped.append(SkippedTable(file=found.name, reason=reason))
        else:
            self._add(table)
            self._cells += table.rows * len(table.columns)
            self.lines[table.name] = lines
        self.store.execute("RELEASE file")

    def _load_csv(self, found: FoundFile, parts: Iterator[list[Any]]) -> tuple[Table, Lines]:
        _, header, kinds = next(parts)
        columns = tuple(
            Column(name=name, label=label, kind=kind)
            for name, label, kind in zip(safe_names(header), header, kinds, strict=True)
        )
        self._check_room(len(columns))
        name = self._free_name(safe_names([Path(found.name).stem])[0])
        shape = ", ".join(f"{quote_name(column.name)} {column.kind.upper()}" for column in columns)
        self.store.execute(f"CREATE TABLE {quote_name(name)} ({shape})")
        lines = Lines()
        notes: tuple[str, ...] = ()
        for what, rows, *more in parts:
            if what == "notes":
                notes = tuple(f"{found.name}{f':{line}' if line else ''}: {text}" for line, text in rows)
                continue
            (begins,) = more
            lines.extend(begins)
            if self._cells + lines.rows * len(columns) > MAX_CELLS:
                raise Unreadable(f"the CSV files of the folder hold more than {MAX_CELLS:,} cells together")
            # A short row names only its own columns: filling it up here would take longer than reading it.
            for width, alike in itertools.groupby(rows, key=len):
                named = ", ".join(quote_name(column.name) for column in columns[:width])
                marks = ", ".join("?" * width)
                self.store.executemany(
                    f"INSERT INTO {quote_name(name)} ({named}) VALUES ({marks})",  # noqa: S608 - the names are quoted
                    alike,
                )
        notes = tuple(map(printable_name, notes))
        return Table(name=name, file=found.name, columns=columns, rows=lines.rows, notes=notes), lines

    def _attach(self, found: FoundFile, parts: Iterator[list[Any]]) -> None:
        try:
            described = [part for part in parts if self._is_whole(part, found.name)]
            if self._databases >= MAX_DATABASES:
                raise Unreadable(f"more than {MAX_DATABASES} SQLite files")
            schema = f"file_{self._databases + 1}"
            self.store.execute(f"ATTACH ? AS {schema}", (f"{Path(found.path).as_uri()}?mode=ro",))
        except (Unreadable, sqlite3.Error) as error:
            reason = str(error) if isinstance(error, Unreadable) else f"not readable as SQLite: {error}"
            self.skipped.append(SkippedTable(file=found.name, reason=reason))
            return
        self._databases += 1
        for _, source, columns, rows in described:
            try:
                self._check_room(len(columns))
                name = self._free_name(source)
                if name != source or self._is_hidden(source):
                    # A temporary view gives the table a name of its own, whatever other files hold; it has no rowid.
                    self.store.execute(
                        f"CREATE TEMP VIEW {quote_name(name)} AS SELECT * FROM {schema}.{quote_name(source)}"  # noqa: S608
                    )
            except (Unreadable, sqlite3.Error) as error:
                self.skipped.append(SkippedTable(file=f"{found.name}: {printable_name(source)}", reason=str(error)))
                continue
            kinds = tuple(Column(name=column, label=column, kind=_declared_kind(kind)) for column, kind in columns)
            self._add(Table(name=name, file=found.name, columns=kinds, rows=rows))

    def _is_hidden(self, source: str) -> bool:
        """Whether a database that was attached before has something of this name, though it may not be read."""
        earlier = ("main", *(f"file_{number}" for number in range(1, self._databases)))
        return any(
            self.store.execute(
                f"SELECT 1 FROM {schema}.sqlite_schema WHERE lower(name) = lower(?)",  # noqa: S608 - our names
                (source,),
            ).fetchone()
            for schema in earlier
        )

    def _is_whole(self, part: list[Any], file: str) -> bool:
        if part[0] == "part":
            self.skipped.append(SkippedTable(file=f"{file}: {printable_name(part[1])}", reason=part[2]))
        return bool(part[0] == "table")

    def _check_room(self, columns: int) -> None:
        if self._columns + columns > MAX_COLUMNS:
            raise Unreadable(f"the folder's tables have more than {MAX_COLUMNS:,} columns")

    def _add(self, table: Table) -> None:
        self.tables.append(table)
        self._names.add(table.name.lower())
        self._columns += len(table.columns)

    def _free_name(self, name: str) -> str:
        free, number = name, 2
        while free.lower() in self._names or free.lower().startswith("sqlite_"):
            free = f"{name.removeprefix('sqlite_') or 'table'}_{number}"
            number += 1
        return free


def safe_names(labels: Sequence[str]) -> list[str]:
    """Return a plain SQL name for every label, all different.

    >>> safe_names(["Area (km2)", "area km2", "", "2023"])
    ['area_km2', 'area_km2_2', 'column_3', 'c_2023']
    """
    names: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for position, label in enumerate(labels, start=1):
        name = re.sub(r"\W+", "_", label.strip()[:1_000].casefold()).strip("_")[:60] or f"column_{position}"
        if name[0].isdigit():
            name = f"c_{name}"
        free, number = name, numbers.get(name, 2)
        while free in names:
            free = f"{name}_{number}"
            number += 1
        names[free], numbers[name] = None, number
    return list(names)


def _declared_kind(declared: str) -> ColumnKind:
    # SQLite's rules of affinity: https://www.sqlite.org/datatype3.html#determination_of_column_affinity
    upper = declared.upper()
    if "INT" in upper:
        return "integer"
    if any(word in upper for word in ("CHAR", "CLOB", "TEXT", "BLOB")) or not upper:
        return "text"
    return "real"
