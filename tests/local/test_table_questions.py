from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.local.table_questions import NotUnderstood, TablePlan, TableQuestions
from kapelle.tools import Tables

ATLAS = Path(__file__).parents[2] / "examples" / "atlas" / "data"
TABLES = Tables(ATLAS)
QUESTIONS = TableQuestions(TABLES)


def ask(question: str) -> list[tuple[Any, ...]]:
    plan = QUESTIONS.plan(question)
    assert isinstance(plan, TablePlan), plan
    return list(TABLES.query(plan.sql).rows)


@pytest.mark.parametrize(
    ("question", "rows"),
    [
        ("What is the capital of Japan?", [("Tokyo",)]),
        ("population of France", [(68000000,)]),
        ("How many people live in France?", [(68000000,)]),
        ("population of the city Singapore", [(5900000,)]),
        ("how long is the Danube", [(2850,)]),
        ("the length of the Colorado River", [(2330,)]),
        ("population of France and Germany", [("France", 68000000), ("Germany", 84500000)]),
        ("How many countries are there?", [(83,)]),
        ("How many rivers are longer than 2000 km?", [(25,)]),
        ("number of mountains higher than 8000 m", [(4,)]),
        ("how many countries have more than 50 million people", [(28,)]),
        ("How many countries does the Danube run through?", [(10,)]),
        ("average length of rivers in Africa", [(4060.0,)]),
        ("what is the total length of the rivers in France", [(3830,)]),
        ("largest city in France", [("Paris", 11200000)]),
        ("Which country has the highest population in Africa?", [("Nigeria", 225000000)]),
        ("What is the longest river in Germany?", [("Danube", 2850)]),
        ("highest mountain in Nepal", [("Everest", 8849)]),
        ("capital of the country with the largest population", [("New Delhi", 1430000000, "India")]),
        ("which continent has the most countries", [("Europe", 26)]),
        ("which country has the most rivers", [("Russia", 5)]),
        ("what country is Munich in", [("Germany",)]),
        ("cities in Europe with over 10 million people", [("Moscow",), ("Paris",)]),
        ("countries where the currency is the Swiss franc", [("Switzerland",)]),
        ("Top 2 mountains in Asia", [("Everest", 8849), ("K2", 8611)]),
        ("the top 2 longest rivers", [("Nile", 6650), ("Amazon", 6400)]),
        ("rivers in Germany ordered by length", [("Oder", 850), ("Elbe", 1090), ("Rhine", 1230), ("Danube", 2850)]),
        ("cities in France ranked by population", [("Paris", 11200000), ("Lyon", 1800000), ("Marseille", 1600000)]),
        (
            "capitals of Oceania",
            [
                ("Australia", "Canberra"),
                ("Fiji", "Suva"),
                ("New Zealand", "Wellington"),
                ("Papua New Guinea", "Port Moresby"),
            ],
        ),
        ("height of Mount Everest", [(8849,)]),
        ("Which 2 countries have the largest area?", [("Russia", 17100000), ("Canada", 9980000)]),
        ("top 2 countries by population", [("India", 1430000000), ("China", 1410000000)]),
        ("rivers in Germany longer than 2000 km", [("Danube",)]),
        ("mountains with an elevation between 8600 and 8700 m", [("K2",)]),
    ],
)
def test_a_plain_question_gets_its_rows(question: str, rows: list[tuple[Any, ...]]) -> None:
    assert ask(question) == rows


def test_what_is_left_out_is_left_out_and_said() -> None:
    plan = QUESTIONS.plan("rivers that are not in Europe")
    assert isinstance(plan, TablePlan)
    assert plan.understood == "The rivers where continent is not 'Europe' (or is empty)."
    rows = TABLES.query(plan.sql).rows
    assert ("Nile",) in rows
    assert ("Danube",) not in rows


def test_groups_are_summed_and_counted() -> None:
    assert dict(ask("total area of countries per continent"))["Oceania"] == 7690000 + 18300 + 268000 + 463000
    assert dict(ask("how many rivers per country"))["Germany"] == 4
    assert dict(ask("average population of cities by continent"))["Oceania"] == 4000000


def test_a_cell_of_several_values_is_matched_by_each_of_them() -> None:
    found = {row[0] for row in ask("countries where German is an official language")}
    assert found == {"Austria", "Belgium", "Germany", "Switzerland"}


def test_a_link_table_answers_for_what_the_other_table_does_not_hold() -> None:
    assert ("Serbia",) in ask("Which countries does the Danube run through?")


def test_an_adjective_with_a_unit_is_told_apart_by_the_unit() -> None:
    assert len(ask("countries larger than 5000000 km2")) == 6


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("largest country", "population.*area_km2"),
        ("population of Singapore", "cities.*countries"),
        ("population of Europe", "Name the table"),
        ("total population", "Say which"),
        ("rivers in neither Europe nor Asia", "neither"),
        ("rivers that are not in Europe or Asia", "how far|How far"),
        ("rivers longer than the Rhine", "number"),
        ("rivers longer than 1000 miles", "mi"),
        ("median area of countries", "median"),
        ("GDP of France", "GDP"),
        ("capital of Atlantis", "Atlantis"),
        ("Who is the president of France?", "president"),
        ("How many people live in the capital of France?", "belong together"),
        ("total length of rivers per country", "several groups"),
        ("which country has the fewest rivers", "fewest"),
        ("what rivers are in Germany and France", "both"),
        ("the longest and the shortest river", "more than one"),
        ("how many people live in cities in Germany", "total"),
        ("cities", "not clear"),
        ("", "names no table"),
        ("x" * 3000, "too long"),
    ],
)
def test_a_question_that_is_not_sure_is_refused_with_the_reason(question: str, reason: str) -> None:
    plan = QUESTIONS.plan(question)
    assert isinstance(plan, NotUnderstood), plan
    import re

    assert re.search(reason, plan.reason), plan.reason


def test_the_plan_says_how_it_understood_the_question() -> None:
    plan = QUESTIONS.plan("What is the average population of countries in Europe?")
    assert isinstance(plan, TablePlan)
    assert plan.understood == "The average of population over countries where continent is 'Europe'."
    assert plan.sql == """SELECT avg("population") FROM "countries" WHERE "continent" = 'Europe'"""
    assert plan.tables == ("countries",)


def test_a_question_for_one_cell_names_it() -> None:
    plan = QUESTIONS.plan("capital of France")
    assert isinstance(plan, TablePlan)
    assert plan.cell is not None
    assert (plan.cell.table, plan.cell.value, plan.cell.column) == ("countries", "France", "capital")


def test_quotes_in_values_and_names_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("""odd,"po""p",order\n"O'Brien",5,1\n"x') DROP TABLE odd --",6,2\n""")
    with Tables(tmp_path) as tables:
        questions = TableQuestions(tables)
        for question, order in [("order of O'Brien", 1), ("order of x') DROP TABLE odd --", 2)]:
            plan = questions.plan(question)
            assert isinstance(plan, TablePlan), plan
            assert tables.query(plan.sql).rows == ((order,),)


def test_things_that_stand_in_several_rows_are_counted_once(tmp_path: Path) -> None:
    (tmp_path / "river.csv").write_text("river,length,state\nRed,10,A\nRed,10,B\nBlue,20,A\n")
    with Tables(tmp_path) as tables:
        questions = TableQuestions(tables)
        plan = questions.plan("how many rivers")
        assert isinstance(plan, TablePlan)
        assert tables.query(plan.sql).rows == ((2,),)
        for question in ("total length of rivers", "average length of rivers in A"):
            refused = questions.plan(question)
            assert isinstance(refused, NotUnderstood)
            assert "several rows of 'river'" in refused.reason
        total = questions.plan("total length of rivers")
        assert isinstance(total, NotUnderstood)
        assert [tables.query(way.sql).rows for way in total.readings] == [((30,),), ((40,),)]
        for question in ("total length of rivers per state", "number of rivers and total length per state"):
            refused = questions.plan(question)  # a river may stand twice in a group of states
            assert isinstance(refused, NotUnderstood)
            assert not refused.readings


@pytest.mark.parametrize(
    "sales",
    [
        "order_id,customer,units\n1,Ann,10\n2,Bob,5\n3,Ann,10\n",  # a code tells rows apart
        "name,date,units\nAnn,2024-01-02,10\nBob,2024-01-02,5\nAnn,2024-02-02,10\n",  # the day does
        "name,month,units\nAnn,2024-01,10\nBob,2024-01,5\nAnn,2024-02,10\n",
        "name,order_date,units\nAnn,2024-01-02,10\nBob,2024-01-02,5\nAnn,2024-02-02,10\n",
        "name,year,units\nAnn,2023,10\nBob,2023,5\nAnn,2024,10\n",
        "product,units,price\nAnn,8,2\nBob,5,2\nAnn,8,2\nAnn,4,2\n",  # equal rows stand beside different ones
    ],
)
def test_rows_that_are_things_of_their_own_are_summed(tmp_path: Path, sales: str) -> None:
    (tmp_path / "sales.csv").write_text(sales)
    with Tables(tmp_path) as tables:
        plan = TableQuestions(tables).plan("What is the total units?")
        assert isinstance(plan, TablePlan), plan
        assert tables.query(plan.sql).rows == ((25,),)


@pytest.mark.parametrize(
    ("said", "low", "high"),
    [
        ("30 and 40 million", 30e6, 40e6),  # the scale is of both
        ("thirty and forty five million", 30e6, 45e6),
        ("500 thousand and 2 million", 500e3, 2e6),
        ("30,000,000 and 40 million", 30e6, 40e6),
        ("zero and ninety-nine million", 0, 99e6),
    ],
)
def test_numbers_in_words_and_scales_are_read_whole(said: str, low: float, high: float) -> None:
    (count,) = TABLES.query(f"SELECT count(*) FROM countries WHERE population BETWEEN {low} AND {high}").rows
    assert ask(f"how many countries have between {said} people") == [count]


@pytest.mark.parametrize("said", ["thirty ten million", "twenty hundred", "May and 40 million"])
def test_what_is_no_number_is_not_read_as_one(said: str) -> None:
    assert isinstance(QUESTIONS.plan(f"countries with more than {said} people"), NotUnderstood)
    assert isinstance(QUESTIONS.plan(f"countries with between {said} people"), NotUnderstood)


def test_a_group_is_asked_for_one_thing(tmp_path: Path) -> None:
    (tmp_path / "visits.csv").write_text("name,site,amount\nAnn,A,1\nBob,A,2\nCy,B,4\n")
    with Tables(tmp_path) as tables:
        refused = TableQuestions(tables).plan("number of visits and total amount per site")
        assert isinstance(refused, NotUnderstood), refused
        assert "counted, summed or averaged" in refused.reason


def test_changed_tables_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "cities.csv"
    path.write_text("city,population\nOslo,1\n")
    with Tables(tmp_path) as tables:
        questions = TableQuestions(tables)
        assert isinstance(questions.plan("population of Bergen"), NotUnderstood)
        path.write_text("city,population\nOslo,1\nBergen,2\n")
        assert isinstance(questions.plan("population of Bergen"), TablePlan)


WORDS = (
    "population area countries country rivers in of the per by and or most largest average total how many more than "
    "between 5 million Europe France Danube Germany 2000 km top longest capital continent with each not , ? ' \" ; --"
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS.split()), max_size=9).map(" ".join) | st.text(max_size=40))
def test_every_question_ends_in_a_refusal_or_in_sql_that_runs(question: str) -> None:
    plan = QUESTIONS.plan(question)
    if isinstance(plan, TablePlan):
        TABLES.query(plan.sql)
        assert plan.understood.endswith(".")
    else:
        assert plan.reason


def test_a_bare_name_finds_its_row_and_anything_else_none() -> None:
    row = QUESTIONS.find_row("the danube")
    assert row is not None
    assert (row.table, row.value) == ("rivers", "Danube")
    assert all(QUESTIONS.find_row(name) is None for name in ("river", "Europe", "Atlantis", "", "capital of France"))


def test_a_place_has_no_numbers_of_its_own_where_only_its_countries_do() -> None:
    assert isinstance(QUESTIONS.plan("population of Europe"), NotUnderstood)
    assert isinstance(QUESTIONS.plan("Top 3 countries in Asia"), NotUnderstood)


def test_a_word_that_is_nearly_right_is_named() -> None:
    plan = QUESTIONS.plan("captial of France")
    assert isinstance(plan, NotUnderstood)
    assert "Did you mean 'capital'?" in plan.reason
