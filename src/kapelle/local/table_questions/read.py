"""Reads a question to tables: every word is a table, a column, a value, a number or a phrase, or is refused."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kapelle.language import (
    LONGEST_PHRASE,
    Phrase,
    Token,
    find_phrase,
    find_unit,
    plain,
    quote_text,
    read_tokens,
    split_words,
)

from .schema_links import LinkedColumn, LinkedTable, SchemaLinks, ValueLink

MAX_COMPARED_CHARS = 60
MAX_COMPARED_WORDS = 20_000
_YES_OR_NO = re.compile(
    r"\s*(?:(?:is|are|was|were)\b(?! there\b)|(?:does|did|has|have|will)\b|(?:do|can|could)\b(?! (?:you|i|we)\b))",
    re.IGNORECASE,
)


class Unsure(Exception):
    """The question is not understood well enough. It would be with one of its second argument, where it has one."""


@dataclass(slots=True)
class Mention:
    """Some words of the question, and what they may be. What has accounted for it marks it as `used`."""

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

    @property
    def names_number(self) -> bool:
        """Whether it names nothing but columns of numbers."""
        return self.table is None and bool(self.columns) and all(column.is_measure for column in self.columns)


NOTHING = Mention(text="", used=True)
"""What stands before the first word and after the last."""


class Words(tuple[Mention, ...]):
    """The words of a question in their order, and what stands beside each."""

    def at(self, place: int) -> Mention:
        """Return what stands at a place, or NOTHING."""
        return self[place] if 0 <= place < len(self) else NOTHING

    def each(self, *kinds: str) -> Iterator[Mention]:
        """Yield what asks for something of these kinds, and is not used."""
        return (one for one in self if one.is_phrase(*kinds) and not one.used)

    def past_filler(self, place: int) -> Mention:
        """Return the first from a place on that asks for something."""
        while self.at(place).is_phrase("filler"):
            place += 1
        return self.at(place)

    def before_filler(self, place: int, among: Sequence[str] = ()) -> Mention:
        """Return the first before a place that asks for something; past these words only, where `among` is given."""
        while self.at(place).is_phrase("filler"):
            if among and self.at(place).word not in among:
                return NOTHING
            place -= 1
        return self.at(place)

    def preposition(self, mention: Mention) -> str:
        """Return the small word before it."""
        before = self.at(mention.place - 1)
        while before.is_phrase("filler") and before.word in ("the", "a"):
            before = self.at(before.place - 1)
        return before.word if before.is_phrase("filler") else ""

    def asks_to_list(self) -> bool:
        """Whether the words are those of somebody who wants to be shown rows."""
        fillers = [mention.word.split()[0] for mention in self if mention.is_phrase("filler")]
        return any(word in ("list", "show", "which", "what", "name", "give", "all", "names") for word in fillers)


def read_words(question: str, links: SchemaLinks, values: Sequence[str] = ()) -> Words:
    """Return what each word of a question may be.

    Raises:
        Unsure: a word is nothing that the tables or rules know.
    """
    tokens, given = _find_values(question, values)
    mixed_case = any(token.raw != token.raw.lower() for token in tokens[1:])
    mentions: list[Mention] = []
    unknown: list[str] = []
    start = 0
    while start < len(tokens):
        if start in given:
            size, text = given[start]
            meant = _value_links(tokens[start : start + size], links)
            number = tokens[start].number if size == 1 and not meant else None
            if meant or number is not None:
                mentions.append(Mention(text=text, values=meant, number=number))
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
        raise Unsure(f"Questions with {refused[0]!r} are not understood. Say what to include, or send SQL.")
    if _YES_OR_NO.match(question):
        raise Unsure("Questions for a yes or no are not understood. Ask for the column, or for the rows that are so.")
    if unknown:
        distinct = list(dict.fromkeys(unknown))
        said = ", ".join(quote_text(word) for word in distinct[:5]) + (" and more" if len(distinct) > 5 else "")
        near = _nearest_name(distinct[0].lower(), links)
        hint = f" Did you mean {near!r}?" if near else ""
        raise Unsure(f"Nothing in the tables is called {said}.{hint} Use the names of tables, columns and values.")
    for place, mention in enumerate(mentions):
        mention.place = place
    return Words(mentions)


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
    tokens: Sequence[Token], links: SchemaLinks, mixed_case: bool, shouted: bool, before: Sequence[Mention]
) -> Mention | None:
    words = tuple(token.text for token in tokens)
    text = " ".join(token.raw for token in tokens)
    if len(tokens) == 1 and (tokens[0].number is not None or tokens[0].period is not None):
        named = before[-1].table if before else None  # "invoice 1004"; "0034" is a code wherever it stands
        codes = [one for one in links.values.get(words, ()) if named and one.column == named.label]
        if re.match(r"0\d", tokens[0].raw) or codes:
            return Mention(text=text, values=tuple(codes or links.values.get(words, ())))
        return Mention(text=text, number=tokens[0].number, period=tokens[0].period)
    unit = find_unit(words)
    if unit is not None and before and before[-1].number is not None:
        return Mention(text=text, unit=unit)
    phrase = find_phrase(words)
    is_name = text.isupper() and bool(before) and words in links.values and not shouted  # "class A", "in OR"
    if phrase is not None and not is_name:
        return Mention(text=text, phrase=phrase)
    table, columns, values = links.find_table(words), links.find_columns(words), links.values.get(words, ())
    if len(words) == 1 and table:
        values = ()  # "river" is the table even if a value is called that
    elif values and len(words) == 1 and mixed_case and len(text) <= 5 and text == text.lower():
        # In "Where does Don ...", "po" is not the river Po; "open" is a status that is written Open.
        values = tuple(
            one for one in values if one.value.islower() or links.tables[one.column.table].label != one.column
        )
    if table or columns or values:
        return Mention(text=text, table=table, columns=columns, values=values)
    return None


def _nearest_name(word: str, links: SchemaLinks) -> str:
    """Return the name of the tables that has this word, else the word of theirs that is spelt most like it.

    Empty when none is, or too many would have to be compared.
    """
    names = (name for table in links.tables.values() for name in (table.name, *(one.name for one in table.columns)))
    whole = {one: name for name in names for one in split_words(name.replace("_", " "))}
    if word in whole:
        return whole[word]  # "fee": fee_in_chf
    words = set(whole) | {words[0] for words in links.values if len(words) == 1}
    # What differs by more letters cannot be alike enough.
    alike = [one for one in words if 2 * min(len(one), len(word)) >= 0.8 * (len(one) + len(word))]
    is_short = len(word) <= MAX_COMPARED_CHARS and len(alike) <= MAX_COMPARED_WORDS
    return next(iter(difflib.get_close_matches(word, sorted(alike), n=1, cutoff=0.8) if is_short else ()), "")
