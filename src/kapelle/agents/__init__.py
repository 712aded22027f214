"""Agents: the protocol they follow, what they can do, and the registry that a run is given."""

from typing import TYPE_CHECKING

from .adapters import CallableAgent as CallableAgent
from .adapters import RegisteredAgent as RegisteredAgent
from .adapters import agent as agent
from .adapters import as_agent as as_agent
from .adapters import runs_on_thread as runs_on_thread
from .agent import Agent as Agent
from .agent import AgentResult as AgentResult
from .agent import HumanAnswer as HumanAnswer
from .agent import PartialText as PartialText
from .agent import TaskContext as TaskContext
from .capability import AgentCapability as AgentCapability
from .capability import CostTier as CostTier
from .output_limit import MESSAGE_TOKENS as MESSAGE_TOKENS
from .output_limit import limit_within as limit_within
from .paid_failure import add_paid as add_paid
from .registry import AgentRegistry as AgentRegistry
from .sources import MADE_TYPES as MADE_TYPES
from .sources import MEMORY_MARK as MEMORY_MARK
from .sources import SOURCED_TYPES as SOURCED_TYPES
from .sources import WRITTEN_TYPES as WRITTEN_TYPES
from .sources import has_sources as has_sources
from .sources import is_from_memory as is_from_memory
from .step_log import StepEvent as StepEvent
from .step_log import StepLog as StepLog
from .step_log import StepsInMemory as StepsInMemory
from .step_log import acts_in_steps as acts_in_steps
from .threads import THREAD_NAME as THREAD_NAME
from .threads import call_in_thread as call_in_thread
from .threads import carried as carried
from .threads import count_thread as count_thread
from .threads import threads_at_work as threads_at_work
from .threads import when_threads_end as when_threads_end

if TYPE_CHECKING:
    from .library_agent import PydanticAIAgent as PydanticAIAgent
    from .loop import LoopAgent as LoopAgent
    from .loop import LoopLimits as LoopLimits
    from .loop import Tool as Tool
    from .loop import ToolAnswer as ToolAnswer
    from .loop import ToolContext as ToolContext
    from .loop import WorkPlace as WorkPlace
    from .loop import browser_tools as browser_tools
    from .loop import make_tool as make_tool
    from .loop import workspace_tools as workspace_tools
    from .model_agent import ModelAgent as ModelAgent
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "library_agent": "PydanticAIAgent",
            "loop": "LoopAgent LoopLimits Tool ToolAnswer ToolContext WorkPlace browser_tools make_tool "
            "workspace_tools",
            "model_agent": "ModelAgent",
        },
    )
