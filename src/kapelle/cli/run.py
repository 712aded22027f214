"""`kapelle run`, `plan` and `resume`: from a request to an answer; what a run asks on its way is asked at the terminal.

Refuses what cannot be written or read before anything runs.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from contextlib import ExitStack, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from kapelle.engine import Engine, Proposal
from kapelle.errors import InvalidInput
from kapelle.execution import ExecutionLimits, HedgePolicy, make_backend
from kapelle.ledger import Event, Run, ledger_path, open_ledger, printable
from kapelle.planning import PLAN_SUFFIXES, Plan, explain_edges, read_plan_stream, write_plan
from kapelle.process import drive
from kapelle.strategies import agents_of, strategy_from_dict
from kapelle.terminal import terminal

from .app import (
    COMMAND_LINE,
    Agents,
    Backend,
    Budget,
    Data,
    Db,
    Deadline,
    Hedge,
    Json,
    MaxTokens,
    Model,
    Output,
    Quality,
    RewardModel,
    RunId,
    Sql,
    Svg,
    app,
    check_targets,
    console,
    db_words,
    draw,
    engine_of,
    run_to_json,
    write_file,
)
from .asking import ask_here, can_ask
from .printing import WithoutSecrets, complain, print_json, say


@app.command(
    epilog="Examples: [bold]kapelle run plan.yaml --budget 0.50 --svg run.svg[/bold]; "
    "[bold]kapelle run 'find the three largest lakes of Peru, then a report' --reflect[/bold]"
)
def run(
    request: Annotated[
        str,
        typer.Argument(
            metavar="REQUEST|FILE", help="What you want, in words; or a plan file (.xml, .yaml, .json; - is stdin)."
        ),
    ],
    data: Data = None,
    budget: Budget = None,
    deadline: Deadline = None,
    quality: Quality = None,
    max_tokens: MaxTokens = None,
    model: Model = None,
    agents: Agents = None,
    db: Db = None,
    explore: Annotated[
        float, typer.Option("--explore", help="Share of tasks, 0 to 1, that may go to little known agents, to learn.")
    ] = 0.0,
    backend: Backend = "asyncio",
    hedge: Hedge = False,
    reflect: Annotated[
        bool,
        typer.Option("--reflect", help="Let the model look at what each task gave, and change what has not begun."),
    ] = False,
    reward_model: RewardModel = None,
    output: Output = None,
    svg: Svg = None,
    sql: Sql = False,
    as_json: Json = False,
) -> None:
    """Plan a request and run it."""
    check_targets(output, svg)
    terms = {"budget_usd": budget, "deadline_s": deadline, "min_quality": quality, "max_tokens": max_tokens}
    options: dict[str, Any] = {
        "explore": explore,
        "backend": backend,
        "limits": _limits(hedge),
        "reflect": reflect,
        "reward_model": reward_model,
    }
    with engine_of(agents, data, model, db, attended=_is_attended(as_json), **options) as engine:
        shown = _Shown(as_json=as_json, output=output, svg=svg, sql=sql, db=db)
        code = _run_and_show(engine, Start(request=read_request(request)), terms, shown)
    raise typer.Exit(code)


@app.command(epilog="Examples: [bold]kapelle resume last[/bold]; [bold]kapelle resume 20260101-1200 --budget 2[/bold]")
def resume(
    run_id: RunId,
    budget: Budget = None,
    deadline: Annotated[float | None, typer.Option("--deadline", help="Seconds that it may take from now on.")] = None,
    max_tokens: MaxTokens = None,
    data: Data = None,
    model: Model = None,
    agents: Agents = None,
    db: Db = None,
    explore: Annotated[
        float | None, typer.Option("--explore", help="Share of tasks that may go to little known agents, as for run.")
    ] = None,
    backend: Annotated[str | None, typer.Option("--backend", help="Where agents run, as for run.")] = None,
    hedge: Annotated[bool | None, typer.Option("--hedge/--no-hedge", help="Give stragglers a rival, or not.")] = None,
    reflect: Annotated[
        bool | None, typer.Option("--reflect/--no-reflect", help="Let the model change what has not begun, or not.")
    ] = None,
    output: Output = None,
    svg: Svg = None,
    sql: Sql = False,
    as_json: Json = False,
) -> None:
    """Go on with a run that was cut off, waits for people, or ended without being done. What is done stays done.

    Limits, data folder, agents, model, backend, hedging, reflecting and exploring are those that the run was started
    with, or gone on with last, unless they are given.
    """
    terms = {"budget_usd": budget, "deadline_s": deadline, "max_tokens": max_tokens}
    raise typer.Exit(
        go_on(
            run_id,
            terms,
            data=data,
            agents=agents,
            model=model,
            db=db,
            explore=explore,
            backend=backend,
            hedge=hedge,
            reflect=reflect,
            output=output,
            svg=svg,
            sql=sql,
            as_json=as_json,
        )
    )


@app.command(
    epilog="Example: [bold]kapelle plan 'the area of Peru, Chile and Bolivia, then a report' --svg p.svg[/bold]"
)
def plan(
    request: Annotated[
        str, typer.Argument(metavar="REQUEST|FILE", help="What you want, in words; or a plan file (- is stdin).")
    ],
    data: Data = None,
    budget: Budget = None,
    deadline: Deadline = None,
    quality: Quality = None,
    model: Model = None,
    agents: Agents = None,
    db: Db = None,
    reward_model: RewardModel = None,
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
    out = console()
    check_targets(svg)
    terms = {"budget_usd": budget, "deadline_s": deadline, "min_quality": quality}
    attended = edit and _is_attended(as_json)
    options: dict[str, Any] = {"attended": attended, "reward_model": reward_model}
    with engine_of(agents, data, model, db, reads_only=not edit, **options) as engine:
        proposal = drive(engine.plan(read_request(request), **terms))
        if edit:
            proposal = _edit(engine, proposal, terms, out)
            if proposal.validation.passed:
                shown = _Shown(as_json=as_json, svg=svg, db=db)
                raise typer.Exit(_run_and_show(engine, Start(request=proposal.plan), terms, shown))
        choices = drive(engine.frontier(proposal, deadline_s=deadline, min_quality=quality)) if frontier else None
    if choices is not None:
        if as_json:
            print_json({"frontier": choices.to_dict()})
        else:
            terminal.show_frontier(out, choices)
    elif as_json:
        print_json(proposal_to_json(proposal))
    elif as_yaml:
        say(write_plan(proposal.plan.request, proposal.plan.graph), end="")
    elif xml:
        say(proposal.plan.graph.to_xml())
    elif mermaid:
        say(proposal.plan.graph.to_mermaid())
    elif not edit:
        terminal.show_proposal(out, proposal)
    if svg is not None:
        write_file(svg, terminal.picture(proposal.plan.graph, states={}, agents=proposal.routing.assignments))
    # 2 says that nothing was spent.
    raise typer.Exit(0 if proposal.validation.passed else 1 if proposal.plan.cost_usd else 2)


def read_request(text: str) -> str | Path | Plan:
    """Words are words; a single word with a plan file's ending is that file, so that a typing error says so; `-` is the
    plan that is piped in."""
    if text == "-":
        if sys.stdin is None:
            raise InvalidInput("There is no standard input to read a plan from. Name a file.")
        return read_plan_stream(sys.stdin.buffer)
    path = Path(text)
    if path.suffix.lower() not in PLAN_SUFFIXES:
        return text
    try:
        named = len(text.split()) == 1 or path.is_file()
    except (OSError, ValueError):  # longer than a file's name can be, or not one at all
        named = False
    return path if named else text


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shown:
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

    request: str | Path | Plan = ""
    resume: str | None = None


def go_on(
    run_id: str,
    terms: dict[str, Any],
    *,
    data: Path | None = None,
    agents: Path | None = None,
    model: str | None = None,
    db: str | None = None,
    explore: float | None = None,
    backend: str | None = None,
    hedge: bool | None = None,
    reflect: bool | None = None,
    output: Path | None = None,
    svg: Path | None = None,
    sql: bool = False,
    as_json: bool = False,
) -> int:
    """Go on with a run, show it, and return the exit code. What is not given is as the run was started with.

    Raises:
        InvalidInput: there is no such run, it is done, or what it was started with is not there any more; or its agents
            are in a Python program.
        RunBusy: another engine works on it.
    """
    check_targets(output, svg)
    with open_ledger(ledger_path(db), read_only=True) as ledger:
        before = ledger.run(run_id)
        place = str(ledger.path)
    options: dict[str, Any] = {
        "explore": before.settings.get("explore", 0.0) if explore is None else explore,
        "limits": _limits(bool(before.settings.get("hedge")) if hedge is None else hedge),
        "backend": _backend(before) if backend is None else backend,
        "reflect": bool(before.settings.get("reflect")) if reflect is None else reflect,
        "attended": _is_attended(as_json),
    }
    own = agents or _place(before, "agents")
    data = data or _place(before, "data")
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(engine_of(own, data, model or before.settings.get("model"), db, **options))
        except InvalidInput as error:
            if model is None and _is_from_python(before):
                raise InvalidInput(f"{error} {_tell_way_in_python(before, (), place)}") from error
            raise
        if agents is None and _is_from_python(before) and (missing := _missing_agents(before, engine)):
            raise InvalidInput(_tell_way_in_python(before, missing, place))
        shown = _Shown(as_json=as_json, output=output, svg=svg, sql=sql, db=db)
        return _run_and_show(engine, Start(resume=before.run_id), terms, shown)


def _run_and_show(engine: Engine, start: Start, terms: dict[str, Any], shown: _Shown) -> int:
    """Run a request or go on with a run, show it, and return the exit code.

    Where a person sits at the terminal, what the run asks is asked there, and it goes on.
    """
    out, err = console(), console(stderr=True)
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
    if shown.as_json:
        print_json(run_to_json(run))
    else:
        more = db_words(shown.db, getattr(engine.ledger, "path", shown.db))
        terminal.show_run(err, run, more=more)
        if run.answer:
            terminal.show_answer(out, run.answer)
        terminal.show_understood(err, run, sql=shown.sql, more=more)
        if not engine.team.has_data:
            terminal.show_memory(err, run)
    # The answer is out; now it cannot be lost with a file that cannot be written.
    draw(run, shown.svg)
    if shown.output is not None and run.answer:
        write_file(shown.output, run.answer + "\n")
    if interrupted:
        return 130
    return {"done": 0, "waiting": 3}.get(run.state, 1)


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
        return engine.ledger.run(progress.run_id), True


def _is_attended(as_json: bool) -> bool:
    """Whether what a run asks can be asked here and now; with --json, standard output is for a program."""
    return not as_json and can_ask(console(stderr=True))


def _limits(hedge: bool) -> ExecutionLimits | None:
    return ExecutionLimits(hedge=HedgePolicy()) if hedge else None


def _backend(run: Run) -> str:
    """Return the backend that a run was started with.

    Raises:
        InvalidInput: it is not there any more.
    """
    name = run.settings.get("backend", "asyncio")
    try:
        make_backend(name)
    except InvalidInput as error:
        raise InvalidInput(
            f"Run {run.run_id} was started with the backend {name!r:.40}. {error} "
            f"Or go on with another: kapelle resume {run.run_id} --backend threads"
        ) from error
    return str(name)


def _is_from_python(run: Run) -> bool:
    """Whether a run was started by a program with an engine of its own, as far as its record tells."""
    origin = run.settings.get("origin")
    return "backend" in run.settings and not (isinstance(origin, dict) and origin.get("by") == COMMAND_LINE)


def _missing_agents(run: Run, engine: Engine) -> tuple[str, ...]:
    """Return the agents that tasks still to do were given to, and this engine does not have."""
    able = engine.team.registry.runnable()
    found: dict[str, None] = {}
    for task_id, agent in run.assignments.items():
        if task_id in run.tasks and run.tasks[task_id].state not in ("done", "expanded"):
            way = run.strategies.get(task_id)
            found |= dict.fromkeys(agents_of(strategy_from_dict(way)) if way is not None else (agent,))
    return tuple(agent for agent in found if agent not in able)


def _tell_way_in_python(run: Run, missing: tuple[str, ...], place: str) -> str:
    """Return the code that goes on with a run; without agents that are missing, it is its model that is not known."""
    named = ", ".join(missing) or "..."
    lacks = f"its agents ({named})" if missing else f"its model ({run.settings.get('model')})"
    model = "" if missing else ", model=..."
    option = "describe its agents in a file" if missing else "name a model"
    return (
        f"Run {run.run_id} was made in Python, and the command line does not have {lacks}. Go on with it there: "
        f"Engine(agents=[{named}]{model}, ledger=open_ledger({place!r})).resume_sync({run.run_id!r}). "
        f"Or {option}: kapelle resume {run.run_id} {'--agents FILE' if missing else '--model NAME'}"
    )


def _place(run: Run, name: str) -> Path | None:
    """Return a path that a run was started with, as option `--name`."""
    origin = run.settings.get("origin")
    place = origin.get(name) if isinstance(origin, dict) else None
    if not isinstance(place, str) or not place:
        return None
    if not Path(place).exists():
        raise InvalidInput(
            f"Run {run.run_id} was started with --{name} {place}, which is not there any more. "
            f"Say where it is now: kapelle resume {run.run_id} --{name} ..."
        )
    return Path(place)


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
        complain(f"Your edit is kept in {str(kept)!r}.")
    return edited


def proposal_to_json(proposal: Proposal) -> dict[str, Any]:
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
