"""Reflects on a run's plan with a model, task by task. What it may cost, and how often, is the executor's to hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kapelle.agents import AgentCapability
from kapelle.graph import Task, TaskDAG
from kapelle.planning.planner import Reflection

from .planner import GraphPlanner


class GraphReflector:
    """Looks at what each task of one run gave, beside all that was found before: see execution, `Reflector`.

    Args:
        planner: Asks the model.
        request: The user's words.
        agents: Who could do new tasks.
        found: The outputs of tasks that were over before.
    """

    def __init__(
        self,
        planner: GraphPlanner,
        *,
        request: str,
        agents: Mapping[str, AgentCapability],
        found: Mapping[str, Any] | None = None,
    ) -> None:
        self._planner = planner
        self._request = request
        self._agents = agents
        self._found = dict(found or {})

    async def reflect(self, task: Task, output: Any, graph: TaskDAG) -> Reflection:
        """Return what to change by what was found so far; the errors are those of `GraphPlanner.reflect`."""
        self._found[task.task_id] = output
        known = {task_id: found for task_id, found in self._found.items() if task_id in graph}
        return await self._planner.reflect(graph, known, request=self._request, agents=self._agents)
