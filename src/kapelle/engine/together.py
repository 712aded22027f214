"""Several requests planned together, for one budget and one deadline, by agents that are theirs in common.

    plan, route each -> assign all tasks together -> validate each

Each request becomes a `Proposal` of its own; `Engine.run` does it as assigned here, and has it validated once more.
Runs nothing, and makes no plan of its own: how one request is prepared is said in `preparation`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kapelle.agents import call_in_thread
from kapelle.allocation import DAAOOptimizer, OptimizationConstraints, OptimizedPlan
from kapelle.errors import InvalidInput, KapelleError
from kapelle.limits import RunLimits
from kapelle.planning import Plan
from kapelle.strategies import agents_of

from .preparation import Preparation
from .proposal import Proposal
from .request import Request, read_request

if TYPE_CHECKING:
    from kapelle.allocation import JointPlan

    from .team import Team

RequestLike = str | Path | Plan

_MAX_NAME = 40
"""Characters of a request that a message shows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JointProposal:
    """Several requests as they would be run together. Nothing has run."""

    proposals: tuple[Proposal, ...]
    """One for each request, in their order, validated for its share of the budget."""
    names: tuple[str, ...]
    """What messages call the requests."""
    joint: JointPlan
    """What all of them come to together, by these names, and what is proven about that."""
    limits: RunLimits
    """What they are held to together; planning has spent `limits.spent_usd`."""

    @property
    def passed(self) -> bool:
        """Whether all of them together keep the limits, and each one may run."""
        kept = self.joint.status in ("optimal", "feasible")
        return kept and all(one.validation.passed for one in self.proposals)

    @property
    def cost_usd(self) -> float:
        """What all of them are expected to cost, planning aside."""
        return sum(one.validation.estimated_cost for one in self.proposals)

    @property
    def seconds(self) -> float:
        """What they are expected to take, at the same time and if nothing waits: as long as the longest of them."""
        return max((one.validation.estimated_time for one in self.proposals), default=0.0)

    @property
    def shared_agents(self) -> Mapping[str, tuple[str, ...]]:
        """The agents that work for several requests, and the names of these."""
        who: dict[str, dict[str, None]] = {}
        for name, one in zip(self.names, self.proposals, strict=True):
            strategies = one.routing.strategies
            for task_id, agent in one.routing.assignments.items():
                for asked in agents_of(strategies[task_id]) if task_id in strategies else (agent,):
                    who.setdefault(asked, {})[name] = None
        return {agent: tuple(names) for agent, names in who.items() if len(names) > 1}


class Together:
    """The part of an engine that plans several requests at once."""

    team: Team
    optimizer: DAAOOptimizer
    _preparation: Callable[[RunLimits, None], Preparation]
    _check_prices: Callable[[RunLimits, Plan | None], None]

    async def plan_many(
        self,
        requests: Iterable[RequestLike],
        *,
        budget_usd: float | None = None,
        deadline_s: float | None = None,
        min_quality: float | None = None,
    ) -> JointProposal:
        """Return what several requests would become together, without running them, at least cost in sum.

        No agent gets more tasks of a level, over all requests, than it does at a time, as far as others can take them;
        what is left waits, and `joint.waiting` says so. `run` does a proposal as it was assigned here.

        Args:
            requests: Words, files (as Paths) and Plans.
            budget_usd: Dollars for all of them, planning included. Each is given a share, by what it is expected to
                cost, and its run is held to that.
            deadline_s: Seconds within which each of them is to be done; they may run at the same time.
            min_quality: See RunLimits, for each of them.

        Raises:
            InvalidInput: a request, a limit or a plan is wrong; which one, the message says. Requests that cannot be
                done together are no error here: see `JointProposal.passed` and `joint.binding`.
        """
        terms = RunLimits(budget_usd=budget_usd, deadline_s=deadline_s, min_quality=min_quality)
        given = _listed(requests)
        names = tuple(_name(number, request) for number, request in enumerate(given, 1))
        wanted = []
        for name, request in zip(names, given, strict=True):
            with _Naming(name):
                one = read_request(request, self.team)
                self._check_prices(terms, one.given)
                wanted.append(one)
        preparation = self._preparation(terms, None)
        # Each is planned as if it were alone, on the money of all: what its tasks may cost is decided together.
        each = replace(preparation, terms=replace(terms, budget_usd=None))
        alone = []
        for name, one in zip(names, wanted, strict=True):
            with _Naming(name):
                alone.append(await self._propose(each, one))
        limits = terms.after(preparation.budget.spent.usd)
        joint = await self._assign(dict(zip(names, alone, strict=True)), limits)
        shares = _shares(joint, limits)
        proposals = [
            await self._settle(proposal, joint[name], replace(terms, budget_usd=shares.get(name)))
            for name, proposal in zip(names, alone, strict=True)
        ]
        return JointProposal(proposals=tuple(proposals), names=names, joint=joint, limits=limits)

    async def _propose(self, preparation: Preparation, request: Request) -> Proposal:
        before = preparation.budget.spent.usd
        try:
            found = await preparation.propose(request)
        except KapelleError as error:
            error.cost_usd = preparation.budget.spent.usd  # all that planning took until then
            raise
        return replace(found, plan=replace(found.plan, cost_usd=preparation.budget.spent.usd - before))

    async def _assign(self, proposals: Mapping[str, Proposal], limits: RunLimits) -> JointPlan:
        """Assign all tasks together. What a learned policy chose stands, as long as that keeps the limits."""

        from kapelle.allocation import optimize_portfolio  # only those who plan several plans together pay for it

        def assign(pinned: Callable[[Proposal], Collection[str]]) -> JointPlan:
            own = replace(limits, budget_usd=None)
            return optimize_portfolio(
                {
                    name: (_as_it_is(one), one.plan.graph, OptimizationConstraints.of(own, pinned=pinned(one)))
                    for name, one in proposals.items()
                },
                shared=OptimizationConstraints(max_total_cost=limits.left_usd),
                at_once={agent: card.max_concurrency for agent, card in self.optimizer.agent_registry.items()},
                optimizer=self.optimizer,
            )

        if any(map(_chosen_by_policy, proposals.values())):
            led = await call_in_thread(assign, lambda one: one.routing.fixed | _chosen_by_policy(one))
            if led.status in ("optimal", "feasible"):
                return led
        return await call_in_thread(assign, lambda one: one.routing.fixed)

    async def _settle(self, alone: Proposal, assigned: OptimizedPlan, share: RunLimits) -> Proposal:
        """Return a proposal as it was assigned together with the others, validated for its share."""
        found = assigned.optimization_details["status"] not in ("infeasible", "unknown")
        routed = alone.routing.follow(assigned) if found else alone.routing
        request = Request(words=alone.plan.request, given=alone.plan, routed=routed)
        return await self._preparation(share, None).propose(request)


class _Naming:
    """Lets an error say which request it is about."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KapelleError):
            error.args = (f"Request {self._name}: {error}", *error.args[1:])


def _listed(requests: Iterable[RequestLike]) -> list[RequestLike]:
    if isinstance(requests, (str, Path, Plan)) or not isinstance(requests, Iterable):
        raise InvalidInput("plan_many takes a list of requests. For one, there is `plan`.")
    given = list(requests)
    if not given:
        raise InvalidInput("plan_many was given no request.")
    return given


def _name(number: int, request: object) -> str:
    words = request.name if isinstance(request, Path) else request.request if isinstance(request, Plan) else request
    return f"{number}. {textwrap.shorten(str(words), _MAX_NAME, placeholder='...')}"


def _as_it_is(proposal: Proposal) -> OptimizedPlan:
    """Return who does what, strategies included, as an optimiser takes it."""
    validation, routing = proposal.validation, proposal.routing
    return OptimizedPlan(
        assignments=routing.assignments,
        strategies=routing.strategies,
        estimated_cost=validation.estimated_cost,
        estimated_time=validation.estimated_time,
        quality_score=validation.quality_score,
        cost_savings=0.0,
    )


def _chosen_by_policy(proposal: Proposal) -> frozenset[str]:
    details = proposal.routing.figures.optimization_details or {}
    return frozenset(details.get("reasons", ()))


def _shares(joint: JointPlan, limits: RunLimits) -> dict[str, float]:
    """Return what each request may spend, by what it is expected to cost: together, what the budget has left."""
    left, total = limits.left_usd, joint.total_cost
    if left is None:
        return {}
    return {
        name: round(left * plan.estimated_cost / total if total > 0 else left / len(joint), 9)
        for name, plan in joint.items()
    }
