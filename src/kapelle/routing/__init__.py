"""Routing: which agent does which task, and why. Rules first, then capabilities, then load. Knows nothing of prices."""

from typing import TYPE_CHECKING

from .decision import Choice as Choice
from .decision import choose_agent as choose_agent
from .decision import choose_agents as choose_agents
from .halo import AgentCreator as AgentCreator
from .halo import HALORouter as HALORouter
from .halo import OptimizedAssignments as OptimizedAssignments
from .halo import PlanOptimizer as PlanOptimizer
from .plan import NO_PLAN as NO_PLAN
from .plan import OptimizedFigures as OptimizedFigures
from .plan import RoutedPlan as RoutedPlan
from .plan import RoutedTask as RoutedTask
from .plan import RoutingPlan as RoutingPlan
from .rules import RoutingRule as RoutingRule

if TYPE_CHECKING:
    from .rule_file import default_rules as default_rules
    from .rule_file import load_rules as load_rules
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "rule_file": "default_rules load_rules",
        },
    )
