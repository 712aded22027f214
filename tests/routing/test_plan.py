"""A routed plan is one typed value for each task; its documented form has dicts that documented code writes into."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.routing import OptimizedFigures, RoutedPlan, RoutedTask, RoutingPlan
from kapelle.strategies import Vote


def test_an_empty_plan_is_complete() -> None:
    assert RoutingPlan().is_complete
    assert RoutedPlan().is_complete


def test_a_plan_is_incomplete_until_its_unassigned_tasks_get_agents() -> None:
    plan = RoutingPlan(unassigned={"ship": "no agent takes 'deploy'"})
    assert not plan.is_complete
    plan.assignments["ship"] = "deploy_agent"
    assert plan.is_complete


def test_two_plans_do_not_share_their_dicts() -> None:
    RoutingPlan().metadata["daao_optimized"] = True
    assert RoutingPlan().metadata == {}


def test_the_fields_of_a_plan_cannot_be_replaced() -> None:
    for plan in (RoutingPlan(), RoutedPlan()):
        with pytest.raises(dataclasses.FrozenInstanceError):
            plan.assignments = {}  # type: ignore[misc]  # the point


def test_workload_counts_tasks_by_agent() -> None:
    plan = RoutingPlan(assignments={"a": "x", "b": "y", "c": "x"})
    assert plan.workload == RoutedPlan.of(plan).workload == {"x": 2, "y": 1}


METADATA = st.fixed_dictionaries(
    {},
    optional={
        "pinned": st.just(["a"]),
        "firm": st.just(["b"]),
        "features": st.just({"b": {"propensity": 0.25, "explored": True}, "a": {"propensity": 0.9}}),
        "estimated_cost": st.floats(0, 9),
        "daao_optimized": st.just(True),
        "optimization_details": st.just({"status": "optimal"}),
        "daao_error": st.text(min_size=1),
        "a remark of a router of one's own": st.integers(),
    },
)


@given(METADATA)
def test_the_documented_metadata_come_back_as_they_were_given(metadata: dict[str, Any]) -> None:
    plan = RoutingPlan(assignments={"a": "x", "b": "y"}, explanations={"a": "why"}, metadata=dict(metadata))
    routed = RoutedPlan.of(plan)
    assert routed.metadata == metadata
    assert RoutedPlan.of(routed.opened()) == routed
    assert routed.fixed == {*metadata.get("pinned", ()), *metadata.get("firm", ())}


def test_what_a_plan_was_made_of_may_change_afterwards() -> None:
    plan = RoutingPlan(assignments={"a": "x"})
    routed = RoutedPlan.of(plan)
    plan.assignments["a"] = plan.assignments["b"] = "y"
    assert dict(routed.assignments) == {"a": "x"}
    with pytest.raises(TypeError):
        routed.assignments["a"] = "y"  # type: ignore[index]  # the point


def test_a_strategy_whose_first_agent_is_another_one_is_stale() -> None:
    vote = Vote(agents=("x", "y"))
    plan = RoutingPlan(assignments={"a": "x", "b": "z"}, strategies={"a": vote, "b": vote})
    assert RoutedPlan.of(plan).strategies == {"a": vote}


def test_whoever_moves_a_task_says_why_and_what_was_drawn_for_another_agent_goes() -> None:
    task = RoutedTask(agent="x", reason="It is near.", propensity=0.1, explored=True, pinned=True)
    assert task.moved("y", "It is cheap.") == RoutedTask(agent="y", reason="It is near. It is cheap.", pinned=True)


def test_a_task_that_nobody_does_any_more_leaves_the_cost_open() -> None:
    plan = RoutedPlan(
        tasks={"a": RoutedTask(agent="x")}, figures=OptimizedFigures(estimated_cost=1.0, cost_savings=2.0)
    )
    assert plan.without({}) is plan
    assert plan.without({"a": "gone"}).metadata == {"cost_savings": 2.0}
    assert plan.without({"a": "gone"}).with_tasks({"a": RoutedTask(agent="y")}).is_complete
