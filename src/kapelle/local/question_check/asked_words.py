"""The words of a question to tables, and all that each may mean there: to hold a statement against them.

Unlike table_questions it settles on no reading: it says which words there are to be accounted for, and by what.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from kapelle.language import (
    LONGEST_PHRASE,
    STOP_WORDS,
    Phrase,
    Token,
    find_phrase,
    find_unit,
    read_tokens,
    split_words,
    stem,
    word_set,
)
from kapelle.local.table_questions import MAX_VALUE_WORDS, LinkedColumn, LinkedTable, SchemaLinks

SIZES = ("superlative", "top", "compare", "how")
"""What ranks or compares by a column of numbers that a word such as `longest` implies."""
_LONGEST = max(LONGEST_PHRASE, MAX_VALUE_WORDS)
# They ask for what no SELECT gives, or for less than all, though search passes over most of them.
_NEVER_USED = word_set("why if should would only")
# Words of questions that a list of their stop words leaves out, and that ask for nothing themselves.
_ASKING = word_set("many different question answer data")


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedSpan:
    """Some words of the question, and all that they may be."""

    start: int
    """Which word of the question it begins with."""
    words: tuple[str, ...]
    text: str
    phrase: Phrase | None = None
    number: float | None = None
    unit: str = ""
    table: LinkedTable | None = None
    columns: tuple[LinkedColumn, ...] = ()
    values: frozenset[str] = frozenset()
    """As they are stored."""
    is_stop: bool = False


class AskedQuestion:
    """The words of a question, and what in the tables they may mean."""

    def __init__(self, question: str, links: SchemaLinks, values: Sequence[str] = ()) -> None:
        self.links = links
        self.given = tuple(dict.fromkeys(value for value in values if value.strip() and value in question))
        for value in sorted(self.given, key=len, reverse=True):
            question = question.replace(value, " . ")
        self.tokens = read_tokens(question)
        self.words = [token.text for token in self.tokens]

    def unaccounted(self, accepts: Callable[[AskedSpan], bool]) -> tuple[str, ...]:
        """Return the words that are in no span that is accepted; the longest span is tried first."""
        left: list[str] = []
        start = 0
        while start < len(self.tokens):
            for size in range(min(_LONGEST, len(self.tokens) - start), 0, -1):
                span = self._span(start, size)
                if span is None:
                    continue
                is_accepted = accepts(span)
                if is_accepted or span.phrase is not None:
                    left += [span.text] * (not is_accepted)
                    start += size
                    break
            else:
                left.append(self.tokens[start].raw)
                start += 1
        return tuple(dict.fromkeys(left))

    @cached_property
    def spans(self) -> tuple[AskedSpan, ...]:
        """All that any words of it may be, those inside of longer ones too."""
        found = [
            self._span(start, size)
            for start in range(len(self.tokens))
            for size in range(1, min(_LONGEST, len(self.tokens) - start) + 1)
        ]
        return tuple(span for span in found if span is not None)

    @cached_property
    def longest(self) -> tuple[AskedSpan, ...]:
        """All that its words may be, in order, by their longest names."""
        found: list[AskedSpan] = []

        def take(span: AskedSpan) -> bool:
            found.append(span)
            return True

        self.unaccounted(take)
        return tuple(found)

    @cached_property
    def phrases(self) -> tuple[Phrase, ...]:
        """What is asked for, in order, by its longest names."""
        return tuple(span.phrase for span in self.longest if span.phrase is not None)

    def count_ranks(self, direction: str) -> int:
        """Return how often it may ask for the largest (`desc`) or smallest; "highest point" may be a column's name."""
        ranks = [span for span in self.spans if span.phrase is not None and _ranks(span.phrase, direction)]
        starts = {span.start for span in ranks if len(span.words) == 1 or span.phrase in self.phrases}
        return len([start for start in starts if start - 1 not in starts])

    def count_phrases(self, direction: str) -> int:
        """Return how often it asks for the largest (`desc`) or smallest, and for nothing else by these words."""
        return sum(_ranks(phrase, direction) for phrase in self.phrases)

    def find_after(self, span: AskedSpan) -> AskedSpan | None:
        """Return the next words that name a table, a column or a value."""
        after = [
            one
            for one in self.spans
            if one.start >= span.start + len(span.words) and (one.table is not None or one.columns or one.values)
        ]
        return min(after, key=lambda one: (one.start, -len(one.words)), default=None)

    @cached_property
    def negations(self) -> tuple[AskedSpan, ...]:
        """The words that negate, each once, by its longest name."""
        return tuple(span for span in self.longest if span.phrase is not None and span.phrase.kind == "not")

    def find_starts(self, value: str) -> tuple[int, ...]:
        """Return where a value stands, word by word."""
        return find_run(self.words, split_words(value))

    def find_unclear_numbers(self) -> tuple[str, ...]:
        """Return numbers that may be thousands or millions as the next one is: "between 5 and 10 million"."""
        numbered = [(at, token) for at, token in enumerate(self.tokens) if token.number is not None]
        return tuple(
            f"{one.raw} ... {two.raw}"
            for (at, one), (then, two) in pairwise(numbered)
            if then - at == 2 and self.words[at + 1] in ("and", "to", "or") and " " in two.raw and " " not in one.raw
        )

    def is_next(self, span: AskedSpan, other: AskedSpan) -> bool:
        """Whether nothing but words that ask for nothing stands between two."""
        between = self.words[span.start + len(span.words) : other.start]
        return all(word in STOP_WORDS | _ASKING for word in between)

    def find_table_beside(self, value: str) -> LinkedTable | None:
        """Return the table that is named beside a value: "the Colorado river", "the state of Texas"."""
        size = len(split_words(value))
        for start in self.find_starts(value):
            before = start - 1
            while before >= 0 and self.words[before] in ("of", "the", "called", "named"):
                before -= 1
            for at in (start + size, before):
                named = self.links.find_table((self.words[at],)) if 0 <= at < len(self.words) else None
                if named is not None:
                    return named
        return None

    def has(self, *kinds: str) -> bool:
        """Whether it asks for something of one of these kinds, such as `count`, or `aggregate sum`."""
        return any(phrase.kind in kinds or f"{phrase.kind} {phrase.value}" in kinds for phrase in self.phrases)

    @cached_property
    def tables(self) -> frozenset[str]:
        """The tables that are named."""
        return frozenset(span.table.name for span in self.spans if span.table is not None)

    @cached_property
    def columns(self) -> frozenset[tuple[str, str]]:
        """The columns that are named, or that a word such as `longest` implies."""
        named = {(column.table, column.name) for span in self.spans for column in span.columns}
        concepts = {
            concept for phrase in self.phrases if phrase.kind in SIZES for concept in phrase.concept.split()
        }  # a verb goes with columns, and asks for none
        for table in self.links.tables.values():
            named |= {(column.table, column.name) for column in table.columns if column.concepts & concepts}
        return frozenset(named)

    @cached_property
    def numbers(self) -> tuple[float, ...]:
        """The numbers in it."""
        return tuple(token.number for token in self.tokens if token.number is not None)

    @cached_property
    def first(self) -> AskedSpan | None:
        """The first table or column that is named: what is asked for, as a rule."""
        named = (span for span in self.longest if span.table is not None or (span.columns and not span.phrase))
        return next(named, None)

    def says(self, text: str) -> bool:
        """Whether a value stands in it, word by word."""
        words = split_words(text)
        own = [word for token in self.tokens for word in split_words(token.raw)]
        is_given = any(split_words(value) == words for value in self.given)
        return is_given or (bool(words) and bool(find_run(own, words)))

    def _span(self, start: int, size: int) -> AskedSpan | None:
        tokens: Sequence[Token] = self.tokens[start : start + size]
        words = tuple(token.text for token in tokens)
        before = self.tokens[start - 1].number if start else None
        number = tokens[0].number if size == 1 else None
        unit = find_unit(words) if before is not None else None
        phrase = find_phrase(words)
        table, columns = self.links.find_table(words), self.links.find_columns(words)
        by_name = tuple(column for column in columns if column.stems[-1] == stem(words[-1]))
        columns = by_name or columns  # a synonym counts where nothing is called so
        values = frozenset(link.value for link in self.links.values.get(words, ()))
        is_stop = size == 1 and (words[0] in STOP_WORDS | _ASKING) and words[0] not in _NEVER_USED
        if not (phrase or number is not None or unit or table or columns or values or is_stop):
            return None
        return AskedSpan(
            start=start,
            words=words,
            text=" ".join(token.raw for token in tokens),
            phrase=phrase,
            number=number,
            unit=unit or "",
            table=table,
            columns=columns,
            values=values,
            is_stop=is_stop,
        )


def _ranks(phrase: Phrase, direction: str) -> bool:
    if phrase.kind == "aggregate":
        return phrase.value == ("max" if direction == "desc" else "min")
    return phrase.kind in ("superlative", "top") and phrase.value == direction


def find_run(words: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Return where among words these stand, one after the other."""
    places = range(len(words) - len(wanted) + 1)
    return tuple(at for at in places if list(words[at : at + len(wanted)]) == list(wanted))
