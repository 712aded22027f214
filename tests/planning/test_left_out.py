from __future__ import annotations

import pytest

from kapelle.graph import Task, TaskDAG
from kapelle.planning.coverage import find_left_out


def plan(*texts: str) -> TaskDAG:
    return TaskDAG(Task(task_id=f"s{n}", task_type="lookup", description=text) for n, text in enumerate(texts))


@pytest.mark.parametrize(
    ("request_", "texts", "missing"),
    [
        ("Compare the population of France and Germany.", ["Find the population of France"], ("Germany",)),
        ("Find the population of the capital of Brazil", ["Find the capital of Brazil"], ("population",)),
        (
            "Compare the populations of the capitals of Peru and Chile",
            ["capital of Peru", "capital of Chile"],
            ("population",),
        ),
        (
            "Find the 3 longest rivers in Europe and the 12 largest lakes",
            ["the three longest rivers in Europe"],
            ("12",),
        ),
        ('Look up "Blue Danube" and "Radetzky March"', ["who composed Blue Danube"], ("Radetzky March",)),
        ("Get the price of SKU-7741 and of SKU-9002 in Vienna", ["price of SKU-7741 in Vienna"], ("SKU-9002",)),
        (
            "What did Ada Lovelace write, and where was Charles Babbage born?",
            ["works of Ada Lovelace"],
            ("Charles Babbage",),
        ),
        ("Sum the orders above 1,500 euros in Graz", ["orders in Graz"], ("1,500",)),
        (
            "How long is the Danube? Which countries does it flow through? And the Rhine?",
            ["length of the Danube"],
            ("Rhine",),
        ),
    ],
)
def test_names_numbers_and_quantities_that_no_task_carries_are_found(
    request_: str, texts: list[str], missing: tuple[str, ...]
) -> None:
    assert find_left_out(request_, plan(*texts)) == missing


@pytest.mark.parametrize(
    ("request_", "texts"),
    [
        ("Compare the population of France and Germany.", ["population of France", "Germany's population", "compare"]),
        ("Compare the population of France and Germany.", ["How many people live in France and in Germany?"]),
        ("Find the 3 longest rivers", ["the three longest rivers"]),
        ("Orders above 1,500 euros in Graz", ["orders over 1500 in Graz"]),
        ("Orders above 1.500,00 euros in Graz", ["orders over 1500 in Graz"]),
        ("Growth of 5 % in Graz", ["growth of 5% in Graz"]),
        ("What is the area of Spain?", ["Spain's area"]),
        (
            "Vergleiche die Bevölkerung von Frankreich und Deutschland",
            ["population of France", "population of Germany"],
        ),
        ("COMPARE THE POPULATION OF FRANCE AND GERMANY", ["population of France"]),
        ("Compare The Population Of France And Germany", ["population of France"]),
        ("Please write a SQL query. Then explain it as JSON for Vienna.", ["write the query for Vienna"]),
        ("I think Italy is larger. Is it?", ["area of Italy"]),
        ('Summarise this for Anna: "' + "a long text that is material, " * 5 + '"', ["summarise it for Anna"]),
        ("Find the rest of the list of countries in Asia", ["countries in Asia"]),
        ("Deploy it", ["deploy"]),
        ("", ["anything"]),
        ("Find São Paulo and Zürich", ["Sao Paulo", "Zurich"]),
        ("Where is Germany, and who are the Germans?", ["German people and land"]),
    ],
)
def test_a_plan_that_says_it_otherwise_raises_no_alarm(request_: str, texts: list[str]) -> None:
    assert find_left_out(request_, plan(*texts)) == ()


def test_what_stands_in_inputs_and_types_is_carried() -> None:
    graph = TaskDAG(
        [Task(task_id="s1", task_type="lookup", inputs={"query": ["France", {"of": "Germany"}], "limit": 3})]
    )
    assert find_left_out("Find the 3 largest of France and Germany", graph) == ()


def test_nothing_is_said_of_a_plan_that_shares_nothing_with_the_request() -> None:
    assert find_left_out("Compare France and Germany", plan("find it")) == ()
