"""Ends a run before its tasks do: what runs is cancelled, what waits is skipped, and both are written down.

What has ended meanwhile counts as it ended, and nothing follows from it. A person, a deadline, a task that must not
fail, and whoever cancels the run end it alike.
"""

from __future__ import annotations

from .attempts import Attempts
from .graph_changes import PendingChanges
from .journal_writer import JournalWriter
from .running import RunningJobs
from .tasks import Tasks


async def stop(
    reason: str,
    *,
    tasks: Tasks,
    running: RunningJobs,
    changes: PendingChanges,
    attempts: Attempts,
    writer: JournalWriter,
    grace_s: float,
) -> bool:
    """Stop a run; return whether it was cancelled meanwhile, which means: at once."""
    tasks.is_stopping = True
    changes.stop(reason)
    jobs = list(running)
    was_cancelled = await running.cancel(jobs, grace_s)
    for job in jobs:
        attempts.settle_stopped(job, reason)
    for work in [work for work in tasks.works.values() if work.started is not None]:
        attempts.stop_task(work, reason)
    progress = tasks.progress
    over = {*progress.outputs, *progress.failed, *progress.skipped, *progress.cancelled, *progress.asking}
    for task_id in progress.graph.topological_order():
        if task_id not in over:
            writer.task_skipped(task_id, reason, by_stop=True)
            progress.skipped[task_id] = reason
    return was_cancelled
