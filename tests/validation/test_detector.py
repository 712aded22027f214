"""A model that looks for faults: asked once, believed in nothing it does not prove, and never in the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.errors import ModelUnavailable
from kapelle.graph import Task, TaskDAG
from kapelle.routing import RoutingPlan
from kapelle.testing import ScriptedModel
from kapelle.validation import AOPValidator, Detection, ModelDetector

AGENTS = AgentRegistry([AgentCapability(agent_id="atlas", task_types=("lookup", "write"), cost_usd=0.1, seconds=1.0)])
DAG = TaskDAG(
    [
        Task(task_id="a", task_type="lookup", description="capital of Peru"),
        Task(task_id="b", task_type="lookup", description="seat of government of Peru", depends_on=("a",)),
    ]
)
PLAN = RoutingPlan(assignments={"a": "atlas", "b": "atlas"})
REQUEST = "Write about the capital of Peru"


def finding(kind: str, **fields: str) -> dict[str, str]:
    return {"kind": kind, "task_id": "", "other_id": "", "problem": "so", "task_type": "", "description": "", **fields}


def detect(*findings: Any) -> Detection:
    model = ScriptedModel([{"findings": list(findings)}], cost_usd=0.02)
    return asyncio.run(ModelDetector(model).detect(REQUEST, tuple(DAG), AGENTS))


def test_it_asks_once_with_a_bound_and_its_cost_is_reported() -> None:
    model = ScriptedModel([{"findings": []}], cost_usd=0.02)
    validator = AOPValidator(AGENTS, detector=ModelDetector(model))
    result = asyncio.run(validator.validate_routing_plan(PLAN, DAG, request=REQUEST))
    assert (model.calls, result.detection_cost_usd, result.passed) == (1, 0.02, True)
    assert model.requests[0].max_output_tokens is not None


@pytest.mark.parametrize(
    ("found", "kind", "has_edit"),
    [
        (finding("missing", task_type="write", description="Write the text"), "complete", True),
        (finding("missing", task_type="fly", description="Fly there"), "complete", False),
        (finding("redundant", task_id="b", other_id="a"), "redundant", True),
        (finding("vague", task_id="b", description="seat of the parliament of Peru"), "solvable", True),
    ],
)
def test_a_finding_becomes_a_warning_with_an_edit_of_our_own(found: Any, kind: str, has_edit: bool) -> None:
    [issue] = detect(found).issues
    assert (issue.kind, issue.severity, issue.edit is not None) == (kind, "warning", has_edit)
    assert issue.message == "scripted:model says: so"


@pytest.mark.parametrize(
    "found",
    [
        finding("redundant", task_id="a", other_id="a"),
        finding("redundant", task_id="a", other_id="zzz"),
        finding("vague", task_id="zzz", description="x"),
        finding("vague", task_id="a"),
        finding("missing", problem=""),
    ],
)
def test_what_names_nothing_in_the_plan_is_dropped(found: Any) -> None:
    assert detect(found).issues == ()


@pytest.mark.parametrize("reply", ["no JSON", {"findings": "many"}, {}, ModelUnavailable("down")])
def test_a_model_that_fails_finds_nothing_and_stops_nothing(reply: Any) -> None:
    validator = AOPValidator(AGENTS, detector=ModelDetector(ScriptedModel([reply])))
    assert asyncio.run(validator.validate_routing_plan(PLAN, DAG, request=REQUEST)).passed


def test_without_a_request_or_for_a_plan_too_large_to_show_nobody_is_asked() -> None:
    detector = ModelDetector(ScriptedModel([]))
    assert asyncio.run(AOPValidator(AGENTS, detector=detector).validate_routing_plan(PLAN, DAG)).passed
    large = [Task(task_id="a", task_type="lookup", description="x" * 50_000)]
    assert asyncio.run(detector.detect(REQUEST, large, AGENTS)) == Detection()


def test_as_errors_its_findings_refuse_a_plan_and_repair_settles_each_once() -> None:
    found = finding("missing", task_type="write", description="Write about Lima")
    model = ScriptedModel([{"findings": [found]}] * 2)
    validator = AOPValidator(AGENTS, detector=ModelDetector(model, severity="error"))
    assert not asyncio.run(validator.validate_routing_plan(PLAN, DAG, request=REQUEST)).passed
    done = asyncio.run(validator.repair(PLAN, DAG, request=REQUEST))
    assert model.calls == 2
    assert done.result.passed
    assert [one.description for one in done.dag if one.task_type == "write"] == ["Write about Lima"]


texts = st.sampled_from(["", "a", "b", "missing", "redundant", "vague", "lookup", "x" * 900, "{a}", "\ud800"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.fixed_dictionaries(dict.fromkeys(finding("missing"), texts)), max_size=15))
def test_no_reply_makes_it_raise(findings: list[dict[str, str]]) -> None:
    issues = detect(*findings).issues
    assert len(issues) <= 10
    assert all(len(issue.message) < 400 for issue in issues)
