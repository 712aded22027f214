"""Execution: approved plans, and nothing else, run as data flow."""

from .answer import compose_answer as compose_answer
from .executor import Ending as Ending
from .executor import ExecutionLimits as ExecutionLimits
from .executor import Executor as Executor
from .executor import Growth as Growth
from .growth import GrowthLimits as GrowthLimits
from .growth import PlanApprover as PlanApprover
from .growth import Replanner as Replanner
from .retry import RetryPolicy as RetryPolicy
