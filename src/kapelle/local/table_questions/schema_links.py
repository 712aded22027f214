"""Links words to what is really in the tables: their names, columns and values, and the columns that join them.

Everything here is read off the data: which column labels a row, which values a text column holds, which columns of two
tables hold the same things. Reads the tables once, and again when their files change. What would take too long is not
read: then the values of a table are not known by name, or no joins are, and questions that need them are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter

from kapelle.errors import RefusedQuery
from kapelle.language import CONCEPTS, DATE_WORDS, UNIT_SUFFIXES, VAGUE_HEADS, split_words, stem, stem_set
from kapelle.tools import Column, Table, Tables, quote_name

MAX_INDEXED_ROWS = 200_000
"""Of one table."""
MAX_INDEXED_CELLS = 2_000_000
"""Rows times columns of all tables whose values are known by name."""
MAX_INDEXED_VALUES = 200_000
MAX_INDEXED_CHARS = 1_000
"""Longer texts are nobody's name."""
MAX_JOIN_PAIRS = 20_000
LINKING_SECONDS = 1.0
"""For one query about a table's contents."""
MAX_VALUE_WORDS = 8
MIN_OVERLAP = 0.3
"""Columns of one name join two tables only if this share of the one's values occurs in the other."""
MIN_NAMES = 0.8
"""Of rows: with fewer different names, rows may be no things. A few namesakes are expected."""
_SEPARATOR = "; "
_FLAGS = (("yes", "no"), ("y", "n"), ("true", "false"), ("t", "f"), ("1", "0"))
_CODES = stem_set("id code no nr number num key sku zip phone postcode isbn ean uuid email")
_NAMES = stem_set("name title")
_DATE_HEADS = stem_set("date day on at time year")
# In a column of these names, whole numbers from 1000 to 2100 are years.
_YEAR_WORDS = stem_set("year founded built launched established born opened published released joined hired since")
_BIRTH = stem_set("born birth birthday")  # when somebody was born makes nobody new or old here
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d.*)?")


_Facts = tuple[int, int, float, float]
"""How many cells of a column are filled; of whole numbers also how many differ, the least and the most."""


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
    flag: tuple[str, str] = ("", "")
    """What yes and no are, in lower case, in a column that holds nothing else."""
    period: str = ""
    """`date` where all cells are ISO dates, `year` where they are years."""
    is_key: bool = False
    """Whether it comes first, is called as its table is, and numbers the rows: `order` of orders."""

    @property
    def is_number(self) -> bool:
        """Whether it can be compared."""
        return self.kind in ("integer", "real")

    @property
    def is_measure(self) -> bool:
        """Whether it can be summed and ranked: a number that is no year, and no code."""
        return self.is_number and not self.period and not self.is_code

    @property
    def is_code(self) -> bool:
        """Whether it tells rows apart and says nothing else."""
        return self.is_key or (self.name.lower() != "number" and self.stems[-1] in _CODES)


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
    may_repeat: bool = False
    """Whether nobody can tell: many names stand in several rows, which differ, and no code tells rows apart."""

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
    _tables_by_stems: dict[tuple[str, ...], LinkedTable] = field(default_factory=dict)
    _columns_by_stems: dict[tuple[str, ...], list[LinkedColumn]] = field(default_factory=dict)
    _columns_by_head: dict[str, list[tuple[int, LinkedColumn]]] = field(default_factory=dict)
    _columns_by_concept: dict[str, list[tuple[int, LinkedColumn]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for table in self.tables.values():
            self._tables_by_stems.setdefault(table.stems, table)
        columns = (column for table in self.tables.values() for column in table.columns)
        for position, column in enumerate(columns):
            self._columns_by_stems.setdefault(column.stems, []).append(column)
            if column.period and len(column.stems) > 1 and column.stems[-1] in _DATE_HEADS:
                self._columns_by_stems.setdefault(column.stems[:-1], []).append(column)  # "hired" is hire_date
            if len(column.stems) > 1:
                self._columns_by_head.setdefault(column.stems[-1], []).append((position, column))
            for concept in column.concepts:
                self._columns_by_concept.setdefault(concept, []).append((position, column))

    def find_table(self, words: tuple[str, ...]) -> LinkedTable | None:
        """Return the table that these words name, or None."""
        return self._tables_by_stems.get(tuple(stem(word) for word in words))

    def find_columns(self, words: tuple[str, ...]) -> tuple[LinkedColumn, ...]:
        """Return the columns that these words name: in full, by their last word, or by a synonym of it."""
        stems = tuple(stem(word) for word in words)
        found = dict.fromkeys(self._columns_by_stems.get(stems, ()))
        if len(stems) == 1:
            more: list[tuple[int, LinkedColumn]] = []
            if stems[0] not in VAGUE_HEADS:
                more += self._columns_by_head.get(stems[0], ())
            for concept, known in CONCEPTS.items():
                if stems[0] in known:
                    more += self._columns_by_concept.get(concept, ())
            found.update(dict.fromkeys(column for _, column in sorted(more, key=itemgetter(0))))
        return tuple(found)

    def join(self, table: str, other: str) -> Join | None:
        """Return the one way to get from a table to another, or None when there is none or more than one."""
        ways = [join for join in self.joins if join.column.table == table and join.to.table == other]
        return ways[0] if len(ways) == 1 else None


def link_schema(tables: Tables) -> SchemaLinks:
    """Read the tables, and return what words can be linked to."""
    with tables.held():
        return _link(tables)


def _link(tables: Tables) -> SchemaLinks:
    linked: dict[str, LinkedTable] = {}
    values: dict[tuple[str, ...], dict[tuple[str, str, str], ValueLink]] = {}
    contents: dict[tuple[str, str], frozenset[str]] = {}
    unique: set[tuple[str, str]] = set()
    cells_left, values_left = MAX_INDEXED_CELLS, MAX_INDEXED_VALUES
    for table in tables.tables:
        cells = table.rows * len(table.columns)
        facts: dict[str, _Facts] = {}
        held: dict[str, tuple[str, ...]] = {}
        if table.rows <= MAX_INDEXED_ROWS and cells <= cells_left:
            cells_left -= cells
            facts = _column_facts(tables, table)
            held = _held(tables, table, facts, values_left)
            values_left -= sum(map(len, held.values()))
        columns = tuple(_link_column(table, one, held.get(one.name, ()), facts.get(one.name)) for one in table.columns)
        for column in columns:
            distinct = held.get(column.name, ())
            contents[table.name, column.name] = frozenset(distinct)
            if distinct and len(distinct) == facts[column.name][0]:
                unique.add((table.name, column.name))
            for value in distinct:
                for part in value.split(_SEPARATOR) if column.holds_lists else (value,):
                    words = tuple(split_words(part))
                    if 0 < len(words) <= MAX_VALUE_WORDS:
                        links = values.setdefault(words, {})
                        links.setdefault((table.name, column.name, part), ValueLink(column=column, value=part))
        codes = [one for one in columns if one.is_code and one.name in facts and facts[one.name][1] == table.rows]
        keys = [one for one in columns if (table.name, one.name) in unique] + codes
        label = _label(table, columns, keys)
        repeats = label is not None and label not in keys and _repeats(tables, table, label, columns)
        stems = _name_stems(table.name)
        names = len(held.get(label.name, ())) if label is not None and not keys and not repeats else 0
        is_thing = label is not None and (label.stems == stems or label.stems[-1] in _NAMES)
        linked[table.name] = LinkedTable(
            name=table.name,
            stems=stems,
            columns=columns,
            label=label,
            repeats=repeats,
            may_repeat=is_thing and 0 < names < MIN_NAMES * table.rows,
        )
    return SchemaLinks(
        tables=linked,
        values={words: tuple(links.values()) for words, links in values.items()},
        joins=tuple(_joins(linked, contents, unique)),
    )


def _name_words(name: str) -> list[str]:
    return split_words(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " "))


def _name_stems(name: str) -> tuple[str, ...]:
    return tuple(map(stem, _name_words(name)))


def _link_column(table: Table, column: Column, distinct: tuple[str, ...], facts: _Facts | None) -> LinkedColumn:
    words = _name_words(column.name)
    unit = words.pop() if len(words) > 1 and words[-1] in UNIT_SUFFIXES else ""
    stems, table_stems = tuple(map(stem, words)), _name_stems(table.name)
    if len(stems) > len(table_stems) and stems[: len(table_stems)] == table_stems:
        stems = stems[len(table_stems) :]  # mountain.mountain_altitude is the altitude of a mountain
    known = {value.lower() for value in distinct}
    flag = next((pair for pair in _FLAGS if known and known <= set(pair)), ("", ""))
    period = "date" if distinct and all(map(_ISO_DATE.fullmatch, distinct)) else ""
    if column.kind == "integer" and facts is not None:
        flag = ("1", "0") if facts[2:] == (0, 1) else flag
        is_year = facts[2] >= 1000 and facts[3] <= 2100 and not _YEAR_WORDS.isdisjoint(stems)
        period = "year" if is_year else ""
    concepts = {concept for concept, words in CONCEPTS.items() if stems[-1:] and stems[-1] in words}
    return LinkedColumn(
        table=table.name,
        name=column.name,
        kind=column.kind,
        stems=stems or ("",),
        unit=unit,
        concepts=frozenset(concepts | ({"date"} if period and _BIRTH.isdisjoint(stems) else set())),
        holds_lists=any(_SEPARATOR in value for value in distinct),
        is_key=column == table.columns[0] and stems == table_stems and facts is not None and facts[1] == table.rows,
        flag=flag,
        period=period,
    )


def _label(table: Table, columns: tuple[LinkedColumn, ...], keys: list[LinkedColumn]) -> LinkedColumn | None:
    """Return what a row is called by: its name rather than its code, its code rather than what it is like."""
    texts = [one for one in columns if one.kind == "text" and not one.flag[0] and not one.period]
    stems = _name_stems(table.name)
    exact = [one for one in texts if one.stems in (stems, (stem("name"),)) or one.name == f"{table.name}_name"]
    called = [one for one in texts if one.stems[-1] in _NAMES and (one.stems[:-1] in ((), stems) or one == texts[0])]
    plain = [one for one in texts if one in keys and not one.is_code]
    codes = [one for one in columns if one in keys and one.is_code]
    return next(iter([*exact, *called, *plain, *codes, *texts]), None)


def _held(tables: Tables, table: Table, facts: dict[str, _Facts], most: int) -> dict[str, tuple[str, ...]]:
    """Return the different values of the text columns; none of a table that has too many or takes too long."""
    held: dict[str, tuple[str, ...]] = {}
    try:
        for column in table.columns:
            if column.kind == "text" and column.name in facts and facts[column.name][0]:
                name = quote_name(column.name)
                found = tables.query(
                    f"SELECT DISTINCT {name} FROM {quote_name(table.name)} "  # noqa: S608 - quoted
                    f"WHERE {name} IS NOT NULL AND length({name}) <= {MAX_INDEXED_CHARS}",
                    max_rows=most,
                    timeout_s=LINKING_SECONDS,
                )
                most -= len(found.rows)
                if found.truncated or most <= 0:
                    return {}
                held[column.name] = tuple(str(row[0]) for row in found.rows)
    except RefusedQuery:
        return {}
    return held


def _column_facts(tables: Tables, table: Table) -> dict[str, _Facts]:
    names = {one.name: quote_name(one.name) for one in table.columns}
    whole = [names[one.name] for one in table.columns if one.kind == "integer"]
    asked = [f"count({name})" for name in names.values()]
    asked += [f"count(DISTINCT {name}), ifnull(min({name}), 0), ifnull(max({name}), 0)" for name in whole]
    try:
        row = tables.query(
            f"SELECT {', '.join(asked)} FROM {quote_name(table.name)}",  # noqa: S608 - quoted
            timeout_s=LINKING_SECONDS,
        ).rows[0]
    except RefusedQuery:
        return {}
    more = iter(row[len(names) :])
    return {
        one.name: (filled, next(more), next(more), next(more)) if one.kind == "integer" else (filled, 0, 0, 0)
        for one, filled in zip(table.columns, row, strict=False)
    }


def _repeats(tables: Tables, table: Table, label: LinkedColumn, columns: tuple[LinkedColumn, ...]) -> bool:
    """Whether equal labels are one thing in several rows: then its numbers are equal too. Namesakes differ in them.

    Rows of different dates (of an order, a month) are things of their own, whatever numbers they have.
    """
    told_apart = [one for one in columns if one.is_number or DATE_WORDS.issuperset(one.stems)]
    name, source = quote_name(label.name), quote_name(table.name)
    pairs = ", ".join([name, *(quote_name(column.name) for column in told_apart)])
    try:
        row = tables.query(
            f"SELECT (SELECT count(*) FROM (SELECT DISTINCT {pairs} FROM {source})), "  # noqa: S608 - quoted
            f"(SELECT count(*) FROM (SELECT DISTINCT {name} FROM {source}))",
            timeout_s=LINKING_SECONDS,
        ).rows[0]
    except RefusedQuery:
        return True  # nobody knows: then no row of it is taken for a thing
    return bool(row[0] == row[1])


def _joins(
    tables: dict[str, LinkedTable], contents: dict[tuple[str, str], frozenset[str]], unique: set[tuple[str, str]]
) -> Iterator[Join]:
    pairs = list(islice(_pairs(tables), MAX_JOIN_PAIRS + 1))
    if len(pairs) > MAX_JOIN_PAIRS:
        return  # some of the joins would be worse than none: the one that is found must be the only one there is
    for column, to in pairs:
        to_one = (to.table, to.name) in unique
        if not to_one and (column.table, column.name) not in unique:
            continue  # neither side is a key: the join would multiply rows
        one, other = contents[column.table, column.name], contents[to.table, to.name]
        if one and other and len(one & other) >= MIN_OVERLAP * min(len(one), len(other)):
            yield Join(column=column, to=to, to_one=to_one)


def _pairs(tables: dict[str, LinkedTable]) -> Iterator[tuple[LinkedColumn, LinkedColumn]]:
    """Yield the pairs of text columns of two tables that may be the same key."""
    columns = [column for table in tables.values() for column in table.columns if column.kind == "text"]
    # Keys have one name (cities.country, rivers.country), or the one is called as the other's table is.
    named: dict[str | tuple[str, ...], list[LinkedColumn]] = {}
    for column in columns:
        named.setdefault(column.name, []).append(column)
        named.setdefault(column.stems, []).append(column)
    labels: dict[tuple[str, ...], list[LinkedColumn]] = {}
    for table in tables.values():
        if table.label is not None:
            labels.setdefault(table.stems, []).append(table.label)
    for column in columns:
        table = tables[column.table]
        others = [*named[column.name], *labels.get(column.stems, ())]
        if table.label == column:
            others += named.get(table.stems, ())
        yield from ((column, to) for to in dict.fromkeys(others) if to.table != column.table)
