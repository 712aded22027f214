"""A run that has ended, or waits: its tasks, its answer, and how they were understood."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markdown import Markdown
from rich.segment import Segment, Segments
from rich.text import Text

from kapelle.agents import SOURCED_TYPES
from kapelle.graph import MAX_DRAWN, split_in_bands, tell_counts, title_task
from kapelle.ledger import Run, cited_files, format_seconds, format_usd, printable, tell_overrun, tell_understood
from kapelle.views import next_command, reading_command

from .cells import RUN_STYLES, STYLES, Printable, add_cells, mark, shorten, styled, task_cells, task_table
from .lists import show_questions

MAX_UNDERSTOOD = 3
"""Tasks of which it is said below an answer how they were understood."""
MAX_UNDERSTOOD_CHARS = 400
MAX_WRONG = 20
"""Tasks that failed, or ask something, that are shown of a run that is shown in bands of levels."""


def show_run(console: Console, run: Run, *, more: str = "") -> None:
    """Print what became of a run: tasks, costs, time, and how to go on. The answer itself is printed by the caller.

    Args:
        more: What commands about this run have to say besides, such as ` --db FILE`.
    """
    if run.graph is not None:
        table = task_table(console.width)
        tasks = list(run.graph)
        if len(tasks) > MAX_DRAWN:
            for name, task_ids in split_in_bands(run.graph.levels()):
                states = tell_counts(run.tasks[task_id].state for task_id in task_ids)
                console.print(styled(f"{name}: {len(task_ids):,} tasks: {states}"))
            tasks = [task for task in tasks if run.tasks[task.task_id].state in ("failed", "asking")][:MAX_WRONG]
        for task in tasks:
            state = run.tasks[task.task_id]
            add_cells(
                table,
                mark(state),
                *task_cells(task),
                format_seconds(state.seconds) if state.started_at and state.state != "asking" else "",
                styled(state.agent or ""),
                format_usd(state.cost_usd) if state.agent else "",
            )
            if state.reason:
                table.add_row("", "", styled(state.reason, style=STYLES[state.state]))
        if tasks:
            console.print(table)
    if run.stop_reason:
        console.print(styled(f"{run.state}: {run.stop_reason}", style=RUN_STYLES[run.state]))
    if run.overrun_usd:
        console.print(Text(tell_overrun(run.overrun_usd), style="yellow"))
    console.print(styled(_totals(run), style="dim"))
    for note in run.cost_notes:
        console.print(styled(note, style="yellow"))
    if run.open_questions:
        show_questions(console, run.open_questions, more=more)
    for ended in run.tasks.values():
        if ended.readings and ended.state == "failed":
            console.print(Text("To ask for one of them:", style="dim"))
            for reading in ended.readings:
                console.print(styled(f"  {_one_reading(reading)}", style="dim"), soft_wrap=True)
                console.print(styled(f"    {reading_command(run, reading)}{more}", style="cyan"), soft_wrap=True)
    way = next_command(run)
    if way is not None:
        console.print(styled(f"To go on: {way}{more}", style="dim"), soft_wrap=True)


def _totals(run: Run) -> str:
    parts = [f"run {run.run_id}", f"cost {format_usd(run.cost_usd)}"]
    budget = run.settings.get("budget_usd")
    if budget is not None:
        parts[-1] += f" of {format_usd(budget)}"
    shares = [("planning", run.planning_cost_usd), *run.cost_by_agent.items()]
    told = [f"{who} {format_usd(cost)}" for who, cost in shares if cost]
    if told:
        parts[-1] += f" ({', '.join(told)})"
    if run.overrun_usd:
        parts.append(f"{format_usd(run.overrun_usd)} more than was reserved")
    if run.seconds is not None:
        parts.append(f"took {format_seconds(run.seconds)}")
    if run.critical_path_seconds is not None:
        work = sum(task.seconds for task in run.tasks.values())
        parts.append(f"critical path {format_seconds(run.critical_path_seconds)}")
        parts.append(f"agents' work {format_seconds(work)}")
    return ", ".join(parts)


def show_answer(console: Console, answer: str) -> None:
    """Print an answer: as Markdown in a terminal, as it is anywhere else."""
    if console.is_terminal:
        # Links are spelt out: a link's words may say one place and lead to another.
        console.print(Printable(Markdown(printable(answer), hyperlinks=False)))
    else:
        # Not as Text, which would turn tabs into spaces.
        console.print(Segments([Segment(printable(answer) + "\n")]), soft_wrap=True, end="")


def show_memory(console: Console, run: Run) -> None:
    """Say below an answer what of it is a model's memory, where there was no folder to look in."""
    said = [
        title_task(task)
        for task in run.graph or ()
        if run.tasks[task.task_id].from_memory and task.task_type in SOURCED_TYPES
    ]
    if said:
        shown = shorten("; ".join(said), 200)
        words = f"From the model's memory, without a source: {shown}. To look in documents: --data FOLDER."
        console.print(styled(words, style="dim"))


def show_understood(console: Console, run: Run, *, sql: bool = False, more: str = "") -> None:
    """Print in a line each how tasks were understood, and what there is to know of what they were answered from.

    Args:
        sql: Print the queries below, of all tasks; those that a model wrote are printed in any case.
        more: What commands about this run have to say besides, such as ` --db FILE`.
    """
    told = [task for task in run.tasks.values() if task.state == "done" and (task.understood or (sql and task.sql))]
    shown = told if sql else told[:MAX_UNDERSTOOD]
    for task in shown:
        name = f"{task.task_id} " if len(told) > 1 else ""
        if task.understood:
            words = f"{name}understood as: {shorten(tell_understood(task), MAX_UNDERSTOOD_CHARS)}"
            console.print(styled(words, style="dim"), soft_wrap=True)
        if task.sql and (sql or task.sql_by):
            console.print(styled(f"{name}sql:", style="dim"))
            console.print(styled("\n".join(f"  {line}" for line in task.sql.splitlines())), soft_wrap=True)
    if len(told) > len(shown):
        left = f"and {len(told) - len(shown)} more (kapelle explain {run.run_id}{more})"
        console.print(styled(left, style="dim"), soft_wrap=True)
    notes = _notes_on_files(run) if run.answer else []
    for note in notes[:MAX_UNDERSTOOD]:
        console.print(styled(f"note: {shorten(note, MAX_UNDERSTOOD_CHARS)}", style="yellow"), soft_wrap=True)
    if len(notes) > MAX_UNDERSTOOD:
        left = f"and {len(notes) - MAX_UNDERSTOOD} more notes (kapelle explain {run.run_id}{more})"
        console.print(styled(left, style="yellow"), soft_wrap=True)


def _notes_on_files(run: Run) -> list[str]:
    """Return what is to be known of the files that the answer is from, and then which files could not be read."""
    files = {file for task in run.tasks.values() for file in cited_files(task)}
    of_files = [note for note in run.notes if any(note.startswith((f"{file}:", f"{file} ")) for file in files)]
    left_out = [note for note in run.notes if " was left out: " in note and note not in of_files]
    return of_files + left_out


def _one_reading(reading: Mapping[str, str]) -> str:
    return shorten(" ".join(reading["understood"].split()), MAX_UNDERSTOOD_CHARS)
