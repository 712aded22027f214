"""Requests and tokens a minute, by a clock on which waiting takes no time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage

from kapelle.errors import InvalidInput, ModelUnavailable
from kapelle.models import Message, ModelRequest, Price, PriceTable, PydanticAIClient, RateLimits
from kapelle.models.rate_limits import RateLimiter
from kapelle.testing import VirtualClock

PRICES = PriceTable({"*": Price(input_usd=1.0, cached_usd=1.0, output_usd=1.0)})

_T = TypeVar("_T")


def played(main: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    return VirtualClock().run(main())


async def started_at(limiter: RateLimiter, tokens: int, *, timeout_s: float = 3600.0) -> float:
    loop = asyncio.get_running_loop()
    await limiter.wait_for_place(tokens, deadline=loop.time() + timeout_s)
    return loop.time()


def starts(limits: RateLimits, tokens: list[int]) -> list[float]:
    async def main() -> list[float]:
        limiter = RateLimiter(limits)
        return list(await asyncio.gather(*(started_at(limiter, count) for count in tokens)))

    return played(main)


def test_five_calls_of_forty_tokens_do_not_all_start_in_a_minute_of_a_hundred() -> None:
    assert starts(RateLimits(tokens_per_minute=100), [40] * 5) == [0, 0, 60, 60, 120]


def test_requests_are_counted_too() -> None:
    assert starts(RateLimits(requests_per_minute=2), [0] * 5) == [0, 0, 60, 60, 120]


def test_nothing_is_limited_where_nobody_said_so() -> None:
    assert starts(RateLimits(), [10**9] * 5) == [0] * 5


def test_a_call_that_is_larger_than_the_limit_goes_alone() -> None:
    assert starts(RateLimits(tokens_per_minute=100), [500, 10]) == [0, 60]
    assert starts(RateLimits(tokens_per_minute=100), [10, 500, 10]) == [0, 60, 120]


def test_whoever_came_first_goes_first() -> None:
    assert starts(RateLimits(tokens_per_minute=100), [60, 60, 40]) == [0, 60, 60]


def test_what_was_not_used_is_given_back_at_once() -> None:
    async def main() -> float:
        limiter = RateLimiter(RateLimits(tokens_per_minute=100))
        place = await limiter.wait_for_place(90, deadline=1)
        waiting = asyncio.create_task(started_at(limiter, 50))
        await asyncio.sleep(5)
        place.settle(20)
        return await waiting

    assert played(main) == 5


def test_waiting_counts_within_the_time_of_the_call() -> None:
    async def main() -> ModelUnavailable:
        limiter = RateLimiter(RateLimits(tokens_per_minute=100))
        await limiter.wait_for_place(90, deadline=1)
        with pytest.raises(ModelUnavailable, match="100 tokens a minute") as caught:
            await started_at(limiter, 50, timeout_s=20)
        # Whoever gives up holds nobody up.
        assert await started_at(limiter, 10) == 20
        return caught.value

    error = played(main)
    assert (error.sent, error.retry_after_s) == (False, 40)


def test_one_who_is_cancelled_holds_nobody_up() -> None:
    async def main() -> float:
        limiter = RateLimiter(RateLimits(tokens_per_minute=100))
        await limiter.wait_for_place(90, deadline=1)
        first = asyncio.create_task(started_at(limiter, 50))
        second = asyncio.create_task(started_at(limiter, 10))
        await asyncio.sleep(3)
        first.cancel()
        return await second

    assert played(main) == 3


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "5"])
def test_a_limit_is_a_whole_number(value: Any) -> None:
    with pytest.raises(InvalidInput, match="requests_per_minute"):
        RateLimits(requests_per_minute=value)


@given(
    tokens=st.lists(st.integers(0, 120), max_size=12),
    most=st.integers(1, 100),
    requests=st.one_of(st.none(), st.integers(1, 4)),
)
def test_no_minute_holds_more_than_is_granted(tokens: list[int], most: int, requests: int | None) -> None:
    times = starts(RateLimits(tokens_per_minute=most, requests_per_minute=requests), tokens)

    assert times == sorted(times), "in the order in which they came"
    for start in times:
        within = [count for at, count in zip(times, tokens, strict=True) if start <= at < start + 60]
        assert sum(within) <= most or len([count for count in within if count]) == 1
        assert requests is None or len(within) <= requests


def test_a_client_holds_what_a_call_may_use_until_it_knows_what_it_used() -> None:
    asked_at: list[float] = []

    async def answer(_: Any, __: AgentInfo) -> ModelResponse:
        asked_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1)
        return ModelResponse(parts=[TextPart(content="done")], usage=RequestUsage(input_tokens=20, output_tokens=20))

    async def main() -> None:
        limits = RateLimits(tokens_per_minute=100)
        client = PydanticAIClient(FunctionModel(answer), prices=PRICES, rate_limits=limits, timeout_s=500)
        request = ModelRequest(messages=(Message(role="user", content="Hello"),), max_output_tokens=50)
        await asyncio.gather(*(client.complete(request) for _ in range(5)))

    played(main)

    # 52 may be used by each, so one at a time; 40 are, so that two fit into a minute.
    assert asked_at == [0, 1, 60, 61, 120]
