"""What reads like a reference and stays text is noticed, in every form of plan: a warning, for it may be meant."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kapelle import Engine, SqliteLedger, agent
from kapelle.graph import Task, TaskDAG, find_literals
from kapelle.planning import Plan, parse_plan
from kapelle.validation import Issue


@agent(task_types=["ask"], cost_usd=0.0)
async def someone(task: Task) -> Any:
    return task.inputs


def warnings(plan: Plan) -> list[Issue]:
    with Engine([someone], model="none", ledger=SqliteLedger(":memory:")) as engine:
        validation = asyncio.run(engine.plan(plan)).validation
    assert validation.passed
    return [issue for issue in validation.issues if issue.kind == "structure"]


NOTICED = [
    ('{q: "{{s1.answer}}"}', "inputs['q']", "{s1.answer}"),
    ('{q: "of {{s1}} and more"}', "inputs['q']", "{s1}"),
    ('{q: "{{ s1.answer }}"}', "inputs['q']", "{s1.answer}"),
    ('{q: "{{{{s1[0]}}}}"}', "inputs['q']", "{s1[0]}"),
    ('{q: ["x", {r: "{{s1}}"}]}', "inputs['q'][1]['r']", "{s1}"),
    ('{q: "{{country_1_from_s1}}"}', "inputs['q']", "{s1.country_1}"),
    ("{q: {s1.answer}}", "inputs['q']", "{s1.answer}"),
    ("{q: [{s1}]}", "inputs['q'][0]", "{s1}"),
    ('{q: {"{s1}": 1}}', "inputs['q']", "{s1}"),
]


@pytest.mark.parametrize(("inputs", "place", "way_out"), NOTICED)
def test_a_reference_that_stays_text_is_noticed_with_task_place_and_way_out(
    inputs: str, place: str, way_out: str
) -> None:
    plan = parse_plan(f"tasks:\n- {{id: s1, type: ask}}\n- {{id: s2, type: ask, inputs: {inputs}, depends_on: [s1]}}")

    (found,) = warnings(plan)

    assert (found.severity, found.task_id) == ("warning", "s2")
    assert f"Task 's2': {place} keeps" in found.message
    assert f"Write '{way_out}'" in found.way_out


def test_a_description_is_looked_at_too() -> None:
    plan = parse_plan("tasks:\n- {id: s1, type: ask}\n- {id: s2, type: ask, description: 'Sum up {{s1}}'}")

    assert [issue.message for issue in warnings(plan)] == [
        "Task 's2': description keeps the text '{{s1}}', not the output of 's1'."
    ]


def test_graph_xml_says_it_as_well() -> None:
    graph = TaskDAG.from_xml('<graph><node id="s1">ask()</node><node id="s2">ask(q="{{s1.answer}}")</node></graph>')

    assert [issue.task_id for issue in warnings(Plan(request="r", graph=graph, planner="me"))] == ["s2"]


@pytest.mark.parametrize(
    "inputs",
    [
        '{q: "{s1.answer}"}',
        '{q: "{{x}} of {s1}"}',
        '{q: "{{{s1}}}"}',
        '{q: "{{s2}}"}',
        '{q: "s1"}',
        '{q: {s1: 1}}',
        '{q: {s1: null, x: null}}',
        '{q: "{{}} {{ }} {{s1-}}"}',
        "{}",
    ],
)  # fmt: skip
def test_what_is_no_reference_to_a_task_is_left_alone(inputs: str) -> None:
    plan = parse_plan(f"tasks:\n- {{id: s1, type: ask}}\n- {{id: s2, type: ask, inputs: {inputs}, depends_on: [s1]}}")

    assert warnings(plan) == []


def test_a_hundred_thousand_braces_take_no_time_at_all() -> None:
    for text in ("{" * 100_000, "{{" + "a" * 100_000, "{{s1 " * 20_000, "{{s1" + "[0]" * 30_000, "{{" + " " * 100_000):
        assert list(find_literals({"q": text}, {"s1"})) == []
