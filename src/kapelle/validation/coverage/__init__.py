"""Completeness: is everything that the request names (numbers, dates, names, parts to be done) in some task?

Reads English by rules, and errs on the side of silence: what it is not sure of is a warning.
"""

from .check import find_gaps as find_gaps
from .clauses import Demand as Demand
from .clauses import is_yes_no_question as is_yes_no_question
from .clauses import split_demands as split_demands
from .quantities import Quantity as Quantity
from .quantities import find_quantities as find_quantities
from .reading import TaskText as TaskText
from .reading import read_task as read_task
from .reading import stems_of as stems_of
