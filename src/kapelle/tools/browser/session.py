"""One agent's pages: open, read, click, type, screenshot, download. A context of its own, with nothing kept of others.

What a page shows is data. Every step is bounded in time, a page that does not answer is closed, and a number means what
it meant when it was read, or nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from kapelle.errors import CannotAnswer, InvalidInput, RefusedQuery, WorkerLost
from kapelle.redaction import hide_secrets

from .frames import Frame, find_frames, lead_out, release_frames
from .gate import NetworkGate, name_place
from .limits import BrowserLimits
from .reading import PageReading, make_reading, plain
from .tabs import Tabs

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page

    from kapelle.tools.workspace import Workspace

_AGAIN = ("gone", "changed", "unknown", "unseen")
"""The problems after which the numbers hold no more."""
_PROBLEMS = {
    "gone": "What number {number} stood for is no longer on the page. Choose from the reading below.",
    "changed": "What number {number} stood for has changed since it was read. Choose from the reading below.",
    "unknown": "The last reading has no number {number}: numbers belong to one reading. Choose from the reading below.",
    "unseen": "What number {number} stood for cannot be seen now. Choose from the reading below.",
    "disabled": "Number {number} is disabled. Do what the page asks for first.",
    "covered": "Number {number} is covered by {told}. Deal with that first: it was not clicked.",
    "scheme": "Number {number} leads to {told!r}. Only http and https are followed.",
    "file": "Number {number} takes a file of this machine, and none is given away. Leave it empty.",
    "option": "Number {number} has no such choice. It has: {told}.",
    "no field": "Number {number} is no field. Click it, or type into a field or a choice.",
    "read only": "Number {number} cannot be changed.",
    "not taken": "Number {number} did not take the text; it holds {told!r} now. Type what it accepts.",
}


class BrowserSession:
    """What one agent does with a browser; made by `Browser.session`. Its steps are taken one at a time."""

    def __init__(
        self,
        context: BrowserContext,
        gate: NetworkGate,
        limits: BrowserLimits,
        workspace: Workspace | None,
        end_browser: Callable[[], None],
    ) -> None:
        self._context = context
        self._gate = gate
        self._limits = limits
        self._workspace = workspace
        self._end_browser = end_browser
        self._tabs = Tabs(context, limits)
        self._frames: tuple[Frame, ...] = ()
        self._numbers: dict[int, Frame] = {}
        self._next = 1
        self._step = asyncio.Lock()

    async def start(self) -> Self:
        """Open the first, empty tab."""
        await self._tabs.begin()
        return self

    async def open(self, url: str) -> PageReading:
        """Open an address of http or https, and read it.

        Raises:
            RefusedQuery: its scheme or host is not allowed, or that of an address it leads on to.
            CannotAnswer: nothing can be read there, or not in time.
        """
        _check_address(url)
        async with self._bounded():
            await self._go(url)
            return await self._read()

    async def read(self, *, start: int = 0) -> PageReading:
        """Read the page as it is now, from a character on. Numbers of earlier readings end here."""
        async with self._bounded():
            return await self._read(max(start, 0))

    async def click(self, number: int) -> PageReading:
        """Click what a number of the last reading stands for, and read what came of it.

        Raises:
            CannotAnswer: it is gone, has changed, is disabled or covered. The message ends with a fresh reading where
                the numbers no longer hold.
            RefusedQuery: it leads where nobody may go.
        """
        async with self._bounded():
            await self._click(number)
            return await self._read()

    async def type(self, number: int, text: str, *, enter: bool = False) -> PageReading:
        """Put text into a field in place of what it holds, or choose by the words of a choice; then read.

        Args:
            enter: press Enter in it afterwards.

        Raises:
            CannotAnswer: see `click`; or it takes no such text.
        """
        async with self._bounded():
            frame = await self._frame_of(number)
            await self._judge(number, await frame.ask("fill", number=number, text=text))
            with self._tabs.taken():
                if enter:
                    await self._page.keyboard.press("Enter")
                await self._settle()
            return await self._read()

    async def screenshot(self, path: str) -> None:
        """Write what is in sight as a PNG into the workspace."""
        workspace = self._must_have_workspace()
        async with self._bounded():
            self._must_be_allowed()
            image = await self._page.screenshot(type="png", timeout=self._limits.load_s * 1_000)
        workspace.write(path, image)

    async def download(self, number: int, path: str) -> int:
        """Click what a number stands for, and write the file that it sends into the workspace; return its size.

        Raises:
            CannotAnswer: it sends no file. See `click` as well.
        """
        workspace = self._must_have_workspace()
        async with self._bounded():
            self._tabs.wanted = asyncio.get_running_loop().create_future()
            try:
                await self._click(number)
                async with asyncio.timeout(self._limits.load_s):
                    sent = await self._tabs.wanted
                    kept = await sent.path()
            except TimeoutError:
                raise CannotAnswer(f"Number {number} sent no file in {self._limits.load_s:g} s. Click it.") from None
            finally:
                self._tabs.wanted = None
            if kept.stat().st_size > self._limits.answer_bytes:
                raise RefusedQuery(f"The file is larger than {self._limits.answer_bytes:,} bytes. It was not kept.")
            content = kept.read_bytes()
            await sent.delete()
        workspace.write(path, content)
        return len(content)

    async def close(self) -> None:
        """Close all tabs; cookies, and whatever else pages stored, are gone."""
        with suppress(Exception):  # the browser may be gone, and the context with it
            async with asyncio.timeout(self._limits.close_s):
                await self._context.close()
        await self._tabs.close()
        await self._gate.close()

    # --- A step ---

    @property
    def _page(self) -> Page:
        page = self._tabs.newest
        if page is None:
            raise CannotAnswer("No page is open. Open an address.")
        return page

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """Take one step at a time, within its time; a page that does not answer is closed."""
        from playwright.async_api import Error

        limit = self._limits.step_s
        async with self._step:
            try:
                async with asyncio.timeout(limit):
                    yield
            except TimeoutError:
                await self._begin_anew()
                raise CannotAnswer(
                    f"The page did not answer in {limit:g} s (its script does not end, perhaps) and was closed. "
                    "Open another address."
                ) from None
            except Error as error:
                browser = self._context.browser
                if browser is None or not browser.is_connected():
                    raise WorkerLost("The browser has ended. Begin a new session.") from error
                if self._tabs.newest is None:
                    await self._begin_anew()
                    raise CannotAnswer("The page has ended: it used up its memory, or closed itself.") from error
                raise CannotAnswer(f"The page could not be used: {plain(error.message, 300)}") from error

    async def _begin_anew(self) -> None:
        self._numbers, self._frames = {}, ()
        try:
            async with asyncio.timeout(2 * self._limits.close_s):
                await self._tabs.begin()
        except Exception as error:  # a page can flood the whole browser with messages
            self._end_browser()
            raise WorkerLost("A page stopped the browser, which was ended. Begin a new session.") from error

    async def _go(self, url: str) -> None:
        from playwright.async_api import Error
        from playwright.async_api import TimeoutError as TooSlow

        if self._tabs.newest is None:
            await self._begin_anew()
        self._gate.refused.clear()
        try:
            answer = await self._page.goto(url, wait_until="commit", timeout=self._limits.load_s * 1_000)
        except TooSlow:
            raise CannotAnswer(f"{_shown(url)} sent nothing in {self._limits.load_s:g} s. Try it later.") from None
        except Error as error:
            lost = self._tabs.lost_url or url
            await self._begin_anew()  # else the page that says so disturbs what is opened next
            self._must_be_reached(lost)
            if "Download is starting" in error.message:
                raise CannotAnswer(f"{_shown(url)} is a file. Download it from a page that links to it.") from None
            why = plain(error.message.partition("\n")[0].partition(" at ")[0], 200)
            raise CannotAnswer(f"{_shown(url)} cannot be opened: {why}. Check the address.") from None
        await self._settle()
        if answer is not None and answer.status >= 400:
            self._tabs.note(f"The server answered {answer.status}: this is no page that exists, or that it shows.")

    async def _click(self, number: int) -> None:
        frame = await self._frame_of(number)
        aimed = await frame.ask("aim", number=number)
        await self._judge(number, aimed)
        point = await lead_out(self._frames, frame, aimed)
        await self._judge(number, point)
        page = self._page
        with self._tabs.taken():
            await page.mouse.click(point["x"], point["y"])
            if self._tabs.is_still.is_set() and self._tabs.newest is page:
                found: Mapping[str, Any] = {}
                with suppress(CannotAnswer):  # the frame has gone elsewhere, because of the click
                    found = await frame.ask("outcome")
                if found.get("missed"):
                    await self._judge(number, {"problem": "covered", "told": found["missed"]})
            await self._settle()

    async def _settle(self) -> None:
        """Wait until what was begun has led somewhere; a page that never finishes loading is read as it is."""
        from playwright.async_api import TimeoutError as TooSlow

        await asyncio.sleep(self._limits.settle_s)
        try:
            async with asyncio.timeout(self._limits.load_s):
                await self._tabs.is_still.wait()
            await self._page.wait_for_load_state("domcontentloaded", timeout=self._limits.load_s * 1_000)
        except (TooSlow, TimeoutError):
            self._tabs.note(f"The page was still loading after {self._limits.load_s:g} s.")

    # --- Reading ---

    async def _read(self, start: int = 0) -> PageReading:
        page = self._page
        self._must_be_allowed()
        before = self._frames
        self._frames, left_out = await find_frames(page, most=self._limits.frames)
        self._numbers = {}
        await release_frames(before)
        for url in left_out:
            self._tabs.note(f"A frame of {plain(url, 40)!r} was not read.")
        found: list[Mapping[str, Any]] = []
        left = self._limits.text_chars
        for frame in self._frames:
            if left <= 0:
                break
            with suppress(CannotAnswer) if found else nullcontext():  # a frame may go; the page may not
                part = await frame.ask(
                    "read",
                    first=self._next,
                    start=0 if found else start,
                    chars=left,
                    most=self._limits.elements,
                    nodes=self._limits.nodes,
                    ms=self._limits.step_s * 250,
                )
                self._numbers |= dict.fromkeys(range(self._next, part["next"]), frame)
                self._next = part["next"]
                found.append({**part, "url": frame.url})
                left -= len(part["text"])
        for refusal, times in self._gate.refused.items():
            self._tabs.note(f"Refused {times} time{'s' * (times != 1)}: {refusal}")
        self._gate.refused.clear()
        return make_reading(found, url=page.url, title=await page.title(), notes=self._tabs.take_notes())

    async def _frame_of(self, number: int) -> Frame:
        if number not in self._numbers:
            await self._judge(number, {"problem": "unknown"})
        return self._numbers[number]

    async def _judge(self, number: int, found: Mapping[str, Any]) -> None:
        """Raise what is wrong with a number, with a fresh reading where the numbers hold no more."""
        problem = found.get("problem")
        if problem is None:
            return
        words = _PROBLEMS[problem].format(number=number, told=plain(str(found.get("told", "")), 200))
        if problem == "scheme":
            raise RefusedQuery(words)
        raise CannotAnswer(f"{words}\n\n{await self._read()}" if problem in _AGAIN else words)

    # --- What is allowed ---

    def _must_be_allowed(self) -> None:
        """Raise if what is shown is no page: it could not be fetched, or is of another scheme."""
        url = self._page.url
        if url.startswith("chrome-error:"):
            self._must_be_reached(self._tabs.lost_url)
            raise CannotAnswer(f"{_shown(self._tabs.lost_url)} could not be fetched. Open another address.")
        if not url.startswith(("http:", "https:")) and url != "about:blank":
            raise RefusedQuery(
                f"The page went to {plain(url, 80)!r}. Only http and https are shown: open another address."
            )

    def _must_be_reached(self, url: str) -> None:
        """Raise why the gate did not reach a host, if it did not."""
        place = name_place(url)
        for refusal in self._gate.refused:
            if refusal.startswith(f"{place}, "):
                raise RefusedQuery(f"{_shown(url)} was refused: {refusal}. Go elsewhere, or let the host be allowed.")
        if place in self._gate.failed:
            raise CannotAnswer(f"{_shown(url)} cannot be reached: {self._gate.failed[place]}. Check the address.")

    def _must_have_workspace(self) -> Workspace:
        if self._workspace is None:
            raise InvalidInput(
                "This session has no workspace to write into: browser.session(workspace=...) gives it one."
            )
        return self._workspace


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        is_right = False
    if not is_right or len(url) > 8_000:
        raise RefusedQuery(
            f"{_shown(url)} cannot be opened: only addresses of http and https are. Write 'https://...'."
        )


def _shown(url: str) -> str:
    return repr(plain(hide_secrets(url), 200))
