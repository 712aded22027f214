"""What a strategy is expected to come to, as a value. Made by strategies and strategy_parts, kept by strategy_book."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from kapelle.errors import InvalidInput

from .strategy import Strategy

CONFIDENCE = 0.95
"""One-sided, for a strategy's gain and for its `quality_lower`."""

Source = Literal["replayed", "parts"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategyEstimate:
    """What a strategy is expected to come to, for one task."""

    strategy: Strategy
    cost_usd: float
    seconds: float
    quality: float
    """0..1."""
    quality_lower: float
    """Lower confidence bound of the mean quality, one-sided, at CONFIDENCE."""
    quality_sd: float
    """Standard error of the mean quality."""
    samples: int
    """Logged tasks behind it."""
    gain: float = 0.0
    """By how much its quality exceeds the best mix of single agents at the same cost, 0..1."""
    source: Source = "replayed"
    """Whether it was replayed over tasks that all its agents tried, or follows from each agent's own record."""

    def __post_init__(self) -> None:
        for name in ("cost_usd", "seconds", "quality", "quality_lower", "quality_sd"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0 and (value <= 1 or not name.startswith("quality"))):
                raise InvalidInput(f"The estimate of {self.strategy} has {name}={value!r}.")
        if self.samples < 0 or not math.isfinite(self.gain):
            raise InvalidInput(f"The estimate of {self.strategy} has {self.samples} samples and gain {self.gain!r}.")
