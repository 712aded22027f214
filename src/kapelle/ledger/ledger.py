"""What a ledger does. Everything that learns, resumes or reports reads it; nothing else keeps history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .event import Event, EventKind, RunState
from .outcome import Outcome
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


class Ledger(Protocol):
    """Appends events and outcomes, and reads them back."""

    def new_run_id(self) -> str:
        """Return an id for a run that sorts by time."""
        ...

    def append(
        self,
        run_id: str,
        kind: EventKind,
        data: Mapping[str, Any] | None = None,
        *,
        task_id: str | None = None,
        outcomes: Sequence[Outcome] = (),
    ) -> Event:
        """Write one event, and the outcomes that belong to it, in one step."""
        ...

    def events(self, run_id: str) -> tuple[Event, ...]:
        """Return the events of a run in order."""
        ...

    def run(self, run_id: str) -> Run:
        """Return a run, rebuilt from its events."""
        ...

    def runs(self, *, limit: int = 20) -> tuple[RunSummary, ...]:
        """Return the newest runs, newest first."""
        ...

    def outcomes(self, *, agent: str | None = None, limit: int = 10_000) -> tuple[Outcome, ...]:
        """Return the newest outcomes, oldest of them first."""
        ...

    def close(self) -> None:
        """Release what the ledger holds. Closing twice is allowed."""
        ...
