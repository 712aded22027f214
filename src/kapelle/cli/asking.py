"""Asks the person who sits at the terminal what a run asks. An empty line leaves a question open: nobody is pressed."""

from __future__ import annotations

import getpass
import sys
from contextlib import suppress

from rich.console import Console
from rich.text import Text

from kapelle.engine import Engine
from kapelle.errors import InvalidInput
from kapelle.ledger import Question, Run, describe_question, is_cut, printable


def can_ask(err: Console) -> bool:
    """Whether there is somebody to ask: what is shown goes to a terminal, and what is typed comes from one."""
    return sys.stdin is not None and sys.stdin.isatty() and err.is_terminal


def ask_here(engine: Engine, run: Run, err: Console, left_open: set[str]) -> bool:
    """Ask what a run asks, but not what was left open before; return whether there is anything to go on with.

    Raises:
        KeyboardInterrupt: the person wants out. What was answered before stays answered.
    """
    answered = False
    for question in run.open_questions:
        if question.question_id in left_open:
            continue
        _print(err, f"Task {question.task_id} asks ({question.question_id}):", style="bold")
        for line in describe_question(question):
            _print(err, line)
        _forget_typed()
        try:
            said = _approve(engine, question, err) if question.kind == "approval" else _answer(engine, question, err)
        except EOFError:  # Ctrl-D: whatever is left is left open
            left_open.update(one.question_id for one in run.open_questions)
            err.print()
            return answered
        except InvalidInput as error:  # somebody else was faster
            _print(err, str(error), style="yellow")
            said = True
        answered |= said
        if not said:
            left_open.add(question.question_id)
    return answered


def who() -> str:
    """Return who answers, as far as the system knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in some containers
        return ""


def _approve(engine: Engine, question: Question, err: Console) -> bool:
    more = "f shows all of it, " if is_cut(question) else ""
    while True:
        match _read(err, f"Approve? y or n, {more}empty leaves it open: ").lower():
            case "":
                return False
            case "f" | "full":
                for line in describe_question(question, full=True):
                    _print(err, line)
            case "y" | "yes":
                engine.approve(question.question_id, by=who())
                return True
            case "n" | "no":
                engine.reject(question.question_id, _read(err, "Why not? May be empty: "), by=who())
                return True
            case _:
                _print(err, "Answer y or n, or nothing.")


def _answer(engine: Engine, question: Question, err: Console) -> bool:
    for number, option in enumerate(question.options, start=1):
        _print(err, f"  {number}  {option}")
    ask = "Answer, by its number; empty leaves it open: " if question.options else "Answer; empty leaves it open: "
    while True:
        value = _read(err, ask)
        if not value:
            return False
        if question.options and value not in question.options:
            if not (value.isdecimal() and 1 <= int(value) <= len(question.options)):
                _print(err, f"Choose one by its number, 1 to {len(question.options)}, or by its words.")
                continue
            value = question.options[int(value) - 1]
        engine.answer(question.question_id, value, by=who())
        return True


def _read(err: Console, prompt: str) -> str:
    # Half characters, as a broken paste leaves them, could not be kept.
    return err.input(prompt, markup=False).strip().encode("utf-8", "replace").decode("utf-8")


def _print(err: Console, text: str, *, style: str = "") -> None:
    err.print(Text(printable(text), style=style), soft_wrap=True)


def _forget_typed() -> None:
    """Forget what was typed while the run was at work: it was no answer to what nobody had been asked yet."""
    try:
        import termios
    except ImportError:  # Windows
        return
    with suppress(termios.error, OSError, ValueError):
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
