"""Holds the values of a statement against its question: each must be in the tables, named, and meant of its column."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kapelle.language import plain, quote_text, split_words
from kapelle.tools import quote_name, quote_value

from .asked_words import find_run
from .case import SAYS_NO, SAYS_YES, SelectCase
from .statement import SqlLiteral

MAX_LIKE_MATCHES = 1_000


def find_wrong_values(case: SelectCase) -> Iterator[str]:
    for literal in case.statement.literals:
        if literal.is_text:
            yield from _check_text(case, literal)
    given = [value for value in case.asked.given if not _holds_value(case, value)]
    yield from (f"The value {quote_text(value)} of the question is not in it." for value in given)


def _holds_value(case: SelectCase, value: str) -> bool:
    words = split_words(value)
    return any(split_words(literal.value) == words for literal in case.statement.literals)


def _check_text(case: SelectCase, literal: SqlLiteral) -> Iterator[str]:
    said = quote_value(literal.value)
    if literal.function in ("strftime", "trim") and not literal.operator:
        if literal.function == "strftime" and not re.fullmatch(r"%[Ymd](?:-%[md]){0,2}", literal.value):
            yield f"The format {said} is not used here."
        return
    if not split_words(literal.value) and not literal.operator and literal.function == "(":
        return  # '; ' around a list
    if literal.column is None or not literal.operator:
        yield f"The text {said} is not compared with a column."
    elif literal.function in ("strftime", "substr"):
        is_year = bool(re.fullmatch(r"\d{4}", literal.value)) and case.asked.has("when")
        if not (literal.operator in ("=", "==", "in") or is_year) or not case.asked.says(literal.value):
            yield f"{said} is not in the question."
    elif literal.operator == "like":
        yield from _check_like(case, literal, literal.column)
    elif literal.operator not in ("=", "==", "<>", "!=", "in"):
        yield f"{'.'.join(literal.column)} holds texts, which are not compared by size."
    else:
        yield from _check_equal(case, literal, literal.column)


def _check_equal(case: SelectCase, literal: SqlLiteral, column: tuple[str, str]) -> Iterator[str]:
    name, said = ".".join(column), quote_value(literal.value)
    linked = case.held.linked(column)
    stored = case.held.stored(column, literal.value)
    if stored is None:  # a thing that another table knows may rightly be found nowhere in this one
        named = [
            link for link in case.held.links_of(literal.value) if case.held.label(link.column.table) == link.column.name
        ]
        known = {link.value for link in named if case.held.names_things(column, link.column.table)}
        stored = known.pop() if len(known) == 1 else None
    if stored is None:
        elsewhere = sorted(
            {f"{link.column.table}.{link.column.name}" for link in case.held.links_of(literal.value)} - {name}
        )
        hint = f" It is a value of {' and of '.join(elsewhere[:3])}." if elsewhere else ""
        yield f"{said} is no value of {name}.{hint}"
        return
    if linked is not None and linked.holds_lists:
        yield (
            f"{name} holds lists apart by '; '. Write ('; ' || {linked.name} || ';') LIKE "
            f"{quote_value(f'%; {stored};%')}."
        )
        return
    if stored != literal.value and not literal.function:
        case.changes[literal.position] = quote_value(stored)
        case.notes.append(f"{said} was written as {quote_value(stored)}, as it is in the table")
    elif stored != literal.value and literal.function not in ("lower", "upper", "trim"):
        yield f"{said} is no value of {name}; {quote_value(stored)} is."
    if not case.asked.says(stored):
        yield from _check_polarity(case, literal, column)
    elif not _is_meant(case, literal.value, column):
        others = sorted({f"{link.column.table}.{link.column.name}" for link in case.held.links_of(literal.value)})
        yield (f"{said} is a value of {', '.join(others[:4])}, and the question does not say that {name} is meant.")


def _check_like(case: SelectCase, literal: SqlLiteral, column: tuple[str, str]) -> Iterator[str]:
    name, said = ".".join(column), quote_value(literal.value)
    bare = literal.value.strip("%; ")
    if not split_words(bare) or "%" in bare or "_" in bare or not case.asked.says(bare):
        yield f"{said} is not in the question."
        return
    found = case.held.query(
        f"SELECT DISTINCT {quote_name(column[1])} FROM {quote_name(column[0])} "  # noqa: S608 - quoted
        f"WHERE {quote_name(column[1])} LIKE {quote_value('%' + bare + '%')}",
        MAX_LIKE_MATCHES,
    )
    values = [str(row[0]) for row in found.rows] if found is not None and not found.truncated else []
    linked, words = case.held.linked(column), split_words(bare)
    if linked is not None and linked.holds_lists:
        if literal.function != "(" or literal.value != f"%; {bare};%":
            yield (
                f"{name} holds lists apart by '; '. Write ('; ' || {linked.name} || ';') LIKE "
                f"{quote_value(f'%; {bare};%')}."
            )
        elif not any(bare in value.split("; ") for value in values):
            yield f"{quote_value(bare)} is no value of {name}."
        return
    exact = case.held.stored(column, bare)
    if exact is not None:
        yield f"{quote_value(exact)} is a value of {name}. Compare it by =."
    elif not values:
        yield f"No value of {name} is like {said}."
    elif not all(find_run(split_words(value), words) for value in values):
        yield f"{said} also finds other words in {name}."


def _check_polarity(case: SelectCase, literal: SqlLiteral, column: tuple[str, str]) -> Iterator[str]:
    """A value that the question does not name: only the yes or no of a column that it does name."""
    word = plain(literal.value.strip())
    if column not in case.asked.columns or word not in SAYS_YES | SAYS_NO or literal.operator not in ("=", "=="):
        yield f"{quote_value(literal.value)} is not in the question."
    elif (word in SAYS_NO) != case.asked.has("not"):
        yield (
            f"{column[1]} = {quote_value(literal.value)} is {'more' if word in SAYS_NO else 'less'} "
            "of a negation than the question has."
        )


def _is_meant(case: SelectCase, value: str, column: tuple[str, str]) -> bool:
    """Whether the question tells that a value is meant as one of this column, where others hold it too."""
    holders = {(link.column.table, link.column.name) for link in case.held.links_of(value)} | {column}
    beside = case.asked.find_table_beside(value)
    if beside is not None and any(case.held.names_things(holder, beside.name) for holder in holders):
        return case.held.names_things(column, beside.name)
    if len({case.held.same_thing(holder) for holder in holders}) == 1 or column in case.asked.columns:
        return True
    labels = {holder for holder in holders if case.held.label(holder[0]) == holder[1] and case.held.names_rows(holder)}
    if labels and len({case.held.same_thing(label) for label in labels}) > 1:
        return False  # a state and a river of one name
    if column in labels:
        return True
    if sum(holder[0] == column[0] for holder in holders) > 1:
        return False
    return column[0] in case.asked.tables or _is_named_by_columns(case, column[0]) or case.holds_named(column)


def _is_named_by_columns(case: SelectCase, table: str) -> bool:
    """Whether the question names a column that this table alone has."""
    named = [column for column in case.asked.columns if column[0] == table]
    return any(all(other[0] == table for other in case.asked.columns if other[1] == name) for _, name in named)
