"""The places of agents, shared by all runs of an engine: no agent is ever asked more often at once than it allows.

A place is taken when a job starts and is free again once its call has really ended: a thread that goes on after its
time keeps it, whatever has become of its run. Runs that want a place where none is free stand in a line, one entry
each; a place that is given back is promised to the first of them, and who wants yet another stands at the end again. So
no run starves, however many tasks the others have. A call that runs something with its engine itself waits for that: it
has no place meanwhile, or runs within calls would wait for each other for ever. Called from any thread: the runs of an
engine may have event loops of their own, and one whose loop was closed under it has ended. Not covered: other engines,
in this process or another.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Self
from weakref import WeakKeyDictionary, WeakSet


class AgentPlaces:
    """Counts who has which places, and knows who is next.

    Args:
        places_of: How many jobs an agent does at the same time.
    """

    def __init__(self, places_of: Callable[[str], int]) -> None:
        self.places_of = places_of
        self.lock = threading.RLock()  # a run that the garbage collector ends, at any moment, takes it too
        self.taken: Counter[str] = Counter()
        """Per agent, places that are taken or promised. Where one is free, nobody stands in line."""
        self.kept: Counter[str] = Counter()
        """Per agent, those of the taken whose jobs were given up, and whose threads go on."""
        self.given_s: dict[str, float] = {}
        """Per agent, how long the last of these calls had been given."""
        self.lines: dict[str, deque[RunPlaces]] = {}
        """Per agent, the runs that wait for a place."""
        self.runs: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakSet[RunPlaces]] = WeakKeyDictionary()
        """By event loop, those that may not have ended."""

    def join(
        self,
        wake: Callable[[str], None],
        loop: asyncio.AbstractEventLoop | None = None,
        end: Callable[[], None] = lambda: None,
    ) -> RunPlaces:
        """Return the places as one run sees them.

        Args:
            wake: Tells the run that there is news of an agent it waits for; called from any thread.
            loop: Where the run is; None for one that cannot be lost.
            end: Ends what is left of a run whose event loop was closed.
        """
        run = RunPlaces(self, wake, end)
        if loop is not None:
            with self.lock:
                self.runs.setdefault(loop, WeakSet()).add(run)
        return run

    def end_lost(self) -> None:
        """End the runs whose event loops were closed under them: nothing else would ever free their places."""
        with self.lock:
            lost = [self.runs.pop(loop) for loop in [*self.runs] if loop.is_closed()]
        for run in [run for runs in lost for run in runs]:
            run.end()
            run.close()

    def free(self, agent: str, run: RunPlaces | None = None, *, was_kept: bool = False) -> bool:
        """Let the next run have a place that is free; return whether that is the run that gave it back."""
        if self.lines.get(agent):
            self.end_lost()
        with self.lock:
            self.taken[agent] -= 1
            if was_kept:
                self.kept[agent] -= 1
                self.kept += Counter()  # without those that have none any more
            line = self.lines.get(agent)
            if not line or self.taken[agent] >= self.places_of(agent):
                return False
            next_run = line.popleft()
            next_run.promised[agent] += 1
            self.taken[agent] += 1
        if next_run is not run:
            next_run.wake(agent)
        return next_run is run


class RunPlaces:
    """The places of agents as one run sees them. Made by `AgentPlaces.join`; used in the run's event loop."""

    def __init__(
        self, shared: AgentPlaces, wake: Callable[[str], None], end: Callable[[], None] = lambda: None
    ) -> None:
        self._shared = shared
        self.wake, self.end = wake, end
        self.promised: Counter[str] = Counter()
        """Per agent, places that nobody else takes until this run has said that it does not want them."""
        self._held: Counter[str] = Counter()
        outer = _OUTER.get()
        self._outer = outer if outer is not None and outer.shared is shared else None
        if self._outer is not None:
            self._outer.begin_run()

    def take(self, agent: str) -> bool:
        """Take a place, or else stand in line for one."""
        shared = self._shared
        if not self._try_take(agent):
            shared.end_lost()
            if not self._try_take(agent, or_wait=True):
                return False
        self._held[agent] += 1
        return True

    def _try_take(self, agent: str, *, or_wait: bool = False) -> bool:
        shared = self._shared
        with shared.lock:
            if self.promised[agent]:
                self.promised[agent] -= 1
            elif shared.taken[agent] < shared.places_of(agent):
                shared.taken[agent] += 1
            else:
                line = shared.lines.setdefault(agent, deque())
                if or_wait and self not in line:
                    line.append(self)
                return False
        return True

    def inside(self, agent: str) -> AbstractContextManager[object]:
        """Let runs that a call begins know whose place it has; entered in the asyncio task of the job."""
        return _Call(self._shared, agent)

    def give_back(self, agent: str) -> bool:
        """The call in a place has ended; return whether this run is the next."""
        self._held[agent] -= 1
        return self._shared.free(agent, self)

    def keep(self, agent: str, given_s: float, when_ended: Callable[[Callable[[], None]], None]) -> None:
        """A call was given up, and its thread goes on: its place is free when that has ended, with the run or without.

        Args:
            given_s: How many seconds it had.
            when_ended: Has what it is given called as soon as that thread has ended; from any thread.
        """
        shared = self._shared
        self._held[agent] -= 1
        with shared.lock:
            shared.kept[agent] += 1
            shared.given_s[agent] = given_s
            waiting = list(shared.lines.get(agent, ()))
        for run in waiting:
            run.wake(agent)  # it may have to wait for long

        def free() -> None:
            shared.free(agent, was_kept=True)

        when_ended(free)

    def pass_on(self, agent: str) -> None:
        """Let others have what was promised and is not wanted now."""
        with self._shared.lock:
            count = self.promised.pop(agent, 0)
        for _ in range(count):
            self._shared.free(agent, self)

    def is_waiting(self, agent: str) -> bool:
        """Whether this run will be told of a place."""
        with self._shared.lock:
            return self.promised[agent] > 0 or self in self._shared.lines.get(agent, ())

    @property
    def any_kept(self) -> bool:
        """Whether a thread whose time is over has a place of any agent."""
        return bool(self._shared.kept)

    def given_s(self, agent: str) -> float:
        """Return how many seconds the last call had that goes on in a place of an agent."""
        return self._shared.given_s.get(agent, 0.0)

    def is_kept_by_threads(self, agent: str) -> bool:
        """Whether all places of an agent are taken by threads whose time is over."""
        kept = self._shared.kept
        return bool(kept) and kept[agent] >= self._shared.places_of(agent)

    def close(self) -> None:
        """The run has ended: it waits for nothing, and its places are free but for those that threads keep."""
        with self._shared.lock:
            for line in self._shared.lines.values():
                if self in line:
                    line.remove(self)
            held, self._held = self._held, Counter()
            outer, self._outer = self._outer, None
        if outer is not None:
            outer.end_run()
        for agent in list(self.promised):
            self.pass_on(agent)
        for agent, count in held.items():
            for _ in range(count):
                self._shared.free(agent)


class _Call:
    """A call of an agent, which may run something with the same engine; from any thread."""

    def __init__(self, shared: AgentPlaces, agent: str) -> None:
        self.shared = shared
        self._agent = agent
        self._runs = 0
        self._has_ended = False

    def __enter__(self) -> Self:
        _OUTER.set(self)  # never reset: the task has a context of its own, and a call that has ended counts for nothing
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin_run(self) -> None:
        """A run within the call begins: with the first, its place is for others."""
        with self.shared.lock:
            self._runs += 1
            is_first = self._runs == 1 and not self._has_ended
        if is_first:
            self.shared.free(self._agent)

    def end_run(self) -> None:
        """A run within the call has ended: after the last it goes on, whether there is a place for it by now or not."""
        with self.shared.lock:
            self._runs -= 1
            if not (self._runs or self._has_ended):
                self.shared.taken[self._agent] += 1

    def end(self) -> None:
        """The call has ended; runs that it began may go on."""
        with self.shared.lock:
            self._has_ended = True
            if self._runs:
                self.shared.taken[self._agent] += 1


_OUTER: ContextVar[_Call | None] = ContextVar("kapelle_call", default=None)
"""The call within which something is run."""
