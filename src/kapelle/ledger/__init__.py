"""The ledger: what happened, written once and never changed. Resume, estimates, reports and training all read it."""

from typing import TYPE_CHECKING

from .amend import forget_row as forget_row
from .amend import is_forgotten as is_forgotten
from .amend import rating_row as rating_row
from .amounts import format_seconds as format_seconds
from .amounts import format_usd as format_usd
from .amounts import tell_overrun as tell_overrun
from .durability import Durability as Durability
from .event import COST_FIELDS as COST_FIELDS
from .event import ENDED as ENDED
from .event import EVENT_KINDS as EVENT_KINDS
from .event import RUN_STEPS as RUN_STEPS
from .event import TASK_STEPS as TASK_STEPS
from .event import Event as Event
from .event import EventKind as EventKind
from .event import RunState as RunState
from .event import TaskState as TaskState
from .explanation import tell_understood as tell_understood
from .figures import MAX_REPORTED_USD as MAX_REPORTED_USD
from .figures import RefusedFigure as RefusedFigure
from .figures import read_count as read_count
from .figures import read_seconds as read_seconds
from .figures import read_share as read_share
from .figures import read_usd as read_usd
from .figures import show_figure as show_figure
from .figures import tell_success as tell_success
from .journal import EventWatcher as EventWatcher
from .journal import Journal as Journal
from .lease import Lease as Lease
from .ledger import Ledger as Ledger
from .ledger import NewEvent as NewEvent
from .ledger import RunSummary as RunSummary
from .location import file_location as file_location
from .location import is_postgres_url as is_postgres_url
from .outcome import BLAMELESS as BLAMELESS
from .outcome import Outcome as Outcome
from .owner import is_dead as is_dead
from .owner import this_process as this_process
from .question import MAX_SHOWN_WORDS as MAX_SHOWN_WORDS
from .question import Question as Question
from .question import answer_message as answer_message
from .question import describe_question as describe_question
from .question import hash_asked as hash_asked
from .question import hash_json as hash_json
from .question import is_cut as is_cut
from .question import make_question_id as make_question_id
from .rebuild import RunBuilder as RunBuilder
from .rebuild import event_cost as event_cost
from .rebuild import rebuild_run as rebuild_run
from .run import Run as Run
from .sqlite import SqliteLedger as SqliteLedger
from .sqlite import ledger_path as ledger_path
from .task_run import AttemptRun as AttemptRun
from .task_run import TaskRun as TaskRun
from .task_run import cited_files as cited_files
from .telling import read_told as read_told
from .text import printable as printable
from .unrecorded import Unrecorded as Unrecorded
from .usage import NOTHING as NOTHING
from .usage import Usage as Usage
from .usage import is_readable as is_readable
from .usage import read_usage as read_usage

if TYPE_CHECKING:
    from .collect import Collected as Collected
    from .examine import Examination as Examination
    from .examine import try_making as try_making
    from .opening import has_ledger as has_ledger
    from .opening import open_ledger as open_ledger
    from .postgres import PostgresLedger as PostgresLedger
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "collect": "Collected",
            "examine": "Examination try_making",
            "opening": "has_ledger open_ledger",
            "postgres": "PostgresLedger",
        },
    )
