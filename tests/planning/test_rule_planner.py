"""What the rules make of requests. A plan is written here as lines `id type argument <- dependencies`."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kapelle.agents import AgentCapability
from kapelle.errors import CannotPlan, InvalidInput
from kapelle.planning import RulePlanner

AGENTS = {
    card.agent_id: card
    for card in (
        AgentCapability(agent_id="search", task_types=("lookup", "search")),
        AgentCapability(agent_id="tables", task_types=("sql",)),
        AgentCapability(agent_id="python", task_types=("compute",)),
        AgentCapability(agent_id="writer", task_types=("compare", "report", "summarize", "combine")),
        AgentCapability(agent_id="builder", task_types=("implement", "test", "deploy")),
    )
}


GROWING = {**AGENTS, "for-each": AgentCapability(agent_id="for-each", task_types=("for_each", "expand"))}


def plan_growing(request: str, tables: str = "$") -> list[tuple[str, str, str]]:
    """Plan a request where items may be known only later: type, items or question, body. `tables` is what they know."""
    planner = RulePlanner(answers_from_tables=lambda question: re.match(tables, question) is not None)
    graph = asyncio.run(planner.plan(request, GROWING)).graph
    return [
        (task.task_type, str(task.inputs.get("items", task.inputs.get("question", ""))), task.inputs.get("body", ""))
        for task in graph
    ]


def plan(request: str) -> list[str]:
    """Plan a request, and return the tasks as lines."""
    graph = asyncio.run(RulePlanner().plan(request, AGENTS)).graph
    lines = []
    for task in graph:
        argument = next(
            (task.inputs[key] for key in ("query", "question", "expression", "sql") if key in task.inputs), ""
        )
        arrow = f" <- {' '.join(task.dependencies)}" if task.dependencies else ""
        lines.append(f"{task.task_id} {task.task_type} {argument}".strip() + arrow)
    return lines


@pytest.mark.parametrize(
    ("request_text", "wanted"),
    [
        (
            "Compare the capitals of France and Germany",
            [
                "s1 lookup capital of France",
                "s2 lookup capital of Germany",
                "s3 compare Compare the capitals of France and Germany <- s1 s2",
            ],
        ),
        (
            "What are the populations of the capitals of France and Germany?",
            [
                "s1 lookup capital of France",
                "s2 lookup population of {s1.answer} <- s1",
                "s3 lookup capital of Germany",
                "s4 lookup population of {s3.answer} <- s3",
                "s5 combine <- s2 s4",
            ],
        ),
        (
            "For each of Peru, Chile and Bolivia, find its capital and its area; then write a report",
            [
                "s1 lookup capital of Peru",
                "s2 lookup area of Peru",
                "s3 lookup capital of Chile",
                "s4 lookup area of Chile",
                "s5 lookup capital of Bolivia",
                "s6 lookup area of Bolivia",
                "s7 report <- s1 s2 s3 s4 s5 s6",
            ],
        ),
        (
            "Find the capital of France, then find its population",
            ["s1 lookup capital of France", "s2 lookup the population of {s1.answer} <- s1"],
        ),
        ("Implement the login page, test it, and deploy it", ["s1 implement", "s2 test <- s1", "s3 deploy <- s2"]),
        (
            "Which is longer, the Rhine or the Danube?",
            [
                "s1 lookup length of Rhine",
                "s2 lookup length of Danube",
                "s3 compare Which is longer, the Rhine or the Danube? <- s1 s2",
            ],
        ),
        (
            "Find the capital of Bosnia and Herzegovina and the longest river in Italy. Summarize the results.",
            [
                "s1 lookup capital of Bosnia and Herzegovina",
                "s2 lookup longest river in Italy",
                "s3 summarize <- s1 s2",
            ],
        ),
        ("average population per continent", ["s1 sql average population per continent"]),
        ("What is 12% of 340?", ["s1 compute 12 / 100 * 340"]),
        ("Please calculate (3 + 4) * 2^3", ["s1 compute (3 + 4) * 2**3"]),
        ("SELECT name FROM countries", ["s1 sql SELECT name FROM countries"]),
        (
            "What is the capital of France and how many countries are in Asia?",
            ["s1 lookup capital of France", "s2 sql how many countries are in Asia?", "s3 combine <- s1 s2"],
        ),
        (
            "Find the capitals of Peru and Chile, compare their populations, then write a report",
            [
                "s1 lookup capital of Peru",
                "s2 lookup capital of Chile",
                "s3 lookup the populations of {s1.answer} <- s1",
                "s4 lookup the populations of {s2.answer} <- s2",
                "s5 compare compare their populations <- s3 s4",
                "s6 report <- s5",
            ],
        ),
        (
            "Who wrote Hamlet? Where was he born?",
            ["s1 lookup Who wrote Hamlet", "s2 lookup Where was {s1.answer} born <- s1"],
        ),
        (
            "When was the Suez Canal opened and who built it?",
            ["s1 lookup When was the Suez Canal opened", "s2 lookup who built Suez Canal", "s3 combine <- s1 s2"],
        ),
        (
            "What is the population of the capital of Peru, and what is its area?",
            [
                "s1 lookup capital of Peru",
                "s2 lookup population of {s1.answer} <- s1",
                "s3 lookup what is the area of {s1.answer} <- s1",
                "s4 combine <- s2 s3",
            ],
        ),
        (
            "Find the longest river in Germany and its length",
            ["s1 lookup longest river in Germany", "s2 lookup length of {s1.answer} <- s1", "s3 combine <- s1 s2"],
        ),
        (
            "Compare the GDP of France and Germany",
            [
                "s1 lookup GDP of France",
                "s2 lookup GDP of Germany",
                "s3 compare Compare the GDP of France and Germany <- s1 s2",
            ],
        ),
        (
            "how much longer is the Danube than the Rhine?",
            [
                "s1 lookup length of Danube",
                "s2 lookup length of Rhine",
                "s3 compare how much longer is the Danube than the Rhine? <- s1 s2",
            ],
        ),
        (
            "which of France, Spain and Italy has the largest population?",
            [
                "s1 lookup population of France",
                "s2 lookup population of Spain",
                "s3 lookup population of Italy",
                "s4 compare which of France, Spain and Italy has the largest population? <- s1 s2 s3",
            ],
        ),
        (
            "Find the area of Spain and the area of Italy, add them",
            [
                "s1 lookup area of Spain",
                "s2 lookup area of Italy",
                "s3 compute {s1.answer} + {s2.answer} <- s1 s2",
            ],
        ),
        (
            "For each of Peru and Chile, find the capital and its population",
            [
                "s1 lookup capital of Peru",
                "s2 lookup population of {s1.answer} <- s1",
                "s3 lookup capital of Chile",
                "s4 lookup population of {s3.answer} <- s3",
                "s5 combine <- s1 s2 s3 s4",
            ],
        ),
        (
            "Compare France and Spain, then compare their areas",
            [
                "s1 lookup France",
                "s2 lookup Spain",
                "s3 compare Compare France and Spain <- s1 s2",
                "s4 lookup area of France <- s3",
                "s5 lookup area of Spain <- s3",
                "s6 compare compare the areas of France and Spain <- s4 s5",
            ],
        ),
        (
            "For each of the capitals of France and Italy, find the population",
            [
                "s1 lookup capital of France",
                "s2 lookup capital of Italy",
                "s3 lookup the population of {s1.answer} <- s1",
                "s4 lookup the population of {s2.answer} <- s2",
                "s5 combine <- s3 s4",
            ],
        ),
        (
            "For each of Peru and Chile: find its capital, population and area",
            [
                "s1 lookup capital of Peru",
                "s2 lookup population of Peru",
                "s3 lookup area of Peru",
                "s4 lookup capital of Chile",
                "s5 lookup population of Chile",
                "s6 lookup area of Chile",
                "s7 combine <- s1 s2 s3 s4 s5 s6",
            ],
        ),
        ("Describe Kenya and its capital", ["s1 lookup Kenya", "s2 lookup capital of Kenya", "s3 combine <- s1 s2"]),
        (
            "- capital of Peru\n- capital of Chile",
            ["s1 lookup capital of Peru", "s2 lookup capital of Chile", "s3 combine <- s1 s2"],
        ),
    ],
)  # fmt: skip
def test_a_request_becomes_the_tasks_it_asks_for(request_text: str, wanted: list[str]) -> None:
    assert plan(request_text) == wanted


@pytest.mark.parametrize(
    ("request_text", "words"),
    [
        ("Make me happy", "No rule fits 'Make me happy'"),
        ("", "The request is empty"),
        ("...", "Nothing in the request says what to do"),
        ("For each country in Europe, find its capital", "known only while it runs"),
        ("Compare France", "a comparison needs two things"),
        ("Write a report", "about what?"),
        ("Which is better, France or Germany?", "What 'better' measures is not known"),
        ("When was the canal opened and who built it?", "it is not clear what this refers to"),
        ("x" * 30_000, "at most 20,000 are read"),
    ],
)
def test_what_the_rules_do_not_understand_is_said_plainly(request_text: str, words: str) -> None:
    with pytest.raises(CannotPlan, match=words.replace("?", r"\?")):
        plan(request_text)


def test_items_that_are_known_only_later_become_a_task_that_grows() -> None:
    grows = AgentCapability(agent_id="for-each", task_types=("for_each",))
    request = "For each country in South America, find its capital and its area; then write a report"
    graph = asyncio.run(RulePlanner().plan(request, {**AGENTS, "for-each": grows})).graph
    assert [(task.task_type, task.dependencies) for task in graph] == [
        ("lookup", ()),
        ("for_each", ("s1",)),
        ("report", ("s2",)),
    ]
    assert graph["s2"].inputs == {"items": "{s1}", "body": "find its capital and its area"}


def test_a_body_is_planned_for_each_item() -> None:
    graph = RulePlanner().plan_each(["Peru", "Chile"], "find its capital and its area", AGENTS)
    assert [task.inputs["query"] for task in graph] == [
        "capital of Peru",
        "area of Peru",
        "capital of Chile",
        "area of Chile",
    ]


def test_the_same_fact_is_looked_up_once() -> None:
    assert plan("Find the capital of Peru. Find the capital of Peru. Find the capital of Chile.")[:2] == [
        "s1 lookup capital of Peru",
        "s2 lookup capital of Chile",
    ]


def test_braces_in_a_request_are_text() -> None:
    graph = asyncio.run(RulePlanner().plan("Find the meaning of {s1} and {x", AGENTS)).graph
    assert graph.edges == () or all(graph.tasks[end].task_type == "combine" for _, end in graph.edges)


def test_a_question_that_the_tables_cannot_answer_is_looked_up() -> None:
    planner = RulePlanner(answers_from_tables=lambda question: "continent" in question)
    kinds = [
        asyncio.run(planner.plan(words, AGENTS)).graph["s1"].task_type
        for words in ("average area per continent", "how many legs has a spider?")
    ]
    assert kinds == ["sql", "lookup"]


def test_what_is_asked_of_all_is_asked_of_the_tables() -> None:
    planner = RulePlanner(answers_from_tables=lambda question: "Africa" in question)
    graph = asyncio.run(planner.plan("Find the capitals of all countries in Africa", AGENTS)).graph
    assert [task.task_type for task in graph] == ["sql"]


def test_a_named_file_is_read() -> None:
    graph = asyncio.run(RulePlanner().plan("Summarize notes.md and rivers.md", AGENTS)).graph
    assert [task.inputs.get("file") for task in graph] == ["notes.md", "rivers.md", None]


def test_what_is_asked_of_things_that_are_listed_is_asked_of_each() -> None:
    grows = AgentCapability(agent_id="for-each", task_types=("for_each",))
    request = "Which countries does the Danube flow through? Then find their capitals"
    graph = asyncio.run(RulePlanner().plan(request, {**AGENTS, "for-each": grows})).graph
    assert [task.task_type for task in graph] == ["lookup", "for_each", "combine"]
    assert graph["s2"].inputs == {"items": "{s1}", "body": "find their capitals"}


def test_whatever_the_tables_answer_is_asked_of_them_with_or_without_a_verb() -> None:
    planner = RulePlanner(answers_from_tables=lambda question: question == "France population and area")
    graph = asyncio.run(planner.plan("France population and area", AGENTS)).graph
    assert [task.task_type for task in graph] == ["sql"]


def test_file_names_with_spaces_are_read_whole_when_they_are_known_or_quoted() -> None:
    planner = RulePlanner(files=("data/semi colon.csv", "colon.csv"))
    for request in ("list everything in semi colon.csv", "Read 'other file.csv'"):
        task = asyncio.run(planner.plan(request, AGENTS)).graph["s1"]
        assert task.task_type == "sql"
        assert task.inputs["file"] in ("data/semi colon.csv", "other file.csv")


def test_a_refusal_quotes_only_the_beginning_of_a_long_request() -> None:
    with pytest.raises(CannotPlan) as refused:
        plan("Make me " + "very " * 3_000 + "happy")
    assert len(str(refused.value)) < 600


def test_what_is_asked_of_the_results_of_a_for_each_is_a_for_each_over_all_of_them() -> None:
    assert plan_growing("For each continent, find its highest mountain, then compare their heights")[1:] == [
        ("for_each", "{s1}", "find its highest mountain"),
        ("for_each", "{s2}", "find their heights"),
        ("compare", "compare their heights", ""),
    ]
    request = "For each country in Asia, find its capital; for each capital find its population"
    assert plan_growing(request)[1:3] == [
        ("for_each", "{s1}", "find its capital"),
        ("for_each", "{s2}", "find its population"),
    ]


def test_nothing_is_asked_of_a_number_that_was_found_for_each() -> None:
    tasks = plan_growing("For each river in Europe, find its length, then find their sources")
    assert [items for kind, items, _ in tasks if kind == "for_each"] == ["{s1}", "{s1}"]


def test_a_for_each_after_a_question_for_several_is_about_what_it_finds() -> None:
    for each in (
        "For each, find its capital",
        "For each of them, find its capital",
        "For each country find its capital",
    ):
        tasks = plan_growing(f"Which countries border Germany? {each}")
        assert [task[0] for task in tasks] == ["lookup", "for_each", "combine"]
        assert tasks[1][1:] == ("{s1}", "find its capital")


def test_items_come_from_the_tables_where_they_can_list_them() -> None:
    request = "For each country, find its capital"
    assert plan_growing(request, tables="list the countries")[0] == ("sql", "list the countries", "")
    assert plan_growing(request)[0][0] == "lookup"


@pytest.mark.parametrize(
    "request_text",
    [
        "For each country in Europe, for each of its neighbours, find the capital",
        "For each country in Asia, find its capital and its area, then find their populations",
        "For each country in Asia, find its population. Which of them is the largest?",
        "For each country in Asia, find its capital, then add them",
        "For each country in Asia, write a report",
        "For each country in Asia, find its capital, who rules it and its area",
        "For each country in Asia",
        "For each of the rivers in Germany and France, find its length",
        "For all time, find the largest empire",
        "Find the capital of France; for each, find its population",
        "Find " + "the a of " * 2_000 + "Peru",
    ],
)
def test_a_for_each_that_could_go_wrong_is_refused(request_text: str) -> None:
    with pytest.raises(CannotPlan):
        plan_growing(request_text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("request_text", "words"),
    [
        ("Find the capital of France and the population of Spain respectively", "respectively"),
        ("Compare France and Spain, then find the area of the latter", "latter"),
        ("Find the capital of Peru and do the same for Chile", "do the same for Chile"),
        ("Compare Peru with Chile and vice versa", "vice versa"),
        ("If the population of Peru is above 10 million then find its capital", "If"),
        ("Find the capital of Peru unless it is in Asia", "unless"),
        ("Find the capital of Peru, otherwise the capital of Chile", "otherwise"),
        ("Find the capitals of France and Spain except Madrid", "except"),
        ("Find only those countries that are in Europe", "only"),
        ("Find the population of France compared with last year", "compared with last year"),
        ("Find the countries in Europe in a table", "in a table"),
        ("Find the capital of France and answer in French", "in French"),
        ("Write a report on France in 100 words", "in 100 words"),
        ("Find the capital of France as JSON", "as JSON"),
        ("Find the capital of France by email", "by email"),
        ("Find the population of France and email it to Bob", "email it to Bob"),
        ("Find the capital of France before Friday", "before Friday"),
        ("Find the capital of France, and also", "capital of also"),
        ("Look up the capital of France. Explain why.", "why"),
        ("Find the largest country in Europe and the second largest", "second largest"),
        ("Summarize notes.md for my boss", "boss"),
        ("Find the capital of France, then write a report on German rivers", "German"),
    ],
)
def test_words_that_no_task_carries_out_are_named(request_text: str, words: str) -> None:
    with pytest.raises(CannotPlan) as refused:
        plan_growing(request_text)
    assert words in str(refused.value)


def test_a_question_to_documents_may_hold_any_words() -> None:
    for request in (
        "What happens if the power fails",
        "Who may enter the lab without a badge",
        "Who was the former boss",
    ):
        assert len(plan(request)) == 1


def test_words_of_a_verb_that_an_agent_knows_go_to_that_agent() -> None:
    assert plan("Implement the login page in French unless it is there") == ["s1 implement"]


@pytest.mark.parametrize("joint", [" and, for each,", ", and for each of them", "; for each,", ", for each one,"])
def test_a_for_each_in_the_middle_is_about_what_is_found_before_it(joint: str) -> None:
    request = f"Find the three longest rivers in Europe{joint} the countries it flows through"
    tasks = plan_growing(request, tables="the three longest")
    assert [kind for kind, _, _ in tasks] == ["sql", "for_each", "combine"]
    assert tasks[1][1:] == ("{s1}", "find the countries it flows through")


WORDS = st.sampled_from([
    "compare", "find", "the", "of", "and", "then", "France", "Germany", "capital", "its", "for", "each", "write",
    "report", ",", ";", ".", "?", "'", '"', "{", "}", "{s1}", "12%", "+", "\n", "-", "it", "SELECT", "FROM", "finally",
    "Ü", "\x00", "\ud800", "population", "which", "is", "longer", "or", "average", "per", "notes.csv", "implement",
    "for each country,", "for each", ":", "there", "their", "list", "who", "built", "GDP", "divided by", "add them",
    "than", "compare their",
])  # fmt: skip


@given(st.lists(WORDS, max_size=25).map(" ".join) | st.text(max_size=80))
@settings(max_examples=500, deadline=None)
@example("for each and compare \n there")
def test_any_request_becomes_a_graph_or_a_clear_refusal(request_text: str) -> None:
    try:
        graph = asyncio.run(RulePlanner().plan(request_text, GROWING)).graph
        many = [task.task_id for task in graph if task.task_type == "for_each"]
        assert not any(f"{{{one}." in str(task.inputs) for task in graph for one in many)
    except InvalidInput as error:
        assert str(error)  # noqa: PT017 - either outcome is right; no other exception is


@given(st.lists(WORDS, min_size=1, max_size=12).map(" ".join))
@settings(max_examples=300, deadline=None)
def test_every_word_that_means_something_is_in_a_task(request_text: str) -> None:
    try:
        graph = asyncio.run(RulePlanner().plan(request_text, GROWING)).graph
    except InvalidInput:
        return
    said = " ".join(f"{task.description} {task.inputs}" for task in graph).lower()
    names = {"france", "germany", "capital", "population", "gdp", "notes"} & set(
        re.findall(r"\w+", request_text.lower())
    )
    assert {name for name in names if name not in said} == set()
