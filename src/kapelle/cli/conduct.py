"""A run at the terminal, from its start or from where it was: shown while it goes, asked what it asks, then its end."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from kapelle import terminal
from kapelle.engine import Engine, Proposal
from kapelle.execution import ExecutionLimits, HedgePolicy
from kapelle.ledger import Event, Run, printable, read_told
from kapelle.planning import Plan
from kapelle.process import drive
from kapelle.views import run_in_parts

from .app import console, db_words, draw, write_file
from .asking import ask_here, can_ask
from .printing import WithoutSecrets, print_json

INTERRUPTED = 130
"""The exit code of a run that a signal stopped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """How a run is shown, and where its answer and picture go."""

    as_json: bool
    output: Path | None = None
    svg: Path | None = None
    sql: bool = False
    """Whether queries are shown."""
    db: str | None = None
    """The ledger that was asked for, which the next command has to name too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What to run: a request, or a run to go on with."""

    request: str | Path | Plan | Proposal = ""
    resume: str | None = None


def run_and_show(engine: Engine, start: Start, terms: dict[str, Any], shown: Shown) -> int:
    """Run a request or go on with a run, show it, and return the exit code."""
    run, code = run_to_end(engine, start, terms, shown)
    if shown.as_json:
        print_json(run_in_parts(run))
    else:
        show_run(engine, run, shown)
    # The answer is out; now it cannot be lost with a file that cannot be written.
    draw(run, shown.svg)
    if shown.output is not None and run.answer:
        write_file(shown.output, run.answer + "\n")
    return code


def run_to_end(engine: Engine, start: Start, terms: dict[str, Any], shown: Shown) -> tuple[Run, int]:
    """Run a request or go on with a run; return it, and the exit code.

    Where a person sits at the terminal, what the run asks is asked there, and it goes on.
    """
    err = console(stderr=True)
    if not shown.as_json:
        err.print(printable(engine.team.model_note), style="dim", markup=False, highlight=False)
    left_open: set[str] = set()
    while True:
        run, interrupted = _drive(engine, start, terms, err, quiet=shown.as_json)
        if interrupted or run.state != "waiting" or shown.as_json or not can_ask(err):
            break
        try:
            if not ask_here(engine, run, err, left_open):
                break
        except KeyboardInterrupt:
            interrupted = True
            break
        start, terms = Start(resume=run.run_id), {}
    return run, INTERRUPTED if interrupted else {"done": 0, "waiting": 3}.get(run.state, 1)


def show_run(engine: Engine, run: Run, shown: Shown) -> None:
    """Print how a run ended, and its answer."""
    out, err = console(), console(stderr=True)
    more = db_words(shown.db, getattr(engine.ledger, "path", shown.db))
    terminal.show_run(err, run, more=more)
    if run.answer:
        terminal.show_answer(out, run.answer)
    terminal.show_understood(err, run, sql=shown.sql, more=more)
    if not engine.team.has_data:
        terminal.show_memory(err, run)


def _drive(engine: Engine, start: Start, terms: dict[str, Any], err: Console, *, quiet: bool) -> tuple[Run, bool]:
    """Run to the next stop, and return the run, and whether a signal stopped it."""
    progress = terminal.LiveProgress(err, quiet=quiet)

    def watch_event(event: Event) -> None:
        if event.seq and progress.run_id is None:  # it goes on: what was before is read once nobody else writes it
            progress.show_so_far(one for one in engine.ledger.events(event.run_id) if one.seq < event.seq)
        progress.watch(event)

    watch: dict[str, Any] = {"on_event": watch_event, "on_text": progress.show_text}
    try:
        # What agents print is not the answer: standard output stays one answer, or one object.
        with progress, redirect_stdout(WithoutSecrets(sys.stderr)):
            if start.resume is not None:
                return drive(engine.resume(start.resume, **terms, **watch)), False
            return drive(engine.run(start.request, **terms, **watch)), False
    except KeyboardInterrupt:
        if progress.run_id is None:
            raise
        return read_told(engine.ledger, progress.run_id), True


def is_attended(as_json: bool) -> bool:
    """Whether what a run asks can be asked here and now; with --json, standard output is for a program."""
    return not as_json and can_ask(console(stderr=True))


def hedged_limits(hedge: bool) -> ExecutionLimits | None:
    return ExecutionLimits(hedge=HedgePolicy()) if hedge else None
