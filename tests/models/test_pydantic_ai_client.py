"""The real client against a real server on loopback. No test waits: the client's sleep is handed in."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kapelle.errors import (
    InvalidInput,
    KapelleError,
    ModelRefused,
    ModelReplyInvalid,
    ModelTimeout,
    ModelUnavailable,
    UnknownPrice,
)
from kapelle.ledger import Usage
from kapelle.models import (
    Message,
    ModelReply,
    ModelRequest,
    PaidRefusal,
    PaidReplyInvalid,
    Price,
    PriceTable,
    PydanticAIClient,
    ToolCall,
    ToolDefinition,
)
from tests.models.openai_server import OpenAIServer, ServerReply, broken_stream, chat, failure, hang, raw

PRICES = PriceTable({"test-model": Price(input_usd=10.0, cached_usd=1.0, output_usd=40.0)})

ADD = ToolDefinition(
    name="add",
    description="Adds two numbers.",
    parameters={
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
)

COUNT = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}


def request(text: str = "Hello", **options: Any) -> ModelRequest:
    return ModelRequest(messages=(Message(role="user", content=text),), **options)


def client(server: OpenAIServer, **options: Any) -> PydanticAIClient:
    options.setdefault("sleep", no_sleep)
    options.setdefault("model", "local:test-model")
    return PydanticAIClient(options.pop("model"), base_url=server.base_url, prices=PRICES, **options)


async def no_sleep(_: float) -> None:
    """Wait for nothing."""


def ask(
    script: Sequence[ServerReply],
    asked: ModelRequest | None = None,
    *,
    on_text: Callable[[str], None] | None = None,
    **options: Any,
) -> tuple[ModelReply, OpenAIServer]:
    """Ask a fresh server once."""
    with OpenAIServer(script) as server:
        return complete(server, asked or request(), on_text=on_text, **options), server


def complete(
    server: OpenAIServer, asked: ModelRequest, *, on_text: Callable[[str], None] | None = None, **options: Any
) -> ModelReply:
    async def main() -> ModelReply:
        async with client(server, **options) as model:
            return await model.complete(asked, on_text=on_text)

    return asyncio.run(main())


def test_a_reply_brings_its_text_usage_and_cost() -> None:
    reply, server = ask([chat("Guten Tag", input_tokens=1000, cached_tokens=600, output_tokens=50)])

    assert reply == ModelReply(
        text="Guten Tag",
        usage=Usage(input_tokens=1000, cached_tokens=600, output_tokens=50, calls=1),
        cost_usd=(400 * 10 + 600 * 1 + 50 * 40) / 1e6,
        model="local:test-model",
        finish_reason="stop",
    )
    assert server.requests[0].path == "/v1/chat/completions"


def test_settings_reach_the_server() -> None:
    _, server = ask([chat("ok")], request(temperature=0.25, max_output_tokens=77))

    assert server.requests[0].body["temperature"] == 0.25
    assert server.requests[0].body["max_tokens"] == 77


def test_a_model_that_reasons_is_asked_without_a_temperature() -> None:
    """Its provider would refuse it; that the library drops it with a warning would fail this test."""
    _, server = ask([chat("ok")], request(temperature=0.25), model="openai-responses:gpt-6-luna")

    assert "temperature" not in server.requests[0].body


def test_a_conversation_keeps_its_roles_and_its_tool_answers() -> None:
    call = ToolCall(call_id="c1", name="add", arguments={"a": 1, "b": 2})
    messages = (
        Message(role="system", content="Be short."),
        Message(role="user", content="1 + 2?"),
        Message(role="assistant", content="", tool_calls=(call,)),
        Message(role="tool", content="3", tool_call_id="c1"),
    )

    _, server = ask([chat("3")], ModelRequest(messages=messages, tools=(ADD,)))

    sent = server.requests[0].body["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool"]
    assert sent[2]["tool_calls"][0]["id"] == sent[3]["tool_call_id"] == "c1"


def test_a_tool_answer_without_a_call_is_refused_before_anything_is_sent() -> None:
    orphan = ModelRequest(messages=(Message(role="tool", content="3", tool_call_id="c9"),))

    with OpenAIServer() as server, pytest.raises(InvalidInput, match="'c9'"):
        complete(server, orphan)

    assert server.requests == []


def test_the_model_asks_for_a_tool() -> None:
    reply, server = ask([chat(None, tool_calls=[("c1", "add", {"a": 1, "b": 2})])], request(tools=(ADD,)))

    assert reply.tool_calls == (ToolCall(call_id="c1", name="add", arguments={"a": 1, "b": 2}),)
    assert reply.finish_reason == "tool_call"
    assert server.requests[0].body["tools"][0]["function"]["name"] == "add"


@pytest.mark.parametrize("model", ["local:test-model", "openai:test-model", "openai-chat:test-model"])
def test_a_local_server_is_never_sent_strict(model: str) -> None:
    _, server = ask([chat("ok")], request(tools=(ADD,)), model=model)

    assert "strict" not in server.requests[0].body["tools"][0]["function"]


@pytest.mark.parametrize("arguments", ["{oops", "[1, 2]", '"text"'])
def test_malformed_tool_arguments_are_an_invalid_reply_that_is_paid(arguments: str) -> None:
    with pytest.raises(PaidReplyInvalid, match="'add'") as caught:
        ask([chat(None, tool_calls=[("c1", "add", arguments)])], request(tools=(ADD,)))

    assert caught.value.reply.cost_usd > 0


def test_a_streamed_reply_is_the_sum_of_its_pieces() -> None:
    heard: list[str] = []
    script = [chat("one two three", input_tokens=1000, cached_tokens=600, output_tokens=50)]

    reply, server = ask(script, on_text=heard.append)

    assert heard == ["one ", "two ", "three"]
    assert reply.text == "one two three"
    assert reply.usage == Usage(input_tokens=1000, cached_tokens=600, output_tokens=50, calls=1)
    assert reply.cost_usd == pytest.approx((400 * 10 + 600 * 1 + 50 * 40) / 1e6)
    assert server.requests[0].body["stream"] is True


def test_a_streamed_reply_may_ask_for_tools() -> None:
    heard: list[str] = []

    reply, _ = ask(
        [chat(None, tool_calls=[("c1", "add", {"a": 1, "b": 2})])], request(tools=(ADD,)), on_text=heard.append
    )

    assert reply.tool_calls[0].arguments == {"a": 1, "b": 2}
    assert heard == []


def test_a_stream_that_breaks_off_is_not_asked_again_once_text_was_heard() -> None:
    heard: list[str] = []

    with OpenAIServer([broken_stream(chat("one two three"), after=2), chat("again")]) as server:
        with pytest.raises(ModelUnavailable):
            complete(server, request(), on_text=heard.append)
        assert len(server.requests) == 1

    assert heard == ["one ", "two "]


def test_a_stream_that_breaks_off_before_any_text_is_not_asked_again_either_for_it_may_be_billed() -> None:
    with OpenAIServer([broken_stream(chat("lost"), after=0), chat("again")]) as server:
        with pytest.raises(ModelUnavailable) as caught:
            complete(server, request(), on_text=lambda _: None)
        assert len(server.requests) == 1

    assert (caught.value.sent, caught.value.cost_usd) == (True, None)


def test_a_stream_without_an_end_is_not_taken_for_a_whole_reply() -> None:
    cut = raw('data: {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": '
              '[{"index": 0, "delta": {"content": "half of"}, "finish_reason": null}]}\n\n')  # fmt: skip
    heard: list[str] = []

    with pytest.raises(ModelUnavailable, match="broke off"):
        ask([cut], on_text=heard.append)

    assert heard == ["half of"]


@pytest.mark.parametrize("error", [ValueError("mine"), TimeoutError("mine"), ModelUnavailable("mine")])
def test_what_the_listener_raises_reaches_the_caller_as_it_is(error: Exception) -> None:
    def stop(_: str) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        ask([chat("one two"), chat("again")], on_text=stop)

    assert caught.value is error


def test_json_that_fits_the_schema_is_parsed() -> None:
    reply, server = ask([chat('{"count": 3}')], request(output_schema=COUNT))

    assert reply.data == {"count": 3}
    sent = server.requests[0].body
    assert sent["response_format"]["json_schema"]["schema"]["properties"] == COUNT["properties"]
    assert "strict" not in sent["response_format"]["json_schema"]
    assert any("count" in message["content"] for message in sent["messages"]), "masking alone does not show the schema"


@pytest.mark.parametrize(
    ("text", "wrong"), [("three", "Not readable as JSON"), ('{"count": "3"}', "count: is string, not integer")]
)
def test_json_that_does_not_fit_is_an_invalid_reply_that_is_paid(text: str, wrong: str) -> None:
    with pytest.raises(PaidReplyInvalid, match=wrong) as caught:
        ask([chat(text)], request(output_schema=COUNT))

    assert caught.value.reply.text == text
    assert caught.value.reply.cost_usd > 0


def test_json_that_was_cut_off_says_how_to_get_all_of_it() -> None:
    with pytest.raises(ModelReplyInvalid, match="max_output_tokens"):
        ask([chat('{"count"', finish_reason="length")], request(output_schema=COUNT, max_output_tokens=3))


def test_tool_calls_come_before_the_schema() -> None:
    reply, _ = ask(
        [chat(None, tool_calls=[("c1", "add", {"a": 1, "b": 2})])], request(tools=(ADD,), output_schema=COUNT)
    )

    assert (reply.tool_calls[0].name, reply.data) == ("add", None)


def test_a_wait_that_the_server_asks_for_is_kept() -> None:
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    reply, _ = ask([failure(429, retry_after="7"), chat("at last")], sleep=note)

    assert (reply.text, waits) == ("at last", [7.0])


def test_a_wait_longer_than_the_call_may_take_gives_up_at_once() -> None:
    with pytest.raises(ModelUnavailable, match="120 seconds"):
        ask([failure(429, retry_after="120"), chat("too late")], request(timeout_s=30))


def test_waits_double_and_half_of_them_is_chance() -> None:
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    ask([failure(500)] * 3 + [chat("ok")], sleep=note, max_retries=3, retry_delay_s=2.0, chance=random.Random(7))

    assert all(longest / 2 <= wait <= longest for wait, longest in zip(waits, [2, 4, 8], strict=True))


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_a_passing_failure_is_tried_again(status: int) -> None:
    reply, server = ask([failure(status), chat("ok")])

    assert (reply.text, reply.usage.calls, len(server.requests)) == ("ok", 1, 2)


@pytest.mark.parametrize("max_retries", [0, 1, 2])
def test_retries_are_bounded(max_retries: int) -> None:
    with OpenAIServer([failure(500)] * 9) as server:
        with pytest.raises(ModelUnavailable, match="HTTP 500"):
            complete(server, request(), max_retries=max_retries)
        assert len(server.requests) == 1 + max_retries


@pytest.mark.parametrize(
    ("reply", "way_out"),
    [
        (failure(401), "key"),
        (failure(403), "key"),
        (failure(404, code="model_not_found"), "name"),
        (failure(400, message="no such field"), "no such field"),
        (failure(400, code="context_length_exceeded"), "Shorten"),
        (failure(400, message="request (9031 tokens) exceeds the available context size (8192 tokens)"), "Shorten"),
        (failure(400, message="This model's maximum context length is 8192 tokens. You requested 9031"), "Shorten"),
        (failure(413, message="The input (9031 tokens) is longer than the model's context length"), "Shorten"),
        (failure(400, message="no such field: context"), "does not accept"),
        (failure(429, code="insufficient_quota"), "Top it up"),
    ],
)
def test_what_the_provider_rejects_for_good_is_not_tried_again(reply: ServerReply, way_out: str) -> None:
    with OpenAIServer([reply, chat("never")]) as server:
        with pytest.raises(ModelRefused, match=way_out):
            complete(server, request())
        assert len(server.requests) == 1


def test_a_refusal_of_the_model_is_paid() -> None:
    with pytest.raises(PaidRefusal, match="will not do") as caught:
        ask([chat(None, refusal="I will not do that")])

    assert caught.value.reply.cost_usd > 0


def test_an_empty_reply_is_invalid() -> None:
    with pytest.raises(PaidReplyInvalid, match="empty"):
        ask([chat("")])


@pytest.mark.parametrize(
    "body",
    [
        "{not json",
        "",
        "[]",
        "null",
        "{}",
        "<html>gateway</html>",
        '{"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}',
        b"\xff\xfe",
    ],
)
@pytest.mark.parametrize("streams", [False, True])
def test_a_body_that_is_no_reply_is_an_invalid_reply(body: str | bytes, streams: bool) -> None:
    with pytest.raises(KapelleError) as caught:
        ask([raw(body)], on_text=(lambda _: None) if streams else None, max_retries=0)

    assert isinstance(caught.value, ModelReplyInvalid)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("streams", [False, True])
def test_a_server_that_hangs_is_a_timeout(streams: bool) -> None:
    with OpenAIServer([hang(), chat("never")]) as server:
        with pytest.raises(ModelTimeout, match=r"0\.05 seconds"):
            complete(server, request(timeout_s=0.05), on_text=(lambda _: None) if streams else None)
        assert len(server.requests) <= 1  # and is not asked again; on a busy machine it has not even read the first


def test_a_server_that_is_gone_is_unavailable() -> None:
    with OpenAIServer() as server:
        pass

    with pytest.raises(ModelUnavailable, match="base URL"):
        complete(server, request())


def test_cancelling_passes_through() -> None:
    async def main(server: OpenAIServer) -> None:
        async with client(server) as model:
            call = asyncio.create_task(model.complete(request()))
            await asyncio.to_thread(server.asked.wait)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    with OpenAIServer([hang()]) as server:
        asyncio.run(main(server))


def test_calls_share_a_connection() -> None:
    async def main(server: OpenAIServer) -> None:
        async with client(server) as model:
            for _ in range(3):
                await model.complete(request())

    with OpenAIServer([chat("ok")] * 3) as server:
        asyncio.run(main(server))
        assert len(server.connections) == 1


@pytest.mark.slow
def test_first_calls_at_the_same_time_are_all_answered() -> None:
    async def main(server: OpenAIServer) -> list[ModelReply]:
        async with client(server) as model:
            return list(await asyncio.gather(*(model.complete(request()) for _ in range(8))))

    with OpenAIServer([chat("ok")] * 8) as server:
        assert [reply.text for reply in asyncio.run(main(server))] == ["ok"] * 8


def test_one_client_serves_several_event_loops_and_leaves_nothing_open() -> None:
    """Nothing closes the client here: the end of each loop does, or a warning would fail this test."""
    with OpenAIServer([chat("first"), chat("second")]) as server:
        model = client(server)
        replies = [asyncio.run(model.complete(request())).text for _ in range(2)]

    assert replies == ["first", "second"]


def test_a_closed_client_opens_new_connections() -> None:
    async def main(server: OpenAIServer) -> str:
        model = client(server)
        await model.complete(request())
        await model.aclose()
        await model.aclose()
        try:
            return (await model.complete(request())).text
        finally:
            await model.aclose()

    with OpenAIServer([chat("first"), chat("second")]) as server:
        assert asyncio.run(main(server)) == "second"


def test_a_server_that_reports_no_usage_is_not_taken_for_free() -> None:
    reply, _ = ask([chat("a long enough answer", reports_usage=False)], request("a question of some length"))

    assert reply.usage.input_tokens >= 25 / 4
    assert reply.usage.output_tokens >= 20 / 4
    assert reply.cost_usd > 0


def test_a_model_without_a_price_is_never_asked() -> None:
    with pytest.raises(UnknownPrice, match="'openai:gpt-nobody-knows'"):
        PydanticAIClient("openai:gpt-nobody-knows", api_key="k", prices=PriceTable())


def test_a_local_model_says_that_it_is_free() -> None:
    with OpenAIServer([chat("ok")]) as server:
        model = PydanticAIClient("local:llama3:8b", base_url=server.base_url, prices=PriceTable())
        assert asyncio.run(model.complete(request())).cost_usd == 0
        assert server.requests[0].body["model"] == "llama3:8b"

    assert model.price_source == "priced at zero: it is served locally"


def test_the_responses_api_is_spoken_where_it_is_asked_for() -> None:
    reply, server = ask([chat("ok", input_tokens=10, cached_tokens=4)], model="openai-responses:test-model")

    assert (reply.text, reply.usage.cached_tokens) == ("ok", 4)
    assert server.requests[0].path == "/v1/responses"


def test_the_responses_api_streams() -> None:
    heard: list[str] = []

    reply, _ = ask(
        [chat("one two", input_tokens=10, cached_tokens=4)], model="openai-responses:test-model", on_text=heard.append
    )

    assert (reply.text, heard) == ("one two", ["one ", "two"])
    assert reply.usage == Usage(input_tokens=10, cached_tokens=4, output_tokens=20, calls=1)


def test_a_responses_stream_that_breaks_off_is_not_taken_for_a_whole_reply() -> None:
    heard: list[str] = []

    with pytest.raises(ModelUnavailable):
        ask(
            [broken_stream(chat("one two three"), after=5), chat("again")],
            model="openai-responses:test-model",
            on_text=heard.append,
        )

    assert heard == ["one ", "two "]


def test_a_responses_stream_without_an_end_is_not_taken_for_a_whole_reply() -> None:
    created = {"type": "response.created", "sequence_number": 0, "response": {"id": "r", "status": "in_progress"}}

    with OpenAIServer([raw(f"data: {json.dumps(created)}\n\n"), chat("again")]) as server:
        with pytest.raises(ModelUnavailable) as caught:
            complete(server, request(), model="openai-responses:test-model", on_text=lambda _: None)
        assert len(server.requests) == 1

    assert caught.value.sent is True


def test_a_key_goes_where_it_was_given_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "the-users-own")

    _, unkeyed = ask([chat("ok")], model="openai-chat:test-model")
    _, keyed = ask([chat("ok")], api_key="for-this-server")

    assert "the-users-own" not in str(unkeyed.requests[0].headers)
    assert keyed.requests[0].headers["authorization"] == "Bearer for-this-server"


def test_a_pydantic_ai_model_can_be_brought_along() -> None:
    from pydantic_ai.models.test import TestModel

    model = PydanticAIClient(
        TestModel(custom_output_text="made elsewhere"),
        prices=PriceTable({"test:test": Price(input_usd=1.0, cached_usd=1.0, output_usd=1.0)}),
    )

    assert asyncio.run(model.complete(request())).text == "made elsewhere"
    assert model.model == "test:test"


@pytest.mark.parametrize(
    ("model", "way_out"),
    [
        ("anthropic:claude-haiku-5-5", r"kapelle\[anthropic\]"),
        ("groq:llama-3.1-8b-instant", r"pydantic-ai-slim\[groq\]"),
    ],
)
def test_a_missing_package_is_named_when_the_client_is_made(
    model: str, way_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"pydantic_ai.providers.{model.partition(':')[0]}", None)

    with pytest.raises(InvalidInput, match=way_out):
        PydanticAIClient(model, prices=PriceTable())


def test_a_missing_key_is_named_when_the_client_is_made() -> None:
    with pytest.raises(InvalidInput, match="OPENAI_API_KEY"):
        PydanticAIClient("openai:gpt-6-luna", prices=PriceTable())


def test_importing_models_loads_no_provider_library() -> None:
    code = (
        "import sys, kapelle.models; "
        "print([name for name in sys.modules if name.split('.')[0] in ('pydantic_ai', 'openai', 'genai_prices')])"
    )

    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert output.strip() == "[]"
