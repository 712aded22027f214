"""What the user asks of a run, besides its request: money, time, quality, tokens."""

from __future__ import annotations

from dataclasses import dataclass

from kapelle.errors import InvalidInput

MOST = 1e12
"""More dollars, seconds or tokens than this are a slip of the finger."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What the user asks of a run, besides its request.

    Raises:
        InvalidInput: a limit is negative or not finite, or the quality lies outside 0..1.
    """

    budget_usd: float | None = None
    """Dollars that the run may cost, planning included; None is no limit."""
    deadline_s: float | None = None
    """Seconds that it may take."""
    min_quality: float | None = None
    """Mean expected success of the tasks; None keeps what routing would reach without looking at costs."""
    max_tokens: int | None = None
    """Tokens that all agents together may use."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("budget_usd", 0.0, MOST),
            ("deadline_s", 1e-3, MOST),
            ("max_tokens", 0, MOST),
            ("min_quality", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if value is None:
                continue
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (number and least <= value <= most):
                raise InvalidInput(f"{name}={value!r:.40} is no limit. Give a number from {least:g} to {most:g}.")
