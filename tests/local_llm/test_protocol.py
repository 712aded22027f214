"""What kapelle's client needs of a server for local models, asked of a real one. Answers are no matter: it is small.

Nothing here goes by the clock, and texts are compared with each other only: another processor may round otherwise.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import socket
import subprocess
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bench.local_model import ROOT, NoModel, fetch_model, name_on_server, serve, server_command
from kapelle.agents import AgentRegistry, ModelAgent, TaskContext
from kapelle.errors import ModelRefused, ReplyCut
from kapelle.graph import Task
from kapelle.models import (
    Message,
    ModelClient,
    ModelReply,
    ModelRequest,
    PaidReplyCut,
    PriceTable,
    PydanticAIClient,
    find_model,
)
from kapelle.planning.plan_schema import plan_schema

pytestmark = pytest.mark.local_llm

TOKENS = 24
"""Of a reply: enough to see pieces, and soon written."""
STORY = "Tell me a long story about a river that flows from the mountains to the sea."
COLOURS = ("red", "green", "blue")
COUNTED = {
    "type": "object",
    "properties": {
        "colour": {"type": "string", "enum": list(COLOURS)},
        "count": {"type": "integer", "minimum": 3, "maximum": 5},
    },
    "required": ["colour", "count"],
    "additionalProperties": False,
}
MANY = 400
ENDLESS = {
    "type": "object",
    "properties": {"numbers": {"type": "array", "items": {"type": "integer"}, "minItems": MANY}},
    "required": ["numbers"],
    "additionalProperties": False,
}
"""No reply that fits it has fewer than twice as many tokens as it has numbers."""


def request(text: str, **options: Any) -> ModelRequest:
    return ModelRequest(
        messages=(Message(role="user", content=text),),
        **{"temperature": 0.0, "max_output_tokens": TOKENS, **options},
    )


def ask(base_url: str, use: Callable[[PydanticAIClient], Awaitable[Any]], **options: Any) -> Any:
    """Return what is made of a client, whose connections are closed again."""

    async def connected() -> Any:
        async with PydanticAIClient("local:small", base_url=base_url, prices=PriceTable(), **options) as client:
            return await use(client)

    return asyncio.run(connected())


async def hear(client: ModelClient, asked: ModelRequest, on_text: Callable[[str], None] | None = None) -> ModelReply:
    """Return a reply, whole or cut."""
    try:
        return await client.complete(asked, on_text=on_text)
    except PaidReplyCut as cut:
        return cut.reply


def is_busy(base_url: str) -> bool:
    (slot,) = json.loads(look(base_url, "slots"))
    return bool(slot["is_processing"])


def written_tokens(base_url: str) -> int:
    """Return how many tokens the server has written, in replies that it ended itself."""
    (count,) = re.findall(r"^llamacpp:tokens_predicted_total (\d+)", look(base_url, "metrics"), re.MULTILINE)
    return int(count)


def look(base_url: str, page: str) -> str:
    with urllib.request.urlopen(f"{base_url.removesuffix('/v1')}/{page}", timeout=600) as reply:
        return str(reply.read().decode())


def test_the_pieces_of_a_stream_join_to_its_text(base_url: str) -> None:
    pieces: list[str] = []

    reply = ask(base_url, lambda client: hear(client, request(STORY), pieces.append))

    assert len(pieces) > 1
    assert "".join(pieces) == reply.text


@pytest.mark.parametrize("streams", [False, True])
def test_what_a_call_used_is_told_and_not_estimated(base_url: str, streams: bool) -> None:
    reply = ask(base_url, lambda client: hear(client, request(STORY), (lambda piece: None) if streams else None))

    assert not reply.usage_estimated
    assert reply.usage.calls == 1
    assert 15 < reply.usage.input_tokens < 100
    assert 0 < reply.usage.output_tokens <= TOKENS
    assert (reply.model, reply.cost_usd) == ("local:small", 0.0)


def test_a_prompt_that_was_read_before_comes_from_the_cache(base_url: str) -> None:
    asked = request(f"Which of these words is a colour? {' '.join(f'word{n}' for n in range(60))}", max_output_tokens=2)

    async def twice(client: PydanticAIClient) -> tuple[ModelReply, ModelReply]:
        return await hear(client, asked), await hear(client, asked)

    first, again = ask(base_url, twice)

    assert first.usage.cached_tokens < first.usage.input_tokens // 2
    assert again.usage.input_tokens == first.usage.input_tokens
    assert again.usage.input_tokens - again.usage.cached_tokens <= 4


def test_temperature_zero_repeats_the_same_text(base_url: str) -> None:
    async def thrice(client: PydanticAIClient) -> list[str]:
        return [(await hear(client, request(STORY))).text for _ in range(3)]

    # The first of them read the prompt, and the others had it: what is read in one go may round otherwise.
    _, second, third = ask(base_url, thrice)

    assert second == third


@pytest.mark.parametrize("streams", [False, True])
def test_a_reply_fits_the_schema_that_was_asked_for(base_url: str, streams: bool) -> None:
    asked = request("What colour is the sky, and how many clouds are there?", output_schema=COUNTED)

    reply = ask(base_url, lambda client: client.complete(asked, on_text=(lambda piece: None) if streams else None))

    assert set(reply.data) == {"colour", "count"}
    assert reply.data["colour"] in COLOURS
    assert reply.data["count"] in range(3, 6)


@pytest.mark.parametrize("by_position", [True, False])
def test_the_schema_of_plans_is_one_that_the_server_takes_and_keeps(base_url: str, by_position: bool) -> None:
    schema = plan_schema(AgentRegistry.default(), by_position=by_position)

    reply = ask(base_url, lambda client: hear(client, request("Find the capital of Peru.", output_schema=schema)))

    # A reply of so few tokens is the beginning of a plan, with nothing before it.
    assert "".join(reply.text.split()).startswith('{"tasks":[{"')


@pytest.mark.parametrize("streams", [False, True])
def test_a_reply_that_is_cut_off_is_an_error_with_the_part_that_came(base_url: str, streams: bool) -> None:
    pieces: list[str] = []
    asked = request(STORY, max_output_tokens=6)

    with pytest.raises(PaidReplyCut, match="max_output_tokens") as caught:
        ask(base_url, lambda client: client.complete(asked, on_text=pieces.append if streams else None))

    assert caught.value.reply.text
    assert caught.value.reply.usage.output_tokens == 6
    assert not streams or "".join(pieces) == caught.value.reply.text


def test_an_agent_goes_on_with_a_cut_reply_once_and_is_charged_for_both(base_url: str) -> None:
    task = Task(task_id="s1", task_type="write", description=STORY)

    async def work(client: PydanticAIClient) -> Any:
        return await ModelAgent(client, max_output_tokens=8).run(task, TaskContext(run_id="r", request=STORY))

    with pytest.raises(ReplyCut) as caught:
        ask(base_url, work)

    assert caught.value.usage is not None
    assert (caught.value.usage.calls, caught.value.usage.output_tokens) == (2, 16)


@pytest.mark.parametrize("streams", [False, True])
def test_a_call_that_is_given_up_frees_its_slot(base_url: str, streams: bool) -> None:
    endless = request("Count.", output_schema=ENDLESS, max_output_tokens=None)
    before = written_tokens(base_url)

    async def give_up(client: PydanticAIClient) -> ModelReply:
        heard = asyncio.Event()
        call = asyncio.create_task(client.complete(endless, on_text=(lambda piece: heard.set()) if streams else None))
        if streams:
            await heard.wait()
        while not await asyncio.to_thread(is_busy, base_url):
            assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return await hear(client, request("Say hello."))

    # There is one slot: whoever is answered next was answered after the call had ended, given up or whole.
    assert ask(base_url, give_up).text
    assert 0 < written_tokens(base_url) - before < MANY


def test_two_calls_at_once_share_the_slot_one_after_the_other(base_url: str) -> None:
    async def both(client: PydanticAIClient) -> list[ModelReply]:
        return list(await asyncio.gather(hear(client, request(STORY)), hear(client, request("Say hello."))))

    assert all(reply.text for reply in ask(base_url, both))


def test_a_request_that_is_longer_than_the_context_says_so_and_is_not_repeated(base_url: str) -> None:
    with pytest.raises(ModelRefused, match=r"too long.*context") as caught:
        ask(base_url, lambda client: client.complete(request("word " * 9_000)))

    assert caught.value.sent is False
    assert "8192" in str(caught.value)


def test_a_server_that_is_not_ready_yet_is_waited_for(base_url: str) -> None:
    """Whether it refuses the connection or says 503: both pass, and the call is answered in the end."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with subprocess.Popen(
        server_command(fetch_model(), port=port, context=512, threads=1),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    ) as server:
        try:
            reply = ask(
                f"http://127.0.0.1:{port}/v1",
                lambda client: hear(client, request("Say hello.", max_output_tokens=4)),
                max_retries=100_000,
                retry_delay_s=0.05,
            )
        finally:
            assert server.stdin is not None
            server.stdin.close()
            server.wait()

    assert reply.text


def test_a_port_that_is_taken_is_named(base_url: str) -> None:
    port = int(base_url.removesuffix("/v1").rpartition(":")[2])

    with pytest.raises(NoModel, match=rf"Port {port} .* is taken"), serve(fetch_model(), port=port):
        raise AssertionError


def test_the_environment_finds_the_model_and_it_costs_nothing(base_url: str) -> None:
    client = find_model(environ={"KAPELLE_MODEL": name_on_server(base_url), "KAPELLE_BASE_URL": base_url})

    assert isinstance(client, PydanticAIClient)
    assert client.bound_usd(input_tokens=1_000, output_tokens=1_000) == 0.0
    assert asyncio.run(hear(client, dataclasses.replace(request(STORY), max_output_tokens=4))).text
