"""What a pronoun in the next step stands for: what the question before it found, or what that question was about.

"Find the capital of France, then its population": a capital was found, so `its` is Paris. "When was the Suez Canal
opened and who built it?": a date was found, and nobody builds a date, so `it` is the Suez Canal. So the rule asks what
kind of thing the question before finds: a person (`he`), a value such as a date or a length (nothing refers to it), or
a thing (`it`, `its`; several of them: `they`, `their`). English only.
"""

from __future__ import annotations

import re
from typing import Literal

from .facts import names_value, parse_facts, without_article

Referent = Literal["found", "subject"]

_PRONOUN = re.compile(
    r"\b(?:(?P<person>he|she|him|his|her)|(?P<plural>they|them|their|these|those)|(?P<thing>it|its)|"
    r"(?P<place>(?<!is )(?<!are )(?<!was )(?<!were )there(?! (?:is|are|was|were)\b)))\b",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"(?:(?P<value>when|why|how|is|are|was|were|does|do|did|has|have|can)|(?P<person>who|whom|whose)|(?P<place>where))\b",
    re.IGNORECASE,
)
# "What currency does Japan use": what is found is a currency, but Japan is what the sentence speaks of.
_ASKS_OF_SUBJECT = re.compile(r"(?:what|which)\s+[\w ]+?\s+(?:does|do|did|has)\s", re.IGNORECASE)
_ASKS_WHAT = re.compile(r"(?:what|which)(?:'s|\s+(?:is|are|was|were))\s+", re.IGNORECASE)
_ASKS_FOR = re.compile(r"(?:what|which|find|list|name|the|a|an)\b", re.IGNORECASE)
_NAME = re.compile(
    r"[^\W\d_a-z][\w'-]*(?:\s+(?:(?:of|and)\s+the\s+|of\s+|the\s+|de\s+|la\s+|do\s+)?[^\W\d_a-z][\w'-]*)*"
)


def find_referent(text: str, asked: str) -> Referent | None:
    """Return what the pronoun of a step refers to: what the question before it `asked` for, or its subject.

    None where the step has no pronoun. A name that was asked about is its own subject.

    >>> find_referent("who built it?", "When was the Suez Canal opened")
    'subject'
    >>> find_referent("Where was he born?", "Who wrote Hamlet"), find_referent("find its area", "the capital of Peru")
    ('found', 'found')
    """
    pronoun = _PRONOUN.search(text)
    if pronoun is None:
        return None
    asks = _what_is_asked(asked)
    if asks == "thing":
        return "subject" if pronoun["thing"] and _ASKS_OF_SUBJECT.match(asked) else "found"
    fits = {"person": pronoun["person"] or pronoun["plural"], "place": pronoun["place"], "value": None}
    return "found" if fits[asks] else "subject"


def subject_of(asked: str) -> str:
    """Return the name that a question is about, several joined by "and"; empty where it names nothing.

    >>> subject_of("When was the Suez Canal opened"), subject_of("areas of France and Spain"), subject_of("how many")
    ('Suez Canal', 'France and Spain', '')
    """
    opening = re.match(r"\w+", asked)
    start = opening.end() if opening and (_ASKS.match(asked) or _ASKS_FOR.match(asked)) else 0
    return " and ".join(dict.fromkeys(match[0] for match in _NAME.finditer(asked, start)))


def replace_there(text: str, subject: str) -> str:
    """Return the text with `there` as "in SUBJECT"; other pronouns are replaced by language.replace_pronoun."""
    return _PRONOUN.sub(lambda found: f"in {subject}" if found["place"] else found[0], text)


def _what_is_asked(asked: str) -> str:
    """The kind of thing that a question finds: `person`, `place`, `value` or `thing`."""
    if (asks := _ASKS.match(asked)) is not None:
        return str(asks.lastgroup)
    facts = parse_facts(without_article(_ASKS_WHAT.sub("", asked, count=1)))
    if not facts:
        return "thing"
    named = not facts[0].attribute and isinstance(facts[0].of, str) and _NAME.fullmatch(facts[0].of)
    return "value" if named or names_value(facts[0].attribute) else "thing"
