"""Planning: a request becomes a graph of tasks, by a file, a model or rules."""

from .for_each import FOR_EACH_CARD as FOR_EACH_CARD
from .for_each import ForEachAgent as ForEachAgent
from .for_each import read_items as read_items
from .gap import FUNCTION_TYPES as FUNCTION_TYPES
from .gap import GAP_SYSTEM_PROMPT as GAP_SYSTEM_PROMPT
from .gap import GAP_USER_PROMPT as GAP_USER_PROMPT
from .gap import GapReply as GapReply
from .gap import GraphPlanner as GraphPlanner
from .gap import PaidInvalidPlan as PaidInvalidPlan
from .gap import Reflection as Reflection
from .gap import read_reply as read_reply
from .gap import stream_tasks as stream_tasks
from .htdag import EXPAND_TYPE as EXPAND_TYPE
from .htdag import HTDAGPlanner as HTDAGPlanner
from .model_planner import PLAN_SCHEMA as PLAN_SCHEMA
from .model_planner import ModelPlanner as ModelPlanner
from .model_planner import read_model_plan as read_model_plan
from .plan_file import PLAN_SUFFIXES as PLAN_SUFFIXES
from .plan_file import parse_plan as parse_plan
from .plan_file import read_plan as read_plan
from .planner import Plan as Plan
from .planner import Planner as Planner
from .rule_planner import RulePlanner as RulePlanner
