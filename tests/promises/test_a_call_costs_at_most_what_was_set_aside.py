"""A call of a model cannot cost more than was set aside for it: its limit goes with it, from the dollars and the price.

The models here are greedy: they write as much as they are allowed to, and are charged for it and for their whole input.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai import Agent as LibraryAgent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage

from kapelle import AgentCapability, Engine, Plan, SqliteLedger, Task, TaskDAG
from kapelle.agents import Agent, ModelAgent, PydanticAIAgent, TaskContext
from kapelle.agents.output_limit import BUDGETED_OUTPUT_TOKENS, MIN_OUTPUT_TOKENS, OUTPUT_TOKENS
from kapelle.errors import CallTooDear, ReplyCut
from kapelle.failures.sorting import sort_failure
from kapelle.ledger import Usage
from kapelle.models import ModelReply, ModelRequest, Price, PriceTable, PydanticAIClient, bound_tokens, measure_messages
from tests.models.openai_server import OpenAIServer, chat

PRICE = Price(input_usd=10.0, cached_usd=1.0, output_usd=100.0)
FREE = Price(input_usd=0.0, cached_usd=0.0, output_usd=0.0)
TASK = Task(task_id="a", task_type="t", description="Write all you know about Paris.")


def context(reserved_usd: float | None = None) -> TaskContext:
    return TaskContext(run_id="r", request="Tell me about Paris", reserved_usd=reserved_usd)


class Greedy:
    """A client whose model writes all that it may, and is cut off there as often as it is asked."""

    model = "house:greedy"

    def __init__(self, price: Price = PRICE, *, stops: bool = False) -> None:
        self.limits: list[int | None] = []
        self.spent_usd = 0.0
        self._stops = stops
        self._price = price
        self._prices = PriceTable({"*": price})

    def bound_usd(self, *, input_tokens: int, output_tokens: int) -> float:
        return self._prices.estimate_usd(self.model, input_tokens=input_tokens, output_tokens=output_tokens)

    def affordable_tokens(self, usd: float, *, input_tokens: int, most: int) -> int:
        return self._prices.affordable_tokens(self.model, usd, input_tokens=input_tokens, most=most)

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> ModelReply:
        self.limits.append(request.max_output_tokens)
        read = sum(bound_tokens(message.content) for message in request.messages)
        usage = Usage(input_tokens=read, output_tokens=request.max_output_tokens or 10**6, calls=1)
        cost_usd = self._price.cost_usd(usage)
        self.spent_usd += cost_usd
        finish = "stop" if self._stops else "length"
        return ModelReply(text="word " * 9, usage=usage, cost_usd=cost_usd, model=self.model, finish_reason=finish)


def greedy_library_agent(
    price: Price = PRICE, *, requests: int = 50, **options: Any
) -> tuple[PydanticAIAgent, list[Any]]:
    """An agent that calls its tool as often as it may, writing all that it may each time."""
    asked: list[tuple[int, float]] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        limit = (info.model_settings or {}).get("max_tokens") or 10**6
        usage = RequestUsage(input_tokens=measure_messages(messages), output_tokens=limit)
        asked.append((limit, price.cost_usd(Usage(input_tokens=usage.input_tokens, output_tokens=limit))))
        done = len(asked) >= requests
        part = TextPart("done") if done else ToolCallPart("look", {"at": "Paris " * 5})
        return ModelResponse(parts=[part], usage=usage)

    made: LibraryAgent[None, str] = LibraryAgent(FunctionModel(answer, model_name="greedy"), **options)

    @made.tool_plain
    def look(at: str) -> str:
        return "Paris is large. " * 20

    return PydanticAIAgent(made, prices=PriceTable({"*": price})), asked


def outcome(agent: Agent, reserved_usd: float | None) -> Any:
    """What an agent gives, or the error that it raises."""
    try:
        return asyncio.run(agent.run(TASK, context(reserved_usd)))
    except Exception as error:
        return error


@given(reserved_usd=st.floats(min_value=0.0, max_value=2.0), own=st.none() | st.integers(1, 20_000))
def test_a_models_agent_never_costs_more_than_was_set_aside(reserved_usd: float, own: int | None) -> None:
    client = Greedy()
    found = outcome(ModelAgent(client, max_output_tokens=own), reserved_usd)
    assert client.spent_usd <= reserved_usd + 1e-12
    assert all(limit is not None and 1 <= limit <= 2 * (own or BUDGETED_OUTPUT_TOKENS) for limit in client.limits)
    assert found.cost_usd == pytest.approx(client.spent_usd)


@pytest.mark.slow
@given(reserved_usd=st.floats(min_value=0.0, max_value=3.0))
def test_an_agent_of_pydantic_ai_never_costs_more_than_was_set_aside(reserved_usd: float) -> None:
    agent, asked = greedy_library_agent()
    found = outcome(agent, reserved_usd)
    spent_usd = math.fsum(cost for _, cost in asked)
    assert spent_usd <= reserved_usd + 1e-12
    assert isinstance(found, CallTooDear)
    assert found.cost_usd == pytest.approx(spent_usd)


@pytest.mark.parametrize("make", [lambda: ModelAgent(Greedy(stops=True)), lambda: greedy_library_agent(requests=1)[0]])
def test_what_is_set_aside_for_one_call_pays_for_it(make: Callable[[], Any]) -> None:
    agent = make()
    most_usd = agent.most_usd(TASK, context())
    found = outcome(agent, most_usd)
    assert not isinstance(found, Exception)
    assert found.cost_usd <= most_usd


def test_what_does_not_pay_for_the_input_is_not_sent() -> None:
    client = Greedy()
    error = outcome(ModelAgent(client), 1e-6)
    assert isinstance(error, CallTooDear)
    assert (client.limits, error.cost_usd, error.sent, sort_failure(error).kind) == ([], 0.0, False, "budget")
    assert "Raise the budget" in str(error)


def test_a_cut_reply_is_not_gone_on_with_where_nothing_is_left_for_it() -> None:
    client = Greedy()
    error = outcome(ModelAgent(client), 0.05)  # it writes for all of that
    assert isinstance(error, ReplyCut)
    assert len(client.limits) == 1


# The usual limits: what the agent's user gave, else what is documented.
LIMITS: dict[str, tuple[int | None, float | None, Price, int]] = {
    "without a budget": (None, None, PRICE, OUTPUT_TOKENS),
    "within one": (None, 1e6, PRICE, BUDGETED_OUTPUT_TOKENS),
    "free": (None, None, FREE, BUDGETED_OUTPUT_TOKENS),
    "free within one": (None, 0.0, FREE, BUDGETED_OUTPUT_TOKENS),
    "of its own": (77, None, PRICE, 77),
    "of its own within a budget": (77, 1e6, PRICE, 77),
    "a larger one of its own": (50_000, None, PRICE, 50_000),
    "a tiny one of its own": (1, 1e6, PRICE, 1),
}


@pytest.mark.parametrize("way", LIMITS)
def test_every_call_has_a_limit(way: str) -> None:
    own, reserved_usd, price, limit = LIMITS[way]
    client = Greedy(price, stops=True)
    outcome(ModelAgent(client, max_output_tokens=own), reserved_usd)
    assert client.limits == [limit]
    for options in ({} if own is None else {"model_settings": {"max_tokens": own}},):
        agent, asked = greedy_library_agent(price, requests=1, **options)
        outcome(agent, reserved_usd)
        assert [limit for limit, _ in asked] == [limit]


def test_the_limit_reaches_the_server() -> None:
    with OpenAIServer([chat("Paris")]) as server:
        client = PydanticAIClient(
            "openai-compatible:m", base_url=server.base_url, api_key="k", prices=PriceTable({"m": PRICE})
        )

        async def whole() -> None:
            async with client:
                await ModelAgent(client).run(TASK, context(0.05))

        asyncio.run(whole())
    limit = server.requests[0].body["max_tokens"]
    assert MIN_OUTPUT_TOKENS <= limit < 0.05 / PRICE.output_usd * 1e6


@given(text=st.text(max_size=300))
def test_text_has_no_more_tokens_than_it_is_taken_for(text: str) -> None:
    # Tokenisers of the GPT kind start from bytes, and merge those of nearly any letter of three bytes or more.
    assert bound_tokens(text) * 3 >= len(text.encode())


@given(
    usd=st.floats(0, 10),
    read=st.integers(0, 10**6),
    most=st.integers(1, 10**5),
    output_usd=st.floats(0, 1000),
)
def test_affordable_tokens_are_the_most_that_the_dollars_pay_for(
    usd: float, read: int, most: int, output_usd: float
) -> None:
    table = PriceTable({"*": replace(PRICE, output_usd=output_usd)})
    tokens = table.affordable_tokens("m", usd, input_tokens=read, most=most)
    assert 0 <= tokens <= most
    if tokens:
        assert table.estimate_usd("m", input_tokens=read, output_tokens=tokens) <= usd
    if tokens < most:
        assert table.estimate_usd("m", input_tokens=read, output_tokens=tokens + 1) > usd


@pytest.mark.parametrize("budget_usd", [0.01, 0.05, 0.2, 1.0, 3.0])
@pytest.mark.parametrize("adapter", ["model", "pydantic-ai"])
def test_greedy_agents_together_keep_to_the_budget(adapter: str, budget_usd: float) -> None:
    runner: Agent = ModelAgent(Greedy(stops=True)) if adapter == "model" else greedy_library_agent(requests=10**9)[0]
    graph = TaskDAG(Task(task_id=f"a{n}", task_type="t", on_failure="continue") for n in range(12))
    card = AgentCapability(agent_id="greedy", task_types=("t",), cost_tier="cheap")
    with Engine([(card, runner)], model="none", ledger=SqliteLedger(":memory:"), environ={}) as engine:
        run = asyncio.run(engine.run(Plan(request="x", graph=graph, planner="me"), budget_usd=budget_usd))
    assert budget_usd / 2 < run.cost_usd <= budget_usd + 1e-9
    assert run.overrun_usd == 0
