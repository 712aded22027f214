"""Words as search and questions compare them: lower case, without accents, cut to a stem. English only, by rules.

Texts are cut into sentences too: requests and short texts at marks before capitals, documents with their lists.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_AUXILIARY = (
    r"(?:is|are|was|were|am|do|does|did|has|have|had|can|could|would|will|should|shall|may|might|must|isn't|aren't|"
    r"don't|doesn't|didn't|hasn't|wouldn't|couldn't|can't|won't|wasn't|weren't)"
)
_OPENING = re.compile(
    rf"^\W*(?:(?:if|when|given|assuming|in|on|for|according to)\b[^,?]{{3,200}},\s*)?{_AUXILIARY}\b", re.I
)
_POLITE = re.compile(
    r"\b(?:can|could|would|will)\s+you\b|^\W*(?:can|could|may)\s+(?:i|we)\s+(?:get|have|see|please)\b"
    r"|^\W*(?:do|have)\s+(?:you|not|n't)\b|\bplease\b",
    re.IGNORECASE,
)
_ABBREVIATIONS = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Dr|St|Mt|vs|e\.g|i\.e|approx|No|ca)\.$")


def split_sentences(text: str, opening: str = r"[^\W\d_a-z]") -> list[str]:
    """Return the sentences of a text: each ends at a mark before a space and what a next one opens with, a capital.

    >>> split_sentences("It is 3.5 km long. See notes.md for more. Who knows?")
    ['It is 3.5 km long.', 'See notes.md for more.', 'Who knows?']
    """
    return re.split(rf"(?<=[.?!])\s+(?={opening})", text)


def find_sentences(text: str, most_chars: int) -> Iterator[tuple[str, int]]:
    """Yield the sentences of a document, each on one line, with the place where it begins; none that are longer.

    List items and lines such as "Status: done" are sentences of their own; rows of Markdown tables are none.
    """
    start = 0
    ends = [match.end(1) for match in re.finditer(r"([.!?][\"')\]”’]*)(?=\s|$)", text)]
    ends += [
        match.start()
        for match in re.finditer(r"\n(?=[^\S\n]{0,99}(?:(?:[-*+|]|\d{1,9}[.)])\s|\W{0,4}\w[\w ]{0,40}:))", text)
    ]
    for end in sorted({*ends, len(text)}):
        if end < len(text) and _ABBREVIATIONS.search(text, max(start, end - 10), end):
            continue
        part = text[start:end]
        sentence = re.sub(r"^(?:[-*+]|\d+[.)])\s+", "", " ".join(part.split()))
        if 0 < len(sentence) <= most_chars and not sentence.startswith("|"):
            yield sentence, start + len(part) - len(part.lstrip())
        start = end


def is_yes_no_question(text: str) -> bool:
    """Whether a text is one question that yes or no answers.

    >>> is_yes_no_question("Would a dog respond to a bell?"), is_yes_no_question("Can you find a hotel?")
    (True, False)
    """
    return bool(_OPENING.match(text)) and not _POLITE.search(text) and len(split_sentences(text, "[A-Z]")) == 1


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text that lists them, apart by spaces."""
    return frozenset(text.split())


STOP_WORDS = word_set(
    """a about all also an and any are as at be been between both but by can could did do does doing for from find get
    give had has have he her his how i if in into is it its let many me much my no not of on or our out please she
    should show so some tell than that the their them then there these they this those to up us was we were what when
    where which who whom whose why will with would you your"""
)

_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen"""
_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety"
NUMBER_WORDS = {word: 10 * tens for tens, word in enumerate(_TENS.split())}
NUMBER_WORDS |= {word: number for number, word in enumerate(_SMALL.split())}
"""Numbers below a hundred that are one word."""

_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

_ENDINGS = ("ations", "ation", "ences", "ence", "ances", "ance", "ments", "ment", "ings", "ing", "ents", "ent", "ants")
_FAMILY = re.compile(r"(?:isation|ization|isons?|ations?|ions?|ings?|ers?|ors?|ise|ize|ies|sis|ate|ed|es|e|s|y)\Z")
MIN_ROOT = 4
_SHORT_ENDINGS = ("ant", "ed", "es", "ly", "e", "s")


def plain(text: str) -> str:
    """Return the text in lower case and without accents: `Brasília` becomes `brasilia`.

    >>> plain("Brasília, São Paulo")
    'brasilia, sao paulo'
    """
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in parts if not unicodedata.combining(char)).translate(_LETTERS)


def split_words(text: str) -> list[str]:
    """Return the words and numbers of a text, plain, in order."""
    return _WORD.findall(plain(text))


def content_words(text: str) -> list[str]:
    """Return the words of a text that carry meaning, plain, in order; all of them when every one is a stop word."""
    words = split_words(text)
    return [word for word in words if word not in STOP_WORDS] or words


@lru_cache(maxsize=20_000)  # plans and folders repeat their words
def stem(word: str) -> str:
    """Return the part of a plain word that its forms share: `countries` and `country`, `opened` and `opens`.

    >>> [stem(word) for word in ("countries", "country", "independence", "independent", "rivers")]
    ['country', 'country', 'independ', 'independ', 'river']
    """
    word = _IRREGULAR.get(word, word)
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    for ending in _SHORT_ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word[: -len(ending)]
    return word


def root(word: str) -> str:
    """Return what a family of words shares, cut further than a stem; a word that would be cut too short stays whole.

    >>> [root(word) for word in ("comparison", "comparing", "compares", "sums")]
    ['compar', 'compar', 'compar', 'sums']
    """
    cut = _FAMILY.sub("", word)
    return cut if len(cut) >= MIN_ROOT else word


def stems_of(text: str) -> frozenset[str]:
    """Return the stems of the words that carry meaning."""
    return frozenset(stem(word) for word in split_words(text) if word not in STOP_WORDS)


def split_name(name: str) -> str:
    """Return a name of code as words: `getFilmDetails` and `get_film_details` as `get Film Details`."""
    return _HUMP.sub(" ", name).replace("_", " ").replace("-", " ").replace(".", " ")


def quote_text(text: str, most_chars: int = 80) -> str:
    """Return what somebody wrote in quotes, for a message, cut where it is long.

    >>> quote_text("a" * 100, 5)
    "'aaaa…'"
    """
    return repr(text if len(text) <= most_chars else text[: most_chars - 1] + "…")


_IRREGULAR = dict(
    pair.split("=", 1)
    for pair in word_set(
        """fell=fall fallen=fall rose=rise risen=rise built=build began=begin begun=begin became=become wrote=write
        written=write won=win led=lead made=make took=take taken=take gave=give given=give spoke=speak spoken=speak
        ran=run left=leave met=meet paid=pay sold=sell bought=buy held=hold sent=send lay=lie lies=lie flew=fly men=man
        women=woman people=person grew=grow"""
    )
)

# Letters that Unicode does not take apart although people type them without their stroke.
_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th"})
