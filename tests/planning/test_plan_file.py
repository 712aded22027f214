from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.errors import InvalidGraph, InvalidInput, InvalidPlan, NotFound
from kapelle.graph import TaskDAG
from kapelle.planning import parse_plan, read_plan, write_plan
from tests.strategies.graphs import full_graphs

YAML = """
request: Population of a capital
tasks:
  - {id: s1, type: lookup, inputs: {query: capital of France}}
  - {id: s2, type: lookup, inputs: {query: "population of {s1.answer}"}, requires: [search], priority: 2}
"""


def test_a_yaml_plan_becomes_a_graph(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(YAML)
    plan = read_plan(tmp_path / "plan.yaml")
    assert plan.request == "Population of a capital"
    assert plan.graph.edges == (("s1", "s2"),)
    assert (plan.graph["s2"].requirements, plan.graph["s2"].priority) == (frozenset({"search"}), 2)


def test_json_and_xml_say_the_same(tmp_path: Path) -> None:
    graph = parse_plan(YAML).graph
    document = {"tasks": [{"id": "s1", "type": "lookup", "inputs": {"query": "capital of France"}},
                          {"id": "s2", "type": "lookup", "inputs": {"query": "population of {s1.answer}"},
                           "requires": ["search"], "priority": 2}]}  # fmt: skip
    (tmp_path / "plan.json").write_text(json.dumps(document))
    (tmp_path / "plan.xml").write_text(graph.to_xml())
    assert read_plan(tmp_path / "plan.json").graph == graph == read_plan(tmp_path / "plan.xml").graph


POLICIES = """
tasks:
  - {id: a, type: x, on_failure: continue}
  - {id: b, type: x, depends_on: [a], on_failure: fail, approval: true}
  - {id: c, type: x, depends_on: [a, b], needs: some}
"""


def test_policies_of_tasks_are_the_same_in_every_form_of_file() -> None:
    graph = parse_plan(POLICIES).graph
    assert [task.on_failure for task in graph] == ["continue", "fail", "skip"]
    assert [task.needs for task in graph] == ["all", "all", "some"]
    assert [task.approval for task in graph] == [False, True, False]
    assert parse_plan(write_plan("why", graph)).graph == graph
    assert parse_plan(json.dumps({"tasks": [task.to_dict() for task in graph]}), suffix=".json").graph == graph
    assert parse_plan(graph.to_xml(), suffix=".xml").graph == graph


def test_a_file_that_says_needs_among_its_notes_means_the_field() -> None:
    graph = parse_plan("tasks: [{id: a, type: x, metadata: {needs: some, why: old}}]").graph
    assert (graph["a"].needs, graph["a"].metadata) == ("some", {"why": "old"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tasks: [", "line 1"),
        ("tasks: 3", "tasks: input should be a valid list"),
        ("tasks: []", "has no tasks"),
        ("hello", "A plan is a mapping with a list of 'tasks'"),
        ("tasks: [{id: a, id: b, type: x}]", "the key 'id' stands twice"),
        ("tasks: [{id: a, type: x, priority: 0x" + "f" * 5000 + "}]", "is too long"),
        ("tasks: [{id: a}]", r"tasks\[0\].*: field required"),
        ("tasks: [{id: a, type: x, when: now}]", r"tasks\[0\].when: extra inputs are not permitted"),
        ("tasks: [{id: 1, type: x}]", "should be a valid string"),
        ("tasks: [{id: a, type: x, risk: huge}]", "risk"),
        ("tasks: [{id: a, type: x, on_failure: stop}]", r"tasks\[0\].on_failure.*'skip', 'fail' or 'continue'"),
        ("tasks: [{id: a, type: x, needs: most}]", r"tasks\[0\].needs.*'all' or 'some'"),
        ("tasks: [{id: a, type: x, approval: 1}]", r"tasks\[0\].approval.*boolean"),
        ("tasks: [{id: a, type: x, approval: 'yes'}]", r"tasks\[0\].approval.*boolean"),
        ("tasks: [{id: 'a b', type: x}]", "'a b' is no task id"),
        ("a: &x [1]\ntasks: *x", "aliases are not allowed"),
        ("tasks: !!python/object:os.system {}", "could not determine a constructor"),
        ("[" * 3000, "Not readable as YAML"),
    ],
)
def test_a_malformed_plan_names_the_place(text: str, words: str) -> None:
    with pytest.raises(InvalidPlan, match=words):
        parse_plan(text, place="plan.yaml")


@pytest.mark.parametrize("suffix", [".yaml", ".json", ".xml"])
def test_a_plan_of_a_hundred_thousand_tasks_ends_at_a_limit(suffix: str) -> None:
    number = range(100_000)
    text = {
        ".yaml": "tasks:\n" + "\n".join(f"  - {{id: t{n}, type: x}}" for n in number),
        ".json": json.dumps({"tasks": [{"id": f"t{n}", "type": "x"} for n in number]}),
        ".xml": "<graph>" + "".join(f'<node id="t{n}">search("x")</node>' for n in number) + "</graph>",
    }[suffix]
    with pytest.raises(InvalidPlan, match=r"10,?000|3,000,000|150,000"):
        parse_plan(text, suffix=suffix)


def test_a_cycle_names_its_tasks() -> None:
    with pytest.raises(InvalidGraph, match="'b' -> 'a' -> 'b'"):
        parse_plan("tasks: [{id: a, type: x, depends_on: [b]}, {id: b, type: x, depends_on: [a]}]")


def test_a_missing_file_and_a_wrong_ending_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        read_plan(tmp_path / "nowhere.yaml")
    with pytest.raises(InvalidPlan, match=r"ends in one of \.xml"):
        read_plan(tmp_path / "plan.txt")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidPlan, match="not UTF-8"):
        read_plan(tmp_path / "plan.yaml")


@given(st.integers(0, len(YAML)), st.integers(0, 12), st.text(max_size=6), st.sampled_from([".yaml", ".json", ".xml"]))
@settings(max_examples=300, deadline=None)
def test_a_damaged_plan_is_read_or_refused_and_nothing_else(at: int, cut: int, put: str, suffix: str) -> None:
    graph = parse_plan(YAML).graph
    text = {".yaml": YAML, ".json": json.dumps(graph.to_dict()), ".xml": graph.to_xml()}[suffix]
    try:
        parse_plan(text[:at] + put + text[at + cut :], suffix=suffix)
    except InvalidInput as error:
        assert str(error)  # noqa: PT017 - either outcome is right; no other exception is


@given(full_graphs())
@settings(max_examples=200, deadline=None)
def test_what_is_written_is_read_back_as_the_same_graph(graph: TaskDAG) -> None:
    if len(graph):
        assert parse_plan(write_plan("why", graph)).graph == graph
