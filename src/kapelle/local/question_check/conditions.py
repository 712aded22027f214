"""Finds what is wrong with how the conditions of a SELECT hang together, given the question that it is for.

`check` sees that every value and number of a question is used. A statement may use them all and still join them
wrongly: OR for "and", OR and AND without brackets, a number compared with another column than the question says. How
the parts are joined is judged here; what they speak of is not, and what is counted and grouped `sums` judges.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise

from kapelle.language import STOP_WORDS, Phrase, plain
from kapelle.local.table_questions import SchemaLinks

from .asked_words import AskedQuestion, AskedSpan
from .case import SAYS_NO, SelectCase
from .select_text import COMPARES, Select, closing
from .statement import SqlLiteral, SqlStatement

_BETWEEN_BOTH = frozenset({"and", "both", "also", "a", "an", "the", "in", "of", "from", "through", "to"})
"""Words between two things of which both are asked for."""
_MIN_YEAR = 1_000
_ONE_OF = frozenset({"no", "without", "never"})
_HAS = frozenset({"have", "has", "had", "with", "where", "whose"})
_EVERY = frozenset({"all", "every", "each", "only"})
_DATE_PARTS = {
    "%Y": r"\d{4}",
    "%m": r"\d{2}",
    "%d": r"\d{2}",
    "%Y-%m": r"\d{4}-\d{2}",
    "%Y-%m-%d": r"\d{4}-\d{2}-\d{2}",
}
_NO = SAYS_NO - {"0"}
_SIZES_OF = ("avg", "min", "max", "sum")


def find_wrong_conditions(case: SelectCase) -> Iterator[str]:
    """Return what is wrong with what rows must be, one sentence each, for who wrote the statement."""
    statement, asked = case.statement, case.asked
    yield from _mixed(statement)
    yield from _or_for_and(statement, asked)
    yield from _either_for_both(statement, asked, case.held.is_unique)
    yield from _idle_negations(statement)
    yield from _other_sizes(statement)
    yield from _counts_of_things(statement, asked, case.links)
    yield from _numbers_of_others(statement, asked)
    yield from _missed_negations(statement, asked, case.links)
    yield from _said_once(statement, asked)
    yield from _parts_of_dates(statement)


def _conditions(select: Select) -> Iterator[tuple[int, int]]:
    for name in ("where", "having"):
        if name in select.clauses:
            yield select.clauses[name]


def _extent(statement: SqlStatement, at: int) -> tuple[int, int]:
    """The first token, and the one after the last, of the brackets or the clause that a token stands in."""
    tokens, depth = statement.tokens, statement.tokens[at].depth
    select = statement.select_of(at)
    first, end = next(
        ((first, end) for first, end in _conditions(select) if first <= at < end), (0, len(statement.tokens))
    )
    start, stop = at, at
    while start > first and tokens[start - 1].depth >= depth and not _opens(statement, start - 1, depth):
        start -= 1
    while stop < end and tokens[stop].depth >= depth:
        if tokens[stop].is_mark(")") and tokens[stop].depth < depth:
            break
        stop += 1
    return start, stop


def _opens(statement: SqlStatement, at: int, depth: int) -> bool:
    return statement.tokens[at].is_mark("(") and statement.tokens[at].depth < depth


def _joints(statement: SqlStatement, first: int, end: int, depth: int) -> list[int]:
    """Where AND and OR join conditions; the AND of BETWEEN joins none."""
    found, is_between = [], False
    for at in range(first, end):
        token = statement.tokens[at]
        if token.depth != depth:
            continue
        if token.is_word("between"):
            is_between = True
        elif token.is_word("and") and is_between:
            is_between = False
        elif token.is_word("and", "or"):
            found.append(at)
    return found


def _ors(statement: SqlStatement) -> Iterator[tuple[int, int, list[int]]]:
    """Each list of conditions that has an OR: where it begins and ends, and its joints."""
    seen: set[tuple[int, int]] = set()
    for at, token in enumerate(statement.tokens):
        if not token.is_word("or"):
            continue
        first, end = _extent(statement, at)
        if (first, end) not in seen:
            seen.add((first, end))
            yield first, end, _joints(statement, first, end, token.depth)


def _mixed(statement: SqlStatement) -> Iterator[str]:
    for _, _, joints in _ors(statement):
        if len({statement.tokens[at].text for at in joints}) > 1:
            yield "AND binds before OR. Put brackets around what OR joins, or use IN."


def _or_for_and(statement: SqlStatement, asked: AskedQuestion) -> Iterator[str]:
    """Without "or" in the question, OR lists values of one column: "in Lima and Quito"."""
    if "or" in asked.words:
        return
    for first, end, joints in _ors(statement):
        cuts = [first - 1, *joints, end]
        parts = [statement.columns_in(range(one + 1, two)) for one, two in pairwise(cuts)]
        held = [one for one in statement.literals if first <= one.position < end]
        is_list = all(one.operator in ("=", "==", "in", "like") and not one.is_negated for one in held)
        if not is_list or any(part != parts[0] for part in parts):
            yield "OR joins what the question joins by AND."


def _either_for_both(
    statement: SqlStatement, asked: AskedQuestion, is_unique: Callable[[tuple[str, str]], bool]
) -> Iterator[str]:
    """ "A and B" of a thing that may have both is not "A or B"."""
    for one, two in combinations(statement.literals, 2):
        select = statement.select_of(one.position)
        if one.column is None or one.column != two.column or select is not statement.select_of(two.position):
            continue
        if one.is_negated or two.is_negated or not {one.operator, two.operator} <= {"=", "==", "in", "like"}:
            continue
        if not _asks_for_both(asked, one.value, two.value):
            continue
        shown = {
            statement.columns[at]
            for at in range(*select.clauses["select"])
            if at in statement.columns and statement.select_of(at) is select
        }
        if any(_names_rows(column, one, asked) and not is_unique(column) for column in shown):
            yield (
                f"The question asks for what has both {one.value!r} and {two.value!r}, or for either: it does not say. "
                "For both, write INTERSECT."
            )


def _names_rows(column: tuple[str, str], literal: SqlLiteral, asked: AskedQuestion) -> bool:
    linked = asked.links.tables[column[0]].column(column[1])
    return column != literal.column and linked is not None and not linked.is_number


def _asks_for_both(asked: AskedQuestion, one: str, two: str) -> bool:
    for value, other in ((one, two), (two, one)):
        size = len(asked.find_starts(value)) and len(value.split())
        for start in asked.find_starts(value):
            for then in asked.find_starts(other):
                between = asked.words[start + size : then]
                if "and" in between and set(between) <= _BETWEEN_BOTH:
                    return True
    return False


def _idle_negations(statement: SqlStatement) -> Iterator[str]:
    """`x = 'a' AND x <> 'b'` leaves out nothing: the things that have b too are still there."""
    for one, two in combinations(statement.literals, 2):
        if one.column is None or one.column != two.column or one.is_negated == two.is_negated:
            continue
        if statement.select_of(one.position) is not statement.select_of(two.position):
            continue
        if {one.operator, two.operator} <= {"=", "==", "<>", "!=", "in"} and one.value != two.value:
            yield (
                f"Where {one.column[1]} is one value it is no other, so that nothing is left out. "
                "Write EXCEPT, or NOT IN (SELECT ...)."
            )


def _other_sizes(statement: SqlStatement) -> Iterator[str]:
    """`score > (SELECT AVG(age) ...)` compares two things of which the question compares one."""
    tokens, columns = statement.tokens, statement.columns
    for at, name in statement.calls:
        if name not in _SIZES_OF or at < 3 or not tokens[at - 1].is_word("select"):
            continue
        if not tokens[at - 2].is_mark("(") or not tokens[at - 3].is_mark(*COMPARES):
            continue
        compared = columns.get(at - 4)
        inside = statement.columns_in(statement.arguments(at))
        if compared is not None and inside and compared not in inside:
            of = ".".join(min(inside))
            yield f"It compares {'.'.join(compared)} with {name.upper()} of {of}. Compare what the question compares."


def _counts_of_things(statement: SqlStatement, asked: AskedQuestion, links: SchemaLinks) -> Iterator[str]:
    """ "More than 2 orders" counts orders."""
    for at, token in enumerate(asked.tokens):
        if token.number is None or at + 1 >= len(asked.tokens):
            continue
        is_compared = any(phrase.kind == "compare" for phrase, _, end in _phrases(asked) if end == at)
        if not is_compared and token.number >= _MIN_YEAR:
            continue
        words = (asked.words[at + 1],)
        if links.find_table(words) is None or links.find_columns(words) or links.values.get(words):
            continue
        for literal in statement.literals:
            if literal.number == token.number and literal.column is not None and literal.function != "count":
                yield f"{token.raw} is a number of {asked.words[at + 1]}. Write HAVING COUNT(...)."


def _phrases(asked: AskedQuestion) -> Iterator[tuple[Phrase, int, int]]:
    """What the question asks for by its words, with where that begins and ends."""
    for span in asked.spans:
        if span.phrase is not None:
            yield span.phrase, span.start, span.start + len(span.words)


def _numbers_of_others(statement: SqlStatement, asked: AskedQuestion) -> Iterator[str]:
    """ "A price under 30 and a quantity over 1" says which number is whose."""
    for phrase, start, end in _phrases(asked):
        if phrase.kind != "compare" or end >= len(asked.tokens) or asked.tokens[end].number is None:
            continue
        named = _columns_before(asked, start)
        number = asked.tokens[end]
        compared = [one for one in statement.literals if one.number == number.number and one.operator]
        if named is None or not compared:
            continue
        columns = {(column.table, column.name) for column in named.columns}
        if not any(one.column in columns or one.column is None or one.function == "count" for one in compared):
            yield f"The question compares {named.text} with {number.raw}, and the query compares another column."
        elif not any(one.operator == phrase.value.split()[-1] for one in compared) and len(phrase.value.split()) == 1:
            yield f"The question says {' '.join(asked.words[start:end])} {number.raw}: write {phrase.value}."


def _columns_before(asked: AskedQuestion, start: int) -> AskedSpan | None:
    """The column that is named right before a place, but for words that ask for nothing."""
    at = start
    while at > 0 and asked.words[at - 1] in STOP_WORDS:
        at -= 1
    before = [
        span
        for span in asked.spans
        if span.start + len(span.words) == at
        and span.columns
        and span.phrase is None
        and all(column.is_number for column in span.columns)
    ]
    return max(before, key=lambda span: len(span.words), default=None)


def _missed_negations(statement: SqlStatement, asked: AskedQuestion, links: SchemaLinks) -> Iterator[str]:
    """ "No paid orders" asks for things that are in none of the rows, and not for those with other rows as well."""
    leaves_out = statement.has("except") or any(
        one.is_word("not") and two.is_word("in", "exists") for one, two in pairwise(statement.tokens)
    )
    leaves_out = leaves_out or (statement.has("left") and statement.has("null")) or statement.has("having")
    first = asked.first.start if asked.first is not None else 0
    for at, word in enumerate(asked.words):
        nexts = [
            then for then in range(at + 1, min(at + 4, len(asked.words))) if links.find_table((asked.words[then],))
        ]
        is_of_things = bool(nexts) and nexts[0] > first
        if word in _ONE_OF and is_of_things and not leaves_out:
            yield f"The question asks for what has no {asked.words[nexts[0]]}. Write NOT IN (SELECT ...)."
        if word in _EVERY and at and asked.words[at - 1] in _HAS and is_of_things and not leaves_out:
            yield f"The question says {word!r}, and the query finds what has one of them."


def _said_once(statement: SqlStatement, asked: AskedQuestion) -> Iterator[str]:
    """One "not" does not negate a yes or no and another value as well; UNION needs a word for it."""
    says_no = [
        one
        for one in statement.literals
        if one.operator in ("=", "==") and plain(one.value) in _NO and not one.is_negated
    ]
    others = any(one.is_negated and one.operator for one in statement.literals)
    if says_no and others and len(asked.negations) < 2 and not any(asked.says(one.value) for one in says_no):
        yield f"The question negates once, and {says_no[0].value!r} is one negation too many."
    if statement.has("union") and not {"or", "and"} & set(asked.words):
        yield "It has UNION, which the question does not."


def _parts_of_dates(statement: SqlStatement) -> Iterator[str]:
    """`strftime('%m', day) = '2024'` holds for no day."""
    for literal in statement.literals:
        if literal.function != "strftime" or not literal.operator:
            continue
        formats = [
            one.value
            for one in statement.literals
            if one.position < literal.position and one.function == "strftime" and not one.operator
        ]
        wanted = _DATE_PARTS.get(formats[-1]) if formats else None
        if wanted is not None and not re.fullmatch(wanted, literal.value):
            yield f"{formats[-1]!r} is never {literal.value!r}."


def find_unjoined(statement: SqlStatement) -> Iterator[str]:
    """Return what is wrong with how selects and tables are brought together."""
    yield from _selects_before(statement)
    yield from _unjoined(statement)


def _selects_before(statement: SqlStatement) -> Iterator[str]:
    """A comparison is read with the column first; the other way round it would be judged as its opposite."""
    opened = [
        at
        for at, token in enumerate(statement.tokens[:-1])
        if token.is_mark("(") and statement.tokens[at + 1].is_word("select")
    ]
    for at in opened:
        end = closing(statement.tokens, at, len(statement.tokens))
        if end + 1 < len(statement.tokens) and statement.tokens[end + 1].is_mark(*COMPARES):
            yield "Write the column first and the SELECT that it is compared with after it."


def _unjoined(statement: SqlStatement) -> Iterator[str]:
    """Tables beside each other whose rows nothing brings together give every row with every other."""
    tokens, columns = statement.tokens, statement.columns
    for select in statement.selects:
        if len(select.sources) < 2:
            continue
        joined = set()
        for at, token in enumerate(tokens):
            if not token.is_mark("=", "==") or statement.select_of(at) is not select or at - 1 not in columns:
                continue
            other = next((one for one in (at + 1, at + 3) if one in columns), None)
            if other is not None and (pair := frozenset((statement.source_of(at - 1), statement.source_of(other)))):
                joined |= {pair} if len(pair) == 2 else set()
        using = sum(token.is_word("using") and statement.select_of(at) is select for at, token in enumerate(tokens))
        if len(joined) + using < len(select.sources) - 1:
            yield "Say by which columns the tables are joined, or use IN (SELECT ...)."
