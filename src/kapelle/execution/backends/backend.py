"""Where an agent runs. The decisions, the budget and the journal stay where the executor is."""

from __future__ import annotations

from typing import Protocol

from kapelle.agents import Agent, AgentResult, TaskContext
from kapelle.graph import Task


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
