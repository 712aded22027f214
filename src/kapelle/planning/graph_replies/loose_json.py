"""Reads JSON as models write it: comments, trailing commas, single or typographic quotes, bare keys, Python's literals.

What is valid JSON is read as JSON says. A quote ends a text only where a comma, a colon, a bracket or the end follows,
so that "search("x")" survives. Anything that ends in the middle was cut off, and is an error: what was to follow is
unknown. A small parser of our own, in one pass, for nothing may be evaluated, and every mapping has to know its line.
"""

from __future__ import annotations

import math
import re
from typing import Any

from kapelle.errors import InvalidPlan

from .nodes import Repairs

MAX_DEPTH = 60

_PURE_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?(?![\w.])")
_STRICT_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z_$][\w$-]*")
_CONSTANTS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”“", "”": "”“", "„": "”“", "‘": "’‘", "’": "’‘"}
_ESCAPE = re.compile(r"\\(?:u(?P<hex>[0-9a-fA-F]{4})|x(?P<byte>[0-9a-fA-F]{2})|(?P<char>[\s\S]))")
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "\n": ""}
_ENDS_A_TEXT = re.compile(r"[\s\u00a0]*(?:[,:\]}]|//|/\*|\#|\Z)")


class JsonObject(dict[str, Any]):
    """A JSON object that knows where it began."""

    line: int = 1


class LooseJson:
    """A text with a value at `position`."""

    def __init__(self, text: str, position: int, line: int, repairs: Repairs) -> None:
        self._text = text
        self._at = position
        self._line = line
        self._counted = position
        self._repairs = repairs

    @property
    def line(self) -> int:
        """The line of the current position."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def read(self) -> tuple[Any, int]:
        """Return the value, and where it ends.

        Raises:
            InvalidPlan: it is malformed, too deep or cut off; the line is named.
        """
        return self._value(0), self._at

    def _value(self, depth: int) -> Any:
        self._skip()
        if depth > MAX_DEPTH:
            raise self._wrong(f"The JSON is nested deeper than {MAX_DEPTH} levels. Flatten it")
        sign = self._text[self._at : self._at + 1]
        if sign == "{":
            return self._mapping(depth)
        if sign == "[" or sign == "(":
            return self._list(depth)
        if sign in _QUOTES:
            return self._quoted()
        return self._bare()

    def _mapping(self, depth: int) -> JsonObject:
        found = JsonObject()
        found.line = self.line
        self._at += 1
        while not self._take("}"):
            key = self._key()
            if not self._take(":"):
                raise self._expected("':' after a key")
            if key in found:
                raise self._wrong(f"The key {key[:40]!r} stands twice. Keep one")
            found[key] = self._value(depth + 1)
            self._comma("}")
        return found

    def _list(self, depth: int) -> list[Any]:
        closing = "]" if self._text[self._at] == "[" else ")"
        if closing == ")":
            self._repairs.note("Python literals were read as JSON")
        self._at += 1
        found: list[Any] = []
        while not self._take(closing):
            found.append(self._value(depth + 1))
            self._comma(closing)
        return found

    def _key(self) -> str:
        self._skip()
        if self._text[self._at : self._at + 1] in _QUOTES and self._at < len(self._text):
            return self._quoted()
        word = _WORD.match(self._text, self._at) or _NUMBER.match(self._text, self._at)
        if word is None:
            raise self._expected("a key in quotes")
        self._at = word.end()
        self._repairs.note("Keys without quotes were read as texts")
        return word[0]

    def _comma(self, closing: str) -> None:
        if self._take(","):
            self._skip()
            if self._text.startswith(closing, self._at):
                self._repairs.note("A comma before a closing bracket was left out")
            return
        if self._text[self._at : self._at + 1] in ("{", '"') and self._text[self._at - 1 : self._at].strip() != ":":
            self._repairs.note("A missing comma was added")  # a value cannot go on so
            return
        if not self._text.startswith(closing, self._at):
            raise self._expected(f"',' or '{closing}'")

    def _take(self, sign: str) -> bool:
        self._skip()
        if self._at >= len(self._text):
            raise self._cut_off()
        if self._text.startswith(sign, self._at):
            self._at += 1
            return True
        return False

    def _quoted(self) -> str:
        text, start = self._text, self._at
        quote = text[start]
        if text.startswith(quote * 3, start):  # as Python and Markdown quote texts of several lines
            end = text.find(quote * 3, start + 3)
            if end >= 0 and _ENDS_A_TEXT.match(text, end + 3):
                self._repairs.note("The quotes of texts were mended")
                self._at = end + 3
                return self._unescaped(text[start + 3 : end])
        stops = re.compile(f"[\\\\{re.escape(_QUOTES[quote])}]")
        at = start + 1
        inner = False
        while True:
            stop = stops.search(text, at)
            if stop is None:
                raise self._cut_off()
            if stop[0] == "\\":
                at = stop.end() + 1
            elif _ENDS_A_TEXT.match(text, stop.end()):
                break
            else:
                at, inner = stop.end(), True
        if quote != '"' or inner:
            self._repairs.note("The quotes of texts were mended")
        self._at = stop.end()
        return self._unescaped(text[start + 1 : stop.start()])

    def _unescaped(self, body: str) -> str:
        if "\n" in body or "\t" in body or "\r" in body:
            self._repairs.note("Line breaks inside of texts were kept")
        if "\\" not in body:
            return body
        body = _ESCAPE.sub(_unescape, body)
        if body.isascii():
            return body
        # Characters beyond the first plane come as two escapes.
        return body.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass" if _is_odd(body) else "strict")

    def _bare(self) -> Any:
        text = self._text
        if self._at >= len(text):
            raise self._cut_off()
        if (number := _NUMBER.match(text, self._at)) is not None:
            self._at = number.end()
            if not _STRICT_NUMBER.fullmatch(number[0]):
                self._repairs.note("Numbers were read as Python writes them")
            return self._number(number[0])
        word = _WORD.match(text, self._at)
        if word is None or word[0] not in _CONSTANTS:
            if word is not None and word.end() == len(text):
                raise self._cut_off()
            raise self._expected("a value (texts need quotes)")
        self._at = word.end()
        if word[0] not in ("true", "false", "null"):
            self._repairs.note("Python literals were read as JSON")
        return _CONSTANTS[word[0]]

    def _number(self, token: str) -> int | float:
        try:
            return int(token)
        except ValueError:
            pass
        if len(token) < 400 and math.isfinite(value := float(token)):
            return value
        raise self._wrong("A number is too large. Give it as a text")

    def _skip(self) -> None:
        plain = _PURE_SPACE.match(self._text, self._at)
        assert plain is not None
        self._at = plain.end()
        if self._text[self._at : self._at + 1] in ("/", "#", "\u00a0", "\ufeff", "\f", "\v"):
            self._skip_comments()

    def _skip_comments(self) -> None:
        text = self._text
        while self._at < len(text):
            start = self._at
            if text.startswith("/*", start):
                end = text.find("*/", start)
                if end < 0:
                    raise self._cut_off()
                self._at = end + 2
            elif text.startswith("//", start) or text[start] == "#":
                end = text.find("\n", start)
                self._at = len(text) if end < 0 else end
            elif text[start].isspace() or text[start] == "\ufeff":
                self._at += 1
                continue
            else:
                return
            self._repairs.note("Comments were left out")

    def _expected(self, what: str) -> InvalidPlan:
        if self._at >= len(self._text):
            return self._cut_off()
        return self._wrong(f"Not readable as JSON: expected {what} at {self._text[self._at : self._at + 30]!r}")

    def _wrong(self, what: str) -> InvalidPlan:
        return InvalidPlan(f"{what}.", place=f"line {self.line}")

    def _cut_off(self) -> InvalidPlan:
        lines = self._line + self._text.count("\n", self._counted)
        return InvalidPlan("The JSON ends in the middle. Send all of it, shorter.", place=f"line {lines}")


def _unescape(match: re.Match[str]) -> str:
    if match["hex"] is not None:
        return chr(int(match["hex"], 16))
    if match["byte"] is not None:
        return chr(int(match["byte"], 16))
    return _ESCAPED.get(match["char"], match["char"])


def _is_odd(text: str) -> bool:
    """Whether a text holds half of a character."""
    try:
        text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return True
    return False
