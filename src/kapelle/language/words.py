"""Words as search and questions compare them: lower case, without accents, cut to a stem. English only, by rules."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache


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
