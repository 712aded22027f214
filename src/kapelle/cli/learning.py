"""`kapelle savings`, `learn`, `rate` and `forget`: what outcomes tell, and what people say of them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from kapelle.errors import InvalidInput, NotFound
from kapelle.evaluation import MAX_LEDGER_ROWS, ColumnNames, Scale, format_report, read_log, run_savings
from kapelle.learning import learn as learn_from
from kapelle.ledger import has_ledger, is_postgres_url, ledger_path, open_ledger, printable, read_told

from .app import Db, Json, RewardModel, RunId, app, console, engine_of, ledger_file
from .asking import who
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
    margin: Annotated[
        float, typer.Option("--margin", help="Standard errors of quality to ask for beyond each share, such as 1.")
    ] = 0.0,
    today: Annotated[
        str | None, typer.Option("--today", help="The agent that does everything today. Default: the best one.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw cost and quality into this .svg or .png.")] = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write what was learned into this file, for Engine(learned=FILE).")
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
            margin=margin,
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
    keep: Annotated[
        float, typer.Option("--keep", help="Share of today's quality that runs are to keep, as for `kapelle savings`.")
    ] = 1.0,
    today: Annotated[
        str | None, typer.Option("--today", help="The agent that does everything today, as for `kapelle savings`.")
    ] = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Learn from outcomes what words tell, what pays and who does what; later runs with this ledger use it."""
    path = ledger_file(db)
    folder = Path(f"{Path(path).expanduser()}.learned")
    with console(stderr=True).status("learning"):
        if log is None:
            with open_ledger(path, read_only=True) as ledger:
                learned = learn_from(ledger.outcomes(limit=MAX_LEDGER_ROWS), folder, keep=keep, today=today)
        else:
            scale = None if quality_scale is None else Scale.parse(quality_scale)
            found = read_log(log, columns=ColumnNames.parse(column or ()), scale=scale)
            learned = learn_from(found, folder, keep=keep, today=today)
    if as_json:
        print_json({**asdict(learned), "folder": str(folder)})
        return
    say(f"Learned from {learned.tasks:,} tasks of {learned.types} types and {learned.agents} agents.")
    for task_type, note in sorted(learned.notes.items()):
        say(f"  {task_type}: {note}")
    say(learned.policy)
    say(f"Runs with this ledger use it from now on: {folder}")


@app.command(
    epilog="Examples: [bold]kapelle rate last good[/bold]; one task of a run: [bold]kapelle rate 20260101-1200 t2 "
    "bad[/bold]; in between: [bold]kapelle rate last 0.7[/bold]"
)
def rate(
    run_id: RunId,
    words: Annotated[
        list[str], typer.Argument(metavar="[TASK] good|bad|0..1", help="Which task, if not the last; and how good.")
    ],
    db: Db = None,
    reward_model: RewardModel = None,
    as_json: Json = False,
) -> None:
    """Say how good an answer was, also days later: estimates learn from it. Said again, the last word counts."""
    if len(words) > 2:
        raise InvalidInput(f"{' '.join(words)!r:.80} is too much: kapelle rate RUN [TASK] good|bad|0..1.")
    value, task_id = _read_rating(words[-1]), words[0] if len(words) == 2 else None
    with open_ledger(ledger_path(db), read_only=True) as ledger:
        run_id = ledger.find_run(run_id)  # before an engine makes a ledger where there is none
    with engine_of(None, None, "none", db, reward_model=reward_model) as engine:
        rated = engine.rate(run_id, task_id, value, by=who())
    if as_json:
        print_json({"run_id": run_id, "tasks": rated, "quality": value, "measured_by": "person"})
        return
    with open_ledger(ledger_path(db), read_only=True) as ledger:
        run = read_told(ledger, run_id)
    agents = {name: run.tasks[name].agent or run.assignments[name] for name in rated}
    said = ", ".join(f"{name} ({agent})" for name, agent in agents.items())
    say(f"Noted for run {run_id}: {said} {value:.0%} right. Later estimates learn from it.")


@app.command(
    epilog="Examples: [bold]kapelle forget my_agent --dry-run[/bold]; "
    "[bold]kapelle forget my_agent --type lookup[/bold]; [bold]kapelle forget my_agent --before 2026-01-31[/bold]"
)
def forget(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent's id; `kapelle agents` lists them.")],
    task_type: Annotated[str | None, typer.Option("--type", help="Only what it did at this type of task.")] = None,
    before: Annotated[
        str | None, typer.Option("--before", help="Only what ended before this day or time, as 2026-01-31 [12:30].")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would count no more.")] = False,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Let an agent start anew, because it was mended for instance: what it did so far counts no more. Runs stay."""
    until = None if before is None else _read_time(before)
    path = ledger_path(db)
    if not has_ledger(path):
        raise NotFound(f"There is no ledger {path!r} yet, so there is nothing to forget.")
    with engine_of(None, None, "none", db) as engine:
        count = engine.forget(agent, task_type, until, by=who(), dry_run=dry_run)
    learned = None if is_postgres_url(path) else Path(f"{Path(path).expanduser()}.learned")
    if as_json:
        print_json({"agent": agent, "task_type": task_type, "before": until, "outcomes": count, "dry_run": dry_run})
        return
    what = f"{count:,} outcome{'s' * (count != 1)} of {agent}" + (f" at {task_type}" if task_type is not None else "")
    say(
        f"{what} would count no more."
        if dry_run
        else f"{what} count{'s' * (count == 1)} no more. Runs stay as they are."
    )
    if not dry_run and learned is not None and learned.is_dir():
        say("What `kapelle learn` made of them stays until you call it again.")


def _read_rating(word: str) -> float:
    named = {"good": 1.0, "bad": 0.0}.get(word.casefold())
    if named is not None:
        return named
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InvalidInput(f"{word!r:.40} is no rating. Say good, bad, or a number from 0 to 1.")
    return value


def _read_time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(
            f"--before {text!r:.40} is no day or time. Write it as 2026-01-31 or 2026-01-31 12:30."
        ) from None
