"""Runs an approved plan as data flow: a task starts the moment its own inputs are done, the most urgent first.

One coroutine decides; each job (an agent that is asked, an answer that is checked) is an asyncio task that reports to
its queue. There are no levels and no barriers. Before a job begins its estimate is reserved in the budget, and its
start is in the journal; when it ends, what it used is committed and written down. All that a turn of the loop settles
and starts is written in one step, before the loop waits, and only then do the jobs begin that it has started. What a
task needs next is decided by its strategy (work), what follows for other tasks by the graph (progress), after a failure
by recovery.

    ready ──reserve, journal──> under way ──settle──> answer ──> next job of its strategy, or the task is done
                                    │                 failure ──> again (retry), another agent (fallback),
                                    │                             planned anew (replan), or what needs it is skipped
                                    │                 question ─> the task waits, holding nothing, until it is answered
                                    └──expire, stop─> cancelled, and charged what was set aside

Each file owns one kind of state: tasks (what has become of them), ready (who is next, and whose places are free),
running, spending (all of the budget), journal_writer (all that is written), rests (services to leave alone),
graph_changes, reassignment (who does the rest). dispatch starts, settlement and attempts take in what has ended; this
file has the loop, and ends it.

How urgent a task is says a rule that is chosen among a few by rehearsal before anything starts (start_order), with
`Task.priority` above it; where a task has a deadline, what must begin soonest goes first. A graph may change while it
runs: see growth. An execution that goes on where another stopped is told what that one left: see resume.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from kapelle.agents import AgentRegistry, PartialText
from kapelle.budget import Budget
from kapelle.errors import InvalidInput
from kapelle.ledger import Journal
from kapelle.strategies import Checks, agents_of
from kapelle.validation import ApprovedPlan

from .attempts import Attempts
from .backends import AsyncioBackend, Backend
from .calls import Calls, contained
from .dispatch import Dispatcher
from .graph_changes import PendingChanges, Planning
from .growth import GraphChanges
from .journal_writer import JournalWriter
from .limits import Deadlines, ExecutionLimits
from .places import AgentPlaces
from .progress import Progress
from .questions import Questions
from .ready import ReadyJobs
from .reassignment import Reassigner, Reassignment
from .recovery import FallbackChooser
from .rests import Rests
from .resume import ResumeState
from .running import (
    HedgeDue,
    MessagesArrived,
    OthersMayFollow,
    PlaceFree,
    Reports,
    RestOver,
    RetryDue,
    RunningJobs,
    StopRequested,
    ThreadsAwaited,
)
from .settlement import Settlement
from .spending import Spending
from .task_steps import TaskSteps
from .tasks import Owners, Tasks
from .work import Job

STOP = "stop"
"""Begins the key of a message that asks to stop the run; the number of the run's session follows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionResult:
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


class Executor:
    """Runs approved plans with the agents of a registry. All its runs share the places of these agents.

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
        self.places = AgentPlaces(lambda agent: agents[agent].max_concurrency)

    async def execute(
        self,
        plan: ApprovedPlan,
        journal: Journal,
        *,
        budget: Budget,
        checks: Checks | None = None,
        request: str = "",
        limits: ExecutionLimits | None = None,
        growth: GraphChanges | None = None,
        fallbacks: FallbackChooser | None = None,
        reassigner: Reassigner | None = None,
        earlier: ResumeState | None = None,
        inbox: Inbox | None = None,
        stop_key: str = STOP,
        on_text: Callable[[PartialText], None] | None = None,
    ) -> ExecutionResult:
        """Run the plan to its end, and return how it ended. Every step is in the journal before its effect.

        Without `checks` there are the built-in ones only. Without `growth` the graph stays as it is: a task that
        expands fails, and a failed one is not planned anew. Without `fallbacks` no other agent is tried, and without
        a `reassigner` nobody's tasks go to others because of what earlier ones took. Without an `inbox` nobody answers
        meanwhile: where people are asked it ends as `waiting` when nothing else is left to do.
        `earlier` is what an earlier part of the run has left.

        Raises:
            InvalidInput: the plan did not come from validation, or nothing runs one of its agents; nothing has run.
            LeaseLost: another engine has taken the run over. What ran is cancelled; nothing more is written.
            asyncio.CancelledError: the caller was cancelled. What ran is cancelled and journaled before this is raised.
        """
        if not isinstance(plan, ApprovedPlan):
            raise InvalidInput(f"Only a plan that the validator approved can run, not {type(plan).__name__}.")
        earlier = earlier or ResumeState()
        over = earlier.outputs.keys() | earlier.failed.keys() | earlier.skipped.keys()
        for task_id in plan.assignments.keys() - over:
            for agent_id in agents_of(plan.strategy_of(task_id)):
                self.agents.runner(agent_id)
        run = _Execution(
            self,
            plan,
            journal,
            budget=budget,
            checks=checks or Checks(),
            request=request,
            limits=limits or ExecutionLimits(),
            growth=growth,
            fallbacks=fallbacks,
            reassigner=reassigner,
            earlier=earlier,
            on_text=None if on_text is None else contained(on_text, f"on_text of run {journal.run_id}"),
        )
        return await run.run(inbox, stop_key)


class _Execution:
    """One run of one plan: puts its owners of state together, and hands each report to whom it concerns."""

    def __init__(
        self,
        executor: Executor,
        plan: ApprovedPlan,
        journal: Journal,
        *,
        budget: Budget,
        checks: Checks,
        request: str,
        limits: ExecutionLimits,
        growth: GraphChanges | None,
        fallbacks: FallbackChooser | None,
        reassigner: Reassigner | None,
        earlier: ResumeState,
        on_text: Callable[[PartialText], None] | None,
    ) -> None:
        self._plan, self._earlier, self._clock = plan, earlier, executor.clock
        agents, reports = executor.agents, Reports()
        spending = Spending(budget, agents)
        writer = JournalWriter(journal, plan, executor.clock, agents.versions)
        places = executor.places.join(
            lambda agent: reports.put_from_anywhere(PlaceFree(agent=agent)), asyncio.get_running_loop(), self._close
        )
        ready = ReadyJobs(spending.places_of, places)
        questions = Questions(journal.run_id, earlier.questions)
        self._own = own = Owners(
            run_id=journal.run_id,
            agents=agents,
            limits=limits,
            deadlines=Deadlines(limits, agents, executor.timer, earlier.active_s),
            reports=reports,
            spending=spending,
            writer=writer,
            ready=ready,
            running=RunningJobs(reports.put_nowait),
            rests=Rests(agents, ready, reports, limits.retry.max_rest_s),
            tasks=Tasks(
                plan, earlier=earlier, questions=questions, ready=ready, checks=checks, spending=spending, writer=writer
            ),
        )
        self._steps = TaskSteps(writer, earlier.steps)
        calls = Calls(own, request=request, backend=executor.backend, checks=checks, steps=self._steps, on_text=on_text)
        self._reassignment = Reassignment(own, reassigner)
        self._settlement = Settlement(own, self._reassignment)
        self._changes = PendingChanges(own, calls, growth, earlier.changes)
        self._attempts = Attempts(own, self._settlement, self._changes, self._reassignment, fallbacks)
        self._dispatcher = Dispatcher(own, calls, self._changes, self._attempts)

    async def run(self, inbox: Inbox | None, stop_key: str) -> ExecutionResult:
        own = self._own
        deadline_s, alarm = own.limits.deadline_s, None
        if deadline_s is not None:
            alarm = own.reports.put_later(deadline_s, StopRequested(reason="The deadline was reached."))
        if inbox is not None:
            inbox.listen(lambda messages: own.reports.put_nowait(MessagesArrived(messages=messages)))
        try:
            with own.writer.held():
                try:
                    return await self._take_turns(inbox, stop_key)
                except asyncio.CancelledError:
                    await self._stop(StopRequested(reason="It was interrupted."))
                    raise
        finally:
            if alarm is not None:
                alarm.cancel()
            self._close()

    async def _take_turns(self, inbox: Inbox | None, stop_key: str) -> ExecutionResult:
        """Take in what has ended, start what is ready, write both down as one, and wait, until nothing is left to do.

        Whatever awaits commits first: no turn spans a moment in which others run.
        """
        own, dispatcher = self._own, self._dispatcher
        tasks, ready, reports, commit = own.tasks, own.ready, own.reports, own.writer.commit
        self._restore()
        if inbox is not None and not inbox.is_fresh:
            commit()
            await inbox.fetch()  # who wanted the run to stop while it was planned is heard before anything starts
        while tasks.halt is None and not reports.empty():
            await self._take(reports.get_nowait(), stop_key)
        while True:
            if self._reassignment.is_due and tasks.halt is None:
                commit()
                await self._reassignment.consider()
            dispatcher.start_all()
            if tasks.halt is not None:  # a task that must not fail had failed before, or could not even begin
                return await self._stop(tasks.halt)
            if not dispatcher.is_busy:
                if ready.retry():
                    continue  # nothing will free money any more: each has its turn with what is left
                if inbox is not None and tasks.progress.asking:
                    commit()
                    await inbox.fetch()  # perhaps somebody answered while the last task ran
                if reports.empty() and not ready.is_waiting_for_runs:
                    return _result_of(tasks.progress)
            commit()
            report = await reports.get()
            while True:  # all that has ended is taken in before anything starts
                if type(report) is Job:
                    await self._attempts.take(report)
                else:
                    await self._take(report, stop_key)
                if tasks.halt is not None or reports.empty():
                    break
                report = reports.get_nowait()
            if tasks.halt is not None:
                return await self._stop(tasks.halt)

    def _close(self) -> None:
        """The run has ended; its event loop, too, where it was lost. Closing twice is allowed."""
        own = self._own
        with ExitStack() as closing:  # whatever one of them raises, the places are free
            for one in (own.ready, own.running, self._settlement, own.rests):
                closing.callback(one.close)
            for other in (self._changes, self._dispatcher, self._attempts):
                closing.callback(other.close)

    async def _take(self, report: Any, stop_key: str) -> None:
        match report:
            case RetryDue(job=job):
                self._attempts.retry(job)
            case RestOver(service=service, due=due):
                self._own.rests.end(service, due)
            case OthersMayFollow(job=job):
                self._own.rests.let_others_follow(job)
            case PlaceFree(agent=agent, left_by=left_by):
                self._own.ready.offer(agent, left_by)
            case ThreadsAwaited(agent=agent):
                self._dispatcher.stop_waiting_for(agent)
            case HedgeDue(job=job):
                self._attempts.hedge(job)
            case Planning():
                await self._changes.take(report)
                self._own.ready.retry()
            case MessagesArrived(messages=messages):
                for key, message in messages.items():
                    self._on_message(key, message, stop_key)
            case StopRequested():
                self._own.tasks.halt = report

    def _on_message(self, key: str, message: Mapping[str, Any], stop_key: str) -> None:
        """Somebody answered a question, or wants the run to stop."""
        if key == stop_key:
            by = str(message.get("by") or "a person")[:200]
            self._own.tasks.halt = StopRequested(reason=f"It was stopped by {by}.")
        else:
            self._own.tasks.on_answer(message, self._clock())

    def _restore(self) -> None:
        """Begin, or go on where an earlier part of the run has stopped."""
        earlier, tasks = self._earlier, self._own.tasks
        tasks.restore(earlier)
        for task_id, reason in earlier.failed.items():  # the run may have been cut off before what follows was decided
            task = tasks.progress.graph[task_id]
            if task_id not in earlier.not_replanned and self._changes.start_replanning(task, reason):
                continue
            if task.on_failure == "fail":
                tasks.accept_failure(task, f"failed: {reason}")
        tasks.apply_plan(self._plan)
        self._reassignment.restore(earlier)

    async def _stop(self, request: StopRequested) -> ExecutionResult:
        """End the run before its tasks do: what runs is cancelled, what waits is skipped, and both are written down.

        What has ended meanwhile counts as it ended, and nothing follows from it. A person, a deadline, a task that must
        not fail, and whoever cancels the run end it alike.
        """
        own, attempts, reason = self._own, self._attempts, request.reason
        tasks, progress = own.tasks, own.tasks.progress
        tasks.is_stopping = True
        self._changes.stop(reason)
        jobs = list(own.running)
        own.writer.commit()
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
        if was_cancelled:
            raise asyncio.CancelledError  # whoever cancels a run that stops already wants its caller to stop as well
        outputs = progress.outputs
        if all(task_id in outputs for task_id in progress.graph.tasks):
            return ExecutionResult(state="done", stop_reason=None, outputs=outputs)  # there was nothing left to stop
        return ExecutionResult(state=request.state, stop_reason=request.reason, outputs=outputs)


def _result_of(progress: Progress) -> ExecutionResult:
    """Return how an execution has ended in which nothing can begin any more."""
    total, outputs = len(progress.graph), progress.outputs
    if progress.asking:
        count = len(progress.asking)
        text = f"{count} question{'s wait' if count != 1 else ' waits'} for a person."
        return ExecutionResult(state="waiting", stop_reason=text, outputs=outputs)
    ended = outputs.keys() | progress.failed.keys() | progress.skipped.keys()
    assert ended >= progress.graph.tasks.keys(), f"tasks were forgotten: {set(progress.graph.tasks) - ended}"
    if len(outputs) >= total and all(task_id in outputs for task_id in progress.graph.tasks):
        return ExecutionResult(state="done", stop_reason=None, outputs=outputs)
    if progress.failed:
        first, reason = next(iter(progress.failed.items()))
        count, skipped = len(progress.failed), len(progress.skipped)
        text = f"{count} of {total} tasks failed"
        text += f", and {skipped} {'was' if skipped == 1 else 'were'} skipped" if skipped else ""
        state: Literal["partial", "failed"] = "partial" if outputs else "failed"
        return ExecutionResult(state=state, stop_reason=f"{text}. First: {first!r}: {reason}", outputs=outputs)
    first, reason = next(iter((progress.unaffordable or progress.skipped).items()))
    text = f"{len(progress.skipped)} of {total} tasks were skipped. First: {first!r}: {reason}"
    return ExecutionResult(state="stopped", stop_reason=text, outputs=outputs)
