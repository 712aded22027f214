"""An agent that plans: it repeats a task for each item of an earlier result, once that result is there.

"For each country in South America, find its capital" cannot be planned whole: which countries these are is known only
while it runs. So the plan holds one `for_each` task, and this agent answers it with one task per item.

What is done for each is decided by the task's body alone. An item is data: whatever it holds, it stays one item, and
its text goes into the inputs of its tasks as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from kapelle.agents import AgentCapability, AgentResult, TaskContext
from kapelle.errors import AgentFailed, InvalidInput
from kapelle.graph import Task
from kapelle.language import quote_text

if TYPE_CHECKING:
    from .rule_planner import RulePlanner

MAX_ITEMS = 100
"""More items than this want a query or a program, not one task each."""


class ForEachAgent:
    """Answers a `for_each` task with one task per item."""

    def __init__(self, planner: RulePlanner, agents: Callable[[], Mapping[str, AgentCapability]]) -> None:
        self._planner = planner
        self._agents = agents

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        from .items import read_body, read_listed  # with the rules, which few runs need
        from .stand_ins import StandIns

        items = read_listed(task, context)
        body = str(task.inputs.get("body", ""))
        if not items:
            body = quote_text(body)
            raise AgentFailed(f"Task {quote_text(task.task_id)} found no items to repeat {body} for.")
        if len(items) > MAX_ITEMS:
            raise AgentFailed(
                f"Task {quote_text(task.task_id)} would be repeated for {len(items)} items; at most {MAX_ITEMS} are. "
                "Narrow them, or ask the tables in one question."
            )
        stand_ins = StandIns(body)
        try:
            words = read_body(task, context, stand_ins)
            graph = self._planner.plan_each(items, words, self._agents(), stand_ins=stand_ins)
        except InvalidInput as error:
            raise AgentFailed(str(error)) from error
        return AgentResult(output=None, expansion=graph, cost_usd=0.0)
