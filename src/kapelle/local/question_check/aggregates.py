"""Finds what is wrong with what a SELECT counts, sums, averages and groups, given the question that it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .asked_words import AskedQuestion
from .case import SelectCase
from .select_text import COMPARES, Select, closing
from .statement import Statement

_MIN_DIGITS = 2
"""To so many an average may be rounded, whoever asks."""
_AGGREGATES = ("avg", "min", "max", "sum", "count")


def find_wrong_aggregates(case: SelectCase) -> Iterator[str]:
    """Return what is wrong with what is counted, summed, averaged and grouped, one sentence each."""
    statement, is_unique = case.statement, case.held.is_unique
    yield from _rounded(statement)
    yield from _sums_of_numbers(statement, case.asked)
    yield from _repeated_counts(statement, is_unique)
    yield from _groups(statement, is_unique)
    yield from _calculated(statement)
    yield from _aggregates_of_few(statement)
    yield from _rows_in_having(statement)


def _rounded(statement: Statement) -> Iterator[str]:
    tokens = statement.tokens
    for at, name in statement.calls:
        if name != "round":
            continue
        end = closing(tokens, at + 1, len(tokens))
        digits = tokens[end - 1].text if tokens[end - 2].is_mark(",") else "0"
        if not digits.isdigit() or int(digits) < _MIN_DIGITS:
            yield "ROUND changes what is asked for. Write it without."
    for select in statement.selects:
        first, end = select.clauses["select"]
        if any(tokens[at].is_word("integer", "int") for at in range(first, end)):
            yield "CAST AS INTEGER changes what is asked for. Write it without."


def _sums_of_numbers(statement: Statement, asked: AskedQuestion) -> Iterator[str]:
    """ "The total quantity" is a sum, although the total of orders is a count."""
    for span in asked.spans:
        if span.phrase is None or (span.phrase.kind, span.phrase.value) != ("aggregate", "sum"):
            continue
        after = asked.find_after(span)
        if after is None or not after.columns or not asked.is_next(span, after) or after.table is not None:
            continue
        if not all(column.is_number for column in after.columns) or asked.has("count"):
            continue
        columns = {(column.table, column.name) for column in after.columns}
        summed = (statement.arguments(at) for at, name in statement.calls if name == "sum")
        if not any(statement.columns_in(one) & columns for one in summed):
            yield f"The question asks for the total {after.text}. Write SUM({min(columns)[1]})."


def _repeated_counts(statement: Statement, is_unique: Callable[[tuple[str, str]], bool]) -> Iterator[str]:
    """COUNT of a column counts rows, and a thing that stands in several of them several times."""
    for at, name in statement.calls:
        if name != "count" or statement.is_distinct(at):
            continue
        for column in statement.columns_in(statement.arguments(at)):
            if not is_unique(column):
                yield f"{column[1]} stands in several rows. Use COUNT(DISTINCT {column[1]}), or COUNT(*) for rows."


def _groups(statement: Statement, is_unique: Callable[[tuple[str, str]], bool]) -> Iterator[str]:
    """What a grouped select shows is what it groups by, or is taken over each group."""
    tokens, columns = statement.tokens, statement.columns
    for select in statement.selects:
        first, end = select.clauses["select"]
        calls = [statement.arguments(at) for at in _calls_of(statement, select, "select")]
        bare = {
            columns[at]
            for at in range(first, end)
            if at in columns and statement.select_of(at) is select and not any(at in call for call in calls)
        }
        if "group" not in select.clauses:
            if calls and bare:
                beside = tokens[calls[0][0]].text.upper()
                yield f"{min(bare)[1]} beside {beside} is of any row. Use ORDER BY ... LIMIT 1."
            continue
        by = statement.columns_in(range(*select.clauses["group"]))
        if by and bare - by and not any(is_unique(column) for column in by):
            yield f"It shows {min(bare - by)[1]}, by which it does not group: it is of any row of the group."
        if select.parent is None and calls and by - bare and "limit" not in select.clauses:
            yield f"Show {min(by - bare)[1]} too, by which it groups."
    for select in statement.selects:
        if "order" in select.clauses and any(tokens[at].is_word("select") for at in range(*select.clauses["order"])):
            yield "ORDER BY a SELECT is not used here."


def _calculated(statement: Statement) -> Iterator[str]:
    """What is calculated with columns, or done to an aggregate, nobody checks: then it is not written."""
    tokens = statement.tokens
    for at, token in enumerate(tokens):
        after = tokens[at + 1] if at + 1 < len(tokens) else None
        is_sign = token.is_mark("-", "+") and after is not None and after.kind == "number"
        if is_sign and (tokens[at - 1].is_mark(*COMPARES, "(", ",") or tokens[at - 1].is_word("between", "and", "in")):
            continue
        if token.is_mark("||") and any(
            one.kind == "text" and one.text.strip() == ";" for one in (tokens[at - 1], tokens[at + 1])
        ):
            continue  # how a list in a cell is searched
        is_all = token.is_mark("*") and (tokens[at - 1].is_mark("(", ".", ",") or tokens[at - 1].is_word("select"))
        if token.is_mark("+", "-", "*", "/", "%", "||") and not is_all:
            yield f"It calculates with {token.text!r}, which nobody checks. Show the columns as they are."
            return
    for at, name in statement.calls:
        inside = statement.arguments(at)[1:]
        if name != "round" and any(one in inside and other in _AGGREGATES for one, other in statement.calls):
            yield f"{name.upper()} of an aggregate is not what is asked for. Write it without."


def _aggregates_of_few(statement: Statement) -> Iterator[str]:
    """LIMIT and ORDER BY take rows of the result, which of an aggregate without groups is one: all rows are in it."""
    for select in statement.selects:
        if (
            _calls_of(statement, select, "select")
            and "group" not in select.clauses
            and {"limit", "order"} & select.clauses.keys()
        ):
            yield "LIMIT does not say which rows an aggregate takes. Choose them by a SELECT in FROM."


def _rows_in_having(statement: Statement) -> Iterator[str]:
    for select in statement.selects:
        if "having" not in select.clauses:
            continue
        by = statement.columns_in(range(*select.clauses.get("group", (0, 0))))
        calls = [statement.arguments(at) for at in _calls_of(statement, select, "having")]
        for at in range(*select.clauses["having"]):
            column = statement.columns.get(at)
            if column is None or column in by or statement.select_of(at) is not select:
                continue
            if not any(at in call for call in calls):
                yield f"HAVING takes {column[1]} of any row of a group. Write it in WHERE."


def _calls_of(statement: Statement, select: Select, clause: str) -> list[int]:
    """Where a select's own aggregates stand in one of its clauses."""
    within = range(*select.clauses.get(clause, (0, 0)))
    return [
        at for at, name in statement.calls if name in _AGGREGATES and at in within and statement.select_of(at) is select
    ]
