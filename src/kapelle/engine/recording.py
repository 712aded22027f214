"""Where an engine records its runs: the ledger that it was given, the one that the environment names, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from kapelle.errors import InvalidInput
from kapelle.ledger import Durability, Ledger, Unrecorded, ledger_path, open_ledger

from .run_lease import Heartbeat, NoHeartbeat


def choose_ledger(
    given: Ledger | Literal["default"] | None,
    durability: Durability | None,
    environ: Mapping[str, str],
    clock: Callable[[], float],
) -> Ledger:
    """Return what an engine records its runs in.

    Raises:
        InvalidInput: a durability is given for what the engine does not open, or a location where a ledger should be.
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
    return Unrecorded(clock=clock) if given is None else given


def choose_heartbeat(ledger: Ledger, make: Callable[[], Heartbeat]) -> Heartbeat:
    """Return what keeps the lease of a run: nothing has to where nobody else can know of it."""
    return NoHeartbeat() if isinstance(ledger, Unrecorded) else make()
