"""A policy proposes who does a task, and what the user asked for disposes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.allocation import DAAOOptimizer, OptimizationConstraints, OptimizedPlan
from kapelle.estimates import CostProfiler
from kapelle.graph import Task, TaskDAG
from kapelle.strategies import Single, Strategy, Vote

CARDS = [
    AgentCapability(agent_id=name, task_types=("test",), cost_usd=cost, seconds=1.0, success_rate=share)
    for name, cost, share in (("cheap", 0.1, 0.9), ("dear", 1.0, 0.95), ("third", 0.2, 0.9))
]
OTHER = AgentCapability(agent_id="other", task_types=("else",), cost_usd=0.1, seconds=1.0, success_rate=0.9)
DEAR = Single(agent="dear")


@dataclass
class Proposal:
    strategy: Strategy
    reason: str = "It says so."


class Says:
    """A policy that has every task done one way, where it may, and keeps what it was asked."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.asked: list[str] = []

    def propose(self, tasks: Sequence[Task], may: Callable[[Task, Strategy], bool]) -> Mapping[str, Proposal]:
        self.asked += [task.task_id for task in tasks]
        return {task.task_id: Proposal(self.strategy) for task in tasks if may(task, self.strategy)}


def optimize(policy: Says | None, *tasks: Task, pinned: Sequence[str] = (), **limits: Any) -> OptimizedPlan:
    optimizer = DAAOOptimizer(CostProfiler(), AgentRegistry([*CARDS, OTHER]), policy=policy)
    constraints = OptimizationConstraints(**limits)
    plan = {task.task_id: "cheap" for task in tasks}
    return asyncio.run(optimizer.optimize_routing_plan(plan, TaskDAG(tasks), constraints, pinned=pinned))


def task(task_id: str, **fields: Any) -> Task:
    return Task(task_id=task_id, task_type="test", **fields)


def test_what_it_proposes_is_done_and_compared_with_the_plan_as_it_was() -> None:
    plan = optimize(Says(DEAR), task("a"), task("b"))
    assert plan.assignments == {"a": "dear", "b": "dear"}
    details = plan.optimization_details
    assert details["reasons"] == {"a": "It says so.", "b": "It says so."}
    assert details["moved_tasks"] == {"a": ("cheap", "dear"), "b": ("cheap", "dear")}
    assert details["baseline_cost"] - plan.estimated_cost == plan.cost_savings
    assert plan.cost_savings < 0


def test_where_that_breaks_a_limit_the_plan_is_as_without_it() -> None:
    for limits in ({"max_total_cost": 0.5}, {"agent_capacity": {"dear": 1}}):
        tasks = (task("a"), task("b"))
        assert optimize(Says(DEAR), *tasks, **limits) == optimize(None, *tasks, **limits)


def test_what_is_pinned_or_ordered_is_not_its_to_choose() -> None:
    policy = Says(DEAR)
    ordered = task("ordered", strategy=Single(agent="third"))
    plan = optimize(policy, task("pinned"), ordered, task("free"), pinned=["pinned"])
    assert plan.assignments == {"pinned": "cheap", "ordered": "third", "free": "dear"}
    assert policy.asked == ["free"]


def test_only_agents_that_take_the_task_may_be_used_and_nobody_harms_twice() -> None:
    several = Says(Vote(agents=("cheap", "third"), escalate_to=DEAR))
    plan = optimize(several, task("safe"), task("risky", risk="high"))
    assert plan.strategies == {"safe": several.strategy}
    assert optimize(Says(Single(agent="other")), task("a")).assignments == {"a": "cheap"}
    assert optimize(Says(Single(agent="nobody")), task("a")).assignments == {"a": "cheap"}
