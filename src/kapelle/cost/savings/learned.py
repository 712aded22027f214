"""What kapelle itself learns to choose with, handed to the report. Loaded only when it is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kapelle.cost.difficulty import DifficultyModel
from kapelle.cost.logged import LoggedTask
from kapelle.cost.policy import RoutingPolicy
from kapelle.cost.replay import LoggedTable, checks_of
from kapelle.cost.strategy import Strategy, agents_of

Array = npt.NDArray[Any]


def fit_policy(tasks: Sequence[LoggedTask], seed: int) -> RoutingPolicy:
    """Return the policy learned from these tasks; each has been seen with every agent."""
    return RoutingPolicy.fit(tasks, seed=seed)


def fit_predictor(tasks: Sequence[LoggedTask], seed: int) -> DifficultyModel:
    """Return the predictor learned from these tasks, of each of which a part of the agents was seen."""
    return DifficultyModel.fit(tasks, seed=seed)


def replay_strategy(strategy: Strategy, tasks: Sequence[LoggedTask]) -> tuple[Array, Array]:
    """Return (quality, dollars) of the strategy at each task; NaN where the log does not say."""
    table = LoggedTable.build(tasks, agents=agents_of(strategy), examine=checks_of(strategy))
    found = table.replay(strategy)
    return np.asarray(found.quality), np.asarray(found.cost_usd)
