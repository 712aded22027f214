"""Holds routing to what a plan orders: a task that names its strategy is done in that way, or not at all.

Whoever routes, optimises, explores or repairs may know nothing of orders; what they make of a plan passes here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from kapelle.agents import AgentCapability
from kapelle.graph import Task, TaskDAG
from kapelle.routing import RoutedPlan, RoutedTask
from kapelle.strategies import Single, Strategy, agents_of, strategy_from_dict

from .plan_estimates import why_unable


def ordered_strategy(task: Task) -> Strategy | None:
    """Return the strategy that a task names; None where it leaves that to routing."""
    return None if task.strategy is None else strategy_from_dict(task.strategy)


def follow_orders(
    plan: RoutedPlan, dag: TaskDAG, agents: Mapping[str, AgentCapability], *, only: Collection[str] | None = None
) -> RoutedPlan:
    """Return a routed plan with the strategies that tasks name, and these pinned.

    A task whose order cannot be followed is left unassigned, with what is wrong and the way out.

    Args:
        agents: Everyone who can be asked, by id.
        only: The tasks that are looked at; None: all.
    """
    followed: dict[str, RoutedTask] = {}
    refused: dict[str, str] = {}
    for task in dag:
        order = ordered_strategy(task)
        if order is None or (only is not None and task.task_id not in only):
            continue
        fault = _why_impossible(task, order, agents)
        if fault is not None:
            refused[task.task_id] = f"The plan orders {str(order)!r}: {fault}"
            continue
        known = plan.tasks.get(task.task_id) or RoutedTask(agent="")
        followed[task.task_id] = replace(
            known,
            agent=agents_of(order)[0],
            reason=f"The plan orders it: {order}.",
            strategy=None if isinstance(order, Single) else order,
            pinned=True,
        )
    return plan.with_tasks(followed).without(refused)


def _why_impossible(task: Task, order: Strategy, agents: Mapping[str, AgentCapability]) -> str | None:
    if task.risk == "high" and not isinstance(order, Single):
        return "a task of high risk is never done by several. Name one agent, or lower its risk."
    fault = why_unable(task, order, agents)
    if fault is None:
        return None
    able = [agent.agent_id for agent in agents.values() if agent.takes(task)]
    others = f"Name one that takes {task.task_type!r}: {', '.join(able[:8])}." if able else "No agent does."
    return f"it names {fault}. {others}"
