"""An agent that plans: it repeats a task for each item of an earlier result, once that result is there.

"For each country in South America, find its capital" cannot be planned whole: which countries these are is known only
while it runs. So the plan holds one `for_each` task, and this agent answers it with one task per item.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from kapelle.agents import AgentCapability, AgentResult, TaskContext
from kapelle.errors import AgentFailed, CannotPlan
from kapelle.graph import Task, render_output
from kapelle.knowledge import quote_text

from .rule_planner import FOR_EACH_TYPE, RulePlanner

MAX_ITEMS = 100
"""More items than this want a query or a program, not one task each."""

FOR_EACH_CARD = AgentCapability(
    agent_id="for-each",
    task_types=(FOR_EACH_TYPE,),
    skills=frozenset({"planning"}),
    cost_tier="free",
    cost_usd=0.0,
    seconds=0.01,
    success_rate=0.9,
    description="Repeats a task for each item of an earlier result. Inputs: `items`, such as {s1}, and `body`, such as "
    "'find its capital'.",
)

_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+", re.MULTILINE)


class ForEachAgent:
    """Answers a `for_each` task with one task per item."""

    def __init__(self, planner: RulePlanner, agents: Callable[[], Mapping[str, AgentCapability]]) -> None:
        self._planner = planner
        self._agents = agents

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        items = read_items(task.inputs.get("items"))
        if not items:
            body = quote_text(str(task.inputs.get("body")))
            raise AgentFailed(f"Task {quote_text(task.task_id)} found no items to repeat {body} for.")
        if len(items) > MAX_ITEMS:
            raise AgentFailed(
                f"Task {quote_text(task.task_id)} would be repeated for {len(items)} items; at most {MAX_ITEMS} are. "
                "Narrow them, or ask the tables in one question."
            )
        try:
            graph = self._planner.plan_each(items, str(task.inputs.get("body", "")), self._agents())
        except CannotPlan as error:
            raise AgentFailed(str(error)) from error
        return AgentResult(output=None, expansion=graph, cost_usd=0.0)


def read_items(output: Any) -> tuple[str, ...]:
    """Return the items that an output lists, each once: rows of a table by their first column, a list, or a text.

    >>> read_items({"columns": ["country"], "rows": [["Peru"], ["Chile"], ["Peru"]]})
    ('Peru', 'Chile')
    >>> read_items("- Peru\\n- Chile"), read_items("Peru, Chile and Bolivia")
    (('Peru', 'Chile'), ('Peru', 'Chile', 'Bolivia'))
    """
    if isinstance(output, Mapping):
        for key in ("rows", "items", "results"):
            if isinstance(output.get(key), (list, tuple)):
                return _distinct(output[key])
        return read_items(render_output(output.get("answer", output)))
    if isinstance(output, (list, tuple)):
        return _distinct(output)
    text = str(output or "").strip()
    if _BULLET.search(text):
        return _distinct(_BULLET.sub("", line) for line in text.splitlines() if _BULLET.match(line))
    text = text.rpartition(":")[2].strip().rstrip(".") if "\n" not in text else text
    return _distinct(re.split(r"\s*[,;\n]\s*(?:and\s+)?|\s+and\s+", text))


def _distinct(items: Any) -> tuple[str, ...]:
    texts = (render_output(_first(item)).strip() for item in items)
    return tuple(dict.fromkeys(text for text in texts if text))


def _first(item: Any) -> Any:
    """A row stands for its first cell."""
    if isinstance(item, Mapping):
        return next(iter(item.values()), "")
    if isinstance(item, (list, tuple)):
        return item[0] if item else ""
    return item
