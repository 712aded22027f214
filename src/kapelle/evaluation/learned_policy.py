"""LearnedPolicy: what a log has settled about who does which task, for runs to obey; what `kapelle savings` judged.

It is one operating point with its predictions: for every task, by its words, the agent or the strategy of the greatest
predicted quality less price times predicted cost, among those that the log knows well enough at this type of task. Of
types and of agents that the log does not know it says nothing. Its file is untrusted. NumPy is imported; load this
lazily.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from kapelle.errors import InvalidInput
from kapelle.estimates import LoggedTask, OutcomePredictor, read_arrays, write_arrays
from kapelle.strategies import Strategy, strategy_from_dict, strategy_to_dict

from .curve import OperatingPoint, choose_columns

_MIX = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyChoice:
    """What is chosen for a task, and what it is expected to come to."""

    strategy: Strategy
    quality: float
    cost_usd: float


class LearnedPolicy:
    """Chooses strategies for tasks at one operating point."""

    def __init__(
        self,
        *,
        predictor: OutcomePredictor,
        strategies: Sequence[Strategy],
        point: OperatingPoint,
        allowed: Mapping[str, frozenset[str]],
    ) -> None:
        """Use `RoutingPolicy.settle`, `settle_policy` or `load`."""
        self.strategies = tuple(strategies)
        """In the order of the predictor's columns."""
        self.point = point
        self.allowed = dict(allowed)
        """Task type to the names of the predictor's columns that may be chosen for it."""
        self._predictor = predictor

    def choose(
        self, tasks: Sequence[LoggedTask], may: Callable[[int, Strategy], bool] = lambda number, strategy: True
    ) -> list[PolicyChoice | None]:
        """Return a choice for every task, by what is known before anyone tries it; None where the log has none to give.

        Args:
            tasks: Their outcomes are never looked at.
            may: Whether a strategy may be used for the task of this number. Where that leaves one of several, nothing
                is chosen: there is nothing left to weigh it against.
        """
        if not tasks:
            return []
        names = self._predictor.agents
        open_to = np.zeros((len(tasks), len(names)), dtype=bool)
        for row, task in enumerate(tasks):
            allowed = self.allowed.get(task.task_type, frozenset())
            columns = [at for at, name in enumerate(names) if name in allowed and may(row, self.strategies[at])]
            if len(columns) >= min(2, max(1, len(allowed))):
                open_to[row, columns] = True
        predicted = self._predictor.predict(tasks)
        quality = np.where(open_to, predicted.quality, -np.inf)
        chosen = choose_columns(quality, predicted.cost_usd, self.point, draws_for(tasks))
        return [
            PolicyChoice(
                strategy=self.strategies[at],
                quality=float(predicted.quality[row, at]),
                cost_usd=float(predicted.cost_usd[row, at]),
            )
            if open_to[row, at]
            else None
            for row, at in enumerate(chosen)
        ]

    def save(self, path: Path | str) -> None:
        """Write the policy; the file appears whole or not at all.

        Raises:
            InvalidInput: the file cannot be written.
        """
        about, arrays = self._predictor.to_arrays()
        about["policy"] = {
            "strategies": [strategy_to_dict(strategy) for strategy in self.strategies],
            "point": asdict(self.point),
            "allowed": {task_type: sorted(names) for task_type, names in self.allowed.items()},
        }
        write_arrays(path, about, arrays)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a policy that `save` wrote.

        Raises:
            InvalidInput: there is no such file, or it is no policy, damaged, or of a newer version.
        """
        about, arrays = read_arrays(path)
        try:
            policy = about["policy"]
            if not isinstance(policy, Mapping):
                raise TypeError("there is no policy in it")
            predictor = OutcomePredictor.from_arrays(about, arrays)
            strategies = [strategy_from_dict(one) for one in policy["strategies"]]
            point = OperatingPoint(**{name: float(value) for name, value in policy["point"].items()})
            allowed = {str(kind): frozenset(map(str, names)) for kind, names in policy["allowed"].items()}
            if len(strategies) != len(predictor.agents) or not np.isfinite(list(asdict(point).values())).all():
                raise ValueError("its parts do not fit")
            if not (0 <= point.share <= 1 and min(point.price, point.other_price) >= 0):
                raise ValueError("its point is none")
        except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError, InvalidInput) as error:
            raise InvalidInput(f"{str(path)!r} is damaged or no policy ({error}). Learn it again.") from error
        return cls(predictor=predictor, strategies=strategies, point=point, allowed=allowed)


def draws_for(tasks: Sequence[LoggedTask]) -> NDArray[np.float64]:
    """Return a number from 0 to 1 for each task: the same in every process, and even over tasks."""
    words = (f"{task.task_id}\n{task.text}".encode("utf-8", "replace") for task in tasks)
    return np.array([(zlib.crc32(text) % _MIX) / _MIX for text in words], dtype=np.float64)
