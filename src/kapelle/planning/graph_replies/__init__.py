"""Graph-based planning (GAP, arXiv:2510.25320): a model writes the plan as a graph, and reflects on it while it runs.

Read `reply`, what a reply may look like, then `planner`, who asks for it. `markup`, `json_plan` and `lines` read the
three notations, `nodes` makes tasks of what they find; `GraphReflector` asks again as tasks end.
"""

from .planner import GraphPlanner as GraphPlanner
from .planner import GraphReflector as GraphReflector
from .prompts import FUNCTION_TYPES as FUNCTION_TYPES
from .prompts import GAP_SYSTEM_PROMPT as GAP_SYSTEM_PROMPT
from .prompts import GAP_USER_PROMPT as GAP_USER_PROMPT
from .reply import GapReply as GapReply
from .reply import read_reply as read_reply
