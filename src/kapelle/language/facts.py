"""Takes English requests apart: steps, enumerations, attributes of things. Knows nothing of tasks or agents."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from .words import split_sentences

# Names that hold an "and" and are one thing all the same.
_JOINED_NAMES = (
    "Bosnia and Herzegovina", "Trinidad and Tobago", "Antigua and Barbuda", "Saint Kitts and Nevis",
    "São Tomé and Príncipe", "Sao Tome and Principe", "Newfoundland and Labrador", "Turks and Caicos",
    "research and development", "terms and conditions", "pros and cons", "supply and demand",
)  # fmt: skip
MAX_FACT_DEPTH = 8
"""The population of the capital of the neighbour of Peru is three deep; nobody means more than this."""
_GLUE = "\u2060"  # word joiner: holds a protected name together while its surroundings are split
_COMMA = "\u2063"  # invisible separator: stands for a comma inside quotes

_SEQUENCE = (
    r"(?:(?:and\s{1,3})?then|after\s{1,3}that|afterwards?|(?<!the )next|finally|lastly|(?:at|in)\s{1,3}the\s{1,3}end)"
)
_JOINED = re.compile("|".join(map(re.escape, _JOINED_NAMES)), re.IGNORECASE)
_POLITE = re.compile(
    r"^(?:please|kindly|hey|hi|hello|can you|could you|would you|will you|i want you to|i would like you to|"
    r"i(?:'d| would) like to know|i want to know|i need to know|let me know|help me(?: to)?|"
    r"also|and|(?:first|second|third)(?:ly\b|(?=[,:])|(?=\s+(?:find|look|get|list|search|compare|count|write|read)\b)))\b[\s,:]*",
    re.IGNORECASE,
)
_LISTING = re.compile(
    r"\s*(?:please\s+)?(?:write|draft|compose|prepare|produce|create|report|summari[sz]e)\b[^:;]*:\s", re.IGNORECASE
)
_BULLET = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.)])\s+")
_BACK = re.compile(
    r"\b(?:it|its|them|their|they|he|she|his|her|him|these|those|this|that|both|there|each of them|"
    r"the\s+(?:above|(?:two|three)(?!\s+(?:\w+est|most|least)\b)|"
    r"(?:\w+\s+)?(?:results?|findings?|answers?|list|figures?|numbers?|data|output|facts?|information|comparison)))\b",
    re.IGNORECASE,
)
_NOT_BACK = re.compile(
    r"\bthat\s+(?:is|are|was|were|has|have|does|do|flows?|lies?|borders?|begins?|ends?|of)\b|"
    r"\b(?:is|are|was|were)\s+there\b|\bthere\s+(?:is|are|was|were)\b",
    re.IGNORECASE,
)

# Heads of names, not relations: "the city of Paris" is Paris, "the capital of France" is something to find out.
_NAMING_NOUNS = frozenset({
    "city", "state", "republic", "kingdom", "town", "province", "isle", "island", "islands", "gulf", "bay", "cape",
    "strait", "sea", "lake", "union", "people", "use", "end", "start", "rest", "sake", "number", "list", "most",
    "many", "some", "all", "one", "kind", "part",
})  # fmt: skip

# Attributes whose values are numbers, dates or the like: nothing more is asked of those, but of what they belong to.
_VALUES = frozenset({
    "age", "altitude", "area", "average", "capacity", "continent", "cost", "currency", "date", "definition", "density",
    "depth", "distance", "elevation", "height", "inhabitant", "language", "length", "meaning", "name", "number",
    "population", "price", "rank", "size", "speed", "temperature", "time", "total", "value", "volume", "weight",
    "width", "year",
})  # fmt: skip


_ATTRIBUTE = (
    r"(?:(?:its|their)\s+)?(?!(?:its|their|and|then|who|what|which|where|when|how)\b)"
    r"(?:[a-z][a-z-]*|[A-Z]{2,5})(?:\s+(?!(?:and|or|of|in|its|their|is|are)\b)[a-z][a-z-]*){0,2}"
)
# One "its" before an enumeration belongs to all of it: "its capital, population and area".
_PRONOUN = re.compile(
    r"\b(?i:its|their|his|her)\s+(?P<what>"
    rf"{_ATTRIBUTE}(?:,\s+{_ATTRIBUTE})+,?\s+and\s+{_ATTRIBUTE}(?=\s*(?:$|[.;?]))|"
    r"[^,.;?]+?(?=$|[,.;?]|\s+and\s+(?i:its|their|his|her)\b))|"
    r"\b(?i:each of them|it|them|they|he|she|him)\b"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing that the request asks for."""

    text: str
    follows: bool = False
    """The words say that it comes after the step before: "then", "finally"."""

    @property
    def refers_back(self) -> bool:
        """Whether it speaks of something that came before: "it", "their", "the results"."""
        return bool(_BACK.search(_NOT_BACK.sub("", self.text)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """Something to find out: an attribute of a thing, where the thing may have to be found out first."""

    attribute: str
    """`population`; empty when the thing itself is what to look up."""
    of: str | Fact

    @property
    def text(self) -> str:
        """The fact in words."""
        thing = self.of if isinstance(self.of, str) else f"the {self.of.text}"
        return f"{self.attribute} of {thing}" if self.attribute else thing

    @property
    def depth(self) -> int:
        """How many things have to be found out one after the other. It ends soon after MAX_FACT_DEPTH."""
        return 1 if isinstance(self.of, str) else 1 + self.of.depth


def split_steps(request: str, verbs: Collection[str]) -> list[Step]:
    """Return what a request asks for, part by part, in its order.

    A part ends at a line, a sentence, a semicolon, a "then", or before one of `verbs` after a comma or an "and".
    """
    verb = "|".join(sorted((re.escape(word) for word in verbs), key=len, reverse=True)) or r"(?!)"
    question = r"what|who|whom|whose|when|where|which|why|how"
    cut = re.compile(
        rf"\s{{0,3}}(?:,\s{{0,3}})?(?:\band\s{{1,3}})?(?P<seq>\b{_SEQUENCE}\b)[\s,:]+|"
        rf"\s{{0,3}},\s{{0,3}}(?:and\s{{1,3}})?(?=(?:{verb})\b(?!\s{{0,3}}[,.;]|\s{{1,3}}(?:of|in|and)\b))|"
        rf"\s{{1,3}}and\s{{1,3}}(?=(?:{verb})\s{{1,3}}(?!of\b|in\b|and\b)\w)|"
        rf"\s{{0,3}},?\s{{1,3}}and\s{{1,3}}(?=(?:{question})\b)|"
        r"\s{0,3};\s{0,3}",
        re.IGNORECASE,
    )
    steps: list[Step] = []
    for sentence in _sentences(request):
        position, follows = 0, False
        listed = _LISTING.match(sentence)
        for match in cut.finditer(sentence):
            if listed is not None and match.start() >= listed.end() and match["seq"] is None and ";" not in match[0]:
                continue  # what a report is to cover stays together: "a report on X: its A, its B and what C is"
            _add(steps, sentence[position : match.start()], follows)
            position, follows = match.end(), match["seq"] is not None
        _add(steps, sentence[position:], follows)
    return steps


def split_items(text: str) -> list[str]:
    """Return the items of an enumeration: `France, Germany and Italy`. A text without one is its only item."""
    text = _protect(text.strip())
    text = re.sub(r"^(?:both|either|each of|all of)\s+", "", text, flags=re.IGNORECASE)
    parts = re.split(r"(?:(?<!\s)\s+)?,\s*(?:(?:and|or|&)\s+)?|(?<!\s)\s+(?:and|or|&|vs\.?|versus)\s+", text)
    return [_restore(part).strip(" \"'") for part in parts if part.strip(" \"'")]


def split_listed(text: str) -> list[str]:
    """Return the items of a list that is found in an output: where commas part them, only the last two have an "and".

    >>> split_listed("Marks and Spencer, Tesco and Aldi"), split_listed("Peru and Chile")
    (['Marks and Spencer', 'Tesco', 'Aldi'], ['Peru', 'Chile'])
    """
    *first, last = (_restore(part).strip() for part in _protect(text.strip()).split(","))
    if not first:
        return split_items(last)
    end = re.sub(r"^(?:and|or|&)\s+", "", last)
    parts = [*first, *(split_items(last) if end == last else [end])]
    return [part.strip(" \"'") for part in parts if part.strip(" \"'")]


def parse_facts(phrase: str) -> list[Fact]:
    """Return the facts that a noun phrase asks for.

    >>> [fact.text for fact in parse_facts("the capitals of France and Germany")]
    ['capital of France', 'capital of Germany']
    >>> [fact.text for fact in parse_facts("the population of the capital of Peru")]
    ['population of the capital of Peru']
    """
    phrase = phrase.strip().rstrip("?.!").strip()
    parts = split_items(phrase)
    owns = [re.match(r"(?:its|their)\s", part, re.IGNORECASE) is not None for part in parts]
    if len(parts) > 1 and (all(_stands_alone(part) for part in parts) or (not owns[0] and all(owns[1:]))):
        facts: list[Fact] = []
        for part in parts:
            owned = re.fullmatch(r"(?:its|their)\s+(.+)", part, re.IGNORECASE)
            if owned is not None and facts:
                facts.append(Fact(attribute=_singular(owned[1]), of=_owner(facts[-1])))
            else:
                facts += parse_facts(part)
        return facts
    found = re.fullmatch(
        r"(?:the\s++)?(?P<attributes>[^?]+?)(?<!\s)\s++(?:of|for)\s++(?P<things>(?s:.+))", phrase, re.IGNORECASE
    )
    if found is None or not _is_attribute(found["attributes"]):
        return [Fact(attribute="", of=without_article(part)) for part in parts]
    things = _things(found["things"])
    # "The capitals of France and Germany" asks for one capital each; "the rivers of Europe" asks for all of them.
    number = _singular if len(things) > 1 else str
    attributes = [number(without_article(part)) for part in split_items(found["attributes"])]
    return [Fact(attribute=attribute, of=thing) for thing in things for attribute in attributes]


def names_value(attribute: str) -> bool:
    """Whether an attribute is a number, a date or the like (`population`, `GDP`), and no thing (`capital`)."""
    last = attribute.rpartition(" ")[2]
    return _singular(last.lower()) in _VALUES or _is_acronym(last)


def is_singular(words: str) -> bool:
    """Whether a noun phrase names one thing, as far as its last word tells: a capital, not neighbours.

    >>> is_singular("highest mountain"), is_singular("rivers"), is_singular("people")
    (True, False, True)
    """
    return _singular(words) == words


def without_article(text: str) -> str:
    """Return the text without quotes around it and without "the", "a" or "an" in front."""
    return re.sub(r"^(?:the|a|an)\s+", "", text.strip(" \"'"), flags=re.IGNORECASE)


def replace_pronoun(text: str, name: str) -> str:
    """Return the text with "its X" as "the X of NAME", and "it", "they", "them" as the name."""
    return _PRONOUN.sub(lambda found: _owned(found["what"], name) if found["what"] else name, text)


def _owned(what: str, name: str) -> str:
    things = (re.sub(r"^(?:its|their)\s+", "", part, flags=re.IGNORECASE) for part in split_items(what))
    return f"the {' and '.join(things)} of {name}"


def split_owned(text: str) -> list[str]:
    """Return the parts of "its capital, population and area", each as "its ..."; other texts are their only part."""
    owned = re.fullmatch(r"(its|their)\s+(.+)", text.rstrip("?"), re.IGNORECASE)
    if owned is None or not re.fullmatch(rf"{_ATTRIBUTE}(?:(?:,|,?\s+and)\s+{_ATTRIBUTE})+", owned[2]):
        return [text]
    return [f"{owned[1]} {part}" for part in (re.sub(r"^(?:its|their)\s+", "", one) for one in split_items(owned[2]))]


def _sentences(request: str) -> list[str]:
    found: list[str] = []
    for line in request.splitlines():
        line = re.sub(r"\s{3,}", "  ", _BULLET.sub("", line).strip())
        found += [part for part in split_sentences(line, r"[A-Z\"'(]") if part.strip()]
    return found


def _add(steps: list[Step], text: str, follows: bool) -> None:
    text = text.strip(" \t,;:").rstrip(".!").strip()
    lead = re.match(rf"{_SEQUENCE}\b[\s,:]*", text, re.IGNORECASE)
    if lead is not None:
        text, follows = text[lead.end() :], True
    while (polite := _POLITE.match(text)) is not None and polite.end() > 0:
        text = text[polite.end() :]
    text = re.sub(r"(?<!\s)\s+please$", "", text.strip(), flags=re.IGNORECASE)
    if text and text.lower() not in ("and", "or"):
        steps.append(Step(text=text, follows=follows and bool(steps)))


def _owner(fact: Fact) -> str | Fact:
    """What "its" refers to after a fact: the capital that is found, but Peru after "the area of Peru", or a name."""
    named = not fact.attribute and isinstance(fact.of, str) and fact.of[:1].isupper()
    return fact.of if named or names_value(fact.attribute) else fact


def _things(text: str, depth: int = 1) -> list[str | Fact]:
    """The things that an attribute belongs to; what has to be found out first is a Fact."""
    if depth > MAX_FACT_DEPTH:
        return [without_article(text)]  # a reader that must not be wrong asks for the depth
    inner = re.fullmatch(
        r"the\s++(?P<words>.+?)(?<!\s)\s++(?P<link>of|in)\s++(?P<rest>.+)", text.strip(), re.IGNORECASE
    )
    if inner is not None and _is_relation(inner["words"]):
        noun = _singular(inner["words"])
        if inner["link"] == "in":
            return [Fact(attribute="", of=f"{noun} in {thing}") for thing in split_items(inner["rest"])]
        return [Fact(attribute=noun, of=thing) for thing in _things(inner["rest"], depth + 1)]
    return [without_article(part) for part in split_items(text)]


def _is_relation(words: str) -> bool:
    return words == words.lower() and words.split()[-1] not in _NAMING_NOUNS and len(words.split()) <= 3


def _is_attribute(words: str) -> bool:
    """Whether the words before "of" name an attribute: lower case or an acronym, short, no name as in "Republic of"."""
    last = words.split()[-1]
    plain = (last == last.lower() and last not in _NAMING_NOUNS) or _is_acronym(last)
    return plain and all(len(part.split()) <= 4 for part in split_items(words))


def _is_acronym(word: str) -> bool:
    return 2 <= len(word) <= 5 and word.isalpha() and word.isupper()


def _stands_alone(part: str) -> bool:
    """Whether an item of an enumeration brings its own attribute: "the longest river in Italy", unlike "Italy"."""
    return bool(re.search(r"\b[a-z]+\s+(?:of|in)\s+", part)) or bool(re.match(r"(?:its|their)\s", part, re.IGNORECASE))


def _singular(words: str) -> str:
    """The last word in the singular: capitals, countries, boxes; not: species, gas, status."""
    head, _, last = words.rpartition(" ")
    if last.endswith("ies") and last not in ("species", "series") and len(last) > 4:
        last = last[:-3] + "y"
    elif last.endswith(("xes", "ches", "shes", "sses")):
        last = last[:-2]
    elif last.endswith("s") and not last.endswith(("ss", "us", "is", "species", "series")) and len(last) > 3:
        last = last[:-1]
    return f"{head} {last}".strip()


def _protect(text: str) -> str:
    text = _JOINED.sub(lambda match: match[0].replace(" ", _GLUE), text)
    # What stands in quotes is one thing.
    return re.sub(
        r"\"[^\"]+\"|(?<!\w)'[^']+'(?!\w)", lambda match: match[0].replace(" ", _GLUE).replace(",", _COMMA), text
    )


def _restore(text: str) -> str:
    return text.replace(_GLUE, " ").replace(_COMMA, ",")
