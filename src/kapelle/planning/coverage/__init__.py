"""Completeness: do the numbers, dates, identifiers and names of a request stand in some task of its plan?"""

from .check import Gap as Gap
from .check import Quantities as Quantities
from .check import TaskText as TaskText
from .check import find_gaps as find_gaps
from .check import read_quantities as read_quantities
from .check import read_task as read_task
from .left_out import find_left_out as find_left_out
