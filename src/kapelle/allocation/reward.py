"""RewardModel: what an attempt is worth before it is made, and what it was worth after. A Protocol and its words.

The optimiser and the explorer may ask any model of this shape; those that learn are in validation. A model predicts a
chance in 0..1 from what is known beforehand, and learns from the outcome, which is measured without the model: an
outcome that its own formula defined would teach it to agree with itself. Nothing here learns or chooses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from kapelle.ledger import Outcome

Features = Mapping[str, Any]
"""What is known of an attempt before it is made. `agent` and `task_type` are names; every other key may be missing:

    text, context               what was asked, and what else was known, in words
    complexity, dependencies    as in the features of an outcome
    success_rate                0..1, what the profiler expects of this agent at this type
    cost_usd, seconds           what the attempt is expected to take
    cost_position, time_position  where that lies between the cheapest (fastest) agent, 0, and the dearest, 1
    level                       0..1, the chance that a typical agent fails at this task
    shift                       shift of this agent's log-odds of success against its mean for the type
"""


@runtime_checkable
class RewardModel(Protocol):
    """Predicts what attempts are worth, and learns from what they were."""

    def predict(self, features: Features) -> float:
        """Return the chance of success (the expected quality, where quality is a share) in 0..1."""

    def observe(self, features: Features, outcome: float) -> None:
        """Learn that an attempt with these features was worth `outcome`, in 0..1."""


def describe_attempt(
    agent: str,
    task_type: str,
    *,
    text: str = "",
    context: str = "",
    complexity: float | None = None,
    dependencies: int | None = None,
    success_rate: float | None = None,
    cost_usd: float | None = None,
    seconds: float | None = None,
    cost_position: float | None = None,
    time_position: float | None = None,
    level: float | None = None,
    shift: float | None = None,
) -> dict[str, Any]:
    """Return the features of an attempt; what is None is left out.

    >>> describe_attempt("scout", "search", cost_usd=0.01)
    {'agent': 'scout', 'task_type': 'search', 'cost_usd': 0.01}
    """
    known = {
        "complexity": complexity,
        "dependencies": dependencies,
        "success_rate": success_rate,
        "cost_usd": cost_usd,
        "seconds": seconds,
        "cost_position": cost_position,
        "time_position": time_position,
        "level": level,
        "shift": shift,
    }
    words = {name: value for name, value in (("text", text), ("context", context)) if value}
    return {
        "agent": agent,
        "task_type": task_type,
        **words,
        **{name: value for name, value in known.items() if value is not None},
    }


def outcome_value(outcome: Outcome) -> float:
    """Return what an outcome of the ledger was worth: its quality where that was measured; a failure is worth 0."""
    if not outcome.success:
        return 0.0
    return 1.0 if outcome.quality is None else float(outcome.quality)
