"""What agents work with: SQL over the tables of a folder, and a sandbox for programs and commands."""

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
    from .table_loading import Column as Column
    from .table_loading import SkippedTable as SkippedTable
    from .table_loading import Table as Table
    from .table_loading import quote_name as quote_name
    from .tables import TableResult as TableResult
    from .tables import Tables as Tables
    from .tables import quote_value as quote_value
    from .workspace import Change as Change
    from .workspace import Snapshot as Snapshot
    from .workspace import Workspace as Workspace
    from .workspace import WorkspaceFile as WorkspaceFile
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "table_loading": "Column SkippedTable Table quote_name",
            "tables": "TableResult Tables quote_value",
            "workspace": "Change Snapshot Workspace WorkspaceFile",
        },
    )
