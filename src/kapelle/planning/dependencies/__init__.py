"""Which step of a plan needs which other's result, and why. Works without a model.

Read `infer` first. `calls` fills the blank arguments of tool calls; `options` and `scorer` weigh steps of text, with
weights learned by `bench/train_plans.py`; `tasks` mends a graph of tasks.
"""

from .infer import infer_dependencies as infer_dependencies
from .step import BLANK as BLANK
from .step import Edge as Edge
from .step import PlanStep as PlanStep
from .tasks import infer_task_dependencies as infer_task_dependencies
