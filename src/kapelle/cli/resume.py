"""`kapelle resume`: goes on with a run as it was started, or says what of that is not there any more."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from kapelle.engine import Engine
from kapelle.errors import InvalidInput
from kapelle.execution import make_backend
from kapelle.ledger import Run, ledger_path, open_ledger, read_told
from kapelle.strategies import agents_of, strategy_from_dict

from .app import (
    COMMAND_LINE,
    Agents,
    Budget,
    Data,
    Db,
    Json,
    MaxTokens,
    Model,
    Output,
    RunId,
    Sql,
    Svg,
    app,
    check_targets,
    engine_of,
)
from .conduct import Shown, Start, hedged_limits, is_attended, run_and_show


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
    replan: Annotated[
        bool | None, typer.Option("--replan/--no-replan", help="Give tasks to other agents by what earlier ones took.")
    ] = None,
    output: Output = None,
    svg: Svg = None,
    sql: Sql = False,
    as_json: Json = False,
) -> None:
    """Go on with a run that was cut off, waits for people, or ended without being done. What is done stays done.

    Limits, data folder, agents, model, backend, hedging, reflecting, replanning and exploring are as when the run was
    started, or gone on with last, unless they are given.
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
            replan=replan,
            output=output,
            svg=svg,
            sql=sql,
            as_json=as_json,
        )
    )


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
    replan: bool | None = None,
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
        before = ledger.outline(run_id)
        place = str(ledger.path)
        if agents is None and _is_from_python(before):  # whose agents are missing, its tasks tell
            before = read_told(ledger, before.run_id)
    options: dict[str, Any] = {
        "explore": before.settings.get("explore", 0.0) if explore is None else explore,
        "limits": hedged_limits(bool(before.settings.get("hedge")) if hedge is None else hedge),
        "backend": _backend(before) if backend is None else backend,
        "reflect": bool(before.settings.get("reflect")) if reflect is None else reflect,
        "replan": bool(before.settings.get("replan", True)) if replan is None else replan,
        "attended": is_attended(as_json),
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
        shown = Shown(as_json=as_json, output=output, svg=svg, sql=sql, db=db)
        return run_and_show(engine, Start(resume=before.run_id), terms, shown)


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
