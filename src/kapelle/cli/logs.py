"""Logs on standard error, where somebody asks for them: what libraries say through `logging`, as text or JSON lines.

Without --log-level nothing is logged: what matters of a run is in the ledger.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Literal

from kapelle.ledger import printable
from kapelle.redaction import escape_json, hide_known_in, hide_secrets

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]
_FIELDS = ("run_id", "task_id", "agent")
"""What records of failed attempts say besides."""


def start_logging(level: LogLevel, log_format: LogFormat) -> Callable[[], None]:
    """Log what `kapelle` and the loggers below it say from this level on; return what ends that."""
    logger = logging.getLogger("kapelle")
    handler = _ToStandardError()
    handler.setFormatter(
        _JsonLine() if log_format == "json" else _Line("%(asctime)s %(levelname)s %(name)s %(message)s")
    )
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level.upper())

    def stop() -> None:
        logger.removeHandler(handler)
        logger.setLevel(before)

    return stop


class _ToStandardError(logging.Handler):
    """Writes to whatever standard error is at the time: a progress table puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:  # as every handler of the library does
            self.handleError(record)


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(hide_secrets(super().format(record)))


class _JsonLine(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what the record says of run, task and agent."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        said = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": hide_secrets(record.getMessage()),
            **{name: str(value) for name in _FIELDS if (value := getattr(record, name, None)) is not None},
        }
        if record.exc_info or record.exc_text:
            told = record.exc_text or self.formatException(record.exc_info)  # type: ignore[arg-type]  # one of both
            said["traceback"] = hide_secrets(told)
        return escape_json(json.dumps(hide_known_in(said)))
