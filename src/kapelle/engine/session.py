"""One engine's work on one run, from its lease to its end: plan -> route -> validate -> execute -> learn.

Each step is in the journal before the next one begins, so a run that is cut off anywhere goes on from there. What it
learns goes the same way: every outcome that the journal writes is told to the profiler, whose estimates the next
choice is made from. Decides nothing about a plan (preparation) and runs no task (the executor).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kapelle.agents import MEMORY_MARK, PartialText
from kapelle.errors import LeaseLost, LedgerBusy, PlanRejected
from kapelle.execution import (
    ExecutionLimits,
    ExecutionResult,
    Executor,
    GraphChanges,
    ResumeState,
    compose_answer,
    error_text,
)
from kapelle.ledger import Journal, Run, RunState
from kapelle.routing import HALORouter
from kapelle.strategies import Checks
from kapelle.validation import ApprovedPlan, NextBest

from .event_data import validated
from .people import stop_key
from .preparation import GrowthApprover, Preparation, rest_version
from .reassigning import RestReassigner
from .reflecting import Reflecting
from .request import Request
from .resumption import Resumption, recorded_routing
from .run_lease import RunLease

if TYPE_CHECKING:
    from kapelle.learning import RewardFeed


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """What takes one run to its end."""

    preparation: Preparation
    journal: Journal
    executor: Executor
    checks: Checks
    limits: ExecutionLimits
    reflection: Reflecting
    rewards: RewardFeed | None
    lease: RunLease
    timer: Callable[[], float]
    on_text: Callable[[PartialText], None] | None

    async def conduct(
        self,
        request: Request,
        *,
        deadline_s: float | None,
        approved: ApprovedPlan | None = None,
        before: Run | None = None,
    ) -> Run:
        """Take a run from where it is to its end: plan it, unless that is done, and execute it.

        Args:
            deadline_s: Seconds that are left.
            approved: Its plan, where it has one.
            before: A run that goes on, as it is now that it was resumed.
        """
        started = self.timer()
        planning_time = asyncio.timeout(deadline_s)
        try:
            if approved is None:
                async with planning_time:
                    approved = await self._plan(request)
            left_s = None if deadline_s is None else max(1e-3, deadline_s - (self.timer() - started))
            ending = await self._execute(approved, request.words, left_s, before)
        except asyncio.CancelledError:
            tasks = self.journal.run().tasks
            if tasks and all(task.state == "done" for task in tasks.values()):
                self._finish("done", None)  # there was nothing left to interrupt
            else:
                self._finish("stopped", "It was interrupted.")
            raise
        except LeaseLost:
            raise  # the run is another engine's: nothing of it is ours to write
        except BaseException as error:
            if isinstance(error, TimeoutError) and planning_time.expired():
                return self._finish("stopped", "The deadline was reached while planning.")
            if approved is None:  # it came to no plan, and the ledger says so, unless it is what failed
                with suppress(LedgerBusy, LeaseLost):
                    self._finish("failed", error_text(error))
            for name, value in (("run_id", self.journal.run_id), ("cost_usd", self.preparation.budget.spent.usd)):
                with suppress(Exception):  # a class of somebody else's may take no such thing
                    setattr(error, name, value)
            raise  # what ran is cut off, as by a crash: what becomes of it is said when the run is resumed
        finally:
            if self.rewards is not None:
                self.rewards.save()
        return self._end(ending)

    async def approve_rest(self, going_on: Resumption) -> ApprovedPlan | None:
        """Return the approved rest of a run that goes on; None where it was still being planned.

        Raises:
            PlanRejected: what is left of it is refused.
        """
        if going_on.state == "planning":
            return None
        run, one = going_on.run, self.preparation
        assert run.graph is not None
        pinned = one.router.find_pinned(run.graph) if isinstance(one.router, HALORouter) else frozenset()
        known = recorded_routing(run, one.team.registry.runnable(), going_on.finished, pinned)
        version = rest_version(run, known, going_on.finished, one.terms, one.budget)
        return (await one.prepare(version)).approved

    async def _plan(self, request: Request) -> ApprovedPlan:
        """Plan, route and validate a request.

        Raises:
            PlanRejected: the plan is not approved.
        """
        proposal = await self.preparation.propose(request)
        data = validated(proposal.validation)
        if proposal.validation.approved is None:
            self.journal.write("run_rejected", data)
            raise PlanRejected(proposal.validation.errors)
        self.journal.write("run_approved", data)
        return proposal.validation.approved

    async def _execute(
        self, approved: ApprovedPlan, words: str, left_s: float | None, before: Run | None
    ) -> ExecutionResult:
        """Run the tasks of an approved plan, and those that it grows by."""
        one, team = self.preparation, self.preparation.team
        deadlines = [limit for limit in (left_s, self.limits.deadline_s) if limit is not None]
        return await self.executor.execute(
            approved,
            self.journal,
            budget=one.budget,
            checks=self.checks,
            request=words,
            limits=replace(self.limits, deadline_s=min(deadlines, default=None)),
            growth=GraphChanges(
                approver=GrowthApprover(preparation=one),
                replanner=team.replanner,
                replanning_cost_usd=team.planning_cost_usd,
                replanning_is_priced=team.planning_is_priced,
                replanning_tokens=team.planning_tokens,
                reflector=self.reflection.reflector_for(
                    words, team.registry.runnable(), {} if before is None else before.results
                ),
                reflection_cost_usd=self.reflection.cost_usd,
                reflection_is_priced=self.reflection.is_priced,
                reflection_tokens=self.reflection.tokens,
                max_reflections=self.reflection.max_reflections,
            ),
            fallbacks=NextBest(one.router if isinstance(one.router, HALORouter) else None),
            reassigner=RestReassigner(preparation=one),
            earlier=None if before is None else ResumeState.of(before),
            inbox=self.lease,
            stop_key=stop_key(() if before is None else before.events),
            on_text=self.on_text,
        )

    def _end(self, ending: ExecutionResult) -> Run:
        if ending.state != "waiting":
            return self._finish(ending.state, ending.stop_reason)
        overrun_usd = self.journal.run().overrun_usd + self.preparation.budget.own_overrun_usd
        self.journal.write("run_waiting", {"overrun_usd": overrun_usd} if overrun_usd else None)
        return self.journal.run()

    def _finish(self, state: RunState, stop_reason: str | None) -> Run:
        """Write down how the run ended, with its answer as far as there is one, and return it."""
        run = self.journal.run()
        from_memory = {name for name, task in run.tasks.items() if task.from_memory}
        mark = MEMORY_MARK if self.preparation.team.has_data else ""  # after what a model remembered
        data = {
            "state": state,
            "stop_reason": stop_reason,
            "answer": "" if run.graph is None else compose_answer(run.graph, run.results, from_memory, mark=mark),
            "overrun_usd": run.overrun_usd + self.preparation.budget.own_overrun_usd,
        }
        self.journal.write("run_finished", data)
        return self.journal.run()
