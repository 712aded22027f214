"""The parts that every statement is written from: columns of the table that is meant, what is counted, the sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kapelle.tools import quote_name, quote_value

from .read import Unsure
from .schema_links import LinkedColumn, LinkedTable, ValueLink
from .understood import TablePlan, Understood, WantedColumn, candidates

Found = list[tuple[str, str]]
"""Conditions as SQL and as words; without words where others say it already."""
AGGREGATE_NAMES = {"avg": "average", "sum": "total", "max": "largest value", "min": "smallest value"}


@dataclass
class Writing:
    """What was understood, and what of the tables was used to write it."""

    meant: Understood
    used: list[LinkedColumn] = field(default_factory=list)
    read: set[str] = field(default_factory=set)

    def own(self, wanted: WantedColumn) -> LinkedColumn:
        column = self.column(wanted, self.meant.target)
        if column is None:
            raise Unsure(f"The table {self.meant.target.name!r} has no column for {wanted.text!r}.")
        self.used.append(column)
        return column

    def column(self, wanted: WantedColumn, table: LinkedTable) -> LinkedColumn | None:
        found = candidates(wanted, table, self.meant.chosen)
        if len(found) > 1:
            names = " or ".join(repr(column.name) for column in found)
            raise Unsure(f"{wanted.text!r} could mean {names}. Say which.", found)
        return found[0] if found else None

    def measure(self, function: str, wanted: WantedColumn) -> LinkedColumn:
        column = self.own(wanted)
        if not column.is_measure:
            raise Unsure(f"{column.name!r} holds no numbers to calculate with.")
        if function in ("sum", "avg") and column.stems[0] in ("averag", "average", "avg", "mean", "median"):
            raise Unsure(f"{column.name!r} holds averages already, which have no {AGGREGATE_NAMES[function]}.")
        ways = ("different", "rows") if self.meant.group is None else ()  # it may stand in one group twice
        table = self.meant.target
        if table.repeats and function in ("sum", "avg") and self.meant.chosen not in ways:
            said = f"A thing stands in several rows of {table.name!r}, so its {column.name} would count twice."
            raise Unsure(f"{said} Ask for that of one thing, or send SQL.", ways)
        return column

    def counted(self, prefix: str = "") -> str:
        table = self.meant.target
        if table.may_repeat and self.meant.chosen not in ("different", "rows"):
            said = f"A name stands in several rows of {table.name!r}. Ask for the different ones, or the rows."
            raise Unsure(said, ("different", "rows"))
        if (table.repeats or self.meant.chosen == "different") and table.label is not None:
            return f"count(DISTINCT {prefix}{quote_name(table.label.name)})"
        return "count(*)"

    def done(
        self, select: str, found: Found, what: str, tail: str = "", ending: str = "", source: str = ""
    ) -> TablePlan:
        sql = f"SELECT {select} FROM {quote_name(source or self.meant.target.name)}{where_sql(found)}{tail}"  # noqa: S608
        return self.planned(sql, f"{what} {self.meant.target.name}{where_words(found)}{ending}")

    def planned(self, sql: str, meant: str, claim: str = "") -> TablePlan:
        understood = meant[0].upper() + meant[1:] + "."
        return TablePlan(sql=sql, understood=understood, tables=tuple(sorted(self.read)), claim=claim)


def where_sql(found: Found) -> str:
    """Return the WHERE of a statement; empty without conditions."""
    return f" WHERE {' AND '.join(sql for sql, _ in found)}" if found else ""


def where_words(found: Found) -> str:
    """Return the conditions in words."""
    return f" where {' and '.join(words)}" if (words := [words for _, words in found if words]) else ""


def value_condition(links: Sequence[ValueLink]) -> str:
    """Return what a column must be to have one of these values."""
    column = links[0].column
    name = quote_name(column.name)
    if column.holds_lists:
        parts = [f"instr('; ' || {name} || ';', {quote_value(f'; {link.value};')}) > 0" for link in links]
        return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"
    if len(links) == 1:
        return f"{name} = {quote_value(links[0].value)}"
    return f"{name} IN ({', '.join(quote_value(link.value) for link in links)})"
