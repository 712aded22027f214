"""Finds who does a task next when its agent failed: who is asked first by a firm rule, if that was not it; else the
agent that is most sure to do it, on a tie the cheaper one.

The same judgement that edits a plan (solvability) chooses here, so a fallback is as able as what a plan would have had.
Refuses tasks whose plan names a strategy. Nobody asks it for tasks that are pinned (see ApprovedPlan.pinned).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from kapelle.agents import AgentRegistry
from kapelle.estimates import CostProfiler, Estimate, estimate_complexity
from kapelle.graph import Task
from kapelle.routing import HALORouter

from .solvability import best_agent


class NextBest:
    """Chooses the next best agent of a registry for a task.

    Args:
        agents: Of them, those that can be run are chosen from.
        complexities: Task id to how complex it is, where that is known; what is expected grows with it.
        router: Knows the firm rules; without one there are none.
    """

    def __init__(
        self,
        agents: AgentRegistry,
        profiler: CostProfiler,
        *,
        complexities: Mapping[str, float] = MappingProxyType({}),
        router: HALORouter | None = None,
    ) -> None:
        self._all = agents
        self._profiler = profiler
        self._complexities = complexities
        self._router = router

    def choose_fallback(self, task: Task, tried: Collection[str]) -> tuple[str, Estimate] | None:
        """Return an agent that can do the task and was not tried, with what it is expected to take; None if none is."""
        if task.strategy is not None:
            return None
        others = {agent_id: card for agent_id, card in self._all.runnable().items() if agent_id not in tried}
        firm = {} if self._router is None else self._router.find_firm([task], others)
        chosen = firm.get(task.task_id) or best_agent(task, list(others.values()), self._profiler)
        if chosen is None:
            return None
        complexity = self._complexities.get(task.task_id)
        if complexity is None:  # its place in the graph is not known
            complexity = estimate_complexity(task.task_type, dependencies=len(task.dependencies))
        return chosen, self._profiler.estimate(self._all[chosen], task.task_type, complexity, text=task.description)
