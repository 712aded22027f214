"""The one client that talks to real models, through pydantic-ai, which is imported when a client is made.

Three decisions live here. *Retries* are ours, not the provider library's: they stop at the first streamed piece, they
share one deadline with the call, and a wait that the provider asks for is kept. *Connections* belong to the event loop
that opened them: there is one pool per loop, closed by `aclose` or when the loop ends. *Money*: a client without a
known price cannot be made.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

from kapelle.errors import InvalidInput, ModelReplyInvalid, ModelTimeout, ModelUnavailable
from kapelle.redaction import hide_credentials, hide_secrets, remember, remember_location, remember_model

from .client import ModelReply, ModelRequest, PaidRefusal, PaidReplyInvalid
from .failures import Failure, explain_failure
from .prices import PriceTable
from .providers import build_model
from .reply_schema import read_json_reply
from .translation import read_text, read_tool_calls, read_usage, to_messages, to_parameters, to_settings

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelResponse
    from pydantic_ai.models import Model

_LONGEST_RETRY_DELAY_S = 30.0


class PydanticAIClient:
    """A `ModelClient` for every provider that pydantic-ai knows, and for every OpenAI-compatible server.

    Args:
        model: `provider:name`; `local:name` for an OpenAI-compatible server at `base_url`; or a pydantic-ai model that
            you made, whose connections then stay yours to close.
        base_url: where the model is served, if not at its provider. OpenAI's variable for it is read by `find_model`,
            never here.
        api_key: None leaves it to the provider's library, which looks in the environment.
        prices: what calls cost.
        max_retries: how often a call is repeated that failed for a passing reason (429, 5xx, no connection).
        retry_delay_s: the wait before the first repetition, in seconds; it doubles with each, half of it by chance.
        sleep: waits; for tests.
        chance: spreads the waits, so that many clients do not return together.

    Raises:
        UnknownPrice: nothing prices this model. Nothing is ever sent.
        InvalidInput: the provider is unknown, or its package or key is missing.
    """

    def __init__(
        self,
        model: str | Model[Any],
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        prices: PriceTable,
        max_retries: int = 2,
        retry_delay_s: float = 0.5,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: random.Random | None = None,
    ) -> None:
        if max_retries < 0 or retry_delay_s < 0:
            raise InvalidInput(f"max_retries={max_retries!r} and retry_delay_s={retry_delay_s!r} must be zero or more.")
        self._foreign: Model[Any] | None = None
        if isinstance(model, str):
            self.model = model
            self.base_url = base_url
            remember(api_key, owner=self)
            remember_location(base_url or "", owner=self)
            self._api_key = api_key
        else:
            if base_url is not None or api_key is not None:
                raise InvalidInput("A pydantic-ai model brings its own base URL and key; give none beside it.")
            self.model = f"{model.system}:{model.model_name}"
            self.base_url = model.base_url
            self._foreign = model
            remember_model(model, owner=self)
        self.price_source = prices.find_source(self.model, base_url=self.base_url)
        """Where the price comes from, in words: it says so when a model is free."""
        self._prices = prices
        self._max_retries = max_retries
        self._retry_delay_s = retry_delay_s
        self._sleep = sleep
        self._chance = chance or random.Random()
        self._connections: WeakKeyDictionary[asyncio.AbstractEventLoop, _Connection] = WeakKeyDictionary()
        # Made now, so that a missing package or key shows now; the first event loop takes it over.
        self._spare = None if self._foreign is not None else self._build()

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> ModelReply:
        """Ask the model: see `ModelClient.complete`, whose errors these are."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.timeout_s
        listener = None if on_text is None else _Listener(on_text)
        model = await self._open()
        retries = 0
        while True:
            try:
                async with asyncio.timeout_at(deadline) as limit:
                    response = await _ask(model, request, listener)
                return self._to_reply(response, request)
            except Exception as error:
                # A warning is raised only where the user wants warnings to be errors.
                if isinstance(error, Warning) or (listener is not None and error is listener.error):
                    raise
                if isinstance(error, TimeoutError) and limit.expired():
                    raise ModelTimeout(
                        f"{self.model} did not answer within {request.timeout_s:g} seconds. Give it more time."
                    ) from error
                failure = explain_failure(self.model, error)
                wait_s = self._choose_wait_s(failure, retries)
                heard = listener is not None and listener.pieces > 0
                if not failure.may_retry or heard or retries >= self._max_retries:
                    if failure.error is error:
                        raise
                    raise failure.error from error
                if loop.time() + wait_s >= deadline:
                    raise ModelUnavailable(
                        f"{failure.error} The next attempt is due in {wait_s:g} seconds, when this call is over."
                    ) from error
            retries += 1
            await self._sleep(wait_s)

    def bound_usd(self, *, input_tokens: int, output_tokens: int) -> float:
        """Return the most dollars that a call of so many tokens costs."""
        return self._prices.estimate_usd(
            self.model, input_tokens=input_tokens, output_tokens=output_tokens, base_url=self.base_url
        )

    def affordable_tokens(self, usd: float, *, input_tokens: int, most: int) -> int:
        """Return how many output tokens, `most` at most, so many dollars pay for after the input; 0 for none."""
        return self._prices.affordable_tokens(
            self.model, usd, input_tokens=input_tokens, most=most, base_url=self.base_url
        )

    async def aclose(self) -> None:
        """Close the connections of the running event loop. The client can be used again: it opens new ones."""
        connection = self._connections.pop(asyncio.get_running_loop(), None)
        if connection is not None:
            await connection.keeper.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        server = None if self.base_url is None else hide_credentials(self.base_url)
        return f"PydanticAIClient({hide_secrets(self.model)!r}, base_url={server!r})"

    def _build(self) -> Model[Any]:
        # Loaded here as well: the first call would hold the event loop up for as long as it takes.
        import pydantic_ai.direct  # noqa: F401

        return build_model(self.model, base_url=self.base_url, api_key=self._api_key)

    async def _open(self) -> Model[Any]:
        if self._foreign is not None:
            return self._foreign
        loop = asyncio.get_running_loop()
        connection = self._connections.get(loop)
        if connection is None:
            model, self._spare = self._spare or self._build(), None
            connection = self._connections[loop] = _Connection(model)
            await anext(connection.keeper)
        return connection.model

    def _to_reply(self, response: ModelResponse, request: ModelRequest) -> ModelReply:
        usage = read_usage(response, request)
        cost_usd = self._prices.cost_usd(
            self.model, usage, base_url=self.base_url, cache_written_tokens=response.usage.cache_write_tokens
        )
        reply = ModelReply(
            text=read_text(response),
            usage=usage,
            cost_usd=cost_usd,
            model=self.model,
            finish_reason=response.finish_reason,
        )
        try:
            reply = replace(reply, tool_calls=read_tool_calls(response))
            if not reply.text and not reply.tool_calls:
                _refuse_empty_reply(reply, response)
            if request.output_schema is None or reply.tool_calls:
                return reply
            return replace(reply, data=read_json_reply(reply.text, request.output_schema))
        except ModelReplyInvalid as error:
            cut = " It was cut off: raise max_output_tokens." if reply.finish_reason == "length" else ""
            raise PaidReplyInvalid(f"{self.model}: {error}{cut}", reply=reply) from error

    def _choose_wait_s(self, failure: Failure, retries: int) -> float:
        if failure.retry_after_s is not None:
            return failure.retry_after_s
        longest = min(_LONGEST_RETRY_DELAY_S, self._retry_delay_s * 2.0**retries)
        return longest * (0.5 + 0.5 * self._chance.random())


class _Listener:
    """Passes pieces on, and remembers whether any was heard and what the caller's function raised."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self._on_text = on_text
        self.pieces = 0
        self.error: Exception | None = None

    def hear(self, piece: str) -> None:
        if not piece:
            return
        self.pieces += 1
        try:
            self._on_text(piece)
        except Exception as error:
            self.error = error
            raise


class _Connection:
    """A model with its connection pool, for one event loop."""

    def __init__(self, model: Model[Any]) -> None:
        self.model = model
        self.keeper = _keep_until_the_loop_ends(model)


async def _keep_until_the_loop_ends(model: Model[Any]) -> AsyncGenerator[None, None]:
    # An event loop closes the asynchronous generators that it has seen started before it ends itself, and this is the
    # one hook it offers: sockets that outlive their loop can never be closed properly.
    try:
        yield
    finally:
        # Entering and leaving a model closes the HTTP client that its provider made. It is not entered around the
        # `yield`, for then two first calls at the same time would meet in the middle of it.
        async with model:
            pass


async def _ask(model: Model[Any], request: ModelRequest, listener: _Listener | None) -> ModelResponse:
    from pydantic_ai.direct import model_request, model_request_stream

    messages = to_messages(request.messages)
    settings = to_settings(request, model)
    parameters = to_parameters(request, model)
    if listener is None:
        return await model_request(model, messages, model_settings=settings, model_request_parameters=parameters)

    async with model_request_stream(
        model, messages, model_settings=settings, model_request_parameters=parameters
    ) as stream:
        async for event in stream:
            listener.hear(_read_piece(event))
        response = stream.get()
    if response.state != "complete":
        raise ModelUnavailable(f"{model.model_name}: the stream ended before the reply did ({response.state}).")
    return response


def _read_piece(event: Any) -> str:
    from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta

    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return event.part.content
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return event.delta.content_delta
    return ""


def _refuse_empty_reply(reply: ModelReply, response: ModelResponse) -> None:
    if reply.finish_reason == "content_filter":
        refusal = (response.provider_details or {}).get("refusal")
        said = f" It said: {str(refusal)[:200]!r}." if refusal else ""
        raise PaidRefusal(f"{reply.model} declined by the provider's policy.{said} Reword the request.", reply=reply)
    raise ModelReplyInvalid("The model's reply is empty.")
