"""What the user asks of a run, besides its request: money, time, quality, tokens. One value for every stage.

The optimiser, the validator and the approved plan take this value and make no limits of their own. What is documented
with other names, `OptimizationConstraints` and `validate_routing_plan(max_budget=...)`, is translated where it enters.
Refuses to guess what a malformed limit may have meant.

`min_quality` means the same everywhere: the least share of the plan's tasks that is expected to succeed, counted by
the lower confidence bounds of their agents. Without one nothing is refused for its quality; see
docs/decisions/0002-quality-floor-of-the-cost-optimiser.md for what choosing agents holds itself to then.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from kapelle.errors import InvalidInput

MAX_AMOUNT = 1e12
"""More dollars, seconds or tokens than this are a slip of the finger."""
MIN_SECONDS = 1e-3
"""No deadline is shorter: less cannot be told from none at all."""
MAX_TASKS = 10_000
"""Far more tasks than a model writes or a person reads. Who makes larger plans by a program asks for more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLimits:
    """What the user asks of a run, besides its request. What is None is no limit.

    Raises:
        InvalidInput: a limit is negative or not finite, or the quality lies outside 0..1.

    >>> limits = RunLimits(budget_usd=0.5).after(0.2)
    >>> limits.left_usd, limits.budget_usd
    (0.3, 0.5)
    """

    budget_usd: float | None = None
    """Dollars that the run may cost, planning included."""
    deadline_s: float | None = None
    """Seconds that it may take."""
    min_quality: float | None = None
    """The least share of its tasks that is expected to succeed, counted by lower confidence bounds."""
    max_tokens: int | None = None
    """Tokens that all agents together may use."""
    max_tasks: int | None = None
    """Tasks that a plan may have; None is MAX_TASKS, for a plan of more is mostly a slip."""
    spent_usd: float | None = None
    """Dollars of the budget that were gone before any task ran, planning above all; None where the budget is that of
    the tasks alone."""

    def __post_init__(self) -> None:
        check_limit("budget_usd", self.budget_usd)
        check_limit("deadline_s", self.deadline_s, least=MIN_SECONDS)
        check_limit("max_tokens", self.max_tokens)
        check_limit("max_tasks", self.max_tasks, least=1)
        for name, value in (("max_tokens", self.max_tokens), ("max_tasks", self.max_tasks)):
            if value is not None and value != int(value):
                raise InvalidInput(f"{name}={value!r:.40} is no limit. Give a whole number.")
        check_limit("min_quality", self.min_quality, most=1.0)
        check_limit("spent_usd", self.spent_usd)

    @property
    def left_usd(self) -> float | None:
        """Dollars that the tasks may cost; None where there is no budget."""
        if self.budget_usd is None or not self.spent_usd:
            return self.budget_usd
        return max(0.0, round(self.budget_usd - self.spent_usd, 9))  # budgets count in billionths of a dollar

    @property
    def most_tasks(self) -> int:
        """Tasks that a plan may have."""
        return MAX_TASKS if self.max_tasks is None else int(self.max_tasks)

    def after(self, usd: float) -> RunLimits:
        """Return the limits once so many dollars more are gone before any task runs."""
        return replace(self, spent_usd=(self.spent_usd or 0.0) + usd)

    def asked(self) -> dict[str, float | None]:
        """Return what the user asked for, by name: what a run's settings keep."""
        asked = {name: getattr(self, name) for name in ASKED}
        if self.max_tasks is None:  # most plans are small, and their runs say nothing of it
            del asked["max_tasks"]
        return asked


ASKED = tuple(one.name for one in fields(RunLimits) if one.name != "spent_usd")
"""The limits that a user may ask for, by name."""


def check_limit(name: str, value: object, *, least: float = 0.0, most: float = MAX_AMOUNT) -> None:
    """Check one limit, which may be None.

    Raises:
        InvalidInput: it is no number, or lies outside what can be meant.
    """
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and least <= value <= most):  # type: ignore[operator]  # it is a number by then
        raise InvalidInput(f"{name}={value!r:.40} is no limit. Give a number from {least:g} to {most:g}.")
