"""The command line where runs wait, stop and go on: resume, questions, approve, reject, answer, stop, gc."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kapelle import Engine, Plan, Task, TaskDAG, agent
from kapelle.cli.asking import ask_here
from kapelle.cli.conduct import Start
from kapelle.ledger import SqliteLedger
from tests.cli.test_cli import Outcome, kapelle  # noqa: F401 - a fixture

AGENTS = """
agents:
  - agent_id: worker
    task_types: [work]
    cost_usd: 0.01
    run: own_agents:worker
"""
CODE = """
import os
from kapelle import AskPerson, agent

@agent(task_types=["work"], cost_usd=0.01)
async def worker(task, context):
    if task.task_id == "ask" and not context.answers:
        raise AskPerson("Which account?", options=["savings", "current"])
    if task.task_id == "fail" and not os.path.exists("mended"):
        raise RuntimeError("not yet")
    return f"{task.task_id} {' '.join((str(one.value) for one in context.answers))}".strip()
"""
PLAN = """
request: pay the bill
tasks:
  - {id: look, type: work}
  - {id: ask, type: work, depends_on: [look]}
  - {id: pay, type: work, depends_on: [ask], approval: true}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with agents and a plan, in which commands run on a ledger of their own."""
    (tmp_path / "agents.yaml").write_text(AGENTS)
    (tmp_path / "own_agents.py").write_text(CODE)
    (tmp_path / "plan.yaml").write_text(PLAN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAPELLE_DB", str(tmp_path / "l.sqlite"))
    sys.modules.pop("own_agents", None)
    return tmp_path


def start(kapelle: Any) -> Outcome:  # noqa: F811 - the fixture
    found: Outcome = kapelle("run", "plan.yaml", "--agents", "agents.yaml", "--model", "none")
    return found


def test_a_run_that_waits_tells_how_to_answer_and_goes_on(place: Path, kapelle: Any) -> None:  # noqa: F811
    first = start(kapelle)
    assert first.code == 3
    assert "Which account?" in first.err
    assert "kapelle answer q-" in first.err
    assert "To go on: kapelle resume" in first.err
    said = kapelle("answer", "last", "savings", "--note", "it has more")
    assert (said.code, "Nobody works on it now. To go on: kapelle resume" in said.out) == (0, True)
    second = kapelle("resume", "last")  # finds its agents by itself
    assert (second.code, "1 of 3 tasks are done already" in second.err) == (3, True)
    assert kapelle("approve", "last").code == 0
    third = kapelle("resume", "last", "--json")
    assert (third.code, third.data["state"], third.data["answer"]) == (0, "done", "pay")
    again = kapelle("resume", "last")
    assert (again.code, "there is nothing left to do" in again.err) == (2, True)


def test_questions_are_listed_with_the_commands_that_answer_them(place: Path, kapelle: Any) -> None:  # noqa: F811
    start(kapelle)
    shown = kapelle("questions")
    assert "kapelle answer q-" in shown.out
    assert shown.out.splitlines()[-1].endswith(" current"), "one command for each option"
    (one,) = kapelle("questions", "--json").data["questions"]
    assert (one["kind"], one["task_id"]) == ("answer", "ask")
    assert kapelle("answer", one["question_id"][:6], '"current"', "--json-value", "--json").data["answer"] == "current"
    assert "was answered already" in kapelle("answer", one["question_id"], "savings").err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("answer", "q-nothing", "x"), "No open question and no run has the id"),
        (("approve", "last"), "asks for an answer: answer it"),
        (("answer", "last", "mine"), "takes one of: savings, current"),
        (("answer", "last", "{", "--json-value"), "is not JSON"),
        (("resume", "1999"), "There is no run '1999'"),
        (("stop", "last"), "nobody works on it"),
        (("run", "plan.yaml", "--backend", "magic"), "There is no backend 'magic'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(place: Path, kapelle: Any, words: Any, error: str) -> None:  # noqa: F811
    start(kapelle)
    done = kapelle(*words)
    assert (done.code, error in done.err) == (2, True), done.err


def test_an_approval_shows_what_would_run_and_all_of_it_on_request(place: Path, kapelle: Any) -> None:  # noqa: F811
    long = "x" * 5_000
    task = f"{{id: pay, type: work, approval: true, description: Pay, inputs: {{to: {long}, how: '\x1b[2J'}}}}"
    (place / "plan.yaml").write_text(f"tasks:\n  - {task}\n".replace("'\x1b[2J'", '"\\e[2J"'))
    start(kapelle)
    (one,) = kapelle("questions", "--json").data["questions"]
    assert (one["agent"], one["inputs"]["to"], one["expected_usd"]) == ("worker", long, 0.01)
    shown = kapelle("questions").out
    for words in ("May 'pay' (work) begin: Pay?", "by worker, expected to cost $0.01", "input how: ␛[2J"):
        assert words in shown, shown
    assert f"... 4,400 characters more: kapelle questions {one['question_id']} --full" in shown
    assert long not in shown
    for target in (one["question_id"], "last"):
        assert long in kapelle("questions", target, "--full").out.replace("\n", "")
    assert kapelle("questions", "q-nothing").code == 2


def test_at_the_terminal_an_approval_is_shown_whole_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "x" * 5_000 + "END"
    task = Task(task_id="pay", task_type="work", approval=True, inputs={"to": long})
    worker = agent(agent_id="worker", task_types=["work"], cost_usd=0.01)(lambda task: "paid")
    engine = Engine([worker], model="none", environ={}, ledger=SqliteLedger())
    run = asyncio.run(engine.run(Plan(request="x", graph=TaskDAG([task]), planner="me")))
    console, typed, shown = Console(file=io.StringIO(), width=200), iter(["f", "maybe", "y"]), []

    def read(prompt: str, **_: Any) -> str:
        shown.append(prompt)
        assert isinstance(console.file, io.StringIO)
        assert ("END" in console.file.getvalue()) == (len(shown) > 1)
        return next(typed)

    monkeypatch.setattr(console, "input", read)
    assert ask_here(engine, run, console, set())
    assert shown == ["Approve? y or n, f shows all of it, empty leaves it open: "] * 3
    assert asyncio.run(engine.resume("last")).state == "done"


def test_a_rejected_task_fails_for_the_reason_that_was_given(place: Path, kapelle: Any) -> None:  # noqa: F811
    start(kapelle)
    kapelle("answer", "last", "savings")
    kapelle("resume", "last")
    kapelle("reject", "last", "--note", "too much")
    done = kapelle("resume", "last")
    assert (done.code, "A person rejected it: too much" in done.err) == (1, True)
    assert "too much" in kapelle("explain", "last").out


def test_a_run_that_failed_goes_on_when_its_cause_is_mended(place: Path, kapelle: Any) -> None:  # noqa: F811
    (place / "plan.yaml").write_text("tasks:\n  - {id: look, type: work}\n  - {id: fail, type: work}\n")
    first = start(kapelle)
    assert (first.code, "not yet" in first.err, "To go on: kapelle resume" in first.err) == (1, True, True)
    (place / "mended").touch()
    done = kapelle("resume", "last", "--svg", "run.svg", "-o", "answer.txt")
    assert (done.code, (place / "answer.txt").read_text()) == (0, done.out)
    assert "<svg" in (place / "run.svg").read_text()


def test_old_runs_are_forgotten(place: Path, kapelle: Any) -> None:  # noqa: F811
    (place / "plan.yaml").write_text("tasks:\n  - {id: look, type: work}\n")
    start(kapelle)
    assert "0 runs with" in kapelle("gc").out
    would = kapelle("gc", "--keep-days", "0", "--dry-run", "--json").data
    assert (would["runs"], would["dry_run"]) == (1, True)
    assert "Forgotten, ended more than 0 days ago: 1 run with" in kapelle("gc", "--keep-days", "0").out
    with SqliteLedger(place / "l.sqlite") as ledger:
        assert (ledger.runs(), len(ledger.outcomes())) == ((), 1)


@pytest.mark.slow
def test_a_person_at_the_terminal_is_asked_there_and_it_goes_on(place: Path) -> None:
    above, below = pty.openpty()
    command = [sys.executable, "-m", "kapelle.cli", "run", "plan.yaml", "--agents", "agents.yaml", "--model", "none"]
    child = subprocess.Popen(
        command, stdin=below, stdout=subprocess.PIPE, stderr=below, env={**os.environ, "TERM": "xterm"}, text=True
    )
    os.close(below)
    seen, answers, give_up = "", [("Answer", "1\n"), ("Approve", "y\n")], time.monotonic() + 60
    while child.poll() is None and time.monotonic() < give_up:
        if not select.select([above], [], [], 0.2)[0]:
            continue
        try:
            seen += os.read(above, 4096).decode(errors="replace")
        except OSError:  # the terminal is closed
            break
        if answers and answers[0][0] in seen:
            seen = ""
            os.write(above, answers.pop(0)[1].encode())
    out, _ = child.communicate(timeout=30)
    os.close(above)
    assert (child.returncode, "pay" in out, answers) == (0, True, [])


def test_a_start_is_a_request_or_a_run() -> None:
    assert (Start(request="x").resume, Start(resume="r").request) == (None, "")
