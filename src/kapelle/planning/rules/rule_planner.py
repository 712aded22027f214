"""Splits a request by rules, with no model. It understands a few shapes well, and says plainly when it does not.

The shapes: enumerations ("the capitals of France and Germany"), chains ("the population of the capital of Peru"),
comparisons, "for each of ...", sequences ("then", "finally"), references back ("test it", "their areas"), questions to
tables ("average population per continent"), arithmetic, named files, verbs that agents know as task types
("implement ..., test it, deploy it"), and reports over what came before.

What a request has in quotes, and the items that a task is repeated for, are data: see stand_ins. The rules themselves
are in `splitting` and what it reads, and are loaded with the first request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from kapelle.planning.planner import Plan

if TYPE_CHECKING:
    from kapelle.agents import AgentCapability
    from kapelle.graph import TaskDAG

    from .stand_ins import StandIns


class RulePlanner:
    """Splits requests by rules.

    `answers_from_tables(question)` tells whether the tables at hand can answer a question; without it, words such as
    "average" and "how many" decide. `files` are the names of the files at hand, so that names with spaces are known.
    """

    def __init__(self, *, answers_from_tables: Callable[[str], bool] | None = None, files: Sequence[str] = ()) -> None:
        self._answers_from_tables = answers_from_tables
        self._files = tuple(files)

    async def plan(self, request: str, agents: Mapping[str, AgentCapability]) -> Plan:
        from .splitting import split

        graph = split(request, agents, answers_from_tables=self._answers_from_tables, files=self._files)
        depth = len(graph.levels())
        note = f"Split by rules, without a model, into {len(graph)} task{'s' if len(graph) != 1 else ''}"
        note += f" on {depth} levels." if depth > 1 else "."
        return Plan(request=request, graph=graph, planner="rules", notes=(note,))

    async def plan_part(self, request: str, material: str, agents: Mapping[str, AgentCapability]) -> Plan:
        """Return tasks for the words of a part alone: rules would take what is known already for work. See `plan`."""
        return await self.plan(request, agents)

    def plan_each(
        self,
        items: Sequence[str],
        body: str,
        agents: Mapping[str, AgentCapability],
        *,
        stand_ins: StandIns | None = None,
    ) -> TaskDAG:
        """Return tasks that do the body for each item: "find its capital" for Peru and Chile.

        The body decides what the tasks are, whatever the items hold: each gets the same ones, with its text filled into
        their inputs as it is, and by itself into their metadata (`item`). Texts in the body that are data have
        `stand_ins`.

        Raises:
            CannotPlan: the body is not understood.
        """
        from .splitting import split_each

        tables = self._answers_from_tables
        return split_each(items, body, agents, stand_ins, answers_from_tables=tables, files=self._files)
