"""Reads a CSV or TSV file row by row: its columns with their kinds in a first pass, its values in a second.

Nothing is held but a thousand rows, whatever the size of the file; a line, a cell or a row that is too long ends it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, compress, islice, zip_longest
from typing import Any, Literal

MAX_COLUMNS = 500
MAX_CELLS = 50_000_000
"""Rows times columns of one file. A filled cell takes two bytes: a file of 100 MB cannot have more of them."""
MAX_LINES = 10_000_000
MAX_BLANK_LINES = 1_000_000
MAX_LINE_CHARS = 1_000_000
ROWS_AT_ONCE = 1_000
ROWS_AT_A_TIME = 40
CHARS_AT_ONCE = 500_000
BYTES_AT_ONCE = 1_000_000

_ELSEWHERE = "SQLite files may be larger, as they are read in place"

Earn = Callable[[int, int, int], None]
"""Is told of rows, cells and characters that have just been read: only of rows and cells that hold something."""
ColumnKind = Literal["integer", "real", "text"]
Cell = str | int | float | None


class NoTable(ValueError):
    """The file holds no table that can be read; the message says why."""


@dataclass(kw_only=True, slots=True)
class CsvShape:
    """What a first pass found out."""

    delimiter: str
    header: list[str]
    kinds: list[ColumnKind] = field(default_factory=list)
    readings: list[str] = field(default_factory=list)
    """How the numbers of each column are written: `plain`, `grouped` (1,234.5) or `pointed` (1.234,5)."""
    rows: int = 0


def check_lines(file: io.BufferedIOBase) -> None:
    """Count the lines of a file, which takes a hundredth of the time that reading its rows takes.

    Raises:
        NoTable: there are more than MAX_LINES.
    """
    lines = 0
    while data := file.read(BYTES_AT_ONCE):
        lines += data.count(b"\n") or data.count(b"\r")
    if lines > MAX_LINES:
        raise NoTable(f"it has {lines:,} lines; at most {MAX_LINES:,} are read. {_ELSEWHERE}")


def read_shape(file: io.TextIOBase, *, tabs: bool, earn: Earn) -> CsvShape:
    """Return the shape of the table in a file that is open at its beginning.

    Raises:
        NoTable, csv.Error, UnicodeDecodeError: it holds none, or not one within the limits.
    """
    delimiter = "\t" if tabs else _delimiter(file)
    file.seek(0)
    shape: CsvShape | None = None
    columns: list[_ColumnNumbers] = []
    for rows, _ in _chunks(file, delimiter, earn):
        if shape is None:
            shape = CsvShape(delimiter=delimiter, header=rows[0])
            del rows[0]
        shape.rows += len(rows)
        width = max(map(len, rows), default=0)
        columns += [_ColumnNumbers(decimal_commas=delimiter == ";") for _ in range(width - len(columns))]
        if shape.rows * max(len(columns), len(shape.header)) > MAX_CELLS:
            raise NoTable(f"it has more than {MAX_CELLS:,} cells. {_ELSEWHERE}")
        for column, cells in zip(columns, zip_longest(*rows, fillvalue=""), strict=False):
            if column.may_be_numbers:
                column.see(set(cells))
    if shape is None:
        raise NoTable("it is empty")
    width = max(len(columns), len(shape.header))
    shape.header += [""] * (width - len(shape.header))
    columns += [_ColumnNumbers(decimal_commas=False) for _ in range(width - len(columns))]
    pointed = any(column.is_decimal and column.only_decimal for column in columns)
    for column in columns:
        kind, reading = column.decide(pointed=pointed)
        shape.kinds.append(kind)
        shape.readings.append(reading)
    return shape


def read_rows(file: io.TextIOBase, shape: CsvShape, *, earn: Earn) -> Iterator[tuple[list[list[Cell]], list[int]]]:
    """Yield the rows, some at a time, with the line that each begins on. Rows end with their last cell."""
    file.seek(0)
    first = True
    for rows, lines in _chunks(file, shape.delimiter, earn):
        if first:
            del rows[0], lines[0]
            first = False
        columns: list[list[Cell]] = [
            _values(cells, kind, reading)
            for cells, kind, reading in zip(zip_longest(*rows, fillvalue=""), shape.kinds, shape.readings, strict=False)
        ]
        lengths = [len(row) for row in rows]
        if len(set(lengths)) <= 1:
            yield [list(row) for row in zip(*columns, strict=True)] or [[] for _ in rows], lines
        else:
            yield [list(row[:length]) for row, length in zip(zip(*columns, strict=True), lengths, strict=True)], lines


def _chunks(file: io.TextIOBase, delimiter: str, earn: Earn) -> Iterator[tuple[list[list[str]], list[int]]]:
    reader = csv.reader(_lines(file), delimiter=delimiter)
    rows: list[list[str]] = []
    lines: list[int] = []
    weight = filled_rows = filled_cells = chars = blank = 0
    while True:
        some, begins = _some_rows(reader)
        if not some:
            break
        widest = max(map(len, some))
        if widest > MAX_COLUMNS:
            line = next(line for row, line in zip(some, begins, strict=True) if len(row) > MAX_COLUMNS)
            raise NoTable(f"it has more than {MAX_COLUMNS} columns (line {line})")
        if not all(some):
            there = [bool(row) for row in some]
            blank += there.count(False)
            if blank > MAX_BLANK_LINES:
                raise NoTable(f"it has more than {MAX_BLANK_LINES:,} blank lines")
            some, begins = list(compress(some, there)), list(compress(begins, there))
        cells = list(chain.from_iterable(some))
        stripped = list(map(str.strip, cells))
        if stripped != cells:
            some = [list(map(str.strip, row)) for row in some]
        size = sum(map(len, cells))
        filled_rows += sum(map(any, some))
        filled_cells += len(cells) - stripped.count("")
        chars += size if stripped == cells else sum(map(len, stripped))
        weight += 20 * len(cells) + size
        rows += some
        lines += begins
        if len(rows) >= ROWS_AT_ONCE or weight >= CHARS_AT_ONCE:
            earn(filled_rows, filled_cells, chars)
            yield rows, lines
            weight = filled_rows = filled_cells = chars = 0
            rows, lines = [], []
    if rows:
        earn(filled_rows, filled_cells, chars)
        yield rows, lines


def _some_rows(reader: Any) -> tuple[list[list[str]], list[int]]:
    """Return the next rows, so few that long ones fit the memory, with the line that each begins on."""
    begins = [reader.line_num + 1]
    rows: list[list[str]] = []
    for row in islice(reader, ROWS_AT_A_TIME):
        rows.append(row)
        begins.append(reader.line_num + 1)
    return rows, begins[: len(rows)]


def _lines(file: io.TextIOBase) -> Iterator[str]:
    for number, line in enumerate(iter(partial(file.readline, MAX_LINE_CHARS + 1), ""), start=1):
        if len(line) > MAX_LINE_CHARS:
            raise NoTable(f"line {number} has more than {MAX_LINE_CHARS:,} characters")
        if "\0" in line:
            raise NoTable(f"it holds zero bytes (line {number})")
        yield line


def _delimiter(file: io.TextIOBase) -> str:
    first = next((line for line in islice(_lines(file), 1_000) if line.strip()), "")
    return max(",;\t|", key=lambda mark: (first.count(mark), mark == ","))


_INTEGER = re.compile(r"[-+]?(?:0|[1-9]\d{0,17})")
_REAL = re.compile(r"[-+]?(?:\d{1,15}\.\d+|\.\d+|\d{1,15})(?:[eE][-+]?\d{1,2})?")
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_DECIMAL_COMMA = re.compile(r"[-+]?(?:[1-9]\d{0,2}(?:\.\d{3})+|\d{1,15})(?:,\d+)?")
_LEADING_ZERO = re.compile(r"[-+]?0\d")


class _ColumnNumbers:
    """Which kinds of numbers a column can still hold. One cell that does not fit makes it a text."""

    def __init__(self, *, decimal_commas: bool) -> None:
        self.filled = self.commas = False
        self.integer = self.real = True
        # "1,234" is a number only in a column where every comma separates thousands.
        self.grouped = self.grouped_integer = self.grouped_real = True
        # "1.234,5" is one only in a file apart by semicolons, in a column that holds nothing else.
        self.decimal = self.pointed_integer = self.pointed_real = decimal_commas
        self.only_decimal = False
        """Whether a comma of it cannot separate thousands."""

    @property
    def may_be_numbers(self) -> bool:
        """Whether more cells can change what is known."""
        return self.integer or self.real or self.grouped or self.decimal or not self.filled

    @property
    def is_decimal(self) -> bool:
        """Whether all its numbers can be read with decimal commas, and one has a comma."""
        return self.decimal and self.commas

    def see(self, cells: set[str]) -> None:
        """Take in some cells."""
        cells.discard("")
        for cell in cells:
            self.filled = True
            comma = "," in cell
            self.commas = self.commas or comma
            if self.integer or self.real:
                self.integer, self.real = _fits(cell, self.integer, self.real)
            if self.grouped:
                groups = comma and _GROUPED.fullmatch(cell) is not None
                self.grouped = groups or (
                    _REAL.fullmatch(cell) is not None and len(cell.split(".")[0].lstrip("+-")) <= 3
                )
                self.grouped_integer, self.grouped_real = _fits(
                    cell.replace(",", ""), self.grouped_integer, self.grouped_real
                )
            if self.decimal:
                self.decimal = _DECIMAL_COMMA.fullmatch(cell) is not None
                self.only_decimal = self.only_decimal or (comma and _GROUPED.fullmatch(cell) is None)
                self.pointed_integer, self.pointed_real = _fits(
                    _with_decimal_point(cell), self.pointed_integer, self.pointed_real
                )

    def decide(self, *, pointed: bool) -> tuple[ColumnKind, str]:
        """Return the kind, and how its numbers are written. `pointed`: whether the file has clear decimal commas."""
        if pointed and self.is_decimal:
            return _kind(self.filled, self.pointed_integer, self.pointed_real), "pointed"
        if self.commas and self.grouped:
            return _kind(self.filled, self.grouped_integer, self.grouped_real), "grouped"
        return _kind(self.filled, self.integer, self.real), "plain"


def _fits(cell: str, integer: bool, real: bool) -> tuple[bool, bool]:
    return (
        integer and _INTEGER.fullmatch(cell) is not None,
        real and _REAL.fullmatch(cell) is not None and _LEADING_ZERO.match(cell) is None,
    )


def _kind(filled: bool, integer: bool, real: bool) -> ColumnKind:
    if filled and integer:
        return "integer"
    return "real" if filled and real else "text"


def _with_decimal_point(cell: str) -> str:
    return cell.replace(".", "").replace(",", ".")


def _values(cells: tuple[Any, ...], kind: ColumnKind, reading: str) -> list[Cell]:
    if reading == "pointed":  # also where it makes a text: the file writes its numbers so
        cells = tuple(map(_with_decimal_point, cells))
    if kind == "text":
        return [cell or None for cell in cells]
    if reading == "grouped":
        cells = tuple(cell.replace(",", "") for cell in cells)
    convert = int if kind == "integer" else float
    return [convert(cell) if cell else None for cell in cells]
