"""A routing plan is a value whose dicts documented code writes into."""

from __future__ import annotations

import dataclasses

import pytest

from kapelle.routing import RoutingPlan


def test_an_empty_plan_is_complete() -> None:
    assert RoutingPlan().is_complete


def test_a_plan_is_incomplete_until_its_unassigned_tasks_get_agents() -> None:
    plan = RoutingPlan(unassigned={"ship": "no agent takes 'deploy'"})
    assert not plan.is_complete
    plan.assignments["ship"] = "deploy_agent"
    assert plan.is_complete


def test_two_plans_do_not_share_their_dicts() -> None:
    RoutingPlan().metadata["daao_optimized"] = True
    assert RoutingPlan().metadata == {}


def test_the_fields_of_a_plan_cannot_be_replaced() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RoutingPlan().assignments = {}  # type: ignore[misc]  # the point


def test_workload_counts_tasks_by_agent() -> None:
    plan = RoutingPlan(assignments={"a": "x", "b": "y", "c": "x"})
    assert plan.workload == {"x": 2, "y": 1}
