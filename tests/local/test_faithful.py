from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kapelle import Engine, SqliteLedger
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Run
from kapelle.local.faithful import cites_others, from_nowhere, holds, is_mixed_up, values_of
from kapelle.planning import Plan
from kapelle.testing import ScriptedModel

ATLAS = Path(__file__).parents[2] / "examples" / "atlas" / "data"
KINDS = ("report", "write", "summarize", "answer")


def go(kind: str, text: str, *queries: str, between: str = "", data: Path | None = ATLAS) -> tuple[Run, ScriptedModel]:
    model = ScriptedModel([text], cost_usd=0.0)
    found = [Task(task_id=f"s{n}", task_type="lookup", inputs={"query": query}) for n, query in enumerate(queries)]
    names = tuple(task.task_id for task in found)
    if between:
        found.append(Task(task_id="b", task_type=between, depends_on=names))
        names = ("b",)
    graph = TaskDAG([*found, Task(task_id="t", task_type=kind, depends_on=names)])
    engine = Engine(data=data, model=model, ledger=SqliteLedger(":memory:"))
    return engine.run_sync(Plan(request="Tell me", graph=graph, planner="test")), model


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_that_keeps_what_was_found_is_taken_with_its_sources(kind: str) -> None:
    run, _ = go(kind, "Lima is Peru's capital; 19.6 million live in Chile.", "capital of Peru", "population of Chile")
    assert run.answer.startswith(
        "Lima is Peru's capital; 19.6 million live in Chile.\n\n## Sources\n\n1. countries.csv:"
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text",
    [
        "Atlantis",
        "Peru has a capital, and Chile has 19,600,000 people.",
        "Lima is a capital. Chile has 1,960,000 people.",
        "Lima is a capital. Chile has 19,600,000 people and 677,972 square kilometres.",
        "6. 16. 200, 801",
    ],
)
def test_what_a_model_loses_or_makes_up_the_template_tells(kind: str, text: str) -> None:
    run, model = go(kind, text, "capital of Peru", "population of Chile")
    assert model.calls == 1
    assert text not in run.answer
    assert "Lima" in run.answer
    assert "19,600,000" in run.answer
    assert run.tasks["t"].output["sources"]


@pytest.mark.slow
@pytest.mark.parametrize("between", ["combine", "compare"])
def test_what_was_put_together_before_is_kept_as_well(between: str) -> None:
    queries = ("population of Peru", "population of Chile")
    run, _ = go("report", "Peru has 34 million people.", *queries, between=between)
    assert "19,600,000" in run.answer
    good = "Peru has 34 million people, Chile 19.6 million: a difference of 14.4 million."
    run, _ = go("report", good, *queries, between=between)
    assert run.answer.startswith(good)


def test_other_work_and_other_folders_are_not_held_to_anything() -> None:
    model = ScriptedModel(["Bonjour"])
    graph = TaskDAG(
        [
            Task(task_id="a", task_type="lookup", inputs={"query": "capital of Peru"}),
            Task(task_id="t", task_type="translate", depends_on=("a",)),
        ]
    )
    engine = Engine(data=ATLAS, model=model, ledger=SqliteLedger(":memory:"))
    assert engine.run_sync(Plan(request="", graph=graph, planner="test")).answer == "Bonjour"


@pytest.mark.parametrize(
    ("text", "value", "is_held"),
    [
        ("4,900,000", "4900000", True),
        ("4.9 million", "4,900,000", True),
        ("about 4.91m people", "4,900,000", True),
        ("4.900.000 Menschen", "4,900,000", True),
        ("4 900 000 habitants", "4,900,000", True),
        ("4,9 Millionen", "4,900,000", True),
        ("1,4 Milliarden", "1,400,000,000", True),
        ("1.4 billion", "1,400,000,000", True),
        ("5 million", "4,900,000", False),
        ("490,000", "4,900,000", False),
        ("São Paulo", "Sao  Paulo", True),
        ("LIMA", "Lima", True),
        ("", "Lima", False),
        ("The capital is Limassol, of course.", "Lima", False),
        ("It lies in Somalia.", "Mali", False),
        ("in the Côte d'Ivoire", "Cote d'Ivoire", True),
        ("6.3 %", "6.3", True),
        ("63", "6.3", False),
    ],
)
def test_a_value_is_held_however_it_is_written(text: str, value: str, is_held: bool) -> None:
    assert holds(text, value) is is_held


@pytest.mark.parametrize(
    ("text", "known", "is_made_up"),
    [
        ("53,600,000 together", "34,000,000 and 19,600,000", False),
        ("14,400,000 more", "34,000,000 and 19,600,000", False),
        ("In 2026", "34,000,000", False),
        ("1.73 times", "34,000,000 and 19,600,000", False),
        ("677,972 km2", "34,000,000 and 19,600,000", True),
    ],
)
def test_a_large_number_comes_from_what_is_known(text: str, known: str, is_made_up: bool) -> None:
    assert from_nowhere(text, known) is is_made_up


@pytest.mark.parametrize(
    ("output", "values"),
    [
        ({"answer": "Lima"}, ["Lima"]),
        ({"answer": 7}, ["7"]),
        ({"answer": "It borders nine countries and has many rivers."}, []),
        ({"answer": "It is 2,850 km long and flows through ten countries."}, ["2,850"]),
        ({"answer": ""}, []),
        ({}, []),
    ],
)
def test_only_values_are_held(output: dict[str, Any], values: list[str]) -> None:
    assert list(values_of(output)) == values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The share is 35.6%.", "0.356"),
        ("35.6 percent of all", "0.356"),
        ("It was on 10 March 2024.", "2024-03-10"),
        ("On March 10, 2024, it was", "2024-03-10"),
        ("founded in 1535", "1535"),
        ("Limas Einwohner", "Lima"),
        ("Peru's capital", "Peru"),
    ],
)
def test_a_value_may_be_written_otherwise(text: str, value: str) -> None:
    assert holds(text, value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The share is 53.6%.", "0.356"),
        ("It was on 10 April 2024.", "2024-03-10"),
        ("founded in 1536", "1535"),
        ("founded in 1540", "1535"),
        ("It is Limassol.", "Lima"),
        ("a preliminary count", "Lima"),
    ],
)
def test_a_value_that_is_another_one_is_not_held(text: str, value: str) -> None:
    assert not holds(text, value)


TOLD = [
    {"text": "Population of Lima: 9,750,000 (a.csv:3)"},
    {"text": "Population of Quito: 1,900,000 (a.csv:4)"},
]


@pytest.mark.parametrize(
    "text",
    [
        "Lima has 9.75 million people and Quito 1.9 million.",
        "9.75 million live in Lima, 1.9 million in Quito.",
        "Lima and Quito have 9,750,000 and 1,900,000 people.",
        "Quito, with 1.9 million, is smaller than Lima, with 9.75 million.",
        "There is nothing to tell.",
    ],
)
def test_numbers_that_stand_with_their_names_are_not_mixed_up(text: str) -> None:
    assert not is_mixed_up(text, TOLD)


@pytest.mark.parametrize(
    "text",
    [
        "Lima has 1.9 million people and Quito 9.75 million.",
        "Quito is larger than Lima: 9,750,000 against 1,900,000.",
        "- Quito: 9,750,000\n- Lima: 1,900,000",
    ],
)
def test_numbers_that_stand_with_the_names_of_others_are_mixed_up(text: str) -> None:
    assert is_mixed_up(text, TOLD)


def test_places_and_addresses_that_nobody_gave_are_made_up() -> None:
    known = "Lima (a.csv:3), see https://example.org/lima"
    assert not cites_others("Lima (a.csv:3), https://example.org/lima.", known)
    assert cites_others("Lima (b.csv:9)", known)
    assert cites_others("Lima, https://data.example.com", known)


@pytest.mark.parametrize(
    "text",
    [
        "Lima is a capital (atlas.csv:99); 19,600,000 live in Chile.",
        "Lima is a capital; 19,600,000 live in Chile (https://made.example.org).",
    ],
)
def test_a_text_with_sources_of_its_own_is_not_taken(text: str) -> None:
    run, _ = go("report", text, "capital of Peru", "population of Chile")
    assert text not in run.answer
    assert "countries.csv" in run.answer


def test_a_text_that_mixes_up_what_was_found_is_not_taken() -> None:
    text = "Peru has 19,600,000 people, Chile 34,000,000."
    right, _ = go("report", "x", "population of Peru", "population of Chile")
    peru = next(number for number in right.answer.replace("(", " ").split() if number[:1] == "3" and "," in number)
    run, _ = go("report", text.replace("34,000,000", peru), "population of Peru", "population of Chile")
    assert text.replace("34,000,000", peru) not in run.answer
