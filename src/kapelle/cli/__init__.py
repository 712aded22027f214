"""The command line: arguments in, engine call, text out. Answers go to standard output, everything else to the other.

Exit codes: 0 the run is done; 1 it ended without being done, or a provider is out of reach; 2 what was given is wrong,
nothing has run, and nothing is spent; 3 the run waits for a person; 130 interrupted.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import typer
from typer.rich_utils import rich_format_error

from kapelle.errors import KapelleError
from kapelle.ledger import printable
from kapelle.process import leave
from kapelle.redaction import hide_secrets

from . import doctor as doctor
from . import learning as learning
from . import people as people
from . import reading as reading
from . import resume as resume
from . import run as run
from .app import app as app
from .error_json import error_to_json, words_of
from .printing import complain, complain_of_bug, harmless_libraries, json_alone, print_json

# click's class; typer brings a click of its own since 0.26 and uses the common one before.
_WrongUsage: Any = next(one for one in typer.BadParameter.__mro__ if one.__name__ == "ClickException")
_FULL = (errno.ENOSPC, errno.EDQUOT)
"""What a stream says that leads into a file on a disk without room."""
_ORDER = (
    *("run", "plan", "resume", "stop"),
    *("questions", "approve", "reject", "answer"),
    *("explain", "runs", "agents"),
    *("rate", "forget", "learn", "savings", "gc", "doctor"),
)
"""In which order the help lists the commands: as they are needed, not as files are imported."""
app.registered_commands.sort(key=lambda command: _ORDER.index(command.callback.__name__ if command.callback else ""))


def main() -> None:
    """Run the command line: errors become one line and an exit code, never a traceback.

    With `--json` they are an object on standard output besides.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that knows no ✓ shows ?, and the run goes on
    logging.getLogger("kapelle").addHandler(logging.NullHandler())  # what matters is said by events and errors
    if not _wants_json(sys.argv[1:]):
        leave(_conduct()[0])
    with json_alone() as alone:
        code, error = _conduct()
        if not alone.is_full:
            _print_or_go(error if error is not None else {"exit_code": code})
        leave(code)


def _conduct() -> tuple[int, dict[str, Any] | None]:
    """Run the command that was typed; return the exit code and, if it failed, the error as an object."""
    try:
        with harmless_libraries():
            code = app(prog_name="kapelle", standalone_mode=False) or 0
        if code == 130:  # what typer makes of an interruption
            return code, error_to_json(KeyboardInterrupt(), exit_code=code, message="It was interrupted.")
        return code if isinstance(code, int) else 1, None
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        words = ended.code if isinstance(ended.code, str) else f"The program was ended, with code {code}."
        return code, error_to_json(ended, exit_code=code, message=words) if code else None
    except _WrongUsage as error:
        error.message = printable(hide_secrets(error.message))  # it quotes what was typed
        rich_format_error(error)
        code = error.exit_code
        return code, error_to_json(error, exit_code=code, message=error.format_message(), remedy=_help())
    except typer.Abort as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # what an older typer makes of it
            return 130, error_to_json(error.__cause__, exit_code=130, message="It was interrupted.")
        complain("Aborted.")
        return 1, error_to_json(error, exit_code=1, message="Aborted.")
    except KapelleError as error:
        complain(f"error: {words_of(error)}")
        # 2 says that nothing was spent.
        code = 1 if error.exit_code == 2 and error.cost_usd else error.exit_code
        found = error_to_json(error, exit_code=code)
        found["error"]["remedy"] = found["error"]["remedy"] or _help()
        return code, found
    except KeyboardInterrupt as error:
        return 130, error_to_json(error, exit_code=130, message="It was interrupted.")
    except BrokenPipeError as error:
        _let_reader_go()
        return 1, error_to_json(error, exit_code=1)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
            complain(f"error: Standard output cannot be written: {error.strerror}.")
            complain("Make room; what a run gave is kept: kapelle explain last")
            _let_reader_go()
            return 1, error_to_json(error, exit_code=1)
        complain_of_bug(error)
        remedy = "This is a fault of kapelle's. Please report it, with the traceback on standard error."
        return 1, error_to_json(error, exit_code=1, remedy=remedy)


def _help() -> str:
    named = [word for word in sys.argv[1:2] if word in _ORDER]  # an error need not tell its command
    return f"See: {' '.join(['kapelle', *named])} --help"


def _wants_json(words: Sequence[str]) -> bool:
    """Whether --json is among the options, also of a command that is typed too wrongly to be read."""
    options = words[: words.index("--")] if "--" in words else words
    return any(word == "--json" or word.startswith("--json=") for word in options)


def _print_or_go(value: dict[str, Any]) -> None:
    try:
        print_json(value)
    except OSError:  # its reader has gone, or its disk is full
        _let_reader_go()


def _let_reader_go() -> None:
    """Let a reader, such as `head`, be gone: Python would complain once more when it flushes at exit."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
