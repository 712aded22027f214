"""Starts jobs: the most urgent first, as far as their agents have places, may be asked, and the budget holds them.

A job's estimate is set aside and its start is in the journal before it begins. A job that cannot be paid now waits
until others have ended; when nothing else is under way its task is skipped, or does without it.

Stops a runaway as well: tasks made at run time that ask the same agent the same thing again and again. A planner that
plans the same step anew after every failure, an agent that expands into itself: each round is a valid graph, costs
money, and differs from the last in nothing but its ids. What is told apart here is the call: the agent, the type of
task, its words, and its inputs with all references filled. The tasks of the first plan are not counted: whoever plans
ten samples of one question wants ten.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from kapelle.budget import Reservation
from kapelle.errors import BudgetExceeded
from kapelle.estimates import Estimate
from kapelle.graph import Task

from .attempts import Attempts
from .calls import Calls
from .graph_changes import PendingChanges
from .growth import is_grown
from .running import ThreadsAwaited
from .tasks import Owners
from .work import Attempt, Job

MIN_BEHIND_S = 60.0
"""How long tasks wait at least for the place of a call that goes on after its time."""


class Dispatcher:
    """Starts the jobs of one execution."""

    def __init__(self, own: Owners, calls: Calls, changes: PendingChanges, attempts: Attempts) -> None:
        self._tasks, self._ready, self._running, self._rests = own.tasks, own.ready, own.running, own.rests
        self._spending, self._writer = own.spending, own.writer
        self._deadlines, self._reports = own.deadlines, own.reports
        self._calls, self._changes, self._attempts = calls, changes, attempts
        self._loops = LoopGuard(own.limits.max_same_calls)
        self._awaited: dict[str, asyncio.TimerHandle] = {}
        """Agents all of whose places are taken by threads whose time is over, with when that has been so for long."""

    @property
    def is_busy(self) -> bool:
        """Whether something of this run will report without anybody's doing."""
        if len(self._running) or len(self._changes) or self._attempts.are_awaited:
            return True
        return self._ready.is_waiting_for_threads or (bool(self._rests.resting) and self._rests.are_awaited)

    def start_all(self) -> None:
        """Start everything that is ready, as far as agents are free and the budget holds."""
        while self._tasks.halt is None and (job := self._ready.pop()) is not None:
            if (unasked := self._why_not_asked(job)) is not None:
                self._ready.leave(job)
                self._pass_over(job, unasked)
            elif self._rests.resting and self._rests.is_left_alone(job):
                self._ready.push(job)
                self._ready.leave(job)
            else:
                self._try_start(job)
        self._watch_threads()

    def _try_start(self, job: Job) -> None:
        """Start a job that has a place, if it can be paid; what becomes of it otherwise see above."""
        alone, spending = not self.is_busy, self._spending
        if spending.is_untried(job.agent) and any(spending.is_untried(other.agent) for other in self._running):
            self._ready.postpone(job)
            return
        job.expected = self._expected(job)
        if spending.is_capped and job.most_usd is None:
            job.most_usd = self._calls.most_usd(job)
        try:
            reservation = spending.reserve(job, alone=alone, underway=self._running)
        except BudgetExceeded as error:
            if job.rival is not None:
                late = job.rival
                self._ready.leave(job)
                job.work.waiting.remove(job)
                job.part()
                self._attempts.watch_for_lateness(late)
            elif not alone:
                self._ready.postpone(job)
            else:
                self._ready.leave(job)
                self._refuse(job, f"The budget does not reach: {error}")
        else:
            self._start(job, reservation)

    def _why_not_asked(self, job: Job) -> str | None:
        """Return why the agent of a job is not asked at all: it is stuck, or what it calls wants to be left alone."""
        if job.agent is not None and not job.has_place:
            return f"All places of {job.agent} are taken by calls that go on although their time is over."
        return self._rests.why_not_asked(job) if self._rests.resting else None

    def _expected(self, job: Job) -> Estimate | None:
        """Return what a job is expected to take; None for a check that no agent makes."""
        if job.agent is None:
            return None
        known = job.work.fallbacks.get(job.agent)
        return known if known is not None else self._tasks.plan.step_estimate(job.work.task.task_id, job.agent)

    def _refuse(self, job: Job, reason: str) -> None:
        """A job cannot be paid for. A task that has not begun is skipped; one that has makes do without it."""
        job.work.waiting.remove(job)
        if job.work.started is None:
            self._tasks.skip(job.work, reason)
        else:
            self._attempts.do_without(job, reason)

    def _pass_over(self, job: Job, reason: str) -> None:
        """The agent of a job is not asked: its task has to do with others."""
        work = job.work
        work.waiting.remove(job)
        if job.rival is not None:
            job.part()
            return
        if work.started is None:
            work.started, work.told_apart = self._deadlines.now(), True
            self._writer.task_started(job, 0.0)
        self._attempts.do_without(job, reason)

    def _start(self, job: Job, reservation: Reservation) -> None:
        """Start a job whose money is set aside: first it is written down, then it happens."""
        work, task, reserved_usd = job.work, job.work.task, reservation.usd
        context = self._calls.context(job, reserved_usd if self._spending.is_capped else None)
        problem: str | None = None
        try:
            resolved = task.resolved(context.upstream)  # what the agent does to it nobody else sees
        except LookupError as error:
            resolved, problem = task, f"An input cannot be filled: {error.args[0]}."
        if problem is None and self._deadlines.has_passed(task):
            problem = f"Its deadline of {task.deadline_s:g} s had passed before it could begin."
        if problem is None and job.check is None and task.metadata and is_grown(task):
            assert job.agent is not None
            if not work.failures_of(job.agent) and job.rival is None:  # one task's retries and rivals are no loop
                problem = self._loops.admit(job.agent, resolved)
        if problem is not None:
            self._spending.release(reservation)
            self._ready.leave(job)
            if work.started is not None:
                self._refuse(job, problem)
                return
            self._tasks.fail(work, problem)
            self._attempts.after_failure(work, problem)
            return
        work.waiting.remove(job)
        job.reservation, job.started = reservation, self._deadlines.now()
        self._spending.begin(job)
        try:
            self._write_start(job, reserved_usd)
        except BaseException:
            self._spending.release(reservation)
            raise
        work.started = job.started if work.started is None else work.started
        if job.check is None:
            assert job.agent is not None
            job.attempt = len(work.attempts)
            work.attempts.append(Attempt(agent=job.agent, step=work.step_of(job.agent)))
            doing: Coroutine[Any, Any, Any] = self._calls.ask(job.agent, resolved, context)
        else:
            doing = self._calls.examine(job, job.check, resolved, context)
        limit_s = self._deadlines.seconds_for(task, job.agent)
        self._running.start(job, doing, f"{self._calls.run_id}:{task.task_id}", limit_s)
        if self._rests.first:
            self._rests.go_first(job)
        self._attempts.watch_for_lateness(job)

    def _write_start(self, job: Job, reserved_usd: float) -> None:
        work, in_steps = job.work, self._calls.is_in_steps(job)
        if work.started is None:
            self._writer.task_started(job, reserved_usd, in_steps=in_steps)
        if job.check is None and not work.simple:
            assert job.agent is not None
            self._writer.attempt_started(work, len(work.attempts), job.agent, reserved_usd, in_steps=in_steps)
        elif job.check is not None and job.agent is not None:
            self._writer.check_started(job, reserved_usd)

    # Threads that go on after their time

    def _watch_threads(self) -> None:
        """Have it reported when jobs have waited for as long again as they were given, and for a minute at least."""
        for agent, given_s in self._ready.kept_agents().items():
            if agent not in self._awaited:
                late = ThreadsAwaited(agent=agent)
                self._awaited[agent] = self._reports.put_later(max(MIN_BEHIND_S, given_s), late)

    def stop_waiting_for(self, agent: str) -> None:
        """Threads have kept all places of an agent for long: those that wait go to other agents, or fail.

        Nothing else would end the run.
        """
        del self._awaited[agent]
        if agent in self._ready.kept_agents():
            self._ready.stop_waiting_for(agent)

    def close(self) -> None:
        """The run has ended."""
        for timer in self._awaited.values():
            timer.cancel()


def call_of(agent: str, task: Task) -> str:
    """Return what tells the call of a task, its inputs resolved, from all others."""
    content = (agent, task.task_type, task.description, task.inputs)
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(slots=True)
class LoopGuard:
    """Counts calls."""

    limit: int
    """How often the same call may be made."""
    calls: Counter[str] = field(default_factory=Counter)

    def admit(self, agent: str, task: Task) -> str | None:
        """Count a call; return why it must not be made, if it must not."""
        call = call_of(agent, task)
        if self.calls[call] >= self.limit:
            return (
                f"This is a loop: {agent} was asked the same thing with the same inputs {self.limit} times by tasks "
                "that were made at run time. Plan it differently, or allow a greater max_same_calls."
            )
        self.calls[call] += 1
        return None
