"""Decides whether what a run answered is the truth. Knows nothing of how a question was understood."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kapelle.agents import SOURCED_TYPES
from kapelle.graph import render_output
from kapelle.ledger import Run

Rows = Sequence[Sequence[Any]]

TOLERANCE = 0.005
"""Of numbers that are not whole: averages are shown rounded."""


def answered_rows(run: Run) -> list[list[Any]]:
    """Return the rows that a run ended with: those of its last look-ups, on which tables and texts of others rest."""
    assert run.graph is not None
    graph = run.graph
    found = [task_id for task_id, task in graph.tasks.items() if task.task_type in SOURCED_TYPES]
    used = {before for task_id in found for before in graph.dependencies(task_id)}
    return [row for task_id in found if task_id not in used for row in _rows_of(run.tasks[task_id].output)]


def _rows_of(output: Any) -> list[list[Any]]:
    if not isinstance(output, dict):
        return [[render_output(output)]]
    if isinstance(output.get("rows"), list):
        return [list(row) for row in output["rows"]]
    if isinstance(fact := output.get("fact"), dict):
        return [[fact.get("subject"), fact.get("value")]]
    return [[output.get("answer", output.get("text"))]]


def is_same(truth: Rows, answered: Rows, *, ordered: bool) -> bool:
    """Whether the answer has the rows of the truth and no others; each of its rows may hold more values.

    >>> is_same([["Anna"]], [["Anna", 73000]], ordered=False)
    True
    >>> is_same([["Anna"]], [["Anna"], ["Bruno"]], ordered=False)
    False
    """
    if ordered:
        return len(truth) == len(answered) and all(map(_holds, answered, truth))
    left = list(answered)
    if len({tuple(map(repr, row)) for row in truth}) == len(truth):  # else rows that are alike count one by one
        left = list({tuple(map(repr, row)): row for row in answered}.values())
    for row in truth:
        match = next((other for other in left if _holds(other, row)), None)
        if match is None:
            return False
        left.remove(match)
    return not left


def _holds(answered: Sequence[Any], row: Sequence[Any]) -> bool:
    left = list(answered)
    for value in row:
        place = next((place for place, other in enumerate(left) if _is_value(value, other)), None)
        if place is None:
            return False
        del left[place]
    return True


def _is_value(truth: Any, answered: Any) -> bool:
    if truth is None or answered is None:
        return truth in (None, "") and answered in (None, "")
    wanted, given = _number(truth), _number(answered)
    if wanted is not None and given is not None:
        if wanted.is_integer() and given.is_integer():
            return wanted == given
        return abs(wanted - given) <= TOLERANCE * abs(wanted)
    said, text = (" ".join(str(value).casefold().split()) for value in (truth, answered))
    if said in ("yes", "no"):
        return said == {"true": "yes", "false": "no"}.get(text) or re.match(r"\w*", text)[0] == said  # type: ignore[index]  # \w* always matches
    return said == text


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value.replace(",", "") if isinstance(value, str) else value)
    except ValueError:
        return None


def says(accepted: Sequence[str], answer: str) -> bool:
    """Whether an answer in words holds one of the texts; its list of sources is not looked at."""
    text = " ".join(answer.split("\n## Sources")[0].casefold().split())
    return any(" ".join(one.casefold().split()) in text for one in accepted)
