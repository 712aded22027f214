"""What becomes of one task's attempts: each is settled once, judged where that is asked for, and the task goes on.

An attempt that has ended, in whatever way, goes through `settle`: it is charged, learned from, and written down. What
follows is the task's strategy's to say (work) and, after a failure, recovery's. Who may start, and when, is not known
here.

    a job ends ──> settle ──> retry or rival | next job of its strategy | another agent | the task is done, or failed
                                                                          └> planned anew, or what needs it is skipped
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace

from kapelle.agents import AgentResult, is_from_memory
from kapelle.errors import AskPerson
from kapelle.strategies import Accept, Ask, Examine, Single, Verdict
from kapelle.validation import ApprovedPlan

from .error_reports import MAX_REASON_CHARS, read_question
from .graph_changes import PendingChanges
from .growth import may_help_anew
from .limits import is_repeatable
from .reassignment import Reassignment
from .recovery import AskStrategy, FailedAttempt, FallbackChooser, LeaveToRival, Retry, TryAgent, recover
from .running import HedgeDue, RetryDue
from .settlement import LATE_EXPANSION, Ended, Settlement
from .tasks import Owners
from .work import Attempt, Job, Work


class Attempts:
    """The attempts of one execution."""

    def __init__(
        self,
        own: Owners,
        settlement: Settlement,
        changes: PendingChanges,
        reassignment: Reassignment,
        fallbacks: FallbackChooser | None,
    ) -> None:
        self._run_id, self._agents, self._limits = own.run_id, own.agents, own.limits
        self._tasks, self._ready, self._running, self._rests = own.tasks, own.ready, own.running, own.rests
        self._spending, self._writer = own.spending, own.writer
        self._reports, self._deadlines = own.reports, own.deadlines
        self._settlement, self._changes, self._fallbacks = settlement, changes, fallbacks
        self._reassignment = reassignment
        self._pausing: dict[int, asyncio.TimerHandle] = {}
        """Failed jobs that are to be made again after a while, by their own id."""

    @property
    def are_awaited(self) -> bool:
        """Whether one will be made again without anybody's doing."""
        return bool(self._pausing)

    async def take(self, job: Job) -> None:
        """A job has ended: settle it, and let its task go on."""
        if job not in self._running:
            return  # it was given up in the same turn of the loop, after it had reported
        self._settlement.leave(job)
        self._ready.retry()
        work = job.work
        if job.check is not None:
            self._settlement.judge(job)
            self.advance(work)
            return
        ended = Ended.of(job)
        if isinstance(ended.error, AskPerson) and (question := read_question(ended.error)) is not None:
            self._ask_person(job, *question)
            return
        if ended.reason is not None:
            if ended.error is not None:
                self._rests.heed(job, ended.error)
            if self._is_recovered(job, ended):
                return
        if job.rival is not None:
            self._cancel_rival(job.rival)
        plan: ApprovedPlan | None = None
        if ended.reason is None and ended.result is not None and ended.result.expansion is not None:
            try:
                plan, reason = await self._changes.approve_expansion(work, ended.result.expansion)
            except BaseException:  # the run is being stopped, or ends with an error: what was used is charged first
                self._tasks.is_stopping = True
                self._conclude(job, replace(ended, reason=LATE_EXPANSION), None)
                raise
            ended = replace(ended, reason=reason)
        self._conclude(job, ended, plan)

    def _conclude(self, job: Job, ended: Ended, plan: ApprovedPlan | None) -> None:
        """An attempt counts: it is the task's answer, or its failure, or one of several. Or others take its place."""
        work, tasks = job.work, self._tasks
        if work.simple and ended.reason is not None and (other := self._find_other_agent(work)) is not None:
            self._tell_apart(job)
            self._settlement.settle(job, ended)
            work.fall_back(other.agent, other.expected)
            self.advance(work)
            return
        is_only = work.simple
        attempt = self._settlement.settle(job, ended)
        if plan is not None:
            tasks.drop(work)
            self._writer.task_expanded(work, plan, attempt=attempt if is_only else None)
            tasks.apply_plan(plan)
        elif not is_only:
            if not tasks.is_stopping:
                self.advance(work)
        elif ended.reason is None:
            self._finish(work, attempt, None)
        else:
            self._fail(work, ended.reason, attempt=attempt)

    def settle_stopped(self, job: Job, reason: str) -> None:
        """Settle a job that was under way when the run was stopped; one that has ended counts as it ended."""
        work = job.work
        assert job.running is not None
        is_over = job.running.done() and not job.running.cancelled() and job.expired is None
        if is_over and isinstance(job.running.exception(), AskPerson):
            is_over = False  # nobody is asked any more: the task runs anew when the run is resumed
        if not is_over:
            self._running.give_up(job, reason)
        self._settlement.leave(job)
        if job.check is not None:
            self._settlement.judge(job)
        elif is_over:  # it had ended, or ended in spite of us: its cost is real
            ended = Ended.of(job)
            if ended.result is not None and ended.reason is None and ended.result.expansion is not None:
                ended = replace(ended, reason=LATE_EXPANSION)
            self._conclude(job, ended, None)
        else:
            attempt = self._settlement.settle(job, Ended(None, reason, is_cut_off=True))
            if work.simple:
                self._cancel(work, reason, attempt=attempt)

    def stop_task(self, work: Work, reason: str) -> None:
        """End a task that has begun when the run was stopped, all its jobs settled."""
        move = work.next()
        if isinstance(move, Accept):  # the last answer that was missing came in time
            self._finish(work, work.attempts[work.attempt_of(move.agent)], move)
        else:
            self._cancel(work, reason, seconds=self._deadlines.seconds_since(work.started))

    def do_without(self, job: Job, reason: str) -> None:
        """A task that has begun does without what a job was to give."""
        work = job.work
        if job.check is not None:
            unmade = Verdict(passed=False, measured=False, note=f"It was not checked. {reason}")
            self._settlement.note_check(job, unmade, 0.0)
        else:
            assert job.agent is not None
            self._writer.attempt_started(work, len(work.attempts), job.agent, 0.0)
            work.refuse(job, reason)
            self._writer.attempt_finished(work, len(work.attempts) - 1)
        self.advance(work)

    # Going on

    def advance(self, work: Work) -> None:
        """Do what the strategy of a task says next."""
        move = work.next()
        if isinstance(move, (Ask, Examine)):
            for job in work.new_jobs(move):
                self._ready.push(job)
        elif isinstance(move, Accept):
            self._finish(work, work.attempts[work.attempt_of(move.agent)], move)
        elif work.fault is None and (other := self._find_other_agent(work)) is not None:
            work.fall_back(other.agent, other.expected)
            self.advance(work)
        else:
            self._give_up(work, move.reason)

    def _finish(self, work: Work, attempt: Attempt, accepted: Accept | None) -> None:
        """A task is done, with what its strategy has accepted, or its only attempt gave."""
        tasks, task = self._tasks, work.task
        result = attempt.result
        assert result is not None
        tasks.drop(work)
        self._reassignment.judge(work, None if accepted is None else accepted.agent)
        outputs = tasks.progress.outputs
        upstream = [outputs[name] for name in task.dependencies if name in outputs]
        agent = attempt.agent
        by_heart = agent in self._agents and is_from_memory(self._agents.runner(agent), task, result.output, upstream)
        if by_heart:
            tasks.progress.from_memory.add(task.task_id)
        seconds = self._deadlines.seconds_since(work.started)
        self._writer.task_finished(work, attempt, accepted, seconds, by_heart=by_heart)
        tasks.finish(work, result.output)
        if not tasks.is_stopping:
            self._changes.start_reflection(task, result.output)

    def _give_up(self, work: Work, reason: str) -> None:
        told = Counter((one.agent, one.reason or one.refused) for one in work.attempts)
        why = "; ".join(
            f"{agent}{f', {times} times' if times > 1 else ''}: {text}"
            for (agent, text), times in told.items()
            if text and text != work.fault
        )
        text = f"{reason[:1].upper()}{reason[1:]}".removesuffix(".") + "." + (f" ({why})" if why else "")
        self._fail(work, text, seconds=self._deadlines.seconds_since(work.started))

    def _fail(self, work: Work, reason: str, *, attempt: Attempt | None = None, seconds: float | None = None) -> None:
        reason = reason[: MAX_REASON_CHARS - len(work.remark)] + work.remark
        self._tasks.fail(work, reason, attempt=attempt, seconds=seconds)
        self._reassignment.judge(work, None)
        if not self._tasks.is_stopping:
            self.after_failure(work, reason)

    def after_failure(self, work: Work, reason: str) -> None:
        """A task has failed for good: plan its work anew, end the run, or let what needs it be skipped."""
        # Where a check itself is at fault, or the reason stays, other tasks would be paid for nothing, too.
        is_worth_it = work.fault is None and may_help_anew(work.failures())
        if not (is_worth_it and self._changes.start_replanning(work.task, reason)):
            self._tasks.accept_failure(work.task, f"failed: {reason}")

    def _cancel(self, work: Work, reason: str, *, attempt: Attempt | None = None, seconds: float | None = None) -> None:
        self._tasks.drop(work)
        self._writer.task_cancelled(work, reason, attempt=attempt, seconds=seconds)
        self._tasks.progress.cancelled[work.task.task_id] = reason

    # Trying again: the same agent, beside it, or the next best one

    def _is_recovered(self, job: Job, ended: Ended) -> bool:
        """Whether an attempt that has failed decides nothing: it is made again, or its rival is under way."""
        agent, task, work, policy = job.agent, job.work.task, job.work, self._limits.retry
        assert agent is not None
        own = next((most for most in (task.retries, self._agents[agent].retries) if most is not None), None)
        rival_goes_on = job.rival is not None and job.rival in self._running
        failed = FailedAttempt(
            task=task,
            rival_goes_on=rival_goes_on,
            can_pass=not rival_goes_on and ended.error is not None and policy.can_pass(ended.error),
            times_failed=work.failures_of(agent) + 1,
            max_retries=policy.max_attempts - 1 if own is None else own,
        )
        # Drawn from the run's and the task's names, so that a run is repeatable.
        chance = random.Random(f"{self._run_id} {task.task_id} {failed.times_failed}")
        step = recover(failed, policy, chance)
        if isinstance(step, AskStrategy):
            return False
        if isinstance(step, LeaveToRival):
            job.part()
            self._settlement.settle(job, ended, decides=False)
            return True
        assert isinstance(step, Retry)
        if job.rival is not None:
            self._cancel_rival(job.rival)
        self._tell_apart(job)
        self._settlement.settle(job, ended, decides=False, retry_in_s=step.delay_s)
        self._pausing[id(job)] = self._reports.put_later(step.delay_s, RetryDue(job=job))
        return True

    def retry(self, job: Job) -> None:
        """A failed job has waited long enough."""
        del self._pausing[id(job)]
        if self._tasks.works.get(job.work.task.task_id) is not job.work:
            return  # its task is over, or asks a person
        assert job.agent is not None
        self._ready.push(job.work.again(job.agent))

    def _find_other_agent(self, work: Work) -> TryAgent | None:
        """Return the next best agent for a task whose strategy came to nothing, if there is one that can be paid."""
        task = work.task
        if self._tasks.is_stopping or self._fallbacks is None or len(work.fallbacks) >= self._limits.max_fallbacks:
            return None
        if not is_repeatable(task) or self._deadlines.has_passed(task):
            return None
        plan = self._tasks.plan
        if plan.routed.tasks[task.task_id].pinned:  # who does it is an order of the user's
            return None
        tried = {attempt.agent for attempt in work.attempts}
        found = self._fallbacks.choose_fallback(task, tried, plan.plan_estimates)
        if found is None:
            return None
        failed = FailedAttempt(task=task, is_spent=True, candidate=found, left_usd=self._spending.left_usd)
        step = recover(failed, self._limits.retry)
        if isinstance(step, TryAgent):
            return step
        work.remark = getattr(step, "remark", "")
        return None

    def watch_for_lateness(self, job: Job) -> None:
        """Have it reported when a job takes so long that a rival may be worth its money."""
        hedge, work, expected = self._limits.hedge, job.work, job.expected
        if hedge is None or job.check is not None or job.rival is not None or not is_repeatable(work.task):
            return
        if not isinstance(work.strategy, Single) or expected is None:
            return
        after_s = max(hedge.least_s, hedge.after * (expected.seconds_high or 2 * expected.seconds))
        job.late = self._reports.put_later(after_s, HedgeDue(job=job))

    def hedge(self, job: Job) -> None:
        """A job is late: give it a rival, if that is paid by what all that is still to do leaves of the budget."""
        expected = job.expected
        if job not in self._running or job.rival is not None or expected is None:
            return
        if self._spending.left_usd - self._tasks.still_to_pay() < expected.cost_usd:
            self.watch_for_lateness(job)  # others may free it meanwhile
            return
        assert job.agent is not None
        self._tell_apart(job)
        rival = job.work.again(job.agent)
        rival.rival, job.rival = job, rival
        self._ready.push(rival)

    def _cancel_rival(self, rival: Job) -> None:
        """The other attempt at the same answer is over: this one is stopped; one that only waits never starts."""
        assert rival.rival is not None
        rival.part()
        if rival not in self._running:
            rival.work.waiting.remove(rival)
            self._ready.drop(rival.work, rival)
            return
        self._settlement.cut_off(rival, "The other attempt was faster.")

    def _tell_apart(self, job: Job) -> None:
        """From here on the journal tells of each attempt of a task, the one that was its only one included."""
        work = job.work
        if work.simple:
            assert job.agent is not None
            assert job.reservation is not None
            self._writer.attempt_started(work, job.attempt, job.agent, job.reservation.usd)
            work.told_apart = True

    # People

    def _ask_person(self, job: Job, asked: AskPerson, result: AgentResult | None) -> None:
        """An agent needs to know something: its task begins anew when it is answered."""
        work, tasks = job.work, self._tasks
        job.part()
        for other in [one for one in self._running if one.work is work]:
            assert other.check is None  # an answer is examined when all have been given
            self._settlement.cut_off(other, "Another agent asked a person.")
        tasks.drop(work)
        work.waiting.clear()
        question = tasks.questions.of_agent(tasks.given(work.task, job.agent or ""), asked)
        is_only = work.simple
        ended = Ended(result, None if is_only else "It asked a person.", asked)
        attempt = self._settlement.settle(job, ended, decides=False)
        if not is_only:
            tasks.begins_anew(work)
        tasks.ask_person(question, attempt if is_only else None)

    def close(self) -> None:
        """The run has ended."""
        for timer in self._pausing.values():
            timer.cancel()
