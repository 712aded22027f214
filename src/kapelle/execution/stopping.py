"""Ends a run before its tasks do: what runs is cancelled, what waits is skipped, and both are written down.

What has ended meanwhile counts as it ended, and nothing follows from it. A person, a deadline, a task that must not
fail, and whoever cancels the run end it alike.
"""

from __future__ import annotations

from .attempts import Attempts
from .graph_changes import PendingChanges
from .owners import Owners


async def stop(own: Owners, changes: PendingChanges, attempts: Attempts, reason: str) -> bool:
    """Stop a run; return whether it was cancelled meanwhile, which means: at once."""
    tasks, progress = own.tasks, own.tasks.progress
    tasks.is_stopping = True
    changes.stop(reason)
    jobs = list(own.running)
    was_cancelled = await own.running.cancel(jobs, own.limits.grace_s)
    for job in jobs:
        attempts.settle_stopped(job, reason)
    for work in [work for work in tasks.works.values() if work.started is not None]:
        attempts.stop_task(work, reason)
    over = {*progress.outputs, *progress.failed, *progress.skipped, *progress.cancelled, *progress.asking}
    for task_id in progress.graph.topological_order():
        if task_id not in over:
            own.writer.task_skipped(task_id, reason, by_stop=True)
            progress.skipped[task_id] = reason
    return was_cancelled
