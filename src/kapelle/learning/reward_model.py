"""LearnedRewardModel: learns the weights of the validator's score from what became of tasks.

    score = w1 * success + w2 * quality + w3 * (1 - cost) + w4 * (1 - time),    w >= 0, sum of w = 1

Every ten outcomes, weights are varied by 5 % one at a time; a variation is kept if the mean absolute error over the
last 50 outcomes falls; when none helps any more, the weights move the share `learning_rate` of the way there, if that
lowers the error. No weight falls below MIN_WEIGHT: what a plan costs, and how long it takes, always counts.

The error needs a truth that the formula does not define, or the model would learn to agree with itself. It is the
outcome's `actual_score` where somebody measured one. Where nobody did it is success times quality, what was delivered;
and as that knows nothing of cost and time, it says nothing of their weights: only success and quality are weighed
against each other then, and the share that the two have together stays. This model is the documented one, and a plain
one; it claims no calibration.

Several models, in one process or in many, may share a file. Who writes it reads first what others have written since,
adds what it has learned itself, and renames the whole into place; a lock on the folder keeps the next one waiting.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kapelle.documents import parse_json, read_text, write_beside_then_rename
from kapelle.errors import InvalidInput

WEIGHTS = ("success", "quality", "cost", "time")
STATIC_WEIGHTS = {"success": 0.4, "quality": 0.3, "cost": 0.2, "time": 0.1}
"""The documented weights, from before anything was learned."""
VARIATION = 0.05
MIN_WEIGHT = 0.01
"""Of every weight: one of zero could never grow again, and nothing would be too dear."""
WINDOW = 50
"""Outcomes that a variation is judged by."""
UPDATE_EVERY = 10
"""Outcomes between two updates, and between two writes of the file."""
MAX_ROUNDS = 60
"""Rounds of variations per update: 1.05 ** 60 is a factor of 18, enough to leave any weight behind."""

_FORMAT = 1
_Row = tuple[tuple[float, float, float, float], float | None]
"""(success, quality, 1 - cost, 1 - time), and the score that was measured; None where none was."""


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
        self._written: bytes | None = None
        """The file as this model last read or wrote it."""
        self._unsaved: list[TaskOutcome] = []
        self._lock = threading.Lock()
        """Runs of one engine end in several threads."""
        if self.persistence_path is not None:
            self._written = _content(self.persistence_path)
            if self._written is not None:
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
        with self._lock:
            self._learn(outcome)
            if self.persistence_path is not None:
                self._unsaved.append(outcome)
            is_due = self._state.total % UPDATE_EVERY == 0
        if is_due:
            self.save()

    def save(self) -> None:
        """Write the file now, if there is a path: with what others have written into it since, and what is new here.

        Raises:
            InvalidInput: it cannot be written, or is damaged by now; it is as it was, and nothing learned is lost.
        """
        path = self.persistence_path
        if path is None or (self._written is not None and not self._unsaved and path.exists()):
            return  # nothing is new
        with self._lock, _locked_folder(path):
            now = _content(path)
            if now is not None and now != self._written:
                self._state = _State.from_json(path)
                for outcome in self._unsaved:
                    self._learn(outcome)
            content = self._state.to_json().encode("utf-8")
            write_beside_then_rename(path, content, make_folder=True)
            self._written, self._unsaved = content, []

    def _learn(self, outcome: TaskOutcome) -> None:
        state = self._state
        state.add(outcome, smoothing=self.learning_rate)
        if state.total % UPDATE_EVERY == 0 and state.total >= self.min_samples:
            state.weights = _moved(state.weights, list(state.window), self.learning_rate)

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
            ((outcome.success, outcome.quality, 1 - outcome.cost, 1 - outcome.time), outcome.actual_score)
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
            "window": [[*features, measured] for features, measured in self.window],
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
            state.weights = _held(weights)
            state.total = _count(values["total_outcomes"])
            state.error = None if values["mean_absolute_error"] is None else _share(values["mean_absolute_error"])
            for success, quality, cheapness, speed, measured in values["window"]:
                features = (_share(success), _share(quality), _share(cheapness), _share(speed))
                # Files of before wrote down success times quality where nothing was measured.
                is_measured = measured is not None and _share(measured) != features[0] * features[1]
                state.window.append((features, float(measured) if is_measured else None))
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
    moved = _held([old + learning_rate * (new - old) for old, new in zip(weights, best, strict=True)])
    return moved if _mean_error(moved, rows) < _mean_error(weights, rows) else weights


def _best_variation(weights: tuple[float, ...], rows: Sequence[_Row]) -> tuple[float, ...]:
    """Return where single variations of 5 % lead as long as each lowers the error."""
    error = _mean_error(weights, rows)
    measures = any(measured is not None for _, measured in rows)
    for _ in range(MAX_ROUNDS):
        before = error
        for position in range(len(weights) if measures else 2):
            for factor in (1 + VARIATION, 1 - VARIATION):
                varied = _varied(weights, position, factor)
                missed = _mean_error(varied, rows)
                if missed < error:
                    weights, error = varied, missed
        if error == before:
            break
    return weights


def _varied(weights: tuple[float, ...], position: int, factor: float) -> tuple[float, ...]:
    """Return the weights with one multiplied. Success and quality make room for each other, cost and time among all."""
    varied = [weight * factor if at == position else weight for at, weight in enumerate(weights)]
    if position > 1:
        return _held(varied)
    both = weights[0] + weights[1]
    first = min(max(both * varied[0] / (varied[0] + varied[1]), MIN_WEIGHT), both - MIN_WEIGHT)
    return (first, both - first, *weights[2:])


def _mean_error(weights: Sequence[float], rows: Sequence[_Row]) -> float:
    # As _score, spelt out: the search asks for it some hundred times per update.
    w1, w2, w3, w4 = weights
    both = w1 + w2
    errors = [
        abs((w1 * a + w2 * b) / both - a * b) if measured is None else abs(w1 * a + w2 * b + w3 * c + w4 * d - measured)
        for (a, b, c, d), measured in rows
    ]
    return math.fsum(errors) / max(len(rows), 1)


def _score(weights: Sequence[float], features: Sequence[float]) -> float:
    return min(math.fsum(weight * feature for weight, feature in zip(weights, features, strict=True)), 1.0)


def _held(weights: Sequence[float]) -> tuple[float, ...]:
    """Return the weights with the sum 1, and none of them much below MIN_WEIGHT."""
    total = math.fsum(weights)
    kept = [max(weight / total, MIN_WEIGHT) for weight in weights]
    total = math.fsum(kept)
    return tuple(weight / total for weight in kept)


@contextmanager
def _locked_folder(path: Path) -> Iterator[None]:
    """Keep other writers of the file waiting, in this process and in others. Where a system cannot lock a folder, two
    that write in the same instant are told apart by nothing but their rename: the later one's lines stay."""
    try:
        import fcntl

        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.parent, os.O_RDONLY)
    except (ImportError, OSError):  # writing says what is wrong with the folder
        yield
        return
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _content(path: Path) -> bytes | None:
    """Return what the file holds, to tell whether somebody else wrote it since; None where there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidInput(f"Cannot read {str(path)!r}: {error.strerror or error}. Check its permissions.") from error


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
