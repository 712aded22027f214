"""Where work runs that nobody has read: programs without a machine, commands within walls of the kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .commands import CommandLimits, CommandResult, run_command
from .programs import ProgramPool, SandboxLimits, SandboxResult
from .walls import Walls, find_walls


class Sandbox:
    """Runs programs and commands that nobody has read. Safe to call from several threads and event loops.

    >>> with Sandbox() as sandbox:
    ...     sandbox.run_program("print('twice'); x * 2", {"x": 21})
    SandboxResult(value=42, printed='twice\\n')

    Args:
        limits: what a program may use.
        processes: how many interpreters run programs at the same time, at most.
        command_limits: what a command may use.
        walls: what keeps commands in; what works on this machine if None. `ALLOWED_UNPROTECTED` where the user allows
            commands that can do all that the user can.
    """

    def __init__(
        self,
        limits: SandboxLimits | None = None,
        *,
        processes: int = 4,
        command_limits: CommandLimits | None = None,
        walls: Walls | None = None,
    ) -> None:
        self._programs = ProgramPool(limits, processes=processes)
        self._command_limits = command_limits or CommandLimits()
        self._walls = walls

    def run_program(self, code: str, inputs: Mapping[str, Any] | None = None) -> SandboxResult:
        """Run a Python program with the inputs as variables, and return the value of its last expression.

        Raises:
            CannotAnswer: the program is malformed or raised; the message gives its line.
            RefusedQuery: it wanted what it may not have: files, the network, modules, more time, memory or output.
            TryAgain: the worker died, or none was free in time.
        """
        return self._programs.run(code, inputs)

    async def run_command(
        self,
        command: str | Sequence[str],
        workspace: Path,
        *,
        network: bool = False,
        readable: Sequence[Path] = (),
        environ: Mapping[str, str] | None = None,
    ) -> CommandResult:
        """Run a command in a workspace, and return how it ended. Cancelling ends all of its processes.

        Args:
            command: a line for the shell, or a program and its arguments.
            workspace: the one folder that it may write to; it starts there.
            network: whether it may reach the network.
            readable: folders and files that it may read besides the system's programs.
            environ: variables that it sees besides those every program needs. It sees none of this process's.

        Raises:
            RefusedQuery: nothing keeps commands in on this machine; the message says what to do.
            CannotAnswer: it could not be started.
        """
        return await run_command(
            command,
            workspace,
            self.walls,
            self._command_limits,
            network=network,
            readable=readable,
            environ=environ,
        )

    @property
    def walls(self) -> Walls:
        """What keeps commands in here."""
        return self._walls or find_walls()

    def close(self) -> None:
        """End the interpreters. A later program starts new ones."""
        self._programs.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
