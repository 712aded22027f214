"""`kapelle questions`, `approve`, `reject`, `answer` and `stop`: what people say to runs, from any terminal."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.prompt import Confirm, Prompt
from rich.text import Text

from kapelle import terminal
from kapelle.engine import Engine
from kapelle.errors import InvalidInput, NotFound
from kapelle.ledger import Question, Run, ledger_path, open_ledger, printable

from .app import Db, Json, Note, app, console, engine_of, print_json

Target = Annotated[
    str, typer.Argument(metavar="QUESTION|RUN", help="A question's id, or a run (or 'last') that asks just one thing.")
]


@app.command(epilog="Example: [bold]kapelle questions[/bold]")
def questions(db: Db = None, as_json: Json = False) -> None:
    """List what tasks wait for people to answer, in all runs."""
    with open_ledger(ledger_path(db), read_only=True) as ledger:
        found = ledger.questions()
    if as_json:
        print_json({"questions": [asdict(one) for one in found]})
    else:
        terminal.show_questions(console(), found)


@app.command(epilog="Examples: [bold]kapelle approve q-1f2e3d4c[/bold]; [bold]kapelle approve last --note fine[/bold]")
def approve(target: Target, note: Note = "", db: Db = None, as_json: Json = False) -> None:
    """Let a task go on that asks for approval."""
    _say(target, lambda engine, asked: engine.approve(asked, note, by=_who()), db, as_json=as_json)


@app.command(epilog="Example: [bold]kapelle reject q-1f2e3d4c --note 'the account is wrong'[/bold]")
def reject(target: Target, note: Note = "", db: Db = None, as_json: Json = False) -> None:
    """Refuse a task that asks for approval: it fails, and what needs it is skipped."""
    _say(target, lambda engine, asked: engine.reject(asked, note, by=_who()), db, as_json=as_json)


@app.command(epilog="Example: [bold]kapelle answer q-1f2e3d4c 'the savings account'[/bold]")
def answer(
    target: Target,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="The answer.")],
    note: Note = "",
    json_value: Annotated[bool, typer.Option("--json-value", help="VALUE is JSON, not a text.")] = False,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Answer what a task asks."""
    said = _read_json(value) if json_value else value
    _say(target, lambda engine, asked: engine.answer(asked, said, note, by=_who()), db, as_json=as_json)


@app.command(epilog="Example: [bold]kapelle stop last[/bold]")
def stop(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, the beginning of one, or 'last'.")],
    db: Db = None,
) -> None:
    """Ask the engine that works on a run, wherever that is, to stop it cleanly."""
    with open_ledger(ledger_path(db), read_only=True) as ledger:
        run = ledger.run(run_id)  # before an engine makes a ledger where there is none
    with engine_of(None, None, "none", db) as engine:
        engine.stop(run.run_id, by=_who())
    print(f"Run {run.run_id} stops within seconds if an engine works on it. To go on: kapelle resume {run.run_id}")


def ask_here(engine: Engine, run: Run, err: Console) -> bool:
    """Ask the person at the terminal what a run asks; return whether anything was answered. Empty leaves it open."""
    said = False
    for question in run.open_questions:
        err.print(Text(printable(f"Task {question.task_id} asks ({question.question_id}):"), style="bold"))
        err.print(Text(printable(question.text)))
        try:
            if question.kind == "approval":
                if Confirm.ask("Approve", console=err):
                    engine.approve(question.question_id, by=_who())
                else:
                    engine.reject(question.question_id, by=_who())
                said = True
            elif (value := _ask_value(question, err)) is not None:
                engine.answer(question.question_id, value, by=_who())
                said = True
        except EOFError:
            return said
        except InvalidInput as error:  # somebody else was faster
            err.print(Text(printable(str(error)), style="yellow"))
            said = True
    return said


def _ask_value(question: Question, err: Console) -> str | None:
    for number, option in enumerate(question.options, start=1):
        err.print(Text(printable(f"  {number}  {option}")))
    while True:
        value = Prompt.ask("Answer", console=err, default="", show_default=False).strip()
        if not value:
            return None
        if not question.options or value in question.options:
            return value
        if value.isdecimal() and 1 <= int(value) <= len(question.options):
            return question.options[int(value) - 1]
        err.print(Text("Choose one of these, by its number or its words."))


def _say(target: str, say: Callable[[Engine, str], Question], db: str | None, *, as_json: bool) -> None:
    with open_ledger(ledger_path(db), read_only=True) as ledger:
        question_id = _find(target, ledger.questions(), ledger.run)
    with engine_of(None, None, "none", db) as engine:
        question = say(engine, question_id)
        waits = engine.ledger.run(question.run_id).state == "waiting"
    if as_json:
        print_json(asdict(question))
        return
    print(f"Noted for task {question.task_id} of run {question.run_id}.")
    if waits:
        print(f"Nobody works on it now. To go on: kapelle resume {question.run_id}")
    else:
        print(f"The engine that works on it goes on; if none does: kapelle resume {question.run_id}")


def _find(target: str, asked: tuple[Question, ...], find_run: Any) -> str:
    """Return the id of the question that is meant: by its own id, or by its run's."""
    if any(one.question_id.startswith(target) for one in asked):
        return target
    try:
        run_id = find_run(target).run_id
    except NotFound:
        raise NotFound(f"No open question and no run has the id {target!r}. `kapelle questions` lists them.") from None
    mine = [one.question_id for one in asked if one.run_id == run_id]
    if len(mine) == 1:
        return mine[0]
    if not mine:
        raise NotFound(f"Run {run_id} asks nothing that is open. `kapelle questions` lists what does.")
    raise InvalidInput(f"Run {run_id} asks {len(mine)} things: {', '.join(mine)}. Say which one is meant.")


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{text!r:.80} is not JSON: {error}. Without --json-value it is taken as a text.") from error


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in some containers
        return ""
