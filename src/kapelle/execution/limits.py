"""How long things may take, how often they are tried, and when a second attempt may race a first."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from kapelle.errors import InvalidInput

from .retry import RetryPolicy


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
    """How often tasks that were made at run time may ask the same agent the same thing: see loops."""
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
        if self.max_fallbacks < 0 or self.max_same_calls < 1 or not self.grace_s >= 0:
            raise InvalidInput(f"A count of {self!r} is negative, or there is to be no call at all.")
