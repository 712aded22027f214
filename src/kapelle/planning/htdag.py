"""HTDAGPlanner: plans one level at a time, the next one only when it is needed.

HTDAG (arXiv:2502.07056) plans hierarchically: what a later level needs is known only when the earlier one has results,
and a failure is contained at its level. Here a plan may hold compound tasks of the type `expand`. When one is due, its
agent, which is this planner, is asked for the tasks that do it, with the results so far; they take its place in the
graph. When a task fails, the same is asked for its work alone, with the error. How deep and how large a graph may grow,
and how often work is planned anew, the executor limits (see execution, `GrowthLimits`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from kapelle.agents import AgentCapability, AgentResult, TaskContext
from kapelle.errors import AgentFailed, InvalidInput
from kapelle.graph import Task, render_output

from .planner import PaidInvalidPlan, Plan, Planner

EXPAND_TYPE = "expand"
MAX_RESULT_CHARS = 2_000
"""What a planner is shown of each earlier result: enough to plan with, little enough to pay for."""


class HTDAGPlanner:
    """Plans level by level with another planner, which plans each level.

    It is a Planner for the first level, an Agent for compound tasks, and a Replanner for failed ones.

    Args:
        level_planner: Plans one level; a ModelPlanner, say.
        agents: Returns the agents that there are, when they are needed.
    """

    def __init__(self, level_planner: Planner, agents: Callable[[], Mapping[str, AgentCapability]]) -> None:
        self._level_planner = level_planner
        self._agents = agents

    async def plan(self, request: str, agents: Mapping[str, AgentCapability]) -> Plan:
        """Plan the first level: see Planner."""
        return await self._level_planner.plan(request, agents)

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Answer a compound task with the tasks that do it.

        Raises:
            AgentFailed: no plan was found for it.
        """
        request = _describe(task, context, "Plan this part of a larger request")
        try:
            plan = await self._level_planner.plan(request, self._agents())
        except PaidInvalidPlan as error:
            text = f"No plan was found for task {task.task_id!r}: {error}"
            raise AgentFailed(text, cost_usd=error.cost_usd, usage=error.usage) from error
        except InvalidInput as error:
            raise AgentFailed(f"No plan was found for task {task.task_id!r}: {error}") from error
        return AgentResult(output=None, expansion=plan.graph, usage=plan.usage, cost_usd=plan.cost_usd)

    async def replan(self, task: Task, reason: str, context: TaskContext) -> AgentResult | None:
        """Return other tasks that do the work of a failed one; None if no other way was found."""
        request = _describe(task, context, "A task failed. Plan another way to the same result")
        request += f"\n\nIt failed with: {reason[:MAX_RESULT_CHARS]}\nDo not plan the same task again."
        try:
            plan = await self._level_planner.plan(request, self._agents())
        except PaidInvalidPlan as error:
            return AgentResult(output=None, usage=error.usage, cost_usd=error.cost_usd)  # paid for, and no other way
        except InvalidInput:
            return None
        same = [other for other in plan.graph if (other.task_type, other.inputs) == (task.task_type, task.inputs)]
        if same and len(plan.graph) == 1:
            return AgentResult(output=None, usage=plan.usage, cost_usd=plan.cost_usd)  # paid for, and no other way
        return AgentResult(output=None, expansion=plan.graph, usage=plan.usage, cost_usd=plan.cost_usd)


def _describe(task: Task, context: TaskContext, what: str) -> str:
    parts = [f"{what}: {task.description or task.task_type}"]
    if task.inputs:
        parts.append(f"Inputs: {json.dumps(task.inputs, ensure_ascii=False, default=str)[:MAX_RESULT_CHARS]}")
    for task_id, output in context.upstream.items():
        before = context.upstream_tasks.get(task_id)
        title = before.description if before is not None and before.description else task_id
        parts.append(f"Known already ({title}): {render_output(output)[:MAX_RESULT_CHARS]}")
    parts.append(f"The whole request, of which this is a part: {context.request}")
    return "\n".join(parts)
