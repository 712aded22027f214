"""`kapelle savings` and `learn`: what outcomes tell."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kapelle.cost import ColumnNames, Scale, format_report, read_log, run_savings
from kapelle.cost import learn as learn_from
from kapelle.engine import MOST_OUTCOMES
from kapelle.ledger import open_ledger, printable

from .app import Db, Json, app, console, ledger_file
from .printing import print_json, say


@app.command(
    epilog="Examples: [bold]kapelle savings log.csv[/bold]; [bold]kapelle savings runs.jsonl.gz --column quality=score "
    "--quality-scale 1-5 --plot curve.svg[/bold]"
)
def savings(
    log: Annotated[
        Path | None,
        typer.Argument(
            metavar="[LOG]",
            help="Outcomes of yours: CSV or JSON lines (also .gz), or a kapelle ledger; without one, your ledger.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="Which column is what, as quality=score; others are found by their names."),
    ] = None,
    quality_scale: Annotated[
        str | None, typer.Option("--quality-scale", help="What quality is measured on, such as 1-5 or 0-100.")
    ] = None,
    keep: Annotated[
        list[float] | None, typer.Option("--keep", help="Shares of today's quality to keep. Default: 0.95, 0.98, 1.")
    ] = None,
    today: Annotated[
        str | None, typer.Option("--today", help="The agent that does everything today. Default: the best one.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw cost and quality into this .svg or .png.")] = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write the policy that was learned into this file.")
    ] = None,
    db: Db = None,
    seed: Annotated[int, typer.Option("--seed", help="For what is drawn by chance.")] = 0,
    as_json: Json = False,
) -> None:
    """Tell from a log what routing would have saved, before anything is switched on."""
    with console(stderr=True).status("reading") as status:
        report = run_savings(
            log if log is not None else ledger_file(db),
            columns=column or (),
            quality_scale=quality_scale,
            today=today,
            shares=keep or (0.95, 0.98, 1.0),
            plot=plot,
            save=save,
            seed=seed,
            tell=lambda words: status.update(printable(words)),
        )
    if as_json:
        print_json(report.to_dict())
    else:
        say(format_report(report), end="")
    raise typer.Exit(0 if report.is_estimated else 1)


@app.command(epilog="Example: [bold]kapelle learn[/bold]; from a log of yours: [bold]kapelle learn log.csv[/bold]")
def learn(
    log: Annotated[
        Path | None, typer.Argument(metavar="[LOG]", help="A log as for `kapelle savings`; without one, your ledger.")
    ] = None,
    column: Annotated[list[str] | None, typer.Option("--column", help="Which column of the log is what.")] = None,
    quality_scale: Annotated[
        str | None, typer.Option("--quality-scale", help="What the log's quality is measured on, such as 1-5.")
    ] = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Learn from outcomes how hard tasks are and which strategies pay; later runs with this ledger use it."""
    path = ledger_file(db)
    folder = Path(f"{Path(path).expanduser()}.learned")
    with console(stderr=True).status("learning"):
        if log is None:
            with open_ledger(path, read_only=True) as ledger:
                lessons = learn_from(ledger.outcomes(limit=MOST_OUTCOMES), folder)
        else:
            scale = None if quality_scale is None else Scale.parse(quality_scale)
            lessons = learn_from(read_log(log, columns=ColumnNames.parse(column or ()), scale=scale).tasks, folder)
    if as_json:
        print_json({**asdict(lessons), "folder": str(folder)})
        return
    say(f"Learned from {lessons.tasks:,} tasks of {lessons.types} types and {lessons.agents} agents.")
    for task_type, note in sorted(lessons.notes.items()):
        say(f"  {task_type}: {note}")
    say(f"Runs with this ledger use it from now on: {folder}")
