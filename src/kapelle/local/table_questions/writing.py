"""The parts that every statement is written from: columns of the table that is meant, what is counted, the sentence."""

from __future__ import annotations

from dataclasses import dataclass, field

from kapelle.tools import quote_name

from .conditions import Found, where_sql, where_words
from .read import Unsure
from .schema_links import LinkedColumn, LinkedTable
from .table_plan import TablePlan
from .understood import Understood, Wanted, candidates

AGGREGATE_NAMES = {"avg": "average", "sum": "total", "max": "largest value", "min": "smallest value"}


@dataclass
class Writing:
    """What was understood, and what of the tables was used to write it."""

    meant: Understood
    used: list[LinkedColumn] = field(default_factory=list)
    read: set[str] = field(default_factory=set)

    def own(self, wanted: Wanted) -> LinkedColumn:
        column = self.column(wanted, self.meant.target)
        if column is None:
            raise Unsure(f"The table {self.meant.target.name!r} has no column for {wanted.text!r}.")
        self.used.append(column)
        return column

    def column(self, wanted: Wanted, table: LinkedTable) -> LinkedColumn | None:
        found = candidates(wanted, table, self.meant.chosen)
        if len(found) > 1:
            names = " or ".join(repr(column.name) for column in found)
            raise Unsure(f"{wanted.text!r} could mean {names}. Say which.", found)
        return found[0] if found else None

    def measure(self, function: str, wanted: Wanted) -> LinkedColumn:
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
