"""What `kapelle resume` knows of how a run was started, and how a run reads whose engine was killed."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kapelle import Engine, HedgePolicy, Plan, Task, TaskDAG, agent, open_ledger
from kapelle.errors import InvalidInput, ModelRefused
from kapelle.execution import ExecutionLimits
from kapelle.ledger import ledger_path
from kapelle.testing import ScriptedModel
from tests.cli.test_cli import ATLAS
from tests.cli.test_cli import kapelle as kapelle

AGENTS = "agents: [{id: one, task_types: [work], cost_usd: 0.01, run: 'ways_on:work'}]"
PLAN = "tasks: [{id: a, type: work}, {id: b, type: work, depends_on: [a]}]"
FAILING = "import os\ndef work(task):\n    assert os.path.exists({mark!r}), 'not yet'\n    return 'done'\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a plan and an agent that fails until a file is there."""
    sys.modules.pop("ways_on", None)
    (tmp_path / "ways_on.py").write_text(FAILING.format(mark=str(tmp_path / "mark")))
    (tmp_path / "agents.yaml").write_text(AGENTS)
    (tmp_path / "plan.yaml").write_text(PLAN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def settings() -> dict[str, Any]:
    with open_ledger(ledger_path(), read_only=True) as ledger:
        return dict(ledger.run("last").settings)


@pytest.mark.parametrize(
    ("started", "given", "then"),
    [
        ([], [], {"backend": "asyncio", "hedge": False, "explore": 0.0}),
        (
            ["--backend", "threads", "--hedge", "--explore", "0.25"],
            [],
            {"backend": "threads", "hedge": True, "explore": 0.25},
        ),
        (["--backend", "threads", "--hedge"], ["--backend", "asyncio"], {"backend": "asyncio", "hedge": True}),
        (["--hedge"], ["--no-hedge"], {"backend": "asyncio", "hedge": False}),
        (["--explore", "0.5"], ["--explore", "0"], {"explore": 0.0}),
    ],
)
def test_resume_goes_on_as_the_run_was_started(
    place: Path, kapelle: Any, monkeypatch: pytest.MonkeyPatch, started: list[str], given: list[str], then: Any
) -> None:
    made: list[Engine] = []

    class Watched(Engine):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr(sys.modules["kapelle.cli.app"], "Engine", Watched)
    assert kapelle("run", "plan.yaml", "--agents", "agents.yaml", *started).code == 1
    assert kapelle("resume", "last", *given).code == 1
    assert settings() | then == settings()
    (place / "mark").touch()
    assert kapelle("resume", "last").code == 0, "what was said last is remembered"
    last = made[-1]
    now = {"backend": last.executor.backend.name, "hedge": last.limits.hedge is not None}
    now["explore"] = last.explorer.share
    assert now | then == now


def test_a_run_reflects_as_it_was_started_until_it_is_told_otherwise(
    place: Path, kapelle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = "<reflection>Fine.<patch><keep/></patch></reflection>"
    made: list[Engine] = []

    class WithModel(Engine):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "model": ScriptedModel([keep] * 9)})
            made.append(self)

    monkeypatch.setattr(sys.modules["kapelle.cli.app"], "Engine", WithModel)
    assert kapelle("run", "plan.yaml", "--agents", "agents.yaml").code == 1
    assert "reflect" not in settings()
    for given, then in ([], False), (["--reflect"], True), ([], True), (["--no-reflect"], False), ([], False):
        assert kapelle("resume", "last", *given, "--model", "scripted").code == 1
        assert (settings().get("reflect", False), made[-1].reflection.is_asked_for) == (then, then), given


def test_reflecting_without_a_model_is_refused_before_anything_runs(place: Path, kapelle: Any) -> None:
    done = kapelle("run", "plan.yaml", "--agents", "agents.yaml", "--model", "none", "--reflect")
    assert done.code == 2
    assert "none is configured" in done.err


@pytest.mark.parametrize("name", ["steam", "ray"])
def test_a_backend_that_is_not_there_any_more_is_named_with_the_way_out(
    place: Path, kapelle: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def make(asked: str) -> Any:
        if asked == name:
            raise InvalidInput("Install it: pip install 'kapelle[ray]'.")
        return importlib.import_module("kapelle.execution").make_backend(asked)

    kapelle("run", "plan.yaml", "--agents", "agents.yaml")
    with open_ledger(ledger_path()) as ledger:
        run_id = ledger.run("last").run_id
        ledger.append(run_id, "run_resumed", {"state": "running", "settings": {"backend": name}})
        ledger.append(run_id, "run_finished", {"state": "stopped", "stop_reason": "it was"})
    monkeypatch.setattr(sys.modules["kapelle.cli.resume"], "make_backend", make)
    gone = kapelle("resume", "last")
    assert (gone.code, f"was started with the backend '{name}'" in gone.err) == (2, True)
    assert f"kapelle resume {run_id} --backend threads" in gone.err
    (place / "mark").touch()
    assert kapelle("resume", "last", "--backend", "threads").code == 0


@agent(task_types=["work"], cost_usd=0.01)
def mine(task: Any) -> str:
    """Fails: what it needs is in a program."""
    raise ValueError("not yet")


def start_in_python(**options: Any) -> str:
    with open_ledger(ledger_path()) as ledger:
        engine = Engine([mine], model="none", ledger=ledger, environ={}, **options)
        plan = Plan(request="x", graph=TaskDAG([Task(task_id="a", task_type="work")]), planner="me")
        return asyncio.run(engine.run(plan)).run_id


def test_a_run_made_in_python_is_refused_with_the_code_that_goes_on_with_it(kapelle: Any) -> None:
    run_id = start_in_python()
    done = kapelle("resume", "last", "--json")
    message = done.data["error"]["message"]
    assert (done.code, "was made in Python" in message) == (2, True)
    assert f"Engine(agents=[mine], ledger=open_ledger({ledger_path()!r})).resume_sync({run_id!r})" in message
    with open_ledger(ledger_path(), read_only=True) as ledger:
        assert [event.kind for event in ledger.events(run_id)][-1] == "run_finished", "it is as it was"


def test_a_run_with_a_model_that_only_python_has_is_refused_in_the_same_way(kapelle: Any) -> None:
    model = ScriptedModel([ModelRefused("no key")] * 4)
    with open_ledger(ledger_path()) as ledger:
        engine = Engine(model=model, ledger=ledger, environ={"KAPELLE_CONTROL_SHARE": "0"})
        with pytest.raises(ModelRefused):
            engine.run_sync("Compare the capitals of France and Germany, and then write a report about them.")
    done = kapelle("resume", "last")
    assert (done.code, "does not have its model (scripted:model)" in done.err) == (2, True)
    assert "--model NAME" in done.err


def test_a_run_made_in_python_goes_on_with_agents_from_a_file(place: Path, kapelle: Any) -> None:
    start_in_python(limits=ExecutionLimits(hedge=HedgePolicy()), backend="threads")
    (place / "mark").touch()
    (place / "agents.yaml").write_text(AGENTS.replace("id: one", "id: mine"))
    assert kapelle("resume", "last", "--agents", "agents.yaml", "--json").data["state"] == "done"
    assert (settings()["backend"], settings()["hedge"]) == ("threads", True)


@pytest.mark.slow
def test_a_run_of_local_agents_made_in_python_goes_on_as_it_is(kapelle: Any) -> None:
    with open_ledger(ledger_path()) as ledger:
        engine = Engine(data=ATLAS, model="none", ledger=ledger, environ={}, origin={"data": ATLAS})
        run = asyncio.run(engine.run("Find the capital of Atlantis"))
    assert run.state == "failed"
    assert "made in Python" not in kapelle("resume", "last").err


def kill_one(place: Path) -> None:
    """Start a run, and kill its process with -9 while it is at work."""
    (place / "ways_on.py").write_text(
        "import sys, threading\n"
        "def work(task):\n    print('at work', file=sys.stderr, flush=True)\n    threading.Event().wait()\n"
    )
    command = [sys.executable, "-m", "kapelle", "run", "plan.yaml", "--agents", "agents.yaml"]
    process = subprocess.Popen(command, cwd=place, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "at work" not in process.stderr.readline():
        assert process.poll() is None
    assert reads() == "running"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()


def reads() -> str:
    command = [sys.executable, "-m", "kapelle", "runs", "--json"]
    found = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    return str(json.loads(found.stdout)["runs"][0]["state"])


@pytest.mark.slow
def test_a_run_that_was_killed_reads_as_interrupted_and_goes_on(place: Path, kapelle: Any) -> None:
    kill_one(place)
    assert reads() == "interrupted"
    assert "interrupted" in kapelle("runs").out
    told = kapelle("explain", "last")
    run_id = kapelle("explain", "last", "--json").data["run_id"]
    assert f"Run {run_id}: interrupted" in told.out
    assert f"kapelle resume {run_id}" in told.out
    found = kapelle("explain", "last", "--json").data
    assert (found["state"], "is gone" in found["stop_reason"]) == ("interrupted", True)
    (place / "ways_on.py").write_text("def work(task):\n    return 'done'\n")
    assert kapelle("resume", "last").code == 0
    assert kapelle("runs", "--json").data["runs"][0]["state"] == "done"
