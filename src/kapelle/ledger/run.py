"""A run as a value: the request, the plan, what became of every task; and the same told to a person.

Only `rebuild_run` and `RunBuilder` (see rebuild) make one, from the events in the ledger.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kapelle.errors import NotFound
from kapelle.graph import MAX_DRAWN, TaskDAG, render_output, split_in_bands, tell_counts

from .amounts import format_seconds, format_usd, tell_overrun
from .event import CLOCK_JUMP, ENDED, Event, RunState, TaskState
from .explanation import tell_issue, tell_query, tell_question, tell_tracebacks, tell_understood
from .figures import tell_success
from .question import Question
from .task_run import TaskRun, cited_files
from .text import printable
from .usage import Usage

MAX_WRONG = 20
"""Tasks that went wrong, and issues, that are told of a plan that is told in bands."""
_MARKS: Mapping[TaskState, str] = {
    "done": "✓",
    "failed": "✗",
    "skipped": "–",
    "cancelled": "■",
    "running": "…",
    "waiting": "·",
    "expanded": "+",
    "asking": "?",
}
_WRONG: Sequence[TaskState] = ("failed", "asking", "cancelled", "skipped", "running")
"""States of tasks that are told of however large the plan is, the most telling first."""


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
    """All of them or, of a run that was read to be told, those that tell of the run as a whole: see RunBuilder."""

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
        is_whole = full or len(self.tasks) <= MAX_DRAWN
        return printable("\n".join([*_lines(self, is_whole=is_whole), *(_traceback_lines(self) if verbose else ())]))

    def explain_task(self, task_id: str, *, verbose: bool = False) -> str:
        """Return one of its tasks as a text for people, as `explain` tells it.

        Raises:
            NotFound: it has no such task.
        """
        task = self.tasks.get(task_id) or self.replaced.get(task_id)
        if task is None:
            raise NotFound(
                f"Run {self.run_id} has no task {task_id!r:.140}. `kapelle explain {self.run_id}` tells them."
            )
        lines = [f"Run {self.run_id}: {self.state}", f"Request: {self.request}", "", *_task_lines(self, task)]
        lines += [f"  {tell_issue(issue)}" for issue in self.issues if issue.get("task_id") == task_id]
        return printable("\n".join([*lines, *(tell_tracebacks(task) if verbose else ())]))


_TABLE_NOTE = re.compile(r"(?P<file>[^:]+\.(?:csv|tsv|db|sqlite3?))(?::\d+)?: ", re.IGNORECASE)


def notes_on_answer(run: Run) -> tuple[str, ...]:
    """Return the notes without those on how tables were read that the answer is not from."""
    files = {file for task in run.tasks.values() for file in cited_files(task)}
    return tuple(
        note
        for note in run.notes
        if " was left out: " in note or (found := _TABLE_NOTE.match(note)) is None or found["file"] in files
    )


def _lines(run: Run, *, is_whole: bool) -> Iterator[str]:
    yield f"Run {run.run_id}: {run.state}"
    yield f"Request: {run.request}"
    if run.stop_reason:
        yield f"Why it ended so: {run.stop_reason}"
    yield ""
    if run.graph is None:
        yield "No plan was made."
    else:
        levels = run.graph.levels()
        yield f"Plan by {run.planner}: {len(run.tasks)} tasks on {len(levels)} levels"
        for note in run.notes:
            yield f"  note: {note}"
        if not is_whole:
            yield from _band_lines(run, levels)
            levels = ()
        for level, task_ids in enumerate(levels):
            yield f"  level {level}"
            for task_id in task_ids:
                yield from _task_lines(run, run.tasks[task_id])
    for task in run.replaced.values():
        what = "failed, and was planned anew" if task.state == "failed" else "was expanded"
        yield f"  {task.task_id} {what} ({task.agent}){': ' + task.reason if task.reason else ''}"
    told = run.issues if is_whole else run.issues[:MAX_WRONG]
    for issue in told:
        yield f"  {tell_issue(issue)}"
    if len(told) < len(run.issues):
        yield f"  and {len(run.issues) - len(told):,} issues more"
    yield ""
    yield from _totals(run)


def _band_lines(run: Run, levels: Sequence[Sequence[str]]) -> Iterator[str]:
    """Tell a large plan in bands of levels, and the tasks that something is to be said of."""
    for name, task_ids in split_in_bands(levels):
        tasks = [run.tasks[task_id] for task_id in task_ids]
        agents = tell_counts([one.agent or run.assignments.get(one.task_id, "nobody") for one in tasks])
        cost = format_usd(sum(one.cost_usd for one in tasks))
        yield f"  {name}: {len(tasks):,} tasks: {tell_counts([one.state for one in tasks])}; by {agents}; {cost}"
    wrong = [task for state in _WRONG for task in run.tasks.values() if task.state == state]
    for task in wrong[:MAX_WRONG]:
        yield from _task_lines(run, task)
    if len(wrong) > MAX_WRONG:
        yield f"    and {len(wrong) - MAX_WRONG:,} more: {tell_counts([one.state for one in wrong[MAX_WRONG:]])}"
    yield f"  One of them: kapelle explain {run.run_id} TASK; all of them: kapelle explain {run.run_id} --full"


def _traceback_lines(run: Run) -> Iterator[str]:
    for task in (*run.replaced.values(), *run.tasks.values()):
        yield from tell_tracebacks(task)


def _task_lines(run: Run, task: TaskRun) -> Iterator[str]:
    definition = None if run.graph is None else run.graph.tasks.get(task.task_id)
    words = ""
    if definition is not None:  # one whose place others have taken is in the graph no longer
        waits = definition.dependencies
        after = f"  (after {', '.join(waits)})" if waits else ""
        words = f" [{definition.task_type}] {definition.description}{after}"
    yield f"    {_MARKS[task.state]} {task.task_id}{words}"
    agent = task.agent or run.assignments.get(task.task_id)
    if agent is not None:
        yield f"        agent: {agent}: {run.explanations.get(task.task_id, 'no reason was recorded')}"
    expected = run.estimates.get(task.task_id)
    if expected is not None:
        source = expected.get("source", "unknown")
        samples = expected.get("samples", 0)
        known = f"learned from {samples} outcomes" if samples else f"{source}, no outcomes yet"
        if "basis" in expected:  # runs of before tell less
            completion, judged = expected.get("completion", 1.0), expected.get("judged", 0)
            why = str(expected.get("why", ""))
            known = tell_success(expected["success_rate"], completion, samples, judged, str(expected["basis"]), why)
        yield (
            f"        expected: {format_usd(expected['cost_usd'])}, {format_seconds(expected['seconds'])}, "
            f"{expected['success_rate']:.0%} success ({known})"
            + (f". {note}" if (note := expected.get("note")) else "")
        )
    for attempt in task.attempts:
        found = f": {attempt.reason}" if attempt.reason else ""
        yield f"        {attempt.step}: {attempt.agent} {attempt.state}, {format_usd(attempt.cost_usd)}{found}"
    for question in run.questions.values():
        if question.task_id == task.task_id:
            yield from tell_question(question)
    if task.state in ("done", "failed"):
        assumed = " (assumed: an agent told no cost)" if task.cost_assumed else ""
        yield f"        took: {format_usd(task.cost_usd)}{assumed}, {format_seconds(task.seconds)}"
    if task.reason:
        yield f"        {task.state}: {task.reason}"
    if task.state == "done":
        text = " ".join(render_output(task.output).split())
        memory = " (from the model's memory)" if task.from_memory else ""
        yield f"        result: {text[:160]}{'…' if len(text) > 160 else ''}{memory}"
    if task.understood:
        yield f"        understood as: {tell_understood(task)}"
    if task.sql:
        yield from tell_query("sql", task.sql)
    for reading in task.readings:
        yield f"        could mean: {reading['understood']}"
        yield from tell_query("  sql", reading["sql"])


def _totals(run: Run) -> Iterator[str]:
    usage = run.usage
    tokens = f", {usage.tokens:,} tokens ({usage.cached_tokens:,} cached)" if usage.tokens else ""
    budget = run.settings.get("budget_usd")
    limit = f" of {format_usd(budget)}" if budget is not None else ""
    yield f"Cost: {format_usd(run.cost_usd)}{limit}{tokens}"
    if run.planning_cost_usd:
        yield f"  planning: {format_usd(run.planning_cost_usd)}"
    asked = Counter(
        agent
        for task in (*run.replaced.values(), *run.tasks.values())
        for agent in {one.agent for one in task.attempts or (task,)}
    )
    for agent, cost in run.cost_by_agent.items():
        count = asked[agent]
        yield f"  {agent}: {format_usd(cost)} for {count} task{'s' if count != 1 else ''}"
    for note in run.cost_notes:
        yield f"  {note}"
    resumed = sum(1 for event in run.events if event.kind == "run_resumed")
    if resumed:
        cut_off = sum(1 for event in run.events if event.kind == "task_interrupted")
        cut = f"; {cut_off} task{'s' * (cut_off != 1)} had been cut off" if cut_off else ""
        yield f"Resumed {resumed} time{'s' * (resumed != 1)}{cut}."
    if run.graph_version > 1:
        yield f"The graph changed {run.graph_version - 1} time{'s' * (run.graph_version != 2)} while it ran."
    reassigned = sum(1 for event in run.events if event.kind == "plan_reassigned")
    if reassigned:
        yield f"What had not begun was assigned anew {reassigned} time{'s' * (reassigned != 1)} while it ran."
    if run.overrun_usd:
        yield f"  {tell_overrun(run.overrun_usd)}"
    if run.seconds is not None:
        path = run.critical_path_seconds
        work = sum(task.seconds for task in run.tasks.values())
        against = f"; critical path {format_seconds(path)}, work {format_seconds(work)}" if path is not None else ""
        yield f"Time: {format_seconds(run.seconds)}{against}"
