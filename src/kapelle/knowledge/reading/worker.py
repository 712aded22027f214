"""The process that reads files: takes one request a line, answers in lines of JSON, and may be killed at any moment.

    request  [path, what, seconds]      what: `document` or `csv`, `tsv`, `database`
    answers  ["passages", [[headings, text, first line, last line], ...]]
             ["shape", header, kinds]   then   ["rows", [[cell, ...], ...], [line, ...]]
             ["table", name, [[column, declared type], ...], rows]   or   ["part", name, why it is left out]
    and last ["end"]   or   ["refused", why]

It limits its own memory, and its processor time for each file: a timer of the system ends it wherever it is, also
within one call. Where the system has no such limits (Windows), the parent's watch over the clock is what is left.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from .csv_rows import NoTable, read_rows, read_shape
from .passages import split_document
from .sqlite_tables import read_database

PASSAGES_AT_ONCE = 200
MAX_PASSAGES = 50_000
SHORTEST_S = 0.01


class _Refused(Exception):
    """The file is not read; the message says why."""


def serve(requests: TextIO, answers: TextIO, memory_bytes: int, all_s: float) -> None:
    """Answer requests until there are no more; none is worked on once `all_s` seconds are used up."""
    _limit_memory(memory_bytes)
    for line in requests:
        path, what, seconds = json.loads(line)
        left_s = all_s - time.process_time()
        if left_s < SHORTEST_S:
            answers.write(
                json.dumps(["refused", "the files before it took all the time there is to read a folder"]) + "\n"
            )
            answers.flush()
            continue
        _set_timer(min(seconds, left_s))
        try:
            for answer in _read(Path(path), what):
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
        answers.write(json.dumps(last) + "\n")
        answers.flush()


def _read(path: Path, what: str) -> Iterator[list[Any]]:
    if what == "database":
        for found in read_database(path):
            yield ["table", *found] if len(found) == 3 else ["part", *found]
    elif what == "document":
        batch: list[Any] = []
        for count, passage in enumerate(split_document(path.suffix.lower(), _read_text(path)), start=1):
            batch.append(passage)
            if count > MAX_PASSAGES:
                raise _Refused(f"more than {MAX_PASSAGES:,} paragraphs")
            if len(batch) >= PASSAGES_AT_ONCE:
                yield ["passages", batch]
                batch = []
        yield ["passages", batch]
    else:
        with _open(path) as data:
            if data.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                raise _Refused("UTF-16 text; save it as UTF-8")
            data.seek(0)
            with io.TextIOWrapper(data, encoding="utf-8-sig", newline="") as text:
                shape = read_shape(text, tabs=what == "tsv")
                yield ["shape", shape.header, shape.kinds]
                for rows, lines in read_rows(text, shape):
                    yield ["rows", rows, lines]


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
    if isinstance(error, _Refused):
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
