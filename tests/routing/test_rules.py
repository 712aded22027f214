"""Rules are data: validated when built, readable from a file, and clear about what is wrong in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kapelle.agents import AgentRegistry
from kapelle.errors import InvalidAgents, NotFound
from kapelle.graph import Task
from kapelle.routing import RoutingRule, default_rules, load_rules


def rule(**fields: Any) -> RoutingRule:
    return RoutingRule(**{"rule_id": "r", "task_types": ("search",), "agent_id": "a", **fields})


def task(**fields: Any) -> Task:
    return Task(**{"task_id": "t", "task_type": "search", **fields})


def test_a_rule_matches_its_task_type_only() -> None:
    assert rule().matches(task())
    assert not rule().matches(task(task_type="write"))


def test_a_star_matches_any_task_type() -> None:
    assert rule(task_types=("*",)).matches(task(task_type="anything"))


def test_every_required_skill_must_be_asked_for() -> None:
    both = rule(requires=frozenset({"sql", "maps"}))
    assert both.matches(task(requirements=frozenset({"sql", "maps", "more"})))
    assert not both.matches(task(requirements=frozenset({"sql"})))


def test_metadata_must_hold_the_value_or_one_of_the_values() -> None:
    assert rule(metadata={"region": "eu"}).matches(task(metadata={"region": "eu"}))
    assert rule(metadata={"region": ["eu", "uk"]}).matches(task(metadata={"region": "uk"}))
    assert not rule(metadata={"region": "eu"}).matches(task(metadata={"region": "us"}))
    assert not rule(metadata={"region": "eu"}).matches(task())


def test_a_metadata_value_is_not_confused_with_one_of_another_type() -> None:
    assert not rule(metadata={"urgent": True}).matches(task(metadata={"urgent": 1}))


def test_keywords_are_whole_words_in_any_case() -> None:
    data = rule(keywords=("data", "sales figures"))
    assert data.matches(task(description="Look at the DATA."))
    assert data.matches(task(description="the Sales Figures of May"))
    assert not data.matches(task(description="the database"))


def test_a_keyword_is_text_not_a_pattern() -> None:
    assert rule(keywords=("c++",)).matches(task(description="port it to C++ now"))
    assert not rule(keywords=(".*",)).matches(task(description="anything"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rule_id": " "}, "no rule id"),
        ({"task_types": ()}, "no task type"),
        ({"task_types": "search"}, "list of texts"),
        ({"keywords": ("",)}, "not empty"),
        ({"agent_id": ""}, "names no agent"),
        ({"priority": "high"}, "whole number"),
        ({"priority": True}, "whole number"),
        ({"metadata": ["eu"]}, "mapping"),
    ],
)
def test_a_malformed_rule_is_refused_by_name(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidAgents, match=said):
        rule(**fields)


def test_rules_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(
        "rules:\n"
        "  - {id: eu, agent: atlas, task_types: [lookup], metadata: {region: [eu, uk]}, priority: 3, reason: near}\n"
        "  - {rule_id: rest, agent_id: gazetteer, task_types: ['*'], keywords: [map], requires: [search]}\n"
    )
    first, second = load_rules(path)
    assert (first.agent_id, first.priority, first.metadata) == ("atlas", 3, {"region": ["eu", "uk"]})
    assert (second.keywords, second.requires) == (("map",), frozenset({"search"}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: [{id: x, agent: a}]", r"rules\[0\].task_types: field required"),
        ("rules: [{id: x, agent: a, task_types: []}]", "'x' speaks about no task type"),
        ("rules: [{id: x, agent: a, task_types: [t], priorty: 1}]", "priorty"),
        (
            "rules: [{id: x, agent: a, task_types: [t]}, {id: x, agent: b, task_types: [t]}]",
            "Two rules have the id 'x'",
        ),
        ("rules: [", "line 1"),
        ("- 1", "dictionary"),
    ],
)
def test_a_malformed_file_is_refused_with_its_name_and_the_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(InvalidAgents, match=said) as caught:
        load_rules(path)
    assert "rules.yaml" in str(caught.value)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load_rules(tmp_path / "none.yaml")


def test_the_default_rules_speak_for_every_documented_agent_and_for_what_it_takes() -> None:
    registry = AgentRegistry.default()
    assert {rule.agent_id for rule in default_rules()} == set(registry)
    for one in default_rules():
        assert set(one.task_types) <= set(registry[one.agent_id].task_types), one.rule_id
        assert one.reason
