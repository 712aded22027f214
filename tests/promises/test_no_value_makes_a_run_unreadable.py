"""Whatever an agent asks, and whatever a person says, the run and everybody's questions can be read, in both stores.

`ASKED` are odd questions, each with whether it can be asked at all; one that cannot fails its task, and its siblings go
on and are paid for.
"""

from __future__ import annotations

import asyncio
import datetime
import decimal
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy
import pytest

from kapelle import AskPerson, Engine, Plan, Run, SqliteLedger, Task, TaskDAG, agent
from kapelle.agents import TaskContext
from kapelle.ledger import Ledger, PostgresLedger, describe_question
from tests.ledger.postgres_server import PostgresServer


class Always:
    """Is equal to everything, and a member of every list."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("answer")


class Loud(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise KeyboardInterrupt

    __repr__ = __str__


class NeverMade(AskPerson):
    def __init__(self) -> None:
        Exception.__init__(self, "never made")


class Property(AskPerson):
    @property
    def kind(self) -> Any:
        raise SystemExit(1)

    @kind.setter
    def kind(self, value: Any) -> None:
        pass


def asked(**fields: Any) -> AskPerson:
    found = AskPerson("Which?")
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def as_any(value: Any) -> Any:
    return value


def inside(levels: int) -> Any:
    found: Any = {}
    for _ in range(levels):
        found = {"in": found}
    return found


def itself() -> Any:
    found: dict[str, Any] = {}
    found["in"] = found
    return found


ASKED: Mapping[str, tuple[Callable[[], Any], bool]] = {
    "plain": (lambda: AskPerson("Which?"), True),
    "of another kind": (lambda: asked(kind="choice"), False),
    "of a kind that is no text": (lambda: asked(kind=7), False),
    "of a kind that is equal to everything": (lambda: asked(kind=Always()), False),
    "of a kind that is a text of its own": (lambda: asked(kind=Loud("answer")), True),
    "of a kind that exits": (lambda: Property("Which?"), False),
    "never made": (NeverMade, False),
    "with words that are none": (lambda: asked(question=None), False),
    "with words of its own": (lambda: asked(question=Loud("Which?")), True),
    "with empty words": (lambda: asked(question="  "), False),
    "with half a character": (lambda: AskPerson("Which \ud800?"), True),
    "with two halves": (lambda: AskPerson("Which \ud83d\ude00?"), True),
    "with a NUL": (lambda: AskPerson("Which \0?"), True),
    "with control characters": (lambda: AskPerson("\x1b[2JWhich\r?\x9b"), True),
    "with many lines": (lambda: AskPerson("\n" * 50_000 + "?"), True),
    "with 40,000 characters": (lambda: AskPerson("x" * 40_000), True),
    "with 900,000 characters": (lambda: AskPerson("x" * 900_000), True),
    "with five million characters": (lambda: AskPerson("x" * 5_000_000), False),
    "with options of a generator": (lambda: AskPerson("Which?", options=(one for one in "ab")), True),  # type: ignore[arg-type]  # odd
    "with options without end": (lambda: AskPerson("Which?", options=map(str, itertools.count())), False),  # type: ignore[arg-type]  # odd
    "with a text as options": (lambda: AskPerson("Which?", options="ab"), False),
    "with options that are none": (lambda: AskPerson("Which?", options=7), False),  # type: ignore[arg-type]  # odd
    "with options of numbers": (lambda: AskPerson("Which?", options=[1, 2.5, None]), True),  # type: ignore[list-item]
    "with options of numbers, set": (lambda: asked(options=(1, 2)), False),
    "with options of halves": (lambda: AskPerson("Which?", options=["\ud800", "\0"]), True),
    "with options of 90,000 characters": (lambda: AskPerson("Which?", options=["a" * 45_000, "b" * 45_000]), True),
    "with options of a million characters": (lambda: AskPerson("Which?", options=["a" * 1_000_000]), False),
    "with many options": (lambda: AskPerson("Which?", options=[str(n) for n in range(1000)]), True),
    "with arguments that are none": (lambda: asked(arguments=7), False),
    "with arguments in a list": (lambda: asked(arguments=[1]), False),
    "with arguments of no plain form": (lambda: AskPerson("Which?", arguments={"x": object()}), False),
    "with arguments that hold themselves": (lambda: AskPerson("Which?", arguments=itself()), False),
    "with deep arguments": (lambda: AskPerson("Which?", arguments=inside(150)), True),
    "with arguments too deep": (lambda: AskPerson("Which?", arguments=inside(900)), False),
    "with arguments of many types": (
        lambda: AskPerson(
            "Which?",
            arguments={
                "n": numpy.arange(3),
                "nan": float("nan"),
                "d": decimal.Decimal("1.50"),
                "at": datetime.date(2024, 5, 1),
                "s": {2, 1},
                "t": (1, 2),
                "big": 2**80,
                "half": "\ud800",
                "nul\0": "\0",
            },
        ),
        True,
    ),
    "with keys that collide": (lambda: AskPerson("Which?", arguments={1: "a", "1": "b"}), False),  # type: ignore[dict-item]
    "with large arguments": (lambda: AskPerson("Which?", arguments={"x": "x" * 900_000}), True),
    "with arguments without end": (lambda: AskPerson("Which?", arguments={"x": itertools.count()}), False),
    "with many arguments": (lambda: AskPerson("Which?", arguments={str(n): n for n in range(20_000)}), True),
    **{
        f"with a cost of {cost!r}": (functools.partial(AskPerson, "Which?", cost_usd=as_any(cost)), fits)
        for cost, fits in [
            (-1.0, False),
            (float("nan"), False),
            (1e300, False),
            ("0.1", False),
            (decimal.Decimal("0.5"), True),
            (numpy.float32(0.5), True),
        ]
    },
    "with a usage that is none": (lambda: AskPerson("Which?", usage="much"), False),
}


def go(give: Callable[[], Any], ledger: Ledger, **fields: Any) -> tuple[Run, Engine]:
    @agent(agent_id="one", task_types=["t"], cost_usd=0.01)
    async def one(task: Task, context: TaskContext) -> Any:
        if context.answers:
            return "done"
        raise give()

    @agent(agent_id="two", task_types=["other"], cost_usd=0.30)
    async def two(task: Task) -> str:
        return "done"

    engine = Engine([one, two], model="none", environ={}, ledger=ledger)
    tasks = [Task(task_id="a", task_type="t", **fields), Task(task_id="w", task_type="other")]
    return asyncio.run(engine.run(Plan(request="x", graph=TaskDAG(tasks), planner="me"))), engine


def hold(run: Run, ledger: Ledger, *, asks: bool) -> None:
    assert run.tasks["a"].state == ("asking" if asks else "failed"), run.tasks["a"].reason
    assert (run.tasks["w"].state, run.tasks["w"].cost_usd) == ("done", 0.30)
    kept = ledger.run(run.run_id)
    assert kept == run
    assert ledger.questions(run.run_id) == kept.open_questions
    assert len(kept.open_questions) == asks
    assert kept.explain()
    for question in ledger.questions():
        assert list(describe_question(question, full=True))


@pytest.mark.parametrize("case", ASKED)
def test_any_question_leaves_runs_and_questions_readable(case: str) -> None:
    give, fits = ASKED[case]
    ledger = SqliteLedger()
    run, engine = go(give, ledger)
    hold(run, ledger, asks=fits)
    if fits:
        (question,) = ledger.questions()
        engine.answer(question.question_id, question.options[0] if question.options else "this")
        assert asyncio.run(engine.resume(run.run_id)).state == "done"
        assert ledger.questions() == ()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.mark.slow
def test_on_a_server_it_is_the_same(postgres: PostgresServer) -> None:
    """All of them in one ledger, so that one that spoils it is noticed by the next."""
    with PostgresLedger(postgres.new_database("asked")) as ledger:
        for give, fits in ASKED.values():
            run, _ = go(give, ledger)
            hold(run, ledger, asks=fits)
        assert len(ledger.questions()) == sum(fits for _, fits in ASKED.values())


SAID: Mapping[str, Any] = {
    "half a character": "\ud800",
    "a NUL": "\0",
    "nothing": None,
    "not a number": float("nan"),
    "an array": numpy.arange(3),
    "a long text": "x" * 200_000,
    "keys of numbers": {1: (1, 2)},
    "deep": inside(150),
}


@pytest.mark.parametrize("note", ["", "\ud800\0\x1b[2J", "x" * 50_000])
@pytest.mark.parametrize("case", SAID)
def test_whatever_a_person_says_the_run_goes_on_and_can_be_read(case: str, note: str) -> None:
    ledger = SqliteLedger()
    run, engine = go(lambda: AskPerson("Which?"), ledger)
    engine.answer(run.open_questions[0].question_id, SAID[case], note, by=note)
    run = asyncio.run(engine.resume("last"))
    assert run.state == "done"
    assert ledger.run("last") == run
    assert run.explain()


def test_an_approval_of_a_task_with_odd_inputs_can_be_read() -> None:
    ledger = SqliteLedger()
    inputs = {"nul": "a\0b", "long": "x" * 500_000, "deep": [[[[]]]], "": "no name", "n": 2**70}
    run, _ = go(lambda: AskPerson("never"), ledger, approval=True, inputs=inputs, description="\x1b[2J\nPay")
    (question,) = ledger.questions()
    assert question == run.open_questions[0]
    assert question.inputs["long"] == inputs["long"]
    assert run.explain()
