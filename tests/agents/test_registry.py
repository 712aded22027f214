from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.agents import AgentCapability, AgentRegistry, TaskContext
from kapelle.errors import InvalidAgents, InvalidInput, NotFound
from kapelle.graph import Task
from kapelle.testing import ScriptedAgent

CONTEXT = TaskContext(run_id="r", request="")


def card(agent_id: str, *task_types: str, **fields: Any) -> AgentCapability:
    return AgentCapability(agent_id=agent_id, task_types=task_types, **fields)


def test_the_fifteen_documented_agents_are_there() -> None:
    registry = AgentRegistry.default()
    names = "analyst qa support legal content marketing sales design builder deploy monitor security finance hr seo"
    assert list(registry) == [f"{name}_agent" for name in names.split()]
    assert {card.cost_tier for card in registry.values()} == {"cheap", "medium", "expensive"}
    assert not registry.runnable()


def test_a_registry_is_a_value() -> None:
    first = AgentRegistry([card("a", "x")])
    second = first.with_agent(card("b", "y"), ScriptedAgent())
    assert (list(first), list(second), list(second.runnable())) == (["a"], ["a", "b"], ["b"])
    assert list(second.without(["a"])) == ["b"]
    assert second.merged(AgentRegistry([card("b", "z")]))["b"].task_types == ("z",)


def test_agents_are_found_by_task_type_and_skills() -> None:
    registry = AgentRegistry([card("a", "x", skills=frozenset({"sql"})), card("b", "x"), card("c", "*")])
    task = Task(task_id="t", task_type="x", requirements=frozenset({"sql"}))
    assert [found.agent_id for found in registry.for_task(task)] == ["a"]
    assert [found.agent_id for found in registry.for_task(Task(task_id="t", task_type="other"))] == ["c"]


def test_an_agent_without_a_runner_says_what_it_lacks() -> None:
    with pytest.raises(InvalidAgents, match="Configure a model"):
        AgentRegistry.default().runner("qa_agent")
    with pytest.raises(InvalidAgents, match="There is no agent 'ghost'"):
        AgentRegistry.default().runner("ghost")


def test_agents_are_read_from_yaml_with_what_runs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_agents_of_a_test.py").write_text("async def shout(task):\n    return task.description.upper()\n")
    (tmp_path / "agents.yaml").write_text(
        "agents:\n  - {id: shouter, task_types: [shout], cost_usd: 0.5, run: 'my_agents_of_a_test:shout'}\n"
        "  - {id: thinker, task_types: [think], instructions: Think hard., model: 'local:small'}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    told: list[str] = []

    def give_model(card: AgentCapability, instructions: str) -> ScriptedAgent:
        told.append(f"{card.agent_id} {card.model} {instructions}")
        return ScriptedAgent()

    registry = AgentRegistry.from_yaml(tmp_path / "agents.yaml", runner=give_model)
    task = Task(task_id="t", task_type="shout", description="hey")
    assert asyncio.run(registry.runner("shouter").run(task, CONTEXT)).output == "HEY"
    assert told == ["thinker local:small Think hard."]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("agents: [{id: a}]", r"agents\[0\].task_types: field required"),
        ("agents: [{id: a, task_types: [x], price: 3}]", r"agents\[0\].price: extra inputs"),
        ("agents: [{id: a, task_types: []}]", "takes no task types"),
        ("agents: [{id: a, task_types: [x]}, {id: a, task_types: [x]}]", "Two agents have the id 'a'"),
        ("agents: [{id: a, task_types: [x], cost_usd: .nan}]", "cost_usd=nan"),
        ("agents: [{id: a, task_types: [x], success_rate: 2}]", "success rate 2"),
        ("agents: [{id: a, task_types: [x], run: nowhere:name}]", "cannot import 'nowhere:name'"),
        ("agents: [{id: a, task_types: [x], run: 'os:nothing'}]", "cannot import 'os:nothing'"),
        ("agents: [{id: a, task_types: [x], run: 'os:sep'}]", "is no agent"),
        ("agents: {", "line 1"),
    ],
)
def test_a_malformed_file_names_agent_and_field(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "agents.yaml").write_text(text)
    with pytest.raises(InvalidAgents, match=words):
        AgentRegistry.from_yaml(tmp_path / "agents.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        AgentRegistry.from_yaml(tmp_path / "nowhere.yaml")


@pytest.mark.slow
@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_is_agents_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("agents") / "agents.yaml"
    path.write_text("agents:\n  - id: a\n    task_types: " + text, encoding="utf-8", errors="replace")
    try:
        AgentRegistry.from_yaml(path)
    except InvalidInput as error:
        assert str(error)  # noqa: PT017 - either outcome is right; no other exception is
