from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from kapelle.agents import Agent, CallableAgent, TaskContext, call_in_thread, threads_at_work, when_threads_end
from kapelle.execution import make_backend
from kapelle.graph import Task


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


TASK, CONTEXT = Task(task_id="a", task_type="t"), TaskContext(run_id="r", request="")


def blocking(released: threading.Event, begun: threading.Event) -> dict[str, Agent]:
    """Agents that block until they are released, however they are written."""

    def plain(task: Task) -> str:
        begun.set()
        released.wait(30)
        return "late"

    async def impolite(task: Task) -> str:
        return plain(task)

    return {"plain function": CallableAgent(plain), "async function that blocks": CallableAgent(impolite)}


@pytest.mark.parametrize(
    ("backend", "way"),
    [("asyncio", "plain function"), ("threads", "plain function"), ("threads", "async function that blocks")],
)
def test_a_thread_whose_caller_was_given_up_counts_until_it_ends(backend: str, way: str) -> None:
    released, begun = threading.Event(), threading.Event()
    runner = blocking(released, begun)[way]

    async def whole() -> tuple[int, list[str], int]:
        told: list[str] = []
        job = asyncio.ensure_future(make_backend(backend).run("a", runner, TASK, CONTEXT))
        await asyncio.to_thread(begun.wait)
        job.cancel()
        await asyncio.wait({job})
        over, loop = asyncio.Event(), asyncio.get_running_loop()

        def ended() -> None:
            told.append("ended")
            loop.call_soon_threadsafe(over.set)

        when_threads_end(job, ended)
        before, early = threads_at_work(job), list(told)
        released.set()
        await over.wait()
        return before, early, threads_at_work(job)

    assert asyncio.run(whole()) == (1, [], 0)


def test_a_caller_without_threads_is_told_at_once() -> None:
    async def whole() -> list[str]:
        told: list[str] = []
        job = asyncio.ensure_future(call_in_thread(int))
        await job
        when_threads_end(job, lambda: told.append("none"))
        return told

    assert asyncio.run(whole()) == ["none"]
