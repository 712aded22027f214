"""When a failed attempt is made again, and after how long. Decides only; the executor waits and asks.

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
from dataclasses import dataclass, field

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
