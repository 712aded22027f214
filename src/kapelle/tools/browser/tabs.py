"""The tabs of a session, and what pages begin by themselves: tabs, dialogs, downloads, leaving for another address."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from .limits import BrowserLimits
from .reading import plain

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Dialog, Download, Page, Request

_CRASH_S = 1.0


class Tabs:
    """The newest tab is the one that is looked at. Only a step of the session opens tabs; others are closed at once."""

    def __init__(self, context: BrowserContext, limits: BrowserLimits) -> None:
        self.is_still = asyncio.Event()
        """Set while the tab is not on its way to another address."""
        self.lost_url = ""
        """The address that the tab could not go to, if that was the last it tried."""
        self.wanted: asyncio.Future[Download] | None = None
        """Takes the next download; without it each is refused."""
        self._context = context
        self._limits = limits
        self._open: list[Page] = []
        self._are_taken = False
        self._notes: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()
        context.on("page", self._on_tab)

    @property
    def newest(self) -> Page | None:
        """The tab that is looked at; None if all are closed."""
        self._open = [tab for tab in self._open if not tab.is_closed()]
        return self._open[-1] if self._open else None

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the tabs that open within the block."""
        self._are_taken = True
        try:
            yield
        finally:
            self._are_taken = False

    async def begin(self) -> None:
        """Open an empty tab in the place of all others; scripts that hang in those are ended."""
        before, self._open = self._open, []
        if before:
            await asyncio.wait([self._later(_end(tab)) for tab in before], timeout=self._limits.close_s)
        with self.taken():
            await self._context.new_page()
        self._notes.clear()
        self.is_still.set()

    def note(self, note: str) -> None:
        """Keep what the next reading tells."""
        if len(self._notes) < self._limits.notes and note not in self._notes:
            self._notes.append(note)

    def take_notes(self) -> tuple[str, ...]:
        """Return what happened since the last time."""
        notes, self._notes = tuple(self._notes), []
        return notes

    async def close(self) -> None:
        """End what is still being done about what pages began."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_tab(self, page: Page) -> None:
        if not self._are_taken or len(self._open) >= self._limits.tabs:
            self.note("The page opened another tab, which was closed.")
            self._later(page.close())
            return
        if self._open:
            self.note("This is a new tab, opened by the click.")
        self._open.append(page)
        page.on("dialog", self._on_dialog)
        page.on("download", self._on_download)
        page.on("request", self._on_request)
        page.on("requestfailed", self._on_request_failed)
        page.on("framenavigated", lambda frame: self.is_still.set() if frame == page.main_frame else None)
        page.on("close", lambda _: self.is_still.set())
        page.on("crash", lambda _: self._later(page.close()))

    def _on_dialog(self, dialog: Dialog) -> None:
        self.note(f"The page showed a {dialog.type}, which was dismissed: {plain(dialog.message, 200)!r}")
        self._later(dialog.dismiss())

    def _on_download(self, download: Download) -> None:
        self.is_still.set()
        if self.wanted is not None and not self.wanted.done():
            self.wanted.set_result(download)
            return
        self.note(f"The page sent the file {plain(download.suggested_filename, 80)!r}, which was not taken.")
        self._later(download.cancel())

    def _on_request(self, request: Request) -> None:
        if self._is_of_tab(request):
            self.lost_url = ""
            self.is_still.clear()

    def _on_request_failed(self, request: Request) -> None:
        if self._is_of_tab(request):
            self.lost_url = request.url
            self.is_still.set()

    def _is_of_tab(self, request: Request) -> bool:
        if not request.is_navigation_request() or request.frame.parent_frame is not None:
            return False
        return bool(request.frame.page == self.newest)

    def _later(self, doing: Coroutine[Any, Any, object]) -> asyncio.Task[None]:
        async def do() -> None:
            with suppress(Exception):  # the page may be gone, and with it what was to be done about it
                await doing

        task = asyncio.get_running_loop().create_task(do())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _end(tab: Page) -> None:
    """Close a tab, whatever its script does: to close alone waits for a script that floods the browser."""
    devtools = await tab.context.new_cdp_session(tab)
    with suppress(Exception):  # it does not live to answer
        async with asyncio.timeout(_CRASH_S):
            await devtools.send("Page.crash")
    await tab.close()
