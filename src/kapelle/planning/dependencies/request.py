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
SHARED = 0.25
"""What it costs that two steps share a clause, in shares of their words."""
OPENING = 6
"""Words of a clause among which an "also" leads to it: "Can you also find ..."."""
SPEAKS_OF = 0.3
"""The share of a step's words from which on a clause speaks of it."""

_CLAUSE = re.compile(
    r"(?<=[.?!;])\s+|,\s*(?:and\s+)?(?=then\b|finally\b|after that\b|next\b|also\b)|(?<!\s)\s+(?=and then\b)"
)
_CONNECTIVES = (
    ("after", r"after\s+\w+|afterwards?|once|when|following|upon|having|using (?:the|this|that)"),
    ("if", r"if(?! (?:possible|available|needed|necessary)\b)"),
    ("then", r"then|next|second(?:ly)?|third(?:ly)?|subsequently"),
    ("last", r"finally|lastly|last"),
    ("also", r"also|additionally|furthermore|moreover|in addition|besides|moving on"),
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

        It may stand a sentence before the clause: "After that, I have a question. Who wrote Emma?". `same` when an
        earlier step has the same clause, `unknown` when no clause speaks of the step.
        """
        found, reached = [], -1
        for place in self.places:
            if place < 0:
                found.append("unknown")
            elif place <= reached:
                found.append("same")
            else:
                words = [_find_connective(clause.text) for clause in self.clauses[reached + 1 : place + 1]]
                # A condition leads to its own clause only: "If available, I need a map. Book a room."
                words[:-1] = ["" if word == "if" else word for word in words[:-1]]
                found.append(next((word for word in words if word), "nothing"))
                reached = place
        return tuple(found)

    @cached_property
    def takes_up_result(self) -> tuple[bool, ...]:
        """For each step whether its clause speaks of what another gave: "the obtained word", "once it is complete"."""
        return tuple(place >= 0 and _RESULT.search(self.clauses[place].text) is not None for place in self.places)


def read_request(request: str, steps: Sequence[ReadStep]) -> ReadRequest:
    """Return the request with its clauses matched to the steps."""
    parts = [part for part in _CLAUSE.split(request[:MAX_REQUEST]) if part.strip()]
    clauses = tuple(ReadStep(text=part) for part in parts[:MAX_CLAUSES])
    shares = [[len(step.stems & clause.stems) / max(1, len(step.stems)) for clause in clauses] for step in steps]
    places = _align(shares)
    found = [row[place] if row else 0.0 for row, place in zip(shares, places, strict=True)]
    return ReadRequest(
        clauses=clauses,
        places=tuple(place if share >= SPEAKS_OF else -1 for place, share in zip(places, found, strict=True)),
        spells_out=sum(found) / len(found) if found else 0.0,
        stems=frozenset[str]().union(*(clause.stems for clause in clauses)),
    )


def _align(shares: Sequence[Sequence[float]]) -> list[int]:
    """Return a clause for each step, in the order of the request, so that they share as many words as possible."""
    if not shares or not shares[0]:
        return [0] * len(shares)
    totals = list(shares[0])
    came_from: list[list[int]] = []
    for row in shares[1:]:
        came, reached = [], []
        best, at = float("-inf"), 0  # over the clauses left of this one
        for clause, share in enumerate(row):
            # One clause for two steps is possible ("delete this and create that"), and less likely.
            stays = totals[clause] - SHARED > best
            came.append(clause if stays else at)
            reached.append(share + (totals[clause] - SHARED if stays else best))
            if totals[clause] > best:
                best, at = totals[clause], clause
        totals = reached
        came_from.append(came)
    place = max(range(len(totals)), key=lambda clause: (totals[clause], -clause))
    places = [place]
    for came in reversed(came_from):
        place = came[place]
        places.append(place)
    return places[::-1]


def _find_connective(clause: str) -> str:
    clause = clause.lstrip(' "')
    found = _CONNECTIVE.match(clause)
    if found is not None:
        return found.lastgroup or ""
    return "also" if "also" in clause.casefold().split()[:OPENING] else ""
