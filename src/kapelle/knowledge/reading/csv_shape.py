"""What a CSV file's table looks like, and how much of a file is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .csv_dialect import Dialect
from .number_cells import ColumnKind, ColumnReading, Note

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
ELSEWHERE = "SQLite files may be larger, as they are read in place"

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


def filled_width(row: Sequence[str]) -> int:
    width = len(row)
    while width and not row[width - 1]:
        width -= 1
    return width


def keep_rows(rows: list[list[str]], lines: list[int], there: Sequence[bool]) -> tuple[list[list[str]], list[int]]:
    kept = [(row, line) for row, line, keep in zip(rows, lines, there, strict=True) if keep]
    return [row for row, _ in kept], [line for _, line in kept]


def tell_count(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' if count != 1 else ''}"


def join_names(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def shorten(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 60 else text[:60] + "...")
