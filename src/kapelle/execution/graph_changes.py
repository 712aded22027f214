"""Changes to the graph of a run: a task expands, a failed one is planned anew, a reflector patches what is to come.

All are one kind of change: money is set aside where somebody has to be asked (`start_replanning`, `start_reflection`),
what it gives is held to limits and approved, and then it is written down with its cost and applied, or refused with the
reason. Planning goes on beside the run and has a limit to its time: one that never ends holds up nobody. What a graph
may grow into is decided in growth.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from kapelle.agents import AgentResult
from kapelle.budget import Reservation
from kapelle.errors import InvalidGraph, InvalidInput, PlanRejected
from kapelle.graph import GraphPatch, Task, TaskDAG, clone_json_value
from kapelle.ledger import Usage
from kapelle.strategies import Single
from kapelle.validation import ApprovedPlan

from .calls import Calls, call_contained, read_new_plan, read_reflection
from .error_reports import MAX_REASON_CHARS, read_spent
from .growth import GraphChanges, Reflection, grow, is_same_again, may_replan
from .limits import is_repeatable
from .running import begin_task, cancel_task
from .settlement import LATE_EXPANSION
from .tasks import Owners
from .work import Job, Work

_NO_GROWTH = "It expanded into other tasks, and this run does not let its graph grow."


@dataclass(kw_only=True, slots=True, eq=False)
class Planning:
    """Somebody is asked for a change: another plan for a failed task, or for what has not begun when one is done."""

    task: Task
    reservation: Reservation
    failed_for: str | None = None
    """Why the task had failed; None where it is done, and what it gave is looked at."""
    work: asyncio.Task[Any] | None = None
    expired: str | None = None
    """Why its time was over, if it was."""


class PendingChanges:
    """The changes that are being made to the graph of one execution."""

    def __init__(self, own: Owners, calls: Calls, changes: GraphChanges | None, made: int) -> None:
        self._tasks, self._spending, self._writer, self._reports = own.tasks, own.spending, own.writer, own.reports
        self._timeout_s = own.limits.task_timeout_s
        self._calls, self._changes, self._made = calls, changes, made
        self._plannings: list[Planning] = []
        self._reflections = 0

    def __len__(self) -> int:
        return len(self._plannings)

    # Asking for a change

    def start_replanning(self, task: Task, reason: str) -> bool:
        """Let the work of a failed task be planned anew, if somebody can, may, and the budget holds it."""
        changes, progress = self._changes, self._tasks.progress
        if changes is None or changes.replanner is None or self._made >= changes.limits.max_changes:
            return False
        if not may_replan(progress.graph, task, changes.limits) or not is_repeatable(task):
            return False
        if not progress.is_wanted(task.task_id):
            return False
        reservation = self._spending.reserve_planning(
            changes.replanning_cost_usd, changes.replanning_tokens, is_priced=changes.replanning_is_priced
        )
        if reservation is None:
            return False
        self._writer.planning_started(task.task_id, reservation.usd)
        context = self._calls.context(Job(work=Work(task=task, strategy=Single(agent="planner")), agent="planner"))
        ask = call_contained("The replanner", changes.replanner.replan, task.copied(), reason, context)
        self._start(Planning(task=task, reservation=reservation, failed_for=reason), ask)
        progress.replanning.add(task.task_id)
        return True

    def start_reflection(self, task: Task, output: Any) -> None:
        """Let somebody look at what a task gave, while everything goes on; as far as the budget holds it."""
        changes = self._changes
        if changes is None or changes.reflector is None or self._made >= changes.limits.max_changes:
            return
        if changes.max_reflections is not None and self._reflections >= changes.max_reflections:
            return
        if not self._spares(changes.reflection_cost_usd, is_priced=changes.reflection_is_priced):
            return
        reservation = self._spending.reserve_planning(
            changes.reflection_cost_usd, changes.reflection_tokens, is_priced=changes.reflection_is_priced
        )
        if reservation is None:
            return
        self._reflections += 1
        if reservation.usd:
            self._writer.planning_started(task.task_id, reservation.usd)
        seen = (task.copied(), clone_json_value(output), self._tasks.progress.graph.copied())
        ask = call_contained("The reflector", changes.reflector.reflect, *seen)
        self._start(Planning(task=task, reservation=reservation), ask)

    def _spares(self, usd: float, *, is_priced: bool) -> bool:
        """Whether what the tasks that have not begun are expected to cost leaves so much: nobody's look takes it.

        Where nobody knows the price, one look has to end before the next begins, as with agents.
        """
        if (is_priced and not usd) or math.isinf(self._spending.left_usd):
            return True
        spare_usd = round(self._spending.left_usd - self._tasks.still_to_pay(), 9)
        return spare_usd >= usd and (is_priced or (spare_usd > 0 and not self._plannings))

    def _start(self, planning: Planning, ask: Coroutine[Any, Any, Any]) -> None:
        """Have it reported when the work ends, or its time is over."""
        alarm: asyncio.TimerHandle | None = None
        loop, limit_s = asyncio.get_running_loop(), self._timeout_s

        def ended(work: asyncio.Task[Any]) -> None:
            if alarm is not None:
                alarm.cancel()
            if not work.cancelled():
                work.exception()  # seen: asyncio does not complain if the run has ended meanwhile
            self._reports.put_nowait(planning)

        def expire() -> None:
            planning.expired = f"It took longer than its {limit_s:g} s."
            work.cancel()
            self._reports.put_nowait(planning)

        work = planning.work = begin_task(loop, ask)
        if limit_s is not None:
            alarm = loop.call_later(limit_s, expire)
        work.add_done_callback(ended)
        self._plannings.append(planning)

    # Taking in what it gave

    async def take(self, planning: Planning) -> None:
        """Somebody has answered, or their time is over: change the graph, or go on without."""
        if planning not in self._plannings:
            return
        self._plannings.remove(planning)
        if planning.failed_for is None:
            await self._take_reflection(planning)
        else:
            await self._take_new_plan(planning, planning.failed_for)

    async def _take_new_plan(self, planning: Planning, failed_for: str) -> None:
        task, progress = planning.task, self._tasks.progress
        assert planning.work is not None
        result, problem = (None, planning.expired) if planning.expired else read_new_plan(planning.work)
        cost = self._charge(planning, result, failed=problem is not None)
        if problem is not None:
            problem = f"planning it anew failed: {problem}"[:MAX_REASON_CHARS]
        plan: ApprovedPlan | None = None
        try:
            if result is not None and result.expansion is not None and is_same_again(task, result.expansion):
                problem = "it was planned as it had been"
            elif result is not None and result.expansion is not None and progress.is_wanted(task.task_id):
                plan, problem = await self._approve_growth(task, result.expansion, cost, replan=True)
        finally:
            progress.replanning.discard(task.task_id)
        if plan is not None:
            self._writer.graph_patched(task.task_id, failed_for, plan, *cost)
            del progress.failed[task.task_id]
            self._tasks.apply_plan(plan)
        else:
            self._writer.planning_ended(task.task_id, problem or "no other way was found", *cost)
            self._tasks.accept_failure(task, f"failed: {failed_for}")

    async def _take_reflection(self, planning: Planning) -> None:
        task_id = planning.task.task_id
        assert planning.work is not None
        found, why = (None, planning.expired) if planning.expired else read_reflection(planning.work)
        cost = self._charge(planning, found, failed=why is not None)
        plan, problem = None, None if why is None else f"Reflecting failed: {why}"
        if found is not None and found.patch is not None:
            plan, problem = await self._approve_patch(task_id, found.patch, cost)
        if plan is not None and found is not None:
            reason = f"After {task_id}: {found.reason}"[:MAX_REASON_CHARS]
            self._writer.graph_patched(task_id, reason, plan, *cost)
            self._tasks.apply_plan(plan)
        elif problem is not None or planning.reservation.usd or found is not None:
            reason = (problem or "Nothing is to change.")[:MAX_REASON_CHARS]
            self._writer.planning_ended(task_id, reason, *cost)

    def _charge(
        self, planning: Planning, found: AgentResult | Reflection | None, *, failed: bool
    ) -> tuple[float, Usage]:
        """Charge what planning has cost: what it tells, or its error does."""
        work, told = planning.work, found
        assert work is not None
        if failed and planning.expired is None and work.done() and not work.cancelled() and (error := work.exception()):
            told = read_spent(error)
        return self._spending.charge_planning(planning.reservation, told, failed=failed)

    # Approving

    async def approve_expansion(self, work: Work, subgraph: TaskDAG) -> tuple[ApprovedPlan | None, str | None]:
        """Return the approved plan in which other tasks have the place of one, or why there is none."""
        if not isinstance(work.strategy, Single) or work.guarded:
            return None, "It expanded into other tasks, where an answer was asked for."
        return await self._approve_growth(work.task, subgraph, None)

    async def _approve_growth(
        self, task: Task, subgraph: TaskDAG, cost: tuple[float, Usage] | None, *, replan: bool = False
    ) -> tuple[ApprovedPlan | None, str | None]:
        if self._changes is None:
            return None, _NO_GROWTH
        limits, graph = self._changes.limits, self._tasks.progress.graph
        if self._made >= limits.max_changes:
            return None, f"The graph has changed {limits.max_changes} times; this run lets it change no more."
        plan, problem = await self._approve(
            task.task_id, "What it expanded into", lambda: grow(graph, task, subgraph, limits, replan=replan), cost
        )
        self._made += plan is not None
        return plan, problem

    async def _approve_patch(
        self, task_id: str, patch: GraphPatch, cost: tuple[float, Usage]
    ) -> tuple[ApprovedPlan | None, str | None]:
        assert self._changes is not None
        begun, most = self._tasks.begun, self._changes.limits.max_tasks

        def patched() -> TaskDAG:
            dag = self._tasks.progress.graph.patched(patch, finished=begun)
            if len(dag) > most:
                raise InvalidGraph(f"it makes more than {most} tasks.")
            return dag

        plan, problem = await self._approve(task_id, "The change", patched, cost)
        touched = set(patch.touched) & self._tasks.begun
        if plan is not None and touched and begun != self._tasks.begun:  # something began while it was approved
            return None, f"The change was refused: {', '.join(sorted(touched))} began meanwhile."
        self._made += plan is not None
        return plan, problem

    async def _approve(
        self, task_id: str, what: str, change: Callable[[], TaskDAG], cost: tuple[float, Usage] | None
    ) -> tuple[ApprovedPlan | None, str | None]:
        """Return the approved plan for the changed graph, or why there is none; `cost` is what was paid for it so far.

        Where the run is stopped meanwhile, or ends with an error, that is written first.
        """
        assert self._changes is not None
        tasks = self._tasks
        self._writer.commit()
        try:
            dag = change()
            # What the run tells of a task that was replaced must not become another's.
            used = sorted(tasks.replaced & dag.tasks.keys())
            if used:
                raise InvalidGraph(
                    f"The name {used[0]!r} was a task's whose place others have taken. Give it another name."
                )
            return await self._changes.approver.approve(dag, tasks.plan, tasks.begun), None
        except PlanRejected as error:
            problem = " ".join(str(issue) for issue in error.issues)
        except InvalidInput as error:
            problem = str(error)
        except BaseException:
            if cost is not None:
                self._writer.planning_ended(task_id, LATE_EXPANSION, *cost)
            raise
        return None, f"{what} was refused: {problem}"[:MAX_REASON_CHARS]

    # The end of the run

    def stop(self, reason: str) -> None:
        """Cut off all that is being planned; what was set aside for it is charged."""
        stopped, self._plannings = sorted(self._plannings, key=lambda one: one.failed_for is None), []
        for planning in stopped:
            assert planning.work is not None
            planning.work.cancel()
            cost_usd = self._spending.charge_cut_off_planning(planning.reservation)
            if planning.failed_for is not None or cost_usd:
                self._writer.planning_stopped(planning.task.task_id, reason, cost_usd)

    def close(self) -> None:
        """Let nothing outlive the run."""
        for planning in self._plannings:
            if planning.work is not None:
                cancel_task(planning.work)
