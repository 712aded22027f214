"""Plans with a model, and by rules where it sends nothing usable: what was paid for nothing still counts.

Where a folder was given it is asked before the model: a request that rules understand to its last word, and whose first
tasks the folder answers, is planned by them, at once and for nothing. A model could only make that worse.

Over a folder it is also said what the tables lack for an answer, where no rule fits.

What rules do not understand goes whole to one agent, where one takes it. Only where none does is there no plan.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace

from kapelle.agents import AgentCapability
from kapelle.errors import CannotPlan, InvalidInput
from kapelle.graph import Task, TaskDAG, escape_braces
from kapelle.ledger import Usage

from .planner import CorrectingPlanner, PaidInvalidPlan, PartPlanner, Plan, Planner

_TAKES_A_TEXT = ("answer", "write", "respond", "research", "report")
"""Types whose agents do with a request as it stands, best first."""


class FallbackPlanner:
    """Plans with one planner, and with another where the first one's model sends nothing usable.

    Args:
        planner: Asks a model.
        rules: Plans without one, or says that it cannot.
        answers: Whether the folder that was given answers a task which waits for no other; None without a folder.
        kinds: The types of tasks that rules may plan with before the model was asked.
        asks_folder: The types of task for which a folder is asked; none without a folder.
        writes: The types of task that work on what others found, and ask nobody.
    """

    def __init__(
        self,
        planner: Planner,
        rules: Planner,
        *,
        answers: Callable[[Task], Awaitable[bool]] | None = None,
        kinds: Collection[str] = (),
        asks_folder: Collection[str] = (),
        writes: Collection[str] = (),
    ) -> None:
        self._planner = planner
        self._rules = rules
        self._answers = answers
        self._kinds = kinds
        self._asks_folder = frozenset(asks_folder)
        self._writes = frozenset(writes)

    async def plan(self, request: str, agents: Mapping[str, AgentCapability]) -> Plan:
        """Return a plan for the request.

        Raises:
            PaidInvalidPlan: the model sent nothing usable, rules do not understand the request, and no agent takes it
                whole.
        """
        if (known := await self._plan_known(request, agents)) is not None:
            return known
        try:
            plan = await self._planner.plan(request, agents)
        except PaidInvalidPlan as error:
            return await self._fall_back(request, agents, error)
        if not self._asks_folder or not all(task.task_type in self._writes for task in plan.graph):
            return plan
        return await self._ask_the_folder(request, agents, plan)

    async def _plan_known(self, request: str, agents: Mapping[str, AgentCapability]) -> Plan | None:
        """The plan by rules, where the folder answers every task that it begins with."""
        if self._answers is None:
            return None
        try:
            plan = await self._rules.plan(request, agents)
        except InvalidInput:
            return None
        if any(task.task_type not in self._kinds for task in plan.graph):
            return None
        first = [task for task in plan.graph if not task.dependencies]
        return plan if all([await self._answers(task) for task in first]) else None

    async def plan_again(self, request: str, problems: Sequence[str], agents: Mapping[str, AgentCapability]) -> Plan:
        """Plan anew, with the model alone: the earlier plan is there, and may be mended. See CorrectingPlanner."""
        if isinstance(self._planner, CorrectingPlanner):
            return await self._planner.plan_again(request, problems, agents)
        return await self._planner.plan(request, agents)

    async def plan_part(self, request: str, material: str, agents: Mapping[str, AgentCapability]) -> Plan:
        """Plan a part of a larger request, with the model alone: rules know nothing of what it is a part of."""
        if isinstance(self._planner, PartPlanner):
            return await self._planner.plan_part(request, material, agents)
        return await self._planner.plan(f"{request}\n{material}", agents)

    async def _ask_the_folder(self, request: str, agents: Mapping[str, AgentCapability], plan: Plan) -> Plan:
        """The rules' plan, where the model's asks the folder nothing and theirs does: else its memory would answer."""
        try:
            ruled = await self._rules.plan(request, agents)
        except InvalidInput:
            return plan
        if not any(task.task_type in self._asks_folder for task in ruled.graph):
            return plan
        return replace(
            ruled,
            notes=("The model's plan asks the folder nothing. It was planned by rules instead.", *ruled.notes),
            usage=ruled.usage + plan.usage,
            cost_usd=ruled.cost_usd + plan.cost_usd,
        )

    async def _fall_back(self, request: str, agents: Mapping[str, AgentCapability], error: PaidInvalidPlan) -> Plan:
        try:
            plan = await self._rules.plan(request, agents)
            how = "It was planned by rules instead."
        except InvalidInput:
            whole = _whole(request, agents)
            if whole is None:
                raise error from None
            plan, how = whole, "One agent was given the request whole instead."
        return replace(
            plan,
            notes=(f"{error} {how}", *plan.notes),
            usage=plan.usage + (error.usage or Usage()),
            cost_usd=plan.cost_usd + (error.cost_usd or 0.0),
        )


def _whole(request: str, agents: Mapping[str, AgentCapability]) -> Plan | None:
    """The request as one task, of the best type that somebody takes."""
    taken = {kind for agent in agents.values() for kind in agent.task_types}
    kind = next((kind for kind in _TAKES_A_TEXT if kind in taken or "*" in taken), None)
    if kind is None:
        return None
    task = Task(task_id="s1", task_type=kind, description=request, inputs={"request": escape_braces(request)})
    return Plan(request=request, graph=TaskDAG([task]), planner="one agent")


class OverTables:
    """Plans as `planner` does; `why(request)` says why the tables do not answer it, empty where there is nothing."""

    def __init__(self, planner: Planner, why: Callable[[str], str]) -> None:
        self._planner = planner
        self._why = why

    async def plan(self, request: str, agents: Mapping[str, AgentCapability]) -> Plan:
        try:
            return await self._planner.plan(request, agents)
        except CannotPlan as error:
            if not str(error).startswith("No rule fits") or not (why := self._why(request)):
                raise
            raise CannotPlan(f"The tables do not answer it: {why} {error}") from None
