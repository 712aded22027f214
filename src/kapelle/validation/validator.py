"""AOPValidator: the gate between plans and runs. Checks, scores, repairs and approves; runs nothing.

The checks are in checks and content, the figures in score. `repair` applies the edits that come with the findings, each
to a copy, and keeps those after which there are strictly fewer errors. The score is documented: success 0.4, quality
0.3, cost 0.2, time 0.1, or the weights of a LearnedRewardModel. It ranks plans and is no condition: conditions are the
checks.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.allocation import (
    DAAOOptimizer,
    Expectation,
    OptimizationConstraints,
    StrategySource,
    expect_tasks,
    follow_orders,
)
from kapelle.errors import InvalidInput, KapelleError
from kapelle.estimates import CostProfiler, Estimate
from kapelle.graph import MAX_TASKS, TaskDAG
from kapelle.learning import LearnedRewardModel, TaskOutcome
from kapelle.limits import MIN_SECONDS, RunLimits, check_limit
from kapelle.redaction import get_logger
from kapelle.routing import HALORouter, RoutedPlan, RoutingPlan

from . import score
from .approved import APPROVAL, ApprovedPlan
from .checks import Case, find_issues, strategy_of
from .content import find_content_issues, too_many_tasks
from .detector import Detection, PlanDetector, detect_contained
from .edit import Edit
from .issue import Issue
from .redundancy import find_redundant
from .repair import MAX_EDITS, MAX_ROUNDS, Repair, Routed, apply_edit, is_better, is_mendable, trials_for
from .result import ValidationResult
from .schemas import Tools, as_tools

logger = get_logger(__name__)

_NOTHING = Estimate(cost_usd=0.0, seconds=0.0, success_rate=1.0, tokens=0, samples=0, source="declared")
"""What a task takes that is done already."""
_LIMITS = ("budget", "deadline", "quality")
_SOLVER_S = 1.0
"""For the assignment that would keep the limits, asked for only when a plan breaks one."""
AGREEMENT = 0.01
"""How far, relatively, an optimiser's figure may lie from the sum of our estimates before it is worth a warning."""


class AOPValidator:
    """Checks plans before they run: solvable, complete, not redundant (AOP, arXiv:2410.02189), and within limits.

    Without a `cost_profiler`, what agents declare and the documented defaults are the estimates, and an optimiser's
    figure in the plan's metadata is believed if it fits the plan. With one, the sum of its estimates decides.

    With `tools`, task types name tools, and tasks have to fit them. With a `detector`, a model looks for what rules
    cannot see, once a plan. A `reward_model` weighs the score; `enable_learned_model` makes one of a file.
    """

    def __init__(
        self,
        agent_registry: Mapping[str, AgentCapability],
        cost_profiler: CostProfiler | None = None,
        enable_learned_model: bool = False,
        reward_model_path: Path | str | None = None,
        *,
        tools: Tools = (),
        detector: PlanDetector | None = None,
        strategies: StrategySource | None = None,
        reward_model: LearnedRewardModel | None = None,
    ) -> None:
        self.agent_registry = agent_registry
        self.cost_profiler = cost_profiler
        self.strategies = strategies
        """What strategies came to, where that is known."""
        self.tools = as_tools(tools)
        self.detector = detector
        self.logger = logger
        self.weight_success = 0.4
        self.weight_quality = 0.3
        self.weight_cost = 0.2
        self.weight_time = 0.1
        if reward_model is None and enable_learned_model:
            reward_model = LearnedRewardModel(persistence_path=reward_model_path)
        self.enable_learned_model = reward_model is not None
        self.learned_model = reward_model

    async def validate_routing_plan(
        self,
        routing_plan: RoutingPlan | RoutedPlan,
        dag: TaskDAG,
        max_budget: float | None = None,
        *,
        limits: RunLimits | None = None,
        max_time: float | None = None,
        min_quality: float | None = None,
        request: str | None = None,
        available_agents: Collection[str] | None = None,
        finished: Collection[str] = frozenset(),
        approved: Collection[str] = frozenset(),
    ) -> ValidationResult:
        """Check a plan, and approve it if nothing is wrong.

        Args:
            routing_plan: Who is to do what. It is copied: changing it afterwards changes no approval.
            dag: The tasks.
            limits: What the user allows the run; what looking at the plan costs is taken from its budget.
            max_budget, max_time, min_quality: The documented names of limits: dollars that the tasks may cost, seconds
                that the critical path may take, and `RunLimits.min_quality`. For those who have no `limits`.
            request: The user's words: the tasks have to cover them. Kept with the approved plan.
            available_agents: Ids of the agents that edits may give tasks to; None means all.
            finished: Tasks that are done already: they take nothing any more, and nothing about them is wrong.
            approved: Tasks whose agents an earlier approval of this run holds: that one is late for its own deadline
                by what was learned since then is a warning, so that what a run learns never keeps it from going on.

        Raises:
            InvalidInput: a limit is negative, not finite, or (for `min_quality`) above 1; or `limits` come with others.
        """
        limits = _take_limits(limits, max_budget=max_budget, max_time=max_time, min_quality=min_quality)
        found = await self._detect(dag, request)
        wanted = _Wanted(
            limits=_less(limits, found.cost_usd),
            request=request,
            available=available_agents,
            finished=frozenset(finished),
            approved=frozenset(approved),
        )
        result = await self._check(Routed(dag=dag, plan=RoutedPlan.of(routing_plan)), wanted, found.issues)
        return replace(result, detection_cost_usd=found.cost_usd)

    async def repair(
        self,
        routing_plan: RoutingPlan | RoutedPlan,
        dag: TaskDAG,
        max_budget: float | None = None,
        *,
        limits: RunLimits | None = None,
        max_time: float | None = None,
        min_quality: float | None = None,
        request: str | None = None,
        finished: Collection[str] = frozenset(),
        over: Collection[str] = frozenset(),
        available_agents: Collection[str] | None = None,
        router: HALORouter | None = None,
        max_rounds: int = MAX_ROUNDS,
    ) -> Repair:
        """Apply the edits of what is found wrong, and check the plan again, for at most so many rounds.

        An edit stays only if there are strictly fewer errors after it, and of no kind more. Limits stay as they are,
        finished tasks are never touched, and the plan and graph that were given stay as they were.

        Args:
            routing_plan, dag, limits, max_budget, max_time, min_quality, request, available_agents: As in
                `validate_routing_plan`.
            finished: Tasks that began already, and stay as they are.
            over: Of them, those that take nothing any more, and about which nothing is wrong.
            router: Finds agents for new tasks; by default one for the validator's agents.
            max_rounds: How often the plan is gone through.

        Raises:
            InvalidInput: a limit is malformed, as in `validate_routing_plan`, or `max_rounds` is negative.
        """
        limits = _take_limits(limits, max_budget=max_budget, max_time=max_time, min_quality=min_quality)
        if max_rounds < 0:
            raise InvalidInput(f"max_rounds is {max_rounds!r}; give zero or more.")
        router = router or HALORouter(_registry(self.agent_registry))
        found = await self._detect(dag, request)
        wanted = _Wanted(
            limits=_less(limits, found.cost_usd),
            request=request,
            available=available_agents,
            finished=frozenset(over),
            approved=frozenset(finished),
        )
        findings = found.issues
        state = Routed(dag=dag, plan=RoutedPlan.of(routing_plan))
        result = await self._check(state, wanted, findings)
        applied: list[Edit] = []
        trials = trials_for(len(dag))
        for _ in range(max_rounds):
            before = len(applied)
            for edit in [one.edit for one in result.issues if is_mendable(one)][: min(MAX_EDITS, trials)]:
                assert edit is not None
                trials -= 1
                tried = apply_edit(state, edit, finished=finished, router=router, available=available_agents)
                if tried is None:
                    continue
                left = tuple(one for one in findings if one.edit is not edit)
                after = await self._check(tried, wanted, left)
                if is_better(after.issues, result.issues):
                    state, result, findings = tried, after, left
                    applied.append(edit)
            if len(applied) == before:
                break
        return Repair(
            dag=state.dag,
            routing_plan=state.plan,
            edits=tuple(applied),
            result=replace(result, detection_cost_usd=found.cost_usd),
        )

    async def _detect(self, dag: TaskDAG, request: str | None) -> Detection:
        if self.detector is None or not request or len(dag) > MAX_TASKS:
            return Detection()
        return await detect_contained(self.detector, request, dag, self.agent_registry)

    async def _check(self, routed: Routed, wanted: _Wanted, findings: tuple[Issue, ...]) -> ValidationResult:
        dag = routed.dag
        if len(dag) > MAX_TASKS:
            return ValidationResult(passed=False, issues=(too_many_tasks(len(dag)),))
        settled = (*wanted.finished, *wanted.approved)
        plan = follow_orders(routed.plan, dag, self.agent_registry, only=routed.plan.tasks.keys() - settled)
        dag = dag.sealed()
        expected = self._expect(plan, dag, least=wanted.limits.min_quality or 0.0)
        estimates = {task_id: one.estimate for task_id, one in expected.items()}
        estimates.update(dict.fromkeys(wanted.finished, _NOTHING))
        cost, doubts = self._settle_cost(plan, score.total_cost(estimates))
        seconds = score.critical_seconds(estimates, dag)
        case = Case(
            plan=plan,
            dag=dag,
            agents=self.agent_registry,
            estimates=estimates,
            counted={task_id: one.counted for task_id, one in expected.items()},
            cost=cost,
            seconds=seconds,
            limits=wanted.limits,
            profiler=self._profiler(),
            available=wanted.available,
            approved=wanted.approved,
        )
        said = find_content_issues(tuple(dag), wanted.request, self.tools, self.agent_registry)
        said += [*find_redundant(tuple(dag)), *findings]
        wrong = tuple(one for one in find_issues(case) if one.task_id not in wanted.finished)
        said = [one for one in said if one.task_id not in wanted.finished]
        issues = _errors_first(await self._with_edits(wrong, case), said, doubts)
        passed = all(issue.severity != "error" for issue in issues)
        quality_score = await self._calculate_quality_score(plan, dag)
        approved = None
        if passed:
            approved = ApprovedPlan(
                dag=dag,
                routed=plan,
                estimates=estimates,
                step_estimates={task_id: one.steps for task_id, one in expected.items() if one.steps},
                score=quality_score,
                estimated_cost=cost,
                estimated_time=seconds,
                limits=wanted.limits,
                request=wanted.request,
                warnings=issues,
                approval=APPROVAL,
            )
        return ValidationResult(
            passed=passed,
            issues=issues,
            quality_score=quality_score,
            estimated_cost=cost,
            estimated_time=seconds,
            approved=approved,
            estimates=MappingProxyType(estimates),
        )

    async def record_execution_outcome(
        self,
        task_id: str,
        task_type: str,
        agent_name: str,
        success: float,
        quality: float,
        cost: float,
        time: float,
        predicted_score: float,
    ) -> None:
        """Let the learned model learn from what became of a task; does nothing where it is not enabled.

        All figures lie in 0..1; cost and time are normalised as in `_normalize_cost` and `_normalize_time`.

        Raises:
            InvalidInput: a figure lies outside 0..1, or the model's file cannot be written.
        """
        if self.learned_model is None:
            return
        self.learned_model.record_outcome(
            TaskOutcome(
                task_id=task_id,
                task_type=task_type,
                agent_name=agent_name,
                success=success,
                quality=quality,
                cost=cost,
                time=time,
                predicted_score=predicted_score,
            )
        )

    # These five names are documented, and documented code calls and overrides them.

    async def _calculate_quality_score(self, routing_plan: RoutingPlan | RoutedPlan, dag: TaskDAG) -> float:
        success_prob = self._estimate_success_probability(routing_plan, dag)
        quality = self._estimate_quality_score(routing_plan, dag)
        cost = self._normalize_cost(routing_plan, dag)
        time = self._normalize_time(routing_plan, dag)
        if self.learned_model is not None:
            return self.learned_model.predict_quality(success_prob, quality, cost, time)
        return (
            self.weight_success * success_prob
            + self.weight_quality * quality
            + self.weight_cost * (1 - cost)
            + self.weight_time * (1 - time)
        )

    def _estimate_success_probability(self, routing_plan: RoutingPlan | RoutedPlan, dag: TaskDAG) -> float:
        return score.success_rate(self._estimate(routing_plan, dag), dag)

    def _estimate_quality_score(self, routing_plan: RoutingPlan | RoutedPlan, dag: TaskDAG) -> float:
        return score.agent_fit(routing_plan.assignments, dag, self.agent_registry)

    def _normalize_cost(self, routing_plan: RoutingPlan | RoutedPlan, dag: TaskDAG) -> float:
        bounds = score.cost_bounds(dag, self.agent_registry, self._profiler())
        return bounds.position_of(score.total_cost(self._estimate(routing_plan, dag)))

    def _normalize_time(self, routing_plan: RoutingPlan | RoutedPlan, dag: TaskDAG) -> float:
        bounds = score.time_bounds(dag, self.agent_registry, self._profiler())
        return bounds.position_of(score.critical_seconds(self._estimate(routing_plan, dag), dag))

    async def _with_edits(self, issues: tuple[Issue, ...], case: Case) -> tuple[Issue, ...]:
        """Return the issues, those about limits with the assignment that keeps all limits, if there is one."""
        if not any(one.severity == "error" and one.kind in _LIMITS for one in issues):
            return issues
        edit = await _reassign_within(case)
        return tuple(replace(one, edit=edit) if one.kind in _LIMITS and one.edit is None else one for one in issues)

    def _estimate(self, plan: RoutingPlan | RoutedPlan, dag: TaskDAG) -> dict[str, Estimate]:
        return {task_id: one.estimate for task_id, one in self._expect(RoutedPlan.of(plan), dag).items()}

    def _expect(self, plan: RoutedPlan, dag: TaskDAG, *, least: float = 0.0) -> dict[str, Expectation]:
        ways = {task_id: strategy_of(plan, task_id) for task_id in plan.assignments}
        return expect_tasks(ways, dag, self.agent_registry, self._profiler(), source=self.strategies, least=least)

    def _profiler(self) -> CostProfiler:
        # A profiler without outcomes estimates what agents declare, and else the documented defaults.
        return self.cost_profiler if self.cost_profiler is not None else CostProfiler()

    def _settle_cost(self, plan: RoutedPlan, summed: float) -> tuple[float, tuple[Issue, ...]]:
        """Return the cost to hold against the budget: the sum of our estimates, or the optimiser's figure."""
        stated = plan.figures.estimated_cost
        if stated is None:
            return summed, ()
        fault = _why_inconsistent(plan, stated)
        if fault is None and self.cost_profiler is None:
            return float(stated), ()
        if fault is None and not math.isclose(stated, summed, rel_tol=AGREEMENT, abs_tol=1e-9):
            fault = f"is ${stated:.4g}, but the estimates of its tasks sum to ${summed:.4g}"
        if fault is None:
            return summed, ()
        doubt = Issue(
            kind="estimate",
            severity="warning",
            message=f"The optimiser's estimated_cost {fault}; ${summed:.4g} is used.",
            way_out="Optimise the plan again after changing it, with the profiler that the validator has.",
        )
        return summed, (doubt,)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    """What the user allows and asks for, and what of the plan is over already."""

    limits: RunLimits
    request: str | None
    available: Collection[str] | None
    finished: frozenset[str]
    approved: frozenset[str]


async def _reassign_within(case: Case) -> Edit | None:
    """Return the edit that moves tasks to other agents so that all limits hold together; None where none does.

    The quality that nobody asked for gives way only where the limits cannot be kept with it.
    """
    optimizer = DAAOOptimizer(case.profiler, {agent.agent_id: agent for agent in case.staff}, time_limit_s=_SOLVER_S)
    asked = case.limits.min_quality
    for quality in (asked,) if asked is not None else (None, 0.0):
        constraints = OptimizationConstraints.of(replace(case.limits, min_quality=quality))
        assigned = {task: agent for task, agent in case.plan.assignments.items() if task in case.estimates}
        try:
            found = await optimizer.optimize_routing_plan(assigned, case.dag, constraints)
        except (
            KapelleError
        ):  # agents that only an assignment names, and the like: what is wrong is said by other issues
            return None
        moved = {task: agent for task, agent in found.assignments.items() if agent != assigned[task]}
        if moved and found.optimization_details.get("status") in ("optimal", "feasible"):
            return Edit(
                summary=(
                    f"Give {len(moved)} task{'s' if len(moved) > 1 else ''} to other agents: the plan is then expected "
                    f"to cost ${found.estimated_cost:.4g} and take {found.estimated_time:.4g} s."
                ),
                assign=moved,
            )
    return None


def _registry(agents: Mapping[str, AgentCapability]) -> AgentRegistry:
    return agents if isinstance(agents, AgentRegistry) else AgentRegistry(agents.values())


def _errors_first(*groups: Iterable[Issue]) -> tuple[Issue, ...]:
    return tuple(sorted((one for group in groups for one in group), key=lambda issue: issue.severity != "error"))


def _why_inconsistent(plan: RoutedPlan, stated: Any) -> str | None:
    """Return what does not fit between the optimiser's figures and the plan, as the end of `estimated_cost ...`."""
    if isinstance(stated, bool) or not isinstance(stated, (int, float)) or not math.isfinite(stated) or stated < 0:
        return f"is {stated!r}, which is no amount"
    details = plan.figures.optimization_details
    workload = details.get("agent_workload") if isinstance(details, Mapping) else None
    if isinstance(workload, Mapping) and {agent: n for agent, n in workload.items() if n} != plan.workload:
        return "was made for other assignments"
    return None


def _take_limits(
    limits: RunLimits | None, *, max_budget: float | None, max_time: float | None, min_quality: float | None
) -> RunLimits:
    """Return the limits that were given, under whichever names.

    Raises:
        InvalidInput: they were given under both, or one of them is malformed.
    """
    check_limit("max_budget", max_budget)
    check_limit("max_time", max_time)
    check_limit("min_quality", min_quality, most=1.0)
    if limits is None:
        seconds = None if max_time is None else max(max_time, MIN_SECONDS)
        return RunLimits(budget_usd=max_budget, deadline_s=seconds, min_quality=min_quality)
    if (max_budget, max_time, min_quality) != (None, None, None):
        raise InvalidInput("Give `limits`, or max_budget, max_time and min_quality: one of the two.")
    return limits


def _less(limits: RunLimits, looked_usd: float) -> RunLimits:
    """Return the limits with what looking at the plan has cost taken from the budget."""
    if not looked_usd or limits.budget_usd is None:
        return limits
    if limits.spent_usd is None:  # the budget of the tasks alone: what is named is what they are left with
        return replace(limits, budget_usd=max(0.0, limits.budget_usd - looked_usd))
    return limits.after(looked_usd)
