"""Folds a run's events into the Run that they tell; nothing else ever makes a Run.

So a run that has just ended and one that is read back a year later are the same value. Each event costs the same,
however large the run is: the builder changes its tasks in place, and the Run that it gives out holds a copy of them.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

from kapelle.errors import LedgerCorrupt
from kapelle.graph import TaskDAG

from .event import CLOCK_JUMP, COST_FIELDS, RUN_STEPS, TASK_STEPS, TRIED_AGAIN, Event, EventKind
from .fields import Fields, place_of
from .plan_changes import patched, reassigned
from .question import Question, read_question
from .run import Run, notes_on_answer
from .task_run import AttemptRun, TaskRun
from .usage import NOTHING


def rebuild_run(events: Iterable[Event], *, keeps_events: bool = True) -> Run:
    """Return the run that these events tell; see RunBuilder for `keeps_events`.

    Raises:
        LedgerCorrupt: the events are not a run: the first does not start it, one is missing, cannot follow, or has
            data that cannot be read.
    """
    builder = RunBuilder(keeps_events=keeps_events)
    with collector_at_rest():
        for event in events:
            builder.add(event)
    return builder.run()


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Keep Python from looking for cyclic garbage: a run that is read makes none, and each search goes through all that
    was read so far, which is a sixth of the time (Mercurial's `nogc` does the same for its bulk reads).

    The collector is the process's. Of several threads that read, the one that found it at work sets it to work again,
    whichever ends last; where it was at rest already, it is left so.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def event_cost(event: Event) -> float:
    """Return the dollars that an event says were spent: over all events of a run, they are its `cost_usd`."""
    return sum(Fields(event).number(name, 0.0) for name in COST_FIELDS.get(event.kind, ()))


class RunBuilder:
    """Takes in a run's events one by one, and tells at any time what the run is by then.

    For a display that follows a run: it folds each event once. Not safe to share between threads without a lock.

    Args:
        before: A run that goes on, whose events are not folded again.
        keeps_events: Whether `run` has all events. False leaves it those by which it tells when it was worked on, and
            what was cut off or assigned anew: who only shows a run can do without the others, which are most of it.
    """

    def __init__(self, before: Run | None = None, *, keeps_events: bool = True) -> None:
        self._run: Run | None = None if before is None else replace(before, tasks={}, events=())
        """All but the tasks and the events."""
        self._tasks: dict[str, TaskRun] = {} if before is None else dict(before.tasks)
        self._events: list[Event] = [] if before is None else list(before.events)
        self._length = self._events[-1].seq + 1 if self._events else 0
        self._keeps_events = keeps_events

    @property
    def run_id(self) -> str | None:
        """The run that is told; None before its first event."""
        return None if self._run is None else self._run.run_id

    @property
    def now(self) -> Run | None:
        """The run by now, without its events; only until the next event is taken in. Whatever its size, it costs the
        same, where `run` copies what there is."""
        return None if self._run is None else replace(self._run, tasks=MappingProxyType(self._tasks))

    def add(self, event: Event, graph: TaskDAG | None = None) -> None:
        """Take in the next event.

        Args:
            graph: The one that its data describe, where who has written it still has it, and leaves it to this builder;
                None reads it from the data.

        Raises:
            LedgerCorrupt: it is not the next one, cannot follow, or cannot be read. The builder is as it was before.
        """
        if event.seq != self._length:
            raise LedgerCorrupt(f"Run {event.run_id!r}: event {self._length} is missing, {event.seq} was found.")
        if self._run is not None and event.run_id != self._run.run_id:
            raise LedgerCorrupt(f"Run {self._run.run_id!r}: event {event.seq} is of another run, {event.run_id!r}.")
        state = None if self._run is None else self._run.state
        if (state, event.kind) not in RUN_STEPS:
            raise LedgerCorrupt(
                f"Run {event.run_id!r}, event {event.seq}: {event.kind!r} cannot follow in state {state!r}."
            )
        try:
            self._apply(event, graph)
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise LedgerCorrupt(f"{place_of(event)} cannot be read: {type(error).__name__}: {error}") from error
        self._length += 1
        if self._keeps_events or not self._events or event.kind == "run_resumed" or _is_telling(self._events[-1]):
            self._events.append(event)
        else:  # until when it was worked on, the last event tells
            self._events[-1] = event

    def run(self) -> Run:
        """Return the run as its events tell it so far; later events do not change it.

        Raises:
            LedgerCorrupt: there was no event yet.
        """
        if self._run is None:
            raise LedgerCorrupt("A run without events cannot be rebuilt.")
        return replace(self._run, tasks=dict(self._tasks), events=tuple(self._events))

    def _apply(self, event: Event, graph: TaskDAG | None) -> None:
        """Read everything first and change things last, so that a refused event changes nothing."""
        data = Fields(event)
        if self._run is None:
            self._run = _begin(event, data)
            return
        if event.kind in _STEPS:  # most of the events of a large run
            changed = self._changed_task(event, data)
            self._tasks[changed.task_id] = changed
            if event.data.get("by_stop"):
                self._run = replace(self._run, stop_began=True)
            return
        match event.kind:
            case "run_planned":
                graph = data.graph("graph") if graph is None else graph
                self._run = replace(
                    self._run,
                    graph=graph,
                    graph_version=1,
                    planner=data.text("planner"),
                    planning_cost_usd=self._run.planning_cost_usd + data.number("cost_usd", 0.0),
                    planning_usage=self._run.planning_usage + data.usage("usage"),
                    notes=data.texts("notes"),
                )
                self._tasks = {task_id: TaskRun(task_id=task_id) for task_id in graph.tasks}
            case "run_routed":
                self._run = replace(
                    self._run,
                    assignments=data.texts_by_task("assignments"),
                    strategies=data.mappings_by_task("strategies"),
                    explanations=data.texts_by_task("explanations"),
                    routing=data.mapping("metadata", {}),
                )
            case "run_approved":
                self._run = replace(
                    self._run,
                    state="running",
                    approved_at=event.at,
                    estimates=data.estimates("estimates"),
                    issues=data.issues("issues"),
                )
            case "run_rejected":
                self._run = replace(self._run, issues=data.issues("issues"))
            case "run_finished":
                self._run = replace(
                    self._run,
                    state=data.end_state("state"),
                    stop_reason=data.optional_text("stop_reason"),
                    answer=data.text("answer", ""),
                    overrun_usd=data.number("overrun_usd", 0.0),
                    finished_at=event.at,
                )
                if self._run.answer:
                    self._run = replace(self._run, notes=notes_on_answer(self.run()))
            case "run_waiting":
                overrun_usd = data.number("overrun_usd", self._run.overrun_usd)
                self._run = replace(self._run, state="waiting", overrun_usd=overrun_usd)
            case "run_resumed":
                self._resume(data)
            case "planning_started":
                pass  # what it cost is told by the event that ends it
            case "planning_spent":
                self._run = replace(
                    self._run,
                    planning_cost_usd=self._run.planning_cost_usd + data.number("planning_cost_usd", 0.0),
                    planning_usage=self._run.planning_usage + data.usage("planning_usage"),
                    stop_began=self._run.stop_began or bool(event.data.get("by_stop")),
                )
            case "graph_patched":
                self._run, self._tasks = patched(self._run, self._tasks, data)
            case "plan_reassigned":
                self._run = reassigned(self._run, self._tasks, data)
            case "task_expanded":
                changed = self._changed_task(event, data)
                self._run, self._tasks = patched(self._run, {**self._tasks, changed.task_id: changed}, data)
            case "task_asked" | "question_answered":
                changed = self._changed_task(event, data)
                question = read_question(event) if event.kind == "task_asked" else self._answered(event, data)
                self._run = replace(self._run, questions={**self._run.questions, question.question_id: question})
                self._tasks[changed.task_id] = changed

    def _resume(self, data: Fields) -> None:
        """The run goes on: what came to nothing waits anew, with what it has cost already."""
        assert self._run is not None
        state = data.text("state")
        if state not in ("planning", "running"):
            raise ValueError(f"a run is not resumed as {state!r}")
        settings = {**self._run.settings, **data.mapping("settings", {})}
        # A run that had ended tries again what came to nothing; one that was cut off, or waited, goes on as it was.
        if self._run.is_tried_again:
            self._tasks = {
                task_id: _waiting_anew(task) if task.state in TRIED_AGAIN else task
                for task_id, task in self._tasks.items()
            }
        self._run = replace(
            self._run,
            state="planning" if state == "planning" else "running",
            stop_began=False,
            settings=settings,
            stop_reason=None,
            answer="",
            finished_at=None,
        )

    def _answered(self, event: Event, data: Fields) -> Question:
        assert self._run is not None
        question = self._run.questions.get(data.text("question_id"))
        if question is None or not question.is_open or question.task_id != event.task_id:
            raise ValueError("it answers no open question of this task")
        return replace(
            question,
            answer=event.data.get("answer"),
            note=data.text("note", ""),
            by=data.text("by", ""),
            answered_at=event.at,
        )

    def _changed_task(self, event: Event, data: Fields) -> TaskRun:
        task = self._tasks.get(event.task_id or "")
        if task is None or (task.state, event.kind) not in TASK_STEPS:
            state = "unknown" if task is None else task.state
            raise LedgerCorrupt(
                f"Run {event.run_id!r}, event {event.seq}: {event.kind!r} cannot happen to task {event.task_id!r}, "
                f"which is {state}."
            )
        if event.kind in ("check_started", "task_step"):
            return task  # what it found, and cost, is told when it ends
        if event.kind in _ATTEMPTS:
            return _changed_attempt(task, event, data)
        if event.kind in ("task_interrupted", "task_asked", "question_answered"):
            return _paused(task, event, data)
        return _stepped(task, event, data)


_STEPS: frozenset[EventKind] = frozenset(kind for _, kind in TASK_STEPS) - {
    "task_expanded",
    "task_asked",
    "question_answered",
}
"""Events of a task that change nothing but what is known of it."""
_TELLING: frozenset[EventKind] = frozenset({"run_started", "run_resumed", "task_interrupted", "plan_reassigned"})
"""Events that a run counts when it tells of itself; its other figures are in its fields."""
_ATTEMPTS: frozenset[EventKind] = frozenset({"attempt_started", "attempt_finished", "attempt_checked"})


def _is_telling(event: Event) -> bool:
    return event.kind in _TELLING or CLOCK_JUMP in event.data


def _stepped(task: TaskRun, event: Event, data: Fields) -> TaskRun:
    """Return the task in its next state. Nearly all events of a large run pass here, so it is made in one go, where
    `replace` of what was charged takes three times as long."""
    read = event.data.get
    used = data.usage("usage")
    return TaskRun(
        task_id=task.task_id,
        state=TASK_STEPS[(task.state, event.kind)],
        agent=data.optional_text("agent") or task.agent,
        output=read("output"),
        reason=data.optional_text("reason"),
        traceback=data.optional_text("traceback"),
        readings=data.readings("readings") or (task.readings if event.kind == "task_failed" else ()),
        usage=task.usage if used is NOTHING else task.usage + used,
        cost_usd=task.cost_usd + _cost_of(event, data),
        cost_assumed=task.cost_assumed or bool(read("cost_assumed")),
        unpriced_model=data.optional_text("unpriced_model") or task.unpriced_model,
        quality=data.optional_number("quality"),
        from_memory=bool(read("from_memory")),
        started_at=event.at if event.kind == "task_started" else task.started_at,
        seconds=data.number("seconds", 0.0),
        attempts=task.attempts,
    )


def _changed_attempt(task: TaskRun, event: Event, data: Fields) -> TaskRun:
    """Return the task with the attempt that began, ended or was checked; what it cost is the task's cost too."""
    number = int(data.number("attempt"))
    cost_usd, usage = _cost_of(event, data), data.usage("usage")
    attempts = list(task.attempts)
    if number != len(attempts) if event.kind == "attempt_started" else not 0 <= number < len(attempts):
        raise LedgerCorrupt(f"{place_of(event)} is about attempt {number}, of {len(attempts)} that were started.")
    if event.kind == "attempt_started":
        attempts.append(AttemptRun(agent=data.text("agent"), step=data.text("step")))
    elif event.kind == "attempt_finished":
        error = data.optional_text("reason")
        attempts[number] = replace(
            attempts[number],
            state="done" if error is None else "failed",
            output=event.data.get("output"),
            reason=error,
            traceback=data.optional_text("traceback"),
            usage=usage,
            cost_usd=cost_usd,
            cost_assumed=bool(event.data.get("cost_assumed")),
            seconds=data.number("seconds", 0.0),
        )
    else:
        before = attempts[number]
        attempts[number] = replace(
            before,
            passed=data.flag("passed"),
            reason=data.optional_text("note"),
            usage=before.usage + usage,
            cost_usd=before.cost_usd + cost_usd,
        )
    readings = data.readings("readings") or task.readings
    return replace(_charged(task, event, data), attempts=tuple(attempts), readings=readings)


def _charged(task: TaskRun, event: Event, data: Fields) -> TaskRun:
    """Return the task with what an event says was spent on it."""
    return replace(
        task,
        usage=task.usage + data.usage("usage"),
        cost_usd=task.cost_usd + _cost_of(event, data),
        cost_assumed=task.cost_assumed or bool(event.data.get("cost_assumed")),
        unpriced_model=data.optional_text("unpriced_model") or task.unpriced_model,
    )


def _paused(task: TaskRun, event: Event, data: Fields) -> TaskRun:
    """Return a task that does not go on by itself: it was interrupted, asks a person, or has its answer now."""
    reason = data.optional_text("reason")
    return replace(
        _charged(task, event, data),
        state=TASK_STEPS[(task.state, event.kind)],
        reason=reason,
        attempts=tuple(
            replace(one, state="failed", reason=reason) if one.state == "running" else one for one in task.attempts
        ),
    )


def _waiting_anew(task: TaskRun) -> TaskRun:
    return TaskRun(
        task_id=task.task_id,
        usage=task.usage,
        cost_usd=task.cost_usd,
        cost_assumed=task.cost_assumed,
        unpriced_model=task.unpriced_model,
        attempts=task.attempts,
    )


_CHARGED = frozenset(kind for kind, names in COST_FIELDS.items() if "cost_usd" in names)


def _cost_of(event: Event, data: Fields) -> float:
    """Return what an event says that its own task has cost; planning is told apart."""
    return data.number("cost_usd", 0.0) if event.kind in _CHARGED else 0.0


def _begin(event: Event, data: Fields) -> Run:
    settings = data.mapping("settings", {})
    Fields(replace(event, data=settings)).optional_number("budget_usd")
    return Run(run_id=event.run_id, request=data.text("request"), started_at=event.at, settings=settings)
