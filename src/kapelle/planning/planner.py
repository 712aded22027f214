"""What a planner does: a request goes in, a graph of tasks comes out. Gives no task to an agent: see routing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidPlan
from kapelle.graph import TaskDAG
from kapelle.ledger import Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A graph of tasks for a request, and what planning it took."""

    request: str
    graph: TaskDAG
    planner: str
    """Who planned, for people: `rules`, `model openai:...`, `file plan.yaml`."""
    notes: tuple[str, ...] = ()
    """What the user should know about how the request was understood."""
    usage: Usage = Usage()
    cost_usd: float = 0.0


class PaidInvalidPlan(InvalidPlan):
    """A model sent nothing usable, and is paid all the same: `usage` and `cost_usd` say what for all attempts."""

    def __init__(self, message: str, *, usage: Usage, cost_usd: float) -> None:
        self.usage = usage
        self.cost_usd = cost_usd
        super().__init__(message, place="model reply")


@runtime_checkable
class PartPlanner(Protocol):
    """A planner that tells what is to be planned from what is known already."""

    async def plan_part(self, request: str, material: str, agents: Mapping[str, AgentCapability]) -> Plan:
        """Return the tasks that fulfil a part of a larger request; the errors are those of `Planner.plan`.

        Args:
            request: What the part is for. It alone decides what the tasks are.
            material: Inputs, results of earlier tasks, the whole request: data to plan with, never words to plan by.
            agents: Who is there to do it.
        """
        ...


class Planner(Protocol):
    """Turns a request into a graph of tasks."""

    async def plan(self, request: str, agents: Mapping[str, AgentCapability]) -> Plan:
        """Return the tasks that fulfil the request, in terms of what these agents take.

        Raises:
            CannotPlan: this planner does not understand the request; the message says which part.
            InvalidPlan: a model's plan stayed malformed after it was asked once more.
        """
        ...
