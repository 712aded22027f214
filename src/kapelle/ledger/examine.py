"""Looks into a ledger for what may be wrong with it, and changes nothing: what `kapelle doctor` tells of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from kapelle.errors import InvalidInput
from kapelle.redaction import hide_password

from .history import StoredLedger
from .ledger import RunSummary
from .location import file_location, is_postgres_url
from .owner import is_dead
from .postgres_connection import connect, import_driver, refusal
from .rebuild import rebuild_run
from .run import Run


class Examination:
    """What can be asked about a ledger that is open.

    Args:
        now: What time it is for leases: see lease.
        version: Of its tables.
        try_write: Raises what a writer would meet, and leaves nothing behind.
    """

    def __init__(
        self, ledger: StoredLedger, now: Callable[[], float], *, version: int, try_write: Callable[[], None]
    ) -> None:
        self._ledger = ledger
        self._now = now
        self.version = version
        self.try_write = try_write

    def check_run(self, run_id: str) -> int | None:
        """Check that a run is as it was written and can be read; return from which event on it is chained.

        None is a run that is in no chain: it is from before there were any, so that only its sense could be checked.

        Raises:
            LedgerCorrupt: it is not, or cannot be; the message names the event.
        """
        events = self._ledger.events(run_id)
        if events:  # it may have been collected since it was listed
            rebuild_run(events)
        return self._ledger.chained_from(run_id)

    def abandoned(self) -> tuple[str, ...]:
        """Return the runs that are under way, but nobody works on them: no lease, or its owner is dead."""
        found = self._ledger.under_way(self._now())
        return tuple(run_id for run_id, lease in found.items() if lease is None or is_dead(lease.owner))

    def as_it_is(self, run: Run) -> Run:
        """Return a run as it is now: its events alone do not tell that the engine which wrote them is dead."""
        if run.state not in ("planning", "running") or run.run_id not in self.abandoned():
            return run
        reason = "The engine that worked on it is gone: it was killed, or its machine went down."
        return replace(run, state="interrupted", stop_reason=reason)

    def as_they_are(self, runs: Iterable[RunSummary]) -> tuple[RunSummary, ...]:
        """Return runs as they are now: see `as_it_is`."""
        found, gone = tuple(runs), set(self.abandoned())
        return tuple(
            replace(one, state="interrupted") if one.run_id in gone and one.state in ("planning", "running") else one
            for one in found
        )


def try_making(location: str) -> None:
    """Check that a ledger can be made at a place where there is none. Nothing is left there.

    Raises:
        InvalidInput: it cannot.
        LedgerBusy: the server cannot be reached.
    """
    if is_postgres_url(location):
        _try_server(location)
    elif location != ":memory:":
        target = Path(file_location(location)).expanduser().absolute()
        _try_folder(next(folder for folder in target.parents if folder.exists()))


def _try_server(url: str) -> None:
    place = hide_password(url)
    connection = connect(url)
    try:
        ((may_create,),) = connection.execute(
            "SELECT has_database_privilege(current_database(), 'CREATE')"
        ).fetchall()  # fmt: skip
    except import_driver().Error as error:
        raise refusal(error, place) from error
    finally:
        connection.close()
    if not may_create:
        raise InvalidInput(
            f"The user of {place!r} may not make a ledger there. Let its owner grant CREATE on the database."
        )


def _try_folder(folder: Path) -> None:
    import tempfile  # a ledger that is there needs none

    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"0")
    except OSError as error:
        raise InvalidInput(
            f"No ledger can be made in {str(folder)!r}: {error.strerror or error}. Name another with --db."
        ) from error
