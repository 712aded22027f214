from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.agents import AgentRegistry
from kapelle.errors import InvalidInput, InvalidPlan, ModelUnavailable
from kapelle.planning import ModelPlanner, Plan, read_model_plan
from kapelle.testing import ScriptedModel


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
        read_model_plan({"tasks": [task(f"s{n}") for n in range(51)]})


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
        read_model_plan(reply)
    except InvalidInput as error:
        assert str(error)  # noqa: PT017 - either outcome is right; no other exception is
