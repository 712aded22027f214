"""Tasks, and graphs of them: what is to be done, and what has to wait for what. Pure: no I/O, no clock.

Read `task`, then `dag`. `references` gives the `{s1}` in a task's inputs its meaning, `topology` holds the algorithms,
`list_schedule` works out what starts when there are only so many machines,
`patch` says what becomes of a plan that changes. `graph_xml` and `calls` read and write the `<graph>` of graph plans;
`svg` (with `layout`) and `mermaid` draw.
"""

from typing import TYPE_CHECKING

from kapelle.redaction import join_surrogates as join_surrogates

from .dag import CriticalPath as CriticalPath
from .dag import TaskDAG as TaskDAG
from .json_values import MAX_READ_CHARS as MAX_READ_CHARS
from .json_values import MAX_READ_VALUES as MAX_READ_VALUES
from .json_values import TooLarge as TooLarge
from .json_values import clone_json_value as clone_json_value
from .json_values import read_json_value as read_json_value
from .json_values import tell_json_value as tell_json_value
from .named_strategy import CHECK_KINDS as CHECK_KINDS
from .named_strategy import CheckKind as CheckKind
from .named_strategy import named_agents as named_agents
from .patch import GraphPatch as GraphPatch
from .references import Filled as Filled
from .references import Reference as Reference
from .references import bare_answer as bare_answer
from .references import change_texts as change_texts
from .references import escape_braces as escape_braces
from .references import find_literals as find_literals
from .references import find_references as find_references
from .references import is_reference as is_reference
from .references import names_a_part as names_a_part
from .references import rename_references as rename_references
from .references import render_output as render_output
from .references import replace_references as replace_references
from .references import resolve_references as resolve_references
from .references import split_filled as split_filled
from .task import MAX_RETRIES as MAX_RETRIES
from .task import Risk as Risk
from .task import Task as Task
from .topology import topological_order as topological_order

if TYPE_CHECKING:
    from .bands import MAX_DRAWN as MAX_DRAWN
    from .bands import split_in_bands as split_in_bands
    from .bands import tell_counts as tell_counts
    from .calls import Call as Call
    from .calls import parse_code_calls as parse_code_calls
    from .captions import title_task as title_task
    from .change import apply_change as apply_change
    from .change import describe_change as describe_change
    from .list_schedule import Machines as Machines
    from .list_schedule import Schedule as Schedule
    from .list_schedule import justify_list as justify_list
    from .list_schedule import least_seconds as least_seconds
    from .list_schedule import schedule_list as schedule_list
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "bands": "MAX_DRAWN split_in_bands tell_counts",
            "calls": "Call parse_code_calls",
            "captions": "title_task",
            "change": "apply_change describe_change",
            "list_schedule": "Machines Schedule justify_list least_seconds schedule_list",
        },
    )
