"""What became of one attempt at one task: the record that every estimate, policy and report learns from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kapelle.errors import InvalidInput
from kapelle.failures import FailureKind

from .usage import Usage

BLAMELESS: frozenset[FailureKind] = frozenset({"cannot_answer", "bad_input", "budget", "quota", "content"})
"""Failures that say nothing against the agent: what it was asked or given, what the user allows, what an account holds.
The others count against it: `bug`, `reply`, `refused`, `timeout`, `provider`, and those of which nothing is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one attempt at one task.

    Raises:
        InvalidInput: a number is not finite, is negative, or a quality lies outside 0..1. Bad rows poison estimates.
    """

    run_id: str
    task_id: str
    task_type: str
    agent: str
    success: bool
    step: str = "single"
    """Which step of the task's strategy this was."""
    quality: float | None = None
    """0..1 where something measured it; None where nothing did."""
    usage: Usage = Usage()
    cost_usd: float = 0.0
    seconds: float = 0.0
    error: str | None = None
    failure: FailureKind | None = None
    """What kind of failure `error` is; None for a success, and where that was not kept. See `kapelle.failures`."""
    agent_version: str | None = None
    """Which version of the agent it was; None where that was not known. See `AgentCapability.version`."""
    features: Mapping[str, Any] = field(default_factory=dict)
    """What was known before the attempt: complexity, number of dependencies, length of the inputs."""
    at: float = 0.0
    """Seconds since the epoch when it ended."""

    def __post_init__(self) -> None:
        for name, value in (("cost_usd", self.cost_usd), ("seconds", self.seconds), ("at", self.at)):
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
                raise InvalidInput(
                    f"The outcome of task {self.task_id!r} has {name}={value!r}; it must be zero or more."
                )
        if self.quality is not None and not 0 <= self.quality <= 1:
            raise InvalidInput(f"The outcome of task {self.task_id!r} has quality={self.quality!r}, outside 0..1.")

    @property
    def completed(self) -> bool | None:
        """Whether the agent gave an answer, right or wrong; None where that it gave none says nothing against it."""
        if self.success or self.quality is not None:
            return True
        return None if self.failure in BLAMELESS else False

    @property
    def measured_by(self) -> str | None:
        """Who says how right the answer was: `agent`, `check`, `agreement`, `person`; None where nobody does."""
        said = self.features.get("measured_by") if isinstance(self.features, Mapping) else None
        if self.quality is None:
            return None
        return said if isinstance(said, str) else "unknown"
