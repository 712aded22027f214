"""How long a call may take: by the request, the client, or the environment; and how long a stream may be silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic_ai.models.function import AgentInfo, FunctionModel

from kapelle import Engine, SqliteLedger
from kapelle.errors import InvalidInput, ModelTimeout
from kapelle.execution import ExecutionLimits
from kapelle.models import Message, ModelRequest, Price, PriceTable, PydanticAIClient, find_model
from kapelle.testing import VirtualClock

PRICES = PriceTable({"*": Price(input_usd=1.0, cached_usd=1.0, output_usd=1.0)})
LOCAL = {"KAPELLE_MODEL": "m", "KAPELLE_BASE_URL": "http://127.0.0.1:9/v1"}


def request(**options: Any) -> ModelRequest:
    return ModelRequest(messages=(Message(role="user", content="Hello"),), **options)


def slow_model(*, pieces: int, every_s: float) -> FunctionModel:
    async def write(_: Any, __: AgentInfo) -> AsyncIterator[str]:
        for number in range(pieces):
            await asyncio.sleep(every_s)
            yield f"{number} "

    async def answer(_: Any, __: AgentInfo) -> Any:
        from pydantic_ai.messages import ModelResponse, TextPart

        await asyncio.sleep(pieces * every_s)
        return ModelResponse(parts=[TextPart(content="done")])

    return FunctionModel(answer, stream_function=write)


def ask(model: FunctionModel, asked: ModelRequest, *, streams: bool, timeout_s: float | None = None) -> float:
    """Return how long it took, by a clock on which waiting takes no time."""
    clock = VirtualClock()

    async def main() -> None:
        client = PydanticAIClient(model, prices=PRICES, timeout_s=timeout_s)
        await client.complete(asked, on_text=(lambda _: None) if streams else None)

    clock.run(main())
    return clock()


def test_a_stream_that_keeps_coming_is_not_cut_off() -> None:
    assert ask(slow_model(pieces=20, every_s=30), request(), streams=True) == 600


def test_a_stream_that_is_silent_is_given_up() -> None:
    with pytest.raises(ModelTimeout, match="silent for 60 seconds") as caught:
        ask(slow_model(pieces=3, every_s=61), request(), streams=True)
    assert caught.value.sent is True


def test_a_request_that_gives_its_time_limits_the_whole() -> None:
    with pytest.raises(ModelTimeout, match="within 90 seconds"):
        ask(slow_model(pieces=20, every_s=30), request(timeout_s=90), streams=True)


@pytest.mark.parametrize(("timeout_s", "given_s", "ends"), [(None, None, False), (300, None, True), (1, 300, True)])
def test_a_whole_reply_has_the_requests_time_or_the_clients(
    timeout_s: float | None, given_s: float | None, ends: bool
) -> None:
    model = slow_model(pieces=4, every_s=30)
    if ends:
        assert ask(model, request(timeout_s=given_s), streams=False, timeout_s=timeout_s) == 120
    else:
        with pytest.raises(ModelTimeout, match="60 seconds"):
            ask(model, request(timeout_s=given_s), streams=False, timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        (LOCAL, 600.0),
        ({**LOCAL, "KAPELLE_BASE_URL": "http://192.168.1.7:8000/v1"}, 600.0),
        ({"KAPELLE_MODEL": "ollama:llama3"}, 600.0),
        ({"KAPELLE_MODEL": "openai:gpt-6-luna", "OPENAI_API_KEY": "k"}, 60.0),
        ({"KAPELLE_MODEL": "openai:gpt-6-luna", "OPENAI_API_KEY": "k", "KAPELLE_MODEL_TIMEOUT": "120"}, 120.0),
        ({**LOCAL, "KAPELLE_MODEL_TIMEOUT": " 2.5 "}, 2.5),
        ({**LOCAL, "KAPELLE_MODEL_TIMEOUT": ""}, 600.0),
    ],
)
def test_a_model_on_the_own_machine_has_longer_and_the_environment_decides(
    environ: dict[str, str], seconds: float
) -> None:
    client = find_model(None, environ)

    assert isinstance(client, PydanticAIClient)
    assert client.timeout_s == seconds


def test_an_argument_goes_before_the_environment() -> None:
    client = find_model(None, {**LOCAL, "KAPELLE_MODEL_TIMEOUT": "120"}, timeout_s=5)

    assert isinstance(client, PydanticAIClient)
    assert client.timeout_s == 5


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        (LOCAL, 1_200.0),
        ({**LOCAL, "KAPELLE_MODEL_TIMEOUT": "20"}, 300.0),
        ({**LOCAL, "KAPELLE_MODEL_TIMEOUT": "3600"}, 7_200.0),
        ({"KAPELLE_MODEL": "openai:gpt-6-luna", "OPENAI_API_KEY": "k"}, 300.0),
        ({}, 300.0),
    ],
)
def test_a_task_has_the_time_that_its_calls_may_take(environ: dict[str, str], seconds: float) -> None:
    with Engine(environ=environ, ledger=SqliteLedger(":memory:")) as engine:
        assert engine.limits.task_timeout_s == seconds


def test_limits_that_are_given_stand() -> None:
    with Engine(environ=LOCAL, ledger=SqliteLedger(":memory:"), limits=ExecutionLimits(task_timeout_s=30)) as engine:
        assert engine.limits.task_timeout_s == 30


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf", "1e9", "60s", "1 000"])
def test_a_time_that_is_none_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(InvalidInput, match="KAPELLE_MODEL_TIMEOUT"):
        find_model(None, {**LOCAL, "KAPELLE_MODEL_TIMEOUT": text})


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_client_refuses_such_a_time_as_well(seconds: float) -> None:
    with pytest.raises(InvalidInput, match="timeout_s"):
        PydanticAIClient("local:m", base_url="http://127.0.0.1:9/v1", prices=PRICES, timeout_s=seconds)


@pytest.mark.parametrize("variable", ["KAPELLE_MODEL_RPM", "KAPELLE_MODEL_TPM"])
@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "1e3", "9" * 30])
def test_a_limit_that_is_none_is_refused_by_its_name(variable: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=variable):
        find_model(None, {**LOCAL, variable: text})
