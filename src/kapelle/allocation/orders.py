"""Holds routing to what a plan orders: a task that names its strategy is done in that way, or not at all.

Whoever routes, optimises, explores or repairs may know nothing of orders; what they make of a plan passes here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kapelle.agents import AgentCapability
from kapelle.graph import Task, TaskDAG
from kapelle.routing import RoutingPlan
from kapelle.strategies import Single, Strategy, agents_of, strategy_from_dict

from .plan_estimates import why_unable


def ordered_strategy(task: Task) -> Strategy | None:
    """Return the strategy that a task names; None where it leaves that to routing."""
    return None if task.strategy is None else strategy_from_dict(task.strategy)


def follow_orders(
    plan: RoutingPlan, dag: TaskDAG, agents: Mapping[str, AgentCapability], *, only: Collection[str] | None = None
) -> None:
    """Write the strategies that tasks name into a routing plan, and pin them.

    A task whose order cannot be followed is left unassigned, with what is wrong and the way out.

    Args:
        agents: Everyone who can be asked, by id.
        only: The tasks that are looked at; None: all.
    """
    for task in dag:
        order = ordered_strategy(task)
        if order is None or (only is not None and task.task_id not in only):
            continue
        fault = _why_impossible(task, order, agents)
        if fault is None:
            _follow(plan, task.task_id, order)
            continue
        for known in (plan.assignments, plan.explanations, plan.strategies):
            known.pop(task.task_id, None)
        plan.metadata.pop("estimated_cost", None)  # that was with it
        plan.unassigned[task.task_id] = f"The plan orders {str(order)!r}: {fault}"


def _follow(plan: RoutingPlan, task_id: str, order: Strategy) -> None:
    first = agents_of(order)[0]
    plan.explanations[task_id] = f"The plan orders it: {order}."
    plan.assignments[task_id] = first
    plan.unassigned.pop(task_id, None)
    if isinstance(order, Single):
        plan.strategies.pop(task_id, None)
    else:
        plan.strategies[task_id] = order
    pinned = plan.metadata.get("pinned", ())
    if task_id not in pinned:
        plan.metadata["pinned"] = [*pinned, task_id]


def _why_impossible(task: Task, order: Strategy, agents: Mapping[str, AgentCapability]) -> str | None:
    if task.risk == "high" and not isinstance(order, Single):
        return "a task of high risk is never done by several. Name one agent, or lower its risk."
    fault = why_unable(task, order, agents)
    if fault is None:
        return None
    able = [agent.agent_id for agent in agents.values() if agent.takes(task)]
    others = f"Name one that takes {task.task_type!r}: {', '.join(able[:8])}." if able else "No agent does."
    return f"it names {fault}. {others}"
