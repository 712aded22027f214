"""A plan of text, read: its steps, its way of speaking, its request (which clause speaks of which step, and what word
leads to it); and what was decided of it so far. English only.

Three families of plans speak in different ways, and each has its own weights:

    blanks      questions with open places: "Is ___ more than ___?"
    errands     the request lists the steps, with "then", "after that", "also" between them
    procedure   instructions for something the request only names: "How to repot a plant"
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from .reading import ReadStep, similarity

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


Family = Literal["blanks", "errands", "procedure"]
Sources = tuple[int, ...]
Features = list[tuple[str, float]]

SPELT_OUT = 0.5
"""Between the families: procedures have 0.0 to 0.3 of their words in the request, lists of errands 0.7 to 1."""
TWIN = 0.5
"""From this likeness on, two steps are built alike: "How high is Everest?", "How high is K2?"."""


@dataclass(frozen=True, kw_only=True)  # no slots: properties are cached
class TextPlan:
    """The steps of a plan, read."""

    steps: tuple[ReadStep, ...]
    request: ReadRequest
    decided: Mapping[int, Sources]
    """Sources that are known already, by the step."""
    _similar: dict[tuple[int, int], float] = field(default_factory=dict)

    @classmethod
    def read(cls, texts: Sequence[str], request: str, decided: Mapping[int, Sources] | None = None) -> TextPlan:
        """Read the texts of the steps, in their order."""
        steps = tuple(ReadStep(text=text) for text in texts)
        return cls(steps=steps, request=read_request(request, steps), decided=decided or {})

    @cached_property
    def family(self) -> Family:
        """Which way of speaking it is."""
        if any(step.blanks for step in self.steps):
            return "blanks"
        return "errands" if self.request.spells_out >= SPELT_OUT else "procedure"

    @cached_property
    def open_places(self) -> tuple[int, ...]:
        """For each step the number of blanks in the steps behind it."""
        after, found = 0, []
        for step in reversed(self.steps):
            found.append(after)
            after += step.blanks
        return tuple(reversed(found))

    def alike(self, one: int, other: int) -> float:
        """How alike two steps are built, 0 to 1."""
        key = (one, other) if one < other else (other, one)
        if key not in self._similar:
            self._similar[key] = similarity(self.steps[key[0]], self.steps[key[1]])
        return self._similar[key]

    @cached_property
    def twins(self) -> tuple[int, ...]:
        """For each step the earlier one, of the last eight, that is built most like it, or -1."""
        found = []
        for step in range(len(self.steps)):
            best = max(range(max(0, step - 8), step), key=lambda other: self.alike(other, step), default=-1)
            found.append(best if best >= 0 and self.alike(best, step) >= TWIN else -1)
        return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class DecidedSteps:
    """What was decided for the steps before."""

    sources: tuple[Sources, ...] = ()
    unused: Sources = ()
    """The steps that none waits for yet."""

    def with_next(self, sources: Sources) -> DecidedSteps:
        """The history with one more step decided."""
        rest = tuple(step for step in self.unused if step not in sources)
        return DecidedSteps(sources=(*self.sources, sources), unused=(*rest, len(self.sources)))
