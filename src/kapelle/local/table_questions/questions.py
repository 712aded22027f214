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
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from kapelle.language import (
    DATE_WORDS,
    LONGEST_PHRASE,
    PIECE_WORDS,
    Phrase,
    Token,
    find_phrase,
    find_unit,
    fits_verb,
    plain,
    quote_text,
    read_tokens,
    split_words,
    stem,
)
from kapelle.tools import Tables, quote_name, quote_value

from .conditions import Found, value_condition, where_sql, where_words
from .schema_links import MAX_VALUE_WORDS, Join, LinkedColumn, LinkedTable, SchemaLinks, ValueLink, link_schema
from .spelling import nearest_name
from .table_plan import Cell, NotUnderstood, Row, TablePlan

MAX_QUESTION_CHARS = 2_000
MAX_READINGS = 4
_BE = ("is", "are", "was", "were", "be")
_HAVE = ("with", "have", "has", "having", "exactly")
_ASKING = ("get", "find", "return", "give", "tell", "show", "list", "know")
_PARTICIPLES = ("living", "working", "based", "located", "situated", "found", "spoken", "used")
_YES = ("yes", "y", "true", "ja", "oui", "si")
_LINKS = ("the", "of", "is", "a", "are")


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
            return _Resolving(links, _read(question, links, values)).plan()
        except _Unsure as unsure:
            reason, options = (*unsure.args, ())[:2]
            options = options if 1 < len(options) <= MAX_READINGS else ()
        try:  # they are only told where each is a complete question
            ways = [_Resolving(links, _read(question, links, values), chosen=option).plan() for option in options]
        except _Unsure:
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


class _Unsure(Exception):
    """The question is not understood well enough. It would be with one of its second argument, where it has one."""


# ---------------------------------------------------------------------------------------------------------------- read


@dataclass(slots=True)
class _Mention:
    """Some words of the question, and what they may be."""

    text: str
    phrase: Phrase | None = None
    number: float | None = None
    period: tuple[str, str] | None = None
    unit: str = ""
    table: LinkedTable | None = None
    columns: tuple[LinkedColumn, ...] = ()
    values: tuple[ValueLink, ...] = ()
    used: bool = False
    place: int = sys.maxsize

    def is_phrase(self, *kinds: str) -> bool:
        return self.phrase is not None and self.phrase.kind in kinds

    @property
    def word(self) -> str:
        return plain(self.text)

    @property
    def flags(self) -> tuple[LinkedColumn, ...]:
        return self.columns if all(column.flag[0] for column in self.columns) else ()

    @property
    def says(self) -> str:
        """The function, direction or operator that it asks for."""
        return self.phrase.value if self.phrase is not None else ""


_NOTHING = _Mention(text="", used=True)
"""What stands before the first word and after the last."""
_IS = _Mention(text="is")


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
            mention = _mention(tokens[start : start + size], links, mixed_case, question.isupper(), mentions)
            if mention is not None:
                mentions.append(mention)
                start += size
                break
        else:
            unknown.append(tokens[start].raw)
            start += 1
    refused = [mention.text for mention in mentions if mention.is_phrase("not") and not mention.says]
    if refused:
        raise _Unsure(f"Questions with {refused[0]!r} are not understood. Say what to include, or send SQL.")
    if _YES_OR_NO.match(question):
        raise _Unsure("Questions for a yes or no are not understood. Ask for the column, or for the rows that are so.")
    if unknown:
        distinct = list(dict.fromkeys(unknown))
        said = ", ".join(quote_text(word) for word in distinct[:5]) + (" and more" if len(distinct) > 5 else "")
        near = nearest_name(distinct[0].lower(), links)
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


def _mention(
    tokens: Sequence[Token], links: SchemaLinks, mixed_case: bool, shouted: bool, before: Sequence[_Mention]
) -> _Mention | None:
    words = tuple(token.text for token in tokens)
    text = " ".join(token.raw for token in tokens)
    if len(tokens) == 1 and (tokens[0].number is not None or tokens[0].period is not None):
        named = before[-1].table if before else None  # "invoice 1004"; "0034" is a code wherever it stands
        codes = [one for one in links.values.get(words, ()) if named and one.column == named.label]
        if re.match(r"0\d", tokens[0].raw) or codes:
            return _Mention(text=text, values=tuple(codes or links.values.get(words, ())))
        return _Mention(text=text, number=tokens[0].number, period=tokens[0].period)
    unit = find_unit(words)
    if unit is not None and before and before[-1].number is not None:
        return _Mention(text=text, unit=unit)
    phrase = find_phrase(words)
    is_name = text.isupper() and bool(before) and words in links.values and not shouted  # "class A", "in OR"
    if phrase is not None and not is_name:
        return _Mention(text=text, phrase=phrase)
    table, columns, values = links.find_table(words), links.find_columns(words), links.values.get(words, ())
    if len(words) == 1 and table:
        values = ()  # "river" is the table even if a value is called that
    elif values and len(words) == 1 and mixed_case and len(text) <= 5 and text == text.lower():
        # In "Where does Don ...", "po" is not the river Po; "open" is a status that is written Open.
        values = tuple(
            one for one in values if one.value.islower() or links.tables[one.column.table].label != one.column
        )
    if table or columns or values:
        return _Mention(text=text, table=table, columns=columns, values=values)
    return None


_YES_OR_NO = re.compile(
    r"\s*(?:(?:is|are|was|were)\b(?! there\b)|(?:does|did|has|have|will)\b|(?:do|can|could)\b(?! (?:you|i|we)\b))",
    re.IGNORECASE,
)


# ------------------------------------------------------------------------------------------------------------- resolve


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    """A column that the question speaks of, before it is known of which table."""

    text: str
    columns: tuple[LinkedColumn, ...] = ()
    concepts: frozenset[str] = frozenset()
    unit: str = ""
    """The unit that the question names: it tells an area from a population."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Filter:
    wanted: _Wanted | None
    """None is the only column of dates that the table has."""
    operator: str
    operands: tuple[float | str | bool, ...]
    """Numbers; whether a column of yes and no says yes; or the first day of a date and the first one after it."""
    unit: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Superlative:
    direction: str
    wanted: _Wanted | None
    """The number that ranks; None ranks by how many rows of `counted` there are."""
    limit: int | None
    counted: _Mention


@dataclass(slots=True)
class _Resolving:
    """Finds out what a reading means in these tables."""

    links: SchemaLinks
    mentions: list[_Mention]
    chosen: object = None
    """Which column, table or way to count is meant where several could be."""
    target: LinkedTable = field(init=False)
    filters: list[_Filter] = field(default_factory=list)
    negated: list[_Mention] = field(default_factory=list)
    superlative: _Superlative | None = None
    order: tuple[_Wanted, str] | None = None
    """The column to sort by, and the direction."""
    aggregate: tuple[str, _Wanted] | None = None
    group: _Wanted | None = None
    counts: bool = False
    different: _Wanted | None = None
    """The column whose different values are counted or listed."""
    asks_for_one_number: bool = False
    outputs: list[_Wanted] = field(default_factory=list)
    values: list[tuple[_Mention, str]] = field(default_factory=list)
    """With the preposition before each."""
    bound: dict[int, tuple[ValueLink, ...]] = field(default_factory=dict)
    used: list[LinkedColumn] = field(default_factory=list)
    read: set[str] = field(default_factory=set)

    def plan(self) -> TablePlan:
        for place, mention in enumerate(self.mentions):
            mention.place = place
        finds = [self._find_adjectives, self._find_negated, self._find_periods, self._find_order]
        finds += [self._find_comparisons, self._find_superlative, self._find_aggregate, self._find_group]
        for find in (*finds, self._find_count, self._find_equal, self._bind_values, self._find_target):
            find()
        plan = self._write()
        self._account_for_verbs(plan)
        return plan

    def _account_for_verbs(self, plan: TablePlan) -> None:
        """Refuse verbs and question words that fit nothing that was used: "who live in Sales" has no place."""
        stems = {stem for column in self.used for stem in (*column.stems, *column.concepts)}
        stems |= {stem for name in self.read for stem in self.links.tables[name].stems}
        for mention in self._each("verb"):
            assert mention.phrase is not None
            several = mention.says == "several" and len(self.values) > 1
            after = self._at(mention.place + 1)
            after = self._at(after.place + 1) if after.word in ("has", "have", "had", "did") else after
            asked = [one for wanted in self.outputs for one in self._candidates(wanted, self.target)]
            said = [one for one in asked if plan.cell is not None or (one in after.columns and not after.table)]
            if any(not fits_verb(mention.phrase, (*one.stems, *one.concepts)) for one in said):
                raise _Unsure(f"{said[0].name!r} does not say {mention.text!r}. Ask for what a column holds.")
            if mention.word == "when" and not (self.values or self.superlative):
                raise _Unsure("It is not clear of which row 'when' asks. Name it.")
            adjective = mention.word in _PARTICIPLES and self._at(mention.place + 1).table is not None
            if adjective or (not several and not fits_verb(mention.phrase, stems)):
                raise _Unsure(f"No column of {self.target.name!r} that was used answers to {mention.text!r}. Name one.")

    # -- what is asked for

    def _find_adjectives(self) -> None:
        """Tell "remote employees" and "employees who are remote" from the column, and a status from its column."""
        for mention in self.mentions:
            if mention.table is not None or not mention.columns:
                continue
            before = self._at(mention.place - 1)
            table = self._described(mention)
            describes, name = table is not None, table.name if table is not None else ""
            columns = tuple(column for column in mention.columns if column.table == name)
            values = tuple(link for link in mention.values if link.column.table == name)
            if columns or values:  # those of other tables are not meant
                mention.columns, mention.values = columns, values
            flags, is_before = mention.flags, self._at(mention.place + 1).table is not None
            is_number = any(column.is_number or column.period for column in mention.columns)
            measures = is_number and not (is_before and not before.is_phrase("superlative", "aggregate", "per", "top"))
            if not mention.columns:
                continue
            if mention.values and flags and describes:
                raise _Unsure(f"{mention.text!r} is the name of a column and a value. Say which column has it.")
            if mention.values:
                is_name = any(mention.word in split_words(column.name) for column in mention.columns)
                mention.columns = mention.columns if is_name and not describes else ()
                mention.values = mention.values if not mention.columns else ()
            elif flags and describes:
                is_so = not before.is_phrase("not")
                before.used, mention.used = before.used or not is_so, True
                self._filter(_Wanted(text=mention.text, columns=flags), "is", is_so)
            elif flags and not (before.is_phrase("per", "order") or self._asks_for_cells(mention)):
                raise _Unsure(f"It is not clear what {mention.text!r} has to be. Say 'that are {mention.text}'.")
            elif describes and not before.values and not measures:
                raise _Unsure(f"It is not clear what {mention.text!r} says here. Name a value of that column.")

    def _asks_for_cells(self, mention: _Mention) -> bool:
        """Whether rows are named, or the question says what the column is, or that it wants to be shown columns."""
        shows = self._at(mention.place + 1).word in (*_BE, "=") or self.mentions[0].word in _ASKING
        shows = shows or any(one.is_phrase("and") for one in self.mentions)
        links = (link for one in self.mentions for link in one.values)
        return shows or any(link.column == self.links.tables[link.column.table].label for link in links)

    def _described(self, mention: _Mention) -> LinkedTable | None:
        """Return the table that the word stands before, or after with `are` between."""
        after = self._at(mention.place + 1)
        if after.word in (*_BE, "="):
            return None  # "where remote is yes"
        while after.table is None and (after.values or after.flags):
            after = self._at(after.place + 1)
        before = self._at(mention.place - 1)
        if before.is_phrase("not"):
            before = self._at(before.place - 1) if not before.word.endswith(" t") else _IS
        if mention.flags:
            joined = self._at(before.place - 1) if before.is_phrase("and") else before
            before = _IS if joined.values or (joined.used and joined is not _NOTHING) else before
        tables = [one.table for one in self.mentions[: before.place] if one.table is not None]
        follows = bool(tables) and (before.word in _BE or before.is_phrase("verb", "not"))
        return after.table or (tables[-1] if follows else None)

    def _find_negated(self) -> None:
        for mention in (one for one in self.mentions if one.is_phrase("not")):
            after = self._past_filler(mention.place + 1)
            if any(one.is_phrase("and") for one in self.mentions):
                raise _Unsure(f"How far {mention.text!r} reaches beside 'and' or 'or' is not clear. Ask for each.")
            if not after.values and not mention.used:
                raise _Unsure(f"It is not clear what {mention.text!r} leaves out. Name a value.")
            self.negated += [after] if not mention.used else []
            mention.used = True

    def _find_periods(self) -> None:
        """Read dates and years with what stands before them: "hired in 2023", "since May 2024"."""
        for mention in self.mentions:
            before = self._at(mention.place - 1)
            operator = before.says if before.is_phrase("when") else "=" if before.word in ("in", "on") else ""
            if operator and mention.period and not mention.used and not self._at(mention.place + 1).unit:
                self._take(before, mention)
                self._filter(self._dated(before.place - 1), operator, *mention.period)

    def _dated(self, place: int) -> _Wanted | None:
        """Return the column of dates that the words before a date name; None leaves it to the table."""
        near = self._before_filler(place)
        dated = [one for one in self.mentions if not one.used and any(column.period for column in one.columns)]
        found = [one for one in dated if one is near] or dated
        follows_table = any(one.table is not None for one in self.mentions[: near.place])
        if near not in found and not near.table and not near.used and not self._preposition(near) and follows_table:
            raise _Unsure(f"No column holds when that was: {near.text!r}. Name a column of dates.")
        return self._take(found[0]) if len(found) == 1 else None

    def _find_order(self) -> None:
        for mention in self._each("order"):
            column = self._past_filler(mention.place + 1)
            if self.order is not None or not column.columns:
                raise _Unsure(f"It is not clear what {mention.text!r} sorts by. Name a column.")
            after = self._past_filler(column.place + 1)
            direction = after.says if after.is_phrase("direction") else mention.says
            after.used = after.used or after.is_phrase("direction")
            self.order = self._take(mention, column), direction

    def _find_comparisons(self) -> None:
        for mention in self._each("compare"):
            is_after = mention.says.startswith("after ")  # "3 or more"
            number = self._at(mention.place + (-1 if is_after else 1))
            if number.number is None or number.used:
                raise _Unsure(f"{mention.text!r} must be followed by a number here.")
            first = mention.place - is_after
            wanted, unit = self._compared(mention, first, first + 2)
            self._take(mention, number)
            self._filter(wanted, mention.says.removeprefix("after "), number.number, unit=unit)
        for mention in self._each("between"):
            low, middle, high = (self._at(mention.place + offset) for offset in (1, 2, 3))
            near, after = self._before_filler(mention.place - 1), self._at(mention.place + 4)
            is_amount = bool(after.unit) or (_is_number_word(near) and low.number is not None)
            if middle.is_phrase("and") and low.period and high.period and not is_amount:
                self._take(mention, low, middle, high)
                self._filter(self._dated(mention.place - 1), "=", low.period[0], high.period[1])
                continue
            if low.number is None or high.number is None or not middle.is_phrase("and"):
                raise _Unsure("'between' must be followed by two numbers here.")
            wanted, unit = self._compared(mention, mention.place, mention.place + 4)
            self._take(mention, low, middle, high)
            self._filter(wanted, "between", low.number, high.number, unit=unit)

    def _compared(self, mention: _Mention, first: int, after: int) -> tuple[_Wanted, str]:
        """Return the column that a comparison speaks of: after its number, implied by its adjective, or before it."""
        following, before = self._at(after), self._before_filler(first - 1)
        if unit := following.unit:
            following.used = True
            following = self._past_filler(after + 1)
        if following.columns and not following.table and not following.used:
            return self._take(following), unit
        if mention.phrase is not None and mention.phrase.concept:
            return _Wanted(text=mention.text, concepts=frozenset(mention.phrase.concept.split()), unit=unit), unit
        if before.columns and not before.table and not before.used:
            return self._take(before), unit
        if unit:
            columns = (column for table in self.links.tables.values() for column in table.columns)
            return _Wanted(text=unit, columns=tuple(column for column in columns if column.unit == unit)), unit
        if before.table is not None and (self._at(after - 1).period is None or self._at(after - 1).text < "1900"):
            return _Wanted(text=mention.text, concepts=frozenset({"amount"})), unit
        raise _Unsure(f"It is not clear what {mention.text!r} compares. Name the column.")

    def _find_equal(self) -> None:
        """Read numbers that a column must be: "with 2 children", "a stock of 0"."""
        for mention in self.mentions:
            before, near = self._at(mention.place - 1), self._at(mention.place + 1)
            is_year = before.word == "of" and mention.period is not None and mention.text >= "1900"  # "sales of 2023"
            if mention.number is None or mention.used or is_year:
                continue
            if before.table is not None and not before.word.endswith("s"):  # "ticket 101"
                codes = tuple(column for column in before.table.columns if column.is_code and column.is_number)
                near = _Mention(text=mention.text, columns=codes[:1] if len(codes) == 1 else ())
            elif before.word not in _HAVE:
                near = self._before_filler(before.place, among=(*_BE, "of", "="))
                near = near if _is_number_word(near) or near.word in ("id", "number") else _NOTHING
            if near.columns and not near.table and not near.used:
                unit = self._at(mention.place + 1).unit
                self._at(mention.place + 1).used |= bool(unit)
                self._filter(self._take(mention, near), "=", mention.number, unit=unit)

    def _find_superlative(self) -> None:
        found = list(self._each("superlative", "top"))
        if len(found) > 1 and found[0].is_phrase("top") and found[1].place == found[0].place + 2:
            found.pop(0).used = True  # "the top 5 longest rivers" are the 5 longest
        if len(found) > 1:
            raise _Unsure("The question ranks by more than one thing. Ask for one at a time.")
        for mention in found:
            mention.used = True
            limit, wanted = self._limit(mention), self._ranked_by(mention)
            counted = self._past_filler(mention.place + 1)
            if mention.is_phrase("top") and counted.number is not None:
                counted = self._past_filler(counted.place + 1)
            if wanted is None and counted.table is None:
                raise _Unsure(f"It is not clear what {mention.text!r} ranks by. Name a column of numbers.")
            if wanted is None and counted.table is not None and mention.is_phrase("top"):
                numbers = tuple(column for column in counted.table.columns if column.is_measure)
                wanted = _Wanted(text=mention.text, columns=numbers) if len(numbers) == 1 else None
            if wanted is None and (pieces := _pieces(counted)):
                raise _Unsure(f"{counted.text!r} could be counted or added up. Ask for the total {pieces} per ...")
            counted.used = counted.used or wanted is None
            self.superlative = _Superlative(direction=mention.says, wanted=wanted, limit=limit, counted=counted)

    def _limit(self, ranks: _Mention) -> int | None:
        """Return the N of "top N", "N largest" or "which N countries"."""
        near = (ranks.place + 1, ranks.place - 1)
        for place in (ranks.place + 1,) if ranks.is_phrase("top") else (*near, *range(len(self.mentions))):
            mention = self._at(place)
            fits = place in near or self._at(place + 1).table is not None
            number = mention.number if fits and not mention.used else None
            if number is not None and number == int(number) and 1 <= number <= 1000:
                mention.used = True
                return int(number)
        if ranks.is_phrase("top"):
            raise _Unsure("'top' must be followed by a number here.")
        return None

    def _ranked_by(self, ranks: _Mention) -> _Wanted | None:
        assert ranks.phrase is not None
        concept = ranks.phrase.concept
        following = self._at(ranks.place + 1)
        while following.number is not None or following.is_phrase("filler"):
            following = self._at(following.place + 1)
        if following.is_phrase("aggregate"):
            raise _Unsure(f"Ranking by a {following.text} is not understood. Ask for it per group.")
        before = self._before_filler(ranks.place - 1)
        dates = [one for one in (following, before) if any(column.period for column in one.columns)]
        dates = dates if concept == "date" else []
        if _is_number_word(following) or following in dates:
            return self._take(following)
        if ((_is_number_word(before) and not concept) or before in dates) and not before.used and not following.table:
            return self._take(before)
        counts = following.table is not None and not concept
        for mention in self.mentions[following.place if counts else ranks.place :]:
            column = self._past_filler(mention.place + 1)
            if mention.is_phrase("per") and _is_number_word(column):
                return self._take(mention, column)
        return _Wanted(text=ranks.text, concepts=frozenset(concept.split())) if concept else None

    def _find_aggregate(self) -> None:
        for mention in self._each("aggregate"):
            following = self._past_filler(mention.place + 1)
            if following.is_phrase("count") and mention.says == "sum":
                mention.used = True  # "the total number of"
                continue
            if following.table is not None:
                after = self._past_filler(following.place + 1)  # "average city population"
                own = following.columns and all(column.is_measure for column in following.columns)
                if own and not _is_number_word(after):
                    following.table = None  # "total sales" of a table that is called as its column
                following = after if following.table is not None else following
            if self.aggregate is not None or not _is_number_word(following):
                raise _Unsure(f"It is not clear what the {mention.text} is of. Name a column of numbers.")
            self.aggregate = mention.says, self._take(mention, following)

    def _find_group(self) -> None:
        asks = any(one.is_phrase("count", "aggregate", "superlative") for one in self.mentions)
        for mention in self._each("per"):
            following = self._past_filler(mention.place + 1)
            is_by = mention.word == "by" and following.values and not following.columns
            is_by = is_by and self._at(mention.place - 1).table is not None  # "tickets by Anna", not "opened by Anna"
            if is_by or (following.table is not None and not following.columns and not asks):
                mention.used = True  # "the salary of each employee"
                continue
            if self.group is not None or not following.columns:
                raise _Unsure(f"It is not clear what {mention.text!r} groups by. Name a column.")
            self.group = self._take(mention, following)

    def _find_count(self) -> None:
        for mention in self._each("how"):
            assert mention.phrase is not None
            mention.used = True
            self.outputs.append(_Wanted(text=mention.text, concepts=frozenset({mention.phrase.concept})))
        for mention in self._each("count"):
            following = self._past_filler(mention.place + 1)
            while not following.table and (following.values or (following.used and following is not _NOTHING)):
                following = self._past_filler(following.place + 1)
            mention.used = True
            if (pieces := _pieces(following)) and following.place > mention.place + 1:
                raise _Unsure(f"{following.text!r} could be counted or added up. Ask for the total {pieces}.")
            if following.table is not None:
                self.counts = True
                self.chosen = mention.says or self.chosen
            elif any(map(_pieces, self.mentions)) and (following.values or following.columns):
                raise _Unsure(
                    "Rows could be counted, or pieces added up. Ask for the number of rows, or for the total."
                )
            elif following.used or not following.columns or following.flags:
                raise _Unsure(f"It is not clear what {mention.text!r} counts. Name a table.")
            elif _is_number_word(following):
                self.outputs.append(self._take(following))  # "how many people live in France" asks for a cell
                self.asks_for_one_number = True
            elif any(one.column in following.columns for word in _YES for one in self.links.values.get((word,), ())):
                raise _Unsure(f"It is not clear what {mention.text!r} counts. Name a table.")
            else:
                self.counts, self.different = True, self._take(following)

    def _bind_values(self) -> None:
        """Let "the river Don", "the state of Texas" and "whose currency is Euro" say which column a value is of."""
        for mention in self.mentions:
            if not mention.values:
                continue
            self.values.append((mention, self._preposition(mention)))
            for gap in (True, False):
                near = self._at(mention.place + 1)
                if gap:
                    near = self._before_filler(mention.place - 1, among=_LINKS)
                    near = self._before_filler(near.place - 1, among=_LINKS) if near.is_phrase("not") else near
                if near.used or not (near.table or near.columns):
                    continue
                skipped = self.mentions[near.place + 1 : mention.place] if gap else []
                through_of = any(entry.word.endswith("of") for entry in skipped)
                fits = tuple(link for link in mention.values if link.column in near.columns and not through_of)
                if near.table is not None:
                    fits = tuple(link for link in mention.values if link.column == near.table.label)
                if fits and len(fits) < len(mention.values) + (near.table is None or gap):
                    tables = [one for one in self.mentions if one.table is not None and not one.used]
                    is_first = bool(tables) and tables[0] is near
                    if is_first and not gap:
                        continue
                    self.bound[mention.place] = fits
                    near.used = near.used or not is_first or len(tables) > 1
                    break

    def _preposition(self, mention: _Mention) -> str:
        before = self._at(mention.place - 1)
        while before.is_phrase("filler") and before.word in ("the", "a"):
            before = self._at(before.place - 1)
        return before.word if before.is_phrase("filler") else ""

    # -- which table

    def _find_target(self) -> None:
        tables = [mention for mention in self.mentions if mention.table is not None and not mention.used]
        ranks = self.superlative
        if ranks is not None and ranks.wanted is None and ranks.counted.table is not None:
            if len(tables) != 1 or not tables[0].columns:
                tables = [mention for mention in self.mentions if mention.columns and not mention.used]
            if len(tables) != 1:
                raise _Unsure("It is not clear what is ranked. Name a column: 'which continent has the most ...'.")
            self.group, self.target = self._take(tables[0]), ranks.counted.table
        elif tables:
            assert tables[0].table is not None
            joins = any(mention.is_phrase("and") for mention in self.mentions)
            if joins and sum(one.table == tables[0].table for one in tables) > 1:
                raise _Unsure(f"{tables[0].table.name!r} is named twice, each time of other rows. Ask for each apart.")
            self.target, tables[0].used = tables[0].table, True
        for mention in self.mentions:
            is_left = mention.word in ("a", "an") and self._at(mention.place + 1) is _NOTHING
            is_left |= mention.word in _ASKING and any(map(_is_data, self.mentions[: mention.place]))
            if mention.used or (mention.is_phrase("filler", "and", "verb") and not is_left) or mention.values:
                continue
            before = self._at(mention.place - 1)
            if before.columns and mention.columns and not (before.table or mention.table):
                raise _Unsure(f"No column is called '{before.text} {mention.text}'. Say which of the two.")
            if mention.table is not None and (not tables or mention.table == self.target):
                mention.used = True
            elif mention.columns and not self._is_condition(mention):
                self._check_beside(mention)
                self.outputs.append(self._take(mention))
            else:
                raise _Unsure(f"It is not clear what {mention.text!r} means here. Ask more simply.")
        if len(self.outputs) > 1 and not any(mention.is_phrase("and") for mention in self.mentions):
            said = " and ".join(repr(wanted.text) for wanted in self.outputs)
            raise _Unsure(f"How {said} belong together is not clear. Ask for one at a time, or join them by 'and'.")
        if not tables:
            if len(self.outputs) == 1 and not self.values and self._lists_texts() and self._asks_to_list():
                self.different = self.outputs.pop()
            if self.outputs and (self.superlative is not None or not self.values):
                raise _Unsure("The question names no table. Say what things you want to know that of.")
            self.target = self._infer_target()

    def _check_beside(self, mention: _Mention) -> None:
        """Refuse a value of another column beside one that holds none such: "low satisfaction" is no low priority."""
        before, after = self._at(mention.place - 1), self._at(mention.place + 1)
        lead = self._at(before.place - 1)
        lead = self._at(lead.place - 1) if lead.word in ("a", "an") else lead
        after = self._past_filler(after.place) if after.word in (*_BE, "=") else after
        says_how = lead.word in _HAVE or self._at(mention.place + 1).table is not None
        for value in [before] * says_how + [after]:
            names_row = any(link.column == self.links.tables[link.column.table].label for link in value.values)
            if value.values and not names_row and all(link.column not in mention.columns for link in value.values):
                raise _Unsure(
                    f"No {mention.text!r} is {value.text!r}. Say what it has to be, or leave one of them out."
                )

    def _is_condition(self, mention: _Mention) -> bool:
        """Whether a column is not asked for, but says something of rows: "in stock", "with a manager", "grade A"."""
        before, after = self._at(mention.place - 1), self._at(mention.place + 1)
        before = self._at(before.place - 1) if before.word in ("a", "an") else before
        is_last, is_first = after is _NOTHING or after.is_phrase("filler"), before.place == 0
        return is_last and not is_first and before.word in (*_HAVE, "in", "on", "at", "within", "from")

    def _infer_target(self) -> LinkedTable:
        ranked = self.superlative.wanted if self.superlative is not None else None
        aggregated, ordered = self.aggregate[1] if self.aggregate else None, self.order[0] if self.order else None
        asked = [*self.outputs, aggregated, ordered, ranked, self.group, self.different]
        asked += [one.wanted for one in self.filters if isinstance(one.operands[0], float)]
        wanted = [one for one in (*asked, *(one.wanted for one in self.filters)) if one is not None]
        who = next(self._each("verb"), _NOTHING).phrase
        if not any(asked) and who is not None and (self.values or self.filters):
            people = (
                one for one in self.links.tables.values() if one.label and fits_verb(who, one.label.stems + one.stems)
            )
            wanted += [_Wanted(text="who", columns=tuple(one.label for one in people if one.label))]
            asked = [*wanted]
        if not any(asked):
            raise _Unsure("The question names no table and no column. Say what you want to know of which table.")
        fitting = [table for table in self.links.tables.values() if all(self._candidates(one, table) for one in wanted)]
        if self.values:
            found = [self.bound.get(mention.place, mention.values) for mention, _ in self.values]
            hold = [
                one for one in fitting if all(any(link.column.table == one.name for link in links) for links in found)
            ]
            named = [[any(_names_row(link, one) for link in links) for links in found] for one in hold]
            labelled = [one for one, names in zip(hold, named, strict=True) if all(names)]
            labelled = labelled or [one for one, names in zip(hold, named, strict=True) if any(names)]  # "Ada in Maths"
            labelled = labelled or (hold if self._lists_texts() else [])
            if not labelled and self.outputs and not (self.aggregate or self.group):
                raise _Unsure("No row of a table with that column has that name. Name the table, or send SQL.")
            fitting = labelled or fitting
        fitting = [table for table in fitting if table is self.chosen] or fitting
        if len(fitting) != 1:
            names = " or ".join(repr(table.name) for table in fitting)
            said = f"The question could be about {names}. Say which." if fitting else "No table has all of that."
            raise _Unsure(said, fitting)
        return fitting[0]

    def _lists_texts(self) -> bool:
        """Whether the question asks for several texts: "capitals of Europe". The numbers of Europe would be its own."""
        return bool(self.outputs) and all(
            wanted.text.lower().endswith("s") and wanted.columns and not any(one.is_number for one in wanted.columns)
            for wanted in self.outputs
        )

    # -- conditions

    def _conditions(self) -> Found:
        """Return the conditions of the question, each as SQL and as words."""
        found: Found = []
        chosen: dict[LinkedColumn, list[ValueLink]] = {}
        ways: dict[LinkedColumn, Join | None] = {}
        columns: dict[int, LinkedColumn] = {}
        for mention, preposition in self.values:
            links, join = self._choose(mention, preposition)
            column = columns[mention.place] = links[0].column
            if not any(mention is one for one in self.negated):
                chosen.setdefault(column, []).extend(links)
                ways[column] = join
            elif join is not None or column.holds_lists or self.target.repeats or self.target.may_repeat:
                raise _Unsure(f"Rows without {mention.text!r} cannot be told. Say what to include, or send SQL.")
            else:
                condition = f"({quote_name(column.name)} IS NULL OR NOT {value_condition(links)})"
                said = " or ".join(repr(link.value) for link in links)
                found.append((condition, f"{column.name} is not {said} (or is empty)"))
        self._check_joined([(one, ways[one]) for one, links in chosen.items() if _differ(links)], columns)
        for column, links in chosen.items():
            condition, join, where = value_condition(links), ways[column], column.name
            if join is not None:
                self.read.add(join.to.table)
                key_name, source = quote_name(join.to.name), quote_name(join.to.table)
                inner = f"SELECT {key_name} FROM {source} WHERE {condition}"  # noqa: S608 - all quoted
                condition, where = f"{quote_name(join.column.name)} IN ({inner})", f"{where} in {column.table}"
            said = " or ".join(repr(link.value) for link in links)
            found.append((condition, f"{where} {'has' if column.holds_lists else 'is'} {said}"))
        for one in self.filters:
            column = self._own(one.wanted) if one.wanted is not None else self._only_dates()
            found.append(_filter_condition(column, one))
        return found

    def _check_joined(self, several: list[tuple[LinkedColumn, Join | None]], columns: dict[int, LinkedColumn]) -> None:
        """Refuse "or" that joins no values of one column, and "and" between values that may mean both at once."""
        said = [mention.word for mention in self.mentions if mention.is_phrase("and")]
        for mention in self.mentions:
            near = self._before_filler(mention.place - 1), self._past_filler(mention.place + 1)
            first, second = (columns.get(one.place) for one in near)
            if mention.word == "or" and (first is None or first != second):
                raise _Unsure("'or' is understood between two values of one column only. Ask for each.")
        for column, join in several:
            if not said:
                raise _Unsure("Two values of one column must be joined by 'and' or 'or'.")
            both = column.holds_lists or join is not None or self.target.repeats or self.target.may_repeat
            if ("and" in said and both) or ("both" in said and column != self.target.label):
                raise _Unsure("Whether 'and' means both at once or either is not clear. Say 'or', or ask for each.")

    def _only_dates(self) -> LinkedColumn:
        dates = [column for column in self.target.columns if column.period]
        dates = [column for column in dates if column is self.chosen] or dates
        names = " or ".join(repr(column.name) for column in dates) or "nothing: no column holds dates"
        is_sure = len(dates) == 1 and (DATE_WORDS.issuperset(dates[0].stems) or dates[0] is self.chosen)
        if not is_sure:
            raise _Unsure(f"The date could be that of {names}. Say which.", dates)
        self.used.append(dates[0])
        return dates[0]

    def _choose(self, mention: _Mention, preposition: str) -> tuple[list[ValueLink], Join | None]:
        links = self.bound.get(mention.place, mention.values)
        own = [link for link in links if link.column.table == self.target.name]
        own = [link for link in own if link.column is self.chosen] or own
        columns = list(dict.fromkeys(link.column for link in own))
        labels = [link for link in own if link.column == self.target.label]
        is_negated = any(mention is one for one in self.negated)
        if len(columns) > 1:
            others = [link for link in own if link.column != self.target.label]
            inside = preposition.split(" ")[-1] in ("in", "within", "from", "through") or not self._asks_of_rows()
            own = others if others and inside and preposition not in ("called", "named") else labels or others
            if self.target.may_repeat or is_negated or not labels or len({link.column for link in own}) > 1:
                names = " or ".join(repr(column.name) for column in columns)
                raise _Unsure(f"{mention.text!r} could be the {names}. Say which.", columns)
        if own and own[0].column == self.target.label and not self._asks_of_rows() and not is_negated:
            raise _Unsure(f"It is not clear what is asked about {mention.text!r}. Name a column.")
        if _differ(own):
            raise _Unsure(f"{mention.text!r} could be {' or '.join(repr(link.value) for link in own)}. Say which.")
        if own:
            self.used.append(own[0].column)
            return own, None
        reached = [
            (link, join)
            for link in links
            if (join := self.links.join(self.target.name, link.column.table)) is not None and self._relates(link, join)
        ]
        # A link table that holds the value itself is nearer than a table about the value.
        direct = [(link, join) for link, join in reached if not join.to_one] or reached
        if len({(link.column, link.value) for link, _ in direct}) != 1:
            raise _Unsure(f"It is not clear how {mention.text!r} belongs to {self.target.name!r}.")
        self.used += [direct[0][0].column, direct[0][1].column]
        return [direct[0][0]], direct[0][1]

    def _asks_of_rows(self) -> bool:
        """Whether the question asks for something of rows that it names, rather than for rows."""
        return self.superlative is None and not self.counts and bool(self.outputs or self.aggregate)

    def _relates(self, link: ValueLink, join: Join) -> bool:
        """Whether the other table says of what ours belongs to (the continent of a city's country), or links both."""
        table, back = self.links.tables[link.column.table], self.links.join(join.to.table, join.column.table)
        describes = join.to_one and (back is None or not back.to_one)
        return describes or len(table.columns) == 2 or link.column == table.label

    def _candidates(self, wanted: _Wanted, table: LinkedTable) -> list[LinkedColumn]:
        exact = [column for column in wanted.columns if column.table == table.name]
        found = exact or [column for column in table.columns if column.concepts & wanted.concepts]
        found = [column for column in found if wanted.concepts and column.is_number] or found
        found = [column for column in found if wanted.unit and column.unit == wanted.unit] or found
        found = [column for column in found if column is self.chosen] or found
        stems = tuple(stem(word) for word in split_words(wanted.text))
        return [column for column in found if column.stems == stems] or found

    def _column(self, wanted: _Wanted, table: LinkedTable) -> LinkedColumn | None:
        found = self._candidates(wanted, table)
        if len(found) > 1:
            names = " or ".join(repr(column.name) for column in found)
            raise _Unsure(f"{wanted.text!r} could mean {names}. Say which.", found)
        return found[0] if found else None

    def _own(self, wanted: _Wanted) -> LinkedColumn:
        column = self._column(wanted, self.target)
        if column is None:
            raise _Unsure(f"The table {self.target.name!r} has no column for {wanted.text!r}.")
        self.used.append(column)
        return column

    # -- write

    def _write(self) -> TablePlan:
        self.read.add(self.target.name)
        if self.group is not None:
            return self._write_group(self.group)
        found = self._conditions()
        asked = [self.order, self.superlative, self.aggregate, self.counts]
        if sum(map(bool, asked)) > 1 or (self.outputs and (self.aggregate or self.counts)):
            raise _Unsure("The question asks for more than one thing. Ask for one at a time.")
        if self.superlative is not None:
            return self._write_superlative(self.superlative, found)
        if self.aggregate is not None:
            function, column, label = self.aggregate[0], self._measure(*self.aggregate), self.target.label
            name, what = quote_name(column.name), f"the {_AGGREGATE_NAMES[function]} of {column.name} over"
            if self.chosen == "different" and label is not None:
                inner = f"SELECT DISTINCT {quote_name(label.name)}, {name} FROM {quote_name(self.target.name)}"  # noqa: S608
                once = f"{what} {self.target.name}, each {label.name} once{where_words(found)}"
                return self._planned(f"SELECT {function}({name}) FROM ({inner}{where_sql(found)})", once)  # noqa: S608
            return self._done(f"{function}({name})", found, f"{what} all rows of" if self.chosen == "rows" else what)
        if self.different is not None:
            column = self._own(self.different)
            name = quote_name(column.name)
            if column.holds_lists:
                raise _Unsure(f"Cells of {column.name!r} hold several values each. Send SQL.")
            if self.counts:
                return self._done(f"count(DISTINCT {name})", found, f"how many different {column.name} in")
            found = [*found, (f"{name} IS NOT NULL", "")]
            return self._done(f"DISTINCT {name}", found, f"the different known {column.name} in", " ORDER BY 1")
        if (linked := self._through_link(found)) is not None:
            return linked
        if self.counts:
            return self._done(self._counted(), found, "how many")
        return self._write_rows(found)

    def _through_link(self, found: Found) -> TablePlan | None:
        """Answer from a link table where it alone holds the things asked for.

        `river_countries` knows more countries of the Danube than the table of countries has rows.
        """
        label = self.target.label
        if label is None or len(self.values) != 1 or self.outputs or self.filters or self.negated or self.order:
            return None
        links, join = self._choose(*self.values[0])
        if join is None or join.to_one or join.column != label or len(self.links.tables[join.to.table].columns) != 2:
            return None
        self.read = {join.to.table}
        name, ending = quote_name(label.name), f", as {join.to.table} has it"
        found = [(f"{value_condition(links)} AND {quote_name(join.to.name)} IS NOT NULL", where_words(found)[7:])]
        if self.counts:
            return self._done(f"count(DISTINCT {name})", found, "how many", "", ending, join.to.table)
        return self._done(f"DISTINCT {name}", found, "the", " ORDER BY 1", ending, join.to.table)

    def _write_rows(self, found: Found) -> TablePlan:
        label = self.target.label
        columns = list(dict.fromkeys(self._own(wanted) for wanted in self.outputs))
        if label is None:
            raise _Unsure(f"The table {self.target.name!r} has no column that names its rows. Send SQL.")
        if not columns and not found and self.order is None and not self._asks_to_list():
            raise _Unsure("It is not clear what is asked for. Name a column, or say 'list'.")
        self.used.append(label)
        cell = None
        if len(columns) == 1 and len(self.values) == 1 and not self.filters and not self.negated:
            links, join = self._choose(*self.values[0])
            if join is None and links[0].column == label and not label.holds_lists and len(links) == 1:
                cell = Cell(table=self.target.name, label=label.name, value=links[0].value, column=columns[0].name)
        if self.asks_for_one_number and (cell is None or self.target.may_repeat):
            raise _Unsure(f"That could be one number for each of several {self.target.name!r}. Ask for the total.")
        tail = sorting = ""
        if self.order is not None:
            by = self._own(self.order[0])
            columns = list(dict.fromkeys([*columns, by]))
            tail = f" ORDER BY {quote_name(by.name)} {self.order[1].upper()}, {quote_name(label.name)}"
            sorting = f", sorted by {by.name}" + (", largest first" if self.order[1] == "desc" else "")
        is_one = any(one.operator == "=" and one.wanted and label in one.wanted.columns for one in self.filters)
        shown = columns if cell is not None or (is_one and columns) else list(dict.fromkeys([label, *columns]))
        distinct = "DISTINCT " if self.target.repeats or (self.target.may_repeat and shown == [label]) else ""
        select = distinct + ", ".join(quote_name(column.name) for column in shown)
        what = "the " + " and ".join(column.name for column in shown) + " of" if shown != [label] else "the"
        return replace(self._done(select, found, what, tail, sorting), cell=cell)

    def _asks_to_list(self) -> bool:
        fillers = [mention.word.split()[0] for mention in self.mentions if mention.is_phrase("filler")]
        return any(word in ("list", "show", "which", "what", "name", "give", "all", "names") for word in fillers)

    def _write_superlative(self, ranks: _Superlative, found: Found) -> TablePlan:
        assert ranks.wanted is not None
        column, label = self._own(ranks.wanted), self.target.label
        if not (column.is_measure or column.period) or label is None:
            raise _Unsure(f"{column.name!r} holds no numbers to rank by.")
        self.used.append(label)
        columns = list(dict.fromkeys([label, *(self._own(wanted) for wanted in self.outputs), column]))
        distinct = "DISTINCT " if self.target.repeats else ""
        if ranks.limit is None and self.outputs:  # what is asked for comes first: "the capital of the largest country"
            columns.append(columns.pop(0)) if label not in map(self._own, self.outputs) else None
        select = distinct + ", ".join(quote_name(one.name) for one in columns)
        name, source = quote_name(column.name), quote_name(self.target.name)
        first, last, operator = ("max", "min", ">=") if ranks.direction == "desc" else ("min", "max", "<=")
        most = "largest" if ranks.direction == "desc" else "smallest"
        if ranks.limit is None:  # rows that share the first place are all of them first
            inner = f"SELECT {first}({name}) FROM {source}{where_sql(found)}"  # noqa: S608 - quoted
            asked = " and ".join(self._own(wanted).name for wanted in self.outputs)
            what = f"the {asked}{asked and ' with the '}{most} {column.name} among"
            return self._done(select, [*found, (f"{name} = ({inner})", "")], what)
        # Those that share the last place are all of them shown.
        known = where_sql([*found, (f"{name} IS NOT NULL", "")])
        order = f" ORDER BY {name} {ranks.direction.upper()}"
        inner = (
            f"SELECT {distinct}{quote_name(label.name)}, {name} AS n FROM {source}{known}{order} LIMIT {ranks.limit}"  # noqa: S608
        )
        among = [*found, (f"{name} {operator} (SELECT {last}(n) FROM ({inner}))", "")]  # noqa: S608 - quoted
        what = f"the {ranks.limit} with the {most} {column.name}, and who equals the last, among"
        return self._done(select, among, what, f"{order}, {quote_name(label.name)}")

    def _write_group(self, group: _Wanted) -> TablePlan:
        ranks = self.superlative
        counts = self.counts or (ranks is not None and ranks.wanted is None)
        if self.outputs or self.order or counts == (self.aggregate is not None):
            raise _Unsure("A group can be counted, summed or averaged. Say which.")
        column, join = self._group_column(group)
        is_listed = any(one.column == column and one.to_one for one in self.links.joins)
        if (join is not None or is_listed) and ranks is not None and ranks.direction == "asc":
            raise _Unsure("Groups without any are not in the tables, so the fewest cannot be told. Ask for the most.")
        found = self._conditions()
        name, source = quote_name(column.name), quote_name(self.target.name)
        if self.aggregate is not None:
            function, measured = self.aggregate[0], self._measure(*self.aggregate)
            value, alias = f"{function}({{t}}{quote_name(measured.name)})", f"{function}_{measured.name}"
            what = f"{_AGGREGATE_NAMES[function]} of {measured.name}"
            if join is not None and not join.to_one:  # a sum over groups would count some things twice
                raise _Unsure(f"{self.target.name!r} stand in several groups of {column.name!r} each. Send SQL.")
        else:
            value, what, alias = self._counted("{t}"), "number", "count"
        if join is None:
            select = f"{name}, {value.format(t='')} AS {quote_name(alias)}"
            where = where_sql([*found, (f"{name} IS NOT NULL", "")])
            text = f"SELECT {select} FROM {source}{where} GROUP BY {name}"  # noqa: S608 - all quoted
        else:
            self.read.add(join.to.table)
            counted = value.format(t="a.")
            if not join.to_one and self.target.label is not None:
                counted = f"count(DISTINCT a.{quote_name(self.target.label.name)})"
            inner = f"SELECT * FROM {source}{where_sql(found)}"  # noqa: S608 - quoted
            text = (
                f"SELECT b.{name}, {counted} AS {quote_name(alias)} FROM ({inner}) AS a "  # noqa: S608 - quoted
                f"JOIN {quote_name(join.to.table)} AS b "
                f"ON a.{quote_name(join.column.name)} = b.{quote_name(join.to.name)} GROUP BY b.{name}"
            )
        where_said = where_words(found)
        meant = f"the {what} of {self.target.name} for each known {column.name}{where_said and ','}{where_said}"
        if ranks is None:
            return self._planned(f"{text} ORDER BY 1", meant)
        if ranks.wanted is not None:
            raise _Unsure("Ranking within groups is not understood. Ask for one group at a time.")
        first = ranks.direction == "desc"
        most = "largest" if first else "smallest"
        if ranks.limit is not None:
            order = f"{quote_name(alias)} {ranks.direction.upper()}, 1 LIMIT {ranks.limit}"
            return self._planned(f"{text} ORDER BY {order}", f"{meant}, {most} first, {ranks.limit} of them")
        # Groups that share the first place are all of them first.
        inner = f"SELECT {'max' if first else 'min'}({quote_name(alias)}) FROM groups"  # noqa: S608 - quoted
        text = f"WITH groups AS ({text}) SELECT * FROM groups WHERE {quote_name(alias)} = ({inner})"  # noqa: S608
        meant += f", only the {most} {alias}"
        return self._planned(text, meant, claim=f"the {'most' if first else 'fewest'} {ranks.counted.text}{where_said}")

    def _group_column(self, wanted: _Wanted) -> tuple[LinkedColumn, Join | None]:
        own = self._column(wanted, self.target)
        if own is not None and not own.holds_lists:
            self.used.append(own)
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
        if not column.is_measure:
            raise _Unsure(f"{column.name!r} holds no numbers to calculate with.")
        if function in ("sum", "avg") and column.stems[0] in ("averag", "average", "avg", "mean", "median"):
            raise _Unsure(f"{column.name!r} holds averages already, which have no {_AGGREGATE_NAMES[function]}.")
        ways = ("different", "rows") if self.group is None else ()  # it may stand in one group twice
        if self.target.repeats and function in ("sum", "avg") and self.chosen not in ways:
            said = f"A thing stands in several rows of {self.target.name!r}, so its {column.name} would count twice."
            raise _Unsure(f"{said} Ask for that of one thing, or send SQL.", ways)
        return column

    def _counted(self, prefix: str = "") -> str:
        if self.target.may_repeat and self.chosen not in ("different", "rows"):
            said = f"A name stands in several rows of {self.target.name!r}. Ask for the different ones, or the rows."
            raise _Unsure(said, ("different", "rows"))
        if (self.target.repeats or self.chosen == "different") and self.target.label is not None:
            return f"count(DISTINCT {prefix}{quote_name(self.target.label.name)})"
        return "count(*)"

    def _done(
        self, select: str, found: Found, what: str, tail: str = "", ending: str = "", source: str = ""
    ) -> TablePlan:
        sql = f"SELECT {select} FROM {quote_name(source or self.target.name)}{where_sql(found)}{tail}"  # noqa: S608
        return self._planned(sql, f"{what} {self.target.name}{where_words(found)}{ending}")

    def _planned(self, sql: str, meant: str, claim: str = "") -> TablePlan:
        understood = meant[0].upper() + meant[1:] + "."
        return TablePlan(sql=sql, understood=understood, tables=tuple(sorted(self.read)), claim=claim)

    # -- places in the reading

    def _at(self, place: int) -> _Mention:
        return self.mentions[place] if 0 <= place < len(self.mentions) else _NOTHING

    def _each(self, *kinds: str) -> Iterator[_Mention]:
        return (one for one in self.mentions if one.is_phrase(*kinds) and not one.used)

    def _filter(self, wanted: _Wanted | None, operator: str, *operands: float | str | bool, unit: str = "") -> None:
        self.filters.append(_Filter(wanted=wanted, operator=operator, operands=operands, unit=unit))

    def _take(self, *mentions: _Mention) -> _Wanted:
        """Mark these as used, and return the column that the last of them names."""
        for mention in mentions:
            mention.used = True
        return _Wanted(text=mentions[-1].text, columns=mentions[-1].columns)

    def _past_filler(self, place: int) -> _Mention:
        while self._at(place).is_phrase("filler"):
            place += 1
        return self._at(place)

    def _before_filler(self, place: int, among: Sequence[str] = ()) -> _Mention:
        while self._at(place).is_phrase("filler"):
            if among and self._at(place).word not in among:
                return _NOTHING
            place -= 1
        return self._at(place)


_AGGREGATE_NAMES = {"avg": "average", "sum": "total", "max": "largest value", "min": "smallest value"}


def _is_data(mention: _Mention) -> bool:
    return bool(mention.table or mention.columns or mention.values)


def _names_row(link: ValueLink, table: LinkedTable) -> bool:
    return link.column == table.label or (link.column.is_code and link.column.table == table.name)


def _is_number_word(mention: _Mention) -> bool:
    return mention.table is None and bool(mention.columns) and all(column.is_measure for column in mention.columns)


def _pieces(mention: _Mention) -> str:
    """The column that says how many pieces a row is of, where a verb names its table: "ordered", not "orders"."""
    columns = mention.table.columns if mention.table is not None and mention.word.endswith("ed") else ()
    return next((one.name for one in columns if one.is_measure and not PIECE_WORDS.isdisjoint(one.stems)), "")


def _differ(links: Sequence[ValueLink]) -> bool:
    return len({plain(link.value) for link in links}) > 1


def _filter_condition(column: LinkedColumn, condition: _Filter) -> tuple[str, str]:
    """Return what a column must be, as SQL and as words."""
    name, operator, first = quote_name(column.name), condition.operator, condition.operands[0]
    if isinstance(first, bool):
        value = column.flag[not first]
        flag = f"{name} = {value}" if column.is_number else f"lower({name}) = {quote_value(value)}"
        return flag, f"{column.name} is {value!r}"
    shown = [f"{one:.15g}" if isinstance(one, float) else str(one) for one in condition.operands]
    if isinstance(first, str):
        if not column.period or (column.period == "year" and not all(day.endswith("-01-01") for day in shown)):
            raise _Unsure(f"{column.name!r} holds {'years' if column.period else 'no dates'}. Ask for something else.")
        low, high = (quote_value(day) if column.period == "date" else day[:4] for day in shown)
        bounds = {"=": (f">= {low}", f"< {high}"), ">": (f">= {high}",), "<": (f"< {low}",), ">=": (f">= {low}",)}
        parts = bounds[operator]
        return " AND ".join(f"{name} {part}" for part in parts), f"{column.name} {' and '.join(parts)}"
    if not column.is_number:
        raise _Unsure(f"{column.name!r} holds no numbers to compare.")
    if condition.unit and condition.unit != column.unit:
        known = f"in {column.unit}" if column.unit else "without a unit"
        raise _Unsure(f"{column.name!r} is {known}, and the question says {condition.unit}. Convert it first.")
    if operator == "between":
        return f"{name} BETWEEN {shown[0]} AND {shown[1]}", f"{column.name} is between {shown[0]} and {shown[1]}"
    return f"{name} {operator} {shown[0]}", f"{column.name} {operator} {shown[0]}"
