"""An agent that is one call to a model: its instructions, the task, and what came before it.

What it writes is limited in every call, and a reply that was cut off at the limit is gone on with once, as far as what
was set aside pays for that. A reply that stays cut, is empty or was filtered is no answer, however it was paid.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from kapelle.errors import CallTooDear, ContentRefused, KapelleError, ModelReplyInvalid, ReplyCut
from kapelle.graph import Task
from kapelle.models import Message, ModelClient, ModelReply, ModelRequest, bound_tokens

from .agent import AgentResult, TaskContext
from .on_model import OnModel
from .output_limit import MESSAGE_TOKENS, limit_within, usual_limit
from .paid_failure import add_paid
from .prompt import task_prompt

if TYPE_CHECKING:
    from kapelle.models import PriceTable

    from .capability import AgentCapability

_GO_ON = "Your answer was cut off. Go on exactly where it ends: repeat nothing, and add no remark."
_MIN_OVERLAP = 12
"""Characters that a continuation has to repeat before they count as a repetition, and not as a coincidence."""
_MAX_OVERLAP = 400


class ModelAgent(OnModel):
    """Does a task with one call to a model.

    Args:
        max_output_tokens: The most that one call may write. Without it 8,192 tokens, and 4,096 within a budget and for
            a model that costs nothing.
    """

    def __init__(self, client: ModelClient, instructions: str = "", *, max_output_tokens: int | None = None) -> None:
        self._client = client
        self._instructions = instructions
        self._max_output_tokens = max_output_tokens

    @property
    def is_model_alone(self) -> bool:
        return True

    def with_card(self, prices: PriceTable, card: AgentCapability) -> Self:
        return self

    def find_unpriced(self) -> str | None:
        return None  # its client prices its calls itself

    def most_usd(self, task: Task, context: TaskContext) -> float | None:
        """Return the dollars that one call costs at most; None where the model's price is not known beforehand."""
        bound: Callable[..., float] | None = getattr(self._client, "bound_usd", None)
        if bound is None:
            return None
        limit = usual_limit(self._max_output_tokens, is_budgeted=True, is_free=False)
        return bound(input_tokens=_measure(self._messages(task, context)), output_tokens=limit)

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        clock = asyncio.get_running_loop().time
        due = None if context.seconds_left is None else clock() + context.seconds_left

        async def ask(messages: tuple[Message, ...], limit: int) -> ModelReply:
            left_s = None if due is None else max(1e-3, due - clock())
            if left_s is not None and left_s >= getattr(self._client, "timeout_s", math.inf):
                left_s = None  # the client's own limit ends it sooner, on silence where the reply streams
            request = ModelRequest(messages=messages, max_output_tokens=limit, timeout_s=left_s)
            reply = await self._client.complete(request, **({} if context.tell is None else {"on_text": context.tell}))
            return _checked(reply, task)

        messages = self._messages(task, context)
        limit = self._limit(messages, context.reserved_usd, task)
        try:
            reply = await ask(messages, limit)
        except ReplyCut as cut:
            reply = await self._go_on(cut, messages, limit, task, context, ask)
        return AgentResult(output=reply.text, usage=reply.usage, cost_usd=reply.cost_usd)

    async def _go_on(
        self,
        cut: ReplyCut,
        messages: tuple[Message, ...],
        limit: int,
        task: Task,
        context: TaskContext,
        ask: Callable[[tuple[Message, ...], int], Awaitable[ModelReply]],
    ) -> ModelReply:
        """Return the whole of a reply that was cut off, with what both calls used.

        Raises:
            ReplyCut: it is still cut, or what is left does not pay for another call.
        """
        first: ModelReply | None = getattr(cut, "reply", None)
        if first is None:
            raise cut
        left_usd = None if context.reserved_usd is None else context.reserved_usd - first.cost_usd
        if first.text.strip():
            again = (*messages, Message(role="assistant", content=first.text), Message(role="user", content=_GO_ON))
        elif self._max_output_tokens is None:  # all of it went into thoughts
            again, limit = messages, 2 * limit
        else:
            raise cut
        try:
            limit = self._limit(again, left_usd, task, usual=limit)
        except CallTooDear:
            raise cut from None
        try:
            second = await ask(again, limit)
        except ReplyCut as error:
            told = add_paid(error, first.cost_usd, first.usage)
            if (reply := getattr(told, "reply", None)) is not None:
                told.reply = replace(reply, text=_joined(first.text, reply.text))  # type: ignore[attr-defined]  # as above
            raise told from error
        except KapelleError as error:
            told = add_paid(error, first.cost_usd, first.usage)
            if told.sent and error.cost_usd is None:
                # This call may be billed too, and nobody says how much: then all that was set aside counts.
                told.cost_usd = max(first.cost_usd, context.reserved_usd or 0.0)
            raise told from error
        return replace(
            second,
            text=_joined(first.text, second.text),
            usage=first.usage + second.usage,
            cost_usd=first.cost_usd + second.cost_usd,
        )

    def _messages(self, task: Task, context: TaskContext) -> tuple[Message, ...]:
        # The instructions come first and never change within a run, so that providers' prompt caches hold.
        words = self._instructions or "Do the task you are given. Be brief and exact."
        return (Message(role="system", content=words), Message(role="user", content=task_prompt(task, context)))

    def _limit(
        self, messages: tuple[Message, ...], left_usd: float | None, task: Task, *, usual: int | None = None
    ) -> int:
        afford: Callable[..., int] | None = getattr(self._client, "affordable_tokens", None)
        input_tokens = _measure(messages)
        if usual is None:
            is_free = afford is not None and afford(0.0, input_tokens=1, most=1) == 1
            usual = usual_limit(self._max_output_tokens, is_budgeted=left_usd is not None, is_free=is_free)
        return limit_within(
            left_usd,
            usual,
            task_id=task.task_id,
            model=self._client.model,
            afford=None if afford is None else lambda usd, most: afford(usd, input_tokens=input_tokens, most=most),
        )


def _checked(reply: ModelReply, task: Task) -> ModelReply:
    """Return a reply that is whole, whatever client it came from.

    Raises:
        ReplyCut, ContentRefused, ModelReplyInvalid: it is not. Each tells what it cost.
    """
    where = f"The model {reply.model!r}"
    if reply.finish_reason == "length":
        error: KapelleError = ReplyCut(
            f"{where} was cut off at its limit in task {task.task_id!r}. Raise max_output_tokens, or ask for less."
        )
        error.reply = reply  # type: ignore[attr-defined]  # what is gone on with
    elif reply.finish_reason == "content_filter":
        said = f" It said: {reply.text[:200]!r}." if reply.text.strip() else ""
        error = ContentRefused(f"{where} declined task {task.task_id!r} by its provider's policy.{said} Reword it.")
    elif not reply.text.strip():
        error = ModelReplyInvalid(f"{where} returned no text for task {task.task_id!r}.")
    else:
        return reply
    error.cost_usd, error.usage = reply.cost_usd, reply.usage
    raise error


def _measure(messages: tuple[Message, ...]) -> int:
    return sum(bound_tokens(message.content) + MESSAGE_TOKENS for message in messages)


def _joined(first: str, second: str) -> str:
    """Return a text and its continuation, without what the continuation repeats of the text's end."""
    for length in range(min(len(first), len(second), _MAX_OVERLAP), _MIN_OVERLAP - 1, -1):
        if first.endswith(second[:length]):
            return first + second[length:]
    return first + second
