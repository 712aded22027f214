"""What an agent of Pydantic AI says while and after it works, read for PydanticAIAgent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from typing import TYPE_CHECKING, Any

from kapelle.models import Ending, ThoughtReader, measure_messages, read_ending

from .output_limit import MESSAGE_TOKENS

if TYPE_CHECKING:
    from pydantic_ai import RunContext


def can_stream(model: Any) -> bool:
    from pydantic_ai.models import Model
    from pydantic_ai.models.fallback import FallbackModel
    from pydantic_ai.models.function import FunctionModel
    from pydantic_ai.models.wrapper import WrapperModel

    if isinstance(model, WrapperModel):
        return can_stream(model.wrapped)
    if isinstance(model, FallbackModel):
        return all(map(can_stream, model.models))
    if isinstance(model, FunctionModel):
        return model.stream_function is not None
    if isinstance(model, Model):
        return type(model).request_stream is not Model.request_stream
    return isinstance(model, str)


class Teller:
    """Passes on the text of an answer as it is written; that of a reply which calls a tool is none.

    Args:
        waits: Whether to wait for a reply's end, because only then it is known that it called none.
        holds_back: See ThoughtReader.
    """

    def __init__(self, tell: Callable[[str], None], *, waits: bool, holds_back: bool) -> None:
        self._tell, self._waits, self._holds_back = tell, waits, holds_back

    async def __call__(self, run: RunContext[Any], events: AsyncIterable[Any]) -> None:
        from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta, ToolCallPart

        thoughts = ThoughtReader(holds_back=self._holds_back)
        pieces: list[str] = []
        is_answer = True
        async for event in events:
            piece = ""
            if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                piece = event.part.content
            elif isinstance(event, PartStartEvent) and isinstance(event.part, ToolCallPart):
                is_answer = False
            elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                piece = event.delta.content_delta
            if piece := thoughts.take(piece) if piece else "":
                pieces.append(piece)
            if is_answer and not self._waits:
                self._pass_on(pieces)
        pieces.append(thoughts.finish())
        if is_answer:
            self._pass_on(pieces)

    def _pass_on(self, pieces: list[str]) -> None:
        for piece in filter(None, pieces):
            self._tell(piece)
        pieces.clear()


def last_reply(messages: list[Any]) -> Any:
    return next((message for message in reversed(messages) if message.kind == "response"), None)


def is_open_call(messages: list[Any]) -> bool:
    """Whether the last request has got no reply, or only a part of one, which did not say what it used."""
    if not messages:
        return False
    last = messages[-1]
    if last.kind == "request":
        return getattr(last, "state", "complete") == "complete"  # an interrupted one was still being made
    is_part = getattr(last, "state", "complete") != "complete"
    return is_part and not (last.usage.input_tokens or last.usage.output_tokens)


def ending_of(reply: Any) -> Ending:
    return read_ending(reply.finish_reason, reply.provider_details)


def is_cancelled() -> bool:
    """Whether somebody cancelled the task that runs now: a tool may raise the same error on its own."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def next_input(messages: list[Any]) -> int:
    """About the most tokens that the next request reads, by what the last one did."""
    measured = measure_messages(messages) + MESSAGE_TOKENS * len(messages)
    for place in range(len(messages) - 1, -1, -1):
        if messages[place].kind == "response":
            told = messages[place].usage
            seen: int = told.input_tokens + told.output_tokens
            return max(measured, seen + measure_messages(messages[place + 1 :]))
    return measured
