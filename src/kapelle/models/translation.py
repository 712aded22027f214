"""Translates between our messages and pydantic-ai's, both ways. Asks nobody; imports the library when called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from kapelle.documents import parse_json
from kapelle.errors import InvalidInput, InvalidPlan, ModelReplyInvalid

from .client import Message, ModelRequest, ToolCall
from .masks import choose_tools
from .providers import read_profile

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
    from pydantic_ai.models import Model, ModelRequestParameters
    from pydantic_ai.settings import ModelSettings


def to_messages(messages: Sequence[Message]) -> list[ModelMessage]:
    """Return the conversation as pydantic-ai's: turns of ours alternate with replies of the model.

    Raises:
        InvalidInput: a `tool` message answers a call that nobody made.
    """
    from pydantic_ai import messages as theirs

    tool_names = {call.call_id: call.name for message in messages for call in message.tool_calls}
    history: list[ModelMessage] = []
    for message in messages:
        if message.role == "assistant":
            reply: list[Any] = [theirs.TextPart(message.content)] if message.content else []
            reply += map(_to_call, message.tool_calls)
            history.append(theirs.ModelResponse(parts=reply))
            continue
        part: Any
        if message.role == "system":
            part = theirs.SystemPromptPart(message.content)
        elif message.role == "user":
            part = theirs.UserPromptPart(message.content)
        else:
            assert message.tool_call_id is not None
            if message.tool_call_id not in tool_names:
                raise InvalidInput(f"A tool message answers the call {message.tool_call_id!r}, which nobody made.")
            part = theirs.ToolReturnPart(
                tool_names[message.tool_call_id], message.content, tool_call_id=message.tool_call_id
            )
        if history and isinstance(history[-1], theirs.ModelRequest):
            history[-1] = theirs.ModelRequest(parts=[*history[-1].parts, part])
        else:
            history.append(theirs.ModelRequest(parts=[part]))
    return history


def _to_call(call: ToolCall) -> ToolCallPart:
    from pydantic_ai.messages import ToolCallPart

    if call.written is None:
        return ToolCallPart(call.name, dict(call.arguments), tool_call_id=call.call_id)
    return _part_as_written()(call.name, call.written, tool_call_id=call.call_id)


@cache
def _part_as_written() -> type[ToolCallPart]:
    from pydantic_ai.messages import ToolCallPart

    class PartAsWritten(ToolCallPart):
        # pydantic-ai writes even a text anew, and that is another text than the server has in its cache.
        def args_as_json_str(self) -> str:
            return str(self.args)

    return PartAsWritten


def to_parameters(request: ModelRequest, model: Model[Any]) -> ModelRequestParameters:
    """Return tools and output schema as pydantic-ai's."""
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.output import OutputObjectDefinition
    from pydantic_ai.tools import ToolDefinition

    tools = [
        ToolDefinition(name=tool.name, description=tool.description, parameters_json_schema=dict(tool.parameters))
        for tool in request.tools
    ]
    if request.output_schema is None:
        return ModelRequestParameters(function_tools=tools)
    # Google takes either tools or a schema; the schema then goes into the prompt.
    clash = bool(tools) and model.system.startswith("google")
    native = bool(read_profile(model).get("supports_json_schema_output", False)) and not clash
    return ModelRequestParameters(
        function_tools=tools,
        output_mode="native" if native else "prompted",
        output_object=OutputObjectDefinition(json_schema=dict(request.output_schema), name="reply"),
        prompted_output_template=False if native and request.schema_is_told else None,
    )


def to_settings(request: ModelRequest, model: Model[Any], *, silence_s: float) -> ModelSettings:
    """Return the request's settings as pydantic-ai's. Retries are ours, so that none follows a streamed piece.

    `silence_s` is how long the connection may be silent.
    """
    settings: ModelSettings = {"max_retries": 0, "timeout": silence_s}
    if request.temperature is not None and not _picks_its_temperature(model):
        settings["temperature"] = request.temperature
    if request.max_output_tokens is not None:
        settings["max_tokens"] = request.max_output_tokens
    choice = choose_tools(request, model)
    if choice is not None:
        settings["tool_choice"] = choice
    return settings


def _picks_its_temperature(model: Model[Any]) -> bool:
    # Models that reason refuse sampling settings, and pydantic-ai warns at every call that it drops them.
    profile = read_profile(model)
    if profile.get("anthropic_disallows_sampling_settings", False):
        return True
    reasons = profile.get("thinking_enabled_by_default", False) or profile.get("thinking_always_enabled", False)
    return bool(profile.get("openai_supports_reasoning", False) and reasons)


def read_text(response: ModelResponse) -> str:
    """Return the text of a reply, without what the server itself calls thoughts."""
    from pydantic_ai.messages import TextPart

    return "".join(part.content for part in response.parts if isinstance(part, TextPart))


def read_cache_diagnosis(response: ModelResponse) -> Mapping[str, Any] | None:
    """Return what the provider says of its prompt cache, in its own words; None where it says nothing."""
    details = response.provider_details or {}
    # As pydantic-ai keeps what OpenAI and Anthropic report.
    found = details.get("prompt_cache_diagnostics", details.get("cache_diagnostics"))
    return dict(found) if isinstance(found, Mapping) else None


def read_tool_calls(response: ModelResponse) -> tuple[ToolCall, ...]:
    """Return what the model asks for.

    Raises:
        ModelReplyInvalid: the arguments of a call are not a JSON object.
    """
    from pydantic_ai.messages import ToolCallPart

    return tuple(
        ToolCall(
            call_id=part.tool_call_id,
            name=part.tool_name,
            arguments=_read_arguments(part.tool_name, part.args),
            written=part.args if isinstance(part.args, str) and part.args.strip() else None,
        )
        for part in response.parts
        if isinstance(part, ToolCallPart)
    )


def _read_arguments(tool: str, arguments: Any) -> dict[str, Any]:
    if isinstance(arguments, str) and arguments.strip():
        try:
            arguments = parse_json(arguments, place=f"the arguments for the tool {tool!r}")
        except InvalidPlan as error:
            raise ModelReplyInvalid(f"The model called a tool that cannot be called so: {error}") from error
    arguments = arguments or {}
    if not isinstance(arguments, dict):
        raise ModelReplyInvalid(f"The model called the tool {tool!r} with {arguments!r}, which is not an object.")
    return arguments
