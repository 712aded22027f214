"""LearnedReward: the documented score made a chance, so that the optimiser may ask it like any other reward model.

LearnedRewardModel weighs success, quality, cheapness and speed. Before an attempt none of these is known, so estimates
stand for them: the expected success (given, or the agent's past rate), and where its cost and time lie among the
agents'. The score of estimates is no chance: an attempt that surely fails scores 0.3 for being cheap and fast. So the
score's log-odds are calibrated (see platt) on what became of the last attempts, scored with the weights of today.

Weights are learned as documented, from what was observed; they are not looked at here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from kapelle.errors import InvalidInput

from .platt import Calibration, fit_calibration
from .rates import Rates, expit, logit, names_of, number_of, require_outcome
from .reward_model import LearnedRewardModel, TaskOutcome

REMEMBERED = 1000
"""Attempts that the calibration is fitted to."""
EVERY = 50
"""Outcomes between two calibrations; before the first, a score counts as it is."""

_Parts = tuple[float, float, float, float]


class LearnedReward:
    """A RewardModel around a LearnedRewardModel. What it adds to that model's file is relearned after a restart."""

    def __init__(self, model: LearnedRewardModel | None = None) -> None:
        self.model = model if model is not None else LearnedRewardModel()
        self.calibration = Calibration()
        self.refused = 0
        """Rows that were malformed; nothing was learned from them."""
        self._rates = Rates()
        self._seen: deque[tuple[_Parts, float]] = deque(maxlen=REMEMBERED)

    def score(self, features: Mapping[str, Any]) -> float:
        """Return the documented score of the estimates, in 0..1. It ranks attempts, and is no chance."""
        return self.model.predict_quality(*self._parts(features))

    def predict(self, features: Mapping[str, Any]) -> float:
        """Return the chance that the attempt succeeds.

        Raises:
            InvalidInput: a feature is malformed.
        """
        return self.calibration.apply(logit(self.score(features)))

    def observe(self, features: Mapping[str, Any], outcome: float) -> None:
        """Learn from an attempt.

        Raises:
            InvalidInput: a feature or the outcome is malformed (nothing is learned, and the row is counted as refused),
                or the file cannot be written (it is learned nevertheless).
        """
        try:
            outcome = require_outcome(outcome)
            agent, task_type = names_of(features)
            parts = self._parts(features)
        except InvalidInput:
            self.refused += 1
            raise
        self._seen.append((parts, outcome))
        self._rates.add(agent, task_type, outcome)
        if self._rates.total % EVERY == 0:
            self._calibrate()
        self.model.record_outcome(
            TaskOutcome(
                task_id=str(features.get("task_id", "")),
                task_type=task_type,
                agent_name=agent,
                success=outcome,
                quality=outcome,
                cost=parts[2],
                time=parts[3],
                predicted_score=self.model.predict_quality(*parts),
                actual_score=outcome,
            )
        )

    def _calibrate(self) -> None:
        odds = [logit(self.model.predict_quality(*parts)) for parts, _ in self._seen]
        self.calibration = fit_calibration(odds, [outcome for _, outcome in self._seen])

    def _parts(self, features: Mapping[str, Any]) -> _Parts:
        agent, task_type = names_of(features)
        success = number_of(features, "success_rate", most=1.0)
        if success is None:
            success = expit(self._rates.view(agent, task_type).pair)
        # Where there is nothing to compare with, nothing is cheaper or faster: position 0, as in score.Bounds.
        cost = number_of(features, "cost_position", most=1.0) or 0.0
        time = number_of(features, "time_position", most=1.0) or 0.0
        return success, success, cost, time
