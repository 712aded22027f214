"""Lists: what people are asked, the runs of a ledger, the agents of an engine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.text import Text

from kapelle.agents import AgentRegistry
from kapelle.estimates import CostProfiler
from kapelle.ledger import Question, RunSummary, describe_question, format_seconds, format_usd
from kapelle.views import answer_commands

from .cells import NARROW, RUN_STYLES, one_line, shorten, styled, table_of

_RUN_COLUMNS = (
    (100, ("run", "state", "started", "took", "tasks", "cost", "request"), "request"),
    (80, ("run", "state", "took", "tasks", "cost", "request"), "request"),
    (NARROW, ("run", "state", "cost", "request"), "request"),
    (0, ("run", "state", "cost"), "run"),
)
"""From how many columns on the list of runs shows what, and which of it is shortened."""


def show_questions(
    console: Console,
    questions: Iterable[Question],
    *,
    answered: Iterable[Question] = (),
    more: str = "",
    full: bool = False,
) -> None:
    """Print what tasks ask people, each with the commands that answer it; then what waits to be gone on with.

    Args:
        answered: Questions that were answered while no engine worked on their runs.
        more: What the commands have to say besides, such as ` --db FILE`.
        full: Whether nothing of a question is cut.
    """
    none = True
    for question in questions:
        none = False
        console.print(styled(f"{question.question_id}  task {question.task_id} of run {question.run_id}", style="bold"))
        for line in describe_question(question, full=full, more=more):
            console.print(styled(f"  {line}"), soft_wrap=True)
        for way in answer_commands(question):
            console.print(styled(f"  {way}{more}", style="cyan"), soft_wrap=True)
    for run_id, count in Counter(question.run_id for question in answered).items():
        none = False
        words = f"{count} answer{'s' * (count != 1)} to run {run_id} wait{'s' * (count == 1)} for it to go on:"
        console.print(styled(f"{words} kapelle resume {run_id}{more}", style="dim"), soft_wrap=True)
    if none:
        console.print("Nothing waits for an answer.", style="dim")


def show_runs(console: Console, runs: Iterable[RunSummary]) -> None:
    """Print runs as a table, newest first."""
    shown, gives_way = next((titles, gives_way) for least, titles, gives_way in _RUN_COLUMNS if console.width >= least)
    table = table_of(shown, gives_way=gives_way)
    for run in runs:
        cells: dict[str, RenderableType] = {
            "run": one_line(run.run_id),
            "state": Text(run.state, style=RUN_STYLES[run.state]),
            "started": time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started_at)),
            "took": "" if run.seconds is None else format_seconds(run.seconds),
            "tasks": str(run.tasks_done),
            "cost": format_usd(run.cost_usd),
            "request": one_line(shorten(run.request, 80)),
        }
        table.add_row(*(cells[title] for title in shown))
    console.print(table)


def show_agents(console: Console, registry: AgentRegistry, profiler: CostProfiler, note: str) -> None:
    """Print the agents of an engine: what they take, what they cost, and what the ledger knows of them."""
    runnable = registry.runnable()
    narrow = console.width < NARROW
    shown = ["agent", "price", "success"] if narrow else ["agent", "takes", "price", "success", "seen", ""]
    table = table_of(shown, gives_way="agent" if narrow else "takes")
    for agent_id, card in registry.items():
        profiles = [
            profile for kind in card.task_types if (profile := profiler.get_profile(agent_id, kind)) is not None
        ]
        price = f"{format_usd(card.cost_usd)} a task" if card.cost_usd is not None else card.cost_tier
        cells: dict[str, RenderableType] = {
            "agent": one_line(agent_id, style="bold" if agent_id in runnable else "dim"),
            "takes": one_line(shorten(", ".join(card.task_types), 60)),
            "price": price,
            "success": f"{profiler.estimate(card, card.task_types[0]).success_rate:.0%}",
            "seen": str(sum(profile.total_executions for profile in profiles)),
            "": "" if agent_id in runnable else "needs a model",
        }
        table.add_row(*(cells[title] for title in shown))
    console.print(table)
    if profiler.get_statistics()["total_executions"]:
        told = "success: as declared until a check or a rating measures it; failures lower it."
        console.print(styled(told, style="dim"))
    console.print(styled(note, style="dim"))
