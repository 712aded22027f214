"""A plan of text, read: its steps, its request, its way of speaking; and what was decided of it so far.

Three families of plans speak in different ways, and each has its own weights:

    blanks      questions with open places: "Is ___ more than ___?"
    errands     the request lists the steps, with "then", "after that", "also" between them
    procedure   instructions for something the request only names: "How to repot a plant"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from .reading import ReadStep, similarity
from .request import ReadRequest, read_request

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
