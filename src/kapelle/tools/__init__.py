"""What agents work with: SQL over the tables of a folder, and a sandbox for programs."""

from .loading import Column as Column
from .loading import SkippedTable as SkippedTable
from .loading import Table as Table
from .loading import quote_name as quote_name
from .loading import quote_value as quote_value
from .loading import safe_names as safe_names
from .sandbox import Sandbox as Sandbox
from .sandbox import SandboxLimits as SandboxLimits
from .sandbox import SandboxResult as SandboxResult
from .tables import TableResult as TableResult
from .tables import Tables as Tables
