"""The outcomes of kapelle's own ledger as a log, for `kapelle savings` and `kapelle learn` alike.

Only what something measured counts: a task of which nobody knows how right any answer was is left out, and that is
told. An agent that tried several times at a task counts with all that it spent, and with how it ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from kapelle.errors import InvalidInput
from kapelle.estimates import LoggedOutcome
from kapelle.ledger import Outcome, SqliteLedger
from kapelle.strategies import Checks, read_outcomes

from .log import Log

MAX_LEDGER_ROWS = 1_000_000
"""Outcomes that are read from a ledger, the newest."""


def read_ledger(file: Path) -> Log:
    """Return the log that a ledger's outcomes are.

    Raises:
        InvalidInput: there are none, or nothing measured how good any of them was.
    """
    with SqliteLedger(file, read_only=True) as ledger:
        outcomes = ledger.outcomes(limit=MAX_LEDGER_ROWS)
    return log_of_outcomes(outcomes, source=str(file))[0]


def log_of_outcomes(outcomes: Iterable[Outcome], *, source: str) -> tuple[Log, Checks]:
    """Return outcomes as a log, and the checks with the verdicts that they tell of.

    Raises:
        InvalidInput: there are none, or nothing measured how good any of them was.
    """
    rows = tuple(outcomes)
    if not rows:
        raise InvalidInput(f"{source} has no outcomes to learn from yet. Run something first, or give a log.")
    found, checks = read_outcomes(rows)
    tasks = tuple(task for task in found if task.outcomes)
    if not tasks:
        raise InvalidInput(
            f"{source} has no outcomes to learn from yet: nothing has measured how good any answer was. Give "
            "validators, rate answers (kapelle rate RUN good), or give a log."
        )
    tried: dict[str, list[Outcome]] = {}
    for row in rows:
        tried.setdefault(f"{row.run_id}/{row.task_id}", []).append(row)
    notes = [] if any(task.text for task in tasks) else ["The ledger keeps no texts: routing can go by type alone."]
    unchecked = sum(row.success and row.quality is None for row in rows)
    if unchecked:
        notes.append(
            f"Nothing measured how right {unchecked:,} of {len(rows):,} outcomes were: those are left out. Give "
            "validators, or rate answers with `kapelle rate`."
        )
    log = Log(
        source=source,
        tasks=tasks,
        as_logged=tuple(_as_it_was(tried[task.task_id]) for task in tasks),
        rows=len(rows),
        notes=tuple(notes),
    )
    return log, checks


def _as_it_was(tried: list[Outcome]) -> LoggedOutcome:
    """Return what a task really took, of everyone who was asked, and how the last one did of whom that is known."""
    known = [one for one in tried if one.quality is not None or one.completed is False]
    return LoggedOutcome(
        quality=(known[-1].quality if known else None) or 0.0,
        cost_usd=math.fsum(one.cost_usd for one in tried),
        seconds=math.fsum(one.seconds for one in tried),
    )
