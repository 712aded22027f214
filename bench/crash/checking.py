"""Holds what the ledger tells of a run against the traces in the file, and both against the rules of its world."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from kapelle.ledger import Event, Run

from .worlds import Step, World

SETTLED = {"done", "failed", "skipped"}
ENDS = {
    "task_finished": "done",
    "task_expanded": "expanded",
    "task_failed": "failed",
    "task_skipped": "skipped",
    "task_cancelled": "cancelled",
}
TRIED_AGAIN = {"failed", "skipped", "cancelled"}
"""What waits anew where a run that had ended is resumed."""


@dataclass(kw_only=True)
class Counts:
    """What was found, over all runs."""

    kills: int = 0
    runs: int = 0
    resumes: int = 0
    raised_budgets: int = 0
    lost: int = 0
    repeated_finished: int = 0
    keys_changed: int = 0
    overrun: int = 0
    stuck: int = 0
    early_starts: int = 0
    wrong_inputs: int = 0
    wrong_ends: int = 0
    unrecorded: int = 0
    unasked: int = 0
    raised: int = 0
    tasks_interrupted: int = 0
    tasks_begun: int = 0
    questions_answered: int = 0
    rivals: int = 0
    expansions: int = 0
    shapes: Counter[str] = field(default_factory=Counter)
    """Runs of each shape."""
    killed_after: Counter[str] = field(default_factory=Counter)
    """The last event in the ledger when the process died."""

    @property
    def faults(self) -> dict[str, int]:
        """Return the counts that are to be 0."""
        return {name: getattr(self, name) for name in FAULTS}

    def to_dict(self) -> dict[str, Any]:
        """Return all counts as plain values."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in found.items()}


FAULTS = (
    "lost", "repeated_finished", "keys_changed", "overrun", "stuck", "early_starts", "wrong_inputs", "wrong_ends",
    "unrecorded", "unasked", "raised",
)  # fmt: skip


@dataclass(kw_only=True)
class Reading:
    """One pass over a run's events and traces, in the order in which they happened."""

    world: World
    states: dict[str, str] = field(default_factory=dict)
    grown: set[str] = field(default_factory=set)
    answers: Counter[tuple[str, str, tuple[str, ...]]] = field(default_factory=Counter)
    """Per task, agent, and inputs that were done when it asked: how many of its questions were answered."""
    starts: Counter[str] = field(default_factory=Counter)
    """Per task, of how many starts of agents the events tell."""
    begun: Counter[str] = field(default_factory=Counter)
    cut_off: set[str] = field(default_factory=set)
    """Tasks of high risk that were cut off, and that nobody has approved since."""
    about: dict[str, str] = field(default_factory=dict)
    """What each question is about."""
    askers: dict[str, tuple[str, str, tuple[str, ...]]] = field(default_factory=dict)
    """Who asked each question, given what."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """The count that each belongs to, and what it is in words."""
    _ended: bool = False
    _told_apart: set[str] = field(default_factory=set)

    def read(self, events: Sequence[Event], traces: Sequence[Mapping[str, Any]]) -> None:
        """Go through both."""
        left = [trace for trace in traces if trace["what"] in ("begin", "misled")]
        for event in events:
            self._take_event(event)
            while left and left[0]["seq"] <= event.seq:
                self._take_trace(left.pop(0))
        for trace in left:  # of which the ledger knows less than the agent did
            self._note("unrecorded", f"{trace['task']} began after an event {trace['seq']} that is not there")
        for name in self.begun:
            if self.begun[name] > self.starts[name]:
                told = f"{self.begun[name]} times, the ledger tells of {self.starts[name]}"
                self._note("unrecorded", f"{name} began {told}")

    def _take_event(self, event: Event) -> None:
        name = event.task_id
        if event.kind == "run_finished":
            self._ended = True
        elif event.kind == "run_resumed" and self._ended:
            self._ended = False
            self.states = {name: state for name, state in self.states.items() if state not in TRIED_AGAIN}
        if name is None:
            return
        step = self.world.by_name[name]
        if event.kind in ENDS:
            self.states[name] = ENDS[event.kind]
            if event.kind == "task_expanded":
                self.grown.add(name)
        match event.kind:
            case "task_started":
                if self.states.get(name) in ("done", "expanded"):
                    self._note("repeated_finished", f"{name} is started at {event.seq}, and was {self.states[name]}")
                self._check_inputs_settled(step, f"started at {event.seq}")
                self.starts[name] += 1
                self._told_apart.discard(name)
                if name in self.cut_off:
                    self._note("unasked", f"{name} was cut off, and runs again at {event.seq}")
            case "attempt_started":
                if name in self._told_apart:
                    self.starts[name] += 1
                self._told_apart.add(name)  # the first one was counted as the task's start
            case "task_interrupted" if step.risky:
                self.cut_off.add(name)
            case "task_asked":
                question_id = str(event.data["question_id"])
                self.about[question_id] = str(event.data.get("about"))
                self.askers[question_id] = (name, str(event.data.get("asker")), self._done_inputs(step))
            case "question_answered":
                question_id = str(event.data["question_id"])
                about = self.about.get(question_id)
                if about == "agent":
                    self.answers[self.askers[question_id]] += 1
                if about == "rerun" and event.data.get("answer") is True:
                    self.cut_off.discard(name)

    def _take_trace(self, trace: Mapping[str, Any]) -> None:
        step = self.world.by_name[trace["task"]]
        if trace["what"] == "misled":
            self._note("wrong_inputs", f"{step.name} was given another answer of a person")
            return
        self.begun[step.name] += 1
        if self.states.get(step.name) in ("done", "expanded"):
            self._note("repeated_finished", f"{step.name} begins after {trace['seq']}, was {self.states[step.name]}")
        self._check_inputs_settled(step, f"began after {trace['seq']}")
        inputs = [one.name for one in self.world.inputs_of(step, self.grown)]
        done = sorted({name for name in inputs if self.states.get(name) == "done"})
        if trace["given"] != done or trace["missing"] != sorted(set(inputs) - set(done)) or not trace["filled"]:
            given = f"{trace['given']}, missing {trace['missing']}, filled {trace['filled']}"
            self._note("wrong_inputs", f"{step.name} was given {given}; done are {done} of {inputs}")
        answers = self.answers[step.name, trace["agent"], self._done_inputs(step)]
        if trace["answers"] != answers:
            told = f"{trace['answers']} answers of {answers}"
            self._note("wrong_inputs", f"{step.name} was given {told}, after {trace['seq']}")

    def _done_inputs(self, step: Step) -> tuple[str, ...]:
        names = {one.name for one in self.world.inputs_of(step, self.grown)}
        return tuple(sorted(name for name in names if self.states.get(name) == "done"))

    def _check_inputs_settled(self, step: Step, what: str) -> None:
        for before in self.world.inputs_of(step, self.grown):
            if self.states.get(before.name) not in SETTLED:
                self._note("early_starts", f"{step.name} {what}, and {before.name} is {self.states.get(before.name)}")

    def _note(self, count: str, text: str) -> None:
        self.problems.append((count, text))


def check_end(run: Run, traces: Sequence[Mapping[str, Any]], world: World) -> list[tuple[str, str]]:
    """Return what is wrong with a run that has ended: the count that each belongs to, and what it is in words."""
    problems: list[tuple[str, str]] = []
    ended = {trace["task"] for trace in traces if trace["what"] == "end"}
    for name, output in run.results.items():
        if name not in ended:
            problems.append(("lost", f"{name} is done, and has left no end"))
        if output != world.by_name[name].output:
            problems.append(("lost", f"{name} gave {str(output)[:40]!r}"))
    problems += [("lost", f"{name} grew, and has left no end") for name in run.replaced if name not in ended]
    problems += [("wrong_ends", text) for text in find_wrong_ends(run, world)]
    keys: dict[tuple[str, str], set[str]] = {}
    for trace in traces:
        if trace["what"] == "begin":
            several = world.by_name[trace["task"]].strategy() is not None
            keys.setdefault((trace["task"], trace["agent"] if several else ""), set()).add(trace["key"])
    problems += [("keys_changed", f"{who} had {sorted(had)}") for who, had in keys.items() if len(had) > 1]
    return problems


def find_wrong_ends(run: Run, world: World) -> list[str]:
    """Return the tasks that ended otherwise than the rules say, with how."""
    fates = world.fates()

    def growing(name: str, state: str) -> bool:
        return state == "failed" and bool(world.by_name[name].parts)  # it grew when it was too late

    states: dict[str, str] = {name: task.state for name, task in run.tasks.items()}
    if any(state == "failed" and world.by_name[name].on_failure == "fail" for name, state in states.items()):
        # That ended the run wherever it was: what had not ended by then may have come to nothing.
        fates = {
            name: state if state in ("cancelled", "skipped", "asking") or growing(name, state) else fates.get(name, "")
            for name, state in states.items()
        }
    return [
        f"{name} is {states.get(name)}, and should be {fates.get(name)}"
        for name in sorted({*fates, *states})
        if states.get(name) != fates.get(name)
    ]


def excess_of(run: Run) -> float:
    """Return by how much the tasks of a run cost more than was set aside for them, as its events tell."""
    reserved: dict[tuple[str | None, Any], float] = {}
    excess = 0.0
    for event in run.events:
        check = event.kind in ("check_started", "attempt_checked")
        key = (event.task_id, (event.data.get("attempt"), check))
        if event.kind in ("task_started", "attempt_started", "check_started"):
            reserved[key] = float(event.data.get("reserved_usd", 0.0))
        elif event.kind in ("task_finished", "task_failed", "task_expanded", "task_asked", "attempt_finished",
                            "attempt_checked"):  # fmt: skip
            cost = float(event.data.get("cost_usd", 0.0))
            excess += max(0.0, cost - reserved.get(key, cost))
    return excess
