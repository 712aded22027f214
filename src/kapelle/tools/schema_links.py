"""Links words to what is really in the tables: their names, columns and values, and the columns that join them.

Everything here is read off the data: which column labels a row, which values a text column holds, which columns of two
tables hold the same things. Reads the tables once, and again when their files change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from kapelle.knowledge import split_words, stem

from .question_words import CONCEPTS, UNIT_SUFFIXES, VAGUE_HEADS
from .tables import Column, Table, Tables, quote_name

MAX_INDEXED_ROWS = 200_000
MAX_VALUE_WORDS = 8
LEAST_OVERLAP = 0.3
"""Columns of one name join two tables only if this share of the one's values occurs in the other."""
_SEPARATOR = "; "


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkedColumn:
    """A column of a table, in the words that name it."""

    table: str
    name: str
    kind: str
    stems: tuple[str, ...]
    unit: str
    concepts: frozenset[str]
    holds_lists: bool
    """Whether cells hold several values, apart by `; `."""

    @property
    def is_number(self) -> bool:
        """Whether it can be summed and compared."""
        return self.kind in ("integer", "real")


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkedTable:
    """A table, in the words that name it."""

    name: str
    stems: tuple[str, ...]
    columns: tuple[LinkedColumn, ...]
    label: LinkedColumn | None
    """The column that names a row."""
    repeats: bool
    """Whether a thing stands in several rows (a river once for each country): rows are then not things."""

    def column(self, name: str) -> LinkedColumn | None:
        """Return the column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueLink:
    """A value that a text column really holds."""

    column: LinkedColumn
    value: str
    """As it is stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Join:
    """Two columns that hold the same things; `to` holds each at most once if `to_one`."""

    column: LinkedColumn
    to: LinkedColumn
    to_one: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaLinks:
    """All that words can be linked to."""

    tables: dict[str, LinkedTable]
    values: dict[tuple[str, ...], tuple[ValueLink, ...]]
    joins: tuple[Join, ...]
    _by_stem: dict[tuple[str, ...], tuple[LinkedColumn, ...]] = field(default_factory=dict)

    def find_table(self, words: tuple[str, ...]) -> LinkedTable | None:
        """Return the table that these words name, or None."""
        stems = tuple(stem(word) for word in words)
        return next((table for table in self.tables.values() if table.stems == stems), None)

    def find_columns(self, words: tuple[str, ...]) -> tuple[LinkedColumn, ...]:
        """Return the columns that these words name: in full, by their last word, or by a synonym of it."""
        stems = tuple(stem(word) for word in words)
        columns = [column for table in self.tables.values() for column in table.columns]
        found = [column for column in columns if column.stems == stems]
        if len(stems) == 1:
            concepts = {concept for concept, known in CONCEPTS.items() if stems[0] in known}
            found += [
                column
                for column in columns
                if column not in found
                and (
                    (column.stems[-1:] == stems and stems[0] not in VAGUE_HEADS and len(column.stems) > 1)
                    or column.concepts & concepts
                )
            ]
        return tuple(found)

    def join(self, table: str, other: str, *, to_one: bool = False) -> Join | None:
        """Return the one way to get from a table to another, or None when there is none or more than one."""
        ways = [
            join
            for join in self.joins
            if join.column.table == table and join.to.table == other and (join.to_one or not to_one)
        ]
        return ways[0] if len(ways) == 1 else None


def link_schema(tables: Tables) -> SchemaLinks:
    """Read the tables, and return what words can be linked to."""
    linked: dict[str, LinkedTable] = {}
    values: dict[tuple[str, ...], list[ValueLink]] = {}
    contents: dict[tuple[str, str], frozenset[str]] = {}
    unique: set[tuple[str, str]] = set()
    for table in tables.tables:
        held = {column.name: _distinct(tables, table, column) for column in table.columns if column.kind == "text"}
        columns = tuple(_link_column(table, column, held.get(column.name, ())) for column in table.columns)
        filled = _filled_counts(tables, table, columns)
        for column in columns:
            distinct = held.get(column.name, ())
            contents[table.name, column.name] = frozenset(distinct)
            if distinct and len(distinct) == filled[column.name]:
                unique.add((table.name, column.name))
            for value in distinct:
                for part in value.split(_SEPARATOR) if column.holds_lists else (value,):
                    words = tuple(split_words(part))
                    link = ValueLink(column=column, value=part)
                    if 0 < len(words) <= MAX_VALUE_WORDS and link not in values.setdefault(words, []):
                        values[words].append(link)
        label = _label(table, columns)
        linked[table.name] = LinkedTable(
            name=table.name,
            stems=_name_stems(table.name),
            columns=columns,
            label=label,
            repeats=label is not None
            and (table.name, label.name) not in unique
            and _repeats(tables, table, label, columns),
        )
    return SchemaLinks(
        tables=linked,
        values={words: tuple(links) for words, links in values.items()},
        joins=tuple(_joins(linked, contents, unique)),
    )


def _name_stems(name: str) -> tuple[str, ...]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ")
    return tuple(stem(word) for word in split_words(spaced))


def _link_column(table: Table, column: Column, distinct: tuple[str, ...]) -> LinkedColumn:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column.name).replace("_", " ")
    words = split_words(spaced)
    unit = words.pop() if len(words) > 1 and words[-1] in UNIT_SUFFIXES else ""
    stems = tuple(stem(word) for word in words)
    table_stems = _name_stems(table.name)
    if len(stems) > len(table_stems) and stems[: len(table_stems)] == table_stems:
        stems = stems[len(table_stems) :]  # mountain.mountain_altitude is the altitude of a mountain
    lists = [value for value in distinct if _SEPARATOR in value]
    return LinkedColumn(
        table=table.name,
        name=column.name,
        kind=column.kind,
        stems=stems or ("",),
        unit=unit,
        concepts=frozenset(concept for concept, known in CONCEPTS.items() if stems[-1:] and stems[-1] in known),
        holds_lists=bool(lists),
    )


def _label(table: Table, columns: tuple[LinkedColumn, ...]) -> LinkedColumn | None:
    texts = [column for column in columns if column.kind == "text"]
    of_name = [
        column
        for column in texts
        if column.stems == _name_stems(table.name) or column.stems == ("name",) or column.name == f"{table.name}_name"
    ]
    return next(iter(of_name or texts), None)


def _distinct(tables: Tables, table: Table, column: Column) -> tuple[str, ...]:
    if table.rows > MAX_INDEXED_ROWS:
        return ()
    name = quote_name(column.name)
    found = tables.query(
        f"SELECT DISTINCT {name} FROM {quote_name(table.name)} WHERE {name} IS NOT NULL",  # noqa: S608 - quoted
        max_rows=MAX_INDEXED_ROWS,
        timeout_s=30,
    )
    return tuple(str(row[0]) for row in found.rows)


def _filled_counts(tables: Tables, table: Table, columns: tuple[LinkedColumn, ...]) -> dict[str, int]:
    counts = ", ".join(f"count({quote_name(column.name)})" for column in columns)
    row = tables.query(f"SELECT {counts} FROM {quote_name(table.name)}", timeout_s=30).rows[0]  # noqa: S608 - quoted
    return dict(zip((column.name for column in columns), row, strict=True))


def _repeats(tables: Tables, table: Table, label: LinkedColumn, columns: tuple[LinkedColumn, ...]) -> bool:
    """Whether equal labels are one thing in several rows: then its numbers are equal too. Namesakes differ in them."""
    numbers = [quote_name(column.name) for column in columns if column.is_number]
    name, source = quote_name(label.name), quote_name(table.name)
    pairs = ", ".join([name, *numbers])
    row = tables.query(
        f"SELECT (SELECT count(*) FROM (SELECT DISTINCT {pairs} FROM {source})), "  # noqa: S608 - quoted
        f"(SELECT count(*) FROM (SELECT DISTINCT {name} FROM {source}))",
        timeout_s=30,
    ).rows[0]
    return bool(row[0] == row[1])


def _joins(
    tables: dict[str, LinkedTable], contents: dict[tuple[str, str], frozenset[str]], unique: set[tuple[str, str]]
) -> Iterator[Join]:
    columns = [column for table in tables.values() for column in table.columns if column.kind == "text"]
    for column in columns:
        for to in columns:
            if column.table == to.table or not _same_key(column, to, tables):
                continue
            to_one = (to.table, to.name) in unique
            if not to_one and (column.table, column.name) not in unique:
                continue  # neither side is a key: the join would multiply rows
            one, other = contents[column.table, column.name], contents[to.table, to.name]
            if one and other and len(one & other) >= LEAST_OVERLAP * min(len(one), len(other)):
                yield Join(column=column, to=to, to_one=to_one)


def _same_key(one: LinkedColumn, other: LinkedColumn, tables: dict[str, LinkedTable]) -> bool:
    if one.name == other.name:
        return True
    # cities.country joins countries.name
    return any(
        label is not None and b.name == label.name and a.stems == tables[b.table].stems
        for a, b in ((one, other), (other, one))
        for label in (tables[b.table].label,)
    )
