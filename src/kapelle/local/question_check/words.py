"""Holds the words of a question against its statement: each must be used by it, and each table it reads spoken of."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from kapelle.language import Phrase, quote_text, stem
from kapelle.tools import quote_name, quote_value

from .asked_words import AskedSpan
from .case import SelectCase
from .statement import SqlLiteral, read_number


def find_unused_words(case: SelectCase) -> Iterator[str]:
    left = case.asked.unaccounted(partial(_accounts_for, case))
    if left:
        yield f"It does not use {', '.join(map(quote_text, left[:6]))} of the question."


def _accounts_for(case: SelectCase, span: AskedSpan) -> bool:
    statement = case.statement
    literals = {case.final(literal) for literal in statement.literals}
    if span.values & literals or any(value in literal for value in span.values for literal in case.likes()):
        return True
    if span.table is not None and (span.table.name in case.read or case.reads_things_of(span.table)):
        return True
    used = set(statement.columns.values())
    if any((column.table, column.name) in used for column in span.columns):
        return True
    if span.number is not None:
        return span.number in _numbers_used(case)
    if span.unit:
        return any(column is not None and column.unit == span.unit for column in map(case.held.linked, used))
    if span.phrase is not None:
        return _accounts_for_phrase(case, span)
    return span.is_stop


def _accounts_for_phrase(case: SelectCase, span: AskedSpan) -> bool:
    assert span.phrase is not None
    phrase, names = span.phrase, {name for _, name in case.statement.calls}
    named = {(one.table, one.name) for said in case.asked.spans if said.phrase is None for one in said.columns}
    has_concept = not phrase.concept or any(
        column.is_number and (column.concepts & set(phrase.concept.split()) or (column.table, column.name) in named)
        for column in map(case.held.linked, set(case.statement.columns.values()))
        if column is not None
    )
    operators = case.statement.operators()
    if phrase.kind == "count" and phrase.value == "different":
        return any(name == "count" and case.statement.is_distinct(at) for at, name in case.statement.calls)
    if phrase.kind == "count":
        return "count" in names or _uses_number_after(case, span)
    if phrase.kind == "aggregate":
        wanted = {"sum": {"sum", "count"}, "avg": {"avg"}}.get(phrase.value)
        return (
            bool(names & wanted)
            if wanted
            else case.statement.count_ranks("desc" if phrase.value == "max" else "asc") > 0
        )
    if phrase.kind in ("superlative", "top"):
        return case.statement.count_ranks(phrase.value) > 0 and has_concept
    if phrase.kind == "order":
        return case.statement.has("order")
    if phrase.kind == "direction":
        return case.statement.has("order") and case.statement.has("desc") == (phrase.value == "desc")
    if phrase.kind == "compare":
        return phrase.value.split()[-1] in operators and has_concept
    if phrase.kind == "when":  # the number is checked by itself
        return phrase.value == "=" or phrase.value in operators
    if phrase.kind == "verb":
        return _goes_with(case, phrase)
    if phrase.kind == "between":
        return "between" in operators or {">=", "<="} <= operators
    if phrase.kind == "how":
        return has_concept
    if phrase.kind == "per":
        return span.words == ("by",) or case.statement.has("group")
    if phrase.kind == "not":
        return case.negates()
    return "or" not in span.words or case.statement.has("or", "in", "union")


def _goes_with(case: SelectCase, phrase: Phrase) -> bool:
    """Whether a column or table that is used is of the kind that a verb goes with: "flows through" a country."""
    wanted = {stem(word) for word in phrase.concept.split()}
    if phrase.value or not wanted:
        return False
    for column in set(case.statement.columns.values()):
        linked = case.held.linked(column)
        if linked is not None and (
            wanted & {*linked.stems, *linked.concepts} or set(phrase.concept.split()) & linked.concepts
        ):
            return True
        if any(
            wanted & set(table.stems) and case.held.names_things(column, table.name)
            for table in case.links.tables.values()
        ):
            return True
    return False


def _uses_number_after(case: SelectCase, span: AskedSpan) -> bool:
    """Whether "how many" is about a column of numbers, as in "how many people live in"."""
    after = case.asked.find_after(span)
    used = set(case.statement.columns.values())
    return after is not None and any(one.is_number and (one.table, one.name) in used for one in after.columns)


def _numbers_used(case: SelectCase) -> set[float]:
    literals = case.statement.literals
    found = {one.number for one in literals} | {read_number(one.value.strip("%- ")) for one in literals if one.is_text}
    return {number for number in found if number is not None}


def find_idle_tables(case: SelectCase) -> Iterator[str]:
    """Each table must be named, have a column that is named, or be the way between two tables that are."""
    for table in case.read - case.asked.tables:
        used = {column for column in set(case.statement.columns.values()) if column[0] == table}
        if any(_is_only_here(case, column) for column in used & case.asked.columns):
            yield from _check_repeated(case, table)
            continue
        if any(_is_one_row(case, literal, table) for literal in case.statement.literals):
            continue
        if _links_things(case, table):
            continue
        ways = [pair for pair in case.statement.compared_columns() if any(column in used for column in pair)]
        reached = {column[0] for pair in ways for column in pair} & case.asked.tables
        if len(reached) < 2 or any(literal.column in used for literal in case.statement.literals):
            yield f"It reads {table}, of which the question does not speak."


def _links_things(case: SelectCase, table: str) -> bool:
    """Whether a table says which things of two kinds go together, and the question speaks of both kinds."""
    linked = case.links.tables[table]
    used = {name for of, name in case.statement.columns.values() if of == table}
    spoken: list[frozenset[str]] = []
    for column in linked.columns:
        key = (table, column.name)
        things = frozenset(
            other for other in case.links.tables if other != table and case.held.names_things(key, other)
        )
        is_valued = any(literal.column == key for literal in case.statement.literals)
        is_used = column.name in used or len(linked.columns) == 2
        if is_used and things and (things & case.asked.tables or is_valued):
            spoken.append(things)
    return any(not one & two for one in spoken for two in spoken)


def _is_one_row(case: SelectCase, literal: SqlLiteral, table: str) -> bool:
    """Whether a value is the name of one row of a table, so that naming it names the table."""
    column = (table, case.held.label(table) or "")
    if literal.column != column or case.links.tables[table].repeats:
        return False
    name, value = quote_name(column[1]), quote_value(case.final(literal))
    found = case.held.query(f"SELECT 1 FROM {quote_name(table)} WHERE {name} = {value}", 2)  # noqa: S608 - quoted
    return found is not None and len(found.rows) == 1


def _check_repeated(case: SelectCase, table: str) -> Iterator[str]:
    """ "Borders a state that borders" takes the table of borders twice."""
    starts: dict[str, set[int]] = {}
    for span in case.asked.spans:
        for column in span.columns:
            if len(span.words) == 1 and column.table == table and not column.is_number:
                starts.setdefault(column.name, set()).add(span.start)
    said = max(map(len, starts.values()), default=0)
    found = sum(
        case.statement.table_of(source) == table for select in case.statement.selects for source in select.sources
    )
    used = [place for place in case.statement.columns.values() if place[0] == table and place[1] in starts]
    if found < said or len(used) < said or _nesting(case, table) > max(1, said):
        yield f"The question speaks of {table} {said} times, and the query does not."


def _nesting(case: SelectCase, table: str) -> int:
    """How many selects of a table stand within each other."""
    most = 0
    for select in case.statement.selects:
        depth, outer = 0, select
        while outer is not None:
            depth += any(case.statement.table_of(source) == table for source in outer.sources)
            outer = outer.parent  # type: ignore[assignment]  # the outermost has none
        most = max(most, depth)
    return most


def _is_only_here(case: SelectCase, column: tuple[str, str]) -> bool:
    """Whether no table that is named has a column of this name too."""
    return not any(
        (linked := case.links.tables[table].column(column[1])) is not None and linked.table != column[0]
        for table in case.asked.tables
    )
