"""The tools of an agent: what each is called and may do, and the function behind it. Frozen when the agent is made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kapelle.agents.agent import TaskContext
from kapelle.agents.threads import call_in_thread
from kapelle.errors import AskPerson, KapelleError
from kapelle.graph import Task
from kapelle.ledger import Usage
from kapelle.models import ToolDefinition, find_schema_problems
from kapelle.tools import AgentState, ToolRow

if TYPE_CHECKING:
    from kapelle.tools import BrowserSession, Sandbox, Workspace

MAX_TOLD_CHARS = 50_000_000
"""Of a result; more is not even looked at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolContext:
    """What a tool may know of the task that it is called for."""

    task: Task
    run: TaskContext
    idempotency_key: str
    """The same whenever this call is made again, also after a crash: hand it to services that must not act twice."""
    seconds: float
    """How long the call may take."""
    workspace: Workspace | None = None
    sandbox: Sandbox | None = None
    browser: BrowserSession | None = None
    left_usd: float | None = None
    """What the task has left, for tools that cost something; None where nothing limits it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolAnswer:
    """What a tool gives back, where it has more to say than a text."""

    text: str
    is_error: bool = False
    cost_usd: float = 0.0
    usage: Usage = Usage()
    todo: str | None = None
    """The model's list of what is to be done, where the tool keeps that."""


ToolFunction = Callable[[Mapping[str, Any], ToolContext], Awaitable[object] | object]


@dataclass(frozen=True, slots=True)
class Tool:
    """A row of the table of tools, with the function behind it."""

    row: ToolRow
    run: ToolFunction
    """Takes the arguments, checked against the definition, and the context. A plain function runs on a thread."""

    @property
    def name(self) -> str:
        """What models call it."""
        return self.row.definition.name


def make_tool(
    definition: ToolDefinition,
    run: ToolFunction,
    *,
    has_effects: bool = True,
    needs_approval: bool = False,
    states: Iterable[AgentState] | None = None,
) -> Tool:
    """Return a tool of a user's own.

    Args:
        run: takes the arguments and a `ToolContext`; may be async. What it returns is shown as text.
        has_effects: whether it changes something that it must not change twice: then a call that was cut off is asked
            about, and it is allowed while EXECUTING alone.
        needs_approval: whether a person has to allow each call.
        states: where it is allowed, if that is to be otherwise.
    """
    wanted = None if states is None else frozenset(states)
    row = ToolRow(definition=definition, has_effects=has_effects, needs_approval=needs_approval, states=wanted)
    return Tool(row, run)


async def call_tool(tool: Tool, arguments: Mapping[str, Any], context: ToolContext) -> ToolAnswer:
    """Return what a tool gives, whatever it does: an error is an answer that says so, within its time.

    Raises:
        AskPerson: it asks a person, which the task then does.
    """
    schema = tool.row.definition.parameters
    problems = find_schema_problems(dict(arguments), schema) if schema else []
    if problems:
        return _error(f"The arguments do not fit: {'; '.join(problems[:5])}. Nothing was done.")
    try:
        async with asyncio.timeout(context.seconds):
            if asyncio.iscoroutinefunction(tool.run):
                given = await tool.run(arguments, context)
            else:
                given = await call_in_thread(tool.run, arguments, context)
                if asyncio.iscoroutine(given):
                    given = await given
    except AskPerson:
        raise
    except TimeoutError:
        return _error(f"{tool.row.definition.name} did not end within {context.seconds:g} seconds and was stopped.")
    except KapelleError as error:
        return _error(str(error), cost_usd=error.cost_usd or 0.0)
    except Exception as error:  # a tool is anybody's code: its error is for the model to see
        return _error(f"{tool.row.definition.name} failed: {type(error).__name__}: {_words(error)}")
    return _read(given)


def _read(given: object) -> ToolAnswer:
    if isinstance(given, ToolAnswer):
        return given
    if isinstance(given, str):
        return ToolAnswer(text=given[:MAX_TOLD_CHARS])
    try:
        return ToolAnswer(text=json.dumps(given, ensure_ascii=False, default=str)[:MAX_TOLD_CHARS])
    except (ValueError, TypeError, RecursionError) as error:
        return _error(f"The tool gave something that has no text: {_words(error)}")


def _words(error: BaseException) -> str:
    try:
        return str(error)[:2_000]
    except Exception:  # its class is somebody's own
        return "its text cannot be shown"


def _error(text: str, *, cost_usd: float = 0.0) -> ToolAnswer:
    return ToolAnswer(text=text, is_error=True, cost_usd=cost_usd)
