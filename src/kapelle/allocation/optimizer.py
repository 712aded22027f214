"""DAAOOptimizer: moves the tasks of a routing plan to the agents that do them at least cost within the user's limits.

The name is the documented one. DAAO (arXiv:2509.11079, *Difficulty-Aware Agentic Orchestration*) estimates how hard a
query is, and routes by it; the assignment of a whole plan as one optimisation is our own. Here the estimates meet the
problem: `candidates` says who could do what, `formulation` what problem that makes, `assignment` what is minimised and
`solve` how. Runs nothing and spends nothing.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Collection, Mapping
from typing import Any

from kapelle.agents import AgentCapability, call_in_thread
from kapelle.errors import InvalidAgents, InvalidInput
from kapelle.estimates import CostProfiler
from kapelle.graph import TaskDAG
from kapelle.redaction import get_logger
from kapelle.routing import RoutedPlan, RoutingPlan
from kapelle.strategies import Single, Strategy, agents_of

from .assignment import AssignmentProblem
from .candidates import StrategySource
from .constraints import OptimizationConstraints, is_amount
from .formulation import Formulation, GivenPlan, describe_untried, formulate, has_plan
from .infeasible import explain_infeasible
from .orders import ordered_strategy
from .plan import OptimizedPlan, SpentSoFar
from .plan_estimates import PlanEstimates
from .policy import ChoicePolicy, PolicyProposal, propose
from .solve import Solution, solve, solve_trivially

logger = get_logger("kapelle.daao_optimizer")

_INLINE = 200
"""Candidates in all, up to which solving takes no longer than handing it to another thread is worth."""

_LEAST_SHARE = 0.25
"""Of the time limit: what each further solve of one answer gets at least, when the first ones took it all."""

_EXPLAIN_SHARE = 0.5
"""Of it: what there is at least to find out why there is no plan."""

AnyPlan = RoutingPlan | RoutedPlan | OptimizedPlan | Mapping[str, str]
"""What may be optimised: a plan, or task ids with their agents."""


class DAAOOptimizer:
    """Finds the assignment of a plan's tasks to agents with the least expected cost, within limits on the whole plan.

        minimise    expected cost
        so that     the tasks' mean chance of success >= min_quality_score, each one's >= min_task_quality
                    cost <= max_total_cost, critical path <= max_total_time, agents' tasks <= agent_capacity
                    every agent takes its task: type and skills (the initial agent is always allowed)

    Where a `policy` has learned from a log who does which task, its choices stand as long as they keep the limits that
    were asked for, and the rest of the plan is optimised around them; where they do not, as if there were none.
    Chances of success count with their lower confidence bounds (see OptimizationConstraints). Where `strategies` knows
    ways of asking several agents that pay for a type of task, they compete with the agents.

    Among plans of equal cost it prefers quality, then less work in seconds, then the initial agents. Answers are exact
    up to `gap`, if found in `time_limit_s`; a plan that is proven to cost at most `good_gap` too much gets a third
    of that time. The plan says which, and the gap that is left. Where there is none, saying why shares that time. The
    registry may be replaced while it lives.
    """

    def __init__(
        self,
        cost_profiler: CostProfiler,
        agent_registry: Mapping[str, AgentCapability],
        *,
        strategies: StrategySource | None = None,
        policy: ChoicePolicy | None = None,
        time_limit_s: float = 2.0,
        gap: float = 1e-6,
        good_gap: float = 0.01,
    ) -> None:
        self.cost_profiler = cost_profiler
        self.agent_registry = agent_registry
        self.strategies = strategies
        self.policy = policy
        self._time_limit_s = time_limit_s
        self._gap = gap
        self._good_gap = good_gap

    async def optimize_routing_plan(
        self,
        initial_plan: AnyPlan,
        dag: TaskDAG,
        constraints: OptimizationConstraints | None = None,
        *,
        pinned: Collection[str] = (),
        attempts: Mapping[str, SpentSoFar] | None = None,
        estimates: PlanEstimates | None = None,
    ) -> OptimizedPlan:
        """Return the cheapest plan within the limits. Tasks that the initial plan leaves out stay out.

        `pinned` tasks keep their agents, as those do that the constraints pin: for a router whose rules chose them.
        Tasks that name their strategy have that one. `attempts` say what tasks took that were worked on, beside what an
        `OptimizedPlan` knows of that, and finished ones keep their agents. `estimates` are those of this graph, where
        they were made already.

        Raises:
            InvalidInput: the plan or a limit names a task that the graph does not have, or an agent that is not
                registered.
        """
        constraints = constraints or OptimizationConstraints()
        if pinned:
            constraints = dataclasses.replace(constraints, pinned={*constraints.pinned, *pinned})
        return await self._optimize(_work(initial_plan, dag, attempts or {}), constraints, estimates)

    async def replan_from_feedback(
        self,
        current_plan: AnyPlan,
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

        Metrics of a task that a strategy did are those of all agents together, and `by_agent` may hold the metrics of
        each: what one agent is worth is learned from these, and from nothing where they are missing.

        Raises:
            InvalidInput: a task is unknown or not assigned, or a metric is malformed. Nothing is learned then.
        """
        work = _work(current_plan, dag, {})
        for task_id in (*completed_tasks, *actual_metrics):
            if task_id not in work.initial:
                raise InvalidInput(f"The task {task_id!r} is reported, but the plan does not assign it. Check its id.")
        reports = {
            task_id: self._read_report(task_id, work.initial[task_id], metrics)
            for task_id, metrics in actual_metrics.items()
        }
        is_over = work.finished | set(completed_tasks)
        attempts = {
            task_id: SpentSoFar(
                cost_usd=total["cost_usd"],
                seconds=total["execution_time_seconds"],
                success=total["success"],
                finished=task_id in is_over,
            )
            for task_id, (total, _) in reports.items()
        }
        known = {task_id for task_id, earlier in work.attempts.items() if earlier.finished}
        work = _work(current_plan, dag, attempts, completed_tasks)
        constraints = constraints or OptimizationConstraints()
        self._check(work, constraints)

        estimates = self.estimate_tasks(dag)
        for task_id, (_, by_agent) in reports.items():
            for agent, execution in by_agent.items() if task_id not in known else ():
                self.cost_profiler.record_execution(
                    task_id=task_id,
                    agent_name=agent,
                    task_type=dag.tasks[task_id].task_type,
                    complexity=estimates.complexities[task_id],
                    **execution,
                )
        return await self._optimize(work, constraints, estimates.version(dag))

    def formulate(
        self, initial_plan: AnyPlan, dag: TaskDAG, constraints: OptimizationConstraints | None = None
    ) -> Formulation:
        """Return the problem that a plan poses, unsolved: for those who solve it otherwise, see frontier and portfolio.

        Raises:
            InvalidInput: as `optimize_routing_plan`.
        """
        work, constraints = _work(initial_plan, dag, {}), constraints or OptimizationConstraints()
        self._check(work, constraints)
        return formulate(work, constraints, self.estimate_tasks(dag))

    def relax(self, formulation: Formulation) -> Formulation | None:
        """Return the formulation with the benefit of the doubt: agents that were tried too little to be proven good
        count with what is expected of them, where nobody is proven. None where that changes nothing, or where the
        constraints ask for a confidence."""
        constraints = formulation.constraints
        if constraints.confidence is not None:
            return None
        begun = formulate(formulation.work, constraints, formulation.estimates, begin=True)
        return None if begun.problem == formulation.problem else begun

    def _check(self, work: GivenPlan, constraints: OptimizationConstraints) -> None:
        work.check(self.agent_registry)
        constraints.check_tasks(work.dag.tasks, work.initial)
        for agent in constraints.agent_capacity:
            if agent not in self.agent_registry:
                logger.warning("agent_capacity limits %r, which is not in the registry", agent)

    def estimate_tasks(self, dag: TaskDAG) -> PlanEstimates:
        """Return what the tasks of a graph are expected to take of the agents that there are."""
        return PlanEstimates(self.cost_profiler, self.agent_registry, dag, strategies=self.strategies)

    async def _optimize(
        self, work: GivenPlan, constraints: OptimizationConstraints, estimates: PlanEstimates | None = None
    ) -> OptimizedPlan:
        self._check(work, constraints)
        if estimates is None or estimates.choosable.keys() != self.agent_registry.keys():
            estimates = self.estimate_tasks(work.dag)
        logger.info("Optimizing routing plan: %d tasks", len(work.initial))
        if logger.isEnabledFor(logging.DEBUG):
            for task_id, complexity in estimates.complexities.items():
                logger.debug("Task %s complexity: %.1fx", task_id, complexity)
        formulation, timer = formulate(work, constraints, estimates), _Timer(self._time_limit_s)
        baseline = formulation.problem.totals(formulation.initial)
        logger.info(
            "Baseline metrics: cost=$%.4f, time=%.1fs, quality=%.3f",
            baseline.cost,
            baseline.seconds,
            formulation.quality(formulation.initial)[0],
        )

        if self.policy is not None:
            proposals = propose(self.policy, work, constraints, self.agent_registry, self.cost_profiler)
            led = await self._follow(proposals, formulation, timer) if proposals else None
            if led is not None:
                return led
        solution = await self._solve(formulation.problem, timer)
        extra: dict[str, Any] = {}
        if not has_plan(solution) and (begun := self.relax(formulation)) is not None:
            again = await self._solve(begun.problem, timer)
            if has_plan(again):
                formulation, solution = begun, again
        if solution.status == "infeasible":
            formulation, solution, extra = await self._explain(formulation, solution, timer)
        plan = formulation.plan(solution, extra)
        details = plan.optimization_details
        logger.info("Optimization complete: saved $%.4f (%.0f%%)", plan.cost_savings, details["savings_pct"])
        return plan

    async def _follow(
        self, proposals: Mapping[str, PolicyProposal], formulation: Formulation, timer: _Timer
    ) -> OptimizedPlan | None:
        """Return the cheapest plan that does as the policy proposes; None where no such plan keeps the limits."""
        work, constraints = formulation.work, formulation.constraints
        strategies = {task_id: one.strategy for task_id, one in proposals.items()}
        led = formulate(
            dataclasses.replace(work, initial={**work.initial, **strategies}),
            dataclasses.replace(constraints, pinned={*constraints.pinned, *proposals}),
            formulation.estimates,
        )
        solution = await self._solve(led.problem, timer)
        if not has_plan(solution):
            logger.info("What the learned policy proposes breaks a limit, so the plan is optimised without it.")
            return None
        reasons = {task_id: one.reason for task_id, one in proposals.items()}
        return led.plan(solution, {"reasons": reasons}, baseline=formulation)

    async def _solve(self, problem: AssignmentProblem, timer: _Timer) -> Solution:
        solution = solve_trivially(problem)
        if solution is not None:
            return solution
        if problem.size <= _INLINE:
            return self._solve_now(problem, timer)
        return await call_in_thread(self._solve_now, problem, timer)

    def _solve_now(self, problem: AssignmentProblem, timer: _Timer) -> Solution:
        return solve(problem, time_limit_s=timer.left_s(), gap=self._gap, good_gap=self._good_gap)

    async def _explain(
        self, formulation: Formulation, solution: Solution, timer: _Timer
    ) -> tuple[Formulation, Solution, dict[str, Any]]:
        """Say which limits stand in the way; or let the quality give way that nobody asked for."""
        limits = formulation.problem.limits
        if formulation.constraints.min_quality_score is None and limits.min_quality > 0:
            loose = formulation.with_limits(dataclasses.replace(limits, min_quality=0.0))
            free = await self._solve(loose.problem, timer)
            if has_plan(free):
                return await self._give_way(formulation, loose, free, timer)
            formulation, solution = loose, free
        time_limit_s, near = timer.left_s(_EXPLAIN_SHARE), solution.too_dear
        explained = await call_in_thread(explain_infeasible, formulation.problem, time_limit_s=time_limit_s, near=near)
        binding, note = explained.binding, explained.note
        if {"min_quality_score", "task_quality"} & binding.keys() and (untried := formulation.untried()):
            note += (
                " What counts is the lower bound of a chance, and little or nothing was tried of "
                f"{describe_untried(untried)} Ask for less quality or `confidence`, or let outcomes come in."
            )
        logger.info("No plan keeps the limits: %s", binding)
        extra: dict[str, Any] = {"binding": binding, "binding_note": note}
        if binding and not (explained.one_is_enough and explained.is_least):
            extra["is_least" if explained.one_is_enough else "one_is_enough"] = False
        if "max_total_cost" in binding:  # whoever tells of it later may have less left than there was here
            extra["max_total_cost"] = limits.max_cost
        return formulation, solution, extra

    async def _give_way(
        self, formulation: Formulation, loose: Formulation, free: Solution, timer: _Timer
    ) -> tuple[Formulation, Solution, dict[str, Any]]:
        """Return the cheapest plan for which the quality that nobody asked for gives way by as few tenths as it must.

        By less, the whole budget would go into a quality that is a default; all at once, to agents that always fail.
        """
        limits = formulation.problem.limits
        explained = await call_in_thread(
            explain_infeasible, formulation.problem, time_limit_s=timer.left_s(_EXPLAIN_SHARE)
        )
        missing = explained.binding.get("min_quality_score", limits.min_quality)
        least = max(0.0, limits.min_quality - math.ceil(10 * missing) / 10)
        given = formulation.with_limits(dataclasses.replace(limits, min_quality=least))
        solution = await self._solve(given.problem, timer)
        if not has_plan(solution):
            given, solution = loose, free
        note = "Within the other limits no plan is as good as the initial one, so its quality, which nobody asked for, "
        note += "gives way."
        return given, solution, {"quality_note": note}

    def _read_report(
        self, task_id: str, strategy: Strategy, metrics: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Return what a task used in all, and what of that is learned about which agent."""
        where = f"actual_metrics[{task_id!r}]"
        total = self._read_metrics(where, agents_of(strategy)[0], metrics)
        if "by_agent" not in metrics:
            return total, {strategy.agent: total} if isinstance(strategy, Single) else {}
        by_agent = metrics["by_agent"]
        if not isinstance(by_agent, Mapping):
            raise InvalidInput(f"{where}['by_agent'] is {by_agent!r:.80}; give a mapping of agents to their metrics.")
        for agent in by_agent:
            if agent not in agents_of(strategy):
                raise InvalidInput(f"{where}['by_agent'] names {agent!r}, and the task was done by: {strategy}.")
        return total, {
            agent: self._read_metrics(f"{where}['by_agent'][{agent!r}]", agent, each)
            for agent, each in by_agent.items()
        }

    def _read_metrics(self, where: str, agent: str, metrics: object) -> dict[str, Any]:
        if not isinstance(metrics, Mapping):
            raise InvalidInput(f"{where} is {metrics!r:.80}; give a mapping of metrics.")
        known = {"tokens_used", "execution_time", "success", "cost_usd", "by_agent"}
        unknown = sorted(set(metrics) - known)
        if unknown:
            raise InvalidInput(f"{where} has {unknown[0]!r}; use tokens_used, execution_time, success and cost_usd.")
        for name in ("tokens_used", "execution_time", "success"):
            if name not in metrics:
                raise InvalidInput(f"{where} lacks {name!r}.")
        for name in ("tokens_used", "execution_time", "cost_usd"):
            if metrics.get(name) is not None and not is_amount(metrics[name]):
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


class _Timer:
    """Shares one time limit among all that is solved for one answer."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s, self._begun = limit_s, time.perf_counter()

    def left_s(self, least: float = _LEAST_SHARE) -> float:
        """Return how many seconds the next solve gets: this share of the limit at least."""
        return max(least * self._limit_s, self._limit_s - (time.perf_counter() - self._begun))


def _work(plan: AnyPlan, dag: TaskDAG, later: Mapping[str, SpentSoFar], completed: Collection[str] = ()) -> GivenPlan:
    """Return a plan and what is known of its tasks, by itself and since; what a finished one took stays as it was."""
    assignments = plan.assignments if isinstance(plan, (RoutingPlan, RoutedPlan, OptimizedPlan)) else plan
    initial: dict[str, Strategy] = {task_id: Single(agent=agent) for task_id, agent in assignments.items()}
    attempts = dict(plan.attempts) if isinstance(plan, OptimizedPlan) else {}
    for task_id, attempt in later.items():
        earlier = attempts.get(task_id)
        if earlier is None or not earlier.finished:
            attempts[task_id] = attempt if earlier is None else earlier.plus(attempt)
    for task_id, strategy in plan.strategies.items() if isinstance(plan, (RoutedPlan, OptimizedPlan)) else ():
        # Whoever gave the task to another agent since then meant that agent.
        if initial.get(task_id) == Single(agent=agents_of(strategy)[0]):
            initial[task_id] = strategy
    for task in dag:
        order = ordered_strategy(task)
        if order is not None and task.task_id in initial:
            initial[task.task_id] = order
    finished = {task_id for task_id, attempt in attempts.items() if attempt.finished}
    return GivenPlan(initial=initial, dag=dag, attempts=attempts, finished=frozenset({*finished, *completed}))
