"""Runs an approved plan as data flow: a task starts the moment its own inputs are done, the most urgent first.

One coroutine decides; each job (an agent that is asked, an answer that is checked) is an asyncio task that reports to
its queue. There are no levels and no barriers. Before a job is dispatched its estimate is reserved in the budget, and
its start is in the journal; when it ends, what it used is committed and written down. What a task needs next is decided
by its strategy (work), what follows for other tasks by the graph (progress), what is asked of people by people.

    ready ──reserve, journal──> under way ──settle──> answer ──> next job of its strategy, or the task is done
                                    │                 failure ──> again (retry), another agent (fallback),
                                    │                             planned anew (replan), or what needs it is skipped
                                    │                 question ─> the task waits, holding nothing, until it is answered
                                    └──expire, stop─> cancelled, and charged what was set aside

Urgency is the length of the longest expected path from a task to the end of the plan: the list-scheduling rule of Hu
(1961), with `Task.priority` above it, and deadlines where there are any (ready). A graph may change while it runs:
see growth. An execution that goes on where another stopped is told what that one left: see resume.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol

from kapelle.agents import (
    AgentRegistry,
    AgentResult,
    HumanAnswer,
    PartialText,
    TaskContext,
    is_from_memory,
    runs_on_thread,
    threads_at_work,
    when_threads_end,
)
from kapelle.budget import Budget, Reservation
from kapelle.errors import AgentFailed, AskPerson, BudgetExceeded, InvalidGraph, InvalidInput, PlanRejected
from kapelle.estimates import Estimate
from kapelle.failures import Failure, FailureKind, sort_failure
from kapelle.graph import Task, TaskDAG, clone_json_value
from kapelle.ledger import Journal, Question, Usage, read_usd
from kapelle.redaction import get_logger
from kapelle.strategies import Accept, Ask, Check, Checks, Examine, Verdict, agents_of
from kapelle.strategies import Single as OneAgent
from kapelle.validation import ApprovedPlan

from .backends import AsyncioBackend, Backend
from .contained_calls import call_contained, read_new_plan, read_reflection, read_verdict, with_own_tasks
from .error_reports import find_asked, read_failure, read_question, read_spent
from .error_texts import MAX_REASON_CHARS, describe_error, read_readings, tell_traceback
from .fallback import FallbackChooser
from .growth import (
    GrowthLimits,
    PlanApprover,
    Reflection,
    Reflector,
    Replanner,
    grow,
    is_grown,
    is_same_again,
    may_help_anew,
    may_replan,
)
from .journal_writer import Recorder, describe_growth, used
from .limits import ExecutionLimits
from .loops import LoopGuard
from .progress import Consequences, Progress
from .questions import Given, Questions, why_rejected
from .ready import ReadyJobs, rank_tasks
from .results import MAX_LOOP_S, Patience, is_read, read_given, read_on_thread, read_result, read_there
from .resume import Earlier
from .retry import is_repeatable
from .running import Reports, UnderWay
from .spending import Accounts
from .watching import contained
from .work import Attempt, Job, Work


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """Who approves what a graph grows into, who plans anew, and how far it may go."""

    approver: PlanApprover
    replanner: Replanner | None = None
    replanning_cost_usd: float = 0.0
    """Dollars to set aside for planning the work of one failed task anew."""
    replanning_is_priced: bool = True
    """Whether that is its price. Without one nobody is asked once nothing is left of a budget."""
    replanning_tokens: int = 0
    reflector: Reflector | None = None
    reflection_cost_usd: float = 0.0
    """Dollars to set aside for looking at one task's output."""
    reflection_tokens: int = 0
    limits: GrowthLimits = field(default_factory=GrowthLimits)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How an execution ended."""

    state: Literal["done", "partial", "failed", "stopped", "waiting"]
    stop_reason: str | None
    outputs: Mapping[str, Any]


class Inbox(Protocol):
    """Brings what others say to a run while it is under way: answers to its questions, and the wish to stop it."""

    @property
    def is_fresh(self) -> bool:
        """Whether it began so recently that there is nothing to be heard yet."""
        ...

    def listen(self, hear: Callable[[Mapping[str, Mapping[str, Any]]], None]) -> None:
        """Call `hear`, in the event loop, with all messages by their keys, whenever there are new ones."""
        ...

    async def fetch(self) -> None:
        """Look for messages now, and tell of them before this returns."""
        ...


logger = get_logger(__name__)
failures = get_logger("kapelle.execution")
"""Told of every attempt that fails: which run, task and agent are fields of the record."""

NEVER_S = 1e9
MIN_BEHIND_S = 60.0
"""How long tasks wait at least for the place of a call that goes on after its time."""
MAX_FIRST_S = 60.0
"""How long a service is asked by one job alone after it wanted to be left alone: who is too busy says so sooner."""
LATE_EXPANSION = "It expanded into other tasks when the run was stopped."
STOP = "stop"
"""Begins the key of a message that asks to stop the run; the number of the run's session follows."""


class Executor:
    """Runs approved plans with the agents of a registry.

    Args:
        backend: Where agents run; by default in the event loop of the caller.
        timer: Seconds that pass, wherever they begin.
        clock: What time it is, in seconds since the epoch.
    """

    def __init__(
        self,
        agents: AgentRegistry,
        *,
        backend: Backend | None = None,
        timer: Callable[[], float] = time.perf_counter,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.agents = agents
        self.backend: Backend = backend or AsyncioBackend()
        self.timer = timer

    async def execute(
        self,
        plan: ApprovedPlan,
        journal: Journal,
        *,
        budget: Budget,
        checks: Checks | None = None,
        request: str = "",
        limits: ExecutionLimits | None = None,
        growth: Growth | None = None,
        fallbacks: FallbackChooser | None = None,
        earlier: Earlier | None = None,
        inbox: Inbox | None = None,
        stop_key: str = STOP,
        on_text: Callable[[PartialText], None] | None = None,
    ) -> Ending:
        """Run the plan to its end, and return how it ended. Every step is in the journal before its effect.

        Without `checks` there are the built-in ones only. Without `growth` the graph stays as it is: a task that
        expands fails, and a failed one is not planned anew. Without `fallbacks` no other agent is tried. Without an
        `inbox` nobody answers meanwhile: where people are asked it ends as `waiting` when nothing else is left to do.
        `earlier` is what an earlier part of the run has left.

        Raises:
            InvalidInput: the plan did not come from validation, or nothing runs one of its agents; nothing has run.
            LeaseLost: another engine has taken the run over. What ran is cancelled; nothing more is written.
            asyncio.CancelledError: the caller was cancelled. What ran is cancelled and journaled before this is raised.
        """
        if not isinstance(plan, ApprovedPlan):
            raise InvalidInput(f"Only a plan that the validator approved can run, not {type(plan).__name__}.")
        earlier = earlier or Earlier()
        over = earlier.outputs.keys() | earlier.failed.keys() | earlier.skipped.keys()
        for task_id in plan.assignments.keys() - over:
            for agent_id in agents_of(plan.strategy_of(task_id)):
                self.agents.runner(agent_id)
        run = _Execution(
            self,
            plan,
            journal,
            budget,
            checks or Checks(),
            request,
            limits or ExecutionLimits(),
            growth,
            fallbacks,
            earlier,
        )
        return await run.run(inbox, stop_key, on_text)


@dataclass(kw_only=True, slots=True, eq=False)
class _Replanning:
    """A failed task whose work is being planned anew."""

    task: Task
    reason: str
    reservation: Reservation
    work: asyncio.Task[AgentResult | None] | None = None
    expired: str | None = None
    """Why its time was over, if it was."""


@dataclass(kw_only=True, slots=True, eq=False)
class _Reflecting:
    """A finished task whose output somebody looks at."""

    task: Task
    reservation: Reservation
    work: asyncio.Task[Reflection | None] | None = None
    expired: str | None = None
    """Why its time was over, if it was."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Again:
    """A failed job has waited long enough."""

    job: Job


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Rested:
    """A service that asked to be left alone may be asked again, if it has not asked for more since."""

    service: str
    due: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _LetIn:
    """The first job after a rest has not been told to wait for so long that others may follow."""

    job: Job


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _LeftBehind:
    """A job that was given up has a thread that goes on, which has ended now; or it has been waited for long enough."""

    job: Job
    ended: bool


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Late:
    """A job takes longer than most."""

    job: Job


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Mail:
    """Messages have come in."""

    messages: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Halt:
    """The run is to end before its tasks do."""

    reason: str
    state: Literal["stopped", "failed"] = "stopped"


class _Execution:
    """One run of one plan. `run` is the loop; everything else is a step of it."""

    def __init__(
        self,
        executor: Executor,
        plan: ApprovedPlan,
        journal: Journal,
        budget: Budget,
        checks: Checks,
        request: str,
        limits: ExecutionLimits,
        growth: Growth | None,
        fallbacks: FallbackChooser | None,
        earlier: Earlier,
    ) -> None:
        self._agents = executor.agents
        self._backend = executor.backend
        self._in_loop = isinstance(executor.backend, AsyncioBackend)
        self._fallbacks = fallbacks
        self._timer = executor.timer
        self._plan = plan
        self._journal = journal
        self._run_id = journal.run_id
        self._accounts = Accounts(budget, executor.agents)
        self._budget = budget
        self._checks = checks
        self._request = request
        self._limits = limits
        self._growth = growth
        self._earlier = earlier
        self._on_text: Callable[[PartialText], None] | None = None
        self._progress = Progress(graph=plan.dag)
        self._recorder = Recorder(journal, plan, executor.clock, executor.agents.versions)
        self._clock = executor.clock
        self._questions = Questions(journal.run_id, earlier.questions)
        self._loops = LoopGuard(limits.max_same_calls)
        self._works: dict[str, Work] = {}
        """Tasks that are ready or begun, and not over."""
        self._ready = ReadyJobs(self._accounts.places_of)
        self._reports = Reports()
        self._underway = UnderWay(self._reports.put_nowait)
        self._pausing: dict[int, asyncio.TimerHandle] = {}
        """Failed jobs that are to be made again after a while, by their own id."""
        self._resting: dict[str, asyncio.TimerHandle] = {}
        """Services that asked to be left alone, with when they may be asked again."""
        self._first: dict[str, tuple[Job, asyncio.TimerHandle] | None] = {}
        """Services that one job asks first after a rest, so that not all that waited come at once: that job, once it
        has begun, with when others may follow even if it has not ended."""
        self._behind: dict[int, tuple[Job, asyncio.TimerHandle]] = {}
        """Jobs that were given up and whose threads go on in their agents' places, by their own id."""
        self._stuck: set[str] = set()
        """Agents all of whose places are taken by such threads, for too long."""
        self._replanning: dict[str, _Replanning] = {}
        """Failed tasks whose work is being planned anew."""
        self._reflecting: set[_Reflecting] = set()
        self._told = dict(earlier.attempts)
        """Per task, how many attempts the journal tells of that belong to no work of now."""
        self._replaced = set(earlier.replaced)
        """Tasks whose place others have taken: their names are used up."""
        self._halt: _Halt | None = None
        self._is_stopping = False
        """Whether nothing starts any more."""
        self._started = 0.0
        self._planning_costs = False
        """Whether planning anew, or looking at outputs, has told of costs in this run."""
        self._changes = earlier.changes
        """Expansions and new plans so far."""

    async def run(self, inbox: Inbox | None, stop_key: str, on_text: Callable[[PartialText], None] | None) -> Ending:
        self._started = self._timer()
        self._on_text = None if on_text is None else contained(on_text, f"on_text of run {self._run_id}")
        alarm = self._set_alarm(self._limits.deadline_s)
        if inbox is not None:
            inbox.listen(lambda messages: self._reports.put_nowait(_Mail(messages=messages)))
        try:
            self._take_up()
            if inbox is not None and not inbox.is_fresh:
                await (
                    inbox.fetch()
                )  # whoever wanted the run to stop while it was planned is heard before anything starts
            while self._halt is None and not self._reports.empty():
                await self._take(self._reports.get_nowait(), stop_key)
            while True:
                self._dispatch()
                if self._halt is not None:  # a task that must not fail had failed before, or could not even begin
                    return await self._stop(self._halt.reason, self._halt.state)
                if not self._is_busy:
                    if self._ready.retry():
                        continue  # nothing will free money any more: each has its turn with what is left
                    if inbox is not None and self._progress.asking:
                        await inbox.fetch()  # perhaps somebody answered while the last task ran
                    if self._reports.empty():
                        break
                report = await self._reports.get()
                while True:  # all that has ended is taken in before anything starts
                    if type(report) is Job:
                        await self._settle(report)
                    else:
                        await self._take(report, stop_key)
                    if self._halt is not None or self._reports.empty():
                        break
                    report = self._reports.get_nowait()
                if self._halt is not None:
                    return await self._stop(self._halt.reason, self._halt.state)
        except asyncio.CancelledError:
            await self._stop("It was interrupted.")
            raise
        finally:
            left = [timer for _, timer in self._behind.values()]
            left += [first[1] for first in self._first.values() if first is not None]
            for timer in (alarm, *self._pausing.values(), *self._resting.values(), *left):
                if timer is not None:
                    timer.cancel()
            self._underway.close()
            for work in [one.work for one in self._replanning.values()] + [one.work for one in self._reflecting]:
                if work is not None:
                    work.cancel()
        return self._ending()

    @property
    def _is_busy(self) -> bool:
        """Whether something will report without anybody's doing."""
        if len(self._underway) or self._replanning or self._pausing or self._reflecting:
            return True
        if self._ready.is_waited_for({job.agent or "" for job, _ in self._behind.values()}):
            return True
        return any(self._ready.is_waited_for(self._asking_for(service)) for service in self._resting)

    async def _take(self, report: Any, stop_key: str) -> None:
        match report:
            case _Again(job=job):
                self._ask_again(job)
            case _Rested(service=service, due=due):
                self._end_rest(service, due)
            case _LetIn(job=job):
                self._let_others_follow(job)
            case _LeftBehind(job=job, ended=ended):
                self._take_place_back(job, ended=ended)
            case _Late(job=job):
                self._hedge(job)
            case _Replanning():
                await self._take_new_plan(report)
            case _Reflecting():
                await self._take_reflection(report)
            case _Mail(messages=messages):
                for key, message in messages.items():
                    self._hear(key, message, stop_key)
            case _Halt():
                self._halt = report

    # Beginning, and taking on a graph that has changed

    def _take_up(self) -> None:
        """Begin, or go on where an earlier part of the run has stopped."""
        earlier, progress = self._earlier, self._progress
        progress.outputs.update(earlier.outputs)
        progress.from_memory.update(earlier.from_memory)
        progress.failed.update(earlier.failed)
        progress.skipped.update(earlier.skipped)
        progress.asking.update({one.task_id: one.question_id for one in self._questions.open()})
        for task_id, why in earlier.at_risk.items():  # they may have taken effect: nobody starts them unasked
            self._ask_person(self._questions.before_rerun(self._given(progress.graph[task_id]), why), None)
        for task_id, reason in earlier.failed.items():  # the run may have been cut off before what follows was decided
            task = progress.graph[task_id]
            if task_id not in earlier.not_replanned and self._start_replanning(task, reason):
                continue
            if task.on_failure == "fail":
                self._halt = _halt_for(task, f"failed: {reason}")
        self._adopt(self._plan)

    def _adopt(self, plan: ApprovedPlan) -> None:
        """Take on a plan: the first one, or one for a graph that has changed. What is over or runs stays so."""
        self._replaced.update(self._plan.dag.tasks.keys() - plan.dag.tasks.keys())
        self._plan = plan
        self._recorder.adopt(plan)
        self._accounts.expect((plan.assignments[task_id], one) for task_id, one in plan.estimates.items())
        self._accounts.expect(one for steps in plan.step_estimates.values() for one in steps.items())
        found = self._progress.adopt(plan.dag)
        self._ready.rank(
            rank_tasks(
                plan.dag, {task_id: one.seconds for task_id, one in plan.estimates.items()}, self._earlier.active_s
            )
        )
        self._works = {task_id: work for task_id, work in self._works.items() if work.attempts}
        for work in self._works.values():
            for job in work.waiting:
                self._ready.push(job)
        self._apply(found)

    def _push(self, task_id: str) -> None:
        """A task is ready: hand out its first jobs, unless a person has to approve it first."""
        if task_id in self._works or task_id in self._progress.asking or task_id in self._progress.failed:
            return
        if self._is_stopping:
            return
        task = self._progress.graph[task_id]
        question = self._questions.before_start(self._given(task)) if self._questions.concern(task) else None
        if question is not None:
            self._ask_person(question, None)
            return
        work = Work(
            task=task,
            strategy=self._plan.strategy_of(task_id),
            guarded=self._checks.guards(task),
            earlier=self._told.get(task_id, 0),
        )
        self._works[task_id] = work
        if work.simple:
            self._ready.push(work.only_job())
        else:
            self._advance(work)

    # Dispatching

    def _dispatch(self) -> None:
        """Start everything that is ready, as far as agents are free and the budget holds."""
        while self._halt is None and (job := self._ready.pop()) is not None:
            if (unasked := self._why_not_asked(job)) is not None:
                self._ready.leave(job)
                self._pass_over(job, unasked)
                continue
            if self._is_left_alone(job):
                self._ready.push(job)
                self._ready.leave(job)
                continue
            alone = not self._is_busy
            untried = self._accounts.is_untried(job.agent)
            if untried and any(self._accounts.is_untried(other.agent) for other in self._underway):
                self._ready.postpone(job)
                continue
            job.expected = self._expected(job)
            if self._budget.cap_usd is not None and job.most_usd is None:
                job.most_usd = self._most_usd(job)
            try:
                reservation = self._accounts.reserve(job, alone=alone, underway=self._underway)
            except BudgetExceeded as error:
                if job.rival is not None:
                    late = job.rival
                    self._ready.leave(job)
                    job.work.waiting.remove(job)
                    _part(job)
                    self._watch_for_lateness(late)
                elif not alone:
                    self._ready.postpone(job)
                else:
                    self._ready.leave(job)
                    self._refuse(job, f"The budget does not reach: {error}")
                continue
            self._start(job, reservation)

    def _expected(self, job: Job) -> Estimate | None:
        """Return what a job is expected to take; None for a check that no agent makes."""
        if job.agent is None:
            return None
        known = job.work.fallbacks.get(job.agent)
        return known if known is not None else self._plan.step_estimate(job.work.task.task_id, job.agent)

    def _most_usd(self, job: Job) -> float | None:
        """Return what an agent says that a job costs at most; None where it does not know."""
        if job.agent is None or job.check is not None:
            return None
        bound = getattr(self._agents.runner(job.agent), "most_usd", None)
        if bound is None:
            return None
        context, task = self._context(job), job.work.task
        try:
            found = bound(task.resolved(context.upstream), context)
            return None if found is None else read_usd(found)
        except LookupError:
            return None  # an input cannot be filled, as its start will say
        except Exception as error:
            logger.warning("What %r costs at most cannot be told: %s", job.agent, describe_error(error))
            return None

    def _refuse(self, job: Job, reason: str) -> None:
        """A job cannot be paid for. A task that has not begun is skipped; one that has makes do without it."""
        work = job.work
        work.waiting.remove(job)
        if work.started is None:
            if work.task.task_id in self._works:  # all its first jobs are refused alike; one of them says so
                self._drop(work)
                self._progress.unaffordable[work.task.task_id] = reason
                self._skip(work.task.task_id, reason)
        else:
            self._do_without(job, reason)

    def _pass_over(self, job: Job, reason: str) -> None:
        """The agent of a job is not asked: its task has to do with others."""
        work = job.work
        work.waiting.remove(job)
        if job.rival is not None:
            _part(job)
            return
        if work.started is None:
            work.started, work.told_apart = self._timer(), True
            self._recorder.task_started(job, 0.0)
        self._do_without(job, reason)

    def _do_without(self, job: Job, reason: str) -> None:
        """A task that has begun does without what a job was to give."""
        work = job.work
        if job.check is not None:
            self._note_check(job, Verdict(passed=False, measured=False, note=f"It was not checked. {reason}"), 0.0)
        else:
            assert job.agent is not None
            self._recorder.attempt_started(work, len(work.attempts), job.agent, 0.0)
            work.refuse(job, reason)
            self._recorder.attempt_finished(work, len(work.attempts) - 1)
        self._advance(work)

    def _start(self, job: Job, reservation: Reservation) -> None:
        """Start a job whose money is set aside: first it is written down, then it happens."""
        work, task = job.work, job.work.task
        context = self._context(job, None if self._budget.cap_usd is None else reservation.usd)
        problem: str | None = None
        try:
            resolved = task.resolved(context.upstream)  # what the agent does to it nobody else sees
        except LookupError as error:
            resolved, problem = task, f"An input cannot be filled: {error.args[0]}."
        if problem is None and task.deadline_s is not None and self._seconds_to(task.deadline_s) == 0.0:
            problem = f"Its deadline of {task.deadline_s:g} s had passed before it could begin."
        if problem is None and job.check is None and task.metadata and is_grown(task):
            assert job.agent is not None
            if not work.failures_of(job.agent) and job.rival is None:  # one task's retries and rivals are no loop
                problem = self._loops.admit(job.agent, resolved)
        if problem is not None:
            self._budget.release(reservation)
            self._ready.leave(job)
            if work.started is not None:
                self._refuse(job, problem)
                return
            self._drop(work)
            self._fail(work, {"reason": problem}, self._recorder.outcomes(work, None))
            self._after_failure(task, problem, ())
            return
        work.waiting.remove(job)
        job.reservation, job.started = reservation, self._timer()
        try:
            self._write_start(job)
        except BaseException:
            self._budget.release(reservation)
            raise
        work.started = job.started if work.started is None else work.started
        if job.check is None:
            assert job.agent is not None
            job.attempt = len(work.attempts)
            work.attempts.append(Attempt(agent=job.agent, step=work.step_of(job.agent)))
            doing: Coroutine[Any, Any, Any] = self._run_agent(job.agent, resolved, context)
        else:
            doing = self._examine(job, job.check, resolved, context)
        self._underway.start(job, doing, f"{self._run_id}:{task.task_id}", self._seconds_for(task, job.agent))
        self._go_first(job)
        self._watch_for_lateness(job)

    def _write_start(self, job: Job) -> None:
        work = job.work
        assert job.reservation is not None
        reserved_usd = job.reservation.usd
        if work.started is None:
            self._recorder.task_started(job, reserved_usd)
        if job.check is None and not work.simple:
            assert job.agent is not None
            self._recorder.attempt_started(work, len(work.attempts), job.agent, reserved_usd)
        elif job.check is not None and job.agent is not None:
            data = {"attempt": work.earlier + job.attempt, "check": str(job.check), "reserved_usd": reserved_usd}
            self._recorder.write("check_started", data, work.task.task_id)

    async def _run_agent(self, agent: str, task: Task, context: TaskContext) -> AgentResult:
        try:
            runner = self._agents.runner(agent)
            if self._in_loop:
                given = await runner.run(task, context)
            else:
                given = await self._backend.run(agent, runner, task, context)
            given = with_own_tasks(given)
            if is_read(given):
                return given
            if self._in_loop and runs_on_thread(runner):
                return await read_on_thread(given)
            limit_s = self._seconds_for(task, agent)
            return read_there(given, Patience(MAX_LOOP_S if limit_s is None else min(limit_s, MAX_LOOP_S), self._timer))
        except (Exception, asyncio.CancelledError, GeneratorExit) as error:
            if (asked := find_asked(error)) is not None:
                raise asked from None
            raise
        except BaseException as error:  # an agent may end its own task, not the program
            raise AgentFailed(f"The agent raised {describe_error(error)}.") from error

    async def _examine(self, job: Job, check: Check, task: Task, context: TaskContext) -> Verdict:
        result = job.work.attempts[job.attempt].result
        assert result is not None

        async def ask(agent: str, question: Task) -> AgentResult:
            if agent != job.agent:
                raise AgentFailed(f"The check asks {agent!r}, but was to ask {job.agent!r} only.")
            assert job.expected is not None
            try:
                given, why = read_given(await self._run_agent(agent, question, context))
            except Exception as error:
                self._heed(job, sort_failure(error))
                job.judge_cost = self._accounts.cost_of(job, read_failure(error)[0], job.expected)
                raise
            job.judge_cost = self._accounts.cost_of(job, given, job.expected)
            if given is None or why is not None:
                raise AgentFailed(why or "")
            return given

        output = clone_json_value(result.output)
        found: Verdict = await call_contained("The check", lambda: self._checks.examine(check, task, output, ask=ask))
        return found

    def _context(self, job: Job, reserved_usd: float | None = None) -> TaskContext:
        work, task = job.work, job.work.task
        outputs, tasks = self._progress.outputs, self._progress.graph.tasks
        if job.check is None:
            assert job.agent is not None
            key, tell = work.key(self._run_id, job.agent), self._teller(job)
        else:
            key, tell = f"{self._run_id}/{task.task_id}/{job.attempt}/check", None
        answers, seconds_left = self._answers_for(job), self._seconds_left(task, job.agent)
        if not task.dependencies:
            return TaskContext(
                run_id=self._run_id,
                request=self._request,
                idempotency_key=key,
                answers=answers,
                reserved_usd=reserved_usd,
                seconds_left=seconds_left,
                tell=tell,
            )
        # Copies: a dependent may change what it was given, and no other one, nor the ledger, sees that.
        upstream = {name: clone_json_value(outputs[name]) for name in task.dependencies if name in outputs}
        missing = {}
        if len(upstream) < len(task.dependencies):
            missing = {name: self._progress.reason_of(name) for name in task.dependencies if name not in outputs}
        return TaskContext(
            run_id=self._run_id,
            request=self._request,
            upstream=upstream,
            upstream_tasks={name: _as_titled(tasks[name], outputs) for name in task.dependencies},
            from_memory=frozenset(name for name in task.dependencies if name in self._progress.from_memory),
            missing=missing,
            idempotency_key=key,
            answers=answers,
            reserved_usd=reserved_usd,
            seconds_left=seconds_left,
            tell=tell,
        )

    def _given(self, task: Task, agent: str = "") -> Given:
        """Return what a task is given now, for people to judge; without an agent, as whoever the plan says gets it."""
        outputs, estimate = self._progress.outputs, self._plan.estimates.get(task.task_id)
        upstream = {name: outputs[name] for name in task.dependencies if name in outputs}
        with suppress(LookupError):  # then it fails when it begins, with the reason
            task = task.resolved(upstream)
        return Given(
            task=task,
            upstream=upstream,
            agent=agent or str(self._plan.strategy_of(task.task_id)),
            expected_usd=None if estimate is None else estimate.cost_usd,
        )

    def _answers_for(self, job: Job) -> tuple[HumanAnswer, ...]:
        """Return what people have said to the agent of a job. Who judges answers, or plans anew, has asked nothing."""
        task = job.work.task
        is_asked = job.check is None and self._works.get(task.task_id) is job.work
        if not is_asked or not self._questions.concern(task):
            return ()
        return self._questions.answers_to(self._given(task, job.agent or ""))

    def _teller(self, job: Job) -> Callable[[str], None] | None:
        hear = self._on_text
        if hear is None:
            return None
        task_id, agent = job.work.task.task_id, job.agent or ""

        def tell(text: str) -> None:
            if job in self._underway and job.expired is None:
                hear(PartialText(run_id=self._run_id, task_id=task_id, agent=agent, text=text))

        return tell

    # Settling what has ended

    async def _settle(self, job: Job) -> None:
        """A job has ended: write it down, settle the budget, and see what can start now."""
        if job not in self._underway:
            return  # it was given up in the same turn of the loop, after it had reported
        work = job.work
        self._underway.leave(job)
        self._free_place(job)
        self._let_others_follow(job)
        self._ready.retry()
        error = _error_of(job)
        if job.check is not None:
            self._take_verdict(job)
            self._advance(work)
            return
        if isinstance(error, AskPerson) and (question := read_question(error)) is not None:
            self._pause_to_ask(job, *question)
            return
        result, reason = _result_of(job)
        if error is not None and reason is not None:
            self._heed(job, sort_failure(error))
        rival = job.rival
        if rival is not None and reason is not None and rival in self._underway:  # the other one may still succeed
            _part(job)
            self._write_off(job, result, reason)
            return
        if rival is not None:
            self._beat(rival)
        if reason is not None and self._may_retry(job, error):
            self._retry_later(job, result, reason)
            return
        plan: ApprovedPlan | None = None
        if result is not None and reason is None and result.expansion is not None:
            try:
                plan, reason = await self._expand(work, result.expansion)
            except BaseException:  # the run is being stopped, or ends with an error: what was used is charged first
                self._settle_late(job, result, LATE_EXPANSION)
                raise
        if work.simple and reason is not None and (found := self._find_fallback(work)) is not None:
            self._tell_apart(work, job)
            self._take_answer(job, result, reason)
            self._fall_back(work, *found)
        elif work.simple:
            self._conclude(job, result, reason, plan)
        else:
            self._take_answer(job, result, reason)
            if plan is not None:
                self._drop(work)
                self._write_expansion(work, plan, {})
            else:
                self._advance(work)

    def _settle_late(self, job: Job, result: AgentResult | None, reason: str | None) -> None:
        """Settle an attempt that had ended when the run was stopped: nothing else follows from it."""
        if job.work.simple:
            self._conclude_stopped(job, result, reason)
        else:
            self._take_answer(job, result, reason)

    def _conclude(self, job: Job, result: AgentResult | None, reason: str | None, plan: ApprovedPlan | None) -> None:
        """The only attempt of a task has ended, and the task with it; or it goes on as other tasks."""
        work = job.work
        attempt = self._charge(job, result, reason)
        self._drop(work)
        if plan is not None:
            self._write_expansion(work, plan, used(attempt))
        elif reason is None:
            assert result is not None
            quality = {} if result.quality is None else {"quality": result.quality}
            told = {} if self._journal.is_off else used(attempt)
            heart = self._by_heart(attempt.agent, work.task, result.output)
            self._finish(work, {**told, "output": result.output, **quality, **heart}, None)
        else:
            reason = _with_remark(reason, work)
            self._fail(work, {**used(attempt), "reason": reason}, self._recorder.outcomes(work, None))
            self._after_failure(work.task, reason, work.failures())

    def _charge(self, job: Job, result: AgentResult | None, reason: str | None) -> Attempt:
        assert job.expected is not None
        attempt = job.work.attempts[job.attempt]
        if job.expired is None:
            self._accounts.charge(job, result, job.expected, self._seconds_since(job.started))
        else:
            self._accounts.charge_unknown(job, self._seconds_since(job.started))
        attempt.result, attempt.reason, attempt.ended = result, reason, True
        attempt.failure = None if reason is None else _kind_of(job, reason)
        asks = isinstance(_error_of(job), AskPerson)
        if reason is not None and not asks:
            self._tell_failure(job, attempt, reason)
        self._accounts.learn(job, result if job.expired is None else None, answered=reason is None and not asks)
        assert job.agent is not None
        self._ready.allow(job.agent, self._accounts.places_of(job.agent))
        return attempt

    def _tell_failure(self, job: Job, attempt: Attempt, reason: str) -> None:
        """Keep an error's traceback with its attempt, and log it: what looks like a bug as a warning."""
        error = _error_of(job)
        attempt.traceback = None if error is None else tell_traceback(error)
        attempt.readings = read_readings(error)
        task_id, log = job.work.task.task_id, failures.warning if attempt.failure == "bug" else failures.info
        log(
            "Task %r of run %s: %s failed: %s%s",
            *(task_id, self._run_id, attempt.agent, reason),
            "" if attempt.traceback is None else f"\n{attempt.traceback}",
            extra={"run_id": self._run_id, "task_id": task_id, "agent": attempt.agent},
        )

    def _take_answer(self, job: Job, result: AgentResult | None, reason: str | None) -> None:
        """One attempt of several has ended: write down what it gave and cost. What it means the strategy says."""
        self._charge(job, result, reason)
        job.work.take(job, result, reason)
        self._recorder.attempt_finished(job.work, job.attempt, None if result is None else result.output)

    def _write_off(self, job: Job, result: AgentResult | None, reason: str, **more: Any) -> None:
        """An attempt has failed that does not decide: another is made, or is under way."""
        self._charge(job, result, reason)
        self._recorder.attempt_finished(job.work, job.attempt, **more)

    def _take_verdict(self, job: Job) -> None:
        """A check has ended. One that could not be made is not passed."""
        assert job.running is not None
        assert job.reservation is not None
        seconds = self._seconds_since(job.started)
        verdict, why = (None, job.expired) if job.expired is not None else read_verdict(job.running)
        if verdict is None:
            verdict = Verdict(passed=False, measured=False, note=f"The check failed. {why}")
            if job.judge_cost is None:  # it was cut off: what it has cost is unknown, so all that was set aside
                job.judge_cost = (job.reservation.usd, job.reservation.usd > 0)
        if job.judge_cost is not None:
            verdict = replace(verdict, cost_usd=job.judge_cost[0])
        usage = verdict.usage
        self._budget.commit(
            job.reservation, usd=verdict.cost_usd, tokens=usage.tokens, calls=usage.calls, seconds=seconds
        )
        if job.agent is not None:
            told = None if job.judge_cost is None or job.judge_cost[1] else job.judge_cost[0]
            spent = AgentResult(output=None, cost_usd=told, usage=usage)
            self._accounts.learn(job, spent, answered=why is None)
            self._ready.allow(job.agent, self._accounts.places_of(job.agent))
        self._note_check(job, verdict, seconds)

    def _note_check(self, job: Job, verdict: Verdict, seconds: float) -> None:
        job.work.examined(job, verdict)
        self._recorder.attempt_checked(job, verdict, seconds)

    def _advance(self, work: Work) -> None:
        """Do what the strategy of a task says next."""
        move = work.next()
        if isinstance(move, (Ask, Examine)):
            for job in work.new_jobs(move):
                self._ready.push(job)
        elif isinstance(move, Accept):
            self._accept(work, move)
        elif work.fault is None and (found := self._find_fallback(work)) is not None:
            self._fall_back(work, *found)
        else:
            self._give_up(work, move.reason)

    def _accept(self, work: Work, move: Accept) -> None:
        attempt = work.attempts[work.attempt_of(move.agent)]
        assert attempt.result is not None
        self._drop(work)
        quality = work.quality_of(attempt, move.agent)[0]
        data = {
            "agent": move.agent,
            "output": attempt.result.output,
            **({} if quality is None else {"quality": quality}),
            **self._by_heart(move.agent, work.task, attempt.result.output),
            "decision": move.reason,
            "seconds": self._seconds_since(work.started),
        }
        self._finish(work, data, move.agent)

    def _by_heart(self, agent: str, task: Task, output: Any) -> dict[str, bool]:
        """Return what an event says of an output that comes from the memory of a model."""
        outputs = self._progress.outputs
        upstream = [outputs[name] for name in task.dependencies if name in outputs]
        if agent not in self._agents or not is_from_memory(self._agents.runner(agent), task, output, upstream):
            return {}
        self._progress.from_memory.add(task.task_id)
        return {"from_memory": True}

    def _give_up(self, work: Work, reason: str) -> None:
        told = Counter((one.agent, one.reason or one.refused) for one in work.attempts)
        failures = "; ".join(
            f"{agent}{f', {times} times' if times > 1 else ''}: {why}"
            for (agent, why), times in told.items()
            if why and why != work.fault
        )
        text = f"{reason[:1].upper()}{reason[1:]}".removesuffix(".") + "." + (f" ({failures})" if failures else "")
        self._drop(work)
        text = _with_remark(text, work)
        data = {"reason": text, "seconds": self._seconds_since(work.started)}
        self._fail(work, data, self._recorder.outcomes(work, None))
        if work.fault is None:
            self._after_failure(work.task, text, work.failures())
        else:  # other tasks would be paid for nothing, too
            self._accept_failure(work.task, f"failed: {text}")

    def _finish(self, work: Work, data: dict[str, Any], accepted: str | None) -> None:
        task_id = work.task.task_id
        if self._journal.keeps_outcomes:
            self._recorder.write("task_finished", data, task_id, self._recorder.outcomes(work, accepted))
        for ready in self._progress.finish(task_id, data["output"]):
            self._push(ready)
        if self._growth is not None and self._growth.reflector is not None and not self._is_stopping:
            self._start_reflection(self._growth, work.task, data["output"])

    def _fail(self, work: Work, data: dict[str, Any], outcomes: Sequence[Any] = ()) -> None:
        task_id = work.task.task_id
        if kinds := work.failures():
            data = {**data, "failures": kinds}
        self._recorder.write("task_failed", data, task_id, outcomes)
        self._progress.failed[task_id] = data["reason"]

    def _drop(self, work: Work) -> None:
        """A task is over, or begins anew later: nothing more of this work will start."""
        self._works.pop(work.task.task_id, None)
        self._ready.drop(work)

    # Trying again: the same agent, beside it, or the next best one

    def _may_retry(self, job: Job, error: BaseException | None) -> bool:
        """Whether a job failed for a reason that can pass, and may be made again."""
        assert job.agent is not None
        policy, task = self._limits.retry, job.work.task
        if job.expired is not None or error is None or not policy.can_pass(error):
            return False
        retries = next(
            (given for given in (task.retries, self._agents[job.agent].retries) if given is not None),
            policy.max_attempts - 1,
        )
        return is_repeatable(task) and job.work.failures_of(job.agent) < retries

    def _retry_later(self, job: Job, result: AgentResult | None, reason: str) -> None:
        """Write down that an attempt failed, and let it be made again after a while."""
        work = job.work
        assert job.agent is not None
        self._tell_apart(work, job)
        # Drawn from the run's and the task's names, so that a run is repeatable.
        failures = work.failures_of(job.agent) + 1
        chance = random.Random(f"{self._run_id} {work.task.task_id} {failures}")
        delay_s = self._limits.retry.delay_s(failures, chance)
        self._write_off(job, result, reason, retry_in_s=delay_s)
        again = _Again(job=job)
        self._pausing[id(job)] = asyncio.get_running_loop().call_later(delay_s, self._reports.put_nowait, again)

    def _service_of(self, agent: str | None) -> str:
        """Return the name of what an agent calls: its model's provider, or else the agent itself."""
        assert agent is not None
        named = getattr(self._agents.runner(agent), "service", None)
        if isinstance(named, str) and named:
            return named
        model = self._agents[agent].model
        return model.partition(":")[0] if model else f"agent {agent}"

    def _asking_for(self, service: str) -> list[str]:
        """Return the agents that call a service."""
        return [agent for agent in self._agents.runnable() if self._service_of(agent) == service]

    def _heed(self, job: Job, failure: Failure) -> None:
        """Leave the service alone that an agent calls, if it asked for that."""
        if failure.retry_after_s:
            self._let_rest(self._service_of(job.agent), failure.retry_after_s)

    def _let_rest(self, service: str, seconds: float) -> None:
        """A service asked to be left alone: nobody calls it until then, whatever task asks for it."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        known = self._resting.get(service)
        if known is not None:
            if known.when() >= due:
                return
            known.cancel()
        self._resting[service] = loop.call_at(due, self._reports.put_nowait, _Rested(service=service, due=due))
        for agent in self._asking_for(service):
            if seconds > self._limits.retry.max_rest_s:
                self._ready.let_go(agent)  # nobody waits that long: its jobs come to nothing at their turn
            else:
                self._ready.hold(agent)

    def _why_not_asked(self, job: Job) -> str | None:
        """Return why the agent of a job is not asked at all: it is stuck, or what it calls wants to be left alone."""
        if job.agent in self._stuck:
            return f"All places of {job.agent} are taken by calls that go on although their time is over."
        if job.agent is None or not self._resting:
            return None
        service = self._service_of(job.agent)
        timer = self._resting.get(service)
        left_s = 0.0 if timer is None else timer.when() - asyncio.get_running_loop().time()
        if left_s <= self._limits.retry.max_rest_s:
            return None
        return f"{service} asks to be left alone for another {left_s:.0f} s. Resume the run later."

    def _is_left_alone(self, job: Job) -> bool:
        """Whether what a job's agent calls wants to be left alone for so short a time that the job waits."""
        if job.agent is None or not self._resting or self._service_of(job.agent) not in self._resting:
            return False
        self._ready.hold(job.agent)
        return True

    def _end_rest(self, service: str, due: float) -> None:
        """A service may be asked again: by one job at first."""
        timer = self._resting.get(service)
        if timer is not None and timer.when() == due:  # not by the clock: a loop rings a moment before the time
            del self._resting[service]
            self._forget_first(service)
            self._first[service] = None
            for agent in self._asking_for(service):
                self._ready.let_go(agent)

    def _go_first(self, job: Job) -> None:
        """If a job is the first that asks a service after a rest, the others wait for how that ends."""
        if job.agent is None or not self._first:
            return
        service = self._service_of(job.agent)
        if self._first.get(service, ()) is not None:
            return
        loop = asyncio.get_running_loop()
        self._first[service] = job, loop.call_later(MAX_FIRST_S, self._reports.put_nowait, _LetIn(job=job))
        for agent in self._asking_for(service):
            self._ready.hold(agent)

    def _let_others_follow(self, job: Job) -> None:
        """If a job was the first after a rest, others may ask as well, unless it was told to wait again."""
        for service, first in list(self._first.items()):
            if first is not None and first[0] is job:
                self._forget_first(service)
                if service not in self._resting:
                    for agent in self._asking_for(service):
                        self._ready.let_go(agent)

    def _forget_first(self, service: str) -> None:
        first = self._first.pop(service, None)
        if first is not None:
            first[1].cancel()

    def _ask_again(self, job: Job) -> None:
        del self._pausing[id(job)]
        if self._works.get(job.work.task.task_id) is not job.work:
            return  # its task is over, or asks a person
        assert job.agent is not None
        self._ready.push(job.work.again(job.agent))

    def _tell_apart(self, work: Work, job: Job) -> None:
        """From here on the journal tells of each attempt of a task, the one that was its only one included."""
        if work.simple:
            assert job.agent is not None
            assert job.reservation is not None
            self._recorder.attempt_started(work, job.attempt, job.agent, job.reservation.usd)
            work.told_apart = True

    def _watch_for_lateness(self, job: Job) -> None:
        hedge, work = self._limits.hedge, job.work
        if hedge is None or job.check is not None or job.rival is not None or not is_repeatable(work.task):
            return
        expected = job.expected
        if not isinstance(work.strategy, OneAgent) or expected is None:
            return
        after_s = max(hedge.least_s, hedge.after * (expected.seconds_high or 2 * expected.seconds))
        job.late = asyncio.get_running_loop().call_later(after_s, self._reports.put_nowait, _Late(job=job))

    def _hedge(self, job: Job) -> None:
        """A job is late: give it a rival, if that is paid by what all that is still to do leaves of the budget."""
        expected = job.expected
        if job not in self._underway or job.rival is not None or expected is None:
            return
        if self._budget.left.usd - self._still_to_pay() < expected.cost_usd:
            self._watch_for_lateness(job)  # others may free it meanwhile
            return
        assert job.agent is not None
        self._tell_apart(job.work, job)
        rival = job.work.again(job.agent)
        rival.rival, job.rival = job, rival
        self._ready.push(rival)

    def _beat(self, rival: Job) -> None:
        """The other attempt at the same answer is over: this one is stopped; one that only waits never starts."""
        assert rival.rival is not None
        _part(rival)
        if rival not in self._underway:
            rival.work.waiting.remove(rival)
            self._ready.drop(rival.work, rival)
            return
        self._cut_off(rival, "The other attempt was faster.")

    def _cut_off(self, job: Job, reason: str) -> None:
        """Stop an attempt that nobody waits for any more. One that has ended meanwhile is charged what it cost."""
        result = None
        if job.running is not None and job.running.done() and job.expired is None:
            result = _result_of(job)[0]
            if (error := _error_of(job)) is not None:
                self._heed(job, sort_failure(error))
        self._underway.give_up(job, reason)
        self._underway.leave(job)
        self._free_place(job)
        self._let_others_follow(job)
        seconds = self._seconds_since(job.started)
        if result is None:
            self._accounts.charge_unknown(job, seconds)
        else:
            assert job.expected is not None
            self._accounts.charge(job, result, job.expected, seconds)
        job.work.attempts[job.attempt].reason = reason  # it is not `ended`: nothing is learned of its agent from it
        self._recorder.attempt_finished(job.work, job.attempt)

    def _free_place(self, job: Job) -> None:
        """Give back the place of a job that has ended; of one that was given up, once no thread of it goes on."""
        running = job.running
        if job.agent is None or job.expired is None or running is None or not threads_at_work(running):
            self._ready.leave(job)
            return
        self._wait_for_thread(job)
        when_threads_end(running, lambda: self._reports.put_nowait(_LeftBehind(job=job, ended=True)))

    def _wait_for_thread(self, job: Job) -> None:
        """Have it reported when a thread goes on for as long again as it was given, and for a minute at least."""
        limit_s = max(MIN_BEHIND_S, self._seconds_for(job.work.task, job.agent) or 0.0)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(limit_s, self._reports.put_nowait, _LeftBehind(job=job, ended=False))
        self._behind[id(job)] = (job, timer)

    def _take_place_back(self, job: Job, *, ended: bool) -> None:
        assert job.agent is not None
        known = self._behind.pop(id(job), None)
        if ended:
            self._stuck.discard(job.agent)
        if known is None:
            return  # its place was given up long ago
        known[1].cancel()
        if not ended:
            is_alone = not any(other.agent == job.agent for other in self._underway)
            if not (is_alone and self._ready.is_waited_for((job.agent,))):
                self._wait_for_thread(job)  # it holds up nobody
                return
            self._stuck.add(job.agent)  # those that wait go to other agents, or fail: nothing else would end the run
        self._ready.leave(job)

    def _still_to_pay(self) -> float:
        """Return what the tasks that have not begun are expected to cost."""
        progress = self._progress
        begun = {task_id for task_id, work in self._works.items() if work.attempts}
        return sum(
            self._plan.estimates[task_id].cost_usd
            for task_id in progress.graph.tasks
            if task_id not in begun and not progress.is_over(task_id)
        )

    def _find_fallback(self, work: Work) -> tuple[str, Estimate] | None:
        """Return the next best agent for a task whose strategy came to nothing, if there is one that can be paid."""
        task = work.task
        if self._fallbacks is None or len(work.fallbacks) >= self._limits.max_fallbacks or not is_repeatable(task):
            return None
        if task.deadline_s is not None and self._seconds_to(task.deadline_s) == 0.0:
            return None
        found = self._fallbacks.choose_fallback(task, {attempt.agent for attempt in work.attempts})
        if found is None:
            return None
        if task.approval:  # who does it, for how much, is what a person was shown and said yes to
            work.remark = f" {found[0]} might do it, but a person approved another agent for it: name it in the plan."
            return None
        cost_usd, left_usd = found[1].cost_usd, self._budget.left.usd
        if cost_usd > left_usd:
            work.remark = f" {found[0]} might do it for ${cost_usd:.4g}, but of the budget ${left_usd:.4g} is left."
            return None
        return found

    def _fall_back(self, work: Work, agent: str, expected: Estimate) -> None:
        work.fall_back(agent, expected)
        self._advance(work)

    # What follows from a failure

    def _after_failure(self, task: Task, reason: str, kinds: Sequence[FailureKind]) -> None:
        """A task has failed for good: plan its work anew, end the run, or let what needs it be skipped."""
        if may_help_anew(kinds) and self._start_replanning(task, reason):
            return
        self._accept_failure(task, f"failed: {reason}")

    def _accept_failure(self, task: Task, what: str) -> None:
        if task.on_failure == "fail":
            self._halt = _halt_for(task, what)
            return
        self._apply(self._progress.propagate_failure(task.task_id))

    def _skip(self, task_id: str, reason: str) -> None:
        self._recorder.write("task_skipped", {"reason": reason}, task_id)
        self._progress.skipped[task_id] = reason
        self._apply(self._progress.propagate_failure(task_id))

    def _apply(self, found: Consequences) -> None:
        for task_id, reason in found.skipped.items():
            self._recorder.write("task_skipped", {"reason": reason}, task_id)
        for task_id in found.ready:
            self._push(task_id)

    # People

    def _ask_person(self, question: Question, attempt: Attempt | None) -> None:
        """Let a task wait for a person. Nothing of it is under way meanwhile."""
        self._recorder.task_asked(question, attempt)
        self._questions.add(question)
        self._progress.asking[question.task_id] = question.question_id

    def _pause_to_ask(self, job: Job, asked: AskPerson, result: AgentResult | None) -> None:
        """An agent needs to know something: its task begins anew when it is answered."""
        work = job.work
        _part(job)
        for other in [one for one in self._underway if one.work is work]:
            assert other.check is None  # an answer is examined when all have been given
            self._cut_off(other, "Another agent asked a person.")
        self._drop(work)
        work.waiting.clear()
        question = self._questions.of_agent(self._given(work.task, job.agent or ""), asked)
        if work.simple:
            attempt: Attempt | None = self._charge(job, result, None)
        else:
            self._write_off(job, result, "It asked a person.")
            attempt = None
            self._told[work.task.task_id] = work.earlier + len(work.attempts)
        self._ask_person(question, attempt)

    def _hear(self, key: str, message: Mapping[str, Any], stop_key: str) -> None:
        """Somebody answered a question, or wants the run to stop."""
        if key == stop_key:
            by = str(message.get("by") or "a person")[:200]
            self._halt = _Halt(reason=f"It was stopped by {by}.")
            return
        question = self._questions.answer(message, self._clock())
        if question is None or self._progress.asking.get(question.task_id) != question.question_id:
            return
        task = self._progress.graph[question.task_id]
        data = {"question_id": question.question_id, "answer": question.answer, "note": question.note}
        self._recorder.write("question_answered", {**data, "by": question.by}, task.task_id)
        rejected = why_rejected(question)
        if rejected is None:
            self._apply(self._progress.answer(task.task_id))
            return
        del self._progress.asking[task.task_id]
        self._recorder.write("task_failed", {"reason": rejected}, task.task_id)
        self._progress.failed[task.task_id] = rejected
        self._accept_failure(task, rejected)

    # Growth: other tasks take the place of one

    async def _expand(self, work: Work, subgraph: TaskDAG) -> tuple[ApprovedPlan | None, str | None]:
        if not isinstance(work.strategy, OneAgent) or work.guarded:
            return None, "It expanded into other tasks, where an answer was asked for."
        return await self._approve_growth(work.task, subgraph)

    def _write_expansion(self, work: Work, plan: ApprovedPlan, data: dict[str, Any]) -> None:
        outcomes = self._recorder.outcomes(work, None)
        data = {**data, **describe_growth(self._plan, plan)}
        self._recorder.write("task_expanded", data, work.task.task_id, outcomes)
        self._adopt(plan)

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
            dag = grow(progress.graph, task, subgraph, limits, replan=replan)
            self._expect_new_names(dag)
            plan = await self._growth.approver.approve(dag, self._plan, self._begun)
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
        if not may_replan(self._progress.graph, task, growth.limits) or self._changes >= growth.limits.max_changes:
            return False
        if not self._progress.is_wanted(task.task_id) or not is_repeatable(task) or self._is_too_late_to_plan:
            return False
        if not growth.replanning_is_priced and self._budget.left.usd <= 0:
            return False
        try:
            reservation = self._budget.reserve(usd=growth.replanning_cost_usd, tokens=growth.replanning_tokens)
        except BudgetExceeded:
            return False
        started = {"replaces": task.task_id, "reserved_usd": reservation.usd}
        self._journal.write("planning_started", started)
        replanning = _Replanning(task=task, reason=reason, reservation=reservation)
        context = self._context(Job(work=Work(task=task, strategy=OneAgent(agent="planner")), agent="planner"))
        ask = call_contained("The replanner", growth.replanner.replan, task.copied(), reason, context)
        replanning.work = asyncio.create_task(ask)
        self._await_report(replanning, replanning.work)
        self._replanning[task.task_id] = replanning
        self._progress.replanning.add(task.task_id)
        return True

    def _await_report(self, report: _Replanning | _Reflecting, work: asyncio.Task[Any]) -> None:
        """Have it reported when a planner's work ends, or its time is over: one that never ends holds up no run."""

        def ended(work: asyncio.Task[Any]) -> None:
            alarm.cancel()
            if not work.cancelled():
                work.exception()  # seen: asyncio does not complain if the run has ended meanwhile
            self._reports.put_nowait(report)

        def expire() -> None:
            report.expired = f"It took longer than its {limit_s:g} s."
            work.cancel()
            self._reports.put_nowait(report)

        limit_s = self._limits.task_timeout_s
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(limit_s if limit_s is not None else NEVER_S, expire)
        work.add_done_callback(ended)

    async def _take_new_plan(self, replanning: _Replanning) -> None:
        """The work of a failed task was planned anew, or there is no other way."""
        task, progress = replanning.task, self._progress
        if self._replanning.pop(task.task_id, None) is None:
            return
        assert replanning.work is not None
        result, problem = (None, replanning.expired) if replanning.expired else read_new_plan(replanning.work)
        cost = self._settle_planning(replanning, replanning.work, result, failed=problem is not None)
        if problem is not None:
            problem = f"planning it anew failed: {problem}"[:MAX_REASON_CHARS]
        plan: ApprovedPlan | None = None
        if result is not None and result.expansion is not None and is_same_again(task, result.expansion):
            problem = "it was planned as it had been"
        elif result is not None and result.expansion is not None and progress.is_wanted(task.task_id):
            try:
                plan, problem = await self._approve_growth(task, result.expansion, replan=True)
            except BaseException:  # the run is being stopped, or ends with an error: what was used is written first
                self._journal.write("planning_spent", {"replaces": task.task_id, "reason": LATE_EXPANSION, **cost})
                progress.replanning.discard(task.task_id)
                raise
        progress.replanning.discard(task.task_id)
        if plan is not None:
            data = {"replaces": task.task_id, "reason": replanning.reason, **describe_growth(self._plan, plan), **cost}
            self._journal.write("graph_patched", data)
            del progress.failed[task.task_id]
            self._adopt(plan)
        else:
            problem = problem or "no other way was found"
            self._journal.write("planning_spent", {"replaces": task.task_id, "reason": problem, **cost})
            self._accept_failure(task, f"failed: {replanning.reason}")
        self._ready.retry()

    def _start_reflection(self, growth: Growth, task: Task, output: Any) -> None:
        """Let somebody look at what a task gave, while everything goes on; as far as the budget holds it."""
        assert growth.reflector is not None
        if self._changes >= growth.limits.max_changes or self._is_too_late_to_plan:
            return
        try:
            reservation = self._budget.reserve(usd=growth.reflection_cost_usd, tokens=growth.reflection_tokens)
        except BudgetExceeded:
            return
        if reservation.usd:
            started = {"replaces": task.task_id, "reserved_usd": reservation.usd}
            self._journal.write("planning_started", started)
        thought = _Reflecting(task=task, reservation=reservation)
        seen = (task.copied(), clone_json_value(output), self._progress.graph.copied())
        thought.work = asyncio.create_task(call_contained("The reflector", growth.reflector.reflect, *seen))
        self._await_report(thought, thought.work)
        self._reflecting.add(thought)

    async def _take_reflection(self, thought: _Reflecting) -> None:
        """Somebody has looked at what a task gave: change the rest of the plan, or go on."""
        if thought not in self._reflecting:
            return
        self._reflecting.discard(thought)
        assert thought.work is not None
        found, why = (None, thought.expired) if thought.expired else read_reflection(thought.work)
        reserved = thought.reservation.usd
        cost = self._settle_planning(thought, thought.work, found, failed=why is not None)
        place = {"replaces": thought.task.task_id}
        plan, problem = None, None if why is None else f"Reflecting failed: {why}"
        if found is not None:
            try:
                plan, problem = await self._approve_patch(found)
            except BaseException:  # the run is being stopped, or ends with an error: what was used is written first
                self._journal.write("planning_spent", {**place, "reason": LATE_EXPANSION, **cost})
                raise
        if plan is not None and found is not None:
            data = {**place, "reason": f"After {thought.task.task_id}: {found.reason}"[:MAX_REASON_CHARS]}
            self._journal.write("graph_patched", {**data, **describe_growth(self._plan, plan), **cost})
            self._adopt(plan)
        elif problem is not None or reserved:
            reason = (problem or "Nothing is to change.")[:MAX_REASON_CHARS]
            self._journal.write("planning_spent", {**place, "reason": reason, **cost})
        self._ready.retry()

    @property
    def _is_too_late_to_plan(self) -> bool:
        """Whether all that planning takes is spent; what has cost nothing so far goes on."""
        return self._planning_costs and (self._budget.usd_is_spent or self._budget.left.tokens <= 0)

    def _settle_planning(
        self,
        one: _Replanning | _Reflecting,
        work: asyncio.Task[Any],
        found: AgentResult | Reflection | None,
        *,
        failed: bool,
    ) -> dict[str, Any]:
        """Charge what planning has cost, and return that for the journal: what it tells, or its error does; where it
        failed and that is not known, all that was set aside."""
        told: AgentResult | Reflection | None = found
        if failed and one.expired is None and work.done() and not work.cancelled() and (error := work.exception()):
            told = read_spent(error)
        spent = 0.0 if told is None else told.cost_usd
        if spent is None or (failed and told is None):
            spent = one.reservation.usd if failed else 0.0
        usage = Usage() if told is None else told.usage
        self._planning_costs = self._planning_costs or bool(spent or usage.tokens)
        self._budget.commit(one.reservation, usd=spent, tokens=usage.tokens)
        return {"planning_cost_usd": spent, "planning_usage": asdict(usage)}

    async def _approve_patch(self, found: Reflection) -> tuple[ApprovedPlan | None, str | None]:
        """Return the approved plan in which the patch is applied to what has not begun, or why there is none."""
        assert self._growth is not None
        begun = self._begun
        try:
            dag = self._progress.graph.patched(found.patch, finished=begun)
            self._expect_new_names(dag)
            if len(dag) > self._growth.limits.max_tasks:
                return None, f"The change was refused: it makes more than {self._growth.limits.max_tasks} tasks."
            plan = await self._growth.approver.approve(dag, self._plan, begun)
        except PlanRejected as error:
            return None, f"The change was refused: {' '.join(str(issue) for issue in error.issues)}"
        except InvalidInput as error:
            return None, f"The change was refused: {error}"
        if begun != self._begun:  # something began while it was approved
            touched = set(found.patch.touched) & self._begun
            if touched:
                return None, f"The change was refused: {', '.join(sorted(touched))} began meanwhile."
        self._changes += 1
        return plan, None

    def _expect_new_names(self, dag: TaskDAG) -> None:
        """Hold new tasks to new names: what the run tells of a task that was replaced must not become another's.

        Raises:
            InvalidGraph: a task has the name of one that was replaced.
        """
        used = sorted(self._replaced & dag.tasks.keys())
        if used:
            raise InvalidGraph(
                f"The name {used[0]!r} was a task's whose place others have taken. Give it another name."
            )

    @property
    def _begun(self) -> frozenset[str]:
        """Tasks that are over, run, or wait for a person."""
        progress = self._progress
        at_work = {task_id for task_id, work in self._works.items() if work.started is not None}
        return frozenset({*progress.outputs, *progress.failed, *progress.skipped, *progress.asking, *at_work})

    # Ending

    async def _stop(self, reason: str, state: Literal["stopped", "failed"] = "stopped") -> Ending:
        """Cancel what runs, skip what waits, and write both down. What has ended meanwhile counts as it ended."""
        self._is_stopping = True
        for replanning in self._replanning.values():
            assert replanning.work is not None
            replanning.work.cancel()
            self._budget.commit(replanning.reservation)
            data = {"replaces": replanning.task.task_id, "reason": reason, "by_stop": True}
            cost = {"planning_cost_usd": replanning.reservation.usd}
            self._journal.write("planning_spent", {**data, **cost})
        self._replanning.clear()
        for thought in self._reflecting:
            assert thought.work is not None
            thought.work.cancel()
            self._budget.commit(thought.reservation)
            cost = {"planning_cost_usd": thought.reservation.usd}
            if thought.reservation.usd:
                data = {"replaces": thought.task.task_id, "reason": reason, "by_stop": True}
                self._journal.write("planning_spent", {**data, **cost})
        self._reflecting.clear()
        running = list(self._underway)
        was_cancelled = await self._underway.cancel(running, self._limits.grace_s)
        for job in running:
            self._settle_stopped(job, reason)
        progress = self._progress
        for work in [work for work in self._works.values() if work.started is not None]:
            move = work.next()
            if isinstance(move, Accept):  # the last answer that was missing came in time
                self._accept(work, move)
            else:
                self._drop(work)
                ended = {"reason": reason, "seconds": self._seconds_since(work.started), "by_stop": True}
                outcomes = self._recorder.outcomes(work, None)
                self._recorder.write("task_cancelled", ended, work.task.task_id, outcomes)
                progress.cancelled[work.task.task_id] = reason
        over = {*progress.outputs, *progress.failed, *progress.skipped, *progress.cancelled, *progress.asking}
        for task_id in progress.graph.topological_order():
            if task_id not in over:
                self._recorder.write("task_skipped", {"reason": reason, "by_stop": True}, task_id)
                progress.skipped[task_id] = reason
        if was_cancelled:
            raise asyncio.CancelledError  # whoever cancels a run that stops already wants its caller to stop as well
        if all(task_id in progress.outputs for task_id in progress.graph.tasks):
            return Ending(state="done", stop_reason=None, outputs=progress.outputs)  # there was nothing left to stop
        return Ending(state=state, stop_reason=reason, outputs=progress.outputs)

    def _settle_stopped(self, job: Job, reason: str) -> None:
        """Write down a job that was under way when the run was stopped."""
        work, task_id = job.work, job.work.task.task_id
        assert job.running is not None
        self._underway.leave(job)
        self._ready.leave(job)
        ended = job.running.done() and not job.running.cancelled() and job.expired is None
        if ended and isinstance(job.running.exception(), AskPerson):
            ended = False  # nobody is asked any more: the task runs anew when the run is resumed
        if not ended:
            self._underway.give_up(job, reason)
        if job.check is not None:
            self._take_verdict(job)
        elif ended:
            result, why = _result_of(job)  # it had ended, or ended in spite of us: its cost is real
            if result is not None and why is None and result.expansion is not None:
                why = LATE_EXPANSION
            self._settle_late(job, result, why)
        else:
            # What it has cost is unknown, so what was set aside for it is charged.
            self._accounts.charge_unknown(job, self._seconds_since(job.started))
            attempt = work.attempts[job.attempt]
            attempt.reason = reason
            if work.simple:
                self._drop(work)
                self._recorder.write("task_cancelled", {"reason": reason, "by_stop": True, **used(attempt)}, task_id)
                self._progress.cancelled[task_id] = reason
            else:
                self._recorder.attempt_finished(work, job.attempt)

    def _conclude_stopped(self, job: Job, result: AgentResult | None, reason: str | None) -> None:
        """The only attempt of a task ended while the run was being stopped: nothing else follows from it."""
        work = job.work
        attempt = self._charge(job, result, reason)
        self._drop(work)
        outcomes = self._recorder.outcomes(work, None)
        if reason is not None:
            self._fail(work, {**used(attempt), "reason": reason}, outcomes)
            return
        assert result is not None
        data = {**used(attempt), "output": result.output, **self._by_heart(attempt.agent, work.task, result.output)}
        self._recorder.write("task_finished", data, work.task.task_id, outcomes)
        self._progress.outputs[work.task.task_id] = result.output

    def _ending(self) -> Ending:
        progress = self._progress
        total = len(progress.graph)
        if progress.asking:
            count = len(progress.asking)
            text = f"{count} question{'s wait' if count != 1 else ' waits'} for a person."
            return Ending(state="waiting", stop_reason=text, outputs=progress.outputs)
        ended = progress.outputs.keys() | progress.failed.keys() | progress.skipped.keys()
        assert ended >= progress.graph.tasks.keys(), f"tasks were forgotten: {set(progress.graph.tasks) - ended}"
        if len(progress.outputs) >= total and all(task_id in progress.outputs for task_id in progress.graph.tasks):
            return Ending(state="done", stop_reason=None, outputs=progress.outputs)
        if progress.failed:
            first, reason = next(iter(progress.failed.items()))
            count = len(progress.failed)
            skipped = len(progress.skipped)
            text = f"{count} of {total} tasks failed"
            text += f", and {skipped} {'was' if skipped == 1 else 'were'} skipped" if skipped else ""
            state: Literal["partial", "failed"] = "partial" if progress.outputs else "failed"
            return Ending(state=state, stop_reason=f"{text}. First: {first!r}: {reason}", outputs=progress.outputs)
        first, reason = next(iter((progress.unaffordable or progress.skipped).items()))
        text = f"{len(progress.skipped)} of {total} tasks were skipped. First: {first!r}: {reason}"
        return Ending(state="stopped", stop_reason=text, outputs=progress.outputs)

    def _seconds_since(self, started: float | None) -> float:
        return 0.0 if started is None else max(0.0, self._timer() - started)

    def _seconds_for(self, task: Task, agent: str | None) -> float | None:
        """Return how long an attempt may take: as the task says, or else its agent, or else the limits of the run."""
        own = self._agents[agent].timeout_s if task.timeout_s is None and agent is not None else task.timeout_s
        limit_s = self._limits.task_timeout_s if own is None else own
        if task.deadline_s is None:
            return limit_s
        return _least(limit_s, self._seconds_to(task.deadline_s))

    def _seconds_left(self, task: Task, agent: str | None) -> float | None:
        """Return how long an attempt may take that begins now, the deadline of the run included."""
        deadline_s = self._limits.deadline_s
        left_s = None if deadline_s is None else max(0.0, deadline_s - (self._timer() - self._started))
        known = agent if agent in self._agents else None  # a replanner is none
        return _least(self._seconds_for(task, known), left_s)

    def _seconds_to(self, deadline_s: float) -> float:
        """Return the seconds until a task's deadline; none once it has passed."""
        passed = self._earlier.active_s + self._timer() - self._started
        return max(0.0, deadline_s - passed)

    def _set_alarm(self, seconds: float | None) -> asyncio.TimerHandle | None:
        if seconds is None:
            return None
        halt = _Halt(reason="The deadline was reached.")
        return asyncio.get_running_loop().call_later(seconds, self._reports.put_nowait, halt)


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _halt_for(task: Task, what: str) -> _Halt:
    """Return how a run ends whose task came to nothing and must not."""
    text = f"Task {task.task_id!r} {what} (its on_failure is 'fail', so the run ended there)"
    return _Halt(reason=text[:MAX_REASON_CHARS], state="failed")


def _as_titled(task: Task, outputs: Mapping[str, Any]) -> Task:
    """Return a task for those who title what it gave: where it has no description, its inputs say what it was."""
    if task.references and not task.description.strip():
        with suppress(LookupError):
            return task.resolved(outputs)
    return task.copied()


def _with_remark(reason: str, work: Work) -> str:
    return reason[: MAX_REASON_CHARS - len(work.remark)] + work.remark


def _part(job: Job) -> None:
    """Two attempts at the same answer are rivals no more: one of them decides."""
    if job.rival is not None:
        job.rival.rival = None
        job.rival = None


def _error_of(job: Job) -> BaseException | None:
    assert job.running is not None
    if job.expired is not None or job.running.cancelled():
        return None
    return job.running.exception()


def _kind_of(job: Job, reason: str) -> FailureKind:
    """Return what kind of failure an attempt has ended with."""
    if reason == LATE_EXPANSION:
        return "budget"  # whatever stopped the run: the agent is not to blame
    return "timeout" if job.expired is not None else sort_failure(_error_of(job)).kind


def _result_of(job: Job) -> tuple[AgentResult | None, str | None]:
    assert job.running is not None
    return (None, job.expired) if job.expired is not None else read_result(job.running)
