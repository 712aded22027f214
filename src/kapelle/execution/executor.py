"""Runs an approved plan as data flow: a task starts the moment its own inputs are done, the most urgent first.

One coroutine decides; each attempt at a task is an asyncio task that reports to its queue. There are no levels and no
barriers. Before a task is dispatched its estimate is reserved in the budget, and its start is in the ledger; when it
ends, what it used is committed and its outcome is in the ledger. A failure skips the tasks that need its output, with
the reason; everything else goes on, and so do tasks that declare that some of what they depend on is enough.

Urgency is the length of the longest expected path from a task to the end of the plan: the list-scheduling rule of Hu
(1961), with `Task.priority` above it. A graph may grow while it runs: see growth. Not covered here: retries, fallbacks,
resume (a later part of this folder).
"""

from __future__ import annotations

import asyncio
import heapq
import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import pydantic_core

from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.cost import Budget, Estimate, Reservation, estimate_complexities
from kapelle.errors import (
    AgentFailed,
    BudgetExceeded,
    InvalidInput,
    KapelleError,
    ModelRefused,
    ModelUnavailable,
    PlanRejected,
)
from kapelle.graph import Task, TaskDAG, describe_change
from kapelle.ledger import Journal, Outcome, Usage
from kapelle.models import PaidRefusal, PaidReplyInvalid
from kapelle.validation import ApprovedPlan

from .growth import GrowthLimits, PlanApprover, Replanner, arm_of, grow, may_replan, needs_some

logger = logging.getLogger(__name__)

MAX_REASON_CHARS = 2_000
"""What the ledger keeps of an error's text: some libraries put whole replies into theirs."""
MAX_OUTPUT_CHARS = 10_000_000
"""What the ledger keeps of one output. More belongs into a file: every reader of the run would have to hold it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionLimits:
    """How long things may take. None is no limit."""

    task_timeout_s: float | None = 300.0
    """For one task; a task's own `deadline_s` may end it sooner."""
    deadline_s: float | None = None
    """For the whole execution: then what runs is cancelled and what waits is skipped."""
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
        request: str = "",
        limits: ExecutionLimits = ExecutionLimits(),
        growth: Growth | None = None,
    ) -> Ending:
        """Run the plan to its end, and return how it ended. Every step is in the journal before its effect.

        Without `growth` the graph stays as it is: a task that expands fails, and a failed one is not planned anew.

        Raises:
            InvalidInput: the plan did not come from validation, or nothing runs one of its agents; nothing has run.
            asyncio.CancelledError: the caller was cancelled. What ran is cancelled and journaled before this is raised.
        """
        if not isinstance(plan, ApprovedPlan):
            raise InvalidInput(f"Only a plan that the validator approved can run, not {type(plan).__name__}.")
        for agent_id in set(plan.assignments.values()):
            self._agents.runner(agent_id)
        return await _Execution(self._agents, self._timer, plan, journal, budget, request, limits, growth).run()


@dataclass(kw_only=True, slots=True, eq=False)
class _Attempt:
    """One task at work."""

    task: Task
    agent: AgentCapability
    reservation: Reservation
    started: float
    work: asyncio.Task[AgentResult] | None = None
    alarm: asyncio.TimerHandle | None = None
    expired: str | None = None
    """Why its time was over, if it was; then what it still reports no longer counts."""


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


class _Execution:
    """One run of one plan. `run` is the loop; everything else is a step of it."""

    def __init__(
        self,
        agents: AgentRegistry,
        timer: Callable[[], float],
        plan: ApprovedPlan,
        journal: Journal,
        budget: Budget,
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
        self._request = request
        self._limits = limits
        self._growth = growth
        self._progress = _Progress()
        self._ready: list[tuple[tuple[float, float, int], str]] = []
        self._parked: dict[str, list[tuple[tuple[float, float, int], str]]] = defaultdict(list)
        """Ready tasks whose agent is busy, by agent."""
        self._short: list[tuple[tuple[float, float, int], str]] = []
        """Ready tasks that the budget cannot hold until running ones give back what they did not need."""
        self._running: dict[str, _Attempt] = {}
        self._replanning: dict[str, _Replanning] = {}
        """Failed tasks whose work is being planned anew."""
        self._abandoned: set[asyncio.Task[AgentResult]] = set()
        """Attempts whose time was over and that have not ended yet."""
        self._busy: dict[str, int] = defaultdict(int)
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
                if not self._running and not self._replanning:
                    break
                report = await self._reports.get()
                if report is _DEADLINE:
                    return await self._stop("The deadline was reached.")
                if isinstance(report, _Replanning):
                    await self._take_new_plan(report)
                else:
                    await self._settle(report)
        except asyncio.CancelledError:
            await self._stop("It was interrupted.")
            raise
        finally:
            if alarm is not None:
                alarm.cancel()
            # Nothing outlives the run: not an agent whose time was over, and none if the journal cannot be written.
            works = (*self._abandoned, *(attempt.work for attempt in self._running.values()))
            for work in (*works, *(replanning.work for replanning in self._replanning.values())):
                if work is not None:
                    work.cancel()
        return self._ending()

    def _adopt(self, plan: ApprovedPlan) -> None:
        """Take on a plan: the first one, or one for a graph that has grown. What is over or runs stays so."""
        self._plan, self._graph = plan, plan.dag
        urgency = self._graph.urgency({task_id: plan.estimates[task_id].seconds for task_id in self._graph.tasks})
        # Among equals the plan's order decides, so that a run is repeatable.
        self._rank = {
            task.task_id: (-task.priority, -urgency[task.task_id], position)
            for position, task in enumerate(self._graph)
        }
        self._complexity = estimate_complexities(self._graph)
        self._ready, self._short = [], []
        self._parked.clear()
        begun = {*self._progress.outputs, *self._progress.failed, *self._progress.skipped, *self._running}
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
        while self._ready:
            rank, task_id = heapq.heappop(self._ready)
            task = self._graph[task_id]
            agent = self._agents[self._plan.assignments[task_id]]
            if self._busy[agent.agent_id] >= agent.max_concurrency:
                heapq.heappush(self._parked[agent.agent_id], (rank, task_id))
                continue
            estimate = self._plan.estimates[task_id]
            try:
                reservation = self._budget.reserve(
                    usd=estimate.cost_usd, tokens=estimate.tokens, seconds=estimate.seconds
                )
            except BudgetExceeded as error:
                if self._running or self._replanning:
                    self._short.append((rank, task_id))
                else:
                    self._skip(task_id, f"The budget does not reach: {error}", unaffordable=True)
                self._unpark(agent)  # its place is still free
                continue
            self._start(task, agent, estimate, reservation)

    def _unpark(self, agent: AgentCapability) -> None:
        """Let the most urgent task that waits for this agent try again."""
        if self._parked[agent.agent_id]:
            heapq.heappush(self._ready, heapq.heappop(self._parked[agent.agent_id]))

    def _start(self, task: Task, agent: AgentCapability, estimate: Estimate, reservation: Reservation) -> None:
        try:
            self._journal.write(
                "task_started",
                {"agent": agent.agent_id, "reserved_usd": estimate.cost_usd},
                task_id=task.task_id,
            )
        except BaseException:
            self._budget.release(reservation)
            raise
        attempt = _Attempt(task=task, agent=agent, reservation=reservation, started=self._timer())
        self._busy[agent.agent_id] += 1
        self._running[task.task_id] = attempt
        attempt.work = asyncio.create_task(self._work(attempt), name=f"{self._journal.run_id}:{task.task_id}")
        attempt.work.add_done_callback(lambda _: self._report(attempt))
        seconds = self._seconds_for(task)
        if seconds is not None:
            attempt.alarm = asyncio.get_running_loop().call_later(seconds, self._expire, attempt, seconds)

    async def _work(self, attempt: _Attempt) -> AgentResult:
        context = self._context(attempt.task)
        try:
            resolved = attempt.task.resolved(context.upstream)
        except LookupError as error:
            raise AgentFailed(f"An input cannot be filled: {error.args[0]}.") from error
        try:
            return await self._agents.runner(attempt.agent.agent_id).run(resolved, context)
        except (Exception, asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # an agent may end its own task, not the program
            raise AgentFailed(f"The agent raised {_describe(error)}.") from error

    def _context(self, task: Task) -> TaskContext:
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
            idempotency_key=f"{self._journal.run_id}/{task.task_id}",
        )

    def _report(self, attempt: _Attempt) -> None:
        assert attempt.work is not None
        if attempt.expired is None:
            self._reports.put_nowait(attempt)
        else:
            self._abandoned.discard(attempt.work)
            if not attempt.work.cancelled() and (error := attempt.work.exception()) is not None:
                logger.info("Task %r failed after its time was over: %s", attempt.task.task_id, error)

    def _expire(self, attempt: _Attempt, seconds: float) -> None:
        """The time of an attempt is over. An agent that ignores its cancellation holds up nobody."""
        assert attempt.work is not None
        if attempt.work.done():
            return
        attempt.expired = f"It took longer than its {seconds:g} s."
        self._abandoned.add(attempt.work)
        attempt.work.cancel()
        self._reports.put_nowait(attempt)

    async def _settle(self, attempt: _Attempt) -> None:
        """An attempt has ended: write it down, settle the budget, and see who can start now."""
        task, agent = attempt.task, attempt.agent
        del self._running[task.task_id]
        self._busy[agent.agent_id] -= 1
        if attempt.alarm is not None:
            attempt.alarm.cancel()
        seconds = max(0.0, self._timer() - attempt.started)
        result, reason = _read_result(attempt)
        plan: ApprovedPlan | None = None
        if result is not None and reason is None and result.expansion is not None:
            plan, reason = await self._approve_growth(task, result.expansion)
        self._conclude(attempt, result, reason, seconds, plan)
        if reason is not None and not self._start_replanning(task, reason):
            self._skip_dependents(task.task_id, f"It needs the output of {task.task_id!r}, which failed.")
        self._unpark(agent)
        self._retry_short()

    def _conclude(
        self,
        attempt: _Attempt,
        result: AgentResult | None,
        reason: str | None,
        seconds: float,
        plan: ApprovedPlan | None = None,
    ) -> None:
        """Settle the budget for an attempt that has ended, write down how, and take in what it gave."""
        task_id, agent = attempt.task.task_id, attempt.agent
        # A failed call may have been billed: a declared price is charged, for a hard budget errs on the safe side.
        usage = Usage() if result is None else result.usage
        reported = None if result is None else result.cost_usd
        cost_usd = reported if reported is not None else (agent.cost_usd or 0.0)
        self._budget.commit(attempt.reservation, usd=cost_usd, tokens=usage.tokens, calls=usage.calls, seconds=seconds)
        data = {"cost_usd": cost_usd, "seconds": seconds, "usage": asdict(usage)}
        outcome = self._outcome(attempt, result, reason, cost_usd, seconds)
        if plan is not None:
            self._journal.write(
                "task_expanded", {**data, **_grown(self._plan, plan)}, task_id=task_id, outcomes=(outcome,)
            )
            self._adopt(plan)
        elif result is not None and reason is None and result.expansion is None:
            self._progress.outputs[task_id] = result.output
            data |= {"output": result.output, "quality": result.quality}
            self._journal.write("task_finished", data, task_id=task_id, outcomes=(outcome,))
            self._release_dependents(task_id)
        else:
            reason = reason or "It expanded into other tasks when the run was stopped."
            self._progress.failed[task_id] = reason
            self._journal.write("task_failed", {**data, "reason": reason}, task_id=task_id, outcomes=(outcome,))

    def _retry_short(self) -> None:
        for waiting in self._short:
            heapq.heappush(self._ready, waiting)
        self._short.clear()

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
            begun = {*progress.outputs, *progress.failed, *progress.skipped, *self._running}
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
        replanning.work = asyncio.create_task(growth.replanner.replan(task, reason, self._context(task)))
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
        self._retry_short()

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
        for attempt in running:
            if attempt.alarm is not None:
                attempt.alarm.cancel()
            if attempt.work is not None:
                attempt.work.cancel()
        await self._wait_a_grace({attempt.work for attempt in running if attempt.work is not None})
        for attempt in running:
            self._settle_stopped(attempt, reason)
        over = {*self._progress.outputs, *self._progress.failed, *self._progress.skipped, *self._progress.cancelled}
        for task_id in self._graph.topological_order():
            if task_id not in over:
                self._journal.write("task_skipped", {"reason": reason}, task_id=task_id)
                self._progress.skipped[task_id] = reason
        return Ending(state="stopped", stop_reason=reason, outputs=self._progress.outputs)

    async def _wait_a_grace(self, works: set[asyncio.Task[AgentResult]]) -> None:
        """Wait for cancelled agents to tidy up. Whoever cancels us once more means: at once."""
        if works:
            try:
                await asyncio.wait(works, timeout=self._limits.grace_s)
            except asyncio.CancelledError:
                logger.info("Stopped once more while agents tidied up; they are left to themselves.")

    def _settle_stopped(self, attempt: _Attempt, reason: str) -> None:
        """Write down an attempt that was under way when the run was stopped."""
        work, task_id = attempt.work, attempt.task.task_id
        assert work is not None
        del self._running[task_id]
        seconds = max(0.0, self._timer() - attempt.started)
        if work.done() and not work.cancelled() and attempt.expired is None:
            result, problem = _read_result(attempt)  # it had ended, or ended in spite of us: its cost is real
            self._conclude(attempt, result, problem, seconds)
            return
        attempt.expired = attempt.expired or reason
        if not work.done():
            self._abandoned.add(work)
        # What it has cost is unknown, so what was set aside for it is charged.
        self._budget.commit(attempt.reservation, seconds=seconds)
        data = {"reason": reason, "cost_usd": attempt.reservation.amounts.usd, "seconds": seconds}
        self._journal.write("task_cancelled", data, task_id=task_id)
        self._progress.cancelled[task_id] = reason

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

    def _outcome(
        self, attempt: _Attempt, result: AgentResult | None, reason: str | None, cost_usd: float, seconds: float
    ) -> Outcome:
        task = attempt.task
        return Outcome(
            run_id=self._journal.run_id,
            task_id=task.task_id,
            task_type=task.task_type,
            agent=attempt.agent.agent_id,
            success=reason is None,
            quality=None if result is None else result.quality,
            usage=Usage() if result is None else result.usage,
            cost_usd=cost_usd,
            seconds=seconds,
            error=reason,
            features={
                "complexity": self._complexity[task.task_id],
                "dependencies": len(task.dependencies),
                **arm_of(task),
            },
            at=time.time(),
        )

    def _push(self, task_id: str) -> None:
        heapq.heappush(self._ready, (self._rank[task_id], task_id))

    def _seconds_for(self, task: Task) -> float | None:
        limits = [self._limits.task_timeout_s] if self._limits.task_timeout_s is not None else []
        if task.deadline_s is not None:
            limits.append(max(0.0, task.deadline_s - (self._timer() - self._started)))
        return min(limits, default=None)

    def _set_alarm(self, seconds: float | None) -> asyncio.TimerHandle | None:
        if seconds is None:
            return None
        return asyncio.get_running_loop().call_later(seconds, self._reports.put_nowait, _DEADLINE)


def _read_result(attempt: _Attempt) -> tuple[AgentResult | None, str | None]:
    """Return what an ended attempt gave and, if it failed, why. Agents are untrusted: their output may be anything."""
    assert attempt.work is not None
    if attempt.expired is not None:
        return None, attempt.expired
    if attempt.work.cancelled():
        return None, "The agent cancelled itself."
    error = attempt.work.exception()
    if error is not None:
        return _paid_failure(error), _describe(error)[:MAX_REASON_CHARS]
    result = attempt.work.result()
    if not isinstance(result, AgentResult):
        return None, f"The agent returned {type(result).__name__} instead of an AgentResult."
    try:
        # Plain JSON values only: what cannot be written down cannot be resumed, shown or learned from.
        output = pydantic_core.to_jsonable_python(result.output, inf_nan_mode="strings")
        size = len(json.dumps(output))
    except Exception as problem:  # conversion runs code of the output's own classes
        return result, f"The agent's output cannot be written as JSON: {_describe(problem)}"[:MAX_REASON_CHARS]
    if size > MAX_OUTPUT_CHARS:
        return result, (
            f"The agent's output has {size:,} characters; at most {MAX_OUTPUT_CHARS:,} are kept. "
            "Write it to a file, and return the file's name."
        )
    return replace(result, output=output), None


def _paid_failure(error: BaseException) -> AgentResult | None:
    """What a failed attempt used, where the agent says so."""
    if isinstance(error, (PaidRefusal, PaidReplyInvalid)):
        return AgentResult(output=None, usage=error.reply.usage, cost_usd=error.reply.cost_usd)
    if isinstance(error, (ModelRefused, ModelUnavailable)):  # the provider did not take the call
        return AgentResult(output=None, cost_usd=0.0)
    if not isinstance(error, AgentFailed) or error.cost_usd is None:
        return None
    try:
        usage = error.usage if isinstance(error.usage, Usage) else Usage()
        return AgentResult(output=None, usage=usage, cost_usd=error.cost_usd)
    except InvalidInput:
        return None


def _describe(error: BaseException) -> str:
    """An error as a sentence; errors of agents may be of any class, and even fail to say what they are."""
    try:
        return str(error) if isinstance(error, KapelleError) else f"{type(error).__name__}: {error}"
    except Exception:
        return f"{type(error).__name__}, which cannot be shown"


def _grown(before: ApprovedPlan, plan: ApprovedPlan) -> dict[str, Any]:
    """What the journal needs to know of a graph that has grown: what is new."""
    change = describe_change(before.dag, plan.dag)
    new = [task["task_id"] for task in change["tasks"]]
    return {
        "change": change,
        "assignments": {task_id: plan.assignments[task_id] for task_id in new},
        "explanations": {task_id: plan.explanations.get(task_id, "") for task_id in new},
        "estimates": {task_id: asdict(plan.estimates[task_id]) for task_id in new},
    }
