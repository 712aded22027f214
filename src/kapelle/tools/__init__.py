"""What agents work with: SQL over the tables of a folder, and a sandbox for programs."""

from .sandbox import Sandbox as Sandbox
from .sandbox import SandboxLimits as SandboxLimits
from .sandbox import SandboxResult as SandboxResult
from .table_loading import Column as Column
from .table_loading import SkippedTable as SkippedTable
from .table_loading import Table as Table
from .table_loading import quote_name as quote_name
from .tables import TableResult as TableResult
from .tables import Tables as Tables
from .tables import quote_value as quote_value
