"""A log of outcomes as it was read: the tasks, what each really cost, and every row that was refused.

The outcomes of kapelle's own ledger become one for `kapelle savings` and `kapelle learn` alike. Of these only what
something measured counts: a task of which nobody knows how right any answer was is left out, and that is told. An agent
that tried several times at a task counts with all that it spent, and with how it ended.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kapelle.errors import InvalidInput
from kapelle.estimates import LoggedOutcome, LoggedTask
from kapelle.ledger import Outcome, SqliteLedger
from kapelle.strategies import Checks, read_outcomes

MAX_LISTED = 1_000
"""Refused rows that are kept with their reasons; all of them are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowProblem:
    """A row, or one outcome in it, that was refused."""

    line: int
    """In the file, the first is 1; in the ledger the number of the outcome, oldest first."""
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Log:
    """What was read, and what was not."""

    source: str
    """The file as it was named."""
    tasks: tuple[LoggedTask, ...]
    as_logged: tuple[LoggedOutcome, ...]
    """For each task what it really cost and reached: the ledger's attempts added up and the last one's quality; in
    other logs the mean of the outcomes seen."""
    rows: int
    """Outcomes that were read, the refused ones among them."""
    refused: int = 0
    problems: tuple[RowProblem, ...] = ()
    """The first of the refused, at most MAX_LISTED."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Which column was taken for what."""
    notes: tuple[str, ...] = ()
    """What the reader decided that its user should know."""
    newest_at: float = 0.0
    """When the newest outcome of a ledger ended, in seconds since the epoch; 0 for other logs."""

    @property
    def agents(self) -> tuple[str, ...]:
        """Every agent that was seen, sorted."""
        return tuple(sorted({agent for task in self.tasks for agent in task.outcomes}))

    def seen_counts(self) -> dict[str, int]:
        """Return for each agent in how many tasks it was seen."""
        return dict(Counter(agent for task in self.tasks for agent in task.outcomes))


def log_of_tasks(tasks: Sequence[LoggedTask], *, source: str) -> Log:
    """Return logged tasks as a log; those without an outcome are left out."""
    seen = tuple(task for task in tasks if task.outcomes)
    return Log(
        source=source,
        tasks=seen,
        as_logged=tuple(mean_outcome(list(task.outcomes.values())) for task in seen),
        rows=sum(len(task.outcomes) for task in seen),
    )


def mean_outcome(seen: list[LoggedOutcome]) -> LoggedOutcome:
    """Return the mean of several outcomes, with the first answer that there is."""
    if len(seen) == 1:
        return seen[0]
    count = len(seen)
    return LoggedOutcome(
        quality=min(1.0, math.fsum(one.quality for one in seen) / count),
        cost_usd=math.fsum(one.cost_usd for one in seen) / count,
        seconds=math.fsum(one.seconds for one in seen) / count,
        output=next((one.output for one in seen if one.output is not None), None),
    )


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
        newest_at=max(row.at for row in rows),
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
