"""Where an agent runs, and the default: the event loop of the caller, where one that blocks it holds up all others.

The decisions, the budget and the journal stay where the executor is.
"""

from __future__ import annotations

from typing import Protocol

from kapelle.agents import Agent, AgentResult, TaskContext
from kapelle.errors import InvalidInput
from kapelle.graph import Task

from .threads_backend import ThreadsBackend


class Backend(Protocol):
    """Runs agents."""

    @property
    def name(self) -> str:
        """What users call it."""
        ...

    async def run(self, agent_id: str, agent: Agent, task: Task, context: TaskContext) -> AgentResult:
        """Let an agent do a task, whose inputs are resolved. Cancelling this reaches the agent.

        Raises:
            WorkerLost: the process or machine that it ran on is gone; it may be run again.
            Exception: what the agent raised.
        """
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...


class AsyncioBackend:
    """Runs agents in the caller's event loop."""

    name = "asyncio"

    async def run(self, agent_id: str, agent: Agent, task: Task, context: TaskContext) -> AgentResult:
        """Let an agent do a task."""
        return await agent.run(task, context)

    async def close(self) -> None:
        """Nothing is held."""


NAMES = ("asyncio", "threads", "ray")


def make_backend(name: str) -> Backend:
    """Return the backend with a name.

    Raises:
        InvalidInput: there is none, or what it needs is not installed.

    >>> make_backend("threads").name
    'threads'
    """
    match name:
        case "asyncio":
            return AsyncioBackend()
        case "threads":
            return ThreadsBackend()
        case "ray":
            from .ray_backend import RayBackend  # Ray is an extra, and takes a second to import

            return RayBackend()
    raise InvalidInput(f"There is no backend {name!r:.40}. Use one of: {', '.join(NAMES)}.")
