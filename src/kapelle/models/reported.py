"""What a server says of one call, also where no reply comes of it: every report of usage, and the text so far.

pydantic-ai adds up what the chunks of a stream report, though most servers that report more than once repeat a running
total; it reads no usage of a body that it cannot read otherwise; and it takes thoughts out of a text as soon as a tag
stands alone in a piece. So the hooks that it offers for chunks and bodies are used here: usage is taken out of them
before it reads them, and text is left as it was sent.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kapelle.failures import sort_failure

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelResponse
    from pydantic_ai.models import Model, StreamedResponse

# No text holds it, so nothing is taken for a thought; see `thoughts.py` for what is.
_NO_TAG = "\x00kapelle reads thoughts itself\x00"


@dataclass(slots=True)
class Reported:
    """What was said of one call so far."""

    usages: list[Mapping[str, Any]] = field(default_factory=list)
    """As the server worded them, in order."""
    is_watched: bool = False
    """Whether `usages` is all there is. Else pydantic-ai's reading of the usage is."""
    stream: StreamedResponse | None = None

    def response_so_far(self) -> ModelResponse | None:
        """What has streamed, where anything did."""
        if self.stream is None:
            return None
        with contextlib.suppress(Exception):  # a half of a reply need not make a response
            return self.stream.get()
        return None


_CURRENT: ContextVar[Reported | None] = ContextVar("kapelle_reported", default=None)


@contextlib.contextmanager
def reporting_to(reported: Reported) -> Any:
    """Note what bodies say, of calls made within."""
    token = _CURRENT.set(reported)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def watch_bodies(model: Model[Any]) -> Model[Any]:
    """Return the model, or a copy that shares its connections, with hooks on the bodies that it reads.

    Those that do not speak the OpenAI protocol, or are put together from others, are returned as they are.
    """
    if not any(kind.__name__ == "OpenAIChatModel" for kind in type(model).__mro__):
        return model
    watched = copy.copy(model)
    read_body: Callable[[Any], Any] = watched._validate_completion  # type: ignore[attr-defined]  # it is such a model

    def read_mended(body: Any) -> Any:
        take_usage(body, _CURRENT.get())
        refuse_error(model.model_name, body)
        mend_finish_reason(body)
        return read_body(body)

    vars(watched)["_validate_completion"] = read_mended
    vars(watched)["profile"] = {**model.profile, "thinking_tags": (_NO_TAG, _NO_TAG)}
    return watched


def watch_stream(stream: StreamedResponse, reported: Reported) -> None:
    """Note what the chunks of a stream say."""
    reported.stream = stream
    read_chunks: Callable[[], AsyncIterable[Any]] | None = getattr(stream, "_validate_response", None)
    if read_chunks is None or not any(kind.__name__ == "OpenAIStreamedResponse" for kind in type(stream).__mro__):
        return
    reported.is_watched = True
    vars(stream)["_validate_response"] = lambda: watch_chunks(read_chunks(), reported)


async def watch_chunks(
    chunks: AsyncIterable[Any], reported: Reported, *, before: Callable[[Any], None] = lambda _: None
) -> AsyncIterator[Any]:
    """Yield the chunks of a stream, without their usage, which goes to the reports; `before` sees them with it.

    A connection that breaks once the reply has ended takes nothing of it back.
    """
    has_ended = False
    try:
        async for chunk in chunks:
            before(chunk)
            take_usage(chunk, reported)
            choices = getattr(chunk, "choices", None) or ()
            has_ended = has_ended or any(getattr(choice, "finish_reason", None) for choice in choices)
            yield chunk
    except Exception as error:
        # With a body it is the server that speaks, and may take it back.
        was_cut = getattr(error, "body", None) is None and sort_failure(error).kind in ("provider", "timeout")
        if not (has_ended and was_cut):
            raise


def take_usage(body: Any, reported: Reported | None) -> None:
    """Move the usage from a body or a chunk to the reports: what it holds need not fit the library's classes."""
    if reported is None:
        return
    reported.is_watched = True
    usage = getattr(body, "usage", None)
    if usage is None:
        return
    if hasattr(usage, "model_dump"):
        usage = usage.model_dump(warnings=False)
    if isinstance(usage, Mapping):
        reported.usages.append(usage)
    body.usage = None


def refuse_error(model: str, body: Any) -> None:
    """Some gateways answer 200 and put what went wrong where a reply belongs."""
    from pydantic_ai.exceptions import ModelAPIError

    error = getattr(body, "error", None)
    if not error or getattr(body, "choices", None):
        return
    told = error if isinstance(error, Mapping) else {"message": str(error)}
    raise ModelAPIError(model, str(told.get("message") or told), body=dict(told), in_stream=True)


def mend_finish_reason(body: Any) -> None:
    """An empty reason is none, which small servers may leave out; a number is a word of theirs."""
    for choice in getattr(body, "choices", None) or ():
        reason = getattr(choice, "finish_reason", None)
        if reason is not None and not (isinstance(reason, str) and reason):
            choice.finish_reason = str(reason or "stop")
