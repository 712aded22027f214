"""How far a loop may go, and how much of what comes back it shows the model."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from kapelle.errors import InvalidInput

_MEASURES = frozenset({"usd", "seconds", "tool_seconds"})
_LEAST = {"usd": 0.0, "recite_every": 0, "seconds": 1e-3, "tool_seconds": 1e-3, "result_chars": 100}


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopLimits:
    """What one task of an agent in a loop may take. Each ends the task with what it has so far, and says so."""

    steps: int = 50
    """Calls of the model."""
    tool_calls: int = 200
    calls_per_reply: int = 16
    """Of one reply more are not begun; the model is told."""
    tokens: int = 2_000_000
    """Input and output, cached input among it."""
    usd: float = 1.0
    """Also what is set aside for the task where a budget limits it; a smaller budget limits it further."""
    seconds: float = 1_800.0
    tool_seconds: float = 180.0
    """Of one call of a tool."""
    result_chars: int = 8_000
    """A longer result is put into a file of the workspace, and the model sees its beginning and end."""
    context_tokens: int = 100_000
    """When what would be sent is longer than this, what is old is summarised by a call of its own."""
    output_tokens: int = 4_096
    """Of one reply."""
    recite_every: int = 8
    """Steps after which the model is shown its own list anew; 0 for never."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            least = _LEAST.get(each.name, 1)
            whole = each.name not in _MEASURES
            is_number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
            if not (is_number and math.isfinite(value) and value >= least):
                kind = "whole number" if whole else "number"
                raise InvalidInput(f"The limit {each.name}={value!r} of a loop must be a {kind} of {least:g} or more.")
