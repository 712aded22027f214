"""Values of attributes as models write them: quotes that are typographic, forgotten, or inside of the same quotes.

Knows of one value and where it ends; what the attributes of a tag mean is for others: see markup.
"""

from __future__ import annotations

import html
import re

_AFTER_VALUE = re.compile(r"\s*(?:>|/\s*>|(?:,\s*)?[A-Za-z_][\w.:-]*\s*=)", re.ASCII)
_NEXT_NAME = re.compile(r"(?<![\s,]),*\s[\s,]*[A-Za-z_][\w.:-]*\s*=", re.ASCII)
_QUOTES = {'"': '"', "'": "'", "“": '“”„"', "”": '“”"', "„": '“”"', "‘": "‘’'", "’": "‘’'"}
_PLAIN = frozenset({"id", "type", "depends", "depends_on", "requires", "priority", "deadline", "risk", "version"})
"""Short attributes: where no quote closes before the next `<`, it was forgotten."""
_NO_ANGLES = _PLAIN - {"type", "requires"}
"""And before the next `>`: nothing that these may hold has one."""
_MAX_BARE_CHARS = 2_000
"""Of a value without quotes."""
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


def read_value(text: str, start: int, name: str) -> tuple[str, int, bool] | None:
    """Return an attribute's value, where it ends, and whether it was written as it should be; None if it has no end."""
    closing = _QUOTES.get(text[start : start + 1])
    stop = len(text)
    if closing is None or name in _PLAIN:
        stop = text.find(">" if name in _NO_ANGLES and closing is not None else "<", start)
        stop = len(text) if stop < 0 else stop
    if closing is not None:
        end = _closing_quote(text, start + 1, stop, closing)
        if end is not None:
            straight = text[start] == text[end] and text[start] in "\"'"
            value = re.sub(r"\r\n|[\t\r\n]", " ", text[start + 1 : end])
            # A quote inside of the same quotes was found to belong to the value: that is no XML.
            return decode(value), end + 1, straight and text[start] not in value
        if name not in _PLAIN:
            return None
        start += 1  # the closing quote was forgotten
    tag_end = text.find(">", start, min(stop + 1, start + _MAX_BARE_CHARS))
    if tag_end < 0:
        return None
    if text[tag_end - 1] == "/":
        tag_end -= 1
    following = _NEXT_NAME.search(text, start, tag_end)
    end = following.start() if following is not None else tag_end
    value = text[start:end].strip(" \t\r\n,\"'")
    return (decode(value), end, False) if value else None


def _closing_quote(text: str, start: int, stop: int, closing: str) -> int | None:
    """Return where a value ends: at the first closing quote after which the tag ends or another attribute begins."""
    quotes = re.compile(f"[{re.escape(closing)}]")
    for quote in quotes.finditer(text, start, stop):
        if _AFTER_VALUE.match(text, quote.end()):
            return quote.start()
    return None


def decode(text: str) -> str:
    """Return a text with its entities decoded: those of XML, numbers and the names of HTML, none defined here."""
    if "&" not in text:
        return text
    return _ENTITY.sub(lambda match: html.unescape(match[0]), text)
