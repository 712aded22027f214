"""Where the table of a CSV file begins: titles above it, its header, and what is in doubt about it."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice, pairwise

from .csv_dialect import (
    SAMPLE_CHARS,
    SAMPLE_LINES,
    Dialect,
    FoundDialect,
    NoTable,
    find_dialect,
    read_careful,
    split_line,
)
from .csv_shape import (
    MAX_COLUMNS,
    MAX_LINE_CHARS,
    MAX_SAMPLE_LINES,
    MAX_TITLE_ROWS,
    CsvShape,
    filled_width,
    join_names,
    shorten,
    tell_count,
)
from .number_cells import Note
from .number_text import read_number


def find_table(file: io.TextIOBase, *, tabs: bool) -> CsvShape:
    """Return dialect, header and what stands above, from the first lines."""
    sample, is_cut = _sample(file)
    skipped, mark, notes = _above(sample)
    inner = sample[skipped:]
    begin = next((line.strip() for line in inner if line.strip()), "")
    if not begin:
        raise NoTable("it is empty")
    if _NO_CSV.match(begin):
        raise NoTable("it begins like JSON, HTML or XML, not like a table")
    found = FoundDialect(dialect=Dialect(delimiter=mark)) if mark else find_dialect(inner, is_cut=is_cut, tabs=tabs)
    rows = _sample_rows(inner, found.dialect, skipped)
    if skipped and sample[skipped - 1].startswith("#") and len(rows) > 0:
        named = [cell.strip() for cell in split_line(sample[skipped - 1].rstrip("\r\n"), found.dialect)[0]]
        widths = {len(row) for row, _ in rows}
        if len(named) > 1 and widths == {len(named)} and any(map(read_number, rows[0][0])):
            rows.insert(0, ([named[0].lstrip("# "), *named[1:]], skipped))
            skipped -= 1
            notes = [note for note in notes if note[0] != skipped + 1]
    header, line, more = _find_header(rows, found.dialect)
    notes += more
    if found.rival:
        shown = "tab" if found.rival == "\t" else repr(found.rival)
        chosen = "tab" if found.dialect.delimiter == "\t" else repr(found.dialect.delimiter)
        notes.append((line, f"its cells were told apart by {chosen}; {shown} would fit as well"))
    if len(header) > MAX_COLUMNS:
        raise NoTable(f"it has more than {MAX_COLUMNS} columns (line {line})")
    notes += _header_notes(header, line)
    return CsvShape(dialect=found.dialect, header=header, header_line=line, skipped_lines=skipped, notes=notes)


_NO_CSV = re.compile(r"[{\[]\s*(?:[\"{\[]|$)|<[a-z!?]", re.IGNORECASE)


def _sample(file: io.TextIOBase) -> tuple[list[str], bool]:
    file.seek(0)
    lines: list[str] = []
    chars = filled = 0
    for line in islice(read_lines(file), MAX_SAMPLE_LINES):
        lines.append(line)
        chars += len(line)
        filled += bool(line.strip())
        if filled >= SAMPLE_LINES or chars > SAMPLE_CHARS:
            break
    return lines, bool(file.read(1))


_SEPARATOR = re.compile(r"\"?sep=(.)\"?\s*", re.IGNORECASE)


def _above(sample: Sequence[str]) -> tuple[int, str, list[Note]]:
    """Return how many lines stand above the table, the delimiter that they name, and notes."""
    text = "".join(sample)[:SAMPLE_CHARS]
    if sum(1 for char in text if char < " " and char not in "\t\r\n\f\x1a\x1f") > len(text) / 200:
        raise NoTable("it holds control characters, as a binary file does")
    at, mark, notes = 0, "", list[Note]()
    while at < len(sample):
        line = sample[at]
        if at == 0 and (found := _SEPARATOR.fullmatch(line)) is not None:
            mark = found[1]
        elif line.startswith("#"):
            notes.append((at + 1, f"a comment was left out: {shorten(line)}"))
        elif line.strip():
            break
        at += 1
    blank = at
    while blank and not sample[blank - 1].strip():
        blank -= 1
    return blank, mark, notes


def _sample_rows(sample: Sequence[str], dialect: Dialect, above: int) -> list[tuple[list[str], int]]:
    rows: list[tuple[list[str], int]] = []
    reader = dialect.read(sample)
    begins = 1
    try:
        for row in reader:
            rows.append(([cell.strip() for cell in row], begins + above))
            begins = reader.line_num + 1
    except csv.Error:
        widths = Counter(len(split_line(line.rstrip("\r\n"), dialect)[0]) for line in sample if line.strip())
        rows = []
        try:
            for row, line in read_careful(sample, dialect, widths.most_common(1)[0][0], lambda *_: None):
                rows.append(([cell.strip() for cell in row], line + above))
        except NoTable:
            if not rows:
                raise
    return [(row, line) for row, line in rows if any(row)]


def _find_header(rows: list[tuple[list[str], int]], dialect: Dialect) -> tuple[list[str], int, list[Note]]:
    """Return the header, its line, and notes of what stands above it.

    Raises:
        NoTable: the first rows do not show one.
    """
    if not rows:
        raise NoTable("it is empty")
    counts = Counter(filled_width(row) for row, _ in rows)
    most = max(counts.values())
    usual = max(width for width, count in counts.items() if count == most)
    first, at = rows[0][0], 0
    if usual > 1:
        while at < min(len(rows) - 1, MAX_TITLE_ROWS) and _is_title(rows[at][0], usual):
            at += 1
        first = rows[at][0]
        if filled_width(first) < usual and len(first) < usual:
            at = _below_titles(rows, at, usual, dialect)
    header, line = rows[at]
    header = header[: max(filled_width(header), min(len(header), usual))]
    above = [
        (place, f"left out, as it stands above the header: {shorten(', '.join(filter(None, row)))}")
        for row, place in rows[:at]
    ]
    body = [row for row, _ in rows[at + 1 :]]
    _check_header(header, line, body)
    return header, line, above


def _is_title(row: Sequence[str], usual: int) -> bool:
    filled = sum(map(bool, row))
    return bool(row[0]) and (filled == 1 or (filled == 2 and usual > 3 and row[0].endswith(":")))


def _below_titles(rows: list[tuple[list[str], int]], at: int, usual: int, dialect: Dialect) -> int:
    """The row of the header where the first that is no title is narrower than the table."""
    for below in range(at + 1, min(len(rows) - 1, at + MAX_TITLE_ROWS)):
        row, after = rows[below][0], rows[below + 1][0]
        if len(row) == usual and all(row) and not any(map(read_number, row)) and any(map(read_number, after)):
            return below
    wide, line = next((row, line) for row, line in rows[at:] if filled_width(row) >= usual)
    raise NoTable(
        f"line {line} has {len(wide)} cells, the header in line {rows[at][1]} {len(rows[at][0])}: "
        f"name all columns, or quote cells that hold {dialect.delimiter!r}"
    )


def _check_header(header: Sequence[str], line: int, body: Sequence[Sequence[str]]) -> None:
    """Raise NoTable where the header looks like data, or goes on in the next row."""
    numbers = [number for number in map(read_number, header) if number is not None]
    if numbers and body:
        like_data = []
        for position, cell in enumerate(header):
            below = [row[position] for row in body[:20] if position < len(row) and row[position]]
            if read_number(cell) is not None and below and all(read_number(one) is not None for one in below):
                like_data.append((cell, below))
        if like_data and not _is_series(header, like_data):
            raise _looks_like_data(line, like_data[0][0])
    elif numbers and len(numbers) == len(header):
        raise _looks_like_data(line, header[0])
    elif numbers and not body:
        raise _looks_like_data(line, ", ".join(header)[:40])
    if len(body) > 1 and not all(header):
        second, third = body[0], body[1]
        fills = any(not head and below for head, below in zip(header, second, strict=False))
        under = any(
            read_number(cell) is None and read_number(below) is not None
            for cell, below in zip(second, third, strict=False)
            if cell
        )
        if fills and under and not any(map(read_number, second)):
            raise NoTable(f"it has two header rows (line {line} and the next); write one")
    dated = [cell for cell in header if _DATE.fullmatch(cell)]
    first: Sequence[str] = body[0] if body else ()
    if any(_DATE.fullmatch(head) and _DATE.fullmatch(cell) for head, cell in zip(header, first, strict=False)):
        raise _looks_like_data(line, dated[0])


def _looks_like_data(line: int, shown: str) -> NoTable:
    return NoTable(f"line {line} looks like data ({shown!r}), not like a header; add a line of names")


_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ].{1,20})?|\d{1,2}[./]\d{1,2}[./]\d{2,4}")

_YEAR = re.compile(r"(?:1[6-9]|20|21)\d\d")


def _is_series(header: Sequence[str], like_data: Sequence[tuple[str, Sequence[str]]]) -> bool:
    """Whether the numbers in a header name its columns: years, or 1, 2, 3."""
    named = [cell for cell in header if read_number(cell) is not None]
    if all(map(_YEAR.fullmatch, named)):
        return any(not _YEAR.fullmatch(one) for _, below in like_data for one in below) or len(named) > 2
    if not all(cell.isdigit() for cell in named) or len(named) < 3:
        return False
    steps = {int(after) - int(before) for before, after in pairwise(named)}
    return len(steps) == 1 and steps != {0}


def _header_notes(header: Sequence[str], line: int) -> Iterator[Note]:
    named = Counter(label.casefold() for label in header if label)
    twice = [label for label, count in named.items() if count > 1]
    if twice:
        yield (
            line,
            f"{len(twice)} name{'s' if len(twice) > 1 else ''} of columns occur more than once: {join_names(twice)}",
        )
    empty = [str(position) for position, label in enumerate(header, start=1) if not label]
    if empty:
        yield line, f"{tell_count(len(empty), 'column')} of the header without a name: {join_names(empty)}"


def read_lines(file: io.TextIOBase) -> Iterator[str]:
    for number, line in enumerate(iter(partial(file.readline, MAX_LINE_CHARS + 1), ""), start=1):
        if len(line) > MAX_LINE_CHARS:
            raise NoTable(f"line {number} has more than {MAX_LINE_CHARS:,} characters")
        if "\0" in line:
            raise NoTable(f"it holds zero bytes (line {number})")
        yield line
