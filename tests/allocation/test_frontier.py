from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.allocation import DAAOOptimizer, Frontier, OptimizationConstraints, pareto_frontier
from kapelle.errors import InvalidInput
from kapelle.estimates import CostProfiler
from kapelle.graph import Task, TaskDAG
from kapelle.routing import RoutingPlan


def world(seed: int, tasks: int, agents: int) -> tuple[DAAOOptimizer, TaskDAG, dict[str, str]]:
    """A small random graph, and agents among which money buys time or success; few prices, so that plans tie."""
    rng = random.Random(seed)
    registry = AgentRegistry(
        AgentCapability(
            agent_id=f"a{number}",
            task_types=("test",),
            cost_usd=rng.choice((0.1, 0.2, 0.3, 0.5)),
            seconds=rng.choice((1.0, 2.0, 3.0, 5.0)),
            success_rate=rng.choice((0.6, 0.7, 0.8, 0.9)),
        )
        for number in range(agents)
    )
    dag = TaskDAG(
        Task(
            task_id=f"t{number}",
            task_type="test",
            depends_on=tuple(f"t{other}" for other in range(number) if rng.random() < 0.4),
        )
        for number in range(tasks)
    )
    return DAAOOptimizer(CostProfiler(), registry), dag, dict.fromkeys(dag.tasks, "a0")


Vector = tuple[float, float, float]


def vector(cost: float, seconds: float, quality: float) -> Vector:
    return round(cost, 6), round(seconds, 6), round(-quality, 6)


def vectors(frontier: Frontier) -> list[Vector]:
    return [vector(point.cost_usd, point.seconds, point.quality) for point in frontier.points]


def beats(one: Vector, other: Vector) -> bool:
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


def every_plan(optimizer: DAAOOptimizer, dag: TaskDAG, plan: dict[str, str], **limits: Any) -> set[Vector]:
    """What every plan within the limits comes to."""
    limits = {"min_quality_score": 0.0, **limits}
    problem = optimizer.formulate(plan, dag, OptimizationConstraints(**limits)).problem
    found = set()
    for choice in itertools.product(*(range(len(slot.candidates)) for slot in problem.slots)):
        if problem.allows(choice):
            totals = problem.totals(choice)
            found.add(vector(totals.cost, totals.seconds, totals.quality))
    return found


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_frontier_of_a_small_plan_is_every_plan_that_no_other_beats(seed: int) -> None:
    optimizer, dag, plan = world(seed, 4, 4)
    limits: dict[str, Any] = {"max_total_time": 12.0, "agent_capacity": {"a1": 1}}
    frontier = pareto_frontier(
        plan, dag, OptimizationConstraints(**limits), optimizer=optimizer, points=1000, time_limit_s=60
    )
    everything = every_plan(optimizer, dag, plan, **limits)
    unbeaten = {one for one in everything if not any(beats(other, one) for other in everything)}
    assert (frontier.method, frontier.complete) == ("enumeration", True)
    assert set(vectors(frontier)) == unbeaten
    assert len(frontier) == len(unbeaten)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_no_point_that_the_grid_finds_is_beaten_by_any_plan(seed: int) -> None:
    optimizer, dag, plan = world(seed, 4, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kapelle.allocation.frontier_search.ENUMERABLE", 0)
        frontier = pareto_frontier(plan, dag, optimizer=optimizer, points=16, time_limit_s=60)
    everything = every_plan(optimizer, dag, plan)
    assert frontier.method == "epsilon-constraint"
    assert not frontier.complete
    for point in vectors(frontier):
        assert not any(beats(other, point) for other in everything)
    for axis in range(3):
        assert min(point[axis] for point in vectors(frontier)) == min(one[axis] for one in everything)


@pytest.mark.parametrize("enumerable", [0, 100_000])
def test_limits_bound_the_frontier_by_either_method(enumerable: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kapelle.allocation.frontier_search.ENUMERABLE", enumerable)
    optimizer, dag, plan = world(2, 4, 4)
    limits: dict[str, Any] = {"max_total_cost": 1.0, "agent_capacity": {f"a{n}": 2 for n in range(4)}}
    frontier = pareto_frontier(plan, dag, OptimizationConstraints(**limits), optimizer=optimizer, time_limit_s=60)
    everything = every_plan(optimizer, dag, plan, **limits)
    assert set(vectors(frontier)) <= everything
    for axis in range(3):
        assert min(point[axis] for point in vectors(frontier)) == min(one[axis] for one in everything)


def test_a_chosen_point_is_a_plan_like_any_other() -> None:
    optimizer, dag, plan = world(1, 5, 6)
    frontier = pareto_frontier(plan, dag, optimizer=optimizer, time_limit_s=60)
    point = frontier.fastest()
    chosen = point.plan
    assert chosen.estimated_cost == pytest.approx(point.cost_usd)
    assert chosen.estimated_time == point.seconds
    assert chosen.quality_lower == pytest.approx(point.quality)
    assert chosen.optimization_details["missed"] == {}
    assert RoutingPlan(assignments=dict(chosen.assignments)).assignments.keys() == dag.tasks.keys()


def test_a_point_is_chosen_by_limits_or_refused_with_what_there_is() -> None:
    optimizer, dag, plan = world(1, 5, 6)
    frontier = pareto_frontier(plan, dag, optimizer=optimizer, time_limit_s=60)
    cheapest, fastest, best = frontier.cheapest(), frontier.fastest(), frontier.best()
    assert frontier.choose() == cheapest
    assert frontier.choose(max_seconds=fastest.seconds).seconds == fastest.seconds
    assert frontier.choose(min_quality=best.quality).quality == best.quality
    assert cheapest.cost_usd <= frontier.knee().cost_usd <= max(point.cost_usd for point in frontier.points)
    with pytest.raises(InvalidInput, match=f"cost begins at \\${cheapest.cost_usd:.4g}"):
        frontier.choose(max_cost=cheapest.cost_usd / 2)
    with pytest.raises(InvalidInput, match="max_seconds is nan"):
        frontier.choose(max_seconds=float("nan"))


def test_fewer_points_are_spread_and_keep_the_extremes() -> None:
    optimizer, dag, plan = world(1, 5, 6)
    every = pareto_frontier(plan, dag, optimizer=optimizer, points=1000, time_limit_s=60)
    few = pareto_frontier(plan, dag, optimizer=optimizer, points=4, time_limit_s=60)
    assert len(few) == 4 < len(every)
    assert set(vectors(few)) <= set(vectors(every))
    assert not few.complete
    assert f"4 of {len(every)} points" in few.note
    assert few.cheapest().cost_usd == every.cheapest().cost_usd
    assert few.fastest().seconds == every.fastest().seconds
    assert few.best().quality == every.best().quality


def test_when_time_is_up_there_is_what_was_found_and_a_word_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kapelle.allocation.frontier_search.ENUMERABLE", 0)
    optimizer, dag, plan = world(2, 6, 6)
    ticks = itertools.count()
    frontier = pareto_frontier(plan, dag, optimizer=optimizer, time_limit_s=1, timer=lambda: float(next(ticks)))
    assert 1 <= len(frontier) <= 3
    assert "Time ran out" in frontier.note


def test_a_frontier_is_json() -> None:
    optimizer, dag, plan = world(1, 3, 4)
    frontier = pareto_frontier(plan, dag, optimizer=optimizer, time_limit_s=60)
    told = json.loads(json.dumps(frontier.to_dict()))
    assert len(told["points"]) == len(frontier)
    assert told["points"][0]["assignments"] == dict(frontier.points[0].plan.assignments)


def test_without_a_plan_within_the_limits_there_is_no_point_and_the_reason() -> None:
    optimizer, dag, plan = world(1, 3, 4)
    frontier = pareto_frontier(plan, dag, OptimizationConstraints(max_total_cost=0.01), optimizer=optimizer)
    assert len(frontier) == 0
    assert "optimize_routing_plan says which" in frontier.note
    with pytest.raises(InvalidInput, match="no points"):
        frontier.knee()


@pytest.mark.parametrize("bad", [{"points": 0}, {"points": True}, {"time_limit_s": -1}, {"time_limit_s": "long"}])
def test_a_malformed_option_is_named(bad: dict[str, Any]) -> None:
    optimizer, dag, plan = world(1, 3, 4)
    with pytest.raises(InvalidInput, match=next(iter(bad))):
        pareto_frontier(plan, dag, optimizer=optimizer, **bad)
