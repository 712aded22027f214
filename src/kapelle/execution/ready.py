"""The jobs that are ready to start, the most urgent first, and the places that agents have free for them.

Taking a job takes a place with its agent; whoever takes one gives it back with `leave`. A job whose agent has none
waits apart, so that a busy agent costs nobody else a look. What may be paid is not known here.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from kapelle.graph import TaskDAG

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
        self._known: dict[str, int] = {}
        self._held: set[str] = set()
        """Agents that are not to be asked now."""
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
                busy = self._busy[job.agent]
                places = self._known.get(job.agent)
                if places is None:
                    places = self._known[job.agent] = self._places(job.agent)
                if busy >= places or job.agent in self._held:
                    heapq.heappush(self._parked[job.agent], waiting)
                    continue
                self._busy[job.agent] = busy + 1
            return job
        return None

    def leave(self, job: Job) -> None:
        """Give back the place that a job took; the most urgent job that waits for it has its turn."""
        if job.agent is None:
            return
        self._busy[job.agent] -= 1
        self._wake(job.agent)

    def allow(self, agent: str, places: int) -> None:
        """From now on an agent does so many jobs at the same time."""
        more = places - self._known.get(agent, places)
        self._known[agent] = places
        for _ in range(more):
            self._wake(agent)

    def hold(self, agent: str) -> None:
        """Take no job of an agent until it is let go; those that have begun go on."""
        self._held.add(agent)

    def let_go(self, agent: str) -> None:
        """An agent may be asked again."""
        self._held.discard(agent)
        for _ in range(self._known.get(agent, 1) - self._busy[agent]):
            self._wake(agent)

    def is_waited_for(self, agents: Iterable[str]) -> bool:
        """Whether a job waits for one of these agents."""
        return any(self._parked.get(agent) for agent in agents)

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

    def _wake(self, agent: str) -> None:
        """Let the most urgent job that waits for an agent have its turn; it waits on if no place is free after all."""
        if self._parked[agent]:
            heapq.heappush(self._ready, heapq.heappop(self._parked[agent]))


def rank_tasks(dag: TaskDAG, seconds: Mapping[str, float], passed_s: float = 0.0) -> dict[str, Rank]:
    """Return how urgent each task is: by its user's priority, then by the latest moment at which it may begin.

    What an urgent task waits for is as urgent: priorities are inherited (Sha, Rajkumar and Lehoczky, "Priority
    inheritance protocols", IEEE Transactions on Computers 1990).

    That moment is the end of the plan less the longest expected path from the task to there, so that without deadlines
    the longest path goes first (Hu 1961). A deadline, the task's own or of one that depends on it, makes the moment
    earlier if it is too close for that. Among equals the plan's order decides, so that a run is repeatable.

    Args:
        seconds: What each task is expected to take.
        passed_s: For how long the run has been worked on; deadlines count from its start.
    """
    urgency = dag.urgency(seconds)
    end = max(urgency.values(), default=0.0)
    latest = {task_id: end - path for task_id, path in urgency.items()}
    if any(task.deadline_s is not None for task in dag):
        due: dict[str, float] = {}
        for task_id in reversed(dag.topological_order()):
            own = dag[task_id].deadline_s
            moments = [due[after] for after in dag.dependents(task_id) if after in due]
            if own is not None:
                moments.append(own - passed_s)
            if moments:
                due[task_id] = min(moments) - seconds[task_id]
                latest[task_id] = min(latest[task_id], due[task_id])
    priority = {task.task_id: task.priority for task in dag}
    if any(priority.values()):
        for task_id in reversed(dag.topological_order()):
            priority[task_id] = max(priority[name] for name in (task_id, *dag.dependents(task_id)))
    return {
        task.task_id: (-priority[task.task_id], latest[task.task_id], position) for position, task in enumerate(dag)
    }
