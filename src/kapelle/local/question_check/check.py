"""Holds a SELECT that somebody wrote for a question against that question, before its result is believed.

Nobody vouches for the SELECT: a model that invents a filter, leaves one out, or joins so that rows count twice gives a
figure as smooth as a right one. So every word of the question must be used by the statement, and everything in the
statement that chooses or ranks must come from the question: its values, numbers, negations, comparisons, aggregates.
What is only spelt otherwise is mended, with a note; all else is a problem in words that its writer may mend. A right
statement that is not recognised as such is refused: that is meant so. How its parts are joined, condition_check judges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kapelle.errors import RefusedQuery
from kapelle.language import Phrase, plain, quote_text, split_words, stem, word_set
from kapelle.local.table_questions import (
    LEAST_OVERLAP,
    LINKING_SECONDS,
    LinkedColumn,
    LinkedTable,
    SchemaLinks,
    ValueLink,
)
from kapelle.tools import TableResult, Tables, quote_name, quote_value

from .asked_words import SIZES, AskedQuestion, AskedSpan
from .conditions import find_wrong_conditions
from .select_text import FUNCTIONS, Select, closing, names_given, read_selects, read_tokens_of
from .statement import Literal, Statement

MAX_ROWS = 1_000
MAX_TIES = 50
MAX_LIKE_MATCHES = 1_000
MAX_COMPARISONS = 400
"""Of the values of two columns, for one statement; a slow one counts as SLOW_COMPARISON. The rest is refused."""
SLOW_COMPARISON = 100
KNOWN_SHARE = 0.9
"""A column holds the names of a table's things if so much of its values are names there."""
_SAYS_YES = word_set("yes true y t 1")
_SAYS_NO = word_set("no false n f 0")


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
        return _Check(sql, question, tables, links, values, only).run()
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


class _Check:
    """Holds one statement against one question."""

    def __init__(
        self, sql: str, question: str, tables: Tables, links: SchemaLinks, values: Sequence[str], only: str | None
    ) -> None:
        self.tables = tables
        self.links = links
        self.asked = AskedQuestion(question, links, values)
        self.only = only
        self.statement = Statement.read(sql, links)
        self.read: frozenset[str] = frozenset()
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.changes: dict[int, str] = {}
        """What stands in the place of a token, by its position."""
        self._comparisons = 0
        self._overlaps: dict[tuple[tuple[str, str], tuple[str, str]], tuple[int, int, int]] = {}

    def run(self) -> CheckedSelect:
        self.tables.reads(self.statement.sql)  # SQLite names what is not there
        self._check_constructs()
        self._check_literals()
        self._raise()
        sql = self._rewritten()
        reads = self.tables.reads(sql)
        self.read = frozenset(table for table, _ in reads)
        if not self.read:
            raise DoesNotFit(["It reads no table."])
        if self.only is not None and self.read != {self.only}:
            raise DoesNotFit([f"Read the table {quote_name(self.only)} alone."])
        self._check_words()
        self._check_tables()
        self._check_numbers()
        self._check_constructs_are_asked()
        self._check_negations()
        self.problems += find_wrong_conditions(self.statement, self.asked, self.links, self._is_unique)
        self._check_outputs()
        self._check_joins()
        self._check_sums()
        self._check_ranking()
        self._raise()
        sql = self._with_ties(sql)
        shown = ", ".join(sorted({f"{table}.{column}" for table, column in reads if column}) or sorted(self.read))
        is_one = any(
            self.asked.count_ranks(direction) > self._ranks(direction) and not self._ranks(direction)
            for direction in ("desc", "asc")
        )
        tables = tuple(sorted(self.read))
        return CheckedSelect(sql=sql, tables=tables, reads=shown, notes=tuple(self.notes), is_one=is_one)

    def _raise(self) -> None:
        if self.problems:
            raise DoesNotFit(self.problems)

    def _rewritten(self) -> str:
        """The statement without comments, with what was mended."""
        tokens, sql = self.statement.tokens, self.statement.sql
        parts: list[str] = []
        for at, token in enumerate(tokens):
            is_apart = at and (sql[tokens[at - 1].end : token.start] != "")
            parts.append(" " * bool(is_apart) + self.changes.get(at, sql[token.start : token.end]))
        return "".join(parts)

    # -- what is read at all

    def _check_constructs(self) -> None:
        statement = self.statement
        for position, name in statement.calls:
            if name not in FUNCTIONS:
                self.problems.append(f"The function {quote_text(name)} is not used here. Write it without.")
            if name in ("max", "min") and self._arguments(position) > 1:
                self.problems.append(f"{name.upper()} with several arguments is not used here.")
        for at in statement.unknown:
            token = statement.tokens[at]
            if token.kind == "name":
                self.changes[at] = quote_value(token.text)  # a text in double quotes, as SQLite would take it
            else:
                self.problems.append(f"{quote_text(token.text)} is no table, column or plain SQL. Write it without.")
        clash = names_given(statement.tokens) & set(self.links.tables)
        with_names = {
            one.text for one, two in zip(statement.tokens, statement.tokens[1:], strict=False) if two.is_word("as")
        }
        if statement.tokens[0].is_word("with") and clash & with_names:
            self.problems.append(f"{quote_text(min(clash))} is a table. Give WITH another name.")
        if statement.has("union") and any(
            one.is_word("union") and two.is_word("all")
            for one, two in zip(statement.tokens, statement.tokens[1:], strict=False)
        ):
            self.problems.append("UNION ALL is not used here. Write UNION.")

    def _arguments(self, position: int) -> int:
        tokens = self.statement.tokens
        end = closing(tokens, position + 1, len(tokens))
        depth = tokens[position].depth + 1
        return 1 + sum(tokens[at].is_mark(",") and tokens[at].depth == depth for at in range(position, end))

    # -- values

    def _check_literals(self) -> None:
        for literal in self.statement.literals:
            if literal.is_text:
                self._check_text(literal)
        given = [value for value in self.asked.given if not self._holds_value(value)]
        self.problems += [f"The value {quote_text(value)} of the question is not in it." for value in given]

    def _holds_value(self, value: str) -> bool:
        words = split_words(value)
        return any(split_words(literal.value) == words for literal in self.statement.literals)

    def _check_text(self, literal: Literal) -> None:
        said = quote_value(literal.value)
        if literal.function in ("strftime", "trim") and not literal.operator:
            if literal.function == "strftime" and not re.fullmatch(r"%[Ymd](?:-%[md]){0,2}", literal.value):
                self.problems.append(f"The format {said} is not used here.")
            return
        if not split_words(literal.value) and not literal.operator and literal.function == "(":
            return  # '; ' around a list
        if literal.column is None or not literal.operator:
            self.problems.append(f"The text {said} is not compared with a column.")
        elif literal.function in ("strftime", "substr"):
            is_year = bool(re.fullmatch(r"\d{4}", literal.value)) and self.asked.has("when")
            if not (literal.operator in ("=", "==", "in") or is_year) or not self.asked.says(literal.value):
                self.problems.append(f"{said} is not in the question.")
        elif literal.operator == "like":
            self._check_like(literal, literal.column)
        elif literal.operator not in ("=", "==", "<>", "!=", "in"):
            self.problems.append(f"{'.'.join(literal.column)} holds texts, which are not compared by size.")
        else:
            self._check_equal(literal, literal.column)

    def _check_equal(self, literal: Literal, column: tuple[str, str]) -> None:
        name, said = ".".join(column), quote_value(literal.value)
        linked = self._linked(column)
        stored = self._stored(column, literal.value)
        if stored is None:  # a thing that another table knows may rightly be found nowhere in this one
            named = [
                link for link in self._links_of(literal.value) if self._label(link.column.table) == link.column.name
            ]
            known = {link.value for link in named if self._names_things(column, link.column.table)}
            stored = known.pop() if len(known) == 1 else None
        if stored is None:
            elsewhere = sorted(
                {f"{link.column.table}.{link.column.name}" for link in self._links_of(literal.value)} - {name}
            )
            hint = f" It is a value of {' and of '.join(elsewhere[:3])}." if elsewhere else ""
            self.problems.append(f"{said} is no value of {name}.{hint}")
            return
        if linked is not None and linked.holds_lists:
            self.problems.append(
                f"{name} holds lists apart by '; '. Write ('; ' || {linked.name} || ';') LIKE "
                f"{quote_value(f'%; {stored};%')}."
            )
            return
        if stored != literal.value and not literal.function:
            self.changes[literal.position] = quote_value(stored)
            self.notes.append(f"{said} was written as {quote_value(stored)}, as it is in the table")
        elif stored != literal.value and literal.function not in ("lower", "upper", "trim"):
            self.problems.append(f"{said} is no value of {name}; {quote_value(stored)} is.")
        if not self.asked.says(stored):
            self._check_polarity(literal, column)
        elif not self._is_meant(literal.value, column):
            others = sorted({f"{link.column.table}.{link.column.name}" for link in self._links_of(literal.value)})
            self.problems.append(
                f"{said} is a value of {', '.join(others[:4])}, and the question does not say that {name} is meant."
            )

    def _check_like(self, literal: Literal, column: tuple[str, str]) -> None:
        name, said = ".".join(column), quote_value(literal.value)
        bare = literal.value.strip("%; ")
        if not split_words(bare) or "%" in bare or "_" in bare or not self.asked.says(bare):
            self.problems.append(f"{said} is not in the question.")
            return
        found = self._query(
            f"SELECT DISTINCT {quote_name(column[1])} FROM {quote_name(column[0])} "  # noqa: S608 - quoted
            f"WHERE {quote_name(column[1])} LIKE {quote_value('%' + bare + '%')}",
            MAX_LIKE_MATCHES,
        )
        values = [str(row[0]) for row in found.rows] if found is not None and not found.truncated else []
        linked, words = self._linked(column), split_words(bare)
        if linked is not None and linked.holds_lists:
            if literal.function != "(" or literal.value != f"%; {bare};%":
                self.problems.append(
                    f"{name} holds lists apart by '; '. Write ('; ' || {linked.name} || ';') LIKE "
                    f"{quote_value(f'%; {bare};%')}."
                )
            elif not any(bare in value.split("; ") for value in values):
                self.problems.append(f"{quote_value(bare)} is no value of {name}.")
            return
        exact = self._stored(column, bare)
        if exact is not None:
            self.problems.append(f"{quote_value(exact)} is a value of {name}. Compare it by =.")
        elif not values:
            self.problems.append(f"No value of {name} is like {said}.")
        elif not all(_holds_words(split_words(value), words) for value in values):
            self.problems.append(f"{said} also finds other words in {name}.")

    def _check_polarity(self, literal: Literal, column: tuple[str, str]) -> None:
        """A value that the question does not name: only the yes or no of a column that it does name."""
        word = plain(literal.value.strip())
        if column not in self.asked.columns or word not in _SAYS_YES | _SAYS_NO or literal.operator not in ("=", "=="):
            self.problems.append(f"{quote_value(literal.value)} is not in the question.")
        elif (word in _SAYS_NO) != self.asked.has("not"):
            self.problems.append(
                f"{column[1]} = {quote_value(literal.value)} is {'more' if word in _SAYS_NO else 'less'} "
                "of a negation than the question has."
            )

    def _is_meant(self, value: str, column: tuple[str, str]) -> bool:
        """Whether the question tells that a value is meant as one of this column, where others hold it too."""
        holders = {(link.column.table, link.column.name) for link in self._links_of(value)} | {column}
        beside = self.asked.find_table_beside(value)
        if beside is not None and any(self._names_things(holder, beside.name) for holder in holders):
            return self._names_things(column, beside.name)
        if len({self._same_thing(holder) for holder in holders}) == 1 or column in self.asked.columns:
            return True
        labels = {holder for holder in holders if self._label(holder[0]) == holder[1] and self._names_rows(holder)}
        if labels and len({self._same_thing(label) for label in labels}) > 1:
            return False  # a state and a river of one name
        if column in labels:
            return True
        if sum(holder[0] == column[0] for holder in holders) > 1:
            return False
        return column[0] in self.asked.tables or self._is_named_by_columns(column[0]) or self._holds_named(column)

    def _names_rows(self, label: tuple[str, str]) -> bool:
        return self.links.tables[label[0]].repeats or self._is_unique(label)

    def _same_thing(self, column: tuple[str, str]) -> str:
        """A name that columns share which hold the same things: their own, or that of the column they join."""
        joined = {column[1]}
        for join in self.links.joins:
            pair = {(join.column.table, join.column.name), (join.to.table, join.to.name)}
            if column in pair:
                joined |= {name for _, name in pair}
        return min(joined)

    def _holds_named(self, column: tuple[str, str]) -> bool:
        """Whether a column holds the names of the things that a table is about which the question names."""
        return any(self._names_things(column, table) for table in self.asked.tables)

    def _is_named_by_columns(self, table: str) -> bool:
        """Whether the question names a column that this table alone has."""
        named = [column for column in self.asked.columns if column[0] == table]
        return any(all(other[0] == table for other in self.asked.columns if other[1] == name) for _, name in named)

    # -- words, numbers, what is asked for

    def _check_words(self) -> None:
        left = self.asked.unaccounted(self._accounts_for)
        if left:
            self.problems.append(f"It does not use {', '.join(map(quote_text, left[:6]))} of the question.")

    def _check_tables(self) -> None:
        """Each table must be named, have a column that is named, or be the way between two tables that are."""
        for table in self.read - self.asked.tables:
            used = {column for column in set(self.statement.columns.values()) if column[0] == table}
            if any(self._is_only_here(column) for column in used & self.asked.columns):
                self._check_repeated(table)
                continue
            if any(self._is_one_row(literal, table) for literal in self.statement.literals):
                continue
            if self._links_things(table):
                continue
            ways = [pair for pair in self._compared_columns() if any(column in used for column in pair)]
            reached = {column[0] for pair in ways for column in pair} & self.asked.tables
            if len(reached) < 2 or any(literal.column in used for literal in self.statement.literals):
                self.problems.append(f"It reads {table}, of which the question does not speak.")

    def _links_things(self, table: str) -> bool:
        """Whether a table says which things of two kinds go together, and the question speaks of both kinds."""
        linked = self.links.tables[table]
        used = {name for of, name in self.statement.columns.values() if of == table}
        spoken: list[frozenset[str]] = []
        for column in linked.columns:
            key = (table, column.name)
            things = frozenset(
                other for other in self.links.tables if other != table and self._names_things(key, other)
            )
            is_valued = any(literal.column == key for literal in self.statement.literals)
            is_used = column.name in used or len(linked.columns) == 2
            if is_used and things and (things & self.asked.tables or is_valued):
                spoken.append(things)
        return any(not one & two for one in spoken for two in spoken)

    def _is_one_row(self, literal: Literal, table: str) -> bool:
        """Whether a value is the name of one row of a table, so that naming it names the table."""
        column = (table, self._label(table) or "")
        if literal.column != column or self.links.tables[table].repeats:
            return False
        name, value = quote_name(column[1]), quote_value(self._final(literal))
        found = self._query(f"SELECT 1 FROM {quote_name(table)} WHERE {name} = {value}", 2)  # noqa: S608 - quoted
        return found is not None and len(found.rows) == 1

    def _check_repeated(self, table: str) -> None:
        """ "Borders a state that borders" takes the table of borders twice."""
        starts: dict[str, set[int]] = {}
        for span in self.asked.spans:
            for column in span.columns:
                if len(span.words) == 1 and column.table == table and not column.is_number:
                    starts.setdefault(column.name, set()).add(span.start)
        said = max(map(len, starts.values()), default=0)
        found = sum(self._table_name(source) == table for select in self.statement.selects for source in select.sources)
        used = [place for place in self.statement.columns.values() if place[0] == table and place[1] in starts]
        if found < said or len(used) < said or self._nesting(table) > max(1, said):
            self.problems.append(f"The question speaks of {table} {said} times, and the query does not.")

    def _nesting(self, table: str) -> int:
        """How many selects of a table stand within each other."""
        most = 0
        for select in self.statement.selects:
            depth, outer = 0, select
            while outer is not None:
                depth += any(self._table_name(source) == table for source in outer.sources)
                outer = outer.parent  # type: ignore[assignment]  # the outermost has none
            most = max(most, depth)
        return most

    def _is_only_here(self, column: tuple[str, str]) -> bool:
        """Whether no table that is named has a column of this name too."""
        return not any(
            (linked := self.links.tables[table].column(column[1])) is not None and linked.table != column[0]
            for table in self.asked.tables
        )

    def _accounts_for(self, span: AskedSpan) -> bool:
        statement = self.statement
        literals = {self._final(literal) for literal in statement.literals}
        if span.values & literals or any(value in literal for value in span.values for literal in self._likes()):
            return True
        if span.table is not None and (span.table.name in self.read or self._reads_things_of(span.table)):
            return True
        used = set(statement.columns.values())
        if any((column.table, column.name) in used for column in span.columns):
            return True
        if span.number is not None:
            return span.number in self._numbers_used()
        if span.unit:
            return any(column is not None and column.unit == span.unit for column in map(self._linked, used))
        if span.phrase is not None:
            return self._accounts_for_phrase(span)
        return span.is_stop

    def _accounts_for_phrase(self, span: AskedSpan) -> bool:
        assert span.phrase is not None
        phrase, names = span.phrase, {name for _, name in self.statement.calls}
        named = {(one.table, one.name) for said in self.asked.spans if said.phrase is None for one in said.columns}
        has_concept = not phrase.concept or any(
            column.is_number and (column.concepts & set(phrase.concept.split()) or (column.table, column.name) in named)
            for column in map(self._linked, set(self.statement.columns.values()))
            if column is not None
        )
        operators = self._operators()
        if phrase.kind == "count" and phrase.value == "different":
            return any(name == "count" and self.statement.is_distinct(at) for at, name in self.statement.calls)
        if phrase.kind == "count":
            return "count" in names or self._uses_number_after(span)
        if phrase.kind == "aggregate":
            wanted = {"sum": {"sum", "count"}, "avg": {"avg"}}.get(phrase.value)
            return bool(names & wanted) if wanted else self._ranks("desc" if phrase.value == "max" else "asc") > 0
        if phrase.kind in ("superlative", "top"):
            return self._ranks(phrase.value) > 0 and has_concept
        if phrase.kind == "order":
            return self.statement.has("order")
        if phrase.kind == "direction":
            return self.statement.has("order") and self.statement.has("desc") == (phrase.value == "desc")
        if phrase.kind == "compare":
            return phrase.value.split()[-1] in operators and has_concept
        if phrase.kind == "when":  # the number is checked by itself
            return phrase.value == "=" or phrase.value in operators
        if phrase.kind == "verb":
            return self._goes_with(phrase)
        if phrase.kind == "between":
            return "between" in operators or {">=", "<="} <= operators
        if phrase.kind == "how":
            return has_concept
        if phrase.kind == "per":
            return span.words == ("by",) or self.statement.has("group")
        if phrase.kind == "not":
            return self._negates()
        return "or" not in span.words or self.statement.has("or", "in", "union")

    def _goes_with(self, phrase: Phrase) -> bool:
        """Whether a column or table that is used is of the kind that a verb goes with: "flows through" a country."""
        wanted = {stem(word) for word in phrase.concept.split()}
        if phrase.value or not wanted:
            return False
        for column in set(self.statement.columns.values()):
            linked = self._linked(column)
            if linked is not None and (
                wanted & {*linked.stems, *linked.concepts} or set(phrase.concept.split()) & linked.concepts
            ):
                return True
            if any(
                wanted & set(table.stems) and self._names_things(column, table.name)
                for table in self.links.tables.values()
            ):
                return True
        return False

    def _operators(self) -> set[str]:
        found = {literal.operator for literal in self.statement.literals}
        return found | {token.text for token in self.statement.tokens if token.is_mark("<", ">", "<=", ">=")}

    def _negates(self) -> bool:
        tokens = self.statement.tokens
        if self.statement.has("except") or any(token.is_mark("<>", "!=") for token in tokens):
            return True
        for at, token in enumerate(tokens):
            if token.is_word("not") and not tokens[at - 1].is_word("is"):
                return True
            if token.is_word("null") and tokens[at - 1].is_word("is"):
                return True
        return any(
            plain(literal.value) in _SAYS_NO and literal.column in self.asked.columns
            for literal in self.statement.literals
        )

    def _ranks(self, direction: str) -> int:
        """How often the statement looks for the largest (`desc`) or the smallest."""
        name = "max" if direction == "desc" else "min"
        count = sum(call == name for _, call in self.statement.calls)
        for select in self.statement.selects:
            order = self.statement.order(select)
            if order is not None and "limit" in select.clauses:
                count += order[2] == (direction == "desc")
        return count

    def _uses_number_after(self, span: AskedSpan) -> bool:
        """Whether "how many" is about a column of numbers, as in "how many people live in"."""
        after = self.asked.find_after(span)
        used = set(self.statement.columns.values())
        return after is not None and any(one.is_number and (one.table, one.name) in used for one in after.columns)

    def _numbers_used(self) -> set[float]:
        found = {literal.number for literal in self.statement.literals}
        bare = (literal.value.strip("%- ") for literal in self.statement.literals if literal.is_text)
        found |= {float(text) for text in bare if re.fullmatch(r"\d{1,18}(?:\.\d{1,18})?", text)}
        return {number for number in found if number is not None}

    def _check_numbers(self) -> None:
        for unclear in self.asked.find_unclear_numbers():
            self.problems.append(f"{quote_text(unclear)} may be read in two ways. Ask with both numbers in full.")
        for literal in self.statement.literals:
            if literal.is_text or literal.number is None or literal.number in self.asked.numbers:
                continue
            where = self.statement.select_of(literal.position).holds(literal.position)
            if where == "limit" and literal.number == 1 and (self.asked.has("superlative") or self.asked.has("top")):
                continue
            if where == "limit" and literal.number == 1 and self.asked.has("aggregate"):
                continue
            if literal.function in ("round", "substr", "count") and not literal.operator:
                continue
            if literal.value == "1.0" or (where in ("group", "order") and not literal.operator):
                continue
            if literal.number == 0 and literal.operator in ("=", "==") and self.asked.has("not"):
                continue
            is_flag = literal.column in self.asked.columns and literal.operator in ("=", "==")
            if is_flag and literal.number == 1 and not self.asked.has("not"):
                continue
            self.problems.append(f"The number {literal.value} is not in the question.")

    def _check_constructs_are_asked(self) -> None:
        asked, statement = self.asked, self.statement
        names = {name for _, name in statement.calls}
        ranks = (
            asked.has("superlative")
            or asked.has("top")
            or asked.has("aggregate", "max")
            or asked.has("aggregate", "min")
        )
        counts = asked.has("count") or asked.has("superlative") or asked.has("top") or asked.has("aggregate", "sum")
        if "count" in names and not (counts or asked.has("compare") or asked.has("between") or asked.has("not")):
            self.problems.append("It counts, which the question does not ask.")
        if "sum" in names and not (asked.has("aggregate", "sum") or asked.has("count") or (ranks and asked.has("per"))):
            self.problems.append("It sums, which the question does not ask.")
        if "avg" in names and not asked.has("aggregate", "avg"):
            self.problems.append("It takes an average, which the question does not ask.")
        for direction in ("desc", "asc"):
            wanted = self.asked.count_ranks(direction)
            found, word = self._ranks(direction), "largest" if direction == "desc" else "smallest"
            if found < asked.count_phrases(direction):
                self.problems.append(f"It does not look for the {word} as often as the question.")
            if found > wanted:
                self.problems.append(f"It looks for the {word} {found} times, the question {wanted} times.")
        if any("limit" in select.clauses and statement.order(select) is None for select in statement.selects):
            self.problems.append("LIMIT without ORDER BY leaves rows out at random.")
        if statement.has("limit") and not (ranks or asked.numbers):
            self.problems.append("LIMIT leaves rows out, which the question does not ask.")
        if self._negates() and not asked.has("not"):
            self.problems.append("It negates, which the question does not.")
        compared = {literal.operator for literal in statement.literals} | self._operators()
        if compared & {"<", ">", "<=", ">=", "between"} and not (
            asked.has("compare") or asked.has("between") or asked.has("when")
        ):
            self.problems.append("It compares by size, which the question does not ask.")
        if statement.has("group") and not (asked.has("per") or ranks or asked.has("compare") or asked.has("count")):
            self.problems.append("It groups rows, which the question does not ask.")
        if statement.has("or") and "or" not in asked.words and "and" not in asked.words:
            self.problems.append("It has OR, which the question does not.")

    def _check_negations(self) -> None:
        """What is negated must be what the question negates, and all else must not be."""
        tokens, asked = self.statement.tokens, self.asked
        after = [(span, asked.find_after(span)) for span in asked.negations]
        for at, token in enumerate(tokens):
            is_first = token.is_word("not") and tokens[at - 1].is_word("where", "and", "or", "on", "having", "not")
            if is_first and not (at + 1 < len(tokens) and tokens[at + 1].is_word("exists")):
                self.problems.append("NOT before a condition is not used here. Write <> or NOT IN.")
        for literal in self.statement.literals:
            value = self._final(literal)
            starts = asked.find_starts(value)
            if literal.column is None or not literal.operator or not starts:
                continue
            if literal.is_negated and not any(span.start < start for span in asked.negations for start in starts):
                self.problems.append(f"The question does not negate {quote_text(value)}.")
            is_asked = not literal.is_negated and not self._is_in_negated(literal.position)
            if is_asked and any(
                then is not None and then.start in starts and value in then.values for _, then in after
            ):
                self.problems.append(f"The question negates {quote_text(value)}.")
        for first, end in self._negated_selects():
            if not any(then is not None and self._stands_in(then, first, end) for _, then in after):
                self.problems.append("The question does not negate what NOT or EXCEPT leaves out.")

    def _negated_selects(self) -> list[tuple[int, int]]:
        """First token and the one after the last of selects whose rows are left out."""
        tokens = self.statement.tokens
        found = []
        for at, token in enumerate(tokens[:-2]):
            if token.is_word("not") and tokens[at + 1].is_word("in", "exists") and tokens[at + 2].is_mark("("):
                if at + 3 < len(tokens) and tokens[at + 3].is_word("select"):
                    found.append((at + 3, closing(tokens, at + 2, len(tokens))))
            elif token.is_word("except"):
                found.append((at + 1, len(tokens)))
        return found

    def _is_in_negated(self, position: int) -> bool:
        return any(first <= position < end for first, end in self._negated_selects())

    def _stands_in(self, span: AskedSpan, first: int, end: int) -> bool:
        """Whether some tokens speak of what a span means."""
        columns = {self.statement.columns[at] for at in range(first, end) if at in self.statement.columns}
        values = {self._final(one) for one in self.statement.literals if first <= one.position < end}
        if span.values & values or any((one.table, one.name) in columns for one in span.columns):
            return True
        read = {
            self._table_name(source)
            for select in self.statement.selects
            if first <= select.clauses["select"][0] <= end
            for source in select.sources
        }
        table = span.table
        if table is None:
            return False
        pure = [self.links.tables[name] for name in read if name and len(self.links.tables[name].columns) == 2]
        return (
            table.name in read
            or any(self._names_things((one.name, column.name), table.name) for one in pure for column in one.columns)
            or any(self._names_things(column, table.name) for column in columns)
        )

    def _check_outputs(self) -> None:
        statement, shown = self.statement, self._shown_positions()
        for select in self._outer():
            for first, end in statement.outputs(select):
                if (
                    end - first
                    and statement.tokens[end - 1].is_mark("*")
                    and not statement.tokens[end - 1].depth > select.depth
                ):
                    self.problems.append("SELECT * shows everything. Name the columns that are asked for.")
        for at in shown:
            column = statement.columns.get(at)
            if column is None:
                continue
            if not self._is_asked(column):
                label = self._label(column[0])
                hint = f" Show {label}." if label and label != column[1] and column[0] in self.asked.tables else ""
                self.problems.append(f"It shows {'.'.join(column)}, which is not asked for.{hint}")
        wanted = self.asked.first
        if wanted is None or self.problems:
            return
        columns = {statement.columns[at] for at in shown if at in statement.columns}
        counts = any(name == "count" and at in shown for at, name in statement.calls)
        is_shown = (counts and self.asked.has("count")) or any(
            (one.table, one.name) in columns for one in wanted.columns
        )
        if wanted.table is not None:
            is_shown = is_shown or any(self._names_things(column, wanted.table.name) for column in columns)
        if not is_shown:
            self.problems.append(f"The question asks for {quote_text(wanted.text)}, and it shows something else.")

    def _is_asked(self, column: tuple[str, str]) -> bool:
        """Whether the question asks for a column: by its name, or as what names the things of a table it names."""
        table, name = column
        if column in self.asked.columns:
            alike = {other[0] for other in self.asked.columns if other[1] == name and other[0] != table}
            if not alike or table in self.asked.tables or self._is_about(table):
                return True
        if self._label(table) == name and table in self.asked.tables:
            return True
        return self._holds_named(column)

    def _is_about(self, table: str) -> bool:
        """Whether a table is about a thing that the question names: its label is compared with a value or column so."""
        label = (table, self._label(table) or "")
        if any(one.column == label and one.operator in ("=", "==", "in") for one in self.statement.literals):
            return True
        pairs = self._compared_columns()
        return any({one, two} - {label} <= self.asked.columns for one, two in pairs if label in (one, two))

    def _outer(self) -> list[Select]:
        least = min(select.depth for select in self.statement.selects if select.parent is None)
        return [select for select in self.statement.selects if select.parent is None and select.depth == least]

    def _shown_positions(self) -> set[int]:
        """The tokens of what the outermost selects show, without those of selects inside."""
        found: set[int] = set()
        for select in self._outer():
            first, end = select.clauses["select"]
            found |= {at for at in range(first, end) if self.statement.select_of(at) is select}
        return found

    # -- joins, sums, ranking

    def _check_joins(self) -> None:
        for left, right in self._compared_columns():
            if not self._hold_same(left, right):
                self.problems.append(f"{'.'.join(left)} and {'.'.join(right)} do not hold the same things.")

    def _compared_columns(self) -> list[tuple[tuple[str, str], tuple[str, str]]]:
        """The different columns that are held to be equal."""
        tokens, columns = self.statement.tokens, self.statement.columns
        found = []
        for at, token in enumerate(tokens):
            if token.is_mark("=", "==") or token.is_word("in"):
                left = columns.get(at - 1) if not tokens[at - 1].is_word("not") else columns.get(at - 2)
                right = self._right_of(at)
                if left is not None and right is not None and left != right:
                    found.append((left, right))
        return found

    def _right_of(self, at: int) -> tuple[str, str] | None:
        """The column on the right of a comparison: named there, or the only thing that a select in its place shows."""
        tokens, columns = self.statement.tokens, self.statement.columns
        if at + 2 < len(tokens) and tokens[at + 1].is_mark("(") and tokens[at + 2].is_word("select"):
            first = at + 3 + tokens[at + 3].is_word("distinct")
        else:
            first = at + 1
        if first + 2 < len(tokens) and tokens[first + 1].is_mark("."):
            first += 2
        return columns.get(first)

    def _check_sums(self) -> None:
        statement = self.statement
        for at, name in statement.calls:
            if name not in ("count", "sum", "avg"):
                continue
            select = statement.select_of(at)
            tables = [self.links.tables[key] for key in map(self._table_name, select.sources) if key]
            is_joined = len(select.sources) > 1
            is_distinct = statement.is_distinct(at)
            if name == "count" and is_distinct:
                self._check_counted_once(at)
            elif name == "count" and (is_joined or any(table.repeats for table in tables)):
                label = next((table.label.name for table in tables if table.label is not None), "name")
                self.problems.append(f"Rows may count several times. Use COUNT(DISTINCT {label}).")
            elif name != "count" and is_distinct:
                self.problems.append(f"{name.upper()}(DISTINCT) leaves out equal numbers of different things.")
            elif name != "count" and any(table.repeats for table in tables):
                self.problems.append("A thing stands in several rows of that table, so its numbers count twice.")
            elif name != "count" and is_joined and self._multiplies(at, select):
                self.problems.append("The join repeats rows, so numbers count twice. Use IN (SELECT ...) in its place.")
            if name != "count":
                self._check_is_number(at)

    def _table_name(self, source: object) -> str:
        table = getattr(source, "table", "")
        return next((name for name in self.links.tables if name.lower() == table.lower()), "")

    def _check_counted_once(self, at: int) -> None:
        """Namesakes are several things: they cannot be counted by their name."""
        end = closing(self.statement.tokens, at + 1, len(self.statement.tokens))
        columns = [self.statement.columns[one] for one in range(at, end) if one in self.statement.columns]
        if len(columns) != 1 or not (self._is_asked(columns[0])):
            self.problems.append("COUNT(DISTINCT ...) takes the column that names the things asked for.")
            return
        table = self.links.tables[columns[0][0]]
        is_label = (
            table.label is not None and table.label.name == columns[0][1] and columns[0] not in self.asked.columns
        )
        if is_label and not table.repeats and not self._is_unique(columns[0]):
            self.problems.append(f"Different things of {table.name} have one name, so names do not count them.")

    def _multiplies(self, at: int, select: Select) -> bool:
        """Whether a join repeats rows of the table whose numbers are summed. What cannot be told counts as yes."""
        statement = self.statement
        end = closing(statement.tokens, at + 1, len(statement.tokens))
        inside = [one for one in range(at, end) if one in statement.columns]
        sources = {statement.source_of(one) for one in inside}
        if len(sources) != 1 or "" in sources:
            return True
        first = select.clauses["from"][0] - 1
        last = select.clauses.get("where", select.clauses["from"])[1]
        parts = [self.changes.get(one, statement.text(one, one + 1)) for one in range(first, last)]
        alias = quote_name(sources.pop())
        found = self._query(f"SELECT count(*), count(DISTINCT {alias}.rowid) {' '.join(parts)}", 1)
        return found is None or found.rows[0][0] != found.rows[0][1]

    def _check_is_number(self, at: int) -> None:
        end = closing(self.statement.tokens, at + 1, len(self.statement.tokens))
        self._check_measure(at, end)

    def _check_measure(self, first: int, end: int) -> None:
        """What is ranked or summed must be a number: texts rank by their letters."""
        statement = self.statement
        columns = {statement.columns[at] for at in range(first, end) if at in statement.columns}
        is_cast = any(statement.tokens[at].is_word("cast") for at in range(first, end))
        is_count = any(at in range(first, end) and name == "count" for at, name in statement.calls)
        for column in columns:
            linked = self._linked(column)
            if linked is None or linked.is_number or is_count:
                continue
            if not is_cast:
                self.problems.append(
                    f"{'.'.join(column)} holds texts. Use CAST({column[1]} AS REAL) to rank or sum it."
                )
            elif not self._holds_numbers(column):
                self.problems.append(f"{'.'.join(column)} does not hold numbers alone.")

    def _check_ranking(self) -> None:
        statement = self.statement
        for at, name in statement.calls:
            if name in ("max", "min"):
                self._check_is_number(at)
        for select in statement.selects:
            order = statement.order(select)
            if order is None or "limit" not in select.clauses:
                continue
            self._check_measure(order[0], order[1])
            columns = [statement.columns[at] for at in range(order[0], order[1]) if at in statement.columns]
            inner = select not in self._outer()
            if (
                inner
                and not order[2]
                and len(columns) == 1
                and self._has_nulls(columns[0])
                and not statement.has("null")
            ):
                self.problems.append(f"Rows without {columns[0][1]} come first. Add {columns[0][1]} IS NOT NULL.")
        self._check_extremes()
        self._check_ranked_by()
        self._check_size_is_clear()

    def _check_ranked_by(self) -> None:
        """What is ranked by must be named, or meant by a word such as `longest`; what follows that word beats this."""
        ranked = self._ranked()
        for _, column in ranked:
            if column is not None and column not in self.asked.columns:
                self.problems.append(f"It ranks by {'.'.join(column)}, which the question does not say.")
        for span in self.asked.spans:
            if span.phrase is None or span.phrase.kind not in ("superlative", "top"):
                continue
            after = self.asked.find_after(span)
            if after is None or not after.columns or not all(one.is_number for one in after.columns):
                continue
            wanted = set(after.columns)
            if (more := self.asked.find_after(after)) is not None and self.asked.is_next(after, more):
                wanted |= set(more.columns)  # "the lowest population density"
            if self.asked.is_next(span, after) and not any(
                direction == span.phrase.value and column is not None and self._linked(column) in wanted
                for direction, column in ranked
            ):
                self.problems.append(f"It does not rank by {quote_text(after.text)}, of which the question speaks.")

    def _ranked(self) -> list[tuple[str, tuple[str, str] | None]]:
        """The directions and columns that are ranked by; None where it is a count or an expression."""
        statement = self.statement
        places: list[tuple[str, int, int]] = []
        for at, name in statement.calls:
            if name in ("max", "min"):
                end = closing(statement.tokens, at + 1, len(statement.tokens))
                places.append(("desc" if name == "max" else "asc", at + 1, end))
        for select in statement.selects:
            order = statement.order(select)
            if order is not None and "limit" in select.clauses:
                places.append(("desc" if order[2] else "asc", order[0], order[1]))
        found: list[tuple[str, tuple[str, str] | None]] = []
        for direction, first, end in places:
            counts = any(first <= at < end and name == "count" for at, name in statement.calls)
            columns = {statement.columns[at] for at in range(first, end) if at in statement.columns}
            found += [(direction, column) for column in columns] if columns and not counts else [(direction, None)]
        return found

    def _check_extremes(self) -> None:
        """`x = (SELECT max(x) ...)` must filter alike inside and outside: else others of that size are found too."""
        tokens, statement = self.statement.tokens, self.statement
        for select in statement.selects:
            start = select.clauses["select"][0] - 1
            if select.parent is None or start < 2 or not tokens[start - 1].is_mark("("):
                continue
            if not any(name in ("max", "min") and select.holds(at) == "select" for at, name in statement.calls):
                continue
            if not tokens[start - 2].is_mark("=", "=="):
                continue
            inside = sorted(one.value for one in statement.literals if statement.select_of(one.position) is select)
            outside = sorted(
                one.value for one in statement.literals if statement.select_of(one.position) is select.parent
            )
            if inside != outside:
                self.problems.append(
                    "Filter alike inside and outside of the select with MAX or MIN, or use ORDER BY ... LIMIT 1."
                )

    def _check_size_is_clear(self) -> None:
        """ "Largest" by area or by population: where a table has both, the question has to say which."""
        ranks = [span for span in self.asked.spans if span.phrase is not None and span.phrase.kind in SIZES]
        named = {
            (column.table, column.name)
            for span in self.asked.spans
            if span.phrase is None
            and (
                self.asked.words[span.start - 1 : span.start] in (["by"], ["in"])
                or any(rank.start == span.start + len(span.words) for rank in ranks)
                or any(self.asked.find_after(rank) == span and self.asked.is_next(rank, span) for rank in ranks)
            )
            for column in span.columns
        }
        for phrase in self.asked.phrases:
            concepts = phrase.concept.split()
            if len(concepts) < 2 or phrase.kind not in SIZES:
                continue
            for table in self.read:
                fitting = [
                    column
                    for column in self.links.tables[table].columns
                    if column.is_number and column.concepts & set(concepts)
                ]
                used = [one for one in fitting if (one.table, one.name) in self.statement.columns.values()]
                if used and len(fitting) > 1 and not any((one.table, one.name) in named for one in used):
                    names = " or ".join(one.name for one in fitting)
                    self.problems.append(f"The question does not say whether {names} is meant.")

    def _with_ties(self, sql: str) -> str:
        """The statement with all that share the last place that it shows, where one place is asked for."""
        tokens = read_tokens_of(sql)
        statement = Statement.read(sql, self.links)
        outer = [select for select in statement.selects if select.parent is None and "limit" in select.clauses]
        if len(outer) != 1 or statement.has(*("union", "except", "intersect")):
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
        rows = self.tables.query(probe, max_rows=MAX_ROWS).rows
        if not rows:
            return sql
        last = rows[min(most, len(rows)) - 1][-1]
        if last is None:
            raise DoesNotFit([f"Rows without a value come into it. Add {key} IS NOT NULL."])
        shared = sum(row[-1] == last for row in rows[most:])
        if not shared:
            return sql
        if most > 1:
            self.notes.append("others share the last place")
            return sql
        if shared >= MAX_TIES:
            raise DoesNotFit([f"More than {MAX_TIES} share the first place."])
        self.notes.append("several share the first place")
        return f"{sql[: tokens[first].start]}{most + shared}"

    # -- what the tables hold

    def _likes(self) -> list[str]:
        return [literal.value.strip("%; ") for literal in self.statement.literals if literal.operator == "like"]

    def _final(self, literal: Literal) -> str:
        changed = self.changes.get(literal.position)
        return changed[1:-1].replace("''", "'") if changed is not None and changed.startswith("'") else literal.value

    def _reads_things_of(self, table: LinkedTable) -> bool:
        """Whether it uses a column of another table that holds the names of this one's things."""
        pure = [one for one in map(self.links.tables.get, self.read) if one is not None and len(one.columns) == 2]
        if any(self._names_things((one.name, column.name), table.name) for one in pure for column in one.columns):
            return True
        return any(self._names_things(column, table.name) for column in set(self.statement.columns.values()))

    def _linked(self, column: tuple[str, str]) -> LinkedColumn | None:
        table = self.links.tables.get(column[0])
        return table.column(column[1]) if table is not None else None

    def _label(self, table: str) -> str | None:
        linked = self.links.tables.get(table)
        return linked.label.name if linked is not None and linked.label is not None else None

    def _links_of(self, value: str) -> tuple[ValueLink, ...]:
        return self.links.values.get(tuple(split_words(value)), ())

    def _stored(self, column: tuple[str, str], value: str) -> str | None:
        """A value as a column holds it, however it is spelt here; None where it holds none like it."""
        table, name = map(quote_name, column)
        found = self._query(f"SELECT {name} FROM {table} WHERE {name} = {quote_value(value)}", 1)  # noqa: S608 - quoted
        if found is not None and found.rows:
            return value
        alike = {link.value for link in self._links_of(value) if (link.column.table, link.column.name) == column}
        return alike.pop() if len(alike) == 1 else None

    def _names_things(self, column: tuple[str, str], table: str) -> bool:
        """Whether a column holds the names of the things that a table is about."""
        label = (table, self._label(table) or "")
        if column == label:
            return True
        if any(
            {(one.table, one.name) for one in (join.column, join.to)} == {column, label} for join in self.links.joins
        ):
            return True
        shared, values, _ = self._shared(column, label)
        return values > 1 and shared >= KNOWN_SHARE * values

    def _hold_same(self, column: tuple[str, str], other: tuple[str, str]) -> bool:
        shared, one, two = self._shared(column, other)
        return 0 < shared >= LEAST_OVERLAP * min(one, two)

    def _shared(self, column: tuple[str, str], other: tuple[str, str]) -> tuple[int, int, int]:
        """How many different values two columns share, and how many each has; none where that cannot be told."""
        if not other[1]:
            return 0, 0, 0
        if (column, other) not in self._overlaps:
            one = f"SELECT DISTINCT {quote_name(column[1])} AS value FROM {quote_name(column[0])}"  # noqa: S608 - quoted
            two = f"SELECT DISTINCT {quote_name(other[1])} AS value FROM {quote_name(other[0])}"  # noqa: S608 - quoted
            self._comparisons += 1
            found = (
                None
                if self._comparisons > MAX_COMPARISONS
                else self._query(
                    f"SELECT (SELECT count(value) FROM ({one}) WHERE value IN ({two})), "  # noqa: S608 - quoted
                    f"(SELECT count(value) FROM ({one})), (SELECT count(value) FROM ({two}))",
                    1,
                )
            )
            if found is None:  # it takes too long, and others would
                self._comparisons += SLOW_COMPARISON
            shared, first, second = found.rows[0] if found is not None else (0, 0, 0)
            self._overlaps[column, other] = int(shared), int(first), int(second)
        return self._overlaps[column, other]

    def _is_unique(self, column: tuple[str, str]) -> bool:
        table, name = map(quote_name, column)
        found = self._query(f"SELECT count({name}) = count(DISTINCT {name}) FROM {table}", 1)  # noqa: S608 - quoted
        return found is not None and bool(found.rows[0][0])

    def _has_nulls(self, column: tuple[str, str]) -> bool:
        table, name = map(quote_name, column)
        found = self._query(f"SELECT 1 FROM {table} WHERE {name} IS NULL", 1)  # noqa: S608 - quoted
        return found is None or bool(found.rows)

    def _holds_numbers(self, column: tuple[str, str]) -> bool:
        """Whether a column of texts holds plain numbers alone, so that a CAST makes up none."""
        table, name = map(quote_name, column)
        found = self._query(
            f"SELECT 1 FROM {table} WHERE {name} IS NOT NULL "  # noqa: S608 - quoted
            f"AND trim({name}) NOT IN (CAST(CAST({name} AS INTEGER) AS TEXT), CAST(CAST({name} AS REAL) AS TEXT))",
            1,
        )
        return found is not None and not found.rows

    def _query(self, sql: str, most: int) -> TableResult | None:
        try:
            return self.tables.query(sql, max_rows=most, timeout_s=LINKING_SECONDS)
        except RefusedQuery:
            return None


def _holds_words(words: Sequence[str], wanted: Sequence[str]) -> bool:
    return any(list(words[at : at + len(wanted)]) == list(wanted) for at in range(len(words) - len(wanted) + 1))
