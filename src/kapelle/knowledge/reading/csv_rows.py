"""Reads a CSV or TSV file row by row: its columns with their kinds in a first pass, its values in a second.

What does not fit is never made to fit: rows wider than the header, quotes that nothing closes, data where a header
should be, refuse the file with the line. What stands around a table (titles, comments, sources) and rows that add up
others are left out, each with a note. Nothing is held but a thousand rows, whatever the size of the file; a line, a
cell or a row that is too long ends it.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice, pairwise, zip_longest

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
from .number_cells import MISSING, Cell, ColumnCells, ColumnKind, ColumnReading, Note, decide_columns, read_number

MAX_COLUMNS = 500
MAX_CELLS = 50_000_000
"""Rows times columns of one file. A filled cell takes two bytes: a file of 100 MB cannot have more of them."""
MAX_LINES = 10_000_000
MAX_BLANK_LINES = 1_000_000
MAX_LINE_CHARS = 1_000_000
MAX_SAMPLE_LINES = 1_000
"""Blank ones among them."""
MAX_TITLE_ROWS = 20
MAX_TOTALS = 1_000
MAX_COMPARED_ROWS = 100_000
"""So many rows are looked at for others that are the same; one takes some hundred bytes."""
MAX_NOTES = 20
ROWS_AT_ONCE = 1_000
ROWS_AT_A_TIME = 40
CHARS_AT_ONCE = 500_000
BYTES_AT_ONCE = 1_000_000

_ELSEWHERE = "SQLite files may be larger, as they are read in place"

Earn = Callable[[int, int, int], None]
"""Is told of rows, cells and characters that have just been read: only of rows and cells that hold something."""


@dataclass(kw_only=True, slots=True)
class CsvShape:
    """What a first pass found out."""

    dialect: Dialect
    header: list[str]
    header_line: int
    skipped_lines: int
    """Lines above the table: `sep=;` and comments."""
    is_careful: bool = False
    """Whether a strict parse stumbles over its quotes."""
    readings: list[ColumnReading] = field(default_factory=list)
    rows: int = 0
    last_line: int = 0
    totals: set[int] = field(default_factory=set)
    """Lines of rows that may add up others."""
    notes: list[Note] = field(default_factory=list)

    @property
    def kinds(self) -> list[ColumnKind]:
        """The kind of each column."""
        return [reading.kind for reading in self.readings]

    @property
    def width(self) -> int:
        """How many columns there are."""
        return len(self.header)


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
        NoTable, UnicodeDecodeError: it holds none, or not one that is understood within the limits.
    """
    shape = _find_table(file, tabs=tabs)
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
    around = _Around(shape)
    for rows, lines in _chunks(file, shape, earn, around):
        for row, line in zip(rows, lines, strict=True) if around.find_totals(rows, lines) else ():
            if line in shape.totals and around.is_total(row):
                row[:] = [""] * len(row)
        shape.rows += len(rows)
        shape.last_line = lines[-1]
        if shape.rows * shape.width > MAX_CELLS:
            raise NoTable(f"it has more than {MAX_CELLS:,} cells. {_ELSEWHERE}")
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
    sums = _Sums(shape)
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


def _values(rows: list[list[str]], shape: CsvShape, sums: _Sums) -> list[list[Cell]]:
    columns = [
        reading.values(cells) for cells, reading in zip(zip_longest(*rows, fillvalue=""), shape.readings, strict=False)
    ]
    sums.add(columns)
    lengths = [len(row) for row in rows]
    whole = zip(*columns, strict=True)
    if len(set(lengths)) <= 1:
        return [list(row) for row in whole]
    return [list(row[:length]) for row, length in zip(whole, lengths, strict=True)]


def _values_of_one(row: list[str], line: int, shape: CsvShape, sums: _Sums) -> list[Cell]:
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


def _find_table(file: io.TextIOBase, *, tabs: bool) -> CsvShape:
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
    for line in islice(_lines(file), MAX_SAMPLE_LINES):
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
            notes.append((at + 1, f"a comment was left out: {_shorten(line)}"))
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
    counts = Counter(_filled_width(row) for row, _ in rows)
    most = max(counts.values())
    usual = max(width for width, count in counts.items() if count == most)
    first, at = rows[0][0], 0
    if usual > 1:
        while at < min(len(rows) - 1, MAX_TITLE_ROWS) and _is_title(rows[at][0], usual):
            at += 1
        first = rows[at][0]
        if _filled_width(first) < usual and len(first) < usual:
            at = _below_titles(rows, at, usual, dialect)
    header, line = rows[at]
    header = header[: max(_filled_width(header), min(len(header), usual))]
    above = [
        (place, f"left out, as it stands above the header: {_shorten(', '.join(filter(None, row)))}")
        for row, place in rows[:at]
    ]
    body = [row for row, _ in rows[at + 1 :]]
    _check_header(header, line, body)
    return header, line, above


def _filled_width(row: Sequence[str]) -> int:
    width = len(row)
    while width and not row[width - 1]:
        width -= 1
    return width


def _is_title(row: Sequence[str], usual: int) -> bool:
    filled = sum(map(bool, row))
    return bool(row[0]) and (filled == 1 or (filled == 2 and usual > 3 and row[0].endswith(":")))


def _below_titles(rows: list[tuple[list[str], int]], at: int, usual: int, dialect: Dialect) -> int:
    """The row of the header where the first that is no title is narrower than the table."""
    for below in range(at + 1, min(len(rows) - 1, at + MAX_TITLE_ROWS)):
        row, after = rows[below][0], rows[below + 1][0]
        if len(row) == usual and all(row) and not any(map(read_number, row)) and any(map(read_number, after)):
            return below
    wide, line = next((row, line) for row, line in rows[at:] if _filled_width(row) >= usual)
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
            raise NoTable(f"line {line} looks like data ({like_data[0][0]!r}), not like a header; add a line of names")
    elif numbers and len(numbers) == len(header):
        raise NoTable(f"line {line} looks like data ({header[0]!r}), not like a header; add a line of names")
    if header and not body and any(map(read_number, header)):
        raise NoTable(
            f"line {line} looks like data ({', '.join(header)[:40]!r}), not like a header; add a line of names"
        )
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
    if (
        dated
        and body
        and any(
            _DATE.fullmatch(cell) and position < len(body[0]) and _DATE.fullmatch(body[0][position])
            for position, cell in enumerate(header)
        )
    ):
        raise NoTable(f"line {line} looks like data ({dated[0]!r}), not like a header; add a line of names")


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
        yield line, f"{len(twice)} name{'s' if len(twice) > 1 else ''} of columns occur more than once: {_join(twice)}"
    empty = [str(position) for position, label in enumerate(header, start=1) if not label]
    if empty:
        yield line, f"{_count(len(empty), 'column')} of the header without a name: {_join(empty)}"


def _chunks(
    file: io.TextIOBase, shape: CsvShape, earn: Earn, around: _Around | None
) -> Iterator[tuple[list[list[str]], list[int]]]:
    """Yield rows that fit the table. `around` is told of those that do not; None where it was told before."""
    around = around or _Around(shape)
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
            some, begins = _keep(some, begins, there)
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
            some, begins = _keep(some, begins, there)
            filled = list(map(any, some))
        if not all(filled):
            around.empty(begins, filled)
            some, begins = _keep(some, begins, filled)
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


def _keep(rows: list[list[str]], lines: list[int], there: Sequence[bool]) -> tuple[list[list[str]], list[int]]:
    kept = [(row, line) for row, line, keep in zip(rows, lines, there, strict=True) if keep]
    return [row for row, _ in kept], [line for _, line in kept]


def _row_source(file: io.TextIOBase, shape: CsvShape, around: _Around) -> Iterator[tuple[list[list[str]], list[int]]]:
    """Yield the next rows, so few that long ones fit the memory, with the line that each begins on."""
    above = shape.skipped_lines
    lines = islice(_lines(file), above, None)
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


def _lines(file: io.TextIOBase) -> Iterator[str]:
    for number, line in enumerate(iter(partial(file.readline, MAX_LINE_CHARS + 1), ""), start=1):
        if len(line) > MAX_LINE_CHARS:
            raise NoTable(f"line {number} has more than {MAX_LINE_CHARS:,} characters")
        if "\0" in line:
            raise NoTable(f"it holds zero bytes (line {number})")
        yield line


_FOOTER = re.compile(
    r"\W{0,3}(?:sources?|notes?|quellen?|anmerkung(?:en)?|hinweis|fußnoten?|footnotes?|remarks?|stand|as of|generated|"
    r"exported|created|printed|report|end of|copyright|last updated|updated|data (?:from|as of)|\d+ (?:rows|records)|"
    r"(?:total|number of) (?:rows|records)|page|seite)\b.*|©.*|\(c\).*|\*.*|--+.*|==+.*",
    re.IGNORECASE | re.DOTALL,
)
_FOOTER_WITH_COLON = re.compile(
    r"\W{0,3}(?:sources?|notes?|quellen?|anmerkung(?:en)?|hinweis|remarks?)\s?:.*", re.I | re.S
)
_TOTAL_WORDS = [
    "total",
    "totals",
    "sum",
    "sums",
    "summe",
    "gesamt",
    "gesamtsumme",
    "insgesamt",
    "zwischensumme",
    "endsumme",
    "endergebnis",
    "ergebnis",
    "somme",
    "suma",
    "totale",
    "totaux",
    "totales",
    "subtotal",
    "subtotals",
    "sub-total",
    "итого",
    "всего",
    "合計",
    "合计",
    "总计",
    "小計",
    "小计",
    "σ",
    "∑",
]
_OTHER_WORDS = [
    "all",
    "overall",
    "average",
    "averages",
    "avg",
    "avg.",
    "mean",
    "median",
    "min",
    "max",
    "minimum",
    "maximum",
    "mittelwert",
    "durchschnitt",
    "schnitt",
    "moyenne",
    "promedio",
    "media",
    "count",
    "anzahl",
    "gt",
]
_TOTAL = re.compile(
    r"[\W_]*(?:(?:grand|sub|net|gross|overall|running|report|page|year|all)[\s_-]*)?"
    rf"(?:{'|'.join(map(re.escape, _TOTAL_WORDS))})[\W_]*",
    re.IGNORECASE,
)
_MAY_BE_TOTAL = re.compile(
    rf"(?:(?:sub-?)?totals?|sum|summe|gesamt\w*|zwischensumme)\b.{{0,60}}|.{{0,60}}\b(?:sub-?)?(?:totals?|summe)\W*|"
    rf"(?:{'|'.join(map(re.escape, _OTHER_WORDS))})[\W_]*",
    re.IGNORECASE,
)
_SOUGHT = frozenset(word + end for word in (*_TOTAL_WORDS, *_OTHER_WORDS) for end in ("", ":", "*", "."))
_SOUGHT_PARTS = ("total", "summe", "gesamt")
_LABEL_COLUMNS = 3


class _Around:
    """Takes from the rows what is no row of the table, and says what it was."""

    def __init__(self, shape: CsvShape) -> None:
        self._shape = shape
        self._notes: list[Note] = []
        self._empty = self._short = self._lone = self._same = self._more = 0
        self._empty_line = self._short_line = self._lone_line = self._signs = 0
        self._same_lines = (0, 0)
        self._known: dict[int, int] = {}
        self._ids: dict[str, int] = {}
        self._repeated: tuple[str, int, int] | None = None
        self._repeated_count = self._id_count = 0

    def sign(self, line: int, text: str) -> None:
        self._signs += 1
        if self._signs <= MAX_NOTES:
            self._notes.append((line, text))

    def empty(self, lines: Sequence[int], filled: Sequence[bool]) -> None:
        for line, is_filled in zip(lines, filled, strict=True):
            if not is_filled:
                self._empty_line = self._empty_line or line
                self._empty += 1

    def fit(self, rows: list[list[str]], lines: list[int]) -> tuple[list[list[str]], list[int]]:
        """Return the rows that are rows of the table.

        Raises:
            NoTable: one has more cells than the header.
        """
        width, header = self._shape.width, self._shape.header
        doubtful = [
            at
            for at, row in enumerate(rows)
            if len(row) != width or (width > 1 and not row[1]) or row[0] == header[0] or row[0][:1] in "#*"
        ]
        if not doubtful:
            return rows, lines
        there = [True] * len(rows)
        for at in doubtful:
            there[at] = self._fits(rows[at], lines[at])
        return (rows, lines) if all(there) else _keep(rows, lines, there)

    def _fits(self, row: list[str], line: int) -> bool:
        width = self._shape.width
        if row == self._shape.header and not any(map(read_number, row)):
            self._left_out(line, "it is the header once more", row)
            return False
        filled = sum(map(bool, row)) if len(row) < 3 or not row[1] else 2
        is_alone = filled == 1 and bool(row[0]) and width > 1
        if (is_alone and _FOOTER.fullmatch(row[0])) or _FOOTER_WITH_COLON.fullmatch(row[0]):
            self._left_out(line, "it is no row of the table", row)
            return False
        if len(row) != width and row[0].startswith("#"):
            self._left_out(line, "it is a comment", row)
            return False
        if len(row) > width:
            kept = max(_filled_width(row), width)
            if kept > width:
                mark = self._shape.dialect.delimiter
                raise NoTable(
                    f"line {line} has {kept} cells, the header {width}: something in it holds a "
                    f"{'tab' if mark == chr(9) else repr(mark)} that is not quoted, or a column has no name"
                )
            del row[width:]
        elif len(row) < width:
            self._short_line = self._short_line or line
            self._short += 1
        elif is_alone and width > 2:
            self._lone_line = self._lone_line or line
            self._lone += 1
        return True

    def find_totals(self, rows: list[list[str]], lines: list[int]) -> bool:
        """Look for rows that may add up others, and for rows and ids that are there twice; whether one may."""
        if len(self._known) < MAX_COMPARED_ROWS:
            self._compare(rows, lines)
        found = False
        for position in range(min(_LABEL_COLUMNS, self._shape.width)):
            column = [row[position] if position < len(row) else "" for row in rows]
            text = "\n".join(column).casefold()
            if not any(part in text for part in _SOUGHT_PARTS) and _SOUGHT.isdisjoint(text.split("\n")):
                continue
            for cell, row, line in zip(column, rows, lines, strict=True):
                if cell and (_TOTAL.fullmatch(cell[:80]) or (not any(row[:position]) and _may_be_total(cell))):
                    self._shape.totals.add(line)
                    found = True
        if len(self._shape.totals) > MAX_TOTALS:
            first = min(self._shape.totals)
            raise NoTable(f"more than {MAX_TOTALS:,} rows look like totals of others (the first is line {first})")
        return found

    def is_total(self, row: Sequence[str]) -> bool:
        """Whether a label of the row says plainly that it adds up others."""
        return any(_TOTAL.fullmatch(cell[:80]) for cell in row[:_LABEL_COLUMNS] if cell)

    def _compare(self, rows: list[list[str]], lines: list[int]) -> None:
        has_ids = _IDENTIFIER.fullmatch(self._shape.header[0]) is not None and self._shape.width > 1
        for row, line in zip(rows, lines, strict=True):
            before = self._known.setdefault(hash(tuple(row)), line)
            if before != line:
                self._same += 1
                self._same_lines = self._same_lines if self._same > 1 else (before, line)
            elif has_ids and row[0]:
                self._id_count += 1
                first = self._ids.setdefault(row[0], line)
                if first != line:
                    self._repeated = self._repeated or (row[0], first, line)
                    self._repeated_count += 1

    def _left_out(self, line: int, why: str, row: Sequence[str]) -> None:
        if len(self._notes) < MAX_NOTES:
            self._notes.append((line, f"left out, as {why}: {_shorten(', '.join(filter(None, row)))}"))
        else:
            self._more += 1

    def notes(self) -> list[Note]:
        """What was left out, and what is to be known of the rows that are there."""
        notes = list(self._notes)
        if self._more:
            notes.append((0, f"{self._more:,} more rows were left out like these"))
        if self._signs > MAX_NOTES:
            notes.append((0, f"{self._signs - MAX_NOTES:,} more quotes that nothing closes were read as signs"))
        if self._empty:
            notes.append((self._empty_line, f"{_count(self._empty, 'row')} without any value left out"))
        if self._short:
            rows, width = _count(self._short, "row"), self._shape.width
            said = f"{rows} with fewer cells than the header ({width}); the missing ones count as empty"
            notes.append((self._short_line, said))
        if self._lone and self._lone * 3 <= self._shape.rows:
            notes.append((self._lone_line, f"{_count(self._lone, 'row')} with a first cell alone; they count as rows"))
        if self._same and self._same * 2 <= self._shape.rows:
            before, line = self._same_lines
            said = f"{_count(self._same, 'row')} there twice, word for word (line {line} is line {before}); all count"
            notes.append((line, said))
        if self._repeated is not None and self._repeated_count * 5 <= self._id_count:
            name, before, line = self._repeated
            notes.append(
                (line, f"{self._shape.header[0]} {name!r} is there twice (line {before} and line {line}); both count")
            )
        return notes


_IDENTIFIER = re.compile(r"(?:.{0,30}[\s_-])?(?:id|nr|no|code|key|sku|number|nummer|ean|isbn)\.?|id", re.IGNORECASE)


def _may_be_total(cell: str) -> bool:
    return len(cell) <= 80 and _MAY_BE_TOTAL.fullmatch(cell) is not None


class _Sums:
    """The sums of the columns so far, to tell rows that add up others."""

    def __init__(self, shape: CsvShape) -> None:
        self._shape = shape
        self._numeric = [at for at, kind in enumerate(shape.kinds) if kind != "text"]
        self._all = dict.fromkeys(self._numeric, 0.0)
        self._since = dict.fromkeys(self._numeric, 0.0)
        self._counts = dict.fromkeys(self._numeric, 0)
        self._rows = self._rows_since = 0
        self.notes: list[Note] = []

    def add(self, columns: Sequence[Sequence[Cell]]) -> None:
        """Take in the values of some rows."""
        if not columns:
            return
        for at in self._numeric:
            if at < len(columns):
                total = float(sum(filter(None, columns[at])))  # type: ignore[arg-type]  # numbers, by its kind
                self._all[at] += total
                self._since[at] += total
                self._counts[at] += len(columns[at]) - columns[at].count(None)
        self._rows += len(columns[0])
        self._rows_since += len(columns[0])

    def is_added_up(self, row: Sequence[str], line: int) -> bool:
        """Whether a row is left out because it adds up those above; notes say what was found."""
        label = next((cell for cell in row if cell and read_number(cell) is None), "")
        numbers = self._numbers(row)
        is_named = any(_TOTAL.fullmatch(cell[:80]) for cell in row[:_LABEL_COLUMNS] if cell)
        what = self._matches(numbers)
        is_last = line >= self._shape.last_line or self._rows + 3 > self._shape.rows
        shown = _shorten(", ".join(filter(None, row)))
        if line in self._shape.totals:
            if what and (is_named or _may_be_total(label)):
                self._say(line, f"left out, as it is {what} of rows above: {shown}")
                self._since = dict.fromkeys(self._numeric, 0.0)
                self._rows_since = 0
                return True
            if is_named and (is_last or not self._rows):
                self._say(
                    line, f"left out, as it is named like a total, though it is not the sum of the rows above: {shown}"
                )
                return True
            if is_named or is_last:
                self._say(line, f"counted as a row like others, though it is named like a total of some: {shown}")
            return False
        if not what or "sum" not in what or line != self._shape.last_line:
            return False
        if not row[0] and self._rows >= 2:
            self._say(line, f"left out, as it has no name and is {what} of rows above: {shown}")
            return True
        if self._rows >= 3 and all(_is_close(number, self._all[at]) for at, number in numbers.items()):
            self._say(line, f"left out, as it is the last row and {what} of all rows above: {shown}")
            return True
        if self._rows >= 3 or len(numbers) > 1:  # of few numbers, or of most of them, it may be one by chance
            self._say(line, f"counted as a row like others, though it is {what} of the rows above: {shown}")
        return False

    def _numbers(self, row: Sequence[str]) -> dict[int, float]:
        numbers: dict[int, float] = {}
        for at in self._numeric:
            number = read_number(row[at]) if at < len(row) and row[at] else None
            mark = self._shape.readings[at].mark or "."
            if number is not None and mark in number.marks and not number.code:
                numbers[at] = float(number.value(mark))
        return numbers

    def _matches(self, numbers: dict[int, float]) -> str:
        """What the numbers of a row are of those above, by most of its columns; empty if nothing."""
        means = {at: self._all[at] / self._counts[at] for at in self._numeric if self._counts[at]}
        for of in (self._all, self._since):
            sums = [at for at, number in numbers.items() if _is_close(number, of[at])]
            same = {*sums, *(at for at, number in numbers.items() if at in means and _is_close(number, means[at]))}
            if 2 * len(same) > len(numbers) and any(numbers[at] for at in same):
                return "the sum" if sums else "the mean"
        return ""

    def _say(self, line: int, text: str) -> None:
        if len(self.notes) < MAX_NOTES:
            self.notes.append((line, text))
        elif len(self.notes) == MAX_NOTES:
            self.notes.append((line, "and more rows further down that are totals, or named like one"))


def _is_close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=0.006 if one % 1 or other % 1 else 1e-6)


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' if count != 1 else ''}"


def _join(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 60 else text[:60] + "...")
