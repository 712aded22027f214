"""One run's pen: every event goes to the ledger first, and then to whoever watches the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .event import Event, EventKind
from .lease import Lease
from .ledger import Ledger
from .outcome import Outcome
from .rebuild import rebuild_run
from .run import Run

logger = logging.getLogger(__name__)

EventWatcher = Callable[[Event], None]


class Journal:
    """Writes the events of one run, under its lease if there is one; a renewed lease has the same fence.

    What a watcher raises is logged, and never ends the run: the ledger has it all.
    """

    def __init__(
        self,
        ledger: Ledger,
        run_id: str,
        *,
        lease: Lease | None = None,
        on_event: EventWatcher | None = None,
        on_outcome: Callable[[Outcome], None] | None = None,
    ) -> None:
        self.run_id = run_id
        self._ledger = ledger
        self._fence = None if lease is None else lease.fence
        self._on_event = on_event
        self._on_outcome = on_outcome
        self._events: list[Event] = []

    def write(
        self,
        kind: EventKind,
        data: Mapping[str, Any] | None = None,
        *,
        task_id: str | None = None,
        outcomes: Sequence[Outcome] = (),
    ) -> None:
        """Write one event, with the outcomes that belong to it. It is durable when this returns.

        Raises:
            LeaseLost: the journal writes under a lease, and another has taken the run over. Nothing is written.
        """
        event = self._ledger.append(self.run_id, kind, data, task_id=task_id, outcomes=outcomes, fence=self._fence)
        self._events.append(event)
        if self._on_outcome is not None:
            for outcome in outcomes:
                self._on_outcome(outcome)
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception:
                logger.exception("A watcher of run %s failed at %r; it is not called again.", self.run_id, kind)
                self._on_event = None

    def run(self) -> Run:
        """Return the run as its events tell it so far."""
        return rebuild_run(self._events)
