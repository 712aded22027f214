"""Cost: what work is expected to take, who does it for least, and what may be spent at all.

`CostProfiler` learns estimates from outcomes, and how hard a task is from its words (difficulty). A strategy asks one
agent or several (strategy, checks); those that pay are found in outcomes (strategies, strategy_book). `DAAOOptimizer`
gives tasks to the agents or strategies that do them at least cost within the limits on the whole plan. `Budget` holds
the spending of a run within its limits. `savings` tells from a log what routing would have saved.

What needs NumPy is not imported here, so that a run without history does not wait for it: difficulty, policy, replay,
strategies, savings.
"""

from .budget import Amounts as Amounts
from .budget import Budget as Budget
from .budget import BudgetStatistics as BudgetStatistics
from .budget import Reservation as Reservation
from .candidates import VERIFY as VERIFY
from .candidates import JudgedStrategy as JudgedStrategy
from .candidates import StrategySource as StrategySource
from .canonical import canonical_answer as canonical_answer
from .checks import Checks as Checks
from .checks import Validator as Validator
from .checks import Verdict as Verdict
from .checks import read_passed as read_passed
from .checks import task_context as task_context
from .complexity import estimate_complexities as estimate_complexities
from .complexity import estimate_complexity as estimate_complexity
from .constraints import OptimizationConstraints as OptimizationConstraints
from .drift import Drift as Drift
from .expectation import Expectation as Expectation
from .expectation import expect_tasks as expect_tasks
from .expectation import why_unable as why_unable
from .exploration import Exploration as Exploration
from .exploration import Explorer as Explorer
from .exploration import Move as Move
from .frontier import Frontier as Frontier
from .frontier import FrontierPoint as FrontierPoint
from .frontier import pareto_frontier as pareto_frontier
from .learned import Learned as Learned
from .learned import Lessons as Lessons
from .learned import find_unreadable as find_unreadable
from .learned import learn as learn
from .learned import load_learned as load_learned
from .logged import LoggedOutcome as LoggedOutcome
from .logged import LoggedTask as LoggedTask
from .optimizer import DAAOOptimizer as DAAOOptimizer
from .orders import follow_orders as follow_orders
from .orders import ordered_strategy as ordered_strategy
from .plan import Attempt as Attempt
from .plan import OptimizedPlan as OptimizedPlan
from .portfolio import Portfolio as Portfolio
from .portfolio import optimize_portfolio as optimize_portfolio
from .profiler import CostProfiler as CostProfiler
from .profiler import Estimate as Estimate
from .profiler import Execution as Execution
from .profiler import TaskProfile as TaskProfile
from .reward import Features as Features
from .reward import RewardModel as RewardModel
from .reward import describe_attempt as describe_attempt
from .reward import outcome_value as outcome_value
from .savings import ColumnNames as ColumnNames
from .savings import Log as Log
from .savings import SavingsReport as SavingsReport
from .savings import Scale as Scale
from .savings import format_report as format_report
from .savings import read_log as read_log
from .savings import run_savings as run_savings
from .savings import savings_report as savings_report
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
from .strategy_book import StrategyBook as StrategyBook
from .strategy_estimate import StrategyEstimate as StrategyEstimate
