"""README: "Nothing runs unchecked". Only approved plans run, and what a validator refuses is no answer, in any way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy
import pytest

from kapelle import SqliteLedger
from kapelle.budget import Budget
from kapelle.errors import InvalidInput
from kapelle.ledger import Journal, Run
from kapelle.routing import RoutingPlan

from .mending import params
from .ways import ADAPTERS, BACKENDS, STRATEGIES, Way, open_session, why_not

PLAIN = [
    Way(adapter, strategy, BACKENDS[number % len(BACKENDS)], "may pass" if adapter == "model" else "fails", "declared")
    for number, (adapter, strategy) in enumerate((one, other) for one in ADAPTERS for other in STRATEGIES)
]
ALL = [one._replace(failure="is empty") if why_not(one) else one for one in PLAIN]
WAYS = [way for way in ALL if why_not(way) is None]
assert {way.adapter for way in WAYS} == set(ADAPTERS)


def run_guarded(way: Way, validator: Callable[[Any], Any]) -> tuple[Run, list[str]]:
    with ExitStack() as stack:
        session = open_session(way, stack, failing=(), hopeless=(), validators={"work": validator})
        session.engine.limits = replace(session.engine.limits, task_timeout_s=60.0)  # nothing stalls without a rival
        run = asyncio.run(session.engine.run(session.plan()))
        return run, [one.task for one in session.stage.calls()]


@pytest.mark.parametrize("way", params("a refused output is no answer", WAYS))
def test_what_a_validator_refuses_is_no_answer_and_nothing_is_done_with_it(way: Way) -> None:
    run, called = run_guarded(way, lambda output: not str(output).startswith("odd"))
    assert run.tasks["odd"].state == "failed"
    assert run.tasks["odd"].output is None
    assert run.tasks["after_odd"].state == "skipped"
    assert "after_odd" not in called
    assert {name for name, task in run.tasks.items() if task.state == "done"} >= {"fine", "more", "after_fine"}


async def refuse_later(output: Any) -> bool:
    return False


def fail(output: Any) -> bool:
    raise ValueError("the guard is broken")


CLOSED: dict[str, Callable[[Any], Any]] = {
    "async": refuse_later,
    "raises": fail,
    "None": lambda output: None,
    "a tuple": lambda output: (False, "too short"),
    "a text": lambda output: "no",
    "a number": lambda output: 1,
    "a list": lambda output: [True],
    "NumPy's false": lambda output: numpy.bool_(False),
    "NumPy's array": lambda output: numpy.array([True, False]),
    "a coroutine of a plain function": lambda output: refuse_later(output),
}


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("answer", CLOSED)
def test_a_guard_that_does_not_say_yes_says_no(answer: str) -> None:
    try:
        run, called = run_guarded(Way("object", "single", "asyncio", "fails", "declared"), CLOSED[answer])
    except InvalidInput:
        return  # refused when the engine is made, with the reason
    assert not run.results, run.results
    assert "after_fine" not in called


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_plan_that_was_not_approved_does_not_run(adapter: str, backend: str) -> None:
    failure = "may pass" if adapter == "model" else "fails"
    with ExitStack() as stack:
        session = open_session(Way(adapter, "single", backend, failure, "declared"), stack)
        plan: Any = RoutingPlan(assignments={"fine": "a"})
        with SqliteLedger(":memory:") as ledger, pytest.raises(InvalidInput, match="approved"):
            asyncio.run(session.engine.executor.execute(plan, Journal(ledger, "r"), budget=Budget()))
        assert session.stage.calls() == []
