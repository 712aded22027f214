"""Completeness: do the numbers, dates, identifiers and names of a request stand in some task of its plan?"""

from .check import Gap as Gap
from .check import find_gaps as find_gaps
from .left_out import find_left_out as find_left_out
from .quantities import Quantity as Quantity
from .quantities import find_quantities as find_quantities
from .reading import TaskText as TaskText
from .reading import is_yes_no_question as is_yes_no_question
from .reading import read_task as read_task
from .reading import split_name as split_name
