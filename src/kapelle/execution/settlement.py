"""The one way to settle a job that has ended: its place is free, it is charged, learned from, and written down.

What follows for its task is not known here: see attempts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from kapelle.agents import AgentResult, threads_at_work, when_threads_end
from kapelle.errors import AskPerson
from kapelle.failures import FailureKind, sort_failure
from kapelle.redaction import get_logger
from kapelle.strategies import Verdict

from .calls import read_verdict
from .error_reports import read_readings, tell_traceback
from .reassignment import Reassignment
from .results import read_result
from .running import PlaceFree
from .tasks import Owners
from .work import Attempt, Job

failures = get_logger("kapelle.execution")
"""Told of every attempt that fails: which run, task and agent are fields of the record."""
LATE_EXPANSION = "It expanded into other tasks when the run was stopped."


@dataclass(frozen=True, slots=True)
class Ended:
    """What an attempt has ended with."""

    result: AgentResult | None
    """What it gave, or what an error says that it used."""
    reason: str | None
    """Why it is no answer."""
    error: BaseException | None = None
    is_cut_off: bool = False
    """Whether it was stopped because nobody waits for it any more: nothing is learned of its agent from it."""

    @classmethod
    def of(cls, job: Job) -> Ended:
        """Return what a job has ended with, its time among it."""
        assert job.running is not None
        if job.expired is not None:
            return cls(None, job.expired)
        return cls(*read_result(job.running), job.error)


class Settlement:
    """Settles the jobs of one execution."""

    def __init__(self, own: Owners, reassignment: Reassignment) -> None:
        self._reassignment = reassignment
        self._run_id, self._deadlines, self._reports = own.run_id, own.deadlines, own.reports
        self._ready, self._running, self._rests = own.ready, own.running, own.rests
        self._spending, self._writer = own.spending, own.writer

    def leave(self, job: Job) -> None:
        """A job is under way no more; its place is free, unless a thread of it goes on."""
        self._running.leave(job)
        running, agent = job.running, job.agent
        if agent is None or job.expired is None or running is None or not threads_at_work(running):
            self._ready.leave(job)
        else:
            given_s = self._deadlines.seconds_for(job.work.task, agent) or 0.0
            self._ready.leave_late(job, given_s, partial(when_threads_end, running))
            news = PlaceFree(agent=agent, left_by=job)
            when_threads_end(running, partial(self._reports.put_from_anywhere, news))
        if self._rests.first:
            self._rests.let_others_follow(job)

    def settle(self, job: Job, ended: Ended, *, decides: bool = True, **more: Any) -> Attempt:
        """Charge an attempt that has ended, learn from it, and write it down.

        The only attempt of a task is written down with the task's end.

        Args:
            decides: Whether it is what its agent gives to the strategy; one that is made again, or has a rival, is not.
            more: What else the journal is told.
        """
        work, attempt = job.work, job.work.attempts[job.attempt]
        cut_off = ended.is_cut_off or job.expired is not None
        seconds = self._deadlines.seconds_since(job.started)
        self._spending.charge(job, ended.result, seconds, is_cut_off=cut_off and ended.result is None)
        attempt.reason = ended.reason
        if not ended.is_cut_off:
            asks = isinstance(ended.error, AskPerson)
            attempt.result, attempt.ended = ended.result, True
            if ended.reason is not None:
                attempt.failure = _kind_of(job, ended)
                if not asks:
                    self._tell_failure(job, attempt, ended)
            self._spending.learn(job, ended.result, answered=ended.reason is None and not asks)
            self._reassignment.note(
                job, None if attempt.cost_assumed else attempt.cost_usd, None if cut_off or asks else seconds
            )
            self._ready.allow(attempt.agent, self._spending.places_of(attempt.agent))
        if not work.simple:
            if decides and not ended.is_cut_off:
                work.take(job, ended.result, ended.reason)
            self._writer.attempt_finished(work, job.attempt, **more)
        return attempt

    def cut_off(self, job: Job, reason: str) -> None:
        """Stop an attempt that nobody waits for any more. One that has ended meanwhile is charged what it cost."""
        result = None
        if job.running is not None and job.running.done() and job.expired is None:
            ended = Ended.of(job)
            result = ended.result
            if ended.error is not None:
                self._rests.heed(job, ended.error)
        self._running.give_up(job, reason)
        self.leave(job)
        self.settle(job, Ended(result, reason, is_cut_off=True))

    def judge(self, job: Job) -> None:
        """A check has ended. One that could not be made is not passed."""
        assert job.running is not None
        assert job.reservation is not None
        seconds = self._deadlines.seconds_since(job.started)
        verdict, why = (None, job.expired) if job.expired is not None else read_verdict(job.running)
        if verdict is None:
            verdict = Verdict(passed=False, measured=False, note=f"The check failed. {why}")
            if job.judge_cost is None:  # it was cut off: what it has cost is unknown, so all that was set aside
                job.judge_cost = (job.reservation.usd, job.reservation.usd > 0)
        if job.judge_cost is not None:
            verdict = replace(verdict, cost_usd=job.judge_cost[0])
        self._spending.charge_check(job, verdict, seconds, answered=why is None)
        if job.judge_cost is not None and not job.judge_cost[1]:
            self._reassignment.note(job, verdict.cost_usd, None)
        if job.agent is not None:
            self._ready.allow(job.agent, self._spending.places_of(job.agent))
        self.note_check(job, verdict, seconds)

    def note_check(self, job: Job, verdict: Verdict, seconds: float) -> None:
        job.work.examined(job, verdict)
        self._writer.attempt_checked(job, verdict, seconds)

    def close(self) -> None:
        """The run has ended: what is still under way, as if the journal could not be written, is given up."""
        for job in self._running:
            self._running.give_up(job, "The run has ended.")
            self.leave(job)

    def _tell_failure(self, job: Job, attempt: Attempt, ended: Ended) -> None:
        """Keep an error's traceback with its attempt, and log it: what looks like a bug as a warning."""
        attempt.traceback = None if ended.error is None else tell_traceback(ended.error)
        attempt.readings = read_readings(ended.error)
        task_id, log = job.work.task.task_id, failures.warning if attempt.failure == "bug" else failures.info
        log(
            "Task %r of run %s: %s failed: %s%s",
            *(task_id, self._run_id, attempt.agent, ended.reason),
            "" if attempt.traceback is None else f"\n{attempt.traceback}",
            extra={"run_id": self._run_id, "task_id": task_id, "agent": attempt.agent},
        )


def _kind_of(job: Job, ended: Ended) -> FailureKind:
    """Return what kind of failure an attempt has ended with."""
    if ended.reason == LATE_EXPANSION:
        return "budget"  # whatever stopped the run: the agent is not to blame
    return "timeout" if job.expired is not None else sort_failure(ended.error).kind
