"""How long things may take, how often they are tried, and when a second attempt may race a first. Decides only.

Made again is what failed for a reason that can pass: a provider that is overloaded, a connection that broke, a worker
that died. What was refused, what an agent could not do, and what took too long is not: the same call would end the
same. Nor is a task of high risk, for the failed attempt may have done half of its work.

The delay doubles with every attempt, up to a limit, and the whole of it is drawn by chance ("full jitter", Brooker,
AWS Architecture Blog 2015), so that tasks which failed together do not come back together.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from kapelle.agents import AgentRegistry
from kapelle.errors import InvalidInput
from kapelle.failures import sort_failure
from kapelle.graph import Task
from kapelle.redaction import get_logger

logger = get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How often a failed attempt is made again.

    Raises:
        InvalidInput: there is no such number of attempts, or a delay is negative or not finite.
    """

    max_attempts: int = 3
    """With the same agent, the first one included; 1 never retries."""
    first_delay_s: float = 1.0
    """The longest wait before the second attempt."""
    max_delay_s: float = 30.0
    """The longest wait before any attempt, but for what a service asks for itself."""
    max_rest_s: float = 300.0
    """The longest that tasks wait for a service which asks to be left alone (`Retry-After`). None of them calls it
    meanwhile, whichever was told so; where it asks for more, they fail or go to other agents at once."""
    may_pass: Callable[[BaseException], bool] | None = field(default=None, compare=False)
    """Says of an agent's error whether its reason can pass; None leaves it to `kapelle.failures`. One that fails
    itself, or answers neither yes nor no, is passed over, and that is logged."""

    def __post_init__(self) -> None:
        delays = (self.first_delay_s, self.max_delay_s, self.max_rest_s)
        if self.max_attempts < 1 or not all(math.isfinite(delay) and delay >= 0 for delay in delays):
            raise InvalidInput(f"{self!r} is no policy: give one attempt or more, and delays of zero seconds or more.")

    def can_pass(self, error: BaseException) -> bool:
        """Return whether the reason of a failure can pass, so that the same call may succeed later."""
        if self.may_pass is not None:
            try:
                found = self.may_pass(error)
                if isinstance(found, bool):
                    return found
                logger.warning("RetryPolicy.may_pass gave %r, which is neither yes nor no.", type(found).__name__)
            except Exception as problem:  # the user's own
                logger.warning("RetryPolicy.may_pass raised %s.", type(problem).__name__)
        return sort_failure(error).may_pass

    def delay_s(self, failures: int, chance: random.Random) -> float:
        """Return how long to wait after so many failures, one or more."""
        return chance.uniform(0, min(self.max_delay_s, self.first_delay_s * 2.0 ** (failures - 1)))


def is_repeatable(task: Task) -> bool:
    """Whether doing the task twice does no harm."""
    return task.risk != "high"


@dataclass(frozen=True, kw_only=True, slots=True)
class HedgePolicy:
    """When a straggler gets a rival: another attempt at the same task, of which the first good answer is taken.

    The tail of a service's latency is cut by asking twice where the first answer is late (Dean and Barroso, "The tail
    at scale", CACM 2013). It costs a second call, so it is off unless it is asked for, is paid only from what the
    expected cost of all that is still to do leaves of the budget, and is never done for tasks of high risk.

    Raises:
        InvalidInput: `after` is not above 0, or a count or time is negative.
    """

    after: float = 1.0
    """How late an attempt must be: in times of what 95 % of attempts take at most, by the agent's estimate."""
    least_s: float = 1.0
    """No attempt is a straggler before this many seconds."""

    def __post_init__(self) -> None:
        if not (self.after > 0 and math.isfinite(self.after) and self.least_s >= 0 and math.isfinite(self.least_s)):
            raise InvalidInput(f"{self!r} is no policy for stragglers: give a positive factor, and seconds from zero.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionLimits:
    """How long things may take, and what is done about failures. None is no limit.

    Raises:
        InvalidInput: a time is not positive, or a count is negative.
    """

    task_timeout_s: float | None = 300.0
    """For one task; a task's own `deadline_s` may end it sooner."""
    deadline_s: float | None = None
    """For the whole execution: then what runs is cancelled and what waits is skipped."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    """How often an attempt is made again that failed for a reason which can pass."""
    max_fallbacks: int = 2
    """How many further agents are tried, the next best first, where a task's strategy came to nothing."""
    hedge: HedgePolicy | None = None
    """When a straggler gets a rival; None never."""
    max_same_calls: int = 3
    """How often tasks that were made at run time may ask the same agent the same thing: see dispatch."""
    max_reassignments: int = 20
    """How often what has not begun is assigned anew, where cost, time or success was not as expected; 0 never."""
    grace_s: float = 2.0
    """How long a cancelled agent may tidy up before it is left to itself."""

    @classmethod
    def with_room_for_calls(cls, call_timeout_s: float | None) -> ExecutionLimits:
        """Return the usual limits, where no task ends before a model's call that may take so many seconds, and another
        that goes on with its reply: on the user's own machine either may take minutes."""
        usual = cls()
        if call_timeout_s is None or usual.task_timeout_s is None:
            return usual
        return replace(usual, task_timeout_s=max(usual.task_timeout_s, 2 * call_timeout_s))

    def __post_init__(self) -> None:
        for name in ("task_timeout_s", "deadline_s"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise InvalidInput(f"{name}={value!r} is no time limit; give positive seconds.")
        if min(self.max_fallbacks, self.max_reassignments) < 0 or self.max_same_calls < 1 or not self.grace_s >= 0:
            raise InvalidInput(f"A count of {self!r} is negative, or there is to be no call at all.")


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
        known = agent if agent in self._agents else None  # a replanner is none
        return _least(self.seconds_for(task, known), self.run_left_s)

    @property
    def run_left_s(self) -> float | None:
        """Seconds until the deadline of the run; None where it has none."""
        deadline_s = self._limits.deadline_s
        return None if deadline_s is None else max(0.0, deadline_s - (self.now() - self._started))

    def seconds_to(self, deadline_s: float) -> float:
        """Return the seconds until a task's deadline; none once it has passed."""
        return max(0.0, deadline_s - (self._active_s + self.now() - self._started))

    def has_passed(self, task: Task) -> bool:
        """Whether a task's deadline is over."""
        return task.deadline_s is not None and self.seconds_to(task.deadline_s) == 0.0


def _least(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
