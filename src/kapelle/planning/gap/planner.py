"""Asks a model for a graph plan, and later for what to change in it. What comes back is untrusted: see reply.

A reply that cannot be used is asked for once more, with the exact error. Every call that was paid counts: in what is
returned, in the error where nothing could be, and through `on_paid` at once, whatever becomes of the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kapelle.agents import AgentCapability, add_paid
from kapelle.errors import InvalidInput, InvalidPlan, KapelleError
from kapelle.graph import GraphPatch, Task, TaskDAG
from kapelle.ledger import Usage
from kapelle.models import Message, ModelClient, ModelReply, ModelRequest, PaidReplyInvalid
from kapelle.planning.model_planner import ATTEMPTS, MAX_PLAN_TOKENS, MAX_PLANNED_TASKS
from kapelle.planning.planner import PaidInvalidPlan, Plan

from .prompts import GAP_SYSTEM_PROMPT, GAP_USER_PROMPT, describe_functions, describe_reflection, fill, read_prompt
from .reply import GapReply, read_reply
from .stream import TaskStream

_T = TypeVar("_T")
_SHOWN_CHARS = 8_000
"""Of a reply that could not be used, what the model is shown when it is asked again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reflection:
    """What a model thought of a plan that is under way."""

    patch: GraphPatch | None
    """What to change, checked against the plan; None to go on as planned."""
    reason: str = ""
    notes: tuple[str, ...] = ()
    """What was mended in the reply."""
    usage: Usage = Usage()
    cost_usd: float = 0.0


class GraphPlanner:
    """Plans with the prompts of graph planning.

    Args:
        client: The model.
        on_paid: Called with the usage and dollars of every reply as it comes.
    """

    def __init__(self, client: ModelClient, *, on_paid: Callable[[Usage, float], None] | None = None) -> None:
        self._client = client
        self._on_paid = on_paid

    async def plan(self, request: str, agents: Mapping[str, AgentCapability]) -> Plan:
        """Return the model's plan.

        Raises:
            PaidInvalidPlan: no usable plan came, also when asked once more.
            KapelleError: the model refused, or is out of reach.
        """
        asked = _Asked(self._planning_messages(request, agents))
        reply, graph = await self._ask(asked, lambda text, cut_off: _read_plan(text, cut_off=cut_off), "<graph>")
        return self._planned(request, graph, reply, asked)

    async def stream(self, request: str, agents: Mapping[str, AgentCapability]) -> AsyncIterator[Task | Plan]:
        """Yield the tasks as the model writes them, each after those that it waits for, and at last the whole plan.

        There is no second attempt, because what was handed on cannot be taken back: then `plan` is to be asked anew.

        Raises:
            PaidInvalidPlan: the reply is no usable plan; tasks that were yielded belong to none.
            KapelleError: the model refused, or is out of reach.
        """
        asked = _Asked(self._planning_messages(request, agents))
        stream = TaskStream()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        call = asyncio.create_task(self._call(asked, on_text=pieces.put_nowait))
        call.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                for task in stream.feed(piece):
                    yield task
            reply = await call
            for task in stream.close(cut_off=reply.finish_reason == "length"):
                yield task
            assert stream.reply is not None
            yield self._planned(request, _check_size(stream.reply), stream.reply, asked)
        except InvalidInput as error:
            raise PaidInvalidPlan(str(error), usage=asked.usage, cost_usd=asked.cost_usd) from error
        finally:
            call.cancel()

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
        asked = _Asked(
            [
                *self._planning_messages(words, agents or {}),
                Message(role="user", content=describe_reflection(graph, observations, failures or {}, agents or {})),
            ]
        )

        def read(text: str, cut_off: bool) -> tuple[GapReply, GraphPatch | None]:
            reply = read_reply(text, current=graph, finished=done, cut_off=cut_off)
            if reply.patch is not None:
                _check_count(len(graph.patched(reply.patch, finished=done)) - len(graph))
            return reply, reply.patch

        reply, patch = await self._ask(asked, read, "<patch>")
        return Reflection(
            patch=patch,
            reason=reply.reflection or reply.think,
            notes=reply.repairs,
            usage=asked.usage,
            cost_usd=asked.cost_usd,
        )

    def _planning_messages(self, request: str, agents: Mapping[str, AgentCapability]) -> list[Message]:
        # What stays the same from request to request comes first, for the provider's cache.
        team = fill(read_prompt("gap_team"), functions=describe_functions(agents), limit=str(MAX_PLANNED_TASKS))
        return [
            Message(role="system", content=f"{GAP_SYSTEM_PROMPT}\n{team}"),
            Message(role="user", content=fill(GAP_USER_PROMPT, query=request)),
        ]

    async def _ask(
        self, asked: _Asked, read: Callable[[str, bool], tuple[GapReply, _T]], wanted: str
    ) -> tuple[GapReply, _T]:
        """Ask, and once more with the error if the reply cannot be used."""
        wrong: Exception | None = None
        for _ in range(ATTEMPTS):
            said = ""
            try:
                reply = await self._call(asked)
                said = reply.text
                return read(said, reply.finish_reason == "length")
            except PaidReplyInvalid as error:
                wrong, said = error, error.reply.text
            except InvalidInput as error:
                wrong = error
            retry = fill(read_prompt("gap_retry"), error=str(wrong), wanted=wanted)
            asked.messages += [
                Message(role="assistant", content=said[:_SHOWN_CHARS] or "(no text)"),
                Message(role="user", content=retry),
            ]
        raise PaidInvalidPlan(
            f"The model {self._client.model!r} sent no usable {wanted} in {ATTEMPTS} attempts: {wrong} "
            "Try again, use a stronger model, or give a plan file.",
            usage=asked.usage,
            cost_usd=asked.cost_usd,
        ) from wrong

    async def _call(self, asked: _Asked, *, on_text: Callable[[str], None] | None = None) -> ModelReply:
        """One call; whatever it cost is added up, also where it raises."""
        request = ModelRequest(messages=tuple(asked.messages), max_output_tokens=MAX_PLAN_TOKENS)
        try:
            reply = await self._client.complete(request, on_text=on_text)
        except PaidReplyInvalid as error:
            self._pay(asked, error.reply)
            raise
        except KapelleError as error:
            raise (add_paid(error, asked.cost_usd, asked.usage) if asked.usage.calls else error) from error
        self._pay(asked, reply)
        return reply

    def _pay(self, asked: _Asked, reply: ModelReply) -> None:
        asked.usage += reply.usage
        asked.cost_usd += reply.cost_usd
        if self._on_paid is not None:
            self._on_paid(reply.usage, reply.cost_usd)

    def _planned(self, request: str, graph: TaskDAG, reply: GapReply, asked: _Asked) -> Plan:
        notes = list(reply.repairs)
        if reply.answer or reply.observation:
            notes.append("The model also wrote observations or an answer before anything had run; they were left out.")
        return Plan(
            request=request,
            graph=graph,
            planner=f"graph planning, model {self._client.model}",
            notes=tuple(notes),
            usage=asked.usage,
            cost_usd=asked.cost_usd,
        )


@dataclass
class _Asked:
    """A conversation with the model, and what it cost so far."""

    messages: list[Message]
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0


def _read_plan(text: str, *, cut_off: bool) -> tuple[GapReply, TaskDAG]:
    reply = read_reply(text, cut_off=cut_off)
    return reply, _check_size(reply)


def _check_size(reply: GapReply) -> TaskDAG:
    if reply.graph is None:
        raise InvalidPlan("There is an answer, but no <graph>. Nothing has run yet: plan, even if it is one node.")
    _check_count(len(reply.graph))
    return reply.graph


def _check_count(count: int) -> None:
    if count > MAX_PLANNED_TASKS:
        raise InvalidPlan(f"{count} tasks are planned; at most {MAX_PLANNED_TASKS} are allowed.")
