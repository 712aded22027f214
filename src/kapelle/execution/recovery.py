"""How it goes on after an attempt has failed. Pure: what has happened goes in, what to do comes out.

    what is so, the first that holds                                     what follows
    ------------------------------------------------------------------   --------------------------------------------
    another attempt at the same answer is under way                      LeaveToRival: it may still succeed
    its reason can pass, once more does no harm, retries are left        Retry, after a delay
    its strategy may have another step                                   AskStrategy
    another agent can do it, is affordable, and no person chose the one  TryAgent: the next best
    none of these                                                        FailTask, with what may be said of that

An attempt is judged first with what is known of it alone; where that gives `AskStrategy` and the strategy comes to
nothing as well, once more with `is_spent`.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from kapelle.allocation import PlanEstimates
from kapelle.estimates import Estimate
from kapelle.graph import Task

from .limits import RetryPolicy, is_repeatable


class FallbackChooser(Protocol):
    """Chooses the next best agent for a task.

    It is asked when a fallback is needed, not before: in a good run that is never, and estimating every agent for every
    task of a large graph takes longer than running it. Of pinned tasks it is never asked. What it finds is held to what
    the plan was: the agent can do the task, and its cost is reserved before it starts.
    """

    def choose_fallback(self, task: Task, tried: Collection[str], plan: PlanEstimates) -> tuple[str, Estimate] | None:
        """Return an agent that can do the task and was not tried, with what it is expected to take; None if none is.

        `plan` is what the tasks of the graph, as it is now, are expected to take.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedAttempt:
    """An attempt at a task that has failed, and all that decides how it goes on."""

    task: Task
    rival_goes_on: bool = False
    """Whether another attempt at the same answer is under way."""
    can_pass: bool = False
    """Whether its reason can pass, so that the same call may succeed later."""
    times_failed: int = 1
    """How often the agent has failed at the task, this attempt included."""
    max_retries: int = 0
    is_spent: bool = False
    """Whether the strategy of the task has no other step."""
    candidate: tuple[str, Estimate] | None = None
    """Another agent that can do the task, and what it is expected to take."""
    left_usd: float = 0.0
    """What is left of the budget."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaveToRival:
    """The other attempt at the same answer decides."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """The same agent is asked once more, after a while."""

    delay_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class AskStrategy:
    """The strategy of the task says what comes next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TryAgent:
    """Another agent does the task."""

    agent: str
    expected: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class FailTask:
    """The task has failed."""

    remark: str = ""
    """What else is to be said of why."""


Recovery = LeaveToRival | Retry | AskStrategy | TryAgent | FailTask


def recover(failure: FailedAttempt, policy: RetryPolicy, chance: random.Random | None = None) -> Recovery:
    """Return how it goes on: see the table above. `chance` draws the delay of a retry."""
    task = failure.task
    if not failure.is_spent:
        if failure.rival_goes_on:
            return LeaveToRival()
        if failure.can_pass and is_repeatable(task) and failure.times_failed <= failure.max_retries:
            return Retry(delay_s=policy.delay_s(failure.times_failed, chance or random.Random(task.task_id)))
        return AskStrategy()
    if failure.candidate is None or not is_repeatable(task):
        return FailTask()
    agent, expected = failure.candidate
    if task.approval:  # who does it, for how much, is what a person was shown and said yes to
        return FailTask(
            remark=f" {agent} might do it, but a person approved another agent for it: name it in the plan."
        )
    if expected.cost_usd > failure.left_usd:
        left = f"of the budget ${failure.left_usd:.4g} is left."
        return FailTask(remark=f" {agent} might do it for ${expected.cost_usd:.4g}, but {left}")
    return TryAgent(agent=agent, expected=expected)
