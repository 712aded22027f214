"""The page to read first: `Engine.run` takes a request all the way through.

    request --planning--> graph --routing, cost--> assignments --validation--> approved plan --execution--> run

Every arrow leaves an event in the ledger, and the run that is returned is rebuilt from those events and nothing else.
The outcomes in the ledger are what the next run's estimates are learned from.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from kapelle.agents import AgentRegistry
from kapelle.cost import (
    Budget,
    Checks,
    CostProfiler,
    DAAOOptimizer,
    Explorer,
    Frontier,
    OptimizationConstraints,
    load_learned,
    pareto_frontier,
)
from kapelle.errors import (
    InvalidInput,
    InvalidPlan,
    LedgerBusy,
    ModelRefused,
    ModelUnavailable,
    PlanRejected,
)
from kapelle.execution import ExecutionLimits, Executor, Growth, compose_answer
from kapelle.graph import TaskDAG
from kapelle.ledger import EventWatcher, Journal, Ledger, Run, RunState, Usage, ledger_path, open_ledger
from kapelle.models import ModelClient, PriceTable
from kapelle.planning import PaidInvalidPlan, Plan, Planner, read_plan
from kapelle.routing import HALORouter, RoutingPlan, RoutingRule
from kapelle.validation import AOPValidator, ApprovedPlan, Issue, PlanDetector, ValidationResult

from .exploring import explore
from .records import planned, routed, validated
from .team import AgentLike, Team, assemble_team, register_agents
from .terms import Terms, learned_folder

MOST_OUTCOMES = 50_000
"""The newest outcomes, which estimates are learned from when an engine starts: half a second's worth."""
LIMIT_KINDS = ("budget", "deadline", "quality", "capacity")
"""Kinds of issue that say that what the user allows is too little, not that the plan is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """A request as it would be run: the plan, who would do what, and what the validator says. Nothing has run."""

    plan: Plan
    routing: RoutingPlan
    validation: ValidationResult


class Engine:
    """Conducts agents.

    Args:
        agents: The user's own agents, or a whole registry.
        data: A folder of documents and tables that local agents may read.
        model: A model's name (`provider:name`), a ModelClient, or `none`; by default the environment decides.
        ledger: Where runs are recorded; by default `KAPELLE_DB` (a file, or a postgresql:// URL), else a file in the
            user's data directory.
        planner: Replaces the planner that the model, or its absence, would decide.
        detector: Has plans looked at once more before they run, by a ModelDetector for instance; its cost counts.
        rules: Replaces the routing rules.
        validators: By type of task, a function that says of an output whether it is acceptable. No other output is
            taken, and what it says is what agents are judged by.
        explore: The share of tasks, 0 to 1, that may go to agents of which little is known, to learn of them: within
            the budget, never where there is a deadline or a quality is asked for. See Explorer; 0 is off.
        learned: A folder with what `kapelle learn` made of outcomes; by default the one beside the ledger.

    >>> import asyncio
    >>> from kapelle import SqliteLedger, agent
    >>> @agent(task_types=["lookup"], cost_usd=0.001)
    ... async def atlas(task):
    ...     return {"capital of France": "Paris", "capital of Germany": "Berlin"}[task.inputs["query"]]
    >>> engine = Engine(agents=[atlas], model="none", ledger=SqliteLedger(":memory:"))
    >>> run = asyncio.run(engine.run("Compare the capitals of France and Germany", budget_usd=0.50))
    >>> run.state, run.cost_usd
    ('done', 0.002)
    """

    def __init__(
        self,
        agents: AgentRegistry | Iterable[AgentLike] = (),
        *,
        data: Path | str | None = None,
        model: str | ModelClient | None = None,
        ledger: Ledger | None = None,
        planner: Planner | None = None,
        detector: PlanDetector | None = None,
        rules: Iterable[RoutingRule] | None = None,
        validators: Mapping[str, Callable[[Any], bool]] | None = None,
        explore: float = 0.0,
        learned: Path | str | None = None,
        environ: Mapping[str, str] | None = None,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        environ = os.environ if environ is None else environ
        self.team: Team = assemble_team(register_agents(agents), data=data, model=model, environ=environ)
        self.ledger: Ledger = ledger if ledger is not None else open_ledger(ledger_path(environ=environ))
        registry = self.team.registry
        known = load_learned(Path(learned) if learned is not None else learned_folder(self.ledger))
        self.profiler = CostProfiler.from_outcomes(
            self.ledger.outcomes(limit=MOST_OUTCOMES),
            difficulty=known.difficulty,
            agents=registry.values(),
            prices=PriceTable.from_environment(environ),
        )
        self.planner: Planner = planner or self.team.planner
        self._gated = self.team.gated if planner is None else None
        # The router knows everyone, so that it can say who could do a task if only a model were there.
        self.optimizer = DAAOOptimizer(self.profiler, registry.runnable(), strategies=known.strategies)
        self.router = HALORouter(
            registry,
            rules=self.team.rules if rules is None else rules,
            enable_cost_optimization=True,
            cost_profiler=self.profiler,
            daao_optimizer=self.optimizer,
            pin_rules=rules is not None,  # the user's own rules are orders, and the others only advice
        )
        self.validator = AOPValidator(registry, self.profiler, detector=detector, strategies=known.strategies)
        self.explorer = Explorer(share=explore)
        self.checks = Checks(validators=dict(validators or {}))
        self.executor = Executor(registry, timer=timer)

    async def run(
        self,
        request: str | Path | Plan,
        *,
        budget_usd: float | None = None,
        deadline_s: float | None = None,
        min_quality: float | None = None,
        max_tokens: int | None = None,
        on_event: EventWatcher | None = None,
    ) -> Run:
        """Plan, route, validate and run a request, and return the run with its answer and costs.

        Args:
            request: The user's words; or a plan: a file (as a Path), or a Plan.
            budget_usd, deadline_s, min_quality, max_tokens: See Terms.
            on_event: Called with every event as it happens.

        Raises:
            InvalidInput: nothing has run: the request, a limit or the plan is wrong, or the plan was refused.
            KapelleError: the model that plans, or the ledger, is out of reach.
            asyncio.CancelledError: the caller was cancelled; the run is recorded as stopped.
        """
        terms = Terms(budget_usd=budget_usd, deadline_s=deadline_s, min_quality=min_quality, max_tokens=max_tokens)
        given = _given_plan(request)
        words = given.request if given is not None else _check_words(request)
        if on_event is not None and not callable(on_event):
            raise InvalidInput(f"on_event={on_event!r:.80} is no function.")
        budget = Budget(usd=budget_usd, tokens=max_tokens)
        started = time.monotonic()
        journal = Journal(
            self.ledger, self.ledger.new_run_id(), on_event=on_event, on_outcome=self.profiler.record_outcome
        )
        journal.write("run_started", {"request": words, "settings": {**asdict(terms), "model": self.team.model_name}})
        try:
            async with asyncio.timeout(deadline_s) as planning_time:
                plan = given or await self._plan(words, budget, journal, gate_key=journal.run_id)
                journal.write("run_planned", planned(plan))
                routing = await self._route(plan, terms, budget.left.usd)
                if self.explorer.share and terms.deadline_s is None and terms.min_quality is None:
                    # What an unknown agent takes, and whether it succeeds, is just what is unknown.
                    explore(self.explorer, journal.run_id, plan.graph, routing, self.optimizer, budget.left.usd)
                journal.write("run_routed", routed(routing))
                validation = await self._validate(plan, routing, terms, budget, journal, given=given is not None)
                if validation.approved is None and given is None:
                    plan, routing, validation = await self._mend(plan, routing, validation, terms, budget, journal)
                    journal.write("run_planned", planned(plan))
                    journal.write("run_routed", routed(routing))
            if validation.approved is None:
                journal.write("run_rejected", validated(validation))
                raise PlanRejected(validation.errors)
            journal.write("run_approved", validated(validation))
            left_s = None if deadline_s is None else max(1e-3, deadline_s - (time.monotonic() - started))
            ending = await self.executor.execute(
                validation.approved,
                journal,
                budget=budget,
                checks=self.checks,
                request=words,
                limits=ExecutionLimits(deadline_s=left_s),
                growth=self._growth(terms, budget),
            )
        except asyncio.CancelledError:
            _finish(journal, budget, "stopped", "It was interrupted.")
            raise
        except BaseException as error:  # whatever it was, the run has ended, and the ledger says so
            if isinstance(error, TimeoutError) and planning_time.expired():
                return _finish(journal, budget, "stopped", "The deadline was reached while planning.")
            with suppress(LedgerBusy):  # unless the ledger is what failed
                _finish(journal, budget, "failed", str(error) or type(error).__name__)
            raise
        return _finish(journal, budget, ending.state, ending.stop_reason)

    async def plan(
        self,
        request: str | Path | Plan,
        *,
        budget_usd: float | None = None,
        deadline_s: float | None = None,
        min_quality: float | None = None,
    ) -> Proposal:
        """Return what `run` would do, without doing it. Costs nothing but the call of a model that plans.

        Raises:
            InvalidInput: the request, a limit or the plan is wrong. A plan that validation refuses is no error here.
        """
        terms = Terms(budget_usd=budget_usd, deadline_s=deadline_s, min_quality=min_quality)
        budget = Budget(usd=budget_usd)
        given = _given_plan(request)
        words = "" if given is not None else _check_words(request)
        plan = given or await self._plan(words, budget, gate_key=words)
        routing = await self._route(plan, terms, budget.left.usd)
        validation = await self._validate(plan, routing, terms, budget, given=given is not None)
        if validation.approved is None and given is None:
            plan, routing, validation = await self._mend(plan, routing, validation, terms, budget)
        # All that planning took: the calls whose replies could not be used as well.
        return Proposal(plan=replace(plan, cost_usd=budget.spent.usd), routing=routing, validation=validation)

    async def frontier(
        self, proposal: Proposal, *, deadline_s: float | None = None, min_quality: float | None = None
    ) -> Frontier:
        """Return the choices that there are for a proposed plan: the best ones by cost, time and quality.

        A point of it is chosen by running the plan with its figures as limits.

        Raises:
            InvalidInput: a limit is wrong, or a task of the plan has no agent.
        """
        terms = Terms(deadline_s=deadline_s, min_quality=min_quality)
        if proposal.routing.unassigned:
            task_id, reason = next(iter(proposal.routing.unassigned.items()))
            raise InvalidInput(f"Task {task_id!r} has no agent, so there is nothing to choose between: {reason}")
        constraints = OptimizationConstraints(max_total_time=terms.deadline_s, min_quality_score=terms.min_quality)
        return await asyncio.to_thread(
            pareto_frontier, proposal.routing, proposal.plan.graph, constraints, optimizer=self.optimizer
        )

    def close(self) -> None:
        """Close the ledger. Closing twice is allowed."""
        self.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _plan(
        self, words: str, budget: Budget, journal: Journal | None = None, *, gate_key: str | None = None
    ) -> Plan:
        before = budget.spent.usd
        try:
            return await self._ask_planner(words, budget, gate_key)
        except BaseException as error:
            if journal is not None:  # planning that came to nothing has its price
                spent = {"planning_cost_usd": budget.spent.usd - before}
                journal.write("planning_spent", {"reason": str(error) or type(error).__name__, **spent})
            raise

    async def _ask_planner(self, words: str, budget: Budget, gate_key: str | None) -> Plan:
        reservation = budget.reserve(usd=self.team.planning_cost_usd, tokens=self.team.planning_tokens)
        try:
            if self._gated is not None and gate_key is not None:
                plan = await self._gated.plan(words, self.team.registry, key=gate_key)
            else:
                plan = await self.planner.plan(words, self.team.registry)
        except PaidInvalidPlan as error:
            budget.commit(reservation, usd=error.cost_usd, tokens=error.usage.tokens)
            raise
        except (ModelRefused, ModelUnavailable):  # the provider did not take the call
            budget.release(reservation)
            raise
        except BaseException:
            # What the call cost is unknown, so all that was set aside for it counts as spent.
            budget.commit(reservation)
            raise
        budget.commit(reservation, usd=plan.cost_usd, tokens=plan.usage.tokens)
        return replace(plan, notes=(*plan.notes, *self.team.notes))

    async def _route(self, plan: Plan, terms: Terms, left_usd: float) -> RoutingPlan:
        constraints = OptimizationConstraints(
            max_total_cost=_finite(left_usd),
            max_total_time=terms.deadline_s,
            min_quality_score=terms.min_quality,
        )
        routing = await self.router.route_tasks(
            plan.graph, available_agents=self.team.registry.runnable(), optimization_constraints=constraints
        )
        for task_id in routing.unassigned:
            routing.unassigned[task_id] += self.team.hint_for(plan.graph[task_id])
        return routing

    async def _validate(
        self,
        plan: Plan,
        routing: RoutingPlan,
        terms: Terms,
        budget: Budget,
        journal: Journal | None = None,
        *,
        given: bool = False,
    ) -> ValidationResult:
        # Whether a plan covers its request is judged by words. Who wrote the plan knows better.
        result = await self.validator.validate_routing_plan(
            routing,
            plan.graph,
            max_budget=_finite(budget.left.usd),
            max_time=terms.deadline_s,
            min_quality=terms.min_quality,
            request=None if given else plan.request,
        )
        if result.detection_cost_usd:
            budget.commit(budget.reserve(), usd=result.detection_cost_usd)
            if journal is not None:
                spent = {"planning_cost_usd": result.detection_cost_usd}
                journal.write("planning_spent", {"reason": "The plan was looked at once more.", **spent})
        return result

    async def _mend(
        self,
        plan: Plan,
        routing: RoutingPlan,
        validation: ValidationResult,
        terms: Terms,
        budget: Budget,
        journal: Journal | None = None,
    ) -> tuple[Plan, RoutingPlan, ValidationResult]:
        """Return a refused plan as it is when mended; its cost is what mending cost.

        What the words of the request say is missing a model plans once more. If words still find something missing, the
        user is told: they are too weak a proof to refuse a plan, or to add work to one. What else is wrong is repaired.
        """
        notes = plan.notes
        plan = replace(plan, usage=Usage(), cost_usd=0.0)
        if self.team.model_name is not None and not any(issue.kind in LIMIT_KINDS for issue in validation.errors):
            wrong = "\n".join(f"- {issue.message} {issue.way_out}" for issue in validation.errors)
            words = f"{plan.request}\n\nA first plan for this was refused, because:\n{wrong}"
            with suppress(InvalidPlan):  # then the first plan is mended as far as that goes
                again = await self._plan(words, budget, journal)
                notes = (*again.notes, "Planned once more: a first plan was refused.")
                plan = replace(again, request=plan.request)
                routing = await self._route(plan, terms, budget.left.usd)
                validation = await self._validate(plan, routing, terms, budget, journal)
        if validation.approved is not None:
            return replace(plan, notes=notes), routing, validation
        notes = (*notes, *(f"It may be incomplete: {issue.message}" for issue in validation.errors if _by_words(issue)))
        mended = await self.validator.repair(
            routing,
            plan.graph,
            max_budget=_finite(budget.left.usd),
            max_time=terms.deadline_s,
            min_quality=terms.min_quality,
            available_agents=self.team.registry.runnable(),
            router=self.router,
        )
        notes = (*notes, *(f"Repaired: {edit.summary}" for edit in mended.edits))
        return replace(plan, graph=mended.dag, notes=notes), mended.routing_plan, mended.result

    def _growth(self, terms: Terms, budget: Budget) -> Growth:
        return Growth(
            approver=_Approver(self, terms, budget),
            replanner=self.team.replanner,
            replanning_cost_usd=self.team.planning_cost_usd,
        )


def _finish(journal: Journal, budget: Budget, state: RunState, stop_reason: str | None) -> Run:
    """Write down how a run ended, with its answer as far as there is one, and return the run."""
    run = journal.run()
    data = {
        "state": state,
        "stop_reason": stop_reason,
        "answer": compose_answer(run.graph, run.results) if run.graph is not None else "",
        "overrun_usd": budget.overrun.usd,
    }
    journal.write("run_finished", data)
    return journal.run()


class _Approver:
    """Routes and validates what a graph has grown by: see PlanApprover. New tasks go the way of the first ones."""

    def __init__(self, engine: Engine, terms: Terms, budget: Budget) -> None:
        self._engine = engine
        self._terms = terms
        self._budget = budget

    async def approve(self, dag: TaskDAG, current: ApprovedPlan, begun: Collection[str]) -> ApprovedPlan:
        known = {task_id: agent for task_id, agent in current.assignments.items() if task_id in dag}
        # New tasks refer to each other only (see `grow`), so they make a graph of their own that can be optimised.
        new = {task.task_id: task for task in dag if task.task_id not in known}
        part = TaskDAG(
            replace(task, depends_on=tuple(name for name in task.depends_on if name in new)) for task in new.values()
        )
        costs = {task_id: current.estimates[task_id].cost_usd for task_id in known}
        ahead = sum(cost for task_id, cost in costs.items() if task_id not in begun)
        left = self._budget.left.usd
        plan = Plan(request=current.request or "", graph=part, planner="expansion")
        routing = await self._engine._route(plan, replace(self._terms, deadline_s=None), max(0.0, left - ahead))
        merged = RoutingPlan(
            assignments={**known, **routing.assignments},
            explanations={**current.explanations, **routing.explanations},
            strategies={
                **{name: way for name, way in current.strategies.items() if name in known},
                **routing.strategies,
            },
            unassigned=routing.unassigned,
        )
        # The validator adds up all tasks of the graph; what has begun has left the budget already. The words of the
        # request are no measure here: they are covered by the task whose place the new ones take.
        limit = _finite(left + sum(cost for task_id, cost in costs.items() if task_id in begun))
        validator = self._engine.validator
        validation = await validator.validate_routing_plan(merged, dag, max_budget=limit)
        if validation.approved is None:
            mended = await validator.repair(
                merged,
                dag,
                max_budget=limit,
                finished=known,
                available_agents=self._engine.team.registry.runnable(),
                router=self._engine.router,
            )
            validation = mended.result
        if validation.approved is None:
            raise PlanRejected(validation.errors)
        return validation.approved


def _by_words(issue: Issue) -> bool:
    """Whether an issue was found by comparing the words of the plan with those of the request."""
    return issue.kind in ("complete", "goal") and issue.task_id is None


def _finite(amount: float) -> float | None:
    return amount if math.isfinite(amount) else None


def _given_plan(request: str | Path | Plan) -> Plan | None:
    if isinstance(request, Plan):
        return request
    return read_plan(request) if isinstance(request, Path) else None


def _check_words(request: object) -> str:
    if not isinstance(request, str):
        raise InvalidInput(f"A request is a text, a Path to a plan file or a Plan, not {type(request).__name__}.")
    return request.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate could not be stored or printed
