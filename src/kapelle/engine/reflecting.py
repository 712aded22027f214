"""Who looks at what the tasks of a run gave, how often, and what is set aside for it. Asks nobody: see execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidInput
from kapelle.execution import Reflector

if TYPE_CHECKING:
    from kapelle.planning import GraphPlanner

    from .team import Team

MAX_REFLECTIONS = 10
"""How often a model is asked in a run, or since it was gone on with: in longer ones the first results tell the most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reflecting:
    """How an engine reflects."""

    reflector: Reflector | None = None
    """The user's own."""
    planner: GraphPlanner | None = None
    """Asks a model instead."""
    is_asked_for: bool = False
    """Whether the engine's own model is to reflect."""
    cost_usd: float = 0.0
    """Dollars to set aside for one look."""
    is_priced: bool = True
    tokens: int = 0

    @classmethod
    def of(
        cls, reflector: Reflector | GraphPlanner | None, reflect: bool, team: Team, environ: Mapping[str, str]
    ) -> Self:
        """Return what an engine's arguments ask for.

        Raises:
            InvalidInput: no model is configured that could be asked, or two are to reflect.
        """
        if reflect and reflector is not None:
            raise InvalidInput("Either reflect=True, for the model, or a reflector of your own: one of the two.")
        if reflect and team.client is None:
            raise InvalidInput(
                "Reflecting asks a model, and none is configured. Name one (--model, model=..., KAPELLE_MODEL), "
                "or leave --reflect (reflect=True) out."
            )
        if reflector is None and not reflect:
            return cls()
        from kapelle.planning import GraphPlanner  # 20 ms, and only who reflects needs it

        from .model_team import PLANNING_TOKENS, price_of_planning

        if reflect:
            assert team.client is not None
            planner = GraphPlanner(team.client)
        elif isinstance(reflector, GraphPlanner):
            planner = reflector
        else:
            return cls(reflector=reflector, cost_usd=team.planning_cost_usd, tokens=team.planning_tokens)
        price = price_of_planning(planner.client, environ)
        return cls(
            planner=planner,
            is_asked_for=reflect,
            cost_usd=price or 0.0,
            is_priced=price is not None,
            tokens=sum(PLANNING_TOKENS),
        )

    @property
    def max_reflections(self) -> int | None:
        """How often the run may reflect; None for as often as a task ends."""
        return None if self.planner is None else MAX_REFLECTIONS

    def reflector_for(
        self, request: str, agents: Mapping[str, AgentCapability], found: Mapping[str, Any]
    ) -> Reflector | None:
        """Return who looks at what the tasks of one run give."""
        if self.planner is None:
            return self.reflector
        from kapelle.planning import GraphReflector  # as above

        return GraphReflector(self.planner, request=request, agents=agents, found=found)
