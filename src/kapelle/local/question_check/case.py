"""A statement and the question it was written for, side by side: what every check reads of the two."""

from __future__ import annotations

from dataclasses import dataclass, field

from kapelle.language import plain, word_set
from kapelle.local.table_questions import LinkedTable, SchemaLinks

from .asked_words import AskedQuestion
from .contents import Contents
from .statement import SqlLiteral, Statement

SAYS_YES = word_set("yes true y t 1")
SAYS_NO = word_set("no false n f 0")


@dataclass
class SelectCase:
    """One statement for one question."""

    statement: Statement
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
