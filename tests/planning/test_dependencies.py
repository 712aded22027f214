"""Dependency analysis: calls, questions with blanks, instructions, and tasks."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.plans import hide_variables, load_plans, macro_f1, micro_f1, read_plan
from bench.recorded import BadData
from kapelle.errors import InvalidGraph
from kapelle.graph import Task, TaskDAG
from kapelle.models import ToolDefinition
from kapelle.planning.dependencies import (
    BLANK,
    Edge,
    PlanStep,
    infer_dependencies,
    infer_task_dependencies,
)


def tool(name: str, takes: dict[str, Any], gives: dict[str, Any], description: str = "") -> ToolDefinition:
    return ToolDefinition(name=name, description=description, parameters={"properties": takes}, outputs=gives)


TEXT = {"type": "string"}
HOTELS = {"hotels": {"type": "array", "items": {"properties": {"hotelId": TEXT}}}}
TOOLS = {
    one.name: one
    for one in (
        tool("findPlace", {"query": TEXT}, {"placeId": TEXT, "name": TEXT}, "Finds a place by its name"),
        tool("listHotels", {"placeId": {"type": "string", "required": True}}, HOTELS, "Lists hotels at a place"),
        tool("hotelPrices", {"hotelId": TEXT}, {"price": {"type": "number"}, "hotelId": TEXT}),
        tool("hotelReviews", {"hotelId": TEXT}, {"text": TEXT}),
        tool("findTrains", {"originPlaceId": {}, "destinationPlaceId": {}}, {"train": {}}),
        tool("findArtist", {"name": TEXT}, {"id": TEXT, "born": {"type": "number"}}, "Finds an artist"),
        tool("listAlbums", {"artistId": TEXT}, {"title": TEXT}),
    )
}


def texts(*lines: str) -> list[PlanStep]:
    return [PlanStep(id=f"s{number}", text=line) for number, line in enumerate(lines, 1)]


def call(step_id: str, tool: str, **arguments: object) -> PlanStep:
    return PlanStep(id=step_id, tool=tool, arguments=arguments)


def pairs(edges: tuple[Edge, ...]) -> list[tuple[str, str]]:
    return [(edge.source, edge.target) for edge in edges]


def infer(steps: list[PlanStep], request: str = "") -> list[tuple[str, str]]:
    return pairs(infer_dependencies(steps, request=request, tools=TOOLS))


# -- calls of tools


def test_a_blank_argument_is_filled_by_the_call_that_returns_a_field_of_that_name() -> None:
    steps = [
        call("a", "findPlace", query="Graz"),
        call("b", "findArtist", name="Falco"),
        call("c", "listHotels", placeId=BLANK),
    ]
    (edge,) = infer_dependencies(steps, tools=TOOLS)
    assert (edge.source, edge.target, edge.kind) == ("a", "c", "argument")
    assert edge.reason == "argument 'placeId' is left open, and a (findPlace) returns 'placeId'"


def test_a_plain_id_is_that_of_the_thing_the_tool_speaks_of() -> None:
    steps = [
        call("a", "findArtist", name="Falco"),
        call("b", "findPlace", query="Graz"),
        call("c", "listAlbums", artistId=None),
    ]
    assert infer(steps) == [("a", "c")]


def test_calls_that_leave_the_same_argument_open_share_its_source() -> None:
    steps = [
        call("a", "listHotels", placeId="p7"),
        call("b", "hotelPrices", hotelId=BLANK),
        call("c", "hotelReviews", hotelId=BLANK),
    ]
    assert infer(steps) == [("a", "b"), ("a", "c")]


def test_each_of_two_lookups_fills_the_call_behind_it() -> None:
    looked_up = [call("a", "findPlace", query="Graz"), call("b", "findPlace", query="Linz")]
    listed = [call("c", "listHotels", placeId=BLANK), call("d", "listHotels", placeId=BLANK)]
    assert infer([*looked_up, *listed]) == [("a", "c"), ("b", "d")]
    assert infer([looked_up[0], listed[0], looked_up[1], listed[1]]) == [("a", "c"), ("b", "d")]


def test_origin_and_destination_come_from_different_calls() -> None:
    steps = [
        call("a", "findPlace", query="Graz"),
        call("b", "findPlace", query="Linz"),
        call("c", "findTrains", originPlaceId=BLANK, destinationPlaceId=BLANK),
    ]
    assert infer(steps) == [("a", "c"), ("b", "c")]


def test_a_required_argument_that_is_missing_is_a_blank_where_a_result_has_its_name() -> None:
    assert infer([call("a", "findPlace", query="Graz"), call("b", "listHotels")]) == [("a", "b")]
    assert infer([call("a", "findArtist", name="Falco"), call("b", "listHotels")]) == []


def test_calls_with_all_arguments_given_have_no_edge() -> None:
    assert infer([call("a", "findPlace", query="Graz"), call("b", "findPlace", query="Linz")]) == []


def test_tools_without_a_schema_are_read_by_their_arguments() -> None:
    steps = [call("a", "add", arg_0=1, arg_1=2), call("b", "add", arg_0=3, arg_1=4), call("c", "divide")]
    steps[2] = call("c", "divide", arg_0=BLANK, arg_1=BLANK)
    assert pairs(infer_dependencies(steps)) == [("a", "c"), ("b", "c")]


def test_a_schema_may_come_with_the_step() -> None:
    giver = PlanStep(id="a", tool="mine", arguments={"x": 1}, schema=tool("mine", {}, {"zip_code": {}}))
    other = call("b", "findArtist", name="Falco")
    assert infer([giver, other, call("c", "send", zipCode=BLANK)]) == [("a", "c")]


# -- steps of text


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("When did Ada die?", "When was radio invented?", "Is ___ before ___?"), [("s1", "s3"), ("s2", "s3")]),
        (("Who wrote Emma?", "Where was ___ born?", "Is ___ in England?"), [("s1", "s2"), ("s2", "s3")]),
        (
            ("What is glass made of?", "How heavy is ___?", "How heavy is water?", "Is ___ more than ___?"),
            [("s1", "s2"), ("s2", "s4"), ("s3", "s4")],
        ),
        (
            ("Which vitamin do sailors need?", "How much ___ is in limes?", "How much ___ is in rum?", "Is ___ < ___?"),
            [("s1", "s2"), ("s1", "s3"), ("s2", "s4"), ("s3", "s4")],
        ),
    ],
)
def test_blanks_are_filled_so_that_every_answer_is_read(
    lines: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    found = infer_dependencies(texts(*lines))
    assert pairs(found) == expected
    assert {edge.kind for edge in found} == {"blank"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Compare them", [("s1", "s3"), ("s2", "s3")]),
        ("Summarize the findings", [("s1", "s3"), ("s2", "s3")]),
        ("Which of them is older?", [("s1", "s3"), ("s2", "s3")]),
    ],
)
def test_what_joins_takes_all_that_is_open(line: str, expected: list[tuple[str, str]]) -> None:
    steps = texts("Find the age of Graz", "Find the age of Linz", line)
    joins = [edge for edge in infer_dependencies(steps) if edge.kind == "words" and edge.target == "s3"]
    assert [(edge.source, edge.target) for edge in joins] == expected


def test_a_pronoun_points_to_the_step_before() -> None:
    (edge,) = infer_dependencies(texts("Who directed Jaws?", "When was he born?"))
    assert (edge.source, edge.target, edge.reason) == ("s1", "s2", "'he' points back")


def test_the_words_of_the_request_order_the_errands_it_lists() -> None:
    waits = "Back up the orders table. Once the backup is complete, delete old invoices."
    lists = "Back up the orders table. Additionally, delete old invoices."
    steps = texts("Back up the orders table", "Delete old invoices")
    assert infer(steps, waits) == [("s1", "s2")]
    assert infer(steps, lists) == []


def test_moves_of_the_hand_follow_each_other() -> None:
    steps = texts("Melt the butter in the pan.", "Pour the butter into the bowl.", "Stir the bowl.")
    found = infer_dependencies(steps, request="How to Make Butter Sauce")
    assert pairs(found) == [("s1", "s2"), ("s2", "s3")]


# -- references


@pytest.mark.parametrize("words", ["{a}", "{a.name}", "$a", "${a}", "#1", "step 1", "{city_1_from_a}"])
def test_a_reference_is_an_edge_for_certain(words: str) -> None:
    steps = [PlanStep(id="a", text="Find a city"), PlanStep(id="b", text="x"), PlanStep(id="c", text=f"Go to {words}")]
    (edge,) = [edge for edge in infer_dependencies(steps) if edge.kind == "reference"]
    assert (edge.source, edge.target, edge.confidence) == ("a", "c", 1.0)


def test_a_reference_may_go_back_but_closes_no_circle() -> None:
    assert infer(texts("Use #2", "Find a number")) == [("s2", "s1")]
    assert infer(texts("Use #2", "Use #1")) == [("s1", "s2")]


def test_a_step_may_name_one_result_and_leave_another_open() -> None:
    steps = texts("When did Ada die?", "When was radio invented?", "Is ___ before #2?")
    assert infer(steps) == [("s1", "s3"), ("s2", "s3")]


def test_two_steps_with_one_id_are_refused_by_name() -> None:
    with pytest.raises(InvalidGraph, match="'a'"):
        infer_dependencies([PlanStep(id="a"), PlanStep(id="a")])


# -- properties

WORDS = st.sampled_from(
    ["___", "Who", "When", "is", "the", "it", "them", "compare", "#1", "{s2}", "city", "then", "more", "?", "step 2"]
)
LINES = st.lists(st.lists(WORDS, max_size=8).map(" ".join) | st.text(max_size=60), max_size=9)
CALLS: st.SearchStrategy[list[dict[str, object]]] = st.lists(
    st.builds(
        dict,
        tool=st.sampled_from([*TOOLS, "other"]),
        arguments=st.dictionaries(
            st.sampled_from(["query", "placeId", "hotelId", "artistId", "arg_0", "originPlaceId"]),
            st.sampled_from([BLANK, None, "Graz", 3, ["x", BLANK], "2 * ___ + ___"]),
            max_size=3,
        ),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(LINES, st.text(max_size=80))
def test_texts_of_any_kind_make_a_graph(lines: list[str], request: str) -> None:
    steps = texts(*lines)
    found = infer_dependencies(steps, request=request)
    TaskDAG(
        Task(task_id=step.id, task_type="x", depends_on=tuple(e.source for e in found if e.target == step.id))
        for step in steps
    )
    assert len(set(pairs(found))) == len(found)
    assert all(edge.reason and 0 < edge.confidence <= 1 for edge in found)


@settings(deadline=None)
@given(CALLS)
def test_calls_of_any_kind_make_a_graph_and_every_blank_but_the_first_is_filled(calls: list[dict[str, object]]) -> None:
    steps = [PlanStep(id=f"c{at}", **entry) for at, entry in enumerate(calls)]  # type: ignore[arg-type]  # drawn to fit
    found = infer_dependencies(steps, tools=TOOLS)
    assert all(int(edge.source[1:]) < int(edge.target[1:]) for edge in found)
    waiting = {step.id for step in steps[1:] if any("___" in str(v) or v is None for v in step.arguments.values())}
    assert waiting <= {edge.target for edge in found}


@settings(deadline=None)
@given(LINES, st.text(max_size=40))
def test_other_ids_give_the_same_edges(lines: list[str], request: str) -> None:
    plain = [line for line in lines if not set("#{$") & set(line) and "step" not in line.casefold()]
    steps = texts(*plain)
    renamed = [
        PlanStep(id=f"task-{letter}", text=step.text)
        for letter, step in zip(string.ascii_lowercase, steps, strict=False)
    ]
    names = {new.id: old.id for new, old in zip(renamed, steps, strict=True)}
    again = infer_dependencies(renamed, request=request)
    assert [(names[e.source], names[e.target]) for e in again] == infer(steps, request)


@settings(deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=9))
def test_references_always_become_edges(referred: list[int]) -> None:
    steps = texts(*(f"Use #{number + 1} again" if number < at else "Begin" for at, number in enumerate(referred)))
    wanted = {(f"s{number + 1}", f"s{at + 1}") for at, number in enumerate(referred) if number < at}
    assert wanted <= set(infer(steps))


PIPELINES = (
    (
        call("p1", "findPlace", query="Graz"),
        call("p2", "listHotels", placeId=BLANK),
        call("p3", "hotelPrices", hotelId=BLANK),
    ),
    (call("a1", "findArtist", name="Falco"), call("a2", "listAlbums", artistId=BLANK)),
    (call("r1", "hotelReviews", hotelId="h1"),),
)


@settings(deadline=None)
@given(st.permutations([0, 0, 0, 1, 1, 2]), st.integers(0, 6))
def test_an_unrelated_call_adds_no_edge_among_the_others(turns: list[int], place: int) -> None:
    left = [list(pipeline) for pipeline in PIPELINES]
    steps = [left[turn].pop(0) for turn in turns]
    assert sorted(infer(steps)) == [("a1", "a2"), ("p1", "p2"), ("p2", "p3")]
    mixed = [*steps[:place], call("stranger", "ringBell", volume=11), *steps[place:]]
    assert infer(mixed) == infer(steps)


@settings(deadline=None, max_examples=25)
@given(LINES)
def test_the_same_steps_always_give_the_same_edges(lines: list[str]) -> None:
    steps = texts(*lines)
    assert infer_dependencies(steps) == infer_dependencies(steps)


# -- graphs of tasks


def test_a_graph_gets_the_edge_that_a_blank_input_needs() -> None:
    dag = TaskDAG(
        [
            Task(task_id="s1", task_type="findPlace", inputs={"query": "Graz"}),
            Task(task_id="s2", task_type="findArtist", inputs={"name": "Falco"}),
            Task(task_id="s3", task_type="listHotels", inputs={"placeId": BLANK}),
        ]
    )
    assert dag.patched(infer_task_dependencies(dag, tools=TOOLS)).edges == (("s1", "s3"),)


def test_a_lookup_with_all_inputs_given_waits_for_nothing() -> None:
    tasks = [
        Task(task_id="s1", task_type="lookup", inputs={"query": "area of Peru"}),
        Task(task_id="s2", task_type="lookup", inputs={"query": "area of Chile"}, depends_on=("s1",)),
        Task(task_id="s3", task_type="lookup", inputs={"query": "rivers of {s1}"}, depends_on=("s2",)),
        Task(task_id="s4", task_type="report", inputs={"title": "Areas"}, depends_on=("s1", "s2")),
    ]
    dag = TaskDAG(tasks)
    assert dag.patched(infer_task_dependencies(tasks)).edges == (("s1", "s3"), ("s1", "s4"), ("s2", "s4"))
    assert infer_task_dependencies(dag, drop=False).touched == ()


def test_an_edge_at_a_risky_task_stays() -> None:
    tasks = [
        Task(task_id="s1", task_type="pay", risk="high"),
        Task(task_id="s2", task_type="lookup", inputs={"query": "area of Chile"}, depends_on=("s1",)),
    ]
    assert infer_task_dependencies(tasks).touched == ()


def test_tasks_are_not_ordered_by_habit() -> None:
    tasks = [
        Task(task_id="s1", task_type="cook", description="Melt the butter."),
        Task(task_id="s2", task_type="cook", description="Pour the butter into the bowl."),
    ]
    assert infer_task_dependencies(tasks, request="How to Make Sauce").touched == ()


# -- the benchmark


def test_the_benchmark_hides_references_labels_and_odd_variables() -> None:
    row = {
        "request": "r",
        "steps": [
            {"id": "x7", "name": "t", "arguments": {"q": "10 * $var1.Exchange Rate$", "n": 3}, "label": "var2"},
            {"id": "y", "text": "Is #12 more than #3?"},
        ],
        "edges": [["x7", "y"]],
    }
    plan = read_plan(row)
    assert [step.id for step in plan.steps] == ["s1", "s2"]
    assert plan.steps[0].arguments == {"q": "10 * ___", "n": 3}
    assert plan.steps[1].text == "Is ___ more than ___?"
    assert plan.edges == {("s1", "s2")}
    assert hide_variables(["var1.product_id$", "$var_2.result$", "in $5 notes"]) == [BLANK, BLANK, "in $5 notes"]


def test_f1_counts_edges_over_all_plans() -> None:
    one, nothing = frozenset({("a", "b")}), frozenset[tuple[str, str]]()
    assert micro_f1([one, nothing], [one, nothing]) == 1.0
    assert micro_f1([one, nothing], [nothing, nothing]) == 0.0
    assert macro_f1([one, nothing], [nothing, nothing]) == 0.5


def test_a_file_that_holds_no_plans_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "plans.jsonl"
    with pytest.raises(BadData, match="cannot be read"):
        load_plans(path)
    path.write_text('{"request": "r", "steps": [{"id": "s1"}], "edges": []}\n', "utf-8")
    with pytest.raises(BadData, match="line 1"):
        load_plans(path)
