"""One price table for every adapter: the user's own (`KAPELLE_PRICES`), then the installed one.

A model that neither prices is refused where a budget is set, before anything runs; else its tokens are counted, and
run, explain and JSON say that their cost is not known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent as LibraryAgent
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.models import Model
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.usage import RequestUsage

from kapelle import AgentCapability, AgentRegistry, AgentResult, Engine, Plan, Run, SqliteLedger, Task, TaskDAG, agent
from kapelle.agents import PydanticAIAgent, TaskContext
from kapelle.errors import UnknownPrice
from kapelle.ledger import Usage
from kapelle.models import Price, PriceTable, find_unpriced, known_models, read_run_cost
from kapelle.views import run_to_json
from tests.models.openai_server import OpenAIServer, completion

PRICE_FILE = """
prices:
  "*house-model": {input: 2.0, output: 4.0}
  "openai:gpt-4o": {input: 100.0, output: 100.0}
"""
MILLION = RequestUsage(input_tokens=1_000_000)
USED = Usage(input_tokens=1_000_000, calls=1)


def answering(name: str, usage: RequestUsage = MILLION, told: str | None = None) -> Model[Any]:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[TextPart("ok")], usage=usage, model_name=told)

    return FunctionModel(answer, model_name=name)


def served(name: str, url: str, provider: str = "openai-compatible") -> Model[Any]:
    return OpenAIChatModel(name, provider=OpenAICompatibleProvider(provider, base_url=url, api_key="k"))


async def own_code(task: Task) -> AgentResult:
    return AgentResult(output="ok", usage=USED)


class OwnObject:
    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        return AgentResult(output="ok", usage=USED)


YAML_TARGET = LibraryAgent(answering("house-model"))
ADAPTERS: dict[str, Callable[[], Any]] = {
    "pydantic-ai": lambda: LibraryAgent(answering("house-model")),
    "PydanticAIAgent": lambda: PydanticAIAgent(LibraryAgent(answering("house-model"))),
    "function": lambda: own_code,
    "object": OwnObject,
}


def card_of(model: str | None = "openai-compatible:house-model", **options: Any) -> AgentCapability:
    return AgentCapability(agent_id="house", task_types=("t",), model=model, **options)


def run_of(agents: Any, folder: Path, prices: str = PRICE_FILE, *, budget_usd: float | None = None) -> Run:
    file = folder / "prices.yaml"
    file.write_text(prices)
    with engine_of(agents, {"KAPELLE_PRICES": str(file)}) as engine:
        return asyncio.run(engine.run(plan_of(), budget_usd=budget_usd))


def engine_of(agents: Any, environ: Mapping[str, str] | None = None) -> Engine:
    return Engine(agents, model="none", ledger=SqliteLedger(":memory:"), environ=environ or {})


def plan_of() -> Plan:
    return Plan(request="x", graph=TaskDAG([Task(task_id="a", task_type="t")]), planner="me")


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_users_own_prices_count_for_every_adapter(adapter: str, tmp_path: Path) -> None:
    run = run_of([(card_of(), ADAPTERS[adapter]())], tmp_path)
    assert (run.cost_usd, run.usage, run.cost_notes) == (2.0, USED, ())


def test_the_users_own_prices_count_for_agents_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "agents.yaml").write_text(
        "agents: [{id: house, task_types: [t], model: 'openai-compatible:house-model', "
        f"run: '{__name__}:YAML_TARGET'}}]"
    )
    run = run_of(AgentRegistry.from_yaml(tmp_path / "agents.yaml"), tmp_path)
    assert (run.cost_usd, run.usage.tokens) == (2.0, 1_000_000)


def test_outside_an_engine_the_environment_names_the_prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prices.yaml").write_text(PRICE_FILE)
    monkeypatch.setenv("KAPELLE_PRICES", str(tmp_path / "prices.yaml"))
    library_agent = PydanticAIAgent(LibraryAgent(answering("house-model")))
    result = asyncio.run(library_agent.run(Task(task_id="a", task_type="t"), TaskContext(run_id="r", request="")))
    assert result.cost_usd == 2.0


# The model that is asked, what the card calls it, and dollars for a million input tokens; None if nobody knows.
OWN = PriceTable({"*house-model": Price(input_usd=2.0, cached_usd=2.0, output_usd=4.0)})
DEAR = PriceTable({"openai:gpt-4o": Price(input_usd=100.0, cached_usd=100.0, output_usd=100.0)})
PRICED: dict[str, tuple[Model[Any], str | None, PriceTable, float | None]] = {
    "by its own name": (answering("house-model"), None, OWN, 2.0),
    "by the installed table": (answering("gpt-4o"), None, PriceTable(), 2.5),
    "by the installed table, dated": (answering("gpt-4o-2024-08-06"), None, PriceTable(), 2.5),
    "by the user's table for the card's name": (answering("gpt-4o-2024-08-06"), "openai:gpt-4o", DEAR, 100.0),
    "by the reply's name, not the card's": (answering("house-model"), "openai:gpt-4o", OWN, 2.0),
    "by the card's name alone": (answering("nobody-knows"), "openai:gpt-4o", PriceTable(), 2.5),
    "not at all": (answering("nobody-knows"), None, PriceTable(), None),
    "not at all, whatever the card says": (answering("nobody-knows"), "openai:nobody-knows", PriceTable(), None),
    "a function's own name": (answering("function:answer:"), None, PriceTable(), None),
}


@pytest.mark.parametrize("way", PRICED)
def test_a_reply_is_priced_by_the_name_it_tells_and_else_by_the_cards(way: str) -> None:
    model, declared, prices, dollars = PRICED[way]
    library_agent = PydanticAIAgent(LibraryAgent(model), prices=prices, model=declared)
    result = asyncio.run(library_agent.run(Task(task_id="a", task_type="t"), TaskContext(run_id="r", request="")))
    assert result.cost_usd == (None if dollars is None else pytest.approx(dollars))
    assert (result.unpriced_model is None) == (dollars is not None)


@pytest.mark.parametrize(
    ("asked", "own", "dollars"),
    [
        ("house-model", "house-model", 2.0),
        ("house-model", "openai-compatible:house-model", 2.0),
        ("house-model", "m", 2.0),
        ("house-model", "other", 0.0),
    ],
)
def test_a_server_that_calls_its_model_otherwise_is_priced_as_what_was_asked(
    asked: str, own: str, dollars: float
) -> None:
    prices = PriceTable({own: Price(input_usd=2.0, cached_usd=2.0, output_usd=0.0)})
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 1, "total_tokens": 1_000_001}
    told = completion("ok", usage=usage)  # it calls itself m
    with OpenAIServer([told]) as server:
        made: LibraryAgent[None, str] = LibraryAgent(served(asked, server.base_url))

        async def whole() -> AgentResult:
            async with made:
                return await PydanticAIAgent(made, prices=prices).run(
                    Task(task_id="a", task_type="t"), TaskContext(run_id="r", request="")
                )

        result = asyncio.run(whole())
    assert result.cost_usd == pytest.approx(dollars)


def test_replies_of_several_models_are_priced_apart() -> None:
    replies = [
        ModelResponse(parts=[TextPart("x")], usage=MILLION, model_name=name, provider_name=provider, provider_url=url)
        for name, provider, url in (
            ("house-model", None, None),
            ("gpt-4o", "openai", "https://api.openai.com/v1"),
            ("llama", "ollama", "http://localhost:11434/v1"),
        )
    ]
    cost = read_run_cost(replies, None, OWN)
    assert cost.cost_usd == pytest.approx(4.5)
    assert (cost.usage.calls, cost.unpriced) == (3, ())


def test_a_reply_that_does_not_say_what_it_used_is_not_free() -> None:
    silent = ModelResponse(parts=[TextPart("word " * 3_000)], usage=RequestUsage(), model_name="house-model")
    cost = read_run_cost([silent], None, OWN)
    assert cost.is_estimated
    assert cost.usage.output_tokens > 3_000
    assert cost.cost_usd


UNKNOWN = served("nobody-knows", "https://gateway.example.com/v1")
# What an agent is known to run on before it runs, and the model whose price is not known; None if there is none.
BEFOREHAND: dict[str, tuple[Any, str | None, str | None]] = {
    "a model elsewhere": (UNKNOWN, None, "openai-compatible:nobody-knows"),
    "a model that is wrapped": (WrapperModel(UNKNOWN), None, "openai-compatible:nobody-knows"),
    "one of several": (FallbackModel(answering("gpt-4o"), UNKNOWN), None, "openai-compatible:nobody-knows"),
    "a server that the table knows by its address": (
        served("gpt-4o", "https://api.openai.com/v1", "gateway"),
        None,
        None,
    ),
    "a name": ("openai:nobody-knows-this", None, "openai:nobody-knows-this"),
    "a model on the own machine": (served("nobody-knows", "http://127.0.0.1:8000/v1"), None, None),
    "a model that the table knows": ("openai:gpt-4o", None, None),
    "a card with a price in the table": (UNKNOWN, "openai:gpt-4o", None),
    "a card without": (answering("secret"), "openai:nobody-knows", "openai:nobody-knows"),
    "a function, which only tells afterwards": (answering("secret"), None, None),
    "a fake": (TestModel(), None, None),
    "no model": (None, None, None),
}


@pytest.mark.parametrize("way", BEFOREHAND)
def test_before_anything_runs_a_price_is_known_or_named(way: str) -> None:
    model, declared, unknown = BEFOREHAND[way]
    assert find_unpriced(known_models(model), PriceTable(), model=declared) == unknown


REFUSED: dict[str, tuple[AgentCapability, Any]] = {
    "pydantic-ai": (card_of(None), LibraryAgent(UNKNOWN)),
    "pydantic-ai, by its card": (card_of("openai:nobody-knows"), LibraryAgent(answering("secret"))),
    "function": (card_of("openai:nobody-knows"), own_code),
    "object": (card_of("openai:nobody-knows"), OwnObject()),
}


@pytest.mark.parametrize("way", REFUSED)
def test_a_budget_over_an_unknown_price_is_refused_before_anything_runs(way: str) -> None:
    with engine_of([REFUSED[way]]) as engine:
        for ask in (engine.run, engine.plan):
            with pytest.raises(UnknownPrice, match="nobody-knows") as caught:
                asyncio.run(ask(plan_of(), budget_usd=1.0))
            assert (caught.value.agent, caught.value.exit_code) == ("house", 2)
            for way_out in ("KAPELLE_PRICES", "cost_usd"):
                assert way_out in str(caught.value)
        assert engine.ledger.runs() == ()


def test_an_agent_that_no_task_needs_refuses_no_budget() -> None:
    other = AgentCapability(agent_id="other", task_types=("else",), model="openai:nobody-knows")
    with engine_of([(card_of(None, cost_usd=0.01), own_code), (other, own_code)]) as engine:
        assert asyncio.run(engine.run(plan_of(), budget_usd=1.0)).state == "done"


def test_a_declared_price_is_enough_for_a_budget() -> None:
    with engine_of([(card_of("openai:nobody-knows", cost_usd=0.25), own_code)]) as engine:
        run = asyncio.run(engine.run(plan_of(), budget_usd=1.0))
    assert (run.state, run.cost_usd) == ("done", 0.25)


@pytest.mark.parametrize("cost_usd", [None, 0.25])
def test_a_price_that_only_replies_tell_to_be_unknown_is_refused_from_then_on(cost_usd: float | None) -> None:
    graph = TaskDAG(
        Task(task_id=f"a{n}", task_type="t", depends_on=(f"a{n - 1}",) if n else (), on_failure="continue")
        for n in range(3)
    )
    with engine_of([(card_of(None, cost_usd=cost_usd), LibraryAgent(answering("nobody-knows")))]) as engine:
        run = asyncio.run(engine.run(Plan(request="x", graph=graph, planner="me"), budget_usd=1.0))
    done = [name for name, task in run.tasks.items() if task.state == "done"]
    assert done == (["a0"] if cost_usd is None else ["a0", "a1", "a2"])
    if cost_usd is None:
        assert "'nobody-knows'" in (run.tasks["a1"].reason or "")
        assert "KAPELLE_PRICES" in (run.tasks["a1"].reason or "")
        assert run.usage.calls == 1


@pytest.mark.parametrize("tier", ["free", "cheap", "medium"])
def test_without_a_budget_tokens_are_counted_and_the_unknown_cost_is_told(tier: Any) -> None:
    card = AgentCapability(agent_id="house", task_types=("t",), cost_tier=tier)
    with engine_of([(card, LibraryAgent(answering("nobody-knows")))]) as engine:
        run = asyncio.run(engine.run(plan_of()))
    task = run.tasks["a"]
    assert (run.state, task.cost_assumed, task.unpriced_model, run.usage) == ("done", True, "nobody-knows", USED)
    assert "1 call of nobody-knows is not known: 1,000,000 tokens" in run.cost_notes[0]
    assert run.cost_notes[0] in run.explain()
    assert run_to_json(run)["cost_notes"] == list(run.cost_notes)
    assert run_to_json(run)["tasks"]["a"]["cost_assumed"]


@pytest.mark.parametrize("tier", ["free", "cheap"])
def test_tokens_that_a_function_reports_without_a_cost_are_no_silent_bargain(tier: Any) -> None:
    @agent(task_types=["t"], cost_tier=tier)
    async def thrifty(task: Any) -> AgentResult:
        return AgentResult(output="ok", usage=USED)

    with engine_of([thrifty]) as engine:
        run = asyncio.run(engine.run(plan_of()))
    assert run.tasks["a"].cost_assumed
    assert run.cost_notes


@pytest.mark.parametrize(
    ("told", "read", "cached", "written", "is_estimated"),
    [
        ({"input_tokens": 100, "output_tokens": 10}, 100, 0, 10, False),
        ({"output_tokens": 10}, 1, 0, 10, True),
        ({"input_tokens": 100, "output_tokens": 10, "cache_read_tokens": 60}, 100, 60, 10, False),
        ({"input_tokens": 40, "output_tokens": 10, "cache_read_tokens": 60}, 100, 60, 10, False),
        ({"input_tokens": 4, "output_tokens": 9, "cache_read_tokens": 3, "cache_write_tokens": 3}, 10, 3, 9, False),
    ],
)  # fmt: skip
def test_half_of_a_usage_is_no_discount(
    told: dict[str, Any], read: int, cached: int, written: int, is_estimated: bool
) -> None:
    asked = ModelRequest(parts=[UserPromptPart(content="How many?")])
    reply = ModelResponse(parts=[TextPart("42")], usage=RequestUsage(**told), model_name="house-model")
    cost = read_run_cost([asked, reply], None, OWN)
    assert cost.is_estimated is is_estimated
    assert cost.usage.cached_tokens == cached
    assert (cost.usage.input_tokens, cost.usage.output_tokens) == (read, written) or is_estimated
    assert (cost.usage.input_tokens >= read, cost.usage.output_tokens >= written) == (True, True)
