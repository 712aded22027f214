"""AOPValidator: the gate between plans and runs. Checks, scores and approves; repairs nothing and runs nothing.

The checks are in checks, the figures in score. The score is documented: success 0.4, quality 0.3, cost 0.2, time 0.1,
or the weights of a LearnedRewardModel. It ranks plans and is no condition: conditions are the checks.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kapelle.agents import AgentCapability
from kapelle.cost import CostProfiler, Estimate
from kapelle.errors import InvalidInput
from kapelle.graph import TaskDAG
from kapelle.routing import RoutingPlan

from . import score
from .approved import APPROVAL, ApprovedPlan
from .checks import Case, find_issues
from .issue import Issue
from .reward_model import LearnedRewardModel, TaskOutcome

logger = logging.getLogger(__name__)

AGREEMENT = 0.01
"""How far, relatively, an optimiser's figure may lie from the sum of our estimates before it is worth a warning."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationResult:
    """What the validator found. A plan that passed has no errors, and is in `approved`."""

    passed: bool
    issues: tuple[Issue, ...] = ()
    """Errors first, then warnings."""
    quality_score: float = 0.0
    """The score in 0..1; higher is better."""
    estimated_cost: float = 0.0
    """Dollars for all tasks."""
    estimated_time: float = 0.0
    """Seconds along the critical path."""
    approved: ApprovedPlan | None = None
    """What may run; None if the plan did not pass."""
    estimates: Mapping[str, Estimate] = field(default_factory=lambda: MappingProxyType({}))
    """What each task is expected to take, for those whose agent can do them."""

    @property
    def errors(self) -> tuple[Issue, ...]:
        """The findings that keep the plan from running."""
        return tuple(issue for issue in self.issues if issue.severity == "error")

    @property
    def warnings(self) -> tuple[Issue, ...]:
        """The findings that do not."""
        return tuple(issue for issue in self.issues if issue.severity == "warning")


class AOPValidator:
    """Checks plans before they run: solvable, complete, not redundant (AOP, arXiv:2410.02189), and within limits.

    Without a `cost_profiler`, what agents declare and the documented defaults are the estimates, and an optimiser's
    figure in the plan's metadata is believed if it fits the plan. With one, the sum of its estimates decides.
    """

    def __init__(
        self,
        agent_registry: Mapping[str, AgentCapability],
        cost_profiler: CostProfiler | None = None,
        enable_learned_model: bool = False,
        reward_model_path: Path | str | None = None,
    ) -> None:
        self.agent_registry = agent_registry
        self.cost_profiler = cost_profiler
        self.logger = logger
        self.weight_success = 0.4
        self.weight_quality = 0.3
        self.weight_cost = 0.2
        self.weight_time = 0.1
        self.enable_learned_model = enable_learned_model
        self.learned_model = LearnedRewardModel(persistence_path=reward_model_path) if enable_learned_model else None

    async def validate_routing_plan(
        self,
        routing_plan: RoutingPlan,
        dag: TaskDAG,
        max_budget: float | None = None,
        *,
        max_time: float | None = None,
        min_quality: float | None = None,
        request: str | None = None,
    ) -> ValidationResult:
        """Check a plan, and approve it if nothing is wrong.

        Args:
            routing_plan: Who is to do what. It is copied: changing it afterwards changes no approval.
            dag: The tasks.
            max_budget: Dollars that the whole may cost.
            max_time: Seconds that the critical path may take.
            min_quality: Share of tasks in 0..1 that must be expected to succeed.
            request: The user's words, kept with the approved plan.

        Raises:
            InvalidInput: a limit is negative, not finite, or (for `min_quality`) above 1.
        """
        _check_limits(max_budget=max_budget, max_time=max_time, min_quality=min_quality)
        plan = RoutingPlan(
            assignments=dict(routing_plan.assignments),
            explanations=dict(routing_plan.explanations),
            unassigned=dict(routing_plan.unassigned),
            metadata=dict(routing_plan.metadata),
        )
        dag = dag.sealed()
        estimates = self._estimate(plan, dag)
        cost, doubts = self._settle_cost(plan, score.total_cost(estimates))
        seconds = score.critical_seconds(estimates, dag)
        case = Case(
            plan=plan,
            dag=dag,
            agents=self.agent_registry,
            estimates=estimates,
            cost=cost,
            seconds=seconds,
            max_budget=max_budget,
            max_time=max_time,
            min_quality=min_quality,
        )
        issues = (*find_issues(case), *doubts)
        passed = all(issue.severity != "error" for issue in issues)
        quality_score = await self._calculate_quality_score(plan, dag)
        approved = None
        if passed:
            approved = ApprovedPlan(
                dag=dag,
                assignments=plan.assignments,
                explanations=plan.explanations,
                estimates=estimates,
                score=quality_score,
                estimated_cost=cost,
                estimated_time=seconds,
                max_budget=max_budget,
                max_time=max_time,
                min_quality=min_quality,
                request=request,
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

    async def _calculate_quality_score(self, routing_plan: RoutingPlan, dag: TaskDAG) -> float:
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

    def _estimate_success_probability(self, routing_plan: RoutingPlan, dag: TaskDAG) -> float:
        return score.success_rate(self._estimate(routing_plan, dag), dag)

    def _estimate_quality_score(self, routing_plan: RoutingPlan, dag: TaskDAG) -> float:
        return score.agent_fit(routing_plan.assignments, dag, self.agent_registry)

    def _normalize_cost(self, routing_plan: RoutingPlan, dag: TaskDAG) -> float:
        bounds = score.cost_bounds(dag, self.agent_registry, self._profiler())
        return bounds.position_of(score.total_cost(self._estimate(routing_plan, dag)))

    def _normalize_time(self, routing_plan: RoutingPlan, dag: TaskDAG) -> float:
        bounds = score.time_bounds(dag, self.agent_registry, self._profiler())
        return bounds.position_of(score.critical_seconds(self._estimate(routing_plan, dag), dag))

    def _estimate(self, plan: RoutingPlan, dag: TaskDAG) -> dict[str, Estimate]:
        return score.estimate_tasks(plan.assignments, dag, self.agent_registry, self._profiler())

    def _profiler(self) -> CostProfiler:
        # A profiler without outcomes estimates what agents declare, and else the documented defaults.
        return self.cost_profiler if self.cost_profiler is not None else CostProfiler()

    def _settle_cost(self, plan: RoutingPlan, summed: float) -> tuple[float, tuple[Issue, ...]]:
        """Return the cost to hold against the budget: the sum of our estimates, or the optimiser's figure."""
        stated = plan.metadata.get("estimated_cost")
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


def _why_inconsistent(plan: RoutingPlan, stated: Any) -> str | None:
    """Return what does not fit between the optimiser's figures and the plan, as the end of `estimated_cost ...`."""
    if isinstance(stated, bool) or not isinstance(stated, (int, float)) or not math.isfinite(stated) or stated < 0:
        return f"is {stated!r}, which is no amount"
    details = plan.metadata.get("optimization_details")
    workload = details.get("agent_workload") if isinstance(details, Mapping) else None
    if isinstance(workload, Mapping) and {agent: n for agent, n in workload.items() if n} != plan.workload:
        return "was made for other assignments"
    return None


def _check_limits(**limits: float | None) -> None:
    for name, value in limits.items():
        highest = 1.0 if name == "min_quality" else math.inf
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= highest:
            wanted = "a share in 0..1" if highest == 1.0 else "zero or more"
            raise InvalidInput(f"{name} is {value!r}; give {wanted}, or None for no limit.")
