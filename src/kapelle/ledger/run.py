"""A run as a value: the request, the plan, what became of every task. How it is told to a person, explanation knows.

Only `rebuild_run` and `RunBuilder` (see rebuild) make one, from the events in the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kapelle.graph import TaskDAG

from .amounts import format_usd
from .event import CLOCK_JUMP, ENDED, Event, RunState
from .explanation import explain_run, explain_task
from .question import Question
from .task_run import TaskRun, cited_files
from .usage import Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A request, what was planned for it, and what became of it."""

    run_id: str
    request: str
    state: RunState = "planning"
    stop_began: bool = False
    """Whether it was being stopped: tasks were given up for no reason of their own."""
    stop_reason: str | None = None
    """Why it did not end as `done`, in a sentence."""
    answer: str = ""
    """What to show the user: the output of the last tasks as text, as far as they were done."""
    graph: TaskDAG | None = None
    planner: str = ""
    planning_cost_usd: float = 0.0
    planning_usage: Usage = Usage()
    notes: tuple[str, ...] = ()
    """What planning wants the user to know."""
    assignments: Mapping[str, str] = field(default_factory=dict)
    strategies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Per task that may ask more than one agent, its strategy as plain values."""
    explanations: Mapping[str, str] = field(default_factory=dict)
    estimates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Per task, what was expected before it ran: cost_usd, seconds, success_rate, samples, source."""
    issues: tuple[Mapping[str, Any], ...] = ()
    routing: Mapping[str, Any] = field(default_factory=dict)
    """What routing and cost optimisation reported: savings, baseline, solver."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Budget, deadline, quality and model that the run was started with."""
    graph_version: int = 0
    """From 1, one more with every change to the graph."""
    questions: Mapping[str, Question] = field(default_factory=dict)
    """What its tasks asked people, by question id, in the order in which they were asked."""
    tasks: Mapping[str, TaskRun] = field(default_factory=dict)
    """The tasks of the graph as it is now."""
    replaced: Mapping[str, TaskRun] = field(default_factory=dict)
    """Tasks whose place others have taken: they were expanded, or planned anew after a failure."""
    overrun_usd: float = 0.0
    """By how much the tasks together exceeded what was reserved for them."""
    started_at: float = 0.0
    approved_at: float | None = None
    finished_at: float | None = None
    events: tuple[Event, ...] = field(default=(), repr=False, compare=False)

    def __repr__(self) -> str:
        """In a line: asyncio tells of what it has run with all of this, and a large run would take it seconds."""
        return f"<Run {self.run_id}: {self.state}, {len(self.tasks)} tasks, {format_usd(self.cost_usd)}>"

    @property
    def results(self) -> dict[str, Any]:
        """The outputs of the tasks that are done, by task id."""
        return {task_id: task.output for task_id, task in self.tasks.items() if task.state == "done"}

    @property
    def cost_usd(self) -> float:
        """What the run has cost, planning and failed tasks included."""
        return self.planning_cost_usd + sum(task.cost_usd for task in self._all())

    @property
    def usage(self) -> Usage:
        """Tokens and calls of planning and of all tasks together."""
        return sum((task.usage for task in self._all()), self.planning_usage)

    @property
    def cost_by_agent(self) -> dict[str, float]:
        """Dollars per agent, dearest first."""
        costs: dict[str, float] = {}
        for task in self._all():
            for attempt in task.attempts or (task,):
                if attempt.agent is not None:
                    costs[attempt.agent] = costs.get(attempt.agent, 0.0) + attempt.cost_usd
        return dict(sorted(costs.items(), key=lambda item: (-item[1], item[0])))

    @property
    def cost_notes(self) -> tuple[str, ...]:
        """What the user should know of the cost: what was assumed of it, and how much models without a price wrote."""
        used: dict[str, Usage] = {}
        for task in self._all():
            if task.unpriced_model is not None:
                used[task.unpriced_model] = used.get(task.unpriced_model, Usage()) + task.usage
        notes = [
            f"The cost of {usage.calls} call{'s' * (usage.calls != 1)} of {model} is not known: {usage.tokens:,} "
            "tokens. Name a file with its price in KAPELLE_PRICES, or declare the agent's cost_usd."
            for model, usage in used.items()
        ]
        if any(task.cost_assumed and task.unpriced_model is None for task in self._all()):
            notes.append("Of the cost a part is assumed: agents told none, or were cut off.")
        return tuple(notes)

    @property
    def cost_assumed(self) -> bool:
        """Whether a part of the cost is what was expected, because an agent told none or was cut off."""
        return any(task.cost_assumed for task in self._all())

    def _all(self) -> Iterator[TaskRun]:
        yield from self.replaced.values()
        yield from self.tasks.values()

    @property
    def open_questions(self) -> tuple[Question, ...]:
        """What people have not answered yet."""
        return tuple(question for question in self.questions.values() if question.is_open)

    @property
    def active_seconds(self) -> float:
        """For how long engines have worked on it, as far as events tell: not while it waited, or after a crash."""
        total = begun = last = jumped = 0.0
        for event in self.events:
            if event.kind in ("run_started", "run_resumed"):
                total, begun, jumped = total + max(0.0, last - begun - jumped), event.at, 0.0
            jump = event.data.get(CLOCK_JUMP, 0.0)
            jumped += jump if isinstance(jump, (int, float)) else 0.0
            last = event.at
        return total + max(0.0, last - begun - jumped)

    @property
    def ended(self) -> bool:
        """Whether nothing will happen any more."""
        return self.state in ENDED

    @property
    def is_tried_again(self) -> bool:
        """Whether what came to nothing waits anew when it is resumed: it had ended, or its end was cut off."""
        return self.ended or self.stop_began

    @property
    def seconds(self) -> float | None:
        """Wall time of the whole run; None while it is under way."""
        return None if self.finished_at is None else max(0.0, self.finished_at - self.started_at)

    @property
    def critical_path_seconds(self) -> float | None:
        """The least time in which these tasks could have run, given how long each really took."""
        if self.graph is None:
            return None
        return self.graph.critical_path({task_id: task.seconds for task_id, task in self.tasks.items()}).seconds

    def explain(self, *, verbose: bool = False, full: bool = False) -> str:
        """Return the run as a text for people: plan, who did what and why, what it cost, what went wrong.

        Of a plan of more than MAX_DRAWN tasks it tells what went wrong, and of the others how many there are.

        What models and documents put into it cannot steer the terminal that it is printed on.

        Args:
            verbose: Tell the tracebacks of agents that failed as well.
            full: Tell every task, however many there are.
        """
        return explain_run(self, verbose=verbose, full=full)

    def explain_task(self, task_id: str, *, verbose: bool = False) -> str:
        """Return one of its tasks as a text for people, as `explain` tells it.

        Raises:
            NotFound: it has no such task.
        """
        return explain_task(self, task_id, verbose=verbose)


_TABLE_NOTE = re.compile(r"(?P<file>[^:]+\.(?:csv|tsv|db|sqlite3?))(?::\d+)?: ", re.IGNORECASE)


def notes_on_answer(run: Run) -> tuple[str, ...]:
    """Return the notes without those on how tables were read that the answer is not from."""
    files = {file for task in run.tasks.values() for file in cited_files(task)}
    return tuple(
        note
        for note in run.notes
        if " was left out: " in note or (found := _TABLE_NOTE.match(note)) is None or found["file"] in files
    )
