"""What the user allows a plan and asks of it, under whichever of the documented names that was said."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

from kapelle.errors import InvalidInput
from kapelle.limits import MIN_SECONDS, RunLimits, check_limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What the user allows and asks for, and what of the plan is over already."""

    limits: RunLimits
    request: str | None
    available: Collection[str] | None
    finished: frozenset[str]
    approved: frozenset[str]


def take_limits(
    limits: RunLimits | None, *, max_budget: float | None, max_time: float | None, min_quality: float | None
) -> RunLimits:
    """Return the limits that were given, under whichever names.

    Raises:
        InvalidInput: they were given under both, or one of them is malformed.
    """
    max_budget, max_time = (None if value == math.inf else value for value in (max_budget, max_time))  # no limit either
    check_limit("max_budget", max_budget)
    check_limit("max_time", max_time)
    check_limit("min_quality", min_quality, most=1.0)
    if limits is None:
        seconds = None if max_time is None else max(max_time, MIN_SECONDS)
        return RunLimits(budget_usd=max_budget, deadline_s=seconds, min_quality=min_quality)
    if (max_budget, max_time, min_quality) != (None, None, None):
        raise InvalidInput("Give `limits`, or max_budget, max_time and min_quality: one of the two.")
    return limits


def after_looking(limits: RunLimits, looked_usd: float) -> RunLimits:
    """Return the limits with what looking at the plan has cost taken from the budget."""
    if not looked_usd or limits.budget_usd is None:
        return limits
    if limits.spent_usd is None:  # the budget of the tasks alone: what is named is what they are left with
        return replace(limits, budget_usd=max(0.0, limits.budget_usd - looked_usd))
    return limits.after(looked_usd)
