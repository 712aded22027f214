"""The process that reads files: takes one request a line, answers in lines of JSON, and may be killed at any moment.

    request  [path, what]               what: `document` or `csv`, `tsv`, `database`
    answers  ["working", seconds that it may take so far, whether files before it made them fewer]      now and again
             ["passages", [[headings, text, first line, last line], ...]]
             ["shape", header, kinds]   then   ["rows", [[cell, ...], ...], [line, ...]]
             and, where there are some,   ["notes", [[line, 0 for the whole file; what is to be known], ...]]
             ["table", name, [[column, declared type], ...], rows]   or   ["part", name, why it is left out]
    and last ["end", what is left]   or   ["refused", why, what is left]      of the folder's seconds

It limits its own memory, and its processor time for each file: a timer of the system ends it wherever it is, also
within one call. Where the system has no such limits (Windows), the parent's watch over the clock is what is left.

Time is earned by what a file holds (see _Allowance), so that honest files may be large and many, while blank lines,
empty cells and markup without text earn nothing, whatever their size.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from .csv_dialect import NoTable
from .csv_rows import check_lines, read_rows, read_shape
from .csv_shape import CsvShape
from .passages import split_document
from .sqlite_tables import read_database
from .text_encoding import find_encoding, find_other_encoding

PASSAGES_AT_ONCE = 200
MAX_PASSAGES = 50_000

# What is earned: about three times what reading it takes. The rows of tables are read, and earn, twice.
S_PER_FILE = 0.000_5
S_PER_RAW_MB = 0.001
"""Of the whole file: for what is done in one call, such as counting the rows of a table or looking for zero bytes."""
S_PER_ROW = 0.000_008
"""A row with a filled cell, a paragraph, or a piece of text between two tags."""
S_PER_CELL = 0.000_001_5
"""A filled cell."""
S_PER_MB = 0.2
"""Of text in them."""
S_PER_TABLE = 0.000_5

SHORTEST_S = 0.02
"""What a file may take unearned at least, when those before it have used up the folder's time."""
OVERDRAWN_S = 0.1
"""So far below zero, nothing more is read."""
TOLD_EVERY_S = 0.25
TIMER_SLACK_S = 0.02
"""The timer, which costs the process, comes after the look at the clock, which costs the file."""


class _Refused(Exception):
    """The file is not read; the message says why."""


class _Allowance:
    """The processor time that a file may take: `unearned_s`, and what it earns up to `most_s`."""

    def __init__(self, *, unearned_s: float, most_s: float, is_cut: bool, tell: Callable[[list[Any]], None]) -> None:
        self._started = time.process_time()
        self._unearned_s = unearned_s
        self._most_s = most_s
        self._earned_s = 0.0
        self._told_s = 0.0
        self._is_cut = is_cut
        self._tell = tell
        self.earn(0.0)

    @property
    def wasted_s(self) -> float:
        """What it has taken and not earned."""
        return max(0.0, time.process_time() - self._started - self._earned_s)

    def earn(self, seconds: float) -> None:
        """Grant so much more.

        Raises:
            _Refused: all that was granted is used up.
        """
        self._earned_s = min(self._earned_s + seconds, self._most_s)
        allowed_s = self._unearned_s + self._earned_s
        left_s = self._started + allowed_s - time.process_time()
        if left_s <= 0:
            raise _Refused(why_too_slow(allowed_s, is_cut=self._is_cut))
        _set_timer(left_s + TIMER_SLACK_S)
        taken_s = time.process_time() - self._started
        if max(allowed_s, taken_s) >= self._told_s + TOLD_EVERY_S or not self._told_s:
            self._tell(["working", allowed_s, self._is_cut])
            self._told_s = max(allowed_s, taken_s)

    def earn_rows(self, rows: int, cells: int, chars: int) -> None:
        """Grant what rows, or pieces of text, are worth."""
        self.earn(rows * S_PER_ROW + cells * S_PER_CELL + chars * S_PER_MB / 1e6)


def why_too_slow(allowed_s: float, *, is_cut: bool) -> str:
    """Return why a file is left out that takes more than it may; `is_cut`: files before it have used up its time."""
    why = "the files before it used up the rest of the folder's time" if is_cut else "too long for what it holds"
    return f"takes more than {allowed_s:.2f} seconds to read, {why}"


def serve(
    requests: TextIO,
    answers: TextIO,
    memory_bytes: int,
    file_s: float,
    most_s: float,
    folder_left_s: float,
    *,
    packages: str = "",
) -> None:
    """Answer requests until there are no more; `folder_left_s` is what all files together may take unearned.

    Args:
        packages: The folder that holds clevercsv, which is loaded when a table's dialect is in doubt.
    """
    if packages:
        sys.path.append(packages)
    _limit_memory(memory_bytes)

    def tell(answer: list[Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    for line in requests:
        path, what = json.loads(line)
        if folder_left_s < -OVERDRAWN_S:
            tell(["refused", "the files before it took all the time there is to read a folder", folder_left_s])
            continue
        # Half of what is left: a file that takes all it may leaves as much for those behind it.
        unearned_s = min(file_s, max(folder_left_s / 2, SHORTEST_S))
        allowance = _Allowance(unearned_s=unearned_s, most_s=most_s, is_cut=unearned_s < file_s, tell=tell)
        try:
            allowance.earn(S_PER_FILE)
            for answer in _read(Path(path), what, allowance):
                answers.write(json.dumps(answer) + "\n")
            last: list[Any] = ["end"]
        except (_Refused, NoTable, csv.Error, sqlite3.Error) as error:
            last = ["refused", _reason(error, what)]
        except UnicodeDecodeError as error:
            last = ["refused", _not_utf_8(Path(path), error)]
        except OSError as error:
            last = ["refused", f"cannot be read: {error.strerror or error}"]
        except MemoryError:
            last = ["refused", f"takes more than {memory_bytes // 1_000_000} MB of memory to read"]
        except Exception as error:  # whatever a file brings about, it is that file's fault
            last = ["refused", f"not readable: {type(error).__name__}: {str(error)[:200]}"]
        _set_timer(0)
        folder_left_s -= allowance.wasted_s
        tell([*last, folder_left_s])


def _read(path: Path, what: str, allowance: _Allowance) -> Iterator[list[Any]]:
    if what == "database":
        allowance.earn(path.stat().st_size / 1e6 * S_PER_RAW_MB)
        for found in read_database(path):
            if len(found) == 3:
                allowance.earn(S_PER_TABLE + len(found[1]) * S_PER_CELL)
                yield ["table", *found]
            else:
                yield ["part", *found]
    elif what == "document":
        batch: list[Any] = []
        passages = split_document(path.suffix.lower(), _read_text(path), earn=allowance.earn_rows)
        for count, passage in enumerate(passages, start=1):
            batch.append(passage)
            if count > MAX_PASSAGES:
                raise _Refused(f"more than {MAX_PASSAGES:,} paragraphs")
            if len(batch) >= PASSAGES_AT_ONCE:
                allowance.earn_rows(len(batch), 0, sum(len(text) for _, text, _, _ in batch))
                yield ["passages", batch]
                batch = []
        allowance.earn_rows(len(batch), 0, sum(len(text) for _, text, _, _ in batch))
        yield ["passages", batch]
    else:
        yield from _read_table(path, what, allowance)


def _read_table(path: Path, what: str, allowance: _Allowance) -> Iterator[list[Any]]:
    with _open(path) as data:
        allowance.earn(path.stat().st_size / 1e6 * S_PER_RAW_MB)
        check_lines(data)
        data.seek(0)
        encoding, notes = find_encoding(data)
    try:
        shape = _read_shape(path, encoding, what, allowance)
    except UnicodeDecodeError as error:
        if not encoding.startswith("utf-8"):
            raise _Refused("not UTF-16 text, though it begins like one; save it as UTF-8") from error
        with _open(path) as data:
            encoding, notes = find_other_encoding(data)
        shape = _read_shape(path, encoding, what, allowance)
    yield ["shape", shape.header, shape.kinds]
    with _open(path) as data, io.TextIOWrapper(data, encoding=encoding, newline="") as text:
        for rows, lines in read_rows(text, shape, earn=allowance.earn_rows):
            yield ["rows", rows, lines]
    if notes or shape.notes:
        yield ["notes", [*notes, *shape.notes]]


def _read_shape(path: Path, encoding: str, what: str, allowance: _Allowance) -> CsvShape:
    with _open(path) as data, io.TextIOWrapper(data, encoding=encoding, newline="") as text:
        return read_shape(text, tabs=what == "tsv", earn=allowance.earn_rows)


def _open(path: Path) -> io.BufferedReader:
    # Without O_NONBLOCK, a pipe that has taken the place of a file would wait for somebody to write.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _Refused("not a plain file")
    return open(handle, "rb")


def _read_text(path: Path) -> str:
    with _open(path) as file:
        data = file.read()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Refused("UTF-16 text; save it as UTF-8")
    text = data.decode("utf-8-sig")
    if "\0" in text:
        raise _Refused("no text: it holds zero bytes")
    return text


def _reason(error: Exception, what: str) -> str:
    if isinstance(error, (_Refused, NoTable)):
        return str(error)
    return f"not readable as {'SQLite' if what == 'database' else 'a table'}: {str(error)[:300]}"


def _not_utf_8(path: Path, error: UnicodeDecodeError) -> str:
    place = ""
    with contextlib.suppress(OSError, MemoryError), _open(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                place = f" (line {number})"
                break
    return f"not UTF-8 text{place}; save it as UTF-8"


def _limit_memory(most_bytes: int) -> None:
    try:
        import resource
    except ImportError:
        return
    for kind in (resource.RLIMIT_AS, getattr(resource, "RLIMIT_DATA", resource.RLIMIT_AS)):
        with contextlib.suppress(ValueError, OSError):  # a lower limit is set already, or the system has no such
            resource.setrlimit(kind, (most_bytes, most_bytes))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _set_timer(seconds: float) -> None:
    try:
        from signal import ITIMER_PROF, setitimer
    except ImportError:
        return
    setitimer(ITIMER_PROF, seconds)  # nobody handles its signal, so it ends the process
