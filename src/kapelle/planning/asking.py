"""Asks a model for a plan, and once more where a second call can mend what is wrong with the first reply.

A second call is told the exact fault. It is made where the reply could not be used, and where a usable plan leaves out
names or numbers of the request; there is no third, and none after a reply that filled all that it may hold. Every call
that was paid counts: in what is returned, and in the error where nothing could be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from kapelle.agents import add_paid
from kapelle.errors import InvalidGraph, InvalidPlan, KapelleError, ModelRefused, ModelReplyInvalid
from kapelle.graph import TaskDAG
from kapelle.ledger import Usage
from kapelle.models import Message, ModelClient, ModelReply, ModelRequest, PaidReplyCut, PaidReplyInvalid

from .planner import DraftMender, PaidInvalidPlan

MAX_PLANNED_TASKS = 50
"""What one call may plan. A longer list is a model that lost its way, not a plan."""
MAX_PLAN_TOKENS = 4_000
"""Bounds what one planning call can cost."""
ATTEMPTS = 2
_SHOWN_CHARS = 8_000
"""Of a reply that could not be used, what the model is shown when it is asked again."""

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Read(Generic[_T]):
    """What a reply says, and what it seems to leave out."""

    value: _T
    missing: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Conversation:
    """A conversation with a model about a plan, and what it cost so far."""

    client: ModelClient
    messages: list[Message]
    schema: Any = None
    """The JSON schema of the reply, where one is asked for. What comes is read as text all the same: models wrap it."""
    plain_schema: Any = None
    """What is asked with instead by a server that refuses `schema`."""
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    _ran_on: bool = False
    """Whether the last reply filled all that it may hold: a model that repeats itself does so again, and is paid."""

    async def ask(self, read: Callable[[str, bool], Read[_T]], *, wanted: str, again: Callable[[str], str]) -> Read[_T]:
        """Return what a reply says.

        Args:
            read: Reads a reply's text, given whether its end is missing; raises InvalidPlan or InvalidGraph where it
                cannot.
            wanted: What is asked for, in the words of errors.
            again: What to say to the model when it is asked once more, given what is wrong.

        Raises:
            PaidInvalidPlan: no usable reply came, also when asked once more.
            KapelleError: the model refused, or is out of reach.
        """
        wrong: Exception | None = None
        best: Read[_T] | None = None
        for attempt in range(1, ATTEMPTS + 1):
            said, unfit = "", ""
            try:
                said, is_cut, unfit = await self._next_text()
                found = read(said, is_cut)
            except (InvalidPlan, InvalidGraph, ModelReplyInvalid) as error:
                wrong, fault = error, f"{unfit} {error}".strip()
            except KapelleError as error:
                if best is None or (error.cost_usd is None and error.sent is not False):
                    raise
                self.cost_usd, self.usage = error.cost_usd or self.cost_usd, error.usage or self.usage
            else:
                if best is None or len(found.missing) < len(best.missing):
                    best = found
                if not found.missing:
                    break
                fault = f"It leaves out {_listed(found.missing)}, of which the request speaks."
            if attempt == ATTEMPTS or self._ran_on:
                break
            self.messages += [
                Message(role="assistant", content=said[:_SHOWN_CHARS] or "(no text)"),
                Message(role="user", content=again(fault)),
            ]
        attempts = "one attempt" if attempt == 1 else f"{attempt} attempts"
        if best is not None:
            return best  # one that leaves something out is better than none
        raise PaidInvalidPlan(
            f"The model {self.client.model!r} sent no usable {wanted} in {attempts}: {wrong} "
            "Try again, use a stronger model, or give a plan file.",
            usage=self.usage,
            cost_usd=self.cost_usd,
        ) from wrong

    async def _next_text(self) -> tuple[str, bool, str]:
        """The text of the next reply, whether its end is missing, and what the client says is wrong with it.

        That it does not fit the schema is nothing wrong: whoever reads it says what is, and forgives more.
        """
        try:
            reply = await self.call()
        except PaidReplyInvalid as error:
            if not error.reply.text.strip():
                raise InvalidPlan(str(error)) from error
            is_cut = isinstance(error, PaidReplyCut) or error.reply.finish_reason == "length"
            return error.reply.text, is_cut, "" if self.schema is not None else str(error)
        text = reply.text
        if not text.strip() and reply.tool_calls:  # asked for no tools, some models call one with the plan
            text = "\n".join(_write_call(call.name, call.arguments) for call in reply.tool_calls)
        return text, reply.finish_reason == "length", ""

    async def call(self) -> ModelReply:
        """Return the next reply; whatever it cost is added up, also where it raises."""
        request = ModelRequest(
            messages=tuple(self.messages),
            output_schema=self.schema,
            schema_is_told=True,
            temperature=0.0,  # the same request is planned the same way
            max_output_tokens=MAX_PLAN_TOKENS,
        )
        try:
            reply = await self.client.complete(request)
        except PaidReplyInvalid as error:
            self._pay(error.reply)
            raise
        except KapelleError as error:
            if type(error) is ModelRefused and self.plain_schema is not None and not error.cost_usd:
                self.schema, self.plain_schema = self.plain_schema, None
                return await self.call()
            raise (add_paid(error, self.cost_usd, self.usage) if self.usage.calls else error) from error
        self._pay(reply)
        return reply

    def _pay(self, reply: ModelReply) -> None:
        self._ran_on = reply.usage.output_tokens >= MAX_PLAN_TOKENS
        self.usage += reply.usage
        self.cost_usd += reply.cost_usd


def check_count(count: int) -> None:
    """Refuse more tasks than one call may plan.

    Raises:
        InvalidPlan: there are more.
    """
    if count > MAX_PLANNED_TASKS:
        raise InvalidPlan(f"{count} tasks are planned; at most {MAX_PLANNED_TASKS} are allowed.")


def mend_graph(graph: TaskDAG, mend: DraftMender | None) -> tuple[TaskDAG, tuple[str, ...]]:
    """Return a model's plan with what is wrong with it mended, and a note on each change."""
    mended = None if mend is None else mend(graph)
    return (graph, ()) if mended is None or not mended[1] else mended


def note_missing(missing: Sequence[str]) -> tuple[str, ...]:
    """Return what to tell the user where a plan still leaves something out."""
    if not missing:
        return ()
    return (f"The plan seems to leave out {_listed(missing)}: no task speaks of it, although the model was told.",)


def describe_problems(problems: Sequence[str]) -> str:
    """Return what a model is told where an earlier plan for the same request was refused."""
    listed = "\n".join(f"- {problem}" for problem in problems)
    return f"An earlier plan for this request was refused, because:\n{listed}\nSend another one, without these faults."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:8])


def _write_call(name: str, arguments: Any) -> str:
    import json

    return json.dumps({"name": name, "arguments": dict(arguments)})
