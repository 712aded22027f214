"""How much a browser's pages may take: of time, of the network, and of a reader's patience."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from kapelle.errors import InvalidInput


@dataclass(frozen=True, kw_only=True, slots=True)
class BrowserLimits:
    """What a session may use."""

    load_s: float = 15.0
    """For a page to load; it is then read as far as it came."""
    step_s: float = 40.0
    """For one step, with the reading; what takes longer is closed."""
    settle_s: float = 0.15
    """For a click to show what it leads to."""
    close_s: float = 5.0
    """For a context to close by itself."""
    text_chars: int = 20_000
    """Of one reading."""
    elements: int = 300
    """That are numbered in one frame."""
    nodes: int = 200_000
    """Of a frame that are looked at."""
    frames: int = 20
    tabs: int = 5
    notes: int = 20
    answer_bytes: int = 30_000_000
    """Of one answer from the network."""
    total_bytes: int = 500_000_000
    """Of all answers in a session."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidInput(f"The limit {field.name} is {value!r}. Give a number above 0.")
