"""How commands print: every text goes through here, or through `terminal`, and none steers a terminal or tells a key.

Text for people loses what would steer; JSON, which programs read, has it escaped, and reads back as the same value.
With `--json`, standard output gets one object and nothing besides, whatever happens: see `json_alone`.
"""

from __future__ import annotations

import ctypes
import io
import json
import logging
import math
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from typing import Any, TextIO

from kapelle.ledger import printable
from kapelle.redaction import escape_json, hide_known, hide_known_in, hide_secrets, mentions_known


def say(text: str, *, to: TextIO | None = None, end: str = "\n") -> None:
    """Print a text for people."""
    print(printable(text), file=to, end=end)


def complain(text: str) -> None:
    """Print a message to standard error."""
    say(hide_secrets(text), to=sys.stderr)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object; nothing of it where some of it cannot be told.

    Only the first is printed where standard output is to be one object: see `json_alone`.
    """
    alone = _alone.get()
    out = sys.stdout if alone is None else alone.out
    if out is None or (alone is not None and alone.is_full):
        return  # a program that closed its standard output wants nothing there
    unicode = (out.encoding or "").lower().replace("-", "") == "utf8"
    pieces = [*_pieces(value, unicode=unicode), "\n"]
    if alone is not None:
        alone.is_full = True
    out.writelines(pieces)
    if alone is not None:
        out.flush()


_LARGE = 100
"""Mappings and lists of more items are taken apart, and those that hold them: of a run with many tasks, little but the
text is in memory twice."""


def _pieces(value: Any, *, unicode: bool, depth: int = 0) -> Iterator[str]:
    """Yield the text of a value, that of large parts of it item by item."""
    is_list = isinstance(value, (list, tuple))
    is_whole = depth > 2 or (depth == 2 and isinstance(value, Sized) and len(value) <= _LARGE)
    if is_whole or not (is_list or (isinstance(value, Mapping) and _is_named(value))):
        text = json.dumps(_plain(hide_known_in(value)), ensure_ascii=not unicode, allow_nan=False, default=_words)
        yield escape_json(text)
        return
    yield "[" if is_list else "{"
    for number, item in enumerate(value if is_list else value.items()):
        before = ", " if number else ""
        if not is_list:
            name, item = item
            before += escape_json(json.dumps(name, ensure_ascii=not unicode)) + ": "
        first, *rest = _pieces(item, unicode=unicode, depth=depth + 1)
        yield before + first
        yield from rest
    yield "]" if is_list else "}"


def _is_named(value: Mapping[Any, Any]) -> bool:
    """Whether the names in a mapping are texts that are told as they are, so that no two can become one."""
    return all(type(name) is str for name in value) and not mentions_known(*value)


def _plain(value: Any) -> Any:
    """Return a value with what JSON has no words for: numbers that are not finite become null, names texts."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name if isinstance(name, str) else _name(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _name(value: object) -> str:
    return json.dumps(value) if value is None or isinstance(value, (bool, int)) else _words(value)


def _words(value: object) -> str:
    try:
        return hide_known(str(value))
    except Exception:  # a class of somebody's own may fail even to say what it is
        return f"{type(value).__name__}, which cannot be shown"


def split_remedy(message: str) -> tuple[str, str]:
    """Return what an error says, and the way out, which is the rest of its message."""
    first, _, rest = re.sub(r"(?<=[.?!]) (?=[A-Z`])", "\0", message, count=1).partition("\0")
    return first, rest


class JsonAlone:
    """Standard output that takes one object."""

    def __init__(self, out: TextIO | None) -> None:
        self.out = out
        self.is_full = False
        """Whether the object was printed."""


_alone: ContextVar[JsonAlone | None] = ContextVar("json_alone", default=None)


@contextmanager
def json_alone() -> Iterator[JsonAlone]:
    """Keep standard output for one object of `print_json`: all else that is written there goes to standard error.

    That holds for the file descriptor too, so for libraries written in C and for programs that agents start.
    """
    with _descriptor_for_json() as out:
        alone = JsonAlone(out)
        token = _alone.set(alone)
        try:
            with redirect_stdout(sys.stderr):
                yield alone
        finally:
            _alone.reset(token)


@contextmanager
def _descriptor_for_json() -> Iterator[TextIO | None]:
    """Lead descriptor 1 to where 2 leads, and give a stream that leads where it led."""
    out = sys.stdout
    try:
        if out is not None:
            out.flush()
        kept = os.dup(1)
    except (OSError, ValueError):  # there is none, or its reader has gone
        yield out
        return
    stream, own = out, None
    try:
        with suppress(OSError):  # nor a standard error
            os.dup2(2, 1)
        if out is not None and _fileno(out) == 1:
            stream = own = open(kept, "w", encoding=out.encoding, errors="replace", closefd=False)  # noqa: SIM115
        yield stream
    finally:
        with suppress(Exception):
            ctypes.CDLL(None).fflush(None)  # what C libraries have written and not sent would follow the object
        with suppress(OSError, ValueError):  # its reader has gone
            if own is not None:
                own.close()
        os.dup2(kept, 1)
        os.close(kept)


def _fileno(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def complain_of_bug(error: BaseException) -> None:
    """Print the traceback of an error that nobody expected, and where to report it."""
    complain("".join(traceback.format_exception(error)).rstrip("\n"))
    complain("error: This is a fault of kapelle's. Please report it, with the lines above.")


@contextmanager
def harmless_libraries() -> Iterator[None]:
    """Have what libraries warn of without anybody's logging, and what ends a thread, printed as everything else is."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_Harmless())
    before = logging.lastResort, threading.excepthook
    logging.lastResort, threading.excepthook = handler, _tell_end_of_thread
    try:
        yield
    finally:
        logging.lastResort, threading.excepthook = before


def _tell_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    lines = traceback.format_exception(ended.exc_type, ended.exc_value, ended.exc_traceback)
    complain("".join(lines).rstrip("\n"))


class WithoutSecrets(io.TextIOBase):
    """What agents print, line by line, without the keys that are known: it is theirs, so all else stays, as it is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # the base class has it as a plain attribute
        return self._stream.encoding

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._stream.write(hide_known(line) + "\n")
        return len(text)

    def flush(self) -> None:
        if self._line:
            self._stream.write(hide_known(self._line))
            self._line = ""
        self._stream.flush()


class _Harmless(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(hide_secrets(super().format(record)))
