"""What a piece of work used: tokens, apart by how they are priced, and calls."""

from __future__ import annotations

from dataclasses import dataclass

from .figures import AN_AGENT, MAX_COUNT, RefusedFigure, read_count


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens and calls that were used. `a + b` adds them up. NumPy's numbers and 5.0 are taken as Python's own.

    A count that is none (1.5, NaN, True) stays as it was given: who reads the report refuses it by its name (see
    `read_usage`), and knows then what else was reported.

    Raises:
        RefusedFigure: a field is negative or no number, or more tokens came from the cache than were read.
    """

    input_tokens: int = 0
    """All input tokens, the cached ones included (as providers report them)."""
    cached_tokens: int = 0
    """The part of `input_tokens` that was read from the provider's cache, at a lower price."""
    output_tokens: int = 0
    calls: int = 0
    """Requests to a model or a paid service."""

    def __post_init__(self) -> None:
        counts = (self.input_tokens, self.cached_tokens, self.output_tokens, self.calls)
        if not (set(map(type, counts)) == _WHOLE and min(counts) >= 0):
            for name, count in zip(_FIELDS, counts, strict=True):
                if type(count) is not int or count < 0:  # a sum may be more than one report may
                    object.__setattr__(self, name, _taken(count, name))
        if self.cached_tokens > self.input_tokens:
            raise RefusedFigure(
                f"{AN_AGENT} reported cached_tokens={self.cached_tokens!r} of input_tokens={self.input_tokens!r}: more "
                "came from the cache than was read. Count cached tokens among the input tokens."
            )

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


_FIELDS = ("input_tokens", "cached_tokens", "output_tokens", "calls")
_WHOLE = {int}


def _taken(count: object, name: str) -> object:
    try:
        return read_count(count, name)
    except RefusedFigure as problem:
        try:
            is_left = not count < 0  # type: ignore[operator]  # what cannot be compared is no number
        except BaseException:  # its type is somebody's own
            is_left = False
        if is_left:
            return count
        raise problem from None


def read_usage(usage: object, *, by: str = AN_AGENT) -> Usage:
    """Return the usage that somebody reports of one piece of work.

    Raises:
        RefusedFigure: it is no Usage, or a field of it is more than any piece of work uses.
    """
    if not isinstance(usage, Usage):
        raise RefusedFigure(f"{by} reported a {type(usage).__name__} as its usage; give a kapelle Usage.")
    counts = [read_count(getattr(usage, name), name, by=by) for name in _FIELDS]
    if type(usage) is Usage and all(type(getattr(usage, name)) is int for name in _FIELDS):
        return usage
    return Usage(**dict(zip(_FIELDS, counts, strict=True)))


def is_readable(usage: Usage) -> bool:
    """Whether `read_usage` would return this one as it is: without a call for each field, for every attempt asks."""
    if usage is NOTHING:
        return True
    if type(usage) is not Usage:
        return False
    found = (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.calls)
    return all(type(count) is int and 0 <= count <= MAX_COUNT for count in found)


NOTHING = Usage()
"""Nothing was used: the default of whatever reports usage."""
