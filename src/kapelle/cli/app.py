"""What all commands share: the application, its options, and how texts, files and JSON are written."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import kapelle
from kapelle import terminal
from kapelle.agents import AgentRegistry
from kapelle.documents import write_beside_then_rename
from kapelle.engine import Engine
from kapelle.errors import InvalidInput
from kapelle.ledger import Run, has_ledger, is_postgres_url, ledger_path, open_ledger
from kapelle.limits import MAX_TASKS
from kapelle.redaction import hide_known

from .logs import LogFormat, LogLevel, start_logging

app = typer.Typer(
    name="kapelle",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The conductor for AI agents: plans a request, gives every task to the agent that does it at least cost, "
    "proves the plan, runs it as data flow, and goes on with it after a crash.",
    epilog="Example: [bold]kapelle run 'Compare the capitals of France and Germany' --data examples/atlas/data[/bold]"
    "\n\nExit codes: 0 the run is done; 1 it ended without being done, or something is out of reach; 2 what was given "
    "is wrong, nothing has run and nothing is spent; 3 the run waits for a person; 130 it was interrupted.",
)

COMMAND_LINE = "command line"
"""What made a run's engine, in its origin: one made in Python has agents that the command line does not know."""

Data = Annotated[Path | None, typer.Option("--data", help="Folder of documents and tables that local agents may read.")]
Agents = Annotated[Path | None, typer.Option("--agents", help="YAML file that describes agents of your own.")]
Model = Annotated[
    str | None, typer.Option("--model", help="provider:name, or 'none'. Default: the environment, see KAPELLE_MODEL.")
]
Db = Annotated[
    str | None, typer.Option("--db", help="Ledger: a file, or postgresql://... Default: KAPELLE_DB, else your data.")
]
RewardModel = Annotated[
    Path | None,
    typer.Option("--reward-model", help="File of a reward model: weighs plans, and learns of runs."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Budget = Annotated[float | None, typer.Option("--budget", help="Dollars that the run may cost, planning included.")]
Deadline = Annotated[float | None, typer.Option("--deadline", help="Seconds that the run may take.")]
Quality = Annotated[float | None, typer.Option("--quality", help="Least expected share of tasks that succeed, 0 to 1.")]
Svg = Annotated[Path | None, typer.Option("--svg", help="Draw the graph into this file.")]
Backend = Annotated[str, typer.Option("--backend", help="Where agents run: asyncio, threads, or ray (an extra).")]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", help="Tokens that all agents may use.")]
NoReplan = Annotated[
    bool, typer.Option("--no-replan", help="Leave tasks with their agents, whatever earlier ones cost or took.")
]
MaxTasks = Annotated[
    int | None, typer.Option("--max-tasks", min=1, help=f"Tasks that a plan may have; by default {MAX_TASKS:,}.")
]
Hedge = Annotated[bool, typer.Option("--hedge", help="Give stragglers a rival, as far as the budget pays for it.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, the beginning of one, or 'last'.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write the answer into this file too.")]
Sql = Annotated[bool, typer.Option("--sql", help="Show the queries behind the answer; JSON always has them.")]
Note = Annotated[str, typer.Option("--note", help="Why, in words; kept with the answer.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"kapelle {kapelle.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    log_level: Annotated[
        LogLevel | None,
        typer.Option("--log-level", envvar="KAPELLE_LOG", help="Log to standard error, from this level on."),
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", envvar="KAPELLE_LOG_FORMAT", help="Lines of text, or of JSON.")
    ] = "text",
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if log_level is not None:
        context.call_on_close(start_logging(log_level, log_format))


def console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr)
    columns = os.environ.get("COLUMNS", "")
    # A file or a pipe has no width of its own.
    width = int(columns) if columns.isdecimal() and 20 <= int(columns) <= 10_000 else 160
    return console if console.is_terminal else Console(stderr=stderr, width=width)


@contextmanager
def engine_of(
    agents_file: Path | None,
    data: Path | None,
    model: str | None,
    db: str | None,
    *,
    reads_only: bool = False,
    **options: Any,
) -> Iterator[Engine]:
    """An engine on the user's ledger. One that only reads leaves no ledger behind where there was none."""
    if agents_file is not None and str(agents_file.parent.resolve()) not in sys.path:
        sys.path.append(str(agents_file.parent.resolve()))  # `run: module:name` is found beside the file
    own = AgentRegistry.from_yaml(agents_file) if agents_file is not None else AgentRegistry()
    path = ledger_path(db)
    if reads_only and not has_ledger(path):
        path = ":memory:"
    # What `kapelle resume` needs to make such an engine again, wherever it is called.
    given = {"data": data, "agents": agents_file}
    origin = {name: str(place.resolve()) for name, place in given.items() if place is not None}
    origin["by"] = COMMAND_LINE
    with open_ledger(path) as ledger:
        yield Engine(own, data=data, model=model, ledger=ledger, origin=origin, **options)


def db_words(db: str | None, place: object) -> str:
    """Return what the next command must say to find the same ledger: nothing where the environment says it.

    Args:
        db: What this command was given.
        place: Where the ledger is, by its own account: that names no password.
    """
    return "" if db is None else f" --db {shlex.quote(str(place))}"


def ledger_file(db: str | None) -> str:
    """Return where the ledger is, for what reads files only, or writes beside one."""
    path = ledger_path(db)
    if is_postgres_url(path):
        raise InvalidInput("This command takes a ledger that is a file, and KAPELLE_DB or --db names a server.")
    return path


def draw(run: Run, svg: Path | None, *, full: bool = False) -> None:
    if svg is not None and run.graph is not None:
        states = {task_id: task.state for task_id, task in run.tasks.items()}
        write_file(svg, terminal.picture(run.graph, states=states, agents=run.assignments, full=full))


def check_targets(*paths: Path | None) -> None:
    """Refuse a target that cannot be written before anything runs, for a lost answer cannot be bought back."""
    for path in paths:
        if path is None:
            continue
        target = path.resolve()
        if target.is_dir() or not target.parent.is_dir():
            raise InvalidInput(f"Cannot write {str(path)!r}: its folder does not exist, or it is a folder.")
        if not os.access(target if target.exists() and not target.is_file() else target.parent, os.W_OK):
            raise InvalidInput(f"Cannot write {str(path)!r}: no permission.")


def write_file(path: Path, text: str) -> None:
    """Write a file whole or not at all; what is no file, a device say, is written to."""
    text = hide_known(text)
    target = path.resolve()
    if target.exists() and not target.is_file():
        try:
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InvalidInput(f"Cannot write {str(path)!r}: {error.strerror or error}.") from error
    else:
        write_beside_then_rename(target, text.encode())
