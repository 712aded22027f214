"""Assigns what is left of a run anew, by what is known by now and within the limits that are left: see Reassigner.

The problem is the optimiser's own, and so are its answers: what is over takes nothing any more, what is under way takes
what it will still take, and neither moves. Where no choice of agents keeps all limits, those that the plan as it is
breaks are loosened to what it reaches, so that the rest is no worse in any, and goes as far as the money does. A plan
that a router of the user's own has made is left as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace

from kapelle.allocation import OptimizationConstraints, OptimizedPlan, PlanEstimates, SpentSoFar
from kapelle.errors import KapelleError
from kapelle.execution import Rest
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import format_usd
from kapelle.limits import RunLimits
from kapelle.redaction import get_logger
from kapelle.routing import NO_PLAN, HALORouter, RoutedPlan, RoutedTask
from kapelle.strategies import Single, Strategy, agents_of
from kapelle.validation import ApprovedPlan, avoid_hopeless

from .preparation import Preparation, expected_costs, find_gone

logger = get_logger(__name__)

WORTH = 0.01
"""A share of the cost, or of success: less is within the error of any estimate, and nobody moves for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RestReassigner:
    """Assigns the rest of a run's plan anew with the engine's optimiser, and has it approved by its validator."""

    preparation: Preparation

    async def reassign(self, current: ApprovedPlan, rest: Rest) -> ApprovedPlan | None:
        """Return the approved plan in which others do some of what has not begun; None where none is better."""
        one = self.preparation
        if not isinstance(one.router, HALORouter) or one.router.daao_optimizer is not one.optimizer:
            return None
        estimates = current.plan_estimates.as_seen(rest.seen)
        stays = _staying(current.routed, rest)
        free = current.routed.tasks.keys() - stays - rest.over - rest.under_way.keys()
        if not free:
            return None
        left_usd = one.budget.left.usd
        limits = OptimizationConstraints(
            max_total_cost=max(0.0, left_usd) if math.isfinite(left_usd) else None,
            max_total_time=rest.left_s,
            min_quality_score=one.terms.min_quality,
            pinned=stays,
        )
        spared = avoid_hopeless(current.routed.only(free), estimates)  # as a new plan begins, too
        if not _can_gain(current, spared, rest, estimates, limits) and one.optimizer.policy is None:
            return None
        given, ahead = current.routed.with_tasks(spared.tasks), _ahead(rest)
        optimize = one.optimizer.optimize_routing_plan
        try:
            found = await optimize(given, current.dag, limits, attempts=ahead, estimates=estimates)
            if found.optimization_details["status"] in NO_PLAN:
                limits = _loosened(limits, found.optimization_details["missed"])
                found = await optimize(given, current.dag, limits, attempts=ahead, estimates=estimates)
        except KapelleError as error:  # an agent is gone, or whoever knows strategies does not answer
            logger.info("The rest of the plan is not assigned anew: %s", error)
            return None
        moved = _moved(current.routed, found, rest)
        is_spared = any(spared.tasks[name] is not current.routed.tasks[name] for name in moved)
        is_better = is_spared or _is_better(found, limits)
        if not moved or not is_better or _is_later(current, moved, estimates, rest):
            return None
        return await self._approve(current, moved, estimates, rest, limits)

    async def _approve(
        self,
        current: ApprovedPlan,
        moved: Mapping[str, RoutedTask],
        estimates: PlanEstimates,
        rest: Rest,
        limits: OptimizationConstraints,
    ) -> ApprovedPlan | None:
        """Have the new assignment approved: what runs has its money already."""
        one, budget_usd = self.preparation, limits.max_total_cost
        begun = rest.over | rest.under_way.keys()
        gone = find_gone(current, begun, one.team.registry.runnable())
        if budget_usd is not None:  # the validator adds up all tasks of the graph
            budget_usd += math.fsum(expected_costs(current, begun - gone, estimates).values())
            budget_usd -= math.fsum(ahead.cost_usd for ahead in rest.under_way.values())
        result = await one.validator.validate_routing_plan(
            current.routed.with_tasks(moved, drop_figures=True),
            current.dag,
            limits=RunLimits(
                budget_usd=None if budget_usd is None else max(0.0, budget_usd), max_tasks=one.terms.max_tasks
            ),
            finished=gone,
            approved=current.routed.tasks.keys() - moved.keys(),
            current=current,
            estimates=estimates,
        )
        if result.approved is None:
            logger.info("The rest of the plan is not assigned anew: %s", " ".join(map(str, result.errors)))
        return result.approved


def _staying(routed: RoutedPlan, rest: Rest) -> frozenset[str]:
    """Return the tasks that keep their agents: orders, firm rules, what people were asked about; and what is done by an
    agent to learn of it, as long as that agent is no surprise."""
    surprising = {agent for agent, _ in rest.seen}
    explored = (name for name, one in routed.tasks.items() if one.explored and one.agent not in surprising)
    return frozenset({*routed.fixed, *rest.kept, *explored})


def _can_gain(
    current: ApprovedPlan,
    spared: RoutedPlan,
    rest: Rest,
    estimates: PlanEstimates,
    limits: OptimizationConstraints,
) -> bool:
    """Whether the optimiser could find a plan worth moving for: a quick look, which most looks end with in a long run.

    Of tasks alike one is looked at. There is nothing to gain where the plan as it is keeps its budget, and the cheapest
    and the best way for each task, by themselves, are worth too little; limits on time and quality are not looked at.

    Args:
        spared: The tasks that may move, away from those who fail nearly always.
    """
    if limits.max_total_time is not None or limits.min_quality_score is not None:
        return True
    alike: dict[tuple[Hashable, Strategy, bool], list[Task]] = {}
    for name, task in current.routed.tasks.items():
        if name in rest.over or name in rest.under_way:
            continue
        if (may_move := name in spared.tasks) and spared.tasks[name] is not task:
            return True
        key = (estimates.kind_of(current.dag[name]), task.strategy or Single(agent=task.agent), may_move)
        alike.setdefault(key, []).append(current.dag[name])
    cost_usd, saved_usd, better, count = math.fsum(one.cost_usd for one in rest.under_way.values()), 0.0, 0.0, 0
    for (_, way, may_move), tasks in alike.items():
        first, *others = estimates.options(tasks[0], way) if may_move else (estimates.alone(tasks[0], way),)
        no_dearer = [first, *(one for one in others if one.cost_usd <= first.cost_usd)]
        cost_usd += len(tasks) * first.cost_usd
        count += len(tasks)
        saved_usd += len(tasks) * max(first.cost_usd - one.cost_usd for one in no_dearer)
        better += len(tasks) * max(max(one.quality - first.quality, one.lower - first.lower) for one in no_dearer)
    is_within = limits.max_total_cost is None or cost_usd <= limits.max_total_cost
    return not is_within or saved_usd > WORTH * cost_usd or better >= WORTH * count


def _ahead(rest: Rest) -> dict[str, SpentSoFar]:
    """Return what the tasks still take that are over or under way, as the optimiser takes it."""
    known = {name: SpentSoFar(cost_usd=0.0, seconds=0.0, success=True, finished=True) for name in rest.over}
    for name, ahead in rest.under_way.items():
        known[name] = SpentSoFar(cost_usd=ahead.cost_usd, seconds=ahead.seconds, success=True, finished=True)
    return known


def _loosened(limits: OptimizationConstraints, missed: Mapping[str, float]) -> OptimizationConstraints:
    """Return the limits, those that a plan misses loosened to what it reaches."""

    def give(name: str, sign: int) -> float | None:
        limit = getattr(limits, name)
        return None if limit is None else max(0.0, limit + sign * missed.get(name, 0.0) * (1 + 1e-9))

    return replace(
        limits,
        max_total_cost=give("max_total_cost", 1),
        max_total_time=give("max_total_time", 1),
        min_quality_score=give("min_quality_score", -1),
    )


def _moved(routed: RoutedPlan, found: OptimizedPlan, rest: Rest) -> dict[str, RoutedTask]:
    """Return the tasks that others do by the new plan, or the same in another way, each with the reason."""
    if found.optimization_details["status"] in NO_PLAN:
        return {}
    reasons: Mapping[str, str] = found.optimization_details.get("reasons", {})
    before, after = found.optimization_details["baseline_cost"], found.estimated_cost
    what = f"What is left is now expected to cost {format_usd(after)} and not {format_usd(before)}."
    if after >= before:
        what = f"What is left keeps its limits better so, for {format_usd(after)}."
    moved = {}
    for name, task in routed.tasks.items():
        if name in rest.over or name in rest.under_way:
            continue
        agent, strategy = found.assignments[name], found.strategies.get(name)
        way: Strategy = strategy if strategy is not None else Single(agent=agent)
        if way == (task.strategy or Single(agent=task.agent)):
            continue
        to = f"{', '.join(agents_of(way))} ({way})" if strategy is not None else agent
        why = f"Moved from {task.agent} to {to} while the run was under way: {rest.why} {what}"
        why = f"{why} {found.comparisons.get(name, '')} {reasons.get(name, '')}"
        moved[name] = task.moved(agent, " ".join(why.split()), strategy=strategy)
    return moved


def _is_better(found: OptimizedPlan, limits: OptimizationConstraints) -> bool:
    """Whether a plan is worth moving for: it saves money, or keeps a limit that the plan as it is breaks, or is more
    likely to succeed for no more money."""
    details, cost, seconds = found.optimization_details, found.estimated_cost, found.estimated_time
    before_usd, before_s = details["baseline_cost"], details["baseline_time"]
    if before_usd - cost > WORTH * before_usd:
        return True
    if limits.max_total_cost is not None and cost <= limits.max_total_cost * (1 + 1e-9) < before_usd:
        return True
    if limits.max_total_time is not None and seconds <= limits.max_total_time * (1 + 1e-9) < before_s:
        return True
    gain = max(
        found.quality_score - details["baseline_quality"], found.quality_lower - details["baseline_quality_lower"]
    )
    return bool(gain >= WORTH)


def _is_later(current: ApprovedPlan, moved: Mapping[str, RoutedTask], estimates: PlanEstimates, rest: Rest) -> bool:
    """Whether a task with a deadline of its own would be done later than by the plan as it is."""
    dag = current.dag
    due = [task.task_id for task in dag if task.deadline_s is not None and task.task_id not in rest.over]
    if not due:
        return False

    def ways(name: str, *, new: bool) -> Strategy:
        task = moved[name] if new and name in moved else current.routed.tasks[name]
        return task.strategy or Single(agent=task.agent)

    before = _finishes(dag, rest, lambda name: estimates.of(dag[name], ways(name, new=False)).seconds)
    after = _finishes(dag, rest, lambda name: estimates.of(dag[name], ways(name, new=True)).seconds)
    return any(after[name] > before[name] * (1 + 1e-9) for name in due)


def _finishes(dag: TaskDAG, rest: Rest, seconds_of: Callable[[str], float]) -> dict[str, float]:
    """Return in how many seconds each task is done, if nothing waits for a place."""
    finishes: dict[str, float] = {}
    for name in dag.topological_order():
        start = max((finishes[before] for before in dag.dependencies(name)), default=0.0)
        if name in rest.over:
            finishes[name] = 0.0
        elif name in rest.under_way:
            finishes[name] = rest.under_way[name].seconds
        else:
            finishes[name] = start + seconds_of(name)
    return finishes
