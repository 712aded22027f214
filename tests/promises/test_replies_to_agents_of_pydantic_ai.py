"""What an OpenAI-compatible server says to an agent of pydantic-ai is read as what it says to kapelle's own client."""

from __future__ import annotations

import asyncio
from typing import Any

import pydantic
import pytest
from pydantic_ai import Agent as LibraryAgent
from pydantic_ai.models import Model
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.providers.openai import OpenAIProvider

from kapelle.agents import AgentResult, PydanticAIAgent, TaskContext
from kapelle.errors import KapelleError
from kapelle.graph import Task
from kapelle.models import Price, PriceTable
from tests.models.openai_server import OpenAIServer, ServerReply, chunk, completion, stream

from .test_thoughts_are_no_output import ANSWERS
from .test_usage_is_read_sceptically import REPORTS, STREAMS, TEXT, UNKNOWN

PRICES = PriceTable({"m": Price(input_usd=10.0, cached_usd=1.0, output_usd=100.0)})
TASK = Task(task_id="a", task_type="t", description="How many of them are there?")
WHOLE = (chunk("all "), chunk("of it"), chunk(finish="stop"))
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


def wrapped(model: Model[Any]) -> Model[Any]:
    return WrapperModel(model)


def in_place_of_another(model: Model[Any]) -> Model[Any]:
    return FallbackModel(model, model)


def plain(model: Model[Any]) -> Model[Any]:
    return model


async def run(server: OpenAIServer, streams: bool, made: Any = plain, **options: Any) -> AgentResult:
    provider = OpenAIProvider(base_url=server.base_url, api_key="k")
    agent: LibraryAgent[None, Any] = LibraryAgent(made(OpenAIChatModel("m", provider=provider)), **options)
    context = TaskContext(run_id="r", request="x", tell=(lambda _: None) if streams else None)
    try:
        return await PydanticAIAgent(agent, prices=PRICES).run(TASK, context)
    finally:
        await provider.client.close()


def ask(*replies: ServerReply, streams: bool = False, made: Any = plain, **options: Any) -> AgentResult:
    with OpenAIServer(replies) as server:
        return asyncio.run(run(server, streams, made, **options))


def fail(*replies: ServerReply, streams: bool = False, **options: Any) -> KapelleError:
    with pytest.raises(KapelleError) as caught:
        ask(*replies, streams=streams, **options)
    return caught.value


def told(report: Any, streams: bool) -> ServerReply:
    if streams:
        return stream(chunk(TEXT), chunk(finish="stop"), chunk(usage=report))
    return completion(TEXT, usage=report)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("name", REPORTS)
def test_usage_is_read_sceptically(name: str, streams: bool) -> None:
    report, right = REPORTS[name]
    found = ask(told(report, streams), streams=streams)
    assert (found.output, found.usage) == (TEXT, right)
    fresh = right.input_tokens - right.cached_tokens
    written_usd = right.output_tokens * 100
    assert found.cost_usd is not None
    assert found.cost_usd >= (fresh * 10 + right.cached_tokens + written_usd) / 1e6 - 1e-9


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("name", [name for name in UNKNOWN if name != "output alone zero"])
def test_what_is_not_said_is_measured(name: str, streams: bool) -> None:
    found = ask(told(UNKNOWN[name], streams), streams=streams)
    assert found.output == TEXT
    assert 0 < found.usage.input_tokens < 2_000
    assert 0 < found.usage.output_tokens < 2_000


@pytest.mark.parametrize("made", [plain, wrapped, in_place_of_another])
@pytest.mark.parametrize("name", STREAMS)
def test_running_totals_are_not_added_up(name: str, made: Any) -> None:
    found = ask(stream(*STREAMS[name]), streams=True, made=made)
    assert (found.usage.input_tokens, found.usage.output_tokens) == (1000, 100)


WITHIN = ("a tag within a sentence", "in code", "literal after thoughts")
"""Not held: the library itself takes tags out of the middle of a whole reply."""


@pytest.mark.parametrize("name", [name for name in ANSWERS if name not in WITHIN])
def test_thoughts_are_no_output(name: str) -> None:
    text, answer = ANSWERS[name]
    assert str(ask(completion(text, usage=USAGE)).output).strip() == answer.strip()


class Count(pydantic.BaseModel):
    n: int


@pytest.mark.parametrize("thoughts", ["<think>n is 41?</think>", "n is 41?</think>\n", "<REASONING>41?</reasoning>"])
def test_thoughts_before_an_object_are_none_of_it(thoughts: str) -> None:
    from pydantic_ai import PromptedOutput

    found = ask(completion(thoughts + '{"n": 42}', usage=USAGE), output_type=PromptedOutput(Count))
    assert found.output == {"n": 42}


def test_thoughts_that_never_end_are_no_answer() -> None:
    reply = completion("<think>It may be 41", usage=USAGE)
    assert fail(reply, reply).usage is not None


@pytest.mark.parametrize("made", [plain, wrapped])
def test_half_a_stream_is_no_answer(made: Any) -> None:
    error = fail(stream(chunk("half"), ends=False), streams=True, made=made)
    assert error.sent or error.cost_usd
    assert fail(stream(chunk("half"), chunk(usage=USAGE)), streams=True, made=made).cost_usd == pytest.approx(0.02)


def test_a_connection_that_breaks_after_the_reply_has_ended_takes_nothing_back() -> None:
    found = ask(stream(*WHOLE, chunk(usage=USAGE), ends=False, drops=True), streams=True)
    assert found.output == "all of it"
    assert found.cost_usd == pytest.approx(0.02)


def test_a_model_that_is_put_in_its_place_stays_there() -> None:
    provider = OpenAIProvider(base_url="http://127.0.0.1:1/v1", api_key="k")
    agent = LibraryAgent(OpenAIChatModel("m", provider=provider))
    with agent.override(model=TestModel(custom_output_text="mine")):
        context = TaskContext(run_id="r", request="x")
        found = asyncio.run(PydanticAIAgent(agent, prices=PRICES).run(TASK, context))
    assert found.output == "mine"
