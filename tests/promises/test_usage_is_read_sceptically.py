"""What a server says of the tokens that a call used is not taken at its word where it contradicts itself.

Every case goes both ways, streamed and not, through the real client, against a server on loopback.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import ModelUnavailable
from kapelle.ledger import Usage
from kapelle.models import Message, ModelReply, ModelRequest, Price, PriceTable, PydanticAIClient
from kapelle.models.reported import Reported
from kapelle.models.token_usage import read_usage
from tests.models.openai_server import OpenAIServer, ServerReply, chunk, completion, stream

PRICES = PriceTable({"m": Price(input_usd=10.0, cached_usd=1.0, output_usd=100.0)})
REQUEST = ModelRequest(messages=(Message(role="user", content="How many of them are there?"),))
TEXT = "There are as many as there were."


def ask(reply: ServerReply, *, streams: bool, asked: ModelRequest = REQUEST) -> ModelReply:
    async def main(server: OpenAIServer) -> ModelReply:
        async with PydanticAIClient("local:m", base_url=server.base_url, prices=PRICES) as client:
            return await client.complete(asked, on_text=(lambda _: None) if streams else None)

    with OpenAIServer([reply]) as server:
        return asyncio.run(main(server))


def used(input_tokens: int, cached_tokens: int, output_tokens: int) -> Usage:
    return Usage(input_tokens=input_tokens, cached_tokens=cached_tokens, output_tokens=output_tokens, calls=1)


def said(prompt: Any = None, completion: Any = None, total: Any = None, **more: Any) -> dict[str, Any]:
    named = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    return {name: value for name, value in named.items() if value is not None} | more


def cached(tokens: Any) -> dict[str, Any]:
    return {"prompt_tokens_details": {"cached_tokens": tokens}}


def reasoned(tokens: Any) -> dict[str, Any]:
    return {"completion_tokens_details": {"reasoning_tokens": tokens}}


REPORTS = {
    "as OpenAI does": (said(1000, 100, 1100, **cached(600)), used(1000, 600, 100)),
    "without a total": (said(1000, 100, **cached(600)), used(1000, 600, 100)),
    "a total below its parts": (said(1000, 100, 7), used(1000, 0, 100)),
    "a total of zero": (said(1000, 100, 0), used(1000, 0, 100)),
    "thoughts in the total alone": (said(1000, 100, 1400), used(1000, 0, 400)),
    "thoughts within the output": (said(1000, 100, 1100, **reasoned(80)), used(1000, 0, 100)),
    "thoughts beside the output": (said(1000, 100, 1400, **reasoned(300)), used(1000, 0, 400)),
    "thoughts beside the output, no total": (said(1000, 100, **reasoned(300)), used(1000, 0, 400)),
    "few thoughts beside the output": (said(1000, 100, 1180, **reasoned(80)), used(1000, 0, 180)),
    "cached beside the input": (said(400, 100, **cached(600)), used(1000, 600, 100)),
    "cached beside the input, and the total says so": (said(400, 100, 1100, **cached(600)), used(1000, 600, 100)),
    "cached beside a larger input": (said(1000, 100, 1700, **cached(600)), used(1600, 600, 100)),
    "more cached than there is": (said(400, 100, 500, **cached(600)), used(400, 0, 100)),
    "input from the total": (said(None, 100, 1100), used(1000, 0, 100)),
    "output from the total": (said(1000, None, 1100), used(1000, 0, 100)),
    "DeepSeek's words": (said(1000, 100, 1100, prompt_cache_hit_tokens=600, prompt_cache_miss_tokens=400),
                         used(1000, 600, 100)),
    "Moonshot's words": (said(1000, 100, 1100, cached_tokens=600), used(1000, 600, 100)),
    "Anthropic's words, passed on": (
        {"input_tokens": 100, "cache_read_input_tokens": 600, "cache_creation_input_tokens": 300, "output_tokens": 100},
        used(1000, 600, 100),
    ),
    "text instead of numbers": (said("1000", "100", "1100"), used(1000, 0, 100)),
    "whole numbers with a point": (said(1000.0, 100.0), used(1000, 0, 100)),
    "details that are none": (said(1000, 100, prompt_tokens_details=None, completion_tokens_details=[]),
                              used(1000, 0, 100)),
    "a negative number of cached": (said(1000, 100, **cached(-600)), used(1000, 0, 100)),
}  # fmt: skip


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_read_as_what_was_used(name: str, streams: bool) -> None:
    report, right = REPORTS[name]
    reply = (
        stream(chunk(TEXT), chunk(finish="stop"), chunk(usage=report)) if streams else completion(TEXT, usage=report)
    )

    found = ask(reply, streams=streams)

    assert found.usage == right
    assert not found.usage_estimated
    fresh = right.input_tokens - right.cached_tokens
    assert found.cost_usd == pytest.approx((fresh * 10 + right.cached_tokens + right.output_tokens * 100) / 1e6)


UNKNOWN = {
    "nothing": None,
    "an empty report": {},
    "zeros": said(0, 0, 0),
    "negative numbers": said(-5, -5, -10),
    "no numbers": said("many", [1], {"a": 1}),
    "not finite": said(float("nan"), float("inf")),
    "more than anything uses": said(10**15, 10**15),
    "input alone missing": said(None, 100),
    "input alone zero": said(0, 100, 100),
    "output alone zero": said(1000, 0, 1000),
}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_said_is_estimated_and_that_is_said(name: str, streams: bool) -> None:
    report = UNKNOWN[name]
    reply = (
        stream(chunk(TEXT), chunk(finish="stop"), chunk(usage=report)) if streams else completion(TEXT, usage=report)
    )

    found = ask(reply, streams=streams)

    assert found.usage_estimated
    assert found.usage.input_tokens >= len(REQUEST.messages[0].content) / 4
    assert found.usage.output_tokens >= len(TEXT) / 4
    assert found.usage.tokens < 2_000
    assert found.cost_usd > 0


@pytest.mark.parametrize("streams", [False, True])
def test_of_a_total_alone_what_the_input_cannot_be_was_written(streams: bool) -> None:
    report = said(None, None, 1100)
    reply = (
        stream(chunk(TEXT), chunk(finish="stop"), chunk(usage=report)) if streams else completion(TEXT, usage=report)
    )

    found = ask(reply, streams=streams)

    assert found.usage_estimated
    assert found.usage.tokens == 1100
    assert found.usage.output_tokens > 1000, "thoughts that nobody shows, at the price of output"


FINAL = said(1000, 100, 1100, **cached(600))
STREAMS = {
    "at the end": [chunk(TEXT), chunk(finish="stop"), chunk(usage=FINAL)],
    "with the last piece": [chunk(TEXT), chunk(finish="stop", usage=FINAL)],
    "twice": [chunk(TEXT), chunk(finish="stop", usage=FINAL), chunk(usage=FINAL)],
    "a running total in every piece": [
        *(chunk(word, usage=said(1000, 10 * n, 1000 + 10 * n, **cached(600))) for n, word in enumerate(TEXT.split())),
        chunk(finish="stop", usage=FINAL),
    ],
    "a running total, and once more at the end": [
        *(chunk(word, usage=said(1000, 10 * n, 1000 + 10 * n, **cached(600))) for n, word in enumerate(TEXT.split())),
        chunk(finish="stop", usage=FINAL),
        chunk(usage=FINAL),
    ],
    "zeros until the end": [
        chunk(TEXT, usage=said(0, 0, 0)),
        chunk(finish="stop", usage=said(0, 0)),
        chunk(usage=FINAL),
    ],
    "input first, output last": [
        chunk(TEXT, usage=said(1000, 0, **cached(600))),
        chunk(finish="stop", usage=said(0, 100)),
    ],
    "null in every piece": [chunk(TEXT, usage=None), chunk(finish="stop", usage=None), chunk(usage=FINAL)],
}


@pytest.mark.parametrize("name", STREAMS)
def test_what_a_stream_says_more_than_once_is_not_added_up(name: str) -> None:
    found = ask(stream(*STREAMS[name]), streams=True)

    assert found.usage == used(1000, 600, 100)
    assert found.cost_usd == pytest.approx(0.0146)
    assert not found.usage_estimated


def test_a_broken_stream_is_charged_its_last_running_total() -> None:
    pieces = [chunk(f"{n} ", usage=said(1000, 10 * n, 1000 + 10 * n)) for n in range(1, 5)]

    with pytest.raises(ModelUnavailable) as caught:
        ask(stream(*pieces, ends=False, drops=True), streams=True)

    assert caught.value.usage == used(1000, 0, 40)
    assert caught.value.cost_usd == pytest.approx((1000 * 10 + 40 * 100) / 1e6)


def test_a_total_beyond_what_the_call_may_answer_is_a_total_of_something_else() -> None:
    asked = ModelRequest(messages=REQUEST.messages, max_output_tokens=300)

    found = ask(completion(TEXT, usage=said(1000, 100, 90_000)), streams=False, asked=asked)

    assert found.usage == used(1000, 0, 300)


COUNTS = st.one_of(st.none(), st.integers(-10, 5000), st.floats(), st.text(max_size=5), st.booleans())
REPORTED = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "input_tokens"), COUNTS
        ),
        "prompt_tokens_details": st.one_of(COUNTS, st.fixed_dictionaries({"cached_tokens": COUNTS})),
        "completion_tokens_details": st.one_of(COUNTS, st.fixed_dictionaries({"reasoning_tokens": COUNTS})),
        "cache_read_input_tokens": COUNTS,
        "cache_creation_input_tokens": COUNTS,
    },
)


@given(st.lists(REPORTED, max_size=4))
def test_whatever_is_reported_is_read_as_a_usage_that_costs_something(reports: list[dict[str, Any]]) -> None:
    from pydantic_ai.messages import ModelResponse, TextPart

    found = read_usage(
        REQUEST, ModelResponse(parts=[TextPart(content=TEXT)]), Reported(usages=list(reports), is_watched=True)
    )

    assert found.usage.input_tokens > 0
    assert found.usage.output_tokens > 0
    assert 0 <= found.usage.cached_tokens + found.cache_written_tokens <= found.usage.input_tokens
    assert PRICES.cost_usd("m", found.usage, cache_written_tokens=found.cache_written_tokens) > 0
