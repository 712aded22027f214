"""What one run has seen agents take, where that was more than was expected of them: the least that is expected of them
in this run from then on. A value; what is believed beyond this run is the profiler's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kapelle.agents import AgentCapability
from kapelle.estimates import Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What one agent took on average for one type of task, per unit: see `units_of`. Zero where it was no surprise."""

    cost_usd: float = 0.0
    seconds: float = 0.0

    def floor(self, estimate: Estimate, cost_unit: float, seconds_unit: float) -> Estimate:
        """Return the estimate of a task, with no less than was seen."""
        cost_usd, seconds = self.cost_usd * cost_unit, self.seconds * seconds_unit
        if cost_usd <= estimate.cost_usd and seconds <= estimate.seconds:
            return estimate
        cost_usd, seconds = max(cost_usd, estimate.cost_usd), max(seconds, estimate.seconds)
        return replace(
            estimate,
            cost_usd=cost_usd,
            cost_high_usd=max(cost_usd, estimate.cost_high_usd),
            seconds=seconds,
            seconds_high=max(seconds, estimate.seconds_high),
        )


def units_of(agent: AgentCapability, complexity: float) -> tuple[float, float]:
    """Return in how many units the dollars and the seconds of a task are counted: its complexity, or one where the
    agent declares what any task takes."""
    is_priced = agent.cost_usd is not None or agent.cost_tier == "free"
    return 1.0 if is_priced else complexity, 1.0 if agent.seconds is not None else complexity


SeenInRun = Mapping[tuple[str, str], Seen]
"""By agent and type of task."""
