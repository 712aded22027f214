"""HTDAGPlanner: plans one level at a time, the next one only when it is needed.

HTDAG (arXiv:2502.07056) plans hierarchically: what a later level needs is known only when the earlier one has results,
and a failure is contained at its level. Here a plan may hold compound tasks of the type `expand`. When one is due, its
agent, which is this planner, is asked for the tasks that do it, with the results so far; they take its place in the
graph. When a task fails, the same is asked for its work alone, with the error. How deep and how large a graph may grow,
and how often work is planned anew, the executor limits (see execution, `GrowthLimits`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from kapelle.agents import AgentCapability, AgentResult, TaskContext
from kapelle.errors import AgentFailed, InvalidInput
from kapelle.graph import Task, render_output

from .planner import CorrectingPlanner, PaidInvalidPlan, PartPlanner, Plan, Planner
from .rules import RulePlanner

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

    async def plan_again(self, request: str, problems: Sequence[str], agents: Mapping[str, AgentCapability]) -> Plan:
        """Plan a first level anew: see CorrectingPlanner."""
        if isinstance(self._level_planner, CorrectingPlanner):
            return await self._level_planner.plan_again(request, problems, agents)
        return await self._level_planner.plan(request, agents)

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Answer a compound task with the tasks that do it.

        Raises:
            AgentFailed: no plan was found for it.
        """
        try:
            plan = await self._plan_level(task, context, "Plan this part of a larger request", "")
        except PaidInvalidPlan as error:
            text = f"No plan was found for task {task.task_id!r}: {error}"
            raise AgentFailed(text, cost_usd=error.cost_usd, usage=error.usage) from error
        except InvalidInput as error:
            raise AgentFailed(f"No plan was found for task {task.task_id!r}: {error}") from error
        return AgentResult(output=None, expansion=plan.graph, usage=plan.usage, cost_usd=plan.cost_usd)

    async def replan(self, task: Task, reason: str, context: TaskContext) -> AgentResult | None:
        """Return other tasks that do the work of a failed one; None if no other way was found."""
        failure = f"It failed with: {_one_line(reason)}\nDo not plan the same task again."
        try:
            plan = await self._plan_level(task, context, "A task failed. Plan another way to the same result", failure)
        except PaidInvalidPlan as error:
            return AgentResult(output=None, usage=error.usage, cost_usd=error.cost_usd)  # paid for, and no other way
        except InvalidInput:
            return None
        same = [other for other in plan.graph if (other.task_type, other.inputs) == (task.task_type, task.inputs)]
        if same and len(plan.graph) == 1:
            return AgentResult(output=None, usage=plan.usage, cost_usd=plan.cost_usd)  # paid for, and no other way
        return AgentResult(output=None, expansion=plan.graph, usage=plan.usage, cost_usd=plan.cost_usd)

    async def _plan_level(self, task: Task, context: TaskContext, what: str, failure: str) -> Plan:
        """Ask for a level. What it is for and what is known already are apart, where the planner takes them so."""
        wanted = task.description or task.task_type
        material = "\n".join([*_known_lines(task, context), *([failure] if failure else [])])
        if isinstance(self._level_planner, PartPlanner):
            words = wanted if isinstance(self._level_planner, RulePlanner) else f"{what}: {_one_line(wanted)}"
            return await self._level_planner.plan_part(words, material, self._agents())
        return await self._level_planner.plan(f"{what}: {_one_line(wanted)}\n{material}", self._agents())


def _known_lines(task: Task, context: TaskContext) -> Iterator[str]:
    """What a level is planned with, a line each: a result that holds line breaks cannot begin one of its own."""
    if task.inputs:
        yield f"Inputs: {json.dumps(task.inputs, ensure_ascii=False, default=str)[:MAX_RESULT_CHARS]}"
    for task_id, output in context.upstream.items():
        before = context.upstream_tasks.get(task_id)
        title = before.description if before is not None and before.description else task_id
        found = json.dumps(render_output(output)[:MAX_RESULT_CHARS], ensure_ascii=False)
        yield f"Known already ({_one_line(title)}): {found}"
    yield f"The whole request, of which this is a part: {json.dumps(context.request, ensure_ascii=False)}"


def _one_line(text: str) -> str:
    return " ".join(text[:MAX_RESULT_CHARS].split())
