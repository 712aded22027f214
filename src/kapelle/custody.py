"""Keeps a run in one engine's hands: holds its lease while work is done, and brings in what others post to it.

The lease is renewed long before it ends. Should another engine have taken the run over all the same (this process was
paused, the store was away), the run's next write is refused by its fence, and this engine stops there. Messages are
looked for every second: answers of people, and the wish that the run stop. Both go on beside the run and wait for
nobody; the store is asked in a thread, so that a slow one does not hold up agents.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from kapelle.errors import KapelleError, LeaseLost, RunBusy, TryAgain
from kapelle.ledger import Lease, Ledger, is_dead, this_process
from kapelle.redaction import get_logger

logger = get_logger(__name__)

LEASE_S = 30.0
"""How long a run stays with an engine that gives no sign of life, where nobody can tell that it is dead."""
TICK_S = 1.0
"""How often messages are looked for."""

_numbers = itertools.count(1)
_held: set[str] = set()
"""The owners in this process that hold a lease now: a fact about the process, which no object of it knows alone."""


class Custody:
    """Holds the lease of a run from `async with` to its end.

    Raises:
        RunBusy: another engine, which may be alive, works on the run.
    """

    def __init__(
        self, ledger: Ledger, run_id: str, *, lease_s: float | None = None, tick_s: float | None = None
    ) -> None:
        self._ledger = ledger
        self._run_id = run_id
        self._lease_s = LEASE_S if lease_s is None else lease_s
        self._tick_s = TICK_S if tick_s is None else tick_s
        self._owner = f"{this_process()}#{next(_numbers)}"
        self._keeper: asyncio.Task[None] | None = None
        self._hear: Callable[[Mapping[str, Mapping[str, Any]]], None] | None = None
        self._heard: set[str] = set()
        self.lease: Lease = acquire(ledger, run_id, self._owner, self._lease_s)
        _held.add(self._owner)

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._keep(), name=f"{self._run_id}:custody")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        _held.discard(self._owner)
        with suppress(KapelleError):  # what it guards is written; nobody waits longer than the lease lasts
            self._ledger.release_lease(self.lease)

    def listen(self, hear: Callable[[Mapping[str, Mapping[str, Any]]], None]) -> None:
        """Call `hear`, in the event loop, with new messages by their keys; those that are there already as well."""
        self._hear = hear
        self._heard.clear()

    async def fetch(self) -> None:
        """Look for messages now, and tell of them before this returns.

        Raises:
            TryAgain: the store cannot be asked.
        """
        found = await asyncio.to_thread(self._ledger.inbox, self._run_id)
        new = {key: message for key, message in found.items() if key not in self._heard}
        if new and self._hear is not None:
            self._heard.update(new)
            self._hear(new)

    async def _keep(self) -> None:
        passed_s = 0.0
        while True:
            await asyncio.sleep(self._tick_s)
            passed_s += self._tick_s
            try:
                if self._hear is not None:
                    await self.fetch()
                if passed_s >= self._lease_s / 3:
                    passed_s = 0.0
                    self.lease = await asyncio.to_thread(self._ledger.renew_lease, self.lease, self._lease_s)
            except LeaseLost as error:
                logger.warning("%s", error)
                return  # the run's next write is refused, which ends it
            except TryAgain as error:
                logger.info("Run %s: %s", self._run_id, error)


def acquire(ledger: Ledger, run_id: str, owner: str, lease_s: float) -> Lease:
    """Take the lease of a run; from a process that is certainly dead at once, without waiting for its end.

    Raises:
        RunBusy: another engine, which may be alive, works on the run.
    """
    try:
        return ledger.acquire_lease(run_id, owner, lease_s)
    except RunBusy as busy:
        ours = busy.owner.partition("#")[0] == this_process()
        # One of ours that has ended could not give it back: its store was away then.
        if not (is_dead(busy.owner) or (ours and busy.owner not in _held)):
            raise
        return ledger.acquire_lease(run_id, owner, lease_s, dead=busy.owner)
