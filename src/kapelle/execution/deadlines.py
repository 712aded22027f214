"""How long an attempt may take, and how much time is left: by its task, its agent, the run. Sets no alarm."""

from __future__ import annotations

from collections.abc import Callable

from kapelle.agents import AgentRegistry
from kapelle.graph import Task

from .limits import ExecutionLimits


class Deadlines:
    """The times of one execution, which begins now.

    Args:
        timer: Seconds that pass, wherever they begin.
        active_s: For how long the run had been worked on before.
    """

    def __init__(
        self, limits: ExecutionLimits, agents: AgentRegistry, timer: Callable[[], float], active_s: float
    ) -> None:
        self._limits, self._agents, self._active_s = limits, agents, active_s
        self.now = timer
        self._started = timer()

    def seconds_since(self, started: float | None) -> float:
        """Return what has passed since a moment; nothing where there was none."""
        return 0.0 if started is None else max(0.0, self.now() - started)

    def seconds_for(self, task: Task, agent: str | None) -> float | None:
        """Return how long an attempt may take: as the task says, or else its agent, or else the limits of the run."""
        own = self._agents[agent].timeout_s if task.timeout_s is None and agent is not None else task.timeout_s
        limit_s = self._limits.task_timeout_s if own is None else own
        return limit_s if task.deadline_s is None else _least(limit_s, self.seconds_to(task.deadline_s))

    def seconds_left(self, task: Task, agent: str | None) -> float | None:
        """Return how long an attempt may take that begins now, the deadline of the run included."""
        deadline_s = self._limits.deadline_s
        left_s = None if deadline_s is None else max(0.0, deadline_s - (self.now() - self._started))
        known = agent if agent in self._agents else None  # a replanner is none
        return _least(self.seconds_for(task, known), left_s)

    def seconds_to(self, deadline_s: float) -> float:
        """Return the seconds until a task's deadline; none once it has passed."""
        return max(0.0, deadline_s - (self._active_s + self.now() - self._started))

    def has_passed(self, task: Task) -> bool:
        """Whether a task's deadline is over."""
        return task.deadline_s is not None and self.seconds_to(task.deadline_s) == 0.0


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)
