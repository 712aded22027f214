"""Turns plain questions about tables into SQL by rules: no model, and no guess.

Three steps: read (every word becomes a table, a column, a value, a number or a phrase that asks for something), resolve
(which table the question is about, which columns and joins its words mean there), write (one SELECT, and a sentence
that says how the question was understood). A word that nothing accounts for, or that could mean two things, ends in a
refusal with the reason: a wrong figure is worse than none. Verbs and question words that carry a meaning of their own
must fit a column that is used. Filters through another table are written as `key IN (SELECT ...)`, so that no join
counts a row twice. Negation is of one value or one yes-or-no column. Not covered: nesting, arithmetic, relative dates.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence

from kapelle.language import split_words
from kapelle.tools import Tables

from .asked import Asked, find_all
from .read import Unsure, Words, read_words
from .schema_links import MAX_VALUE_WORDS, SchemaLinks, link_schema
from .target import find_target
from .understood import NotUnderstood, Row, TablePlan, Understood
from .write import write_plan

MAX_QUESTION_CHARS = 2_000
MAX_READINGS = 4


class TableQuestions:
    """Turns questions about these tables into SQL. Reads the tables at the first question, and when they change."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._lock = threading.Lock()
        self._generation = -1
        self._links: SchemaLinks | None = None

    def plan(self, question: str, *, values: Sequence[str] = ()) -> TablePlan | NotUnderstood:
        """Return the question as SQL, or the reason why it is not understood.

        `values` are texts in the question that are data: each is one value of the tables or nothing, and asks for
        nothing, whatever words it holds.
        """
        if len(question) > MAX_QUESTION_CHARS:
            return NotUnderstood(reason="The question is too long. Ask for one thing at a time.")
        links = self._linked()
        quoted = re.findall(r'["“]([^"“”]+)["”]', question)
        values = [*values, *(text for text in quoted if tuple(split_words(text)) in links.values)]
        try:
            return _plan(links, read_words(question, links, values))
        except Unsure as unsure:
            reason, options = (*unsure.args, ())[:2]
            options = options if 1 < len(options) <= MAX_READINGS else ()
        try:  # they are only told where each is a complete question
            ways = [_plan(links, read_words(question, links, values), option) for option in options]
        except Unsure:
            ways = []
        return NotUnderstood(reason=reason, readings=tuple(ways))

    def find_row(self, name: str) -> Row | None:
        """Return the row that a bare name is the label of: "the Danube"; None where none or several could be meant.

        A name in several tables means the row of the table that knows the most, if one does.
        """
        words = tuple(split_words(re.sub(r"^the\s+", "", name.strip(), flags=re.IGNORECASE)))
        links = self._linked()
        if not 0 < len(words) <= MAX_VALUE_WORDS or links.find_table(words) is not None:
            return None
        named = [(links.tables[link.column.table], link) for link in links.values.get(words, ())]
        named = [(table, link) for table, link in named if link.column == table.label and not table.repeats]
        named = [(table, link) for table, link in named if not link.column.holds_lists]
        most = max((len(table.columns) for table, _ in named), default=0)
        found = [link for table, link in named if len(table.columns) == most]
        row = [Row(table=link.column.table, label=link.column.name, value=link.value) for link in found]
        return row[0] if len(row) == 1 else None

    def codes(self) -> frozenset[str]:
        """Return the columns whose numbers are codes and years, which are no amounts."""
        columns = (one for table in self._linked().tables.values() for one in table.columns)
        return frozenset(one.name for one in columns if one.is_number and not one.is_measure)

    def _linked(self) -> SchemaLinks:
        with self._lock:
            if self._links is None or self._generation != self._tables.generation:
                self._links, self._generation = link_schema(self._tables), self._tables.generation
            return self._links


def _plan(links: SchemaLinks, words: Words, chosen: object = None) -> TablePlan:
    asked = Asked(links=links, words=words, chosen=chosen)
    find_all(asked)
    target = find_target(asked)
    return write_plan(Understood(target=target, **vars(asked)))
