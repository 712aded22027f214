"""Dependency analysis: the edges that data flow requires, each with its reason. Read this file first.

    references ("{s1}", "#1", "$s1", "step 1")    an edge, always
    calls of tools                                 every blank argument is filled by one call       calls
    steps of text                                  blanks, pronouns, comparisons, order             options, scorer
    a step that plainly speaks of others           "compare them", "its capital"                    words, below

Pure and deterministic. Edges found here go forward in the order of the steps; only a reference may go back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kapelle.errors import InvalidGraph
from kapelle.graph import topological_order
from kapelle.language import word_set
from kapelle.models import ToolDefinition

from .calls import fill_blanks
from .scorer import load_weights, score_edges
from .step import Edge, EdgeKind, PlanStep, find_referred
from .text_plan import Sources, TextPlan

_JOINS = re.compile(
    r"\b(?:compare|combine|merge|summari[sz]e|aggregate|join|contrast|rank|add up|put together|report on)\s+"
    r"(?:all|both|them|these|those|(?:of\s+)?(?:the|their)\s+(?:two|three|results?|findings?|answers?|numbers?|figures?|above))\b"
    r"|\b(?:which|who)\s+of\s+(?:them|these|the\s+(?:two|three))\b"
    r"|\bthe\s+(?:results|findings|answers)\s+(?:of\s+(?:all|both)|above)\b"
    r"|\b(?:the\s+)?(?:sum|total|average|difference)\s+of\s+(?:both|them|these|all|the\s+(?:two|three|results))\b",
    re.IGNORECASE,
)
_BACK = word_set("its their it them they his her he she him")
_RESULT = re.compile(r"\bthe\s+(?:result|answer|output)s?\b", re.IGNORECASE)
NEAR_BEGINNING = 8
"""Words among which a pronoun has no other noun to point to than one of a step before."""
_FLOWS = ("reference", "argument", "blank")
# Of the kinds of answer that are called otherwise than "a number", "a place".
_ASKED = {"reason": "how or why", "yes": "yes or no", "thing": "something"}
_SAID = {"then": "'then'", "after": "'after', 'once'", "last": "'finally'", "if": "'if'"}
_OWN_NAME = re.compile(r"[\"'“]|(?<=[a-z,] )[A-Z]\w")


def infer_dependencies(
    steps: Sequence[PlanStep], *, request: str = "", tools: Mapping[str, ToolDefinition] | None = None
) -> tuple[Edge, ...]:
    """Return the edges that the steps' data flow requires, by target and source in the order of the steps.

    Args:
        steps: texts or calls, in the order in which they were written.
        request: what the plan is for; says much where it lists the steps itself ("then", "once that is done").
        tools: the schemas of the tools that are called, by name.

    Raises:
        InvalidGraph: two steps have the same id.

    >>> found = infer_dependencies([
    ...     PlanStep(id="a", text="When was the Eiffel Tower built?"),
    ...     PlanStep(id="b", text="When was the Ferris wheel invented?"),
    ...     PlanStep(id="c", text="Is ___ before ___?"),
    ... ])
    >>> [(edge.source, edge.target) for edge in found]
    [('a', 'c'), ('b', 'c')]
    """
    ids = [step.id for step in steps]
    if len(set(ids)) != len(ids):
        twice = next(step_id for step_id in ids if ids.count(step_id) > 1)
        raise InvalidGraph(f"Two steps have the id {twice!r}. Rename one of them.")
    referred = _keep_acyclic([(step, find_referred(step, steps)) for step in steps])
    places = {step_id: place for place, step_id in enumerate(ids)}
    before = [sorted(places[source] for source in referred.get(step_id, ())) for step_id in ids]
    ordered = [steps[place] for place in topological_order(before)]
    numbers = {step.id: number for number, step in enumerate(ordered)}
    decided: dict[int, Sources] = {
        numbers[target]: tuple(sorted(numbers[source] for source in sources)) for target, sources in referred.items()
    }
    edges: dict[tuple[int, int], Edge] = {}
    for target, sources in referred.items():
        for source, words in sources.items():
            place = numbers[source], numbers[target]
            edges[place] = _edge(ordered, place, f"{words!r} names its result", 1.0, "reference")
    found = _infer_calls(ordered, tools or {}, decided) if any(step.tool for step in steps) else None
    if found is None:
        found = _infer_texts(ordered, request, decided)
    for number_edge, edge in found.items():
        edges.setdefault(number_edge, edge)
    for number_edge, edge in _infer_words(ordered, edges, decided).items():
        usual = edges.get(number_edge, edge)
        edges[number_edge] = replace(edge, confidence=max(edge.confidence, usual.confidence))
    return tuple(sorted(edges.values(), key=lambda edge: (places[edge.target], places[edge.source])))


def _infer_calls(
    steps: Sequence[PlanStep], tools: Mapping[str, ToolDefinition], decided: Mapping[int, Sources]
) -> dict[tuple[int, int], Edge]:
    edges: dict[tuple[int, int], Edge] = {}
    for filled in fill_blanks(steps, tools, decided):
        key = (filled.source, filled.target)
        if key not in edges or edges[key].confidence < filled.confidence:
            edges[key] = _edge(steps, key, filled.reason, filled.confidence, "argument")
    return edges


def _infer_texts(
    steps: Sequence[PlanStep], request: str, decided: Mapping[int, Sources]
) -> dict[tuple[int, int], Edge]:
    plan = TextPlan.read([step.text for step in steps], request, decided)
    if len(steps) < 2 or (plan.family != "blanks" and decided):
        return {}  # whoever writes references writes all of them
    weights = load_weights()[plan.family]
    scored = score_edges(plan, weights.features)
    edges = {}
    for (source, target), probability in sorted(scored.probability.items()):
        surest = plan.family == "blanks" and source in scored.surest(target) and target not in decided
        if probability < weights.threshold and not surest:
            continue
        kind, reason = _explain(plan, source, target, [step.id for step in steps])
        confidence = round(min(probability, 0.999), 3)
        edges[source, target] = _edge(steps, (source, target), reason, confidence, kind)
    return edges


def _explain(plan: TextPlan, source: int, target: int, ids: Sequence[str]) -> tuple[EdgeKind, str]:
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


def _infer_words(
    steps: Sequence[PlanStep], edges: Mapping[tuple[int, int], Edge], decided: Mapping[int, Sources]
) -> dict[tuple[int, int], Edge]:
    """Find the steps that plainly speak of others: "compare them", "its capital"."""
    found: dict[tuple[int, int], Edge] = {}
    filled = {target for (_, target), edge in edges.items() if edge.kind in _FLOWS}
    for target, step in enumerate(steps):
        if target == 0 or target in decided or target in filled:
            continue
        text = step.text or " ".join(value for value in step.arguments.values() if isinstance(value, str))
        if (joins := _JOINS.search(text)) is not None:
            flows = (*(key for key, edge in edges.items() if edge.kind in _FLOWS), *found)
            used = {source for source, other in flows if other < target}
            for source in range(target):
                if source not in used:
                    reason = f"{joins[0]!r} takes what is open"
                    found[source, target] = _edge(steps, (source, target), reason, 0.8, "words")
        elif word := _points_back(text):
            place = target - 1, target
            found[place] = _edge(steps, place, f"{word!r} points back", 0.7, "words")
    return found


def _points_back(text: str) -> str:
    """Return the words that take up what came before, or an empty text; a name before them is what they mean."""
    before = ""
    for word in text.split(maxsplit=NEAR_BEGINNING)[:NEAR_BEGINNING]:
        if word.strip(".,;:!?").casefold() in _BACK:
            return "" if _OWN_NAME.search(before) else word
        before += word + " "
    found = _RESULT.search(text)
    return found[0] if found is not None else ""


def _edge(steps: Sequence[PlanStep], place: tuple[int, int], reason: str, confidence: float, kind: EdgeKind) -> Edge:
    source, target = (steps[number].id for number in place)
    return Edge(source=source, target=target, reason=reason, confidence=confidence, kind=kind)


def _keep_acyclic(referred: Sequence[tuple[PlanStep, dict[str, str]]]) -> dict[str, dict[str, str]]:
    """Return the references without those that would close a circle; those to earlier steps go first."""
    place = {step.id: number for number, (step, _) in enumerate(referred)}
    wanted = [(source, step.id, words) for step, found in referred for source, words in found.items()]
    wanted.sort(key=lambda entry: place[entry[0]] > place[entry[1]])
    kept: dict[str, dict[str, str]] = {}
    for source, target, words in wanted:
        stack, seen = [source], {source}
        while stack:
            for other in kept.get(stack.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    stack.append(other)
        if target not in seen:
            kept.setdefault(target, {})[source] = words
    return kept
