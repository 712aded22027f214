"""What the steps of one execution share: each kind of its state, with its one owner. Does nothing itself."""

from __future__ import annotations

from dataclasses import dataclass

from kapelle.agents import AgentRegistry

from .deadlines import Deadlines
from .journal_writer import JournalWriter
from .limits import ExecutionLimits
from .ready import ReadyJobs
from .reports import Reports
from .rests import Rests
from .running import RunningJobs
from .spending import Spending
from .tasks import Tasks


@dataclass(frozen=True, kw_only=True, slots=True)
class Owners:
    """The state of one execution."""

    run_id: str
    agents: AgentRegistry
    limits: ExecutionLimits
    deadlines: Deadlines
    reports: Reports
    spending: Spending
    writer: JournalWriter
    ready: ReadyJobs
    running: RunningJobs
    rests: Rests
    tasks: Tasks
