"""A run as a stream: what happens in it, event by event, with text as it is written. Who stops listening stops it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from kapelle.agents import PartialText
from kapelle.ledger import Event, Run

Item = Event | PartialText


async def stream_run(start: Callable[[Callable[[Item], None]], Coroutine[Any, Any, Run]]) -> AsyncIterator[Item]:
    """Start a run, and yield what is told while it goes on.

    Args:
        start: Given where to tell what happens, returns the work on the run.

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
