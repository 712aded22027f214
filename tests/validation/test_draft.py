"""Plans that are no graphs yet: what is found, what is mended, and that it ends."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.errors import InvalidInput
from kapelle.graph import Task, TaskDAG
from kapelle.models import ToolDefinition
from kapelle.validation import DraftRepair, Issue, mend_draft, repair_draft, validate_draft
from tests.strategies.graphs import full_graphs


def task(task_id: str, *depends_on: str, **fields: Any) -> Task:
    return Task(**{"task_id": task_id, "task_type": "search", "depends_on": depends_on, **fields})


def asks(task_id: str, query: str, **fields: Any) -> Task:
    return task(task_id, inputs={"query": query}, **fields)


FLIGHTS = ToolDefinition(
    name="find_flights",
    description="Finds flights between airports",
    parameters={"properties": {"origin": {}, "target": {}, "date": {}}, "required": ["origin", "target"]},
    outputs={"flight_id": {}, "price": {}},
)
AIRPORT = ToolDefinition(
    name="find_airport",
    description="Finds the airport of a city",
    parameters={"properties": {"city": {}}, "required": ["city"]},
    outputs={"airport_id": {}},
)
TOOLS = (FLIGHTS, AIRPORT)


def errors(*tasks: Task, **options: Any) -> list[Issue]:
    return [issue for issue in validate_draft(tasks, **options) if issue.severity == "error"]


def repaired(*tasks: Task, **options: Any) -> DraftRepair:
    repair = repair_draft(tasks, **options)
    assert repair.is_valid, repair.issues
    return repair


def test_a_sound_draft_has_no_issues_and_becomes_a_graph() -> None:
    plan = (asks("s1", "capital of France"), asks("s2", "population of {s1}"))
    assert validate_draft(plan, request="What is the population of the capital of France?", in_order=True) == ()
    assert repair_draft(plan).dag == TaskDAG(plan)


def test_a_reference_to_nothing_is_turned_to_the_output_that_nobody_uses() -> None:
    plan = (asks("s1", "capital of France"), asks("s2", "rivers of Peru"), asks("s3", "{s2} and {s9}"))
    [issue] = errors(*plan)
    assert issue.message == "Task 's3' needs the output of 's9', which is not there."
    repair = repaired(*plan)
    assert repair.dag is not None
    assert repair.dag["s3"].inputs == {"query": "{s2} and {s1}"}


def test_a_reference_that_no_task_can_have_meant_becomes_a_task_where_the_request_is_known() -> None:
    plan = (asks("s1", "Where does {s0} live?"),)
    assert not repair_draft(plan).is_valid
    repair = repaired(*plan, request="Where does the author of Faust live?")
    assert repair.dag is not None
    assert "author of Faust" in repair.dag["s0"].description


def test_tasks_that_wait_for_each_other_keep_the_edge_that_carries_data() -> None:
    plan = (task("s1", "s2", description="capital of France"), asks("s2", "population of {s1}"))
    [issue] = errors(*plan)
    assert "'s1' -> 's2'" in issue.message
    repair = repaired(*plan)
    assert repair.dag is not None
    assert list(repair.dag.edges) == [("s1", "s2")]


def test_an_edge_against_the_order_of_the_list_is_turned_round_only_where_that_order_is_meant() -> None:
    plan = (task("s1", "s2", description="dig"), task("s2", description="plant"))
    assert errors(*plan) == []
    assert "which is listed after it" in errors(*plan, in_order=True)[0].message
    repair = repaired(*plan, in_order=True)
    assert repair.dag is not None
    assert list(repair.dag.edges) == [("s1", "s2")]


def test_two_tasks_with_one_id_are_told_apart() -> None:
    repair = repaired(task("s1", description="dig"), task("s1", description="plant"), task("s2", "s1"))
    assert [one.task_id for one in repair.tasks] == ["s1", "s1-2", "s2"]


@pytest.mark.parametrize(
    "words", ["Find the capital of France", "please find  the capital of France.", "Look up the capital of France"]
)
def test_a_task_in_other_words_is_left_out_and_its_readers_take_the_first(words: str) -> None:
    plan = (
        task("a", description="Find the capital of France"),
        task("b", description=words),
        asks("c", "rivers near {b}"),
    )
    assert [issue.kind for issue in errors(*plan)] == ["redundant"]
    repair = repaired(*plan)
    assert [one.task_id for one in repair.tasks] == ["a", "c"]
    assert repair.tasks[1].inputs == {"query": "rivers near {a}"}


@pytest.mark.parametrize(
    ("one", "other"),
    [("capital of France", "capital of Peru"), ("pages 1 to 5", "pages 6 to 9"), ("the film 'Up'", "the film 'Her'")],
)
def test_another_name_or_number_is_other_work(one: str, other: str) -> None:
    assert errors(task("a", description=f"Sum up {one}"), task("b", description=f"Sum up {other}")) == []


def test_a_tool_that_does_not_exist_is_replaced_by_the_one_whose_arguments_fit() -> None:
    plan = (task("a", task_type="airport_search", inputs={"city": "Rome"}),)
    assert "no such tool" in errors(*plan, tools=TOOLS)[0].message
    assert repaired(*plan, tools=TOOLS).tasks[0].task_type == "find_airport"


def test_a_call_with_another_tools_arguments_is_refused() -> None:
    plan = (task("a", task_type="find_flights", inputs={"city": "Rome"}),)
    assert [issue.kind for issue in errors(*plan, tools=TOOLS)] == ["schema"]
    assert repaired(*plan, tools=TOOLS).tasks[0].task_type == "find_airport"


def test_a_part_that_the_other_tool_is_not_said_to_give_is_only_doubted() -> None:
    plan = (
        task("a", task_type="find_airport", inputs={"city": "Rome"}),
        task("b", task_type="find_flights", inputs={"origin": "{a.gate}", "target": "x"}),
    )
    [issue] = validate_draft(plan, tools=TOOLS)
    assert (issue.kind, issue.severity) == ("schema", "warning")
    assert "{a.gate}" in issue.message


def test_a_question_of_whether_that_no_task_decides_is_noted() -> None:
    plan = (asks("s1", "How old is the Louvre?"), asks("s2", "How old is the Prado?"))
    request = "Is the Louvre older than the Prado?"
    [note] = validate_draft(plan, request=request)
    assert (note.kind, note.severity) == ("goal", "warning")  # words refuse no plan, and add no work to one
    assert "nothing brings together the outputs of 's1', 's2'" in note.message
    assert repaired(*plan, request=request).tasks == plan


def test_a_list_without_end_is_refused_before_it_is_read() -> None:
    endless = (task(f"t{number}") for number in itertools.count())
    [issue] = validate_draft(endless)
    assert (issue.kind, issue.severity) == ("size", "error")
    assert next(endless).task_id == "t10001"


def test_a_request_full_of_braces_and_digits_changes_nothing() -> None:
    request = "Is {s1} }{ 7? " + "9" * 3000 + " 'x' " * 500
    repair = repair_draft([asks("s1", "Where is Rome?")], request=request)
    assert repair.dag is not None


def test_a_negative_number_of_rounds_is_refused() -> None:
    with pytest.raises(InvalidInput, match="max_rounds"):
        repair_draft([], max_rounds=-1)


IDS = ("s1", "s2", "s3", "s4", "s5")
WORDS = st.sampled_from(
    ["Find the capital of France", "find capital of France", "Is 20 more than 5?", "Write a report", ""]
)


@st.composite
def broken_drafts(draw: st.DrawFn) -> list[Task]:
    """Tasks that may repeat ids, dangle, and go in circles."""
    drafts = []
    for _ in range(draw(st.integers(0, 6))):
        task_id = draw(st.sampled_from(IDS))
        others = [one for one in (*IDS, "gone") if one != task_id]
        depends_on = draw(st.lists(st.sampled_from(others), max_size=2))
        refers = draw(st.none() | st.sampled_from(others))
        inputs = {"query": f"of {{{refers}}}"} if refers else {}
        drafts.append(task(task_id, *depends_on, description=draw(WORDS), inputs=inputs))
    return drafts


REQUESTS = st.none() | st.sampled_from(
    ["Is 20 more than 5?", "Find 30 hotels in Rome. Then write a 'Summary' of it.", "x", ""]
)


@settings(max_examples=150, deadline=None)
@given(broken_drafts(), REQUESTS, st.booleans())
def test_repair_never_leaves_more_errors_and_says_what_is_left(
    tasks: list[Task], request: str | None, in_order: bool
) -> None:
    options: dict[str, Any] = {"request": request, "in_order": in_order}
    before = [issue for issue in validate_draft(tasks, **options) if issue.severity == "error"]
    repair = repair_draft(tasks, **options)
    after = [issue for issue in repair.issues if issue.severity == "error"]
    assert len(after) <= len(before) - len(repair.edits)
    assert repair.is_valid == (not after)
    assert repair.issues == validate_draft(repair.tasks, **options)


@settings(max_examples=150, deadline=None)
@given(broken_drafts())
def test_a_mended_draft_has_no_more_findings_and_no_id_twice(tasks: list[Task]) -> None:
    mended = mend_draft(tasks)
    if mended is None:
        return
    dag, notes = mended
    assert len(validate_draft(dag)) <= len(validate_draft(tasks))
    assert {one.task_id for one in tasks} >= set(dag.tasks) or any("an id of its own" in note for note in notes)
    asked = {(one.task_type, one.description) for one in tasks}
    assert {(one.task_type, one.description) for one in dag} <= asked, "no work is invented"
    assert bool(notes) or dag == TaskDAG(tasks)


@settings(max_examples=100, deadline=None)
@given(full_graphs(), st.text(max_size=60), st.booleans())
def test_no_graph_and_no_request_make_it_raise(dag: TaskDAG, request: str, in_order: bool) -> None:
    issues = validate_draft(dag, request=request, tools=TOOLS, in_order=in_order)
    assert all(str(issue) for issue in issues)


@settings(max_examples=80, deadline=None)
@given(broken_drafts(), st.randoms(use_true_random=False))
def test_finished_tasks_stay_as_they_are(tasks: list[Task], chance: Any) -> None:
    finished = {one.task_id for one in tasks if chance.random() < 0.5}
    repair = repair_draft(tasks, request="Is 20 more than 5?", finished=finished)
    assert [one for one in repair.tasks if one.task_id in finished] == [one for one in tasks if one.task_id in finished]


@settings(max_examples=60, deadline=None)
@given(full_graphs(), st.randoms(use_true_random=False))
def test_what_is_wrong_does_not_depend_on_the_order_of_the_tasks(dag: TaskDAG, chance: Any) -> None:
    shuffled = list(dag)
    chance.shuffle(shuffled)
    request = "Find 30 hotels in Rome. Then write a 'Summary' of it."
    counts = [
        sorted((issue.kind, issue.severity) for issue in validate_draft(tasks, request=request))
        for tasks in (list(dag), shuffled)
    ]
    assert counts[0] == counts[1]
