"""Runs an approved plan as data flow: a task starts the moment its own inputs are done, the most urgent first.

One coroutine decides; each job (an agent that is asked, an answer that is checked) is an asyncio task that reports to
its queue. There are no levels and no barriers. Before a job is dispatched its estimate is reserved in the budget, and
its start is in the ledger; when it ends, what it used is committed and written down. What a task needs next is decided
by its strategy: see work. A failure skips the tasks that need its output, with the reason; everything else goes on, and
so do tasks that declare that some of what they depend on is enough.

Urgency is the length of the longest expected path from a task to the end of the plan: the list-scheduling rule of Hu
(1961), with `Task.priority` above it. A graph may grow while it runs: see growth. Not covered here: retries, fallbacks,
resume (a later part of this folder).
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from kapelle.agents import AgentRegistry, AgentResult, TaskContext
from kapelle.cost import (
    VERIFY,
    Accept,
    Ask,
    Budget,
    Check,
    Checks,
    Examine,
    Reservation,
    Verdict,
    agents_of,
    estimate_complexities,
    strategy_to_dict,
    task_context,
)
from kapelle.errors import AgentFailed, BudgetExceeded, InvalidInput, PlanRejected
from kapelle.graph import Task, TaskDAG, describe_change
from kapelle.ledger import Journal, Outcome, Usage
from kapelle.validation import ApprovedPlan

from .growth import GrowthLimits, PlanApprover, Replanner, arm_of, grow, may_replan, needs_some
from .ready import ReadyJobs
from .result import MAX_REASON_CHARS, describe_error, read_result
from .retry import RetryPolicy, can_pass, is_repeatable
from .work import Attempt, Job, Work

logger = logging.getLogger(__name__)

MAX_TEXT_CHARS = 2_000
"""What an outcome keeps of its task's words: how hard a task is, is learned from them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionLimits:
    """How long things may take. None is no limit."""

    task_timeout_s: float | None = 300.0
    """For one task; a task's own `deadline_s` may end it sooner."""
    deadline_s: float | None = None
    """For the whole execution: then what runs is cancelled and what waits is skipped."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    """How often an attempt is made again that failed for a reason which can pass."""
    grace_s: float = 2.0
    """How long a cancelled agent may tidy up before it is left to itself."""

    def __post_init__(self) -> None:
        for name in ("task_timeout_s", "deadline_s"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise InvalidInput(f"{name}={value!r} is no time limit; give positive seconds.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """Who approves what a graph grows into, who plans anew, and how far it may go."""

    approver: PlanApprover
    replanner: Replanner | None = None
    replanning_cost_usd: float = 0.0
    """Dollars to set aside for planning the work of one failed task anew."""
    limits: GrowthLimits = field(default_factory=GrowthLimits)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How an execution ended."""

    state: Literal["done", "partial", "failed", "stopped"]
    stop_reason: str | None
    outputs: Mapping[str, Any]


class Executor:
    """Runs approved plans with the agents of a registry."""

    def __init__(self, agents: AgentRegistry, *, timer: Callable[[], float] = time.perf_counter) -> None:
        self._agents = agents
        self._timer = timer

    async def execute(
        self,
        plan: ApprovedPlan,
        journal: Journal,
        *,
        budget: Budget,
        checks: Checks | None = None,
        request: str = "",
        limits: ExecutionLimits = ExecutionLimits(),
        growth: Growth | None = None,
    ) -> Ending:
        """Run the plan to its end, and return how it ended. Every step is in the journal before its effect.

        Without `checks` there are the built-in ones only. Without `growth` the graph stays as it is: a task that
        expands fails, and a failed one is not planned anew.

        Raises:
            InvalidInput: the plan did not come from validation, or nothing runs one of its agents; nothing has run.
            asyncio.CancelledError: the caller was cancelled. What ran is cancelled and journaled before this is raised.
        """
        if not isinstance(plan, ApprovedPlan):
            raise InvalidInput(f"Only a plan that the validator approved can run, not {type(plan).__name__}.")
        for task_id in plan.assignments:
            for agent_id in agents_of(plan.strategy_of(task_id)):
                self._agents.runner(agent_id)
        run = _Execution(self._agents, self._timer, plan, journal, budget, checks or Checks(), request, limits, growth)
        return await run.run()


@dataclass(kw_only=True, slots=True, eq=False)
class _Replanning:
    """A failed task whose work is being planned anew."""

    task: Task
    reason: str
    reservation: Reservation
    work: asyncio.Task[AgentResult | None] | None = None


@dataclass(kw_only=True, slots=True)
class _Progress:
    """What has become of the tasks so far."""

    missing: dict[str, int] = field(default_factory=dict)
    """Per waiting task, how many of its dependencies are not done."""
    outputs: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    cancelled: dict[str, str] = field(default_factory=dict)
    unaffordable: dict[str, str] = field(default_factory=dict)


_DEADLINE = object()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Again:
    """A failed job has waited long enough."""

    job: Job


class _Execution:
    """One run of one plan. `run` is the loop; everything else is a step of it."""

    def __init__(
        self,
        agents: AgentRegistry,
        timer: Callable[[], float],
        plan: ApprovedPlan,
        journal: Journal,
        budget: Budget,
        checks: Checks,
        request: str,
        limits: ExecutionLimits,
        growth: Growth | None,
    ) -> None:
        self._agents = agents
        self._timer = timer
        self._plan = plan
        self._graph = plan.dag
        self._journal = journal
        self._budget = budget
        self._checks = checks
        self._request = request
        self._limits = limits
        self._growth = growth
        self._progress = _Progress()
        self._works: dict[str, Work] = {}
        """Tasks that are ready or begun, and not over."""
        self._ready = ReadyJobs(lambda agent: agents[agent].max_concurrency)
        self._running: dict[int, Job] = {}
        """By the job's own id."""
        self._pausing: dict[int, asyncio.TimerHandle] = {}
        """Failed jobs that are to be made again after a while, by their own id."""
        self._replanning: dict[str, _Replanning] = {}
        """Failed tasks whose work is being planned anew."""
        self._abandoned: set[asyncio.Task[Any]] = set()
        """Jobs whose time was over and that have not ended yet."""
        self._reports: asyncio.Queue[Any] = asyncio.Queue()
        self._started = 0.0
        self._changes = 0
        """Expansions and new plans so far."""
        self._adopt(plan)

    async def run(self) -> Ending:
        self._started = self._timer()
        alarm = self._set_alarm(self._limits.deadline_s)
        try:
            while True:
                self._dispatch()
                if not (self._running or self._replanning or self._pausing):
                    break
                report = await self._reports.get()
                if report is _DEADLINE:
                    return await self._stop("The deadline was reached.")
                if isinstance(report, _Replanning):
                    await self._take_new_plan(report)
                elif isinstance(report, _Again):
                    self._ask_again(report.job)
                else:
                    await self._settle(report)
        except asyncio.CancelledError:
            await self._stop("It was interrupted.")
            raise
        finally:
            for timer in (alarm, *self._pausing.values()):
                if timer is not None:
                    timer.cancel()
            # Nothing outlives the run: not an agent whose time was over, and none if the journal cannot be written.
            works = (*self._abandoned, *(job.running for job in self._running.values()))
            for work in (*works, *(replanning.work for replanning in self._replanning.values())):
                if work is not None:
                    work.cancel()
        return self._ending()

    def _adopt(self, plan: ApprovedPlan) -> None:
        """Take on a plan: the first one, or one for a graph that has grown. What is over or runs stays so."""
        self._plan, self._graph = plan, plan.dag
        urgency = self._graph.urgency({task_id: plan.estimates[task_id].seconds for task_id in self._graph.tasks})
        # Among equals the plan's order decides, so that a run is repeatable.
        ranks = {
            task.task_id: (-task.priority, -urgency[task.task_id], position)
            for position, task in enumerate(self._graph)
        }
        self._ready.rank(ranks)
        self._complexity = estimate_complexities(self._graph)
        self._works = {task_id: work for task_id, work in self._works.items() if work.attempts}
        begun = {*self._progress.outputs, *self._progress.failed, *self._progress.skipped, *self._works}
        for work in self._works.values():
            for job in work.waiting:
                self._ready.push(job)
        for task in self._graph:
            if task.task_id not in begun:
                over = self._over if needs_some(task) else self._progress.outputs
                missing = sum(1 for before in task.dependencies if before not in over)
                self._progress.missing[task.task_id] = missing
                if missing == 0:
                    self._push(task.task_id)

    @property
    def _over(self) -> set[str]:
        """Tasks of which nothing more will come: what is being planned anew is not among them."""
        progress = self._progress
        return {*progress.outputs, *progress.skipped, *(progress.failed.keys() - self._replanning.keys())}

    def _dispatch(self) -> None:
        """Start everything that is ready, as far as agents are free and the budget holds."""
        while (job := self._ready.pop()) is not None:
            try:
                reservation = self._reserve(job)
            except BudgetExceeded as error:
                if self._running or self._replanning or self._pausing:
                    self._ready.postpone(job)
                else:
                    self._ready.leave(job)
                    self._refuse(job, f"The budget does not reach: {error}")
                continue
            self._start(job, reservation)

    def _reserve(self, job: Job) -> Reservation:
        if job.agent is None:
            return self._budget.reserve()
        estimate = self._plan.step_estimate(job.work.task.task_id, job.agent)
        return self._budget.reserve(usd=estimate.cost_usd, tokens=estimate.tokens, seconds=estimate.seconds)

    def _refuse(self, job: Job, reason: str) -> None:
        """A job cannot be paid for. A task that has not begun is skipped; one that has makes do without it."""
        work = job.work
        work.waiting.remove(job)
        if work.started is None:
            if work.task.task_id in self._works:  # all its first jobs are refused alike; one of them says so
                self._drop(work)
                self._skip(work.task.task_id, reason, unaffordable=True)
        elif job.check is not None:
            self._note_check(job, Verdict(passed=False, note=f"It was not checked. {reason}"), 0.0)
            self._advance(work)
        else:
            self._write_attempt_start(work, job, reserved_usd=0.0)
            work.refuse(job, reason)
            data = {"attempt": len(work.attempts) - 1, "reason": reason, "cost_usd": 0.0, "seconds": 0.0}
            self._journal.write("attempt_finished", data, task_id=work.task.task_id)
            self._advance(work)

    def _start(self, job: Job, reservation: Reservation) -> None:
        work = job.work
        try:
            if work.started is None:
                first = {"agent": job.agent, "reserved_usd": reservation.amounts.usd}
                self._journal.write("task_started", first, task_id=work.task.task_id)
            if job.check is None and not work.simple:
                self._write_attempt_start(work, job, reserved_usd=reservation.amounts.usd)
        except BaseException:
            self._budget.release(reservation)
            raise
        work.waiting.remove(job)
        job.reservation, job.started = reservation, self._timer()
        work.started = job.started if work.started is None else work.started
        if job.check is None:
            assert job.agent is not None
            job.attempt = len(work.attempts)
            work.attempts.append(Attempt(agent=job.agent, step=work.step_of(job.agent)))
        self._running[id(job)] = job
        doing = self._ask(job) if job.check is None else self._examine(job, job.check)
        job.running = asyncio.create_task(doing, name=f"{self._journal.run_id}:{work.task.task_id}")
        job.running.add_done_callback(lambda _: self._report(job))
        seconds = self._seconds_for(work.task)
        if seconds is not None:
            job.alarm = asyncio.get_running_loop().call_later(seconds, self._expire, job, seconds)

    def _write_attempt_start(self, work: Work, job: Job, *, reserved_usd: float) -> None:
        assert job.agent is not None
        data = {"attempt": len(work.attempts), "agent": job.agent, "step": work.step_of(job.agent)}
        self._journal.write("attempt_started", {**data, "reserved_usd": reserved_usd}, task_id=work.task.task_id)

    async def _ask(self, job: Job) -> AgentResult:
        assert job.agent is not None
        task = job.work.task
        key = f"{self._journal.run_id}/{task.task_id}" + ("" if job.work.simple else f"/{job.attempt}")
        context = self._context(task, key)
        return await self._run_agent(job.agent, self._resolved(task, context), context)

    async def _examine(self, job: Job, check: Check) -> Verdict:
        task = job.work.task
        context = self._context(task, f"{self._journal.run_id}/{task.task_id}/{job.attempt}/check")
        result = job.work.attempts[job.attempt].result
        assert result is not None

        async def ask(agent: str, question: Task) -> AgentResult:
            if agent != job.agent:
                raise AgentFailed(f"The check asks {agent!r}, but was to ask {job.agent!r} only.")
            return await self._run_agent(agent, question, context)

        return await self._checks.examine(check, self._resolved(task, context), result.output, ask=ask)

    def _resolved(self, task: Task, context: TaskContext) -> Task:
        try:
            return task.resolved(context.upstream)
        except LookupError as error:
            raise AgentFailed(f"An input cannot be filled: {error.args[0]}.") from error

    async def _run_agent(self, agent: str, task: Task, context: TaskContext) -> AgentResult:
        try:
            return await self._agents.runner(agent).run(task, context)
        except (Exception, asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # an agent may end its own task, not the program
            raise AgentFailed(f"The agent raised {describe_error(error)}.") from error

    def _context(self, task: Task, idempotency_key: str) -> TaskContext:
        outputs = self._progress.outputs
        return TaskContext(
            run_id=self._journal.run_id,
            request=self._request,
            upstream={
                name: self._progress.outputs[name] for name in task.dependencies if name in self._progress.outputs
            },
            upstream_tasks={task_id: self._graph[task_id] for task_id in task.dependencies},
            missing={
                name: self._progress.failed.get(name) or self._progress.skipped.get(name, "")
                for name in task.dependencies
                if name not in outputs
            },
            idempotency_key=idempotency_key,
        )

    def _report(self, job: Job) -> None:
        assert job.running is not None
        if job.expired is None:
            self._reports.put_nowait(job)
        else:
            self._abandoned.discard(job.running)
            if not job.running.cancelled() and (error := job.running.exception()) is not None:
                logger.info("Task %r failed after its time was over: %s", job.work.task.task_id, error)

    def _expire(self, job: Job, seconds: float) -> None:
        """The time of a job is over. An agent that ignores its cancellation holds up nobody."""
        assert job.running is not None
        if job.running.done():
            return
        job.expired = f"It took longer than its {seconds:g} s."
        self._abandoned.add(job.running)
        job.running.cancel()
        self._reports.put_nowait(job)

    async def _settle(self, job: Job) -> None:
        """A job has ended: write it down, settle the budget, and see what can start now."""
        work = job.work
        self._leave(job)
        if job.check is not None:
            self._take_verdict(job)
            self._advance(work)
        elif self._may_retry(job):
            self._retry_later(job)
        elif work.simple:
            await self._settle_simple(job)
        else:
            self._take_answer(job)
            self._advance(work)
        self._ready.retry()

    def _may_retry(self, job: Job) -> bool:
        """Whether a job failed for a reason that can pass, and may be made again."""
        assert job.running is not None
        assert job.agent is not None
        if job.expired is not None or job.running.cancelled() or not can_pass(job.running.exception()):
            return False
        failures = job.work.failures_of(job.agent) + 1
        return is_repeatable(job.work.task) and failures < self._limits.retry.max_attempts

    def _retry_later(self, job: Job) -> None:
        """Write down that an attempt failed, and let it be made again after a while."""
        work = job.work
        assert job.agent is not None
        if work.simple:  # from here on its attempts are told apart
            attempt = work.attempts[job.attempt]
            assert job.reservation is not None
            data = {"attempt": job.attempt, "agent": attempt.agent, "step": attempt.step}
            reserved = {"reserved_usd": job.reservation.amounts.usd}
            self._journal.write("attempt_started", {**data, **reserved}, task_id=work.task.task_id)
            work.retried = True
        # Drawn from the run's and the task's names, so that a run is repeatable.
        failures = work.failures_of(job.agent) + 1
        chance = random.Random(f"{self._journal.run_id} {work.task.task_id} {failures}")
        delay_s = self._limits.retry.delay_s(failures, chance)
        self._take_answer(job, retry_in_s=delay_s)
        again = _Again(job=job)
        timer = asyncio.get_running_loop().call_later(delay_s, self._reports.put_nowait, again)
        self._pausing[id(job)] = timer

    def _ask_again(self, job: Job) -> None:
        del self._pausing[id(job)]
        self._ready.push(job.work.retry(job))

    def _leave(self, job: Job) -> None:
        del self._running[id(job)]
        self._ready.leave(job)
        if job.alarm is not None:
            job.alarm.cancel()

    async def _settle_simple(self, job: Job) -> None:
        """The only attempt of a task has ended, and the task with it; or it goes on as other tasks."""
        task = job.work.task
        seconds = self._seconds_since(job.started)
        result, reason = _result_of(job)
        plan: ApprovedPlan | None = None
        if result is not None and reason is None and result.expansion is not None:
            plan, reason = await self._approve_growth(task, result.expansion)
        self._conclude(job, result, reason, seconds, plan)
        if reason is not None:
            self._after_failure(task, reason)

    def _after_failure(self, task: Task, reason: str) -> None:
        if not self._start_replanning(task, reason):
            self._skip_dependents(task.task_id, f"It needs the output of {task.task_id!r}, which failed.")

    def _conclude(
        self, job: Job, result: AgentResult | None, reason: str | None, seconds: float, plan: ApprovedPlan | None = None
    ) -> None:
        """Settle the budget for a task's only attempt, write down how it ended, and take in what it gave."""
        work, task_id = job.work, job.work.task.task_id
        attempt = self._charge(job, result, reason, seconds)
        attempt.result, attempt.reason = result, reason
        data = {"cost_usd": attempt.cost_usd, "seconds": seconds, "usage": asdict(attempt.usage)}
        outcomes = (self._outcome(work, attempt, *work.quality_of(attempt, None)),)
        self._drop(work)
        if plan is not None:
            data |= _grown(self._plan, plan)
            self._journal.write("task_expanded", data, task_id=task_id, outcomes=outcomes)
            self._adopt(plan)
        elif result is not None and reason is None and result.expansion is None:
            self._finish(work, {**data, "output": result.output, "quality": result.quality}, outcomes)
        else:
            reason = reason or "It expanded into other tasks when the run was stopped."
            self._fail(work, {**data, "reason": reason}, outcomes)

    def _finish(self, work: Work, data: dict[str, Any], outcomes: Sequence[Outcome]) -> None:
        task_id = work.task.task_id
        self._progress.outputs[task_id] = data["output"]
        self._journal.write("task_finished", data, task_id=task_id, outcomes=outcomes)
        self._release_dependents(task_id)

    def _fail(self, work: Work, data: dict[str, Any], outcomes: Sequence[Outcome]) -> None:
        task_id = work.task.task_id
        self._progress.failed[task_id] = data["reason"]
        self._journal.write("task_failed", data, task_id=task_id, outcomes=outcomes)

    def _charge(self, job: Job, result: AgentResult | None, reason: str | None, seconds: float) -> Attempt:
        """Settle the budget for an attempt that has ended, and return it with what it used."""
        assert job.agent is not None
        assert job.reservation is not None
        # A failed call may have been billed: a declared price is charged, for a hard budget errs on the safe side.
        usage = Usage() if result is None else result.usage
        reported = None if result is None else result.cost_usd
        cost_usd = reported if reported is not None else (self._agents[job.agent].cost_usd or 0.0)
        self._budget.commit(job.reservation, usd=cost_usd, tokens=usage.tokens, calls=usage.calls, seconds=seconds)
        attempt = job.work.attempts[job.attempt]
        attempt.cost_usd, attempt.usage, attempt.seconds = cost_usd, usage, seconds
        return attempt

    def _take_answer(self, job: Job, *, retry_in_s: float | None = None) -> None:
        """One attempt of several has ended: write down what it gave and cost. What it means the strategy says."""
        result, reason = _result_of(job)
        if result is not None and reason is None and result.expansion is not None:
            reason = "It expanded into other tasks, where an answer was asked for."
        attempt = self._charge(job, result, reason, self._seconds_since(job.started))
        data = {
            "attempt": job.attempt,
            "cost_usd": attempt.cost_usd,
            "seconds": attempt.seconds,
            "usage": asdict(attempt.usage),
            "output": None if result is None or reason is not None else result.output,
            "reason": reason,
            **({} if retry_in_s is None else {"retry_in_s": retry_in_s}),
        }
        attempt.reason, attempt.ended = reason, True
        if retry_in_s is None:
            job.work.take(job, result, reason)
        self._journal.write("attempt_finished", data, task_id=job.work.task.task_id)

    def _take_verdict(self, job: Job) -> None:
        """A check has ended. One that could not be made is not passed."""
        assert job.running is not None
        assert job.reservation is not None
        seconds = self._seconds_since(job.started)
        error = None if job.expired or job.running.cancelled() else job.running.exception()
        if job.expired is None and error is None and not job.running.cancelled():
            verdict = job.running.result()
        else:
            why = job.expired or ("It cancelled itself." if error is None else describe_error(error))
            # What a broken check has cost is unknown: what was set aside for it is charged.
            verdict = Verdict(passed=False, note=f"The check failed. {why}", cost_usd=job.reservation.amounts.usd)
        usage = verdict.usage
        self._budget.commit(
            job.reservation, usd=verdict.cost_usd, tokens=usage.tokens, calls=usage.calls, seconds=seconds
        )
        self._note_check(job, verdict, seconds)

    def _note_check(self, job: Job, verdict: Verdict, seconds: float) -> None:
        data = {
            "attempt": job.attempt,
            "check": str(job.check),
            "passed": verdict.passed,
            "note": verdict.note[:MAX_REASON_CHARS],
            "cost_usd": verdict.cost_usd,
            "usage": asdict(verdict.usage),
            "seconds": seconds,
        }
        job.work.examined(job, passed=verdict.passed)
        outcomes: list[Outcome] = []
        if job.agent is not None and job.reservation is not None:
            judge = Attempt(
                agent=job.agent, step="verifier", cost_usd=verdict.cost_usd, usage=verdict.usage, seconds=seconds
            )
            outcomes.append(replace(self._outcome(job.work, judge, None, None), task_type=VERIFY))
        self._journal.write("attempt_checked", data, task_id=job.work.task.task_id, outcomes=outcomes)

    def _advance(self, work: Work) -> None:
        """Do what the strategy of a task says next."""
        move = work.next()
        if isinstance(move, (Ask, Examine)):
            for job in work.new_jobs(move):
                self._ready.push(job)
        elif isinstance(move, Accept):
            self._accept(work, move)
        else:
            self._give_up(work, move.reason)

    def _accept(self, work: Work, move: Accept) -> None:
        attempt = work.attempts[work.attempt_of(move.agent)]
        assert attempt.result is not None
        self._drop(work)
        data = {
            "agent": move.agent,
            "output": attempt.result.output,
            "quality": work.quality_of(attempt, move.agent)[0],
            "decision": move.reason,
            "seconds": self._seconds_since(work.started),
        }
        self._finish(work, data, self._outcomes(work, move.agent))

    def _give_up(self, work: Work, reason: str) -> None:
        failures = "; ".join(f"{one.agent}: {one.reason}" for one in work.attempts if one.reason is not None)
        text = f"{reason[:1].upper()}{reason[1:]}." + (f" ({failures})" if failures else "")
        self._drop(work)
        text = text[:MAX_REASON_CHARS]
        data = {"reason": text, "seconds": self._seconds_since(work.started)}
        self._fail(work, data, self._outcomes(work, None))
        self._after_failure(work.task, text)

    def _outcomes(self, work: Work, accepted: str | None) -> list[Outcome]:
        """What became of every attempt of a task, now that it is known what each was worth."""
        ended = [attempt for attempt in work.attempts if attempt.ended]
        return [self._outcome(work, attempt, *work.quality_of(attempt, accepted)) for attempt in ended]

    def _drop(self, work: Work) -> None:
        """A task is over: nothing more of it will start."""
        self._works.pop(work.task.task_id, None)
        self._ready.drop(work)

    async def _approve_growth(
        self, task: Task, subgraph: TaskDAG, *, replan: bool = False
    ) -> tuple[ApprovedPlan | None, str | None]:
        """Return the approved plan in which the subgraph has a task's place, or why there is none."""
        if self._growth is None:
            return None, "It expanded into other tasks, and this run does not let its graph grow."
        progress, limits = self._progress, self._growth.limits
        if self._changes >= limits.max_changes:
            return None, f"The graph has changed {limits.max_changes} times; this run lets it change no more."
        try:
            dag = grow(self._graph, task, subgraph, limits, replan=replan)
            begun = {*progress.outputs, *progress.failed, *progress.skipped}
            begun |= {task_id for task_id, work in self._works.items() if work.started is not None}
            plan = await self._growth.approver.approve(dag, self._plan, frozenset(begun))
        except PlanRejected as error:
            problems = " ".join(str(issue) for issue in error.issues)
            return None, f"What it expanded into was refused: {problems}"[:MAX_REASON_CHARS]
        except InvalidInput as error:
            return None, f"What it expanded into was refused: {error}"[:MAX_REASON_CHARS]
        self._changes += 1
        return plan, None

    def _start_replanning(self, task: Task, reason: str) -> bool:
        """Let the work of a failed task be planned anew, if somebody can, may, and the budget holds it."""
        growth = self._growth
        if growth is None or growth.replanner is None:
            return False
        if not may_replan(self._graph, task, growth.limits) or self._changes >= growth.limits.max_changes:
            return False
        if not self._is_wanted(task):
            return False
        try:
            reservation = self._budget.reserve(usd=growth.replanning_cost_usd)
        except BudgetExceeded:
            return False
        replanning = _Replanning(task=task, reason=reason, reservation=reservation)
        key = f"{self._journal.run_id}/{task.task_id}/replan"
        replanning.work = asyncio.create_task(growth.replanner.replan(task, reason, self._context(task, key)))
        replanning.work.add_done_callback(lambda _: self._report_replanning(replanning))
        self._replanning[task.task_id] = replanning
        return True

    def _is_wanted(self, task: Task) -> bool:
        """Whether somebody still waits for a task's output: another task, or the user."""
        dependents = self._graph.dependents(task.task_id)
        return not dependents or any(name not in self._progress.skipped for name in dependents)

    def _report_replanning(self, replanning: _Replanning) -> None:
        assert replanning.work is not None
        if not replanning.work.cancelled():
            replanning.work.exception()  # seen: asyncio does not complain if the run has ended meanwhile
        self._reports.put_nowait(replanning)

    async def _take_new_plan(self, replanning: _Replanning) -> None:
        """The work of a failed task was planned anew, or there is no other way."""
        task = replanning.task
        if self._replanning.pop(task.task_id, None) is None:
            return
        assert replanning.work is not None
        result: AgentResult | None = None
        problem: str | None = None
        if replanning.work.cancelled() or (error := replanning.work.exception()) is not None:
            problem = "planning it anew failed" + ("" if replanning.work.cancelled() else f": {error}")
            self._budget.commit(replanning.reservation)  # what it cost is unknown: all that was set aside
            spent = replanning.reservation.amounts.usd
        else:
            result = replanning.work.result()
            spent = 0.0 if result is None else (result.cost_usd or 0.0)
            self._budget.commit(replanning.reservation, usd=spent)
        cost = {"planning_cost_usd": spent, "planning_usage": asdict(Usage() if result is None else result.usage)}
        plan: ApprovedPlan | None = None
        if result is not None and result.expansion is not None and self._is_wanted(task):
            plan, problem = await self._approve_growth(task, result.expansion, replan=True)
        if plan is not None:
            del self._progress.failed[task.task_id]
            data = {"replaces": task.task_id, "reason": replanning.reason, **_grown(self._plan, plan), **cost}
            self._journal.write("graph_patched", data)
            self._adopt(plan)
        else:
            problem = problem or "no other way was found"
            self._journal.write("planning_spent", {"replaces": task.task_id, "reason": problem, **cost})
            self._skip_dependents(task.task_id, f"It needs the output of {task.task_id!r}, which failed.")
        self._ready.retry()

    def _release_dependents(self, task_id: str) -> None:
        for dependent in self._graph.dependents(task_id):
            self._progress.missing[dependent] -= 1
            if self._progress.missing[dependent] == 0 and dependent not in self._progress.skipped:
                self._push(dependent)

    def _skip(self, task_id: str, reason: str, *, unaffordable: bool = False) -> None:
        self._journal.write("task_skipped", {"reason": reason}, task_id=task_id)
        self._progress.skipped[task_id] = reason
        if unaffordable:
            self._progress.unaffordable[task_id] = reason
        self._skip_dependents(task_id, f"It needs the output of {task_id!r}, which was skipped.")

    def _skip_dependents(self, task_id: str, reason: str) -> None:
        reasons = [(dependent, reason) for dependent in self._graph.dependents(task_id)]
        while reasons:
            dependent, why = reasons.pop()
            if dependent in self._progress.skipped:
                continue
            if needs_some(self._graph[dependent]):
                self._progress.missing[dependent] -= 1
                if self._progress.missing[dependent] > 0:
                    continue
                if any(before in self._progress.outputs for before in self._graph.dependencies(dependent)):
                    self._push(dependent)
                    continue
            self._journal.write("task_skipped", {"reason": why}, task_id=dependent)
            self._progress.skipped[dependent] = why
            reasons += [
                (later, f"It needs the output of {dependent!r}, which was skipped.")
                for later in self._graph.dependents(dependent)
            ]

    async def _stop(self, reason: str) -> Ending:
        """Cancel what runs, skip what waits, and write both down. What has ended meanwhile counts as it ended."""
        for replanning in self._replanning.values():
            assert replanning.work is not None
            replanning.work.cancel()
            self._budget.commit(replanning.reservation)
            data = {"replaces": replanning.task.task_id, "reason": reason}
            cost = {"planning_cost_usd": replanning.reservation.amounts.usd}
            self._journal.write("planning_spent", {**data, **cost})
        self._replanning.clear()
        running = list(self._running.values())
        for job in running:
            if job.running is not None:
                job.running.cancel()
        await self._wait_a_grace({job.running for job in running if job.running is not None})
        for job in running:
            self._settle_stopped(job, reason)
        for work in [work for work in self._works.values() if work.started is not None]:
            move = work.next()
            if isinstance(move, Accept):  # the last answer that was missing came in time
                self._accept(work, move)
            else:
                self._drop(work)
                ended: dict[str, Any] = {"reason": reason, "seconds": self._seconds_since(work.started)}
                outcomes = self._outcomes(work, None)
                self._journal.write("task_cancelled", ended, task_id=work.task.task_id, outcomes=outcomes)
                self._progress.cancelled[work.task.task_id] = reason
        over = {*self._progress.outputs, *self._progress.failed, *self._progress.skipped, *self._progress.cancelled}
        for task_id in self._graph.topological_order():
            if task_id not in over:
                self._journal.write("task_skipped", {"reason": reason}, task_id=task_id)
                self._progress.skipped[task_id] = reason
        return Ending(state="stopped", stop_reason=reason, outputs=self._progress.outputs)

    async def _wait_a_grace(self, works: set[asyncio.Task[Any]]) -> None:
        """Wait for cancelled agents to tidy up. Whoever cancels us once more means: at once."""
        if works:
            try:
                await asyncio.wait(works, timeout=self._limits.grace_s)
            except asyncio.CancelledError:
                logger.info("Stopped once more while agents tidied up; they are left to themselves.")

    def _settle_stopped(self, job: Job, reason: str) -> None:
        """Write down a job that was under way when the run was stopped."""
        work, task_id = job.work, job.work.task.task_id
        assert job.running is not None
        assert job.reservation is not None
        self._leave(job)
        seconds = self._seconds_since(job.started)
        ended = job.running.done() and not job.running.cancelled() and job.expired is None
        if not ended:
            job.expired = job.expired or reason
            if not job.running.done():
                self._abandoned.add(job.running)
        if ended and job.check is None and work.simple:
            self._conclude(job, *_result_of(job), seconds)  # it had ended, or ended in spite of us: its cost is real
        elif ended and job.check is None:
            self._take_answer(job)
        elif job.check is not None:
            self._take_verdict(job)
        else:
            # What it has cost is unknown, so what was set aside for it is charged.
            self._budget.commit(job.reservation, seconds=seconds)
            data = {"reason": reason, "cost_usd": job.reservation.amounts.usd, "seconds": seconds}
            if work.simple:
                self._drop(work)
                self._journal.write("task_cancelled", data, task_id=task_id)
                self._progress.cancelled[task_id] = reason
            else:
                self._journal.write("attempt_finished", {**data, "attempt": job.attempt}, task_id=task_id)

    def _ending(self) -> Ending:
        progress = self._progress
        ended = progress.outputs.keys() | progress.failed.keys() | progress.skipped.keys()
        assert ended >= self._graph.tasks.keys(), f"tasks were forgotten: {set(self._graph.tasks) - ended}"
        if all(task_id in progress.outputs for task_id in self._graph.tasks):
            return Ending(state="done", stop_reason=None, outputs=progress.outputs)
        total = len(self._graph)
        if progress.failed:
            first, reason = next(iter(progress.failed.items()))
            count = len(progress.failed)
            skipped = len(progress.skipped)
            text = f"{count} of {total} tasks failed"
            text += f", and {skipped} {'was' if skipped == 1 else 'were'} skipped" if skipped else ""
            state: Literal["partial", "failed"] = "partial" if progress.outputs else "failed"
            return Ending(state=state, stop_reason=f"{text}. First: {first!r}: {reason}", outputs=progress.outputs)
        first, reason = next(iter(progress.unaffordable.items()))
        text = f"{len(progress.skipped)} of {total} tasks were skipped. First: {first!r}: {reason}"
        return Ending(state="stopped", stop_reason=text, outputs=progress.outputs)

    def _outcome(self, work: Work, attempt: Attempt, quality: float | None, measured_by: str | None) -> Outcome:
        task = work.task
        answer = work.answers.get(attempt.agent)
        passed = attempt.reason is None and (answer is None or all(answer.passed.values()))
        return Outcome(
            run_id=self._journal.run_id,
            task_id=task.task_id,
            task_type=task.task_type,
            agent=attempt.agent,
            step=attempt.step,
            success=passed,
            quality=quality,
            usage=attempt.usage,
            cost_usd=attempt.cost_usd,
            seconds=attempt.seconds,
            error=attempt.reason,
            features={
                "complexity": self._complexity[task.task_id],
                "dependencies": len(task.dependencies),
                "text": task.description[:MAX_TEXT_CHARS],
                **_told(work, attempt),
                **({} if measured_by is None else {"measured_by": measured_by}),
                **arm_of(task),
                **self._plan.features.get(task.task_id, {}),
            },
            at=time.time(),
        )

    def _push(self, task_id: str) -> None:
        """A task is ready: hand out its first jobs."""
        task = self._graph[task_id]
        work = Work(task=task, strategy=self._plan.strategy_of(task_id), guarded=self._checks.guards(task))
        self._works[task_id] = work
        self._advance(work)

    def _seconds_since(self, started: float | None) -> float:
        return 0.0 if started is None else max(0.0, self._timer() - started)

    def _seconds_for(self, task: Task) -> float | None:
        limits = [self._limits.task_timeout_s] if self._limits.task_timeout_s is not None else []
        if task.deadline_s is not None:
            limits.append(max(0.0, task.deadline_s - (self._timer() - self._started)))
        return min(limits, default=None)

    def _set_alarm(self, seconds: float | None) -> asyncio.TimerHandle | None:
        if seconds is None:
            return None
        return asyncio.get_running_loop().call_later(seconds, self._reports.put_nowait, _DEADLINE)


def _told(work: Work, attempt: Attempt) -> dict[str, Any]:
    """What an outcome says of an answer that was compared or checked: strategies are found by it."""
    answer = work.answers.get(attempt.agent)
    if answer is None:
        return {}
    told: dict[str, Any] = {"answer": (answer.canonical or "")[:MAX_TEXT_CHARS]}
    if answer.passed:
        told["checks"] = dict(answer.passed)
    if context := task_context(work.task)[:MAX_TEXT_CHARS]:
        told["context"] = context
    return told


def _result_of(job: Job) -> tuple[AgentResult | None, str | None]:
    assert job.running is not None
    return (None, job.expired) if job.expired is not None else read_result(job.running)


def _grown(before: ApprovedPlan, plan: ApprovedPlan) -> dict[str, Any]:
    """What the journal needs to know of a graph that has grown: what is new."""
    change = describe_change(before.dag, plan.dag)
    new = [task["task_id"] for task in change["tasks"]]
    return {
        "change": change,
        "assignments": {task_id: plan.assignments[task_id] for task_id in new},
        "explanations": {task_id: plan.explanations.get(task_id, "") for task_id in new},
        "strategies": {
            task_id: strategy_to_dict(plan.strategies[task_id]) for task_id in new if task_id in plan.strategies
        },
        "estimates": {task_id: asdict(plan.estimates[task_id]) for task_id in new},
    }
