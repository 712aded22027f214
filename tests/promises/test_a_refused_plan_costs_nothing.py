"""README: "proves the plan before a cent is spent". What is refused called nobody, cost nothing and says a way out."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any

import pytest

from kapelle import AgentCapability, Engine, Plan, SqliteLedger, TaskDAG
from kapelle.agents import ModelAgent
from kapelle.errors import InvalidInput, PlanRejected, UnknownPrice
from kapelle.models import PriceTable, PydanticAIClient

from .mending import params
from .ways import ADAPTERS, BACKENDS, COST_USD, GRAPH, STRATEGIES, Way, make_task, open_session

WAYS = [
    Way(adapter, strategy, BACKENDS[number % 2], "may pass" if adapter == "model" else "fails", "declared")
    for number, (adapter, strategy) in enumerate((one, other) for one in ADAPTERS for other in STRATEGIES)
]


@pytest.mark.parametrize("way", params("a refused plan costs nothing", WAYS))
def test_a_plan_over_its_budget_is_refused_before_anything_runs(way: Way) -> None:
    with ExitStack() as stack:
        session = open_session(way, stack)
        with pytest.raises(PlanRejected, match="budget"):
            asyncio.run(session.engine.run(session.plan(), budget_usd=COST_USD * (len(GRAPH) - 0.5)))
        assert session.stage.calls() == []
        run = session.ledger.run("last")
        assert (run.state, run.cost_usd) == ("failed", 0.0)
        assert not any(event.kind == "task_started" for event in run.events)
        assert session.ledger.outcomes() == ()


@pytest.mark.parametrize("options", [{"deadline_s": 0.0}, {"budget_usd": -1.0}, {"min_quality": 1.5}], ids=str)
def test_a_limit_that_is_none_is_refused_before_anything_runs(options: dict[str, Any]) -> None:
    with ExitStack() as stack:
        session = open_session(Way("object", "single", "asyncio", "fails", "declared"), stack)
        with pytest.raises(InvalidInput):
            asyncio.run(session.engine.run(session.plan(), **options))
        assert session.stage.calls() == []


def test_a_task_that_nobody_takes_is_refused_with_all_the_others() -> None:
    with ExitStack() as stack:
        session = open_session(Way("object", "single", "asyncio", "fails", "declared"), stack)
        graph = TaskDAG([make_task("fine"), make_task("other")])
        graph = TaskDAG([graph["fine"], type(graph["fine"])(task_id="x", task_type="nobody's")])
        with pytest.raises(PlanRejected, match="nobody's"):
            asyncio.run(session.engine.run(Plan(request="", graph=graph, planner="me")))
        assert session.stage.calls() == []


def unpriced_model() -> Any:
    return ModelAgent(
        PydanticAIClient("openai-compatible:m", base_url="https://api.example.com/v1", api_key="k", prices=PriceTable())
    )


def unpriced_library() -> Any:
    from pydantic_ai import Agent
    from pydantic_ai.models.function import FunctionModel

    def reply(messages: Any, info: Any) -> Any:
        raise AssertionError("it was asked")

    return Agent(FunctionModel(reply, model_name="nobody-prices-this"))


@pytest.mark.parametrize("make", [unpriced_model, unpriced_library])
def test_a_model_that_nobody_prices_is_refused_where_there_is_a_budget(make: Any) -> None:
    def run_one(ledger: SqliteLedger) -> None:
        card = AgentCapability(agent_id="m", task_types=("work",), model="openai-compatible:nobody-prices-this")
        engine = Engine([(card, make())], model="none", ledger=ledger, environ={})
        plan = Plan(request="", graph=TaskDAG([make_task("t")]), planner="me")
        asyncio.run(engine.run(plan, budget_usd=1.0))

    with SqliteLedger(":memory:") as ledger:
        with pytest.raises((UnknownPrice, PlanRejected)):
            run_one(ledger)
        assert ledger.outcomes() == ()
