"""How a procedure speaks: of moves of the hand, which follow each other, or of tips, which stand side by side.

Word lists of everyday English, for the first verb of a title ("How to bake ...", "How to cope with ...") and for words
in the steps. Made from general knowledge, with a look at development rows for what was missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from kapelle.knowledge import word_set

from .reading import ReadStep
from .request import ReadRequest

_WARNS = word_set("don't not avoid never don without refrain stop")
_OFFERS = word_set("or if may can could instead also another")
_MAKES = word_set(
    """add apply assemble bake brew build burn calculate change cite clean connect convert cook copy create crochet
    cut delete disable display download draw dye edit enable fix fold format freshen fry grill grow install
    knit make measure mix open pack paint perform plant polish pour prepare print record refinish register
    remove repair replace reset roast sand season segment send set sew solve sort start stream tie
    track trim uninstall unlock upload use wash wear wrap write"""
)
_BECOMES = word_set(
    """accept act adjust attract avoid be become behave choose convince cope date deal decorate design develop
    discipline dress eat encourage enjoy entertain feel find flirt forgive gain get handle help host impress
    improve increase justify keep know live look lose love manage overcome pass prevent purchase raise reduce
    seduce shop stay stop survive talk train treat troubleshoot win"""
)


def read_tone(steps: Sequence[ReadStep], request: ReadRequest) -> tuple[tuple[str, float], ...]:
    """Return how a procedure speaks, in numbers: moves of the hand in a row, or tips side by side."""
    count = max(1, len(steps))
    opening = request.clauses[0].words if request.clauses else []
    pairs = list(pairwise(steps))
    manners = [step.manner for step in steps]
    words = [word for step in steps for word in step.words]
    verb = next((word for word in opening if word not in ("how", "to", "not")), "")
    seen: frozenset[str] = frozenset()
    known = 0
    for step in steps:
        known += bool(step.definite & seen)
        seen |= step.stems
    return (
        ("moves of the hand", manners.count("hands") / count),
        ("tips", manners.count("advice") / count),
        ("speaks of things as known", 10 * sum(w in ("the", "it", "them") for w in words) / max(1, len(words)) - 0.8),
        ("known from before", known / count),
        ("common words", sum(bool((a.stems & b.stems) - request.stems) for a, b in pairs) / count),
        ("same verbs", 1 - len({step.verb for step in steps}) / count),
        ("begins with preparation", float(bool(steps) and steps[0].prepares)),
        ("marks the order", float(any(step.lead in ("then", "after", "last", "done") for step in steps[1:]))),
        ("warns", sum(not _WARNS.isdisjoint(step.words) for step in steps) / count),
        ("offers choices", sum(not _OFFERS.isdisjoint(step.words) for step in steps) / count),
        ("to make something", float(verb in _MAKES)),
        ("to be somehow", float(verb in _BECOMES)),
    )
