"""Says in a sentence why an edge between steps of text was found."""

from __future__ import annotations

from collections.abc import Sequence

from .step import EdgeKind
from .text_plan import TextPlan

# Of the kinds of answer that are called otherwise than "a number", "a place".
_ASKED = {"reason": "how or why", "yes": "yes or no", "thing": "something"}


def explain_text_edge(plan: TextPlan, source: int, target: int, ids: Sequence[str]) -> tuple[EdgeKind, str]:
    """Return where an edge comes from, and why."""
    here, there, name = plan.steps[target], plan.steps[source], ids[source]
    if plan.family == "blanks":
        blanks = "its blank stands" if here.blanks == 1 else f"its {here.blanks} blanks stand"
        if there.asked_noun and there.asked_noun in here.stems:
            return "blank", f"{blanks} for an answer, and it names what {name} asks for"
        wants = "it compares answers" if here.compares and here.blanks > 1 else f"{blanks} for an answer"
        return "blank", f"{wants}, and {name} asks for {_ASKED.get(there.asks, f'a {there.asks}')}"
    if here.names & there.names:
        return "usual", f"both speak of {min(here.names & there.names)!r}"
    known = here.definite & there.stems
    if known:
        return "usual", f"it speaks of something from {name} as known: {', '.join(sorted(known)[:3])}"
    if here.refers_back and source == target - 1:
        return "usual", f"its words point back to {name}"
    if plan.family == "errands" and (word := plan.request.connectives[target]) in ("then", "after", "last", "if"):
        return "usual", f"the request says so ({_SAID[word]})"
    if here.lead in ("then", "after", "last", "done"):
        return "usual", f"it begins with {here.words[0]!r}"
    return "usual", f"such steps usually wait for {'the one before' if source == target - 1 else 'that one'}"


_SAID = {"then": "'then'", "after": "'after', 'once'", "last": "'finally'", "if": "'if'"}
