"""What a question to tables was understood as. Says nothing of how: see table_questions."""

from __future__ import annotations

from dataclasses import dataclass


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
