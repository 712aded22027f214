"""Agents that act: a model in a loop with tools. Read `loop_agent.py` first, then `loop.py`."""

from .browser_tools import browser_tools as browser_tools
from .limits import LoopLimits as LoopLimits
from .loop_agent import LoopAgent as LoopAgent
from .setup import FinishCheck as FinishCheck
from .setup import WorkPlace as WorkPlace
from .tool_kit import Tool as Tool
from .tool_kit import ToolAnswer as ToolAnswer
from .tool_kit import ToolContext as ToolContext
from .tool_kit import make_tool as make_tool
from .workspace_tools import workspace_tools as workspace_tools
