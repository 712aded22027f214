"""The one client that talks to real models, through pydantic-ai, which is imported when a client is made.

Three decisions live here. *Retries* are ours, not the provider library's: only what nobody can bill is tried again
here, they share one deadline with the call, and a wait that the provider asks for is kept. *Connections* belong to the
event loop that opened them: there is one pool per loop, closed by `aclose` or when the loop ends. *Money*: a client
without a known price cannot be made, and every error says what the call has cost, or that somebody may bill it.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

from kapelle.errors import InvalidInput, KapelleError, ModelReplyInvalid, ModelTimeout, ModelUnavailable
from kapelle.failures import sort_failure
from kapelle.redaction import hide_credentials, hide_secrets, remember, remember_location, remember_model

from .client import ModelReply, ModelRequest
from .failures import explain_failure
from .masks import find_mask
from .prices import PriceTable, is_free_endpoint
from .prompt_prefix import PrefixBreak, price_break_usd
from .providers import build_model
from .rate_limits import RateLimiter, RateLimits
from .replies import check_reply, invalid_reply
from .reported import Reported, reporting_to, watch_bodies, watch_stream
from .thoughts import ThoughtReader, is_known_to_leave_tags_open, leaves_tag_open
from .token_usage import TokenUsage, estimate_most_tokens, read_broken_usage, read_usage
from .translation import read_cache_diagnosis, read_text, read_tool_calls, to_messages, to_parameters, to_settings

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelResponse
    from pydantic_ai.models import Model

_LONGEST_RETRY_DELAY_S = 30.0

TIMEOUT_S = 60.0
LOCAL_TIMEOUT_S = 600.0
"""Of a model on the user's own machine or network: a long request on a processor is read for minutes before the first
word."""
LONGEST_TIMEOUT_S = 86_400.0


class PydanticAIClient:
    """A `ModelClient` for every provider that pydantic-ai knows, and for every OpenAI-compatible server.

    Args:
        model: `provider:name`; `local:name` for an OpenAI-compatible server at `base_url`; or a pydantic-ai model that
            you made, whose connections then stay yours to close.
        base_url: where the model is served, if not at its provider. OpenAI's variable for it is read by `find_model`,
            never here.
        api_key: None leaves it to the provider's library, which looks in the environment.
        prices: what calls cost.
        timeout_s: how long to wait where the request does not say: for the whole reply, or, while it streams, for its
            next piece. None is 60 seconds, and 600 for a model on your own machine or network.
        rate_limits: how many requests and tokens a minute the provider grants; calls beyond that wait for their turn.
        max_retries: how often a call is repeated that failed for a passing reason and that nobody can bill (429, 5xx,
            no connection).
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
        timeout_s: float | None = None,
        rate_limits: RateLimits | None = None,
        max_retries: int = 2,
        retry_delay_s: float = 0.5,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: random.Random | None = None,
    ) -> None:
        if max_retries < 0 or retry_delay_s < 0:
            raise InvalidInput(f"max_retries={max_retries!r} and retry_delay_s={retry_delay_s!r} must be zero or more.")
        if timeout_s is not None and not (math.isfinite(timeout_s) and 0 < timeout_s <= LONGEST_TIMEOUT_S):
            raise InvalidInput(f"timeout_s={timeout_s!r} must be more than zero seconds, and at most a day.")
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
            self._foreign = watch_bodies(model)
            remember_model(model, owner=self)
        self.price_source = prices.find_source(self.model, base_url=self.base_url)
        """Where the price comes from, in words: it says so when a model is free."""
        self.is_local = is_free_endpoint(self.model, self.base_url)
        """Whether it is served on the user's own machine or network."""
        self.takes_tuple_schemas = self.is_local
        """Whether schemas may say what stands at which position: servers that make a grammar of a schema read that, the
        strict modes of hosted providers do not."""
        self.timeout_s = (LOCAL_TIMEOUT_S if self.is_local else TIMEOUT_S) if timeout_s is None else timeout_s
        """Seconds that a call may take, or a stream be silent, where the request does not say."""
        self._limiter = RateLimiter(rate_limits)
        # Set once it was seen that a template writes the opening tag of thoughts itself.
        self._leaves_tags_open = is_known_to_leave_tags_open(self.model)
        self._prices = prices
        self._max_retries = max_retries
        self._retry_delay_s = retry_delay_s
        self._sleep = sleep
        self._chance = chance or random.Random()
        self._connections: WeakKeyDictionary[asyncio.AbstractEventLoop, _Connection] = WeakKeyDictionary()
        # Made now, so that a missing package or key shows now; the first event loop takes it over.
        self._spare = None if self._foreign is not None else self._build()
        told = self._foreign or self._spare
        assert told is not None
        self.mask = find_mask(told)
        """How the model is told which tools may be called."""

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> ModelReply:
        """Ask the model: see `ModelClient.complete`, whose errors these are."""
        loop = asyncio.get_running_loop()
        timeout_s = self.timeout_s if request.timeout_s is None else request.timeout_s
        deadline = loop.time() + timeout_s
        listener = None if on_text is None else _Listener(on_text, holds_back=self._leaves_tags_open)
        model = await self._open()
        retries = 0
        while True:
            place = await self._limiter.wait_for_place(estimate_most_tokens(request), deadline=deadline)
            reported = Reported()
            try:
                reply = await self._ask_once(model, request, listener, reported, deadline=deadline)
                place.settle(reply.usage.tokens)
                return reply
            except Exception as error:
                # A warning is raised only where the user wants warnings to be errors.
                if isinstance(error, Warning):
                    raise
                if listener is not None and error is listener.error:
                    if isinstance(error, KapelleError):
                        self._note_cost(error, request, reported)
                    raise
                explained = explain_failure(self.model, error)
                self._note_cost(explained, request, reported)
                place.settle(explained.usage.tokens if explained.usage else 0 if explained.sent is False else None)
                failure = sort_failure(explained)
                wait_s = self._choose_wait_s(failure.retry_after_s, retries)
                heard = listener is not None and listener.pieces > 0
                may_retry = failure.may_pass and explained.sent is False and not heard
                if not may_retry or retries >= self._max_retries:
                    if explained is error:
                        raise
                    raise explained from error
                # A long wait is for whoever else asks this provider, too: it is not kept to oneself.
                if wait_s > _LONGEST_RETRY_DELAY_S or loop.time() + wait_s >= deadline:
                    raise ModelUnavailable(
                        f"{explained} The next attempt is due in {wait_s:g} seconds, which is too long for this call.",
                        sent=False,
                        retry_after_s=failure.retry_after_s,
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

    def break_usd(self, found: PrefixBreak) -> float:
        """Return the most dollars that a break of the prompt cache costs."""
        return price_break_usd(self._prices, self.model, found, base_url=self.base_url)

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

        return watch_bodies(build_model(self.model, base_url=self.base_url, api_key=self._api_key))

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

    async def _ask_once(
        self,
        model: Model[Any],
        request: ModelRequest,
        listener: _Listener | None,
        reported: Reported,
        *,
        deadline: float,
    ) -> ModelReply:
        streams = listener is not None
        silence_s = self.timeout_s if request.timeout_s is None else request.timeout_s
        # Where nobody said how long the whole may take, a reply that keeps coming is not cut off.
        try:
            with reporting_to(reported):
                async with asyncio.timeout_at(deadline) as limit:
                    if listener is None:
                        response = await _ask(model, request, silence_s=silence_s)
                    else:
                        patience_s = silence_s if request.timeout_s is None else None
                        response = await _listen(
                            model, request, listener, reported, silence_s=silence_s, limit=limit, patience_s=patience_s
                        )
        except TimeoutError as error:
            if not limit.expired():
                raise
            did = "was silent for" if streams and request.timeout_s is None else "did not answer within"
            raise ModelTimeout(
                f"{self.model} {did} {silence_s:g} seconds. Give it more time (KAPELLE_MODEL_TIMEOUT, or timeout_s).",
                sent=True,
            ) from error
        reply = self._to_reply(response, request, reported)
        if listener is not None:
            listener.finish()
        return reply

    def _to_reply(self, response: ModelResponse, request: ModelRequest, reported: Reported) -> ModelReply:
        tokens = read_usage(request, response, reported)
        text = read_text(response)
        reply = ModelReply(
            text=text,
            usage=tokens.usage,
            cost_usd=self._cost_usd(tokens),
            usage_estimated=tokens.is_estimated,
            model=self.model,
            finish_reason=response.finish_reason,
            cache_diagnosis=read_cache_diagnosis(response),
        )
        self._leaves_tags_open = self._leaves_tags_open or leaves_tag_open(text)
        details = response.provider_details or {}
        try:
            reply = replace(reply, tool_calls=read_tool_calls(response))
        except ModelReplyInvalid as error:
            raise invalid_reply(error, reply, details=details) from error
        return check_reply(reply, request, details=details)

    def _note_cost(self, error: KapelleError, request: ModelRequest, reported: Reported) -> None:
        """Say in an error what the call has cost, where that was reported and the error does not say it yet."""
        if error.cost_usd is not None:
            return
        tokens = read_broken_usage(request, reported)
        if tokens is not None:
            error.usage, error.cost_usd, error.sent = tokens.usage, self._cost_usd(tokens), True
        elif error.sent is None:
            error.sent = True

    def _cost_usd(self, tokens: TokenUsage) -> float:
        return self._prices.cost_usd(
            self.model, tokens.usage, base_url=self.base_url, cache_written_tokens=tokens.cache_written_tokens
        )

    def _choose_wait_s(self, asked_s: float | None, retries: int) -> float:
        if asked_s is not None:
            return asked_s
        longest = min(_LONGEST_RETRY_DELAY_S, self._retry_delay_s * 2.0**retries)
        return longest * (0.5 + 0.5 * self._chance.random())


class _Listener:
    """Passes pieces on, without thoughts, and remembers whether any was heard and what the caller's function raised."""

    def __init__(self, on_text: Callable[[str], None], *, holds_back: bool) -> None:
        self._on_text = on_text
        self._thoughts = ThoughtReader(holds_back=holds_back)
        self.pieces = 0
        self.error: Exception | None = None

    def hear(self, piece: str) -> None:
        self._pass_on(self._thoughts.take(piece) if piece else "")

    def finish(self) -> None:
        self._pass_on(self._thoughts.finish())

    def _pass_on(self, text: str) -> None:
        if not text:
            return
        self.pieces += 1
        try:
            self._on_text(text)
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


async def _ask(model: Model[Any], request: ModelRequest, *, silence_s: float) -> ModelResponse:
    from pydantic_ai.direct import model_request

    return await model_request(
        model,
        to_messages(request.messages),
        model_settings=to_settings(request, model, silence_s=silence_s),
        model_request_parameters=to_parameters(request, model),
    )


async def _listen(
    model: Model[Any],
    request: ModelRequest,
    listener: _Listener,
    reported: Reported,
    *,
    silence_s: float,
    limit: asyncio.Timeout,
    patience_s: float | None,
) -> ModelResponse:
    """Ask for a stream. With `patience_s` the limit is moved by so many seconds with every piece that comes."""
    from pydantic_ai.direct import model_request_stream

    loop = asyncio.get_running_loop()
    async with model_request_stream(
        model,
        to_messages(request.messages),
        model_settings=to_settings(request, model, silence_s=silence_s),
        model_request_parameters=to_parameters(request, model),
    ) as stream:
        watch_stream(stream, reported)
        async for event in stream:
            if patience_s is not None:
                limit.reschedule(loop.time() + patience_s)
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
