from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.errors import ModelRefused
from kapelle.models import find_schema_problems
from kapelle.planning import ModelPlanner, read_reply
from kapelle.planning.plan_schema import POSITIONS, plan_schema
from kapelle.testing import ScriptedModel

AGENTS = {
    "finder": AgentCapability(agent_id="finder", task_types=("lookup", "search"), skills=frozenset({"reading"})),
    "writer": AgentCapability(agent_id="writer", task_types=("write",)),
}
BY_POSITION = plan_schema(AGENTS, by_position=True)
PLAIN = plan_schema(AGENTS, by_position=False)


def task(task_id: str, *after: str, **fields: Any) -> dict[str, Any]:
    plain = {"id": task_id, "type": "lookup", "description": "", "inputs": [], "depends_on": [*after], "requires": []}
    return {**plain, **fields}


def fits(schema: Any, *tasks: dict[str, Any]) -> bool:
    return not find_schema_problems({"tasks": list(tasks)}, schema)


@pytest.mark.parametrize("schema", [BY_POSITION, PLAIN])
def test_a_sound_plan_fits(schema: Any) -> None:
    inputs = [{"name": "query", "value": "population of {s1}"}]
    assert fits(schema, task("s1", requires=["reading"]), task("s2", "s1", type="write", inputs=inputs))
    assert fits(schema, *(task(f"s{number}") for number in range(1, POSITIONS + 1)))


@pytest.mark.parametrize(
    "tasks",
    [
        [],
        [task("1")],
        [task("s2")],
        [task("s1"), task("s1")],
        [task("s1", "s1")],
        [task("s1", "s2"), task("s2")],
        [task("s1"), task("s2", "s9")],
        [task("s1", type="juggle")],
        [task("s1", requires=["flying"])],
        [task("s1", more="")],
        [task(f"s{number}") for number in range(1, POSITIONS + 2)],
    ],
)
def test_by_position_nothing_can_be_written_that_is_no_graph(tasks: list[dict[str, Any]]) -> None:
    assert not fits(BY_POSITION, *tasks)


@given(
    st.lists(
        st.builds(
            lambda number, before: task(f"s{number}", *before),
            st.integers(0, 5),
            st.lists(st.sampled_from(["s1", "s2", "s3", "s4", "s5", "0"]), max_size=3, unique=True),
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=300, deadline=None)
def test_whatever_fits_by_position_is_a_graph(tasks: list[dict[str, Any]]) -> None:
    if fits(BY_POSITION, *tasks):
        graph = read_reply(json.dumps({"tasks": tasks})).graph
        assert graph is not None
        assert len(graph) == len(tasks)


def test_strict_modes_get_no_tuples_and_no_lengths() -> None:
    text = json.dumps(PLAIN)
    assert "prefixItems" not in text
    assert "maxLength" not in text
    assert not fits(PLAIN, task("s1", type="juggle"))
    assert not fits(PLAIN, task("0"))
    assert not fits(PLAIN, task("s1", requires=["flying"]))
    assert not fits(PLAIN, *(task(f"s{number}") for number in range(1, 52)))
    openai = pytest.importorskip("pydantic_ai.profiles.openai")
    transformer = openai.OpenAIJsonSchemaTransformer(plan_schema(AgentRegistry.default(), by_position=False))
    transformer.walk()
    assert transformer.is_strict_compatible


def test_agents_that_take_anything_leave_types_free_and_no_skills_leave_none() -> None:
    schema = plan_schema({"any": AgentCapability(agent_id="any", task_types=("*",))}, by_position=True)
    assert fits(schema, task("s1", type="juggle"))
    assert not fits(schema, task("s1", requires=["reading"]))


def test_the_schema_by_position_stays_small() -> None:
    assert len(json.dumps(plan_schema(AgentRegistry.default(), by_position=True))) < 12_000


def test_a_server_that_refuses_the_schema_by_position_is_asked_with_the_plain_one() -> None:
    model = ScriptedModel([ModelRefused("schema must be an object"), {"tasks": [task("s1")]}])
    made = asyncio.run(ModelPlanner(model).plan("Find it", AGENTS))
    assert [request.output_schema for request in model.requests] == [BY_POSITION, PLAIN]
    assert made.usage.calls == 1
    model.takes_tuple_schemas = False
    with pytest.raises(ModelRefused):
        asyncio.run(ModelPlanner(ScriptedModel([ModelRefused("no such model")] * 2)).plan("Find it", AGENTS))
