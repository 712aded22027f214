"""No ledger: runs go on and give their results, and nothing of them is kept. For work that nobody asks about later.

It does what a run that is under way needs of a ledger, in memory and for as long as that run lasts: events get their
places, secrets are hidden in them, and whoever works on a run has its lease. What needs a record is refused by
saying so: nobody resumes, explains, rates or answers what was not written down.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from kapelle.errors import InvalidInput

from .event import Event, EventKind
from .kept import tell_events
from .lease import Lease
from .ledger import NewEvent, RunSummary, make_run_id
from .outcome import Outcome
from .question import Question
from .run import Run

if TYPE_CHECKING:
    from .collect import Collected


class Unrecorded:
    """Stands where a ledger would: see Engine, `ledger=None`.

    Args:
        clock: What time it is.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._lengths: dict[str, int] = {}
        """How many events the runs have that are under way."""

    def new_run_id(self) -> str:
        """Return an id for a run that sorts by time."""
        return make_run_id(self._clock())

    def now(self) -> float:
        """Return what time it is, in seconds since the epoch."""
        return self._clock()

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
        """Return the event as a ledger would; it is written nowhere."""
        new = NewEvent(at=self._clock(), kind=kind, task_id=task_id, data=data or {}, outcomes=outcomes)
        return self.append_all(run_id, (new,), fence=fence)[0]

    def append_all(self, run_id: str, new: Sequence[NewEvent], *, fence: int | None = None) -> tuple[Event, ...]:
        """Return the events as a ledger would; they are written nowhere."""
        with self._lock:
            first = self._lengths.get(run_id, 0)
            self._lengths[run_id] = first + len(new)
        return tell_events(new, run_id, first)

    def record(self, outcome: Outcome) -> None:
        """Refuse: there is nothing to write it into."""
        self._refuse()

    def events(self, run_id: str) -> tuple[Event, ...]:
        """Refuse: no run is kept."""
        self._refuse()

    def stream(self, run_id: str) -> Iterator[Event]:
        """Refuse: no run is kept."""
        self._refuse()

    def find_run(self, run_id: str) -> str:
        """Refuse: no run is kept."""
        self._refuse()

    def run(self, run_id: str) -> Run:
        """Refuse: no run is kept."""
        self._refuse()

    def outline(self, run_id: str) -> Run:
        """Refuse: no run is kept."""
        self._refuse()

    def excerpt(self, run_id: str, task_id: str) -> Run:
        """Refuse: no run is kept."""
        self._refuse()

    def runs(self, *, limit: int = 20) -> tuple[RunSummary, ...]:
        """Refuse: no run is kept."""
        self._refuse()

    def outcomes(self, *, agent: str | None = None, limit: int = 10_000) -> tuple[Outcome, ...]:
        """Return none: what runs show is learned while their engine lives. Refuse for one agent: people ask that."""
        if agent is not None:
            self._refuse()
        return ()

    def post(self, run_id: str, key: str, data: Mapping[str, Any]) -> None:
        """Refuse: a message would reach nobody."""
        self._refuse()

    def inbox(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Return no messages: there are none."""
        return {}

    def questions(self, run_id: str | None = None) -> tuple[Question, ...]:
        """Refuse: no question is kept."""
        self._refuse()

    def collect(self, before: float, *, dry_run: bool = False) -> Collected:
        """Refuse: there is nothing to forget."""
        self._refuse()

    def acquire_lease(self, run_id: str, owner: str, ttl_s: float, *, dead: str | None = None) -> Lease:
        """Give out the lease of a run, which nobody else can know of."""
        return Lease(run_id=run_id, owner=owner, fence=1, expires_at=math.inf)

    def renew_lease(self, lease: Lease, ttl_s: float) -> Lease:
        """Return the lease: it never ends."""
        return lease

    def release_lease(self, lease: Lease) -> None:
        """Forget the run."""
        with self._lock:
            self._lengths.pop(lease.run_id, None)

    def close(self) -> None:
        """Do nothing: nothing is held."""

    def _refuse(self) -> NoReturn:
        raise InvalidInput(
            "Nothing is recorded here (ledger=None): a run gives its result, and cannot be read, resumed, explained, "
            "rated, stopped or answered from outside. Give the engine a ledger: Engine(ledger=open_ledger(PATH))."
        )
