"""OptimizationConstraints: what the user asks of a whole plan. A value; it is checked here, and kept elsewhere.

It is the documented form in which an optimiser takes `RunLimits`, with what only choosing agents knows of: capacities,
single tasks, pins. `OptimizationConstraints.of` makes one of the limits of a run.

What speaks of tasks can only be checked against a graph: see `check_tasks`. Refuses to guess what a malformed limit
may have meant.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Self, TypeGuard

from kapelle.errors import InvalidInput
from kapelle.limits import RunLimits


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizationConstraints:
    """Limits that a plan must keep. What is None is no limit.

    Quality is counted as a lower confidence bound of the chance of success: an agent that did two tasks of two well is
    not yet one that succeeds. Bounds are averaged as if they were all wrong at once, because tasks of one agent share
    that agent's error; so the plan's figure errs on the safe side.

    Raises:
        InvalidInput: a limit is negative or not a number, a quality lies outside 0..1, a name is no text.
    """

    max_total_cost: float | None = None
    """Dollars for the whole plan."""
    max_total_time: float | None = None
    """Seconds along the critical path: the longest chain of tasks, if nothing has to queue."""
    min_quality_score: float | None = None
    """The least share of the plan's tasks that is expected to succeed, counted by lower confidence bounds.

    None asks for 0.85 as expected, or for what the initial plan reaches where that is less; and of work that is done
    by agents who are proven that good, also that the lower bound falls no further than that. So nobody's tasks go to
    agents that are cheap because they fail, and proven work not to agents of whom less is known; and a plan is never
    refused for a quality that no one asked for.
    """
    agent_capacity: Mapping[str, int] = field(default_factory=dict)
    """The most tasks of the plan that an agent may get, for agents that are limited."""
    min_task_quality: float | Mapping[str, float] | None = None
    """The least chance of success of every single task; or of some, by task id."""
    confidence: float | None = None
    """How sure it is to be that a chance of success is no less than it is counted for: 0.5 or more, below 1.

    None takes the profiler's bounds, and lets a plan begin: where no agent was tried often enough to be proven good at
    a task, those that are hardly tried count with what is expected of them, and the plan says so. With a figure nothing
    counts but what is proven.
    """
    pinned: Collection[str] = frozenset()
    """Ids of tasks that keep the agents they have in the initial plan."""

    def __post_init__(self) -> None:
        for name in ("max_total_cost", "max_total_time", "min_quality_score"):
            value = getattr(self, name)
            if value is not None and not is_amount(value):
                raise InvalidInput(f"{name} is {value!r}; it must be a finite number, zero or more, or None.")
        if self.min_quality_score is not None and self.min_quality_score > 1:
            raise InvalidInput(f"min_quality_score is {self.min_quality_score!r}; it is a share, at most 1.")
        for agent, capacity in self.agent_capacity.items():
            if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 0:
                raise InvalidInput(
                    f"agent_capacity[{agent!r}] is {capacity!r}; it must be a whole number, zero or more."
                )
        if isinstance(self.min_task_quality, Mapping):
            for task_id, least in self.min_task_quality.items():
                _require_share(f"min_task_quality[{task_id!r}]", least)
            object.__setattr__(self, "min_task_quality", dict(self.min_task_quality))
        elif self.min_task_quality is not None:
            _require_share("min_task_quality", self.min_task_quality)
        if self.confidence is not None and not (is_amount(self.confidence) and 0.5 <= self.confidence < 1):
            raise InvalidInput(f"confidence is {self.confidence!r}; it must be 0.5 or more and less than 1, or None.")
        if isinstance(self.pinned, str) or not all(isinstance(task_id, str) for task_id in self.pinned):
            raise InvalidInput(f"pinned is {self.pinned!r:.80}; give the ids of tasks.")
        object.__setattr__(self, "agent_capacity", dict(self.agent_capacity))
        object.__setattr__(self, "pinned", frozenset(self.pinned))

    @classmethod
    def of(cls, limits: RunLimits, *, pinned: Collection[str] = frozenset()) -> Self:
        """Return what the limits of a run ask of its plan."""
        return cls(
            max_total_cost=limits.left_usd,
            max_total_time=limits.deadline_s,
            min_quality_score=limits.min_quality,
            pinned=pinned,
        )

    def check_tasks(self, known: Collection[str], assigned: Collection[str]) -> None:
        """Check the tasks that are named against those of a graph, and of a plan for it.

        Raises:
            InvalidInput: `min_task_quality` or `pinned` names a task that is not there.
        """
        named = self.min_task_quality if isinstance(self.min_task_quality, Mapping) else {}
        for task_id in named:
            if task_id not in known:
                raise InvalidInput(f"min_task_quality names the task {task_id!r}, which is not in the graph. {_CHECK}")
        for task_id in sorted(self.pinned):
            if task_id not in assigned:
                where = "the plan gives it to nobody" if task_id in known else "it is not in the graph"
                raise InvalidInput(f"pinned names the task {task_id!r}, but {where}. {_CHECK}")

    def floor(self, task_id: str) -> float:
        """Return the least quality that is asked of one task."""
        if isinstance(self.min_task_quality, Mapping):
            return self.min_task_quality.get(task_id, 0.0)
        return self.min_task_quality or 0.0


_CHECK = "Check its id."


def is_amount(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number, zero or more."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _require_share(name: str, value: object) -> None:
    if not (is_amount(value) and value <= 1):
        raise InvalidInput(f"{name} is {value!r}; it must be a share from 0 to 1.")
