"""What an agent that acts is made of: its model, its instructions, its tools and its limits. Frozen when it is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kapelle.agents.agent import TaskContext
from kapelle.agents.output_limit import MESSAGE_TOKENS
from kapelle.models import Message, ModelClient, ToolDefinition, bound_tokens
from kapelle.tools import AgentState, ToolTable

from .limits import LoopLimits
from .state import LoopState
from .text_protocol import ActionForm
from .tool_kit import Tool

if TYPE_CHECKING:
    from kapelle.tools import BrowserSession, Sandbox, Workspace

FinishCheck = Callable[[str, LoopState], Awaitable[str | None]]
"""Takes the answer and what was done; returns what is still missing, None where nothing is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkPlace:
    """Where the tools of a task work: the same for every task of a run."""

    workspace: Workspace | None = None
    sandbox: Sandbox | None = None
    browser: BrowserSession | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopSetup:
    """All that is the same for every task of an agent."""

    client: ModelClient
    system: str
    """Its instructions, the same in every call."""
    tools: Mapping[str, Tool]
    """By native name."""
    table: ToolTable
    forms: tuple[ActionForm, ...] | None
    """How the text protocol writes the tools; None where the model calls them natively."""
    start: AgentState | None
    """The state in which a task begins; None for an agent without states, which may call every tool at any time."""
    limits: LoopLimits
    place: Callable[[TaskContext], WorkPlace]
    finish: tuple[FinishCheck, ...]

    @property
    def definitions(self) -> tuple[ToolDefinition, ...]:
        """What the model is told of the tools beside the instructions: the same in every call."""
        return () if self.forms is not None else self.table.definitions

    def measure(self, messages: Sequence[Message]) -> int:
        """Return how many tokens a call has as input, on the dear side."""
        total = sum(bound_tokens(message.content) + MESSAGE_TOKENS for message in messages)
        total += sum(bound_tokens(str(call.arguments)) + MESSAGE_TOKENS for one in messages for call in one.tool_calls)
        return total + sum(bound_tokens(_told(tool)) + MESSAGE_TOKENS for tool in self.definitions)


def _told(tool: ToolDefinition) -> str:
    return f"{tool.name} {tool.description} {dict(tool.parameters)}"
