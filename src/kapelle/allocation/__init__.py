"""Allocation: who does every task of a plan at least cost within the limits on the whole plan.

`DAAOOptimizer` is the face; `formulation` says the problem, `solve` solves it, with the certificate; `frontier` and
`portfolio` show the choices of one plan and of several. What needs NumPy is imported when it is first asked for.
"""

from typing import TYPE_CHECKING

from .candidates import VERIFY as VERIFY
from .candidates import JudgedStrategy as JudgedStrategy
from .candidates import StrategySource as StrategySource
from .constraints import OptimizationConstraints as OptimizationConstraints
from .exploration import Exploration as Exploration
from .exploration import Explorer as Explorer
from .exploration import Move as Move
from .optimizer import DAAOOptimizer as DAAOOptimizer
from .orders import follow_orders as follow_orders
from .orders import ordered_strategy as ordered_strategy
from .plan import OptimizedPlan as OptimizedPlan
from .plan import SpentSoFar as SpentSoFar
from .plan_estimates import PlanEstimates as PlanEstimates
from .plan_estimates import why_unable as why_unable
from .policy import ChoicePolicy as ChoicePolicy
from .seen import Seen as Seen
from .seen import SeenInRun as SeenInRun
from .seen import units_of as units_of

if TYPE_CHECKING:
    from .frontier import Frontier as Frontier
    from .frontier import FrontierPoint as FrontierPoint
    from .frontier_search import pareto_frontier as pareto_frontier
    from .portfolio import JointPlan as JointPlan
    from .portfolio import optimize_portfolio as optimize_portfolio
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "frontier": "Frontier FrontierPoint",
            "frontier_search": "pareto_frontier",
            "portfolio": "JointPlan optimize_portfolio",
        },
    )
