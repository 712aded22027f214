"""A log of outcomes as it was read: the tasks, what each really cost, and every row that was refused. Values only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kapelle.estimates import LoggedOutcome, LoggedTask

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
