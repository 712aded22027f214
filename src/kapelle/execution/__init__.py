"""Execution: approved plans, and nothing else, run as data flow."""

from typing import TYPE_CHECKING

from .backends import AsyncioBackend as AsyncioBackend
from .backends import Backend as Backend
from .backends import ThreadsBackend as ThreadsBackend
from .backends import make_backend as make_backend
from .error_reports import error_text as error_text
from .error_reports import read_spent as read_spent
from .executor import STOP as STOP
from .executor import ExecutionResult as ExecutionResult
from .executor import Executor as Executor
from .executor import Inbox as Inbox
from .growth import GraphChanges as GraphChanges
from .growth import GrowthLimits as GrowthLimits
from .growth import PlanApprover as PlanApprover
from .growth import Reflection as Reflection
from .growth import Reflector as Reflector
from .growth import Replanner as Replanner
from .limits import ExecutionLimits as ExecutionLimits
from .limits import HedgePolicy as HedgePolicy
from .limits import RetryPolicy as RetryPolicy
from .progress import compose_answer as compose_answer
from .resume import CUT_OFF as CUT_OFF
from .resume import Interruption as Interruption
from .resume import ResumeState as ResumeState
from .resume import find_interruptions as find_interruptions
from .resume import find_open_planning as find_open_planning
from .start_order import StartOrder as StartOrder
from .start_order import choose_start_order as choose_start_order

if TYPE_CHECKING:
    from .recovery import FallbackChooser as FallbackChooser
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "recovery": "FallbackChooser",
        },
    )
