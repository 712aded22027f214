"""The page to read first: `Engine.run` takes a request all the way through.

    request --plan--> graph --route--> agents --validate--> approved plan --execute--> run --learn--> estimates

Every arrow leaves an event in the ledger, and the run that is returned is rebuilt from those events and nothing else.
So a run that was cut off anywhere goes on from there: `Engine.resume`. While it works on a run, an engine holds the
run's lease, so no two ever do. The outcomes in the ledger are what the next run's estimates are learned from.

Here is who takes part, and what a user can ask of an engine. `session` is one run from its lease to its end,
`preparation` makes a plan fit to run, `team` says who works here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kapelle.agents import AgentRegistry, PartialText, call_in_thread
from kapelle.allocation import DAAOOptimizer, Explorer, OptimizationConstraints
from kapelle.budget import Amounts, Budget
from kapelle.errors import InvalidInput, KapelleError
from kapelle.estimates import CostProfiler
from kapelle.execution import Backend, ExecutionLimits, Executor, Reflector, make_backend
from kapelle.graph import read_json_value
from kapelle.learning import learned_folder, load_learned
from kapelle.ledger import EventWatcher, Journal, Ledger, Run, ledger_path, open_ledger
from kapelle.limits import RunLimits
from kapelle.models import PriceTable
from kapelle.planning import Plan, Planner
from kapelle.routing import HALORouter, RoutingRule
from kapelle.strategies import Checks, Validator
from kapelle.validation import AOPValidator, PlanDetector

from .feedback import MAX_OUTCOMES, Feedback
from .people import People
from .planner_call import PlannerCall
from .preparation import Preparation
from .proposal import Proposal
from .reflecting import Reflecting
from .request import Request, check_watcher, read_request
from .resumption import USUAL_WAYS
from .run_lease import Heartbeat, RunLease, ThreadHeartbeat
from .session import Session
from .streaming import Streaming
from .together import Together

if TYPE_CHECKING:
    from kapelle.allocation import Frontier
    from kapelle.learning import LearnedRewardModel, RewardFeed
    from kapelle.models import ModelClient
    from kapelle.planning import GraphPlanner

    from .team import AgentLike, Team


class Engine(Streaming, Together, People, Feedback):
    """Conducts agents.

    Args:
        agents: The user's own agents, or a whole registry.
        data: A folder of documents and tables that local agents may read.
        model: A model's name (`provider:name`), a ModelClient, or `none`; by default the environment decides.
        ledger: Where runs are recorded; by default `KAPELLE_DB` (a file, or a postgresql:// URL), else a file in the
            user's data directory.
        planner: Replaces the planner that the model, or its absence, would decide.
        detector: Has plans looked at once more before they run, by a ModelDetector for instance; its cost counts.
        rules: Orders of who does what. They go before the rules by which a folder is asked first.
        reflector: Looks at what each task gave, and may change what has not begun: a Reflector, or a GraphPlanner,
            whose model is then asked.
        reflect: Whether the model looks at what each task gave, and may change what has not begun: a set number of
            times at most, each within the budget.
        replan: Whether what has not begun goes to others where earlier tasks of the run show that to be better.
        validators: By type of task, a function, plain or async, that says of an output whether it is acceptable: True,
            False, or a Verdict. No other output is taken, and what it says is what agents are judged by. One that says
            anything else fails its tasks.
        explore: The share of tasks, 0 to 1, that may go to agents of which little is known, to learn of them: within
            the budget, never where there is a deadline or a quality is asked for. See Explorer; 0 is off.
        learned: A folder with what `kapelle learn` made of outcomes, or the file of a policy that `kapelle savings
            --save` wrote; by default the folder beside the ledger.
        reward_model: Weighs the score of plans, and learns from what validators, checks and people measured in runs: a
            LearnedRewardModel, or the file of one, which may be new.
        backend: Where agents run: `asyncio`, `threads`, `ray`, or a Backend.
        limits: How long a task may take, how often it is tried again, whether stragglers get a rival; by default a task
            has five minutes, or the time of two calls of the model where these may take longer.
        attended: Whether somebody is there to be asked at once: a question to the folder that can be read in several
            ways then asks which is meant, and otherwise fails, with the readings in its `TaskRun`.
        origin: What whoever resumes a run needs to make such an engine again; kept with the run's settings.
        timer: Seconds that pass, wherever they begin: durations and deadlines go by it.
        clock: What time it is, in seconds since the epoch: outcomes and answers are dated by it.
        heartbeat: Makes what keeps a run's lease and brings in its messages; by default a thread.

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
        reflector: Reflector | GraphPlanner | None = None,
        reflect: bool = False,
        replan: bool = True,
        validators: Mapping[str, Validator] | None = None,
        explore: float = 0.0,
        learned: Path | str | None = None,
        reward_model: LearnedRewardModel | Path | str | None = None,
        backend: str | Backend = "asyncio",
        limits: ExecutionLimits | None = None,
        attended: bool = False,
        origin: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        timer: Callable[[], float] = time.perf_counter,
        clock: Callable[[], float] = time.time,
        heartbeat: Callable[[], Heartbeat] = ThreadHeartbeat,
    ) -> None:
        from .team import assemble_team, register_agents  # whatever plans and works without a model: 0.1 s

        environ = os.environ if environ is None else environ
        own = register_agents(agents)
        self.team: Team = assemble_team(own, data=data, model=model, environ=environ, attended=attended)
        self.ledger: Ledger = ledger if ledger is not None else open_ledger(ledger_path(environ=environ))
        registry = self.team.registry
        known = load_learned(Path(learned) if learned is not None else learned_folder(self.ledger))
        self.profiler = CostProfiler.from_outcomes(
            self.ledger.outcomes(limit=MAX_OUTCOMES),
            words=known.words,
            agents=registry.values(),
            prices=PriceTable.from_environment(environ),
            clock=clock,
            versions=registry.versions(),
        )
        self.planner: Planner = planner or self.team.planner
        self._gated = self.team.gated if planner is None else None
        # The router knows everyone, so that it can say who could do a task if only a model were there.
        self.optimizer = DAAOOptimizer(
            self.profiler, registry.runnable(), strategies=known.strategies, policy=known.policy
        )
        self.router = HALORouter(
            registry,
            rules=self.team.rules_after(rules),
            enable_cost_optimization=True,
            cost_profiler=self.profiler,
            daao_optimizer=self.optimizer,
            pin_rules=rules is not None,  # the user's own rules are orders, and the others only advice
        )
        self.rewards: RewardFeed | None = None
        if reward_model is not None:
            from kapelle.learning import LearnedRewardModel, RewardFeed

            if isinstance(reward_model, (str, Path)):
                reward_model = LearnedRewardModel(persistence_path=Path(reward_model).expanduser())
            elif not isinstance(reward_model, LearnedRewardModel):
                raise InvalidInput(f"reward_model={reward_model!r:.40} is no LearnedRewardModel, and no file of one.")
            self.rewards = RewardFeed(reward_model, self.profiler, registry)
        self.validator = AOPValidator(
            registry, self.profiler, detector=detector, strategies=known.strategies, reward_model=reward_model
        )
        self.explorer = Explorer(share=explore)
        self.reflection = Reflecting.of(reflector, reflect, self.team, environ)
        self.checks = Checks(validators=validators if validators is not None else {})
        limits = limits or ExecutionLimits.with_room_for_calls(self.team.call_timeout_s)
        self.limits = limits if replan else replace(limits, max_reassignments=0)
        self.origin = dict(origin or {})
        where = make_backend(backend) if isinstance(backend, str) else backend
        self.executor = Executor(registry, backend=where, timer=timer, clock=clock)
        self._timer = timer
        self._clock = clock
        self._heartbeat = heartbeat

    async def run(
        self,
        request: str | Path | Plan | Proposal,
        *,
        budget_usd: float | None = None,
        deadline_s: float | None = None,
        min_quality: float | None = None,
        max_tokens: int | None = None,
        max_tasks: int | None = None,
        on_event: EventWatcher | None = None,
        on_text: Callable[[PartialText], None] | None = None,
    ) -> Run:
        """Plan, route, validate and run a request, and return the run with its answer and costs.

        A run in which a task needs a person ends as `waiting` once nothing else is left to do: see `answer`, `resume`.

        Args:
            request: The user's words; or a plan: a file (as a Path), or a Plan; or what `plan` or `plan_many` proposed,
                which is then done by those proposed, and within the same limits where none are given here.
            budget_usd, deadline_s, min_quality, max_tokens, max_tasks: See RunLimits.
            on_event: Called with every event as it happens.
            on_text: Called with pieces of text as models write them.

        Raises:
            InvalidInput: nothing has run: the request, a limit or the plan is wrong, or the plan was refused.
            KapelleError: the model that plans, or the ledger, is out of reach.
            LeaseLost: another engine has taken the run over; this one has stopped.
            asyncio.CancelledError: the caller was cancelled; the run is recorded as stopped.
        """
        terms = RunLimits(
            budget_usd=budget_usd,
            deadline_s=deadline_s,
            min_quality=min_quality,
            max_tokens=max_tokens,
            max_tasks=max_tasks,
        )
        wanted = read_request(request, self.team, max_tasks=terms.most_tasks)
        terms = wanted.held_to(terms)
        check_watcher(on_event)
        self._check_prices(terms, wanted.given)
        async with self._lease(self.ledger.new_run_id()) as lease:
            journal = self._journal(lease, on_event)
            settings = {
                **terms.asked(),
                "model": self.team.model_name,
                "origin": self.origin,
                "given": wanted.given is not None,
                **{name: value for name, value in self._ways().items() if value != USUAL_WAYS.get(name)},
            }
            begun = {"request": wanted.words, "settings": read_json_value(settings), "owner": lease.owner}
            journal.write("run_started", begun)
            session = self._session(lease, journal, self._preparation(terms, journal), on_text)
            return await session.conduct(wanted, deadline_s=terms.deadline_s)

    async def resume(
        self,
        run_id: str,
        *,
        budget_usd: float | None = None,
        deadline_s: float | None = None,
        max_tokens: int | None = None,
        on_event: EventWatcher | None = None,
        on_text: Callable[[PartialText], None] | None = None,
    ) -> Run:
        """Go on with a run that was cut off, waits for people, or ended without being done; return it.

        What is done stays done. What was under way when the engine died runs again with the same idempotency key, or,
        at high risk, asks a person first. In a run that had ended, what failed, was skipped or cancelled is tried
        again. Limits that are given replace those of the run; its deadline counts the time that engines worked on it.

        Args:
            run_id: Its id, an unambiguous beginning of it, or `last`.

        Raises:
            NotFound: there is no such run.
            InvalidInput: it is done, its deadline has passed, or what is left of its plan is refused. It is as before.
            RunBusy: another engine works on it.
        """
        from .resumption import plan_resumption, recorded_plan, write_resumption

        check_watcher(on_event)
        run_id = self.ledger.find_run(run_id)
        async with self._lease(run_id) as lease:
            run = self.ledger.run(run_id)  # from here on nobody else writes it
            going_on = plan_resumption(
                run, {"budget_usd": budget_usd, "deadline_s": deadline_s, "max_tokens": max_tokens}
            )
            wanted = Request(words=run.request, given=recorded_plan(run))
            self._check_prices(going_on.terms, wanted.given)
            journal = self._journal(lease, on_event, run)
            preparation = self._preparation(going_on.terms, journal, going_on.spent)
            session = self._session(lease, journal, preparation, on_text)
            approved = await session.approve_rest(going_on)
            write_resumption(journal, going_on, lease.owner, self._ways())
            left_s, before = going_on.deadline_s, journal.run()
            return await session.conduct(wanted, deadline_s=left_s, approved=approved, before=before)

    async def plan(
        self,
        request: str | Path | Plan,
        *,
        budget_usd: float | None = None,
        deadline_s: float | None = None,
        min_quality: float | None = None,
        max_tasks: int | None = None,
    ) -> Proposal:
        """Return what `run` would do, without doing it. Costs nothing but the call of a model that plans.

        Raises:
            InvalidInput: the request, a limit or the plan is wrong. A plan that validation refuses is no error here.
        """
        terms = RunLimits(budget_usd=budget_usd, deadline_s=deadline_s, min_quality=min_quality, max_tasks=max_tasks)
        wanted = read_request(request, self.team, max_tasks=terms.most_tasks)
        self._check_prices(terms, wanted.given)
        preparation = self._preparation(terms, None)
        try:
            proposal = await preparation.propose(wanted)
        except KapelleError as error:
            error.cost_usd = preparation.budget.spent.usd  # all that planning took until then
            raise
        # All that planning took: the calls whose replies could not be used as well.
        return replace(proposal, plan=replace(proposal.plan, cost_usd=preparation.budget.spent.usd))

    async def frontier(
        self, proposal: Proposal, *, deadline_s: float | None = None, min_quality: float | None = None
    ) -> Frontier:
        """Return the choices that there are for a proposed plan: the best ones by cost, time and quality.

        A point of it is chosen by running the plan with its figures as limits.

        Raises:
            InvalidInput: a limit is wrong, or a task of the plan has no agent.
        """
        from kapelle.allocation import pareto_frontier  # for who asks for choices

        terms, routing = RunLimits(deadline_s=deadline_s, min_quality=min_quality), proposal.routing
        if routing.unassigned:
            task_id, reason = next(iter(routing.unassigned.items()))
            raise InvalidInput(f"Task {task_id!r} has no agent, so there is nothing to choose between: {reason}")
        constraints = OptimizationConstraints.of(terms, pinned=routing.fixed)
        return await call_in_thread(
            pareto_frontier, routing, proposal.plan.graph, constraints, optimizer=self.optimizer
        )

    def close(self) -> None:
        """Close the ledger. Closing twice is allowed."""
        self.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lease(self, run_id: str) -> RunLease:
        return RunLease(self.ledger, run_id, heartbeat=self._heartbeat(), timer=self._timer)

    def _journal(self, lease: RunLease, on_event: EventWatcher | None, before: Run | None = None) -> Journal:
        return Journal(
            self.ledger,
            lease.lease.run_id,
            lease=lease.lease,
            before=before,
            on_event=on_event,
            on_outcome=self._learn_from,  # what is learned, the next choice knows
            timer=self._timer,
        )

    def _preparation(self, terms: RunLimits, journal: Journal | None, spent: Amounts | None = None) -> Preparation:
        budget = Budget(usd=terms.budget_usd, tokens=terms.max_tokens, spent=spent)
        return Preparation(
            team=self.team,
            router=self.router,
            optimizer=self.optimizer,
            explorer=self.explorer,
            validator=self.validator,
            planner=PlannerCall(
                planner=self.planner, gated=self._gated, team=self.team, budget=budget, journal=journal
            ),
            terms=terms,
            budget=budget,
            journal=journal,
        )

    def _session(
        self,
        lease: RunLease,
        journal: Journal,
        preparation: Preparation,
        on_text: Callable[[PartialText], None] | None,
    ) -> Session:
        return Session(
            preparation=preparation,
            journal=journal,
            executor=self.executor,
            checks=self.checks,
            limits=self.limits,
            reflection=self.reflection,
            rewards=self.rewards,
            lease=lease,
            timer=self._timer,
            on_text=on_text,
        )

    def _ways(self) -> dict[str, Any]:
        """How this engine works, for whoever makes another one to go on with its runs."""
        backend = self.executor.backend.name
        ways = {"backend": backend, "hedge": self.limits.hedge is not None, "explore": self.explorer.share}
        return {**ways, "reflect": self.reflection.is_asked_for, "replan": self.limits.max_reassignments > 0}

    def _check_prices(self, terms: RunLimits, plan: Plan | None) -> None:
        if terms.budget_usd is not None:
            self.team.check_prices(None if plan is None else plan.graph)
