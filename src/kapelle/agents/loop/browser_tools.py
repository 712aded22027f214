"""The functions behind the tools of a browser: each gives the page as it reads afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kapelle.errors import InvalidInput
from kapelle.tools import STATIC_TOOLS

from .tool_kit import Tool, ToolAnswer, ToolContext, ToolFunction

if TYPE_CHECKING:
    from kapelle.tools import BrowserSession


async def open_page(given: Mapping[str, Any], context: ToolContext) -> ToolAnswer:
    """Open a page."""
    return ToolAnswer(text=str(await _browser(context).open(given["url"])))


async def read_page(given: Mapping[str, Any], context: ToolContext) -> ToolAnswer:
    """Read the open page again."""
    return ToolAnswer(text=str(await _browser(context).read()))


async def click(given: Mapping[str, Any], context: ToolContext) -> ToolAnswer:
    """Click what has a number in the page as it was last read."""
    return ToolAnswer(text=str(await _browser(context).click(int(given["number"]))))


async def type_text(given: Mapping[str, Any], context: ToolContext) -> ToolAnswer:
    """Type into a field of the page as it was last read."""
    return ToolAnswer(text=str(await _browser(context).type(int(given["number"]), given["text"])))


async def take_screenshot(given: Mapping[str, Any], context: ToolContext) -> ToolAnswer:
    """Keep a picture of the open page in the workspace."""
    await _browser(context).screenshot(given["path"])
    return ToolAnswer(text=f"Kept as {given['path']}.")


FUNCTIONS: Mapping[str, ToolFunction] = {
    "browser_open": open_page,
    "browser_read": read_page,
    "browser_click": click,
    "browser_type": type_text,
    "browser_screenshot": take_screenshot,
}
"""By the native name of the tool."""


def browser_tools() -> tuple[Tool, ...]:
    """Return the static tools of a browser; the agent's `place` has to give a session of one."""
    return tuple(Tool(row, FUNCTIONS[row.definition.name]) for row in STATIC_TOOLS if row.definition.name in FUNCTIONS)


def _browser(context: ToolContext) -> BrowserSession:
    if context.browser is None:
        raise InvalidInput("This run has no browser. Give the agent one.")
    return context.browser
