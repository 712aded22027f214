"""The problem that a plan poses, and the plan that a solution of it means.

An `AssignmentProblem` knows positions and figures, a plan knows tasks and agents; a `Formulation` holds both sides and
translates. Solves nothing, and asks no profiler: the options come with it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidAgents, InvalidInput
from kapelle.estimates import DEFAULT_SUCCESS_RATE
from kapelle.graph import Task, TaskDAG
from kapelle.strategies import Single, Strategy, agents_of, strategy_to_dict

from .assignment import Assignment, AssignmentProblem, Candidate, Limits, TaskChoices
from .candidates import Counting, Option, measure, to_candidate
from .constraints import OptimizationConstraints
from .plan import OptimizedPlan, SpentSoFar
from .plan_estimates import PlanEstimates
from .solve import Solution


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenPlan:
    """A plan that is to be optimised: who does what now, and what is known of the tasks that were worked on."""

    initial: Mapping[str, Strategy]
    dag: TaskDAG
    attempts: Mapping[str, SpentSoFar]
    finished: frozenset[str]

    @property
    def spent(self) -> frozenset[str]:
        """The finished tasks that take nothing any more: no money that is not accounted for, and no time."""
        known = self.attempts
        return frozenset(
            name for name in self.finished if name in known and not (known[name].cost_usd or known[name].seconds)
        )

    def check(self, registry: Mapping[str, AgentCapability]) -> None:
        """Check that every task is in the graph, and that everyone who still has work is registered.

        Raises:
            InvalidInput, InvalidAgents: with the name of the task, and of the agent.
        """
        for task_id, strategy in self.initial.items():
            if task_id not in self.dag.tasks:
                raise InvalidInput(f"The plan assigns the task {task_id!r}, which is not in the graph. Check its id.")
            absent = next((agent for agent in agents_of(strategy) if agent not in registry), None)
            if absent is None or (task_id in self.finished and task_id in self.attempts):
                continue
            known = ", ".join(registry) or "none"
            if task_id in self.finished:
                raise InvalidAgents(
                    f"The task {task_id!r} was finished by {absent!r}, which is not in the registry, so nothing says "
                    f"what it took. Give its metrics, or register the agent. There are: {known}."
                )
            raise InvalidAgents(
                f"The task {task_id!r} is assigned to {absent!r}, which is not in the registry. There are: {known}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Formulation:
    """A plan to be optimised, as a problem; position for position the same tasks and the same options."""

    work: GivenPlan
    constraints: OptimizationConstraints
    order: tuple[str, ...]
    """The tasks that limits can depend on, in topological order: all but those that take nothing any more."""
    options: tuple[tuple[Option, ...], ...]
    """The initial one first; none for tasks that nobody does, and for those of which the outcome is known."""
    problem: AssignmentProblem
    estimates: PlanEstimates
    """What the options were made of."""

    @property
    def initial(self) -> Assignment:
        """The plan as it is."""
        return (0,) * len(self.order)

    def with_limits(self, limits: Limits) -> Formulation:
        """Return the formulation with other limits on the whole plan."""
        return replace(self, problem=replace(self.problem, limits=limits))

    def quality(self, choice: Assignment) -> tuple[float, float]:
        """Return the expected share of successes among the tasks that are not finished, and its lower bound; once all
        are finished, the share that succeeded, twice."""
        chosen = [option for slot, option in self._chosen(choice) if slot.counts]
        if chosen:
            return (
                math.fsum(one.quality for one in chosen) / len(chosen),
                math.fsum(one.lower for one in chosen) / len(chosen),
            )
        known = [self.work.attempts[task_id].success for task_id in self.work.finished if task_id in self.work.attempts]
        share = sum(known) / len(known) if known else 1.0
        return share, share

    def plan(
        self, solution: Solution, extra: Mapping[str, Any] | None = None, *, baseline: Formulation | None = None
    ) -> OptimizedPlan:
        """Return what a solution means; `extra` are further details, `baseline` has the plan to compare with, by
        default the initial one."""
        before = self if baseline is None else baseline
        problem, choice, assigned = self.problem, solution.choice, before.work.initial
        totals, usual = problem.totals(choice), before.problem.totals(before.initial)
        quality, lower = self.quality(choice)
        baseline_quality, baseline_lower = before.quality(before.initial)
        kept = has_plan(solution)
        bound = min(solution.lower_bound, totals.cost) if kept else solution.lower_bound
        savings = usual.cost - totals.cost

        strategies = dict(assigned)
        for task_id, options, at in zip(self.order, self.options, choice, strict=True):
            if options:
                strategies[task_id] = options[at].strategy
        agents = {task_id: agents_of(strategy)[0] for task_id, strategy in strategies.items()}
        workload: dict[str, int] = {}
        for agent in agents.values():
            workload[agent] = workload.get(agent, 0) + 1
        details: dict[str, Any] = {
            "status": solution.status if assigned else "empty",
            "baseline_cost": usual.cost,
            "baseline_time": usual.seconds,
            "baseline_quality": baseline_quality,
            "baseline_quality_lower": baseline_lower,
            "savings_pct": 100 * savings / usual.cost if usual.cost > 0 else 0.0,
            "solver": solution.solver,
            "lower_bound": bound,
            "gap": ((totals.cost - bound) / totals.cost if totals.cost > 0 else 0.0) if kept else None,
            "min_quality_score": problem.limits.min_quality,
            "quality_lower": lower,
            "missed": problem.shortfalls(choice),
            "agent_workload": workload,
            "completed_tasks": len(self.work.finished),
            "moved_tasks": {
                task_id: (agents_of(first)[0], agents[task_id])
                for task_id, first in assigned.items()
                if agents[task_id] != agents_of(first)[0]
            },
        }
        if chosen := self._why_strategies(choice):
            details["strategies"] = chosen
        if note := self._beginning_note(choice):
            details["quality_note"] = note
        return OptimizedPlan(
            assignments=agents,
            estimated_cost=totals.cost,
            estimated_time=totals.seconds,
            quality_score=quality,
            quality_lower=lower,
            cost_savings=savings,
            optimization_details={**details, **(extra or {})},
            attempts=dict(self.work.attempts),
            strategies={task: one for task, one in strategies.items() if not isinstance(one, Single)},
            comparisons={
                task_id: self.estimates.compare(self.work.dag[task_id], strategies[task_id], assigned[task_id])
                for task_id in details["moved_tasks"]
            },
        )

    def untried(self) -> dict[str, Option]:
        """Return the tasks of which the best bound that anyone reaches is below what is asked, and the option that is
        expected to do best there: what quality fails for, where it fails for want of outcomes."""
        asked = self.constraints.min_quality_score or 0.0
        found = {}
        for task_id, slot, options in zip(self.order, self.problem.slots, self.options, strict=True):
            least = max(asked, slot.min_quality)
            best = max(options, key=lambda one: one.quality, default=None) if slot.counts else None
            if best is not None and max(one.lower for one in options) < least <= best.quality:
                found[task_id] = best
        return found

    def _chosen(self, choice: Assignment) -> list[tuple[TaskChoices, Option]]:
        return [
            (slot, options[at])
            for slot, options, at in zip(self.problem.slots, self.options, choice, strict=True)
            if options
        ]

    def _beginning_note(self, choice: Assignment) -> str:
        """Return who counts with what is expected of them, as a sentence; empty where nobody does."""
        asked = self.constraints.min_quality_score is not None
        trusted = {}
        for task_id, slot, options, at in zip(self.order, self.problem.slots, self.options, choice, strict=True):
            counts = slot.counts and (asked or slot.min_quality > 0)
            if options and counts and slot.candidates[at].quality > options[at].lower:
                trusted[task_id] = options[at]
        if not trusted:
            return ""
        return (
            f"Nobody is proven good enough yet at {describe_untried(trusted)} They count with what is expected, so "
            "that outcomes can come in; set `confidence` to accept nothing but what is proven."
        )

    def _why_strategies(self, choice: Assignment) -> dict[str, Any]:
        """Return for every task that is not left to one agent what was chosen, and what that is better than."""
        found = {}
        for task_id, slot, options, at in zip(self.order, self.problem.slots, self.options, choice, strict=True):
            if not options or isinstance(options[at].strategy, Single):
                continue
            chosen, counted = options[at], slot.candidates[at].quality
            singles = [n for n, one in enumerate(options) if isinstance(one.strategy, Single)]
            as_good = [n for n in singles if slot.candidates[n].quality >= counted]
            entry: dict[str, Any] = {
                "strategy": strategy_to_dict(chosen.strategy),
                "says": str(chosen.strategy),
                "expected_cost": chosen.cost_usd,
                "expected_time": chosen.seconds,
                "quality": chosen.quality,
                "quality_lower": chosen.lower,
                "samples": chosen.samples,
            }
            if as_good:
                rival = options[min(as_good, key=lambda n: slot.candidates[n].cost)]
                saved = rival.cost_usd - chosen.cost_usd
                reason = f"{rival.agent} is the cheapest single agent that is as good, and costs ${rival.cost_usd:.4g}"
            elif singles:
                rival = options[max(singles, key=lambda n: (slot.candidates[n].quality, -slot.candidates[n].cost))]
                saved = rival.cost_usd - chosen.cost_usd
                reason = (
                    f"no single agent is as good; the best, {rival.agent}, reaches {rival.lower:.1%} for "
                    f"${rival.cost_usd:.4g}"
                )
            else:
                rival, saved, reason = None, 0.0, "no single agent takes the task"
            entry |= {"instead_of": rival.agent if rival else None, "expected_saving": saved}
            entry["reason"] = f"{chosen.lower:.1%} or more for ${chosen.cost_usd:.4g}: {reason}."
            found[task_id] = entry
        return found


def formulate(
    work: GivenPlan, constraints: OptimizationConstraints, estimates: PlanEstimates, *, begin: bool = False
) -> Formulation:
    """State the problem that a plan poses.

    Args:
        work: The plan.
        constraints: The limits on it; a quality that nobody asked for becomes one relative to the plan itself.
        estimates: Who can do what, and what that is expected to take.
        begin: Whether agents of whom too little is known count with what is expected of them; see candidates.
    """
    spent = work.spent if not constraints.agent_capacity else frozenset()  # who did them has had a place
    order = tuple(task_id for task_id in work.dag.topological_order() if task_id not in spent)
    position = {task_id: number for number, task_id in enumerate(order)}
    builder = _ChoicesBuilder(work, constraints, estimates, begin=begin)
    slots, options = [], []
    for task_id in order:
        before = tuple(position[other] for other in work.dag.dependencies(task_id) if other not in spent)
        slot, found = builder.build(work.dag.tasks[task_id], before)
        slots.append(slot)
        options.append(found)
    quality = constraints.min_quality_score
    if quality is None:
        reached = AssignmentProblem(slots=tuple(slots), limits=Limits()).totals((0,) * len(slots)).quality
        quality = min(DEFAULT_SUCCESS_RATE, reached)
    limits = Limits(
        max_cost=constraints.max_total_cost,
        max_seconds=constraints.max_total_time,
        min_quality=quality,
        capacity=constraints.agent_capacity,
    )
    return Formulation(
        work=work,
        constraints=constraints,
        order=order,
        options=tuple(options),
        problem=AssignmentProblem(slots=tuple(slots), limits=limits),
        estimates=estimates,
    )


def has_plan(solution: Solution) -> bool:
    """Whether a plan within the limits was found."""
    return solution.status in ("optimal", "feasible")


def describe_untried(options: Mapping[str, Option], *, most: int = 3) -> str:
    """Return tasks, and what is expected and what is sure of the one who would do each, as the end of a sentence."""
    parts = [
        f"{task_id!r} ({one.strategy}: {one.quality:.0%} expected, {one.lower:.0%} sure, {_outcomes(one.samples)})"
        for task_id, one in list(options.items())[:most]
    ]
    more = f" and {len(options) - most} more" if len(options) > most else ""
    return f"{', '.join(parts)}{more}."


class _ChoicesBuilder:
    """Makes slots; tasks that are alike share their candidates."""

    def __init__(
        self, work: GivenPlan, constraints: OptimizationConstraints, estimates: PlanEstimates, *, begin: bool
    ) -> None:
        self._work = work
        self._constraints = constraints
        self._estimates = estimates
        self._begin = begin
        self._shared: dict[Hashable, tuple[tuple[Option, ...], tuple[Candidate, ...]]] = {}

    def build(self, task: Task, before: tuple[int, ...]) -> tuple[TaskChoices, tuple[Option, ...]]:
        work, task_id = self._work, task.task_id
        attempt = work.attempts.get(task_id)
        strategy = work.initial.get(task_id)
        if strategy is None:
            # Nobody does it: it takes no time and no money here, and is no one's success.
            return _known(task_id, "", 0.0, 0.0, 0.0, before), ()
        if task_id in work.finished:
            agent = agents_of(strategy)[0]
            if attempt is not None:
                return _known(task_id, agent, attempt.cost_usd, attempt.seconds, float(attempt.success), before), ()
            done = self._estimates.alone(task, strategy, confidence=self._constraints.confidence)
            return _known(task_id, agent, done.cost_usd, done.seconds, done.quality, before), ()
        floor = self._constraints.floor(task_id)
        is_fixed = task_id in self._constraints.pinned or task.strategy is not None
        key = (self._estimates.kind_of(task), strategy, is_fixed, floor, attempt)
        if key not in self._shared:
            self._shared[key] = self._ways(task, strategy, attempt, floor, is_fixed=is_fixed)
        options, candidates = self._shared[key]
        return TaskChoices(candidates=candidates, before=before, min_quality=floor, name=task_id), options

    def _ways(
        self, task: Task, strategy: Strategy, attempt: SpentSoFar | None, floor: float, *, is_fixed: bool
    ) -> tuple[tuple[Option, ...], tuple[Candidate, ...]]:
        asked, confidence = self._constraints.min_quality_score, self._constraints.confidence
        if is_fixed:
            options: tuple[Option, ...] = (self._estimates.alone(task, strategy, confidence=confidence),)
        else:
            options = self._estimates.options(task, strategy, confidence=confidence)
        counting: Counting = "beginning" if self._begin else "proven"
        if asked is None and not floor:
            counting = "relative"
        least = max(asked or 0.0, floor)
        counted = measure(options, counting, least, confidence)
        pairs = zip(options, counted, strict=True)
        return options, tuple(to_candidate(option, quality, attempt) for option, quality in pairs)


def _known(
    task_id: str, agent: str, cost: float, seconds: float, quality: float, before: tuple[int, ...]
) -> TaskChoices:
    return TaskChoices(
        candidates=(Candidate(agent=agent, cost=cost, seconds=seconds, quality=quality),),
        before=before,
        counts=False,
        name=task_id,
    )


def _outcomes(count: int) -> str:
    return "never tried" if not count else "1 outcome" if count == 1 else f"{count} outcomes"
