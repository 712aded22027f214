"""The call notation of graph plans, `search("population of {s1}", limit=3)`, to and from a task's type and inputs.

    search("text")                 {"query": "text"}             one text alone, or before keywords, is the query
    compare({s2}, {s3.rate})       {"arg1": "{s2}", "arg2": "{s3.rate}"}     other positions are numbered
    sql(query="...", limit=3)      {"query": "...", "limit": 3}
    think()                        {}

Arguments are literals of Python or JSON (texts, numbers, true, None, lists, mappings) and bare references. A small
parser of our own reads them and nothing is ever evaluated: Python's `ast` knows no `{s-1}`, warns about `\\d`, and
fails on deep nesting in four ways. It is lenient where models are sloppy: single quotes, line breaks in texts, an f
before the quotes, backslashes that escape nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kapelle.errors import InvalidPlan

from .json_values import MAX_DEPTH
from .references import REFERENCE_PATTERN, is_reference

_FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_OPENING = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)\(")
_KEYWORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>[fFrRuU]?(?:
          \"{3}[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*\"{3}
        | '{3}[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'{3}
        | "[^"\\]*(?:\\.[^"\\]*)*"
        | '[^'\\]*(?:\\.[^'\\]*)*'))
    | (?P<reference>"""
    + REFERENCE_PATTERN
    + r""")
    | (?P<number>[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)
    | (?P<keyword>[A-Za-z_][A-Za-z0-9_]*\s*=)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>[()\[\]{},:])
    | (?P<end>\Z)
    )""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPE = re.compile(
    r"\\(?:(?P<hex>x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U000[0-9a-fA-F]{5}|U0010[0-9a-fA-F]{4})"
    r"|(?P<octal>[0-3]?[0-7]{1,2})|(?P<char>.))",
    re.DOTALL,
)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\n": ""}
_ESCAPED |= {char: char for char in "\\'\"/"}
_CONSTANTS = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None}
# C1 and DEL are allowed in XML 1.0 and discouraged, for readers that know HTML take &#x9B; for another character.
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A call as it is written."""

    function: str
    arguments: tuple[Any, ...]
    """Values by position."""
    keywords: Mapping[str, Any]

    @property
    def query(self) -> str | None:
        """The text that stands alone by position, the query of a search; None if there is none."""
        only = self.arguments[0] if len(self.arguments) == 1 else None
        return only if isinstance(only, str) else None

    @property
    def inputs(self) -> dict[str, Any]:
        """The arguments by name.

        Raises:
            InvalidPlan: a position and a keyword have the same name.
        """
        if self.query is not None:
            named = {"query": self.arguments[0]}
        else:
            named = {f"arg{position}": value for position, value in enumerate(self.arguments, start=1)}
        twice = sorted(named.keys() & self.keywords.keys())
        if twice:
            raise InvalidPlan(f"The argument {twice[0]!r} is given by position and by name. Keep one.")
        return {**named, **self.keywords}


def looks_like_call(text: str) -> bool:
    """Say whether a text starts as a call does, `name(`; if so and it cannot be read, that is an error."""
    return _OPENING.match(text) is not None


def parse_call(text: str) -> Call:
    """Return the call that a text consists of.

    Raises:
        InvalidPlan: it is none; the message shows where reading stopped.
    """
    opening = _OPENING.match(text)
    if opening is None:
        raise InvalidPlan(f"{_shorten(text)} is no call. Write name(arguments).")
    reader = _Reader(text, opening.end())
    arguments: list[Any] = []
    keywords: dict[str, Any] = {}
    while not reader.take(")"):
        keyword = reader.take_keyword()
        if keyword in keywords:
            raise InvalidPlan(f"The argument {keyword!r} is given twice. Keep one.")
        if keyword is not None:
            keywords[keyword] = reader.read_value()
        elif keywords:
            raise reader.expected("a keyword, such as limit=3, because one came before")
        else:
            arguments.append(reader.read_value())
        if not reader.take(",") and not reader.at(")"):
            raise reader.expected("',' or ')'")
    if reader.kind != "end":
        raise reader.expected("nothing more")
    return Call(function=opening[1], arguments=tuple(arguments), keywords=keywords)


def write_call(function: str, inputs: Mapping[str, Any], *, literal_query: bool = False) -> str | None:
    """Return the call that `parse_call` reads as these inputs, or None if a name in it cannot be written so.

    `literal_query` has the query written as a keyword, for readers that give the plain position a special meaning.
    """
    if not _FUNCTION.fullmatch(function) or not all(map(_KEYWORD.fullmatch, inputs)):
        return None
    positions = _count_positions(inputs, literal_query=literal_query)
    parts = [
        _write_value(value) if position < positions else f"{name}={_write_value(value)}"
        for position, (name, value) in enumerate(inputs.items())
    ]
    return f"{function}({', '.join(parts)})"


def write_json(value: Any) -> str:
    """Return a value as JSON, with escapes for the characters that XML cannot hold."""
    return _NOT_IN_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))


def fits_in_xml(text: str) -> bool:
    """Say whether XML 1.0 can hold every character of a text, and every reader gives it back."""
    return _NOT_IN_XML.search(text) is None


class _Reader:
    """Reads a call from left to right; `kind` and `token` are what comes next."""

    def __init__(self, text: str, position: int) -> None:
        self._text = text
        self._next = position
        self._advance()

    def at(self, sign: str) -> bool:
        return self.kind == "sign" and self.token == sign

    def take(self, sign: str) -> bool:
        found = self.at(sign)
        if found:
            self._advance()
        return found

    def take_keyword(self) -> str | None:
        if self.kind != "keyword":
            return None
        name = self.token.rstrip("=").rstrip()
        self._advance()
        return name

    def read_value(self, depth: int = 0) -> Any:
        kind, token, start = self.kind, self.token, self._start
        if depth > MAX_DEPTH:
            raise InvalidPlan(f"The arguments are nested deeper than {MAX_DEPTH} levels. Flatten them.")
        if self.take("["):
            return self._read_list("]", depth)
        if self.take("("):
            return self._read_list(")", depth)
        if self.take("{"):
            return self._read_mapping(depth)
        if kind == "name" and token in _CONSTANTS:
            self._advance()
            return _CONSTANTS[token]
        if kind in ("text", "reference", "number"):
            self._advance()
            return _read_text(token) if kind == "text" else token if kind == "reference" else _read_number(token)
        raise self.expected("a value (texts need quotes)", start)

    def expected(self, wanted: str, position: int | None = None) -> InvalidPlan:
        rest = self._text[self._start if position is None else position :][:200].strip()
        return InvalidPlan(f"Expected {wanted} at {_shorten(rest) if rest else 'the end'} of the call.")

    def _advance(self) -> None:
        self._start = self._next
        match = _TOKEN.match(self._text, self._next)
        if match is None:
            raise self.expected("a value with its closing quote, ',' or ')'")
        self._next = match.end()
        self.kind = str(match.lastgroup)
        self.token: str = match[self.kind]

    def _read_list(self, closing: str, depth: int) -> list[Any]:
        items = []
        while not self.take(closing):
            items.append(self.read_value(depth + 1))
            if not self.take(",") and not self.at(closing):
                raise self.expected(f"',' or '{closing}'")
        return items

    def _read_mapping(self, depth: int) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not self.take("}"):
            if self.kind != "text":
                raise self.expected("a key in quotes")
            key = _read_text(self.token)
            self._advance()
            if not self.take(":"):
                raise self.expected("':'")
            items[key] = self.read_value(depth + 1)
            if not self.take(",") and not self.at("}"):
                raise self.expected("',' or '}'")
        return items


def _read_text(token: str) -> str:
    prefix = "" if token[0] in "\"'" else token[0]
    token = token[len(prefix) :]
    quotes = 3 if len(token) >= 6 and token[:3] in ('"""', "'''") else 1
    text = token[quotes:-quotes]
    if prefix in ("r", "R") or "\\" not in text:
        return text
    text = _ESCAPE.sub(_unescape, text)
    # Characters beyond the first plane come from JSON as two escapes, \ud83d\ude00: join them.
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _unescape(match: re.Match[str]) -> str:
    if match["hex"] is not None:
        return chr(int(match["hex"][1:], 16))
    if match["octal"] is not None:
        return chr(int(match["octal"], 8))
    return _ESCAPED.get(match["char"], match[0])  # a backslash that escapes nothing is meant as one


def _read_number(token: str) -> int | float:
    try:
        return int(token)
    except ValueError:
        if token.lstrip("+-").isdigit():
            raise InvalidPlan("A number has thousands of digits. Give it as a text.") from None
        return float(token)


def _count_positions(inputs: Mapping[str, Any], *, literal_query: bool) -> int:
    """Return how many of the inputs can stand by position: the query, or arg1, arg2, ... as far as they lead."""
    names = list(inputs)
    if names[:1] == ["query"]:
        return int(isinstance(inputs["query"], str) and not literal_query)
    count = next((at for at, name in enumerate(names) if name != f"arg{at + 1}"), len(names))
    return 0 if count == 1 and isinstance(inputs["arg1"], str) else count  # one text alone would be the query


def _write_value(value: Any) -> str:
    if isinstance(value, str):
        return value if is_reference(value) else write_json(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{write_json(key)}: {_write_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_write_value, value)) + "]"
    return repr(value)


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
