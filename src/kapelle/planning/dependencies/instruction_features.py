"""What speaks for the sources of an instruction: of one in a list of errands, or in a procedure.

Nothing is left open in such steps, so these are likelihoods, not data flow: the words that lead from one to the next
("after that"), things that are spoken of as known, moves of the hand (which follow each other) against tips (which
stand side by side).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from .reading import overlap
from .text_plan import DecidedSteps, Sources, TextPlan

Shape = Literal["none", "second", "previous", "both", "sibling", "first", "far", "join"]

# Shapes that mean the same to the words of a step.
_KINDS: dict[Shape, str] = {"second": "chain", "previous": "chain", "both": "chain", "sibling": "wide", "first": "wide"}


class Situation(NamedTuple):
    """What earlier decisions mean for an option."""

    shape: Shape
    """The option in one word."""
    before: Shape | Literal[""]
    """The same of the step before."""
    joins_all: bool
    """Whether it takes all that nothing waits for yet."""
    left: int
    """How many earlier steps nothing waits for, this option taken."""


def situate_instruction(step: int, sources: Sources, history: DecidedSteps) -> Situation:
    """Return what earlier decisions mean for an option."""
    unused = history.unused
    return Situation(
        shape=_shape(step, sources, history),
        before=_shape(step - 1, history.sources[step - 1], history) if step > 1 else "",
        joins_all=len(sources) > 1 and sources == unused,
        left=len(set(unused).difference(sources)),
    )


def instruction_features(
    plan: TextPlan, step: int, sources: Sources, situation: Situation
) -> Iterator[tuple[str, float]]:
    """Yield what speaks for or against an option as a whole."""
    shape, last = situation.shape, step == len(plan.steps) - 1
    yield shape, 1.0
    if last:
        yield f"{shape}, last", 1.0
        yield "left unused at the end", min(situation.left, 5) / 5
    if situation.before:
        yield f"{shape} after {situation.before}", 1.0
    if shape == "join":
        yield "join of", min(len(sources), 6) / 6
        if situation.joins_all:
            yield f"join of all unused, last={last}", 1.0
    if plan.family == "errands":
        yield from _errand_features(plan, step, shape)
    else:
        yield from _procedure_features(plan, step, shape)


def _shape(step: int, sources: Sources, history: DecidedSteps) -> Shape:
    """The option in one word."""
    if not sources:
        return "none"
    if len(sources) == 1:
        if step == 1:
            return "second"
        if sources[0] == step - 1:
            return "previous"
        if sources == history.sources[step - 1]:
            return "sibling"
        return "first" if sources[0] == 0 else "far"
    if len(sources) == 2 and step - 1 in sources and set(history.sources[step - 1]) & set(sources):
        return "both"
    if sources == history.sources[step - 1]:
        return "sibling"
    return "join"


def instruction_pair_features(plan: TextPlan, step: int, source: int) -> Iterator[tuple[str, float]]:
    """Yield what speaks for or against one source, whatever the others are."""
    here, there = plan.steps[step], plan.steps[source]
    # What the request speaks of is in every step of a procedure, and joins none.
    topic = plan.request.stems if plan.family == "procedure" else frozenset()
    yield "common words", overlap(here.stems - topic, there.stems)
    if here.definite & there.stems:
        yield "names what the source speaks of", 1.0
    if step - source > 1:
        yield "distance", min(step - source, 6) / 6


def _errand_features(plan: TextPlan, step: int, shape: Shape) -> Iterator[tuple[str, float]]:
    here, before, kind = plan.steps[step], plan.steps[step - 1], _KINDS.get(shape, shape)
    words = plan.request.connectives
    # Whether the request says anywhere that one waits for another; else it only lists them.
    course = "waits" if {"after", "if"}.intersection(words[1:]) else "lists"
    yield f"{kind}, request says {words[step]}, {course}", 1.0
    yield f"{kind}, request says {words[step]}", 1.0
    yield f"{shape}, request {course}", 1.0
    if words[step] in ("last", "then"):
        yield f"{kind}, request says {words[step]} after {words[step - 1]}", 1.0
    if plan.request.takes_up_result[step]:
        yield f"{kind}, request takes up a result", 1.0
    if here.refers_back:
        yield f"{kind}, refers back", 1.0
    if kind == "chain":
        yield "chain, common words", overlap(here.stems, before.stems)
        if here.verb == before.verb:
            yield "chain, same verb as before", 1.0


def _procedure_features(plan: TextPlan, step: int, shape: Shape) -> Iterator[tuple[str, float]]:
    here, before = plan.steps[step], plan.steps[step - 1]
    if _KINDS.get(shape) != "chain":
        return
    yield f"chain, {here.manner or 'other'}", 1.0
    yield f"chain, {before.manner or 'other'} before", 1.0
    if here.lead:
        yield "chain, begins with a connective", 1.0
    if here.refers_back:
        yield "chain, refers back", 1.0
    if here.verb == before.verb:
        yield "chain, same verb as before", 1.0
    if here.definite & before.stems:
        yield "chain, takes up the previous", 1.0
    yield "chain, common words", overlap(here.stems - plan.request.stems, before.stems)
