"""What a ledger does. Everything that learns, resumes or reports reads it; nothing else keeps history."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .collect import Collected
from .event import Event, EventKind, RunState
from .lease import Lease
from .outcome import Outcome
from .question import Question
from .run import Run


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """A run in one line."""

    run_id: str
    request: str
    state: RunState
    started_at: float
    """Seconds since the epoch."""
    seconds: float | None
    tasks_done: int
    cost_usd: float
    """As in `Run`: planning and failed tasks included."""


def make_run_id(now: float) -> str:
    """Return an id for a run that starts now: sorts by time, and is short enough to type."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{os.urandom(3).hex()}"


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEvent:
    """What is to be written of one thing that happened, before it has its place in its run."""

    at: float
    """Seconds since the epoch, by the ledger's clock."""
    kind: EventKind
    task_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    outcomes: Sequence[Outcome] = ()
    """Those that belong to it, and are written with it."""


class Ledger(Protocol):
    """Appends events and outcomes, and reads them back."""

    def new_run_id(self) -> str:
        """Return an id for a run that sorts by time."""
        ...

    def now(self) -> float:
        """Return what time it is by the clock that events are dated by, in seconds since the epoch."""
        ...

    def append(
        self,
        run_id: str,
        kind: EventKind,
        data: Mapping[str, Any] | None = None,
        *,
        task_id: str | None = None,
        outcomes: Sequence[Outcome] = (),
        fence: int | None = None,
    ) -> Event:
        """Write one event, and the outcomes that belong to it, in one step.

        With the fence of a lease nothing is written, and LeaseLost is raised, unless that lease is the current one.
        """
        ...

    def append_all(self, run_id: str, new: Sequence[NewEvent], *, fence: int | None = None) -> tuple[Event, ...]:
        """Write several events of a run, in their order, and what belongs to them: all in one step, or nothing.

        See `append` for the fence.
        """
        ...

    def record(self, outcome: Outcome) -> None:
        """Write an outcome that belongs to no event of ours: history that a user imports, or what people say of it."""
        ...

    def events(self, run_id: str) -> tuple[Event, ...]:
        """Return the events of a run in order."""
        ...

    def find_run(self, run_id: str) -> str:
        """Return the whole id of a run of which a beginning is given, or `last`. Nothing of it is read."""
        ...

    def run(self, run_id: str) -> Run:
        """Return a run, rebuilt from its events."""
        ...

    def outline(self, run_id: str) -> Run:
        """Return a run without its tasks, its graph and its figures: how it was started, and where it stands."""
        ...

    def runs(self, *, limit: int = 20) -> tuple[RunSummary, ...]:
        """Return the newest runs, newest first."""
        ...

    def outcomes(self, *, agent: str | None = None, limit: int = 10_000) -> tuple[Outcome, ...]:
        """Return the newest outcomes, oldest of them first: without what people had forgotten, and as they rated it."""
        ...

    def post(self, run_id: str, key: str, data: Mapping[str, Any]) -> None:
        """Leave a message for the engine that works on a run, or will. A key is used once: the first one counts."""
        ...

    def inbox(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Return all messages to a run by their keys, oldest first."""
        ...

    def questions(self, run_id: str | None = None) -> tuple[Question, ...]:
        """Return what the tasks of one run, or of all, wait for people to answer, oldest first."""
        ...

    def collect(self, before: float, *, dry_run: bool = False) -> Collected:
        """Forget runs that ended before a time (seconds since the epoch), but not their outcomes: see collect."""
        ...

    def acquire_lease(self, run_id: str, owner: str, ttl_s: float, *, dead: str | None = None) -> Lease:
        """Take the right to work on a run for so many seconds, or raise RunBusy; from an owner that is dead at once."""
        ...

    def renew_lease(self, lease: Lease, ttl_s: float) -> Lease:
        """Hold a lease for so many seconds more, or raise LeaseLost."""
        ...

    def release_lease(self, lease: Lease) -> None:
        """Give a lease back. Doing it twice, or when it is lost, is allowed."""
        ...

    def close(self) -> None:
        """Release what the ledger holds. Closing twice is allowed."""
        ...
