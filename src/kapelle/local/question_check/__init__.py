"""Holds a SELECT that a model wrote for a question against that question. Read `check` first."""

from .check import CheckedSelect as CheckedSelect
from .check import DoesNotFit as DoesNotFit
from .check import check_select as check_select
from .check import find_unknown_words as find_unknown_words
from .check import run_select as run_select
from .schema_text import describe_schema as describe_schema
