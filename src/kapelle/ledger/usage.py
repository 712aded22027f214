"""What a piece of work used: tokens, apart by how they are priced, and calls."""

from __future__ import annotations

from dataclasses import dataclass

from kapelle.errors import InvalidInput


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens and calls that were used. `a + b` adds them up."""

    input_tokens: int = 0
    """All input tokens, the cached ones included (as providers report them)."""
    cached_tokens: int = 0
    """The part of `input_tokens` that was read from the provider's cache, at a lower price."""
    output_tokens: int = 0
    calls: int = 0
    """Requests to a model or a paid service."""

    def __post_init__(self) -> None:
        if min(self.input_tokens, self.cached_tokens, self.output_tokens, self.calls) < 0:
            raise InvalidInput(f"Usage cannot be negative: {self!r}")
        if self.cached_tokens > self.input_tokens:
            raise InvalidInput(f"More tokens came from the cache than were read: {self!r}")

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            calls=self.calls + other.calls,
        )

    @property
    def tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens
