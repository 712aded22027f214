"""The functions behind the tools that work in a run's workspace: files, commands, the list of what is to be done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kapelle.errors import CannotAnswer, InvalidInput
from kapelle.tools import STATIC_TOOLS, CommandResult, Sandbox, Workspace

from .tool_kit import Tool, ToolAnswer, ToolContext, ToolFunction

MAX_LINES = 2_000
"""Of a file, that are read at once where it is not said how many."""
MAX_DEPTH = 10


async def read_file(given: Mapping[str, Any], context: ToolContext) -> ToolAnswer:
    """Return lines of a file, and how many there are where that is not all."""
    lines = _workspace(context).read(given["path"]).splitlines(keepends=True)
    start, count = max(1, int(given.get("start", 1))), max(1, int(given.get("lines", MAX_LINES)))
    shown = lines[start - 1 : start - 1 + count]
    if len(shown) == len(lines):
        return ToolAnswer(text="".join(lines))
    if not shown:
        raise CannotAnswer(f"{given['path']!r} has {len(lines):,} lines. Read from one of them.")
    note = f"[lines {start:,} to {start + len(shown) - 1:,} of {len(lines):,}]\n"
    return ToolAnswer(text=note + "".join(shown))


async def create_file(given: Mapping[str, Any], context: ToolContext) -> ToolAnswer:
    """Write a file as a whole, or replace the one place of a text in it."""
    workspace, path, content = _workspace(context), given["path"], given["content"]
    if given.get("replaces"):
        workspace.replace(path, given["replaces"], content)
        return ToolAnswer(text=f"Replaced in {path}.")
    workspace.write(path, content)
    return ToolAnswer(text=f"Written: {path}, {len(content.encode('utf-8', 'surrogatepass')):,} bytes.")


async def list_files(given: Mapping[str, Any], context: ToolContext) -> ToolAnswer:
    """List a folder, one file a line, with its size."""
    path = given.get("path") or "."
    found = _workspace(context).list(path, depth=max(1, min(MAX_DEPTH, int(given.get("depth", 1)))))
    lines = [f"{each.path}/" if each.is_folder else f"{each.path}  {each.size:,} bytes" for each in found]
    return ToolAnswer(text="\n".join(lines) or f"{path} is empty.")


async def execute(given: Mapping[str, Any], context: ToolContext) -> ToolAnswer:
    """Run a command in the workspace, within the sandbox."""
    result = await _run(given["command"], context)
    return ToolAnswer(text=_told(result), is_error=not result.succeeded)


async def verify(given: Mapping[str, Any], context: ToolContext) -> ToolAnswer:
    """Run a command that succeeds where the work is right, and say whether it did."""
    result = await _run(given["command"], context)
    return ToolAnswer(
        text=f"{'PASSED' if result.succeeded else 'FAILED'}: {_told(result)}", is_error=not result.succeeded
    )


async def update_todo(given: Mapping[str, Any], context: ToolContext) -> ToolAnswer:
    """Keep the model's list of what is to be done; it is shown again from time to time."""
    return ToolAnswer(text="Noted.", todo=str(given["content"]))


FUNCTIONS: Mapping[str, ToolFunction] = {
    "file_read": read_file,
    "file_create": create_file,
    "file_list": list_files,
    "shell_execute": execute,
    "verify": verify,
    "todo_update": update_todo,
}
"""By the native name of the tool."""


def workspace_tools() -> tuple[Tool, ...]:
    """Return the static tools that work in a workspace: files, commands, checks and the list."""
    return tuple(Tool(row, FUNCTIONS[row.definition.name]) for row in STATIC_TOOLS if row.definition.name in FUNCTIONS)


async def _run(command: str, context: ToolContext) -> CommandResult:
    sandbox = context.sandbox or Sandbox()
    return await sandbox.run_command(command, _workspace(context).folder)


def _told(result: CommandResult) -> str:
    ended = f"It was stopped: {result.stopped}" if result.stopped else f"exit code {result.exit_code}"
    return f"{ended}\n{result.output}".rstrip()


def _workspace(context: ToolContext) -> Workspace:
    if context.workspace is None:
        raise InvalidInput("This run has no workspace. Give the agent one.")
    return context.workspace
