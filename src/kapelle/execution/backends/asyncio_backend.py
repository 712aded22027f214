"""Runs agents in the event loop of the caller: the default. An agent that blocks it holds up all others."""

from __future__ import annotations

from kapelle.agents import Agent, AgentResult, TaskContext
from kapelle.graph import Task


class AsyncioBackend:
    """Runs agents in the caller's event loop."""

    name = "asyncio"

    async def run(self, agent_id: str, agent: Agent, task: Task, context: TaskContext) -> AgentResult:
        """Let an agent do a task."""
        return await agent.run(task, context)

    async def close(self) -> None:
        """Nothing is held."""
