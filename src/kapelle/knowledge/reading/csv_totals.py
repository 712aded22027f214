"""Rows that are no data: totals and footers below or between the rows of a table, told by words and by sums."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from .csv_dialect import NoTable
from .csv_shape import MAX_COMPARED_ROWS, MAX_NOTES, MAX_TOTALS, CsvShape, filled_width, keep_rows, shorten, tell_count
from .number_cells import Cell, Note
from .number_text import read_number

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


class Around:
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
        return (rows, lines) if all(there) else keep_rows(rows, lines, there)

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
            kept = max(filled_width(row), width)
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
            self._notes.append((line, f"left out, as {why}: {shorten(', '.join(filter(None, row)))}"))
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
            notes.append((self._empty_line, f"{tell_count(self._empty, 'row')} without any value left out"))
        if self._short:
            rows, width = tell_count(self._short, "row"), self._shape.width
            said = f"{rows} with fewer cells than the header ({width}); the missing ones count as empty"
            notes.append((self._short_line, said))
        if self._lone and self._lone * 3 <= self._shape.rows:
            notes.append(
                (self._lone_line, f"{tell_count(self._lone, 'row')} with a first cell alone; they count as rows")
            )
        if self._same and self._same * 2 <= self._shape.rows:
            before, line = self._same_lines
            said = (
                f"{tell_count(self._same, 'row')} there twice, word for word (line {line} is line {before}); all count"
            )
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


class Sums:
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
        shown = shorten(", ".join(filter(None, row)))
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
