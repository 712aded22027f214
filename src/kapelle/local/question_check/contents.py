"""What the tables hold, as far as a check asks: values however they are spelt, columns that hold the same things."""

from __future__ import annotations

from kapelle.errors import RefusedQuery
from kapelle.language import split_words
from kapelle.local.table_questions import LINKING_SECONDS, MIN_OVERLAP, LinkedColumn, SchemaLinks, ValueLink
from kapelle.tools import TableResult, Tables, quote_name, quote_value

MAX_COMPARISONS = 400
"""Of the values of two columns, for one statement; a slow one counts as SLOW_COMPARISON. The rest is refused."""
SLOW_COMPARISON = 100
KNOWN_SHARE = 0.9
"""A column holds the names of a table's things if so much of its values are names there."""


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
