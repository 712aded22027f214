"""Runs blocking functions on threads of their own, so that no agent waits for another's.

The event loop's shared pool has few threads, and a program that ends waits for them all: a function that never returns
would starve the others, and keep the process from ending. Here every call has its own thread, which ends with the
program whether or not the function has. How many run at once is limited where tasks are dispatched; a thread whose
caller was cancelled goes on, so whoever counts asks here when those of a caller have ended (`when_threads_end`).
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

THREAD_NAME = "kapelle-agent"
"""So that a program can tell at its end whether such a function is still at work."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _AtWork:
    """The threads that an asyncio task has started and that have not ended. Changed under its lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.waiting: list[Callable[[], None]] = []


_AT_WORK: WeakKeyDictionary[asyncio.Task[Any], _AtWork] = WeakKeyDictionary()


def threads_at_work(caller: asyncio.Task[Any]) -> int:
    """Return how many threads that a task has started have not ended, also after the task itself has."""
    found = _AT_WORK.get(caller)
    return 0 if found is None else found.count


def when_threads_end(caller: asyncio.Task[Any], tell: Callable[[], None]) -> None:
    """Call `tell` once no thread that a task has started is at work any more; at once if none is.

    It is called in the thread that ends last, and so also where the task's event loop is long closed.
    """
    found = _AT_WORK.get(caller)
    if found is not None:
        with found.lock:
            if found.count:
                found.waiting.append(tell)
                return
    tell()


def count_thread() -> Callable[[], None]:
    """Count a thread that the task which runs now starts; return what to call, in that thread, when it has ended."""
    caller = asyncio.current_task()
    if caller is None:
        return lambda: None
    mine = _AT_WORK.setdefault(caller, _AtWork())
    with mine.lock:
        mine.count += 1

    def ended() -> None:
        with mine.lock:
            mine.count -= 1
            waiting, mine.waiting = ([], mine.waiting) if mine.count else (mine.waiting, [])
        for tell in waiting:
            tell()

    return ended


async def call_in_thread(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Return what a blocking function returns, run on a thread of its own.

    Cancelling the caller does not stop the function, for Python cannot; what it then returns is dropped.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()
    context = contextvars.copy_context()
    ended = count_thread()

    def work() -> None:
        try:
            result = context.run(function, *args, **kwargs)
        except BaseException as error:  # whatever it is, it belongs to the caller
            ended()
            _deliver(loop, future, None, error)
        else:
            ended()
            _deliver(loop, future, result, None)

    threading.Thread(target=work, daemon=True, name=THREAD_NAME).start()
    return await future


def carried(error: StopIteration) -> RuntimeError:
    """Return an error that a future can carry in place of this one, whose text is not asked for: it may raise."""
    stand_in = RuntimeError("The agent raised StopIteration, which ends iterators only.")
    stand_in.__cause__ = error
    return stand_in


def _deliver(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[_T], result: _T | None, error: BaseException | None
) -> None:
    def settle() -> None:
        if future.done():
            return
        if isinstance(error, StopIteration):  # a future cannot carry it
            future.set_exception(carried(error))
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # the result of the function, whatever its type

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:  # the loop was closed meanwhile: nobody waits any more
        return
