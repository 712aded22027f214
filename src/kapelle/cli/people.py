"""`kapelle questions`, `approve`, `reject`, `answer` and `stop`: what people say to runs, from any terminal.

Nothing here needs the run's agents or model, or waits for an engine: what is said is put into the run's inbox.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from kapelle import terminal
from kapelle.engine import Engine
from kapelle.errors import InvalidInput, NotFound, RunBusy
from kapelle.ledger import Ledger, Question, Run, is_dead, ledger_path, open_ledger

from .app import Db, Json, Note, RunId, app, console, db_words, engine_of
from .asking import who
from .printing import print_json, say
from .resume import go_on

Target = Annotated[
    str,
    typer.Argument(
        metavar="QUESTION|RUN",
        help="A question's id, or the beginning of one; or a run (or 'last') that asks just one thing.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run at once, as `kapelle resume` does.")]
_EXAMPLES = "[bold]kapelle {0}[/bold]; where a run asks just one thing: [bold]kapelle {1} --resume[/bold]"


@app.command(
    epilog="Examples: [bold]kapelle questions[/bold]; all of one: [bold]kapelle questions q-1f2e3d4c --full[/bold]; "
    "for programs: [bold]kapelle questions --json[/bold]"
)
def questions(
    target: Annotated[
        str | None,
        typer.Argument(metavar="[QUESTION|RUN]", help="Only this question, or those of this run (or 'last')."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Cut nothing, however long it is.")] = False,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """List what tasks wait for people to answer, in all runs: who would do what, with what, and how to answer it.

    With --json nothing is cut.
    """
    with open_ledger(ledger_path(db), read_only=True) as ledger:
        asked, said = split_questions(ledger)
        more = db_words(db, ledger.path)
        if target is not None:
            asked, said = _only(target, asked, said, ledger)
    if as_json:
        print_json({"questions": [asdict(one) for one in asked], "answered": [asdict(one) for one in said]})
    else:
        terminal.show_questions(console(), asked, answered=said, more=more, full=full)


@app.command(epilog="Examples: " + _EXAMPLES.format("approve q-1f2e3d4c --note 'as agreed'", "approve last"))
def approve(target: Target, note: Note = "", resume: Resume = False, db: Db = None, as_json: Json = False) -> None:
    """Let a task go on that asks for approval."""
    _say(target, lambda engine, asked: engine.approve(asked, _text(note), by=who()), db, resume=resume, as_json=as_json)


@app.command(epilog="Examples: " + _EXAMPLES.format("reject q-1f2e3d4c --note 'wrong account'", "reject last"))
def reject(target: Target, note: Note = "", resume: Resume = False, db: Db = None, as_json: Json = False) -> None:
    """Refuse a task that asks for approval: it fails for the reason in the note, and what needs it is skipped."""
    _say(target, lambda engine, asked: engine.reject(asked, _text(note), by=who()), db, resume=resume, as_json=as_json)


@app.command(epilog="Examples: " + _EXAMPLES.format("answer q-1f2e3d4c 'the savings account'", "answer last savings"))
def answer(
    target: Target,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="The answer, as a text.")],
    note: Note = "",
    json_value: Annotated[bool, typer.Option("--json-value", help="VALUE is JSON, such as 12 or [1, 2].")] = False,
    resume: Resume = False,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Answer what a task asks."""
    said = _read_json(value) if json_value else _text(value)
    _say(
        target,
        lambda engine, asked: engine.answer(asked, said, _text(note), by=who()),
        db,
        resume=resume,
        as_json=as_json,
    )


@app.command(epilog="Examples: [bold]kapelle stop last[/bold]; [bold]kapelle stop 20260101-1200[/bold]")
def stop(run_id: RunId, db: Db = None, as_json: Json = False) -> None:
    """Ask the engine that works on a run, wherever that is, to stop it cleanly. It can be resumed."""
    with open_ledger(ledger_path(db), read_only=True) as ledger:
        run = ledger.outline(run_id)  # before an engine makes a ledger where there is none
        more = db_words(db, ledger.path)
    if _is_abandoned(run):
        raise InvalidInput(
            f"The engine that worked on run {run.run_id} is gone, so there is nothing to stop. "
            f"To go on: kapelle resume {run.run_id}{more}"
        )
    with engine_of(None, None, "none", db) as engine:
        engine.stop(run.run_id, by=who())
    if as_json:
        print_json({"run_id": run.run_id, "asked_to_stop": True})
        return
    say(f"Run {run.run_id} stops within seconds if an engine works on it.")
    say(f"To go on later: kapelle resume {run.run_id}{more}")


def split_questions(ledger: Ledger, run_id: str | None = None) -> tuple[list[Question], list[Question]]:
    """Return what people are asked, and what they have answered while no engine was there to take it in."""
    asked: list[Question] = []
    said: list[Question] = []
    inboxes: dict[str, dict[str, dict[str, Any]]] = {}
    for question in ledger.questions(run_id):
        if question.run_id not in inboxes:
            inboxes[question.run_id] = ledger.inbox(question.run_id)
        message = inboxes[question.run_id].get(question.question_id)
        if message is None:
            asked.append(question)
        else:
            note, by = (str(message.get(name) or "") for name in ("note", "by"))
            said.append(replace(question, answer=message.get("answer"), note=note, by=by))
    return asked, said


def _only(
    target: str, asked: list[Question], said: list[Question], ledger: Ledger
) -> tuple[list[Question], list[Question]]:
    """Return the questions with an id that begins so, or those of a run."""
    found = [[one for one in them if target and one.question_id.startswith(target)] for them in (asked, said)]
    if not any(found):
        try:
            run_id = ledger.find_run(target)
        except NotFound as error:
            raise _nothing_so_named(target) if _is_unknown(target, error) else error from None
        found = [[one for one in them if one.run_id == run_id] for them in (asked, said)]
    return found[0], found[1]


def _say(target: str, tell: Callable[[Engine, str], Question], db: str | None, *, resume: bool, as_json: bool) -> None:
    with open_ledger(ledger_path(db), read_only=True) as ledger:
        more = db_words(db, ledger.path)
        question_id = _find(target, ledger, more)
    with engine_of(None, None, "none", db) as engine:
        question = tell(engine, question_id)
        run = engine.ledger.outline(question.run_id)
        left = split_questions(engine.ledger, question.run_id)[0]
    if not as_json:
        say(f"Noted for task {question.task_id} of run {run.run_id}.")
        if left:
            others = ", ".join(one.question_id for one in left)
            say(f"It still asks {len(left)} thing{'s' * (len(left) != 1)}: {others}. See `kapelle questions`.")
    if resume:
        try:
            raise typer.Exit(go_on(run.run_id, {}, db=db, as_json=as_json))
        except RunBusy:
            pass  # an engine is at work on it, and takes the answer in by itself
    if as_json:
        print_json(asdict(question))
    elif resume:
        say("An engine works on it, and goes on with this by itself.")
    elif run.ended or run.state == "waiting" or _is_abandoned(run):
        say(f"Nobody works on it now. To go on: kapelle resume {run.run_id}{more}")
    else:
        say(f"The engine that works on it goes on by itself; if none does: kapelle resume {run.run_id}{more}")


def _find(target: str, ledger: Ledger, more: str) -> str:
    """Return the id of the question that is meant: by the beginning of its own id, or by its run."""
    asked, said = split_questions(ledger)
    meant = [one for one in (*asked, *said) if target and one.question_id.startswith(target)]
    if len(meant) > 1:
        names = ", ".join(one.question_id for one in meant)
        raise NotFound(f"{target!r} begins the ids of several questions: {names}. Give more of it.")
    if meant:
        return meant[0].question_id
    try:
        run_id = ledger.find_run(target)
    except NotFound as error:
        if not _is_unknown(target, error):
            raise
        raise _nothing_so_named(target) from None
    mine = [one.question_id for one in asked if one.run_id == run_id]
    if len(mine) == 1:
        return mine[0]
    if mine:
        raise InvalidInput(f"Run {run_id} asks {len(mine)} things: {', '.join(mine)}. Say which one is meant.")
    if any(one.run_id == run_id for one in said):
        raise NotFound(f"All that run {run_id} asks is answered. To go on: kapelle resume {run_id}{more}")
    raise NotFound(f"Run {run_id} asks nothing. `kapelle questions` lists what is asked.")


def _is_unknown(target: str, error: NotFound) -> bool:
    return target != "last" and "several runs" not in str(error)


def _nothing_so_named(target: str) -> NotFound:
    return NotFound(
        f"No open question and no run has the id {target!r}, or one that begins so. `kapelle questions` lists what "
        "is asked; what was answered, `kapelle explain RUN` shows."
    )


def _is_abandoned(run: Run) -> bool:
    """Whether the engine that worked on a run last is certainly dead, as far as the run's events name it."""
    owners = [event.data.get("owner") for event in run.events if event.kind in ("run_started", "run_resumed")]
    return run.state in ("planning", "running") and isinstance(owners[-1], str) and is_dead(owners[-1])


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{text!r:.80} is not JSON: {error}. Without --json-value it is taken as a text.") from error


def _text(text: str) -> str:
    """Return what was typed without half characters, which no ledger could keep."""
    return text.encode("utf-8", "replace").decode("utf-8")
