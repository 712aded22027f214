"""What a file, a cell, an output or a quoted text holds never decides what is done: one item never becomes many.

Every source of texts that are not the user's own words, with every text that could be taken for work, a file, a sum, a
query, a reference or markup: the tasks are those of a plain word, and each carries its text as it is.
"""

from __future__ import annotations

import asyncio
import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle import Engine, SqliteLedger
from kapelle.agents import AgentCapability, AgentResult, TaskContext
from kapelle.documents import MAX_YAML_CHARS
from kapelle.errors import AgentFailed, CannotPlan
from kapelle.execution.growth import GrowthLimits, grow
from kapelle.graph import Task, TaskDAG, escape_braces, resolve_references
from kapelle.local import local_agents
from kapelle.patterns import AgentOrchestrator
from kapelle.planning import ForEachAgent, HTDAGPlanner, ModelPlanner, Plan, RulePlanner, read_items
from kapelle.planning.plan_file import parse_plan, write_plan
from kapelle.planning.rules.stand_ins import StandIns
from kapelle.testing import ScriptedModel

ITEMS = {
    "a plain word": "Peru",
    "an enumeration": "Peru, Chile and Bolivia",
    "an alternative": "Peru or Chile",
    "a comparison": "Peru vs. Chile",
    "an ampersand": "Marks & Spencer",
    "a semicolon": "find x; then write a report",
    "sentences": "Find the capital of Peru. Then compare them. Finally write a report.",
    "a file": "notes.md",
    "a path": "../../etc/passwd.csv",
    "a file at hand": "data/things.csv",
    "a quoted file": "'other file.csv'",
    "a sum": "12 divided by 3",
    "an operation": "the area of Chile divided by its population",
    "arithmetic": "3 + 4",
    "a percentage": "12% of 340",
    "a query": "SELECT * FROM things",
    "an injection": "x' OR 1=1; DROP TABLE things --",
    "a reference": "{s1}",
    "a part of an output": "{s1.answer[0]}",
    "a named part": "{country_1_from_s1}",
    "braces": "} {{ {",
    "a dollar reference": "$1 and #1 of step 1",
    "a blank": "___",
    "words for a result": "the results above",
    "a pronoun": "its",
    "more pronouns": "it and their capitals",
    "a fact": "the area of the capital of Chile",
    "another for each": "for each of A and B, find its area",
    "a question": "Which is larger, France or Spain?",
    "a superlative": "the 10 largest countries",
    "markup": "<graph><node id='s9'>search('x')</node></graph>",
    "a call": "search(\"a\" | 'b')",
    "JSON": '{"tasks": [{"id": "s1", "type": "lookup"}]}',
    "parallel searches": "France | Germany",
    "quotes": "the \"great\" 'wall",
    "one quote": "'",
    "an apostrophe": "Peru's",
    "a dash": "- Peru",
    "an option": "--db=x",
    "a number": "1,234.5",
    "a negative number": "-3",
    "line breaks": "first\nThe whole request: write a report\r\n\n- third",
    "a tab": "a\tb",
    "spaces around": "  Peru  ",
    "control characters": "a\x00b\x1b[31mc\x7f",
    "bidi": "\u202eureP\u2066",
    "other separators": "a\u2028b\u2029c\x85d",
    "the protector of names": "a\u2060b\u2063c\u2045found\u2046",
    "letters of stand-ins": "P\U00010428\U00010428\U00010428\U00010428",
    "a verb of an agent": "implement the login page, test it, deploy it",
    "a type of task": "for_each",
    "words only": "population",
    "an article": "the",
    "very long": "Peru and " * 3_000,
    "very long and one word": "x" * 30_000,
}  # fmt: skip
PLAIN = "Ruritania"
BODIES = (
    "find its capital",
    "find its capital and its area",
    "find its capital, population and area",
    "find its capital and find its highest mountain",
    "what is its population?",
    "who built it?",
    "find the population of its capital",
    "find its longest river",
    "how many people live in it?",
    "implement it",
    "what is the population of its capital and who rules it?",
)
AGENTS = {
    card.agent_id: card
    for card in (
        AgentCapability(agent_id="search", task_types=("lookup", "search")),
        AgentCapability(agent_id="tables", task_types=("sql",)),
        AgentCapability(agent_id="python", task_types=("compute",)),
        AgentCapability(agent_id="writer", task_types=("compare", "report", "summarize", "combine")),
        AgentCapability(agent_id="builder", task_types=("implement", "test", "deploy")),
        AgentCapability(agent_id="for-each", task_types=("for_each", "expand")),
    )
}
FILES = ("data/things.csv", "notes.md")
CONTEXT = TaskContext(run_id="r", request="")


def shape(graph: TaskDAG) -> list[tuple[Any, ...]]:
    """What a graph asks for, whoever it is about: ids, types, edges, the names of inputs."""
    return [(task.task_id, task.task_type, task.dependencies, tuple(task.inputs), task.needs) for task in graph]


def texts_of(task: Task) -> list[str]:
    """The inputs of a task as its agent sees them, with a mark for each output."""
    outputs = dict.fromkeys(task.dependencies, "\ue000")
    return [str(resolve_references(value, outputs)) for value in task.inputs.values()]


def plan_alike(planner: RulePlanner, items: Sequence[str], body: str) -> TaskDAG:
    """Plan a body for items; it must be the graph of as many plain words, with the items in their places."""
    words = [f"Ruritania{number:03}x" for number in range(len(items))]
    graph, plain = planner.plan_each(items, body, AGENTS), planner.plan_each(words, body, AGENTS)
    assert shape(graph) == shape(plain)
    for task, other in zip(graph, plain, strict=True):
        for text, wanted in zip(texts_of(task), texts_of(other), strict=True):
            assert text == re.sub("Ruritania([0-9]{3})x", lambda found: items[int(found[1])], wanted)
    return graph


def for_each(items: Any, body: str = "find its capital", planner: RulePlanner | None = None, **more: Any) -> TaskDAG:
    """Let the agent repeat a body for what an output lists."""
    task = Task(task_id="s2", task_type="for_each", inputs={"items": "{s1}", "body": body, **more}).resolved(
        {"s1": items}
    )
    context = TaskContext(run_id="r", request="", upstream={"s1": items})
    result = asyncio.run(ForEachAgent(planner or RulePlanner(files=FILES), lambda: AGENTS).run(task, context))
    assert result.expansion is not None
    return result.expansion


# Where items come from: the output of another task, by its form.
SOURCES: dict[str, Callable[[list[str]], Any]] = {
    "rows of a table": lambda items: {"columns": ["thing", "n"], "rows": [[item, 1] for item in items]},
    "rows by name": lambda items: {"rows": [{"thing": item, "n": 1} for item in items]},
    "a list": lambda items: items,
    "a list inside": lambda items: {"items": items},
    "results": lambda items: {"results": [[item] for item in items], "text": ", ".join(items)},
    "cells that were looked up": lambda items: [
        {"answer": item, "text": f"x: {item}", "fact": {"subject": "x", "attribute": "y", "value": item}}
        for item in items
    ],
    "single rows": lambda items: [{"answer": item, "rows": [[item]]} for item in items],
    "outputs of other agents": lambda items: [{"answer": "Lima"}, *items],
}


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_an_item_stays_one_item_wherever_it_comes_from(source: Callable[[list[str]], Any], item: str) -> None:
    graph, plain = for_each(source([item, "Lima"])), for_each(source([PLAIN, "Lima"]))
    assert shape(graph) == shape(plain)
    assert sum(item in texts_of(task)[0] for task in graph) >= 1
    assert any(task.metadata["item"] == item for task in graph)


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
@pytest.mark.parametrize("body", BODIES)
def test_what_is_done_is_decided_by_the_body_alone(body: str, item: str) -> None:
    graph = plan_alike(RulePlanner(files=FILES), [item, PLAIN, item], body)
    assert not any("file" in task.inputs for task in graph)


@pytest.mark.slow
@given(
    st.lists(st.text(max_size=30) | st.sampled_from(list(ITEMS.values())), min_size=1, max_size=6),
    st.sampled_from(BODIES),
)
@settings(max_examples=300, deadline=None)
def test_any_items_give_the_graph_of_as_many_plain_words(items: list[str], body: str) -> None:
    items = [item.encode("utf-8", "replace").decode() for item in items]
    graph = plan_alike(RulePlanner(files=FILES), items, body)
    whole = TaskDAG(
        [Task(task_id="s2", task_type="for_each"), Task(task_id="s3", task_type="report", inputs={"of": "{s2}"})]
    )
    grown = grow(whole, whole["s2"], graph, GrowthLimits())
    assert len(grown) == len(graph) + 1
    assert TaskDAG.from_xml(grown.to_xml()) == grown  # also as the markup that models and people read
    if len(written := write_plan("", grown)) <= MAX_YAML_CHARS:  # longer plans are refused as YAML, whatever is in them
        assert parse_plan(written).graph == grown


@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=6,
        ).filter(lambda item: not (isinstance(item, Mapping) and "answer" in item)),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=300, deadline=None)
def test_items_of_any_kind_are_one_item_each(items: list[Any]) -> None:
    items = [item for item in items if len(read_items([item])) == 1]  # an empty cell is no item
    distinct = read_items(items)
    assert len(distinct) <= len(items)
    if distinct:
        graph = for_each(items)
        assert [task.metadata["item"] for task in graph] == list(distinct)


@pytest.mark.parametrize(
    "item", [None, 0, 3.5, True, ["Peru", "Chile"], {"name": "Peru", "and": "Chile"}, [["a"], "b"]]
)
def test_what_is_no_text_is_one_item(item: Any) -> None:
    assert shape(for_each([item])) == shape(for_each([PLAIN]))
    assert shape(for_each({"rows": [[item, "Chile"]]})) == shape(for_each([PLAIN]))


@pytest.mark.parametrize("item", ["Peru, Chile and Bolivia", "Washington, D.C.", "salt and pepper", "a; b"])
def test_an_answer_to_a_question_for_one_thing_is_one_item_also_when_it_is_the_only_one(item: str) -> None:
    several = for_each([{"answer": item}, {"answer": "Lima"}], one_each=True)
    assert [task.metadata["item"] for task in several] == [item, "Lima"]
    assert [task.metadata["item"] for task in for_each({"answer": item}, one_each=True)] == [item]


def test_the_request_says_whether_one_thing_was_asked_of_each() -> None:
    def asked(body: str) -> Any:
        request = f"For each country in Asia, {body}; for each of them, find its population"
        graph = asyncio.run(RulePlanner().plan(request, AGENTS)).graph
        return graph["s3"].inputs.get("one_each", False)

    assert asked("find its capital") is True
    assert asked("find its neighbours") is False


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_an_output_in_a_body_is_data(item: str) -> None:
    def expand(found: str) -> TaskDAG:
        task = Task(
            task_id="s3", task_type="for_each", inputs={"items": "{s1}", "body": "find its distance to {s2}"}
        ).resolved({"s1": ["Lima"], "s2": found})
        context = TaskContext(run_id="r", request="", upstream={"s1": ["Lima"], "s2": found})
        result = asyncio.run(ForEachAgent(RulePlanner(files=FILES), lambda: AGENTS).run(task, context))
        assert result.expansion is not None
        return result.expansion

    graph = expand(item)
    assert shape(graph) == shape(expand(PLAIN))
    assert any(item in text for task in graph for text in texts_of(task))


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_an_output_among_listed_items_is_one_of_them(item: str) -> None:
    def expand(listed: str, found: Any) -> list[str]:
        task = Task(task_id="s3", task_type="for_each", inputs={"items": listed, "body": "find its capital"})
        context = TaskContext(run_id="r", request="", upstream={"s1": found})
        result = asyncio.run(ForEachAgent(RulePlanner(), lambda: AGENTS).run(task.resolved({"s1": found}), context))
        assert result.expansion is not None
        return [one.metadata["item"] for one in result.expansion]

    assert expand("Lima, {s1} and Quito", item) == ["Lima", item, "Quito"]
    # The answer of a table is its cells, also where a plan names it.
    assert expand("{s1.answer}", {"answer": f"{item}, Lima", "rows": [[item], ["Lima"]]}) == [item, "Lima"]
    assert expand("{s1.answer}", {"answer": item, "fact": {"value": item}}) == [item]


def test_an_and_inside_of_a_name_parts_no_list() -> None:
    assert read_items("Marks and Spencer, Tesco and Aldi") == ("Marks and Spencer", "Tesco", "Aldi")
    assert read_items("Tesco, Aldi, and Marks and Spencer") == ("Tesco", "Aldi", "Marks and Spencer")


def test_a_title_is_short_whatever_is_quoted() -> None:
    graph = asyncio.run(RulePlanner().plan(f'Find the author of "{"x " * 5_000}y". Find Lima.', AGENTS)).graph
    assert [len(task.inputs["title"]) < 500 for task in graph if "title" in task.inputs] == [True]


def test_a_body_that_is_an_output_is_no_request() -> None:
    found = "find its capital"
    task = Task(task_id="s3", task_type="for_each", inputs={"items": ["Lima"], "body": "{s2}"}).resolved({"s2": found})
    context = TaskContext(run_id="r", request="", upstream={"s2": found})
    with pytest.raises(AgentFailed, match="No rule fits 'find its capital'"):
        asyncio.run(ForEachAgent(RulePlanner(), lambda: AGENTS).run(task, context))


def test_an_item_that_no_task_can_hold_fails_the_task_alone() -> None:
    with pytest.raises(AgentFailed, match="half of a character"):
        for_each(["Peru", "a\ud800b"])


def test_a_refusal_names_the_item_and_not_what_stood_for_it() -> None:
    for length in range(1, 100):  # wherever it is cut
        with pytest.raises(CannotPlan, match="a comparison needs two things") as refused:
            RulePlanner().plan_each(["Chile"], f"compare {'x' * length} it", AGENTS)
        assert not any("\U00010428" <= char <= "\U0001044f" for char in str(refused.value))


def test_the_tables_decide_alike_for_all_items() -> None:
    known = RulePlanner(answers_from_tables=lambda question: "Chile" in question or "Peru" in question)
    body = "find its longest river"
    assert [task.task_type for task in known.plan_each(["Peru", "Chile"], body, AGENTS)] == ["sql", "sql"]
    assert [task.task_type for task in known.plan_each(["Peru", "x"], body, AGENTS)] == ["lookup", "lookup"]


# What the user has in quotes

QUOTABLE = {
    name: text
    for name, text in ITEMS.items()
    if '"' not in text and text == text.strip() and len(text) < 9_000 and "\r" not in text
}
REQUESTS = (
    'Find the meaning of "@"',
    'Who wrote "@"?',
    'For each of "@" and Brazil, find its capital',
    'Compare "@" and Brazil by area',
    'Find the capital of "@", then find its population',
    "Find the author of “@”. Finally write a report.",
    'Implement "@" and test it',
)


@pytest.mark.parametrize("item", QUOTABLE.values(), ids=QUOTABLE)
@pytest.mark.parametrize("request_text", REQUESTS)
def test_what_is_quoted_in_a_request_is_one_thing(request_text: str, item: str) -> None:
    def plan(words: str) -> TaskDAG:
        return asyncio.run(RulePlanner().plan(request_text.replace("@", words), AGENTS)).graph

    graph = plan(item)
    names_a_file = item.endswith((".md", ".csv"))
    if not names_a_file:  # a file is named in quotes, too
        assert shape(graph) == shape(plan(PLAIN))
    assert any(item in text for task in graph for text in texts_of(task))


def test_a_refusal_quotes_the_words_of_the_user() -> None:
    with pytest.raises(CannotPlan, match="No rule fits 'Dance \"the tango, then rest\"'"):
        asyncio.run(RulePlanner().plan('Dance "the tango, then rest"', AGENTS))


def test_inches_and_apostrophes_are_no_quotes() -> None:
    stand_ins = StandIns("")
    for text in ('a 5" pipe and a 6" pipe', "Peru's capital and Chile's area", "the rivers' lengths, the lakes' areas"):
        assert stand_ins.hide_quoted(text, lambda _: "") == text


@pytest.mark.parametrize("mark", ['"', "'", "“", "«", "„", "‘", ' "x', " 'x", "P\U00010428"])
def test_quotes_are_read_once_however_many_there_are(mark: str) -> None:
    text = mark * 100_000
    stand_ins = StandIns("")
    assert stand_ins.fill(stand_ins.hide_quoted(text, lambda _: "")) == text


@given(st.text(alphabet="ab \"'“”‘’«»„.,\n", max_size=60) | st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_what_is_hidden_comes_back_as_it_was(text: str) -> None:
    stand_ins = StandIns(text)
    assert stand_ins.fill(stand_ins.hide_quoted(text, lambda _: "")) == text


# Files that the user names in words of their own stay files.


@pytest.mark.parametrize(
    ("request_text", "file"),
    [
        ("Summarize notes.md", "notes.md"),
        ("Read 'other file.csv'", "other file.csv"),
        ('Read "things.csv"', "data/things.csv"),
        ('Read "a, then b.csv"', "a, then b.csv"),
        ("Find the owner in things.csv", "data/things.csv"),
    ],
)
def test_a_file_that_the_user_names_is_a_file(request_text: str, file: str) -> None:
    graph = asyncio.run(RulePlanner(files=FILES).plan(request_text, AGENTS)).graph
    assert graph["s1"].inputs["file"] == file


# Outputs in what local agents are asked


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("things")
    with (folder / "things.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["thing", "capital", "area"])
        table.writerows([["Peru", "Lima", 1_285_216], ["Chile", "Santiago", 756_102], ["Bolivia", "Sucre", 1_098_581]])
        table.writerow(["Peru, Chile and Bolivia", "none", 3])
        table.writerow(["over 1000000", "many", 5])
    (folder / "notes.md").write_text("# Notes\n\nThe secret of the notes is 42.\n", encoding="utf-8")
    return folder


def ask(folder: Path, kind: str, outputs: Mapping[str, Any], **inputs: Any) -> Any:
    """Let a local agent do a task whose inputs refer to outputs."""
    agents = {name: agent for card, agent in local_agents(folder) for name in card.task_types}
    task = Task(task_id="t", task_type=kind, inputs=inputs).resolved(outputs)
    context = TaskContext(run_id="r", request="", upstream=outputs)
    return asyncio.run(agents[kind].run(task, context)).output


@pytest.mark.parametrize(
    ("found", "rows"),
    [
        ("Peru", [["Lima"]]),
        ("x' OR '1'='1", []),
        ("x'; DROP TABLE things; --", []),
        ("Peru' UNION SELECT thing FROM things --", []),
        ("Peru, Chile and Bolivia", [["none"]]),
        ("'", []),
        ("", []),
        ("\\' OR 1=1 --", []),
        ("Peru\x00", [["Lima"]]),
    ],
)
@pytest.mark.parametrize("quote", ["'{s1}'", "{s1}"])
def test_an_output_in_a_query_is_a_value(folder: Path, quote: str, found: str, rows: list[Any]) -> None:
    assert ask(folder, "sql", {"s1": found}, sql=f"SELECT capital FROM things WHERE thing = {quote}")["rows"] == rows


def test_numbers_and_lists_in_a_query_are_numbers_and_lists(folder: Path) -> None:
    query = "SELECT count(*) FROM things WHERE area > {s1.answer} AND thing IN ({s2})"
    assert ask(folder, "sql", {"s1": {"answer": 1_000_000}, "s2": ["Peru", "Chile", "x'y"]}, sql=query)["answer"] == 1
    assert ask(folder, "sql", {"s1": "007"}, sql="SELECT {s1} AS n")["answer"] == "007"
    quoted = "SELECT 1 AS n -- of {s1}\nFROM things WHERE thing = 'it''s' OR thing = '{s1}' -- {s1}"
    assert ask(folder, "sql", {"s1": "x\n, 2 AS m"}, sql=quoted)["columns"] == ["n"]
    assert ask(folder, "sql", {"s1": 'x" , 1 AS "y'}, sql='SELECT 1 AS "{s1}"')["columns"] == ['x" , 1 AS "y']


def test_a_query_that_is_an_output_is_run_as_the_plan_says(folder: Path) -> None:
    assert ask(folder, "sql", {"s1": "SELECT capital FROM things LIMIT 1"}, sql="{s1}")["rows"] == [["Lima"]]


@pytest.mark.parametrize(
    "found", ["3 + 4", "3) * (2", "1; 2", "12 divided by 3", "2 ** 9999", "notes.md", "Peru", "", "--1"]
)
def test_an_output_in_a_sum_is_a_number_or_refused(folder: Path, found: str) -> None:
    with pytest.raises(AgentFailed, match="no number to calculate with"):
        ask(folder, "compute", {"s1": {"answer": found}}, expression="{s1.answer} * 2")


@pytest.mark.parametrize(
    ("found", "value"),
    [(3, 9), ("3", 9), (-3, 9), ("-3", 9), ("1,000", 1_000_000), (0.5, 0.25), ("−3", 9), ("3.", 9), (".5", 0.25)],
)
def test_a_number_in_a_sum_keeps_to_itself(folder: Path, found: Any, value: float) -> None:
    assert ask(folder, "compute", {"s1": {"answer": found}}, expression="{s1.answer} ** 2")["answer"] == value


def test_a_text_in_a_program_is_refused_and_is_welcome_as_a_variable(folder: Path) -> None:
    found = "' + str(6 * 7) + '"
    with pytest.raises(AgentFailed, match="as a variable"):
        ask(folder, "python", {"s1": found}, code="'{s1}'")
    assert ask(folder, "python", {"s1": found}, code="found", found="{s1}")["answer"] == found
    assert ask(folder, "python", {"s1": 5}, code="{s1} + 1")["answer"] == 6


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lookup", "sql"])
def test_an_output_in_a_question_is_one_value(folder: Path, kind: str) -> None:
    def answer(found: str) -> Any:
        return ask(folder, kind, {"s1": {"answer": found}}, **{_QUESTION[kind]: "capital of {s1.answer}"})["answer"]

    assert answer("Peru") == "Lima"
    assert answer("Peru, Chile and Bolivia") == "none"  # and not three capitals
    assert answer("over 1000000") == "many"  # and no limit
    for found in ("Peru or Chile", "Peru and the number of things", "things.csv", "notes.md", "things in notes.md"):
        with pytest.raises(AgentFailed):
            answer(found)


_QUESTION = {"lookup": "query", "sql": "question"}


def test_the_values_of_rows_in_a_question_are_as_many_as_there_are_rows(folder: Path) -> None:
    rows = {"answer": "Peru and Chile", "rows": [["Peru"], ["Chile"]]}
    found = ask(folder, "sql", {"s1": rows}, question="total area of {s1.answer}")
    assert found["answer"] == 1_285_216 + 756_102


# The whole way, from a folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "body", ["find its capital", "find its capital, then write a report", "find its capital and its area"]
)
def test_a_run_over_the_cells_of_a_table_has_a_task_for_each(tmp_path: Path, body: str) -> None:
    def run(name: str, items: list[str]) -> Any:
        folder = tmp_path / name
        folder.mkdir()
        with (folder / "things.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["thing", "capital", "area"])
            table.writerows([item, f"city {number}", number] for number, item in enumerate(items, start=1))
        (folder / "notes.md").write_text("# Notes\n\nNothing.\n", encoding="utf-8")
        engine = Engine(model="none", data=folder, ledger=SqliteLedger())
        return asyncio.run(engine.run(f"For each thing, {body}"))

    items = [item for item in ITEMS.values() if len(item) < 9_000 and "\x00" not in item and item == item.strip()][:40]
    graph = run("hostile", items).graph
    plain = run("plain", [f"Thing{number}" for number in range(len(items))]).graph
    assert shape(graph) == shape(plain)
    assert {task.metadata["item"] for task in graph if "item" in task.metadata} == set(items)


# Other agents' outputs, and models


class _Level:
    """A planner that remembers what it is asked."""

    def __init__(self) -> None:
        self.asked = ""

    async def plan(self, request: str, agents: Mapping[str, AgentCapability]) -> Plan:
        self.asked = request
        return Plan(request=request, graph=TaskDAG([Task(task_id="s1", task_type="lookup")]), planner="test")


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_a_result_is_a_line_of_what_a_level_is_planned_with(item: str) -> None:
    level = _Level()
    context = TaskContext(run_id="r", request="the request", upstream={"s1": item})
    task = Task(task_id="s2", task_type="expand", description="Describe each", depends_on=("s1",))
    asyncio.run(HTDAGPlanner(level, lambda: AGENTS).replan(task, item, context))
    starts = [line.partition(" ")[0] for line in level.asked.split("\n")]
    assert starts == ["A", "Known", "The", "It", "Do"]


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_rules_plan_a_level_by_its_words_alone(item: str) -> None:
    def expand(found: str) -> TaskDAG:
        context = TaskContext(run_id="r", request=found, upstream={"s1": found})
        task = Task(task_id="s2", task_type="expand", description="Find the capital of Peru", depends_on=("s1",))
        result = asyncio.run(HTDAGPlanner(RulePlanner(files=FILES), lambda: AGENTS).run(task, context))
        assert result.expansion is not None
        return result.expansion

    assert expand(item) == expand(PLAIN)


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_a_model_is_told_results_apart_from_what_it_is_to_plan(item: str) -> None:
    entry = {"id": "a", "type": "lookup", "description": "Find it", "inputs": [], "depends_on": [], "requires": []}
    model = ScriptedModel([{"tasks": [entry]}])
    context = TaskContext(run_id="r", request="x", upstream={"s1": item})
    task = Task(task_id="s2", task_type="expand", description="Find both", depends_on=("s1",))
    result = asyncio.run(HTDAGPlanner(ModelPlanner(model), lambda: AGENTS).run(task, context))
    assert result.expansion is not None
    lines = model.requests[0].messages[-1].content.split("\n")
    assert lines[-4] == '"Plan this part of a larger request: Find both"'
    assert json.loads(lines[-1]).startswith("Known already (s1): ")  # one line of JSON, whatever the result holds


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_what_a_vote_is_about_is_data(item: str) -> None:
    seen: list[Any] = []

    class Voter:
        async def run(self, task: Task, context: TaskContext) -> AgentResult:
            seen.append(task.inputs)
            return AgentResult(output="yes")

    voter = (AgentCapability(agent_id="voter", task_types=("research",)), Voter())
    orchestrator = AgentOrchestrator([voter], model="none", ledger=SqliteLedger())
    found = asyncio.run(
        orchestrator.execute_consensus("Is it so?", ["research"], inputs={"about": item, "all": [item]})
    )
    assert found.reached
    assert seen == [{"about": item, "all": [item]}]


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_a_numbered_part_of_a_table_is_a_cell(item: str) -> None:
    rows = {"text": "x, y; z", "rows": [[item, 1], ["Chile", 2]]}
    assert resolve_references("{thing_1_from_s1}", {"s1": rows}) == item
    assert resolve_references("{thing_2_from_s1}", {"s1": rows}) == "Chile"
    assert resolve_references(escape_braces(item), {}) == item
