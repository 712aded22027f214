"""A plan is as large as the user allows, and what a task takes of planning does not grow with it.

The limit is an option wherever a plan comes from; what is refused says how to allow it. Large plans and runs are told
and drawn in bands of levels, in which no task is missing and what went wrong still stands by itself.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kapelle import AgentCapability, AgentRegistry, Engine, Plan, RunLimits, SqliteLedger, Task, TaskDAG, cli, terminal
from kapelle.agents import AgentResult, TaskContext
from kapelle.errors import InvalidInput, InvalidPlan
from kapelle.graph import MAX_DRAWN, split_in_bands
from kapelle.ledger import Event, Run
from kapelle.limits import MAX_TASKS
from kapelle.models import ToolDefinition
from kapelle.planning import parse_plan, read_plan, read_plan_stream
from kapelle.routing import HALORouter
from kapelle.validation import AOPValidator, redundancy

COUNT = MAX_DRAWN + 200


class Worker:
    """An agent that fails at the tasks whose number ends in 99, as long as it is told to."""

    def __init__(self, *, fails: bool = True) -> None:
        self.fails = fails
        self.done: list[str] = []

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        if self.fails and task.task_id.endswith("99"):
            raise ValueError(f"no {task.task_id}")
        self.done.append(task.task_id)
        return AgentResult(output=task.task_id, cost_usd=0.0)


def graph(count: int, *, width: int = 50) -> TaskDAG:
    return TaskDAG(
        Task(
            task_id=f"t{n}",
            task_type="work",
            description=f"do {n}",
            depends_on=(f"t{n - width}",) if n >= width else (),
        )
        for n in range(count)
    )


def engine(ledger: SqliteLedger, worker: Worker | None = None) -> Engine:
    card = AgentCapability(agent_id="worker", task_types=("work",), cost_usd=0.0, max_concurrency=50, retries=0)
    return Engine(
        agents=AgentRegistry([card], runners={"worker": worker or Worker()}), model="none", ledger=ledger, environ={}
    )


def large_run(ledger: SqliteLedger, watch: Callable[[Event], None] | None = None) -> Run:
    with engine(ledger) as one:
        return asyncio.run(one.run(Plan(request="all", graph=graph(COUNT), planner="p"), on_event=watch))


@pytest.fixture(scope="module")
def told() -> tuple[Run, list[Event]]:
    events: list[Event] = []
    return large_run(SqliteLedger(), events.append), events


def document(count: int) -> str:
    return json.dumps({"tasks": [{"id": f"t{n}", "type": "work"} for n in range(count)]})


def from_file(count: int, folder: Path, **limit: int) -> Plan:
    path = folder / "plan.json"
    path.write_text(document(count))
    return read_plan(path, **limit)


SOURCES: dict[str, Callable[..., Plan]] = {
    "file": from_file,
    "stream": lambda count, _, **limit: read_plan_stream(io.BytesIO(document(count).encode()), **limit),
    "text": lambda count, _, **limit: parse_plan(document(count), suffix=".json", **limit),
    "a list alone": lambda count, _, **limit: parse_plan(
        json.dumps(json.loads(document(count))["tasks"]), suffix=".json", **limit
    ),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_file_has_as_many_tasks_as_are_allowed(source: str, tmp_path: Path) -> None:
    read = SOURCES[source]
    assert len(read(3, tmp_path, max_tasks=3).graph) == 3
    with pytest.raises(InvalidPlan, match=r"has 4 tasks, and at most 3 are read.*--max-tasks 4"):
        read(4, tmp_path, max_tasks=3)
    with pytest.raises(InvalidPlan, match=f"at most {MAX_TASKS:,}"):
        read(MAX_TASKS + 1, tmp_path)


def test_a_larger_plan_may_be_a_larger_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    text = json.dumps({"tasks": [{"id": "a", "type": "work", "description": "x" * 3_100_000}]})
    path.write_text(text)
    with pytest.raises(InvalidPlan, match="larger than 3,000,000 bytes"):
        read_plan(path)
    assert len(read_plan(path, max_tasks=MAX_TASKS + 1).graph) == 1


@pytest.mark.parametrize("allowed", [None, 3, 4, 5])
def test_a_plan_is_checked_up_to_the_limit_that_was_given(allowed: int | None) -> None:
    with SqliteLedger() as ledger, engine(ledger) as one:
        ask = one.plan(Plan(request="all", graph=graph(4), planner="p"), max_tasks=allowed)
        found = asyncio.run(ask).validation
    assert found.passed == (allowed != 3)
    assert allowed != 3 or [issue.kind for issue in found.issues] == ["size"]
    assert allowed != 3 or "--max-tasks" in found.issues[0].way_out


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, float("nan"), "5"], ids=str)
def test_what_is_no_number_of_tasks_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^max_tasks="):
        RunLimits(max_tasks=wrong)


@pytest.mark.slow
def test_a_run_goes_on_within_the_limit_that_it_was_started_with() -> None:
    worker = Worker()
    with SqliteLedger() as ledger, engine(ledger, worker) as one:
        plan = Plan(request="all", graph=graph(MAX_TASKS + 1, width=100), planner="p")
        first = asyncio.run(one.run(plan, max_tasks=MAX_TASKS + 1))
        assert (first.state, first.settings["max_tasks"]) == ("partial", MAX_TASKS + 1)
        worker.fails = False
        assert asyncio.run(one.resume(first.run_id)).state == "done"
    assert len(worker.done) == len(set(worker.done)) == MAX_TASKS + 1


def test_most_runs_say_nothing_of_the_limit(told: tuple[Run, list[Event]]) -> None:
    assert "max_tasks" not in told[0].settings


@given(st.lists(st.integers(1, 9), max_size=70))
def test_no_task_is_missing_from_the_bands(widths: list[int]) -> None:
    levels = [[f"{number}-{place}" for place in range(width)] for number, width in enumerate(widths)]
    bands = list(split_in_bands(levels))
    assert [name for _, band in bands for name in band] == [name for level in levels for name in level]
    assert len(bands) <= 20
    assert len({name for name, _ in bands}) == len(bands)


def test_a_large_run_is_told_in_bands_with_what_went_wrong(told: tuple[Run, list[Event]]) -> None:
    run, _ = told
    words = run.explain()
    assert len(words.splitlines()) < 150
    assert "levels 0 to 1: 100 tasks: 99 done, 1 failed" in words
    assert "✗ t99 " in words
    assert f"kapelle explain {run.run_id} TASK" in words
    full = run.explain(full=True)
    assert all(f" t{number} [work]" in full for number in range(COUNT))


def test_a_large_graph_is_drawn_in_bands_unless_all_of_it_is_asked_for(told: tuple[Run, list[Event]]) -> None:
    run, _ = told
    assert run.graph is not None
    states = {name: task.state for name, task in run.tasks.items()}
    picture = run.graph.to_svg(status=states, notes=run.assignments)
    assert picture.count("<rect") < 60
    assert "100 tasks" in picture
    assert "failed" in picture
    assert run.graph.to_svg(full=True).count("<rect") >= COUNT
    assert run.graph.to_mermaid().count("-->") == 11
    assert len(run.graph.to_mermaid(full=True)) > 20 * len(run.graph.to_mermaid())


@pytest.mark.parametrize("what", ["live", "lines", "run", "plan"])
def test_a_large_run_takes_no_more_of_a_screen_than_others(told: tuple[Run, list[Event]], what: str) -> None:
    run, events = told
    console = Console(file=io.StringIO(), width=100, height=40, force_terminal=what == "live")
    match what:
        case "live" | "lines":
            progress = terminal.LiveProgress(console)
            for event in events:
                progress.watch(event)
            if what == "live":
                console.print(progress._table())
        case "run":
            terminal.show_run(console, run)
        case _:
            with engine(SqliteLedger()) as one:
                proposal = asyncio.run(one.plan(Plan(request="all", graph=graph(COUNT), planner="p")))
            terminal.show_proposal(console, proposal)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert len(text.splitlines()) < 300
    assert any(said in text for said in (f"{COUNT} tasks", "of 1,200 tasks done", "levels 0 to 1: 100 tasks"))


def test_what_is_compared_for_a_task_does_not_grow_with_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    likeness = redundancy._Said.likeness

    def count(one: redundancy._Said, other: redundancy._Said) -> float:
        nonlocal compared
        compared += 1
        return likeness(one, other)

    monkeypatch.setattr(redundancy._Said, "likeness", count)
    for words in ("do {}", "summarise the alpha of {}", "say it"):
        tasks = [
            Task(task_id=f"t{n}", task_type="work", description=words.format(chr(97 + n % 26) * 3)) for n in range(400)
        ]
        compared = 0
        found = list(redundancy.find_twins(tasks))
        assert compared <= 60 * len(tasks)
        assert len(found) >= len(tasks) - 26  # words that were there before are found however long ago that is


def test_references_to_what_no_tool_gives_are_told_as_in_small_plans() -> None:
    tool = ToolDefinition(name="work", description="works", parameters={}, outputs={"answer": "what it found"})
    other = ToolDefinition(name="talk", description="talks", parameters={}, outputs={"Said_So": "words"})
    tasks = [
        Task(task_id="a", task_type="work"),
        Task(task_id="b", task_type="talk"),
        Task(task_id="c", task_type="work", inputs={"q": "{a.said_so}"}),
    ]
    dag, agents = TaskDAG(tasks), AgentRegistry([AgentCapability(agent_id="w", task_types=("work", "talk"))])
    plan = asyncio.run(HALORouter(agents).route_tasks(dag))
    found = asyncio.run(AOPValidator(agents, tools=[tool, other]).validate_routing_plan(plan, dag))
    edits = [issue.edit.summary for issue in found.issues if issue.edit is not None]
    assert edits == ["Let 'c' take 'said_so' from 'b', which gives it."]


@pytest.fixture
def kapelle(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["kapelle", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return (ended.value.code if isinstance(ended.value.code, int) else 1), out, err

    return run


def test_the_command_line_takes_the_limit_and_names_it(kapelle: Any, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(document(3))
    for command in ("run", "plan"):
        code, _, err = kapelle(command, str(path), "--max-tasks", "2", "--model", "none")
        assert (code, "--max-tasks 3" in err) == (2, True)
        code, _, err = kapelle(command, "a", "b", "--together", "--max-tasks", "2", "--model", "none")
        assert (code, "--max-tasks is about one request" in err) == (2, True)


def test_one_task_of_a_run_is_explained_alone(kapelle: Any, tmp_path: Path) -> None:
    place = str(tmp_path / "l.sqlite")
    run = large_run(SqliteLedger(place))
    code, out, _ = kapelle("explain", "last", "t99", "--db", place)
    assert (code, out.rstrip("\n")) == (0, run.explain_task("t99"))
    code, out, _ = kapelle("explain", "last", "t50", "--db", place, "--json")
    found = json.loads(out)
    assert (code, found["task"]["state"], found["definition"]["depends_on"]) == (0, "done", ["t0"])
    assert (found["assignment"], found["estimate"]["cost_usd"]) == ("worker", 0.0)
    code, _, err = kapelle("explain", "last", "nobody", "--db", place)
    assert (code, "has no task 'nobody'" in err) == (2, True)
    code, _, err = kapelle("explain", "last", "t1", "--svg", str(tmp_path / "x.svg"), "--db", place)
    assert (code, "--svg draws a run" in err) == (2, True)
    code, out, _ = kapelle("explain", "last", "--full", "--db", place)
    assert (code, " t1199 [work]" in out) == (0, True)
