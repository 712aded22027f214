import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kapelle.agents import Agent, TaskContext
from kapelle.errors import AgentFailed, NotFound, RefusedQuery
from kapelle.graph import Task
from kapelle.local import folder_files, local_agents, skipped_files, understands_table_questions

ATLAS = Path(__file__).parents[2] / "examples" / "atlas" / "data"
AGENTS: dict[str, Agent] = {kind: agent for card, agent in local_agents(ATLAS) for kind in card.task_types}


def run(kind: str, upstream: Mapping[str, tuple[str, Any]] | None = None, **inputs: Any) -> dict[str, Any]:
    """Run a task; `upstream` gives the description and output of the tasks before it."""
    before = upstream or {}
    context = TaskContext(
        run_id="r1",
        request="",
        upstream={task_id: output for task_id, (_, output) in before.items()},
        upstream_tasks={
            task_id: Task(task_id=task_id, task_type="lookup", description=description)
            for task_id, (description, _) in before.items()
        },
    )
    task = Task(task_id="t", task_type=kind, inputs=inputs)
    result = asyncio.run(AGENTS[kind].run(task, context))
    assert result.cost_usd == 0
    assert isinstance(result.output, dict)
    return result.output


def test_there_are_four_agents_for_a_folder_and_two_without() -> None:
    assert [card.agent_id for card, _ in local_agents(ATLAS)] == [
        "folder-search",
        "folder-sql",
        "sandbox-python",
        "local-writer",
    ]
    assert [card.agent_id for card, _ in local_agents(None)] == ["sandbox-python", "local-writer"]
    assert all(card.cost_tier == "free" and card.cost_usd == 0 for card, _ in local_agents(ATLAS))


def test_a_folder_without_tables_has_no_sql_and_one_without_texts_no_search(tmp_path: Path) -> None:
    assert len(local_agents(tmp_path)) == 2
    (tmp_path / "note.md").write_text("A note.")
    assert local_agents(tmp_path)[0][0].agent_id == "folder-search"
    assert len(local_agents(tmp_path)) == 3
    with pytest.raises(NotFound):
        local_agents(tmp_path / "nowhere")


def test_which_questions_the_tables_answer_can_be_asked() -> None:
    understands = understands_table_questions(ATLAS)
    assert understands is not None
    assert understands("average population of countries in Europe")
    assert not understands("average happiness of countries in Europe")
    assert understands_table_questions(None) is None


def test_the_files_of_a_folder_and_those_left_out_can_be_asked(tmp_path: Path) -> None:
    (tmp_path / "semi colon.csv").write_text("item;price\nA;1,5\n")
    (tmp_path / "note.md").write_text("A note.")
    (tmp_path / "odd.csv").write_bytes(b"name\ncaf\x81\n")
    (tmp_path / "out.csv").symlink_to(ATLAS / "rivers.csv")
    assert folder_files(tmp_path) == ("note.md", "semi colon.csv")
    assert [(entry.file, entry.reason.split(" (")[0]) for entry in skipped_files(tmp_path)] == [
        ("odd.csv", "not UTF-8 text"),
        ("out.csv", "a link that leads out of the folder"),
    ]
    assert not folder_files(None)
    assert not skipped_files(None)


def test_a_file_that_was_left_out_is_named_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_bytes(b"name\ncaf\x81\n")
    agents = {kind: agent for card, agent in local_agents(tmp_path) for kind in card.task_types}
    context = TaskContext(run_id="r1", request="")
    for kind, inputs, words in (
        ("sql", {"question": "list everything", "file": "odd.csv"}, r"'odd.csv' was left out: not UTF-8"),
        ("lookup", {"query": "price of tea"}, r"1 file was left out: odd.csv \(not UTF-8"),
    ):
        with pytest.raises(AgentFailed, match=words):
            asyncio.run(agents[kind].run(Task(task_id="t", task_type=kind, inputs=inputs), context))


# Search


def test_an_exact_cell_is_found_with_its_line() -> None:
    found = run("lookup", query="capital of France")
    assert (found["answer"], found["sources"]) == ("Paris", ["countries.csv:26"])
    assert (ATLAS / "countries.csv").read_text(encoding="utf-8").splitlines()[25].startswith("France,Paris")


def test_a_number_comes_with_its_unit_and_stays_a_number() -> None:
    found = run("lookup", query="How long is the Danube?")
    assert found["answer"] == 2850
    assert found["text"] == "Length of Danube: 2,850 km (rivers.csv:5)"
    assert found["fact"] == {"subject": "Danube", "attribute": "length", "value": 2850, "unit": "km"}


def test_what_no_table_holds_is_found_in_the_documents() -> None:
    found = run("lookup", query="When was the Suez Canal opened?")
    assert (found["answer"], found["sources"]) == ("1869", ["notes/egypt.md:7"])
    assert found["passages"][0]["file"] == "notes/egypt.md"


def test_a_bare_name_is_answered_with_the_facts_of_its_row() -> None:
    found = run("lookup", query="the Rhine")
    assert (found["answer"], found["sources"][-1]) == ("Rhine", "rivers.csv:27")
    assert {"subject": "Rhine", "attribute": "length", "value": 1230, "unit": "km"} in found["facts"]
    assert run("lookup", query="Iceland")["text"].startswith("Iceland is an island country")


def test_a_question_that_takes_a_query_is_answered_from_the_tables() -> None:
    assert run("lookup", query="longest river of Europe")["answer"] == "Volga"


def test_a_lookup_that_finds_nothing_fails_with_the_way_out() -> None:
    with pytest.raises(AgentFailed, match=r"president of France.*KAPELLE_MODEL"):
        run("lookup", query="president of France")
    with pytest.raises(AgentFailed, match="Did you mean 'capital'"):
        run("lookup", query="captial of France")
    with pytest.raises(AgentFailed) as failed:
        run("lookup", query="president of " + "x" * 9_000)
    assert len(str(failed.value)) < 600


def test_a_search_is_content_with_passages() -> None:
    found = run("search", query="volcanoes and glaciers")
    assert found["sources"][0] == "notes/iceland.md:8"
    with pytest.raises(AgentFailed):
        run("search", query="zxqv")


def test_a_document_can_be_read_and_asked_by_name() -> None:
    assert run("lookup", query="notes/rome.md", file="notes/rome.md")["text"].startswith("Rome is the capital")
    assert run("lookup", query="When was the Colosseum opened?", file="rome.md")["sources"] == ["notes/rome.md:8"]
    with pytest.raises(AgentFailed, match="no document"):
        run("lookup", query="x", file="../../../pyproject.toml")


# SQL


def test_a_question_becomes_sql_and_says_how_it_was_understood() -> None:
    found = run("sql", question="How many rivers are longer than 2000 km?")
    assert found["answer"] == 25
    assert found["text"] == "How many rivers where length_km > 2000: 25"
    assert found["sources"] == ["rivers.csv"]


def test_sql_is_run_as_it_is_and_shown_as_a_table() -> None:
    found = run("sql", sql="SELECT continent, count(*) AS n FROM rivers GROUP BY 1 ORDER BY n DESC LIMIT 1")
    assert found["text"] == "| continent | n |\n| --- | --- |\n| Europe | 17 |"
    assert found["rows"] == [["Europe", 17]]
    assert found["sources"] == ["rivers.csv"]


def test_one_row_is_a_sentence_and_one_column_a_list() -> None:
    assert run("sql", question="longest river in Germany")["text"].endswith("'Germany': Danube (length_km 2,850)")
    assert "Austria, Bulgaria" in run("sql", question="countries on the Danube")["text"]


def test_sql_that_writes_and_questions_that_are_unclear_are_refused() -> None:
    with pytest.raises(RefusedQuery):
        run("sql", sql="DELETE FROM rivers")
    with pytest.raises(AgentFailed, match=r"population.*area_km2"):
        run("sql", question="largest country")
    with pytest.raises(AgentFailed, match="no table file"):
        run("sql", question="list everything", file="nothing.csv")


def test_a_table_file_can_be_listed_by_name() -> None:
    assert len(run("sql", question="list everything in mountains.csv", file="mountains.csv")["rows"]) == 32


@pytest.mark.parametrize(
    "words", ["everything in", "list everything in", "Read", "show me the contents of", "all rows of"]
)
def test_everything_of_a_file_is_asked_for_in_many_words(words: str) -> None:
    assert len(run("sql", question=f"{words} mountains.csv", file="mountains.csv")["rows"]) == 32


def test_a_question_may_name_its_file() -> None:
    assert run("sql", question="the longest river in rivers.csv", file="rivers.csv")["answer"] == "Nile"
    with pytest.raises(AgentFailed, match=r"cannot be answered from rivers.csv"):
        run("sql", question="the happiest fish in rivers.csv", file="rivers.csv")


def test_a_question_for_the_most_is_answered_in_a_sentence() -> None:
    assert run("sql", question="Which country has the most rivers?")["text"] == "Russia has the most rivers: 5"
    assert run("sql", question="Which continent has the most countries?")["answer"] == "Europe"


# Python


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("12% of 340", 40.8),
        ("2 ** 10", 1024),
        ("(3+4)/2", 3.5),
        ("What is 3 times 4?", 12),
        ("1,000 + 1", 1001),
        ("0.1 + 0.2", 0.3),
        ("2 ^ 3", 8),
        ("50 percent of 8 plus 1", 5),
    ],
)
def test_arithmetic_is_calculated(expression: str, value: float) -> None:
    assert run("compute", expression=expression)["answer"] == value


def test_a_program_gets_its_inputs_as_variables() -> None:
    found = run("python", code="print('sum')\nsum(numbers)", numbers=[1, 2, 3])
    assert (found["answer"], found["printed"], found["text"]) == (6, "sum\n", "sum")


def test_an_expression_is_no_way_to_run_a_program() -> None:
    with pytest.raises(AgentFailed, match="no arithmetic"):
        run("compute", expression="__import__('os')")
    with pytest.raises(RefusedQuery):
        run("compute", expression="9**9**9")
    with pytest.raises(AgentFailed, match="ZeroDivisionError"):
        run("compute", expression="1/0")


# Writer


def population(country: str) -> tuple[str, Any]:
    return f"Look up: population of {country}", run("lookup", query=f"population of {country}")


def test_a_comparison_states_difference_and_ratio_of_like_numbers() -> None:
    found = run("compare", {"s1": population("France"), "s2": population("Germany")}, title="Two countries")
    assert found["text"].startswith("# Two countries\n\n| | population |")
    assert "| France | 68,000,000 |" in found["text"]
    assert "The difference is 16,500,000; the population of Germany is 1.24 times that of France." in found["text"]
    assert found["sources"] == ["countries.csv:26", "countries.csv:27"]


def test_a_comparison_of_unlike_things_is_side_by_side_without_a_ratio() -> None:
    length = ("Look up: length of the Rhine", run("lookup", query="length of the Rhine"))
    found = run("compare", {"s1": population("France"), "s2": length})
    assert "times" not in found["text"]
    assert "Length of Rhine: 1,230 km" in found["text"]


def test_things_are_compared_by_all_that_the_tables_know_of_them() -> None:
    found = run(
        "compare", {"s1": ("France", run("lookup", query="France")), "s2": ("Peru", run("lookup", query="Peru"))}
    )
    assert "| | capital | continent | population | area | currency | official language |" in found["text"]
    assert "| Peru | Lima | South America | 34,000,000 |" in found["text"]


def test_things_without_a_column_in_common_are_not_compared() -> None:
    one = {"text": "a", "facts": [{"subject": "A", "attribute": "length", "value": 1, "unit": ""}]}
    other = {"text": "b", "facts": [{"subject": "B", "attribute": "price", "value": 2, "unit": ""}]}
    assert "so they are not compared" in run("compare", {"s1": ("A", one), "s2": ("B", other)})["text"]


def test_a_report_has_a_section_for_each_task_and_every_source_once() -> None:
    france = population("France")
    compared = run("compare", {"s1": france, "s2": population("Germany")})
    found = run("report", {"s1": france, "c": ("Compare them", compared)}, title="France")
    assert [line for line in found["text"].splitlines() if line.startswith("#")] == [
        "# France",
        "## Population of France",
        "## Compare them",
        "## Sources",
    ]
    assert found["text"].count("countries.csv:26") == 2  # in its sentence, and once in the list
    assert "1. countries.csv:26\n2. countries.csv:27" in found["text"]


def test_a_summary_takes_the_leading_sentences() -> None:
    text = "One thing happened. Then another did. It went on. And it ended."
    assert run("summarize", {"s1": ("Read", text)})["body"] == "One thing happened. Then another did. It went on."
    assert (
        run("summarize", {"s1": ("Read", text), "s2": ("Read", "Alone.")})["body"] == "- One thing happened.\n- Alone."
    )
    assert run("summarize", text=text)["body"].startswith("One thing")


def test_several_answers_are_joined_and_a_single_one_stays() -> None:
    assert run("combine", {"s1": ("A", "one"), "s2": ("B", {"text": "two"})})["body"] == "- A: one\n- B: two"
    assert run("answer", {"s1": ("A", "one")})["text"] == "one"


def test_nothing_is_invented_where_there_is_nothing_to_write_from() -> None:
    with pytest.raises(AgentFailed, match="nothing to write from"):
        run("write", title="A poem")
