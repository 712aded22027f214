"""Turns plain questions about tables into SQL by rules: no model, and no guess.

Three steps: read (every word becomes a table, a column, a value, a number or a phrase that asks for something), resolve
(which table the question is about, which columns and joins its words mean there), write (one SELECT, and a sentence
that says how the question was understood). A word that nothing accounts for, or that could mean two things, ends in a
refusal with the reason: a wrong figure is worse than none. Filters through another table are written as
`key IN (SELECT ...)`, so that no join counts a row twice. Not covered: negation, nesting, arithmetic, dates.
"""

from __future__ import annotations

import difflib
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from kapelle.knowledge import quote_text, split_words

from .question_words import LONGEST_PHRASE, Phrase, Token, find_phrase, find_unit, read_tokens
from .schema_links import MAX_VALUE_WORDS, Join, LinkedColumn, LinkedTable, SchemaLinks, ValueLink, link_schema
from .tables import Tables, quote_name, quote_value

MAX_QUESTION_CHARS = 2_000
MAX_COMPARED_CHARS = 60
MAX_COMPARED_WORDS = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One cell of one row: the row that `label` calls `value`, and the column asked for."""

    table: str
    label: str
    value: str
    column: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TablePlan:
    """A question as SQL."""

    sql: str
    understood: str
    """How the question was understood, for people to check."""
    tables: tuple[str, ...]
    """The tables that it reads."""
    cell: Cell | None = None
    """Set when the question asks for one column of one named row."""
    claim: str = ""
    """What the first column of the result has, by the second: "the most rivers"; empty for other questions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a table: the one that `label` calls `value`."""

    table: str
    label: str
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NotUnderstood:
    """Why a question was not turned into SQL."""

    reason: str
    readings: tuple[TablePlan, ...] = ()
    """What it could mean, where a few things are left and nothing says which."""


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
        try:
            reading = _read(question, links, values)
            return _Resolving(links, reading).plan()
        except _Unsure as unsure:
            return NotUnderstood(reason=str(unsure))

    def find_row(self, name: str) -> Row | None:
        """Return the row that a bare name is the label of: "the Danube"; None where none or several could be meant.

        A name in several tables means the row of the table that knows the most, if one does.
        """
        words = split_words(re.sub(r"^the\s+", "", name.strip(), flags=re.IGNORECASE))
        links = self._linked()
        if not 0 < len(words) <= MAX_VALUE_WORDS or links.find_table(tuple(words)) is not None:
            return None
        found: list[tuple[int, Row]] = []
        for link in links.values.get(tuple(words), ()):
            table = links.tables[link.column.table]
            if link.column == table.label and not table.repeats and not link.column.holds_lists:
                row = Row(table=table.name, label=link.column.name, value=link.value)
                found.append((len(table.columns), row))
        most = [row for columns, row in found if columns == max(count for count, _ in found)]
        return most[0] if len(most) == 1 else None

    def _linked(self) -> SchemaLinks:
        with self._lock:
            if self._links is None or self._generation != self._tables.generation:
                self._links, self._generation = link_schema(self._tables), self._tables.generation
            return self._links


class _Unsure(Exception):
    """The question is not understood well enough."""


# ---------------------------------------------------------------------------------------------------------------- read


@dataclass(slots=True)
class _Mention:
    """Some words of the question, and what they may be."""

    text: str
    phrase: Phrase | None = None
    number: float | None = None
    unit: str = ""
    table: LinkedTable | None = None
    columns: tuple[LinkedColumn, ...] = ()
    values: tuple[ValueLink, ...] = ()
    used: bool = False

    def is_phrase(self, kind: str) -> bool:
        return self.phrase is not None and self.phrase.kind == kind


def _read(question: str, links: SchemaLinks, values: Sequence[str] = ()) -> list[_Mention]:
    tokens, given = _find_values(question, values)
    mixed_case = any(token.raw != token.raw.lower() for token in tokens[1:])
    mentions: list[_Mention] = []
    unknown: list[str] = []
    start = 0
    while start < len(tokens):
        if start in given:
            size, text = given[start]
            meant = _value_links(tokens[start : start + size], links)
            number = tokens[start].number if size == 1 and not meant else None
            if meant or number is not None:
                mentions.append(_Mention(text=text, values=meant, number=number))
            else:
                unknown.append(text)
            start += size
            continue
        free = next((at - start for at in range(start, len(tokens)) if at in given), len(tokens) - start)
        for size in range(min(max(LONGEST_PHRASE, 8), free), 0, -1):
            mention = _mention(tokens[start : start + size], links, mixed_case, mentions)
            if mention is not None:
                mentions.append(mention)
                start += size
                break
        else:
            unknown.append(tokens[start].raw)
            start += 1
    refused = [mention.text for mention in mentions if mention.is_phrase("not")]
    if refused:
        raise _Unsure(f"Questions with {refused[0]!r} are not understood. Say what to include, or send SQL.")
    if unknown:
        distinct = list(dict.fromkeys(unknown))
        said = ", ".join(quote_text(word) for word in distinct[:5]) + (" and more" if len(distinct) > 5 else "")
        near = _near(distinct[0].lower(), links)
        hint = f" Did you mean {near!r}?" if near else ""
        raise _Unsure(f"Nothing in the tables is called {said}.{hint} Use the names of tables, columns and values.")
    return mentions


def _value_links(tokens: Sequence[Token], links: SchemaLinks) -> tuple[ValueLink, ...]:
    """The values that are called so; tables may have the bare name of "the Rhine" or "Mount Everest"."""
    words = tuple(token.text for token in tokens)
    found = links.values.get(words, ())
    while not found and len(words) > 1 and (lead := find_phrase(words[:1])) and lead.kind == "filler":
        words = words[1:]
        found = links.values.get(words, ())
    return tuple(found)


def _find_values(question: str, values: Sequence[str]) -> tuple[list[Token], dict[int, tuple[int, str]]]:
    """The words of a question, and where among them these values stand, each with its number of words."""
    tokens: list[Token] = []
    given: dict[int, tuple[int, str]] = {}
    texts = sorted({value for value in values if value.strip()}, key=len, reverse=True)
    pattern = rf"(?<!\w)(?:{'|'.join(map(re.escape, texts))})(?!\w)" if texts else r"(?!)"
    position = 0
    for match in re.finditer(pattern, question):
        tokens += read_tokens(question[position : match.start()])
        inside = read_tokens(match[0])
        if inside:
            given[len(tokens)] = len(inside), match[0]
            tokens += inside
        position = match.end()
    return tokens + read_tokens(question[position:]), given


def _near(word: str, links: SchemaLinks) -> str:
    """Return the word of the tables that is spelt most like this one; empty when none is, or too many are compared."""
    if len(word) > MAX_COMPARED_CHARS:
        return ""
    names = (name for table in links.tables.values() for name in (table.name, *(one.name for one in table.columns)))
    words = {one for name in names for one in split_words(name.replace("_", " "))}
    words |= {words[0] for words in links.values if len(words) == 1}
    # What differs by more letters cannot be alike enough.
    alike = [one for one in words if 2 * min(len(one), len(word)) >= 0.8 * (len(one) + len(word))]
    if len(alike) > MAX_COMPARED_WORDS:
        return ""
    return next(iter(difflib.get_close_matches(word, sorted(alike), n=1, cutoff=0.8)), "")


def _mention(
    tokens: Sequence[Token], links: SchemaLinks, mixed_case: bool, before: Sequence[_Mention]
) -> _Mention | None:
    words = tuple(token.text for token in tokens)
    text = " ".join(token.raw for token in tokens)
    if len(tokens) == 1 and tokens[0].number is not None:
        return _Mention(text=text, number=tokens[0].number)
    unit = find_unit(words)
    if unit is not None and before and before[-1].number is not None:
        return _Mention(text=text, unit=unit)
    phrase = find_phrase(words)
    if phrase is not None:
        return _Mention(text=text, phrase=phrase)
    table, columns, values = links.find_table(words), links.find_columns(words), links.values.get(words, ())
    if len(words) == 1 and (table or columns):
        values = ()  # "river" is the table even if a value is called that
    elif values and len(words) == 1 and mixed_case and len(text) <= 5 and text == text.lower():
        values = ()  # in "Where does Don ...", "po" is not the river Po
    if table or columns or values:
        return _Mention(text=text, table=table, columns=columns, values=values)
    return None


# ------------------------------------------------------------------------------------------------------------- resolve


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    """A column that the question speaks of, before it is known of which table."""

    text: str
    columns: tuple[LinkedColumn, ...] = ()
    concepts: frozenset[str] = frozenset()
    unit: str = ""
    """The unit that the question names: it tells an area from a population."""

    def in_table(self, table: LinkedTable) -> LinkedColumn | None:
        """Return the one column of the table that is meant; None without one.

        Raises:
            _Unsure: there are several.
        """
        exact = [column for column in self.columns if column.table == table.name]
        found = exact or [column for column in table.columns if column.concepts & self.concepts]
        numbers = [column for column in found if column.is_number] if self.concepts else found
        found = numbers or found
        found = [column for column in found if self.unit and column.unit == self.unit] or found
        if len(found) > 1:
            names = " or ".join(repr(column.name) for column in found)
            raise _Unsure(f"{self.text!r} could mean {names}. Say which.")
        return found[0] if found else None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Comparison:
    wanted: _Wanted
    operator: str
    numbers: tuple[float, ...]
    unit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Superlative:
    direction: str
    wanted: _Wanted | None
    """The number that ranks; None ranks by how many rows of `counted` there are."""
    limit: int | None
    counted: LinkedTable | None = None
    said: str = ""
    """The words for what is counted."""


@dataclass(slots=True)
class _Resolving:
    """Finds out what a reading means in these tables."""

    links: SchemaLinks
    mentions: list[_Mention]
    target: LinkedTable = field(init=False)
    comparisons: list[_Comparison] = field(default_factory=list)
    superlative: _Superlative | None = None
    order: tuple[_Wanted, str] | None = None
    """The column to sort by, and the direction."""
    aggregate: tuple[str, _Wanted] | None = None
    group: _Wanted | None = None
    counts: bool = False
    asks_for_one_number: bool = False
    outputs: list[_Wanted] = field(default_factory=list)
    values: list[tuple[_Mention, str]] = field(default_factory=list)
    bound: dict[int, tuple[ValueLink, ...]] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)

    def plan(self) -> TablePlan:
        self._find_order()
        self._find_comparisons()
        self._find_superlative()
        self._find_aggregate()
        self._find_group()
        self._find_count()
        self._bind_values()
        self._find_target()
        return self._write()

    # -- what is asked for

    def _find_order(self) -> None:
        for position, mention in enumerate(self.mentions):
            if not mention.is_phrase("order"):
                continue
            column = self._past_filler(position + 1)
            if self.order is not None or column is None or not column.columns:
                raise _Unsure(f"It is not clear what {mention.text!r} sorts by. Name a column.")
            assert mention.phrase is not None
            direction = mention.phrase.value
            after = self._past_filler(self._index(column) + 1)
            if after is not None and after.is_phrase("direction") and after.phrase is not None:
                direction, after.used = after.phrase.value, True
            mention.used = column.used = True
            self.order = (_wanted(column), direction)

    def _find_comparisons(self) -> None:
        for position, mention in enumerate(self.mentions):
            if mention.is_phrase("between"):
                self._take_between(position)
            elif mention.is_phrase("compare"):
                assert mention.phrase is not None
                number = self._at(position + 1)
                if number is None or number.number is None:
                    raise _Unsure(f"{mention.text!r} must be followed by a number here.")
                wanted, unit = self._compared(position, position + 2, mention.phrase.concept)
                mention.used = number.used = True
                self.comparisons.append(
                    _Comparison(wanted=wanted, operator=mention.phrase.value, numbers=(number.number,), unit=unit)
                )

    def _take_between(self, position: int) -> None:
        low, middle, high = (self._at(position + offset) for offset in (1, 2, 3))
        if not (low and middle and high) or low.number is None or high.number is None or not middle.is_phrase("and"):
            raise _Unsure("'between' must be followed by two numbers here.")
        wanted, unit = self._compared(position, position + 4, "")
        for mention in (self.mentions[position], low, middle, high):
            mention.used = True
        self.comparisons.append(
            _Comparison(wanted=wanted, operator="between", numbers=(low.number, high.number), unit=unit)
        )

    def _compared(self, position: int, after: int, concepts: str) -> tuple[_Wanted, str]:
        """Return the column that a comparison speaks of: after its number, implied by its adjective, or before it."""
        unit = ""
        following = self._at(after)
        if following is not None and following.unit:
            unit, following.used = following.unit, True
            following = self._past_filler(after + 1)
        if following is not None and following.columns and not following.table and not following.used:
            following.used = True
            return _wanted(following), unit
        if concepts:
            return _Wanted(text=self.mentions[position].text, concepts=frozenset(concepts.split()), unit=unit), unit
        before = self._before_filler(position - 1)
        if before is not None and before.columns and not before.table and not before.used:
            before.used = True
            return _wanted(before), unit
        if unit:
            return _Wanted(text=unit, columns=tuple(self._columns_in(unit))), unit
        raise _Unsure(f"It is not clear what {self.mentions[position].text!r} compares. Name the column.")

    def _columns_in(self, unit: str) -> list[LinkedColumn]:
        return [column for table in self.links.tables.values() for column in table.columns if column.unit == unit]

    def _find_superlative(self) -> None:
        found = [
            position
            for position, mention in enumerate(self.mentions)
            if mention.is_phrase("superlative") or mention.is_phrase("top")
        ]
        if not found:
            return
        if len(found) > 1 and self.mentions[found[0]].is_phrase("top") and found[1] == found[0] + 2:
            self.mentions[found.pop(0)].used = True  # "the top 5 longest rivers" are the 5 longest
        if len(found) > 1:
            raise _Unsure("The question ranks by more than one thing. Ask for one at a time.")
        position = found[0]
        mention = self.mentions[position]
        assert mention.phrase is not None
        mention.used = True
        limit = self._limit(position)
        wanted = self._ranked_by(position, mention.phrase)
        if wanted is not None:
            self.superlative = _Superlative(direction=mention.phrase.value, wanted=wanted, limit=limit)
            return
        counted = self._past_filler(position + 1)
        if mention.is_phrase("top") and counted is not None and counted.number is not None:
            counted = self._past_filler(self._index(counted) + 1)
        if counted is None or counted.table is None:
            raise _Unsure(f"It is not clear what {mention.text!r} ranks by. Name a column of numbers.")
        if mention.is_phrase("top") and (only := _only_number(counted.table)) is not None:
            ranks = _Wanted(text=only.name, columns=(only,))
            self.superlative = _Superlative(direction=mention.phrase.value, wanted=ranks, limit=limit)
            return
        counted.used = True
        self.superlative = _Superlative(
            direction=mention.phrase.value, wanted=None, limit=limit, counted=counted.table, said=counted.text
        )

    def _limit(self, position: int) -> int | None:
        """Return the N of "top N", "N largest" or "which N countries"."""
        top = self.mentions[position].is_phrase("top")
        places = [position + 1] if top else [position - 1, position + 1, *range(len(self.mentions))]
        for place in places:
            mention = self._at(place)
            if mention is None or mention.used or mention.number is None:
                continue
            following = self._at(place + 1)
            near = place in (position - 1, position + 1) or (following is not None and following.table is not None)
            if near and mention.number == int(mention.number) and 1 <= mention.number <= 1000:
                mention.used = True
                return int(mention.number)
        if top:
            raise _Unsure("'top' must be followed by a number here.")
        return None

    def _ranked_by(self, position: int, phrase: Phrase) -> _Wanted | None:
        place = position + 1
        following = self._at(place)
        while following is not None and (following.number is not None or following.is_phrase("filler")):
            place += 1
            following = self._at(place)
        if following is not None and following.is_phrase("aggregate"):
            raise _Unsure(f"Ranking by a {following.text} is not understood. Ask for it per group.")
        if _is_number_word(following):
            assert following is not None
            following.used = True
            return _wanted(following)
        if following is not None and following.table is not None and not phrase.concept:
            by = self._by_column(place)
            if by is not None:
                return by
            return None
        by = self._by_column(position)
        if by is not None:
            return by
        if phrase.concept:
            return _Wanted(text=self.mentions[position].text, concepts=frozenset(phrase.concept.split()))
        return None

    def _by_column(self, start: int) -> _Wanted | None:
        for place in range(start, len(self.mentions) - 1):
            if self.mentions[place].is_phrase("per"):
                column = self._past_filler(place + 1)
                if _is_number_word(column):
                    assert column is not None
                    self.mentions[place].used = column.used = True
                    return _wanted(column)
        return None

    def _find_aggregate(self) -> None:
        for position, mention in enumerate(self.mentions):
            if not mention.is_phrase("aggregate"):
                continue
            assert mention.phrase is not None
            place = position + 1
            following = self._past_filler(place)
            if following is not None and following.is_phrase("count") and mention.phrase.value == "sum":
                mention.used = True  # "the total number of"
                continue
            if following is not None and following.table is not None and not _is_number_word(following):
                following = self._past_filler(self.mentions.index(following) + 1)  # "average city population"
            if self.aggregate is not None or not _is_number_word(following):
                raise _Unsure(f"It is not clear what the {mention.text} is of. Name a column of numbers.")
            assert following is not None
            mention.used = following.used = True
            self.aggregate = (mention.phrase.value, _wanted(following))

    def _find_group(self) -> None:
        for position, mention in enumerate(self.mentions):
            if not mention.is_phrase("per") or mention.used:
                continue
            following = self._past_filler(position + 1)
            if self.group is not None or following is None or not following.columns:
                raise _Unsure(f"It is not clear what {mention.text!r} groups by. Name a column.")
            mention.used = following.used = True
            self.group = _wanted(following)

    def _find_count(self) -> None:
        for position, mention in enumerate(self.mentions):
            if mention.is_phrase("how"):
                assert mention.phrase is not None
                mention.used = True
                self.outputs.append(_Wanted(text=mention.text, concepts=frozenset({mention.phrase.concept})))
            if not mention.is_phrase("count"):
                continue
            following = self._past_filler(position + 1)
            mention.used = True
            if following is not None and following.table is not None:
                self.counts = True
            elif _is_number_word(following) and following is not None and not following.used:
                following.used = True  # "how many people live in France" asks for a cell
                self.outputs.append(_wanted(following))
                self.asks_for_one_number = True
            else:
                raise _Unsure(f"It is not clear what {mention.text!r} counts. Name a table.")

    def _bind_values(self) -> None:
        """Let "the river Don", "the state of Texas" and "whose currency is Euro" say which column a value is of."""
        for position, mention in enumerate(self.mentions):
            if not mention.values:
                continue
            self.values.append((mention, self._preposition(position)))
            for place, gap in ((position - 1, True), (position + 1, False)):
                near = self._before_filler(place, among=("the", "of", "is", "a", "are")) if gap else self._at(place)
                if near is None or near.used or not (near.table or near.columns):
                    continue
                skipped = self.mentions[self._index(near) + 1 : position] if gap else []
                through_of = any(entry.text.lower().endswith("of") for entry in skipped)
                fits = tuple(link for link in mention.values if self._names(near, link, through_of=through_of))
                if fits and len(fits) < len(mention.values) + (near.table is None or gap):
                    if near.table is not None and self._is_first_table(near) and not gap:
                        continue
                    self.bound[id(mention)] = fits
                    if near.table is None or not self._is_first_table(near) or not self._needs_table(near):
                        near.used = True
                    break

    def _names(self, near: _Mention, link: ValueLink, *, through_of: bool) -> bool:
        if near.table is not None and near.table.label is not None and near.table.label == link.column:
            return True
        return link.column in near.columns and not through_of and near.table is None

    def _is_first_table(self, near: _Mention) -> bool:
        tables = [mention for mention in self.mentions if mention.table is not None and not mention.used]
        return bool(tables) and tables[0] is near

    def _needs_table(self, near: _Mention) -> bool:
        """Whether the question has no other subject than this table word."""
        return sum(mention.table is not None and not mention.used for mention in self.mentions) == 1

    def _preposition(self, position: int) -> str:
        before = self._at(position - 1)
        while before is not None and before.is_phrase("filler") and before.text.lower() in ("the", "a"):
            position -= 1
            before = self._at(position - 1)
        return before.text.lower() if before is not None and before.is_phrase("filler") else ""

    # -- which table

    def _find_target(self) -> None:
        tables = [mention for mention in self.mentions if mention.table is not None and not mention.used]
        group_first = self.superlative is not None and self.superlative.counted is not None
        if group_first and self.superlative is not None and self.superlative.counted is not None:
            if len(tables) == 1 and tables[0].columns:
                self.group, tables[0].used = _wanted(tables[0]), True
            else:
                self._rank_group()
            self.target = self.superlative.counted
        elif tables:
            assert tables[0].table is not None
            self.target, tables[0].used = tables[0].table, True
        for position, mention in enumerate(self.mentions):
            if mention.used or mention.is_phrase("filler") or mention.is_phrase("and") or mention.values:
                continue
            before = self._at(position - 1)
            if before is not None and before.columns and mention.columns and not (before.table or mention.table):
                raise _Unsure(f"No column is called '{before.text} {mention.text}'. Say which of the two.")
            if mention.table is not None and (not tables or mention.table == self.target):
                mention.used = True
            elif mention.columns:
                self.outputs.append(_wanted(mention))
                mention.used = True
            else:
                raise _Unsure(f"It is not clear what {mention.text!r} means here. Ask more simply.")
        joined = any(mention.is_phrase("and") for mention in self.mentions)
        if len(self.outputs) > 1 and not joined:
            said = " and ".join(repr(wanted.text) for wanted in self.outputs)
            raise _Unsure(f"How {said} belong together is not clear. Ask for one at a time, or join them by 'and'.")
        if not tables and not group_first:
            if self.outputs and (self.superlative is not None or not self.values):
                raise _Unsure("The question names no table. Say what things you want to know that of.")
            self.target = self._infer_target()

    def _rank_group(self) -> None:
        columns = [mention for mention in self.mentions if mention.columns and not mention.used]
        if len(columns) != 1:
            raise _Unsure("It is not clear what is ranked. Name a column, as in 'which continent has the most ...'.")
        self.group, columns[0].used = _wanted(columns[0]), True

    def _infer_target(self) -> LinkedTable:
        wanted = [*self.outputs, *(comparison.wanted for comparison in self.comparisons)]
        wanted += [self.aggregate[1]] if self.aggregate else []
        wanted += [self.group] if self.group else []
        wanted += [self.order[0]] if self.order else []
        wanted += [self.superlative.wanted] if self.superlative and self.superlative.wanted else []
        if not wanted:
            raise _Unsure("The question names no table and no column. Say what you want to know of which table.")
        fitting = [table for table in self.links.tables.values() if all(_has(table, one) for one in wanted)]
        if self.values:
            labelled = [table for table in fitting if self._labels_all(table)]
            if not labelled and self._lists_texts():
                labelled = [table for table in fitting if self._holds_all(table)]
            if not labelled and self.outputs and not (self.aggregate or self.group):
                raise _Unsure("No row of a table with that column has that name. Name the table, or send SQL.")
            fitting = labelled or fitting
        if len(fitting) != 1:
            names = " or ".join(repr(table.name) for table in fitting)
            raise _Unsure(
                f"The question could be about {names}. Say which." if fitting else "No table has all of that."
            )
        return fitting[0]

    def _labels_all(self, table: LinkedTable) -> bool:
        return all(
            any(link.column == table.label for link in self.bound.get(id(mention), mention.values))
            for mention, _ in self.values
        )

    def _lists_texts(self) -> bool:
        """Whether the question asks for several texts: "capitals of Europe". The numbers of Europe would be its own."""
        return bool(self.outputs) and all(
            wanted.text.lower().endswith("s") and wanted.columns and not any(one.is_number for one in wanted.columns)
            for wanted in self.outputs
        )

    def _holds_all(self, table: LinkedTable) -> bool:
        return all(any(link.column.table == table.name for link in mention.values) for mention, _ in self.values)

    # -- conditions

    def _conditions(self) -> tuple[list[str], list[str]]:
        """Return the conditions of the question as SQL, and as words."""
        sql: list[str] = []
        words: list[str] = []
        chosen: dict[tuple[str, str], list[ValueLink]] = {}
        ways: dict[tuple[str, str], Join | None] = {}
        for mention, preposition in self.values:
            link, join = self._choose(mention, preposition)
            key = (link.column.table, link.column.name)
            chosen.setdefault(key, []).append(link)
            ways[key] = join
        if any(len(links) > 1 for links in chosen.values()) and not any(
            mention.is_phrase("and") for mention in self.mentions
        ):
            raise _Unsure("Two values of one column must be joined by 'and' or 'or'.")
        for key, links in chosen.items():
            several = links[0].column.holds_lists or (ways[key] is not None)
            if len(links) > 1 and several and any(mention.text.lower() == "and" for mention in self.mentions):
                raise _Unsure("Whether 'and' means both at once or either is not clear. Say 'or', or ask for each.")
        for key, links in chosen.items():
            condition = _value_condition(links)
            join = ways[key]
            if join is not None:
                self.read.add(join.to.table)
                key_name, source = quote_name(join.to.name), quote_name(join.to.table)
                inner = f"SELECT {key_name} FROM {source} WHERE {condition}"  # noqa: S608 - all quoted
                condition = f"{quote_name(join.column.name)} IN ({inner})"
            sql.append(condition)
            said = " or ".join(repr(link.value) for link in links)
            where = f"{key[1]} in {key[0]}" if join is not None else key[1]
            words.append(f"{where} {'has' if links[0].column.holds_lists else 'is'} {said}")
        for comparison in self.comparisons:
            column = self._own(comparison.wanted)
            if not column.is_number:
                raise _Unsure(f"{column.name!r} holds no numbers to compare.")
            if comparison.unit and comparison.unit != column.unit:
                known = f"in {column.unit}" if column.unit else "without a unit"
                raise _Unsure(f"{column.name!r} is {known}, and the question says {comparison.unit}. Convert it first.")
            name = quote_name(column.name)
            numbers = [_number(number) for number in comparison.numbers]
            if comparison.operator == "between":
                sql.append(f"{name} BETWEEN {numbers[0]} AND {numbers[1]}")
                words.append(f"{column.name} is between {numbers[0]} and {numbers[1]}")
            else:
                sql.append(f"{name} {comparison.operator} {numbers[0]}")
                words.append(f"{column.name} {comparison.operator} {numbers[0]}")
        return sql, words

    def _choose(self, mention: _Mention, preposition: str) -> tuple[ValueLink, Join | None]:
        links = self.bound.get(id(mention), mention.values)
        own = [link for link in links if link.column.table == self.target.name]
        if len(own) > 1:
            labels = [link for link in own if link.column == self.target.label]
            others = [link for link in own if link.column != self.target.label]
            inside = preposition.split(" ")[-1] in ("in", "within", "from", "through") or not self._asks_of_rows()
            own = others if others and inside and preposition not in ("called", "named") else labels or others
        if len({link.column.name for link in own}) > 1:
            names = " or ".join(repr(link.column.name) for link in own)
            raise _Unsure(f"{mention.text!r} could be the {names}. Say which.")
        if own and own[0].column == self.target.label and not self._asks_of_rows():
            raise _Unsure(f"It is not clear what is asked about {mention.text!r}. Name a column.")
        if own:
            return own[0], None
        reached = [
            (link, join)
            for link in links
            if (join := self.links.join(self.target.name, link.column.table)) is not None
            and (self._describes(join) or self._relates(link.column))
        ]
        # A link table that holds the value itself is nearer than a table about the value.
        direct = [(link, join) for link, join in reached if not join.to_one] or reached
        if len({(link.column.table, link.column.name) for link, _ in direct}) != 1:
            raise _Unsure(f"It is not clear how {mention.text!r} belongs to {self.target.name!r}.")
        return direct[0]

    def _asks_of_rows(self) -> bool:
        """Whether the question asks for something of rows that it names, rather than for rows."""
        return self.superlative is None and not self.counts and bool(self.outputs or self.aggregate)

    def _describes(self, join: Join) -> bool:
        """Whether the other table says of what ours belongs to (the continent of a city's country): many to one."""
        back = self.links.join(join.to.table, join.column.table)
        return join.to_one and (back is None or not back.to_one)

    def _relates(self, column: LinkedColumn) -> bool:
        """Whether holding this value relates a row to ours, rather than saying something else about it."""
        table = self.links.tables[column.table]
        return len(table.columns) == 2 or column == table.label

    def _own(self, wanted: _Wanted) -> LinkedColumn:
        column = wanted.in_table(self.target)
        if column is None:
            raise _Unsure(f"The table {self.target.name!r} has no column for {wanted.text!r}.")
        return column

    # -- write

    def _write(self) -> TablePlan:
        self.read.add(self.target.name)
        if self.group is not None:
            return self._write_group()
        conditions, said = self._conditions()
        if self.order is not None and (self.superlative or self.aggregate or self.counts):
            raise _Unsure("Sorting goes with a list of rows only. Ask for one thing at a time.")
        if self.superlative is not None:
            if self.counts or self.aggregate:
                raise _Unsure("Ranking and counting together are not understood. Ask for one at a time.")
            return self._write_superlative(conditions, said)
        if self.aggregate is not None:
            if self.counts or self.outputs:
                raise _Unsure("The question asks for more than one thing. Ask for one at a time.")
            function, wanted = self.aggregate
            column = self._measure(function, wanted)
            what = f"{_AGGREGATE_NAMES[function]} of {column.name}"
            return self._done(f"{function}({quote_name(column.name)})", conditions, f"the {what} over", said)
        if self.counts:
            if self.outputs:
                raise _Unsure("Counting and listing together are not understood. Ask for one at a time.")
            linked = self._through_link()
            if linked is not None and self.target.label is not None:
                counted = f"count(DISTINCT {quote_name(self.target.label.name)})"
                return self._done(counted, [linked[1]], "how many", said, source=linked[0])
            return self._done(self._counted(), conditions, "how many", said)
        return self._write_rows(conditions, said)

    def _through_link(self) -> tuple[str, str] | None:
        """Return (source, condition) when a link table alone holds the things asked for.

        `river_countries` knows more countries of the Danube than the table of countries has rows.
        """
        if len(self.values) != 1 or self.outputs or self.comparisons:
            return None
        link, join = self._choose(*self.values[0])
        if join is None or join.to_one or join.column != self.target.label:
            return None
        if len(self.links.tables[join.to.table].columns) != 2:
            return None  # a table about something else that mentions ours
        self.read = {join.to.table}
        return join.to.table, f"{_value_condition([link])} AND {quote_name(join.to.name)} IS NOT NULL"

    def _write_rows(self, conditions: list[str], said: list[str]) -> TablePlan:
        label = self.target.label
        columns = list(dict.fromkeys(self._own(wanted) for wanted in self.outputs))
        if label is None:
            raise _Unsure(f"The table {self.target.name!r} has no column that names its rows. Send SQL.")
        if not columns and not conditions and self.order is None and not self._asks_to_list():
            raise _Unsure("It is not clear what is asked for. Name a column, or say 'list'.")
        cell = None
        if len(columns) == 1 and len(self.values) == 1 and not self.comparisons:
            link, join = self._choose(*self.values[0])
            if join is None and link.column == label and not label.holds_lists:
                cell = Cell(table=self.target.name, label=label.name, value=link.value, column=columns[0].name)
        if self.asks_for_one_number and cell is None:
            raise _Unsure(f"That could be one number for each of several {self.target.name!r}. Ask for the total.")
        linked = self._through_link() if self.order is None else None
        if linked is not None:
            select = f"DISTINCT {quote_name(label.name)}"
            return self._done(select, [linked[1]], "the", said, source=linked[0], tail=" ORDER BY 1")
        tail = sorting = ""
        if self.order is not None:
            by = self._own(self.order[0])
            columns = list(dict.fromkeys([*columns, by]))
            tail = f" ORDER BY {quote_name(by.name)} {self.order[1].upper()}, {quote_name(label.name)}"
            sorting = f", sorted by {by.name}" + (", largest first" if self.order[1] == "desc" else "")
        shown = columns if cell is not None else list(dict.fromkeys([label, *columns]))
        distinct = "DISTINCT " if self.target.repeats else ""
        select = distinct + ", ".join(quote_name(column.name) for column in shown)
        what = "the " + " and ".join(column.name for column in shown) + " of" if shown != [label] else "the"
        return self._done(select, conditions, what, said, tail=tail, ending=sorting, cell=cell)

    def _asks_to_list(self) -> bool:
        return any(
            mention.text.lower().split()[0] in ("list", "show", "which", "what", "name", "give", "all", "names")
            for mention in self.mentions
            if mention.is_phrase("filler")
        )

    def _write_superlative(self, conditions: list[str], said: list[str]) -> TablePlan:
        assert self.superlative is not None
        assert self.superlative.wanted is not None
        column, label = self._own(self.superlative.wanted), self.target.label
        if not column.is_number or label is None:
            raise _Unsure(f"{column.name!r} holds no numbers to rank by.")
        columns = list(dict.fromkeys([label, *(self._own(wanted) for wanted in self.outputs), column]))
        distinct = "DISTINCT " if self.target.repeats else ""
        select = distinct + ", ".join(quote_name(one.name) for one in columns)
        name, direction = quote_name(column.name), self.superlative.direction
        most = "largest" if direction == "desc" else "smallest"
        known = [*conditions, f"{name} IS NOT NULL"]
        if self.superlative.limit is None:  # rows that share the first place are all of them first
            extreme = "max" if direction == "desc" else "min"
            inner = f"SELECT {extreme}({name}) FROM {quote_name(self.target.name)}{_where(conditions)}"  # noqa: S608
            return self._done(select, [*conditions, f"{name} = ({inner})"], f"the {most} {column.name} among", said)
        tail = f" ORDER BY {name} {direction.upper()}, {quote_name(label.name)} LIMIT {self.superlative.limit}"
        what = f"the {self.superlative.limit} with the {most} {column.name} among"
        return self._done(select, known, what, said, tail=tail)

    def _write_group(self) -> TablePlan:
        assert self.group is not None
        if self.outputs or self.order:
            raise _Unsure("A group can be counted, summed or averaged. Say which.")
        column, join = self._group_column(self.group)
        if join is not None and self.superlative is not None and self.superlative.direction == "asc":
            raise _Unsure("Groups without any are not in the tables, so the fewest cannot be told. Ask for the most.")
        conditions, said = self._conditions()
        name = quote_name(column.name)
        source = quote_name(self.target.name)
        if self.aggregate is not None:
            function, wanted = self.aggregate
            measured = self._measure(function, wanted)
            value, what = (
                f"{function}({{t}}{quote_name(measured.name)})",
                f"{_AGGREGATE_NAMES[function]} of {measured.name}",
            )
            alias = f"{function}_{measured.name}"
            if join is not None and not join.to_one:  # a sum over groups would count some things twice
                raise _Unsure(f"{self.target.name!r} stand in several groups of {column.name!r} each. Send SQL.")
        elif self.counts or (self.superlative is not None and self.superlative.counted is not None):
            value, what, alias = self._counted("{t}"), "number", "count"
        else:
            raise _Unsure("A group can be counted, summed or averaged. Say which.")
        if join is None:
            select = f"{name}, {value.format(t='')} AS {quote_name(alias)}"
            where = _where([*conditions, f"{name} IS NOT NULL"])
            text = f"SELECT {select} FROM {source}{where} GROUP BY {name}"  # noqa: S608 - all quoted
        else:
            self.read.add(join.to.table)
            if join.to_one or self.target.label is None:
                counted = value.format(t="a.")
            else:
                counted = f"count(DISTINCT a.{quote_name(self.target.label.name)})"
            inner = f"SELECT * FROM {source}{_where(conditions)}"  # noqa: S608
            text = (
                f"SELECT b.{name}, {counted} AS {quote_name(alias)} FROM ({inner}) AS a "  # noqa: S608
                f"JOIN {quote_name(join.to.table)} AS b "
                f"ON a.{quote_name(join.column.name)} = b.{quote_name(join.to.name)} GROUP BY b.{name}"
            )
        text = self._ranked_groups(text, alias)
        meant = f"the {what} of {self.target.name} for each {column.name}"
        meant += f", where {' and '.join(said)}" if said else ""
        if self.superlative is not None:
            first = self.superlative.direction == "desc"
            meant += f", {'largest' if first else 'smallest'} first"
            claim = f"the {'most' if first else 'fewest'} {self.superlative.said}"
            if self.superlative.limit is None:
                claim += f" where {' and '.join(said)}" if said else ""
                return self._planned(text, meant, claim=claim)
        return self._planned(text, meant)

    def _ranked_groups(self, text: str, alias: str) -> str:
        if self.superlative is None:
            return f"{text} ORDER BY 1"
        if self.superlative.wanted is not None:
            raise _Unsure("Ranking within groups is not understood. Ask for one group at a time.")
        name, direction = quote_name(alias), self.superlative.direction
        if self.superlative.limit is not None:
            return f"{text} ORDER BY {name} {direction.upper()}, 1 LIMIT {self.superlative.limit}"
        extreme = "max" if direction == "desc" else "min"  # groups that share the first place are all of them first
        inner = f"SELECT {extreme}({name}) FROM groups"  # noqa: S608 - quoted
        return f"WITH groups AS ({text}) SELECT * FROM groups WHERE {name} = ({inner})"  # noqa: S608 - quoted

    def _group_column(self, wanted: _Wanted) -> tuple[LinkedColumn, Join | None]:
        own = wanted.in_table(self.target)
        if own is not None and not own.holds_lists:
            return own, None
        reached = [
            (column, join)
            for column in wanted.columns
            if (join := self.links.join(self.target.name, column.table)) is not None and not column.holds_lists
        ]
        near = [(column, join) for column, join in reached if not join.to_one] or reached
        if len(near) != 1:
            raise _Unsure(f"It is not clear which column {wanted.text!r} is for {self.target.name!r}.")
        return near[0]

    def _measure(self, function: str, wanted: _Wanted) -> LinkedColumn:
        column = self._own(wanted)
        if not column.is_number:
            raise _Unsure(f"{column.name!r} holds no numbers.")
        if self.target.repeats and function in ("sum", "avg"):
            raise _Unsure(f"A thing stands in several rows of {self.target.name!r}, so its numbers would count twice.")
        return column

    def _counted(self, prefix: str = "") -> str:
        if self.target.repeats and self.target.label is not None:
            return f"count(DISTINCT {prefix}{quote_name(self.target.label.name)})"
        return "count(*)"

    def _done(
        self,
        select: str,
        conditions: list[str],
        what: str,
        said: list[str],
        *,
        source: str = "",
        tail: str = "",
        ending: str = "",
        cell: Cell | None = None,
    ) -> TablePlan:
        sql = f"SELECT {select} FROM {quote_name(source or self.target.name)}{_where(conditions)}{tail}"  # noqa: S608
        meant = f"{what} {self.target.name}" + (f" where {' and '.join(said)}" if said else "") + ending
        return self._planned(sql, meant, cell)

    def _planned(self, sql: str, meant: str, cell: Cell | None = None, claim: str = "") -> TablePlan:
        understood = meant[0].upper() + meant[1:] + "."
        return TablePlan(sql=sql, understood=understood, tables=tuple(sorted(self.read)), cell=cell, claim=claim)

    # -- places in the reading

    def _at(self, position: int) -> _Mention | None:
        return self.mentions[position] if 0 <= position < len(self.mentions) else None

    def _index(self, mention: _Mention) -> int:
        return next(place for place, one in enumerate(self.mentions) if one is mention)

    def _past_filler(self, position: int) -> _Mention | None:
        while (mention := self._at(position)) is not None and mention.is_phrase("filler"):
            position += 1
        return mention

    def _before_filler(self, position: int, among: Sequence[str] = ()) -> _Mention | None:
        while (mention := self._at(position)) is not None and mention.is_phrase("filler"):
            if among and mention.text.lower() not in among:
                return None
            position -= 1
        return mention


_AGGREGATE_NAMES = {"avg": "average", "sum": "total", "max": "largest value", "min": "smallest value"}


def _wanted(mention: _Mention) -> _Wanted:
    return _Wanted(text=mention.text, columns=mention.columns)


def _is_number_word(mention: _Mention | None) -> bool:
    return (
        mention is not None
        and mention.table is None
        and bool(mention.columns)
        and all(column.is_number for column in mention.columns)
    )


def _only_number(table: LinkedTable) -> LinkedColumn | None:
    numbers = [column for column in table.columns if column.is_number]
    return numbers[0] if len(numbers) == 1 else None


def _has(table: LinkedTable, wanted: _Wanted) -> bool:
    try:
        return wanted.in_table(table) is not None
    except _Unsure:
        return True  # it has several: said when it is resolved


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _value_condition(links: Sequence[ValueLink]) -> str:
    column = links[0].column
    name = quote_name(column.name)
    if column.holds_lists:
        parts = [f"instr('; ' || {name} || ';', {quote_value(f'; {link.value};')}) > 0" for link in links]
        return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"
    if len(links) == 1:
        return f"{name} = {quote_value(links[0].value)}"
    return f"{name} IN ({', '.join(quote_value(link.value) for link in links)})"


def _number(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)
