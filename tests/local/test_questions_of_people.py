import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.sql import is_right
from kapelle import Engine, SqliteLedger
from kapelle.local.table_questions import NotUnderstood, TablePlan, TableQuestions
from kapelle.tools import Tables

from .question_folders import ANSWERED, EITHER, FOLDERS, READINGS, REFUSED


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Tables]]:
    opened: dict[str, Tables] = {}
    for name, files in FOLDERS.items():
        folder = tmp_path_factory.mktemp(name)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        opened[name] = Tables(folder)
    yield opened
    for tables in opened.values():
        tables.close()


def cases(of: dict[str, dict[str, str]]) -> list[tuple[str, str, str]]:
    return [(folder, question, wanted) for folder, asked in of.items() for question, wanted in asked.items()]


@pytest.mark.parametrize(("folder", "question", "sql"), cases(ANSWERED))
def test_a_plain_question_of_a_new_user_is_answered_right(
    folders: dict[str, Tables], folder: str, question: str, sql: str
) -> None:
    tables = folders[folder]
    plan = TableQuestions(tables).plan(question)
    assert isinstance(plan, TablePlan), plan
    assert is_right(tables.query(plan.sql).rows, tables.query(sql).rows), plan


@pytest.mark.parametrize(("folder", "question", "sql"), cases(EITHER))
def test_what_may_be_refused_is_never_answered_wrong(
    folders: dict[str, Tables], folder: str, question: str, sql: str
) -> None:
    tables = folders[folder]
    plan = TableQuestions(tables).plan(question)
    if isinstance(plan, TablePlan):
        assert is_right(tables.query(plan.sql).rows, tables.query(sql).rows), plan


@pytest.mark.parametrize(("folder", "question", "reason"), cases(REFUSED))
def test_what_is_not_understood_is_refused_with_the_words(
    folders: dict[str, Tables], folder: str, question: str, reason: str
) -> None:
    plan = TableQuestions(folders[folder]).plan(question)
    assert isinstance(plan, NotUnderstood), plan
    assert re.search(reason, plan.reason), plan.reason


@pytest.mark.parametrize(("folder", "question", "ways"), cases(READINGS))
def test_a_question_with_a_few_readings_lists_them(
    folders: dict[str, Tables], folder: str, question: str, ways: str
) -> None:
    tables = folders[folder]
    plan = TableQuestions(tables).plan(question)
    assert isinstance(plan, NotUnderstood), plan
    assert [len(tables.query(reading.sql).rows) for reading in plan.readings] == list(map(int, ways.split()))


@pytest.mark.parametrize(("folder", "question", "_sql"), cases(ANSWERED))
def test_every_filter_of_the_query_is_said(folders: dict[str, Tables], folder: str, question: str, _sql: str) -> None:
    tables = folders[folder]
    plan = TableQuestions(tables).plan(question)
    assert isinstance(plan, TablePlan), plan
    for condition in re.split(r" WHERE ", plan.sql)[1:]:
        for name in re.findall(r'"(\w+)" (?:[<>=]|IS NULL|BETWEEN|IN \(\')', condition):
            assert name in plan.understood, plan
    assert any(name in plan.understood for name in plan.tables), plan


@pytest.mark.parametrize(
    ("folder", "question", "said"),
    [
        ("staff", "How many employees are remote?", "4"),
        ("staff", "Which employees are not remote?", "Paul Weber"),
        ("invoices", "List the unpaid invoices", "INV-002"),
        ("tickets", "How many tickets were opened in March 2024?", "2"),
    ],
)
def test_a_whole_run_says_what_the_tables_hold(tmp_path: Path, folder: str, question: str, said: str) -> None:
    for file, text in FOLDERS[folder].items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    with Engine(data=tmp_path, model="none", ledger=SqliteLedger(":memory:"), environ={}) as engine:
        run = engine.run_sync(question)
    assert run.state == "done", run.answer
    assert said in run.answer
    assert "Anna Keller" not in run.answer


PLAIN = [(folder, question) for folder, question, _ in cases(ANSWERED)]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    asked=st.sampled_from(PLAIN),
    place=st.integers(0, 12),
    word=st.sampled_from(
        ["zorbly", "urgent", "who swim", "half", "%", "last", "second", "without", "never", "neither"]
    ),
)
def test_a_word_more_that_means_something_is_never_passed_over(
    folders: dict[str, Tables], asked: tuple[str, str], place: int, word: str
) -> None:
    folder, question = asked
    words = question.split()
    said = " ".join([*words[:place], word, *words[place:]])
    plan = TableQuestions(folders[folder]).plan(said)
    assert isinstance(plan, NotUnderstood), (said, plan)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(asked=st.sampled_from(PLAIN), place=st.integers(0, 12), word=st.sampled_from(["not", "except", "excluding"]))
def test_a_negation_is_never_answered_like_its_opposite(
    folders: dict[str, Tables], asked: tuple[str, str], place: int, word: str
) -> None:
    folder, question = asked
    words = question.split()
    questions = TableQuestions(folders[folder])
    whole, negated = questions.plan(question), questions.plan(" ".join([*words[:place], word, *words[place:]]))
    assert isinstance(whole, TablePlan)
    if isinstance(negated, TablePlan):
        assert negated.sql != whole.sql
        # "not more than" is "at most"
        assert any(said in negated.understood for said in ("is not", "'no'", "'false'", "'0'", " <= ", " >= "))
