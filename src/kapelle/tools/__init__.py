"""What agents work with: SQL over the tables of a folder, questions turned into SQL, and a sandbox for programs."""

from .question_check import CheckedSelect as CheckedSelect
from .question_check import DoesNotFit as DoesNotFit
from .question_check import check_select as check_select
from .question_check import find_unknown_words as find_unknown_words
from .question_check import run_select as run_select
from .sandbox import Sandbox as Sandbox
from .sandbox import SandboxLimits as SandboxLimits
from .sandbox import SandboxResult as SandboxResult
from .schema_links import SchemaLinks as SchemaLinks
from .schema_links import link_schema as link_schema
from .schema_text import describe_schema as describe_schema
from .table_plan import Cell as Cell
from .table_plan import NotUnderstood as NotUnderstood
from .table_plan import Row as Row
from .table_plan import TablePlan as TablePlan
from .table_questions import TableQuestions as TableQuestions
from .tables import Column as Column
from .tables import SkippedTable as SkippedTable
from .tables import Table as Table
from .tables import TableResult as TableResult
from .tables import Tables as Tables
from .tables import quote_name as quote_name
from .tables import quote_value as quote_value
from .tables import safe_names as safe_names
