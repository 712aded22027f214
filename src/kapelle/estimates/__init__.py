"""Estimates: what a task is expected to take of an agent, and how likely it succeeds, learned from outcomes.

`CostProfiler` is the face. What needs NumPy (success, words, predictor) is imported when it is first asked for.
"""

from typing import TYPE_CHECKING

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
from .profiler import CostProfiler as CostProfiler
from .quantiles import beta_quantile as beta_quantile
from .quantiles import expit as expit
from .quantiles import logit as logit
from .recorded import estimates_to_dict as estimates_to_dict

if TYPE_CHECKING:
    from .arrays import read_arrays as read_arrays
    from .arrays import write_arrays as write_arrays
    from .features import Embed as Embed
    from .predictor import OutcomePredictor as OutcomePredictor
    from .success import Scales as Scales
    from .success import SuccessModel as SuccessModel
    from .success import Term as Term
    from .words import LearnedWords as LearnedWords
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "arrays": "read_arrays write_arrays",
            "features": "Embed",
            "predictor": "OutcomePredictor",
            "success": "Scales SuccessModel Term",
            "words": "LearnedWords",
        },
    )
