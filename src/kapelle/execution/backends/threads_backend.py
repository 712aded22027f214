"""Runs every agent on a thread of its own, with an event loop of its own: agents that block hold up nobody.

For agents whose code calls `requests`, `time.sleep` or a driver that waits, though they are `async def`. A thread costs
about 100 us a task. Code that blocks cannot be stopped: cancelling reaches an agent at its next `await`, and one
that never comes there is left behind; it does not keep the program from ending. What an agent gives is read on its
thread as well, for that may block as the agent may.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from kapelle.agents import THREAD_NAME, Agent, AgentResult, TaskContext, carried, count_thread, when_threads_end
from kapelle.execution.results import Patience, read_there
from kapelle.graph import Task


class ThreadsBackend:
    """Runs each agent's call on a thread with an event loop of its own."""

    name = "threads"

    async def run(self, agent_id: str, agent: Agent, task: Task, context: TaskContext) -> AgentResult:
        """Let an agent do a task on a thread; cancelling this cancels it there."""
        call = _Call(agent, task, _told_in(asyncio.get_running_loop(), context))
        return await call.run()

    async def close(self) -> None:
        """Nothing is held: a thread ends with its call."""


class _Call:
    """One agent's call: its thread, and the future in the caller's loop that waits for it."""

    def __init__(self, agent: Agent, task: Task, context: TaskContext) -> None:
        self._agent, self._task, self._context = agent, task, context
        self._home = asyncio.get_running_loop()
        self._future: asyncio.Future[AgentResult] = self._home.create_future()
        self._lock = threading.Lock()
        self._away: tuple[asyncio.AbstractEventLoop, asyncio.Task[AgentResult]] | None = None
        self._cancelled = False
        self._patience = Patience()
        self._ended: Callable[[], None] = lambda: None

    async def run(self) -> AgentResult:
        variables = contextvars.copy_context()
        self._ended = count_thread()
        threading.Thread(target=variables.run, args=(self._work,), daemon=True, name=THREAD_NAME).start()
        try:
            return await self._future
        except asyncio.CancelledError:
            with self._lock:
                self._cancelled = True
                self._patience.end()
                if self._away is not None:
                    loop, doing = self._away
                    loop.call_soon_threadsafe(doing.cancel)
            raise

    def _work(self) -> None:
        """What the thread does."""
        loop = asyncio.new_event_loop()
        result: AgentResult | None = None
        error: BaseException | None = None
        doing: asyncio.Task[AgentResult] | None = None
        try:
            doing = loop.create_task(self._agent.run(self._task, self._context))
            with self._lock:
                self._away = (loop, doing)
                if self._cancelled:
                    doing.cancel()
            result = read_there(loop.run_until_complete(doing), self._patience)
        except BaseException as problem:  # whatever it is, it belongs to the caller
            error = problem
        finally:
            with self._lock:
                self._away = None
            try:
                loop.run_until_complete(loop.shutdown_asyncgens())
            except BaseException as problem:  # a generator's own code
                error = error or problem
        with suppress(RuntimeError):  # the caller's loop was closed meanwhile: nobody waits any more
            self._home.call_soon_threadsafe(self._settle, result, error)
        try:
            if doing is not None:  # a plain function is at work on a thread of its own, and goes on if it was given up
                loop.run_until_complete(_wait_threads_end(doing))
        finally:
            loop.close()
            self._ended()

    def _settle(self, result: AgentResult | None, error: BaseException | None) -> None:
        if self._future.done():
            return
        if isinstance(error, StopIteration):  # a future cannot carry it
            error = carried(error)
        if isinstance(error, asyncio.CancelledError):
            self._future.cancel()
        elif error is not None:
            self._future.set_exception(error)
        else:
            self._future.set_result(result)  # type: ignore[arg-type]  # the executor reads whatever an agent returns


async def _wait_threads_end(caller: asyncio.Task[AgentResult]) -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        loop.call_soon_threadsafe(over.set)

    when_threads_end(caller, tell)
    await over.wait()


def _told_in(loop: asyncio.AbstractEventLoop, context: TaskContext) -> TaskContext:
    """Return the context with a `tell` that may be called from another thread."""
    tell = context.tell
    if tell is None:
        return context

    def tell_there(text: str) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, text)

    return replace(context, tell=tell_there)
