"""Puts the results of several tasks together: the agent behind hierarchical and consensus runs. Needs no model.

merge         one mapping: mappings are joined key by key, lists appended, texts put under their tasks' descriptions
concatenate   one text: every result under its task's description, in plan order
best          the result with the highest own quality (`quality`, `score` or `confidence`), else of the agent that
              is most often right
vote          what most say: see votes
custom        what a function of the user makes of a mapping of task ids to results
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from kapelle.agents import AgentCapability, AgentResult, TaskContext, call_in_thread
from kapelle.errors import AgentFailed
from kapelle.graph import Task, render_output

from .votes import count_votes

CARD = AgentCapability(
    agent_id="aggregator",
    task_types=("aggregate:merge", "aggregate:concatenate", "aggregate:best", "aggregate:vote", "aggregate:custom"),
    description="Puts the results of several tasks together.",
    cost_tier="free",
    cost_usd=0.0,
    seconds=0.01,
    success_rate=0.99,
    max_concurrency=100,
)
MEASURES = ("quality", "score", "confidence")


class Aggregator:
    """Puts results together; `functions` are those of the user, by name."""

    def __init__(self) -> None:
        self.functions: dict[str, Callable[[dict[str, Any]], Any]] = {}

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Do what the task's type says with the outputs that it depends on."""
        outputs = {name: context.upstream[name] for name in task.dependencies if name in context.upstream}
        titles = {name: one.description or name for name, one in context.upstream_tasks.items()}
        match task.task_type.partition(":")[2]:
            case "merge":
                output: Any = merge(outputs, titles)
            case "concatenate":
                output = "\n\n".join(f"## {titles[name]}\n\n{render_output(one)}" for name, one in outputs.items())
            case "best":
                output = choose_best(outputs, task.inputs.get("weights", {}))
            case "vote":
                voted = count_votes(
                    outputs,
                    dict(context.missing),
                    min_agreement=float(task.inputs["min_agreement"]),
                    weights={name: float(weight) for name, weight in task.inputs.get("weights", {}).items()},
                )
                output = asdict(voted)
            case "custom":
                output = await self._call(str(task.inputs["function"]), outputs)
            case other:
                raise AgentFailed(f"There is no way to aggregate that is called {other!r}.")
        return AgentResult(output=output, cost_usd=0.0)

    async def _call(self, name: str, outputs: dict[str, Any]) -> Any:
        function = self.functions.get(name)
        if function is None:
            raise AgentFailed(
                f"The function {name!r} that aggregates is not known here. Give it to execute_hierarchical in the "
                "program that resumes the run."
            )
        if inspect.iscoroutinefunction(function):
            return await function(outputs)
        return await call_in_thread(function, outputs)


def merge(outputs: Mapping[str, Any], titles: Mapping[str, str]) -> Any:
    """Return one value of several.

    >>> merge({"a": {"x": 1, "list": [1]}, "b": {"y": 2, "list": [2]}}, {})
    {'x': 1, 'list': [1, 2], 'y': 2}
    """
    values = list(outputs.values())
    if values and all(isinstance(value, Mapping) for value in values):
        joined: dict[str, Any] = {}
        for task_id, value in outputs.items():
            for key, item in value.items():
                before = joined.get(key)
                if key not in joined or before == item:
                    joined[key] = item
                elif isinstance(before, list) and isinstance(item, list):
                    joined[key] = before + item
                else:  # two tasks say different things: both are kept
                    joined[f"{key} ({titles.get(task_id, task_id)})"] = item
        return joined
    if values and all(isinstance(value, list) for value in values):
        return [item for value in values for item in value]
    return {titles.get(task_id, task_id): value for task_id, value in outputs.items()}


def choose_best(outputs: Mapping[str, Any], weights: Mapping[str, float]) -> Any:
    """Return the best of several results: by their own measure where all have one, else by who made them."""
    measured = {task_id: _measure(value) for task_id, value in outputs.items()}
    if not outputs:
        raise AgentFailed("There is no result to choose from.")
    if all(value is not None for value in measured.values()):
        return outputs[max(outputs, key=lambda task_id: measured[task_id] or 0.0)]
    return outputs[max(outputs, key=lambda task_id: weights.get(task_id, 0.0))]


def _measure(value: Any) -> float | None:
    if not isinstance(value, Mapping):
        return None
    for name in MEASURES:
        found = value.get(name)
        if isinstance(found, (int, float)) and not isinstance(found, bool):
            return float(found)
    return None
