"""What a planner does: a request goes in, a graph of tasks comes out. Gives no task to an agent: see routing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidPlan
from kapelle.graph import GraphPatch, Task, TaskDAG
from kapelle.ledger import NOTHING, RefusedFigure, Usage, read_usage, read_usd
from kapelle.redaction import join_surrogates


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Reflection:
    """A change to the rest of a plan that is under way, and why."""

    patch: GraphPatch | None
    """What to change; None to go on as planned."""
    reason: str = ""
    notes: tuple[str, ...] = ()
    """What was mended in a model's reply."""
    usage: Usage = Usage()
    cost_usd: float = 0.0


_PLANNER = "The planner"


def take_plan(found: object, *, set_aside_usd: float = 0.0) -> Plan:
    """Return the plan that a planner gave, with texts and figures that every store keeps.

    A figure that is none is no reason to throw the plan away: what was set aside counts then, and a note says so.

    Raises:
        InvalidPlan: it is no plan.
    """
    if not isinstance(found, Plan) or not isinstance(found.graph, TaskDAG):
        raise InvalidPlan(f"A planner gave a {type(found).__name__}; give a Plan with a TaskDAG.", place="planner")
    texts = (found.request, found.planner, *found.notes)
    if not all(isinstance(text, str) for text in texts):
        raise InvalidPlan("A plan's request, planner and notes are texts.", place="planner")
    request, planner, *notes = (join_surrogates(str.__str__(text)) for text in texts)
    try:
        usage, cost_usd = read_usage(found.usage, by=_PLANNER), read_usd(found.cost_usd, by=_PLANNER)
    except RefusedFigure as problem:
        notes.append(f"{problem} ${set_aside_usd:.4g} was charged, as had been set aside for it.")
        usage, cost_usd = NOTHING, set_aside_usd
    # A graph of the run's own: whoever made the plan may change theirs while it runs.
    return replace(
        found,
        request=request,
        graph=found.graph.copied(),
        planner=planner,
        notes=tuple(notes),
        usage=usage,
        cost_usd=cost_usd,
    )


class PaidInvalidPlan(InvalidPlan):
    """A model sent nothing usable, and is paid all the same: `usage` and `cost_usd` say what for all attempts."""

    def __init__(self, message: str, *, usage: Usage, cost_usd: float) -> None:
        self.usage: Usage = read_usage(usage)
        self.cost_usd = read_usd(cost_usd)
        super().__init__(message, place="model reply")


class DraftMender(Protocol):
    """Mends a plan that a model wrote, for nothing, before the model is paid to write another: see validation."""

    def __call__(self, tasks: Iterable[Task]) -> tuple[TaskDAG, tuple[str, ...]] | None:
        """Return the graph of tasks that need be none, and a sentence on each change; None where the model must say
        what it meant."""
        ...


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


@runtime_checkable
class CorrectingPlanner(Protocol):
    """A planner that tells what is asked for from what was wrong with an earlier plan."""

    async def plan_again(self, request: str, problems: Sequence[str], agents: Mapping[str, AgentCapability]) -> Plan:
        """Return another plan for a request; the errors are those of `Planner.plan`.

        Args:
            request: The user's words, as they were.
            problems: Why the earlier plan was refused, a sentence or two each. They are no part of the request.
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
