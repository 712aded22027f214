"""Keeps a run in one engine's hands: holds its lease while work is done, and brings in what others post to it.

The lease is renewed long before it ends, again and again until it is lost for certain. Should another engine have taken
the run over (this process was paused, the store was away), the run's next write is refused by its fence, and this
engine stops there. Messages are looked for every second: answers of people, and the wish that the run stop.

Both are done by a heartbeat beside the event loop, on a thread of its own: agents that block the loop, or fill its pool
of threads, do not take the lease away. A store that fails for a while is asked again with the next beat.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from kapelle.errors import LeaseLost, RunBusy
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


class Heartbeat(Protocol):
    """Calls a function again and again, beside the event loop and whatever that does."""

    def start(self, beat: Callable[[], None], every_s: float) -> None:
        """Call `beat`, which never raises, every so many seconds until this is stopped."""
        ...

    async def beat_now(self) -> None:
        """Have it called once more, and return when it was."""
        ...

    async def stop(self) -> None:
        """Call it no more; it is not being called when this returns."""
        ...


class ThreadHeartbeat:
    """A heartbeat on a thread of its own, which ends with the program whatever happens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._asked: list[concurrent.futures.Future[None]] = []
        """Resolved once a beat that began after they were made is over; at the end of the thread in any case."""
        self._is_stopping = False
        self._has_stopped = False

    def start(self, beat: Callable[[], None], every_s: float) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, args=(beat, every_s), daemon=True, name="kapelle-heartbeat").start()

    async def beat_now(self) -> None:
        """Wake the thread, and wait until its beat is over."""
        await self._ask()

    async def stop(self) -> None:
        """Let the thread end, and wait for that."""
        self._is_stopping = True
        await self._ask()

    async def _ask(self) -> None:
        asked: concurrent.futures.Future[None] = concurrent.futures.Future()
        with self._lock:
            if self._has_stopped:
                return
            self._asked.append(asked)
        self._wake.set()
        await asyncio.wrap_future(asked)

    def _run(self, beat: Callable[[], None], every_s: float) -> None:
        while not self._is_stopping:
            self._wake.wait(every_s)
            self._wake.clear()
            with self._lock:
                asked, self._asked = self._asked, []
            if not self._is_stopping:
                beat()
            self._resolve(asked)
        with self._lock:
            self._has_stopped = True
        self._resolve(self._asked)

    def _resolve(self, asked: list[concurrent.futures.Future[None]]) -> None:
        for one in asked:
            if one.set_running_or_notify_cancel():  # whoever asked may have been cancelled
                one.set_result(None)


class NoHeartbeat:
    """A heartbeat of what nobody else knows of: there is no lease to keep, and nothing to hear."""

    def start(self, beat: Callable[[], None], every_s: float) -> None:
        """Start nothing."""

    async def beat_now(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""


class RunLease:
    """Holds the lease of a run from `async with` to its end.

    Args:
        heartbeat: What renews the lease and looks for messages; by default a thread.
        timer: Seconds that pass, wherever they begin: when a renewal is due goes by it.

    Raises:
        RunBusy: another engine, which may be alive, works on the run.
    """

    def __init__(
        self,
        ledger: Ledger,
        run_id: str,
        *,
        lease_s: float | None = None,
        tick_s: float | None = None,
        heartbeat: Heartbeat | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._run_id = run_id
        self._lease_s = LEASE_S if lease_s is None else lease_s
        self._tick_s = TICK_S if tick_s is None else tick_s
        self._owner = f"{this_process()}#{next(_numbers)}"
        self._heartbeat: Heartbeat = heartbeat or ThreadHeartbeat()
        self._timer = timer
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hear: Callable[[Mapping[str, Mapping[str, Any]]], None] | None = None
        self._heard: set[str] = set()
        self._is_lost = False
        _held.add(self._owner)  # before it is seen in the ledger: nobody takes it for one of the dead
        try:
            self.lease: Lease = acquire(ledger, run_id, self._owner, self._lease_s)
        except BaseException:
            _held.discard(self._owner)
            raise
        self._began = self._renewed = timer()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._heartbeat.start(self._beat, self._tick_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._heartbeat.stop()
        finally:
            _held.discard(self._owner)
            try:
                self._ledger.release_lease(self.lease)
            except Exception as problem:  # what it guards is written; nobody waits longer than the lease lasts
                logger.info("Run %s: its lease was not given back: %s", self._run_id, problem)

    @property
    def owner(self) -> str:
        """The engine that holds it, as the ledger knows it."""
        return self.lease.owner

    @property
    def is_fresh(self) -> bool:
        """Whether it began so recently that there is nothing to be heard yet."""
        return self._timer() - self._began < self._tick_s

    def listen(self, hear: Callable[[Mapping[str, Mapping[str, Any]]], None]) -> None:
        """Call `hear`, in the event loop, with new messages by their keys; those that are there already as well."""
        self._heard = set()
        self._hear = hear

    async def fetch(self) -> None:
        """Look for messages now, and tell of them before this returns, unless the store cannot be asked."""
        await self._heartbeat.beat_now()

    def _beat(self) -> None:
        """Renew the lease if that is due, and look for messages. Called beside the event loop."""
        for do in (self._renew, self._look):  # in this order: an inbox that takes long to read delays no renewal
            try:
                do()
            except Exception as error:  # whatever a store raises while it is out of order: the next beat tries again
                logger.warning("Run %s: %s", self._run_id, error)

    def _look(self) -> None:
        hear, heard = self._hear, self._heard
        if hear is None or self._loop is None:
            return
        found = self._ledger.inbox(self._run_id)
        new = {key: message for key, message in found.items() if key not in heard}
        if new:
            heard.update(new)
            self._loop.call_soon_threadsafe(hear, new)

    def _renew(self) -> None:
        now = self._timer()
        if self._is_lost or now - self._renewed < self._lease_s / 3:
            return
        try:
            self.lease = self._ledger.renew_lease(self.lease, self._lease_s)
        except LeaseLost:
            self._is_lost = True  # the run's next write is refused, which ends it
            raise
        self._renewed = now


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
