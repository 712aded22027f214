"""Planning: a request becomes a graph of tasks, by a file, a model or rules.

Read `planner` first. `rules`, `model_planner` and `graph_replies` each plan a whole request; `htdag` plans level
by level; `gate` says whether a plan pays; `dependencies` finds which task needs which other's result, `coverage` what
of the request no task has.
"""

from typing import TYPE_CHECKING

from .planner import CorrectingPlanner as CorrectingPlanner
from .planner import DraftMender as DraftMender
from .planner import PaidInvalidPlan as PaidInvalidPlan
from .planner import PartPlanner as PartPlanner
from .planner import Plan as Plan
from .planner import Planner as Planner
from .planner import Reflection as Reflection
from .planner import take_plan as take_plan

if TYPE_CHECKING:
    from .coverage import Quantities as Quantities
    from .coverage import TaskText as TaskText
    from .coverage import find_gaps as find_gaps
    from .coverage import read_quantities as read_quantities
    from .coverage import read_task as read_task
    from .dependencies import BLANK as BLANK
    from .dependencies import Edge as Edge
    from .dependencies import PlanStep as PlanStep
    from .dependencies import infer_dependencies as infer_dependencies
    from .dependencies import infer_task_dependencies as infer_task_dependencies
    from .edge_reasons import explain_edges as explain_edges
    from .fallback import FallbackPlanner as FallbackPlanner
    from .fallback import OverTables as OverTables
    from .fit import fit_types as fit_types
    from .gate import Decision as Decision
    from .gate import Gate as Gate
    from .gate import GatedPlanner as GatedPlanner
    from .gate import Judgement as Judgement
    from .gate import judge_request as judge_request
    from .gate import mark_mode as mark_mode
    from .gate import single_plan as single_plan
    from .graph_replies.planner import GraphPlanner as GraphPlanner
    from .graph_replies.planner import GraphReflector as GraphReflector
    from .graph_replies.prompts import FUNCTION_TYPES as FUNCTION_TYPES
    from .graph_replies.prompts import GAP_SYSTEM_PROMPT as GAP_SYSTEM_PROMPT
    from .graph_replies.prompts import GAP_USER_PROMPT as GAP_USER_PROMPT
    from .graph_replies.reply import GapReply as GapReply
    from .graph_replies.reply import read_reply as read_reply
    from .htdag import EXPAND_TYPE as EXPAND_TYPE
    from .htdag import HTDAGPlanner as HTDAGPlanner
    from .model_planner import ModelPlanner as ModelPlanner
    from .plan_file import PLAN_SUFFIXES as PLAN_SUFFIXES
    from .plan_file import parse_plan as parse_plan
    from .plan_file import read_plan as read_plan
    from .plan_file import read_plan_stream as read_plan_stream
    from .plan_file import write_plan as write_plan
    from .rules import FOR_EACH_CARD as FOR_EACH_CARD
    from .rules import ForEachAgent as ForEachAgent
    from .rules import RulePlanner as RulePlanner
    from .rules import read_items as read_items
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "coverage": "Quantities TaskText find_gaps read_quantities read_task",
            "dependencies": "BLANK Edge PlanStep infer_dependencies infer_task_dependencies",
            "edge_reasons": "explain_edges",
            "fallback": "FallbackPlanner OverTables",
            "fit": "fit_types",
            "gate": "Decision Gate GatedPlanner Judgement judge_request mark_mode single_plan",
            "graph_replies": "FUNCTION_TYPES GAP_SYSTEM_PROMPT GAP_USER_PROMPT GapReply GraphPlanner "
            "GraphReflector read_reply",
            "htdag": "EXPAND_TYPE HTDAGPlanner",
            "model_planner": "ModelPlanner",
            "plan_file": "PLAN_SUFFIXES parse_plan read_plan read_plan_stream write_plan",
            "rules": "FOR_EACH_CARD ForEachAgent RulePlanner read_items",
        },
    )
