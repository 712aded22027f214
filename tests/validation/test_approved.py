"""Only the validator makes an approved plan, and what it approved cannot change."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import pickle
from typing import Any

import pytest

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.errors import InvalidGraph, InvalidInput
from kapelle.graph import Task, TaskDAG
from kapelle.routing import RoutingPlan
from kapelle.validation import AOPValidator, ApprovedPlan

AGENTS = AgentRegistry([AgentCapability(agent_id="atlas", task_types=("lookup",), cost_usd=0.5, seconds=2.0)])


def approve(plan: RoutingPlan | None = None, dag: TaskDAG | None = None) -> ApprovedPlan:
    dag = dag or TaskDAG([Task(task_id="a", task_type="lookup")])
    plan = plan or RoutingPlan(assignments={"a": "atlas"}, explanations={"a": "it is near"})
    result = asyncio.run(AOPValidator(AGENTS).validate_routing_plan(plan, dag, 1.0, request="Where?"))
    assert result.approved is not None
    return result.approved


def test_the_validator_makes_one_with_everything_that_execution_needs() -> None:
    approved = approve()
    assert approved.assignments == {"a": "atlas"}
    assert approved.explanations == {"a": "it is near"}
    assert approved.estimates["a"].cost_usd == approved.estimated_cost == 0.5
    assert (approved.estimated_time, approved.max_budget, approved.request) == (2.0, 1.0, "Where?")
    assert 0 <= approved.score <= 1


def fields_of(approved: ApprovedPlan) -> dict[str, Any]:
    return {field.name: getattr(approved, field.name) for field in dataclasses.fields(approved)}


def test_nothing_else_can_construct_one() -> None:
    fields = fields_of(approve())
    with pytest.raises(InvalidInput, match="Only the validator"):
        ApprovedPlan(**fields)
    with pytest.raises(InvalidInput, match="Only the validator"):
        ApprovedPlan(**fields, approval=object())


def test_an_approved_plan_cannot_be_replaced_in_part() -> None:
    with pytest.raises(InvalidInput, match="Only the validator"):
        dataclasses.replace(approve(), score=1.0)


def test_a_copy_is_the_plan_itself() -> None:
    approved = approve()
    assert copy.copy(approved) is approved
    assert copy.deepcopy(approved) is approved


def test_it_does_not_travel_by_pickle() -> None:
    with pytest.raises(InvalidInput, match="approve it again"):
        pickle.dumps(approve())


def test_an_empty_instance_cannot_be_filled_by_setstate() -> None:
    empty = object.__new__(ApprovedPlan)
    with pytest.raises(InvalidInput, match="Only the validator"):
        empty.__setstate__(list(fields_of(approve()).values()))


def test_there_are_no_subclasses() -> None:
    with pytest.raises(InvalidInput, match="no subclasses"):
        type("Forged", (ApprovedPlan,), {})


def test_what_was_approved_cannot_be_changed() -> None:
    approved = approve()
    with pytest.raises(dataclasses.FrozenInstanceError):
        approved.score = 1.0  # type: ignore[misc]  # the point
    for mapping in (approved.assignments, approved.explanations, approved.estimates):
        with pytest.raises(TypeError):
            mapping["a"] = "someone_else"  # type: ignore[index]  # the point
    with pytest.raises(InvalidGraph, match="sealed"):
        approved.dag.add_task(Task(task_id="b", task_type="lookup"))


def test_changing_the_plan_and_the_graph_afterwards_changes_no_approval() -> None:
    dag = TaskDAG([Task(task_id="a", task_type="lookup")])
    plan = RoutingPlan(assignments={"a": "atlas"})
    approved = approve(plan, dag)
    plan.assignments["a"] = "someone_else"
    dag.add_task(Task(task_id="b", task_type="lookup"))
    assert approved.assignments == {"a": "atlas"}
    assert list(approved.dag.tasks) == ["a"]
