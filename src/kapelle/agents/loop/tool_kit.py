"""The tools of an agent: what each is called and may do, and the function behind it. Frozen when the agent is made."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kapelle.agents.agent import TaskContext
from kapelle.agents.threads import call_in_thread
from kapelle.errors import AskPerson, KapelleError
from kapelle.graph import Task
from kapelle.ledger import Usage, read_usage, read_usd
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
        async with asyncio.timeout(context.seconds) as limit:
            if asyncio.iscoroutinefunction(tool.run):
                given = await tool.run(arguments, context)
            else:
                given = await call_in_thread(tool.run, arguments, context)
                if asyncio.iscoroutine(given):
                    given = await given
        return _read(given)
    except AskPerson:
        raise
    except KapelleError as error:
        return _error(str(error), cost_usd=error.cost_usd)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # the whole task is cancelled
        return _error(f"{tool.name} cancelled itself.")
    except (GeneratorExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # a tool is anybody's code: its error is for the model to see
        if isinstance(error, TimeoutError) and limit.expired():
            left = "" if asyncio.iscoroutinefunction(tool.run) else " What it began may go on."
            return _error(f"{tool.name} did not end within {context.seconds:g} seconds.{left}")
        return _error(f"{tool.name} failed: {type(error).__name__}: {_words(error)}")


def _read(given: object) -> ToolAnswer:
    """Return what a tool gave as an answer.

    Raises:
        RefusedFigure: it tells a cost or a usage that is none.
    """
    if isinstance(given, ToolAnswer):
        text = given.text if isinstance(given.text, str) else json.dumps(given.text, ensure_ascii=False, default=str)
        cost_usd, usage = read_usd(given.cost_usd, by="The tool"), read_usage(given.usage, by="The tool")
        todo = None if given.todo is None else str(given.todo)
        return replace(given, text=text[:MAX_TOLD_CHARS], cost_usd=cost_usd, usage=usage, todo=todo)
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False, default=str)
    return ToolAnswer(text=text[:MAX_TOLD_CHARS])


def _words(error: BaseException) -> str:
    try:
        return str(error)[:2_000]
    except Exception:  # its class is somebody's own
        return "its text cannot be shown"


def _error(text: str, *, cost_usd: object = None) -> ToolAnswer:
    usd = float(cost_usd) if isinstance(cost_usd, (int, float)) and math.isfinite(cost_usd) else 0.0
    return ToolAnswer(text=text, is_error=True, cost_usd=max(0.0, usd))
