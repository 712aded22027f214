"""What a person sees in a terminal: live progress, a finished run, a plan, tables. Reads values; decides nothing.

Requests, plans and what agents return are not ours: every text goes through `printable`, so that none steers the
terminal. A narrow terminal is shown fewer columns rather than broken ones.
"""

from __future__ import annotations

import json
import math
import shlex
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment, Segments
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from kapelle.agents import SOURCED_TYPES, AgentRegistry, PartialText
from kapelle.allocation import Frontier
from kapelle.engine import Proposal
from kapelle.estimates import CostProfiler
from kapelle.graph import Task, TaskDAG, title_task
from kapelle.ledger import (
    MAX_SHOWN_WORDS,
    Event,
    Question,
    Run,
    RunBuilder,
    RunSummary,
    TaskRun,
    cited_files,
    describe_question,
    format_seconds,
    format_usd,
    printable,
    tell_overrun,
    tell_understood,
)
from kapelle.planning import explain_edges
from kapelle.redaction import hide_known

_STYLES = {
    "done": "green",
    "failed": "red",
    "skipped": "yellow",
    "cancelled": "yellow",
    "running": "cyan",
    "waiting": "dim",
    "expanded": "cyan",
    "partial": "yellow",
    "stopped": "yellow",
    "interrupted": "red",
    "planning": "cyan",
    "asking": "magenta",
}
_MARKS = {"done": "✓", "failed": "✗", "skipped": "–", "cancelled": "■", "waiting": "·", "expanded": "+", "asking": "?"}
_RUN_STYLES = {**_STYLES, "waiting": _STYLES["asking"]}
"""A task waits for others, a run for a person."""
_MOST_WRITING = 2_000
"""Of what a task writes, so many characters are kept to show the newest of them."""
_STAYS_S = 2.0
"""So long the words of one task are shown before those of another, so that the line does not jump to and fro."""
_MOST_COMMANDS = 9
"""Options of a question for which the command is spelt out."""
_MOST_ROWS = 30
"""Tasks shown at a time while a large plan runs; those at work come first."""
_LINES_BESIDE = 4
"""Lines of the screen that the table leaves free: how many more there are, the total, and some air."""
_MOST_UNDERSTOOD = 3
"""Tasks of which it is said below an answer how they were understood."""
_LONGEST_UNDERSTOOD = 400
_NARROW = 60
"""Below so many columns, who does a task and its cost give way to its description."""
_RUN_COLUMNS = (
    (100, ("run", "state", "started", "took", "tasks", "cost", "request"), "request"),
    (80, ("run", "state", "took", "tasks", "cost", "request"), "request"),
    (_NARROW, ("run", "state", "cost", "request"), "request"),
    (0, ("run", "state", "cost"), "run"),
)
"""From how many columns on the list of runs shows what, and which of it is shortened."""
_WAYS = frozenset({"backend", "hedge", "reflect", "explore"})
"""Settings of a run that are no limits."""
_LISTED_FIRST = {"running": 0, "asking": 1, "failed": 2, "waiting": 3}


class LiveProgress:
    """Shows a run while it runs: as a table that changes in place or, where that is no terminal, a line per event."""

    def __init__(self, console: Console, *, quiet: bool = False, clock: Callable[[], float] = time.time) -> None:
        self._console = console
        self._clock = clock
        # The table is drawn by a thread of its own.
        self._lock = threading.Lock()
        self._builder = RunBuilder()
        self._quiet = quiet
        self._spinner = Spinner("dots")
        self._writing: dict[str, str] = {}
        """The newest words of each task that writes."""
        self._pausing: set[str] = set()
        """Tasks that are tried again after a while."""
        self._writer: tuple[str, float] | None = None
        """Whose words are shown, and until when at least."""
        self._live = (
            Live(console=console, refresh_per_second=8, transient=True, get_renderable=self._table)
            if console.is_terminal and not quiet
            else None
        )

    @property
    def run_id(self) -> str | None:
        """The run that is shown, once it has begun."""
        return self._builder.run_id

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def watch(self, event: Event) -> None:
        """Take in an event."""
        with self._lock:
            before = self._builder.run() if event.kind == "run_resumed" else None
            self._builder.add(event)
            if event.kind.startswith("task_") and event.kind != "task_started":
                self._writing.pop(event.task_id or "", None)
            if event.task_id is not None:
                self._pausing.discard(event.task_id)
                if event.kind == "attempt_finished" and event.data.get("retry_in_s") is not None:
                    self._pausing.add(event.task_id)
        if self._quiet:
            return
        if before is not None:
            self._say(_tell_resumption(before, self._builder.run()))
        elif self._live is None:
            self._print_line(event)
        if event.kind == "run_approved":
            self._warn(event)

    def show_so_far(self, events: Iterable[Event]) -> None:
        """Take in what happened before, without telling of it."""
        with self._lock:
            for event in events:
                self._builder.add(event)

    def show_text(self, piece: PartialText) -> None:
        """Take in a piece of text that is being written: its newest words are shown."""
        with self._lock:
            before = self._writing.get(piece.task_id, "")
            self._writing[piece.task_id] = (before + piece.text)[-_MOST_WRITING:]
            now = self._clock()
            name, until = self._writer or ("", 0.0)
            if name == piece.task_id or name not in self._writing or now >= until:
                self._writer = (piece.task_id, now + _STAYS_S)

    def _warn(self, event: Event) -> None:
        """Say what is wrong with an approved plan; not that tasks wait for a place, which is no surprise."""
        for issue in event.data.get("issues", ()):
            if issue["severity"] == "warning" and issue["kind"] != "capacity":
                self._say(f"warning: {issue['message']} {issue['way_out']}".rstrip())

    def _print_line(self, event: Event) -> None:
        match event.kind:
            case "run_planned":
                count = len(event.data["graph"]["tasks"])
                self._say(f"planned {count} task{'s' if count != 1 else ''} ({event.data['planner']})")
            case "run_approved":
                self._say(f"approved, expected cost {format_usd(_expected(event))}")
            case "task_started":
                self._say(f"{event.task_id} started ({event.data['agent']})")
            case "task_finished":
                self._say(f"{event.task_id} done in {format_seconds(event.data['seconds'])}")
            case "task_expanded":
                self._say(f"{event.task_id} expanded: {len(self._builder.run().tasks)} tasks now")
            case "graph_patched":
                self._say(f"{event.data['replaces']} is planned anew: {event.data['reason']}")
            case "task_asked":
                self._say(f"{event.task_id} asks ({event.data['question_id']}): {_cut_words(event.data)}")
            case "question_answered":
                self._say(f"{event.task_id} was answered")
            case "task_interrupted":
                self._say(f"{event.task_id} was cut off and runs again")
            case "attempt_started" if event.data["attempt"]:
                self._say(f"{event.task_id}: {_tell_attempt(self._builder.run().tasks[event.task_id or ''])}")
            case "attempt_finished" if event.data.get("retry_in_s") is not None:
                wait = format_seconds(event.data["retry_in_s"])
                self._say(f"{event.task_id} is tried again in {wait}: {event.data['reason']}")
            case "task_failed" | "task_skipped" | "task_cancelled":
                self._say(f"{event.task_id} {event.kind.removeprefix('task_')}: {event.data['reason']}")
            case _:
                pass

    def _say(self, text: str) -> None:
        self._console.print(_text(text), soft_wrap=True)

    def _table(self) -> RenderableType:
        with self._lock:
            if self._builder.run_id is None:
                return Text("")
            run = self._builder.run()
            writer = self._writer[0] if self._writer is not None else ""
            words, pausing = self._writing.get(writer), set(self._pausing)
        if run.graph is None:
            return Group(self._spinner, Text("planning ...", style="dim"))
        most = max(1, min(_MOST_ROWS, self._console.height - _LINES_BESIDE))
        now = self._clock()
        table = _task_table(self._console.width)
        for task in _most_telling(run, most):
            state = run.tasks[task.task_id]
            at_work = state.state == "running"
            spent = max(0.0, now - (state.started_at or now)) if at_work else state.seconds
            _add_cells(
                table,
                self._spinner if at_work else _mark(state),
                *_task_cells(task),
                format_seconds(spent) if state.started_at is not None and state.state != "asking" else "",
                _text(_who_is_at(state, pauses=task.task_id in pausing) or run.assignments.get(task.task_id, "")),
                format_usd(state.cost_usd) if state.cost_usd else "",
            )
        lines: list[RenderableType] = [table]
        if len(run.tasks) > most:
            lines.append(Text(f"... and {len(run.tasks) - most} more", style="dim"))
        if words is not None:
            lines.append(_newest_words(writer, words, self._console.width))
        done = sum(1 for state in run.tasks.values() if state.state == "done")
        lines.append(Text(f"{done} of {len(run.tasks)} tasks, {format_usd(run.cost_usd)}", style="dim"))
        return Group(*lines)


def show_run(console: Console, run: Run, *, more: str = "") -> None:
    """Print what became of a run: tasks, costs, time, and how to go on. The answer itself is printed by the caller.

    Args:
        more: What commands about this run have to say besides, such as ` --db FILE`.
    """
    if run.graph is not None:
        table = _task_table(console.width)
        for task in run.graph:
            state = run.tasks[task.task_id]
            _add_cells(
                table,
                _mark(state),
                *_task_cells(task),
                format_seconds(state.seconds) if state.started_at and state.state != "asking" else "",
                _text(state.agent or ""),
                format_usd(state.cost_usd) if state.agent else "",
            )
            if state.reason:
                table.add_row("", "", _text(state.reason, style=_STYLES[state.state]))
        console.print(table)
    if run.stop_reason:
        console.print(_text(f"{run.state}: {run.stop_reason}", style=_RUN_STYLES[run.state]))
    if run.overrun_usd:
        console.print(Text(tell_overrun(run.overrun_usd), style="yellow"))
    console.print(_text(_totals(run), style="dim"))
    for note in run.cost_notes:
        console.print(_text(note, style="yellow"))
    if run.open_questions:
        show_questions(console, run.open_questions, more=more)
    for ended in run.tasks.values():
        if ended.readings and ended.state == "failed":
            console.print(Text("To ask for one of them:", style="dim"))
            for reading in ended.readings:
                console.print(_text(f"  {_one_reading(reading)}", style="dim"), soft_wrap=True)
                console.print(_text(f"    {way_to_ask(run, reading)}{more}", style="cyan"), soft_wrap=True)
    way = way_on(run)
    if way is not None:
        console.print(_text(f"To go on: {way}{more}", style="dim"), soft_wrap=True)


def way_on(run: Run) -> str | None:
    """Return the command that goes on with a run, with the limits that it needs; None if it is done or at work."""
    if run.state in ("done", "planning", "running"):
        return None
    command = f"kapelle resume {run.run_id}"
    budget, deadline = run.settings.get("budget_usd"), run.settings.get("deadline_s")
    ahead = {name: task.state not in ("done", "expanded") for name, task in run.tasks.items()}
    expected = {name: run.estimates.get(name, {}) if is_ahead else {} for name, is_ahead in ahead.items()}
    if isinstance(budget, (int, float)):
        needed = run.cost_usd + math.fsum(float(one.get("cost_usd", 0.0)) for one in expected.values())
        short = any("budget" in (task.reason or "") for task in run.tasks.values() if task.state == "skipped")
        if short or needed > budget:  # where it fell short, what was expected was too little
            command += f" --budget {max(1.25 * budget, 1.1 * needed):.2g}"
    if isinstance(deadline, (int, float)) and run.active_seconds >= 0.9 * deadline:
        seconds = {name: float(one.get("seconds", 0.0)) for name, one in expected.items()}
        path_s = run.graph.critical_path(seconds).seconds if run.graph is not None and seconds else 0.0
        command += f" --deadline {math.ceil(max(deadline, 1.5 * path_s))}"
    return command


def way_to_ask(run: Run, reading: Mapping[str, str]) -> str:
    """Return the command that asks for one of several readings: its query, over the folder of the run."""
    origin = run.settings.get("origin")
    data = origin.get("data") if isinstance(origin, Mapping) else None
    return (
        f"kapelle run {shlex.quote(reading['sql'])} --data {shlex.quote(data) if isinstance(data, str) else 'FOLDER'}"
    )


def _one_reading(reading: Mapping[str, str]) -> str:
    return _shorten(" ".join(reading["understood"].split()), _LONGEST_UNDERSTOOD)


def show_questions(
    console: Console,
    questions: Iterable[Question],
    *,
    answered: Iterable[Question] = (),
    more: str = "",
    full: bool = False,
) -> None:
    """Print what tasks ask people, each with the commands that answer it; then what waits to be gone on with.

    Args:
        answered: Questions that were answered while no engine worked on their runs.
        more: What the commands have to say besides, such as ` --db FILE`.
        full: Whether nothing of a question is cut.
    """
    none = True
    for question in questions:
        none = False
        console.print(_text(f"{question.question_id}  task {question.task_id} of run {question.run_id}", style="bold"))
        for line in describe_question(question, full=full, more=more):
            console.print(_text(f"  {line}"), soft_wrap=True)
        for way in ways_to_answer(question):
            console.print(_text(f"  {way}{more}", style="cyan"), soft_wrap=True)
    for run_id, count in Counter(question.run_id for question in answered).items():
        none = False
        words = f"{count} answer{'s' * (count != 1)} to run {run_id} wait{'s' * (count == 1)} for it to go on:"
        console.print(_text(f"{words} kapelle resume {run_id}{more}", style="dim"), soft_wrap=True)
    if none:
        console.print("Nothing waits for an answer.", style="dim")


def ways_to_answer(question: Question) -> tuple[str, ...]:
    """Return the commands that answer a question, ready to be copied."""
    if question.kind == "approval":
        return (f"kapelle approve {question.question_id}", f"kapelle reject {question.question_id} --note WHY")
    answer = f"kapelle answer {question.question_id}"
    # What cannot be shown as it is cannot be copied either.
    if not 0 < len(question.options) <= _MOST_COMMANDS or any(
        "\n" in option or printable(option) != option or option.startswith("-") for option in question.options
    ):
        return (f"{answer} VALUE", *(f"  one of: {option}" for option in question.options))
    return tuple(f"{answer} {shlex.quote(option)}" for option in question.options)


def show_history(console: Console, run: Run) -> None:
    """Print what happened to a run beside its tasks' own work: versions of its graph, questions, interruptions.

    A run that went through in one go has no such story, and nothing is printed.
    """
    told = list(_tell_history(run))
    if {event.kind for event, _ in told} <= {"run_planned", "run_finished"}:
        return
    console.print("\nHistory:")
    for event, words in told:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at))
        console.print(_text(f"  {moment}  {' '.join(words.split())}"), soft_wrap=True)


def _tell_history(run: Run) -> Iterator[tuple[Event, str]]:
    builder = RunBuilder()
    for event in run.events:
        before = builder.run() if event.kind == "run_resumed" else None
        builder.add(event)
        data = event.data
        match event.kind:
            case "run_planned" | "task_expanded" | "graph_patched":
                now = builder.run()
                what = f"version {now.graph_version} of the graph, {_count(len(now.tasks), 'task')}"
                yield event, f"{what}: {_why_changed(event)}"
            case "run_resumed" if before is not None:
                yield event, _tell_resumption(before, builder.run())
            case "run_waiting":
                yield event, "waits for a person"
            case "task_interrupted":
                yield event, f"{event.task_id} was cut off: {data['reason']}"
            case "task_asked":
                yield event, f"{event.task_id} asks ({data['question_id']}): {_cut_words(data)}"
            case "question_answered":
                who = f" by {data['by']}" if data.get("by") else ""
                note = f" ({data['note']})" if data.get("note") else ""
                yield event, f"{event.task_id} was answered{who}: {_tell_answer(data.get('answer'))}{note}"
            case "attempt_finished" if data.get("retry_in_s") is not None:
                yield event, f"{event.task_id} is tried again: {data['reason']}"
            case "attempt_started" if data["attempt"] and data["step"] in ("fallback", "single"):
                yield event, f"{event.task_id}: {_tell_attempt(builder.run().tasks[event.task_id or ''])}"
            case "run_finished":
                yield event, f"{data['state']}{': ' + data['stop_reason'] if data.get('stop_reason') else ''}"
            case _:
                pass


def _why_changed(event: Event) -> str:
    match event.kind:
        case "task_expanded":
            return f"{event.task_id} was expanded"
        case "graph_patched":
            return f"{event.data['replaces']} was planned anew: {event.data['reason']}"
        case _:
            return f"planned ({event.data['planner']})"


def _tell_resumption(before: Run, after: Run) -> str:
    """Say where a run goes on: what is done, what was cut off, what is tried again, which limits are new."""
    states: dict[str, list[str]] = {}
    for task_id, task in before.tasks.items():
        states.setdefault(task.state, []).append(task_id)
    words = f"going on; {len(states.get('done', []))} of {_count(len(before.tasks), 'task')} are done already"
    if not before.tasks:
        words = "going on; nothing was planned yet"
    if cut_off := states.get("running"):
        words += f"; cut off: {_list(cut_off)}"
    if again := [name for name, task in after.tasks.items() if task.state != before.tasks[name].state]:
        words += f"; tried again: {_list(again)}"
    new = {name: value for name, value in after.settings.items() if before.settings.get(name) != value}
    for what, named in (("new limits", new.keys() - _WAYS), ("now with", new.keys() & _WAYS)):
        if named:
            words += f"; {what}: {', '.join(f'{name} {value}' for name, value in new.items() if name in named)}"
    return words


def _tell_attempt(task: TaskRun) -> str:
    """Say what the newest attempt at a task is: a rival, a fallback, the same again, or a strategy's next step."""
    newest, earlier = task.attempts[-1], task.attempts[:-1]
    if newest.step == "fallback":
        return f"falls back to {newest.agent}"
    same = [one for one in earlier if one.agent == newest.agent]
    if any(one.state == "running" for one in same):
        return f"{newest.agent} is late and gets a rival"
    if same:
        return f"{newest.agent} tries again, attempt {len(same) + 1}"
    return f"{newest.step} {newest.agent}"


def _who_is_at(task: TaskRun, *, pauses: bool) -> str:
    """Name the agents that work on a task, and say if that is not the first attempt."""
    running = [one for one in task.attempts if one.state == "running"]
    if task.state != "running" or not (running or pauses):
        return task.agent or ""
    if not running:
        return f"{task.attempts[-1].agent}, soon again"
    names = list(dict.fromkeys(one.agent for one in running))
    if len(names) > 1:
        return ", ".join(names)
    count = sum(1 for one in task.attempts if one.agent == names[0])
    if len(running) > 1:
        return f"{names[0]}, and a rival"
    if running[0].step == "fallback":
        return f"{names[0]}, fallback"
    return f"{names[0]}, attempt {count}" if count > 1 else names[0]


def _newest_words(task_id: str, words: str, width: int) -> Text:
    """Return a line with the newest of what a task writes: as many cells as there are, and never another line."""
    head = f"{_shorten(task_id, 24)}: …"
    room, tail = width - cell_len(head) - 1, []
    for sign in reversed(printable(" ".join(words.split()))):
        room -= cell_len(sign)
        if room < 0:
            break
        tail.append(sign)
    return Text(printable(head) + "".join(reversed(tail)), style="dim", no_wrap=True, overflow="ellipsis")


def _tell_answer(answer: object) -> str:
    words = {True: "yes", False: "no"}.get(answer) if isinstance(answer, bool) else None
    return words or _shorten(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False), 200)


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _list(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def show_answer(console: Console, answer: str) -> None:
    """Print an answer: as Markdown in a terminal, as it is anywhere else."""
    if console.is_terminal:
        # Links are spelt out: a link's words may say one place and lead to another.
        console.print(_Printable(Markdown(printable(answer), hyperlinks=False)))
    else:
        # Not as Text, which would turn tabs into spaces.
        console.print(Segments([Segment(printable(answer) + "\n")]), soft_wrap=True, end="")


def show_memory(console: Console, run: Run) -> None:
    """Say below an answer what of it is a model's memory, where there was no folder to look in."""
    said = [
        title_task(task)
        for task in run.graph or ()
        if run.tasks[task.task_id].from_memory and task.task_type in SOURCED_TYPES
    ]
    if said:
        shown = _shorten("; ".join(said), 200)
        words = f"From the model's memory, without a source: {shown}. To look in documents: --data FOLDER."
        console.print(_text(words, style="dim"))


def show_understood(console: Console, run: Run, *, sql: bool = False, more: str = "") -> None:
    """Print in a line each how tasks were understood, and what there is to know of what they were answered from.

    Args:
        sql: Print the queries below, of all tasks; those that a model wrote are printed in any case.
        more: What commands about this run have to say besides, such as ` --db FILE`.
    """
    told = [task for task in run.tasks.values() if task.state == "done" and (task.understood or (sql and task.sql))]
    shown = told if sql else told[:_MOST_UNDERSTOOD]
    for task in shown:
        name = f"{task.task_id} " if len(told) > 1 else ""
        if task.understood:
            words = f"{name}understood as: {_shorten(tell_understood(task), _LONGEST_UNDERSTOOD)}"
            console.print(_text(words, style="dim"), soft_wrap=True)
        if task.sql and (sql or task.sql_by):
            console.print(_text(f"{name}sql:", style="dim"))
            console.print(_text("\n".join(f"  {line}" for line in task.sql.splitlines())), soft_wrap=True)
    if len(told) > len(shown):
        left = f"and {len(told) - len(shown)} more (kapelle explain {run.run_id}{more})"
        console.print(_text(left, style="dim"), soft_wrap=True)
    notes = _notes_on_files(run) if run.answer else []
    for note in notes[:_MOST_UNDERSTOOD]:
        console.print(_text(f"note: {_shorten(note, _LONGEST_UNDERSTOOD)}", style="yellow"), soft_wrap=True)
    if len(notes) > _MOST_UNDERSTOOD:
        left = f"and {len(notes) - _MOST_UNDERSTOOD} more notes (kapelle explain {run.run_id}{more})"
        console.print(_text(left, style="yellow"), soft_wrap=True)


def _notes_on_files(run: Run) -> list[str]:
    """Return what is to be known of the files that the answer is from, and then which files could not be read."""
    files = {file for task in run.tasks.values() for file in cited_files(task)}
    of_files = [note for note in run.notes if any(note.startswith((f"{file}:", f"{file} ")) for file in files)]
    left_out = [note for note in run.notes if " was left out: " in note and note not in of_files]
    return of_files + left_out


def show_proposal(console: Console, proposal: Proposal) -> None:
    """Print a plan that has not run: who would do what, in which order, for how much, and what is wrong with it."""
    graph, routing, validation = proposal.plan.graph, proposal.routing, proposal.validation
    tree = Tree(_text(f"{_shorten(proposal.plan.request, 100)}  (planned by {proposal.plan.planner})", style="bold"))
    reasons = explain_edges(graph, proposal.plan.request)
    told: dict[str, str] = {}
    """Reasons already given, and for which task: forty tasks alike need them once."""
    for number, level in enumerate(graph.levels()):
        branch = tree.add(Text(f"level {number}" + (": at the same time" if len(level) > 1 else ""), style="dim"))
        for task_id in level:
            task = graph.tasks[task_id]
            line = _text(task_id, style="bold")
            line.append(printable(f" [{task.task_type}] {title_task(task)}"), style="default")
            node = branch.add(line)
            for words, names in _grouped(graph.dependencies(task_id), task_id, reasons):
                node.add(_text(f"after {names}: {words}", style="dim"))
            if task_id in routing.assignments:
                estimate = validation.estimates.get(task_id)
                expected = ""
                if estimate is not None:
                    expected = f"  ~{format_usd(estimate.cost_usd)}, {format_seconds(estimate.seconds)}"
                    expected += f", {estimate.success_rate:.0%} success ({estimate.tell_success()})"
                node.add(_text(routing.assignments[task_id] + expected, style="cyan"))
                why = routing.explanations.get(task_id, "")
                node.add(_text(f"as {told[why]}" if why in told else why, style="dim"))
                told.setdefault(why, task_id)
            elif task_id in routing.unassigned:
                node.add(_text(f"no agent: {routing.unassigned[task_id]}", style="red"))
    console.print(tree)
    for note in proposal.plan.notes:
        console.print(_text(note, style="dim"))
    for issue in validation.issues:
        console.print(_text(str(issue), style="red" if issue.severity == "error" else "yellow"))
        if issue.edit is not None:
            console.print(_text(f"  edit: {issue.edit.summary}", style="dim"))
    verdict = "approved" if validation.passed else "not approved"
    console.print(
        Text(
            f"{verdict}: expected {format_usd(validation.estimated_cost)}, {format_seconds(validation.estimated_time)} "
            f"along the critical path, score {validation.quality_score:.2f}",
            style="green" if validation.passed else "red",
        )
    )


def _grouped(before: Iterable[str], task_id: str, reasons: Mapping[tuple[str, str], str]) -> Iterable[tuple[str, str]]:
    """Why a task waits, with the tasks that it waits for, those with one reason together."""
    names: dict[str, list[str]] = {}
    for source in before:
        names.setdefault(reasons.get((source, task_id), ""), []).append(source)
    return [(words, ", ".join(sources)) for words, sources in names.items()]


def show_frontier(console: Console, frontier: Frontier) -> None:
    """Print the choices of a plan, the cheapest first, and what each one is the best at."""
    if not frontier.points:
        console.print(_text(frontier.note, style="yellow"))
        return
    table = _table_of(["cost", "time", "success, at least", "agents", ""], gives_way="agents")
    marks = {
        id(point): words
        for point, words in (
            (frontier.knee(), "a good balance"),
            (frontier.best(), "most likely to succeed"),
            (frontier.fastest(), "fastest"),
            (frontier.cheapest(), "cheapest"),
        )
    }
    for point in frontier.points:
        names = Counter(str(point.plan.strategies.get(task, agent)) for task, agent in point.plan.assignments.items())
        who = ", ".join(f"{count} x {name}" if count > 1 else name for name, count in names.most_common())
        cells = (format_usd(point.cost_usd), format_seconds(point.seconds), f"{point.quality:.0%}")
        table.add_row(*cells, _one_line(who), marks.get(id(point), ""))
    console.print(table)
    console.print(_text(frontier.note, style="dim"))
    chosen = frontier.knee()
    hint = f"--quality {math.floor(chosen.quality * 1000) / 1000:g}"
    if chosen.seconds >= 1 and chosen is not frontier.cheapest():  # below a second, a limit would be a matter of luck
        hint += f" --deadline {math.ceil(chosen.seconds * 1.1)}"
    console.print(_text(f"Run one of them by its limits, for example: kapelle run REQUEST {hint}", style="dim"))


def show_runs(console: Console, runs: Iterable[RunSummary]) -> None:
    """Print runs as a table, newest first."""
    shown, gives_way = next((titles, gives_way) for least, titles, gives_way in _RUN_COLUMNS if console.width >= least)
    table = _table_of(shown, gives_way=gives_way)
    for run in runs:
        cells: dict[str, RenderableType] = {
            "run": _one_line(run.run_id),
            "state": Text(run.state, style=_RUN_STYLES[run.state]),
            "started": time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started_at)),
            "took": "" if run.seconds is None else format_seconds(run.seconds),
            "tasks": str(run.tasks_done),
            "cost": format_usd(run.cost_usd),
            "request": _one_line(_shorten(run.request, 80)),
        }
        table.add_row(*(cells[title] for title in shown))
    console.print(table)


def show_agents(console: Console, registry: AgentRegistry, profiler: CostProfiler, note: str) -> None:
    """Print the agents of an engine: what they take, what they cost, and what the ledger knows of them."""
    runnable = registry.runnable()
    narrow = console.width < _NARROW
    shown = ["agent", "price", "success"] if narrow else ["agent", "takes", "price", "success", "seen", ""]
    table = _table_of(shown, gives_way="agent" if narrow else "takes")
    for agent_id, card in registry.items():
        profiles = [
            profile for kind in card.task_types if (profile := profiler.get_profile(agent_id, kind)) is not None
        ]
        price = f"{format_usd(card.cost_usd)} a task" if card.cost_usd is not None else card.cost_tier
        cells: dict[str, RenderableType] = {
            "agent": _one_line(agent_id, style="bold" if agent_id in runnable else "dim"),
            "takes": _one_line(_shorten(", ".join(card.task_types), 60)),
            "price": price,
            "success": f"{profiler.estimate(card, card.task_types[0]).success_rate:.0%}",
            "seen": str(sum(profile.total_executions for profile in profiles)),
            "": "" if agent_id in runnable else "needs a model",
        }
        table.add_row(*(cells[title] for title in shown))
    console.print(table)
    if profiler.get_statistics()["total_executions"]:
        told = "success: as declared until a check or a rating measures it; failures lower it."
        console.print(_text(told, style="dim"))
    console.print(_text(note, style="dim"))


def picture(graph: TaskDAG, *, states: Mapping[str, str], agents: Mapping[str, str]) -> str:
    """Return the graph as SVG, coloured by state, each task with its agent."""
    return graph.to_svg(status=states, notes=agents)


class _Printable:
    """Draws another renderable, and makes printable what it drew: Markdown turns `&#8238;` into the character."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, control in console.render(self._inner, options):
            yield Segment(text if control else printable(text), style, control)


def _cut_words(data: Mapping[str, Any]) -> str:
    """Return the words of a question, cut where they are long: `kapelle questions` shows the whole."""
    words = data["text"]
    left = len(words) - MAX_SHOWN_WORDS
    return words if left <= 0 else f"{words[:MAX_SHOWN_WORDS]} ... {left:,} characters more"


def _text(text: str, *, style: str = "") -> Text:
    return Text(printable(text), style=style)


def _one_line(text: str, *, style: str = "") -> Text:
    return Text(printable(" ".join(text.split())), style=style, no_wrap=True, overflow="ellipsis")


def _table_of(titles: Iterable[str], *, gives_way: str) -> Table:
    """Return an empty table whose columns keep their width, but for the one that gives way on a narrow terminal."""
    table = Table(box=None, pad_edge=False)
    for title in titles:
        # rich narrows the columns that may wrap; their cells are of one line, and end in an ellipsis.
        table.add_column(title, no_wrap=title != gives_way, overflow="ellipsis")
    return table


def _task_table(width: int) -> Table:
    """Return an empty table of tasks: mark, id, description, time; agent and cost where there is room."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(6, width // 4), style="bold")
    table.add_column()
    table.add_column(no_wrap=True, style="dim")
    if width >= _NARROW:
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=width // 4, style="dim")
        table.add_column(no_wrap=True, style="dim")
    return table


def _add_cells(table: Table, *cells: RenderableType) -> None:
    """Add a row of those cells that the table has columns for: rich would make columns of the others."""
    table.add_row(*cells[: len(table.columns)])


def _task_cells(task: Task) -> tuple[Text, Text]:
    return _one_line(task.task_id), _one_line(_shorten(title_task(task), 60))


def _most_telling(run: Run, most: int) -> list[Task]:
    """Return the tasks to show while there is no room for all: those at work, then failed, waiting, the rest."""
    assert run.graph is not None
    if len(run.tasks) <= most:
        return list(run.graph)
    ranks: tuple[list[str], ...] = ([], [], [], [])
    for task_id, task in run.tasks.items():
        ranks[_LISTED_FIRST.get(task.state, 3)].append(task_id)
    chosen = [task_id for rank in ranks for task_id in rank[:most]][:most]
    return [run.graph.tasks[task_id] for task_id in chosen]


def _expected(event: Event) -> float:
    return float(sum(estimate["cost_usd"] for estimate in event.data["estimates"].values()))


def _mark(task: TaskRun) -> Text:
    return Text(_MARKS.get(task.state, " "), style=_STYLES[task.state])


def _totals(run: Run) -> str:
    parts = [f"run {run.run_id}", f"cost {format_usd(run.cost_usd)}"]
    budget = run.settings.get("budget_usd")
    if budget is not None:
        parts[-1] += f" of {format_usd(budget)}"
    shares = [("planning", run.planning_cost_usd), *run.cost_by_agent.items()]
    told = [f"{who} {format_usd(cost)}" for who, cost in shares if cost]
    if told:
        parts[-1] += f" ({', '.join(told)})"
    if run.overrun_usd:
        parts.append(f"{format_usd(run.overrun_usd)} more than was reserved")
    if run.seconds is not None:
        parts.append(f"took {format_seconds(run.seconds)}")
    if run.critical_path_seconds is not None:
        work = sum(task.seconds for task in run.tasks.values())
        parts.append(f"critical path {format_seconds(run.critical_path_seconds)}")
        parts.append(f"agents' work {format_seconds(work)}")
    return ", ".join(parts)


def _shorten(text: str, most: int) -> str:
    text = " ".join(hide_known(text).split())  # before it is cut: nobody could find half of a key
    return text if len(text) <= most else text[: most - 1] + "…"
