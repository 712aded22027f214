"""LearnedRewardModel: learns the weights of the validator's score from what became of tasks.

    score = w1 * success + w2 * quality + w3 * (1 - cost) + w4 * (1 - time),    w >= 0, sum of w = 1

Every ten outcomes, weights are varied by 5 % one at a time; a variation is kept if the mean absolute error over the
last 50 outcomes falls; when none helps any more, the weights move the share `learning_rate` of the way there. The error
is convex in the weights, so every such step lowers it (or leaves the weights as they are).

The error needs a truth that the formula does not define, or the model would learn to agree with itself. It is the
outcome's `actual_score` where somebody measured one, and else success times quality: what was delivered. This model is
the documented one, and a plain one; it claims no calibration.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kapelle.documents import parse_json, read_text, write_beside_then_rename
from kapelle.errors import InvalidInput

WEIGHTS = ("success", "quality", "cost", "time")
STATIC_WEIGHTS = {"success": 0.4, "quality": 0.3, "cost": 0.2, "time": 0.1}
"""The documented weights, from before anything was learned."""
VARIATION = 0.05
WINDOW = 50
"""Outcomes that a variation is judged by."""
UPDATE_EVERY = 10
"""Outcomes between two updates, and between two writes of the file."""
MOST_ROUNDS = 60
"""Rounds of variations per update: 1.05 ** 60 is a factor of 18, enough to leave any weight behind."""

_FORMAT = 1
_Row = tuple[tuple[float, float, float, float], float]
"""(success, quality, 1 - cost, 1 - time), and the score that was observed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskOutcome:
    """What became of one task, every figure in 0..1.

    Raises:
        InvalidInput: a figure lies outside 0..1. One such row would bend every weight.
    """

    task_id: str
    task_type: str
    agent_name: str
    success: float
    """1 if the task succeeded, 0 if not; shares in between."""
    quality: float
    cost: float
    """Normalised: 0 is as cheap as can be."""
    time: float
    """Normalised: 0 is as fast as can be."""
    predicted_score: float
    """What the model said before."""
    actual_score: float | None = None
    """What it was worth, measured without this formula (a test, a rating). None: success times quality."""

    def __post_init__(self) -> None:
        for name in ("success", "quality", "cost", "time", "predicted_score", "actual_score"):
            value = getattr(self, name)
            if value is not None or name != "actual_score":
                _require_share(f"The outcome of task {self.task_id!r} has {name}", value)

    @property
    def observed_score(self) -> float:
        """What the prediction is held against."""
        return self.success * self.quality if self.actual_score is None else self.actual_score


class LearnedRewardModel:
    """Scores plans with weights that it learns from outcomes, and keeps in a JSON file.

    Raises:
        InvalidInput: a setting is malformed, or the file is damaged. The file is left as it is.

    >>> LearnedRewardModel().predict_quality(success_prob=0.85, quality=0.82, cost=0.5, time=0.2)
    0.766
    """

    def __init__(
        self, persistence_path: Path | str | None = None, learning_rate: float = 0.1, min_samples: int = UPDATE_EVERY
    ) -> None:
        if isinstance(learning_rate, bool) or not (isinstance(learning_rate, (int, float)) and 0 < learning_rate <= 1):
            raise InvalidInput(f"learning_rate is {learning_rate!r}; give a number above 0, at most 1.")
        if isinstance(min_samples, bool) or not (isinstance(min_samples, int) and min_samples >= 1):
            raise InvalidInput(f"min_samples is {min_samples!r}; give a whole number, one or more.")
        self.persistence_path = None if persistence_path is None else Path(persistence_path)
        self.learning_rate = float(learning_rate)
        self.min_samples = min_samples
        self._state = _State()
        if self.persistence_path is not None and self.persistence_path.exists():
            self._state = _State.from_json(self.persistence_path)

    @property
    def weights(self) -> dict[str, float]:
        """The weights now, by component; they sum to 1."""
        return dict(zip(WEIGHTS, self._state.weights, strict=True))

    def predict_quality(self, success_prob: float, quality: float, cost: float, time: float) -> float:
        """Return the expected score in 0..1; all figures lie in 0..1, and cost and time count against it.

        Raises:
            InvalidInput: a figure lies outside 0..1.
        """
        for name, value in (("success_prob", success_prob), ("quality", quality), ("cost", cost), ("time", time)):
            _require_share(name, value)
        return _score(self._state.weights, (success_prob, quality, 1 - cost, 1 - time))

    def record_outcome(self, outcome: TaskOutcome) -> None:
        """Learn from one outcome; every tenth updates the weights and writes the file.

        Raises:
            InvalidInput: the file cannot be written. The outcome is learned nevertheless, and the next write has it.
        """
        state = self._state
        state.add(outcome, smoothing=self.learning_rate)
        if state.total % UPDATE_EVERY == 0:
            if state.total >= self.min_samples:
                state.weights = _moved(state.weights, list(state.window), self.learning_rate)
            self.save()

    def save(self) -> None:
        """Write the file now, if there is a path: beside it first, then renamed, so that no reader sees half of it.

        Raises:
            InvalidInput: it cannot be written; the old file is still there.
        """
        if self.persistence_path is not None:
            write_beside_then_rename(self.persistence_path, self._state.to_json().encode("utf-8"))

    def get_agent_success_rate(self, agent_name: str, task_type: str) -> float | None:
        """Return the share of the agent's tasks of this type that succeeded; None where it had none."""
        count, successes = self._state.agents.get((agent_name, task_type), (0, 0.0))
        return successes / count if count else None

    def get_statistics(self) -> dict[str, Any]:
        """Return what was learned: outcomes, weights, errors, and the agents' success rates by task type."""
        rates: dict[str, dict[str, float]] = {}
        for (agent_name, task_type), (count, successes) in sorted(self._state.agents.items()):
            rates.setdefault(agent_name, {})[task_type] = successes / count
        return {
            "total_outcomes": self._state.total,
            "weights": self.weights,
            "mean_absolute_error": self._state.error,
            "window_error": _mean_error(self._state.weights, list(self._state.window)),
            "agent_success_rates": rates,
        }


class _State:
    """Everything that the model has learned, and how it stands in a file."""

    def __init__(self) -> None:
        self.weights: tuple[float, ...] = tuple(STATIC_WEIGHTS[name] for name in WEIGHTS)
        self.total = 0
        self.error: float | None = None
        """Exponential moving average of the absolute error of the predictions that were made."""
        self.window: deque[_Row] = deque(maxlen=WINDOW)
        self.agents: dict[tuple[str, str], tuple[int, float]] = {}
        """(agent, task type) to (tasks, successes)."""

    def add(self, outcome: TaskOutcome, *, smoothing: float) -> None:
        missed = abs(outcome.predicted_score - outcome.observed_score)
        self.error = missed if self.error is None else (1 - smoothing) * self.error + smoothing * missed
        self.window.append(
            ((outcome.success, outcome.quality, 1 - outcome.cost, 1 - outcome.time), outcome.observed_score)
        )
        key = (outcome.agent_name, outcome.task_type)
        count, successes = self.agents.get(key, (0, 0.0))
        self.agents[key] = (count + 1, successes + outcome.success)
        self.total += 1

    def to_json(self) -> str:
        values = {
            "format": _FORMAT,
            "weights": dict(zip(WEIGHTS, self.weights, strict=True)),
            "total_outcomes": self.total,
            "mean_absolute_error": self.error,
            "window": [[*features, observed] for features, observed in self.window],
            "agents": [[*key, *counts] for key, counts in self.agents.items()],
        }
        return json.dumps(values, indent=1)

    @classmethod
    def from_json(cls, path: Path) -> _State:
        text = read_text(path)
        state = cls()
        try:
            values = parse_json(text)
            if values["format"] != _FORMAT:
                raise ValueError(f"format {values['format']!r} is not {_FORMAT}")
            weights = tuple(_share(values["weights"][name]) for name in WEIGHTS)
            if not math.isclose(sum(weights), 1.0, abs_tol=1e-6):
                raise ValueError(f"the weights sum to {sum(weights)!r}, not to 1")
            state.weights = _normalised(weights)
            state.total = _count(values["total_outcomes"])
            state.error = None if values["mean_absolute_error"] is None else _share(values["mean_absolute_error"])
            for success, quality, cheapness, speed, observed in values["window"]:
                features = (_share(success), _share(quality), _share(cheapness), _share(speed))
                state.window.append((features, _share(observed)))
            for agent_name, task_type, count, successes in values["agents"]:
                if not 0 <= successes <= count:
                    raise ValueError(f"{agent_name!r} has {successes!r} successes of {count!r}")
                state.agents[str(agent_name), str(task_type)] = (_count(count), float(successes))
        except (LookupError, TypeError, ValueError) as error:
            raise InvalidInput(
                f"{str(path)!r} is no reward model of ours ({type(error).__name__}: {error}). It was left as it is: "
                "restore it, or move it away to start from the documented weights."
            ) from error
        return state


def _moved(weights: tuple[float, ...], rows: Sequence[_Row], learning_rate: float) -> tuple[float, ...]:
    best = _best_variation(weights, rows)
    moved = _normalised([old + learning_rate * (new - old) for old, new in zip(weights, best, strict=True)])
    return moved if _mean_error(moved, rows) < _mean_error(weights, rows) else weights


def _best_variation(weights: tuple[float, ...], rows: Sequence[_Row]) -> tuple[float, ...]:
    """Return where single variations of 5 % lead as long as each lowers the error."""
    error = _mean_error(weights, rows)
    for _ in range(MOST_ROUNDS):
        before = error
        for position in range(len(weights)):
            for factor in (1 + VARIATION, 1 - VARIATION):
                varied = _normalised([w * factor if i == position else w for i, w in enumerate(weights)])
                missed = _mean_error(varied, rows)
                if missed < error:
                    weights, error = varied, missed
        if error == before:
            break
    return weights


def _mean_error(weights: Sequence[float], rows: Sequence[_Row]) -> float:
    # As _score, spelt out: the search asks for it some hundred times per update.
    w1, w2, w3, w4 = weights
    errors = [abs(w1 * a + w2 * b + w3 * c + w4 * d - observed) for (a, b, c, d), observed in rows]
    return math.fsum(errors) / max(len(rows), 1)


def _score(weights: Sequence[float], features: Sequence[float]) -> float:
    return min(math.fsum(weight * feature for weight, feature in zip(weights, features, strict=True)), 1.0)


def _normalised(weights: Sequence[float]) -> tuple[float, ...]:
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _require_share(name: str, value: object) -> None:
    if not _is_share(value):
        raise InvalidInput(f"{name}={value!r}; it must lie in 0..1.")


def _share(value: object) -> float:
    if not isinstance(value, (int, float)) or not _is_share(value):
        raise ValueError(f"{value!r} does not lie in 0..1")
    return float(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
