"""Reads the request of a plan: which clause speaks of which step, and what word leads to it. English only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from .reading import ReadStep

MAX_REQUEST = 4_000
"""Characters of a request that are read."""
MAX_CLAUSES = 60
SPEAKS_OF = 0.3
"""The share of a step's words from which on a clause speaks of it."""

_CLAUSE = re.compile(r"(?<=[.?!;])\s+|,\s*(?:and\s+)?(?=then\b|finally\b|after that\b|next\b|also\b)|\s+(?=and then\b)")
_CONNECTIVES = (
    ("after", r"after\s+\w+|afterwards?|once|when|following|upon|having|using (?:the|this|that)"),
    ("if", r"if"),
    ("then", r"then|next|second(?:ly)?|third(?:ly)?|subsequently"),
    ("last", r"finally|lastly|last"),
    ("also", r"also|additionally|furthermore|moreover|in addition|besides|moving on|i (?:also|would also)"),
    ("first", r"first(?:ly)?|to start|to begin"),
)
_CONNECTIVE = re.compile(
    r"(?:and\s+)?(?:" + "|".join(rf"(?P<{kind}>(?:{words})\b)" for kind, words in _CONNECTIVES) + ")", re.IGNORECASE
)
_RESULT = re.compile(
    r"\b(?:obtained|previous|resulting|retrieved|created|generated|the (?:result|output)s?|"
    r"based on (?:the|this|that|these)|is (?:complete|done|set up)|successful(?:ly)?|these|those|"
    r"if (?:it|he|she|they|the|available|not))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)  # no slots: properties are cached
class ReadRequest:
    """The request, and where it speaks of each step."""

    clauses: tuple[ReadStep, ...]
    places: tuple[int, ...]
    """For each step the clause that speaks of it, or -1."""
    spells_out: float
    """The mean share of a step's words that its clause has: near 1, the request lists the steps itself."""
    stems: frozenset[str]

    @cached_property
    def connectives(self) -> tuple[str, ...]:
        """For each step the kind of word that leads to its clause: `then`, `after`, `also`, ...; or `nothing`.

        `same` when an earlier step has the same clause, `unknown` when no clause speaks of the step.
        """
        return tuple(self._connective(place, place in self.places[:step]) for step, place in enumerate(self.places))

    @cached_property
    def takes_up_result(self) -> tuple[bool, ...]:
        """For each step whether its clause speaks of what another gave: "the obtained word", "once it is complete"."""
        return tuple(place >= 0 and _RESULT.search(self.clauses[place].text) is not None for place in self.places)

    def _connective(self, place: int, again: bool) -> str:
        if place < 0:
            return "unknown"
        if again:
            return "same"
        found = _CONNECTIVE.match(self.clauses[place].text.lstrip(' "'))
        return (found.lastgroup or "nothing") if found else "nothing"


def read_request(request: str, steps: Sequence[ReadStep]) -> ReadRequest:
    """Return the request with its clauses matched to the steps."""
    parts = [part for part in _CLAUSE.split(request[:MAX_REQUEST]) if part.strip()]
    clauses = tuple(ReadStep(text=part) for part in parts[:MAX_CLAUSES])
    places, shares = [], []
    for step in steps:
        best, place = 0.0, -1
        for number, clause in enumerate(clauses):
            share = len(step.stems & clause.stems) / len(step.stems) if step.stems else 0.0
            if share > best + 1e-9:
                best, place = share, number
        places.append(place if best >= SPEAKS_OF else -1)
        shares.append(best)
    return ReadRequest(
        clauses=clauses,
        places=tuple(places),
        spells_out=sum(shares) / len(shares) if shares else 0.0,
        stems=frozenset[str]().union(*(clause.stems for clause in clauses)),
    )
