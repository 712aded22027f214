"""What agents work with: the table of their tools, SQL over a folder, a sandbox, a workspace, a browser."""

from typing import TYPE_CHECKING

from .sandbox import ALLOWED_UNPROTECTED as ALLOWED_UNPROTECTED
from .sandbox import CommandLimits as CommandLimits
from .sandbox import CommandResult as CommandResult
from .sandbox import Sandbox as Sandbox
from .sandbox import SandboxLimits as SandboxLimits
from .sandbox import SandboxResult as SandboxResult
from .sandbox import Walls as Walls
from .sandbox import find_walls as find_walls

if TYPE_CHECKING:
    from .agent_states import ALLOWED_ACTIONS as ALLOWED_ACTIONS
    from .agent_states import TRANSITIONS as TRANSITIONS
    from .agent_states import AgentState as AgentState
    from .agent_states import draw_states as draw_states
    from .agent_states import find_way as find_way
    from .browser import GET_CHROMIUM as GET_CHROMIUM
    from .browser import GET_PLAYWRIGHT as GET_PLAYWRIGHT
    from .browser import AllowedHosts as AllowedHosts
    from .browser import Browser as Browser
    from .browser import BrowserLimits as BrowserLimits
    from .browser import BrowserSession as BrowserSession
    from .browser import PageElement as PageElement
    from .browser import PageReading as PageReading
    from .browser import find_chromium as find_chromium
    from .table_loading import Column as Column
    from .table_loading import SkippedTable as SkippedTable
    from .table_loading import Table as Table
    from .table_loading import quote_name as quote_name
    from .tables import TableResult as TableResult
    from .tables import Tables as Tables
    from .tables import quote_value as quote_value
    from .tool_masking import ToolMasking as ToolMasking
    from .tool_masking import explain_mask as explain_mask
    from .tool_masking import read_state as read_state
    from .tool_table import STATIC_TOOLS as STATIC_TOOLS
    from .tool_table import ToolRow as ToolRow
    from .tool_table import ToolTable as ToolTable
    from .tool_table import clean_tool_name as clean_tool_name
    from .tool_table import legal_tool_name as legal_tool_name
    from .workspace import Change as Change
    from .workspace import Snapshot as Snapshot
    from .workspace import Workspace as Workspace
    from .workspace import WorkspaceFile as WorkspaceFile
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "agent_states": "ALLOWED_ACTIONS TRANSITIONS AgentState draw_states find_way",
            "browser": "GET_CHROMIUM GET_PLAYWRIGHT AllowedHosts Browser BrowserLimits BrowserSession PageElement "
            "PageReading find_chromium",
            "table_loading": "Column SkippedTable Table quote_name",
            "tables": "TableResult Tables quote_value",
            "tool_masking": "ToolMasking explain_mask read_state",
            "tool_table": "STATIC_TOOLS ToolRow ToolTable clean_tool_name legal_tool_name",
            "workspace": "Change Snapshot Workspace WorkspaceFile",
        },
    )
