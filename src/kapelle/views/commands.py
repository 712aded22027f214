"""The commands that go on from here: with a run, a question, one of several readings. Prints nothing."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping

from kapelle.ledger import Question, Run, printable

MAX_COMMANDS = 9
"""Options of a question for which the command is spelt out."""


def next_command(run: Run) -> str | None:
    """Return the command that goes on with a run, with the limits that it needs; None if it is done or at work."""
    if run.state in ("done", "planning", "running"):
        return None
    command = f"kapelle resume {run.run_id}"
    budget, deadline = run.settings.get("budget_usd"), run.settings.get("deadline_s")
    ahead = {name: task.state not in ("done", "expanded") for name, task in run.tasks.items()}
    expected = {name: run.estimates.get(name, {}) if is_ahead else {} for name, is_ahead in ahead.items()}
    if isinstance(budget, (int, float)):
        needed = run.cost_usd + math.fsum(float(one.get("cost_usd", 0.0)) for one in expected.values())
        short = any("budget" in (task.reason or "") for task in run.tasks.values() if task.state == "skipped")
        if short or needed > budget:  # where it fell short, what was expected was too little
            command += f" --budget {max(1.25 * budget, 1.1 * needed):.2g}"
    if isinstance(deadline, (int, float)) and run.active_seconds >= 0.9 * deadline:
        seconds = {name: float(one.get("seconds", 0.0)) for name, one in expected.items()}
        path_s = run.graph.critical_path(seconds).seconds if run.graph is not None and seconds else 0.0
        command += f" --deadline {math.ceil(max(deadline, 1.5 * path_s))}"
    return command


def reading_command(run: Run, reading: Mapping[str, str]) -> str:
    """Return the command that asks for one of several readings: its query, over the folder of the run."""
    origin = run.settings.get("origin")
    data = origin.get("data") if isinstance(origin, Mapping) else None
    return (
        f"kapelle run {shlex.quote(reading['sql'])} --data {shlex.quote(data) if isinstance(data, str) else 'FOLDER'}"
    )


def answer_commands(question: Question) -> tuple[str, ...]:
    """Return the commands that answer a question, ready to be copied."""
    if question.kind == "approval":
        return (f"kapelle approve {question.question_id}", f"kapelle reject {question.question_id} --note WHY")
    answer = f"kapelle answer {question.question_id}"
    # What cannot be shown as it is cannot be copied either.
    if not 0 < len(question.options) <= MAX_COMMANDS or any(
        "\n" in option or printable(option) != option or option.startswith("-") for option in question.options
    ):
        return (f"{answer} VALUE", *(f"  one of: {option}" for option in question.options))
    return tuple(f"{answer} {shlex.quote(option)}" for option in question.options)
