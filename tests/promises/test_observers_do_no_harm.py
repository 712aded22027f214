"""Who watches a run harms neither its tasks nor its account, whatever the watcher does; it is logged once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from pydantic_ai import Agent as LibraryAgent
from pydantic_ai.models.test import TestModel

from kapelle import Engine, Plan, Run, SqliteLedger, Task, TaskContext, TaskDAG, agent
from kapelle.agents import AgentCapability, AgentResult, ModelAgent, PartialText
from kapelle.execution.calls import contained
from kapelle.testing import ScriptedModel


class Vain(BaseException):
    """Neither an Exception, nor what ends programs."""


def raising(error: BaseException) -> Callable[[Any], Any]:
    def watch(item: Any) -> None:
        raise error

    return watch


async def asynchronous(item: Any) -> None:
    raise AssertionError("nobody awaits it")


def a_future(item: Any) -> Any:
    return asyncio.get_event_loop().create_future()


class Mute(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class Odd:
    """Callable, and wrong in every other way."""

    def __call__(self, item: Any) -> Any:
        return self

    def __await__(self) -> Any:
        raise SystemExit(4)


without_argument: Callable[..., Any] = dict[str, Any]().copy

WATCHERS: dict[str, Callable[[Any], Any]] = {
    "raises": raising(RuntimeError("my screen is gone")),
    "raises StopIteration": raising(StopIteration()),
    "cancels": raising(asyncio.CancelledError()),
    "interrupts": raising(KeyboardInterrupt()),
    "exits": raising(SystemExit(3)),
    "raises what is no Exception": raising(Vain()),
    "raises what cannot be told": raising(Mute()),
    "ends generators": raising(GeneratorExit()),
    "is async": asynchronous,
    "returns a future": a_future,
    "returns something odd": Odd(),
    "takes no argument": without_argument,
}


@agent(task_types=["t"], cost_usd=0.25)
async def telling(task: Any, context: TaskContext) -> str:
    assert context.tell is not None
    for piece in ("all ", "of ", "it"):
        context.tell(piece)
    return "all of it"


@agent(task_types=["t"], cost_usd=0.25)
def plain(task: Any, context: TaskContext) -> str:
    assert context.tell is not None
    context.tell("all ")
    context.tell("of it")
    return "all of it"


@agent(task_types=["t"], cost_usd=0.25)
async def yielding(task: Any) -> Any:
    yield "all "
    yield "of it"


def card() -> AgentCapability:
    return AgentCapability(agent_id="a", task_types=("t",), cost_usd=0.25)


ADAPTERS: dict[str, Callable[[], Any]] = {
    "async function": lambda: telling,
    "function": lambda: plain,
    "async generator": lambda: yielding,
    "model": lambda: (card(), ModelAgent(ScriptedModel(["all of it"], cost_usd=0.25))),
    "pydantic-ai": lambda: (card(), LibraryAgent(TestModel(custom_output_text="all of it"))),
}
COSTS = {"pydantic-ai": 0.0}
"""TestModel asks nobody."""


def run_of(runner: Any, watch: Callable[[PartialText], Any] | None, backend: str = "asyncio") -> Run:
    with Engine([runner], model="none", ledger=SqliteLedger(":memory:"), backend=backend, environ={}) as engine:
        plan = Plan(request="x", graph=TaskDAG([Task(task_id="a", task_type="t")]), planner="me")
        return asyncio.run(engine.run(plan, on_text=watch, budget_usd=1.0))


@pytest.mark.parametrize("backend", ["asyncio", "threads"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_watcher_that_is_right_hears_the_whole_text(adapter: str, backend: str) -> None:
    heard: list[str] = []
    run = run_of(ADAPTERS[adapter](), lambda piece: heard.append(piece.text), backend)
    assert (run.results, "".join(heard)) == ({"a": "all of it"}, "all of it")


@pytest.mark.parametrize("backend", ["asyncio", "threads"])
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("watcher", WATCHERS)
def test_a_watcher_that_is_wrong_changes_nothing(
    watcher: str, adapter: str, backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        run = run_of(ADAPTERS[adapter](), WATCHERS[watcher], backend)
    assert (run.state, run.results) == ("done", {"a": "all of it"})
    assert run.cost_usd == COSTS.get(adapter, 0.25)
    assert len([one for one in caplog.records if "not called again" in one.message]) == 1


def test_one_that_fails_is_not_called_again() -> None:
    heard: list[int] = []

    def watch(item: int) -> None:
        heard.append(item)
        if item == 2:
            raise ValueError(item)

    contain = contained(watch, "A watcher")
    for item in range(5):
        contain(item)
    assert heard == [0, 1, 2]


def test_an_agents_own_error_about_its_text_stays_its_own() -> None:
    @agent(task_types=["t"])
    async def numbers(task: Any) -> Any:
        yield 1

    run = run_of(numbers, lambda piece: None)
    assert run.state == "failed"
    assert "yielded a int" in (run.tasks["a"].reason or "")


def test_a_generator_may_end_with_what_it_cost() -> None:
    @agent(task_types=["t"])
    async def priced(task: Any) -> Any:
        yield "all "
        yield "of it"
        yield AgentResult(output=None, cost_usd=0.5)

    run = run_of(priced, None)
    assert (run.results, run.cost_usd) == ({"a": "all of it"}, 0.5)
