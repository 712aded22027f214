"""Jobs under way, each an asyncio task with a limit to its time, and what reaches the loop of an execution: its queue.

A job that has ended, or whose time is over, is reported once. An agent that ignores its cancellation holds up nobody:
it is left to itself, and what it still returns no longer counts. Starts and cancels; decides and writes nothing.

Reports are named tuples: every first run of a process makes their classes, which takes a third of a dataclass's time.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from kapelle.redaction import get_logger

from .error_reports import describe_error
from .work import Job


class RetryDue(NamedTuple):
    """A failed job has waited long enough."""

    job: Job


class HedgeDue(NamedTuple):
    """A job takes longer than most."""

    job: Job


class RestOver(NamedTuple):
    """A service that asked to be left alone may be asked again, if it has not asked for more since."""

    service: str
    due: float


class OthersMayFollow(NamedTuple):
    """The first job after a rest has not been told to wait for so long that others may follow."""

    job: Job


class PlaceFree(NamedTuple):
    """A place of an agent is there for this run; or a thread that had kept one of its own has ended."""

    agent: str
    left_by: Job | None = None


class ThreadsAwaited(NamedTuple):
    """Threads that go on after their time have kept all places of an agent for long."""

    agent: str


class MessagesArrived(NamedTuple):
    """Messages have come in."""

    messages: Mapping[str, Mapping[str, Any]]


class StopRequested(NamedTuple):
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


logger = get_logger(__name__)


class RunningJobs:
    """The jobs that run now.

    Args:
        report: Called with a job that has ended, once.
    """

    def __init__(self, report: Callable[[Job], None]) -> None:
        self._report = report
        self._alarm: asyncio.TimerHandle | None = None
        """Rings when the first time that was due has come; most jobs are gone by then, so that it rarely rings."""
        self._jobs: dict[int, Job] = {}
        """By the job's own id, in the order in which they started."""
        self._abandoned: set[asyncio.Task[Any]] = set()
        """Tasks whose time was over and that have not ended yet."""

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def __contains__(self, job: Job) -> bool:
        return id(job) in self._jobs

    def start(self, job: Job, doing: Coroutine[Any, Any, Any], name: str, seconds: float | None) -> None:
        """Start a job, which may take so many seconds."""
        self._jobs[id(job)] = job
        loop = asyncio.get_running_loop()
        job.running = begin_task(loop, doing, name=name)
        job.running.add_done_callback(lambda _: self._ended(job))
        if seconds is not None:
            job.seconds, job.due = seconds, loop.time() + seconds
            if self._alarm is None or job.due < self._alarm.when():
                self._set_alarm(job.due)

    def leave(self, job: Job) -> None:
        """A job was taken in: it is under way no more."""
        del self._jobs[id(job)]
        if job.late is not None:
            job.late.cancel()

    def give_up(self, job: Job, reason: str) -> None:
        """Cancel a job, whose result no longer counts."""
        assert job.running is not None
        if not job.running.done():
            self._abandoned.add(job.running)
            cancel_task(job.running)
        elif not job.running.cancelled():
            job.running.exception()  # seen: asyncio does not complain of an error that nobody waits for any more
        job.expired = job.expired or reason

    async def cancel(self, jobs: list[Job], grace_s: float) -> bool:
        """Cancel jobs, and let them tidy up for a while; return whether we were cancelled, which means: at once."""
        works = {job.running for job in jobs if job.running is not None}
        for work in works:
            work.cancel()
        if works:
            try:
                await asyncio.wait(works, timeout=grace_s)
            except asyncio.CancelledError:
                logger.info("Stopped once more while agents tidied up; they are left to themselves.")
                return True
        return False

    def close(self) -> None:
        """Let nothing outlive the run: not even an agent whose time was over."""
        for work in self._abandoned:
            cancel_task(work)
        if self._alarm is not None:
            self._alarm.cancel()

    def _ended(self, job: Job) -> None:
        assert job.running is not None
        if job.expired is None:
            self._report(job)
        else:
            self._abandoned.discard(job.running)
            if not job.running.cancelled() and (error := job.running.exception()) is not None:
                logger.info("Task %r failed after its time was over: %s", job.work.task.task_id, describe_error(error))

    def _set_alarm(self, due: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_at(due, self._expire)

    def _expire(self) -> None:
        """The time of some jobs is over."""
        now = asyncio.get_running_loop().time()
        self._alarm = None
        for job in self:
            assert job.running is not None
            if job.due <= now and not job.running.done() and job.expired is None:
                self.give_up(job, f"It took longer than its {job.seconds:g} s.")
                self._report(job)
        # One that has ended and was not taken in yet, as while a run is being stopped, has no time to be over.
        going_on = (job for job in self if job.expired is None and job.running is not None and not job.running.done())
        following = min((job.due for job in going_on), default=math.inf)
        if following < math.inf:
            self._set_alarm(max(following, now))


def begin_task(
    loop: asyncio.AbstractEventLoop, doing: Coroutine[Any, Any, Any], *, name: str | None = None
) -> asyncio.Task[Any]:
    """Make a task that begins when the loop gets to it, also where tasks begin eagerly: its start is written first."""
    if loop.get_task_factory() is not None:
        doing = _next_turn(doing)
    return loop.create_task(doing, name=name)


async def _next_turn(doing: Coroutine[Any, Any, Any]) -> Any:
    try:
        await asyncio.sleep(0)
    except BaseException:  # cancelled before it began, or the loop ends: nobody else would close it
        doing.close()
        raise
    return await doing


def cancel_task(work: asyncio.Task[Any]) -> None:
    """Cancel a task, unless its event loop was closed, which has ended it."""
    if not work.get_loop().is_closed():
        work.cancel()
