"""AOPValidator: the gate between plans and runs. Checks, scores, repairs and approves; runs nothing.

The checks are in checks and content, the figures in score. `repair` applies the edits that come with the findings, each
to a copy, and keeps those after which there are strictly fewer errors. The score is documented: success 0.4, quality
0.3, cost 0.2, time 0.1, or the weights of a LearnedRewardModel. It ranks plans and is no condition: conditions are the
checks.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.allocation import PlanEstimates, StrategySource, follow_orders, why_unable
from kapelle.errors import InvalidInput
from kapelle.estimates import CostProfiler, Estimate
from kapelle.graph import TaskDAG
from kapelle.limits import RunLimits
from kapelle.redaction import get_logger
from kapelle.routing import HALORouter, RoutedPlan, RoutingPlan
from kapelle.strategies import Strategy

from . import score
from .approved import APPROVAL, ApprovedPlan, ValidationResult
from .case import Case, Wanted, after_looking, strategy_of, take_limits
from .checks import find_issues
from .content import find_content_issues, too_many_tasks
from .detector import Detection, PlanDetector, detect_contained
from .edit import Edit
from .issue import Issue
from .limit_checks import reassign_within, settle_cost
from .redundancy import find_redundant
from .repair import MAX_EDITS, MAX_ROUNDS, Repair, Routed, apply_edit, is_better, is_mendable, trials_for
from .schemas import Tools, as_tools

if TYPE_CHECKING:
    from kapelle.learning import LearnedRewardModel

logger = get_logger(__name__)

_NOTHING = Estimate(cost_usd=0.0, seconds=0.0, success_rate=1.0, tokens=0, samples=0, source="declared")
"""What a task takes that is done already."""
_LIMITS = ("budget", "deadline", "quality")


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
            from kapelle.learning import LearnedRewardModel

            reward_model = LearnedRewardModel(persistence_path=reward_model_path)
        self.enable_learned_model = reward_model is not None
        self.learned_model = reward_model
        self._expected: _Expected | None = None

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
        current: ApprovedPlan | None = None,
        estimates: PlanEstimates | None = None,
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
            current: An approved plan of which only assignments have changed: what its tasks say is not proven again.
            estimates: Those that the plan was made by, of the validator's agents; by default it makes its own.

        Raises:
            InvalidInput: a limit is negative, not finite, or (for `min_quality`) above 1; or `limits` come with others.
        """
        limits = take_limits(limits, max_budget=max_budget, max_time=max_time, min_quality=min_quality)
        found = await self._detect(dag, request, limits)
        wanted = Wanted(
            limits=after_looking(limits, found.cost_usd),
            request=request,
            available=available_agents,
            finished=frozenset(finished),
            approved=frozenset(approved),
            is_known=current is not None and current.dag is dag,
        )
        state = Routed(dag=dag, plan=RoutedPlan.of(routing_plan))
        result = await self._check(state, wanted, found.issues, estimates)
        return replace(result, detection_cost_usd=found.cost_usd, detected=found.issues)

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
        estimates: PlanEstimates | None = None,
    ) -> Repair:
        """Apply the edits of what is found wrong, and check the plan again, for at most so many rounds.

        An edit stays only if there are strictly fewer errors after it, and of no kind more. Limits stay as they are,
        finished tasks are never touched, and the plan and graph that were given stay as they were.

        Args:
            routing_plan, dag, limits, max_budget, max_time, min_quality, request, available_agents, estimates: As in
                `validate_routing_plan`.
            finished: Tasks that began already, and stay as they are.
            over: Of them, those that take nothing any more, and about which nothing is wrong.
            router: Finds agents for new tasks; by default one for the validator's agents.
            max_rounds: How often the plan is gone through.

        Raises:
            InvalidInput: a limit is malformed, as in `validate_routing_plan`, or `max_rounds` is negative.
        """
        limits = take_limits(limits, max_budget=max_budget, max_time=max_time, min_quality=min_quality)
        if max_rounds < 0:
            raise InvalidInput(f"max_rounds is {max_rounds!r}; give zero or more.")
        router = router or HALORouter(_registry(self.agent_registry))
        found = await self._detect(dag, request, limits)
        wanted = Wanted(
            limits=after_looking(limits, found.cost_usd),
            request=request,
            available=available_agents,
            finished=frozenset(over),
            approved=frozenset(finished),
        )
        findings = found.issues
        state = Routed(dag=dag, plan=RoutedPlan.of(routing_plan))
        estimates = self._estimates(dag, estimates)
        result = await self._check(state, wanted, findings, estimates)
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
                after = await self._check(tried, wanted, left, estimates)
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

    async def _detect(self, dag: TaskDAG, request: str | None, limits: RunLimits) -> Detection:
        if self.detector is None or not request or len(dag) > limits.most_tasks:
            return Detection()
        return await detect_contained(self.detector, request, dag, self.agent_registry)

    async def _check(
        self, routed: Routed, wanted: Wanted, findings: tuple[Issue, ...], known: PlanEstimates | None
    ) -> ValidationResult:
        dag = routed.dag
        most = wanted.limits.most_tasks
        if len(dag) > most:
            return ValidationResult(passed=False, issues=(too_many_tasks(len(dag), most=most),))
        settled = (*wanted.finished, *wanted.approved)
        plan = follow_orders(routed.plan, dag, self.agent_registry, only=routed.plan.tasks.keys() - settled)
        dag = dag.sealed()
        expected = self._expect(plan, dag, known)
        known, ways, asked = expected.known, expected.ways, wanted.limits.min_quality
        estimates = {**expected.tasks, **dict.fromkeys(wanted.finished, _NOTHING)}
        cost, doubts = settle_cost(plan, score.total_cost(estimates), is_known=self.cost_profiler is not None)
        seconds = score.critical_seconds(estimates, dag)
        case = Case(
            plan=plan,
            dag=dag,
            agents=self.agent_registry,
            estimates=known,
            expected=estimates,
            counted={} if asked is None else {name: known.counted(dag[name], way, asked) for name, way in ways.items()},
            cost=cost,
            seconds=seconds,
            limits=wanted.limits,
            available=wanted.available,
            approved=wanted.approved,
        )
        said: list[Issue] = [*findings]
        if not wanted.is_known:
            said = find_content_issues(tuple(dag), wanted.request, self.tools, self.agent_registry)
            said += [*find_redundant(tuple(dag)), *findings]
        wrong = tuple(one for one in find_issues(case) if one.task_id not in wanted.finished)
        said = [one for one in said if one.task_id not in wanted.finished]
        issues = _errors_first(await self._with_edits(wrong, case), said, doubts)
        passed = all(issue.severity != "error" for issue in issues)
        self._expected = expected
        quality_score = await self._calculate_quality_score(plan, dag)
        self._expected = None
        approved = None
        if passed:
            approved = ApprovedPlan(
                dag=dag,
                routed=plan,
                estimates=estimates,
                step_estimates={name: steps for name, way in ways.items() if (steps := known.steps(dag[name], way))},
                plan_estimates=known,
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
        from kapelle.learning import TaskOutcome

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
        return score.success_rate(self._expect(routing_plan, dag).tasks, dag)

    def _estimate_quality_score(self, routing_plan: RoutingPlan | RoutedPlan, dag: TaskDAG) -> float:
        return score.agent_fit(routing_plan.assignments, dag, self.agent_registry)

    def _normalize_cost(self, routing_plan: RoutingPlan | RoutedPlan, dag: TaskDAG) -> float:
        expected = self._expect(routing_plan, dag)
        return score.cost_bounds(expected.known).position_of(score.total_cost(expected.tasks))

    def _normalize_time(self, routing_plan: RoutingPlan | RoutedPlan, dag: TaskDAG) -> float:
        expected = self._expect(routing_plan, dag)
        return score.time_bounds(expected.known).position_of(score.critical_seconds(expected.tasks, dag))

    async def _with_edits(self, issues: tuple[Issue, ...], case: Case) -> tuple[Issue, ...]:
        """Return the issues, those about limits with the assignment that keeps all limits, if there is one."""
        if not any(one.severity == "error" and one.kind in _LIMITS for one in issues):
            return issues
        edit = await reassign_within(case)
        return tuple(replace(one, edit=edit) if one.kind in _LIMITS and one.edit is None else one for one in issues)

    def _expect(self, given: RoutingPlan | RoutedPlan, dag: TaskDAG, known: PlanEstimates | None = None) -> _Expected:
        """Return what a plan's tasks are expected to take, once for a plan that is being checked."""
        held = self._expected
        if held is not None and held.plan is given and held.dag is dag:
            return held
        return self._add_up(RoutedPlan.of(given), dag, self._estimates(dag, known))

    def _add_up(self, plan: RoutedPlan, dag: TaskDAG, known: PlanEstimates) -> _Expected:
        """Return what every task is expected to take whose agents are there and can do it."""
        ways, tasks, alike = {}, {}, dict[tuple[Hashable, Strategy], Estimate | None]()  # None where nobody can
        for task in dag:
            if task.task_id in plan.tasks:
                way = strategy_of(plan, task.task_id)
                if (key := (known.kind_of(task), way)) not in alike:
                    alike[key] = known.of(task, way) if why_unable(task, way, self.agent_registry) is None else None
                if (expected := alike[key]) is not None:
                    ways[task.task_id], tasks[task.task_id] = way, expected
        return _Expected(plan=plan, dag=dag, known=known, ways=ways, tasks=tasks)

    def _estimates(self, dag: TaskDAG, known: PlanEstimates | None) -> PlanEstimates:
        if known is not None:
            return known.version(dag)
        # A profiler without outcomes estimates what agents declare, and else the documented defaults.
        profiler = self.cost_profiler if self.cost_profiler is not None else CostProfiler()
        return PlanEstimates(profiler, self.agent_registry, dag, strategies=self.strategies)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Expected:
    """What the tasks of a plan are expected to take."""

    plan: RoutedPlan
    dag: TaskDAG
    known: PlanEstimates
    ways: Mapping[str, Strategy]
    """How each task is done whose agents are there and can do it."""
    tasks: Mapping[str, Estimate]
    """What each of these is expected to take."""


def _registry(agents: Mapping[str, AgentCapability]) -> AgentRegistry:
    return agents if isinstance(agents, AgentRegistry) else AgentRegistry(agents.values())


def _errors_first(*groups: Iterable[Issue]) -> tuple[Issue, ...]:
    return tuple(sorted((one for group in groups for one in group), key=lambda issue: issue.severity != "error"))
