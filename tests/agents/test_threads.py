from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from kapelle.agents import call_in_thread


def test_every_call_has_a_thread_of_its_own() -> None:
    together = threading.Barrier(20, timeout=10)  # passes only when twenty wait at once

    async def whole() -> list[int]:
        return await asyncio.gather(*(call_in_thread(together.wait) for _ in range(20)))

    assert sorted(asyncio.run(whole())) == list(range(20))


def test_errors_and_context_reach_the_caller() -> None:
    name = contextvars.ContextVar("name", default="")
    name.set("outer")

    def stop() -> None:
        raise StopIteration(3)

    assert asyncio.run(call_in_thread(name.get)) == "outer"
    with pytest.raises(ZeroDivisionError):
        asyncio.run(call_in_thread(lambda: 1 / 0))
    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(call_in_thread(stop))


def test_a_function_that_never_returns_keeps_nobody_waiting() -> None:
    release = threading.Event()

    async def whole() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call_in_thread(release.wait), 0.01)

    asyncio.run(whole())  # would not return if the thread were waited for
    release.set()
