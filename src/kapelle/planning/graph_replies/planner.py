"""Asks a model for a graph plan, and later for what to change in it. What comes back is untrusted: see reply.

`GraphReflector` asks anew as the tasks of one run end; how often, and what it may cost, is the executor's to hold.
Second calls, and what calls cost: see `planning.asking`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidPlan
from kapelle.graph import Task, TaskDAG
from kapelle.models import Message, ModelClient
from kapelle.planning.asking import (
    MAX_PLANNED_TASKS,
    Conversation,
    Read,
    check_count,
    describe_problems,
    mend_graph,
    note_missing,
)
from kapelle.planning.coverage import find_left_out
from kapelle.planning.fit import fit_to_agents
from kapelle.planning.planner import DraftMender, Plan, Reflection

from .prompts import GAP_SYSTEM_PROMPT, GAP_USER_PROMPT, describe_functions, describe_reflection, fill, read_prompt
from .reply import GapReply, read_reply


class GraphPlanner:
    """Plans with the prompts of graph planning.

    Args:
        client: The model.
        mend: Mends what it planned where that is possible without asking it again.
    """

    def __init__(
        self,
        client: ModelClient,
        *,
        mend: DraftMender | None = None,
    ) -> None:
        self.client = client
        self._mend = mend

    async def plan(self, request: str, agents: Mapping[str, AgentCapability]) -> Plan:
        """Return the model's plan.

        Raises:
            PaidInvalidPlan: no usable plan came, also when asked once more.
            KapelleError: the model refused, or is out of reach.
        """
        return await self._plan(request, agents, ())

    async def plan_again(self, request: str, problems: Sequence[str], agents: Mapping[str, AgentCapability]) -> Plan:
        """Plan a request of which an earlier plan was refused: see CorrectingPlanner."""
        return await self._plan(request, agents, problems)

    async def _plan(self, request: str, agents: Mapping[str, AgentCapability], problems: Sequence[str]) -> Plan:
        messages = self._planning_messages(request, agents)
        if problems:
            messages.append(Message(role="user", content=describe_problems(problems)))
        talk = self._talk(messages)

        def read(text: str, is_cut: bool) -> Read[tuple[GapReply, TaskDAG, tuple[str, ...]]]:
            reply = read_reply(text, cut_off=is_cut, mend=self._mend)
            graph, notes = fit_to_agents(_check_size(reply), agents)
            graph, repaired = mend_graph(graph, self._mend)
            return Read(value=(reply, graph, (*notes, *repaired)), missing=find_left_out(request, graph))

        found = await talk.ask(read, wanted="<graph>", again=_again("<graph>"))
        reply, graph, notes = found.value
        return self._planned(request, graph, reply, talk, (*notes, *note_missing(found.missing)))

    async def reflect(
        self,
        plan: Plan | TaskDAG,
        observations: Mapping[str, Any],
        *,
        failures: Mapping[str, str] | None = None,
        request: str = "",
        agents: Mapping[str, AgentCapability] | None = None,
    ) -> Reflection:
        """Return what to change in a plan, by what its finished tasks found.

        Args:
            plan: The plan as it stands now.
            observations: The outputs of the finished tasks.
            failures: The tasks that failed, and why. They stay as they are, like the finished ones.
            request: The user's words, where `plan` is a graph alone.
            agents: Who could do new tasks.

        Raises:
            PaidInvalidPlan: no usable patch came, also when asked once more. The plan can go on as it is.
            KapelleError: the model refused, or is out of reach.
        """
        graph = plan.graph if isinstance(plan, Plan) else plan
        words = plan.request if isinstance(plan, Plan) else request
        done = {*observations, *(failures or {})}
        told = describe_reflection(graph, observations, failures or {}, agents or {})
        talk = self._talk([*self._planning_messages(words, agents or {}), Message(role="user", content=told)])

        def read(text: str, is_cut: bool) -> Read[GapReply]:
            reply = read_reply(text, current=graph, finished=done, cut_off=is_cut)
            if reply.patch is not None:
                check_count(len(graph.patched(reply.patch, finished=done)) - len(graph))
            return Read(value=reply)

        reply = (await talk.ask(read, wanted="<patch>", again=_again("<patch>"))).value
        return Reflection(
            patch=reply.patch,
            reason=reply.reflection or reply.think,
            notes=reply.repairs,
            usage=talk.usage,
            cost_usd=talk.cost_usd,
        )

    def _planning_messages(self, request: str, agents: Mapping[str, AgentCapability]) -> list[Message]:
        # What stays the same from request to request comes first, for the provider's cache.
        team = fill(read_prompt("gap_team"), functions=describe_functions(agents), limit=str(MAX_PLANNED_TASKS))
        return [
            Message(role="system", content=f"{GAP_SYSTEM_PROMPT}\n{team}"),
            Message(role="user", content=fill(GAP_USER_PROMPT, query=request)),
        ]

    def _talk(self, messages: list[Message]) -> Conversation:
        return Conversation(client=self.client, messages=messages)

    def _planned(self, request: str, graph: TaskDAG, reply: GapReply, talk: Conversation, more: Sequence[str]) -> Plan:
        notes = [*reply.repairs, *more]
        if reply.answer or reply.observation:
            notes.append("The model also wrote observations or an answer before anything had run; they were left out.")
        return Plan(
            request=request,
            graph=graph,
            planner=f"graph planning, model {self.client.model}",
            notes=tuple(notes),
            usage=talk.usage,
            cost_usd=talk.cost_usd,
        )


def _check_size(reply: GapReply) -> TaskDAG:
    if reply.graph is None:
        raise InvalidPlan("There is an answer, but no <graph>. Nothing has run yet: plan, even if it is one node.")
    check_count(len(reply.graph))
    return reply.graph


def _again(wanted: str) -> Callable[[str], str]:
    return lambda wrong: fill(read_prompt("gap_retry"), error=wrong, wanted=wanted)


class GraphReflector:
    """Looks at what each task of one run gave, beside all that was found before: see execution, `Reflector`.

    Args:
        planner: Asks the model.
        request: The user's words.
        agents: Who could do new tasks.
        found: The outputs of tasks that were over before.
    """

    def __init__(
        self,
        planner: GraphPlanner,
        *,
        request: str,
        agents: Mapping[str, AgentCapability],
        found: Mapping[str, Any] | None = None,
    ) -> None:
        self._planner = planner
        self._request = request
        self._agents = agents
        self._found = dict(found or {})

    async def reflect(self, task: Task, output: Any, graph: TaskDAG) -> Reflection:
        """Return what to change by what was found so far; the errors are those of `GraphPlanner.reflect`."""
        self._found[task.task_id] = output
        known = {task_id: found for task_id, found in self._found.items() if task_id in graph}
        return await self._planner.reflect(graph, known, request=self._request, agents=self._agents)
