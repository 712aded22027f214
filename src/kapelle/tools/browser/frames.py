"""The frames of a page: each is read, and aimed at, in a world beside its own scripts, where `page.js` runs.

Frames of other sites live in processes of their own, with a connection each for the tools of developers; the others
share that of the frame that they stand in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kapelle.errors import CannotAnswer

from .reading import plain

if TYPE_CHECKING:
    from playwright.async_api import CDPSession, Page

_SCRIPT = Path(__file__).with_name("page.js")
_READABLE = ("http:", "https:", "about:blank", "about:srcdoc")
_THROUGH = "function(x, y) { return JSON.stringify(kapelle.through(this, x, y)); }"


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it is now; after it has gone elsewhere this one is of no use."""

    devtools: CDPSession
    frame_id: str
    world: int
    url: str

    async def ask(self, function: str, **options: Any) -> dict[str, Any]:
        """Call a function of `page.js`.

        Raises:
            CannotAnswer: the frame has gone elsewhere.
        """
        told: dict[str, Any] = json.loads(
            await self._evaluate(f"JSON.stringify(kapelle.{function}({json.dumps(options)}))")
        )
        return told

    async def prepare(self) -> None:
        """Load `page.js`."""
        await self._evaluate(_SCRIPT.read_text(encoding="utf-8"))

    async def owner_within(self, outer: Frame) -> str | None:
        """Return the element that this frame is in another one; None if it stands elsewhere."""
        from playwright.async_api import Error

        try:
            found = await outer.devtools.send("DOM.getFrameOwner", {"frameId": self.frame_id})
            request = {"backendNodeId": found["backendNodeId"], "executionContextId": outer.world}
            element: str = (await outer.devtools.send("DOM.resolveNode", request))["object"]["objectId"]
        except Error:
            return None
        return element

    async def _evaluate(self, code: str) -> Any:
        from playwright.async_api import Error

        request = {"expression": code, "contextId": self.world, "returnByValue": True}
        try:
            done = await self.devtools.send("Runtime.evaluate", request)
        except Error as error:
            raise CannotAnswer("The page has gone on meanwhile. Read it again.") from error
        if "exceptionDetails" in done:
            raise CannotAnswer(f"The page cannot be read: {plain(str(done['exceptionDetails']), 200)}")
        return done["result"].get("value")


async def find_frames(page: Page, *, most: int) -> tuple[tuple[Frame, ...], tuple[str, ...]]:
    """Return the frames of a page, itself first, and the addresses of those that are not read: of other schemes."""
    from playwright.async_api import Error

    owners = [await page.context.new_cdp_session(page)]
    for inner in page.frames[1:most]:
        with suppress(Error):  # it shares the connection of the frame that it stands in
            owners.append(await page.context.new_cdp_session(inner))
    frames: list[Frame] = []
    left_out: list[str] = []
    for owner in owners:
        waiting = [(await owner.send("Page.getFrameTree"))["frameTree"]]
        while waiting and len(frames) < most:
            tree = waiting.pop(0)
            waiting += tree.get("childFrames", ())
            frame_id, url = tree["frame"]["id"], tree["frame"]["url"]
            if frames and not url.startswith(_READABLE):
                if url:  # one that has not begun to load has none
                    left_out.append(url)
                continue
            with suppress(Error):  # it went away meanwhile
                made = await owner.send("Page.createIsolatedWorld", {"frameId": frame_id, "worldName": "kapelle"})
                frame = Frame(owner, frame_id, made["executionContextId"], url)
                await frame.prepare()
                frames.append(frame)
    return tuple(frames), tuple(left_out)


async def release_frames(frames: Sequence[Frame]) -> None:
    """Let go of the connections of frames that are read no more."""
    from playwright.async_api import Error

    for devtools in {id(frame.devtools): frame.devtools for frame in frames}.values():
        with suppress(Error):  # it went with its page
            await devtools.detach()


async def lead_out(frames: Sequence[Frame], frame: Frame, point: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return where a point of a frame lies in the page, or what covers one of the frames on the way, as `problem`."""
    while frame.frame_id != frames[0].frame_id:
        for outer in frames:
            if outer is not frame and (owner := await frame.owner_within(outer)) is not None:
                break
        else:
            return {"problem": "gone"}
        arguments = [{"value": point["x"]}, {"value": point["y"]}]
        request = {"objectId": owner, "functionDeclaration": _THROUGH, "arguments": arguments, "returnByValue": True}
        point = json.loads((await outer.devtools.send("Runtime.callFunctionOn", request))["result"]["value"])
        if "problem" in point:
            return point
        frame = outer
    return point
