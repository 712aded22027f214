"""Runs the engine as a program of its own: signals stop it cleanly, and nothing that an agent left behind keeps it.

The event loop's usual end waits for every task and every thread. An agent that ignores its cancellation, or a function
that never returns, would keep the program for ever after its run has ended and is written down. Here they get a moment,
and are then left to the end of the process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from kapelle.agents import THREAD_NAME

_T = TypeVar("_T")

STOPPING = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))
GRACE_S = 1.0
"""For tasks that are left when the work has ended."""

_left_behind: list[asyncio.AbstractEventLoop] = []
"""Loops in which tasks are left. Kept, because Python complains of pending tasks that it collects."""


def drive(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end in an event loop of its own, and return what it returns.

    The first signal to stop (Ctrl-C, SIGTERM, SIGHUP) cancels it; a second one ends the process at once.

    Raises:
        KeyboardInterrupt: it was stopped by a signal.
    """
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if stopped:
            _end(130)
        stopped = True
        task.cancel()

    _handle_signals(loop, stop)
    try:
        return loop.run_until_complete(task)
    except asyncio.CancelledError:
        if stopped:
            raise KeyboardInterrupt from None
        raise
    finally:
        _close(loop)
        _leave_signals(loop)


def leave(code: int) -> None:
    """End the program with this exit code, whatever agents have left behind."""
    if _left_behind or any(thread.name == THREAD_NAME for thread in threading.enumerate()):
        _end(code)
    raise SystemExit(code)


def _handle_signals(loop: asyncio.AbstractEventLoop, stop: Any) -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may
    for number in STOPPING:
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows: Ctrl-C raises KeyboardInterrupt in the loop instead
            return


def _leave_signals(loop: asyncio.AbstractEventLoop) -> None:
    """Let signals do what they did before: a loop that is left open would swallow them without ever running again."""
    if threading.current_thread() is not threading.main_thread() or loop.is_closed():
        return  # a loop that is closed has done so itself
    for number in STOPPING:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(number)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    left = {task for task in asyncio.all_tasks(loop) if not task.done()}
    for task in left:
        task.cancel()
    if left:
        _, left = loop.run_until_complete(asyncio.wait(left, timeout=GRACE_S))
    if left:
        _left_behind.append(loop)
        return
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _end(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)
