"""Planning by rules over a folder: where no rule fits, it is also said what the tables lack for an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kapelle.agents import AgentCapability
from kapelle.errors import CannotPlan

from .planner import Plan, Planner


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
