"""Questions in plain words about the tables of a folder, as SQL by rules: no model, no guess. Read `questions`."""

from .questions import TableQuestions as TableQuestions
from .schema_links import LINKING_SECONDS as LINKING_SECONDS
from .schema_links import MAX_VALUE_WORDS as MAX_VALUE_WORDS
from .schema_links import MIN_OVERLAP as MIN_OVERLAP
from .schema_links import LinkedColumn as LinkedColumn
from .schema_links import LinkedTable as LinkedTable
from .schema_links import SchemaLinks as SchemaLinks
from .schema_links import ValueLink as ValueLink
from .schema_links import link_schema as link_schema
from .understood import Cell as Cell
from .understood import NotUnderstood as NotUnderstood
from .understood import Row as Row
from .understood import TablePlan as TablePlan
