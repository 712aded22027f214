"""What reaches the loop of an execution: a queue, and what is said in it besides the jobs that have ended."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .work import Job


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RetryDue:
    """A failed job has waited long enough."""

    job: Job


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HedgeDue:
    """A job takes longer than most."""

    job: Job


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RestOver:
    """A service that asked to be left alone may be asked again, if it has not asked for more since."""

    service: str
    due: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OthersMayFollow:
    """The first job after a rest has not been told to wait for so long that others may follow."""

    job: Job


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PlaceFree:
    """A place of an agent is there for this run; or a thread that had kept one of its own has ended."""

    agent: str
    left_by: Job | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ThreadsAwaited:
    """Threads that go on after their time have kept all places of an agent for long."""

    agent: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MessagesArrived:
    """Messages have come in."""

    messages: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class StopRequested:
    """The run is to end before its tasks do."""

    reason: str
    state: Literal["stopped", "failed"] = "stopped"


class Reports:
    """A queue with one reader: asyncio's own, which has many, costs four times as much, and every task passes here.

    Made in the event loop that reads it.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reports: deque[Any] = deque()
        self._waiting: asyncio.Future[None] | None = None

    def put_nowait(self, report: Any) -> None:
        """Add a report; in the event loop only."""
        self._reports.append(report)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def put_from_anywhere(self, report: Any) -> None:
        """Add a report, from any thread; in vain where the loop was closed meanwhile."""
        try:
            self._loop.call_soon_threadsafe(self.put_nowait, report)
        except RuntimeError:
            return

    def put_later(self, seconds: float, report: Any) -> asyncio.TimerHandle:
        """Add a report after a while, unless the timer is cancelled before."""
        return self._loop.call_later(seconds, self.put_nowait, report)

    def empty(self) -> bool:
        """Whether there is none."""
        return not self._reports

    def get_nowait(self) -> Any:
        """Return the oldest report, which must be there."""
        return self._reports.popleft()

    async def get(self) -> Any:
        """Return the oldest report, as soon as there is one."""
        while not self._reports:
            self._waiting = self._loop.create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self._reports.popleft()
