"""The jobs that are ready to start, the most urgent first, and the places that agents have free for them.

Taking a job takes a place with its agent; whoever takes one gives it back with `leave`. A job whose agent has none
waits apart, so that a busy agent costs nobody else a look. What may be paid is not known here.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping

from .work import Job, Work

Rank = tuple[float, float, int]
"""Smaller is more urgent."""
_Waiting = tuple[Rank, int, Job]
"""With a number among all: equals go in the order in which they became ready."""


class ReadyJobs:
    """A priority queue of jobs with a limited number of places per agent.

    Args:
        places: How many jobs an agent does at the same time.
    """

    def __init__(self, places: Callable[[str], int]) -> None:
        self._places = places
        self._ranks: Mapping[str, Rank] = {}
        self._ready: list[_Waiting] = []
        self._parked: dict[str, list[_Waiting]] = defaultdict(list)
        """Jobs whose agent is busy, by agent."""
        self._postponed: list[_Waiting] = []
        self._busy: dict[str, int] = defaultdict(int)
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
        """Return the most urgent job whose agent has a place free, and take that place; None if there is none."""
        while self._ready:
            waiting = heapq.heappop(self._ready)
            job = waiting[-1]
            if job.agent is not None:
                if self._busy[job.agent] >= self._places(job.agent):
                    heapq.heappush(self._parked[job.agent], waiting)
                    continue
                self._busy[job.agent] += 1
            return job
        return None

    def leave(self, job: Job) -> None:
        """Give back the place that a job took; the most urgent job that waits for it has its turn."""
        if job.agent is None:
            return
        self._busy[job.agent] -= 1
        if self._parked[job.agent]:
            heapq.heappush(self._ready, heapq.heappop(self._parked[job.agent]))

    def postpone(self, job: Job) -> None:
        """Put a job aside that has a place and cannot be paid now; see `retry`."""
        self.leave(job)
        self._postponed.append((self._ranks[job.work.task.task_id], next(self._count), job))

    def retry(self) -> None:
        """Let the jobs that were put aside have another turn."""
        for waiting in self._postponed:
            heapq.heappush(self._ready, waiting)
        self._postponed.clear()

    def drop(self, work: Work) -> None:
        """Forget the jobs of a task that is over."""
        if not work.waiting:
            return
        for queue in (self._ready, self._postponed, *self._parked.values()):
            queue[:] = [waiting for waiting in queue if waiting[-1].work is not work]
            heapq.heapify(queue)
