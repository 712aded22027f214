"""Cost: what work is expected to take, who does it for least, and what may be spent at all.

`CostProfiler` learns estimates from outcomes. `DAAOOptimizer` moves tasks to the agents that do them at least cost
within the limits on the whole plan. `Budget` holds the spending of a run within its limits.
"""

from .budget import Amounts as Amounts
from .budget import Budget as Budget
from .budget import BudgetStatistics as BudgetStatistics
from .budget import Reservation as Reservation
from .canonical import canonical_answer as canonical_answer
from .checks import Checks as Checks
from .checks import Verdict as Verdict
from .checks import task_context as task_context
from .complexity import estimate_complexities as estimate_complexities
from .complexity import estimate_complexity as estimate_complexity
from .candidates import StrategySource as StrategySource
from .expectation import VERIFY as VERIFY
from .expectation import Expectation as Expectation
from .expectation import expect_tasks as expect_tasks
from .expectation import why_unable as why_unable
from .optimizer import Attempt as Attempt
from .optimizer import DAAOOptimizer as DAAOOptimizer
from .optimizer import OptimizationConstraints as OptimizationConstraints
from .optimizer import OptimizedPlan as OptimizedPlan
from .profiler import CostProfiler as CostProfiler
from .profiler import Estimate as Estimate
from .profiler import Execution as Execution
from .profiler import TaskProfile as TaskProfile
from .strategy import Accept as Accept
from .strategy import Answer as Answer
from .strategy import Ask as Ask
from .strategy import Cascade as Cascade
from .strategy import Check as Check
from .strategy import Examine as Examine
from .strategy import GiveUp as GiveUp
from .strategy import Single as Single
from .strategy import Strategy as Strategy
from .strategy import Vote as Vote
from .strategy import agents_of as agents_of
from .strategy import next_move as next_move
from .strategy import strategy_from_dict as strategy_from_dict
from .strategy import strategy_to_dict as strategy_to_dict
