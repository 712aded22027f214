"""The call notation, `search("population of {s1}", limit=3)`, of graph plans and of agents' answers.

In a plan a call is a task's type and inputs:

    search("text")                 {"query": "text"}             one text alone, or before keywords, is the query
    compare({s2}, {s3.rate})       {"arg1": "{s2}", "arg2": "{s3.rate}"}     other positions are numbered
    sql(query="...", limit=3)      {"query": "...", "limit": 3}
    think()                        {}

Arguments are literals of Python or JSON (texts, numbers, true, None, lists, mappings) and bare references. A small
parser of our own reads them and nothing is ever evaluated: Python's `ast` knows no `{s-1}`, warns about `\\d`, and
fails on deep nesting in four ways. It is lenient where models are sloppy: single quotes, line breaks in texts, an f
before the quotes, backslashes that escape nothing.

In an answer there may be several calls, `[f(a=1), math.hypot(x, -y)]`, and code in the place of a value. Code stays
code: `ast` brings it into one form, and it is not run either.
"""

from __future__ import annotations

import ast
import json
import keyword
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from kapelle.errors import InvalidPlan

from .json_values import MAX_DEPTH
from .references import REFERENCE_PATTERN, is_reference

_FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_OPENING = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)\(")
_KEYWORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOKENS = r"""\s*(?:
      (?P<text>[fFrRuU]?(?:
          \"{3}[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*\"{3}
        | '{3}[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'{3}
        | "[^"\\]*(?:\\.[^"\\]*)*"
        | '[^'\\]*(?:\\.[^'\\]*)*'))
    | (?P<reference>REFERENCE)
    | (?P<number>[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)
    | (?P<keyword>NAME\s*=(?!=))
    | (?P<name>NAME)
    | (?P<sign>[()\[\]{},:])
    | (?P<end>\Z)
    | (?P<other>OTHER)
    )"""
_NEVER = "(?!)"


def _compile_tokens(**parts: str) -> re.Pattern[str]:
    pattern = _TOKENS
    for part, written in parts.items():
        pattern = pattern.replace(part, written)
    return re.compile(pattern, re.DOTALL | re.VERBOSE)


# Made when the first text is read: each takes milliseconds, and most programs read no calls.
@cache
def _plan_token() -> re.Pattern[str]:
    return _compile_tokens(REFERENCE=REFERENCE_PATTERN, NAME="[A-Za-z_][A-Za-z0-9_]*", OTHER=_NEVER)


@cache
def _code_token() -> re.Pattern[str]:
    return _compile_tokens(REFERENCE=_NEVER, NAME=r"[^\W\d]\w*", OTHER=r"[^\s\"']")


_COMMENT = re.compile(r"\s*#[^\n]*")
_CODE_OPENING = re.compile(r"\s*([^\W\d][\w.]*)[^\S\n]*\(")
_OPERATOR = re.compile(r"[-+~*/%@<>=!&|^]|\b(?:not|lambda|if|else|for|and|or|await|yield)\b")
MAX_OPERATORS = 200
"""In a text that is read as code: a chain of ten thousand signs nests as deeply as brackets do."""
_ESCAPE = re.compile(
    r"\\(?:(?P<hex>x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U000[0-9a-fA-F]{5}|U0010[0-9a-fA-F]{4})"
    r"|(?P<octal>[0-3]?[0-7]{1,2})|(?P<char>.))",
    re.DOTALL,
)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\n": ""}
_ESCAPED |= {char: char for char in "\\'\"/"}
_CONSTANTS = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None}
# C1 and DEL are allowed in XML 1.0 and discouraged, for readers that know HTML take &#x9B; for another character.
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Expression(str):
    """A piece of code that was given as an argument, such as a variable's name. Its value is not known."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A call as it is written."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Those with a name."""
    positional: tuple[Any, ...] = ()
    """Those without one, in their order."""

    @property
    def query(self) -> str | None:
        """The text that stands alone by position, the query of a search; None if there is none."""
        only = self.positional[0] if len(self.positional) == 1 else None
        return only if isinstance(only, str) else None

    @property
    def inputs(self) -> dict[str, Any]:
        """The arguments by name.

        Raises:
            InvalidPlan: a position and a keyword have the same name.
        """
        if self.query is not None:
            named = {"query": self.positional[0]}
        else:
            named = {f"arg{position}": value for position, value in enumerate(self.positional, start=1)}
        twice = sorted(named.keys() & self.arguments.keys())
        if twice:
            raise InvalidPlan(f"The argument {twice[0]!r} is given by position and by name. Keep one.")
        return {**named, **self.arguments}


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
    call = reader.read_arguments(opening[1])
    if reader.kind != "end":
        raise reader.expected("nothing more")
    return call


def parse_code_calls(text: str) -> tuple[Call, ...]:
    """Return the calls that a text consists of, as Python writes them: one, several with commas, or a list of them.

    Whoever calls this limits the text's length and depth.

    Raises:
        InvalidPlan: it is anything else.
    """
    if len(_OPERATOR.findall(text)) > MAX_OPERATORS + 4 * text.count("("):
        raise InvalidPlan("The calls hold too much code. Give values.")
    is_list = text.startswith("[")
    reader = _Reader(text, int(is_list), takes_code=True)
    calls = []
    while reader.kind != "end" and not reader.at("]"):
        calls.append(reader.read_call())
        if not reader.take(","):
            break
    if (not reader.take("]") if is_list else not calls) or reader.kind != "end":
        raise reader.expected("',' or nothing more")
    return tuple(calls)


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

    def __init__(self, text: str, position: int, *, takes_code: bool = False) -> None:
        self._text = text
        self._takes_code = takes_code
        self._next = position
        self._advance()

    def at(self, signs: str) -> bool:
        return self.kind == "sign" and self.token in signs

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

    def read_call(self) -> Call:
        opening = _CODE_OPENING.match(self._text, self._start)
        names = opening[1].split(".") if opening is not None else [""]
        if opening is None or not all(map(str.isidentifier, names)) or any(map(keyword.iskeyword, names)):
            raise self.expected("a call")
        self._go_to(opening.end())
        return self.read_arguments(opening[1])

    def read_arguments(self, name: str) -> Call:
        """Return the call whose bracket was opened."""
        positional: list[Any] = []
        arguments: dict[str, Any] = {}
        while not self.take(")"):
            keyword = self.take_keyword()
            if keyword in arguments and not self._takes_code:
                raise InvalidPlan(f"The argument {keyword!r} is given twice. Keep one.")
            if keyword is not None:
                arguments[keyword] = self.read_value()
            elif arguments:
                raise self.expected("a keyword, such as limit=3, because one came before")
            else:
                positional.append(self.read_value())
            if not self.take(",") and not self.at(")"):
                raise self.expected("',' or ')'")
        return Call(name=name, arguments=arguments, positional=tuple(positional))

    def read_value(self, depth: int = 0) -> Any:
        if not self._takes_code:
            return self._read_literal(depth)
        start = self._start
        try:
            value = self._read_literal(depth)
            if self.kind == "end" or self.at(",:)]}"):
                return value
        except InvalidPlan:
            pass
        return self._read_code(start)

    def _read_literal(self, depth: int) -> Any:
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
        if kind in ("text", "reference", "number") and not (self._takes_code and token[0] in "fF"):
            self._advance()
            return _read_text(token) if kind == "text" else token if kind == "reference" else _read_number(token)
        raise self.expected("a value (texts need quotes)", start)

    def _read_code(self, start: int) -> Any:
        """Return what is no literal as code, in its one way of being written."""
        self._go_to(start)
        depth = 0
        while self.kind != "end" and (depth or not self.at(",)]}")):
            depth += self.at("([{") - self.at(")]}")
            self._advance()
        code = self._text[start : self._start].strip()
        if not code:
            raise self.expected("a value", start)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a stranger's `\d` in a text is no business of ours
                node = ast.parse(f"({code}\n)", mode="eval").body
            match node:
                case ast.Constant(value=int() | float() | str() as value):  # '1' '2', 0x10
                    return value
                case ast.GeneratorExp() | ast.NamedExpr() if code[0] != "(":  # only the brackets here make it one
                    raise self.expected("a value", start)
            return Expression(ast.unparse(node))
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            raise self.expected("a value", start) from None

    def expected(self, wanted: str, position: int | None = None) -> InvalidPlan:
        start = self._start if position is None else position
        rest = self._text[start : start + 200].strip()
        return InvalidPlan(f"Expected {wanted} at {_shorten(rest) if rest else 'the end'} of the call.")

    def _advance(self) -> None:
        self._go_to(self._next)

    def _go_to(self, position: int) -> None:
        self._start = position
        if not self._takes_code:
            match = _plan_token().match(self._text, position)
        else:
            while comment := _COMMENT.match(self._text, self._start):
                self._start = comment.end()
            match = _code_token().match(self._text, self._start)
        if match is None:
            raise self.expected("a value with its closing quote, ',' or ')'")
        self._next = match.end()
        self.kind = str(match.lastgroup)
        self.token: str = match[self.kind]

    def _read_list(self, closing: str, depth: int) -> Any:
        items = []
        is_tuple = not self._takes_code
        while not self.take(closing):
            items.append(self.read_value(depth + 1))
            if self.take(","):
                is_tuple = True
            elif not self.at(closing):
                raise self.expected(f"',' or '{closing}'")
        return items[0] if closing == ")" and len(items) == 1 and not is_tuple else items

    def _read_mapping(self, depth: int) -> Any:
        items: dict[str, Any] = {}
        while not self.take("}"):
            if self.kind != "text" and not self._takes_code:
                raise self.expected("a key in quotes")
            key = self.read_value(depth + 1)
            if self._takes_code and not items and (self.take(",") or self.at("}")):
                return [key, *self._read_list("}", depth)]  # a set
            if isinstance(key, (Expression, list, dict)) or not self.take(":"):
                raise self.expected("':'")
            items[str(key)] = self.read_value(depth + 1)
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
