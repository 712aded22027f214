"""What a person sees in a terminal: live progress, a finished run, a plan, tables. Reads values; decides nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markdown import Markdown
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from kapelle.agents import AgentRegistry
from kapelle.cost import CostProfiler
from kapelle.engine import Proposal
from kapelle.graph import TaskDAG
from kapelle.ledger import Event, Run, RunSummary, TaskRun, format_seconds, format_usd, rebuild_run

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
}
_MARKS = {"done": "✓", "failed": "✗", "skipped": "–", "cancelled": "■", "waiting": "·", "expanded": "+"}
_MOST_ROWS = 30
"""Tasks shown at a time while a large plan runs; those at work come first."""


class LiveProgress:
    """Shows a run while it runs: as a table that changes in place or, where that is no terminal, a line per event."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._events: list[Event] = []
        self._quiet = quiet
        self._spinner = Spinner("dots")
        self._live = (
            Live(console=console, refresh_per_second=8, transient=True, get_renderable=self._table)
            if console.is_terminal and not quiet
            else None
        )

    @property
    def run_id(self) -> str | None:
        """The run that is shown, once it has begun."""
        return self._events[0].run_id if self._events else None

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
        self._events.append(event)
        if self._live is None and not self._quiet:
            self._print_line(event)

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
                self._say(f"{event.task_id} expanded: {len(event.data['graph']['tasks'])} tasks now")
            case "graph_patched":
                self._say(f"{event.data['replaces']} is planned anew: {event.data['reason']}")
            case "task_failed" | "task_skipped" | "task_cancelled":
                self._say(f"{event.task_id} {event.kind.removeprefix('task_')}: {event.data['reason']}")
            case _:
                pass

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _table(self) -> RenderableType:
        if not self._events:
            return Text("")
        run = rebuild_run(self._events)
        if run.graph is None:
            return Group(self._spinner, Text("planning ...", style="dim"))
        table = Table.grid(padding=(0, 1))
        rows = list(run.graph)
        if len(rows) > _MOST_ROWS:
            order = {"running": 0, "failed": 1, "waiting": 2}
            rows = sorted(rows, key=lambda task: order.get(run.tasks[task.task_id].state, 3))[:_MOST_ROWS]
        for task in rows:
            state = run.tasks[task.task_id]
            mark: RenderableType = self._spinner if state.state == "running" else _mark(state)
            spent = time.time() - (state.started_at or 0) if state.state == "running" else state.seconds
            table.add_row(
                mark,
                Text(task.task_id, style="bold"),
                Text(_shorten(task.description or task.task_type, 60)),
                Text(state.agent or run.assignments.get(task.task_id, ""), style="dim"),
                Text(format_seconds(spent) if state.state != "waiting" else "", style="dim"),
                Text(format_usd(state.cost_usd) if state.cost_usd else "", style="dim"),
            )
        done = sum(1 for state in run.tasks.values() if state.state == "done")
        total = Text(f"{done} of {len(run.tasks)} tasks, {format_usd(run.cost_usd)}", style="dim")
        return Group(table, total)


def show_run(console: Console, run: Run) -> None:
    """Print what became of a run: tasks, costs, time. The answer itself is printed by the caller."""
    if run.graph is not None:
        table = Table.grid(padding=(0, 1))
        for task in run.graph:
            state = run.tasks[task.task_id]
            table.add_row(
                _mark(state),
                Text(task.task_id, style="bold"),
                Text(_shorten(task.description or task.task_type, 60)),
                Text(state.agent or "", style="dim"),
                Text(format_seconds(state.seconds) if state.started_at else "", style="dim"),
                Text(format_usd(state.cost_usd) if state.agent else "", style="dim"),
            )
            if state.reason:
                table.add_row("", "", Text(state.reason, style=_STYLES[state.state]), "", "", "")
        console.print(table)
    if run.stop_reason:
        console.print(Text(f"{run.state}: {run.stop_reason}", style=_STYLES[run.state]))
    console.print(Text(_totals(run), style="dim"))


def show_answer(console: Console, answer: str) -> None:
    """Print an answer: as Markdown in a terminal, as it is anywhere else."""
    if console.is_terminal:
        console.print(Markdown(answer))
    else:
        console.print(answer, markup=False, highlight=False, soft_wrap=True)


def show_proposal(console: Console, proposal: Proposal) -> None:
    """Print a plan that has not run: who would do what, in which order, for how much, and what is wrong with it."""
    graph, routing, validation = proposal.plan.graph, proposal.routing, proposal.validation
    tree = Tree(Text(f"{_shorten(proposal.plan.request, 100)}  (planned by {proposal.plan.planner})", style="bold"))
    told: dict[str, str] = {}
    """Reasons already given, and for which task: forty tasks alike need them once."""
    for number, level in enumerate(graph.levels()):
        branch = tree.add(Text(f"level {number}" + (": at the same time" if len(level) > 1 else ""), style="dim"))
        for task_id in level:
            task = graph.tasks[task_id]
            line = Text(task_id, style="bold")
            line.append(f" [{task.task_type}] {task.description}", style="default")
            if before := graph.dependencies(task_id):
                line.append(f"  after {', '.join(before)}", style="dim")
            node = branch.add(line)
            if task_id in routing.assignments:
                estimate = validation.estimates.get(task_id)
                expected = ""
                if estimate is not None:
                    expected = f"  ~{format_usd(estimate.cost_usd)}, {format_seconds(estimate.seconds)}"
                    expected += f", {estimate.success_rate:.0%} success"
                node.add(Text(routing.assignments[task_id] + expected, style="cyan"))
                why = routing.explanations.get(task_id, "")
                node.add(Text(f"as {told[why]}" if why in told else why, style="dim"))
                told.setdefault(why, task_id)
            elif task_id in routing.unassigned:
                node.add(Text(f"no agent: {routing.unassigned[task_id]}", style="red"))
    console.print(tree)
    for note in proposal.plan.notes:
        console.print(Text(note, style="dim"))
    for issue in validation.issues:
        console.print(Text(str(issue), style="red" if issue.severity == "error" else "yellow"))
    verdict = "approved" if validation.passed else "not approved"
    console.print(
        Text(
            f"{verdict}: expected {format_usd(validation.estimated_cost)}, {format_seconds(validation.estimated_time)} "
            f"along the critical path, score {validation.quality_score:.2f}",
            style="green" if validation.passed else "red",
        )
    )


def show_runs(console: Console, runs: Iterable[RunSummary]) -> None:
    """Print runs as a table, newest first."""
    table = Table(box=None, pad_edge=False)
    for title in ("run", "state", "started", "took", "tasks", "cost", "request"):
        table.add_column(title, overflow="ellipsis", no_wrap=True, ratio=1 if title == "request" else None)
    for run in runs:
        started = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started_at))
        took = "" if run.seconds is None else format_seconds(run.seconds)
        state = Text(run.state, style=_STYLES[run.state])
        request = Text(_shorten(run.request, 80))
        table.add_row(run.run_id, state, started, took, str(run.tasks_done), format_usd(run.cost_usd), request)
    console.print(table)


def show_agents(console: Console, registry: AgentRegistry, profiler: CostProfiler, note: str) -> None:
    """Print the agents of an engine: what they take, what they cost, and what the ledger knows of them."""
    runnable = registry.runnable()
    table = Table(box=None, pad_edge=False)
    for title in ("agent", "takes", "price", "success", "seen", ""):
        table.add_column(title, overflow="ellipsis", no_wrap=True)
    for agent_id, card in registry.items():
        profiles = [
            profile for kind in card.task_types if (profile := profiler.get_profile(agent_id, kind)) is not None
        ]
        table.add_row(
            Text(agent_id, style="bold" if agent_id in runnable else "dim"),
            Text(_shorten(", ".join(card.task_types), 60)),
            f"{format_usd(card.cost_usd)} a task" if card.cost_usd is not None else card.cost_tier,
            f"{profiler.estimate(card, card.task_types[0]).success_rate:.0%}",
            str(sum(profile.total_executions for profile in profiles)),
            "" if agent_id in runnable else "needs a model",
        )
    console.print(table)
    console.print(Text(note, style="dim"))


def picture(graph: TaskDAG, *, states: Mapping[str, str], agents: Mapping[str, str]) -> str:
    """Return the graph as SVG, coloured by state, each task with its agent."""
    return graph.to_svg(status=states, notes=agents)


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
