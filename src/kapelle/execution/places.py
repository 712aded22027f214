"""The places of agents, shared by all runs of an engine: no agent is ever asked more often at once than it allows.

A place is taken when a job starts and is free again once its call has really ended: a thread that goes on after its
time keeps it, whatever has become of its run. Runs that want a place where none is free stand in a line, one entry
each; a place that is given back is promised to the first of them, and who wants yet another stands at the end again. So
no run starves, however many tasks the others have. Called from any thread: the runs of an engine may have event loops
of their own. Not covered: other engines, in this process or another.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable


class AgentPlaces:
    """Counts who has which places, and knows who is next.

    Args:
        places_of: How many jobs an agent does at the same time.
    """

    def __init__(self, places_of: Callable[[str], int]) -> None:
        self.places_of = places_of
        self.lock = threading.Lock()
        self.taken: Counter[str] = Counter()
        """Per agent, places that are taken or promised. Where one is free, nobody stands in line."""
        self.kept: Counter[str] = Counter()
        """Per agent, those of the taken whose jobs were given up, and whose threads go on."""
        self.given_s: dict[str, float] = {}
        """Per agent, how long the last of these calls had been given."""
        self.lines: dict[str, deque[RunPlaces]] = {}
        """Per agent, the runs that wait for a place."""

    def join(self, wake: Callable[[str], None]) -> RunPlaces:
        """Return the places as one run sees them.

        Args:
            wake: Tells the run that there is news of an agent it waits for; called from any thread.
        """
        return RunPlaces(self, wake)

    def free(self, agent: str, run: RunPlaces | None = None, *, was_kept: bool = False) -> bool:
        """Let the next run have a place that is free; return whether that is the run that gave it back."""
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

    def __init__(self, shared: AgentPlaces, wake: Callable[[str], None]) -> None:
        self._shared = shared
        self.wake = wake
        self.promised: Counter[str] = Counter()
        """Per agent, places that nobody else takes until this run has said that it does not want them."""
        self._held: Counter[str] = Counter()

    def take(self, agent: str) -> bool:
        """Take a place, or else stand in line for one."""
        shared = self._shared
        with shared.lock:
            if self.promised[agent]:
                self.promised[agent] -= 1
            elif shared.taken[agent] < shared.places_of(agent):
                shared.taken[agent] += 1
            else:
                line = shared.lines.setdefault(agent, deque())
                if self not in line:
                    line.append(self)
                return False
        self._held[agent] += 1
        return True

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
        for agent in list(self.promised):
            self.pass_on(agent)
        for agent, count in self._held.items():
            for _ in range(count):
                self._shared.free(agent)
        self._held.clear()
