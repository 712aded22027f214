from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kapelle.errors import InvalidInput
from kapelle.models import Message, ModelClient, ModelRequest, PriceTable, PydanticAIClient, ToolCall, ToolDefinition
from kapelle.testing import ScriptedModel

HELLO = Message(role="user", content="Hello")


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"role": "robot"}, "'robot'"),
        ({"role": "tool"}, "tool_call_id"),
        ({"role": "user", "tool_call_id": "c1"}, "tool_call_id"),
        ({"role": "user", "tool_calls": (ToolCall(call_id="c1", name="add", arguments={}),)}, "assistant"),
    ],
)
def test_a_message_that_makes_no_sense_is_refused(fields: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        Message(content="", **fields)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"messages": ()}, "no messages"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"output_schema": {"type": "array"}}, "object"),
        ({"tools": (ToolDefinition(name="add", description="", parameters={}),) * 2}, "share a name"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(fields: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        ModelRequest(**{"messages": (HELLO,), **fields})


def test_the_fake_and_the_real_client_are_both_model_clients() -> None:
    clients: list[ModelClient] = [
        ScriptedModel(["hi"]),
        PydanticAIClient("local:any", base_url="http://127.0.0.1:1/v1", prices=PriceTable()),
    ]

    assert all(isinstance(client, ModelClient) for client in clients)
    assert asyncio.run(clients[0].complete(ModelRequest(messages=(HELLO,)))).text == "hi"
