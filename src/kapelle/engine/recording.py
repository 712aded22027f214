"""Where an engine records its runs: the ledger that it was given, the one that the environment names, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Self

from kapelle.errors import InvalidInput
from kapelle.ledger import Durability, EventWatcher, Journal, Ledger, Outcome, Run, Unrecorded, ledger_path, open_ledger

from .run_lease import Heartbeat, NoHeartbeat, RunLease


class Recording:
    """The part of an engine that writes its runs down."""

    ledger: Ledger
    _timer: Callable[[], float]
    _heartbeat: Callable[[], Heartbeat]
    _learn_from: Callable[[Outcome], None]

    def close(self) -> None:
        """Close the ledger. Closing twice is allowed."""
        self.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lease(self, run_id: str) -> RunLease:
        # Nothing has to be kept, or heard, where nobody else can know of the run.
        heartbeat = NoHeartbeat() if isinstance(self.ledger, Unrecorded) else self._heartbeat()
        return RunLease(self.ledger, run_id, heartbeat=heartbeat, timer=self._timer)

    def _journal(self, lease: RunLease, on_event: EventWatcher | None, before: Run | None = None) -> Journal:
        return Journal(
            self.ledger,
            lease.lease.run_id,
            lease=lease.lease,
            before=before,
            on_event=on_event,
            on_outcome=self._learn_from,  # what is learned, the next choice knows
            timer=self._timer,
        )


def choose_ledger(
    given: Ledger | Literal["default"] | None,
    durability: Durability | None,
    environ: Mapping[str, str],
    clock: Callable[[], float],
) -> Ledger:
    """Return what an engine records its runs in.

    Raises:
        InvalidInput: a durability is given for what the engine does not open, or a location, or something else that
            lacks what a ledger does, where a ledger should be.
    """
    if given == "default":
        return open_ledger(ledger_path(environ=environ), durability=durability, environ=environ)
    if isinstance(given, (str, Path)):
        raise InvalidInput(f"ledger={str(given)!r:.80} is no ledger. Open it: ledger=open_ledger({str(given)!r:.80}).")
    if durability is not None:
        raise InvalidInput(
            f"durability={durability!r:.40} is for the ledger that the engine opens, and this one was given a ledger, "
            "or none. Say it where that is opened: open_ledger(PATH, durability=...)."
        )
    if given is None:
        return Unrecorded(clock=clock)
    if isinstance(given, type):
        raise InvalidInput(
            f"ledger={given.__qualname__} is no ledger: it is a class. Give one: {given.__qualname__}(...)."
        )
    if lacking := [name for name in _DOES if not callable(getattr(given, name, None))]:
        raise InvalidInput(
            f"ledger={type(given).__name__} is no ledger: it lacks {', '.join(lacking)}. A ledger of your own has all "
            "methods of kapelle.ledger.Ledger."
        )
    return given


_DOES = tuple(name for name, what in vars(Ledger).items() if callable(what) and not name.startswith("_"))
"""What every ledger does. Found out before a run begins, where a method that is missing would end it in the middle."""
