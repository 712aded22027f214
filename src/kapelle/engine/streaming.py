"""Other ways to call `run` and `resume`: waiting for the end, for code that is not async, or as a stream of events.
Who stops listening to a stream stops its run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from kapelle.agents import PartialText
from kapelle.errors import InvalidInput
from kapelle.ledger import Event, Run
from kapelle.planning import Plan

Item = Event | PartialText


class Streaming:
    """The part of an engine for code that waits, and for code that listens."""

    run: Callable[..., Coroutine[Any, Any, Run]]
    resume: Callable[..., Coroutine[Any, Any, Run]]

    def run_sync(self, request: str | Path | Plan, **terms: Any) -> Run:
        """Do as `run` does, with its arguments, and wait for it: for code that is not async.

        Raises:
            InvalidInput: an event loop runs here already, as in a notebook: `await engine.run(...)` there.
        """
        _check_no_loop("run")
        return asyncio.run(self.run(request, **terms))

    def resume_sync(self, run_id: str, **terms: Any) -> Run:
        """Do as `resume` does, with its arguments, and wait for it: see `run_sync`."""
        _check_no_loop("resume")
        return asyncio.run(self.resume(run_id, **terms))

    def stream(
        self, request: str | Path | Plan | None = None, *, resume: str | None = None, **terms: Any
    ) -> AsyncIterator[Item]:
        """Run a request, or go on with a run, and yield what happens: the journal's events, and text as it is written.

        The arguments are those of `run`, or of `resume`. Who stops listening stops the run; it can be resumed.

        Raises:
            KapelleError: as `run` and `resume` do, after the last event.
        """

        def start(emit: Callable[[Item], None]) -> Coroutine[Any, Any, Run]:
            if (request is None) == (resume is None):
                raise InvalidInput("Stream a request, or resume=RUN: one of the two.")
            watch: dict[str, Any] = {"on_event": emit, "on_text": emit}
            if request is not None:
                return self.run(request, **terms, **watch)
            return self.resume(str(resume), **terms, **watch)

        return _stream(start)


async def _stream(start: Callable[[Callable[[Item], None]], Coroutine[Any, Any, Run]]) -> AsyncIterator[Item]:
    """Start a run, and yield what is told while it goes on.

    Args:
        start: Given what takes in what happens, returns the work on the run.

    Raises:
        KapelleError: as the run does, after the last event.
    """
    items: asyncio.Queue[Item | None] = asyncio.Queue()

    def ended(work: asyncio.Task[Run]) -> None:
        if not work.cancelled():
            work.exception()  # seen: asyncio does not complain where nobody listens any more
        items.put_nowait(None)

    work = asyncio.create_task(start(items.put_nowait))
    work.add_done_callback(ended)
    try:
        while (item := await items.get()) is not None:
            yield item
        await work
    finally:
        if not work.done():
            work.cancel()
            await asyncio.wait({work})


def _check_no_loop(name: str) -> None:
    """Check that waiting stops no event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise InvalidInput(
        f"engine.{name}_sync(...) waits, and an event loop runs here already, as in every notebook cell: it would "
        f"stand still. Write `await engine.{name}(...)` instead; where that cannot be, have another thread call it: "
        f"`await asyncio.to_thread(engine.{name}_sync, ...)`."
    )
