"""What a task is expected to take from an agent, with how sure that is. A value only: see profiler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kapelle.ledger import Usage, format_seconds, format_usd, tell_success

Source = Literal["declared", "learned", "default"]
Basis = Literal["declared", "elsewhere", "measured"]

WIDTH = 2.0
"""Standard deviations between the mean and a bound: one in forty lies beyond, were it normal."""
MIN_OUTCOMES = 5
"""Fewer say nothing against an agent."""
HOPELESS = 0.3
"""An upper bound below this: the pair fails far more often than not, nineteen of nineteen for a declared 0.85."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a task is expected to take from an agent."""

    cost_usd: float
    seconds: float
    success_rate: float
    """Chance that it answers (`completion`), and that its answer is right."""
    tokens: int
    samples: int
    """Outcomes of this agent at this type of task behind it."""
    source: Source
    """`learned` as soon as there are outcomes; else `declared` if the price is; else `default`."""
    success_lower: float = 0.0
    """Lower confidence bound of the chance of success, one-sided, at the profiler's `confidence`; 0 where unknown."""
    success_sd: float = 0.0
    """Standard deviation of what is believed of the chance of success."""
    cost_low_usd: float = 0.0
    """The cost of one attempt lies from here to `cost_high_usd` in 90 % of cases."""
    cost_high_usd: float = 0.0
    seconds_low: float = 0.0
    """One attempt takes from here to `seconds_high` in 90 % of cases."""
    seconds_high: float = 0.0
    costs_told: int = 0
    """Outcomes of this agent, at whatever type of task, whose cost was told; 0 where all was declared or assumed."""
    usage: Usage | None = None
    """Input, cached and output tokens expected of one attempt."""
    completion: float = 1.0
    """Chance that it gives any answer, learned from every outcome; 1 while nothing has failed."""
    judged: int = 0
    """Of `samples`, those of which something measured how right the answer was: a check, a person, other agents, or the
    agent itself."""
    basis: Basis = "measured"
    """Where the chance that an answer is right comes from: it was `measured`; or it is what the agent declares, because
    nothing has; or that mixed with what was measured `elsewhere`, of other agents and other types of task."""
    note: str = ""
    """What a reader should know of the estimate: that the agent has changed lately, for instance."""

    @property
    def correctness(self) -> float:
        """Chance that an answer is right, where there is one."""
        return min(1.0, self.success_rate / self.completion) if self.completion > 0 else 0.0

    @property
    def correctness_bounds(self) -> tuple[float, float]:
        """The least and the most that is believed of the chance that an answer is right."""
        reach = WIDTH * self.success_sd / max(self.completion, 1e-9)
        return max(0.0, self.correctness - reach), min(1.0, self.correctness + reach)

    @property
    def success_bounds(self) -> tuple[float, float]:
        """The least and the most that is believed of the chance of success, both as sure: see `success_lower` for the
        bound that a quality is held to."""
        reach = WIDTH * self.success_sd
        return max(0.0, self.success_rate - reach), min(1.0, self.success_rate + reach)

    @property
    def is_hopeless(self) -> bool:
        """Whether outcomes say that the agent is not worth trying at such tasks. Declarations alone condemn nobody."""
        return self.samples >= MIN_OUTCOMES and self.success_bounds[1] < HOPELESS

    @property
    def is_measured(self) -> bool:
        """Whether enough was measured of how right its answers are to compare it by that."""
        return self.judged >= MIN_OUTCOMES

    def tell_success(self) -> str:
        """Return where the chance of success comes from.

        >>> Estimate(cost_usd=0, seconds=1, success_rate=0.82, tokens=0, samples=40, judged=0, completion=0.97,
        ...          basis="declared", source="learned").tell_success()
        '85% declared, not checked yet; completes 97%, learned from 40 outcomes'
        """
        return tell_success(self.success_rate, self.completion, self.samples, self.judged, self.basis)

    def explain(self) -> str:
        """Return the estimate in words, with its bounds.

        >>> Estimate(cost_usd=0.01, seconds=2.0, success_rate=0.85, success_lower=0.53, tokens=0, samples=0,
        ...          source="default", cost_low_usd=0.001, cost_high_usd=0.1, seconds_low=0.5, seconds_high=8).explain()
        'a guess: 85% success (at least 53%), $0.0100 ($0.0010 to $0.1000), 2.0 s (500 ms to 8.0 s)'
        """
        known = {"declared": "declared by the agent", "default": "a guess"}.get(
            self.source, f"learned from {self.samples} outcome{'s' * (self.samples != 1)}"
        )
        detail = f"; {self.tell_success()}" if self.samples > self.judged else ""
        text = (
            f"{known}: {self.success_rate:.0%} success (at least {self.success_lower:.0%}{detail}), "
            f"{format_usd(self.cost_usd)} ({format_usd(self.cost_low_usd)} to {format_usd(self.cost_high_usd)}), "
            f"{format_seconds(self.seconds)} ({format_seconds(self.seconds_low)} to "
            f"{format_seconds(self.seconds_high)})"
        )
        return f"{text}. {self.note}" if self.note else text
