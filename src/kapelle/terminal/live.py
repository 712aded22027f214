"""A run while it runs: a table that changes in place or, where that is no terminal, a line per event."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain, islice
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from kapelle.agents import PartialText
from kapelle.graph import Task
from kapelle.ledger import Event, Run, RunBuilder, TaskRun, TaskState, event_cost, format_seconds, format_usd, printable

from .cells import add_cells, mark, shorten, styled, task_cells, task_table
from .history import cut_words, tell_attempt, tell_reassignment, tell_resumption

MAX_WRITING = 2_000
"""Of what a task writes, so many characters are kept to show the newest of them."""
STAYS_S = 2.0
"""So long the words of one task are shown before those of another, so that the line does not jump to and fro."""
MAX_ROWS = 30
"""Tasks shown at a time while a large plan runs; those at work come first."""
MAX_LINES = 1_000
"""Tasks of a plan of which each has its lines; of a larger one, there is a line for each hundredth that is done."""
LINES_BESIDE = 4
"""Lines of the screen that the table leaves free: how many more there are, the total, and some air."""
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
        self._by_state: dict[TaskState, dict[str, None]] = {}
        """The tasks in each state, in the order in which they came to be in it."""
        self._states: dict[str, TaskState] = {}
        self._cost_usd = 0.0
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
            self._add(event)
            if event.kind.startswith("task_") and event.kind != "task_started":
                self._writing.pop(event.task_id or "", None)
            if event.task_id is not None:
                self._pausing.discard(event.task_id)
                if event.kind == "attempt_finished" and event.data.get("retry_in_s") is not None:
                    self._pausing.add(event.task_id)
        if self._quiet:
            return
        if before is not None:
            self._say(tell_resumption(before, self._builder.run()))
        elif self._live is None:
            self._print_line(event)
        if event.kind == "run_approved":
            self._warn(event)

    def show_so_far(self, events: Iterable[Event]) -> None:
        """Take in what happened before, without telling of it."""
        with self._lock:
            for event in events:
                self._add(event)

    def _add(self, event: Event) -> None:
        """Take in an event, and keep count of what the table shows: going through all tasks takes long for many."""
        self._builder.add(event)
        self._cost_usd += event_cost(event)
        run = self._builder.now
        assert run is not None
        if event.kind in ("run_planned", "run_resumed", "graph_patched", "task_expanded"):
            self._by_state, self._states = {}, {}
            for task_id, task in run.tasks.items():
                self._move(task_id, task.state)
        elif event.task_id is not None and event.task_id in run.tasks:
            self._move(event.task_id, run.tasks[event.task_id].state)

    def _move(self, task_id: str, state: TaskState) -> None:
        if self._states.get(task_id) == state:
            return
        if task_id in self._states:
            del self._by_state[self._states[task_id]][task_id]
        self._states[task_id] = state
        self._by_state.setdefault(state, {})[task_id] = None

    def show_text(self, piece: PartialText) -> None:
        """Take in a piece of text that is being written: its newest words are shown."""
        with self._lock:
            before = self._writing.get(piece.task_id, "")
            self._writing[piece.task_id] = (before + piece.text)[-MAX_WRITING:]
            now = self._clock()
            name, until = self._writer or ("", 0.0)
            if name == piece.task_id or name not in self._writing or now >= until:
                self._writer = (piece.task_id, now + STAYS_S)

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
            case "task_started" | "task_finished" if self._is_large:
                done = len(self._by_state.get("done", ()))
                if event.kind == "task_finished" and done % (len(self._states) // 100) == 0:
                    self._say(f"{done:,} of {len(self._states):,} tasks done, {format_usd(self._cost_usd)}")
            case "task_started":
                self._say(f"{event.task_id} started ({event.data['agent']})")
            case "task_finished":
                self._say(f"{event.task_id} done in {format_seconds(event.data['seconds'])}")
            case "task_expanded":
                self._say(f"{event.task_id} expanded: {len(self._states)} tasks now")
            case "graph_patched":
                self._say(f"{event.data['replaces']} is planned anew: {event.data['reason']}")
            case "plan_reassigned":
                self._say(tell_reassignment(event))
            case "task_asked":
                self._say(f"{event.task_id} asks ({event.data['question_id']}): {cut_words(event.data)}")
            case "question_answered":
                self._say(f"{event.task_id} was answered")
            case "task_interrupted":
                self._say(f"{event.task_id} was cut off and runs again")
            case "attempt_started" if event.data["attempt"]:
                run = self._builder.now
                assert run is not None
                self._say(f"{event.task_id}: {tell_attempt(run.tasks[event.task_id or ''])}")
            case "attempt_finished" if event.data.get("retry_in_s") is not None:
                wait = format_seconds(event.data["retry_in_s"])
                self._say(f"{event.task_id} is tried again in {wait}: {event.data['reason']}")
            case "task_failed" | "task_skipped" | "task_cancelled":
                self._say(f"{event.task_id} {event.kind.removeprefix('task_')}: {event.data['reason']}")
            case _:
                pass

    @property
    def _is_large(self) -> bool:
        return len(self._states) > MAX_LINES

    def _say(self, text: str) -> None:
        self._console.print(styled(text), soft_wrap=True)

    def _table(self) -> RenderableType:
        with self._lock:
            run = self._builder.now
            if run is None:
                return Text("")
            most = max(1, min(MAX_ROWS, self._console.height - LINES_BESIDE))
            shown = self._most_telling(run, most)
            run = replace(run, tasks={task.task_id: run.tasks[task.task_id] for task in shown})
            count, done, cost_usd = len(self._states), len(self._by_state.get("done", ())), self._cost_usd
            writer = self._writer[0] if self._writer is not None else ""
            words, pausing = self._writing.get(writer), set(self._pausing)
        if run.graph is None:
            return Group(self._spinner, Text("planning ...", style="dim"))
        now = self._clock()
        table = task_table(self._console.width)
        for task in shown:
            state = run.tasks[task.task_id]
            at_work = state.state == "running"
            spent = max(0.0, now - (state.started_at or now)) if at_work else state.seconds
            add_cells(
                table,
                self._spinner if at_work else mark(state),
                *task_cells(task),
                format_seconds(spent) if state.started_at is not None and state.state != "asking" else "",
                styled(_who_is_at(state, pauses=task.task_id in pausing) or run.assignments.get(task.task_id, "")),
                format_usd(state.cost_usd) if state.cost_usd else "",
            )
        lines: list[RenderableType] = [table]
        if count > most:
            lines.append(Text(f"... and {count - most} more", style="dim"))
        if words is not None:
            lines.append(newest_words(writer, words, self._console.width))
        lines.append(Text(f"{done} of {count} tasks, {format_usd(cost_usd)}", style="dim"))
        return Group(*lines)

    def _most_telling(self, run: Run, most: int) -> list[Task]:
        """Return the tasks to show: all, or where there is no room for them those at work, then failed, waiting, the
        rest."""
        if run.graph is None:
            return []
        if len(self._states) <= most:
            return list(run.graph)
        ranks = sorted(self._by_state, key=lambda state: _LISTED_FIRST.get(state, len(_LISTED_FIRST)))
        chosen = islice(chain.from_iterable(self._by_state[state] for state in ranks), most)
        return [run.graph.tasks[task_id] for task_id in chosen]


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


def newest_words(task_id: str, words: str, width: int) -> Text:
    """Return a line with the newest of what a task writes: as many cells as there are, and never another line."""
    head = f"{shorten(task_id, 24)}: …"
    room, tail = width - cell_len(head) - 1, []
    for sign in reversed(printable(" ".join(words.split()))):
        room -= cell_len(sign)
        if room < 0:
            break
        tail.append(sign)
    return Text(printable(head) + "".join(reversed(tail)), style="dim", no_wrap=True, overflow="ellipsis")


def _expected(event: Event) -> float:
    return float(sum(estimate["cost_usd"] for estimate in event.data["estimates"].values()))
