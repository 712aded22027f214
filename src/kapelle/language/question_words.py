"""The words of questions about tables, as data: what they ask for, and the kinds of column they mean. English only.

`ProseQuestion` is what a question to prose asks for: a date, a person, a reason. Finds no answer: see knowledge.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Literal

from .words import NUMBER_WORDS, STOP_WORDS, plain, split_words, stem

_Asks = Literal["count", "aggregate", "superlative", "top", "order", "direction", "compare", "between", "how", "per"]
Kind = _Asks | Literal["when", "not", "and", "verb", "filler"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A word or number of a question."""

    text: str
    """Plain: lower case, without accents."""
    raw: str
    number: float | None = None
    period: tuple[str, str] | None = None
    """The days that a date names, or a number that may be a year: the first, and the first one after them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrase:
    """What some words of a question ask for."""

    kind: Kind
    value: str = ""
    """The SQL function, direction or operator."""
    concept: str = ""
    """The kind of column that the words imply: `longest` implies a length. A verb goes with these columns only."""


def stem_set(words: str) -> frozenset[str]:
    """Return the stems of the words that a text lists."""
    return frozenset(map(stem, words.split()))


# What columns are about, and the words (stems) that people and headers use for it.
CONCEPTS: dict[str, frozenset[str]] = {
    concept: stem_set(words)
    for concept, words in {
        "population": "population populations people inhabitants residents citizens",
        "area": "area size surface",
        "length": "length",
        "height": "height elevation altitude",
        "depth": "depth",
        "language": "language languages",
        "currency": "currency money",
        "price": "price cost",
        "salary": "salary wage earn",
        "amount": "amount total",
    }.items()
}

# An adjective that fits several kinds of column is ambiguous in a table that has more than one of them.
_SIZES = "area population amount"

_PHRASES: dict[str, Phrase] = {}


def _say(words: str, kind: Kind, value: str = "", concept: str = "") -> None:
    for word in words.split("|"):
        _PHRASES[word] = Phrase(kind=kind, value=value, concept=concept)


_say("how many|number of|count of|count the|count", "count")
_say("how many different|number of different|how many distinct|how many unique", "count", "different")
_say("average|mean|average of|mean of", "aggregate", "avg")
_say("total|sum|combined|sum of|total of|overall|together", "aggregate", "sum")
_say("maximum|max", "aggregate", "max")
_say("minimum|min", "aggregate", "min")
for _concept, _more, _less in (
    (_SIZES, "larger|bigger", "smaller"),
    ("length", "longer", "shorter"),
    ("height", "higher|taller", "lower"),
    ("depth", "deeper", "shallower"),
    ("price", "more expensive", "cheaper|less expensive"),
    ("population", "more populous|more populated", "less populous|less populated"),
):
    for _words, _operator, _direction in ((_more, ">", "desc"), (_less, "<", "asc")):
        for _word in _words.split("|"):
            _say(f"{_word} than", "compare", _operator, _concept)
            _most = re.sub("er$", "est", _word.replace("more", "most").replace("less", "least"))
            _say(_most, "superlative", _direction, _concept)
_say("greatest", "superlative", "desc", _SIZES)
_say("most", "superlative", "desc")
_say("highest paid|best paid", "superlative", "desc", "salary")
_say("lowest paid", "superlative", "asc", "salary")
_say("least|fewest", "superlative", "asc")
_say("newest|latest|most recent|most recently", "superlative", "desc", "date")
_say("earliest", "superlative", "asc", "date")
_say("top", "top", "desc")
_say("bottom", "top", "asc")
_say("sorted by|ordered by|sort by|sort them by|order by|in order of|arranged by", "order", "asc")
_say("ranked by|rank by|rank them by", "order", "desc")
_say("descending|in descending order|largest first|highest first|longest first|biggest first", "direction", "desc")
_say("ascending|in ascending order|smallest first|lowest first|shortest first", "direction", "asc")
_say("more than|greater than|over|above|exceeding|exceeds|in excess of|>", "compare", ">")
_say("at least|no less than|not less than|>=", "compare", ">=")
_say("less than|fewer than|under|below|<", "compare", "<")
_say("at most|no more than|not more than|up to|<=", "compare", "<=")
_say("between", "between")
_say("how long", "how", "", "length")
_say("how high|how tall", "how", "", "height")
_say("how large|how big", "how", "", "area")
_say("how deep", "how", "", "depth")
_say("how populous|how populated", "how", "", "population")
_say("per|by|for each|for every|in each|in every|of each|of every|each|grouped by|broken down by", "per")
_say("or more|or above|or higher|or over|and above|and more", "compare", "after >=")
_say("or less|or fewer|or below|or lower|or under|and below|and less", "compare", "after <=")
_say("during", "when", "=")
_say("after|later than", "when", ">")
_say("before|earlier than|prior to", "when", "<")
_say("since|in or after|on or after", "when", ">=")
_say("not|non|except|except for|except those|except the|excluding|but not|other than|outside|apart from", "not", "<>")
_say("isn t|aren t|wasn t|weren t|not in|non in|except in|except those in|not from|except from|not by", "not", "<>")
_say("no|never|without|but|neither|nor|besides|instead|isn|aren|doesn|don t|didn|hasn|haven|cannot", "not")
_say("in their name|in their names|in its name|in the name|in the title", "not")
_say("and|or|either|both|as well as|together with|&", "and")
# What a person may be called by, where something is, when it was: such words are right about such columns only.
_PEOPLE = "name person people employee staff student customer client user member manager head assignee owner author"
_PLACES = "city country state region continent place location address town building site office area traverse capital"
_say("who|whom", "verb", "", _PEOPLE + " teacher player patient contact agent lead leader director president")
_say("where is|where are|where was|where were|where does|where do", "verb", "where")
_say("live|lives|living|reside|resides|based", "verb", "", f"{_PLACES} population people inhabitants home")
_say("located|situated|found|lie|lies|lie in|lies in", "verb", "", _PLACES)
_say("run through|runs through|flow through|flows through|running through|flowing through", "verb", "", _PLACES)
_say("pass through|passes through|come from|comes from", "verb", "", f"{_PLACES} origin")
_say("spoken|speak|speaks", "verb", "", "language")
_say("use|uses|using|used", "verb", "", "currency language")
_say("work|works|working", "verb", "", _PLACES + " department team company employer branch division unit")
_say("assigned to", "verb", "", "assignee assigned agent owner employee")
_say("when", "verb", "", "date born birth birthday")
_say("compare", "verb", "several")
_say(
    "a|an|the|is|are|was|were|be|of|in|on|at|from|for|with|within|has|have|having|had|that|which|what|whose|list|"
    "show|name|names|give|where|=|"
    "tell|find|get|return|me|tell us|give us|show us|all|any|there|do|does|did|please|can you|could you|i want|to|know|"
    "its|their|s|exist|called|named|are there|is there|how much do|how much does|do we have|we have|in total|been|"
    "exactly|our|in the world|in the entire world|of the world|on earth|worldwide|in our data|in the data|in the table|"
    "in the folder|mount|mt",
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
    "chf": "chf|francs",
    "usd": "usd|dollars|dollar|$",
    "eur": "eur|euros|euro|€",
    "gbp": "gbp|pounds|£",
    "pct": "pct|percent|per cent|%",
    "years": "years|year",
    "s": "seconds",
}.items():
    for _word in _words.split("|"):
        _UNITS[_word] = _unit

UNIT_SUFFIXES = frozenset(_UNITS.values())
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12, "m": 1e6, "bn": 1e9}

# Heads of column names that say too little to be meant by the head alone.
VAGUE_HEADS = stem_set("name id code type number no key date title value label")

_MONTHS = r"(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)(?:r?uary|ch|il|ust|t?ember|ober)? "
_DATE = rf"(?<![\w-])\d{{4}}-\d\d(?:-\d\d)?(?![\w-])|\bq[1-4] \d{{4}}\b|\b(?:\d\d? )?{_MONTHS}(?:\d\d?,? )?\d{{4}}\b"
_DATE_FORMS = ("%Y-%m-%d", "%d %B %Y", "%d %b %Y", "%B %d %Y", "%b %d %Y", "%Y-%m", "%B %Y", "%b %Y")
_SYMBOLS = r"!?[%$€£¥<>=≠≤≥+#*~^|@&]+"
# A single column of dates is meant by "in 2023" when it is called so; a hire date or a due date has to be named.
DATE_WORDS = stem_set("date day week month year issued created placed ordered time timestamp")

# Columns that say of how many pieces a row is: 10 chairs may be one order.
PIECE_WORDS = stem_set("quantity qty units pieces items count copies amount sold volume")

_TOKEN = re.compile(
    rf"{_DATE}|(?<![\w-])-?\d{{1,3}}(?:,\d{{3}})+(?![\d\w])(?:\.\d+)?|(?:(?<![\w-])-)?\d+(?:\.\d+)?(?![\w])|"
    rf"[^\W_]+|(?<![^\W_]){_SYMBOLS}|{_SYMBOLS}(?![^\W_])",
    re.IGNORECASE,
)
_MONEY = re.compile(r"([$€£])\s?(\d[\d.,]*(?:\s?(?:thousand|million|billion)\b)?)", re.IGNORECASE)


def read_tokens(question: str) -> list[Token]:
    """Return the words, numbers and dates of a question; `2.5 million` is one number, and so is a date one token.

    >>> [token.number or token.text for token in read_tokens("Over 2.5 million in Perú's 1,000 km²")]
    ['over', 2500000.0, 'in', 'peru', 's', 1000.0, 'km2']
    >>> read_tokens("before May 2024")[1].period
    ('2024-05-01', '2024-06-01')
    """
    tokens: list[Token] = []
    for match in _TOKEN.finditer(_MONEY.sub(r"\2 \1", question)):
        raw = match[0]
        text = plain(raw)
        bare = text.replace(",", "")
        # 50.000 is fifty thousand to some, and fifty to others: it is no number here.
        is_plain = not re.fullmatch(r"-?\d{1,3}\.\d{3}", bare)
        number = float(bare) if is_plain and re.fullmatch(r"-?\d{1,18}(?:\.\d+)?", bare) else None
        if number is None and text in NUMBER_WORDS:
            number = float(NUMBER_WORDS[text])
        before, last = (tokens[-1], tokens[-1].number) if tokens else (Token(text="", raw=""), None)
        whole = last * _SCALES[text] if last is not None and text in _SCALES and text != "m" else None
        if last in range(20, 91, 10) and before.text in NUMBER_WORDS and 0 < NUMBER_WORDS.get(text, 0) < 10:
            whole = (last or 0) + NUMBER_WORDS[text]  # "twenty one"
        if whole is not None:
            tokens[-1] = Token(text=before.text, raw=f"{before.raw} {raw}", number=whole)
            low = tokens[-3] if [one.text for one in tokens[-4::2]] == ["between", "and"] else before
            least = (low.number or 0) * _SCALES.get(text, 1)  # "between 30 and 40 million"
            if low.number and low is not before and least < whole and plain(low.raw).rpartition(" ")[2] not in _SCALES:
                tokens[-3] = replace(low, number=least)
        else:
            tokens.append(Token(text=text, raw=raw, number=number, period=_read_period(text)))
    return tokens


def _read_period(text: str) -> tuple[str, str] | None:
    text = text.replace(",", "")
    quarter = re.fullmatch(r"q([1-4]) (\d{4})", text)
    if re.fullmatch(r"1\d{3}|20\d\d", text):
        return f"{text}-01-01", f"{int(text) + 1}-01-01"
    if quarter is not None:
        text = f"{quarter[2]}-{3 * int(quarter[1]) - 2:02}"
    for form in _DATE_FORMS:
        try:
            first = datetime.strptime(text, form).date()  # noqa: DTZ007 - a day, wherever
        except ValueError:
            continue
        months = first.year * 12 + first.month + (2 if quarter is not None else 0)
        day = timedelta(days=1)
        after = first + day if "%d" in form else date(months // 12, months % 12 + 1, 1)
        return first.isoformat(), after.isoformat()
    return None


def fits_verb(verb: Phrase, stems: Collection[str]) -> bool:
    """Return whether columns and tables of these stems answer to a verb or question word."""
    return any(word in stems or stem(word) in stems for word in verb.concept.split())


def find_phrase(words: tuple[str, ...]) -> Phrase | None:
    """Return what these words ask for, or None."""
    return _PHRASES.get(" ".join(words))


def find_unit(words: tuple[str, ...]) -> str | None:
    """Return the unit that these words name, or None."""
    return _UNITS.get(" ".join(words))


PERSONAL = re.compile(r"\b(?:it|they|them|he|she|him)\b")
_LEAD = re.compile(
    r"^(?:(?:please|(?:can|could|would|will) you|i want to know|(?:tell|give|show) me|look ?up|find(?: out)?|list|"
    r"search(?: for)?|describe|explain|research|(?:information|facts?|what is known) (?:about|on)|about)\b[\s,:]*)+"
)
_ASKS = (
    (r"^why\b", "reason"),
    (r"^how (?:do|does|did|can|could|to|should|must|is|are|was|were)\b", "way"),
    (r"^(?:is|are|was|were|do|does|did|can|could|has|have|had|will|would|must|may|should)\b", "truth"),
    (r"\bwhen\b|\b(?:what|which) (?:year|date|day|century)\b", "date"),
    (r"\bhow (?:many|much|long|high|tall|deep|large|big|old|far|wide|heavy|often)\b", "number"),
    (r"^who\b|\bwhom\b|\bwhose\b", "person"),
    (r"\bwhere\b", "place"),
    (r"^(?:what|which) (?:is|are|was|were) (?!.*\b(?:of|with|by|for|from|to|in|on)$)", "thing"),
    (r"\b(?:what|which) (?!(?:is|are|was|were|do|does|did|can|has|have|had|will|must|may|should)\b)\w+ \w", "which"),
    (r"\b(?:what|which|how)\b", "anything"),
)
_SPAN = r"seconds?|minutes?|hours?|days?|weeks?|months?|years?"
_EXTENT = r"mm|cm|m|km|metres?|meters?|kilomet(?:re|er)s?|miles?|feet|ft|inch(?:es)?"
# What a number must be followed by, for each "how": "ten countries" is not how long a river is.
UNITS = {
    "long": rf"{_SPAN}|{_EXTENT}|pages?",
    **dict.fromkeys(("high", "tall", "deep", "far", "wide"), _EXTENT),
    **dict.fromkeys(("large", "big"), rf"{_EXTENT}|square|km2|m2|km²|m²|hectares?|people|employees"),
    "old": _SPAN,
    "heavy": r"g|kg|grams?|kilograms?|tonnes?|tons?|pounds?|lbs?",
    "often": r"times?",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ProseQuestion:
    """A question to sentences, as far as rules read it."""

    text: str
    """Plain, without the words that only ask to be told."""
    asks_for: str
    """`date`, `number`, `person`, `place`, `reason`, `way`, `truth`, `which` (one of a kind), `thing` (what something
    is), or `anything`."""
    words: tuple[str, ...]
    """Words that carry meaning, plain, without the ones that only ask."""
    stems: frozenset[str]
    order: tuple[str, ...]
    """Stems that an answer must have in this order; empty where any will do."""

    @staticmethod
    def read(question: str) -> ProseQuestion:
        """Return what a question asks for; without words where nothing says what it is about."""
        text = _LEAD.sub("", plain(question).strip()).rstrip(" ?.!")
        text = re.sub(r"^(what|who|where) (.+) (is|are|was|were)$", r"\1 \3 \2", text)  # "look up what an estuary is"
        asks_for = next((kind for pattern, kind in _ASKS if re.search(pattern, text)), "thing")
        measure = re.findall(rf"\bhow ({'|'.join(UNITS)})\b", text)
        asking = {"s", *re.findall(r"\b(?:what|which) (year|date|day|century)\b", text), *measure}
        asking |= STOP_WORDS if asks_for == "truth" else STOP_WORDS | {"must", "may", "shall"}
        words = tuple(word for word in dict.fromkeys(split_words(text)) if word not in asking)
        does, verb = re.search(r"\b(?:do|does|did)\b(.*)", text), re.match(r"(?:who|what)\s+(\w+)", text)
        ordered = text if asks_for == "truth" or " than " in text or (verb and verb[1] in words) else does and does[1]
        of = re.search(r"(?<!\bmade )\bof\b(.*)", text)
        owned = re.match(r"\W*(?:its|their|his|her)\b|what (?:do|does|did) .*\bdo$", text)
        if owned or (of and not set(split_words(of[1])) - STOP_WORDS):
            words = ()  # nothing readable stands after its "of", or it is about "its" something
        return ProseQuestion(
            text=text,
            asks_for=asks_for,
            words=() if len(words) < 2 and PERSONAL.search(text) else words,
            stems=frozenset(map(stem, words)),
            order=tuple(dict.fromkeys(stem(w) for w in split_words(ordered or "") if w in words)),
        )
