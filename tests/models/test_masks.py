"""What goes out where tools are masked, as servers receive it: the list of tools whole, whatever is allowed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from kapelle.errors import InvalidInput
from kapelle.models import (
    Message,
    ModelReply,
    ModelRequest,
    PriceTable,
    PydanticAIClient,
    ToolCall,
    ToolDefinition,
    find_mask,
)
from kapelle.models.client import ToolChoice
from kapelle.models.masks import choose_tools
from kapelle.models.translation import to_parameters
from tests.models.openai_server import OpenAIServer, chat

TOOLS = tuple(ToolDefinition(name=name, parameters={"type": "object", "properties": {}}) for name in ("a", "b", "c"))


def request(*allowed: str, tool_choice: ToolChoice = "auto", all_allowed: bool = False) -> ModelRequest:
    return ModelRequest(
        messages=(Message(role="user", content="Go."),),
        tools=TOOLS,
        allowed_tools=None if all_allowed else frozenset(allowed),
        tool_choice=tool_choice,
    )


def openai_model(server: OpenAIServer) -> Any:
    """Return OpenAI's own Chat API, as its provider describes it, served on loopback."""
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return OpenAIChatModel("gpt-4.1", provider=OpenAIProvider(base_url=server.base_url, api_key="k"))


async def complete(model: Any, *requests: ModelRequest) -> list[ModelReply]:
    """Ask a model that is somebody else's, and close it."""
    async with model:
        client = PydanticAIClient(model, prices=PriceTable())
        return [await client.complete(asked) for asked in requests]


def sent(asked: ModelRequest, *, compatible: bool = False) -> dict[str, Any]:
    """Return the body that a server receives."""
    with OpenAIServer([chat("Done.")]) as server:
        if compatible:
            client = PydanticAIClient("local:m", base_url=server.base_url, prices=PriceTable())
            asyncio.run(client.complete(asked))
        else:
            asyncio.run(complete(openai_model(server), asked))
        return dict(server.requests[0].body)


@pytest.mark.parametrize("compatible", [True, False])
@pytest.mark.parametrize("tool_choice", ["auto", "required"])
@pytest.mark.parametrize("allowed", [(), ("b",), ("a", "c"), ("a", "b", "c"), None])
def test_the_list_of_tools_is_sent_whole(
    compatible: bool, tool_choice: ToolChoice, allowed: tuple[str, ...] | None
) -> None:
    if allowed == () and tool_choice == "required":
        with pytest.raises(InvalidInput, match="none is allowed"):
            request(tool_choice="required")
        return
    asked = request(*allowed or (), tool_choice=tool_choice, all_allowed=allowed is None)
    body, free = sent(asked, compatible=compatible), sent(request(all_allowed=True), compatible=compatible)
    assert json.dumps(body["tools"]) == json.dumps(free["tools"])
    assert json.dumps(body["messages"]) == json.dumps(free["messages"])


@pytest.mark.parametrize("tool_choice", ["auto", "required"])
def test_openai_gets_the_allowed_names_in_the_order_of_the_list(tool_choice: ToolChoice) -> None:
    assert sent(request("c", "a", tool_choice=tool_choice))["tool_choice"] == {
        "type": "allowed_tools",
        "allowed_tools": {
            "mode": tool_choice,
            "tools": [{"type": "function", "function": {"name": name}} for name in ("a", "c")],
        },
    }


def test_a_schema_of_the_reply_changes_nothing_about_the_tools() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    with OpenAIServer([chat('{"x": 1}')]) as server:
        asyncio.run(complete(openai_model(server), replace(request("a", "c"), output_schema=schema)))
        body = server.requests[0].body
    assert len(body["tools"]) == len(TOOLS)
    assert body["tool_choice"]["allowed_tools"]["mode"] == "auto"


def test_one_name_that_has_to_be_called_is_named() -> None:
    assert sent(request("b", tool_choice="required"))["tool_choice"] == {"type": "function", "function": {"name": "b"}}


def test_where_nothing_is_allowed_no_tool_is_chosen() -> None:
    assert sent(request())["tool_choice"] == "none"


def test_other_servers_are_told_nothing_that_they_may_not_know() -> None:
    assert sent(request("a", "c"), compatible=True)["tool_choice"] == "auto"
    assert sent(request("a", "c", tool_choice="required"), compatible=True)["tool_choice"] == "required"


def responses_model() -> Any:
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return OpenAIResponsesModel("gpt-5.2", provider=OpenAIProvider(api_key="k", base_url="http://127.0.0.1:9/v1"))


def test_the_responses_api_takes_the_list_flat() -> None:
    from pydantic_ai.models._tool_choice import resolve_tool_choice

    model, asked = responses_model(), request("c", "a")
    parameters = to_parameters(asked, model)
    settings: Any = {"tool_choice": choose_tools(asked, model)}
    tools, choice = model._get_responses_tool_choice(resolve_tool_choice(settings, parameters), settings, parameters)
    assert [tool["name"] for tool in tools] == ["a", "b", "c"]
    assert choice == {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "a"}, {"type": "function", "name": "c"}],
    }
    assert find_mask(model).column == "allowed_tools"


@pytest.mark.parametrize("tool_choice", ["auto", "required"])
@pytest.mark.parametrize("name", ["claude-opus-4-8", "claude-sonnet-5", "claude-haiku-5-5"])
def test_anthropics_list_is_whole_and_nothing_goes_out(name: str, tool_choice: ToolChoice) -> None:
    pytest.importorskip("anthropic", reason="the extra `anthropic` is not installed")
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    model = AnthropicModel(name, provider=AnthropicProvider(api_key="k"))
    asked = request("a", "c", tool_choice=tool_choice)
    choice = choose_tools(asked, model)
    tools, _ = model._tool_choice_declarations({"tool_choice": choice}, to_parameters(asked, model))
    assert list(tools) == ["a", "b", "c"]
    assert find_mask(model).column == "checked"


@pytest.mark.parametrize("name", ["gemini-2.5-flash", "gemini-3-pro-preview"])
@pytest.mark.parametrize("tool_choice", ["auto", "required"])
def test_geminis_list_is_whole_and_names_go_out_where_a_call_is_required(name: str, tool_choice: ToolChoice) -> None:
    pytest.importorskip("google.genai", reason="the extra `google` is not installed")
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    model = GoogleModel(name, provider=GoogleProvider(api_key="k"))
    asked = request("a", "c", tool_choice=tool_choice)
    settings: Any = {"tool_choice": choose_tools(asked, model)}
    tools, config, _ = model._get_tool_config(to_parameters(asked, model), settings)
    assert tools is not None
    assert config is not None
    assert [tool["function_declarations"][0]["name"] for tool in tools] == ["a", "b", "c"]
    names = config["function_calling_config"].get("allowed_function_names")
    is_told = find_mask(model, tool_choice=tool_choice).column == "allowed_function_names"
    assert names == (["a", "c"] if is_told else None)
    assert is_told == (tool_choice == "required")


@pytest.mark.parametrize("allowed", [{"d"}, {"a", "A"}, {""}])
def test_only_tools_of_the_request_can_be_allowed(allowed: set[str]) -> None:
    with pytest.raises(InvalidInput, match="Tools are allowed that the request does not have"):
        request(*allowed)


def test_a_choice_of_tools_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="use one of"):
        request("a", tool_choice="some")  # type: ignore[arg-type]  # that is what is tested


@pytest.mark.parametrize("written", ['{"b": 1, "a": 2}', '{"a":2,"b":1}', '{\n "b":1.0,  "a": 2e0}', '{"a":"\\u00e9"}'])
def test_arguments_go_back_as_the_model_wrote_them(written: str) -> None:
    with OpenAIServer([chat(None, tool_calls=[("1", "a", written)]), chat("Done.")]) as server:
        asked = request(all_allowed=True)
        [reply] = asyncio.run(complete(openai_model(server), asked))
        back = (
            *asked.messages,
            Message(role="assistant", content=reply.text, tool_calls=reply.tool_calls),
            Message(role="tool", content="ok", tool_call_id="1"),
        )
        asyncio.run(complete(openai_model(server), ModelRequest(messages=back, tools=TOOLS)))
        messages = server.requests[1].body["messages"]
    assert messages[1]["tool_calls"][0]["function"]["arguments"] == written
    assert reply.tool_calls[0].arguments == json.loads(written)


def test_calls_are_compared_by_their_arguments() -> None:
    calls = [
        ToolCall(call_id="1", name="a", arguments={"x": 1, "y": 2}, written=written)
        for written in ('{"x":1,"y":2}', '{"y": 2, "x": 1}', None)
    ]
    assert calls[0] == calls[1] == calls[2]


def test_a_client_says_how_its_model_is_told() -> None:
    with OpenAIServer([]) as server:
        theirs = PydanticAIClient("local:m", base_url=server.base_url, prices=PriceTable())
        own = PydanticAIClient(openai_model(server), prices=PriceTable())
    assert (theirs.mask.column, own.mask.column) == ("checked", "allowed_tools")
    assert "calls are refused" in theirs.mask.words
    assert "it is told the names" in own.mask.words


def test_the_providers_own_reason_is_kept() -> None:
    from pydantic_ai.messages import ModelResponse, TextPart

    from kapelle.models.translation import read_cache_diagnosis

    openai = {"type": "cache_miss", "reason": "tools_changed", "cache_missed_tokens": 512}
    anthropic = {"cache_miss_reason": {"type": "system_changed", "cache_missed_input_tokens": 9}}
    kept = [
        read_cache_diagnosis(ModelResponse(parts=[TextPart("x")], provider_details=details))
        for details in ({"prompt_cache_diagnostics": openai}, {"cache_diagnostics": anthropic}, {"other": 1}, None)
    ]
    assert kept == [openai, anthropic, None, None]
