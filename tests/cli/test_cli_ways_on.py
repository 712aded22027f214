"""Every stop tells how to go on: prompts at the terminal, the next command, and errors that name the way out."""

from __future__ import annotations

import builtins
import re
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kapelle import cli
from kapelle.cli import asking, conduct
from kapelle.engine import Engine
from kapelle.ledger import SqliteLedger, this_process
from tests.cli.test_cli import Outcome, kapelle  # noqa: F401 - a fixture
from tests.cli.test_cli_people import AGENTS, CODE

PLAN = """
request: pay the bill
tasks:
  - {id: ask, type: work}
  - {id: pay, type: work, approval: true}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with agents and a plan that asks two things at once."""
    (tmp_path / "agents.yaml").write_text(AGENTS)
    (tmp_path / "own_agents.py").write_text(CODE)
    (tmp_path / "plan.yaml").write_text(PLAN)
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("own_agents", None)
    return tmp_path


def start(kapelle: Any, *options: str) -> Outcome:  # noqa: F811 - the fixture
    found: Outcome = kapelle("run", "plan.yaml", "--agents", "agents.yaml", "--model", "none", *options)
    return found


def question_of(kapelle: Any, task_id: str, *options: str) -> str:  # noqa: F811 - the fixture
    """Return the id of what a task asks."""
    asked = kapelle("questions", "--json", *options).data["questions"]
    (found,) = [one["question_id"] for one in asked if one["task_id"] == task_id]
    return str(found)


class Person:
    """Types lines at the terminal; Ctrl-C and Ctrl-D are exceptions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *lines: str | BaseException) -> None:
        self.lines = list(lines)
        monkeypatch.setattr(builtins, "input", self.type)
        monkeypatch.setattr(conduct, "can_ask", lambda err: True)

    def type(self, *_: object) -> str:
        line = self.lines.pop(0)
        if isinstance(line, BaseException):
            raise line
        return line


def test_what_is_left_open_is_asked_once_and_the_rest_goes_on(
    place: Path,
    kapelle: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    person = Person(monkeypatch, "", "9", "2")
    done = start(kapelle)
    assert (done.code, person.lines) == (3, [])
    assert "Choose one by its number, 1 to 2" in done.err
    assert "going on; 0 of 2 tasks are done already" in done.err
    assert "kapelle approve q-" in done.err
    assert kapelle("explain", "last", "--json").data["tasks"]["ask"]["output"] == "ask current"


def test_a_no_at_the_terminal_has_its_reason(
    place: Path,
    kapelle: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    person = Person(monkeypatch, "perhaps", "N", "too much", "savings")
    done = start(kapelle)
    assert (done.code, person.lines) == (1, [])
    assert "A person rejected it: too much" in done.err


@pytest.mark.parametrize(("leaves", "code"), [(KeyboardInterrupt(), 130), (EOFError(), 3), ("", 3)])
def test_who_leaves_the_prompt_is_told_how_to_go_on(
    place: Path,
    kapelle: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    leaves: Any,
    code: int,
) -> None:
    Person(monkeypatch, leaves, "")
    done = start(kapelle)
    assert (done.code, done.err.count("To go on: kapelle resume")) == (code, 1)


def test_an_answer_from_elsewhere_that_came_first_counts(
    place: Path,
    kapelle: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start(kapelle, "--db", "l.sqlite")
    with SqliteLedger("l.sqlite") as ledger:
        engine, run = Engine(model="none", ledger=ledger), ledger.run("last")
        engine.approve(run.open_questions[0].question_id)
        Person(monkeypatch, "yes", EOFError())
        screen = Console(file=StringIO())
        assert asking.ask_here(engine, run, screen, set())
    assert isinstance(screen.file, StringIO)
    assert "the first answer counts" in " ".join(screen.file.getvalue().split())


def test_the_next_command_names_the_ledger_that_was_named(place: Path, kapelle: Any) -> None:  # noqa: F811
    done = start(kapelle, "--db", "my ledger")
    command = re.search(r"To go on: kapelle (resume \S+) --db 'my ledger'", done.err)
    assert command is not None
    assert kapelle(*command[1].split(), "--db", "my ledger").code == 3
    assert (
        "--db 'my ledger'"
        in kapelle("approve", "q-", "--db", "my ledger").err + kapelle("questions", "--db", "my ledger").out
    )


def test_what_is_answered_is_no_question_any_more(place: Path, kapelle: Any) -> None:  # noqa: F811
    start(kapelle)
    two = kapelle("approve", "last")
    assert (two.code, "asks 2 things: q-" in two.err) == (2, True)
    first, second = question_of(kapelle, "ask"), question_of(kapelle, "pay")
    assert f"It still asks 1 thing: {second}" in kapelle("answer", first, "current").out
    shown = kapelle("questions")
    assert (first in shown.out, "1 answer to run" in shown.out) == (False, True)
    assert kapelle("approve", "last").code == 0, "by the run: there is just one left"
    none = kapelle("approve", "last")
    assert (none.code, "To go on: kapelle resume" in none.err) == (2, True)
    assert [one["answer"] for one in kapelle("questions", "--json").data["answered"]] == [True, "current"]


def test_an_answer_can_go_on_at_once(place: Path, kapelle: Any) -> None:  # noqa: F811
    start(kapelle)
    waiting = kapelle("answer", "last", "savings", "--resume")
    assert (waiting.code, "asks 2 things" in waiting.err) == (2, True)
    assert kapelle("answer", question_of(kapelle, "ask"), "savings", "--resume").code == 3
    done = kapelle("approve", "last", "--resume", "--json")
    assert (done.code, done.data["state"]) == (0, "done")
    assert [one["answer"] for one in done.data["questions"].values()] == [True, "savings"]
    assert done.data["graph_version"] == 1


def test_an_answer_is_taken_by_the_engine_at_work(place: Path, kapelle: Any) -> None:  # noqa: F811
    start(kapelle, "--db", "l.sqlite")
    with SqliteLedger("l.sqlite") as ledger:
        ledger.acquire_lease(ledger.run("last").run_id, "another engine", 60)
    done = kapelle("answer", question_of(kapelle, "ask", "--db", "l.sqlite"), "savings", "--resume", "--db", "l.sqlite")
    assert (done.code, "An engine works on it" in done.out) == (0, True)


def test_a_story_is_told_in_order(place: Path, kapelle: Any) -> None:  # noqa: F811
    start(kapelle)
    assert "History:" in kapelle("explain", "last").out
    kapelle("answer", question_of(kapelle, "ask"), "savings", "--note", "it has more", "--resume")
    kapelle("approve", "last", "--resume")
    told = kapelle("explain", "last").out.partition("History:")[2]
    steps = ["version 1 of the graph, 2 tasks: planned", "pay asks (", "ask asks (", "waits for a person", "going on;"]
    steps += ["ask was answered", "savings (it has more)", "pay was answered", ": yes", "  done\n"]
    places = [told.find(step) for step in steps]
    assert -1 not in places, told
    assert places == sorted(places)


def test_a_run_without_a_story_has_none(place: Path, kapelle: Any) -> None:  # noqa: F811
    (place / "plan.yaml").write_text("tasks: [{id: look, type: work}]")
    assert start(kapelle).code == 0
    assert "History" not in kapelle("explain", "last").out


def test_what_a_run_was_started_with_is_found_or_named(place: Path, kapelle: Any) -> None:  # noqa: F811
    start(kapelle)
    (place / "agents.yaml").rename(place / "other.yaml")
    gone = kapelle("resume", "last")
    assert (gone.code, "was started with --agents" in gone.err, "--agents ..." in gone.err) == (2, True, True)
    assert kapelle("resume", "last", "--agents", "other.yaml").code == 3


def test_a_run_whose_engine_is_gone_is_not_stopped_but_resumed(place: Path, kapelle: Any) -> None:  # noqa: F811
    start(kapelle, "--db", "l.sqlite")
    dead = re.sub(r"@\d+$", "@1", this_process())  # this process's number, given to another one before
    with SqliteLedger("l.sqlite") as ledger:
        run_id = ledger.run("last").run_id
        ledger.append(run_id, "run_resumed", {"state": "running", "owner": dead})
    done = kapelle("stop", "last", "--db", "l.sqlite")
    assert (done.code, f"To go on: kapelle resume {run_id} --db l.sqlite" in done.err) == (2, True)


def test_an_answer_to_a_run_that_was_stopped_says_that_nobody_works_on_it(
    place: Path,
    kapelle: Any,  # noqa: F811
) -> None:
    start(kapelle, "--db", "l.sqlite")
    with SqliteLedger("l.sqlite") as ledger:
        run_id = ledger.run("last").run_id
        ledger.append(run_id, "run_resumed", {"state": "running", "owner": this_process()})
        at_work = kapelle("approve", question_of(kapelle, "pay", "--db", "l.sqlite"), "--db", "l.sqlite")
        ledger.append(run_id, "run_finished", {"state": "stopped", "stop_reason": "It was stopped by ann."})
    stopped = kapelle("answer", "last", "savings", "--db", "l.sqlite")
    assert ("goes on by itself" in at_work.out, "Nobody works on it now" in stopped.out) == (True, True)
    assert kapelle("resume", "last", "--db", "l.sqlite").code == 0


def test_a_run_at_work_is_asked_to_stop(place: Path, kapelle: Any) -> None:  # noqa: F811
    start(kapelle, "--db", "l.sqlite")
    with SqliteLedger("l.sqlite") as ledger:
        run_id = ledger.run("last").run_id
        ledger.append(run_id, "run_resumed", {"state": "running", "owner": this_process()})
    assert kapelle("stop", "last", "--db", "l.sqlite", "--json").data == {"run_id": run_id, "asked_to_stop": True}
    with SqliteLedger("l.sqlite") as ledger:
        assert len(ledger.inbox(run_id)) == 1
    assert kapelle("stop", "last", "--db", "l.sqlite").code == 2, "it was asked already"


@pytest.mark.parametrize("days", ["nan", "inf", "-1", "1e999"])
def test_days_that_are_no_number_forget_nothing(kapelle: Any, days: str) -> None:  # noqa: F811
    done = kapelle("gc", "--keep-days", days)
    assert (done.code, "--keep-days" in done.err) == (2, True)


@pytest.mark.parametrize(
    "words", [("gc",), ("questions",), ("answer", "last", "x"), ("approve", "q-1"), ("stop", "last"), ("resume", "1")]
)
def test_nothing_makes_a_ledger_where_there_is_none(place: Path, kapelle: Any, words: Any) -> None:  # noqa: F811
    done = kapelle(*words, "--db", "nowhere.sqlite")
    assert (done.code, "There is no ledger" in done.err) == (2, True)
    assert not (place / "nowhere.sqlite").exists()


@pytest.mark.parametrize("command", [str(one.callback.__name__) for one in cli.app.registered_commands if one.callback])
def test_every_command_has_an_example(kapelle: Any, command: str) -> None:  # noqa: F811
    done = kapelle(command, "--help")
    examples = done.out.partition("Example")[2]
    assert (done.code, f"kapelle {command}" in examples) == (0, True), done.out


def test_the_help_tells_the_exit_codes_and_the_commands_in_the_order_of_need(kapelle: Any) -> None:  # noqa: F811
    shown = " ".join(kapelle("--help").out.split())
    assert "3 the run waits for a person" in shown
    places = [shown.index(words) for words in ("Plan a request and run it", "Go on with a run", "List what tasks")]
    assert places == sorted(places)
