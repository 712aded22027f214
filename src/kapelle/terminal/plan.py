"""A plan that has not run: its tasks by level with their reasons, its choices, its picture."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from kapelle.allocation import Frontier
from kapelle.engine import Proposal
from kapelle.execution import choose_start_order
from kapelle.graph import MAX_DRAWN, TaskDAG, split_in_bands, tell_counts, title_task
from kapelle.ledger import format_seconds, format_usd, printable
from kapelle.planning import explain_edges

from .cells import one_line, shorten, styled, table_of

MAX_ISSUES = 100
"""Findings about a plan that are shown; of more, how many there are of each kind."""


def show_proposal(console: Console, proposal: Proposal) -> None:
    """Print a plan that has not run: who would do what, in which order, for how much, and what is wrong with it."""
    graph, routing, validation = proposal.plan.graph, proposal.routing, proposal.validation
    tree = Tree(styled(f"{shorten(proposal.plan.request, 100)}  (planned by {proposal.plan.planner})", style="bold"))
    levels = graph.levels()
    if len(graph) > MAX_DRAWN:
        _add_bands(tree, proposal)
        levels = ()
    reasons = explain_edges(graph, proposal.plan.request) if levels else {}
    told: dict[str, str] = {}
    """Reasons already given, and for which task: forty tasks alike need them once."""
    for number, level in enumerate(levels):
        branch = tree.add(Text(f"level {number}" + (": at the same time" if len(level) > 1 else ""), style="dim"))
        for task_id in level:
            task = graph.tasks[task_id]
            line = styled(task_id, style="bold")
            line.append(printable(f" [{task.task_type}] {title_task(task)}"), style="default")
            node = branch.add(line)
            for words, names in _grouped(graph.dependencies(task_id), task_id, reasons):
                node.add(styled(f"after {names}: {words}", style="dim"))
            if task_id in routing.assignments:
                estimate = validation.estimates.get(task_id)
                expected = ""
                if estimate is not None:
                    expected = f"  ~{format_usd(estimate.cost_usd)}, {format_seconds(estimate.seconds)}"
                    expected += f", {estimate.success_rate:.0%} success ({estimate.tell_success()})"
                    expected += f". {estimate.note}" if estimate.note else ""
                node.add(styled(routing.assignments[task_id] + expected, style="cyan"))
                why = routing.explanations.get(task_id, "")
                node.add(styled(f"as {told[why]}" if why in told else why, style="dim"))
                told.setdefault(why, task_id)
            elif task_id in routing.unassigned:
                node.add(styled(f"no agent: {routing.unassigned[task_id]}", style="red"))
    console.print(tree)
    for note in proposal.plan.notes:
        console.print(styled(note, style="dim"))
    for issue in validation.issues[:MAX_ISSUES]:
        console.print(styled(str(issue), style="red" if issue.severity == "error" else "yellow"))
        if issue.edit is not None:
            console.print(styled(f"  edit: {issue.edit.summary}", style="dim"))
    if len(validation.issues) > MAX_ISSUES:
        kinds = tell_counts(f"{one.severity}s of the kind {one.kind}" for one in validation.issues[MAX_ISSUES:])
        console.print(Text(f"and more: {kinds}", style="yellow"))
    if validation.approved is not None and (order := choose_start_order(validation.approved, is_told=True).explain()):
        console.print(styled(f"order of starts: {order}", style="dim"))
    verdict = "approved" if validation.passed else "not approved"
    proven = f"; {tell_gap(proposal.gap)}" if proposal.gap is not None and validation.estimated_cost > 0 else ""
    console.print(
        Text(
            f"{verdict}: expected {format_usd(validation.estimated_cost)}, {format_seconds(validation.estimated_time)} "
            f"along the critical path, score {validation.quality_score:.2f}" + proven,
            style="green" if validation.passed else "red",
        )
    )


def _add_bands(tree: Tree, proposal: Proposal) -> None:
    """Show a large plan in bands of levels: what is in each, who would do it, for how much."""
    graph, assigned, estimates = proposal.plan.graph, proposal.routing.assignments, proposal.validation.estimates
    for name, task_ids in split_in_bands(graph.levels()):
        kinds = tell_counts(graph.tasks[task_id].task_type for task_id in task_ids)
        branch = tree.add(styled(f"{name}: {len(task_ids):,} tasks: {kinds}", style="dim"))
        agents = tell_counts(assigned.get(task_id, "nobody") for task_id in task_ids)
        cost = math.fsum(estimates[task_id].cost_usd for task_id in task_ids if task_id in estimates)
        branch.add(styled(f"{agents}  ~{format_usd(cost)}", style="cyan"))


def tell_gap(gap: float) -> str:
    """Say what share of the cost another assignment within the limits may save, as the end of a sentence."""
    if gap < 1e-5:  # the optimiser proves to a millionth
        return "no other assignment within the limits costs less"
    return f"another assignment can save at most {math.ceil(1000 * gap - 1e-9) / 10:.1f}%"


def _grouped(before: Iterable[str], task_id: str, reasons: Mapping[tuple[str, str], str]) -> Iterable[tuple[str, str]]:
    """Why a task waits, with the tasks that it waits for, those with one reason together."""
    names: dict[str, list[str]] = {}
    for source in before:
        names.setdefault(reasons.get((source, task_id), ""), []).append(source)
    return [(words, ", ".join(sources)) for words, sources in names.items()]


def show_frontier(console: Console, frontier: Frontier) -> None:
    """Print the choices of a plan, the cheapest first, and what each one is the best at."""
    if not frontier.points:
        console.print(styled(frontier.note, style="yellow"))
        return
    table = table_of(["cost", "time", "success, at least", "agents", ""], gives_way="agents")
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
        table.add_row(*cells, one_line(who), marks.get(id(point), ""))
    console.print(table)
    console.print(styled(frontier.note, style="dim"))
    chosen = frontier.knee()
    hint = f"--quality {math.floor(chosen.quality * 1000) / 1000:g}"
    if chosen.seconds >= 1 and chosen is not frontier.cheapest():  # below a second, a limit would be a matter of luck
        hint += f" --deadline {math.ceil(chosen.seconds * 1.1)}"
    console.print(styled(f"Run one of them by its limits, for example: kapelle run REQUEST {hint}", style="dim"))


def picture(graph: TaskDAG, *, states: Mapping[str, str], agents: Mapping[str, str], full: bool = False) -> str:
    """Return the graph as SVG, coloured by state, each task with its agent; a large one in bands of levels, unless it
    is to be drawn in `full`."""
    return graph.to_svg(status=states, notes=agents, full=full)
