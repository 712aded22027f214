"""The page to read first: `Engine.run` takes a request all the way through.

    request --planning--> graph --routing, cost--> assignments --validation--> approved plan --execution--> run

Every arrow leaves an event in the ledger, and the run that is returned is rebuilt from those events and nothing else.
So a run that was cut off anywhere goes on from there: `Engine.resume`. While it works on a run, an engine holds the
run's lease (custody), so no two ever do. The outcomes in the ledger are what the next run's estimates are learned from.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from kapelle.agents import MEMORY_MARK, AgentRegistry, PartialText, call_in_thread
from kapelle.allocation import (
    DAAOOptimizer,
    Explorer,
    Frontier,
    OptimizationConstraints,
    follow_orders,
    pareto_frontier,
)
from kapelle.budget import Budget, Reservation
from kapelle.errors import (
    BudgetExceeded,
    InvalidInput,
    InvalidPlan,
    KapelleError,
    LeaseLost,
    LedgerBusy,
    NotFound,
    PlanRejected,
)
from kapelle.estimates import CostProfiler, estimate_complexities
from kapelle.execution import (
    CUT_OFF,
    STOP,
    Backend,
    ExecutionLimits,
    Executor,
    GraphChanges,
    Reflector,
    ResumeState,
    compose_answer,
    error_text,
    make_backend,
    read_spent,
)
from kapelle.graph import TaskDAG, read_json_value
from kapelle.learning import learned_folder, load_learned
from kapelle.ledger import (
    Event,
    EventWatcher,
    Journal,
    Ledger,
    Question,
    RefusedFigure,
    Run,
    RunState,
    Usage,
    answer_message,
    forget_row,
    is_forgotten,
    ledger_path,
    open_ledger,
    rating_row,
    read_share,
    read_usage,
    read_usd,
    show_figure,
)
from kapelle.limits import RunLimits
from kapelle.models import ModelClient, PriceTable
from kapelle.planning import CorrectingPlanner, Plan, Planner, fit_types, read_plan, take_plan
from kapelle.routing import HALORouter, RoutingPlan, RoutingRule
from kapelle.strategies import Checks, Validator, agents_of
from kapelle.validation import (
    AOPValidator,
    ApprovedPlan,
    Issue,
    NextBest,
    PlanDetector,
    ValidationResult,
    avoid_hopeless,
)

from .custody import Custody, Heartbeat, ThreadHeartbeat
from .event_data import planned, routed, validated
from .exploring import explore
from .feedback import find_rated, nothing_to_forget
from .resumption import Resumption, part_without_agents, prepare, recorded_plan, recorded_routing
from .team import HARMLESS_TYPES, AgentLike, Team, assemble_team, register_agents

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
        rules: Orders of who does what. They go before the rules by which a folder is asked first.
        reflector: Looks at what each task gave, and may change what has not begun: see Reflector.
        validators: By type of task, a function, plain or async, that says of an output whether it is acceptable: True,
            False, or a Verdict. No other output is taken, and what it says is what agents are judged by. One that says
            anything else fails its tasks.
        explore: The share of tasks, 0 to 1, that may go to agents of which little is known, to learn of them: within
            the budget, never where there is a deadline or a quality is asked for. See Explorer; 0 is off.
        learned: A folder with what `kapelle learn` made of outcomes; by default the one beside the ledger.
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
        reflector: Reflector | None = None,
        validators: Mapping[str, Validator] | None = None,
        explore: float = 0.0,
        learned: Path | str | None = None,
        backend: str | Backend = "asyncio",
        limits: ExecutionLimits | None = None,
        attended: bool = False,
        origin: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        timer: Callable[[], float] = time.perf_counter,
        clock: Callable[[], float] = time.time,
        heartbeat: Callable[[], Heartbeat] = ThreadHeartbeat,
    ) -> None:
        environ = os.environ if environ is None else environ
        own = register_agents(agents)
        self.team: Team = assemble_team(own, data=data, model=model, environ=environ, attended=attended)
        self.ledger: Ledger = ledger if ledger is not None else open_ledger(ledger_path(environ=environ))
        registry = self.team.registry
        known = load_learned(Path(learned) if learned is not None else learned_folder(self.ledger))
        self.profiler = CostProfiler.from_outcomes(
            self.ledger.outcomes(limit=MOST_OUTCOMES),
            difficulty=known.difficulty,
            agents=registry.values(),
            prices=PriceTable.from_environment(environ),
            clock=clock,
            versions=registry.versions(),
        )
        self.planner: Planner = planner or self.team.planner
        self._gated = self.team.gated if planner is None else None
        # The router knows everyone, so that it can say who could do a task if only a model were there.
        self.optimizer = DAAOOptimizer(self.profiler, registry.runnable(), strategies=known.strategies)
        self.router = HALORouter(
            registry,
            rules=_before_folder_rules(rules, self.team.rules),
            enable_cost_optimization=True,
            cost_profiler=self.profiler,
            daao_optimizer=self.optimizer,
            pin_rules=rules is not None,  # the user's own rules are orders, and the others only advice
        )
        self.validator = AOPValidator(registry, self.profiler, detector=detector, strategies=known.strategies)
        self.explorer = Explorer(share=explore)
        self.reflector = reflector
        self.checks = Checks(validators=validators if validators is not None else {})
        self.limits = limits or ExecutionLimits.with_room_for_calls(self.team.call_timeout_s)
        self.origin = dict(origin or {})
        self.executor = Executor(
            registry,
            backend=make_backend(backend) if isinstance(backend, str) else backend,
            timer=timer,
            clock=clock,
        )
        self._timer = timer
        self._clock = clock
        self._heartbeat = heartbeat

    async def run(
        self,
        request: str | Path | Plan,
        *,
        budget_usd: float | None = None,
        deadline_s: float | None = None,
        min_quality: float | None = None,
        max_tokens: int | None = None,
        on_event: EventWatcher | None = None,
        on_text: Callable[[PartialText], None] | None = None,
    ) -> Run:
        """Plan, route, validate and run a request, and return the run with its answer and costs.

        A run in which a task needs a person ends as `waiting` once nothing else is left to do: see `answer`, `resume`.

        Args:
            request: The user's words; or a plan: a file (as a Path), or a Plan.
            budget_usd, deadline_s, min_quality, max_tokens: See RunLimits.
            on_event: Called with every event as it happens.
            on_text: Called with pieces of text as models write them.

        Raises:
            InvalidInput: nothing has run: the request, a limit or the plan is wrong, or the plan was refused.
            KapelleError: the model that plans, or the ledger, is out of reach.
            LeaseLost: another engine has taken the run over; this one has stopped.
            asyncio.CancelledError: the caller was cancelled; the run is recorded as stopped.
        """
        terms = RunLimits(budget_usd=budget_usd, deadline_s=deadline_s, min_quality=min_quality, max_tokens=max_tokens)
        given = self._take_given(request)
        words = given.request if given is not None else _check_words(request)
        _check_watcher(on_event)
        self._check_prices(terms, given)
        async with self._custody(self.ledger.new_run_id()) as custody:
            journal = Journal(
                self.ledger,
                custody.lease.run_id,
                lease=custody.lease,
                on_event=on_event,
                on_outcome=self.profiler.record_outcome,
                timer=self._timer,
            )
            settings = read_json_value(
                {
                    **terms.asked(),
                    "model": self.team.model_name,
                    "origin": self.origin,
                    "given": given is not None,
                    **self._ways(),
                }
            )
            journal.write("run_started", {"request": words, "settings": settings, "owner": custody.lease.owner})
            budget = Budget(usd=budget_usd, tokens=max_tokens)
            return await self._conduct(
                words, given, terms, budget, journal, custody, deadline_s=deadline_s, on_text=on_text
            )

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
        _check_watcher(on_event)
        run_id = self.ledger.run(run_id).run_id
        async with self._custody(run_id) as custody:
            run = self.ledger.run(run_id)  # from here on nobody else writes it
            going_on = prepare(run, {"budget_usd": budget_usd, "deadline_s": deadline_s, "max_tokens": max_tokens})
            terms = going_on.terms
            self._check_prices(terms, recorded_plan(run))
            budget = Budget(usd=terms.budget_usd, tokens=terms.max_tokens, spent=going_on.spent)
            approved = None if going_on.state == "planning" else await self._approve_rest(going_on, budget)
            journal = Journal(
                self.ledger,
                run_id,
                lease=custody.lease,
                events=run.events,
                on_event=on_event,
                on_outcome=self.profiler.record_outcome,
                timer=self._timer,
            )
            _write_resumption(journal, going_on, custody.lease.owner, self._ways())
            return await self._conduct(
                run.request,
                recorded_plan(run),
                terms,
                budget,
                journal,
                custody,
                deadline_s=going_on.deadline_s,
                on_text=on_text,
                approved=approved,
                before=journal.run(),
            )

    def run_sync(self, request: str | Path | Plan, **terms: Any) -> Run:
        """Do as `run` does, with its arguments, and wait for it: for code that is not async.

        Raises:
            InvalidInput: an event loop runs here already, as in a notebook: `await engine.run(...)` there.
        """
        _check_no_loop("run")
        return asyncio.run(self.run(request, **terms))

    def resume_sync(self, run_id: str, **terms: Any) -> Run:
        """Do as `resume` does, with its arguments, and wait for it: see `run_sync`."""
        _check_no_loop("resume")
        return asyncio.run(self.resume(run_id, **terms))

    async def stream(
        self, request: str | Path | Plan | None = None, *, resume: str | None = None, **terms: Any
    ) -> AsyncIterator[Event | PartialText]:
        """Run a request, or go on with a run, and yield what happens: the journal's events, and text as it is written.

        The arguments are those of `run`, or of `resume`. Who stops listening stops the run; it can be resumed.

        Raises:
            KapelleError: as `run` and `resume` do, after the last event.
        """
        if (request is None) == (resume is None):
            raise InvalidInput("Stream a request, or resume=RUN: one of the two.")
        items: asyncio.Queue[Event | PartialText | None] = asyncio.Queue()
        watch: dict[str, Any] = {"on_event": items.put_nowait, "on_text": items.put_nowait}
        doing = self.run(request, **terms, **watch) if request is not None else None
        work = asyncio.create_task(doing if doing is not None else self.resume(str(resume), **terms, **watch))

        def ended(work: asyncio.Task[Run]) -> None:
            if not work.cancelled():
                work.exception()  # seen: asyncio does not complain where nobody listens any more
            items.put_nowait(None)

        work.add_done_callback(ended)
        try:
            while (item := await items.get()) is not None:
                yield item
            await work
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait({work})

    def questions(self, run_id: str | None = None) -> tuple[Question, ...]:
        """Return what people have not answered yet, of one run or of all, oldest first."""
        return self.ledger.questions(None if run_id is None else self.ledger.run(run_id).run_id)

    def approve(self, question_id: str, note: str = "", *, by: str = "") -> Question:
        """Let a task go on that asks for approval. See `answer`."""
        return self._say(question_id, True, note, by, kind="approval")

    def reject(self, question_id: str, note: str = "", *, by: str = "") -> Question:
        """Refuse a task that asks for approval: it fails, for the reason in the note. See `answer`."""
        return self._say(question_id, False, note, by, kind="approval")

    def answer(self, question_id: str, value: Any, note: str = "", *, by: str = "") -> Question:
        """Answer what a task asks. An engine that works on the run goes on with it; else `resume` does.

        Args:
            question_id: The question's id, or an unambiguous beginning of it.
            value: Plain JSON values; one of the question's options, where it has any.
            note: Why, in words.
            by: Who says so.

        Raises:
            NotFound: no open question has such an id.
            InvalidInput: it was answered already, asks for approval instead, or has other options.
        """
        return self._say(question_id, value, note, by, kind="answer")

    def stop(self, run_id: str, *, by: str = "") -> None:
        """Ask the engine that works on a run, wherever that is, to stop it cleanly. It can be resumed.

        Raises:
            InvalidInput: nobody works on the run, or it was asked already.
        """
        run = self.ledger.run(run_id)
        if run.ended or run.state == "waiting":
            raise InvalidInput(f"Run {run.run_id} is {run.state}: nobody works on it, so there is nothing to stop.")
        self.ledger.post(run.run_id, _stop_key(run.events), {"by": by})

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
        terms = RunLimits(budget_usd=budget_usd, deadline_s=deadline_s, min_quality=min_quality)
        budget = Budget(usd=budget_usd)
        given = self._take_given(request)
        words = "" if given is not None else _check_words(request)
        self._check_prices(terms, given)
        try:
            plan = given if given is not None else await self._plan(words, budget, gate_key=words)
            routing = await self._route(plan, terms, budget.left.usd)
            validation = await self._validate(plan, routing, terms, budget, given=given is not None)
            if validation.approved is None and given is None:
                plan, routing, validation = await self._mend(plan, routing, validation, terms, budget)
        except KapelleError as error:
            error.cost_usd = budget.spent.usd  # all that planning took until then
            raise
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
        terms = RunLimits(deadline_s=deadline_s, min_quality=min_quality)
        if proposal.routing.unassigned:
            task_id, reason = next(iter(proposal.routing.unassigned.items()))
            raise InvalidInput(f"Task {task_id!r} has no agent, so there is nothing to choose between: {reason}")
        constraints = OptimizationConstraints.of(terms, pinned=proposal.routing.kept)
        return await call_in_thread(
            pareto_frontier, proposal.routing, proposal.plan.graph, constraints, optimizer=self.optimizer
        )

    def rate(self, run_id: str, task_id: str | None = None, value: float | bool = 1.0, *, by: str = "") -> list[str]:
        """Say how good the answer to a task was, or the answer of a whole run: that of its last tasks. Also days later.

        It counts as measured: estimates learn from it how right the agent is whose answer was taken. Said again, the
        last word counts. No event of the run changes.

        Args:
            run_id: Its id, an unambiguous beginning of it, or `last`.
            task_id: None rates the run's last tasks, as far as they are done.
            value: 1, or True, for good; 0, or False, for bad; or what lies between.
            by: Who says so.

        Returns:
            The tasks that were rated.

        Raises:
            NotFound: there is no such run, or no such task in it.
            InvalidInput: the task is not done, or the value lies outside 0..1. Nothing is rated.
        """
        try:
            share = 1.0 if value is True else 0.0 if value is False else read_share(value, "value")
        except RefusedFigure:
            raise InvalidInput(f"{show_figure(value)} is no rating. Give a number from 0 (bad) to 1 (good).") from None
        run = self.ledger.run(run_id)
        rows = [
            rating_row(run.run_id, name, kind, agent, share, by=by[:200], at=self.ledger.now())
            for name, kind, agent in find_rated(run, task_id)
        ]
        for row in rows:
            self.ledger.record(row)
        self._relearn()
        return [row.task_id for row in rows]

    def forget(
        self,
        agent: str,
        task_type: str | None = None,
        before: float | None = None,
        *,
        by: str = "",
        dry_run: bool = False,
    ) -> int:
        """Let what an agent did so far count no more, because it was mended for instance; return how many outcomes.

        No run changes, and nothing is deleted: estimates pass over these outcomes from now on. What `kapelle learn` has
        made of them stays until it is called again.

        Args:
            agent: Its id.
            task_type: Only this type of task; None means all.
            before: Only what ended before this time, in seconds since the epoch.
            by: Who says so.
            dry_run: Only count.

        Raises:
            NotFound: nothing that is meant is in the ledger.
            InvalidInput: `before` is no time.
        """
        if before is not None and (
            isinstance(before, bool) or not isinstance(before, (int, float)) or not math.isfinite(before)
        ):
            raise InvalidInput(f"before={before!r:.40} is no time. Give seconds since the epoch.")
        row = forget_row(agent, task_type, before, by=by[:200], at=self.ledger.now())
        known = self.ledger.outcomes(agent=agent, limit=MOST_OUTCOMES)
        count = sum(is_forgotten(outcome, row) for outcome in known)
        if not count:
            raise NotFound(nothing_to_forget(agent, task_type, known, self.ledger.outcomes(limit=MOST_OUTCOMES)))
        if not dry_run:
            self.ledger.record(row)
            self._relearn()
        return count

    def _relearn(self) -> None:
        self.profiler.relearn(self.ledger.outcomes(limit=MOST_OUTCOMES))

    def close(self) -> None:
        """Close the ledger. Closing twice is allowed."""
        self.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _conduct(
        self,
        words: str,
        given: Plan | None,
        terms: RunLimits,
        budget: Budget,
        journal: Journal,
        custody: Custody,
        *,
        deadline_s: float | None,
        on_text: Callable[[PartialText], None] | None,
        approved: ApprovedPlan | None = None,
        before: Run | None = None,
    ) -> Run:
        """Take a run from where it is to its end: plan it, unless that is done, and execute it.

        `before` is a run that goes on, as it is now that it was resumed.
        """
        started = self._timer()
        mark = MEMORY_MARK if self.team.has_data else ""
        planning_time = asyncio.timeout(deadline_s)
        try:
            kept: set[str] = set() if before is None else set(before.routing.get("pinned", ()))
            if before is not None and before.graph is not None and isinstance(self.router, HALORouter):
                kept |= self.router.find_pinned(before.graph)  # what the graph has grown by among them
            if approved is None:
                async with planning_time:
                    approved = await self._make_plan(words, given, terms, budget, journal, kept)
            complexities = estimate_complexities(approved.dag)
            left_s = None if deadline_s is None else max(1e-3, deadline_s - (self._timer() - started))
            ending = await self.executor.execute(
                approved,
                journal,
                budget=budget,
                checks=self.checks,
                request=words,
                limits=replace(self.limits, deadline_s=_least(left_s, self.limits.deadline_s)),
                growth=self._growth(terms, budget, kept, complexities),
                fallbacks=NextBest(
                    self.team.registry,
                    self.profiler,
                    kept=kept,
                    complexities=complexities,
                    router=self.router if isinstance(self.router, HALORouter) else None,
                ),
                earlier=None if before is None else ResumeState.of(before),
                inbox=custody,
                stop_key=_stop_key(() if before is None else before.events),
                on_text=on_text,
            )
        except asyncio.CancelledError:
            run = journal.run()
            if run.tasks and all(task.state == "done" for task in run.tasks.values()):
                _finish(journal, budget, "done", None, mark=mark)  # there was nothing left to interrupt
            else:
                _finish(journal, budget, "stopped", "It was interrupted.", mark=mark)
            raise
        except LeaseLost:
            raise  # the run is another engine's: nothing of it is ours to write
        except BaseException as error:
            if isinstance(error, TimeoutError) and planning_time.expired():
                return _finish(journal, budget, "stopped", "The deadline was reached while planning.")
            if approved is None:  # it came to no plan, and the ledger says so, unless it is what failed
                with suppress(LedgerBusy, LeaseLost):
                    _finish(journal, budget, "failed", error_text(error))
            for name, value in (("run_id", journal.run_id), ("cost_usd", budget.spent.usd)):
                with suppress(Exception):  # a class of somebody else's may take no such thing
                    setattr(error, name, value)
            raise  # what ran is cut off, as by a crash: what becomes of it is said when the run is resumed
        if ending.state == "waiting":
            overrun_usd = journal.run().overrun_usd + budget.own_overrun_usd
            journal.write("run_waiting", {"overrun_usd": overrun_usd} if overrun_usd else None)
            return journal.run()
        return _finish(journal, budget, ending.state, ending.stop_reason, mark=mark)

    async def _make_plan(
        self, words: str, given: Plan | None, terms: RunLimits, budget: Budget, journal: Journal, kept: set[str]
    ) -> ApprovedPlan:
        """Plan, route and validate a request. Each step is journaled.

        Raises:
            PlanRejected: the plan is not approved.
        """
        if given is not None:
            plan = given
        else:
            plan = await self._plan(words, budget, journal, gate_key=journal.run_id)
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
        kept.update(routing.metadata.get("pinned", ()))
        return validation.approved

    async def _approve_rest(self, going_on: Resumption, budget: Budget) -> ApprovedPlan:
        """Approve what is left of a run's plan, with new agents for tasks whose own are gone.

        Its cost is not held against the budget once more: it goes as far as that reaches, and then stops cleanly.
        """
        run, finished = going_on.run, going_on.finished
        assert run.graph is not None
        routing = recorded_routing(run, self.team.registry.runnable(), finished)
        recorded = frozenset(routing.assignments)
        part = part_without_agents(run.graph, routing)
        if len(part):
            plan = Plan(request=run.request, graph=part, planner=run.planner)
            found = await self._route(plan, replace(going_on.terms, deadline_s=None), budget.left.usd)
            routing = replace(
                routing,
                assignments={**routing.assignments, **found.assignments},
                explanations={**routing.explanations, **found.explanations},
                strategies={**routing.strategies, **found.strategies},
                unassigned=found.unassigned,
            )
        validation = await self.validator.validate_routing_plan(
            routing, run.graph, finished=finished, approved=recorded
        )
        if validation.approved is None:
            raise PlanRejected(validation.errors)
        return validation.approved

    def _ways(self) -> dict[str, Any]:
        """How this engine works, for whoever makes another one to go on with its runs."""
        backend = self.executor.backend.name
        return {"backend": backend, "hedge": self.limits.hedge is not None, "explore": self.explorer.share}

    def _custody(self, run_id: str) -> Custody:
        return Custody(self.ledger, run_id, heartbeat=self._heartbeat(), timer=self._timer)

    def _say(self, question_id: str, value: Any, note: str, by: str, *, kind: str) -> Question:
        value = read_json_value(value)
        found = [one for one in self.ledger.questions() if question_id and one.question_id.startswith(question_id)]
        if len(found) != 1:
            what = "Several open questions have" if found else "No open question has"
            raise NotFound(f"{what} the id {question_id!r}. `kapelle questions` lists them.")
        question = found[0]
        if question.kind != kind:
            way = "approve or reject it" if kind == "answer" else "answer it"
            raise InvalidInput(f"Question {question.question_id} asks for an {question.kind}: {way}.")
        if question.options and value not in question.options:
            raise InvalidInput(f"Question {question.question_id} takes one of: {', '.join(question.options)}.")
        message = answer_message(question, answer=value, note=note, by=by)
        self.ledger.post(question.run_id, question.question_id, message)
        return replace(question, answer=value, note=note, by=by)

    def _take_given(self, request: str | Path | Plan) -> Plan | None:
        """Return the plan that the user gave; a `<graph>` names functions, as models call them, and not types."""
        given = _given_plan(request)
        if given is None or not (isinstance(request, Path) and request.suffix.lower() == ".xml"):
            return given
        graph, notes = fit_types(given.graph, self.team.registry.runnable(), among=HARMLESS_TYPES)
        return replace(given, graph=graph, notes=(*given.notes, *notes))

    def _check_prices(self, terms: RunLimits, plan: Plan | None) -> None:
        if terms.budget_usd is not None:
            self.team.check_prices(None if plan is None else plan.graph)

    async def _plan(
        self,
        words: str,
        budget: Budget,
        journal: Journal | None = None,
        *,
        gate_key: str | None = None,
        problems: Sequence[str] = (),
    ) -> Plan:
        before = budget.spent.usd
        if journal is not None and self.team.planning_cost_usd:
            journal.write("planning_started", {"reserved_usd": self.team.planning_cost_usd})
        try:
            return await self._ask_planner(words, budget, gate_key, problems)
        except BaseException as error:
            if journal is not None:  # planning that came to nothing has its price
                spent = {"planning_cost_usd": budget.spent.usd - before}
                journal.write("planning_spent", {"reason": error_text(error), **spent})
            raise

    async def _ask_planner(self, words: str, budget: Budget, gate_key: str | None, problems: Sequence[str]) -> Plan:
        try:
            reservation = budget.reserve(usd=self.team.planning_cost_usd, tokens=self.team.planning_tokens)
        except BudgetExceeded as short:
            raise BudgetExceeded(short.resource, wanted=short.wanted, left=short.left, purpose="planning") from None
        try:
            if problems and isinstance(self.planner, CorrectingPlanner):
                found = await self.planner.plan_again(words, problems, self.team.registry)
            elif problems:  # it takes nothing but words
                wrong = "\n".join(f"- {problem}" for problem in problems)
                words = f"{words}\n\nA first plan for this was refused, because:\n{wrong}"
                found = await self.planner.plan(words, self.team.registry)
            elif self._gated is not None and gate_key is not None:
                found = await self._gated.plan(words, self.team.registry, key=gate_key)
            else:
                found = await self.planner.plan(words, self.team.registry)
            plan = take_plan(found, set_aside_usd=reservation.usd)
        except BaseException as error:
            _settle_failed(budget, reservation, error)
            raise
        budget.commit(reservation, usd=plan.cost_usd, tokens=plan.usage.tokens)
        return replace(plan, notes=(*plan.notes, *self.team.notes))

    async def _route(self, plan: Plan, terms: RunLimits, left_usd: float) -> RoutingPlan:
        constraints = OptimizationConstraints.of(replace(terms, budget_usd=_finite(left_usd), spent_usd=None))
        routing = await self.router.route_tasks(
            plan.graph, available_agents=self.team.registry.runnable(), optimization_constraints=constraints
        )
        avoid_hopeless(routing, plan.graph, self.team.registry.runnable(), self.profiler)
        follow_orders(routing, plan.graph, self.team.registry.runnable())
        for task_id in routing.unassigned:
            routing.unassigned[task_id] += self.team.hint_for(plan.graph[task_id])
            if plan.planner.startswith("file ") and plan.graph[task_id].strategy is not None:
                routing.unassigned[task_id] += f" It stands in {plan.planner.removeprefix('file ')}."
        return routing

    async def _validate(
        self,
        plan: Plan,
        routing: RoutingPlan,
        terms: RunLimits,
        budget: Budget,
        journal: Journal | None = None,
        *,
        given: bool = False,
    ) -> ValidationResult:
        # Whether a plan covers its request is judged by words. Who wrote the plan knows better.
        result = await self.validator.validate_routing_plan(
            routing,
            plan.graph,
            limits=terms.after(budget.spent.usd),
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
        terms: RunLimits,
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
            problems = [f"{issue.message} {issue.way_out}" for issue in validation.errors]
            with suppress(InvalidPlan):  # then the first plan is mended as far as that goes
                again = await self._plan(plan.request, budget, journal, problems=problems)
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
            limits=terms.after(budget.spent.usd),
            available_agents=self.team.registry.runnable(),
            router=self.router,
        )
        notes = (*notes, *(f"Repaired: {edit.summary}" for edit in mended.edits))
        return replace(plan, graph=mended.dag, notes=notes), mended.routing_plan, mended.result

    def _growth(self, terms: RunLimits, budget: Budget, kept: set[str], complexities: dict[str, float]) -> GraphChanges:
        return GraphChanges(
            approver=_Approver(self, terms, budget, kept, complexities),
            replanner=self.team.replanner,
            replanning_cost_usd=self.team.planning_cost_usd,
            replanning_is_priced=self.team.planning_is_priced,
            replanning_tokens=self.team.planning_tokens,
            reflector=self.reflector,
            reflection_cost_usd=self.team.planning_cost_usd,
            reflection_tokens=self.team.planning_tokens,
        )


def _before_folder_rules(own: Iterable[RoutingRule] | None, team: tuple[RoutingRule, ...]) -> tuple[RoutingRule, ...]:
    """Return the rules of the user's, and after them those of the team about tasks that they do not speak of."""
    orders = tuple(own or ())
    names = {rule.rule_id for rule in orders}
    least = min((rule.priority for rule in orders), default=0)
    return (*orders, *(replace(rule, priority=least) for rule in team if rule.rule_id not in names))


def _settle_failed(budget: Budget, reservation: Reservation, error: BaseException) -> None:
    """Charge what a planner's call that came to nothing has cost: what it says or, if that is unknown, all that was
    set aside for it. See `KapelleError.sent`."""
    told = read_spent(error)
    if told is None or told.cost_usd is None:
        budget.commit(reservation)
    else:
        budget.commit(reservation, usd=told.cost_usd, tokens=told.usage.tokens)


def _finish(journal: Journal, budget: Budget, state: RunState, stop_reason: str | None, *, mark: str = "") -> Run:
    """Write down how a run ended, with its answer as far as there is one, and return the run.

    `mark` stands after what comes from the memory of a model: see `compose_answer`.
    """
    run = journal.run()
    from_memory = {name for name, task in run.tasks.items() if task.from_memory}
    data = {
        "state": state,
        "stop_reason": stop_reason,
        "answer": "" if run.graph is None else compose_answer(run.graph, run.results, from_memory, mark=mark),
        "overrun_usd": run.overrun_usd + budget.own_overrun_usd,
    }
    journal.write("run_finished", data)
    return journal.run()


def _write_resumption(journal: Journal, going_on: Resumption, owner: str, ways: Mapping[str, Any]) -> None:
    """Write down that a run goes on, and first of all what its end had left open."""
    before = going_on.run.settings
    new = {name: value for name, value in ways.items() if name in before and before[name] != value}
    settings = read_json_value({**going_on.changed, **new})
    journal.write("run_resumed", {"state": going_on.state, "owner": owner, "settings": settings})
    if going_on.open_planning_usd:
        journal.write("planning_spent", {"reason": CUT_OFF, "planning_cost_usd": going_on.open_planning_usd})
    for one in going_on.interruptions:
        charged = {"cost_usd": one.cost_usd, "cost_assumed": True} if one.cost_usd else {}
        journal.write("task_interrupted", {"reason": CUT_OFF, **charged}, task_id=one.task_id)


def _stop_key(events: Iterable[Event]) -> str:
    """Return the key of the message that stops a run in its present session: an earlier one's is void."""
    return f"{STOP}-{sum(1 for event in events if event.kind == 'run_resumed')}"


class _Approver:
    """Routes and validates what a graph has grown by: see PlanApprover. New tasks go the way of the first ones."""

    def __init__(
        self, engine: Engine, terms: RunLimits, budget: Budget, kept: set[str], complexities: dict[str, float]
    ) -> None:
        self._complexities = complexities
        self._engine = engine
        self._terms = terms
        self._budget = budget
        self._kept = kept

    async def approve(self, dag: TaskDAG, current: ApprovedPlan, begun: Collection[str]) -> ApprovedPlan:
        known = {task_id: agent for task_id, agent in current.assignments.items() if task_id in dag}
        part = part_without_agents(dag, RoutingPlan(assignments=known))
        costs = {task_id: current.estimates[task_id].cost_usd for task_id in known}
        ahead = sum(cost for task_id, cost in costs.items() if task_id not in begun)
        left = self._budget.left.usd
        plan = Plan(request=current.request or "", graph=part, planner="expansion")
        routing = await self._engine._route(plan, replace(self._terms, deadline_s=None), max(0.0, left - ahead))
        self._kept.update(routing.metadata.get("pinned", ()))
        self._complexities.update(estimate_complexities(dag))
        merged = RoutingPlan(
            assignments={**known, **routing.assignments},
            explanations={**current.explanations, **routing.explanations},
            strategies={
                **{name: way for name, way in current.strategies.items() if name in known},
                **routing.strategies,
            },
            unassigned=routing.unassigned,
            metadata={"pinned": sorted(self._kept), "firm": sorted(routing.metadata.get("firm", ()))},
        )
        # The validator adds up all tasks of the graph; what has begun has left the budget already. The words of the
        # request are no measure here: they are covered by the task whose place the new ones take.
        able = self._engine.team.registry.runnable()
        # In a resumed run the agents of tasks that are over may be gone: nothing about such a task is wrong.
        gone = {
            name
            for name in known
            if name in begun and any(one not in able for one in agents_of(current.strategy_of(name)))
        }
        limit = _finite(left + sum(costs[name] for name in known if name in begun and name not in gone))
        validator = self._engine.validator
        validation = await validator.validate_routing_plan(merged, dag, max_budget=limit, approved=known, finished=gone)
        if validation.approved is None:
            mended = await validator.repair(
                merged,
                dag,
                max_budget=limit,
                finished=known,
                over=gone,
                available_agents=able,
                router=self._engine.router,
            )
            validation = mended.result
        if validation.approved is None:
            raise PlanRejected(validation.errors)
        return validation.approved


def _by_words(issue: Issue) -> bool:
    """Whether an issue was found by comparing the words of the plan with those of the request."""
    return issue.kind in ("complete", "goal") and issue.task_id is None


def _check_watcher(on_event: object) -> None:
    if on_event is not None and not callable(on_event):
        raise InvalidInput(f"on_event={on_event!r:.80} is no function.")
    if inspect.iscoroutinefunction(on_event) or inspect.iscoroutinefunction(getattr(on_event, "__call__", None)):  # noqa: B004 - the method itself is asked for
        raise InvalidInput("on_event is async, and nobody would await it. Give a plain function, or use engine.stream.")


def _check_no_loop(name: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise InvalidInput(
        f"engine.{name}_sync(...) waits, and an event loop runs here already, as in every notebook cell: it would "
        f"stand still. Write `await engine.{name}(...)` instead; where that cannot be, have another thread call it: "
        f"`await asyncio.to_thread(engine.{name}_sync, ...)`."
    )


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _finite(amount: float) -> float | None:
    return amount if math.isfinite(amount) else None


def _given_plan(request: str | Path | Plan) -> Plan | None:
    if isinstance(request, Plan):
        usage, cost_usd = read_usage(request.usage), read_usd(request.cost_usd)
        return take_plan(replace(request, request=_check_words(request.request), usage=usage, cost_usd=cost_usd))
    return read_plan(request) if isinstance(request, Path) else None


def _check_words(request: object) -> str:
    if not isinstance(request, str):
        raise InvalidInput(f"A request is a text, a Path to a plan file or a Plan, not {type(request).__name__}.")
    return request.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate could not be stored or printed
