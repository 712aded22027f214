"""The words of questions about tables, as data: what they ask for, and the kinds of column they mean. English only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from kapelle.knowledge import plain, stem, word_set

Kind = Literal[
    "count",
    "aggregate",
    "superlative",
    "top",
    "order",
    "direction",
    "compare",
    "between",
    "how",
    "per",
    "not",
    "and",
    "filler",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A word or number of a question."""

    text: str
    """Plain: lower case, without accents."""
    raw: str
    number: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrase:
    """What some words of a question ask for."""

    kind: Kind
    value: str = ""
    """The SQL function, direction or operator."""
    concept: str = ""
    """The kind of column that the words imply: `longest` implies a length."""


# What columns are about, and the words (stems) that people and headers use for it.
CONCEPTS: dict[str, frozenset[str]] = {
    concept: frozenset(stem(word) for word in words.split())
    for concept, words in {
        "population": "population populations people inhabitants residents citizens",
        "area": "area size surface",
        "length": "length",
        "height": "height elevation altitude",
        "depth": "depth",
        "language": "language languages",
        "currency": "currency money",
        "price": "price cost",
    }.items()
}

# An adjective that fits several kinds of column is ambiguous in a table that has more than one of them.
_SIZES = "area population"

_PHRASES: dict[str, Phrase] = {}


def _say(words: str, kind: Kind, value: str = "", concept: str = "") -> None:
    for word in words.split("|"):
        _PHRASES[word] = Phrase(kind=kind, value=value, concept=concept)


_say("how many|number of|count of|count the|count|how many different", "count")
_say("average|mean|average of|mean of", "aggregate", "avg")
_say("total|sum|combined|sum of|total of|overall|together", "aggregate", "sum")
_say("maximum|max", "aggregate", "max")
_say("minimum|min", "aggregate", "min")
_say("largest|biggest|greatest", "superlative", "desc", _SIZES)
_say("smallest", "superlative", "asc", _SIZES)
_say("longest", "superlative", "desc", "length")
_say("shortest", "superlative", "asc", "length")
_say("highest|tallest", "superlative", "desc", "height")
_say("lowest", "superlative", "asc", "height")
_say("deepest", "superlative", "desc", "depth")
_say("most populous|most populated", "superlative", "desc", "population")
_say("least populous|least populated", "superlative", "asc", "population")
_say("most|the most", "superlative", "desc")
_say("least|fewest", "superlative", "asc")
_say("top", "top", "desc")
_say("bottom", "top", "asc")
_say("sorted by|ordered by|sort by|sort them by|order by|in order of|arranged by", "order", "asc")
_say("ranked by|rank by|rank them by", "order", "desc")
_say("descending|in descending order|largest first|highest first|longest first|biggest first", "direction", "desc")
_say("ascending|in ascending order|smallest first|lowest first|shortest first", "direction", "asc")
_say("more than|greater than|over|above|exceeding|exceeds|in excess of", "compare", ">")
_say("at least|no less than|not less than", "compare", ">=")
_say("less than|fewer than|under|below", "compare", "<")
_say("at most|no more than|not more than|up to", "compare", "<=")
_say("larger than|bigger than", "compare", ">", _SIZES)
_say("smaller than", "compare", "<", _SIZES)
_say("longer than", "compare", ">", "length")
_say("shorter than", "compare", "<", "length")
_say("higher than|taller than", "compare", ">", "height")
_say("lower than", "compare", "<", "height")
_say("between", "between")
_say("how long", "how", "", "length")
_say("how high|how tall", "how", "", "height")
_say("how large|how big", "how", "", "area")
_say("how deep", "how", "", "depth")
_say("how populous|how populated", "how", "", "population")
_say("per|by|for each|for every|in each|in every|of each|of every|each|grouped by|broken down by", "per")
_say("not|no|never|without|except|excluding|but|other than|outside|neither|nor|besides|apart from|instead", "not")
_say("isn|aren|doesn|don t|didn|hasn|haven|wasn|weren|cannot", "not")
_say("and|or|both|as well as", "and")
_say(
    "a|an|the|is|are|was|were|be|of|in|on|at|from|for|with|within|has|have|having|had|that|which|what|whose|who|whom|list|"
    "show|name|names|give|"
    "tell|find|get|return|me|tell us|give us|show us|all|any|there|do|does|did|please|can|could|you|i|want|to|know|its|"
    "their|this|these|those|s|it|exist|located|lie|lies|found|live|lives|living|called|named|are there|is there|entire|"
    "in the world|of the world|on earth|worldwide|in our data|in the data|in the table|in the folder|together with|"
    "run through|runs through|flow through|flows through|pass through|passes through|running through|flowing through|"
    "mount|mt|spoken|speak|speaks|use|uses|using|used|where|compare",
    "filler",
)

LONGEST_PHRASE = max(len(words.split()) for words in _PHRASES)

_UNITS: dict[str, str] = {}
for _unit, _words in {
    "km2": "km2|sq km|square km|square kilometres|square kilometers|square kilometre|square kilometer",
    "km": "km|kilometres|kilometers|kilometre|kilometer|kms",
    "m": "m|metres|meters|metre|meter",
    "m2": "m2|square metres|square meters",
    "mi": "mi|miles|mile",
    "mi2": "mi2|sq mi|square miles|square mile",
    "ft": "ft|feet|foot",
    "kg": "kg|kilograms|kilogrammes",
    "usd": "usd|dollars|dollar",
    "eur": "eur|euros",
    "pct": "pct|percent|per cent",
    "years": "years|year",
    "s": "seconds",
}.items():
    for _word in _words.split("|"):
        _UNITS[_word] = _unit

UNIT_SUFFIXES = frozenset(_UNITS.values())
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12, "m": 1e6, "bn": 1e9}
_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905 - a list of words

# Heads of column names that say too little to be meant by the head alone.
VAGUE_HEADS = word_set("name id code type number no key date title value label")

_TOKEN = re.compile(r"\d{1,3}(?:,\d{3})+(?![\d\w])(?:\.\d+)?|\d+(?:\.\d+)?(?![\w])|[^\W_]+")


def read_tokens(question: str) -> list[Token]:
    """Return the words and numbers of a question; `2.5 million` is one number.

    >>> [token.number or token.text for token in read_tokens("Over 2.5 million in Perú's 1,000 km²")]
    ['over', 2500000.0, 'in', 'peru', 's', 1000.0, 'km2']
    """
    tokens: list[Token] = []
    for match in _TOKEN.finditer(question):
        raw = match[0]
        text = plain(raw)
        bare = text.replace(",", "")
        number = float(bare) if re.fullmatch(r"\d{1,18}(?:\.\d+)?", bare) else None
        if number is None and text in _NUMBERS:
            number = float(_NUMBERS.index(text))
        before = tokens[-1] if tokens else None
        if before is not None and before.number is not None and text in _SCALES and text != "m":
            tokens[-1] = Token(text=before.text, raw=f"{before.raw} {raw}", number=before.number * _SCALES[text])
        else:
            tokens.append(Token(text=text, raw=raw, number=number))
    return tokens


def find_phrase(words: tuple[str, ...]) -> Phrase | None:
    """Return what these words ask for, or None."""
    return _PHRASES.get(" ".join(words))


def find_unit(words: tuple[str, ...]) -> str | None:
    """Return the unit that these words name, or None."""
    return _UNITS.get(" ".join(words))
