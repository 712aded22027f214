"""Every error of the client says what the call has cost, or whether somebody may bill it all the same."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from kapelle.errors import KapelleError, ModelRefused, ModelReplyInvalid, ModelTimeout, ModelUnavailable, QuotaExceeded
from kapelle.ledger import Usage
from kapelle.models import Message, ModelReply, ModelRequest, Price, PriceTable, PydanticAIClient
from tests.models.openai_server import (
    OpenAIServer,
    ServerReply,
    broken_stream,
    chat,
    chunk,
    failure,
    hang,
    hang_up,
    raw,
    stream,
)

PRICES = PriceTable({"m": Price(input_usd=10.0, cached_usd=1.0, output_usd=100.0)})
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
         "prompt_tokens_details": {"cached_tokens": 600}}  # fmt: skip
USED = Usage(input_tokens=1000, cached_tokens=600, output_tokens=100, calls=1)
COST_USD = 0.0146


def request(**options: Any) -> ModelRequest:
    return ModelRequest(messages=(Message(role="user", content="Hello"),), **options)


def complete(
    server: OpenAIServer,
    asked: ModelRequest | None = None,
    *,
    on_text: Callable[[str], None] | None = None,
    model: str = "local:m",
    **options: Any,
) -> ModelReply:
    async def skip(_: float) -> None:
        """Wait for nothing."""

    async def main() -> ModelReply:
        async with PydanticAIClient(model, base_url=server.base_url, prices=PRICES, sleep=skip, **options) as client:
            return await client.complete(asked or request(), on_text=on_text)

    return asyncio.run(main())


def ask(*script: ServerReply, streams: bool, **options: Any) -> tuple[KapelleError, int]:
    """Return the error that asking ends with, and how often the server was asked."""
    with OpenAIServer(script) as server:
        with pytest.raises(KapelleError) as caught:
            complete(server, on_text=(lambda _: None) if streams else None, **options)
        return caught.value, len(server.requests)


BOTH = pytest.mark.parametrize("streams", [False, True])
IN_STREAM = 'data: {"error": {"message": "busy", "type": "server_error", "code": "server_error"}}\n\n'

UNREPORTED = {
    "a connection that ends after the request": (hang_up(), ModelUnavailable, (False, True)),
    "a body that ends too early": (ServerReply(body=b'{"id": ', drops=True), ModelUnavailable, (False,)),
    "a body that is no JSON": (raw("{not json"), ModelReplyInvalid, (False, True)),
    "a body of nothing": (raw(""), ModelReplyInvalid, (False, True)),
    "a page": (raw("<html>gateway</html>"), ModelReplyInvalid, (False, True)),
    "no choices": (raw('{"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}'),
                   ModelReplyInvalid, (False,)),
    "a stream without a piece": (broken_stream(chat("lost"), after=0), ModelUnavailable, (True,)),
    "a stream that breaks off": (broken_stream(chat("one two three"), after=2), ModelUnavailable, (True,)),
    "a stream without an end": (stream(chunk("half of"), ends=False), ModelUnavailable, (True,)),
    "a stream that drops": (stream(chunk("half of"), ends=False, drops=True), ModelUnavailable, (True,)),
    "a stream with an error in it": (raw(IN_STREAM), ModelUnavailable, (True,)),
    "a stream of no JSON": (raw("data: {oops\n\n"), ModelReplyInvalid, (True,)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "streams"), [(name, streams) for name, (_, _, ways) in UNREPORTED.items() for streams in ways]
)
def test_what_was_sent_may_be_billed_and_is_not_asked_again_here(name: str, streams: bool) -> None:
    reply, kind, _ = UNREPORTED[name]

    error, asked = ask(reply, chat("again"), streams=streams)

    assert isinstance(error, kind)
    assert (error.sent, error.cost_usd, error.usage) == (True, None, None)
    assert asked == 1


REPORTED = {
    "a stream without an end": stream(chunk("half of", usage=USAGE), ends=False),
    "a stream that drops": stream(chunk("half of", usage=USAGE), ends=False, drops=True),
    "a stream that ends before its end": stream(chunk("half of"), chunk(usage=USAGE), ends=True),
    "a stream of thoughts that drops": stream(chunk("<think>half", usage=USAGE), ends=False, drops=True),
    "a stream with an error in it": raw(
        stream(chunk("half of", usage=USAGE), ends=False).body + IN_STREAM.encode()
    ),
    "a stream of no JSON": raw(stream(chunk("half of", usage=USAGE), ends=False).body + b"data: {oops\n\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", REPORTED)
def test_what_was_reported_before_it_broke_is_what_it_costs(name: str) -> None:
    error, asked = ask(REPORTED[name], chat("again"), streams=True)

    assert error.usage == USED
    assert error.cost_usd == pytest.approx(COST_USD)
    assert error.sent is True
    assert asked == 1
    again = pickle.loads(pickle.dumps(error))
    assert (again.cost_usd, again.usage, again.sent) == (error.cost_usd, error.usage, True)


WHOLE = (chunk("all "), chunk("of it"), chunk(finish="stop"))


@pytest.mark.parametrize("reports", [True, False])
def test_a_connection_that_breaks_after_the_reply_has_ended_takes_nothing_back(reports: bool) -> None:
    chunks = (*WHOLE, chunk(usage=USAGE)) if reports else WHOLE
    with OpenAIServer([stream(*chunks, ends=False, drops=True), chat("again")]) as server:
        reply = complete(server, on_text=lambda _: None)
        assert len(server.requests) == 1

    assert (reply.text, reply.usage_estimated) == ("all of it", not reports)
    assert not reports or reply.usage == USED


def test_a_server_may_take_back_what_it_has_ended() -> None:
    body = stream(*WHOLE, chunk(usage=USAGE), ends=False).body + IN_STREAM.encode()

    error, _ = ask(raw(body), streams=True)

    assert error.cost_usd == pytest.approx(COST_USD)


def test_a_body_that_cannot_be_read_may_still_say_what_it_cost() -> None:
    body = (
        '{"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [], "usage": '
        '{"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 600}}}'
    )

    error, _ = ask(raw(body), streams=False)

    assert isinstance(error, ModelReplyInvalid)
    assert error.usage == USED
    assert error.cost_usd == pytest.approx(COST_USD)


@BOTH
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422, 429, 500, 502, 503, 529])
def test_what_is_refused_by_a_status_bills_nothing(status: int, streams: bool) -> None:
    error, _ = ask(*[failure(status)] * 3, streams=streams)

    assert (error.sent, error.cost_usd) == (False, None)


@BOTH
def test_what_never_arrived_bills_nothing(streams: bool) -> None:
    with OpenAIServer() as server:
        pass

    with pytest.raises(ModelUnavailable) as refused:
        complete(server, on_text=(lambda _: None) if streams else None)
    assert refused.value.sent is False


@BOTH
def test_a_server_that_takes_too_long_may_bill(streams: bool) -> None:
    error, asked = ask(hang(), chat("never"), streams=streams, asked=request(timeout_s=0.05))

    assert isinstance(error, ModelTimeout)
    assert error.sent is True
    assert asked <= 1, "on a busy machine the time may be over before the request arrives"


@BOTH
@pytest.mark.parametrize("timeout_s", [30, None])
@pytest.mark.parametrize("asked_s", ["90", "600"])
def test_a_wait_that_is_too_long_here_is_handed_on(asked_s: str, timeout_s: float | None, streams: bool) -> None:
    error, asked = ask(failure(429, retry_after=asked_s), streams=streams, asked=request(timeout_s=timeout_s))

    assert isinstance(error, ModelUnavailable)
    assert (error.retry_after_s, error.sent, asked) == (float(asked_s), False, 1)


@BOTH
def test_the_wait_that_was_asked_for_last_is_handed_on(streams: bool) -> None:
    error, asked = ask(*[failure(503, retry_after="7")] * 3, streams=streams, max_retries=2)

    assert (error.retry_after_s, asked) == (7.0, 3)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "busy", "code": "server_error"}, ModelUnavailable),
        ({"message": "pay", "code": "insufficient_quota"}, QuotaExceeded),
        ("busy", ModelUnavailable),
    ],
)
def test_an_error_where_a_reply_belongs_is_read_as_one(error: Any, kind: type[KapelleError]) -> None:
    found, asked = ask(raw(json.dumps({"error": error})), streams=False)

    assert type(found) is kind
    assert (found.sent, asked) == (True, 1)


def test_kinds_of_refusal_are_told_apart() -> None:
    quota, _ = ask(failure(429, code="insufficient_quota"), streams=False)
    key, _ = ask(failure(401), streams=False)

    assert isinstance(quota, QuotaExceeded)
    assert type(key) is ModelRefused


def test_an_error_of_kapelles_that_a_listener_raises_says_what_the_call_has_cost() -> None:
    def stop(_: str) -> None:
        raise ModelUnavailable("mine")

    script = [stream(chunk("one", usage=USAGE), chunk("two"), chunk(finish="stop"))]
    with OpenAIServer(script) as server, pytest.raises(ModelUnavailable, match="mine") as caught:
        complete(server, on_text=stop)

    assert caught.value.cost_usd == pytest.approx(COST_USD)


@pytest.mark.parametrize("after", [0, 1, 4])
def test_the_responses_api_says_what_was_sent_too(after: int) -> None:
    error, asked = ask(broken_stream(chat("one two"), after=after), chat("again"), streams=True,
                       model="openai-responses:m")  # fmt: skip

    assert (error.sent, asked) == (True, 1)
