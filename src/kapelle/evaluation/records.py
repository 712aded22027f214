"""Files of rows, as (line, fields): CSV with a header and JSON lines, plain or gzip. Knows nothing of what they mean.

Files are untrusted: text must be UTF-8, a line has a limit, and so has the whole; a line that cannot be read is handed
on as a problem and the next one is read. JSON is read strictly: NaN and Infinity become the text they are.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kapelle.errors import InvalidInput, NotFound

from .log import RowProblem

MAX_LINE_CHARS = 4_000_000
"""In one line, or one record of a CSV file: more than any context window holds."""
MAX_FILE_CHARS = 4_000_000_000
"""In the whole file, once unpacked: a small gzip file can unfold into any size."""

Kind = Literal["csv", "jsonl", "ledger"]

_GZIP = b"\x1f\x8b"
_SQLITE = b"SQLite format 3\x00"
_SNIFFED_CHARS = 65_536


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One row with its fields."""

    line: int
    fields: dict[str, Any]


def find_kind(path: Path) -> Kind:
    """Return what the file holds, from its first bytes; its name does not matter.

    Raises:
        NotFound: there is no such file, or it may not be read.
        InvalidInput: it is empty, a JSON array, or not UTF-8 text.
    """
    with _readable(path):
        with path.open("rb") as file:
            first = file.read(16)
        if first == _SQLITE:
            return "ledger"
        with _open_text(path) as text:
            begin = text.read(_SNIFFED_CHARS).lstrip()
    if not begin:
        raise InvalidInput(f"{path} is empty. A log has a row for each task and agent.")
    if begin.startswith("["):
        raise InvalidInput(f"{path} is one JSON array. Write one object per line (JSON lines) instead.")
    return "jsonl" if begin.startswith("{") else "csv"


def read_json_lines(path: Path) -> Iterator[Record | RowProblem]:
    """Yield the objects of a file of JSON lines; empty lines are passed over."""
    with _readable(path), _open_text(path) as text:
        for line, words in _lines(text):
            if not words.strip():
                continue
            if len(words) > MAX_LINE_CHARS:
                yield RowProblem(line=line, reason=f"the line is longer than {MAX_LINE_CHARS:,} characters")
                continue
            try:
                fields = json.loads(words, parse_constant=str)
            except (ValueError, RecursionError) as error:
                told = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
                yield RowProblem(line=line, reason=f"not readable as JSON: {told}")
                continue
            if isinstance(fields, dict):
                yield Record(line=line, fields=fields)
            else:
                yield RowProblem(line=line, reason=f"not a JSON object but {type(fields).__name__}")


def read_csv_header(path: Path) -> tuple[list[str], str]:
    """Return the names of the columns and the sign between them: a comma, semicolon or tab, whichever parts most.

    Raises:
        InvalidInput: a name is missing or stands twice, or nothing parts the columns.
    """
    with _readable(path), _open_text(path) as text:
        line = text.readline(_SNIFFED_CHARS).rstrip("\r\n")
    delimiter = max(",;\t", key=line.count)
    header = [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    if len(header) < 2:
        raise InvalidInput(
            f"{path}: the first line, {line[:80]!r}, names no columns. A CSV log begins with the names of its "
            "columns, parted by commas, semicolons or tabs."
        )
    twice = sorted({name for name in header if header.count(name) > 1 or not name})
    if twice:
        raise InvalidInput(f"{path}: the column name {twice[0]!r} is empty or stands twice. Name every column once.")
    return header, delimiter


def read_csv(path: Path) -> Iterator[Record | RowProblem]:
    """Yield the rows of a CSV file; a row begins at the line that is given, and may go on over several."""
    header, delimiter = read_csv_header(path)
    before = csv.field_size_limit(MAX_LINE_CHARS)
    try:
        with _readable(path), _open_text(path) as text:
            reader = csv.reader(_csv_lines(text), delimiter=delimiter, strict=True)
            next(reader, None)
            while True:
                line = reader.line_num + 1
                try:
                    values = next(reader, None)
                except csv.Error as error:
                    yield RowProblem(line=line, reason=f"not readable as CSV: {error}")
                    continue
                if values is None:
                    return
                if not values:
                    continue
                if len(values) != len(header):
                    yield RowProblem(line=line, reason=f"has {len(values)} fields; the header has {len(header)}")
                    continue
                yield Record(line=line, fields=dict(zip(header, values, strict=True)))
    finally:
        csv.field_size_limit(before)


def _csv_lines(text: io.TextIOBase) -> Iterator[str]:
    for _, words in _lines(text):
        # What csv refuses by itself is a field, not a record; an unclosed quote would swallow the file up to there.
        yield words if len(words) <= MAX_LINE_CHARS else words[:MAX_LINE_CHARS] + "\n"


def _lines(text: io.TextIOBase) -> Iterator[tuple[int, str]]:
    """Yield the lines, of those that are too long only so much that it shows."""
    total = 0
    line = 0
    while words := text.readline(MAX_LINE_CHARS + 1):
        line += 1
        total += len(words)
        rest = words
        while len(rest) > MAX_LINE_CHARS and not rest.endswith("\n"):
            rest = text.readline(MAX_LINE_CHARS + 1)
            total += len(rest)
        if total > MAX_FILE_CHARS:
            raise InvalidInput(f"The log has more than {MAX_FILE_CHARS:,} characters. Take a sample of its rows.")
        yield line, words


@contextmanager
def _open_text(path: Path) -> Iterator[io.TextIOWrapper]:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
        file.seek(0)
        inner: Any = gzip.GzipFile(fileobj=file) if packed else file
        begin = inner.read(4)
        if begin[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise InvalidInput(f"{path} is UTF-16 text. Save it as UTF-8.")
        if b"\x00" in begin:
            raise InvalidInput(f"{path} is no text. A log is CSV, JSON lines (both may be .gz) or a kapelle ledger.")
        inner.seek(0)
        # csv wants the line ends as they are; utf-8-sig passes over a byte order mark.
        with io.TextIOWrapper(inner, encoding="utf-8-sig", newline="") as text:
            yield text


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{path} is not UTF-8 text: it has the byte 0x{error.object[error.start]:02x}, probably from Latin-1 or "
            f"Windows-1252. Save it as UTF-8, for instance: iconv -f WINDOWS-1252 -t UTF-8 {path.name}"
        ) from error
    except (zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise InvalidInput(f"{path} is a damaged gzip file: {error}.") from error
    except OSError as error:
        raise NotFound(f"Cannot read {str(path)!r}: {error.strerror or error}. Check the path.") from error
