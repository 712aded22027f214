"""Limits: what a user allows a run, checked once."""

from .run_limits import ASKED as ASKED
from .run_limits import MAX_TASKS as MAX_TASKS
from .run_limits import MIN_SECONDS as MIN_SECONDS
from .run_limits import RunLimits as RunLimits
from .run_limits import check_limit as check_limit
