"""Holds what a statement does against what its question asks: numbers, constructs, negations, what it shows."""

from __future__ import annotations

from collections.abc import Iterator

from kapelle.language import quote_text

from .asked_words import AskedSpan
from .case import SelectCase
from .select_text import closing


def find_other_numbers(case: SelectCase) -> Iterator[str]:
    for unclear in case.asked.find_unclear_numbers():
        yield f"{quote_text(unclear)} may be read in two ways. Ask with both numbers in full."
    for literal in case.statement.literals:
        if literal.is_text or literal.number is None or literal.number in case.asked.numbers:
            continue
        where = case.statement.select_of(literal.position).holds(literal.position)
        if where == "limit" and literal.number == 1 and case.asked.has("superlative", "top", "aggregate"):
            continue
        if literal.function in ("round", "substr", "count") and not literal.operator:
            continue
        if literal.value == "1.0" or (where in ("group", "order") and not literal.operator):
            continue
        if literal.number == 0 and literal.operator in ("=", "==") and case.asked.has("not"):
            continue
        is_flag = literal.column in case.asked.columns and literal.operator in ("=", "==")
        if is_flag and literal.number == 1 and not case.asked.has("not"):
            continue
        yield f"The number {literal.value} is not in the question."


def find_unasked_constructs(case: SelectCase) -> Iterator[str]:
    asked, statement = case.asked, case.statement
    names = {name for _, name in statement.calls}
    ranks = asked.has("superlative", "top", "aggregate max", "aggregate min")
    counts = asked.has("count", "superlative", "top", "aggregate sum", "compare", "between", "not")
    if "count" in names and not counts:
        yield "It counts, which the question does not ask."
    if "sum" in names and not (asked.has("aggregate sum", "count") or (ranks and asked.has("per"))):
        yield "It sums, which the question does not ask."
    if "avg" in names and not asked.has("aggregate avg"):
        yield "It takes an average, which the question does not ask."
    for direction in ("desc", "asc"):
        wanted = case.asked.count_ranks(direction)
        found, word = case.statement.count_ranks(direction), "largest" if direction == "desc" else "smallest"
        if found < asked.count_phrases(direction):
            yield f"It does not look for the {word} as often as the question."
        if found > wanted:
            yield f"It looks for the {word} {found} times, the question {wanted} times."
    if any("limit" in select.clauses and statement.order(select) is None for select in statement.selects):
        yield "LIMIT without ORDER BY leaves rows out at random."
    if statement.has("limit") and not (ranks or asked.numbers):
        yield "LIMIT leaves rows out, which the question does not ask."
    if case.negates() and not asked.has("not"):
        yield "It negates, which the question does not."
    compared = {literal.operator for literal in statement.literals} | case.statement.operators()
    if compared & {"<", ">", "<=", ">=", "between"} and not asked.has("compare", "between", "when"):
        yield "It compares by size, which the question does not ask."
    if statement.has("group") and not (ranks or asked.has("per", "compare", "count")):
        yield "It groups rows, which the question does not ask."
    if statement.has("or") and "or" not in asked.words and "and" not in asked.words:
        yield "It has OR, which the question does not."


def find_wrong_negations(case: SelectCase) -> Iterator[str]:
    """What is negated must be what the question negates, and all else must not be."""
    tokens, asked = case.statement.tokens, case.asked
    after = [(span, asked.find_after(span)) for span in asked.negations]
    for at, token in enumerate(tokens):
        is_first = token.is_word("not") and tokens[at - 1].is_word("where", "and", "or", "on", "having", "not")
        if is_first and not (at + 1 < len(tokens) and tokens[at + 1].is_word("exists")):
            yield "NOT before a condition is not used here. Write <> or NOT IN."
    for literal in case.statement.literals:
        value = case.final(literal)
        starts = asked.find_starts(value)
        if literal.column is None or not literal.operator or not starts:
            continue
        if literal.is_negated and not any(span.start < start for span in asked.negations for start in starts):
            yield f"The question does not negate {quote_text(value)}."
        is_asked = not literal.is_negated and not _is_in_negated(case, literal.position)
        if is_asked and any(then is not None and then.start in starts and value in then.values for _, then in after):
            yield f"The question negates {quote_text(value)}."
    for first, end in _negated_selects(case):
        if not any(then is not None and _stands_in(case, then, first, end) for _, then in after):
            yield "The question does not negate what NOT or EXCEPT leaves out."


def _negated_selects(case: SelectCase) -> list[tuple[int, int]]:
    """First token and the one after the last of selects whose rows are left out."""
    tokens = case.statement.tokens
    found = []
    for at, token in enumerate(tokens[:-2]):
        if token.is_word("not") and tokens[at + 1].is_word("in", "exists") and tokens[at + 2].is_mark("("):
            if at + 3 < len(tokens) and tokens[at + 3].is_word("select"):
                found.append((at + 3, closing(tokens, at + 2, len(tokens))))
        elif token.is_word("except"):
            found.append((at + 1, len(tokens)))
    return found


def _is_in_negated(case: SelectCase, position: int) -> bool:
    return any(first <= position < end for first, end in _negated_selects(case))


def _stands_in(case: SelectCase, span: AskedSpan, first: int, end: int) -> bool:
    """Whether some tokens speak of what a span means."""
    columns = case.statement.columns_in(range(first, end))
    values = {case.final(one) for one in case.statement.literals if first <= one.position < end}
    if span.values & values or any((one.table, one.name) in columns for one in span.columns):
        return True
    read = {
        case.statement.table_of(source)
        for select in case.statement.selects
        if first <= select.clauses["select"][0] <= end
        for source in select.sources
    }
    table = span.table
    if table is None:
        return False
    pure = [case.links.tables[name] for name in read if name and len(case.links.tables[name].columns) == 2]
    return (
        table.name in read
        or any(case.held.names_things((one.name, column.name), table.name) for one in pure for column in one.columns)
        or any(case.held.names_things(column, table.name) for column in columns)
    )


def find_wrong_outputs(case: SelectCase, *, is_right_so_far: bool) -> Iterator[str]:
    """What is shown must be asked for; where all else is right, what is asked for must be shown too."""
    others = list(_others_shown(case))
    yield from others
    wanted, statement, shown = case.asked.first, case.statement, case.statement.shown_positions()
    if wanted is None or others or not is_right_so_far:
        return
    columns = statement.columns_in(shown)
    counts = any(name == "count" and at in shown for at, name in statement.calls)
    is_shown = (counts and case.asked.has("count")) or any((one.table, one.name) in columns for one in wanted.columns)
    if wanted.table is not None:
        is_shown = is_shown or any(case.held.names_things(column, wanted.table.name) for column in columns)
    if not is_shown:
        yield f"The question asks for {quote_text(wanted.text)}, and it shows something else."


def _others_shown(case: SelectCase) -> Iterator[str]:
    statement = case.statement
    for select in statement.outer():
        for first, end in statement.outputs(select):
            last = statement.tokens[end - 1]
            if end > first and last.is_mark("*") and last.depth <= select.depth:
                yield "SELECT * shows everything. Name the columns that are asked for."
    for at in statement.shown_positions():
        column = statement.columns.get(at)
        if column is not None and not case.is_asked(column):
            label = case.held.label(column[0])
            hint = f" Show {label}." if label and label != column[1] and column[0] in case.asked.tables else ""
            yield f"It shows {'.'.join(column)}, which is not asked for.{hint}"
