"""Which dialect a CSV file is written in: delimiter, quote and escape, decided once for the file from its first lines.

Every dialect that the sample's signs allow is tried with a strict parse. Where one delimiter alone gives rows of one
width, that is it. Where several do, or none does, clevercsv's detector chooses, and its choice is held against the
widths again: what gives no table is refused. clevercsv takes a sixth of a second to load, so clean files do not ask it.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

DELIMITERS = ",;\t|"
RARE_DELIMITERS = ":^~\x1f"
"""Tried where none of the others occurs."""
SAMPLE_CHARS = 60_000
SAMPLE_LINES = 300
DETECTED_CHARS = 6_000
"""clevercsv takes time in proportion to its sample, times the dialects that are possible."""
MAX_QUOTED_LINES = 200
MAX_QUOTED_CHARS = 130_000
"""So far ahead is the end of a quoted cell looked for, where a strict parse of the file failed."""

TELLING_WIDTH = 5
"""So many cells in a line of prose are no chance."""

_NUMERIC = re.compile(r"\s*[-+$€£]?\d[\d.,]*\s?%?\s*")
_APART_BY_SPACES = re.compile(r" {2,}|(?<! ) (?! )")


class NoTable(ValueError):
    """The file holds no table that can be read; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How cells are told apart."""

    delimiter: str
    quote: str = '"'
    escape: str = ""

    def read(self, lines: Iterable[str]) -> Any:
        """Return a csv.reader over lines that raises csv.Error where a quote does not fit."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            escapechar=self.escape or None,
            skipinitialspace=True,
            strict=True,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundDialect:
    """A dialect, and the other that would do as well, if there is one."""

    dialect: Dialect
    rival: str = ""


def find_dialect(sample: Sequence[str], *, is_cut: bool, tabs: bool) -> FoundDialect:
    """Return the dialect of a file.

    Args:
        sample: Its first lines with their ends, comments and `sep=` left out.
        is_cut: Whether more lines follow.
        tabs: Whether the file says that tabs are its delimiters.

    Raises:
        NoTable: no dialect makes a table of it.
    """
    text = "".join(sample)
    there = [mark for mark in DELIMITERS if mark in text]
    if tabs and "\t" in there:
        there = ["\t"]
    tried = [trial for mark in there for trial in _trials(mark, sample, text, is_cut=is_cut)]
    fitting = _best_of_each([trial for trial in tried if trial.is_even])
    fitting = fitting or _best_of_each([trial for trial in tried if trial.fits])
    if len(fitting) == 1:
        return FoundDialect(dialect=fitting[0].dialect)
    if fitting:
        marks = [trial.dialect.delimiter for trial in fitting]
        chosen = _ask_detector(text, marks) or max(fitting, key=lambda trial: trial.width).dialect.delimiter
        rival = next(mark for mark in marks if mark != chosen)
        return FoundDialect(dialect=next(t.dialect for t in fitting if t.dialect.delimiter == chosen), rival=rival)
    if not there:
        return _without_delimiters(sample, text, is_cut=is_cut)
    chosen = (_ask_detector(text, there) if len(there) > 1 else there[0]) or ""
    usable = [trial for trial in tried if trial.share >= 0.5] or tried
    best = max(usable, key=lambda trial: (trial.width > 1, trial.dialect.delimiter == chosen, trial.share))
    if best.width < 2:
        # A text with a comma here and there: one column, unless its first line has several.
        if any(mark in next((line for line in sample if line.strip()), "") for mark in there):
            raise NoTable(
                f"no delimiter makes a table of it: its lines have no {_show(best.dialect.delimiter)} in common"
            )
        raise NoTable("it has one column, and some of its lines hold delimiters; put those into quotes")
    return FoundDialect(dialect=best.dialect)


@dataclass(frozen=True, slots=True)
class _Trial:
    dialect: Dialect
    width: int
    share: float
    """Of the rows that have this width."""
    fits: bool
    """Whether all rows have it but single cells above and below."""
    is_even: bool
    """Whether all rows have it."""


def _trials(mark: str, sample: Sequence[str], text: str, *, is_cut: bool) -> Iterator[_Trial]:
    quotes = ['"']
    single = re.compile(rf"(?m)(?:^|{re.escape(mark)}) *'[^'\n]*' *(?:$|{re.escape(mark)}|\r)")
    if "'" in text and single.search(text) and '"' not in text:
        quotes.insert(0, "'")
    escapes = ["", "\\"] if re.search(r"\\[\"',;\t|]", text) else [""]
    for quote in quotes:
        for escape in escapes:
            dialect = Dialect(delimiter=mark, quote=quote, escape=escape)
            widths, is_strict = _widths(dialect, sample, is_cut=is_cut)
            width, share, fits = _judge(widths)
            yield _Trial(dialect, width, share, fits and is_strict, width > 1 and share == 1 and is_strict)


def _best_of_each(trials: Sequence[_Trial]) -> list[_Trial]:
    best: dict[str, _Trial] = {}
    for trial in trials:
        best.setdefault(trial.dialect.delimiter, trial)
    return list(best.values())


def _widths(dialect: Dialect, sample: Sequence[str], *, is_cut: bool) -> tuple[list[int], bool]:
    """Return the widths of the rows, and whether a strict parse found nothing wrong."""
    widths: list[int] = []
    reader = dialect.read(sample)
    try:
        widths.extend(len(row) for row in reader if any(cell.strip() for cell in row))
    except csv.Error:
        if not is_cut or reader.line_num < len(sample):
            return [len(split_line(line.rstrip("\r\n"), dialect)[0]) for line in sample if line.strip()], False
    return widths, True


def _judge(widths: list[int]) -> tuple[int, float, bool]:
    """Return the usual width, the share of rows that have it, and whether all have it but single cells around."""
    if not widths:
        return 0, 0.0, False
    counts = Counter(widths)
    most = max(counts.values())
    width = max(width for width, count in counts.items() if count == most)
    begin, end = 0, len(widths)
    while begin < end and widths[begin] == 1:
        begin += 1
    while end > begin and widths[end - 1] == 1:
        end -= 1
    inner = widths[begin:end]
    fits = (
        width > 1 and bool(inner) and set(inner) == {width} and begin <= 10 and len(inner) > (len(widths) - len(inner))
    )
    return width, counts[width] / len(widths), fits or (width > 1 and len(widths) == 1)


def _ask_detector(text: str, delimiters: Sequence[str]) -> str | None:
    try:
        from clevercsv.detect import Detector
    except ImportError:
        return None
    sample = text[:DETECTED_CHARS]
    if len(text) > len(sample) and "\n" in sample:
        sample = sample[: sample.rindex("\n") + 1]
    found = Detector().detect(sample, delimiters=delimiters)
    return found.delimiter if found is not None and found.delimiter in delimiters else None


def _without_delimiters(sample: Sequence[str], text: str, *, is_cut: bool) -> FoundDialect:
    """A file without any usual delimiter: one column, a rare delimiter, or columns apart by spaces."""
    for mark in RARE_DELIMITERS:
        if mark in text:
            trial = next(_trials(mark, sample, text, is_cut=is_cut))
            if trial.fits and len([line for line in sample if line.strip()]) > 1:
                return FoundDialect(dialect=trial.dialect)
    rows = [_APART_BY_SPACES.split(line.strip()) for line in sample if line.strip()]
    wide = [re.split(r" {2,}", line.strip()) for line in sample if line.strip()]
    for split in (wide, rows):
        widths = set(map(len, split))
        has_numbers = any(all(cell[:1].isdigit() for cell in column) for column in zip(*split[1:], strict=False))
        if len(split) > 1 and len(widths) == 1 and widths != {1} and has_numbers:
            raise NoTable("its columns are apart by spaces; save it with commas, semicolons or tabs")
    if sum('"' in line for line in sample) and any(re.search(r"^'.*'$", line) for line in sample):
        raise NoTable("each of its lines is one quoted cell")
    return FoundDialect(dialect=Dialect(delimiter=","))


def split_line(line: str, dialect: Dialect) -> tuple[list[str], bool]:
    """Return the cells of a line, and whether a quote in it is opened that it does not close.

    A quote that is not closed is a sign like others there: the inches of `27"`, or of `"27`.
    """
    delimiter, quote, escape = dialect.delimiter, dialect.quote, dialect.escape
    if quote not in line and not (escape and escape in line):
        return line.split(delimiter), False
    cells: list[str] = []
    is_open = False
    position = 0
    while True:
        begin = position
        while begin < len(line) and line[begin] == " ":
            begin += 1
        if line.startswith(quote, begin):
            end = _closing(line, begin + 1, dialect)
            if end >= 0:
                cells.append(_unquoted(line[begin + 1 : end], quote, escape))
                position = line.find(delimiter, end + 1)
            else:
                is_open = True
                position = line.find(delimiter, begin)
                cells.append(line[begin : position if position >= 0 else None])
        else:
            position = line.find(delimiter, begin)
            while escape and position > 0 and line[position - 1] == escape:
                position = line.find(delimiter, position + 1)
            cell = line[begin : position if position >= 0 else None]
            cells.append(cell.replace(escape + delimiter, delimiter) if escape else cell)
        if position < 0:
            return cells, is_open
        position += len(delimiter)


def _unquoted(cell: str, quote: str, escape: str) -> str:
    cell = cell.replace(quote + quote, quote)
    return cell.replace(escape + quote, quote) if escape else cell


def _closing(line: str, position: int, dialect: Dialect) -> int:
    """Return where the quote stands that closes a cell: before a delimiter or the end; -1 if none does."""
    quote, escape = dialect.quote, dialect.escape
    while (found := line.find(quote, position)) >= 0:
        if escape and line[found - 1] == escape:
            position = found + 1
        elif line.startswith(quote, found + 1):
            position = found + 2
        else:
            after = found + 1
            while after < len(line) and line[after] == " ":
                after += 1
            if after == len(line) or line.startswith(dialect.delimiter, after):
                return found
            return -1  # a quote amid a cell: what stands before it was no opening one
    return -1


def read_careful(lines: Iterable[str], dialect: Dialect, width: int, note: Any) -> Iterator[tuple[list[str], int]]:
    """Yield the rows of a file whose quotes a strict parse stumbles over, with the line that each begins on.

    A quote that its line does not close is a sign like others where the line then has `width` cells, and opens a cell
    of several lines where those have. `note` is told (line, text) of each sign.

    Raises:
        NoTable: both would fit, or neither does.
    """
    waiting: list[str] = []
    source = iter(lines)
    number = 0
    while True:
        line = waiting.pop(0) if waiting else next(source, "")
        if not line:
            return
        number += 1
        bare = line.rstrip("\r\n")
        cells, is_open = split_line(bare, dialect)
        if not is_open:
            yield cells if bare else [], number
            continue
        fits = len(cells) == width
        joined, taken = line, 0
        found: list[str] | None = None
        while taken < MAX_QUOTED_LINES and len(joined) < MAX_QUOTED_CHARS:
            if taken == len(waiting):
                more = next(source, "")
                if not more:
                    break
                waiting.append(more)
            joined += waiting[taken]
            taken += 1
            if dialect.quote in waiting[taken - 1]:
                several, still_open = split_line(joined.rstrip("\r\n"), dialect)
                if not still_open:
                    is_odd = any(_plain_width(one, dialect) == width for one in waiting[:taken])
                    found = several if len(several) == width or not (fits or is_odd) else None
                    break
        if found is not None:
            inside = [line, *waiting[:taken]]
            row = next((one for one in waiting[: taken - 1] if _is_like_row(one, dialect, width)), "")
            if row:
                raise NoTable(f"line {number} opens a quote that line {number + taken} closes, over rows: {row[:40]!r}")
            if width > 1 and fits and all(_plain_width(one, dialect) == width for one in inside):
                last = number + taken
                raise NoTable(
                    f"line {number} opens a quote that line {last} closes, and the lines between could be rows"
                )
            yield found, number
            del waiting[:taken]
            number += taken
        elif fits:
            note(number, f"a quote that nothing closes ({_opened(cells, dialect)}) was read as a sign like others")
            yield cells, number
        else:
            raise NoTable(
                f"line {number} opens a quote that nothing closes, and does not have {width} cells without it"
            )


def _is_like_row(line: str, dialect: Dialect, width: int) -> bool:
    """Whether a line in quotes could be a row: prose has as many commas now and then, and seldom a number alone."""
    cells, _ = split_line(line.rstrip("\r\n"), dialect)
    return width > 1 and len(cells) == width and (width >= TELLING_WIDTH or any(map(_NUMERIC.fullmatch, cells)))


def _plain_width(line: str, dialect: Dialect) -> int:
    return len(split_line(line.rstrip("\r\n"), dialect)[0])


def _opened(cells: Sequence[str], dialect: Dialect) -> str:
    return next((cell for cell in cells if cell.startswith(dialect.quote)), dialect.quote)[:40]


def _show(mark: str) -> str:
    return {"\t": "tab", " ": "space"}.get(mark, repr(mark))
