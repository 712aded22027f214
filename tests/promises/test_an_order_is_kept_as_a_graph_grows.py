"""A user's rule is an order: for tasks that a graph grows by as well, and also once their run was resumed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG
from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.execution import Reflection
from kapelle.graph import GraphPatch
from kapelle.routing import RoutingRule


def card(name: str, *types: str) -> AgentCapability:
    return AgentCapability(agent_id=name, task_types=types, success_rate=0.85, cost_usd=0.001)


class Grows:
    """The task `grow` becomes one that fails."""

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        if task.task_id == "grow":
            return AgentResult(output=None, expansion=TaskDAG([Task(task_id="x", task_type="work")]))
        if task.task_type == "work":
            raise ValueError("no")
        return AgentResult(output="as asked")


class Other:
    """Whoever could stand in, and notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        self.asked.append(task.task_id)
        return AgentResult(output="by the other one")


def make_engine(other: Other, *, rules: list[RoutingRule] | None, **options: Any) -> Engine:
    agents = AgentRegistry(
        [card("one", "work", "grow", "look"), card("two", "work")], runners={"one": Grows(), "two": other}
    )
    return Engine(agents, model="none", ledger=SqliteLedger(), environ={}, rules=rules, **options)


ORDER = [RoutingRule(rule_id="mine", task_types=("work",), agent_id="one")]


def grown(kind: str) -> Plan:
    return Plan(request="x", graph=TaskDAG([Task(task_id="grow", task_type=kind)]), planner="me")


@pytest.mark.parametrize("resumed", [False, True])
def test_what_a_task_expands_into_stays_with_the_agent_of_the_rule(resumed: bool) -> None:
    other = Other()
    engine = make_engine(other, rules=ORDER)
    run = asyncio.run(engine.run(grown("grow")))
    if resumed:
        run = asyncio.run(engine.resume(run.run_id))
    assert (run.tasks["grow-x"].state, other.asked) == ("failed", [])


def test_without_a_rule_the_other_agent_stands_in() -> None:
    other = Other()
    run = asyncio.run(make_engine(other, rules=None).run(grown("grow")))
    assert (run.tasks["grow-x"].state, run.tasks["grow-x"].agent) == ("done", "two")


class Adds:
    """Adds a task once."""

    async def reflect(self, task: Task, output: Any, graph: TaskDAG) -> Any:
        if "late" in graph:
            return None
        return Reflection(patch=GraphPatch(add=(Task(task_id="late", task_type="work"),)), reason="More is needed.")


def test_what_a_reflection_adds_stays_with_the_agent_of_the_rule() -> None:
    other = Other()
    first = Plan(
        request="x",
        graph=TaskDAG(
            [Task(task_id="look", task_type="look"), Task(task_id="b", task_type="look", depends_on=("look",))]
        ),
        planner="me",
    )
    run = asyncio.run(make_engine(other, rules=ORDER, reflector=Adds()).run(first))
    assert (run.tasks["late"].state, other.asked) == ("failed", [])
