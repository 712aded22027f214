"""DAAOOptimizer: moves the tasks of a routing plan to the agents that do them at least cost within the user's limits.

The name is the documented one. DAAO (arXiv:2509.11079, *Difficulty-Aware Agentic Orchestration*) estimates how hard a
query is, and routes by it; the assignment of a whole plan as one optimisation is our own. Here the estimates meet the
problem: `assignment` says what is minimised, `solve` how. Runs nothing and spends nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidAgents, InvalidInput
from kapelle.graph import Task, TaskDAG
from kapelle.routing import RoutingPlan

from .assignment import Candidate, Limits, Problem, Slot, Totals
from .complexity import estimate_complexities
from .profiler import DEFAULT_SUCCESS_RATE, CostProfiler
from .solve import Solution, explain_infeasible, solve, solve_trivially

logger = logging.getLogger(__name__)

_INLINE = 200
"""Candidates in all, up to which solving takes no longer than handing it to another thread is worth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizationConstraints:
    """Limits that a plan must keep. What is None is no limit.

    Raises:
        InvalidInput: a limit is negative or not a number, or a quality lies outside 0..1.
    """

    max_total_cost: float | None = None
    """Dollars for the whole plan."""
    max_total_time: float | None = None
    """Seconds along the critical path: the longest chain of tasks, if nothing has to queue."""
    min_quality_score: float | None = None
    """The least expected share of tasks that succeed, over the plan.

    None asks for 0.85, or for what the initial plan reaches where that is less. So nobody's tasks go to agents that
    are cheap because they fail, agents of which nothing is known yet are good enough (0.85 is what they are taken
    for), and a plan is never refused for a quality that no one asked for.
    """
    agent_capacity: Mapping[str, int] = field(default_factory=dict)
    """The most tasks of the plan that an agent may get, for agents that are limited."""

    def __post_init__(self) -> None:
        for name in ("max_total_cost", "max_total_time", "min_quality_score"):
            value = getattr(self, name)
            if value is not None and not _is_amount(value):
                raise InvalidInput(f"{name} is {value!r}; it must be a finite number, zero or more, or None.")
        if self.min_quality_score is not None and self.min_quality_score > 1:
            raise InvalidInput(f"min_quality_score is {self.min_quality_score!r}; it is a share, at most 1.")
        for agent, capacity in self.agent_capacity.items():
            if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 0:
                raise InvalidInput(
                    f"agent_capacity[{agent!r}] is {capacity!r}; it must be a whole number, zero or more."
                )
        object.__setattr__(self, "agent_capacity", dict(self.agent_capacity))


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """What work on a task has really used so far."""

    cost_usd: float
    seconds: float
    success: bool
    finished: bool
    """False: it failed, and is to be tried again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizedPlan:
    """An assignment, what it is expected to come to, and what is proven about it."""

    assignments: Mapping[str, str]
    """Task id to agent id, for the tasks that the initial plan assigned."""
    estimated_cost: float
    """Dollars; finished tasks count with what they really cost."""
    estimated_time: float
    """Seconds along the critical path; finished tasks count with what they really took."""
    quality_score: float
    """Expected share of successes among the tasks that are not finished; once all are, the share that succeeded."""
    cost_savings: float
    """Dollars less than the initial plan; negative where keeping the limits costs more than breaking them."""
    optimization_details: Mapping[str, Any] = field(default_factory=dict)
    """`status`: optimal (proven), feasible (limits kept, not proven the cheapest), infeasible (proven; `binding` says
    which limits stand in the way and by how much), unknown (neither a plan nor a proof in time), empty. Where it is
    infeasible or unknown the assignments are those of the initial plan.

    Also: baseline_cost, baseline_time, baseline_quality, savings_pct, agent_workload, completed_tasks, moved_tasks,
    solver, lower_bound, gap, min_quality_score, missed (limits that these assignments break, and by how much).
    """
    attempts: Mapping[str, Attempt] = field(default_factory=dict)
    """What is known of tasks that were worked on, by task id; `replan_from_feedback` carries it on."""


class DAAOOptimizer:
    """Finds the assignment of a plan's tasks to agents with the least expected cost, within limits on the whole plan.

        minimise    expected cost
        so that     the mean of the tasks' expected success >= min_quality_score
                    cost <= max_total_cost, critical path <= max_total_time, agents' tasks <= agent_capacity
                    every agent takes its task: type and skills (the initial agent is always allowed)

    Among plans of equal cost it prefers quality, then less work in seconds, then the initial agents. Answers are exact
    up to `gap`, if found in `time_limit_s`; the plan says which. The registry may be replaced while it lives.
    """

    def __init__(
        self,
        cost_profiler: CostProfiler,
        agent_registry: Mapping[str, AgentCapability],
        *,
        time_limit_s: float = 2.0,
        gap: float = 1e-6,
    ) -> None:
        self.cost_profiler = cost_profiler
        self.agent_registry = agent_registry
        self._time_limit_s = time_limit_s
        self._gap = gap

    async def optimize_routing_plan(
        self,
        initial_plan: RoutingPlan | OptimizedPlan | Mapping[str, str],
        dag: TaskDAG,
        constraints: OptimizationConstraints | None = None,
    ) -> OptimizedPlan:
        """Return the cheapest plan within the limits. Tasks that the initial plan leaves out stay out.

        What an `OptimizedPlan` knows of tasks that were worked on stays known, and finished ones keep their agents.

        Raises:
            InvalidInput: the plan names a task that the graph does not have, or an agent that is not registered.
        """
        attempts = initial_plan.attempts if isinstance(initial_plan, OptimizedPlan) else {}
        return await self._optimize(_assignments(initial_plan), dag, constraints, attempts=attempts)

    async def replan_from_feedback(
        self,
        current_plan: RoutingPlan | OptimizedPlan | Mapping[str, str],
        dag: TaskDAG,
        completed_tasks: Collection[str],
        actual_metrics: Mapping[str, Mapping[str, Any]],
        constraints: OptimizationConstraints | None = None,
    ) -> OptimizedPlan:
        """Learn from what tasks really used, and plan the rest again. Finished tasks keep their agents.

        Metrics are mappings of `tokens_used`, `execution_time` (seconds), `success` and, where known, `cost_usd`. What
        was used counts against the limits. Metrics of a finished task may be given again with the plan that came of
        them, and are learned from once; those of a task that is not among `completed_tasks` are a failed attempt, and
        are to be given once.

        Raises:
            InvalidInput: a task is unknown or not assigned, or a metric is malformed. Nothing is learned then.
        """
        assignments = _assignments(current_plan)
        _check_assignments(assignments, dag, self.agent_registry, fixed=set(completed_tasks))
        complexities = estimate_complexities(dag)
        before = current_plan.attempts if isinstance(current_plan, OptimizedPlan) else {}
        finished = set(completed_tasks)
        for task_id in (*finished, *actual_metrics):
            if task_id not in assignments:
                raise InvalidInput(f"The task {task_id!r} is reported, but the plan does not assign it. Check its id.")
        executions = {
            task_id: self._read_metrics(task_id, assignments[task_id], metrics)
            for task_id, metrics in actual_metrics.items()
        }

        attempts = dict(before)
        for task_id, execution in executions.items():
            attempt = Attempt(
                cost_usd=execution["cost_usd"],
                seconds=execution["execution_time_seconds"],
                success=execution["success"],
                finished=task_id in finished,
            )
            earlier = before.get(task_id)
            if earlier is not None and earlier.finished:
                continue
            self.cost_profiler.record_execution(
                task_id=task_id,
                agent_name=assignments[task_id],
                task_type=dag.tasks[task_id].task_type,
                complexity=complexities[task_id],
                **execution,
            )
            attempts[task_id] = attempt if earlier is None else _add(earlier, attempt)
        return await self._optimize(assignments, dag, constraints, attempts=attempts, finished=finished)

    async def _optimize(
        self,
        assignments: Mapping[str, str],
        dag: TaskDAG,
        constraints: OptimizationConstraints | None,
        *,
        attempts: Mapping[str, Attempt],
        finished: Collection[str] = frozenset(),
    ) -> OptimizedPlan:
        constraints = constraints or OptimizationConstraints()
        finished = {*finished, *(task_id for task_id, attempt in attempts.items() if attempt.finished)}
        _check_assignments(assignments, dag, self.agent_registry, fixed=finished)
        for agent in constraints.agent_capacity:
            if agent not in self.agent_registry:
                logger.warning("agent_capacity limits %r, which is not in the registry", agent)
        logger.info("Optimizing routing plan: %d tasks", len(assignments))

        order = dag.topological_order()
        slots = self._slots(order, assignments, dag, attempts, finished)
        problem = _with_limits(slots, constraints)
        initial = (0,) * len(slots)
        baseline = problem.totals(initial)
        logger.info(
            "Baseline metrics: cost=$%.4f, time=%.1fs, quality=%.3f", baseline.cost, baseline.seconds, baseline.quality
        )

        solution = solve_trivially(problem)
        if solution is None and sum(len(slot.candidates) for slot in slots) <= _INLINE:
            solution = self._solve(problem)
        elif solution is None:
            solution = await asyncio.to_thread(self._solve, problem)
        details = _describe(problem, solution, baseline)
        if solution.status == "infeasible":
            details["binding"], details["binding_note"] = await asyncio.to_thread(
                explain_infeasible, problem, time_limit_s=self._time_limit_s
            )
            logger.info("No plan keeps the limits: %s", details["binding"])

        chosen = {
            task_id: slot.candidates[at].agent
            for task_id, slot, at in zip(order, slots, solution.choice, strict=True)
            if task_id in assignments
        }
        plan = _to_plan(problem, solution, baseline, details, chosen, assignments, attempts, finished)
        logger.info("Optimization complete: saved $%.4f (%.0f%%)", plan.cost_savings, details["savings_pct"])
        return plan

    def _solve(self, problem: Problem) -> Solution:
        return solve(problem, time_limit_s=self._time_limit_s, gap=self._gap)

    def _slots(
        self,
        order: tuple[str, ...],
        assignments: Mapping[str, str],
        dag: TaskDAG,
        attempts: Mapping[str, Attempt],
        finished: Collection[str],
    ) -> tuple[Slot, ...]:
        complexities = estimate_complexities(dag)
        position = {task_id: number for number, task_id in enumerate(order)}
        slots = []
        for task_id in order:
            task, attempt = dag.tasks[task_id], attempts.get(task_id)
            before = tuple(position[other] for other in dag.dependencies(task_id))
            if task_id not in assignments:
                # Nobody does it: it takes no time and no money here, and is no one's success.
                nobody = Candidate(agent="", cost=0.0, seconds=0.0, quality=0.0)
                slots.append(Slot(candidates=(nobody,), before=before, counts=False))
                continue
            logger.debug("Task %s complexity: %.1fx", task_id, complexities[task_id])
            agent = assignments[task_id]
            if task_id in finished and attempt is not None:
                done = Candidate(
                    agent=agent, cost=attempt.cost_usd, seconds=attempt.seconds, quality=float(attempt.success)
                )
                slots.append(Slot(candidates=(done,), before=before, counts=False))
                continue
            agents = [agent] if task_id in finished else self._agents_for(task, initial=agent)
            candidates = tuple(self._candidate(one, task, complexities[task_id], attempt) for one in agents)
            slots.append(Slot(candidates=candidates, before=before, counts=task_id not in finished))
        return tuple(slots)

    def _agents_for(self, task: Task, *, initial: str) -> list[str]:
        others = [agent for agent, able in self.agent_registry.items() if agent != initial and able.takes(task)]
        return [initial, *others]

    def _candidate(self, agent: str, task: Task, complexity: float, attempt: Attempt | None) -> Candidate:
        estimate = self.cost_profiler.estimate(self.agent_registry[agent], task.task_type, complexity)
        return Candidate(
            agent=agent,
            # What a failed attempt has used is gone, whoever tries next.
            cost=estimate.cost_usd + (attempt.cost_usd if attempt else 0.0),
            seconds=estimate.seconds + (attempt.seconds if attempt else 0.0),
            quality=estimate.success_rate,
        )

    def _read_metrics(self, task_id: str, agent: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
        where = f"actual_metrics[{task_id!r}]"
        unknown = sorted(set(metrics) - {"tokens_used", "execution_time", "success", "cost_usd"})
        if unknown:
            raise InvalidInput(f"{where} has {unknown[0]!r}; use tokens_used, execution_time, success and cost_usd.")
        for name in ("tokens_used", "execution_time", "success"):
            if name not in metrics:
                raise InvalidInput(f"{where} lacks {name!r}.")
        for name in ("tokens_used", "execution_time", "cost_usd"):
            if metrics.get(name) is not None and not _is_amount(metrics[name]):
                raise InvalidInput(f"{where}[{name!r}] is {metrics[name]!r}; it must be finite, zero or more.")
        if not isinstance(metrics["success"], bool):
            raise InvalidInput(f"{where}['success'] is {metrics['success']!r}; it must be True or False.")

        cost_usd = metrics.get("cost_usd")
        if cost_usd is None:
            capability = self.agent_registry.get(agent)
            if capability is None:
                raise InvalidAgents(f"{where} has no cost_usd, and {agent!r} is not registered: its price is unknown.")
            cost_usd = capability.cost_usd
            if cost_usd is None:
                cost_usd = self.cost_profiler.price_tokens(metrics["tokens_used"], capability.cost_tier)
        return {
            "tokens_used": metrics["tokens_used"],
            "execution_time_seconds": float(metrics["execution_time"]),
            "success": metrics["success"],
            "cost_usd": float(cost_usd),
        }


def _assignments(plan: RoutingPlan | OptimizedPlan | Mapping[str, str]) -> dict[str, str]:
    return dict(plan.assignments if isinstance(plan, (RoutingPlan, OptimizedPlan)) else plan)


def _check_assignments(
    assignments: Mapping[str, str], dag: TaskDAG, registry: Mapping[str, AgentCapability], *, fixed: Collection[str]
) -> None:
    for task_id, agent in assignments.items():
        if task_id not in dag.tasks:
            raise InvalidInput(f"The plan assigns the task {task_id!r}, which is not in the graph. Check its id.")
        if agent not in registry and task_id not in fixed:
            known = ", ".join(registry) or "none"
            raise InvalidAgents(
                f"The task {task_id!r} is assigned to {agent!r}, which is not in the registry. There are: {known}."
            )


def _with_limits(slots: tuple[Slot, ...], constraints: OptimizationConstraints) -> Problem:
    quality = constraints.min_quality_score
    if quality is None:
        unlimited = Problem(slots=slots, limits=Limits())
        quality = min(DEFAULT_SUCCESS_RATE, unlimited.totals((0,) * len(slots)).quality)
    limits = Limits(
        max_cost=constraints.max_total_cost,
        max_seconds=constraints.max_total_time,
        min_quality=quality,
        capacity=constraints.agent_capacity,
    )
    return Problem(slots=slots, limits=limits)


def _describe(problem: Problem, solution: Solution, baseline: Totals) -> dict[str, Any]:
    totals = problem.totals(solution.choice)
    kept = solution.status in ("optimal", "feasible")
    bound = min(solution.lower_bound, totals.cost) if kept else solution.lower_bound
    savings = baseline.cost - totals.cost
    return {
        "status": solution.status,
        "baseline_cost": baseline.cost,
        "baseline_time": baseline.seconds,
        "baseline_quality": baseline.quality,
        "savings_pct": 100 * savings / baseline.cost if baseline.cost > 0 else 0.0,
        "solver": solution.solver,
        "lower_bound": bound,
        "gap": ((totals.cost - bound) / totals.cost if totals.cost > 0 else 0.0) if kept else None,
        "min_quality_score": problem.limits.min_quality,
        "missed": problem.shortfalls(solution.choice),
    }


def _to_plan(
    problem: Problem,
    solution: Solution,
    baseline: Totals,
    details: dict[str, Any],
    chosen: dict[str, str],
    assignments: Mapping[str, str],
    attempts: Mapping[str, Attempt],
    finished: Collection[str],
) -> OptimizedPlan:
    totals = problem.totals(solution.choice)
    quality = totals.quality
    if finished and not any(slot.counts for slot in problem.slots):
        known = [attempts[task_id].success for task_id in finished if task_id in attempts]
        quality = sum(known) / len(known) if known else 1.0
    workload: dict[str, int] = {}
    for agent in chosen.values():
        workload[agent] = workload.get(agent, 0) + 1
    return OptimizedPlan(
        assignments={task_id: chosen[task_id] for task_id in assignments},
        estimated_cost=totals.cost,
        estimated_time=totals.seconds,
        quality_score=quality,
        cost_savings=baseline.cost - totals.cost,
        optimization_details={
            **details,
            "status": details["status"] if assignments else "empty",
            "agent_workload": workload,
            "completed_tasks": len(finished),
            "moved_tasks": {
                task_id: (assignments[task_id], agent)
                for task_id, agent in chosen.items()
                if agent != assignments[task_id]
            },
        },
        attempts=dict(attempts),
    )


def _add(earlier: Attempt, attempt: Attempt) -> Attempt:
    return Attempt(
        cost_usd=earlier.cost_usd + attempt.cost_usd,
        seconds=earlier.seconds + attempt.seconds,
        success=attempt.success,
        finished=attempt.finished,
    )


def _is_amount(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
