"""A plan reads the same in whatever shape a model gives it; what a shape cannot mean is an error, never dropped."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidInput, InvalidPlan
from kapelle.graph import Task, TaskDAG, find_references
from kapelle.planning import GraphPlanner, ModelPlanner, read_reply
from kapelle.testing import ScriptedModel
from kapelle.validation import mend_draft

AGENTS = {"all": AgentCapability(agent_id="all", task_types=("search", "write", "compare"))}
Entry = dict[str, Any]


def entry(task_id: str, kind: str, text: str, query: str, *before: str) -> Entry:
    inputs = [{"name": "query", "value": query}] if query else []
    return {"id": task_id, "type": kind, "description": text, "inputs": inputs, "depends_on": [*before], "requires": []}


PLAN = [
    entry("s1", "search", "find the first", "capital of Peru"),
    entry("s2", "search", "find the second", "capital of Chile"),
    entry("s3", "write", "write it up", "{s1} and {s2}", "s1", "s2"),
]


def in_json(tasks: list[Entry]) -> str:
    return json.dumps({"tasks": tasks}, indent=1)


def each(tasks: list[Entry], change: Callable[[Entry], Entry]) -> list[Entry]:
    return [change(dict(task)) for task in tasks]


def renamed(tasks: list[Entry], **names: str) -> list[Entry]:
    return [{names.get(name, name): value for name, value in task.items()} for task in tasks]


def lean(task: Entry) -> Entry:
    """Only what says something."""
    return {name: value for name, value in task.items() if value}


def with_mapping(task: Entry) -> Entry:
    return {**task, "inputs": {one["name"]: one["value"] for one in task["inputs"]}}


def beside(task: Entry) -> Entry:
    """Arguments beside the other fields."""
    return {**{name: value for name, value in task.items() if name != "inputs"}, **with_mapping(task)["inputs"]}


def as_tool_call(task: Entry) -> Entry:
    arguments = json.dumps(with_mapping(task)["inputs"])
    return {
        "id": task["id"],
        "type": "function",
        "function": {"name": task["type"], "arguments": arguments},
        "description": task["description"],
        "depends_on": task["depends_on"],
    }


def numbered(text: str) -> str:
    return re.sub(r'(["{])s(\d)(?=["}])', r"\1\2", text)


def in_phases(tasks: list[Entry]) -> str:
    first, rest = tasks[:1], tasks[1:]
    phases = [{"id": "p1", "description": "begin", "subtasks": first}]
    if rest:
        phases.append({"id": "p2", "description": "go on", "subtasks": rest})
    return json.dumps({"steps": phases})


def by_levels_of_lists(tasks: list[Entry]) -> str:
    return json.dumps({"plan": {"phases": [{"name": "all of it", "tasks": tasks}]}})


SHAPES: dict[str, Callable[[list[Entry]], str]] = {
    "as asked for": in_json,
    "thoughts before": lambda t: f"<think>first [this], then {{that}}</think>\n{in_json(t)}",
    "thoughts unopened": lambda t: f"first this\n</think>\n{in_json(t)}",
    "a draft in thoughts": lambda t: f'<think>{{"tasks": [{{"id": "s1", "type": "search"}}]}}</think>{in_json(t)}',
    "words before a fence": lambda t: f"Here it is:\n```json\n{in_json(t)}\n```",
    "words after a fence": lambda t: f"```json\n{in_json(t)}\n```\nGood luck! [1] {{see}} above.",
    "a fence without a language": lambda t: f"```\n{in_json(t)}\n```",
    "a fence of tildes": lambda t: f"~~~json\n{in_json(t)}\n~~~",
    "a fence on one line": lambda t: f"```json {json.dumps({'tasks': t})} ```",
    "no end of the fence": lambda t: f"```json\n{in_json(t)}",
    "the language alone": lambda t: f"json\n{in_json(t)}",
    "a byte order mark": lambda t: "\ufeff" + in_json(t),
    "trailing commas": lambda t: re.sub(r'([}\]"])(\s*[}\]])', r"\1,\2", in_json(t)),
    "a comma too few": lambda t: re.sub(r"\},(\s*\{)", r"}\1", in_json(t)),
    "Windows lines": lambda t: in_json(t).replace("\n", "\r\n"),
    "no-break spaces": lambda t: in_json(t).replace("\n ", "\n\u00a0"),
    "Python literals": lambda t: f"plan = {({'tasks': t, 'done': None})!r}",
    "comments": lambda t: in_json(t).replace('{\n "tasks"', '{ // the plan\n "tasks"'),
    "a marker after": lambda t: f"{in_json(t)}\n[[ ## completed ## ]]",
    "markers around": lambda t: f"[[ ## plan ## ]]\n```json\n{in_json(t)}\n```\n\n[[ ## completed ## ]]",
    "escaped for HTML": lambda t: in_json(t).replace('"', "&quot;"),
    "a JSON text in JSON": lambda t: json.dumps({"plan": in_json(t)}),
    "said twice": lambda t: f"{in_json(t)}\nAgain:\n{in_json(t)}",
    "a draft, then the final one": lambda t: (
        f'Draft: {{"tasks": [{{"id": "a", "type": "search"}}]}}\nFinal plan: {in_json(t)}'
    ),
    "a list alone": lambda t: json.dumps(t),
    "a list around": lambda t: json.dumps([{"tasks": t}]),
    "a plan around": lambda t: json.dumps({"plan": {"tasks": t}}),
    "a result around": lambda t: json.dumps({"status": "ok", "result": {"plan": t}}),
    "steps": lambda t: json.dumps({"steps": t}),
    "a workflow": lambda t: json.dumps({"workflow": {"nodes": t}}),
    "one key for each": lambda t: json.dumps({"tasks": [{"task": task} for task in t]}),
    "by id": lambda t: json.dumps({"tasks": {task["id"]: {k: v for k, v in task.items() if k != "id"} for task in t}}),
    "by id alone": lambda t: json.dumps({task["id"]: {k: v for k, v in task.items() if k != "id"} for task in t}),
    "JSON Lines": lambda t: "\n".join(json.dumps(task) for task in t),
    "JSON Lines in a fence": lambda t: "```jsonl\n" + "\n".join(json.dumps(task) for task in t) + "\n```",
    "a tool call": lambda t: json.dumps({"name": "make_plan", "arguments": {"tasks": t}}),
    "a tool call in tags": lambda t: (
        f'<tool_call>{json.dumps({"name": "plan", "arguments": {"tasks": t}})}</tool_call>'
    ),
    "arguments as text": lambda t: json.dumps({"function_call": {"name": "plan", "arguments": in_json(t)}}),
    "tool calls of a server": lambda t: json.dumps(
        {"tool_calls": [{"id": "c1", "type": "function", "function": {"name": "plan", "arguments": in_json(t)}}]}
    ),
    "each a tool call": lambda t: json.dumps({"tasks": each(t, as_tool_call)}),
    "the schema's frame": lambda t: json.dumps({"title": "plan", "type": "object", "properties": {"tasks": t}}),
    "arguments as a mapping": lambda t: in_json(each(t, with_mapping)),
    "arguments by one name each": lambda t: in_json(
        each(t, lambda task: {**task, "inputs": [{one["name"]: one["value"]} for one in task["inputs"]]})
    ),
    "arguments beside": lambda t: in_json(each(t, beside)),
    "only what is needed": lambda t: in_json(each(t, lean)),
    "nulls": lambda t: in_json(each(t, lambda task: {name: value or None for name, value in task.items()})),
    "other names": lambda t: (
        json.dumps({"nodes": renamed(t, id="task_id", type="tool", inputs="args", depends_on="deps")})
    ),
    "more names": lambda t: (
        json.dumps({"steps": renamed(t, id="step_id", type="action", inputs="action_input", depends_on="after")})
    ),
    "names in their way": lambda t: (
        json.dumps({"tasks": renamed(t, type="kind", depends_on="needs", description="goal")})
    ),
    "camels": lambda t: json.dumps({"tasks": renamed(t, id="taskId", depends_on="dependsOn")}),
    "names as ids": lambda t: json.dumps({"tasks": renamed(t, id="name", depends_on="prerequisites")}),
    "numbers as ids": lambda t: numbered(in_json(t)),
    "bare numbers as ids": lambda t: re.sub(r'"s(\d)"', r"\1", in_json(t)).replace("{s", "{s"),
    "dependencies as text": lambda t: in_json(
        each(t, lambda task: {**task, "depends_on": " and ".join(task["depends_on"]) or "none"})
    ),
    "dependencies as mappings": lambda t: in_json(
        each(t, lambda task: {**task, "depends_on": [{"id": name} for name in task["depends_on"]]})
    ),
    "dependencies as references": lambda t: in_json(
        each(t, lambda task: {**task, "depends_on": [f"{{{name}.answer}}" for name in task["depends_on"]]})
    ),
    "dependencies in capitals": lambda t: in_json(
        each(t, lambda task: {**task, "depends_on": [name.upper() for name in task["depends_on"]]})
    ),
    "dependencies by description": lambda t: in_json(
        each(t, lambda task: {**task, "depends_on": [f"Task {name[1:]}" for name in task["depends_on"]]})
    ),
    "edges": lambda t: json.dumps(
        {
            "nodes": each(t, lambda task: {**task, "depends_on": []}),
            "edges": [[name, task["id"]] for task in t for name in task["depends_on"]],
        }
    ),
    "it waits for itself": lambda t: in_json([{**t[0], "depends_on": [t[0]["id"]]}, *t[1:]]),
    "a task said twice": lambda t: in_json([t[0], *t]),
    "doubled braces": lambda t: re.sub(r"(\{s\d\})", r"{\1}", in_json(t)),
    "phases": in_phases,
    "a phase around": by_levels_of_lists,
    "YAML": lambda t: yaml.safe_dump({"tasks": t}, sort_keys=False),
    "YAML in a fence": lambda t: (
        f"The plan:\n```yaml\n{yaml.safe_dump({'tasks': each(t, with_mapping)}, sort_keys=False)}```\nDone."
    ),
    "a YAML list": lambda t: f"Here:\n{yaml.safe_dump(each(t, lean), sort_keys=False)}",
}  # fmt: skip


def meaning(graph: TaskDAG | None) -> list[tuple[str, str, str, dict[str, Any], set[str]]]:
    assert graph is not None
    return [(t.task_id, t.task_type, t.description, dict(t.inputs), set(t.dependencies)) for t in graph]


def expected(tasks: list[Entry]) -> list[tuple[str, str, str, dict[str, Any], set[str]]]:
    return meaning(
        TaskDAG(
            Task(
                task_id=task["id"],
                task_type=task["type"],
                description=task["description"],
                inputs=with_mapping(task)["inputs"],
                depends_on=tuple(task["depends_on"]),
            )
            for task in tasks
        )
    )


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("planner", [ModelPlanner, GraphPlanner])
def test_both_planners_read_a_plan_in_any_shape_with_one_call(
    planner: Any, shape: Callable[[list[Entry]], str]
) -> None:
    model = ScriptedModel([shape(PLAN)])
    made = asyncio.run(planner(model).plan("Find both, then write it up", AGENTS))
    assert meaning(made.graph) == expected(PLAN)


def test_a_plan_that_stands_in_thoughts_alone_counts() -> None:
    assert meaning(read_reply(f"<think>{in_json(PLAN)}</think>").graph) == expected(PLAN)


@st.composite
def plans(draw: st.DrawFn) -> list[Entry]:
    words = st.sampled_from(
        ["capital of Peru", "its area, in km²", 'the "best" of it', "50 % of x", "a: b", "Zürich's"]
    )
    made: list[Entry] = []
    for number in range(1, draw(st.integers(1, 5)) + 1):
        earlier = [task["id"] for task in made]
        before: list[str] = []
        if earlier:
            before = draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True))
        is_referred = bool(before) and bool(draw(st.booleans()))
        query = draw(words) + (f" of {{{before[0]}}}" if is_referred else "")
        kind = draw(st.sampled_from(["search", "write", "compare"]))
        made.append(entry(f"s{number}", kind, f"do part {number}", query, *before))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@given(tasks=plans())
@settings(max_examples=15, deadline=None)
def test_any_plan_in_any_shape_reads_back_the_same(shape: Callable[[list[Entry]], str], tasks: list[Entry]) -> None:
    text = shape(tasks)
    assert meaning(read_reply(text).graph) == expected(tasks), text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{tasks: [{id: "s1", type: "search", todo: [{id: "s2", type: "write"}]}]}', "tasks of its own in 'todo'"),
        ('{steps: [{id: "p1", inputs: {query: "x"}, subtasks: [{id: "s1", type: "f"}]}]}', "a task or a group"),
        ('{"tasks": [[{"id": "s1", "type": "f"}], [{"id": "s2", "type": "f"}]]}', "Item 1 of the tasks"),
        ('{tasks: [{id: "s1", type: "f"}], more: [{id: "s2", type: "f"}]}', "'more' beside 'tasks'"),
        ('{a: {tasks: [{id: "s1", type: "f"}]}, b: {tasks: [{id: "s2", type: "g"}]}, c: 1}', "There are 'a' and 'b'"),
        ('{tasks: [{id: "s1", type: "f"}]}\nor\n{tasks: [{id: "s1", type: "g"}]}', "2 different plans"),
        ('{tasks: [{id: "s1", type: "f", inputs: {query: "a"}, query: "b"}]}', "says 'query' twice"),
        ('{tasks: [{id: "s1", type: "f", inputs: [{name: "q", value: "a"}, {name: "q", value: "b"}]}]}', "same name"),
        (
            '{tasks: [{id: "s1", type: "f"}, {id: "s1", type: "g"}, {id: "s2", type: "h", depends_on: ["s1"]}]}',
            "this id already",
        ),
        ('{tasks: [{id: "s1", type: "f"}, {id: "s2", type: "h", depends_on: ["weather"]}]}', "depends on 'weather'"),
        (
            '{tasks: [{id: "s1", type: "f", depends_on: ["s2"]}, {id: "s2", type: "h", depends_on: ["s1"]}]}',
            "wait for each other",
        ),
        ('{"id": "s1", "type": "f", "description": "x"}\n{"id": "s2", "type": ', "ends in the middle"),
        ('{"tasks": []}', "has no tasks"),
        ('{"tasks": [{"id": "s1", "type": "f", "condition": "if it rains"}]}', "'condition', and a task runs once"),
        ('{"tasks": [{"id": "s1", "type": "f", "repeat": 3}]}', "'repeat', and a task runs once"),
        ('{"tasks": [{"id": "s1", "type": "f"}], "final_answer": "a report of {s1}"}', "Write it as a task"),
        ("tasks:\n  - id: s1\n   type: f\n", "Not readable as YAML"),
    ],
)
def test_what_a_shape_cannot_mean_is_an_error_that_says_so(text: str, told: str) -> None:
    with pytest.raises(InvalidPlan, match=told):
        read_reply(text)


@pytest.mark.parametrize(
    "text", [json.dumps(PLAN[0]) + "\n" + json.dumps(PLAN[1]), yaml.safe_dump({"tasks": PLAN[:2]})]
)
def test_tasks_without_an_end_are_refused_where_the_reply_was_cut_off(text: str) -> None:
    assert len(read_reply(text).graph or ()) == 2
    with pytest.raises(InvalidPlan, match="cut off"):
        read_reply(text, cut_off=True)


def read(*tasks: Entry, **around: Any) -> tuple[TaskDAG, str]:
    reply = read_reply(json.dumps({"tasks": list(tasks), **around}))
    assert reply.graph is not None
    return reply.graph, " ".join(reply.repairs)


def test_what_stands_beside_the_inputs_is_an_input_or_a_remark_and_noted() -> None:
    graph, notes = read({"id": "s1", "type": "search", "region": "Asia", "why": "it is asked for", "query": "x"})
    assert graph["s1"].inputs == {"query": "x", "region": "Asia"}
    assert graph["s1"].metadata == {"why": "it is asked for"}
    assert "'region' was read as an input (s1)" in notes
    assert "'why' says was kept as a remark (s1)" in notes


def test_a_condition_that_always_holds_is_a_remark() -> None:
    graph, _ = read({"id": "s1", "type": "search", "condition": "always", "repeat": 1, "query": "x"})
    assert graph["s1"].inputs == {"query": "x"}


def test_what_a_phase_waits_for_its_first_tasks_wait_for() -> None:
    find = [{"id": "a", "type": "f"}, {"id": "b", "type": "f", "depends_on": ["a"]}]
    write = [{"id": "c", "type": "g"}, {"id": "d", "type": "g", "depends_on": ["c"]}]
    phases: list[Entry] = [
        {"id": "p1", "name": "find", "subtasks": find},
        {"id": "p2", "name": "write", "subtasks": write, "depends_on": ["p1"]},
        {"id": "e", "type": "h", "depends_on": ["p2"], "inputs": {"text": "{p2}"}},
    ]
    graph, notes = read(*phases)
    assert graph.edges == (("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"))
    assert graph["e"].inputs == {"text": "{d}"}
    assert "The group 'find' was taken apart into its tasks" in notes


def test_phases_that_number_their_tasks_anew_keep_them_apart() -> None:
    part = [{"id": 1, "type": "f", "inputs": {}}, {"id": 2, "type": "g", "depends_on": [1], "inputs": {"x": "{1}"}}]
    reply = read_reply(json.dumps({"phases": [{"name": "first", "tasks": part}, {"name": "second", "tasks": part}]}))
    assert reply.graph is not None
    assert [(t.task_id, t.dependencies) for t in reply.graph] == [
        ("s1", ()),
        ("s2", ("s1",)),
        ("second_1", ("s2",)),
        ("second_2", ("second_1",)),
    ]
    assert "Phases were taken to follow one another." in reply.repairs


def test_sentences_are_tasks_without_a_type() -> None:
    reply = read_reply('{"steps": ["Find the capital of Peru", "write(\\"a poem\\")"]}')
    assert reply.graph is not None
    assert [(t.task_type, t.description, dict(t.inputs)) for t in reply.graph] == [
        ("task", "Find the capital of Peru", {}),
        ("write", "", {"query": "a poem"}),
    ]


@pytest.mark.parametrize(
    ("before", "edges"),
    [
        (["find capital"], [("find_capital", "s2")]),
        (["search"], [("find_capital", "s2")]),
        (["find it"], [("find_capital", "s2")]),
        (["output of find capital"], []),
        (["FIND-CAPITAL"], [("find_capital", "s2")]),
        (["none"], []),
        ([-1], []),
    ],
)
def test_a_dependency_is_resolved_where_one_task_can_be_meant(before: list[Any], edges: list[tuple[str, str]]) -> None:
    first = {"id": "find capital", "type": "search", "description": "find it", "inputs": {"query": "x"}}
    graph, _ = read(first, {"id": "s2", "type": "write", "inputs": {"text": "y"}, "depends_on": before})
    assert list(graph.edges) == edges


def test_a_dependency_on_nothing_is_left_out_only_where_nothing_of_it_is_used() -> None:
    graph, notes = read({"id": "s1", "type": "search", "inputs": {"query": "x"}, "depends_on": ["weather"]})
    assert graph["s1"].dependencies == ()
    assert "'weather', which is no task, was left out" in notes
    for inputs in ({}, {"query": "{weather}"}):
        with pytest.raises(InvalidPlan, match="'weather'"):
            read({"id": "s1", "type": "search", "depends_on": ["weather"], "inputs": inputs})


def test_a_circle_is_opened_where_the_data_says_how_it_runs() -> None:
    first = {"id": "s1", "type": "search", "inputs": {"query": "x"}, "depends_on": ["s2"]}
    second = {"id": "s2", "type": "write", "inputs": {"text": "{s1}"}}
    reply = read_reply(json.dumps({"tasks": [first, second]}), mend=mend_draft)
    assert reply.graph is not None
    assert reply.graph.edges == (("s1", "s2"),)
    assert "Repaired: Let 's1' wait no longer for 's2'" in " ".join(reply.repairs)


def test_a_requirement_that_is_a_task_is_a_dependency() -> None:
    graph, notes = read({"id": "s1", "type": "f"}, {"id": "s2", "type": "g", "requires": ["s1.answer", "writing"]})
    assert (graph["s2"].dependencies, graph["s2"].requirements) == (("s1",), frozenset({"writing"}))
    assert "'s1.answer' is a task" in notes


def test_literal_braces_around_what_is_no_task_stay() -> None:
    graph, _ = read({"id": "s1", "type": "f", "inputs": {"code": "{{s2}} {{x}}"}}, {"id": "s2", "type": "f"})
    assert graph["s1"].inputs == {"code": "{{s2}} {{x}}"}
    assert not find_references(graph["s1"].inputs)


@pytest.mark.parametrize(
    "piece", ['{"arguments": ', '[{"task": ', '{"plan": [', '{"a": {"id": 1, "type": ', "- id: a\n  "]
)
def test_a_deep_or_endless_reply_comes_to_an_end(piece: str) -> None:
    for times in (50, 10_000):
        with pytest.raises(InvalidInput):
            read_reply(piece * times)
        with pytest.raises(InvalidInput):
            read_reply(piece * times + "1" + "}" * times)


def task(number: int, kind: str, **fields: Any) -> Entry:
    return {"id": f"s{number}", "type": kind, "description": f"part {number}", **fields}


def edges_of(text: str) -> dict[str, set[str]]:
    graph = read_reply(text).graph
    assert graph is not None
    return {one.task_id: set(one.dependencies) for one in graph}


TWO = {"s1": set(), "s2": {"s1"}}
WAITS: dict[str, Entry] = {
    "by target": {"depends_on": [{"target": "s1", "condition": "success"}]},
    "by pointer": {"depends_on": [{"$ref": "#/tasks/s1"}]},
    "by one mapping": {"depends_on": {"task": "s1", "condition": "done"}},
    "as JSON in a text": {"depends_on": '["s1"]'},
    "in words": {"depends_on": "after s1"},
    "by a number in words": {"depends_on": "Step 1"},
    "in a second field": {"depends_on": [], "dependencies": ["s1"]},
    "in a second field as text": {"depends_on": [], "after": "s1"},
    "as what it takes": {"input_from": ["s1"]},
    "as inputs": {"inputs": ["s1"]},
    "as an input": {"inputs": {"data": "s1"}},
    "as an output of it": {"inputs": {"data": "s1.answer"}},
    "as an output in words": {"inputs": {"data": "output of s1"}},
    "as a reference in a mapping": {"inputs": {"data": {"task": "s1", "field": "answer"}}},
    "as a pointer in inputs": {"inputs": {"data": {"$ref": "s1"}}},
}


@pytest.mark.parametrize("fields", WAITS.values(), ids=WAITS)
def test_what_a_task_waits_for_is_never_lost_however_it_is_said(fields: Entry) -> None:
    assert edges_of(in_json([task(1, "search"), task(2, "write", **fields)])) == TWO


AHEAD: dict[str, Entry] = {
    "next": {"next": ["s2"]},
    "one next": {"next_step": "s2"},
    "a number": {"then": 2},
    "children": {"children": ["s2"]},
}


@pytest.mark.parametrize("fields", AHEAD.values(), ids=AHEAD)
def test_a_task_that_is_named_as_the_next_one_waits(fields: Entry) -> None:
    assert edges_of(in_json([task(1, "search", **fields), task(2, "write", next_step=None)])) == TWO


BESIDE: dict[str, Entry] = {
    "levels": {"execution_order": [["s1"], ["s2"]]},
    "a flat order": {"execution_order": ["s1", "s2"]},
    "a graph of dependencies": {"dependency_graph": {"s2": ["s1"]}},
    "edges by another name": {"graph_edges": [["s1", "s2"]]},
    "edges with ends": {"edges": [["START", "s1"], ["s1", "s2"], ["s2", "END"]]},
}


@pytest.mark.parametrize("fields", BESIDE.values(), ids=BESIDE)
def test_an_order_beside_the_tasks_counts(fields: Entry) -> None:
    assert edges_of(json.dumps({"tasks": [task(1, "search"), task(2, "write")], **fields})) == TWO


LOST: dict[str, Entry] = {
    "an order of some": {"parallel_groups": [["s1"]]},
    "arrows": {"flow": "s1 -> s2"},
    "an order by another name": {"runs": [{"first": "s1", "after": "s2"}]},
    "a task in words": {"then": "write a report"},
    "a last task": {"final_task": {"name": "sum up", "description": "sum it up"}},
    "a dependency that names nothing": {"tasks": [task(1, "search"), task(2, "write", depends_on=[{"when": "s1"}])]},
    "a later task as an input": {"tasks": [task(1, "search", source_of="s2"), task(2, "write")]},
    "a next one that is not there": {"tasks": [task(1, "search", next=["s2", "s9"]), task(2, "write")]},
}


@pytest.mark.parametrize("fields", LOST.values(), ids=LOST)
def test_what_cannot_be_read_of_an_order_is_an_error(fields: Entry) -> None:
    with pytest.raises(InvalidPlan):
        read_reply(json.dumps({"tasks": [task(1, "search"), task(2, "write")], **fields}))


@pytest.mark.parametrize(
    "none",
    ["none", "None", "N/A", "n.a.", "-", "nil", "nothing", "No dependencies", "undefined", "[]", "", None, [], {}],
)
def test_a_task_may_say_in_many_ways_that_it_waits_for_nothing(none: object) -> None:
    assert edges_of(in_json([task(1, "search", depends_on=none), task(2, "write", depends_on=["s1"])])) == TWO
    assert edges_of(in_json([task(1, "search", depends_on=[none]), task(2, "write", depends_on=["s1"])])) == TWO


def test_words_that_are_ids_too_stay_inputs() -> None:
    tasks = [
        {"id": "Peru", "type": "search", "description": "one", "inputs": {"query": "Chile"}},
        {"id": "Chile", "type": "search", "description": "two", "inputs": {"query": "Peru"}, "after": []},
        task(3, "write", output="report", inputs={"data": "{Peru}{Chile}"}),
        task(4, "write", inputs={"format": "report", "data": "{s3}"}, depends_on=[]),
    ]
    assert edges_of(in_json(tasks)) == {"Peru": set(), "Chile": set(), "s3": {"Peru", "Chile"}, "s4": {"s3"}}


@pytest.mark.parametrize("name", ["$peru", "{peru}", "{{peru}}"])
def test_a_result_goes_by_the_name_under_which_its_task_stores_it(name: str) -> None:
    assert edges_of(in_json([task(1, "search", output="peru"), task(2, "write", inputs={"data": name})])) == TWO


def test_groups_of_steps_follow_one_another_where_nothing_says_what_they_wait_for() -> None:
    inner = [{"type": "search", "id": "a", "description": "x"}, {"type": "search", "id": "b", "description": "y"}]
    last = {"title": "Last", "substeps": [{"type": "write", "id": "c", "description": "z"}]}
    assert edges_of(json.dumps({"steps": [{"title": "First", "substeps": inner}, last]}))["c"] == {"a", "b"}
    nested = {
        "phases": [{"id": "p", "tasks": [{"id": "g", "subtasks": inner}]}, {"id": "q", "tasks": last["substeps"]}]
    }
    assert edges_of(json.dumps(nested)) == {"a": set(), "b": set(), "c": {"a", "b"}}


def test_sentences_follow_one_another() -> None:
    assert edges_of(json.dumps({"plan": ["search for it", "write it up"]})) == TWO


def test_a_reply_that_is_a_text_of_json_is_read() -> None:
    once = json.dumps(in_json(PLAN))
    assert meaning(read_reply(once).graph) == meaning(read_reply(json.dumps(once)).graph) == expected(PLAN)


def test_an_agent_that_is_named_instead_of_a_type_gives_it() -> None:
    agents = {
        "finder": AgentCapability(agent_id="finder", task_types=("lookup", "search")),
        "author": AgentCapability(agent_id="author", task_types=("write", "compare")),
    }
    tasks = [
        {"id": "s1", "agent": "finder", "description": "search for it"},
        {"id": "s2", "type": "author", "description": "compare both"},
        {"id": "s3", "assigned_to": "author", "description": "do the rest"},
    ]
    plan = asyncio.run(ModelPlanner(ScriptedModel([in_json(tasks)])).plan("do it", agents))
    assert [one.task_type for one in plan.graph] == ["search", "compare", "write"]
    assert sum("was read as" in note for note in plan.notes) == 3
