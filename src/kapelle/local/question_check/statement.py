"""A SELECT with its names resolved: which column each names, and what its values are compared with.

Resolves as SQLite does, as far as the checks of question_check need it: aliases, selects inside of others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from kapelle.local.table_questions import LinkedTable, SchemaLinks

from .select_text import (
    COMPARES,
    FUNCTIONS,
    KEYWORDS,
    Select,
    Source,
    SqlToken,
    closing,
    names_given,
    read_selects,
    read_tokens_of,
)

_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


@dataclass(frozen=True, kw_only=True, slots=True)
class SqlLiteral:
    """A text or number in the statement, and what it is compared with."""

    position: int
    value: str
    is_text: bool
    operator: str = ""
    """As seen from the column: `=`, `<`, `in`, `like`, `between`; empty when it is compared with nothing."""
    column: tuple[str, str] | None = None
    function: str = ""
    """What is around the column."""
    is_negated: bool = False

    @property
    def number(self) -> float | None:
        return read_number(self.value)


@dataclass(slots=True)
class SqlStatement:
    """A statement, as far as checks look into it."""

    sql: str
    tokens: tuple[SqlToken, ...]
    selects: tuple[Select, ...]
    links: SchemaLinks
    columns: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Which column a token names, by its position."""
    literals: list[SqlLiteral] = field(default_factory=list)
    calls: list[tuple[int, str]] = field(default_factory=list)
    """Functions, with the position of their name."""
    unknown: list[int] = field(default_factory=list)
    """Names that are neither tables nor columns nor given."""

    @classmethod
    def read(cls, sql: str, links: SchemaLinks) -> SqlStatement:
        tokens = read_tokens_of(sql)
        statement = cls(sql=sql, tokens=tokens, selects=read_selects(tokens), links=links)
        statement._name()
        statement._compare()
        return statement

    def select_of(self, position: int) -> Select:
        """The innermost select that a token stands in."""
        inside = [select for select in self.selects if select.holds(position)]
        return max(inside, key=lambda select: select.depth, default=self.selects[0])

    def source_of(self, position: int) -> str:
        """What the table of a column is called in its FROM clause; empty where that is not known."""
        table, _ = self.columns[position]
        if self.tokens[position - 1].is_mark("."):
            return self.tokens[position - 2].text
        named = [one.alias for one in self.select_of(position).sources if one.table.lower() == table.lower()]
        return named[0] if len(named) == 1 else ""

    def outputs(self, select: Select) -> list[tuple[int, int]]:
        """First token and the one after the last of everything that a select shows."""
        first, end = select.clauses["select"]
        if first < end and self.tokens[first].is_word("distinct", "all"):
            first += 1
        cuts = [
            at for at in range(first, end) if self.tokens[at].is_mark(",") and self.tokens[at].depth == select.depth
        ]
        return [(one + 1, two) for one, two in zip([first - 1, *cuts], [*cuts, end], strict=True)]

    def arguments(self, call: int) -> range:
        """The tokens of a call, its name first."""
        return range(call, closing(self.tokens, call + 1, len(self.tokens)))

    def columns_in(self, positions: Iterable[int]) -> set[tuple[str, str]]:
        """The columns that these tokens name."""
        return {self.columns[at] for at in positions if at in self.columns}

    def is_distinct(self, position: int) -> bool:
        """Whether the call at a position counts every value once."""
        return position + 2 < len(self.tokens) and self.tokens[position + 2].is_word("distinct")

    def text(self, first: int, end: int) -> str:
        """The statement's text from a token up to another."""
        return self.sql[self.tokens[first].start : self.tokens[end - 1].end] if first < end else ""

    def has(self, *words: str) -> bool:
        return any(token.is_word(*words) for token in self.tokens)

    def order(self, select: Select) -> tuple[int, int, bool] | None:
        """The first thing that a select is sorted by (tokens), and whether the largest comes first; None without."""
        if "order" not in select.clauses:
            return None
        first, end = select.clauses["order"]
        first += 1  # BY
        for at in range(first, end):
            if self.tokens[at].depth == select.depth and self.tokens[at].is_mark(","):
                end = at
                break
        falls = self.tokens[end - 1].is_word("desc")
        while first < end and self.tokens[end - 1].is_word("desc", "asc", "nulls", "first", "last"):
            end -= 1
        return (first, end, falls) if first < end else None

    def operators(self) -> set[str]:
        found = {literal.operator for literal in self.literals}
        return found | {token.text for token in self.tokens if token.is_mark("<", ">", "<=", ">=")}

    def count_ranks(self, direction: str) -> int:
        """How often the statement looks for the largest (`desc`) or the smallest."""
        name = "max" if direction == "desc" else "min"
        count = sum(call == name for _, call in self.calls)
        for select in self.selects:
            order = self.order(select)
            if order is not None and "limit" in select.clauses:
                count += order[2] == (direction == "desc")
        return count

    def compared_columns(self) -> list[tuple[tuple[str, str], tuple[str, str]]]:
        """The different columns that are held to be equal."""
        tokens, columns = self.tokens, self.columns
        found = []
        for at, token in enumerate(tokens):
            if token.is_mark("=", "==") or token.is_word("in"):
                left = columns.get(at - 1) if not tokens[at - 1].is_word("not") else columns.get(at - 2)
                right = self._right_of(at)
                if left is not None and right is not None and left != right:
                    found.append((left, right))
        return found

    def _right_of(self, at: int) -> tuple[str, str] | None:
        """The column on the right of a comparison: named there, or the only thing that a select in its place shows."""
        tokens, columns = self.tokens, self.columns
        if at + 2 < len(tokens) and tokens[at + 1].is_mark("(") and tokens[at + 2].is_word("select"):
            first = at + 3 + tokens[at + 3].is_word("distinct")
        else:
            first = at + 1
        if first + 2 < len(tokens) and tokens[first + 1].is_mark("."):
            first += 2
        return columns.get(first)

    def outer(self) -> list[Select]:
        least = min(select.depth for select in self.selects if select.parent is None)
        return [select for select in self.selects if select.parent is None and select.depth == least]

    def shown_positions(self) -> set[int]:
        """The tokens of what the outermost selects show, without those of selects inside."""
        found: set[int] = set()
        for select in self.outer():
            first, end = select.clauses["select"]
            found |= {at for at in range(first, end) if self.select_of(at) is select}
        return found

    def table_of(self, source: Source) -> str:
        """The table of a source as it is known; empty for a select in parentheses."""
        table = self._table(source.table)
        return table.name if table is not None else ""

    # -- reading it

    def _name(self) -> None:
        given = names_given(self.tokens)
        sources = {at for select in self.selects for source in select.sources for at in source.positions}
        aliases = {source.alias.lower() for select in self.selects for source in select.sources}
        for at, token in enumerate(self.tokens):
            after = self.tokens[at + 1] if at + 1 < len(self.tokens) else None
            before = self.tokens[at - 1] if at else None
            if token.kind == "word" and after is not None and after.is_mark("(") and token.text not in KEYWORDS:
                self.calls.append((at, token.text))
                continue
            if not token.is_name or at in sources or (before is not None and before.is_word("as")):
                continue
            if after is not None and after.is_mark("."):
                continue
            qualifier = self.tokens[at - 2].text if before is not None and before.is_mark(".") else ""
            found = self._resolve(at, token.text, qualifier)
            if found is not None:
                self.columns[at] = found
            elif qualifier and qualifier.lower() in aliases:
                continue  # of a select in parentheses, or wrong: SQLite says
            elif token.text not in given and token.text.lower() not in {one.lower() for one in given}:
                self.unknown.append(at)

    def _resolve(self, at: int, name: str, qualifier: str) -> tuple[str, str] | None:
        select: Select | None = self.select_of(at)
        while select is not None:
            for source in select.sources:
                if qualifier and source.alias.lower() != qualifier.lower():
                    continue
                table = self._table(source.table)
                column = (
                    next((one for one in table.columns if one.name.lower() == name.lower()), None) if table else None
                )
                if table is not None and column is not None:
                    return table.name, column.name
            select = select.parent
        return None

    def _table(self, name: str) -> LinkedTable | None:
        return next((table for known, table in self.links.tables.items() if known.lower() == name.lower()), None)

    def _compare(self) -> None:
        for at, token in enumerate(self.tokens):
            is_text = token.kind == "text" or (token.kind == "name" and at in self.unknown)
            if is_text or token.kind == "number":
                operator, column, function, is_negated = self._compared(at)
                self.literals.append(
                    SqlLiteral(
                        position=at,
                        value=token.text,
                        is_text=is_text,
                        operator=operator,
                        column=column,
                        function=function,
                        is_negated=is_negated,
                    )
                )

    def _compared(self, at: int) -> tuple[str, tuple[str, str] | None, str, bool]:
        """What a literal is compared with, and how."""
        tokens = self.tokens
        before = at - 1
        after = tokens[at + 1] if at + 1 < len(tokens) else None
        if after is not None and after.is_mark(*COMPARES) and at + 2 < len(tokens):
            end = at + 2
            while end + 2 < len(tokens) and tokens[end + 1].is_mark("."):
                end += 2
            if end in self.columns:
                return _FLIPPED.get(after.text, after.text), self.columns[end], "", after.is_mark("<>", "!=")
        while before > 0 and (tokens[before].is_mark(",") or tokens[before].kind in ("text", "number", "name")):
            if not tokens[before].is_mark(",") and not tokens[before + 1].is_mark(","):
                break
            before -= 1
        if tokens[before].is_mark("(") and before and tokens[before - 1].is_word("in"):
            negated = tokens[before - 2].is_word("not")
            return "in", *self._operand(before - 2 - negated), negated
        before = at - 1
        if tokens[before].is_word("and"):  # ... BETWEEN 1 AND 2
            first = next(
                (at for at in range(before - 1, max(0, before - 4), -1) if tokens[at].is_word("between")), None
            )
            if first is not None:
                before = first
        if tokens[before].is_word("like", "between"):
            negated = tokens[before - 1].is_word("not")
            return tokens[before].text, *self._operand(before - 1 - negated), negated
        if tokens[before].is_mark(*COMPARES):
            return tokens[before].text, *self._operand(before - 1), tokens[before].is_mark("<>", "!=")
        return "", None, self._around(at), False

    def _operand(self, at: int) -> tuple[tuple[str, str] | None, str]:
        """The column that ends at a token, and the function around it."""
        if at in self.columns:
            return self.columns[at], ""
        if at > 0 and self.tokens[at].is_mark(")"):
            depth = self.tokens[at].depth
            first = next(
                (
                    one
                    for one in range(at - 1, -1, -1)
                    if self.tokens[one].is_mark("(") and self.tokens[one].depth == depth
                ),
                at,
            )
            inside = [self.columns[one] for one in range(first, at) if one in self.columns]
            return (inside[0] if len(set(inside)) == 1 else None), self._function(first)
        return None, ""

    def _around(self, at: int) -> str:
        """The innermost function that a token is an argument of."""
        depth = self.tokens[at].depth
        for one in range(at - 1, 0, -1):
            if self.tokens[one].is_mark("(") and self.tokens[one].depth == depth - 1:
                return self._function(one)
        return ""

    def _function(self, opening: int) -> str:
        """The function whose arguments a parenthesis opens; "(" where it opens those of none."""
        before = self.tokens[opening - 1] if opening else None
        named = before is not None and before.kind == "word" and before.text in FUNCTIONS | {"cast"}
        return before.text if before is not None and named else "("


def read_number(text: str) -> float | None:
    """Return the number that a text is; None for any other."""
    return float(text) if re.fullmatch(r"\d{1,18}(?:\.\d{1,18})?", text) else None
