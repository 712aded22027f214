"""What people see: nothing that steers their terminal, and what matters most on a narrow one."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from kapelle import terminal
from kapelle.agents import AgentCapability, AgentRegistry, PartialText
from kapelle.engine import Engine, Proposal
from kapelle.estimates import CostProfiler
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Event, EventKind, Question, Run, RunSummary, SqliteLedger, printable, rebuild_run
from kapelle.planning import Plan
from kapelle.routing import RoutedPlan
from kapelle.terminal.live import newest_words
from kapelle.testing import ScriptedAgent
from kapelle.validation import ValidationResult
from kapelle.views import answer_commands, next_command, proposal_to_json

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
    routing = RoutedPlan(unassigned={"a": text})
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
        case "understood":
            terminal.show_understood(console, answered_run(HOSTILE, note=f"{HOSTILE}: {HOSTILE}"), sql=True)
        case "live":
            live_table(console, 2, text=HOSTILE)
        case _:
            with terminal.LiveProgress(console) as progress:
                for event in events(2, text=HOSTILE, end={}):
                    progress.watch(event)


def answered_run(text: str, *, note: str = "", source: str = "") -> Run:
    """A run with one task that is done, which says how it was understood."""
    begun = events(1, text=text)[:5]
    output = {"text": text, "understood": f"{text}.", "sql": f"SELECT 1\n{text}", "sources": [source or text]}
    ends: list[tuple[EventKind, str | None, dict[str, Any]]] = [
        ("task_finished", "task0", {"output": output, "cost_usd": 0.0, "seconds": 1.0}),
        ("run_finished", None, {"state": "done", "answer": text}),
    ]
    ended = [
        Event(run_id=RUN_ID, seq=len(begun) + number, kind=kind, task_id=task, data=data, at=2.0)
        for number, (kind, task, data) in enumerate(ends)
    ]
    return replace(rebuild_run([*begun, *ended]), notes=("Split by rules.", note))


@pytest.mark.parametrize("source", ["sales.csv", "sales.csv:3", "sales.csv:3-5", "sales.csv:row 4"])
def test_what_is_to_be_known_of_a_file_stands_below_an_answer_from_it(source: str) -> None:
    for note, is_shown in (
        ("sales.csv:9: a total row was left out of the table", True),
        ("sales.csv: it was read as cp1252", True),
        ("old.csv was left out: it is empty", True),
        ("other.csv: it was read as cp1252", False),
        ("Planned once more: a first plan was refused.", False),
    ):
        console = screen(30, terminal=False)
        terminal.show_understood(console, answered_run("The units", note=note, source=source))
        assert shown(console).splitlines()[0] == "understood as: The units · from sales.csv"
        assert (f"note: {note}" in shown(console).splitlines()) is is_shown


def test_a_query_that_a_model_wrote_is_shown_unasked() -> None:
    console, run = screen(30, terminal=False), answered_run("The units", source="a.csv")
    (task,) = run.tasks.values()
    written = replace(task, output={**task.output, "sql_by": "model small"})
    terminal.show_understood(console, replace(run, tasks={task.task_id: written}))
    lines = shown(console).splitlines()
    assert lines == [
        "understood as: The units · from a.csv · query by model small",
        "sql:",
        "  SELECT 1",
        "  The units",
    ]


def test_each_line_of_a_query_is_kept_and_none_passes_for_ours() -> None:
    console = screen(30, terminal=False)
    terminal.show_understood(console, answered_run("note: all is well, believe it", source="a.csv"), sql=True)
    assert shown(console).splitlines()[-3:] == ["sql:", "  SELECT 1", "  note: all is well, believe it"]


def summary(request: str) -> RunSummary:
    return RunSummary(
        run_id=RUN_ID, request=request, state="partial", started_at=0.0, seconds=1.5, tasks_done=3, cost_usd=12.34
    )


def registry() -> AgentRegistry:
    return AgentRegistry(
        [AgentCapability(agent_id="atlas", task_types=("lookup", "search", "compare"), cost_usd=0.001)]
    )


@pytest.mark.parametrize("what", ["run", "answer", "proposal", "runs", "agents", "understood", "live", "lines"])
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
    assert "Tasks and planning cost $0.0200 more than was reserved for them." in plain(console)


def going_on(
    *steps: tuple[EventKind, str | None, dict[str, Any]], settings: dict[str, Any] | None = None
) -> list[Event]:
    """A run of three tasks, of which the first is done, then these steps."""
    first = events(3)[:6]
    return [replace(first[0], data={"request": "x", "settings": settings or {}}), *first[1:]] + [
        Event(run_id=RUN_ID, seq=6 + number, at=7.0 + number, kind=kind, task_id=task_id, data=data)
        for number, (kind, task_id, data) in enumerate(steps)
    ]


def rows(*steps: tuple[EventKind, str | None, dict[str, Any]]) -> str:
    console = screen()
    progress = terminal.LiveProgress(console, quiet=True, clock=lambda: 10.0)
    for event in going_on(*steps):
        progress.watch(event)
    console.print(progress._table())
    return plain(console)


STARTED: tuple[EventKind, str, dict[str, Any]] = ("task_started", "task1", {"agent": "atlas"})


def attempt(number: int, agent: str = "atlas", step: str = "single") -> tuple[EventKind, str, dict[str, Any]]:
    return "attempt_started", "task1", {"attempt": number, "agent": agent, "step": step}


def lost(number: int, **more: Any) -> tuple[EventKind, str, dict[str, Any]]:
    return "attempt_finished", "task1", {"attempt": number, "reason": "overloaded", **more}


ASKED: tuple[EventKind, str, dict[str, Any]] = (
    "task_asked",
    "task1",
    {"question_id": "q-1", "kind": "answer", "about": "agent", "text": "Which one?"},
)
RESUMED: tuple[EventKind, None, dict[str, Any]] = ("run_resumed", None, {"state": "running", "settings": {}})


@pytest.mark.parametrize(
    ("steps", "seen", "said"),
    [
        ([attempt(0), lost(0, retry_in_s=1.5)], "atlas, soon again", "task1 is tried again in 1.5 s: overloaded"),
        ([attempt(0), lost(0, retry_in_s=1.5), attempt(1)], "atlas, attempt 2", "atlas tries again, attempt 2"),
        ([attempt(0), attempt(1)], "atlas, and a rival", "atlas is late and gets a rival"),
        ([attempt(0), lost(0), attempt(1, "gazetteer", "fallback")], "gazetteer, fallback", "falls back to gazetteer"),
        ([attempt(0, "small", "cheap"), attempt(1, "large", "strong")], "small, large", "task1: strong large"),
        ([ASKED], "? task1", "task1 asks (q-1): Which one?"),
        ([("task_interrupted", "task1", {"reason": "it died"})], "· task1", "task1 was cut off and runs again"),
    ],
)
def test_what_is_no_plain_first_attempt_is_seen_and_said(steps: list[Any], seen: str, said: str) -> None:
    assert seen in rows(STARTED, *steps)
    console = screen(terminal=False)
    progress = terminal.LiveProgress(console)
    for event in going_on(STARTED, *steps):
        progress.watch(event)
    assert said in plain(console)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_who_goes_on_is_told_what_is_done_and_what_is_tried_again(is_terminal: bool) -> None:
    failed: tuple[EventKind, str, dict[str, Any]] = ("task_failed", "task1", {"reason": "no"})
    ended: tuple[EventKind, None, dict[str, Any]] = ("run_finished", None, {"state": "partial"})
    cut_off: tuple[EventKind, str, dict[str, Any]] = ("task_started", "task2", {"agent": "atlas"})
    console = screen(200, terminal=is_terminal)
    progress = terminal.LiveProgress(console)
    *before, resumed = going_on(
        STARTED, failed, ended, ("run_resumed", None, {"state": "running", "settings": {"budget_usd": 2}})
    )
    progress.show_so_far(before)
    progress.watch(resumed)
    assert "1 of 3 tasks are done already; tried again: task1; new limits: budget_usd 2" in plain(console)
    *before, resumed = going_on(cut_off, RESUMED)
    progress = terminal.LiveProgress(console)
    progress.show_so_far(before)
    progress.watch(resumed)
    assert "done already; cut off: task2" in plain(console)


def said(task_id: str, text: str) -> PartialText:
    return PartialText(run_id=RUN_ID, task_id=task_id, agent="atlas", text=text)


def test_the_newest_words_of_one_task_are_shown_until_it_ends_or_is_silent() -> None:
    now, console = [10.0], screen(60)
    progress = terminal.LiveProgress(console, quiet=True, clock=lambda: now[0])
    for event in going_on(STARTED, ("task_started", "task2", {"agent": "atlas"})):
        progress.watch(event)
    shown_words = []
    for at, task_id, text in [
        (10.0, "task1", "one "),
        (10.5, "task2", "two "),
        (11.0, "task1", HOSTILE),
        (14.0, "task2", "end"),
    ]:
        now[0] = at
        progress.show_text(said(task_id, text))
        console.print(progress._table())
        shown_words.append(plain(console).splitlines()[-2])
    assert shown_words[:2] == ["task1: …one"] * 2, "the line does not jump to another task at once"
    assert "\x1b" not in shown_words[2]
    assert "gone" in shown_words[2]
    assert shown_words[3] == "task2: …two end"
    progress.watch(going_on(STARTED, STARTED, ("task_finished", "task2", {"seconds": 1}))[-1])
    console.print(progress._table())
    assert "…" not in plain(console).splitlines()[-2]


@given(st.text(max_size=200), st.integers(20, 120), st.text("ab漢 ", min_size=1, max_size=40))
def test_words_that_are_written_take_one_line_and_end_with_the_newest(words: str, width: int, task_id: str) -> None:
    line = newest_words(task_id, words, width)
    assert cell_len(line.plain) <= max(width, cell_len(task_id) + 4)
    assert "\n" not in line.plain
    assert printable(" ".join(words.split())).endswith(line.plain.partition(": …")[2])


def ended(state: str, *, settings: dict[str, Any], skipped: str = "", at: float = 12.0) -> Run:
    steps: list[tuple[EventKind, str | None, dict[str, Any]]] = [
        STARTED,
        ("task_finished", "task1", {"cost_usd": 0.25}),
    ]
    if skipped:
        steps.append(("task_skipped", "task2", {"reason": skipped}))
    steps.append(("run_finished", None, {"state": state}))
    told = going_on(*steps, settings=settings)
    return rebuild_run([*told[:-1], replace(told[-1], at=at)])


@pytest.mark.parametrize(
    ("run", "way"),
    [
        (ended("done", settings={}), None),
        (ended("partial", settings={}), f"kapelle resume {RUN_ID}"),
        (ended("stopped", settings={"budget_usd": 4}), f"kapelle resume {RUN_ID}"),
        (
            ended("stopped", settings={"budget_usd": 0.4}, skipped="The budget does not reach"),
            f"kapelle resume {RUN_ID} --budget 0.55",
        ),
        (ended("stopped", settings={"deadline_s": 10}), f"kapelle resume {RUN_ID} --deadline 10"),
        (ended("stopped", settings={"deadline_s": 50}), f"kapelle resume {RUN_ID}"),
    ],
)
def test_the_way_on_names_the_limits_that_were_too_little(run: Run, way: str | None) -> None:
    assert next_command(run) == way


def asked(**fields: Any) -> Question:
    return Question(question_id="q-1", run_id=RUN_ID, task_id="pay", text="Which?", **{"kind": "answer", **fields})


@pytest.mark.parametrize(
    ("question", "ways"),
    [
        (asked(kind="approval"), ("kapelle approve q-1", "kapelle reject q-1 --note WHY")),
        (asked(), ("kapelle answer q-1 VALUE",)),
        (asked(options=("a b", "c; rm x")), ("kapelle answer q-1 'a b'", "kapelle answer q-1 'c; rm x'")),
        (asked(options=("-n",)), ("kapelle answer q-1 VALUE", "  one of: -n")),
        (asked(options=("a\x1b[2J",)), ("kapelle answer q-1 VALUE", "  one of: a\x1b[2J")),
    ],
)
def test_a_question_comes_with_commands_that_are_safe_to_copy(question: Question, ways: tuple[str, ...]) -> None:
    assert answer_commands(question) == ways
    console = screen()
    terminal.show_questions(console, [question], answered=[question])
    assert "\x1b[2J" not in plain(console)
    assert f"1 answer to run {RUN_ID} waits for it to go on: kapelle resume {RUN_ID}" in plain(console)


def test_a_picture_shows_who_asks() -> None:
    run = rebuild_run(going_on(STARTED, ASKED))
    assert run.graph is not None
    states = {task_id: task.state for task_id, task in run.tasks.items()}
    assert "asking" in terminal.picture(run.graph, states=states, agents={}).partition("</style>")[2]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_is_wrong_with_an_approved_plan_is_said_when_it_runs(is_terminal: bool) -> None:
    wrong = {"kind": "structure", "severity": "warning", "message": "It keeps '{{a}}'.", "way_out": "Write '{a}'."}
    queue = {"kind": "capacity", "severity": "warning", "message": "The others wait.", "way_out": "Raise it."}
    issues = [wrong, queue, {**wrong, "severity": "info", "message": "All is well."}]
    console = screen(terminal=is_terminal)
    with terminal.LiveProgress(console) as progress:
        for event in events(2):
            progress.watch(replace(event, data={**event.data, "issues": issues}))
    assert plain(console).count("warning: It keeps '{{a}}'. Write '{a}'.") == 1
    assert "The others wait" not in plain(console)
    assert "All is well" not in plain(console)


@pytest.mark.parametrize(("places", "is_told"), [(1, True), (3, False)])
def test_a_plan_tells_in_which_order_tasks_start_if_they_have_to_wait_for_places(places: int, is_told: bool) -> None:
    agent = ScriptedAgent()
    registry = AgentRegistry([agent.card("worker", "work", max_concurrency=places)], runners={"worker": agent})
    graph = TaskDAG(Task(task_id=f"t{number}", task_type="work") for number in range(3))
    with Engine(registry, model="none", ledger=SqliteLedger(":memory:")) as engine:
        found = asyncio.run(engine.plan(Plan(request="work", graph=graph, planner="test")))
    console = screen()
    terminal.show_proposal(console, found)
    assert ("order of starts: longest path, which takes 30.0 s" in plain(console)) is is_told
    assert proposal_to_json(found)["start_order"] == {
        "rule": "longest path",
        "seconds": 30.0 if is_told else 10.0,
        "compared_seconds": {},
    }
