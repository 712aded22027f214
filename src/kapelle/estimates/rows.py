"""Reads the rows of the log: what one attempt came to, and what no row can say. Learns nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from kapelle.errors import InvalidInput
from kapelle.ledger import Outcome

MAX_USD, MAX_SECONDS, MAX_TOKENS = 1e6, 1e8, 1e12
"""More for one attempt is taken for a mistake: a million dollars, three years, a trillion tokens."""
MIN_COMPLEXITY, MAX_COMPLEXITY = 1e-3, 1e3


class Observation(NamedTuple):
    """What one attempt came to. A tuple: a log has a hundred thousand of them."""

    completed: float | None
    """Whether it gave an answer, 0 or 1; None where that says nothing of the agent."""
    value: float | None
    """How right the answer was, 0..1; None where nothing measured it."""
    success: bool
    cost_usd: float
    seconds: float
    tokens: tuple[float, float, float]
    """Input, cached and output."""
    complexity: float
    at: float = 0.0
    """When, in seconds since the epoch."""
    cost_told: bool = True
    """Whether somebody measured the cost."""
    text: str = ""
    """What was asked, where that is known."""


def read_outcome(outcome: Outcome, complexity: float, now: float) -> Observation:
    """Return what an outcome of the ledger says, which `find_problem` has passed.

    What is dated later than `now` counts as of now: a clock was wrong, and by that date all else would count nothing.
    """
    usage = outcome.usage
    return Observation(
        completed=None if outcome.completed is None else float(outcome.completed),
        value=None if outcome.quality is None else float(outcome.quality),
        success=bool(outcome.success),
        cost_usd=float(outcome.cost_usd),
        seconds=float(outcome.seconds),
        tokens=(float(usage.input_tokens), float(usage.cached_tokens), float(usage.output_tokens)),
        complexity=complexity,
        at=min(float(outcome.at), now),
        cost_told=not is_assumed(outcome.features),
        text=text_of(outcome.features),
    )


def require_amount(field: str, value: object, most: float = math.inf) -> None:
    if not _is_amount(value, most):
        limit = f", {most:g} at most" if most < math.inf else ""
        raise InvalidInput(f"{field} is {value!r:.80}; it must be a finite number, zero or more{limit}.")


def _is_amount(value: object, most: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most and value < math.inf


def is_complexity(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return MIN_COMPLEXITY <= value <= MAX_COMPLEXITY


def is_assumed(features: object) -> bool:
    """Whether nobody measured what the attempt cost."""
    return isinstance(features, Mapping) and bool(features.get("cost_assumed"))


def text_of(features: object) -> str:
    """Return what was asked in an outcome, as far as its features tell; else nothing."""
    text = features.get("text") if isinstance(features, Mapping) else None
    return text if isinstance(text, str) else ""


def complexity_of(features: object) -> float | None:
    """Return an outcome's complexity, 1 where it names none; None where it cannot be one."""
    if not isinstance(features, Mapping):
        return None if features else 1.0
    value = features.get("complexity", 1.0)
    return float(value) if is_complexity(value) else None


def find_problem(outcome: Outcome) -> str | None:
    """Return what cannot be in an outcome. Outcome checks itself, but not every reader of a ledger makes one."""
    usage = outcome.usage
    for name, value, most in (
        ("cost_usd", outcome.cost_usd, MAX_USD),
        ("seconds", outcome.seconds, MAX_SECONDS),
        ("at", outcome.at, math.inf),
        ("input_tokens", usage.input_tokens, MAX_TOKENS),
        ("cached_tokens", usage.cached_tokens, MAX_TOKENS),
        ("output_tokens", usage.output_tokens, MAX_TOKENS),
        ("quality", 0.0 if outcome.quality is None else outcome.quality, 1.0),
    ):
        if not _is_amount(value, most):
            return f"{name} is {value!r:.80}"
    for name, text in (("agent", outcome.agent), ("task_type", outcome.task_type)):
        if not isinstance(text, str):
            return f"{name} is {text!r:.80}"
    return None
