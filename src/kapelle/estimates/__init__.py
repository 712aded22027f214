"""Estimates: what a task is expected to take of an agent, and how likely it succeeds, learned from outcomes.

`CostProfiler` is the face. What needs NumPy (difficulty, features, forest) is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .complexity import estimate_complexities as estimate_complexities
from .complexity import estimate_complexity as estimate_complexity
from .drift import Drift as Drift
from .estimate import DEFAULT_SUCCESS_RATE as DEFAULT_SUCCESS_RATE
from .estimate import HOPELESS as HOPELESS
from .estimate import MIN_OUTCOMES as MIN_OUTCOMES
from .estimate import Estimate as Estimate
from .history import Execution as Execution
from .history import TaskProfile as TaskProfile
from .logged import LoggedOutcome as LoggedOutcome
from .logged import LoggedTask as LoggedTask
from .posterior import beta_quantile as beta_quantile
from .posterior import expit as expit
from .posterior import logit as logit
from .profiler import CostProfiler as CostProfiler

if TYPE_CHECKING:
    from .arrays import read_arrays as read_arrays
    from .arrays import write_arrays as write_arrays
    from .difficulty import Difficulty as Difficulty
    from .difficulty import DifficultyModel as DifficultyModel
    from .features import Embed as Embed

_LATER = {
    **dict.fromkeys(
        (
            "Difficulty",
            "DifficultyModel",
        ),
        "difficulty",
    ),
    **dict.fromkeys(("read_arrays", "write_arrays"), "arrays"),
    **dict.fromkeys(("Embed",), "features"),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LATER[name]}", __name__), name)
