from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.agents import AgentRegistry
from kapelle.errors import InvalidInput, InvalidPlan, ModelUnavailable
from kapelle.planning import GraphPlanner, ModelPlanner, Plan, read_reply
from kapelle.testing import ScriptedModel
from kapelle.validation import mend_draft


def task(task_id: str, *after: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": task_id,
        "type": "lookup",
        "description": f"find {task_id}",
        "inputs": [],
        "depends_on": list(after),
        "requires": [],
        **fields,
    }


GOOD = {"tasks": [task("s1"), task("s2", inputs=[{"name": "query", "value": "population of {s1}"}])]}


def plan(model: ScriptedModel) -> Plan:
    return asyncio.run(ModelPlanner(model).plan("Population of the capital of France", AgentRegistry.default()))


def test_one_structured_call_becomes_a_graph() -> None:
    model = ScriptedModel([GOOD], cost_usd=0.01)
    made = plan(model)
    assert made.graph.edges == (("s1", "s2"),)
    assert (made.planner, made.cost_usd, made.usage.calls) == ("model scripted:model", 0.01, 1)
    assert "builder_agent" not in model.requests[0].messages[1].content  # agents are told by what they take
    assert "implement" in model.requests[0].messages[1].content


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"tasks": []}, "has no tasks"),
        ({"tasks": [task("s1", "s9")]}, "depends on 's9', which is not in the graph"),
        ({"tasks": [task("s1", "s2"), task("s2", "s1")]}, "wait for each other"),
        ("I would rather not", "JSON"),
    ],
)
def test_a_malformed_plan_is_asked_for_once_more_with_the_error(bad: Any, told: str) -> None:
    model = ScriptedModel([bad, GOOD], cost_usd=0.01)
    made = plan(model)
    assert told in model.requests[1].messages[-1].content
    assert (len(made.graph), made.cost_usd, made.usage.calls) == (2, 0.02, 2)


SPARE = {
    "a dependency on nothing": [task("s1"), task("s2", "s1", "s9")],
    "a circle that the order of the tasks decides": [task("s1", "s2"), task("s2", "s1")],
    "the same task twice": [task("s1"), task("s2", "s1"), task("s3", description="find s1")],
}
"""Faults that have one reading: the model need not be paid to mend them."""


@pytest.mark.parametrize("fault", SPARE)
@pytest.mark.parametrize("make", [ModelPlanner, GraphPlanner])
def test_a_plan_that_can_be_mended_for_nothing_is_not_paid_for_twice(make: Any, fault: str) -> None:
    model = ScriptedModel([{"tasks": SPARE[fault]}, GOOD], cost_usd=0.01)
    made = asyncio.run(make(model, mend=mend_draft).plan("Find s1 and s2", AgentRegistry.default()))
    assert (model.calls, made.cost_usd) == (1, 0.01)
    assert made.graph.edges == (("s1", "s2"),)
    assert any(note.startswith("Repaired: ") for note in made.notes)


DOUBTFUL = {
    "a result of nobody": [task("s1"), task("s2", inputs=[{"name": "query", "value": "population of {s9}"}])],
    "a circle of results": [
        task("s1", inputs=[{"name": "query", "value": "{s2}"}]),
        task("s2", inputs=[{"name": "query", "value": "{s1}"}]),
    ],
}


@pytest.mark.parametrize("fault", DOUBTFUL)
def test_what_only_the_model_knows_it_is_asked_for_again(fault: str) -> None:
    model = ScriptedModel([{"tasks": DOUBTFUL[fault]}, GOOD], cost_usd=0.01)
    made = asyncio.run(ModelPlanner(model, mend=mend_draft).plan("Find s1 and s2", AgentRegistry.default()))
    assert (model.calls, len(made.graph)) == (2, 2)


def test_a_second_malformed_plan_is_a_clear_failure() -> None:
    with pytest.raises(InvalidPlan, match=r"no usable plan in 2 attempts.*'s9'"):
        plan(ScriptedModel([{"tasks": [task("s1", "s9")]}] * 2))


def test_a_provider_out_of_reach_is_not_asked_again_as_if_the_plan_were_wrong() -> None:
    model = ScriptedModel([ModelUnavailable("overloaded")])
    with pytest.raises(ModelUnavailable):
        plan(model)
    assert model.calls == 1


def test_an_edge_that_the_words_need_and_the_model_forgot_is_added_with_a_note() -> None:
    lookups = [task("s1", description="Population of Peru"), task("s2", description="Population of Chile")]
    made = plan(ScriptedModel([{"tasks": [*lookups, task("s3", type="compare", description="Compare both")]}]))
    assert made.graph.dependencies("s3") == ("s1", "s2")
    assert "s3 also waits for s1, s2" in made.notes[0]


def test_a_plan_of_hundreds_of_tasks_is_refused() -> None:
    with pytest.raises(InvalidPlan, match="at most 50"):
        plan(ScriptedModel([{"tasks": [task(f"s{n}") for n in range(51)]}] * 2))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["tasks", "id", "type", "inputs", "depends_on", "name", "value"]), inner)
    ),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_any_reply_is_a_graph_or_a_clear_error(reply: Any) -> None:
    try:
        read_reply(json.dumps(reply), mend=mend_draft)
    except InvalidInput as error:
        assert str(error)  # noqa: PT017 - either outcome is right; no other exception is
