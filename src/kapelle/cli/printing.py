"""How commands print: every text goes through here, or through `terminal`, and none steers a terminal or tells a key.

Text for people loses what would steer; JSON, which programs read, has it escaped, and reads back as the same value.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from kapelle.characters import escape_json
from kapelle.ledger import printable
from kapelle.redaction import hide_known, hide_known_in, hide_secrets


def say(text: str, *, to: TextIO | None = None, end: str = "\n") -> None:
    """Print a text for people."""
    print(printable(text), file=to, end=end)


def complain(text: str) -> None:
    """Print a message to standard error."""
    say(hide_secrets(text), to=sys.stderr)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(hide_known_in(value), ensure_ascii=not unicode, default=lambda one: hide_known(str(one)))
    print(escape_json(text))


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
