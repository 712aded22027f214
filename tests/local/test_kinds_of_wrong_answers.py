"""Kinds of questions that once got an answer to another question: each is right now, or refused with its reason."""

import asyncio
from pathlib import Path

import pytest

from kapelle import Engine, SqliteLedger
from kapelle.ledger import Run
from kapelle.local.table_questions import NotUnderstood, TablePlan, TableQuestions
from kapelle.tools import Tables

FILES = {
    "tickets.csv": "ticket,priority,satisfaction,status\nT-1,low,5,open\nT-2,high,2,closed\nT-3,low,1,open\n",
    "employees.csv": "name,department,hired,manager\nAnna Weber,Sales,2021-03-01,Ben Ott\nBen Ott,Sales,2016-09-15,\n",
    "orders.csv": "order,date,product,quantity\n5001,2026-07-01,Lamp,3\n5002,2026-08-02,Chair,10\n"
    "5003,2026-08-05,Lamp,1\n",
    "branches.csv": "branch,city,opened,turnover\nCentral,Bern,2011,12500\nHarbour,Basel,2015,900\n",
    "survey.csv": "respondent,age,recommend\n1,34,yes\n2,51,no\n3,62,N/A\n",
    "invoices.csv": "invoice,customer,amount_eur\n"
    "1001,Acme,1250.50\n1002,Borg,830\n1003,Cyan,99.50\nAltogether,,2180\n",
    "takings.csv": "person,month,takings\nAnn,Jan,10\nBen,Jan,20\nAnn,Feb,5\n",
    "members.csv": "name,born,city\nIda Roth,1984,Chur\nMax Baum,1999,Olten\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def ask(folder: Path, question: str) -> Run:
    engine = Engine(data=folder, model="none", ledger=SqliteLedger(":memory:"))
    try:
        return asyncio.run(engine.run(question))
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("open tickets and closed tickets with priority high", "'tickets' is named twice"),
        ("tickets with low satisfaction", "No 'satisfaction' is 'low'"),
        ("tickets whose satisfaction is low", "No 'satisfaction' is 'low'"),
        ("open satisfaction tickets", "No 'satisfaction' is 'open'"),
        ("tickets with high satisfaction and low priority", "No 'satisfaction' is 'high'"),
        ("Who hired Anna Weber?", "'hired' does not say 'Who'"),
        ("Who has hired Anna Weber?", "'hired' does not say 'Who'"),
        ("most ordered product", "Ask for the total quantity"),
        ("least ordered product", "Ask for the total quantity"),
        ("How many Lamp were ordered?", "Ask for the total quantity"),
        ("How many recommend?", "not clear what 'How many' counts"),
        ("newest member", "."),
        ("invoices over 2023", "."),
        ("average turnver per city", "Did you mean 'turnover'"),
        ("amount per usd", "."),
    ],
)
def test_a_question_that_the_tables_do_not_answer_is_refused(folder: Path, question: str, reason: str) -> None:
    plan = TableQuestions(Tables(folder)).plan(question)
    assert isinstance(plan, NotUnderstood), plan
    assert reason in plan.reason


@pytest.mark.parametrize(
    ("question", "rows"),
    [
        ("total takings", [(35,)]),
        ("What are the total takings of Ann?", [(15,)]),
        ("tickets with low priority", [("T-1",), ("T-3",)]),
        ("satisfaction of open tickets", [("T-1", 5), ("T-3", 1)]),
        ("When was Anna Weber hired?", [("2021-03-01",)]),
        ("Who is the manager of Anna Weber?", [("Ben Ott",)]),
        ("Which product has the most orders?", [("Lamp", 2)]),
        ("orders after 2026-08-01", [(5002,), (5003,)]),
        ("quantity of order 5002", [(10,)]),
        ("invoices below 1000", [("1002",), ("1003",)]),
        ("customer of invoice 1002", [("Borg",)]),
        ("total amount", [(2180,)]),
        ("city of the branch with the largest turnover", [("Bern", 12500, "Central")]),
        ("When was Ida Roth born?", [(1984,)]),
        ("How many department are there?", [(1,)]),
    ],
)
def test_a_question_that_they_answer_is_answered(folder: Path, question: str, rows: list[tuple[object, ...]]) -> None:
    tables = Tables(folder)
    plan = TableQuestions(tables).plan(question)
    assert isinstance(plan, TablePlan), plan
    assert list(tables.query(plan.sql).rows) == rows


@pytest.mark.parametrize(
    ("question", "shown"),
    [
        ("When was Harbour opened?", "2015"),
        ("branches sorted by opened", "| Central | 2011 |"),
        ("orders on 2026-08-02", "5002"),
        ("turnover of Central", "12,500"),
    ],
)
def test_codes_and_years_are_shown_as_they_are(folder: Path, question: str, shown: str) -> None:
    assert shown in ask(folder, question).answer


def test_notes_are_of_the_tables_that_the_answer_is_from(folder: Path) -> None:
    (folder / "odd.csv").write_text("a,b\n1,2,3,4\n", encoding="utf-8")
    others, own = ask(folder, "When was Harbour opened?").notes, ask(folder, "total amount").notes
    assert not any("invoices.csv" in note for note in others)
    assert any("invoices.csv:5: left out, as it is the last row and the sum" in note for note in own)
    assert any(note.startswith("odd.csv was left out: ") for note in others)


def test_a_request_that_no_rule_fits_says_what_the_tables_lack(folder: Path) -> None:
    with pytest.raises(Exception, match="The tables do not answer it: Nothing in the tables is called 'urgent'"):
        ask(folder, "urgent tickets")


def test_a_column_that_is_called_like_work_of_an_agent_is_looked_up(folder: Path) -> None:
    (folder / "plans.csv").write_text("plan,budget,code\nAlpha,1000,007\nBeta,5000,012\n", encoding="utf-8")
    assert ask(folder, "budget of Alpha").answer.startswith("Budget of Alpha: 1,000")
    assert ask(folder, "code of Beta").answer.startswith("Code of Beta: 012")


def test_a_folder_without_tables_is_asked_for_its_documents(tmp_path: Path) -> None:
    (tmp_path / "leave.md").write_text("# Leave\n\nEmployees get 25 days of paid leave.\n", encoding="utf-8")
    assert "25 days" in ask(tmp_path, "How many days of paid leave do employees get?").answer
    refused = ask(tmp_path, "How many desks are there?")
    assert refused.state == "failed"
    assert "in the tables" not in str(refused.stop_reason)
