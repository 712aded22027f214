"""Reads a run to tell, draw or rate it: without the events of its tasks' own work, which are most of a large one.

Not for who goes on with a run, or looks into what was done: these need all events.
"""

from __future__ import annotations

from functools import partial

from .history import StoredLedger
from .ledger import Ledger
from .rebuild import rebuild_run
from .run import Run

_rebuild = partial(rebuild_run, keeps_events=False)


def read_told(ledger: Ledger, run_id: str) -> Run:
    """Return a run as `Ledger.run` does, with those of its events alone that tell of it as a whole: see RunBuilder.

    A ledger of one's own gives all of them. The errors are those of `Ledger.run`.
    """
    return ledger.fold(run_id, _rebuild) if isinstance(ledger, StoredLedger) else ledger.run(run_id)
