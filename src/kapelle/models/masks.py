"""How a provider is told which tools may be called now, without touching the list of tools that it is sent.

pydantic-ai has one setting for it, and sends what the provider has. Where a provider has nothing it filters the list
instead, which empties the prompt cache from its very beginning; so that setting is used only where its code keeps the
list whole. Elsewhere nothing goes out. Everywhere whoever runs tools refuses what is not allowed: nothing here does.

What is left out: Anthropic's `tool_removal` blocks, for pydantic-ai 2.68 writes additions alone, and an agent that goes
back to an earlier state needs both; and a bias on tokens, for which no choice of tools here is a single token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .client import ModelRequest, ToolChoice
from .providers import read_profile

if TYPE_CHECKING:
    from pydantic_ai.models import Model
    from pydantic_ai.settings import ToolChoice as TheirChoice

MaskColumn = Literal["allowed_tools", "allowed_function_names", "checked"]
"""OpenAI's list of allowed tools; Gemini's names of functions; nothing on the wire, and the reply is checked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mask:
    """How a model is told what it may call, and why so."""

    column: MaskColumn
    reason: str
    """In words, for people."""

    @property
    def words(self) -> str:
        """How tools are masked, for people."""
        how = "it is not told, and calls are refused" if self.column == "checked" else "it is told the names"
        return f"Masked tools: {how}. {self.reason}"


def find_mask(model: Model[Any], *, tool_choice: ToolChoice = "auto") -> Mask:
    """Return how a model is told which tools may be called."""
    kinds = {kind.__name__ for kind in type(model).__mro__}
    profile = read_profile(model)
    if "OpenAIResponsesModel" in kinds:
        return Mask(column="allowed_tools", reason="OpenAI's Responses API takes a list of allowed tools.")
    if "OpenAIChatModel" in kinds:
        if profile.get("openai_chat_supports_allowed_tools", False):
            return Mask(column="allowed_tools", reason="OpenAI's Chat API takes a list of allowed tools.")
        return Mask(
            column="checked",
            reason="Servers that speak OpenAI's protocol are not known to take a list of allowed tools.",
        )
    if "GoogleModel" in kinds:
        if tool_choice == "required" and _can_be_forced(model):
            return Mask(
                column="allowed_function_names", reason="Gemini takes names of functions where one has to be called."
            )
        return Mask(
            column="checked",
            reason="Where text is allowed too, pydantic-ai would filter Gemini's tools, which empties the cache.",
        )
    if "AnthropicModel" in kinds:
        return Mask(
            column="checked",
            reason="pydantic-ai tells Anthropic's models of tools that are added, and of none that is withdrawn.",
        )
    return Mask(column="checked", reason="The provider is not known to take a list of allowed tools.")


def choose_tools(request: ModelRequest, model: Model[Any]) -> TheirChoice:
    """Return pydantic-ai's `tool_choice` for a request; None where there is nothing to say.

    It never makes pydantic-ai leave a tool out of the list.
    """
    from pydantic_ai.settings import ToolOrOutput

    if not request.tools:
        return None
    is_forced = request.tool_choice == "required" and _can_be_forced(model)
    allowed = request.allowed_tools
    if allowed is None or len(allowed) == len(request.tools):
        return "required" if is_forced else None
    if not allowed:
        return "none"
    if find_mask(model, tool_choice=request.tool_choice).column == "checked":
        return "required" if is_forced else None
    # The names go out in the order of the list, so that one state is always one text.
    names = [tool.name for tool in request.tools if tool.name in allowed]
    return names if is_forced else ToolOrOutput(names)


def _can_be_forced(model: Model[Any]) -> bool:
    # pydantic-ai raises for models that cannot be, or cannot while they think; those are asked and then checked.
    profile = read_profile(model)
    return bool(
        profile.get("supports_forced_tool_choice", True)
        and profile.get("supports_forced_tool_choice_with_thinking", True)
        and not profile.get("forced_tool_choice_disables_thinking", False)
    )
