"""Splits a request by rules, with no model. It understands a few shapes well, and says plainly when it does not.

The shapes: enumerations ("the capitals of France and Germany"), chains ("the population of the capital of Peru"),
comparisons, "for each of ...", sequences ("then", "finally"), references back ("test it", "their areas"), questions to
tables ("average population per continent"), arithmetic, named files, verbs that agents know as task types
("implement ..., test it, deploy it"), and reports over what came before.

What a request has in quotes, and the items that a task is repeated for, are data: see stand_ins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from kapelle.agents import AgentCapability
from kapelle.errors import CannotPlan
from kapelle.graph import TaskDAG
from kapelle.planning.planner import Plan

from . import request_shapes as shapes
from .draft import Draft
from .each import close_each, repeat_step
from .stand_ins import StandIns
from .steps import add_step, split_request, tasks_of

MAX_REQUEST_CHARS = 20_000
"""A request is what a person types. Longer material belongs into a file that an agent reads."""


class RulePlanner:
    """Splits requests by rules.

    `answers_from_tables(question)` tells whether the tables at hand can answer a question; without it, words such as
    "average" and "how many" decide. `files` are the names of the files at hand, so that names with spaces are known.
    """

    def __init__(self, *, answers_from_tables: Callable[[str], bool] | None = None, files: Sequence[str] = ()) -> None:
        self._answers_from_tables = answers_from_tables
        self._files = tuple(files)

    async def plan(self, request: str, agents: Mapping[str, AgentCapability]) -> Plan:
        with self._drafting(request, agents, StandIns(request)) as draft:
            for step in split_request(draft):
                add_step(draft, step)
            close_each(draft)
            graph = draft.finish()
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
        with self._drafting(body, agents, stand_ins or StandIns(body)) as draft:
            names = draft.take_items(items)
            for step in split_request(draft):
                repeat_step(draft, names, step)
            return TaskDAG(draft.filled())

    @contextmanager
    def _drafting(self, request: str, agents: Mapping[str, AgentCapability], stand_ins: StandIns) -> Iterator[Draft]:
        """Give the draft of a request; errors of its planning name what the request says, not the stand-ins."""
        _check_length(request)
        types = tuple(dict.fromkeys(kind for agent in agents.values() for kind in agent.task_types))
        words = stand_ins.hide_quoted(request, shapes.file_ending)
        try:
            yield Draft(words, types, self._answers_from_tables, stand_ins, tasks_of, self._files)
        except CannotPlan as error:
            raise CannotPlan(stand_ins.fill_message(str(error))) from None


def _check_length(request: str) -> None:
    text = request.strip()
    if not text:
        raise CannotPlan(
            "The request is empty. Say what you want, such as 'Compare the capitals of France and Germany'."
        )
    if len(text) > MAX_REQUEST_CHARS:
        raise CannotPlan(
            f"The request has {len(text):,} characters; at most {MAX_REQUEST_CHARS:,} are read. "
            "Put long material into a file, and name it in the request."
        )
