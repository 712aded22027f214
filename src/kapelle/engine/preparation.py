"""Makes a plan fit to run: who does what, whether that may be, and what is changed where it may not.

    plan -> route -> validate          once for every version of a plan: the first one, what is left of a run that is
                                       resumed, and what a graph has grown into

`first_version`, `rest_version` and `grown_version` say what is to be decided, each a value; `Preparation.prepare` is
the only place where a version is routed and validated, and `mend` the only one where a refused one is changed. What a
version already knows, agents that an earlier approval gave, stays. `explore` lets some tasks of a first version go to
agents of which little is known; which may be moved, allocation decides. Runs no task, and asks no planner but for a
better plan: see planner_call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kapelle.allocation import DAAOOptimizer, Explorer, OptimizationConstraints, PlanEstimates, follow_orders
from kapelle.budget import Budget
from kapelle.errors import InvalidPlan
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Journal, Run, Usage
from kapelle.limits import RunLimits
from kapelle.planning import Plan
from kapelle.routing import HALORouter, RoutedPlan
from kapelle.strategies import agents_of
from kapelle.validation import AOPValidator, ApprovedPlan, ValidationResult, avoid_hopeless

from .event_data import planned, routed
from .planner_call import PlannerCall
from .proposal import Proposal
from .request import Request

if TYPE_CHECKING:
    from .team import Team

LIMIT_KINDS = ("budget", "deadline", "quality", "capacity")
"""Kinds of issue that say that what the user allows is too little, not that the plan is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One version of a plan, and what it is held to."""

    plan: Plan
    routed: RoutedPlan | None = None
    """Who does what, where that was decided before the run: then nothing is routed."""
    known: RoutedPlan = field(default_factory=RoutedPlan)
    """Who does what by an earlier approval of this run: that stays."""
    finished: frozenset[str] = frozenset()
    """Tasks of which nothing more will come: nothing about them is wrong."""
    choosing: RunLimits
    """Within what limits agents are chosen for the tasks that have none yet."""
    limits: RunLimits = field(default_factory=RunLimits)
    """What all tasks of the graph together are held to."""
    estimates: PlanEstimates | None = None
    """Those of an earlier version of the graph, where there was one."""
    covers: str | None = None
    """The words that its tasks have to cover; None where whoever made it knows better than words do."""
    explores_as: str | None = None
    """The id of the run in which some of its tasks may go elsewhere, to learn of others; None: none may."""

    @property
    def unassigned(self) -> TaskDAG:
        """The tasks that nobody has yet, as a graph of their own: edges and inputs to others are left out."""
        new = {task.task_id: task for task in self.plan.graph if task.task_id not in self.known.tasks}
        if not self.known.tasks:
            return self.plan.graph

        def alone(task: Task) -> Task:
            inside = dict(task.inputs) if task.references <= new.keys() else {}
            return replace(task, depends_on=tuple(name for name in task.depends_on if name in new), inputs=inside)

        return TaskDAG(alone(task) for task in new.values())


def first_version(
    plan: Plan,
    terms: RunLimits,
    budget: Budget,
    *,
    is_given: bool,
    routed: RoutedPlan | None = None,
    run_id: str | None = None,
) -> Version:
    """Return the first version of a plan, which has to fit into all that the user allows."""
    # What an unknown agent takes, and whether it succeeds, is just what is unknown.
    may_explore = terms.deadline_s is None and terms.min_quality is None
    limits = terms.after(budget.spent.usd)
    return Version(
        plan=plan,
        routed=routed,
        choosing=limits,
        limits=limits,
        # Whether a plan covers its request is judged by words. Who wrote the plan knows better.
        covers=None if is_given else plan.request,
        explores_as=run_id if may_explore else None,
    )


def rest_version(run: Run, known: RoutedPlan, finished: frozenset[str], terms: RunLimits, budget: Budget) -> Version:
    """Return what is left of a run's plan, with new agents for tasks whose own are gone.

    Its cost is not held against the budget once more: it goes as far as that reaches, and then stops cleanly.
    """
    assert run.graph is not None
    return Version(
        plan=Plan(request=run.request, graph=run.graph, planner=run.planner),
        known=known,
        finished=finished,
        choosing=replace(terms, budget_usd=_finite(budget.left.usd), deadline_s=None),
        limits=RunLimits(max_tasks=terms.max_tasks),
    )


def grown_version(
    dag: TaskDAG,
    current: ApprovedPlan,
    begun: Collection[str],
    terms: RunLimits,
    left_usd: float,
    able: Collection[str],
) -> Version:
    """Return what a graph has grown into. The words of the request are no measure of it: they are covered by the task
    whose place the new ones take.

    Args:
        begun: Tasks that run or are over: what they cost has left the budget already.
        able: Agents that can be asked by now.
    """
    known = current.routed.only(dag.tasks)
    gone = find_gone(current, begun, able) & known.tasks.keys()
    estimates = current.plan_estimates.version(dag)
    costs = expected_costs(current, known.tasks.keys() - gone, estimates)
    ahead = sum(cost for task_id, cost in costs.items() if task_id not in begun)
    # The validator adds up all tasks of the graph.
    counted = left_usd + sum(cost for task_id, cost in costs.items() if task_id in begun)
    return Version(
        plan=Plan(request=current.request or "", graph=dag, planner="expansion"),
        known=known,
        finished=gone,
        choosing=replace(terms, budget_usd=_finite(max(0.0, left_usd - ahead)), deadline_s=None),
        limits=RunLimits(budget_usd=_finite(counted), max_tasks=terms.max_tasks),
        estimates=estimates,
    )


def find_gone(plan: ApprovedPlan, begun: Collection[str], able: Collection[str]) -> frozenset[str]:
    """Return the tasks that began with agents that are gone: in a resumed run nothing about such a task is wrong."""
    return frozenset(
        name
        for name in plan.routed.tasks
        if name in begun and any(one not in able for one in agents_of(plan.strategy_of(name)))
    )


def expected_costs(plan: ApprovedPlan, names: Collection[str], estimates: PlanEstimates) -> dict[str, float]:
    """Return what tasks of a plan are expected to cost by these estimates, which may have moved since it was made."""
    return {name: estimates.of(plan.dag[name], plan.strategy_of(name)).cost_usd for name in names}


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """Those who decide about a plan, and the money and the journal of the run that it is for."""

    team: Team
    router: HALORouter
    optimizer: DAAOOptimizer
    explorer: Explorer
    validator: AOPValidator
    planner: PlannerCall
    terms: RunLimits
    budget: Budget
    journal: Journal | None = None
    """Where each step is told of; None tells nobody, and explores nothing."""

    async def propose(self, request: Request) -> Proposal:
        """Return a request as it would be run: planned, routed, validated, and mended where that helps.

        Raises:
            KapelleError: it came to no plan. One that is refused is no error here.
        """
        run_id = None if self.journal is None else self.journal.run_id
        plan = request.given
        if plan is None:
            plan = await self.planner.ask(request.words, gate_key=request.words if run_id is None else run_id)
        self._write_planned(plan)
        version = first_version(
            plan,
            self.terms,
            self.budget,
            is_given=request.given is not None,
            routed=request.routed,
            run_id=run_id,
        )
        proposal = await self.prepare(version, on_routed=self._write_routed)
        if proposal.validation.approved is None and request.given is None:
            proposal = await self._mend_first(proposal)
            self._write_planned(proposal.plan)
            self._write_routed(proposal.routing)
        return proposal

    async def prepare(self, version: Version, *, on_routed: Callable[[RoutedPlan], None] | None = None) -> Proposal:
        """Route and validate a version of a plan, each once.

        Args:
            on_routed: Called between the two.
        """
        estimates = self._estimate(version)
        routing = version.routed if version.routed is not None else await self._route(version, estimates)
        if on_routed is not None:
            on_routed(routing)
        validation = await self._validate(version, routing, estimates)
        return Proposal(
            plan=version.plan, routing=routing, validation=validation, limits=version.limits, estimates=estimates
        )

    async def mend(self, version: Version, proposal: Proposal) -> Proposal:
        """Return a refused version with the edits made that leave less wrong with it; what is known stays as it is."""
        mended = await self.validator.repair(
            proposal.routing,
            proposal.plan.graph,
            limits=version.limits,
            finished=version.known.tasks,
            over=version.finished,
            available_agents=self.team.registry.runnable(),
            router=self.router,
            estimates=proposal.estimates,
        )
        notes = (*proposal.plan.notes, *(f"Repaired: {edit.summary}" for edit in mended.edits))
        plan = replace(proposal.plan, graph=mended.dag, notes=notes)
        return Proposal(plan=plan, routing=mended.routing_plan, validation=mended.result, limits=version.limits)

    def _estimate(self, version: Version) -> PlanEstimates:
        """Return what the tasks are expected to take, once for a version; whoever can do work may be given them."""
        if version.estimates is not None:
            return version.estimates.version(version.plan.graph)
        profiler, everyone = self.optimizer.cost_profiler, self.team.registry
        return PlanEstimates(
            profiler,
            everyone,
            version.plan.graph,
            choosable=everyone.runnable(),
            strategies=self.optimizer.strategies,
        )

    async def _route(self, version: Version, estimates: PlanEstimates) -> RoutedPlan:
        """Choose agents for the tasks that have none."""
        part, planner = version.unassigned, version.plan.planner
        if version.known.tasks and not len(part):
            return version.known
        estimates = estimates.version(part)
        known: dict[str, Any] = {}
        if isinstance(self.router, HALORouter) and self.router.daao_optimizer is self.optimizer:
            known["estimates"] = estimates  # a router or an optimiser of a user's own need not know of them
        able = estimates.choosable
        constraints = OptimizationConstraints.of(version.choosing)
        found = await self.router.route_tasks(
            part, available_agents=able, optimization_constraints=constraints, **known
        )
        routing = avoid_hopeless(RoutedPlan.of(found), estimates)
        routing = follow_orders(routing, part, able)
        missing = {}
        for task_id, why in routing.unassigned.items():
            missing[task_id] = why + self.team.hint_for(part[task_id])
            if planner.startswith("file ") and part[task_id].strategy is not None:
                missing[task_id] += f" It stands in {planner.removeprefix('file ')}."
        routing = replace(routing, unassigned=missing)
        if version.known.tasks:
            return version.known.joined(routing)
        if version.explores_as is None or not self.explorer.share:
            return routing
        return explore(self.explorer, version.explores_as, routing, estimates, self.budget.left.usd)

    async def _validate(self, version: Version, routing: RoutedPlan, estimates: PlanEstimates) -> ValidationResult:
        result = await self.validator.validate_routing_plan(
            routing,
            version.plan.graph,
            limits=version.limits,
            request=version.covers,
            finished=version.finished,
            approved=version.known.tasks,
            estimates=estimates,
        )
        if result.detection_cost_usd:
            self.budget.commit(self.budget.reserve(), usd=result.detection_cost_usd)
            if self.journal is not None:
                spent = {"planning_cost_usd": result.detection_cost_usd}
                self.journal.write("planning_spent", {"reason": "The plan was looked at once more.", **spent})
        return result

    async def _mend_first(self, proposal: Proposal) -> Proposal:
        """Return a refused plan of a request as it is when mended; its cost is what mending cost.

        A model is asked to plan once more; what is then still wrong, and all where there is none, is repaired.
        """
        notes = proposal.plan.notes
        proposal = replace(proposal, plan=replace(proposal.plan, usage=Usage(), cost_usd=0.0))
        errors = proposal.validation.errors
        if self.team.model_name is not None and not any(issue.kind in LIMIT_KINDS for issue in errors):
            words = proposal.plan.request
            with suppress(InvalidPlan):  # then the first plan is mended as far as that goes
                again = await self.planner.ask(words, problems=[f"{issue.message} {issue.way_out}" for issue in errors])
                notes = (*again.notes, "Planned once more: a first plan was refused.")
                proposal = await self.prepare(self._first(replace(again, request=words)))
        proposal = replace(proposal, plan=replace(proposal.plan, notes=notes))
        if proposal.validation.approved is not None:
            return proposal
        # Mending asks no detector again, so what one has found and was paid for is said, or it would be lost.
        found = (issue for issue in proposal.validation.detected if issue.severity == "error")
        notes = (*proposal.plan.notes, *(f"It may be incomplete: {issue.message}" for issue in found))
        return await self.mend(self._first(proposal.plan), replace(proposal, plan=replace(proposal.plan, notes=notes)))

    def _first(self, plan: Plan) -> Version:
        return first_version(plan, self.terms, self.budget, is_given=False)

    def _write_planned(self, plan: Plan) -> None:
        if self.journal is not None:
            self.journal.write("run_planned", planned(plan))

    def _write_routed(self, routing: RoutedPlan) -> None:
        if self.journal is not None:
            self.journal.write("run_routed", routed(routing))


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowthApprover:
    """Routes and validates what a graph has grown by: see PlanApprover. New tasks go the way of the first ones."""

    preparation: Preparation

    async def approve(self, dag: TaskDAG, current: ApprovedPlan, begun: Collection[str]) -> ApprovedPlan:
        """Return the approved plan for the grown graph; what `current` assigns stays assigned.

        Raises:
            PlanRejected: the new tasks cannot be done within what is left.
        """
        one = self.preparation
        able = one.team.registry.runnable()
        version = grown_version(dag, current, begun, one.terms, one.budget.left.usd, able)
        proposal = await one.prepare(version)
        if proposal.validation.approved is None:
            proposal = await one.mend(version, proposal)
        return proposal.approved


def _finite(amount: float) -> float | None:
    return amount if math.isfinite(amount) else None


def explore(
    explorer: Explorer, run_id: str, routing: RoutedPlan, estimates: PlanEstimates, left_usd: float
) -> RoutedPlan:
    """Return the plan in which some tasks go elsewhere, and each that might says how probable its agent was."""
    dag = estimates.dag
    candidates = {
        task.task_id: estimates.able(task)
        for task in dag
        if task.task_id in routing.tasks and routing.tasks[task.task_id].strategy is None
    }
    planned = math.fsum(
        able[routed.agent].cost_usd
        for task_id, routed in routing.tasks.items()
        if routed.agent in (able := candidates.get(task_id, {}))
    )
    stated = routing.figures.estimated_cost
    spent = float(planned if stated is None else stated)
    found = explorer.decide(
        run_id,
        dag,
        routing.assignments,
        candidates,
        left_usd=max(0.0, left_usd - max(spent, planned)),
        pinned=routing.fixed,
    )
    tasks = {name: replace(routing.tasks[name], propensity=chance) for name, chance in found.stays.items()}
    for name, move in found.moves.items():
        tasks[name] = routing.tasks[name].moved(move.agent, move.reason, propensity=move.propensity, explored=True)
    explored = routing.with_tasks(tasks)
    if not found.moves or stated is None:
        return explored
    cost = spent + math.fsum(move.extra_cost_usd for move in found.moves.values())
    return replace(explored, figures=replace(explored.figures, estimated_cost=cost))
