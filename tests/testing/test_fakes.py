from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kapelle.errors import ModelReplyInvalid, ModelUnavailable
from kapelle.ledger import Usage
from kapelle.models import Message, ModelReply, ModelRequest, PaidRefusal, PaidReplyCut, PaidReplyInvalid, ToolCall
from kapelle.testing import ScriptedModel

COUNT = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}


def request(**options: Any) -> ModelRequest:
    return ModelRequest(messages=(Message(role="user", content="How many?"),), **options)


def test_replies_come_in_the_order_of_the_script() -> None:
    model = ScriptedModel(["one", "two"])

    texts = [asyncio.run(model.complete(request())).text for _ in range(2)]

    assert texts == ["one", "two"]


def test_what_was_asked_is_remembered() -> None:
    model = ScriptedModel(["one"])
    asked = request(temperature=0.5)

    asyncio.run(model.complete(asked))

    assert (model.requests, model.calls) == ([asked], 1)


def test_a_script_that_is_used_up_says_what_was_asked() -> None:
    model = ScriptedModel([], model="scripted:planner")

    with pytest.raises(AssertionError, match=r"scripted:planner was asked 1 times.*0 replies.*How many\?"):
        asyncio.run(model.complete(request()))


def test_an_exception_in_the_script_is_raised() -> None:
    error = ModelUnavailable("busy")

    with pytest.raises(ModelUnavailable) as caught:
        asyncio.run(ScriptedModel([error]).complete(request()))

    assert caught.value is error


def test_a_mapping_becomes_text_and_data() -> None:
    reply = asyncio.run(ScriptedModel([{"count": 3}]).complete(request(output_schema=COUNT)))

    assert (reply.text, reply.data) == ('{"count": 3}', {"count": 3})


def test_a_text_is_read_against_the_schema_as_a_real_reply_is() -> None:
    model = ScriptedModel(['{"count": 3}', "three", {"count": "3"}], cost_usd=0.5)

    assert asyncio.run(model.complete(request(output_schema=COUNT))).data == {"count": 3}
    for _ in range(2):
        with pytest.raises(PaidReplyInvalid) as caught:
            asyncio.run(model.complete(request(output_schema=COUNT)))
        assert isinstance(caught.value, ModelReplyInvalid)
        assert caught.value.reply.cost_usd == 0.5
    assert model.cost_usd == 1.5


def test_a_whole_reply_brings_its_own_usage_cost_and_calls() -> None:
    scripted = ModelReply(
        text="",
        tool_calls=(ToolCall(call_id="c1", name="add", arguments={}),),
        usage=Usage(input_tokens=5, calls=1),
        cost_usd=0.25,
    )
    model = ScriptedModel([scripted], model="scripted:m", cost_usd=9.0)

    reply = asyncio.run(model.complete(request(output_schema=COUNT)))

    assert (reply.tool_calls, reply.cost_usd, reply.model) == (scripted.tool_calls, 0.25, "scripted:m")


@pytest.mark.parametrize("text", ["one", "one two  three ", " lead"])
def test_streamed_pieces_add_up_to_the_text(text: str) -> None:
    heard: list[str] = []

    reply = asyncio.run(ScriptedModel([text]).complete(request(), on_text=heard.append))

    assert "".join(heard) == reply.text == text


def test_concurrent_callers_get_replies_of_their_own() -> None:
    async def both() -> list[str]:
        model = ScriptedModel(["one", "two"])
        return [reply.text for reply in await asyncio.gather(model.complete(request()), model.complete(request()))]

    assert asyncio.run(both()) == ["one", "two"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("", PaidReplyInvalid),
        ("<think>only", PaidReplyInvalid),
        (ModelReply(text="First, nev", finish_reason="length"), PaidReplyCut),
        (ModelReply(text="Well", finish_reason="content_filter"), PaidRefusal),
    ],
)
def test_what_the_real_client_refuses_the_fake_refuses(reply: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        asyncio.run(ScriptedModel([reply]).complete(request()))


def test_every_call_uses_and_costs_what_was_given() -> None:
    usage = Usage(input_tokens=7, output_tokens=3, calls=1)
    model = ScriptedModel(["a", "b"], cost_usd=0.5, usage=usage)

    replies = [asyncio.run(model.complete(request())) for _ in range(2)]

    assert [(reply.usage, reply.cost_usd) for reply in replies] == [(usage, 0.5)] * 2
    assert model.cost_usd == 1.0
