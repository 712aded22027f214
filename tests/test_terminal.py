"""What people see: nothing that steers their terminal, and what matters most on a narrow one."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from kapelle import terminal
from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.cost import CostProfiler
from kapelle.engine import Proposal
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Event, EventKind, RunSummary, rebuild_run
from kapelle.planning import Plan
from kapelle.routing import RoutingPlan
from kapelle.validation import ValidationResult

HOSTILE = "\x1b]0;x\x07\x1b[2J\x9b2J\u202egone"
RUN_ID = "20260131-120000-abc123"


def screen(width: int = 100, height: int = 30, *, terminal: bool = True) -> Console:
    return Console(file=StringIO(), force_terminal=terminal, no_color=True, width=width, height=height)


def shown(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def plain(console: Console) -> str:
    """Return what was printed, without the styles that rich itself adds."""
    return re.sub(r"\x1b\[[0-9;]*m", "", shown(console))


def events(count: int, *, text: str = "find a capital", end: dict[str, Any] | None = None) -> list[Event]:
    """A run of some tasks: the first is done, the second at work."""
    dag = TaskDAG(Task(task_id=f"task{number}", task_type="lookup", description=text) for number in range(count))
    steps: list[tuple[EventKind, str | None, dict[str, Any]]] = [
        ("run_started", None, {"request": text}),
        ("run_planned", None, {"graph": dag.to_dict(), "planner": text, "notes": [text]}),
        ("run_routed", None, {"assignments": {}, "explanations": {"task0": text}}),
        ("run_approved", None, {"estimates": {}, "issues": []}),
        ("task_started", "task0", {"agent": "atlas"}),
        (
            "task_failed" if end is not None else "task_finished",
            "task0",
            {"cost_usd": 0.25, "seconds": 2, "reason": text},
        ),
        ("task_started", "task1", {"agent": "atlas"}),
    ]
    if end is not None:
        steps += [("run_finished", None, {"state": "failed", "stop_reason": text, "answer": text, **end})]
    return [
        Event(run_id=RUN_ID, seq=seq, at=1.0 + seq, kind=kind, task_id=task_id, data=data)
        for seq, (kind, task_id, data) in enumerate(steps)
    ]


def live_table(console: Console, count: int, *, text: str = "find a capital") -> list[str]:
    progress = terminal.LiveProgress(console, quiet=True, clock=lambda: 10.0)
    for event in events(count, text=text):
        progress.watch(event)
    console.print(progress._table())
    return plain(console).splitlines()


def proposal(text: str) -> Proposal:
    dag = TaskDAG([Task(task_id="a", task_type="lookup", description=text)])
    routing = RoutingPlan(assignments={}, explanations={}, unassigned={"a": text})
    plan = Plan(request=text, graph=dag, planner=text, notes=(text,))
    return Proposal(plan=plan, routing=routing, validation=ValidationResult(passed=False))


def show(what: str, console: Console) -> None:
    match what:
        case "run":
            terminal.show_run(console, rebuild_run(events(2, text=HOSTILE, end={})))
        case "answer":
            terminal.show_answer(console, HOSTILE + " &#8238; [a](http://b) &#27;[2J")
        case "proposal":
            terminal.show_proposal(console, proposal(HOSTILE))
        case "runs":
            terminal.show_runs(console, [summary(HOSTILE)])
        case "agents":
            terminal.show_agents(console, registry(), CostProfiler(), HOSTILE)
        case "live":
            live_table(console, 2, text=HOSTILE)
        case _:
            with terminal.LiveProgress(console) as progress:
                for event in events(2, text=HOSTILE, end={}):
                    progress.watch(event)


def summary(request: str) -> RunSummary:
    return RunSummary(
        run_id=RUN_ID, request=request, state="partial", started_at=0.0, seconds=1.5, tasks_done=3, cost_usd=12.34
    )


def registry() -> AgentRegistry:
    return AgentRegistry(
        [AgentCapability(agent_id="atlas", task_types=("lookup", "search", "compare"), cost_usd=0.001)]
    )


@pytest.mark.parametrize("what", ["run", "answer", "proposal", "runs", "agents", "live", "lines"])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_no_text_from_outside_steers_the_terminal(what: str, is_terminal: bool) -> None:
    console = screen(terminal=is_terminal and what != "lines")
    show(what, console)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", plain(console))
    assert "␛]0;x␇␛[2J" in plain(console)


def test_an_answer_in_a_pipe_is_as_it_was_written() -> None:
    console = screen(20, terminal=False)
    terminal.show_answer(console, "# a\tb\n:apple: [bold]" + "x" * 50)
    assert shown(console) == "# a\tb\n:apple: [bold]" + "x" * 50 + "\n"


@pytest.mark.parametrize(("count", "height"), [(31, 30), (500, 12), (40, 60), (5, 3)])
def test_a_large_run_leaves_room_for_its_totals(count: int, height: int) -> None:
    lines = live_table(screen(height=height), count)
    rows = max(1, min(30, height - 4))
    assert lines[-2:] == [f"... and {count - rows} more", f"1 of {count} tasks, $0.2500"]
    assert len(lines) == rows + 2
    assert "task1 " in lines[0], "the one at work comes first"


def test_at_forty_columns_a_task_keeps_its_id_mark_description_and_time() -> None:
    lines = live_table(screen(40), 3, text="compare the capitals of France and Germany at length")
    assert len(lines) == 4
    assert re.fullmatch(r"✓ task0 +compare the cap.*… +2\.0 s *", lines[0])


def test_a_run_at_forty_columns_keeps_the_whole_reason() -> None:
    console = screen(40)
    terminal.show_run(console, rebuild_run(events(2, text="no such city was found in any document", end={})))
    assert "✗ task0" in plain(console)
    assert "in any document" in " ".join(plain(console).split())


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_the_list_of_runs_keeps_state_and_cost(width: int) -> None:
    console = screen(width)
    terminal.show_runs(console, [summary("compare the capitals of France and Germany")])
    header, row = plain(console).splitlines()
    assert "partial" in row
    assert "$12.34" in row
    assert ("request" in header) == (width >= 60)


@pytest.mark.parametrize("width", [30, 40, 60, 120])
def test_the_list_of_agents_keeps_price_and_success(width: int) -> None:
    console = screen(width)
    terminal.show_agents(console, registry(), CostProfiler(), "no model")
    _, row, _ = plain(console).splitlines()
    assert "$0.0010 a task" in row
    assert re.search(r"\d+%", row)


def test_an_overrun_is_told_in_a_sentence() -> None:
    console = screen()
    terminal.show_run(console, rebuild_run(events(2, end={"overrun_usd": 0.02})))
    assert "Tasks cost $0.0200 more than was reserved for them." in plain(console)
