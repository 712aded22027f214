from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.allocation import DAAOOptimizer, OptimizationConstraints
from kapelle.allocation.portfolio import Item, JointPlan, optimize_portfolio
from kapelle.errors import InvalidAgents, InvalidInput
from kapelle.estimates import CostProfiler
from kapelle.graph import Task, TaskDAG


def agent(agent_id: str, cost_usd: float, seconds: float = 1.0, rate: float = 0.9, kind: str = "*") -> AgentCapability:
    return AgentCapability(agent_id=agent_id, task_types=(kind,), cost_usd=cost_usd, seconds=seconds, success_rate=rate)


def optimizer(*agents: AgentCapability) -> DAAOOptimizer:
    return DAAOOptimizer(CostProfiler(), AgentRegistry(agents))


def graph(kind: str, count: int) -> TaskDAG:
    return TaskDAG([Task(task_id=f"t{number}", task_type=kind) for number in range(count)])


def item(dag: TaskDAG, agent_id: str, **limits: Any) -> Item:
    limits = {"min_quality_score": 0.0, **limits}
    return dict.fromkeys(dag.tasks, agent_id), dag, OptimizationConstraints(**limits)


# `rare` tasks cost 5 where the cheap agent has no place for them, `plain` ones a little more than with the cheap one.
CHEAP = agent("cheap", 1.0)
ANYONE = agent("anyone", 1.2, kind="plain")
EXPERT = agent("expert", 5.0, kind="rare")


def two_graphs() -> dict[str, Item]:
    return {"first": item(graph("plain", 2), "cheap"), "second": item(graph("rare", 2), "expert")}


def test_a_place_goes_to_the_graph_that_needs_it_most_whoever_comes_first() -> None:
    shared = OptimizationConstraints(agent_capacity={"cheap": 2})
    found = optimize_portfolio(two_graphs(), shared=shared, optimizer=optimizer(CHEAP, ANYONE, EXPERT), time_limit_s=60)
    assert found.status == "optimal"
    assert found.total_cost == pytest.approx(4.4)
    assert set(found["first"].assignments.values()) == {"anyone"}
    assert set(found["second"].assignments.values()) == {"cheap"}
    assert found.workload == {"anyone": 2, "cheap": 2}
    assert found.gap == pytest.approx(0.0, abs=1e-6)


def test_one_after_the_other_breaks_the_budget_that_all_together_keep() -> None:
    daao = optimizer(CHEAP, ANYONE, EXPERT)
    spent, places = 0.0, 2
    for plan, dag, constraints in two_graphs().values():
        assert constraints is not None
        limits = OptimizationConstraints(min_quality_score=0.0, agent_capacity={"cheap": places})
        one = asyncio.run(daao.optimize_routing_plan(plan, dag, limits))
        spent += one.estimated_cost
        places -= one.optimization_details["agent_workload"].get("cheap", 0)
    budget = OptimizationConstraints(max_total_cost=5.0, agent_capacity={"cheap": 2})
    together = optimize_portfolio(two_graphs(), shared=budget, optimizer=daao, time_limit_s=60)
    assert spent == pytest.approx(12.0), "cheap places went to the first graph"
    assert together.status == "optimal"
    assert together.total_cost == pytest.approx(4.4)


def test_a_budget_that_nothing_keeps_says_how_much_is_missing() -> None:
    shared = OptimizationConstraints(max_total_cost=4.0, agent_capacity={"cheap": 2})
    found = optimize_portfolio(two_graphs(), shared=shared, optimizer=optimizer(CHEAP, ANYONE, EXPERT), time_limit_s=60)
    assert (found.status, found.gap) == ("infeasible", None)
    assert found.binding == {"max_total_cost": pytest.approx(0.4)}
    assert "$4.4 together; the shared budget is $4" in found.note
    assert set(found["first"].assignments.values()) == {"cheap"}, "the initial plan stands"
    assert found["first"].optimization_details["binding"] == found.binding


def test_capacities_that_are_too_small_say_how_many_places_are_missing() -> None:
    daao = optimizer(CHEAP)
    items = {name: item(graph("plain", 2), "cheap") for name in ("a", "b")}
    shared = OptimizationConstraints(agent_capacity={"cheap": 3})
    found = optimize_portfolio(items, shared=shared, optimizer=daao, time_limit_s=60)
    assert found.status == "infeasible"
    assert found.binding == {"agent_capacity": 1.0, "agent_capacity[cheap]": 1.0}


def test_a_graph_that_cannot_keep_its_own_limits_is_named() -> None:
    items = {"fine": item(graph("plain", 1), "cheap"), "late": item(graph("plain", 1), "cheap", max_total_time=0.25)}
    found = optimize_portfolio(items, optimizer=optimizer(CHEAP, ANYONE), time_limit_s=60)
    assert found.status == "infeasible"
    assert found.binding == {"late: max_total_time": pytest.approx(0.75)}
    assert "'late'" in found.note


def test_graphs_that_share_nothing_are_the_best_of_each() -> None:
    daao = optimizer(CHEAP, ANYONE, EXPERT)
    found = optimize_portfolio(two_graphs(), optimizer=daao, time_limit_s=60)
    assert (found.solver, found.status) == ("alone", "optimal")
    for name, (plan, dag, constraints) in two_graphs().items():
        alone = asyncio.run(daao.optimize_routing_plan(plan, dag, constraints))
        assert found[name].assignments == alone.assignments


def world(seed: int) -> tuple[DAAOOptimizer, dict[str, Item], OptimizationConstraints]:
    """Two small graphs with limits of their own, and limits that they share; often too tight."""
    rng = random.Random(seed)
    agents = [
        agent(f"a{n}", rng.choice((1.0, 2.0, 3.0, 5.0)), rng.choice((1.0, 2.0, 4.0)), rng.choice((0.6, 0.7, 0.8)))
        for n in range(4)
    ]
    items: dict[str, Item] = {}
    for name in ("left", "right"):
        dag = TaskDAG(
            Task(
                task_id=f"t{number}",
                task_type="test",
                depends_on=tuple(f"t{other}" for other in range(number) if rng.random() < 0.5),
            )
            for number in range(3)
        )
        limits: dict[str, Any] = {
            "min_quality_score": rng.choice((0.0, 0.65, 0.7)),
            "max_total_time": rng.choice((6, 9)),
        }
        limits["confidence"] = 0.5 + 0.3 * rng.random()  # nothing was tried: means would count without
        if rng.random() < 0.5:
            limits["agent_capacity"] = {"a0": 2}
        if rng.random() < 0.5:
            limits["max_total_cost"] = rng.choice((6.0, 9.0))
        items[name] = item(dag, "a1", **limits)
    shared = OptimizationConstraints(
        agent_capacity={f"a{n}": rng.choice((1, 2, 3)) for n in range(3)}, max_total_cost=rng.choice((None, 12.0))
    )
    return optimizer(*agents), items, shared


def least_cost(daao: DAAOOptimizer, items: dict[str, Item], shared: OptimizationConstraints) -> float | None:
    """What the cheapest of all pairs of plans costs; None where none keeps the limits."""
    problems = [daao.formulate(plan, dag, limits).problem for plan, dag, limits in items.values()]
    allowed = [
        [
            (problem.totals(choice).cost, problem.workload(choice))
            for choice in itertools.product(*(range(len(slot.candidates)) for slot in problem.slots))
            if problem.allows(choice)
        ]
        for problem in problems
    ]
    costs = [
        sum(cost for cost, _ in pair)
        for pair in itertools.product(*allowed)
        if all(sum(work[who] for _, work in pair) <= most for who, most in shared.agent_capacity.items())
    ]
    best = min(costs, default=None)
    return None if best is None or (shared.max_total_cost or best) < best - 1e-9 else best


def check(found: JointPlan, items: dict[str, Item], shared: OptimizationConstraints) -> None:
    """Hold plans against every limit."""
    assert found.total_cost <= (shared.max_total_cost or found.total_cost) + 1e-9
    for who, most in shared.agent_capacity.items():
        assert found.workload.get(who, 0) <= most
    for name in items:
        assert found[name].optimization_details["missed"] == {}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_small_portfolios_are_as_cheap_as_the_best_of_all_plans(seed: int) -> None:
    daao, items, shared = world(seed)
    found = optimize_portfolio(items, shared=shared, optimizer=daao, time_limit_s=60)
    best = least_cost(daao, items, shared)
    if best is None:
        assert found.status == "infeasible"
        return
    assert found.status == "optimal"
    assert found.total_cost == pytest.approx(best)
    assert found.lower_bound <= found.total_cost
    check(found, items, shared)


def test_the_tiny_worlds_hold_both_kinds_of_portfolio() -> None:
    kinds = {least_cost(*world(seed)) is None for seed in range(12)}
    assert kinds == {True, False}


@pytest.mark.parametrize("name", ["max_total_time", "min_quality_score", "min_task_quality", "confidence", "pinned"])
def test_what_cannot_be_shared_is_refused(name: str) -> None:
    bad: dict[str, Any] = {name: {"t0"} if name == "pinned" else 0.5}
    with pytest.raises(InvalidInput, match=f"{name} cannot be shared"):
        optimize_portfolio(two_graphs(), shared=OptimizationConstraints(**bad), optimizer=optimizer(CHEAP))


def test_an_agent_that_vanished_is_named_with_its_graph() -> None:
    items = {"weekly": item(graph("plain", 1), "gone")}
    with pytest.raises(InvalidAgents, match="In the graph 'weekly': The task 't0' is assigned to 'gone'"):
        optimize_portfolio(items, optimizer=optimizer(CHEAP))


def test_no_graphs_cost_nothing() -> None:
    found = optimize_portfolio({}, shared=OptimizationConstraints(max_total_cost=0.0), optimizer=optimizer(CHEAP))
    assert (dict(found), found.status, found.total_cost, found.gap) == ({}, "optimal", 0.0, 0.0)


def test_places_at_a_time_are_counted_level_by_level() -> None:
    chain = TaskDAG([Task(task_id="a", task_type="plain"), Task(task_id="b", task_type="plain", depends_on=("a",))])
    items = {"first": item(chain, "cheap"), "second": item(graph("plain", 1), "cheap")}
    found = optimize_portfolio(items, at_once={"cheap": 1}, optimizer=optimizer(CHEAP, ANYONE), time_limit_s=60)
    assert found.status == "optimal"
    assert found.total_cost == pytest.approx(3.2)
    assert (found.workload, found.waiting) == ({"cheap": 2, "anyone": 1}, {})


def test_where_places_cannot_be_kept_the_least_that_is_missing_waits() -> None:
    items = {name: item(graph("plain", 2), "cheap") for name in ("first", "second")}
    found = optimize_portfolio(items, at_once={"cheap": 3}, optimizer=optimizer(CHEAP), time_limit_s=60)
    assert (found.status, found.waiting) == ("optimal", {"cheap at level 0": 1})


def test_whoever_has_no_money_for_another_agent_waits() -> None:
    items = {name: item(graph("plain", 1), "cheap") for name in ("first", "second")}
    shared, daao = OptimizationConstraints(max_total_cost=2.1), optimizer(CHEAP, ANYONE)
    found = optimize_portfolio(items, shared=shared, at_once={"cheap": 1}, optimizer=daao, time_limit_s=60)
    assert (found.total_cost, found.waiting) == (2.0, {"cheap at level 0": 1})
