from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given

from kapelle.errors import InvalidGraph
from kapelle.graph import Task, TaskDAG
from tests.strategies.graphs import full_graphs


def make(**fields: Any) -> Task:
    return Task(**{"task_id": "t", "task_type": "work", **fields})


def test_dependencies_are_edges_and_references_each_once() -> None:
    task = make(depends_on=("a", "a", "b"), inputs={"x": ["{b.y}", "{c}"]})
    assert task.depends_on == ("a", "b")
    assert task.references == {"b", "c"}
    assert task.dependencies == ("a", "b", "c")


@pytest.mark.parametrize(
    "fields",
    [
        {"task_id": ""},
        {"task_id": "1a"},
        {"task_id": "a b"},
        {"task_id": "a" * 129},
        {"task_id": 1},
        {"task_id": "text_from_scan"},
        {"task_type": " "},
        {"task_type": "a\nb"},
        {"description": None},
        {"description": "\ud800"},
        {"depends_on": "a"},
        {"depends_on": 3},
        {"depends_on": (1,)},
        {"depends_on": ("t",)},
        {"inputs": {"x": "{t}"}},
        {"inputs": {"x": "{"}},
        {"inputs": []},
        {"inputs": {1: "x"}},
        {"inputs": {"x": object()}},
        {"inputs": {"x": float("nan")}},
        {"inputs": {"x": 2**2000}},
        {"inputs": {"x": "\udfff"}},
        {"requirements": "python"},
        {"requirements": [""]},
        {"priority": 1.5},
        {"priority": True},
        {"deadline_s": 0},
        {"deadline_s": float("inf")},
        {"deadline_s": 10**400},
        {"deadline_s": "1"},
        {"risk": "none"},
        {"risk": []},
        {"metadata": {"x": {1, 2}}},
    ],
)
def test_malformed_fields_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidGraph):
        make(**fields)


def test_an_error_names_the_task_and_the_place_in_its_inputs() -> None:
    with pytest.raises(InvalidGraph, match=r"Task 't': inputs\['rows'\]\[1\] is a set"):
        make(inputs={"rows": [1, {2}]})


def test_nesting_has_an_end() -> None:
    nested: list[Any] = []
    for _ in range(60):
        nested = [nested]
    with pytest.raises(InvalidGraph, match="deeper than 50"):
        make(inputs={"x": nested})


def test_a_task_does_not_change_with_the_values_it_was_made_from() -> None:
    rows = [1]
    task = make(inputs={"rows": rows, "pair": (1, 2)})
    rows.append(2)
    assert task.inputs == {"rows": [1], "pair": [1, 2]}


def test_fields_can_be_replaced() -> None:
    changed = dataclasses.replace(make(depends_on=("a",)), depends_on=(), inputs={"x": "{b}"})
    assert changed.dependencies == ("b",)


@given(full_graphs(max_size=3))
def test_every_task_survives_a_mapping(dag: TaskDAG) -> None:
    for task in dag:
        assert Task.from_dict(task.to_dict()) == task


def test_only_what_was_said_is_written() -> None:
    assert make().to_dict() == {"task_id": "t", "task_type": "work"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"on_failure": "stop"}, "has the on_failure 'stop'; use 'skip', 'fail' or 'continue'"),
        ({"needs": "most"}, "has the needs 'most'; use 'all' or 'some'"),
        ({"approval": "yes"}, "has the approval 'yes'; use true or false"),
    ],
)
def test_what_becomes_of_failures_and_approvals_is_one_of_a_few_words(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidGraph, match=words):
        Task(task_id="a", task_type="x", **fields)


def test_policies_survive_writing_and_reading() -> None:
    task = Task(task_id="a", task_type="x", on_failure="fail", needs="some", approval=True)
    assert Task.from_dict(task.to_dict()) == task
    assert set(Task(task_id="a", task_type="x").to_dict()) == {"task_id", "task_type"}
    dag = TaskDAG([task])
    assert TaskDAG.from_xml(dag.to_xml()) == dag


def test_needs_as_it_was_said_before_still_counts() -> None:
    task = Task(task_id="a", task_type="x", metadata={"needs": "some", "other": 1})
    assert (task.needs, task.metadata) == ("some", {"other": 1})
