"""What was logged of a task: its words, and what became of it with each agent that tried. Values only.

What words say, strategies, policies and the savings report all learn from these rows, whether they come from the
ledger, from a user's own log or from public data. A row may know one agent (a partial log) or many (a paired one).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from kapelle.errors import InvalidInput


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedOutcome:
    """What one agent made of a task.

    Raises:
        InvalidInput: a figure is missing, not finite or out of its range. One such row would poison every estimate.
    """

    quality: float
    """0..1; 1 or 0 where only success was seen."""
    cost_usd: float
    seconds: float = 0.0
    output: str | None = None
    """The answer itself, where the log kept it; checks and votes need it."""

    def __post_init__(self) -> None:
        for name, most in (("quality", 1.0), ("cost_usd", math.inf), ("seconds", math.inf)):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            if not (number and 0 <= value <= most):
                wanted = "a number from 0 to 1" if name == "quality" else "a finite number, zero or more"
                raise InvalidInput(f"{name} is {value!r:.40}; it must be {wanted}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedTask:
    """A task as it was known before anyone tried it, and what became of it with each agent that did."""

    task_id: str
    text: str
    """What was asked, in words."""
    task_type: str = "task"
    context: str = ""
    """What else was known beforehand, as text: the JSON of the functions it may call, for instance."""
    outcomes: Mapping[str, LoggedOutcome] = field(default_factory=dict)
    """Agent to outcome."""
