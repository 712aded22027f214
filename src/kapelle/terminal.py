"""What a person sees in a terminal: live progress, a finished run, a plan, tables. Reads values; decides nothing.

Requests, plans and what agents return are not ours: every text goes through `printable`, so that none steers the
terminal. A narrow terminal is shown fewer columns rather than broken ones.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment, Segments
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from kapelle.agents import AgentRegistry, PartialText
from kapelle.cost import CostProfiler, Frontier
from kapelle.engine import Proposal
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import (
    Event,
    Question,
    Run,
    RunBuilder,
    RunSummary,
    TaskRun,
    format_seconds,
    format_usd,
    printable,
    tell_overrun,
)
from kapelle.planning import explain_edges

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
    "planning": "cyan",
    "asking": "magenta",
}
_MARKS = {"done": "✓", "failed": "✗", "skipped": "–", "cancelled": "■", "waiting": "·", "expanded": "+", "asking": "?"}
_MOST_WRITING = 2_000
"""Of what a task writes, so many characters are kept to show the newest of them."""
_MOST_ROWS = 30
"""Tasks shown at a time while a large plan runs; those at work come first."""
_LINES_BESIDE = 4
"""Lines of the screen that the table leaves free: how many more there are, the total, and some air."""
_NARROW = 60
"""Below so many columns, who does a task and its cost give way to its description."""
_RUN_COLUMNS = (
    (100, ("run", "state", "started", "took", "tasks", "cost", "request"), "request"),
    (80, ("run", "state", "took", "tasks", "cost", "request"), "request"),
    (_NARROW, ("run", "state", "cost", "request"), "request"),
    (0, ("run", "state", "cost"), "run"),
)
"""From how many columns on the list of runs shows what, and which of it is shortened."""
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
        """The newest words of each task that writes, the latest writer last."""
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
            self._builder.add(event)
            if event.kind.startswith("task_") and event.kind != "task_started":
                self._writing.pop(event.task_id or "", None)
        if self._live is None and not self._quiet:
            self._print_line(event)

    def show_so_far(self, events: Iterable[Event]) -> None:
        """Take in what happened before, without telling of it."""
        with self._lock:
            for event in events:
                self._builder.add(event)

    def show_text(self, piece: PartialText) -> None:
        """Take in a piece of text that is being written: its newest words are shown."""
        with self._lock:
            before = self._writing.pop(piece.task_id, "")
            self._writing[piece.task_id] = (before + piece.text)[-_MOST_WRITING:]

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
            case "run_resumed":
                done = sum(1 for task in self._builder.run().tasks.values() if task.state == "done")
                self._say(f"going on; {done} of {len(self._builder.run().tasks)} tasks are done already")
            case "task_asked":
                self._say(f"{event.task_id} asks ({event.data['question_id']}): {event.data['text']}")
            case "question_answered":
                self._say(f"{event.task_id} was answered")
            case "task_interrupted":
                self._say(f"{event.task_id} was cut off and runs again")
            case "attempt_started" if event.data["attempt"]:
                self._say(f"{event.task_id}: {event.data['step']} {event.data['agent']}")
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
            writing = list(self._writing.items())[-1:]
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
                format_seconds(spent) if state.started_at is not None else "",
                _text(state.agent or run.assignments.get(task.task_id, "")),
                format_usd(state.cost_usd) if state.cost_usd else "",
            )
        lines: list[RenderableType] = [table]
        if len(run.tasks) > most:
            lines.append(Text(f"... and {len(run.tasks) - most} more", style="dim"))
        for task_id, words in writing:
            lines.append(
                _one_line(f"{task_id}: …{words[-max(20, self._console.width - len(task_id) - 4) :]}", style="dim")
            )
        done = sum(1 for state in run.tasks.values() if state.state == "done")
        lines.append(Text(f"{done} of {len(run.tasks)} tasks, {format_usd(run.cost_usd)}", style="dim"))
        return Group(*lines)


def show_run(console: Console, run: Run) -> None:
    """Print what became of a run: tasks, costs, time. The answer itself is printed by the caller."""
    if run.graph is not None:
        table = _task_table(console.width)
        for task in run.graph:
            state = run.tasks[task.task_id]
            _add_cells(
                table,
                _mark(state),
                *_task_cells(task),
                format_seconds(state.seconds) if state.started_at else "",
                _text(state.agent or ""),
                format_usd(state.cost_usd) if state.agent else "",
            )
            if state.reason:
                table.add_row("", "", _text(state.reason, style=_STYLES[state.state]))
        console.print(table)
    if run.stop_reason:
        console.print(_text(f"{run.state}: {run.stop_reason}", style=_STYLES[run.state]))
    if run.overrun_usd:
        console.print(Text(tell_overrun(run.overrun_usd), style="yellow"))
    console.print(_text(_totals(run), style="dim"))
    if run.open_questions:
        show_questions(console, run.open_questions)
    if run.state not in ("done", "running", "planning"):
        budget = run.settings.get("budget_usd")
        more = f" --budget {_more(run, budget):g}" if budget is not None and run.state == "stopped" else ""
        console.print(_text(f"To go on: kapelle resume {run.run_id}{more}", style="dim"))


def _more(run: Run, budget: float) -> float:
    """Return a budget that what is left of a run is expected to need."""
    open_tasks = [name for name, task in run.tasks.items() if task.state != "done"]
    needed = run.cost_usd + math.fsum(float(run.estimates.get(name, {}).get("cost_usd", 0.0)) for name in open_tasks)
    return max(budget, float(f"{needed * 1.1:.2g}"))


def show_questions(console: Console, questions: Iterable[Question]) -> None:
    """Print what tasks ask people, each with the commands that answer it."""
    none = True
    for question in questions:
        none = False
        console.print(_text(f"{question.question_id}  task {question.task_id} of run {question.run_id}", style="bold"))
        console.print(_text(f"  {question.text}"), soft_wrap=True)
        if question.options:
            console.print(_text(f"  one of: {', '.join(question.options)}"), soft_wrap=True)
        for way in ways_to_answer(question):
            console.print(_text(f"  {way}", style="dim"), soft_wrap=True)
    if none:
        console.print("Nothing waits for an answer.", style="dim")


def ways_to_answer(question: Question) -> tuple[str, ...]:
    """Return the commands that answer a question."""
    if question.kind == "approval":
        return (f"kapelle approve {question.question_id}", f"kapelle reject {question.question_id} --note WHY")
    return (f"kapelle answer {question.question_id} VALUE",)


def show_answer(console: Console, answer: str) -> None:
    """Print an answer: as Markdown in a terminal, as it is anywhere else."""
    if console.is_terminal:
        # Links are spelt out: a link's words may say one place and lead to another.
        console.print(_Printable(Markdown(printable(answer), hyperlinks=False)))
    else:
        # Not as Text, which would turn tabs into spaces.
        console.print(Segments([Segment(printable(answer) + "\n")]), soft_wrap=True, end="")


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
            line.append(printable(f" [{task.task_type}] {task.description}"), style="default")
            node = branch.add(line)
            for words, names in _grouped(graph.dependencies(task_id), task_id, reasons):
                node.add(_text(f"after {names}: {words}", style="dim"))
            if task_id in routing.assignments:
                estimate = validation.estimates.get(task_id)
                expected = ""
                if estimate is not None:
                    expected = f"  ~{format_usd(estimate.cost_usd)}, {format_seconds(estimate.seconds)}"
                    expected += f", {estimate.success_rate:.0%} success"
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
            "state": Text(run.state, style=_STYLES[run.state]),
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
    return _one_line(task.task_id), _one_line(_shorten(task.description or task.task_type, 60))


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
    agents = [f"{agent} {format_usd(cost)}" for agent, cost in run.cost_by_agent.items() if cost]
    if agents:
        parts[-1] += f" ({', '.join(agents)})"
    if run.seconds is not None:
        parts.append(f"took {format_seconds(run.seconds)}")
    if run.critical_path_seconds is not None:
        work = sum(task.seconds for task in run.tasks.values())
        parts.append(f"critical path {format_seconds(run.critical_path_seconds)}")
        parts.append(f"agents' work {format_seconds(work)}")
    return ", ".join(parts)


def _shorten(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
