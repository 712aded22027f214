from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle import AgentCapability, AgentRegistry, InvalidInput, RoutingPlan, RunLimits, Task, TaskDAG
from kapelle.allocation import OptimizationConstraints
from kapelle.validation import AOPValidator, ValidationResult

AGENTS = AgentRegistry([AgentCapability(agent_id="atlas", task_types=("ask",), cost_usd=1.0, seconds=2.0)])
DAG = TaskDAG([Task(task_id="t", task_type="ask")])


def validate(**limits: Any) -> ValidationResult:
    plan = RoutingPlan(assignments={"t": "atlas"})
    return asyncio.run(AOPValidator(AGENTS).validate_routing_plan(plan, DAG, **limits))


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, 1e13, True, "5"], ids=str)
@pytest.mark.parametrize("name", ["budget_usd", "deadline_s", "min_quality", "max_tokens", "spent_usd"])
def test_what_cannot_be_a_limit_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"^{name}="):
        RunLimits(**{name: value})


@given(st.floats(0, 1e6), st.lists(st.floats(0, 1e3), max_size=5))
def test_what_is_spent_is_gone_from_what_is_left_and_not_from_what_was_given(budget: float, spent: list[float]) -> None:
    limits = RunLimits(budget_usd=budget)
    for usd in spent:
        limits = limits.after(usd)
    assert limits.budget_usd == budget
    assert limits.left_usd == pytest.approx(max(0.0, budget - sum(spent)), abs=1e-6)


def test_without_a_budget_nothing_runs_out() -> None:
    assert RunLimits().after(3.0).left_usd is None


def test_a_runs_settings_keep_what_was_asked_and_not_what_is_spent() -> None:
    asked = {"budget_usd": 1.0, "deadline_s": None, "min_quality": 0.5, "max_tokens": None}
    assert RunLimits(budget_usd=1.0, min_quality=0.5).after(0.2).asked() == asked


def test_the_optimiser_is_asked_for_what_is_left() -> None:
    constraints = OptimizationConstraints.of(RunLimits(budget_usd=1.0, deadline_s=9.0, min_quality=0.5).after(0.4))
    found = (constraints.max_total_cost, constraints.max_total_time, constraints.min_quality_score)
    assert found == (0.6, 9.0, 0.5)


def test_the_documented_names_and_the_value_mean_the_same() -> None:
    named = validate(max_budget=1.5, max_time=3.0, min_quality=0.2)
    given_as_one = validate(limits=RunLimits(budget_usd=1.5, deadline_s=3.0, min_quality=0.2))
    assert named.approved is not None
    assert given_as_one.approved is not None
    assert named.approved.limits == given_as_one.approved.limits
    assert named.issues == given_as_one.issues
    assert (named.approved.max_budget, named.approved.max_time, named.approved.min_quality) == (1.5, 3.0, 0.2)


def test_limits_under_both_names_are_refused() -> None:
    with pytest.raises(InvalidInput, match="one of the two"):
        validate(limits=RunLimits(budget_usd=1.0), max_budget=2.0)


def test_a_refusal_adds_up_what_was_given_what_is_spent_and_what_is_missing() -> None:
    issue = validate(limits=RunLimits(budget_usd=0.9).after(0.4)).errors[0]
    assert "the budget is $0.9, of which planning took $0.4 and leaves $0.5" in issue.message
    assert issue.way_out.startswith("Raise the budget by $0.5 to $1.4")


def test_an_infinite_budget_is_none_under_the_documented_names() -> None:
    approved = validate(max_budget=math.inf, max_time=math.inf).approved
    assert approved is not None
    assert (approved.max_budget, approved.max_time) == (None, None)


def test_tokens_are_counted_in_whole_numbers() -> None:
    with pytest.raises(InvalidInput, match="whole number"):
        RunLimits(max_tokens=0.5)  # type: ignore[arg-type]  # as a user's code may
