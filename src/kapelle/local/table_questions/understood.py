"""What a question to tables was understood as, before and after it is written: nothing changes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kapelle.language import split_words, stem

from .read import Mention, Words
from .schema_links import LinkedColumn, LinkedTable, SchemaLinks, ValueLink


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a table: the one that `label` calls `value`."""

    table: str
    label: str
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell(Row):
    """One cell of a row."""

    column: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TablePlan:
    """A question as SQL."""

    sql: str
    understood: str
    """How the question was understood, for people to check."""
    tables: tuple[str, ...]
    """The tables that it reads."""
    cell: Cell | None = None
    """Set when the question asks for one column of one named row."""
    claim: str = ""
    """What the first column of the result has, by the second: "the most rivers"; empty for other questions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NotUnderstood:
    """Why a question was not turned into SQL."""

    reason: str
    readings: tuple[TablePlan, ...] = ()
    """What it could mean, where a few things are left and nothing says which."""


Operand = float | str | bool
"""A number; whether a column of yes and no says yes; the first day of a date, or the first one after it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedColumn:
    """A column that the question speaks of, before it is known of which table."""

    text: str
    columns: tuple[LinkedColumn, ...] = ()
    concepts: frozenset[str] = frozenset()
    unit: str = ""
    """The unit that the question names: it tells an area from a population."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    wanted: WantedColumn | None
    """None is the only column of dates that the table has."""
    operator: str
    operands: tuple[Operand, ...]
    unit: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Superlative:
    direction: str
    wanted: WantedColumn | None
    """The number that ranks; None ranks by how many rows of `counted` there are."""
    limit: int | None
    counted: Mention


@dataclass(frozen=True, kw_only=True, slots=True)
class Understood:
    """What is asked of which table. The fields are those of `Asked`, where they are found."""

    links: SchemaLinks
    words: Words
    chosen: object
    target: LinkedTable
    filters: Sequence[Filter]
    negated: Sequence[Mention]
    superlative: Superlative | None
    order: tuple[WantedColumn, str] | None
    aggregate: tuple[str, WantedColumn] | None
    group: WantedColumn | None
    counts: bool
    different: WantedColumn | None
    asks_for_one_number: bool
    outputs: Sequence[WantedColumn]
    values: Sequence[tuple[Mention, str]]
    bound: Mapping[int, tuple[ValueLink, ...]]


def take(*mentions: Mention) -> WantedColumn:
    """Mark these as used, and return the column that the last of them names."""
    for mention in mentions:
        mention.used = True
    return WantedColumn(text=mentions[-1].text, columns=mentions[-1].columns)


def candidates(wanted: WantedColumn, table: LinkedTable, chosen: object) -> list[LinkedColumn]:
    """Return the columns of a table that are meant; `chosen` is the one where several could be."""
    exact = [column for column in wanted.columns if column.table == table.name]
    found = exact or [column for column in table.columns if column.concepts & wanted.concepts]
    found = [column for column in found if wanted.concepts and column.is_number] or found
    found = [column for column in found if wanted.unit and column.unit == wanted.unit] or found
    found = [column for column in found if column is chosen] or found
    stems = tuple(stem(word) for word in split_words(wanted.text))
    return [column for column in found if column.stems == stems] or found
