from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kapelle.documents import MAX_DOCUMENT_BYTES
from kapelle.errors import CycleFound, InvalidInput, InvalidPlan, UnknownTask
from kapelle.graph import Task, TaskDAG
from kapelle.limits import MAX_TASKS
from tests.strategies.graphs import full_graphs


def read(*nodes: str) -> TaskDAG:
    return TaskDAG.from_xml("<graph>\n" + "\n".join(nodes) + "\n</graph>")


@given(full_graphs())
def test_every_graph_survives_xml(dag: TaskDAG) -> None:
    again = TaskDAG.from_xml(dag.to_xml())
    assert again == dag
    assert again.to_dict() == dag.to_dict()


def test_the_gdp_example_of_graph_planning_is_read() -> None:
    dag = TaskDAG.from_xml(
        """
        <plan>
        <graph>
          <node id="s1">search("top 3 most populous countries in Asia")</node>
          <node id="s2" depends="s1">search("GDP growth rate {country_1_from_s1}")</node>
          <node id="s3" depends="s1">search("GDP growth rate {country_2_from_s1}")</node>
          <node id="s4" depends="s1">search("GDP growth rate {country_3_from_s1}")</node>
          <node id="s5" depends="s2,s3,s4">compare_values({s2}, {s3}, {s4})</node>
        </graph>
        </plan>"""
    )
    assert dag.levels() == (("s1",), ("s2", "s3", "s4"), ("s5",))
    assert dag["s5"].task_type == "compare_values"
    assert dag["s5"].inputs == {"arg1": "{s2}", "arg2": "{s3}", "arg3": "{s4}"}
    assert dag["s2"].inputs == {"query": "GDP growth rate {country_1_from_s1}"}


def test_an_edge_that_the_plan_forgot_follows_from_the_reference() -> None:
    dag = read('<node id="s2">search("population of {s1}")</node>', '<node id="s1">search("a capital")</node>')
    assert dag.edges == (("s1", "s2"),)


def test_text_that_is_no_call_is_a_description() -> None:
    dag = read('<node id="a">Read the file</node>', '<node id="b" type="build" requires="rust, git">Build it</node>')
    assert dag["a"] == Task(task_id="a", task_type="task", description="Read the file")
    assert dag["b"].task_type == "build"
    assert dag["b"].requirements == {"rust", "git"}


def test_parallel_searches_become_tasks_and_their_dependents_mean_them_all() -> None:
    dag = read(
        '<node id="s1">search("France | Germany", limit=3)</node>',
        '<node id="s2" depends="s1">search("population of {s1}")</node>',
        '<node id="s3">compare({s1}, {s1[1]}, {country_1_from_s1})</node>',
        '<node id="s4" depends="s1">think()</node>',
    )
    assert dag["s1_1"].inputs == {"query": "France", "limit": 3}
    assert dag["s2"].inputs == {"query": "population of {s1_1}; {s1_2}"}
    assert dag["s3"].inputs == {"arg1": ["{s1_1}", "{s1_2}"], "arg2": "{s1_2}", "arg3": "{s1_1}"}
    assert dag["s4"].depends_on == ("s1_1", "s1_2")


def test_parts_of_a_search_keep_its_policies() -> None:
    dag = read(
        '<node id="s0">think()</node>',
        '<node id="s1" depends="s0" on_failure="continue" needs="some" approval="true">search("a | b")</node>',
    )
    assert [(task.on_failure, task.needs, task.approval) for task in (dag["s1_1"], dag["s1_2"])] == [
        ("continue", "some", True)
    ] * 2


def test_only_policies_that_are_not_the_usual_ones_are_written() -> None:
    task = Task(task_id="s1", task_type="pay", on_failure="fail", needs="some", approval=True)
    nodes = TaskDAG([task, Task(task_id="s2", task_type="pay")]).to_xml().splitlines()[1:-1]
    assert nodes == [
        '  <node id="s1" on_failure="fail" needs="some" approval="true">pay()</node>',
        '  <node id="s2">pay()</node>',
    ]


def test_parallel_searches_avoid_ids_that_are_taken() -> None:
    dag = read('<node id="s1">search("a | b")</node>', '<node id="s1_2">search("c")</node>')
    assert list(dag.tasks) == ["s1__1", "s1__2", "s1_2"]


def test_a_query_given_by_name_is_one_search() -> None:
    dag = read('<node id="s1">search(query="a | b")</node>')
    assert dag["s1"].inputs == {"query": "a | b"}
    assert 'search(query="a | b")' in dag.to_xml()


def test_plain_plans_are_written_as_people_write_them() -> None:
    dag = TaskDAG(
        [
            Task(task_id="s1", task_type="search", inputs={"query": 'the "best" <b>'}),
            Task(task_id="s2", task_type="compare", depends_on=("s1",), inputs={"arg1": "{s1}", "arg2": 3}),
            Task(task_id="s3", task_type="implement", description="Build the feature", deadline_s=60),
        ],
        version=2,
    )
    assert dag.to_xml().splitlines() == [
        '<graph version="2">',
        '  <node id="s1">search("the \\"best\\" &lt;b&gt;")</node>',
        '  <node id="s2" depends="s1">compare({s1}, 3)</node>',
        '  <node id="s3" type="implement" deadline="60">Build the feature</node>',
        "</graph>",
    ]


@pytest.mark.parametrize(
    ("node", "complaint"),
    [
        ('<node id="s1">search("a & b")</node>', "line 2: .*&amp;"),
        ('<node id="s1">search("a < b")</node>', "line 2: .*&lt;"),
        ("<node>search()</node>", "line 2: .*no id"),
        ('<node id="1">search()</node>', "line 2, node '1': .*no task id"),
        ('<node id="s1">search(France)</node>', "line 2, node 's1': .*quotes"),
        ('<node id="s1">search("a"</node>', "line 2, node 's1': .*the end of the call"),
        ('<node id="s1" depend="s0">search("a")</node>', "line 2, node 's1': .*no attribute 'depend'"),
        ('<node id="s1" type="sql">search("a")</node>', "line 2, node 's1': .*'sql'.*'search'"),
        ('<node id="s1" priority="high">search("a")</node>', "line 2, node 's1': .*whole number"),
        ('<node id="s1" deadline="soon">search("a")</node>', "line 2, node 's1': .*seconds"),
        ('<node id="s1" risk="none">search("a")</node>', "line 2, node 's1': .*'none'"),
        ('<node id="s1" on_failure="stop">search("a")</node>', "line 2, node 's1': .*'skip', 'fail' or 'continue'"),
        ('<node id="s1" needs="none">search("a")</node>', "line 2, node 's1': .*'all' or 'some'"),
        ('<node id="s1" approval="yes">search("a")</node>', "line 2, node 's1': .*'true' nor 'false'"),
        ('<node id="s1" metadata="{">search("a")</node>', "line 2, node 's1': .*metadata"),
        ('<node id="s1" inputs="{}">search("a")</node>', "line 2, node 's1': .*twice"),
        ('<node id="s1" description="x">Do it</node>', "line 2, node 's1': .*twice"),
        ('<node id="s1">search("a { b")</node>', "line 2, node 's1': .*brace"),
        ('<node id="s1"><b>bold</b></node>', "line 2: Unexpected <b> inside of the node 's1'"),
        ('<task id="s1">search("a")</task>', "line 2: Unexpected <task>"),
        ('first <node id="s1">search("a")</node>', "line 2: Text outside"),
        ('<node id="s1"/>\n<node id="s1"/>', "line 3, node 's1': Another node"),
        ('</graph>\n<graph><node id="s1"/>', "line [123]: "),
        ('<node id="s1">search("a | b")</node><node id="s2">f({s1.rate})</node>', "s2.*{s1.rate}.*'s1_1', 's1_2'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(node: str, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=f"(?s){complaint}"):
        read(node)


@pytest.mark.parametrize("text", ["", "Here is your plan:", "<plan/>", "<graph>", "\ud800", "<graph version='0'/>"])
def test_a_text_without_a_graph_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        TaskDAG.from_xml(text)


@pytest.mark.parametrize(
    "declared",
    [
        '<!DOCTYPE graph [<!ENTITY a "b">]>',
        '<!DOCTYPE graph SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE graph [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
    ],
)
def test_document_types_are_refused(declared: str) -> None:
    with pytest.raises(InvalidPlan, match="DTD"):
        TaskDAG.from_xml(f'{declared}<graph><node id="s1">x</node></graph>')


def test_a_declared_encoding_does_not_change_what_a_text_says() -> None:
    dag = TaskDAG.from_xml('<?xml version="1.0" encoding="latin-1"?><graph><node id="a">Größe</node></graph>')
    assert dag["a"].description == "Größe"


@pytest.mark.slow
def test_size_and_number_are_limited() -> None:
    with pytest.raises(InvalidPlan, match="larger than"):
        TaskDAG.from_xml("<graph>" + " " * MAX_DOCUMENT_BYTES + "</graph>")
    with pytest.raises(InvalidPlan, match=f"more than {MAX_TASKS:,} tasks"):
        read(f'<node id="s1">search("{"|x" * (MAX_TASKS + 1)}")</node>')
    with pytest.raises(InvalidPlan, match=f"more than {MAX_TASKS:,} nodes"):
        read(*(f'<node id="s{number}"/>' for number in range(MAX_TASKS + 1)))


@pytest.mark.parametrize(
    "nodes",
    [
        [f'<node id="s1">search("{"a|" * 5000}", note="{"x" * 100_000}")</node>'],
        [f'<node id="s1">search("{"a|" * 5000}")</node>', f'<node id="s2">think("{"{s1}" * 10_000}")</node>'],
        [f'<node id="s1">search("{"a|" * 5000}")</node>']
        + [f'<node id="t{number}" depends="s1"/>' for number in range(4000)],
    ],
)
def test_a_short_text_cannot_ask_for_gigabytes(nodes: list[str]) -> None:
    with pytest.raises(InvalidInput, match=r"more than|too long"):
        read(*nodes)


def test_line_numbers_count_from_the_start_of_the_text() -> None:
    with pytest.raises(InvalidPlan, match="line 3, node 's1'"):
        TaskDAG.from_xml("\n\n<graph><node id='s1'>search(x)</node></graph>")
    with pytest.raises(InvalidPlan, match=r"line 3: .*&amp;"):
        TaskDAG.from_xml("\n<graph>\n<node id='s1'>a & b</node></graph>")


def test_cycles_and_dangling_edges_keep_their_names() -> None:
    with pytest.raises(CycleFound, match=r"'a'.*'b'"):
        read('<node id="a" depends="b"/>', '<node id="b" depends="a"/>')
    with pytest.raises(UnknownTask, match="'a' depends on 'b'"):
        read('<node id="a" depends="b"/>')


FRAGMENTS = st.sampled_from(
    [
        "<graph>", "</graph>", "<node ", 'id="s1"', 'id="s2"', 'depends="s1"', 'inputs="{"', 'metadata="[]"', ">", "/>",
        "</node>", "search(", '"a | b"', "{s1}", "{", "}", ")", ",", "limit=", "1e999", "9" * 5000, "[" * 300, "&",
        "&lt;", "&#0;", "<!--", "-->", "<![CDATA[", "]]>", "<?xml version='1.0'?>", "\x00", "'", '"', "\\", "\\ud800",
        "|", "version='x'", "requires='[1]'", "escaped_description='3'", "inputs='[]'", "priority='1e3'",
        "deadline='nan'", "type=''",
    ]
)  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=25).map("".join) | st.text(max_size=40))
@example("<graph><node id='s1' inputs='[]'/></graph>")
@example("<graph><node id='s1' requires='[1]'/></graph>")
@example("<graph><node id='s1' escaped_description='3'/></graph>")
@example(f"<graph><node id='s1'>f({'9' * 5000})</node></graph>")
@example(f"<graph><node id='s1' priority='{'9' * 5000}'/></graph>")
@example(f"<graph><node id='s1' inputs='{'[' * 100_000}'/></graph>")
def test_no_text_raises_anything_but_invalid_input(text: str) -> None:
    with suppress(InvalidInput):
        TaskDAG.from_xml(text)


@given(full_graphs(max_size=3), st.data())
def test_no_damage_raises_anything_but_invalid_input(dag: TaskDAG, data: st.DataObject) -> None:
    text = dag.to_xml()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 10)))
    with suppress(InvalidInput):
        TaskDAG.from_xml(text[:start] + data.draw(FRAGMENTS | st.text(max_size=3)) + text[end:])
