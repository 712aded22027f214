"""What a question could mean is asked where somebody is there, and is told with the refusal where nobody is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kapelle import Engine, SqliteLedger
from kapelle.agents import Agent, HumanAnswer, TaskContext
from kapelle.errors import AskPerson, CannotAnswer
from kapelle.graph import Task
from kapelle.local import local_agents
from kapelle.local.sql import choose_reading
from kapelle.local.table_questions import TablePlan

QUESTION = "What is the price of Tea?"
NET, GROSS = "The net_price of products where product is 'Tea'", "The gross_price of products where product is 'Tea'"
TASKS = {
    "sql": Task(task_id="s1", task_type="sql", inputs={"question": QUESTION}),
    "lookup": Task(task_id="s1", task_type="lookup", inputs={"query": QUESTION}),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "products.csv").write_text("product,net_price,gross_price\nTea,3.10,3.69\nRice,2.05,2.44\n")
    (tmp_path / "tea.md").write_text("Tea is a drink. The price of coffee is another one.\n")
    return tmp_path


def ask(folder: Path, kind: str, *said: str, attended: bool = False) -> dict[str, Any]:
    agents: dict[str, Agent] = {
        task_type: agent for card, agent in local_agents(folder, attended=attended) for task_type in card.task_types
    }
    answers = []
    for value in said:
        with pytest.raises(AskPerson) as asked:
            ask(folder, kind, attended=True)
        error = asked.value
        answers.append(HumanAnswer(question=error.question, value=value, options=error.options))
    context = TaskContext(run_id="r", request=QUESTION, answers=tuple(answers))
    output: dict[str, Any] = asyncio.run(agents[kind].run(TASKS[kind], context)).output
    return output


@pytest.mark.parametrize("kind", ["sql", "lookup"])
def test_whoever_is_there_is_asked_which_is_meant(folder: Path, kind: str) -> None:
    with pytest.raises(AskPerson) as asked:
        ask(folder, kind, attended=True)
    assert asked.value.options == (NET, GROSS)
    assert QUESTION.rstrip("?") in asked.value.question


@pytest.mark.slow
@pytest.mark.parametrize("attended", [True, False], ids=["attended", "alone"])
@pytest.mark.parametrize("kind", ["sql", "lookup"])
def test_what_was_chosen_is_answered_also_where_nobody_is_there_any_more(
    folder: Path, kind: str, attended: bool
) -> None:
    for words, price in ((NET, 3.10), (GROSS, 3.69)):
        output = ask(folder, kind, words, attended=attended)
        assert (output["answer"], output["understood"].rstrip(".")) == (price, words)
        assert output["sources"][0].startswith("products.csv")
        assert "_price" in output["sql"]


@pytest.mark.parametrize("kind", ["sql", "lookup"])
def test_nobody_is_asked_where_nobody_is_there_and_all_readings_are_told(folder: Path, kind: str) -> None:
    with pytest.raises(CannotAnswer) as refused:
        ask(folder, kind)
    assert [one["understood"] for one in refused.value.readings] == [NET, GROSS]
    assert NET in str(refused.value)
    assert GROSS in str(refused.value)


def test_a_run_keeps_the_readings_and_each_can_be_asked_for(folder: Path) -> None:
    with Engine(data=folder, model="none", ledger=SqliteLedger(":memory:")) as engine:
        run = asyncio.run(engine.run(QUESTION))
        (task,) = run.tasks.values()
        assert (run.state, task.state) == ("failed", "failed")
        again = engine.ledger.run(run.run_id).tasks[task.task_id]
        assert again.readings == task.readings
        answers = [asyncio.run(engine.run(reading["sql"])).answer for reading in task.readings]
        assert ["3.1" in answers[0], "3.69" in answers[1]] == [True, True]
        assert "could mean: " + NET in run.explain()


def test_readings_in_the_same_words_are_told_apart_and_one_alone_is_taken() -> None:
    context = TaskContext(run_id="r", request="")
    same = [TablePlan(sql=f"SELECT {number}", understood="The price.", tables=("t",)) for number in (1, 2)]
    with pytest.raises(AskPerson) as asked:
        choose_reading("price", same, context, attended=True)
    assert asked.value.options == ("The price", "The price (SELECT 2)")
    assert choose_reading("price", same[:1], context, attended=True) is same[0]
    assert choose_reading("price", [same[0], same[0]], context) is same[0]
