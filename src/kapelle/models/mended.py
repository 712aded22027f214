"""Lends the model of somebody's agent the client's ear: its replies are read as sceptically as the client's are.

pydantic-ai takes what an OpenAI-compatible server says as it is. So a stream without an end is a whole reply, thoughts
that were never closed are an answer, and running totals are added up. Here its hooks for bodies and chunks set right
what they say before it reads them. Other protocols have no such hooks, and stay as they are.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Any

from .reported import Reported, mend_finish_reason, refuse_error, take_usage, watch_chunks
from .thoughts import mark_thoughts
from .token_usage import Counted, count_reports

if TYPE_CHECKING:
    from pydantic_ai.models import Model


def mend_model(model: Model[Any]) -> Model[Any]:
    """Return the model, or a copy that shares its connections, whose replies are set right before they are read."""
    from pydantic_ai.models.fallback import FallbackModel
    from pydantic_ai.models.wrapper import WrapperModel

    if type(model) is WrapperModel:
        mended = copy.copy(model)
        mended.wrapped = mend_model(model.wrapped)
        return mended
    if type(model) is FallbackModel:
        several = copy.copy(model)
        several.models = [mend_model(one) for one in model.models]
        return several
    if not any(kind.__name__ == "OpenAIChatModel" for kind in type(model).__mro__):
        return model
    return _mended(model)


def _mended(model: Any) -> Model[Any]:
    mended: Any = copy.copy(model)
    # Without this a stream that breaks off reads as a whole reply.
    profile = {**model.profile, "openai_chat_streaming_requires_finish_reason": True}
    read_body, open_stream = mended._validate_completion, mended.request_stream

    def read_mended(body: Any) -> Any:
        told, reported = getattr(body, "usage", None), Reported()
        take_usage(body, reported)
        refuse_error(model.model_name, body)
        mend_finish_reason(body)
        body.usage = _usage_of(told, count_reports(reported.usages))
        _close_thoughts(body, profile)
        return read_body(body)

    @contextlib.asynccontextmanager
    async def stream(*arguments: Any, **options: Any) -> AsyncIterator[Any]:
        async with open_stream(*arguments, **options) as opened:
            _mend_stream(opened)
            yield opened

    vars(mended).update(_validate_completion=read_mended, request_stream=stream, profile=profile)
    told: Model[Any] = mended
    return told


def _mend_stream(stream: Any) -> None:
    if not any(kind.__name__ == "OpenAIStreamedResponse" for kind in type(stream).__mro__):
        return
    read_chunks = stream._validate_response
    vars(stream)["_validate_response"] = lambda: _mend_chunks(read_chunks(), stream)


async def _mend_chunks(chunks: AsyncIterable[Any], stream: Any) -> AsyncIterator[Any]:
    """Yield the chunks of a stream, each with what was used since the one before it: the library adds that up."""
    reported, known = Reported(), Counted()
    is_replaced = bool((getattr(stream, "_model_settings", None) or {}).get("openai_continuous_usage_stats"))
    usages: list[Any] = []

    def keep(chunk: Any) -> None:
        usages.append(getattr(chunk, "usage", None))

    async for chunk in watch_chunks(chunks, reported, before=keep):
        told = usages.pop()
        if told is not None:
            counted = count_reports(reported.usages) or known
            more = counted if is_replaced else counted.beyond(known)
            chunk.usage, known = _usage_of(told, more), counted
        yield chunk


def _usage_of(told: Any, counted: Counted | None) -> Any:
    """Return a usage in OpenAI's words; what nobody can count is none."""
    from openai.types import CompletionUsage
    from openai.types.completion_usage import PromptTokensDetails

    if told is None or counted is None:
        return None
    details = PromptTokensDetails(cached_tokens=counted.cached)
    if counted.written:
        details = PromptTokensDetails.model_validate({**details.model_dump(), "cache_write_tokens": counted.written})
    total = counted.input + counted.output
    return CompletionUsage(
        prompt_tokens=counted.input,
        completion_tokens=counted.output,
        total_tokens=total,
        prompt_tokens_details=details,
    )


def _close_thoughts(body: Any, profile: Any) -> None:
    """Put the tags around thoughts that the library knows: it drops one without the other, and keeps the thoughts."""
    begins, ends = profile.get("thinking_tags") or ("<think>", "</think>")
    for choice in getattr(body, "choices", None) or ():
        message: Any = getattr(choice, "message", None)
        if isinstance(text := getattr(message, "content", None), str):
            message.content = mark_thoughts(text, begins=begins, ends=ends)
