"""What an execution needs to know of the earlier part of its run: read from the run's events alone. Pure.

done, expanded         stays so: it is never run again
failed, skipped        stays so where the run was cut off; waits anew where it had ended (see ledger, rebuild)
running                was under way when the engine died: runs again with the same idempotency key, and what was set
                       aside for it is charged, for what it has cost is unknown; at high risk a person is asked first
asking                 waits for its answer, as before
waiting                begins when its inputs are done
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kapelle.agents import StepEvent
from kapelle.estimates import Estimate
from kapelle.ledger import Event, Question, Run

from .growth import may_help_anew
from .limits import is_repeatable
from .task_steps import find_steps

CUT_OFF = "The engine that ran it stopped without a word."


@dataclass(frozen=True, kw_only=True, slots=True)
class Interruption:
    """A task that was under way when its engine died."""

    task_id: str
    cost_usd: float
    """What was set aside for it and is charged now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndedAttempt:
    """An attempt of an earlier part of the run at a task that one agent does, and what was expected of it."""

    task_id: str
    agent: str
    expected: Estimate
    cost_usd: float | None
    """None where it is only assumed."""
    seconds: float | None
    quality: float | None
    """0 where it failed; None where nothing measured it."""
    is_settled: bool
    """Whether the plan was assigned anew after it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumeState:
    """What the earlier part of a run has left."""

    outputs: Mapping[str, Any] = field(default_factory=dict)
    from_memory: frozenset[str] = frozenset()
    """Those of which the output comes from the memory of a model."""
    failed: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    not_replanned: frozenset[str] = frozenset()
    """Failed tasks for which another way was looked for, and none was found."""
    attempts: Mapping[str, int] = field(default_factory=dict)
    """Per task, how many attempts were told of."""
    questions: tuple[Question, ...] = ()
    """All of them, in the order in which they were asked."""
    at_risk: Mapping[str, str] = field(default_factory=dict)
    """Tasks of high risk that have begun and are to begin again, which a person must allow first: how that went."""
    replaced: frozenset[str] = frozenset()
    """Tasks whose place others have taken."""
    active_s: float = 0.0
    """For how long engines have worked on the run."""
    changes: int = 0
    """How often its graph has changed."""
    ended: tuple[EndedAttempt, ...] = ()
    """In the order in which they ended."""
    steps: Mapping[tuple[str, str], tuple[StepEvent, ...]] = field(default_factory=dict)
    """By task and agent, what attempts have done that were cut off or failed: see task_steps."""
    reassignments: int = 0
    """How often what had not begun was assigned anew."""

    @classmethod
    def of(cls, run: Run) -> ResumeState:
        """Return what a run has left, once it was resumed and its interruptions are written down."""
        tasks = run.tasks
        graph = run.graph
        return cls(
            outputs=run.results,
            from_memory=frozenset(name for name, task in tasks.items() if task.from_memory),
            failed={name: task.reason or "" for name, task in tasks.items() if task.state == "failed"},
            skipped={name: task.reason or "" for name, task in tasks.items() if task.state == "skipped"},
            not_replanned=frozenset(_replanned_in_vain(run.events)),
            attempts={name: len(task.attempts) for name, task in tasks.items() if task.attempts},
            questions=tuple(run.questions.values()),
            at_risk={
                name: why
                for name, why in _begun_before(run).items()
                if graph is not None and name in graph and not is_repeatable(graph[name])
            },
            replaced=frozenset(run.replaced),
            active_s=run.active_seconds,
            changes=max(0, run.graph_version - 1),
            ended=tuple(_ended_attempts(run)),
            steps=find_steps(run.events),
            reassignments=sum(event.kind == "plan_reassigned" for event in run.events),
        )


def find_interruptions(run: Run) -> tuple[Interruption, ...]:
    """Return the tasks that were under way when the engine died, each with what is to be charged for it."""
    running = {task_id: _OpenAttempts() for task_id, task in run.tasks.items() if task.state == "running"}
    for event in run.events:
        if event.task_id in running:
            running[event.task_id].follow(event)
    return tuple(
        Interruption(task_id=task_id, cost_usd=running[task_id].cost_usd) for task_id in run.tasks if task_id in running
    )


def find_open_planning(run: Run) -> float:
    """Return what was set aside for calls of a planner of whose end nobody has told."""
    return sum(reserved for reserved in _open_plannings(run.events).values())


def _open_plannings(events: tuple[Event, ...]) -> dict[object, float]:
    started: dict[object, float] = {}
    for event in events:
        place = event.data.get("replaces")
        if event.kind == "planning_started":
            started[place] = float(event.data.get("reserved_usd", 0.0))
        elif event.kind == "planning_spent" and event.data.get("reason") == CUT_OFF:
            started.clear()  # an earlier resume has charged all that was open
        elif event.kind in ("planning_spent", "graph_patched", "run_planned"):
            started.pop(place, None)
    return started


def _replanned_in_vain(events: tuple[Event, ...]) -> Iterator[str]:
    """Tasks whose work was to be planned anew, which came to an end without a new plan: their last word on it."""
    ended: dict[str, bool] = {}
    for event in events:
        place = event.data.get("replaces")
        if event.kind == "task_failed" and event.task_id is not None:
            kinds = event.data.get("failures")
            ended.pop(event.task_id, None)  # it was tried again since, and failed anew
            if isinstance(kinds, list) and not may_help_anew(kinds):
                ended[event.task_id] = True
        elif isinstance(place, str) and event.kind in ("planning_started", "planning_spent"):
            ended[place] = event.kind == "planning_spent" and event.data.get("reason") != CUT_OFF
    return (place for place, over in ended.items() if over)


@dataclass(slots=True)
class _OpenAttempts:
    """What is set aside for a task: for its attempts, for their checks, for an only attempt (`task`). Of an agent that
    acts in steps it is known what they have cost, and only the call that was under way counts as it was set aside."""

    reserved: dict[object, float] = field(default_factory=dict)
    agents: dict[object, str] = field(default_factory=dict)
    stepped: dict[object, tuple[float, float]] = field(default_factory=dict)
    """What an attempt's steps have cost, and what is set aside for the one that is open."""

    @property
    def cost_usd(self) -> float:
        return sum(sum(self.stepped[key]) if key in self.stepped else usd for key, usd in self.reserved.items())

    def follow(self, event: Event) -> None:
        data = event.data
        match event.kind:
            case "task_started":
                self.reserved.clear()
                self._begin("task", data)
            case "attempt_started":
                self.reserved.pop("task", None)  # from here on its attempts are told apart
                self._begin(data["attempt"], data)
            case "attempt_finished":
                self.reserved.pop(data["attempt"], None)
            case "check_started":
                self.reserved["check", data["attempt"]] = float(data.get("reserved_usd", 0.0))
            case "attempt_checked":
                self.reserved.pop(("check", data["attempt"]), None)
            case "task_step":
                for key in self.reserved:
                    if self.agents.get(key) == data["agent"]:
                        self._step(key, str(data["what"]), data["data"])

    def _begin(self, key: object, data: Mapping[str, Any]) -> None:
        self.reserved[key], self.agents[key] = float(data.get("reserved_usd", 0.0)), str(data.get("agent"))
        self.stepped.pop(key, None)
        if data.get("in_steps"):
            self.stepped[key] = 0.0, 0.0

    def _step(self, key: object, what: str, data: Mapping[str, Any]) -> None:
        spent, open_usd = self.stepped.get(key, (0.0, 0.0))
        if what == "asked":
            open_usd = float(data.get("reserved_usd", 0.0))
        elif what in ("replied", "unanswered", "compacted"):
            open_usd = 0.0
        self.stepped[key] = spent + float(data.get("cost_usd", 0.0)) * (not data.get("assumed")), open_usd


def _ended_attempts(run: Run) -> Iterator[EndedAttempt]:
    settled_at = max((event.seq for event in run.events if event.kind == "plan_reassigned"), default=-1)
    agents: dict[str, str] = {}
    for event in run.events:
        name, data = event.task_id, event.data
        if event.kind in ("task_started", "attempt_started") and name is not None:
            agents[name] = str(data.get("agent"))
        elif event.kind in ("task_finished", "task_failed", "attempt_finished") and name in agents:
            if ("cost_usd" not in data and "seconds" not in data) or "decision" in data:
                continue  # its attempts were told apart
            agent, known = agents[name], run.estimates.get(name)
            if known is None or name in run.strategies or run.assignments.get(name) != agent:
                continue
            failed = data.get("reason") is not None
            yield EndedAttempt(
                task_id=name,
                agent=agent,
                expected=_recorded_estimate(known),
                cost_usd=None if data.get("cost_assumed") else float(data.get("cost_usd", 0.0)),
                seconds=float(data.get("seconds", 0.0)) or None,
                quality=0.0 if failed else data.get("quality"),
                is_settled=event.seq < settled_at,
            )


def _recorded_estimate(known: Mapping[str, Any]) -> Estimate:
    """Return what was expected of a task; what an older record does not tell is no surprise whatever it was."""
    return Estimate(
        cost_usd=float(known["cost_usd"]),
        seconds=float(known["seconds"]),
        success_rate=float(known["success_rate"]),
        tokens=int(known.get("tokens", 0)),
        samples=int(known.get("samples", 0)),
        source=known.get("source", "default"),
        success_lower=float(known.get("success_lower", 0.0)),
        cost_low_usd=float(known.get("cost_low_usd", 0.0)),
        cost_high_usd=float(known.get("cost_high_usd", math.inf)),
        seconds_low=float(known.get("seconds_low", 0.0)),
        seconds_high=float(known.get("seconds_high", math.inf)),
    )


def _begun_before(run: Run) -> dict[str, str]:
    """Tasks that wait and have begun before, each with how that went; not where a person has allowed it since.

    An attempt that asks a person ends there, and has done nothing yet that it must not do again.
    """
    begun: dict[str, str] = {}
    for event in run.events:
        name = event.task_id
        if name is None:
            continue
        match event.kind:
            case "task_started":
                begun[name] = "was under way when its engine stopped"
            case "task_failed" | "task_cancelled" if name in begun:
                begun[name] = "failed" if event.kind == "task_failed" else "was cancelled"
            case "task_asked" if event.data.get("about") == "agent":
                begun.pop(name, None)
            case "question_answered" if _allows_rerun(run, event):
                begun.pop(name, None)
    return {name: why for name, why in begun.items() if name in run.tasks and run.tasks[name].state == "waiting"}


def _allows_rerun(run: Run, event: Event) -> bool:
    question = run.questions.get(str(event.data.get("question_id")))
    return question is not None and question.about == "rerun" and question.answer is True
