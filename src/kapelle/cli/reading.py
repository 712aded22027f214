"""`kapelle explain`, `runs`, `agents` and `gc`: what the ledger knows, and what it is to forget."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import Annotated

import typer

from kapelle import terminal
from kapelle.errors import InvalidInput
from kapelle.graph import MAX_DRAWN
from kapelle.ledger import has_ledger, ledger_path, open_ledger, read_told
from kapelle.views import run_in_parts, task_to_json

from .app import (
    Agents,
    Data,
    Db,
    Json,
    Model,
    RunId,
    Svg,
    app,
    check_targets,
    console,
    db_words,
    draw,
    engine_of,
)
from .printing import print_json, say

DAY_S = 86_400


@app.command(
    epilog="Examples: [bold]kapelle explain last[/bold]; one task: [bold]kapelle explain last s2[/bold]; with what "
    "agents raised: [bold]kapelle explain last -v[/bold]"
)
def explain(
    run_id: RunId,
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help="One of its tasks: of the others little is read.")
    ] = None,
    db: Db = None,
    svg: Svg = None,
    full: Annotated[
        bool, typer.Option("--full", help=f"Every task, also where there are more than {MAX_DRAWN:,}.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="With the tracebacks of agents that failed; JSON always has them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Tell what happened in a run: who did what and why, what it cost, what went wrong."""
    check_targets(svg)
    if task is not None:
        if svg is not None:
            raise InvalidInput("--svg draws a run, and not one of its tasks. Leave one of the two out.")
        _explain_task(run_id, task, db, verbose=verbose, as_json=as_json)
        return
    with open_ledger(ledger_path(db), read_only=True) as ledger:
        found, history = (read_told(ledger, run_id), []) if as_json else ledger.fold(run_id, terminal.tell_history)
        found = ledger.examine().as_it_is(found)
        more = db_words(db, ledger.path)
    draw(found, svg, full=full)
    if as_json:
        print_json(run_in_parts(found))
    else:
        say(found.explain(verbose=verbose, full=full))
        terminal.show_history(console(), history)
        if found.state == "interrupted":
            say(f"\nTo go on: kapelle resume {found.run_id}{more}")


def _explain_task(run_id: str, task_id: str, db: str | None, *, verbose: bool, as_json: bool) -> None:
    with open_ledger(ledger_path(db), read_only=True) as ledger:
        found = ledger.examine().as_it_is(ledger.excerpt(run_id, task_id))
    if as_json:
        print_json(task_to_json(found, task_id))
    else:
        say(found.explain_task(task_id, verbose=verbose))


@app.command(epilog="Example: [bold]kapelle runs --limit 5[/bold]")
def runs(
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many, newest first.")] = 20,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """List the runs in the ledger."""
    with open_ledger(ledger_path(db), read_only=True) as ledger:
        found = ledger.examine().as_they_are(ledger.runs(limit=limit))
    if as_json:
        print_json({"runs": [asdict(summary) for summary in found]})
    else:
        terminal.show_runs(console(), found)


@app.command(epilog="Example: [bold]kapelle agents --data examples/atlas/data[/bold]")
def agents(
    data: Data = None,
    agents_file: Agents = None,
    model: Model = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """List the agents: what they take, what they cost, and what the ledger knows of them."""
    with engine_of(agents_file, data, model, db, reads_only=True) as engine:
        registry, note = engine.team.registry, engine.team.model_note
        if as_json:
            runnable = registry.runnable()
            cards = [
                {**asdict(card), "skills": sorted(card.skills), "runnable": agent_id in runnable}
                for agent_id, card in registry.items()
            ]
            print_json({"agents": cards, "model": engine.team.model_name})
        else:
            terminal.show_agents(console(), registry, engine.profiler, note)


@app.command(
    epilog="Examples: [bold]kapelle gc --keep-days 7 --dry-run[/bold]; [bold]kapelle gc --db old.sqlite[/bold]"
)
def gc(
    keep_days: Annotated[float, typer.Option("--keep-days", min=0, help="Runs that ended later than that stay.")] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be forgotten.")] = False,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Forget old runs: their events and results. What was learned from them stays, and so do runs that are not over."""
    if not math.isfinite(keep_days):
        raise InvalidInput(f"--keep-days {keep_days} is no number of days. To forget all that is over: --keep-days 0")
    path = ledger_path(db)
    with open_ledger(path, read_only=not has_ledger(path)) as ledger:  # collecting makes no ledger
        found = ledger.collect(time.time() - keep_days * DAY_S, dry_run=dry_run)
    if as_json:
        print_json({**asdict(found), "dry_run": dry_run})
        return
    what = "Would be forgotten" if dry_run else "Forgotten"
    say(
        f"{what}, ended more than {keep_days:g} days ago: {found.runs:,} run{'s' * (found.runs != 1)} with "
        f"{found.events:,} events and {found.blobs:,} large results, {found.bytes_freed / 1e6:,.1f} MB. What was "
        "learned from them stays."
    )
