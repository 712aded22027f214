"""Finds who does a task next when its agent failed: who is asked first by a firm rule, if that was not it; else the
agent that is most sure to do it, on a tie the cheaper one.

The same judgement that edits a plan (solvability) chooses here, so a fallback is as able as what a plan would have had.
Refuses tasks whose plan names a strategy. Nobody asks it for tasks that are pinned (see RoutedTask).
"""

from __future__ import annotations

from collections.abc import Collection

from kapelle.allocation import PlanEstimates
from kapelle.estimates import Estimate
from kapelle.graph import Task
from kapelle.routing import HALORouter

from .solvability import best_agent


class NextBest:
    """Chooses the next best agent for a task, by what is known when it is needed.

    Args:
        router: Knows the firm rules; without one there are none.
    """

    def __init__(self, router: HALORouter | None = None) -> None:
        self._router = router

    def choose_fallback(self, task: Task, tried: Collection[str], plan: PlanEstimates) -> tuple[str, Estimate] | None:
        """Return an agent that can do the task and was not tried, with what it is expected to take; None if none is."""
        if task.strategy is not None:
            return None
        now = plan.version()
        others = [agent for agent in now.choosable if agent not in tried]
        firm = {} if self._router is None else self._router.find_firm([task], others)
        chosen = firm.get(task.task_id) or best_agent(task, others, now)
        return None if chosen is None else (chosen, now.estimate(task, chosen))
