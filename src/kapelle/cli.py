"""The command line: arguments in, engine call, text out. Answers go to standard output, everything else to the other.

Exit codes: 0 the run is done; 1 it ended without being done, or a provider is out of reach; 2 what was given is wrong,
and nothing has run; 130 interrupted.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import kapelle
from kapelle import terminal
from kapelle.agents import AgentRegistry
from kapelle.cost import ColumnNames, Scale, format_report, read_log, run_savings
from kapelle.cost import learn as learn_from
from kapelle.engine import MOST_OUTCOMES, Engine, Proposal
from kapelle.errors import InvalidInput, KapelleError
from kapelle.ledger import Run, has_ledger, is_postgres_url, ledger_path, open_ledger, printable
from kapelle.planning import PLAN_SUFFIXES, Plan, explain_edges, write_plan
from kapelle.process import drive, leave

app = typer.Typer(
    name="kapelle",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The conductor for AI agents: plans a request, gives every task to the agent that does it at least cost, "
    "proves the plan, and runs it as data flow.",
    epilog="Example: [bold]kapelle run 'Compare the capitals of France and Germany' --data examples/atlas/data[/bold]",
)

Data = Annotated[Path | None, typer.Option("--data", help="Folder of documents and tables that local agents may read.")]
Agents = Annotated[Path | None, typer.Option("--agents", help="YAML file that describes agents of your own.")]
Model = Annotated[
    str | None, typer.Option("--model", help="provider:name, or 'none'. Default: the environment, see KAPELLE_MODEL.")
]
Db = Annotated[
    str | None, typer.Option("--db", help="Ledger: a file, or postgresql://... Default: KAPELLE_DB, else your data.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Budget = Annotated[float | None, typer.Option("--budget", help="Dollars that the run may cost, planning included.")]
Deadline = Annotated[float | None, typer.Option("--deadline", help="Seconds that the run may take.")]
Quality = Annotated[float | None, typer.Option("--quality", help="Least expected share of tasks that succeed, 0 to 1.")]
Svg = Annotated[Path | None, typer.Option("--svg", help="Draw the graph into this file.")]


@app.command(epilog="Example: [bold]kapelle run plan.yaml --budget 0.50 --svg run.svg[/bold]")
def run(
    request: Annotated[
        str,
        typer.Argument(metavar="REQUEST|FILE", help="What you want, in words; or a plan file (.xml, .yaml, .json)."),
    ],
    data: Data = None,
    budget: Budget = None,
    deadline: Deadline = None,
    quality: Quality = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="Tokens that all agents may use.")] = None,
    model: Model = None,
    agents: Agents = None,
    db: Db = None,
    explore: Annotated[
        float, typer.Option("--explore", help="Share of tasks, 0 to 1, that may go to little known agents, to learn.")
    ] = 0.0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the answer into this file too.")] = None,
    svg: Svg = None,
    as_json: Json = False,
) -> None:
    """Plan a request and run it."""
    _check_targets(output, svg)
    terms = {"budget_usd": budget, "deadline_s": deadline, "min_quality": quality, "max_tokens": max_tokens}
    with _engine(agents, data, model, db, explore=explore) as engine:
        code = _run(engine, _request(request), terms, as_json=as_json, output=output, svg=svg)
    raise typer.Exit(code)


@app.command(
    epilog="Example: [bold]kapelle plan 'the area of Peru, Chile and Bolivia, then a report' --svg p.svg[/bold]"
)
def plan(
    request: Annotated[str, typer.Argument(metavar="REQUEST|FILE", help="What you want, in words; or a plan file.")],
    data: Data = None,
    budget: Budget = None,
    deadline: Deadline = None,
    quality: Quality = None,
    model: Model = None,
    agents: Agents = None,
    db: Db = None,
    svg: Svg = None,
    edit: Annotated[bool, typer.Option("--edit", help="Open the plan in your editor, check it, and run it.")] = False,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Print the plan as YAML, for `kapelle run FILE.yaml`.")
    ] = False,
    xml: Annotated[bool, typer.Option("--xml", help="Print the graph as XML, for `kapelle run FILE.xml`.")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print the graph as a Mermaid flowchart.")] = False,
    frontier: Annotated[
        bool, typer.Option("--frontier", help="Show the choices: the best plans by cost, time and quality.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what a request would become, without running it; with --edit, change it and then run it."""
    out = _console()
    _check_targets(svg)
    terms = {"budget_usd": budget, "deadline_s": deadline, "min_quality": quality}
    with _engine(agents, data, model, db, reads_only=not edit) as engine:
        proposal = drive(engine.plan(_request(request), **terms))
        if edit:
            proposal = _edit(engine, proposal, terms, out)
            if proposal.validation.passed:
                raise typer.Exit(_run(engine, proposal.plan, terms, as_json=as_json, output=None, svg=svg))
        choices = drive(engine.frontier(proposal, deadline_s=deadline, min_quality=quality)) if frontier else None
    if choices is not None:
        if as_json:
            _print_json({"frontier": choices.to_dict()})
        else:
            terminal.show_frontier(out, choices)
    elif as_json:
        _print_json(_proposal_json(proposal))
    elif as_yaml:
        print(write_plan(proposal.plan.request, proposal.plan.graph), end="")
    elif xml:
        print(proposal.plan.graph.to_xml())
    elif mermaid:
        print(proposal.plan.graph.to_mermaid())
    elif not edit:
        terminal.show_proposal(out, proposal)
    if svg is not None:
        _write(svg, terminal.picture(proposal.plan.graph, states={}, agents=proposal.routing.assignments))
    raise typer.Exit(0 if proposal.validation.passed else 2)


@app.command(epilog="Example: [bold]kapelle explain last[/bold]")
def explain(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, the beginning of one, or 'last'.")],
    db: Db = None,
    svg: Svg = None,
    as_json: Json = False,
) -> None:
    """Tell what happened in a run: who did what and why, what it cost, what went wrong."""
    _check_targets(svg)
    with open_ledger(ledger_path(db), read_only=True) as ledger:
        found = ledger.run(run_id)
    _draw(found, svg)
    if as_json:
        _print_json(_run_json(found))
    else:
        print(found.explain())


@app.command(epilog="Example: [bold]kapelle runs --limit 5[/bold]")
def runs(
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many, newest first.")] = 20,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """List the runs in the ledger."""
    with open_ledger(ledger_path(db), read_only=True) as ledger:
        found = ledger.runs(limit=limit)
    if as_json:
        _print_json({"runs": [asdict(summary) for summary in found]})
    else:
        terminal.show_runs(_console(), found)


@app.command(epilog="Example: [bold]kapelle agents --data examples/atlas/data[/bold]")
def agents(
    data: Data = None,
    agents_file: Agents = None,
    model: Model = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """List the agents: what they take, what they cost, and what the ledger knows of them."""
    with _engine(agents_file, data, model, db, reads_only=True) as engine:
        registry, note = engine.team.registry, engine.team.model_note
        if as_json:
            runnable = registry.runnable()
            cards = [
                {**asdict(card), "skills": sorted(card.skills), "runnable": agent_id in runnable}
                for agent_id, card in registry.items()
            ]
            _print_json({"agents": cards, "model": engine.team.model_name})
        else:
            terminal.show_agents(_console(), registry, engine.profiler, note)


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
    console = _console(stderr=True)
    with console.status("reading") as status:
        report = run_savings(
            log if log is not None else _ledger_file(db),
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
        _print_json(report.to_dict())
    else:
        print(printable(format_report(report)), end="")
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
    path = _ledger_file(db)
    folder = Path(f"{Path(path).expanduser()}.learned")
    with _console(stderr=True).status("learning"):
        if log is None:
            with open_ledger(path, read_only=True) as ledger:
                lessons = learn_from(ledger.outcomes(limit=MOST_OUTCOMES), folder)
        else:
            scale = None if quality_scale is None else Scale.parse(quality_scale)
            lessons = learn_from(read_log(log, columns=ColumnNames.parse(column or ()), scale=scale).tasks, folder)
    if as_json:
        _print_json({**asdict(lessons), "folder": str(folder)})
        return
    print(f"Learned from {lessons.tasks:,} tasks of {lessons.types} types and {lessons.agents} agents.")
    for task_type, note in sorted(lessons.notes.items()):
        print(printable(f"  {task_type}: {note}"))
    print(f"Runs with this ledger use it from now on: {folder}")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"kapelle {kapelle.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line: errors become one line and an exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that knows no ✓ shows ?, and the run goes on
    logging.getLogger("kapelle").addHandler(logging.NullHandler())  # what matters is said by events and errors
    code: int | str | None = 0
    try:
        app(prog_name="kapelle")
    except SystemExit as ended:
        code = ended.code
    except KapelleError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # The reader, such as `head`, has gone. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    leave(code if isinstance(code, int) else 1)


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr)
    columns = os.environ.get("COLUMNS", "")
    # A file or a pipe has no width of its own.
    width = int(columns) if columns.isdecimal() and 20 <= int(columns) <= 10_000 else 160
    return console if console.is_terminal else Console(stderr=stderr, width=width)


@contextmanager
def _engine(
    agents_file: Path | None,
    data: Path | None,
    model: str | None,
    db: str | None,
    *,
    reads_only: bool = False,
    explore: float = 0.0,
) -> Iterator[Engine]:
    """An engine on the user's ledger. One that only reads leaves no ledger behind where there was none."""
    if agents_file is not None and str(agents_file.parent.resolve()) not in sys.path:
        sys.path.append(str(agents_file.parent.resolve()))  # `run: module:name` is found beside the file
    own = AgentRegistry.from_yaml(agents_file) if agents_file is not None else AgentRegistry()
    path = ledger_path(db)
    if reads_only and not has_ledger(path):
        path = ":memory:"
    with open_ledger(path) as ledger:
        yield Engine(own, data=data, model=model, ledger=ledger, explore=explore)


def _ledger_file(db: str | None) -> str:
    """Return where the ledger is, for what reads files only, or writes beside one."""
    path = ledger_path(db)
    if is_postgres_url(path):
        raise InvalidInput("This command takes a ledger that is a file, and KAPELLE_DB or --db names a server.")
    return path


def _request(text: str) -> str | Path:
    """Words are words; a single word with a plan file's ending is that file, so that a typing error says so."""
    path = Path(text)
    if path.suffix.lower() not in PLAN_SUFFIXES:
        return text
    try:
        named = len(text.split()) == 1 or path.is_file()
    except (OSError, ValueError):  # longer than a file's name can be, or not one at all
        named = False
    return path if named else text


def _run(
    engine: Engine,
    request: str | Path | Plan,
    terms: dict[str, Any],
    *,
    as_json: bool,
    output: Path | None,
    svg: Path | None,
) -> int:
    """Run a request, show it, and return the exit code."""
    out, err = _console(), _console(stderr=True)
    if not as_json:
        err.print(engine.team.model_note, style="dim", markup=False, highlight=False)
    progress = terminal.LiveProgress(err, quiet=as_json)
    interrupted = False
    try:
        # What agents print is not the answer: standard output stays one answer, or one object.
        with progress, redirect_stdout(sys.stderr):
            run = drive(engine.run(request, **terms, on_event=progress.watch))
    except KeyboardInterrupt:
        if progress.run_id is None:
            raise
        run, interrupted = engine.ledger.run(progress.run_id), True
    if as_json:
        _print_json(_run_json(run))
    else:
        terminal.show_run(err, run)
        if run.answer:
            terminal.show_answer(out, run.answer)
    # The answer is out; now it cannot be lost with a file that cannot be written.
    _draw(run, svg)
    if output is not None and run.answer:
        _write(output, run.answer + "\n")
    return 130 if interrupted else 0 if run.state == "done" else 1


def _edit(engine: Engine, proposal: Proposal, terms: dict[str, Any], out: Console) -> Proposal:
    """Let the user edit a plan, and return what the engine says of it."""
    kept = Path(tempfile.mkdtemp(prefix="kapelle-")) / "plan.yaml"
    kept.write_text(write_plan(proposal.plan.request, proposal.plan.graph), encoding="utf-8")
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        subprocess.run([*shlex.split(editor), str(kept)], check=True)  # noqa: S603 - the user's own editor
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise InvalidInput(f"The editor {editor!r} did not end well: {error}. Name another in EDITOR.") from error
    try:
        edited = drive(engine.plan(kept, **terms))
    except InvalidInput as error:
        raise InvalidInput(f"{error} Your edit is kept in {str(kept)!r}.") from error
    terminal.show_proposal(out, edited)
    if edited.validation.passed:
        kept.unlink()
        kept.parent.rmdir()
    else:
        print(f"Your edit is kept in {str(kept)!r}.", file=sys.stderr)
    return edited


def _draw(run: Run, svg: Path | None) -> None:
    if svg is not None and run.graph is not None:
        states = {task_id: task.state for task_id, task in run.tasks.items()}
        _write(svg, terminal.picture(run.graph, states=states, agents=run.assignments))


def _check_targets(*paths: Path | None) -> None:
    """Refuse a target that cannot be written before anything runs, for a lost answer cannot be bought back."""
    for path in paths:
        if path is None:
            continue
        target = path.resolve()
        if target.is_dir() or not target.parent.is_dir():
            raise InvalidInput(f"Cannot write {str(path)!r}: its folder does not exist, or it is a folder.")
        if not os.access(target if target.exists() and not target.is_file() else target.parent, os.W_OK):
            raise InvalidInput(f"Cannot write {str(path)!r}: no permission.")


def _write(path: Path, text: str) -> None:
    """Write beside, then rename: a full disk leaves no half of a file. What is no file, a device say, is written to."""
    target = path.resolve()
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")
            return
        beside.write_text(text, encoding="utf-8")
        beside.replace(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InvalidInput(f"Cannot write {str(path)!r}: {error.strerror or error}.") from error


def _print_json(value: dict[str, Any]) -> None:
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(value, ensure_ascii=not unicode, default=str))


def _run_json(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "request": run.request,
        "state": run.state,
        "stop_reason": run.stop_reason,
        "answer": run.answer,
        "cost_usd": run.cost_usd,
        "overrun_usd": run.overrun_usd,
        "cost_by_agent": run.cost_by_agent,
        "usage": asdict(run.usage),
        "seconds": run.seconds,
        "critical_path_seconds": run.critical_path_seconds,
        "planner": run.planner,
        "notes": list(run.notes),
        "issues": list(run.issues),
        "settings": dict(run.settings),
        "graph": None if run.graph is None else run.graph.to_dict(),
        "assignments": dict(run.assignments),
        "explanations": dict(run.explanations),
        "tasks": {task_id: asdict(task) for task_id, task in run.tasks.items()},
        "replaced": {task_id: asdict(task) for task_id, task in run.replaced.items()},
    }


def _proposal_json(proposal: Proposal) -> dict[str, Any]:
    validation = proposal.validation
    return {
        "request": proposal.plan.request,
        "planner": proposal.plan.planner,
        "notes": list(proposal.plan.notes),
        "cost_of_planning_usd": proposal.plan.cost_usd,
        "graph": proposal.plan.graph.to_dict(),
        "edges": [
            {"source": source, "target": target, "reason": reason}
            for (source, target), reason in explain_edges(proposal.plan.graph, proposal.plan.request).items()
        ],
        "levels": [list(level) for level in proposal.plan.graph.levels()],
        "assignments": dict(proposal.routing.assignments),
        "explanations": dict(proposal.routing.explanations),
        "unassigned": dict(proposal.routing.unassigned),
        "routing": dict(proposal.routing.metadata),
        "approved": validation.passed,
        "issues": [asdict(issue) for issue in validation.issues],
        "score": validation.quality_score,
        "estimated_cost_usd": validation.estimated_cost,
        "estimated_seconds": validation.estimated_time,
        "estimates": {task_id: asdict(estimate) for task_id, estimate in validation.estimates.items()},
    }


if __name__ == "__main__":
    main()
