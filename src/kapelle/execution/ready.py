"""The jobs that are ready to start, the most urgent first, as far as their agents have places free.

Taking a job takes a place with its agent; whoever takes one gives it back with `leave`. A job whose agent has none
waits apart, so that a busy agent costs nobody else a look. There may be fewer places for this run than an agent has for
all: as many as can be paid. What that depends on is not known here.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager

from .places import RunPlaces
from .start_order import Rank
from .work import Job, Work

_Waiting = tuple[Rank, int, Job]
"""With a number among all: equals go in the order in which they became ready."""


class ReadyJobs:
    """A priority queue of jobs with a limited number of places per agent.

    Args:
        limit_of: How many jobs of this run an agent does at the same time.
        places: Those of all runs.
    """

    def __init__(self, limit_of: Callable[[str], int], places: RunPlaces) -> None:
        self._limit_of = limit_of
        self._places = places
        self._limits: dict[str, int] = {}
        self._held: set[str] = set()
        """Agents that are not to be asked now."""
        self._stuck: set[str] = set()
        """Agents for whose places nobody waits any more: see `stop_waiting_for`."""
        self._offered: set[str] = set()
        """Agents of whom a place may have been promised since jobs were started last."""
        self._ranks: Mapping[str, Rank] = {}
        self._ready: list[_Waiting] = []
        self._parked: dict[str, list[_Waiting]] = defaultdict(list)
        """Jobs whose agent is busy, by agent."""
        self._postponed: list[_Waiting] = []
        self._busy: dict[str, int] = defaultdict(int)
        self._kept: dict[str, int] = defaultdict(int)
        """Per agent, those of its busy places whose jobs were given up, and whose threads go on."""
        self._count = itertools.count()

    def rank(self, ranks: Mapping[str, Rank]) -> None:
        """Rank tasks anew, by task id, and forget all jobs; those that still wait are pushed again."""
        self._ranks = ranks
        self._ready, self._postponed = [], []
        self._parked.clear()

    def push(self, job: Job) -> None:
        """Let a job wait for its turn."""
        heapq.heappush(self._ready, (self._ranks[job.work.task.task_id], next(self._count), job))

    def pop(self) -> Job | None:
        """Return the most urgent job whose agent has a place free, and take that place; None if there is none.

        Jobs of an agent that is not waited for have none.
        """
        while self._ready:
            waiting = heapq.heappop(self._ready)
            job, agent = waiting[-1], waiting[-1].agent
            if agent is None or (self._stuck and self.is_stuck(agent)):
                return job
            busy, limit = self._busy[agent], self._limits.get(agent)
            if limit is None:
                limit = self._limits[agent] = self._limit_of(agent)
            may_ask = busy < limit and agent not in self._held
            if may_ask and self._places.take(agent):
                self._busy[agent] = busy + 1
                job.has_place = True
                if agent in self._offered:
                    self._wake(agent)  # there may be more places; if there are not, it stands in line once more
                return job
            heapq.heappush(self._parked[agent], waiting)
        for agent in self._offered:
            self._places.pass_on(agent)
        self._offered.clear()
        return None

    def leave(self, job: Job) -> None:
        """Give back the place that a job took; the most urgent job that waits for it has its turn."""
        if job.agent is None or not job.has_place:
            return
        job.has_place = False
        self._busy[job.agent] -= 1
        if self._places.give_back(job.agent):
            self._offered.add(job.agent)
        self._wake(job.agent)

    def leave_late(self, job: Job, given_s: float, when_ended: Callable[[Callable[[], None]], None]) -> None:
        """Give back the place of a job that was given up, once its thread has ended: see `RunPlaces.keep`."""
        assert job.agent is not None
        job.has_place = False
        self._kept[job.agent] += 1
        self._places.keep(job.agent, given_s, when_ended)

    def offer(self, agent: str, left_by: Job | None = None) -> None:
        """There is news of an agent that is waited for: a place of it, or that a thread keeps or has left one."""
        if left_by is not None:
            self._busy[agent] -= 1
            self._kept[agent] -= 1
        self._offered.add(agent)
        self._wake(agent)

    def kept_agents(self) -> dict[str, float]:
        """Return the agents that are waited for and all of whose places are taken by threads whose time is over; each
        with how many seconds the last of these calls had."""
        if not (self._kept or self._places.any_kept):
            return {}
        kept = [agent for agent, parked in self._parked.items() if parked and self._is_kept(agent)]
        return {agent: self._places.given_s(agent) for agent in kept}

    def stop_waiting_for(self, agent: str) -> None:
        """Take the jobs of an agent without a place, as long as threads keep them all."""
        self._stuck.add(agent)
        while self._parked[agent]:
            self._wake(agent)

    def is_stuck(self, agent: str) -> bool:
        """Whether nobody waits for the places of an agent any more."""
        if agent in self._stuck and not self._is_kept(agent):
            self._stuck.discard(agent)
        return agent in self._stuck

    def _is_kept(self, agent: str) -> bool:
        kept = self._kept.get(agent, 0)
        return (0 < kept == self._busy[agent] >= self._limits[agent]) or self._places.is_kept_by_threads(agent)

    def allow(self, agent: str, limit: int) -> None:
        """From now on an agent does so many jobs of this run at the same time."""
        more = limit - self._limits.get(agent, limit)
        self._limits[agent] = limit
        for _ in range(more):
            self._wake(agent)

    def hold(self, agent: str) -> None:
        """Take no job of an agent until it is let go; those that have begun go on."""
        self._held.add(agent)

    def let_go(self, agent: str) -> None:
        """An agent may be asked again."""
        self._held.discard(agent)
        for _ in range(self._limits.get(agent, 1) - self._busy[agent]):
            self._wake(agent)

    def is_waited_for(self, agents: Iterable[str]) -> bool:
        """Whether a job waits for one of these agents."""
        return any(self._parked.get(agent) for agent in agents)

    @property
    def is_waiting_for_threads(self) -> bool:
        """Whether a job waits for a place that a thread of this run keeps."""
        return bool(self._kept) and any(parked and self._kept.get(agent) for agent, parked in self._parked.items())

    @property
    def is_waiting_for_runs(self) -> bool:
        """Whether a job waits for a place that another run has, or has left behind: this one will be told of it."""
        return any(parked and self._places.is_waiting(agent) for agent, parked in self._parked.items())

    def postpone(self, job: Job) -> None:
        """Put a job aside that has a place and cannot be paid now; see `retry`."""
        self.leave(job)
        self._postponed.append((self._ranks[job.work.task.task_id], next(self._count), job))

    def retry(self) -> bool:
        """Let the jobs that were put aside have another turn; return whether there are any."""
        if not self._postponed:
            return False
        for waiting in self._postponed:
            heapq.heappush(self._ready, waiting)
        self._postponed.clear()
        return True

    def drop(self, work: Work, job: Job | None = None) -> None:
        """Forget the jobs of a task that is over, or one of them."""
        if job is None and not work.waiting:
            return

        def is_dropped(waiting: _Waiting) -> bool:
            return waiting[-1] is job if job is not None else waiting[-1].work is work

        # A job that leaves here may have been woken for a free place: then it is the turn of another.
        agents = {waiting[-1].agent for waiting in self._ready if is_dropped(waiting)}
        for queue in (self._ready, self._postponed, *self._parked.values()):
            queue[:] = [waiting for waiting in queue if not is_dropped(waiting)]
            heapq.heapify(queue)
        for agent in agents:
            if agent is not None:
                self._wake(agent)

    def inside(self, agent: str) -> AbstractContextManager[object]:
        """Make a call in a place that was taken: see `RunPlaces.inside`."""
        return self._places.inside(agent)

    def close(self) -> None:
        """The run has ended: nothing waits, and its places are free but for those that threads keep."""
        self._places.close()

    def _wake(self, agent: str) -> None:
        """Let the most urgent job that waits for an agent have its turn; it waits on if no place is free after all."""
        if self._parked[agent]:
            heapq.heappush(self._ready, heapq.heappop(self._parked[agent]))
