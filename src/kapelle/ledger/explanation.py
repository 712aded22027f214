"""A run, or one task of it, told to a person as text. Knows no terminal; what would steer one is taken out.

A plan of more than MAX_DRAWN tasks nobody reads task by task: it is told in bands of levels, and what went wrong in it
is told as ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kapelle.errors import NotFound
from kapelle.graph import MAX_DRAWN, render_output, split_in_bands, tell_counts

from .amounts import format_seconds, format_usd, tell_overrun
from .event import TaskState
from .figures import tell_success
from .question import Question, describe_question
from .task_run import TaskRun, cited_files
from .text import printable

if TYPE_CHECKING:
    from .run import Run

_MAX_FILES = 3
"""Named in the line that says how a task was understood."""
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


def explain_run(run: Run, *, verbose: bool, full: bool) -> str:
    """Return a run as a text: see `Run.explain`."""
    is_whole = full or len(run.tasks) <= MAX_DRAWN
    return printable("\n".join([*_lines(run, is_whole=is_whole), *(_traceback_lines(run) if verbose else ())]))


def explain_task(run: Run, task_id: str, *, verbose: bool) -> str:
    """Return one task of a run as a text.

    Raises:
        NotFound: it has no such task.
    """
    task = run.tasks.get(task_id) or run.replaced.get(task_id)
    if task is None:
        raise NotFound(
            f"Run {run.run_id} has no task {task_id!r:.140}. `kapelle explain {run.run_id}` tells its tasks."
        )
    lines = [f"Run {run.run_id}: {run.state}", f"Request: {run.request}", ""]
    lines += _task_lines(run, task)
    lines += [f"  {_tell_issue(issue)}" for issue in run.issues if issue.get("task_id") == task_id]
    return printable("\n".join([*lines, *(_tracebacks_of(task) if verbose else ())]))


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
        yield f"  {_tell_issue(issue)}"
    if len(told) < len(run.issues):
        yield f"  and {len(run.issues) - len(told):,} issues more"
    yield ""
    yield from _totals(run)


def _tell_issue(issue: Mapping[str, Any]) -> str:
    place = f"{issue['task_id']}: " if issue.get("task_id") else ""
    return f"{issue['severity']}: {place}{issue['message']} {issue['way_out']}"


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
        yield from _tracebacks_of(task)


def _tracebacks_of(task: TaskRun) -> Iterator[str]:
    for attempt in task.attempts or (task,):
        if attempt.traceback is not None:
            yield f"\nWhere {attempt.agent} failed at {task.task_id}:"
            yield from (f"  {line}" for line in attempt.traceback.splitlines())


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
            known = tell_success(expected["success_rate"], completion, samples, judged, str(expected["basis"]))
        yield (
            f"        expected: {format_usd(expected['cost_usd'])}, {format_seconds(expected['seconds'])}, "
            f"{expected['success_rate']:.0%} success ({known})"
        )
    for attempt in task.attempts:
        found = f": {attempt.reason}" if attempt.reason else ""
        yield f"        {attempt.step}: {attempt.agent} {attempt.state}, {format_usd(attempt.cost_usd)}{found}"
    for question in run.questions.values():
        if question.task_id == task.task_id:
            yield from _question_lines(question)
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
        yield from _query_lines("sql", task.sql)
    for reading in task.readings:
        yield f"        could mean: {reading['understood']}"
        yield from _query_lines("  sql", reading["sql"])


def _query_lines(name: str, sql: str) -> Iterator[str]:
    """A query keeps its lines: one joined to a comment would be another query."""
    first, *others = sql.strip().splitlines() or [""]
    yield f"        {name}: {first}"
    yield from (f"          {line}" for line in others)


def _question_lines(question: Question) -> Iterator[str]:
    who = f" by {question.asker}" if question.asker else ""
    first, *more = describe_question(question)
    yield f"        asked{who} ({question.question_id}): {first}"
    yield from (f"        {line}" for line in more)
    if question.is_open:
        yield "        not answered yet"
        return
    said = {True: "approved", False: "rejected"}.get(question.answer) if question.kind == "approval" else None
    note = f" ({question.note})" if question.note else ""
    yield f"        answered: {said or render_output(question.answer)}{note}"


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


def tell_understood(task: TaskRun) -> str:
    """Return in a line how a task was understood, and which files it was answered from."""
    said = " ".join(task.understood.split()).removesuffix(".")
    writer = f" · query by {' '.join(task.sql_by.split())}" if task.sql_by else ""
    unsaid = [file for file in cited_files(task) if file not in said]
    more = f" and {len(unsaid) - _MAX_FILES} more" if len(unsaid) > _MAX_FILES else ""
    return said + (f" · from {', '.join(unsaid[:_MAX_FILES])}{more}" if unsaid else "") + writer
