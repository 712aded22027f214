"""`kapelle run` and `plan`: what a request becomes, and what it gives.

Refuses what cannot be written or read before anything runs.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from kapelle import terminal
from kapelle.engine import Engine, Proposal
from kapelle.errors import InvalidInput
from kapelle.limits import MAX_TASKS
from kapelle.planning import PLAN_SUFFIXES, Plan, read_plan_stream, write_plan
from kapelle.process import drive
from kapelle.views import proposal_to_json

from .app import (
    Agents,
    Backend,
    Budget,
    Data,
    Db,
    Deadline,
    Hedge,
    Json,
    MaxTasks,
    MaxTokens,
    Model,
    NoReplan,
    Output,
    Quality,
    RewardModel,
    Sql,
    Svg,
    app,
    check_targets,
    console,
    engine_of,
    write_file,
)
from .conduct import Shown, Start, hedged_limits, is_attended, run_and_show
from .printing import complain, print_json, say
from .together import Together, check_together, plan_together, run_together, show_planned


@app.command(
    epilog="Examples: [bold]kapelle run plan.yaml --budget 0.50 --svg run.svg[/bold]; "
    "[bold]kapelle run 'find the three largest lakes of Peru, then a report' --reflect[/bold]"
)
def run(
    request: Annotated[
        list[str],
        typer.Argument(
            metavar="REQUEST|FILE", help="What you want, in words; or a plan file (.xml, .yaml, .json; - is stdin)."
        ),
    ],
    together: Together = False,
    data: Data = None,
    budget: Budget = None,
    deadline: Deadline = None,
    quality: Quality = None,
    max_tokens: MaxTokens = None,
    max_tasks: MaxTasks = None,
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
    no_replan: NoReplan = False,
    reward_model: RewardModel = None,
    output: Output = None,
    svg: Svg = None,
    sql: Sql = False,
    as_json: Json = False,
) -> None:
    """Plan a request and run it."""
    alone = {"output": output, "svg": svg, "max_tokens": max_tokens, "max_tasks": max_tasks, "explore": explore}
    check_together(request, together, **alone)
    check_targets(output, svg)
    terms: dict[str, Any] = {"budget_usd": budget, "deadline_s": deadline, "min_quality": quality}
    options: dict[str, Any] = {
        "explore": explore,
        "backend": backend,
        "limits": hedged_limits(hedge),
        "reflect": reflect,
        "replan": not no_replan,
        "reward_model": reward_model,
    }
    with engine_of(agents, data, model, db, attended=is_attended(as_json), **options) as engine:
        shown = Shown(as_json=as_json, output=output, svg=svg, sql=sql, db=db)
        if together:
            code = run_together(engine, [read_request(one) for one in request], terms, shown)
        else:
            terms |= {"max_tokens": max_tokens, "max_tasks": max_tasks}
            code = run_and_show(engine, Start(request=read_request(request[0], max_tasks)), terms, shown)
    raise typer.Exit(code)


@app.command(
    epilog="Example: [bold]kapelle plan 'the area of Peru, Chile and Bolivia, then a report' --svg p.svg[/bold]"
)
def plan(
    request: Annotated[
        list[str], typer.Argument(metavar="REQUEST|FILE", help="What you want, in words; or a plan file (- is stdin).")
    ],
    together: Together = False,
    data: Data = None,
    budget: Budget = None,
    deadline: Deadline = None,
    quality: Quality = None,
    max_tasks: MaxTasks = None,
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
    alone = {"svg": svg, "edit": edit, "yaml": as_yaml, "xml": xml, "mermaid": mermaid, "frontier": frontier}
    check_together(request, together, **alone, max_tasks=max_tasks)
    check_targets(svg)
    terms: dict[str, Any] = {"budget_usd": budget, "deadline_s": deadline, "min_quality": quality}
    attended = edit and is_attended(as_json)
    options: dict[str, Any] = {"attended": attended, "reward_model": reward_model}
    with engine_of(agents, data, model, db, reads_only=not edit, **options) as engine:
        if together:
            found = plan_together(engine, [read_request(one) for one in request], terms)
            raise typer.Exit(show_planned(found, as_json=as_json))
        terms["max_tasks"] = max_tasks
        proposal = drive(engine.plan(read_request(request[0], max_tasks), **terms))
        if edit:
            proposal = _edit(engine, proposal, terms, out)
            if proposal.validation.passed:
                shown = Shown(as_json=as_json, svg=svg, db=db)
                raise typer.Exit(run_and_show(engine, Start(request=proposal.plan), terms, shown))
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


def read_request(text: str, max_tasks: int | None = None) -> str | Path | Plan:
    """Words are words; a single word with a plan file's ending is that file, so that a typing error says so; `-` is the
    plan that is piped in."""
    if text == "-":
        if sys.stdin is None:
            raise InvalidInput("There is no standard input to read a plan from. Name a file.")
        return read_plan_stream(sys.stdin.buffer, max_tasks=max_tasks or MAX_TASKS)
    path = Path(text)
    if path.suffix.lower() not in PLAN_SUFFIXES:
        return text
    try:
        named = len(text.split()) == 1 or path.is_file()
    except (OSError, ValueError):  # longer than a file's name can be, or not one at all
        named = False
    return path if named else text


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
