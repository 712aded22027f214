"""Takes a SELECT that nobody vouches for apart: its tokens, and its selects with their clauses and tables.

Reads what can be checked against a question, and refuses the rest of SQL: windows, CASE, recursion, parameters. Whether
a statement is right SQL, and whether it only reads, SQLite says (see tables); what it means, question_check judges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from kapelle.errors import RefusedQuery
from kapelle.language import quote_text, word_set

MAX_SELECT_CHARS = 4_000
MAX_SELECTS = 12
MAX_DEPTH = 30

KEYWORDS = word_set(
    "select distinct as from where group by having order limit join inner left outer on using and or not in is null "
    "like between exists union except intersect asc desc with nulls first last cast integer real text int collate "
    "nocase all"
)
FUNCTIONS = word_set("count sum avg min max round lower upper trim abs substr strftime length")
COMPARES = ("=", "==", "<>", "!=", "<", ">", "<=", ">=")
CLAUSES = ("select", "from", "where", "group", "having", "order", "limit")
_SET_OPERATORS = ("union", "except", "intersect")

TokenKind = Literal["word", "name", "text", "number", "mark"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SqlToken:
    """A token of a statement: a bare word, a quoted name, a text, a number, or a mark."""

    kind: TokenKind
    text: str
    """Without quotes; bare words in lower case."""
    start: int
    end: int
    depth: int
    """In how many parentheses it stands; those themselves count as outside."""

    def is_word(self, *words: str) -> bool:
        """Whether it is one of these bare words."""
        return self.kind == "word" and self.text in words

    def is_mark(self, *marks: str) -> bool:
        """Whether it is one of these marks."""
        return self.kind == "mark" and self.text in marks

    @property
    def is_name(self) -> bool:
        """Whether it may name a table or a column."""
        return self.kind == "name" or (self.kind == "word" and self.text not in KEYWORDS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A table in a FROM clause; `table` is empty for a select in parentheses."""

    table: str
    alias: str
    positions: range
    """Its tokens."""


@dataclass(slots=True)
class Select:
    """One SELECT of a statement, with the tokens of its clauses, those of selects inside of it included."""

    depth: int
    clauses: dict[str, tuple[int, int]] = field(default_factory=dict)
    """First token and the one after the last, by the clause's first word, which is left out."""
    sources: tuple[Source, ...] = ()
    parent: Select | None = None

    def holds(self, position: int) -> str:
        """Return the clause that a token stands in; empty for none."""
        return next((name for name, (first, end) in self.clauses.items() if first <= position < end), "")


_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<text>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
    |(?P<number>\d+(?:\.\d+)?(?![\w.])|\.\d+(?![\w.]))
    |(?P<word>[^\W\d]\w*)
    |(?P<mark><>|!=|<=|>=|==|\|\||[-+*/%(),.<>=;])""",
    re.VERBOSE | re.DOTALL,
)


def read_tokens_of(sql: str) -> tuple[SqlToken, ...]:
    """Return the tokens of a statement, without comments and a semicolon at the end.

    Raises:
        RefusedQuery: it is too long, is no SELECT, holds several statements, or something that no check reads.
    """
    if len(sql) > MAX_SELECT_CHARS:
        raise RefusedQuery(f"The query is longer than {MAX_SELECT_CHARS:,} characters. Shorten it.")
    tokens: list[SqlToken] = []
    position = depth = 0
    while position < len(sql):
        found = _TOKEN.match(sql, position)
        if found is None:
            raise RefusedQuery(f"The query cannot be read at {quote_text(sql[position : position + 20])}.")
        position, kind, text = found.end(), found.lastgroup, found[0]
        if kind == "space":
            continue
        if text == ")":
            depth -= 1
        made: TokenKind = "mark"
        if kind == "text":
            made, text = "text", text[1:-1].replace("''", "'")
        elif kind == "quoted":
            made, text = "name", text[1:-1].replace(2 * text[-1], text[-1])
        elif kind == "word":
            made, text = "word", text.lower()
        elif kind == "number":
            made = "number"
        tokens.append(SqlToken(kind=made, text=text, start=found.start(), end=position, depth=depth))
        if text == "(" and made == "mark":
            depth += 1
        if not 0 <= depth <= MAX_DEPTH:
            raise RefusedQuery("The parentheses of the query do not match, or are nested too deeply.")
    while tokens and tokens[-1].is_mark(";"):
        tokens.pop()
    if not tokens or not tokens[0].is_word("select", "with"):
        raise RefusedQuery("That is no SELECT. Send one SELECT statement.")
    if any(token.is_mark(";") for token in tokens):
        raise RefusedQuery("That is more than one statement. Send one SELECT at a time.")
    if depth:
        raise RefusedQuery("The parentheses of the query do not match.")
    return tuple(tokens)


def read_selects(tokens: Sequence[SqlToken]) -> tuple[Select, ...]:
    """Return the selects of a statement, each after the one that holds it; the first is of the outermost level.

    Raises:
        RefusedQuery: there are too many, or a FROM clause is not read.
    """
    selects: list[Select] = []
    opened: list[Select] = []
    clause: dict[int, str] = {}

    def close(select: Select, end: int) -> None:
        name = clause[id(select)]
        select.clauses[name] = (select.clauses[name][0], end)

    for position, token in enumerate(tokens):
        while opened and token.depth < opened[-1].depth:
            close(opened.pop(), position)
        if opened and token.depth == opened[-1].depth and token.is_word(*_SET_OPERATORS):
            close(opened.pop(), position)
        elif token.is_word("select"):
            select = Select(depth=token.depth, parent=opened[-1] if opened else None)
            select.clauses["select"] = (position + 1, position + 1)
            clause[id(select)] = "select"
            selects.append(select)
            opened.append(select)
        elif opened and token.depth == opened[-1].depth and token.is_word(*CLAUSES[1:]):
            close(opened[-1], position)
            clause[id(opened[-1])] = token.text
            opened[-1].clauses[token.text] = (position + 1, position + 1)
    while opened:
        close(opened.pop(), len(tokens))
    if not 0 < len(selects) <= MAX_SELECTS:
        raise RefusedQuery(f"The query has more than {MAX_SELECTS} selects. Make it simpler.")
    for select in selects:
        select.sources = tuple(_sources(tokens, select))
    return tuple(sorted(selects, key=lambda select: select.depth))


def _sources(tokens: Sequence[SqlToken], select: Select) -> Iterator[Source]:
    """Yield the tables of a FROM clause, each with what it is called there."""
    position, end = select.clauses.get("from", (0, 0))
    expects_table = True
    while position < end:
        token = tokens[position]
        if token.depth == select.depth and (token.is_mark(",") or token.is_word("join")):
            expects_table = True
        elif expects_table and (token.is_name or token.is_mark("(")):
            table, first = token.text if token.is_name else "", position
            if not table:
                if not tokens[position + 1].is_word("select"):
                    raise RefusedQuery("A FROM clause is not read. Write JOIN ... ON, without parentheses.")
                position = closing(tokens, position, end)
            elif position + 1 < end and tokens[position + 1].is_mark("."):
                raise RefusedQuery(f"There is no table {quote_text(table)} with parts. Use the names of the tables.")
            alias, position = table, position + 1
            if position < end and tokens[position].is_word("as"):
                position += 1
            if position < end and tokens[position].is_name:
                alias, position = tokens[position].text, position + 1
            named = range(first, position) if table else range(position - 1, position)
            yield Source(table=table, alias=alias, positions=named)
            expects_table = False
            continue
        position += 1


def closing(tokens: Sequence[SqlToken], position: int, end: int) -> int:
    """Return the parenthesis that closes the one at `position`, or `end`."""
    depth = tokens[position].depth
    return next((at for at in range(position + 1, end) if tokens[at].is_mark(")") and tokens[at].depth == depth), end)


def names_given(tokens: Sequence[SqlToken]) -> frozenset[str]:
    """Return the names that a statement gives itself: after AS, and of WITH."""
    given = {two.text for one, two in pairwise(tokens) if one.is_word("as") and two.is_name}
    given |= {
        one.text
        for one, two, three in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if one.is_name and two.is_word("as") and three.is_mark("(")
    }
    return frozenset(given)
