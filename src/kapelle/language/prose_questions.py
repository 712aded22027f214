"""What a question to prose asks for, and by which words: a date, a person, a reason. Finds no answer: see knowledge."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .words import STOP_WORDS, plain, split_words, stem

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
