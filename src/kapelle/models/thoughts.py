"""Tells what a model thinks from what it answers, in a text that comes whole or in pieces. Knows no provider.

Most servers hand thoughts over beside the text. The others leave them in it, at the start of the reply, between tags:

    <think>6 * 7, so ...</think>42

A chat template may have written the opening tag already, so that only the closing one is left; a reply that was cut off
may lack the closing one. A tag anywhere else is somebody's text, such as an answer that is about such tags: it stays.

Text that was handed out cannot be taken back, and a closing tag without an opening one comes late. So a reader that
waits for it (`holds_back`) hands nothing out until it is there or the reply ends. What it hands out in all is the same
however the text is cut into pieces.
"""

from __future__ import annotations

import re
from typing import Literal

_NAMES = ("think", "thinking", "thought", "reasoning")
_TAGS = tuple(f"<{slash}{name}>" for name in _NAMES for slash in ("", "/"))
_TAG = re.compile("|".join(map(re.escape, _TAGS)), re.IGNORECASE)
_LONGEST_TAG = max(map(len, _TAGS))
_LEFT_OPEN = re.compile(r"\br1\b|qwq|thinking|reasoner", re.IGNORECASE)

_QUOTES = "`\"'"
"""A tag right behind one of these is quoted: somebody writes about it."""


class ThoughtReader:
    """Takes a reply's text in pieces and hands out what is no thought.

    Args:
        holds_back: Take a closing tag without an opening one for the end of thoughts, and wait for it.

    >>> reader = ThoughtReader(holds_back=True)
    >>> reader.take("<thi"), reader.take("nk>secret</think>4"), reader.take("2"), reader.finish()
    ('', '4', '2', '')
    """

    def __init__(self, *, holds_back: bool) -> None:
        self.thought = False
        """Whether there were thoughts so far."""
        self.was_unopened = False
        """Whether their opening tag was missing."""
        self._holds_back = holds_back
        self._state: Literal["start", "thought", "held", "text"] = "start"
        self._waiting = ""
        # The number of tags that are open, by name, and the text behind the last that was closed.
        self._name = ""
        self._depth = 0
        self._last_close: int | None = None
        self._scanned = 0

    def take(self, piece: str) -> str:
        """Return what is now known to be part of the answer."""
        if self._state == "text":
            return piece
        self._waiting += piece
        return self._advance(ends=False)

    def finish(self) -> str:
        """Return what was still waiting for more."""
        found = self._advance(ends=True)
        self._state, self._waiting = "text", ""
        return found

    def _advance(self, *, ends: bool) -> str:
        while True:
            if self._state == "start":
                if not self._leave_start(ends=ends):
                    return ""
            elif self._state == "text":
                text, self._waiting = self._waiting, ""
                return text
            elif not self._read_tags(ends=ends):
                return ""

    def _leave_start(self, *, ends: bool) -> bool:
        """Decide what the reply begins with; False where more of it is needed."""
        begun = self._waiting.lstrip()
        opening = _TAG.match(begun)
        if opening is not None:
            if opening[0].startswith("</"):
                self.was_unopened = self.was_unopened or not self.thought
                self.thought = True
                self._close(len(self._waiting) - len(begun) + opening.end())
                return True
            self.thought = True
            self._name = opening[0][1:-1].lower()
            self._state, self._depth, self._last_close = "thought", 1, None
            self._scanned = len(self._waiting) - len(begun) + opening.end()
            return True
        if not ends and any(tag.startswith(begun[:_LONGEST_TAG].lower()) for tag in _TAGS):
            return False
        if self.thought:  # what stands between thoughts and answer belongs to neither
            self._waiting = begun
        self._state = "held" if self._holds_back and not self.thought else "text"
        self._depth, self._scanned = 0, 0
        return True

    def _read_tags(self, *, ends: bool) -> bool:
        """Follow the tags up to the one that ends the thoughts; False where more is needed, or nothing is left."""
        waiting = self._waiting
        # The last characters may be a part of a tag; one more is kept, which may quote it.
        for tag in _TAG.finditer(waiting, self._scanned):
            self._scanned = tag.end()
            if tag.start() and waiting[tag.start() - 1] in _QUOTES:
                continue
            name, closes = tag[0].strip("</>").lower(), tag[0].startswith("</")
            if self._state == "thought":
                if name != self._name:
                    continue
                self._depth += -1 if closes else 1
                self._last_close = tag.end() if closes else self._last_close
                if self._depth == 0:
                    self._close(tag.end())
                    return True
            else:
                self._depth += -1 if closes else 1
                if self._depth < 0:
                    self.thought = self.was_unopened = True
                    self._close(tag.end())
                    return True
        if not ends:
            self._scanned = max(self._scanned, len(waiting) - _LONGEST_TAG + 1)
            return False
        if self._state == "held":
            self._state = "text"
            return True
        if self._last_close is not None:
            # A tag was named within the thoughts and never closed: they end with the last that was.
            self._close(self._last_close)
            return True
        self._waiting = ""
        return False

    def _close(self, end: int) -> None:
        self._waiting = self._waiting[end:]
        self._state = "start"


def is_known_to_leave_tags_open(model: str) -> bool:
    """Whether the chat templates of a model are known to write the opening tag themselves.

    >>> is_known_to_leave_tags_open("local:deepseek-r1:8b"), is_known_to_leave_tags_open("openai:gpt-6-luna")
    (True, False)
    """
    return _LEFT_OPEN.search(model) is not None


def leaves_tag_open(text: str) -> bool:
    """Whether a whole reply begins with thoughts whose opening tag is missing."""
    reader = ThoughtReader(holds_back=True)
    reader.take(text)
    reader.finish()
    return reader.was_unopened


def strip_thoughts(text: str) -> str:
    """Return a whole reply without its thoughts, and without the blank space that stood between.

    >>> strip_thoughts("secret</think>\\n42"), strip_thoughts("The tag `<think>` opens thoughts.")
    ('42', 'The tag `<think>` opens thoughts.')
    """
    reader = ThoughtReader(holds_back=True)
    return reader.take(text) + reader.finish()


def mark_thoughts(text: str, *, begins: str, ends: str) -> str:
    """Return a whole reply with these tags around its thoughts, which may have had others, or one of two.

    >>> mark_thoughts("secret</think>42", begins="<t>", ends="</t>"), mark_thoughts("42", begins="<t>", ends="</t>")
    ('<t>secret</t>42', '42')
    """
    reader = ThoughtReader(holds_back=True)
    answer = reader.take(text) + reader.finish()
    if not reader.thought:
        return text
    thoughts = _TAG.sub("", text.removesuffix(answer)).replace(begins, "").replace(ends, "")
    return f"{begins}{thoughts}{ends}{answer}"
