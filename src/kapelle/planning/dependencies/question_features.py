"""What speaks for the sources of a step with blanks: "Is ___ more than ___?".

The shape of such plans says most: there are as many readers as blanks, and every answer but the last wants one. The
rest is what an answer is (a time, a place) against the words around the blank, and steps that are built alike, which
read the same answers rather than each other's.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from .reading import overlap
from .text_plan import DecidedSteps, Sources, TextPlan


class BlankSituation(NamedTuple):
    """What earlier decisions mean for an option."""

    unused: tuple[bool, ...]
    """For each source whether nothing reads it yet."""
    left: int
    """How many earlier answers nobody reads, this option taken."""
    passes_over: bool
    """Whether it leaves out the nearest of the unread."""
    twin: str
    """Whether it reads the same as the step that is built alike: `same`, `other`, or an empty text without one."""


def situate_blanks(plan: TextPlan, step: int, sources: Sources, history: DecidedSteps) -> BlankSituation:
    """Return what earlier decisions mean for an option."""
    unread = history.unused
    twin = plan.twins[step]
    read = history.sources[twin] if twin >= 0 else ()
    return BlankSituation(
        unused=tuple(source in unread for source in sources),
        left=len(set(unread).difference(sources)),
        passes_over=bool(unread) and unread[-1] not in sources,
        twin=("same" if read == sources else "other") if read else "",
    )


def blank_features(
    plan: TextPlan, step: int, sources: Sources, situation: BlankSituation
) -> Iterator[tuple[str, float]]:
    """Yield what speaks for or against an option as a whole."""
    here, blanks = plan.steps[step], min(plan.steps[step].blanks, 4)
    yield f"{blanks} blanks, {min(len(sources), 4)} sources", 1.0
    if blanks > 1:
        yield f"compares={here.compares}, {'all different' if len(sources) == blanks else 'repeated'}", 1.0
        kinds = {plan.steps[source].asks for source in sources}
        if len(sources) > 1:
            yield f"sources ask alike={len(kinds) == 1}, compares={here.compares}", 1.0
            yield "sources built alike", max(plan.alike(a, b) for a, b in combinations(sources, 2))
    for source, unused in zip(sources, situation.unused, strict=True):
        yield f"{'unused' if unused else 'used'}, {min(blanks, 3)} blanks", 1.0
        if not unused:
            yield f"used, {min(step - source, 3)} back", 1.0
    if step == len(plan.steps) - 1:
        yield "left unused at the end", float(situation.left)
    else:
        # Every step but the last wants a reader, this one included; so many places to read them are still to come.
        missing = situation.left + len(plan.steps) - 1 - step - plan.open_places[step]
        yield "more unused than open places", float(max(0, missing))
        yield "as many unused as open places", float(missing == 0)
    if situation.passes_over:
        yield "passes over the nearest unused", 1.0
    if situation.twin:
        likeness = plan.alike(plan.twins[step], step)
        yield f"its twin reads {situation.twin} answers", likeness
        if plan.twins[step] in sources:
            yield "reads its twin", likeness


def blank_pair_features(plan: TextPlan, step: int, source: int) -> Iterator[tuple[str, float]]:
    """Yield what speaks for or against one source, whatever the others are."""
    here, there = plan.steps[step], plan.steps[source]
    blanks = min(here.blanks, 3)
    distance = min(step - source, 4)
    last = step == len(plan.steps) - 1
    yield f"{blanks} blanks, {distance} back", 1.0
    if last:
        yield f"last, {distance} back", 1.0
    if source == 0:
        yield f"first, {blanks} blanks", 1.0
    yield f"built alike, {blanks} blanks", plan.alike(source, step)
    yield "common words", overlap(here.stems, there.stems)
    if there.asked_noun and there.asked_noun in here.stems:
        yield "names what was asked for", 1.0
    yield f"source asks {there.asks}", 1.0
    yield f"source asks {there.asks}, step asks {here.asks}", 1.0
    if there.blanks:
        yield f"source has blanks itself, {blanks} blanks", 1.0
    for before, after in here.around_blanks:
        yield f"{there.asks}: {before} _", 1.0 / here.blanks
        yield f"{there.asks}: _ {after}", 1.0 / here.blanks
