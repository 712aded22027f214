from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.errors import InvalidInput, InvalidPlan
from kapelle.graph import Task, TaskDAG
from kapelle.planning import read_reply
from tests.strategies.graphs import full_graphs

CAPITALS = """<graph>
  <node id="s1">search("capital of France")</node>
  <node id="s2">search("capital of Germany")</node>
  <node id="s3" depends="s1">search("population of {s1}")</node>
  <node id="s4" depends="s2">search("population of {s2}")</node>
</graph>"""
EXPECTED = TaskDAG.from_xml(CAPITALS)


def replaced(old: str, new: str, count: int = -1) -> str:
    assert old in CAPITALS
    return CAPITALS.replace(old, new, count)


def in_json(graph: TaskDAG = EXPECTED) -> str:
    return json.dumps(graph.to_dict(), indent=1)


WORDS = st.sampled_from(["capital of Peru", "a & b", "x < y", "its area, in km²", "Smith’s law", "50 % of it", "c"])


@st.composite
def plausible_graphs(draw: st.DrawFn) -> TaskDAG:
    """Graphs such as models write: calls with a text or two, dependencies as references or as edges."""
    tasks: list[Task] = []
    for number in range(1, draw(st.integers(1, 6)) + 1):
        earlier = [task.task_id for task in tasks]
        before: list[str] = []
        if earlier:
            before = draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True))
        referred = f" of {{{before[0]}}}" if len(before) > 0 and draw(st.booleans()) else ""
        inputs = {"query": draw(WORDS) + referred}
        if draw(st.booleans()):
            inputs["limit"] = "3"
        kind = draw(st.sampled_from(["search", "compare", "sql"]))
        tasks.append(Task(task_id=f"s{number}", task_type=kind, inputs=inputs, depends_on=tuple(before)))
    return TaskDAG(tasks)


def unescaped(xml: str) -> str:
    return xml.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")


def without_last_end(xml: str) -> str:
    return xml.removesuffix("</graph>").rstrip()


def depends_as(xml: str, form: str, separator: str) -> str:
    return re.sub(r'depends="([^"]*)"', lambda m: "depends=" + form.format(m[1].replace(",", separator)), xml)


XML_DAMAGE: dict[str, Callable[[str], str]] = {
    "prose around": lambda xml: f"Here's my plan (3 steps, a < b & so on):\n\n{xml}\n\nThat's it: s1 first.",
    "a code fence": lambda xml: f"Sure!\n```xml\n{xml}\n```\nDone.",
    "sections": lambda xml: f"<think>I'd use <graph> here, or <node id='x'>f()</node></think><plan>{xml}</plan>",
    "an open thought": lambda xml: f"<think>\nfirst s1, then s2\n<plan>\n{xml}\n</plan>",
    "an unopened thought": lambda xml: f"first s1\n</think>\n{xml}",
    "single quotes": lambda xml: re.sub(r'(id|depends)="([^"]*)"', r"\1='\2'", xml),
    "smart quotes": lambda xml: re.sub(r'(id|depends)="([^"]*)"', r"\1=“\2”", xml),
    "no quotes": lambda xml: re.sub(r'(id|depends)="([^"]*)"', r"\1=\2", xml),
    "a forgotten quote": lambda xml: re.sub(r'(id|depends)="([^"]*)"', r'\1="\2', xml),
    "no end of a node": lambda xml: xml.replace("</node>", "", 1),
    "no end of any node": lambda xml: xml.replace("</node>", ""),
    "no end of the graph": without_last_end,
    "no ends at all": lambda xml: without_last_end(xml).replace("</node>", ""),
    "no start of the graph": lambda xml: xml.removeprefix("<graph>"),
    "a forgotten end in its section": lambda xml: f"<plan>{without_last_end(xml)}</plan>\nDone.",
    "bare signs": unescaped,
    "semicolons": lambda xml: depends_as(xml, '"{}"', " ; "),
    "commas and spaces": lambda xml: depends_as(xml, '" {} "', ", "),
    "hashes": lambda xml: depends_as(xml, '"#{}"', ",#"),
    "brackets": lambda xml: depends_as(xml, "'[\"{}\"]'", '", "'),
    "another name": lambda xml: xml.replace("depends=", "depends_on="),
    "numbers as ids": lambda xml: re.sub(r'\bs(\d)(?=[",}])', r"\1", xml),
    "capitals": lambda xml: xml.replace("<node", "<Node").replace("</node>", "</NODE>"),
    "said twice": lambda xml: f"{xml}\nTo repeat:\n{xml}",
    "a comment": lambda xml: xml.replace("<node", "<!-- next --><node", 1),
    "smart quotes in calls": lambda xml: re.sub(r'\((query=)?"([^"]*)"\)', r"(\1“\2”)", xml),
    "no bracket": lambda xml: xml.replace('")</node>', '"</node>', 1),
}


@pytest.mark.parametrize("damage", XML_DAMAGE.values(), ids=XML_DAMAGE)
@given(graph=plausible_graphs())
@settings(max_examples=25, deadline=None)
def test_a_damaged_graph_reads_as_the_whole_one(damage: Callable[[str], str], graph: TaskDAG) -> None:
    damaged = damage(graph.to_xml())
    assert read_reply(damaged).graph == graph, damaged


JSON_DAMAGE: dict[str, Callable[[str], str]] = {
    "prose around": lambda text: f"Here's the plan for {{you}}:\n{text}\nIt's [good].",
    "a code fence": lambda text: f"Sure:\n```json\n{text}\n```",
    "trailing commas": lambda text: re.sub(r'([}\]"])(\s*[}\]])', r"\1,\2", text),
    "comments": lambda text: text.replace("{\n", "{ // a comment, {\n", 1).replace('"tasks"', '/* all */ # x\n"tasks"'),
    "single quotes": lambda text: repr(json.loads(text)),
    "bare keys": lambda text: re.sub(r'"(\w+)":', r"\1:", text),
    "smart quotes": lambda text: re.sub(r'"([^"]*)"', r"“\1”", text),
    "a list alone": lambda text: json.dumps(json.loads(text)["tasks"]),
    "other names": lambda text: text.replace("task_id", "id").replace("task_type", "tool").replace("inputs", "args"),
    "nodes by id": lambda text: json.dumps(
        {"plan": {"nodes": {t.pop("task_id"): t for t in json.loads(text)["tasks"]}}}
    ),
    "thoughts before": lambda text: f"<think>{{'tasks': [</think>{text}",
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", JSON_DAMAGE.values(), ids=JSON_DAMAGE)
@given(graph=plausible_graphs())
@settings(max_examples=25, deadline=None)
def test_damaged_json_reads_as_the_whole_plan(damage: Callable[[str], str], graph: TaskDAG) -> None:
    damaged = damage(in_json(graph))
    assert read_reply(damaged).graph == graph, damaged


@given(full_graphs())
@settings(max_examples=150, deadline=None)
def test_what_is_well_formed_is_read_exactly_and_not_mended(graph: TaskDAG) -> None:
    if len(graph) == 0:
        return
    # Orders, and how long and how often to try, are the user's to give: JSON replies of models have no such fields.
    graph = TaskDAG(dataclasses.replace(task, strategy=None, timeout_s=None, retries=None) for task in graph)
    for text in (graph.to_xml(), in_json(graph), f"<plan>\n{graph.to_xml()}\n</plan>"):
        reply = read_reply(text)
        assert reply.graph == TaskDAG.from_xml(graph.to_xml()) == graph
        assert reply.repairs == ()


@given(st.text(alphabet="<>/\"'=node graphid={}[]():,;#$s12\n“”&!-`", max_size=60) | st.text(max_size=60))
@settings(max_examples=400, deadline=None)
def test_any_text_is_a_graph_or_a_clear_error(text: str) -> None:
    for reply in (text, f"<graph>{text}", f'<graph><node id="s1">{text}</node></graph>', f'{{"tasks": [{text}'):
        try:
            read_reply(reply)
        except InvalidInput as error:
            assert str(error)  # noqa: PT017 - either outcome is right; no other exception is


@given(plausible_graphs(), st.data())
@settings(max_examples=150, deadline=None)
def test_a_reply_that_was_cut_off_is_refused_or_whole(graph: TaskDAG, data: st.DataObject) -> None:
    for text in (graph.to_xml(), in_json(graph)):
        start = text[: data.draw(st.integers(0, len(text) - len("</graph>")))]
        try:
            kept = read_reply(start).graph
        except InvalidPlan:
            continue
        # Without </graph> nothing shows whether more nodes were to come; that the provider can tell, see `cut_off`.
        assert kept is not None
        assert list(kept) == list(graph)[: len(kept)]
        assert len(kept) == start.count("<node")
        with pytest.raises(InvalidPlan, match="cut off"):
            read_reply(start, cut_off=True)


def test_every_repair_leaves_a_note_that_names_the_node() -> None:
    reply = read_reply("Sure: " + replaced('depends="s1"', "depends=“#s1”"))
    assert reply.repairs == (
        "The quotes of attributes were mended (s3).",
        "The list in 'depends' was tidied up (s3).",
    )
    assert reply.graph == EXPECTED


def test_the_functions_of_a_reply_are_told_apart() -> None:
    reply = read_reply(
        f"<think>two parts</think><plan>{CAPITALS}</plan><observation>o</observation><answer>42</answer>"
    )
    assert (reply.think, reply.observation, reply.answer, reply.graph) == ("two parts", "o", "42", EXPECTED)


def test_a_reflection_revises_the_plan_that_it_follows() -> None:
    revised = replaced("Germany", "Spain")
    reply = read_reply(f"<plan>{CAPITALS}</plan><reflection>Spain was meant. {revised}</reflection>")
    assert reply.graph == TaskDAG.from_xml(revised)
    assert reply.reflection.startswith("Spain was meant.")
    assert reply.repairs == ("The reflection revised the plan, and its graph counts.",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("I would rather not.", "There is no <graph> in the reply"),
        (
            f"{CAPITALS}\nor\n{replaced('Germany', 'Spain')}",
            r"line 8: There are 2 different graphs, at line 1 and line 8",
        ),
        (replaced('"s2">', '"s1">', 1), r"line 3, node 's1': Another node has this id already"),
        (replaced('depends="s1"', 'depends="s9"'), r"line 4, node 's3': Task 's3' depends on 's9'"),
        (
            replaced('"s1">', '"s1" depends="s3">', 1).replace("of {s1}", "of Paris"),
            r"line 4, node 's3': The tasks wait for each other",
        ),
        (replaced('"capital of France"', "capital, France"), r"line 2, node 's1': .*texts need quotes"),
        (replaced('id="s2"', ""), r"line 3: The node has no id"),
        (CAPITALS[:-30], r"line 5, node 's4': The reply was cut off inside of this node"),
        (CAPITALS[: CAPITALS.index("pends")], r"line 4, node 's3': The reply was cut off inside of <node>"),
        (replaced("</node>", "</node> search('x')", 1), r"stands outside of the nodes"),
        (replaced("</node>", '</node><edge from="s1" to="s2"/>', 1), r"stands outside of the nodes"),
        (replaced("</node>", "</node></node>", 1), r"line 2: This </node> closes nothing"),
        (f"<!DOCTYPE x>{CAPITALS}", "line 1: The XML has a DTD"),
        (f'<!ENTITY a "b">{CAPITALS}', "line 1: The XML has a DTD"),
        ("<graph></graph>", "line 1: The graph has no nodes"),
        ('{"tasks": [{"id": "s1", "type": "f"},', "line 1: The JSON ends in the middle"),
        ('{"tasks": [\n{"type": "f", "id": "s1"},\n{"type": "f"}]}', "line 3: A task has no id"),
        ('{"tasks": [{"id": "s1"}], "last": {"id": "s2"}}', "'last' beside 'tasks'"),
        ('{"tasks": [{"id": "s1"}], "nodes": [{"id": "s2"}]}', "Put all tasks into one list"),
        ('{"tasks": [{"id": "s1"}], "edges": [["s1", "s2"]]}', "An edge leads to 's2'"),
        ('{"tasks": [{"id": "s1"}, "then the rest"]}', "Item 2 of the tasks"),
        ('1. search("a")\n2. think about it', "line 2: '2. think about it' is no call"),
        ("<patch><keep/></patch>", "A patch changes a plan, and there is none yet"),
    ],
)
def test_what_has_no_one_meaning_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(InvalidPlan, match=told):
        read_reply(text)


SHAPES = [
    '{"nodes": [{"id": 1, "tool": "f"}, {"id": 2, "tool": "g"}], "edges": [[1, 2]]}',
    '{"nodes": [{"id": "s1", "tool": "f"}, {"id": "s2", "tool": "g"}], "edges": [{"from": "s1", "to": "s2"}]}',
    '{"think": "x", "steps": [{"id": "s1", "call": "f()"}, {"id": "s2", "call": "g()", "depends": "s1; "}]}',
    '{"tasks": {"s1": {"type": "f"}, "s2": {"type": "g"}}, "dependencies": {"s2": ["s1"]}}',
    "[{'id': 's1', 'action': 'f', 'after': None}, {'id': 's2', 'action': 'g', 'after': ['s1']}]",
    '[{"function": {"name": "f"}}, {"function": {"name": "g"}, "dependencies": [1]}]',
    '{"graph": "<graph><node id=\\"s1\\">f()</node><node id=\\"s2\\" depends=\\"s1\\">g()</node></graph>"}',
    "1. f()\n2. g($1)\n3. join()",
]


@pytest.mark.parametrize("text", SHAPES)
def test_a_plan_of_two_tasks_in_many_shapes(text: str) -> None:
    graph = read_reply(f"My plan:\n{text}").graph
    assert graph is not None
    assert [(task.task_id, task.task_type) for task in graph] == [("s1", "f"), ("s2", "g")]
    assert graph.edges == (("s1", "s2"),)


def test_numbered_lines_refer_by_dollars() -> None:
    text = '1. search("capital of France")\n2. search("people of ${1}, under $5")\n3. join()<END_OF_PLAN>'
    graph = read_reply(f"Thought: two\n{text}").graph
    assert graph is not None
    assert graph["s2"].inputs == {"query": "people of {s1}, under $5"}


def test_unknown_fields_of_json_are_kept_as_metadata() -> None:
    graph = read_reply('{"tasks": [{"id": "s1", "type": "f", "why": "first"}]}').graph
    assert graph is not None
    assert graph["s1"].metadata == {"why": "first"}


def test_parallel_searches_unfold_as_in_a_plan_file() -> None:
    graph = read_reply("<graph><node id=s1>search('a | b')<node id=s2>compare({s1})</graph>").graph
    assert graph is not None
    assert list(graph.tasks) == ["s1_1", "s1_2", "s2"]
    assert graph["s2"].inputs == {"query": ["{s1_1}", "{s1_2}"]}


HOSTILE = {
    "<": "<",
    "open nodes": '<node id="',
    "smart opens": "<node id=“",
    "no ids": "<node ",
    "comments": "<!--",
    "cdata": "<![CDATA[",
    "graphs": "<graph>",
    "thoughts": "<think>",
    "ends": "</node>",
    "spaces": "<node id=a" + " " * 2000,
    "equals": "<node a =",
    "braces": "{",
    "brackets": '["',
    "lists": '[{"a":',
    "json quotes": '{"a": "b" ',
    "fences": "```json\n{",
    "lines": "1. f(",
    "entities": "&a;",
    "quotes": '<node id="x" description="',
    "hashes": '<node id="a" depends="#1">$1',
    "pipes": "a | b",
    "back": "\\",
}


@pytest.mark.slow
@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_a_megabyte_of_anything_comes_to_an_end(piece: str) -> None:
    for before, size in (("", 1_000_000), ('<graph><node id="s1">', 500_000), ('<graph><node id="', 200_000)):
        with pytest.raises(InvalidInput):
            read_reply(before + piece * (size // len(piece)))
    with pytest.raises(InvalidInput):
        read_reply('{"tasks": [{"id": "' + piece * (200_000 // len(piece)))


def test_a_reply_beyond_the_limit_is_refused() -> None:
    with pytest.raises(InvalidPlan, match="at most 2,000,000"):
        read_reply("x" * 2_000_001)
    with pytest.raises(InvalidPlan, match="not a text"):
        read_reply(None)  # type: ignore[arg-type]  # the point


def test_entities_are_never_defined_or_expanded() -> None:
    graph = read_reply('<graph><node id="s1" type="f">&lol; &eacute; &#65; &amp;lt; R&D</node></graph>').graph
    assert graph is not None
    assert graph["s1"].description == "&lol; é A &lt; R&D"
