"""Reads a CSV or TSV file row by row: its columns with their kinds in a first pass, its values in a second.

What does not fit is never made to fit: rows wider than the header, quotes that nothing closes, data where a header
should be, refuse the file with the line. What stands around a table (titles, comments, sources) and rows that add up
others are left out, each with a note. Nothing is held but a thousand rows, whatever the size of the file; a line, a
cell or a row that is too long ends it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import chain, islice, zip_longest

from .csv_dialect import NoTable, read_careful
from .csv_header import find_table, read_lines
from .csv_shape import (
    BYTES_AT_ONCE,
    CHARS_AT_ONCE,
    ELSEWHERE,
    MAX_BLANK_LINES,
    MAX_CELLS,
    MAX_LINES,
    ROWS_AT_A_TIME,
    ROWS_AT_ONCE,
    CsvShape,
    Earn,
    keep_rows,
)
from .csv_totals import Around, Sums
from .number_cells import Cell, ColumnCells, decide_columns
from .number_text import MISSING, read_number


def check_lines(file: io.BufferedIOBase) -> None:
    """Count the lines of a file, which takes a hundredth of the time that reading its rows takes.

    Raises:
        NoTable: there are more than MAX_LINES.
    """
    lines = 0
    while data := file.read(BYTES_AT_ONCE):
        lines += data.count(b"\n") or data.count(b"\r")
    if lines > MAX_LINES:
        raise NoTable(f"it has {lines:,} lines; at most {MAX_LINES:,} are read. {ELSEWHERE}")


def read_shape(file: io.TextIOBase, *, tabs: bool, earn: Earn) -> CsvShape:
    """Return the shape of the table in a file that is open at its beginning.

    Raises:
        NoTable, UnicodeDecodeError: it holds none, or not one that is understood within the limits.
    """
    shape = find_table(file, tabs=tabs)
    notes = list(shape.notes)
    try:
        return _read_columns(file, shape, earn)
    except (_Untidy, csv.Error):
        shape.is_careful, shape.rows, shape.notes = True, 0, notes
        shape.totals.clear()
        return _read_columns(file, shape, earn)


class _Untidy(Exception):
    """Quotes may not mean what a strict parse makes of them."""


def _read_columns(file: io.TextIOBase, shape: CsvShape, earn: Earn) -> CsvShape:
    columns = [ColumnCells() for _ in shape.header]
    around = Around(shape)
    for rows, lines in _chunks(file, shape, earn, around):
        for row, line in zip(rows, lines, strict=True) if around.find_totals(rows, lines) else ():
            if line in shape.totals and around.is_total(row):
                row[:] = [""] * len(row)
        shape.rows += len(rows)
        shape.last_line = lines[-1]
        if shape.rows * shape.width > MAX_CELLS:
            raise NoTable(f"it has more than {MAX_CELLS:,} cells. {ELSEWHERE}")
        for column, cells in zip(columns, zip_longest(*rows, fillvalue=""), strict=False):
            if not column.is_text:
                column.see(cells, lines)
    labels = [label or f"number {position}" for position, label in enumerate(shape.header, start=1)]
    shape.readings = decide_columns(columns, labels, has_commas=shape.dialect.delimiter != ",")
    shape.notes += around.notes()
    shape.notes += [note for reading in shape.readings for note in reading.notes]
    if not shape.rows:
        shape.notes.append((shape.header_line, "it holds a header and no rows"))
    return shape


def read_rows(file: io.TextIOBase, shape: CsvShape, *, earn: Earn) -> Iterator[tuple[list[list[Cell]], list[int]]]:
    """Yield the rows, some at a time, with the line that each begins on. Rows end with their last cell.

    Rows that turn out to add up others are left out; `shape.notes` then says so, when all has been read.
    """
    sums = Sums(shape)
    looked_at = {*shape.totals, shape.last_line}
    for rows, lines in _chunks(file, shape, earn, None):
        begin = 0
        for end in [*(at for at, line in enumerate(lines) if line in looked_at), len(rows)]:
            if begin < end:
                yield _values(rows[begin:end], shape, sums), lines[begin:end]
            if end < len(rows) and not sums.is_added_up(rows[end], lines[end]):
                yield [_values_of_one(rows[end], lines[end], shape, sums)], [lines[end]]
            begin = end + 1
    shape.notes += sums.notes


def _values(rows: list[list[str]], shape: CsvShape, sums: Sums) -> list[list[Cell]]:
    columns = [
        reading.values(cells) for cells, reading in zip(zip_longest(*rows, fillvalue=""), shape.readings, strict=False)
    ]
    sums.add(columns)
    lengths = [len(row) for row in rows]
    whole = zip(*columns, strict=True)
    if len(set(lengths)) <= 1:
        return [list(row) for row in whole]
    return [list(row[:length]) for row, length in zip(whole, lengths, strict=True)]


def _values_of_one(row: list[str], line: int, shape: CsvShape, sums: Sums) -> list[Cell]:
    """The values of a row whose cells the columns were not decided by."""
    values: list[Cell] = []
    for cell, reading, label in zip(row, shape.readings, shape.header, strict=False):
        number = None if reading.kind == "text" or cell.casefold() in MISSING else read_number(cell)
        if reading.kind == "text" or not cell or cell.casefold() in MISSING:
            values.append((cell or None) if reading.kind == "text" else None)
        elif number is None or (reading.mark or ".") not in number.marks:
            raise NoTable(f"line {line} looks like a total, and its {label!r} holds {cell[:40]!r}, which is no number")
        else:
            values.append(number.value(reading.mark or "."))
    sums.add([[value] for value in values])
    return values


def _chunks(
    file: io.TextIOBase, shape: CsvShape, earn: Earn, around: Around | None
) -> Iterator[tuple[list[list[str]], list[int]]]:
    """Yield rows that fit the table. `around` is told of those that do not; None where it was told before."""
    around = around or Around(shape)
    file.seek(0)
    source = _row_source(file, shape, around)
    rows: list[list[str]] = []
    lines: list[int] = []
    weight = filled_rows = filled_cells = chars = blank = 0
    for some, begins in source:
        if not all(some):
            there = [bool(row) for row in some]
            blank += there.count(False)
            if blank > MAX_BLANK_LINES:
                raise NoTable(f"it has more than {MAX_BLANK_LINES:,} blank lines")
            some, begins = keep_rows(some, begins, there)
        cells = list(chain.from_iterable(some))
        stripped = list(map(str.strip, cells))
        if stripped != cells:
            some = [list(map(str.strip, row)) for row in some]
        size = sum(map(len, cells))
        filled = list(map(any, some))
        filled_rows += sum(filled)
        filled_cells += len(cells) - stripped.count("")
        chars += size if stripped == cells else sum(map(len, stripped))
        weight += 20 * len(cells) + size
        if begins and begins[0] <= shape.header_line:
            there = [line > shape.header_line for line in begins]
            some, begins = keep_rows(some, begins, there)
            filled = list(map(any, some))
        if not all(filled):
            around.empty(begins, filled)
            some, begins = keep_rows(some, begins, filled)
        some, begins = around.fit(some, begins)
        rows += some
        lines += begins
        if len(rows) >= ROWS_AT_ONCE or weight >= CHARS_AT_ONCE:
            earn(filled_rows, filled_cells, chars)
            if rows:
                yield rows, lines
            weight = filled_rows = filled_cells = chars = 0
            rows, lines = [], []
    earn(filled_rows, filled_cells, chars)
    if rows:
        yield rows, lines


def _row_source(file: io.TextIOBase, shape: CsvShape, around: Around) -> Iterator[tuple[list[list[str]], list[int]]]:
    """Yield the next rows, so few that long ones fit the memory, with the line that each begins on."""
    above = shape.skipped_lines
    lines = islice(read_lines(file), above, None)
    if shape.is_careful:
        careful = read_careful(lines, shape.dialect, shape.width, lambda line, text: around.sign(line + above, text))
        while some := list(islice(careful, ROWS_AT_A_TIME)):
            yield [row for row, _ in some], [line + above for _, line in some]
        return
    reader = shape.dialect.read(lines)
    delimiter = shape.dialect.delimiter
    while True:
        begins = [reader.line_num + 1 + above]
        rows: list[list[str]] = []
        for row in islice(reader, ROWS_AT_A_TIME):
            rows.append(row)
            begins.append(reader.line_num + 1 + above)
        if not rows:
            return
        if begins[-1] - begins[0] != len(rows):
            for row in rows:
                if any(delimiter in cell and ("\n" in cell or "\r" in cell) for cell in row):
                    raise _Untidy
        yield rows, begins[: len(rows)]
