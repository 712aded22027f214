"""The ledger: what happened, written once and never changed. Resume, estimates, reports and training all read it."""

from .amounts import format_seconds as format_seconds
from .amounts import format_usd as format_usd
from .amounts import tell_overrun as tell_overrun
from .event import COST_FIELDS as COST_FIELDS
from .event import ENDED as ENDED
from .event import EVENT_KINDS as EVENT_KINDS
from .event import RUN_STEPS as RUN_STEPS
from .event import TASK_STEPS as TASK_STEPS
from .event import Event as Event
from .event import EventKind as EventKind
from .event import RunState as RunState
from .event import TaskState as TaskState
from .journal import EventWatcher as EventWatcher
from .journal import Journal as Journal
from .ledger import Ledger as Ledger
from .ledger import RunSummary as RunSummary
from .outcome import Outcome as Outcome
from .rebuild import RunBuilder as RunBuilder
from .rebuild import rebuild_run as rebuild_run
from .run import AttemptRun as AttemptRun
from .run import Run as Run
from .run import TaskRun as TaskRun
from .sqlite import SqliteLedger as SqliteLedger
from .sqlite import ledger_path as ledger_path
from .text import printable as printable
from .usage import Usage as Usage
