"""Holds a SELECT that somebody wrote for a question against that question, before its result is believed.

Nobody vouches for the SELECT: a model that invents a filter, leaves one out, or joins so that rows count twice gives a
figure as smooth as a right one. So every word of the question must be used by the statement, and everything in the
statement that chooses or ranks must come from the question: its values, numbers, negations, comparisons, aggregates.
What is only spelt otherwise is mended, with a note; all else is a problem in words that its writer may mend. A right
statement that is not recognised as such is refused: that is meant so. How its parts are joined, `conditions` judges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from kapelle.errors import RefusedQuery
from kapelle.language import quote_text
from kapelle.local.table_questions import SchemaLinks
from kapelle.tools import TableResult, Tables, quote_name, quote_value

from .asked_for import find_other_numbers, find_unasked_constructs, find_wrong_negations, find_wrong_outputs
from .asked_words import AskedQuestion
from .case import Contents, SelectCase
from .conditions import find_unjoined, find_wrong_conditions
from .select_text import FUNCTIONS, closing, names_given, read_selects, read_tokens_of
from .statement import SqlStatement
from .sums import find_wrong_aggregates, find_wrong_joins, find_wrong_ranking, find_wrong_sums
from .values import find_wrong_values
from .words import find_idle_tables, find_unused_words

MAX_ROWS = 1_000
MAX_TIES = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedSelect:
    """A SELECT that uses all of a question, and nothing besides."""

    sql: str
    """As it is run: values in the spelling of the tables, names without what SQLite would guess."""
    tables: tuple[str, ...]
    """The tables that it reads, as SQLite tells."""
    reads: str
    """What it reads, in a few words for people."""
    notes: tuple[str, ...] = ()
    """What was mended."""
    is_one: bool = False
    """Whether more than one row cannot be right: "the highest point" is a column, and asks for one all the same."""


class DoesNotFit(Exception):
    """A SELECT is not what the question asks; `problems` say why, one sentence each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__(" ".join(self.problems))


def find_unknown_words(question: str, links: SchemaLinks, values: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the words of a question that no statement over these tables could account for.

    `values` are texts in the question that are data, and ask for nothing.
    """
    return AskedQuestion(question, links, values).unaccounted(lambda _: True)


def check_select(
    sql: str, question: str, *, tables: Tables, links: SchemaLinks, values: Sequence[str] = (), only: str | None = None
) -> CheckedSelect:
    """Return a SELECT that fits the question, mended where it was only spelt otherwise.

    Args:
        values: Texts in the question that are data: each must be a value in the statement.
        only: The one table that it may read.

    Raises:
        DoesNotFit: it does not, or cannot be run.
    """
    try:
        asked, statement = AskedQuestion(question, links, values), SqlStatement.read(sql, links)
        return _check(SelectCase(statement=statement, asked=asked, links=links, held=Contents(tables, links)), only)
    except RefusedQuery as error:
        raise DoesNotFit([str(error)]) from error


def run_select(select: CheckedSelect, *, tables: Tables, links: SchemaLinks) -> TableResult:
    """Return what a checked SELECT finds.

    Raises:
        DoesNotFit: it cannot be run, it finds nothing although several tables were joined for it, or finds a row twice.
    """
    try:
        result = tables.query(select.sql, max_rows=MAX_ROWS)
    except RefusedQuery as error:
        raise DoesNotFit([str(error)]) from error
    tokens = read_tokens_of(select.sql)
    is_joined = len(read_selects(tokens)) > 1 or len(select.tables) > 1
    is_bare = len(result.rows) == 1 and all(value in (None, 0) for value in result.rows[0])
    if not result.rows or is_bare:
        if is_joined:
            raise DoesNotFit(["It finds nothing, though the values are in the tables: a join or a filter is wrong."])
        if result.rows and result.rows[0][0] is None:
            raise DoesNotFit(["It finds no value: the rows it looks at hold none there."])
    if select.is_one and len(result.rows) > 1:
        raise DoesNotFit(["The question asks for the largest or smallest. Use ORDER BY ... LIMIT 1."])
    repeats = any(links.tables[name].repeats for name in select.tables if name in links.tables)
    if (is_joined or repeats) and len(set(result.rows)) < len(result.rows):
        raise DoesNotFit(["It finds the same row several times. Use SELECT DISTINCT."])
    return result


def _check(case: SelectCase, only: str | None) -> CheckedSelect:
    tables = case.held.tables
    tables.reads(case.statement.sql)  # SQLite names what is not there
    _raise([*_find_odd_constructs(case), *find_wrong_values(case)])
    sql = _rewritten(case)
    reads = tables.reads(sql)
    case.read = frozenset(table for table, _ in reads)
    if not case.read:
        raise DoesNotFit(["It reads no table."])
    if only is not None and case.read != {only}:
        raise DoesNotFit([f"Read the table {quote_name(only)} alone."])
    problems = [*find_unused_words(case), *find_idle_tables(case), *find_other_numbers(case)]
    problems += [*find_unasked_constructs(case), *find_wrong_negations(case)]
    problems += [*find_wrong_conditions(case), *find_wrong_aggregates(case), *find_unjoined(case.statement)]
    problems += find_wrong_outputs(case, is_right_so_far=not problems)
    _raise([*problems, *find_wrong_joins(case), *find_wrong_sums(case), *find_wrong_ranking(case)])
    sql = _with_ties(sql, case)
    shown = ", ".join(sorted({f"{table}.{column}" for table, column in reads if column}) or sorted(case.read))
    ranks = [(case.asked.count_ranks(way), case.statement.count_ranks(way)) for way in ("desc", "asc")]
    is_one = any(wanted > 0 == found for wanted, found in ranks)
    return CheckedSelect(sql=sql, tables=tuple(sorted(case.read)), reads=shown, notes=tuple(case.notes), is_one=is_one)


def _raise(problems: Sequence[str]) -> None:
    if problems:
        raise DoesNotFit(problems)


def _rewritten(case: SelectCase) -> str:
    """The statement without comments, with what was mended."""
    tokens, sql = case.statement.tokens, case.statement.sql
    parts: list[str] = []
    for at, token in enumerate(tokens):
        is_apart = at and (sql[tokens[at - 1].end : token.start] != "")
        parts.append(" " * bool(is_apart) + case.changes.get(at, sql[token.start : token.end]))
    return "".join(parts)


def _find_odd_constructs(case: SelectCase) -> Iterator[str]:
    """What no check reads, or SQLite would guess."""
    statement = case.statement
    for position, name in statement.calls:
        if name not in FUNCTIONS:
            yield f"The function {quote_text(name)} is not used here. Write it without."
        if name in ("max", "min") and _count_arguments(case, position) > 1:
            yield f"{name.upper()} with several arguments is not used here."
    for at in statement.unknown:
        token = statement.tokens[at]
        if token.kind == "name":
            case.changes[at] = quote_value(token.text)  # a text in double quotes, as SQLite would take it
        else:
            yield f"{quote_text(token.text)} is no table, column or plain SQL. Write it without."
    clash = names_given(statement.tokens) & set(case.links.tables)
    pairs = list(pairwise(statement.tokens))
    with_names = {one.text for one, two in pairs if two.is_word("as")}
    if statement.tokens[0].is_word("with") and clash & with_names:
        yield f"{quote_text(min(clash))} is a table. Give WITH another name."
    if any(one.is_word("union") and two.is_word("all") for one, two in pairs):
        yield "UNION ALL is not used here. Write UNION."


def _count_arguments(case: SelectCase, position: int) -> int:
    tokens = case.statement.tokens
    end = closing(tokens, position + 1, len(tokens))
    depth = tokens[position].depth + 1
    return 1 + sum(tokens[at].is_mark(",") and tokens[at].depth == depth for at in range(position, end))


def _with_ties(sql: str, case: SelectCase) -> str:
    """The statement with all that share the last place that it shows, where one place is asked for."""
    tokens = read_tokens_of(sql)
    statement = SqlStatement.read(sql, case.links)
    outer = [select for select in statement.selects if select.parent is None and "limit" in select.clauses]
    if len(outer) != 1 or statement.has("union", "except", "intersect"):
        return sql
    select = outer[0]
    order = statement.order(select)
    first, end = select.clauses["limit"]
    if order is None or end - first != 1 or tokens[first].kind != "number" or not tokens[first].text.isdigit():
        raise DoesNotFit(["The LIMIT is not read. Write ORDER BY ... LIMIT and a number."])
    most = int(tokens[first].text)
    shown = select.clauses["select"][1]
    key = statement.text(order[0], order[1])
    probe = f"{sql[: tokens[shown].start]}, {key} {sql[tokens[shown].start : tokens[first].start]}{most + MAX_TIES}"
    rows = case.held.tables.query(probe, max_rows=MAX_ROWS).rows
    if not rows:
        return sql
    last = rows[min(most, len(rows)) - 1][-1]
    if last is None:
        raise DoesNotFit([f"Rows without a value come into it. Add {key} IS NOT NULL."])
    shared = sum(row[-1] == last for row in rows[most:])
    if not shared:
        return sql
    if most > 1:
        case.notes.append("others share the last place")
        return sql
    if shared >= MAX_TIES:
        raise DoesNotFit([f"More than {MAX_TIES} share the first place."])
    case.notes.append("several share the first place")
    return f"{sql[: tokens[first].start]}{most + shared}"
