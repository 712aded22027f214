"""What agents work with: SQL over the tables of a folder, and a sandbox for programs."""

from .sandbox import Sandbox as Sandbox
from .sandbox import SandboxLimits as SandboxLimits
from .sandbox import SandboxResult as SandboxResult
from .tables import Column as Column
from .tables import SkippedTable as SkippedTable
from .tables import Table as Table
from .tables import TableResult as TableResult
from .tables import Tables as Tables
from .tables import quote_name as quote_name
from .tables import quote_value as quote_value
from .tables import safe_names as safe_names
