"""The router: plans for graphs and batches, cost optimisation with a way back, agents made on demand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.agents import AgentCapability, AgentRegistry, CallableAgent
from kapelle.errors import InvalidAgents, InvalidGraph
from kapelle.graph import Task, TaskDAG
from kapelle.routing import HALORouter, RoutingPlan, RoutingRule


def agent(agent_id: str, *task_types: str, **fields: Any) -> AgentCapability:
    return AgentCapability(agent_id=agent_id, task_types=task_types, **fields)


def task(task_id: str, task_type: str = "lookup", *depends_on: str, **fields: Any) -> Task:
    return Task(task_id=task_id, task_type=task_type, depends_on=depends_on, **fields)


ATLAS = agent("atlas", "lookup", "write")
GAZETTEER = agent("gazetteer", "lookup", cost_tier="medium")
TWO = AgentRegistry([ATLAS, GAZETTEER])


def route(dag: TaskDAG, router: HALORouter, **options: Any) -> RoutingPlan:
    return asyncio.run(router.route_tasks(dag, **options))


@dataclass
class Optimized:
    """What an optimiser gives back, spelt out."""

    assignments: Mapping[str, str]
    estimated_cost: float = 2.0
    estimated_time: float = 5.0
    quality_score: float = 0.9
    cost_savings: float = 1.0
    optimization_details: Mapping[str, Any] = field(default_factory=lambda: {"status": "optimal", "baseline_cost": 3.0})


class ScriptedOptimizer:
    """Gives back one plan, or raises; remembers what it was asked."""

    def __init__(self, answer: Optimized | Exception) -> None:
        self.answer = answer
        self.agent_registry = AgentRegistry()
        self.asked: list[tuple[Any, TaskDAG, Any]] = []

    async def optimize_routing_plan(self, initial_plan: Any, dag: TaskDAG, constraints: Any = None) -> Optimized:
        self.asked.append((initial_plan, dag, constraints))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class ScriptedCreator:
    """Makes one kind of agent, or fails; counts how often it was asked."""

    def __init__(self, capability: AgentCapability | Exception, made: object = None) -> None:
        self.capability = capability
        self.made = made
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def create_agent_for_task(self, task_description: str, context: dict[str, Any]) -> object:
        self.asked.append((task_description, context))
        if isinstance(self.capability, Exception):
            raise self.capability
        return self.made

    def convert_to_agent_capability(self, agent: object) -> AgentCapability:
        assert isinstance(self.capability, AgentCapability)
        return self.capability


def test_every_task_gets_an_agent_and_a_reason() -> None:
    plan = route(TaskDAG([task("a"), task("b", "write", "a")]), HALORouter(TWO))
    assert plan.is_complete
    assert plan.assignments == {"a": "atlas", "b": "atlas"}
    assert set(plan.explanations) == {"a", "b"}
    assert plan.metadata == {}


def test_what_no_agent_can_do_is_unassigned_and_says_what_is_missing() -> None:
    plan = route(TaskDAG([task("a"), task("ship", "deploy")]), HALORouter(TWO))
    assert plan.assignments == {"a": "atlas"}
    assert "Add an agent with task_types: [deploy]" in plan.unassigned["ship"]
    assert not plan.is_complete


def test_the_documented_agents_and_their_rules_are_the_default() -> None:
    router = HALORouter()
    dag = TaskDAG(
        [task("a", "summarize", description="Sum up the sales data"), task("b", "summarize"), task("c", "deploy")]
    )
    plan = route(dag, router)
    assert plan.assignments == {"a": "analyst_agent", "b": "content_agent", "c": "deploy_agent"}
    assert "Rule 'figures-to-the-analyst' sends 'summarize' tasks that mention 'data'" in plan.explanations["a"]
    assert len(router.agent_registry) == 15


def test_the_default_rules_do_not_overrule_a_users_own_agents() -> None:
    registry = AgentRegistry.default().with_agent(agent("my_deployer", "deploy", success_rate=0.99))
    plan = route(TaskDAG([task("a", "deploy")]), HALORouter(registry))
    assert plan.assignments == {"a": "my_deployer"}


def test_rules_that_share_an_id_are_refused() -> None:
    rule = RoutingRule(rule_id="r", task_types=("lookup",), agent_id="atlas")
    with pytest.raises(InvalidAgents, match="'r'"):
        HALORouter(TWO, rules=[rule, rule])


def test_a_rule_for_an_agent_that_is_not_there_is_warned_of_by_name(caplog: pytest.LogCaptureFixture) -> None:
    HALORouter(TWO, rules=[RoutingRule(rule_id="near", task_types=("lookup",), agent_id="atlsa")])
    assert "'near' (atlsa)" in caplog.text


def test_only_available_agents_are_chosen() -> None:
    plan = route(TaskDAG([task("a"), task("b", "write")]), HALORouter(TWO), available_agents=["gazetteer"])
    assert plan.assignments == {"a": "gazetteer"}
    assert "atlas could" in plan.unassigned["b"]


def test_an_unknown_available_agent_is_refused_by_name() -> None:
    with pytest.raises(InvalidAgents, match="'atlsa'"):
        route(TaskDAG([task("a")]), HALORouter(TWO), available_agents=["atlsa"])


def test_an_empty_graph_makes_an_empty_plan() -> None:
    plan = route(TaskDAG(), HALORouter(TWO, enable_cost_optimization=True, daao_optimizer=ScriptedOptimizer(OSError())))
    assert plan == RoutingPlan()


@given(order=st.permutations(range(8)))
def test_routing_a_graph_is_stable_under_task_order(order: list[int]) -> None:
    few = AgentRegistry([agent("a", "lookup", max_concurrency=2), agent("b", "lookup"), agent("c", "*")])
    chain = [task(f"t{n}", "lookup" if n % 3 else "sql", *([f"t{n - 3}"] if n > 4 else [])) for n in range(8)]
    plain = route(TaskDAG(chain), HALORouter(few))
    assert route(TaskDAG([chain[n] for n in order]), HALORouter(few)) == plain


def test_a_batch_is_one_level_of_independent_tasks() -> None:
    busy = AgentRegistry([agent("one", "lookup", success_rate=1.0, max_concurrency=1), agent("two", "lookup")])
    plan = asyncio.run(HALORouter(busy).route_batch([task("b", "lookup", "earlier"), task("a")]))
    assert plan.assignments == {"a": "one", "b": "two"}


def test_a_batch_refuses_tasks_that_depend_on_each_other_or_share_an_id() -> None:
    router = HALORouter(TWO)
    with pytest.raises(InvalidGraph, match="'b' depends on 'a'"):
        asyncio.run(router.route_batch([task("a"), task("b", "lookup", "a")]))
    with pytest.raises(InvalidGraph, match="same id"):
        asyncio.run(router.route_batch([task("a"), task("a")]))


def test_a_single_task_can_be_asked_about() -> None:
    agent_id, explanation = HALORouter(TWO).route_task(task("a"))
    assert agent_id == "atlas"
    assert "gazetteer costs more" in explanation
    assert HALORouter(TWO).route_task(task("a", "deploy"))[0] is None


def optimising(answer: Optimized | Exception, registry: AgentRegistry = TWO) -> tuple[HALORouter, ScriptedOptimizer]:
    optimizer = ScriptedOptimizer(answer)
    return HALORouter(registry, enable_cost_optimization=True, daao_optimizer=optimizer), optimizer


def test_an_optimised_plan_moves_tasks_says_why_and_fills_the_documented_metadata() -> None:
    router, optimizer = optimising(Optimized({"a": "gazetteer", "b": "atlas"}))
    dag = TaskDAG([task("a"), task("b", "write")])
    plan = route(dag, router, optimization_constraints="limits")
    assert plan.assignments == {"a": "gazetteer", "b": "atlas"}
    assert "Moved from atlas to gazetteer by the cost optimiser" in plan.explanations["a"]
    assert "Moved" not in plan.explanations["b"]
    assert plan.metadata == {
        "daao_optimized": True,
        "cost_savings": 1.0,
        "estimated_cost": 2.0,
        "baseline_cost": 3.0,
        "estimated_time": 5.0,
        "quality_score": 0.9,
        "optimization_details": {"status": "optimal", "baseline_cost": 3.0},
    }
    assert optimizer.asked == [({"a": "atlas", "b": "atlas"}, dag, "limits")]


def test_a_move_that_saves_nothing_is_explained_by_the_constraints() -> None:
    router, _ = optimising(Optimized({"a": "gazetteer"}, cost_savings=-0.5))
    explanation = route(TaskDAG([task("a")]), router).explanations["a"]
    assert "so that the plan keeps its constraints" in explanation


def test_the_baseline_cost_is_reckoned_where_the_optimiser_does_not_give_it() -> None:
    router, _ = optimising(Optimized({"a": "atlas"}, optimization_details={}))
    assert route(TaskDAG([task("a")]), router).metadata["baseline_cost"] == 3.0


def test_a_failing_optimiser_leaves_the_baseline_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    router, _ = optimising(RuntimeError("solver gone"))
    with caplog.at_level(logging.WARNING):
        plan = route(TaskDAG([task("a")]), router)
    assert plan.assignments == {"a": "atlas"}
    assert plan.metadata == {"daao_error": "RuntimeError: solver gone"}
    assert "solver gone" in caplog.text


@pytest.mark.parametrize("status", ["infeasible", "unknown"])
def test_where_no_plan_keeps_the_limits_the_baseline_stands_with_its_figures(
    status: str, caplog: pytest.LogCaptureFixture
) -> None:
    details = {"status": status, "baseline_cost": 2.0, "binding": {"max_total_cost": 1.5}}
    router, _ = optimising(Optimized({"a": "atlas"}, cost_savings=0.0, optimization_details=details))
    caplog.set_level(logging.INFO)
    plan = route(TaskDAG([task("a")]), router)
    assert "daao_optimized" not in plan.metadata
    assert plan.metadata["estimated_cost"] == 2.0
    assert "max_total_cost" in plan.metadata["daao_error"]
    assert "stands as routed" in caplog.text


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        ({}, "another set of tasks"),
        ({"a": "nobody"}, "'nobody', which is not available"),
        ({"a": "writer"}, "'writer', which cannot do it"),
    ],
)
def test_a_plan_that_cannot_be_is_not_taken_from_the_optimiser(assignments: dict[str, str], said: str) -> None:
    router, _ = optimising(Optimized(assignments), AgentRegistry([ATLAS, agent("writer", "write")]))
    plan = route(TaskDAG([task("a")]), router)
    assert plan.assignments == {"a": "atlas"}
    assert said in plan.metadata["daao_error"]


ODD: dict[str, dict[str, Any]] = {
    "details": {"optimization_details": None},
    "cost in words": {"estimated_cost": "little", "optimization_details": {}},
    "savings in words": {"cost_savings": "much", "optimization_details": {"baseline_cost": 1.0}},
    "reasons": {"optimization_details": {"baseline_cost": 1.0, "reasons": ["a"]}},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_whatever_an_optimiser_says_besides_the_baseline_stands(odd: dict[str, Any]) -> None:
    router, _ = optimising(Optimized({"a": "gazetteer"}, **odd))
    plan = route(TaskDAG([task("a")]), router)
    assert plan.assignments == {"a": "atlas"}
    assert plan.metadata.keys() == {"daao_error"}


@pytest.mark.parametrize("strategy", ["vote", {"agent": "atlas"}, 3])
def test_what_is_no_strategy_is_not_taken_from_the_optimiser(strategy: object) -> None:
    optimized = Optimized({"a": "atlas"})
    optimized.strategies = {"a": strategy}  # type: ignore[attr-defined]  # as a user's own may have
    router, _ = optimising(optimized)
    plan = route(TaskDAG([task("a")]), router)
    assert not plan.strategies
    assert "no strategy" in plan.metadata["daao_error"]


def test_an_optimiser_cannot_move_a_task_to_an_agent_that_is_not_available() -> None:
    router, _ = optimising(Optimized({"a": "gazetteer"}))
    plan = route(TaskDAG([task("a")]), router, available_agents={"atlas"})
    assert plan.assignments == {"a": "atlas"}
    assert "daao_optimized" not in plan.metadata


def test_an_optimiser_is_asked_only_when_it_is_enabled() -> None:
    optimizer = ScriptedOptimizer(Optimized({}))
    route(TaskDAG([task("a")]), HALORouter(TWO, daao_optimizer=optimizer))
    assert optimizer.asked == []


def test_a_profiler_without_an_optimiser_is_fine() -> None:
    plan = route(TaskDAG([task("a")]), HALORouter(TWO, enable_cost_optimization=True, cost_profiler=object()))
    assert plan.assignments == {"a": "atlas"}
    assert plan.metadata == {}


def test_an_agent_is_created_for_what_nobody_can_do_and_used_again() -> None:
    creator = ScriptedCreator(agent("dynamic_1", "scrape", skills=frozenset({"html"})))
    router = HALORouter(TWO, agent_creator=creator)
    needs = frozenset({"html"})
    plan = route(
        TaskDAG([task("a", "scrape", description="Scrape it", requirements=needs), task("b", "scrape"), task("c")]),
        router,
    )
    assert plan.assignments == {"a": "dynamic_1", "b": "dynamic_1", "c": "atlas"}
    assert plan.explanations["a"].startswith("AATC created: dynamic_1.")
    [(description, context)] = creator.asked
    assert description == "Scrape it"
    assert (context["task_type"], context["requirements"]) == ("scrape", ["html"])


def test_what_was_created_can_also_run_if_it_is_an_agent() -> None:
    made = CallableAgent(lambda task: "done")
    router = HALORouter(TWO)
    creator = ScriptedCreator(agent("dynamic_1", "scrape"), made)
    assert asyncio.run(router.create_specialized_agent(task("a", "scrape"), creator)) == "dynamic_1"
    assert router.agent_registry.runner("dynamic_1") is made
    assert "dynamic_1" not in TWO


@pytest.mark.parametrize(
    ("capability", "said"),
    [
        (RuntimeError("no model"), "no model"),
        (agent("dynamic_1", "write"), "dynamic_1 takes write"),
        (agent("atlas", "scrape"), "another agent with the id 'atlas'"),
    ],
)
def test_a_creator_that_fails_leaves_the_task_unassigned_and_says_so(
    capability: AgentCapability | Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    router = HALORouter(TWO)
    plan = route(TaskDAG([task("a", "scrape"), task("b")]), router, agent_creator=ScriptedCreator(capability))
    assert plan.assignments == {"b": "atlas"}
    assert "No agent takes 'scrape'" in plan.unassigned["a"]
    assert said in caplog.text
    assert router.agent_registry is TWO


def test_an_optimiser_that_shares_the_registry_is_told_of_the_new_agent() -> None:
    router, optimizer = optimising(Optimized({"a": "dynamic_1"}))
    optimizer.agent_registry = router.agent_registry
    plan = route(TaskDAG([task("a", "scrape")]), router, agent_creator=ScriptedCreator(agent("dynamic_1", "scrape")))
    assert plan.metadata["daao_optimized"]
    assert optimizer.agent_registry is router.agent_registry


def test_an_optimiser_with_its_own_registry_keeps_it() -> None:
    router, optimizer = optimising(Optimized({"a": "dynamic_1"}))
    route(TaskDAG([task("a", "scrape")]), router, agent_creator=ScriptedCreator(agent("dynamic_1", "scrape")))
    assert optimizer.agent_registry == AgentRegistry()


def test_without_a_creator_none_is_created() -> None:
    assert asyncio.run(HALORouter(TWO).create_specialized_agent(task("a", "scrape"), None)) is None


def test_a_task_goes_to_the_agent_that_it_names_and_to_nobody_else() -> None:
    registry = AgentRegistry(
        [AgentCapability(agent_id=name, task_types=("work",)) for name in ("first", "second")]
        + [AgentCapability(agent_id="other", task_types=("rest",))]
    )
    dag = TaskDAG(
        Task(task_id=task_id, task_type="work", metadata={"agent": name})
        for task_id, name in (("a", "second"), ("b", "other"), ("c", "nobody"))
    )
    plan = asyncio.run(HALORouter(registry).route_tasks(dag))
    assert plan.assignments == {"a": "second"}
    assert plan.metadata["pinned"] == ["a"]
    assert "Others could: first, second" in plan.unassigned["b"]
