"""One Chromium, that of the system, with a context for every agent: nothing is downloaded, kept or shared.

Every context has a `gate` of its own as its only way to the network. Chromium keeps pages in by its own sandbox; as
root that cannot start, and then `is_sandboxed` is False: run as another user.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kapelle.errors import InvalidInput, WorkerLost

from .gate import NetworkGate
from .hosts import AllowedHosts
from .limits import BrowserLimits
from .reading import plain
from .session import BrowserSession

if TYPE_CHECKING:
    import playwright.async_api as playwright

    from kapelle.tools.workspace import Workspace

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
GET_PLAYWRIGHT = "pip install 'kapelle[browser]'"
GET_CHROMIUM = "apt-get install chromium (or Google Chrome's own package)"
START_S = 30.0
END_S = 15.0
_ARGUMENTS = (
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # names are looked up by the gate alone
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-quic",
    "--deny-permission-prompts",
    "--js-flags=--max-old-space-size=512",  # MB that a page's script may hold
)
_NOWHERE = "http://127.0.0.1:9"
"""The proxy of what belongs to no context: nobody listens at the port of `discard` (RFC 863)."""


def find_chromium() -> Path | None:
    """Return the browser of this machine; None if there is none."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None) or next(filter(os.path.exists, PLACES), None)
    return Path(found) if found else None


class Browser:
    """Chromium, started for the first session and ended with the block.

        async with Browser() as browser, browser.session(workspace=files) as session:
            page = await session.open("https://example.org")
            print(page)                                             # with ⟦1 link: More information⟧
            page = await session.click(1)

    Args:
        limits: of every session.
        executable: the browser to start; the one that is found if None.
        is_sandboxed: whether Chromium's own sandbox is used; if None, wherever it can: not as root.
    """

    def __init__(
        self,
        *,
        limits: BrowserLimits | None = None,
        executable: Path | None = None,
        is_sandboxed: bool | None = None,
    ) -> None:
        self.limits = limits or BrowserLimits()
        self.is_sandboxed = (not hasattr(os, "geteuid") or os.geteuid() != 0) if is_sandboxed is None else is_sandboxed
        """Whether a page that breaks out of its renderer is still kept in."""
        self._executable = executable
        self._running: playwright.Browser | None = None
        self._process: int | None = None
        self._stack = AsyncExitStack()
        self._starting = asyncio.Lock()

    @asynccontextmanager
    async def session(
        self, *, hosts: AllowedHosts | None = None, workspace: Workspace | None = None
    ) -> AsyncIterator[BrowserSession]:
        """A context of its own, closed with the block whatever happens.

        Args:
            hosts: who may be asked; every public host if None.
            workspace: where screenshots and downloads go; without one there are none.

        Raises:
            InvalidInput: playwright or Chromium is missing; the message says how to get it.
        """
        running = await self._start()
        gate = NetworkGate(
            hosts or AllowedHosts(), answer_bytes=self.limits.answer_bytes, total_bytes=self.limits.total_bytes
        )
        try:
            context = await running.new_context(
                proxy={"server": await gate.start(), "bypass": "<-loopback>"},
                accept_downloads=workspace is not None,
                permissions=[],
                service_workers="block",
                viewport={"width": 1280, "height": 800},
            )
        except BaseException:
            await gate.close()
            raise
        session = BrowserSession(context, gate, self.limits, workspace, self._kill)
        try:
            yield await session.start()
        finally:
            await asyncio.shield(session.close())

    async def close(self) -> None:
        """End Chromium."""
        self._running = None
        await self._end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(self.close())

    async def _start(self) -> playwright.Browser:
        async with self._starting:
            if self._running is None or not self._running.is_connected():
                await self._end()
                self._running = await self._launch()
            return self._running

    async def _end(self) -> None:
        stack, self._stack = self._stack, AsyncExitStack()
        with suppress(TimeoutError):  # what talks to a flooded browser takes long to notice its end
            async with asyncio.timeout(END_S):
                await stack.aclose()

    async def _launch(self) -> playwright.Browser:
        try:
            from playwright.async_api import Error, async_playwright
        except ImportError:
            raise InvalidInput(f"The browser needs the extra `browser`: {GET_PLAYWRIGHT}.") from None
        program = self._executable or find_chromium()
        if program is None:
            raise InvalidInput(f"There is no Chromium on this machine. Install it: {GET_CHROMIUM}.")
        home = self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix="kapelle-browser-", ignore_cleanup_errors=True)
        )
        driver = await self._stack.enter_async_context(async_playwright())
        # No key of this process is in the environment of what shows pages.
        environ: dict[str, Any] = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
        try:
            running = await driver.chromium.launch(
                executable_path=program,
                chromium_sandbox=self.is_sandboxed,
                args=list(_ARGUMENTS),
                proxy={"server": _NOWHERE},
                downloads_path=home,
                env=environ | {"HOME": home, "TMPDIR": home, "LANG": "C.UTF-8"},
                timeout=START_S * 1_000,
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
            )
        except Error as error:
            await self._stack.aclose()
            way_out = "Its sandbox needs user namespaces: allow them, or Browser(is_sandboxed=False) does without it."
            raise WorkerLost(
                f"{program} does not start. {way_out if self.is_sandboxed else ''} It said: {plain(error.message, 500)}"
            ) from error
        self._stack.push_async_callback(_close, running)
        devtools = await running.new_browser_cdp_session()
        processes = (await devtools.send("SystemInfo.getProcessInfo"))["processInfo"]
        self._process = next((int(each["id"]) for each in processes if each["type"] == "browser"), None)
        return running

    def _kill(self) -> None:
        """End a Chromium that does not answer; the next session starts another."""
        self._running = None
        if self._process is not None:
            with suppress(OSError):  # it has ended by itself
                os.kill(self._process, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        self._process = None


async def _close(running: playwright.Browser) -> None:
    with suppress(Exception):  # it may have ended by itself
        await running.close()
