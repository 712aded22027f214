"""`{s1}` in a longer text is what the task found and nothing more, whoever is asked; alone it is the whole output."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle import Engine, SqliteLedger, agent
from kapelle.graph import Task, TaskDAG, render_output, resolve_references, title_task
from kapelle.ledger import Run
from kapelle.models import ModelReply, ModelRequest
from kapelle.planning import Plan

ATLAS = Path(__file__).parents[2] / "examples" / "atlas" / "data"
LINES = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=30).map(str.strip)
ANSWERS = LINES.filter(bool) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


class Listener:
    """A model that remembers what it was told."""

    model = "local:listener"

    def __init__(self) -> None:
        self.heard = ""

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> ModelReply:
        self.heard += request.messages[-1].content
        return ModelReply(text="ok", model=self.model, finish_reason="stop")


@given(answer=ANSWERS, text=LINES, before=LINES.map(lambda text: text.replace("{", "").replace("}", "")))
def test_a_one_line_answer_stands_in_a_text_as_it_is(answer: Any, text: str, before: str) -> None:
    output = {"text": f"{text} (file.csv:1)", "answer": answer, "sources": ["file.csv:1"]}
    filled = resolve_references({"query": f"{before} {{s1}}", "found": "{s1}", "whole": "x {s1.text}"}, {"s1": output})
    assert filled["query"] == f"{before} {render_output(answer)}"
    assert filled["query"] == resolve_references(f"{before} {{s1.answer}}", {"s1": output})
    assert filled["found"] == output
    assert filled["whole"] == f"x {output['text']}"


@pytest.mark.parametrize(
    ("output", "stands"),
    [
        ({"text": "A: 1\nB: 2", "answer": "A: 1\nB: 2"}, "A: 1\nB: 2"),
        ({"text": "the text", "answer": "a\nbody"}, "the text"),
        ({"text": "the text", "answer": ""}, "the text"),
        ({"text": "the text", "answer": None}, "the text"),
        ({"text": "the text", "answer": True}, "the text"),
        ({"text": "the text", "answer": {"x": 1}}, "the text"),
        ({"text": "the text", "answer": ["a"]}, "the text"),
        ({"text": "the text"}, "the text"),
        ({"answer": " Lima "}, "Lima"),
        ({"answer": 0}, "0"),
        ("Lima", "Lima"),
        (7, "7"),
        (["a", "b"], '["a", "b"]'),
        ({"capital": "Lima"}, '{"capital": "Lima"}'),
    ],
)
def test_what_is_no_bare_answer_stands_by_its_text(output: Any, stands: str) -> None:
    assert resolve_references("of {s1}", {"s1": output}) == f"of {stands}"


def go(first: Task, second: Task, **options: Any) -> Run:
    engine = Engine(**{"data": ATLAS, "model": "none", "ledger": SqliteLedger(":memory:"), **options})
    return engine.run_sync(Plan(request="", graph=TaskDAG([first, second]), planner="test"))


CAPITAL = Task(task_id="s1", task_type="lookup", inputs={"query": "capital of Brazil"})
AREA = Task(task_id="s1", task_type="lookup", inputs={"query": "area of Brazil"})
COUNT = Task(task_id="s1", task_type="aggregate", inputs={"question": "How many countries are there?"})


@pytest.mark.parametrize(
    ("first", "kind", "inputs", "found"),
    [
        (CAPITAL, "lookup", {"query": "population of {s1}"}, "Population of Brasília: 4,900,000"),
        (CAPITAL, "lookup", {"query": "population of {s1.answer}"}, "Population of Brasília: 4,900,000"),
        (CAPITAL, "search", {"query": "population of {s1}"}, "Population of Brasília: 4,900,000"),
        (CAPITAL, "research", {"question": "population of {s1}"}, "Population of Brasília: 4,900,000"),
        (CAPITAL, "sql", {"question": "population of {s1}"}, "4,900,000"),
        (CAPITAL, "sql", {"sql": "SELECT population FROM cities WHERE city = {s1}"}, "4,900,000"),
        (CAPITAL, "sql", {"sql": "SELECT population FROM cities WHERE city = '{s1}'"}, "4,900,000"),
        (AREA, "compute", {"expression": "{s1} / 2"}, "4,"),
        (AREA, "compute", {"expression": "half is {s1} * 0.5".removeprefix("half is ")}, "4,"),
        (COUNT, "compute", {"expression": "{s1} + 0"}, "= 83"),
        (COUNT, "compute", {"expression": "{s1}"}, "= 83"),
        (COUNT, "python", {"code": "{s1} + 1"}, "84"),
        (COUNT, "python", {"code": "found['answer'] + 1", "found": "{s1}"}, "84"),
    ],
)
def test_every_local_agent_reads_it_so(first: Task, kind: str, inputs: dict[str, Any], found: str) -> None:
    run = go(first, Task(task_id="s2", task_type=kind, inputs=inputs))
    assert run.state == "done", run.explain()
    assert found in run.answer


def test_several_rows_are_a_list_of_values_in_sql() -> None:
    first = Task(
        task_id="s1", task_type="sql", inputs={"sql": "SELECT country FROM countries WHERE country LIKE 'Ch%'"}
    )
    sql = "SELECT capital FROM countries WHERE country IN ({s1}) ORDER BY capital"
    run = go(first, Task(task_id="s2", task_type="sql", inputs={"sql": sql}))
    assert "Beijing" in run.answer
    assert "Santiago" in run.answer


def test_a_model_and_a_users_function_are_given_the_same() -> None:
    model, given_to = Listener(), []

    @agent(task_types=["tell"])
    async def teller(task: Task) -> str:
        given_to.append(task.inputs["query"])
        return "told"

    go(CAPITAL, Task(task_id="s2", task_type="tell", inputs={"query": "population of {s1}"}), agents=[teller])
    go(CAPITAL, Task(task_id="s2", task_type="translate", inputs={"query": "population of {s1}"}), model=model)
    assert given_to == ["population of Brasília"]
    assert '"query": "population of Brasília"' in model.heard


NAMES = ("Peru", "Chile", "New Zealand")


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("output", ["{}", {"answer": "{}"}, {"text": "{}"}, {"text": "{}", "answer": "{}"}, ["{}"]])
@pytest.mark.parametrize("kind", ["combine", "join", "answer", "compare", "report", "summarize"])
def test_what_is_put_together_says_which_is_whose(kind: str, output: Any, described: bool) -> None:
    cities = dict(zip(NAMES, ("Lima", "Santiago", "Wellington"), strict=True))

    def filled(value: Any, city: str) -> Any:
        if isinstance(value, dict):
            return {key: filled(item, city) for key, item in value.items()}
        return [filled(item, city) for item in value] if isinstance(value, list) else value.format(city)

    @agent(task_types=["name"])
    async def namer(task: Task) -> Any:
        return filled(output, next(city for name, city in cities.items() if name in task.inputs["query"]))

    found = [
        Task(
            task_id=f"s{number}",
            task_type="name",
            description=f"Capital of {name}" if described else "",
            inputs={"query": f"capital of {name}"},
        )
        for number, name in enumerate(NAMES)
    ]
    plan = Plan(
        request="",
        graph=TaskDAG([*found, Task(task_id="t", task_type=kind, depends_on=("s0", "s1", "s2"))]),
        planner="test",
    )
    run = asyncio.run(Engine(agents=[namer], model="none", ledger=SqliteLedger(":memory:")).run(plan))
    assert run.state == "done", run.explain()
    rest = run.answer
    for name, city in cities.items():  # each name stands before its city, and after the one before
        assert name in rest.partition(city)[0], run.answer
        rest = rest.partition(city)[2]


def test_a_text_that_names_what_it_is_about_is_not_named_twice() -> None:
    found = [
        Task(task_id=f"s{n}", task_type="lookup", inputs={"query": f"capital of {name}"})
        for n, name in enumerate(("Peru", "Chile"))
    ]
    graph = TaskDAG([*found, Task(task_id="t", task_type="combine", depends_on=("s0", "s1"))])
    run = Engine(data=ATLAS, model="none", ledger=SqliteLedger(":memory:")).run_sync(
        Plan(request="", graph=graph, planner="test")
    )
    assert run.answer.startswith("- Capital of Peru: Lima (countries.csv:58)\n- Capital of Chile: Santiago (")


@pytest.mark.parametrize(
    ("task", "title"),
    [
        (Task(task_id="a", task_type="lookup", description="find it", inputs={"query": "x"}), "find it"),
        (Task(task_id="a", task_type="lookup", inputs={"query": "capital of {s1}"}), "Capital of Lima"),
        (Task(task_id="a", task_type="lookup", inputs={"query": "capital of {s9}"}), "Capital of {s9}"),
        (Task(task_id="a", task_type="lookup", inputs={"query": "capital of {s9.city}"}), "Capital of {s9.city}"),
        (Task(task_id="a", task_type="compare_values", inputs={"arg1": "{s1}", "arg2": "{s2}"}), "Compare values"),
        (Task(task_id="a", task_type="sql", inputs={"limit": 3, "question": "how many"}), "How many"),
        (Task(task_id="a", task_type="write"), "Write"),
        (Task(task_id="a", task_type="lookup", inputs={"query": "a\nb"}), "A b"),
    ],
)
def test_a_task_without_a_description_is_called_by_what_it_asks(task: Task, title: str) -> None:
    assert title_task(task, {"s1": {"text": "It is Lima.", "answer": "Lima"}}) == title
