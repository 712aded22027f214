"""A statement and the question it was written for, side by side, and what the tables hold: all that checks read."""

from __future__ import annotations

from dataclasses import dataclass, field

from kapelle.errors import RefusedQuery
from kapelle.language import plain, split_words, word_set
from kapelle.local.table_questions import (
    LINKING_SECONDS,
    MIN_OVERLAP,
    LinkedColumn,
    LinkedTable,
    SchemaLinks,
    ValueLink,
)
from kapelle.tools import TableResult, Tables, quote_name, quote_value

from .asked_words import AskedQuestion
from .statement import SqlLiteral, SqlStatement

MAX_COMPARISONS = 400
"""Of the values of two columns, for one statement; a slow one counts as SLOW_COMPARISON. The rest is refused."""
SLOW_COMPARISON = 100
KNOWN_SHARE = 0.9
"""A column holds the names of a table's things if so much of its values are names there."""
SAYS_YES = word_set("yes true y t 1")
SAYS_NO = word_set("no false n f 0")


@dataclass
class SelectCase:
    """One statement for one question."""

    statement: SqlStatement
    asked: AskedQuestion
    links: SchemaLinks
    held: Contents
    read: frozenset[str] = frozenset()
    """The tables that the statement reads, as SQLite tells."""
    changes: dict[int, str] = field(default_factory=dict)
    """What stands in the place of a token, by its position."""
    notes: list[str] = field(default_factory=list)
    """What was mended."""

    def final(self, literal: SqlLiteral) -> str:
        changed = self.changes.get(literal.position)
        return changed[1:-1].replace("''", "'") if changed is not None and changed.startswith("'") else literal.value

    def likes(self) -> list[str]:
        return [literal.value.strip("%; ") for literal in self.statement.literals if literal.operator == "like"]

    def reads_things_of(self, table: LinkedTable) -> bool:
        """Whether it uses a column of another table that holds the names of this one's things."""
        pure = [one for one in map(self.links.tables.get, self.read) if one is not None and len(one.columns) == 2]
        if any(self.held.names_things((one.name, column.name), table.name) for one in pure for column in one.columns):
            return True
        return any(self.held.names_things(column, table.name) for column in set(self.statement.columns.values()))

    def holds_named(self, column: tuple[str, str]) -> bool:
        """Whether a column holds the names of the things that a table is about which the question names."""
        return any(self.held.names_things(column, table) for table in self.asked.tables)

    def is_asked(self, column: tuple[str, str]) -> bool:
        """Whether the question asks for a column: by its name, or as what names the things of a table it names."""
        table, name = column
        if column in self.asked.columns:
            alike = {other[0] for other in self.asked.columns if other[1] == name and other[0] != table}
            if not alike or table in self.asked.tables or self._is_about(table):
                return True
        if self.held.label(table) == name and table in self.asked.tables:
            return True
        return self.holds_named(column)

    def _is_about(self, table: str) -> bool:
        """Whether a table is about a thing that the question names: its label is compared with a value or column so."""
        label = (table, self.held.label(table) or "")
        if any(one.column == label and one.operator in ("=", "==", "in") for one in self.statement.literals):
            return True
        pairs = self.statement.compared_columns()
        return any({one, two} - {label} <= self.asked.columns for one, two in pairs if label in (one, two))

    def negates(self) -> bool:
        tokens = self.statement.tokens
        if self.statement.has("except") or any(token.is_mark("<>", "!=") for token in tokens):
            return True
        for at, token in enumerate(tokens):
            if token.is_word("not") and not tokens[at - 1].is_word("is"):
                return True
            if token.is_word("null") and tokens[at - 1].is_word("is"):
                return True
        return any(
            plain(literal.value) in SAYS_NO and literal.column in self.asked.columns
            for literal in self.statement.literals
        )


class Contents:
    """Answers from the tables, for one statement. What takes too long to tell is not so."""

    def __init__(self, tables: Tables, links: SchemaLinks) -> None:
        self.tables = tables
        self.links = links
        self._comparisons = 0
        self._overlaps: dict[tuple[tuple[str, str], tuple[str, str]], tuple[int, int, int]] = {}

    def linked(self, column: tuple[str, str]) -> LinkedColumn | None:
        table = self.links.tables.get(column[0])
        return table.column(column[1]) if table is not None else None

    def label(self, table: str) -> str | None:
        linked = self.links.tables.get(table)
        return linked.label.name if linked is not None and linked.label is not None else None

    def links_of(self, value: str) -> tuple[ValueLink, ...]:
        return self.links.values.get(tuple(split_words(value)), ())

    def stored(self, column: tuple[str, str], value: str) -> str | None:
        """A value as a column holds it, however it is spelt here; None where it holds none like it."""
        table, name = map(quote_name, column)
        found = self.query(f"SELECT {name} FROM {table} WHERE {name} = {quote_value(value)}", 1)  # noqa: S608 - quoted
        if found is not None and found.rows:
            return value
        alike = {link.value for link in self.links_of(value) if (link.column.table, link.column.name) == column}
        return alike.pop() if len(alike) == 1 else None

    def names_things(self, column: tuple[str, str], table: str) -> bool:
        """Whether a column holds the names of the things that a table is about."""
        label = (table, self.label(table) or "")
        if column == label:
            return True
        if any(
            {(one.table, one.name) for one in (join.column, join.to)} == {column, label} for join in self.links.joins
        ):
            return True
        shared, values, _ = self._shared(column, label)
        return values > 1 and shared >= KNOWN_SHARE * values

    def hold_same(self, column: tuple[str, str], other: tuple[str, str]) -> bool:
        shared, one, two = self._shared(column, other)
        return 0 < shared >= MIN_OVERLAP * min(one, two)

    def _shared(self, column: tuple[str, str], other: tuple[str, str]) -> tuple[int, int, int]:
        """How many different values two columns share, and how many each has; none where that cannot be told."""
        if not other[1]:
            return 0, 0, 0
        if (column, other) not in self._overlaps:
            one = f"SELECT DISTINCT {quote_name(column[1])} AS value FROM {quote_name(column[0])}"  # noqa: S608 - quoted
            two = f"SELECT DISTINCT {quote_name(other[1])} AS value FROM {quote_name(other[0])}"  # noqa: S608 - quoted
            self._comparisons += 1
            found = (
                None
                if self._comparisons > MAX_COMPARISONS
                else self.query(
                    f"SELECT (SELECT count(value) FROM ({one}) WHERE value IN ({two})), "  # noqa: S608 - quoted
                    f"(SELECT count(value) FROM ({one})), (SELECT count(value) FROM ({two}))",
                    1,
                )
            )
            if found is None:  # it takes too long, and others would
                self._comparisons += SLOW_COMPARISON
            shared, first, second = found.rows[0] if found is not None else (0, 0, 0)
            self._overlaps[column, other] = int(shared), int(first), int(second)
        return self._overlaps[column, other]

    def is_unique(self, column: tuple[str, str]) -> bool:
        table, name = map(quote_name, column)
        found = self.query(f"SELECT count({name}) = count(DISTINCT {name}) FROM {table}", 1)  # noqa: S608 - quoted
        return found is not None and bool(found.rows[0][0])

    def has_nulls(self, column: tuple[str, str]) -> bool:
        table, name = map(quote_name, column)
        found = self.query(f"SELECT 1 FROM {table} WHERE {name} IS NULL", 1)  # noqa: S608 - quoted
        return found is None or bool(found.rows)

    def holds_numbers(self, column: tuple[str, str]) -> bool:
        """Whether a column of texts holds plain numbers alone, so that a CAST makes up none."""
        table, name = map(quote_name, column)
        found = self.query(
            f"SELECT 1 FROM {table} WHERE {name} IS NOT NULL "  # noqa: S608 - quoted
            f"AND trim({name}) NOT IN (CAST(CAST({name} AS INTEGER) AS TEXT), CAST(CAST({name} AS REAL) AS TEXT))",
            1,
        )
        return found is not None and not found.rows

    def query(self, sql: str, most: int) -> TableResult | None:
        try:
            return self.tables.query(sql, max_rows=most, timeout_s=LINKING_SECONDS)
        except RefusedQuery:
            return None

    def same_thing(self, column: tuple[str, str]) -> str:
        """A name that columns share which hold the same things: their own, or that of the column they join."""
        joined = {column[1]}
        for join in self.links.joins:
            pair = {(join.column.table, join.column.name), (join.to.table, join.to.name)}
            if column in pair:
                joined |= {name for _, name in pair}
        return min(joined)

    def names_rows(self, label: tuple[str, str]) -> bool:
        return self.links.tables[label[0]].repeats or self.is_unique(label)
