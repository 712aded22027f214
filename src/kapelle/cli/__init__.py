"""The command line: arguments in, engine call, text out. Answers go to standard output, everything else to the other.

Exit codes: 0 the run is done; 1 it ended without being done, or a provider is out of reach; 2 what was given is wrong,
and nothing has run; 3 the run waits for a person; 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
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
from . import run as run
from .app import app as app
from .printing import complain, complain_of_bug, harmless_libraries

# click's class; typer brings a click of its own since 0.26 and uses the common one before.
_WrongUsage: Any = next(one for one in typer.BadParameter.__mro__ if one.__name__ == "ClickException")
_ORDER = (
    *("run", "plan", "resume", "stop"),
    *("questions", "approve", "reject", "answer"),
    *("explain", "runs", "agents"),
    *("rate", "forget", "learn", "savings", "gc", "doctor"),
)
"""In which order the help lists the commands: as they are needed, not as files are imported."""
app.registered_commands.sort(key=lambda command: _ORDER.index(command.callback.__name__ if command.callback else ""))


def main() -> None:
    """Run the command line: errors become one line and an exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that knows no ✓ shows ?, and the run goes on
    logging.getLogger("kapelle").addHandler(logging.NullHandler())  # what matters is said by events and errors
    code: int | str | None = 0
    try:
        with harmless_libraries():
            code = app(prog_name="kapelle", standalone_mode=False) or 0
    except SystemExit as ended:
        code = ended.code
    except _WrongUsage as error:
        error.message = printable(hide_secrets(error.message))  # it quotes what was typed
        rich_format_error(error)
        code = error.exit_code
    except typer.Abort:
        complain("Aborted.")
        code = 1
    except KapelleError as error:
        complain(f"error: {error}")
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # The reader, such as `head`, has gone. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        complain_of_bug(error)
        code = 1
    leave(code if isinstance(code, int) else 1)
