"""Holds joins, sums and ranking of a statement against its question: what counts twice, and by what is ranked."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kapelle.language import quote_text
from kapelle.tools import quote_name

from .asked_words import SIZES, AskedQuestion
from .case import SelectCase
from .select_text import COMPARES, Select, closing
from .statement import SqlStatement

_MIN_DIGITS = 2
"""To so many an average may be rounded, whoever asks."""
_AGGREGATES = ("avg", "min", "max", "sum", "count")


def find_wrong_joins(case: SelectCase) -> Iterator[str]:
    for left, right in case.statement.compared_columns():
        if not case.held.hold_same(left, right):
            yield f"{'.'.join(left)} and {'.'.join(right)} do not hold the same things."


def find_wrong_sums(case: SelectCase) -> Iterator[str]:
    statement = case.statement
    for at, name in statement.calls:
        if name not in ("count", "sum", "avg"):
            continue
        select = statement.select_of(at)
        tables = [case.links.tables[key] for key in map(case.statement.table_of, select.sources) if key]
        is_joined = len(select.sources) > 1
        is_distinct = statement.is_distinct(at)
        if name == "count" and is_distinct:
            yield from _check_counted_once(case, at)
        elif name == "count" and (is_joined or any(table.repeats for table in tables)):
            label = next((table.label.name for table in tables if table.label is not None), "name")
            yield f"Rows may count several times. Use COUNT(DISTINCT {label})."
        elif name != "count" and is_distinct:
            yield f"{name.upper()}(DISTINCT) leaves out equal numbers of different things."
        elif name != "count" and any(table.repeats for table in tables):
            yield "A thing stands in several rows of that table, so its numbers count twice."
        elif name != "count" and is_joined and _multiplies(case, at, select):
            yield "The join repeats rows, so numbers count twice. Use IN (SELECT ...) in its place."
        if name != "count":
            yield from _check_measure(case, statement.arguments(at))


def _check_counted_once(case: SelectCase, at: int) -> Iterator[str]:
    """Namesakes are several things: they cannot be counted by their name."""
    statement = case.statement
    columns = [statement.columns[one] for one in statement.arguments(at) if one in statement.columns]
    if len(columns) != 1 or not (case.is_asked(columns[0])):
        yield "COUNT(DISTINCT ...) takes the column that names the things asked for."
        return
    table = case.links.tables[columns[0][0]]
    is_label = table.label is not None and table.label.name == columns[0][1] and columns[0] not in case.asked.columns
    if is_label and not table.repeats and not case.held.is_unique(columns[0]):
        yield f"Different things of {table.name} have one name, so names do not count them."


def _multiplies(case: SelectCase, at: int, select: Select) -> bool:
    """Whether a join repeats rows of the table whose numbers are summed. What cannot be told counts as yes."""
    statement = case.statement
    sources = {statement.source_of(one) for one in statement.arguments(at) if one in statement.columns}
    if len(sources) != 1 or "" in sources:
        return True
    first = select.clauses["from"][0] - 1
    last = select.clauses.get("where", select.clauses["from"])[1]
    parts = [case.changes.get(one, statement.text(one, one + 1)) for one in range(first, last)]
    alias = quote_name(sources.pop())
    found = case.held.query(f"SELECT count(*), count(DISTINCT {alias}.rowid) {' '.join(parts)}", 1)
    return found is None or found.rows[0][0] != found.rows[0][1]


def _check_measure(case: SelectCase, positions: range) -> Iterator[str]:
    """What is ranked or summed must be a number: texts rank by their letters."""
    statement = case.statement
    columns = statement.columns_in(positions)
    is_cast = any(statement.tokens[at].is_word("cast") for at in positions)
    is_count = any(at in positions and name == "count" for at, name in statement.calls)
    for column in columns:
        linked = case.held.linked(column)
        if linked is None or linked.is_number or is_count:
            continue
        if not is_cast:
            yield (f"{'.'.join(column)} holds texts. Use CAST({column[1]} AS REAL) to rank or sum it.")
        elif not case.held.holds_numbers(column):
            yield f"{'.'.join(column)} does not hold numbers alone."


def find_wrong_ranking(case: SelectCase) -> Iterator[str]:
    statement = case.statement
    for at, name in statement.calls:
        if name in ("max", "min"):
            yield from _check_measure(case, statement.arguments(at))
    for select in statement.selects:
        order = statement.order(select)
        if order is None or "limit" not in select.clauses:
            continue
        yield from _check_measure(case, range(order[0], order[1]))
        columns = [statement.columns[at] for at in range(order[0], order[1]) if at in statement.columns]
        inner = select not in case.statement.outer()
        if (
            inner
            and not order[2]
            and len(columns) == 1
            and case.held.has_nulls(columns[0])
            and not statement.has("null")
        ):
            yield f"Rows without {columns[0][1]} come first. Add {columns[0][1]} IS NOT NULL."
    yield from _check_extremes(case)
    yield from _check_ranked_by(case)
    yield from _check_size_is_clear(case)


def _check_ranked_by(case: SelectCase) -> Iterator[str]:
    """What is ranked by must be named, or meant by a word such as `longest`; what follows that word beats this."""
    ranked = _ranked(case)
    for _, column in ranked:
        if column is not None and column not in case.asked.columns:
            yield f"It ranks by {'.'.join(column)}, which the question does not say."
    for span in case.asked.spans:
        if span.phrase is None or span.phrase.kind not in ("superlative", "top"):
            continue
        after = case.asked.find_after(span)
        if after is None or not after.columns or not all(one.is_number for one in after.columns):
            continue
        wanted = set(after.columns)
        if (more := case.asked.find_after(after)) is not None and case.asked.is_next(after, more):
            wanted |= set(more.columns)  # "the lowest population density"
        if case.asked.is_next(span, after) and not any(
            direction == span.phrase.value and column is not None and case.held.linked(column) in wanted
            for direction, column in ranked
        ):
            yield f"It does not rank by {quote_text(after.text)}, of which the question speaks."


def _ranked(case: SelectCase) -> list[tuple[str, tuple[str, str] | None]]:
    """The directions and columns that are ranked by; None where it is a count or an expression."""
    statement = case.statement
    places: list[tuple[str, range]] = []
    for at, name in statement.calls:
        if name in ("max", "min"):
            places.append(("desc" if name == "max" else "asc", statement.arguments(at)))
    for select in statement.selects:
        order = statement.order(select)
        if order is not None and "limit" in select.clauses:
            places.append(("desc" if order[2] else "asc", range(order[0], order[1])))
    found: list[tuple[str, tuple[str, str] | None]] = []
    for direction, positions in places:
        counts = any(at in positions and name == "count" for at, name in statement.calls)
        columns = statement.columns_in(positions)
        found += [(direction, column) for column in columns] if columns and not counts else [(direction, None)]
    return found


def _check_extremes(case: SelectCase) -> Iterator[str]:
    """`x = (SELECT max(x) ...)` must filter alike inside and outside: else others of that size are found too."""
    tokens, statement = case.statement.tokens, case.statement
    for select in statement.selects:
        start = select.clauses["select"][0] - 1
        if select.parent is None or start < 2 or not tokens[start - 1].is_mark("("):
            continue
        if not any(name in ("max", "min") and select.holds(at) == "select" for at, name in statement.calls):
            continue
        if not tokens[start - 2].is_mark("=", "=="):
            continue
        inside = sorted(one.value for one in statement.literals if statement.select_of(one.position) is select)
        outside = sorted(one.value for one in statement.literals if statement.select_of(one.position) is select.parent)
        if inside != outside:
            yield ("Filter alike inside and outside of the select with MAX or MIN, or use ORDER BY ... LIMIT 1.")


def _check_size_is_clear(case: SelectCase) -> Iterator[str]:
    """ "Largest" by area or by population: where a table has both, the question has to say which."""
    ranks = [span for span in case.asked.spans if span.phrase is not None and span.phrase.kind in SIZES]
    named = {
        (column.table, column.name)
        for span in case.asked.spans
        if span.phrase is None
        and (
            case.asked.words[span.start - 1 : span.start] in (["by"], ["in"])
            or any(rank.start == span.start + len(span.words) for rank in ranks)
            or any(case.asked.find_after(rank) == span and case.asked.is_next(rank, span) for rank in ranks)
        )
        for column in span.columns
    }
    for phrase in case.asked.phrases:
        concepts = phrase.concept.split()
        if len(concepts) < 2 or phrase.kind not in SIZES:
            continue
        for table in case.read:
            fitting = [
                column
                for column in case.links.tables[table].columns
                if column.is_number and column.concepts & set(concepts)
            ]
            used = [one for one in fitting if (one.table, one.name) in case.statement.columns.values()]
            if used and len(fitting) > 1 and not any((one.table, one.name) in named for one in used):
                names = " or ".join(one.name for one in fitting)
                yield f"The question does not say whether {names} is meant."


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


def _rounded(statement: SqlStatement) -> Iterator[str]:
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


def _sums_of_numbers(statement: SqlStatement, asked: AskedQuestion) -> Iterator[str]:
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


def _repeated_counts(statement: SqlStatement, is_unique: Callable[[tuple[str, str]], bool]) -> Iterator[str]:
    """COUNT of a column counts rows, and a thing that stands in several of them several times."""
    for at, name in statement.calls:
        if name != "count" or statement.is_distinct(at):
            continue
        for column in statement.columns_in(statement.arguments(at)):
            if not is_unique(column):
                yield f"{column[1]} stands in several rows. Use COUNT(DISTINCT {column[1]}), or COUNT(*) for rows."


def _groups(statement: SqlStatement, is_unique: Callable[[tuple[str, str]], bool]) -> Iterator[str]:
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


def _calculated(statement: SqlStatement) -> Iterator[str]:
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


def _aggregates_of_few(statement: SqlStatement) -> Iterator[str]:
    """LIMIT and ORDER BY take rows of the result, which of an aggregate without groups is one: all rows are in it."""
    for select in statement.selects:
        if (
            _calls_of(statement, select, "select")
            and "group" not in select.clauses
            and {"limit", "order"} & select.clauses.keys()
        ):
            yield "LIMIT does not say which rows an aggregate takes. Choose them by a SELECT in FROM."


def _rows_in_having(statement: SqlStatement) -> Iterator[str]:
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


def _calls_of(statement: SqlStatement, select: Select, clause: str) -> list[int]:
    """Where a select's own aggregates stand in one of its clauses."""
    within = range(*select.clauses.get(clause, (0, 0)))
    return [
        at for at, name in statement.calls if name in _AGGREGATES and at in within and statement.select_of(at) is select
    ]
