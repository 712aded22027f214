"""What the savings report says, as values. Shown by text and plot; judged by full_feedback and logged_bandit.

Cost shares and quality shares are of today: of what the log's own choice cost and reached. Dollars are of this log, and
of nothing beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .log import RowProblem

Method = Literal["paired", "doubly robust", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A figure, and the range that resampling gives it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What a way to choose agents costs and reaches, on tasks that it was not learned from."""

    name: str
    cost_share: Interval
    """Of today's cost; 0.2 is a saving of 80 %."""
    quality: Interval
    """0..1."""
    quality_share: Interval
    """Of today's quality."""
    uses: Mapping[str, float] = field(default_factory=dict)
    """Agent or strategy to its share of the tasks, most used first."""
    effective_tasks: float | None = None
    """How many tasks judge it in a partial log: (sum of weights)^2 / sum of squared weights."""

    @property
    def saving(self) -> Interval:
        """The part of today's cost that it does not cost."""
        cost = self.cost_share
        return Interval(value=1 - cost.value, low=1 - cost.high, high=1 - cost.low)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One row of the report: this much of today's quality, and what reaches it."""

    quality_share: float
    """0.95: the aim, set on the tasks that were learned from."""
    routed: Judged
    cheapest_single: Judged | None
    """The cheapest agent that reaches the aim alone; None where none does."""
    random_mix: Judged | None
    """Two agents, each given a task by a weighted coin; None where no two reach the aim."""
    oracle: Judged | None
    """Least cost with hindsight: no router can do better. None in a partial log, which does not tell it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Today:
    """What routing is compared with."""

    name: str
    """An agent, or `as logged`."""
    chosen: str
    """Why this one."""
    quality: Interval
    cost_usd: float
    """Of all judged tasks of this log."""

    @property
    def is_agent(self) -> bool:
        """Whether it is one agent for all tasks."""
        return self.name != AS_LOGGED


AS_LOGGED = "as logged"


@dataclass(frozen=True, kw_only=True, slots=True)
class SavingsReport:
    """What routing would have saved on the tasks of this log."""

    source: str
    method: Method
    """`paired`: every judged task was seen with every agent. `doubly robust`: estimated, since most were seen with one.
    `none`: nothing can be told; `warnings` say why and what to do."""
    tasks: int
    """Judged."""
    agents: tuple[str, ...]
    rows: int
    refused: int
    problems: tuple[RowProblem, ...] = ()
    today: Today | None = None
    targets: tuple[Target, ...] = ()
    singles: tuple[Judged, ...] = ()
    """One agent for all tasks, cheapest first."""
    curve: tuple[Judged, ...] = ()
    """What routing reaches at several operating points, cheapest first."""
    by_type: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """At the middle target: task type to agent or strategy to its share."""
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Agents that are left out, wholly or for some types, and why."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    folds: int = 2
    resamples: int = 1_000
    confidence: float = 0.95
    seed: int = 0

    @property
    def is_estimated(self) -> bool:
        """Whether there are figures at all."""
        return self.method != "none"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values; shares are fractions, intervals are `{value, low, high}`."""
        data = asdict(self)
        for row, target in zip(data["targets"], self.targets, strict=True):
            for name in ("routed", "cheapest_single", "random_mix", "oracle"):
                judged = getattr(target, name)
                if judged is not None:
                    row[name]["saving"] = asdict(judged.saving)
        return data
