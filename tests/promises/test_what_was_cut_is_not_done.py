"""A reply that is cut, withheld, broken off or empty is never an answer: its task fails, says why, and is charged."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kapelle import AgentCapability, Engine, Plan, SqliteLedger, Task, TaskDAG
from kapelle.agents import ModelAgent
from kapelle.errors import ContentRefused, KapelleError, ModelUnavailable, ReplyCut
from kapelle.execution import ExecutionLimits, RetryPolicy
from kapelle.failures.sorting import sort_failure
from kapelle.models import (
    Message,
    ModelReply,
    ModelRequest,
    PaidRefusal,
    PaidReplyCut,
    PaidReplyInvalid,
    Price,
    PriceTable,
    PydanticAIClient,
    ToolDefinition,
)
from tests.models.openai_server import OpenAIServer, ServerReply, chunk, completion, stream

PRICES = PriceTable({"m": Price(input_usd=10.0, cached_usd=1.0, output_usd=100.0)})
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
COST_USD = 0.02
HALF = "First, never"
COUNT = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
ADD = ToolDefinition(name="add", description="Adds.", parameters={"type": "object"})
CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1'}}

WHOLE = (
    "stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE", "tool_calls", "function_call",
    "something else",
)  # fmt: skip
CUT = ("length", "max_tokens", "MAX_TOKENS", "max_output_tokens", "model_length", "token_limit", "truncated",
       "context_window_exceeded")  # fmt: skip
WITHHELD = ("content_filter", "SAFETY", "content_filtered", "guardrail_intervened", "PROHIBITED_CONTENT", "refusal",
            "RECITATION", "blocklist")  # fmt: skip
BROKEN = ("error", "failed", "abort", "cancelled", "insufficient_system_resource", "timeout", "network_error",
          "MALFORMED_FUNCTION_CALL")  # fmt: skip


def request(**options: Any) -> ModelRequest:
    return ModelRequest(messages=(Message(role="user", content="How is it done?"),), **options)


def ask(reply: ServerReply, *, streams: bool, asked: ModelRequest | None = None) -> ModelReply:
    async def main(server: OpenAIServer) -> ModelReply:
        async with PydanticAIClient("local:m", base_url=server.base_url, prices=PRICES) as client:
            return await client.complete(asked or request(), on_text=(lambda _: None) if streams else None)

    with OpenAIServer([reply]) as server:
        found = asyncio.run(main(server))
        assert len(server.requests) == 1
        return found


def reply_of(text: str | None, finish: str | None, *, streams: bool, **message: Any) -> ServerReply:
    if not streams:
        return completion(text, usage=USAGE, finish_reason=finish, **message)
    return stream(chunk(text, **message), chunk(finish=finish), chunk(usage=USAGE))


def failure_of(reply: ServerReply, *, streams: bool, asked: ModelRequest | None = None) -> KapelleError:
    with pytest.raises(KapelleError) as caught:
        ask(reply, streams=streams, asked=asked)
    assert caught.value.cost_usd == pytest.approx(COST_USD), "it is paid"
    assert caught.value.sent is True
    return caught.value


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("finish", WHOLE)
def test_a_reply_that_ends_well_is_an_answer(finish: str, streams: bool) -> None:
    assert ask(reply_of("All of it.", finish, streams=streams), streams=streams).text == "All of it."


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("finish", CUT)
def test_a_reply_that_is_cut_is_none_and_says_how_to_get_all_of_it(finish: str, streams: bool) -> None:
    error = failure_of(reply_of(HALF, finish, streams=streams), streams=streams)

    assert isinstance(error, PaidReplyCut)
    assert isinstance(error, ReplyCut)
    assert error.reply.text == HALF
    assert "cut off" in str(error)
    assert "max_output_tokens" in str(error)
    assert sort_failure(error).kind == "reply"


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("finish", WITHHELD)
@pytest.mark.parametrize("text", [HALF, ""])
def test_a_reply_that_is_withheld_is_none_though_a_part_of_it_came(finish: str, text: str, streams: bool) -> None:
    error = failure_of(reply_of(text, finish, streams=streams), streams=streams)

    assert isinstance(error, PaidRefusal)
    assert isinstance(error, ContentRefused)
    assert error.reply.text == text
    assert sort_failure(error).kind == "content"


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("finish", BROKEN)
def test_a_reply_that_the_provider_broke_off_is_none_and_may_be_asked_for_again(finish: str, streams: bool) -> None:
    error = failure_of(reply_of(HALF, finish, streams=streams), streams=streams)

    assert isinstance(error, ModelUnavailable)
    assert finish[:40] in str(error)
    assert sort_failure(error).may_pass


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("finish", ["stop", "content_filter", "length"])
@pytest.mark.parametrize("text", [None, HALF])
def test_a_refusals_words_are_kept(finish: str, text: str | None, streams: bool) -> None:
    words = "I will not explain how that is done."

    error = failure_of(reply_of(text, finish, streams=streams, refusal=words), streams=streams)

    assert isinstance(error, PaidRefusal)
    assert error.words == words
    assert words in str(error)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("text", ["", " \n", None])
@pytest.mark.parametrize(("finish", "error"), [("stop", PaidReplyInvalid), ("length", PaidReplyCut)])
def test_an_empty_reply_is_none(text: str | None, finish: str, error: type[KapelleError], streams: bool) -> None:
    found = failure_of(reply_of(text, finish, streams=streams), streams=streams)

    assert type(found) is error


@pytest.mark.parametrize("streams", [False, True])
def test_a_reply_that_was_used_up_by_thinking_is_cut(streams: bool) -> None:
    reply = reply_of(None, "length", streams=streams, reasoning_content="Let me think about this")

    assert isinstance(failure_of(reply, streams=streams), PaidReplyCut)


@pytest.mark.parametrize("streams", [False, True])
def test_tool_calls_that_are_cut_are_none(streams: bool) -> None:
    call = CALL if streams else {key: value for key, value in CALL.items() if key != "index"}
    reply = reply_of(None, "length", streams=streams, tool_calls=[call])

    assert isinstance(failure_of(reply, streams=streams, asked=request(tools=(ADD,))), PaidReplyCut)


@pytest.mark.parametrize("streams", [False, True])
def test_json_that_is_cut_is_none_and_json_that_is_whole_is_an_answer(streams: bool) -> None:
    asked = request(output_schema=COUNT)

    cut = failure_of(reply_of('{"count"', "length", streams=streams), streams=streams, asked=asked)
    whole = ask(reply_of('{"count": 3}', "length", streams=streams), streams=streams, asked=asked)

    assert isinstance(cut, PaidReplyCut)
    assert whole.data == {"count": 3}


@pytest.mark.parametrize("reason", [None, "", 0, 3])
def test_a_small_server_that_gives_no_reason_is_taken_at_its_word_unless_it_streams(reason: Any) -> None:
    assert ask(completion("All of it.", usage=USAGE, finish_reason=reason), streams=False).text == "All of it."

    error = failure_of(stream(chunk(HALF, usage=USAGE), ends=False), streams=True)
    assert isinstance(error, ModelUnavailable)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("finish", ["length", "max_tokens", "content_filter", "error", "refused"])
def test_no_task_is_done_by_half_an_answer(finish: str, streams: bool) -> None:
    refused = {"refusal": "I will not."} if finish == "refused" else {}
    reply = reply_of(HALF, "stop" if refused else finish, streams=streams, **refused)

    async def main(server: OpenAIServer) -> Any:
        async with PydanticAIClient("local:m", base_url=server.base_url, prices=PRICES) as client:
            card = AgentCapability(agent_id="writer", task_types=("t",), cost_usd=0.01)
            limits = ExecutionLimits(retry=RetryPolicy(max_attempts=1))
            engine = Engine([(card, ModelAgent(client))], model="none", ledger=SqliteLedger(":memory:"), limits=limits)
            plan = Plan(request="x", graph=TaskDAG([Task(task_id="a", task_type="t")]), planner="me")
            return await engine.run(plan, on_text=(lambda _: None) if streams else None)

    with OpenAIServer([reply] * 4) as server:
        run = asyncio.run(main(server))
        asked = len(server.requests)

    assert run.state == "failed"
    assert HALF not in str(run.answer)
    assert run.cost_usd >= COST_USD * asked * 0.999 or finish == "error", (
        "what an ending of 'error' costs: see accounts"
    )
