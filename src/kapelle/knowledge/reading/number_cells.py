"""How the numbers of a table are written: which cells are numbers, what each can mean, and what a column holds.

`1.234` is a number with a decimal point, or one thousand and some with a German mark; nothing in the cell says which.
So a cell tells what it can be, a column collects that, and the file decides on its decimal mark once, by the cells that
can be read in one way only. A column in which a doubt is left stays text, which nothing adds up, and a note names the
line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .number_text import MAX_DIGITS, MAX_NUMBER_CHARS, MISSING, Mark, read_number

ColumnKind = Literal["integer", "real", "text"]
Cell = str | int | float | None
Note = tuple[int, str]
"""A line of the file, 0 for the whole of it, and what is to be known about it."""

EXACT_DIGITS = 15
"""A float keeps so many digits of any decimal number."""
ENOUGH_TEXTS = 50
"""Where so many cells of a column are texts, and most of it, it is one of texts."""
SHOWN_CHARS = 30

_SCALES = frozenset(["k", "K", "M", "mn", "mio", "Mio", "Mio.", "bn", "B", "Mrd", "Mrd."])
"""Thousands and millions: a sum of these means nothing without them."""
_SLASHED_DATE = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](?:\d{4}|\d\d)")
_STARTS_WITH_NUMBER = re.compile(r"[-+(~<>≈$€£ ]{0,3}\d")
_MEASURED = re.compile(r"[-+]?\d[\d.,]*(?: [^\W\d]{1,20}\.?|[^\W\d]{2,20}\.?)")
_DIALLED = re.compile(r"(?!\d{4}[-/]\d)[+(]?\d[\d ()/-]{6,}\d")
_PLAIN_REAL = frozenset("0123456789.-\n")
_OPEN_CODE = re.compile(r"(?m)^-?0\d")
_CLEAR_POINT = re.compile(r"(?m)^-?(?:0|\d{4,18})?\.\d|\.(?:\d\d?|\d{4,18})$")
_UNCLEAR_POINT = re.compile(r"(?m)^-?[1-9]\d{0,2}\.\d{3}$")


@dataclass(slots=True)
class _Seen:
    """The first cell of a sort, for a note."""

    line: int
    cell: str

    def __str__(self) -> str:
        shown = self.cell if len(self.cell) <= SHOWN_CHARS else self.cell[:SHOWN_CHARS] + "..."
        return f"{shown!r} in line {self.line}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnReading:
    """What a column is, and how its cells become values."""

    kind: ColumnKind
    mark: Mark | None = None
    """None where plain digits and points are all there is, which Python reads by itself."""
    notes: tuple[Note, ...] = ()

    def values(self, cells: Iterable[str]) -> list[Cell]:
        """Return the values of some cells; None where there is none."""
        if self.kind == "text":
            return [cell or None for cell in cells]
        convert: Callable[[str], int | float] = int if self.kind == "integer" else float
        if self.mark is None:
            return [convert(cell) if cell else None for cell in cells]
        known: dict[str, Cell] = {"": None}
        values: list[Cell] = []
        for cell in cells:
            if cell not in known:
                number = None if cell.casefold() in MISSING else read_number(cell)
                known[cell] = None if number is None else convert(number.value(self.mark))  # type: ignore[arg-type]  # int or float
            values.append(known[cell])
        return values


@dataclass(slots=True)
class ColumnCells:
    """Collects what the cells of one column can be."""

    filled: bool = False
    is_text: bool = False
    """More cells change nothing."""
    is_plain: bool = True
    fractions: set[str] = field(default_factory=set)
    """Decimal marks with which a cell is no integer; `e` where one has an exponent."""
    numbers: int = 0
    texts: int = 0
    measured: int = 0
    """Texts that are a number and a word, as 5 boxes, or digits in groups, as telephone numbers."""
    longest: int = 0
    missing: int = 0
    large_plain: _Seen | None = None
    """An integer above 999 without groups."""
    first: dict[str, _Seen] = field(default_factory=dict)
    """The first of each sort: point, comma (readable with this mark only), unclear (with both), text, code, long,
    missing; and `unit:...` for each unit, also for none."""
    unclear_marks: set[str] = field(default_factory=set)
    why_code: str = ""
    dates: list[bool] = field(default_factory=lambda: [False, False, False])
    """Whether there are dates such as 3/4/2024, one whose day comes first, one whose month does."""
    leading_zeros: set[int] = field(default_factory=set)

    def see(self, cells: Sequence[str], lines: Sequence[int]) -> None:
        """Take in some cells; `lines`: on which each stands."""
        if self.is_text:
            return
        distinct = set(cells)
        distinct.discard("")
        if not distinct:
            return
        self.filled = True
        if not self._see_plain(distinct, cells, lines):
            self.is_plain = False
            for cell in sorted(distinct, key=cells.index) if len(distinct) <= ENOUGH_TEXTS else distinct:
                self._see_one(cell, cells, lines)
            self.is_text = self.texts > ENOUGH_TEXTS and self.texts > 2 * self.numbers

    def _see_plain(self, distinct: set[str], cells: Sequence[str], lines: Sequence[int]) -> bool:
        """Take in cells that are integers, or decimal numbers with a point, as Python writes them: all at once."""
        try:
            integers = list(map(int, distinct))
        except ValueError:
            integers = []
        if integers:
            largest = max(max(integers), -min(integers))
            if largest < 10**MAX_DIGITS and set(map(str, integers)) == distinct:
                self.numbers += len(distinct)
                self.longest = max(self.longest, len(str(largest)))
                self.first.setdefault("unit:", _Seen(lines[0], cells[0]))
                if largest > 999 and self.large_plain is None:
                    self.large_plain = self._place(str(max(integers, key=abs)), cells, lines)
                return True
            return False
        text = "\n".join(distinct)
        if not _PLAIN_REAL.issuperset(text) or max(map(len, distinct)) > MAX_DIGITS or _OPEN_CODE.search(text):
            return False
        try:
            list(map(float, distinct))
        except ValueError:
            return False
        self.numbers += len(distinct)
        self.fractions.add(".")
        if max(map(len, distinct)) > EXACT_DIGITS:
            self.longest = max(self.longest, *(len(cell.split(".")[0].lstrip("-")) for cell in distinct))
        self.first.setdefault("unit:", _Seen(lines[0], cells[0]))
        if "point" not in self.first and _CLEAR_POINT.search(text) is not None:
            self._note("point", next(filter(_CLEAR_POINT.search, cells)), cells, lines)
        if "unclear" not in self.first and _UNCLEAR_POINT.search(text) is not None:
            self._note("unclear", next(filter(_UNCLEAR_POINT.search, cells)), cells, lines)
            self.unclear_marks.add(".")
        return True

    def _see_one(self, cell: str, cells: Sequence[str], lines: Sequence[int]) -> None:
        if cell.casefold() in MISSING:
            self.missing += sum(1 for other in cells if other == cell)
            self._note("missing", cell, cells, lines)
            return
        number = read_number(cell)
        if number is None:
            self.texts += 1
            self._note("text", cell, cells, lines)
            self.measured += _MEASURED.fullmatch(cell[:MAX_NUMBER_CHARS]) is not None
            self.measured += _DIALLED.fullmatch(cell[:MAX_NUMBER_CHARS]) is not None
            if _STARTS_WITH_NUMBER.match(cell):
                self._note("partly", cell, cells, lines)
                if len(cell) <= MAX_NUMBER_CHARS and (date := _SLASHED_DATE.match(cell)) is not None:
                    self.dates[0] = True
                    self.dates[1] = self.dates[1] or int(date[1]) > 12
                    self.dates[2] = self.dates[2] or int(date[2]) > 12
            return
        self.numbers += 1
        body = number.text.lstrip("-")
        if number.code:
            self._note("code", cell, cells, lines)
            self.why_code = self.why_code or number.code
        elif number.differs:
            self._note("unclear", cell, cells, lines)
            self.unclear_marks.add("." if "." in body else ",")
        elif number.marks != ".,":
            self._note("point" if number.marks == "." else "comma", cell, cells, lines)
        if body.isdigit():
            self.longest = max(self.longest, len(body))
            if len(body) > 3 and self.large_plain is None:
                self.large_plain = self._place(cell, cells, lines)
        self.fractions.update(mark for mark in number.marks if mark in body)
        if number.exponent:
            self.fractions.add("e")
        self._note(f"unit:{number.unit}", cell, cells, lines)
        self.leading_zeros.add(len(cell))

    def _note(self, sort: str, cell: str, cells: Sequence[str], lines: Sequence[int]) -> None:
        if sort not in self.first:
            self.first[sort] = self._place(cell, cells, lines)

    def _place(self, cell: str, cells: Sequence[str], lines: Sequence[int]) -> _Seen:
        try:
            return _Seen(lines[cells.index(cell)], cell)
        except ValueError:  # -0, which Python writes as 0
            return _Seen(lines[0], cell)

    def decide(self, label: str, mark: Mark | None, conflict: str) -> ColumnReading:
        """Return what the column is.

        Args:
            label: Its name, for notes.
            mark: The file's decimal mark, where something shows it.
            conflict: What shows both marks; empty if nothing does.
        """
        first, name = self.first, f"column {label!r}"
        if not self.filled or (self.numbers == 0 and self.measured < self.texts):
            return ColumnReading(kind="text", notes=self._date_notes(name))
        if self.texts:
            return ColumnReading(kind="text", notes=(*self._text_notes(name), *self._date_notes(name)))
        if "code" in first:
            same_length = len(self.leading_zeros) == 1 and not self.longest
            is_plain_code = self.why_code == "begins with a zero" and (same_length or self._is_fixed_width())
            why = f"{name} is left as text: {first['code']} {self.why_code}"
            return _text(first["code"].line, why, is_silent=is_plain_code)
        units = {sort[5:]: seen for sort, seen in first.items() if sort.startswith("unit:")}
        if len(units) > 1:
            (one, here), (other, there) = list(units.items())[:2]
            shown = f"{here} is in {one or 'no unit'}, {there} in {other or 'no unit'}"
            return _text(there.line, f"{name} mixes units and is left as text: {shown}")
        scale = next(iter(units), "")
        if scale in _SCALES:
            return _text(units[scale].line, f"{name} is left as text: {units[scale]} ends with {scale!r}, a scale")
        if "point" in first and "comma" in first:
            shown = f"{first['point']} has a decimal point, {first['comma']} a decimal comma"
            return _text(max(first["point"].line, first["comma"].line), f"{name} is left as text: {shown}")
        return self._decide_mark(name, mark, conflict)

    def _decide_mark(self, name: str, file_mark: Mark | None, conflict: str) -> ColumnReading:
        first = self.first
        mark: Mark = "," if "comma" in first else "." if "point" in first else file_mark or "."
        notes: list[Note] = []
        if "unclear" in first:
            unclear = first["unclear"]
            own = "comma" in first or "point" in first
            groups = "," if mark == "." else "."
            if conflict and not own:
                why = f"{unclear} can be read in two ways, and the file has both decimal marks ({conflict})"
                return _text(unclear.line, f"{name} is left as text: {why}")
            if groups in self.unclear_marks and self.large_plain is not None and mark == ".":
                why = f"{unclear} would have its thousands marked, {self.large_plain} has not"
                return _text(unclear.line, f"{name} is left as text: {why}")
            if len(self.unclear_marks) > 1 and not own and file_mark is None:
                return _text(unclear.line, f"{name} is left as text: {unclear} can be read in two ways, others too")
            if not own and file_mark is None:
                sense = "decimals" if mark in self.unclear_marks else "a mark of thousands"
                notes.append(
                    (unclear.line, f"{name}: {unclear} was read with {sense}; nothing in the file shows which")
                )
        elif conflict and ("point" in first or "comma" in first):
            seen = first.get("comma") or first["point"]
            notes.append((seen.line, f"{name} was read by its own decimal marks; the file has both ({conflict})"))
        is_real = not self.fractions.isdisjoint((mark, "e"))
        if self.longest > EXACT_DIGITS and is_real:
            return _text(
                0, f"{name} is left as text: it mixes decimals with numbers of more than {EXACT_DIGITS} digits"
            )
        if self.missing:
            many = f"{self.missing:,} cell{'s hold' if self.missing > 1 else ' holds'}"
            text = (
                f"{name}: {many} no number (the first is {first['missing']}) and {'are' if self.missing > 1 else 'is'}"
            )
            notes.append((first["missing"].line, f"{text} taken as missing"))
        is_plain = self.is_plain and (mark == "." or not self.fractions)
        kind: ColumnKind = "real" if is_real else "integer"
        return ColumnReading(kind=kind, mark=None if is_plain else mark, notes=tuple(notes))

    def _is_fixed_width(self) -> bool:
        return len(self.leading_zeros) == 1 and self.longest in (0, *self.leading_zeros)

    def _text_notes(self, name: str) -> tuple[Note, ...]:
        if self.dates[0] or self.numbers + self.measured < self.texts:
            return ()
        seen = self.first["text"]
        return ((seen.line, f"{name} is left as text: {seen} is no number that can be read"),)

    def _date_notes(self, name: str) -> tuple[Note, ...]:
        if not self.dates[0] or self.dates[1]:
            return ()
        sense = "month first" if self.dates[2] else "day or month first: nothing shows which"
        seen = self.first["partly"]
        return ((seen.line, f"{name} holds dates such as {seen}, {sense}; they are left as text"),)


def decide_columns(columns: Sequence[ColumnCells], labels: Sequence[str], *, has_commas: bool) -> list[ColumnReading]:
    """Return what each column is. The decimal mark is one for all, by the cells that can be read in one way only.

    Args:
        has_commas: Whether commas are free for numbers. Where they tell cells apart, nobody writes decimals with them,
            so that `"1,234"` there is no doubt.
    """
    shown: dict[Mark, list[_Seen]] = {".": [], ",": []}
    for column in columns:
        if column.is_text or column.texts or "code" in column.first:
            continue
        if "point" in column.first:
            shown["."].append(column.first["point"])
        if "comma" in column.first:
            shown[","].append(column.first["comma"])
    conflict = f"{shown['.'][0]}, {shown[','][0]}" if shown["."] and shown[","] else ""
    mark: Mark | None = None if conflict else "." if shown["."] else "," if shown[","] else None
    if mark is None and not conflict and not has_commas and not any("." in column.unclear_marks for column in columns):
        mark = "."
    return [column.decide(label, mark, conflict) for column, label in zip(columns, labels, strict=True)]


def _text(line: int, why: str, *, is_silent: bool = False) -> ColumnReading:
    return ColumnReading(kind="text", notes=() if is_silent else ((line, why),))
