"""What of a request no task speaks of. Pure; says how sure it is, and leaves the severity to whoever asks.

    number, date, identifier   in no task. Sure where the request is one question or all tasks are calls with values,
                               and it has few numbers; where a task speaks of what stands beside it in the request
                               ("sensor ID 59" became "sensor ID"); or where that task has a number that nobody asked
                               for. Prose that leaves out all details of a part is written so on purpose
    demand                     a clause that asks for something, whose words no single task has. Sure where next to none
                               of them is there, or its own name ('Inception') is missing and most of the rest too
    name, condition,           doubted only: plans reword them too often
    deliverable

The thresholds were set on the development rows of four files of recorded plans (bench.faults), none on the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from kapelle.knowledge import STOP_WORDS, plain

from .clauses import GENERIC, Demand, split_demands
from .quantities import Quantity, find_quantities
from .reading import TaskText, stem_of, stems_of

MAX_REQUEST = 20_000
"""Characters of a request that are checked; what is longer is a document that was pasted in."""
FEW_QUANTITIES = 3
"""A request with so few numbers is expected to have every one in its plan."""
NEIGHBOURS = 2
"""Words before and after a number that say what it is the number of."""
ABSENT_DEMAND = 0.26
"""Share of a clause's words below which no task is about it."""
ABSENT_NAMED_DEMAND = 0.55
"""The same where the clause has a name that no task has."""

Subject = Literal["number", "date", "identifier", "demand", "name", "condition", "deliverable"]

_WORD = re.compile(r"[^\W_]+")
_QUOTED = re.compile(r"(?<!\w)['\"“‘]([^'\"“”‘’]{2,80})['\"”’](?!\w)")
_NAME = re.compile(r"(?<![.?!\"'“] )(?<!^)\b[A-Z][\w'’.-]*(?:\s+(?:(?:of|the|de|and|&)\s+)?[A-Z][\w'’-]*)*")
_CONDITION = re.compile(
    r"\b(?:only|excluding|except(?: for)?|without|not including|other than)\s+(?P<what>(?:[\w'-]+\s*){1,3})",
    re.IGNORECASE,
)
_DELIVERABLE = re.compile(
    r"\b(?:as|in|into|write|produce|create|prepare|draft|give me|make)\s+(?:an?|the)\s+(?:\w+\s+){0,2}?"
    r"(?P<what>report|table|summary|list|chart|spreadsheet|presentation|email|letter|diagram|csv|json|markdown)\b",
    re.IGNORECASE,
)
_WRITING = frozenset({"write", "report", "summarize", "summarise", "document", "content", "answer", "compare", "draft"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """Something that the request names and no task speaks of."""

    subject: Subject
    text: str
    """As it stands in the request."""
    clause: str
    """The words around it."""
    is_sure: bool
    nearest: str | None = None
    """The task that is about the same, where there is one."""


def find_gaps(request: str, texts: Sequence[TaskText]) -> tuple[Gap, ...]:
    """Return what no task covers; the same whatever the order of the tasks."""
    request = request[:MAX_REQUEST]
    texts = sorted(texts, key=lambda one: one.task.task_id)
    demands = split_demands(request)
    absent = list(_absent_demands(request, demands, texts))
    gaps = [*absent, *_absent_quantities(request, texts, demands), *_absent_words(request, texts)]
    first = {gap.text: gap for gap in reversed(gaps)}  # the first of those that say the same
    return tuple(gap for gap in gaps if first[gap.text] is gap)


def _absent_quantities(request: str, texts: Sequence[TaskText], demands: Sequence[Demand]) -> Iterator[Gap]:
    there = frozenset(key for text in texts for key in text.quantities)
    known = frozenset[str]().union(*(text.stems for text in texts)) if texts else frozenset[str]()
    everything = " ; ".join(text.plain for text in texts)
    asked = find_quantities(request)
    counted = {(one.kind, one.value) for one in asked if not one.is_word}
    is_short = len(counted) <= FEW_QUANTITIES and (len(demands) < 2 or all(text.task.inputs for text in texts))
    invented = {key for key in there if not any(key in one.keys for one in asked)}
    for one in asked:
        words = request[one.start : one.end]
        if one.is_among(there):
            continue
        if one.kind == "identifier" and re.search(rf"(?<!\w){re.escape(plain(words))}(?!\w)", everything):
            continue
        if one.kind == "identifier" and stems_of(words) <= known:
            continue
        before, after = _neighbours(request, one)
        nearest = _nearest(before | after, texts)
        beside = nearest is not None and _speaks_of(nearest, before, after)
        yield Gap(
            subject=one.kind,
            text=words,
            clause=_clause_around(request, one.start, demands),
            is_sure=not one.is_word and bool(texts) and (is_short or beside or _is_replaced(nearest, one, invented)),
            nearest=nearest.task.task_id if nearest is not None else None,
        )


def _is_replaced(nearest: TaskText | None, one: Quantity, invented: set[tuple[str, str, str | None]]) -> bool:
    """Whether the task about the same has a number that the request does not have."""
    return nearest is not None and any(kind == one.kind for kind, _, _ in nearest.quantities & invented)


def _neighbours(request: str, one: Quantity) -> tuple[frozenset[str], frozenset[str]]:
    """Return the stems next to a number, within its sentence."""
    before = re.split(r"[.?!]\s", request[max(0, one.start - 120) : one.start])[-1]
    after = re.split(r"[.?!](?:\s|$)", request[one.end : one.end + 80])[0]
    left = [stem_of(word) for word in _WORD.findall(plain(before)) if word not in STOP_WORDS]
    right = [stem_of(word) for word in _WORD.findall(plain(after)) if word not in STOP_WORDS]
    return frozenset(left[-NEIGHBOURS:]), frozenset(right[:NEIGHBOURS])


def _speaks_of(text: TaskText, before: frozenset[str], after: frozenset[str]) -> bool:
    both = before | after
    met = len(both & text.own)
    return met >= 2 and (met >= 3 or met == len(both) or before <= text.own)


def _nearest(stems: frozenset[str], texts: Sequence[TaskText]) -> TaskText | None:
    best = max(texts, key=lambda text: len(stems & text.own), default=None)
    return best if best is not None and stems & best.own else None


def _clause_around(request: str, position: int, demands: Sequence[Demand]) -> str:
    around = next((one for one in reversed(demands) if one.start <= position), None)
    if around is not None and position <= around.start + len(around.text):
        return around.text[:300]
    return re.split(r"(?<=[.?!])\s", request[:position])[-1] + re.split(r"[.?!](?:\s|$)", request[position:])[0]


def _absent_demands(request: str, demands: Sequence[Demand], texts: Sequence[TaskText]) -> Iterator[Gap]:
    if len(demands) < 2 or not texts:
        return
    for demand in demands:
        head = frozenset(demand.head)
        if len(head) < 2:
            continue
        best = max(texts, key=lambda text: len(head & text.stems))
        share = len(head & best.stems) / len(head)
        marked, capital = _names_in(demand, texts)
        is_nameless_gap = demand.is_firm and (share == 0 or (share <= ABSENT_DEMAND and len(head) >= 3))
        is_named_gap = bool(marked or capital) and share <= ABSENT_NAMED_DEMAND
        is_sure = (is_nameless_gap or is_named_gap) and not any((*marked, *capital))
        if is_sure or share <= 0.34:
            yield Gap(subject="demand", text=demand.text[:300], clause=demand.text[:300], is_sure=is_sure, nearest=None)


def _names_in(demand: Demand, texts: Sequence[TaskText]) -> tuple[list[bool], list[bool]]:
    """Return for each quoted name and number of a clause, and for each capitalised one, whether some task has it."""

    def some_task_has(stems: frozenset[str]) -> bool:
        return any(stems <= text.stems for text in texts)

    marked = [some_task_has(stems) for match in _QUOTED.finditer(demand.text) if (stems := stems_of(match[1]))]
    marked += [
        any(one.is_among(text.quantities) for text in texts)
        or some_task_has(stems_of(demand.text[one.start : one.end]))
        for one in find_quantities(demand.text)
        if one.kind == "identifier"
    ]
    capital = [some_task_has(stems) for match in _NAME.finditer(demand.text) if (stems := stems_of(match[0]))]
    return marked, capital


def _absent_words(request: str, texts: Sequence[TaskText]) -> Iterator[Gap]:
    """Names, conditions and deliverables; never sure."""
    if not texts:
        return
    known = frozenset[str]().union(*(text.stems for text in texts))
    types = {text.task.task_type.casefold() for text in texts}
    named = [("name", match[1]) for match in _QUOTED.finditer(request)]
    named += [("name", match[0]) for match in _NAME.finditer(request)]
    named += [("condition", match["what"].strip()) for match in _CONDITION.finditer(request)]
    named += [("deliverable", match["what"]) for match in _DELIVERABLE.finditer(request) if not types & _WRITING]
    for subject, text in named:
        stems = stems_of(text)
        if stems and not stems & GENERIC and 2 * len(stems & known) < len(stems):
            yield Gap(subject=subject, text=text, clause=text, is_sure=False)  # type: ignore[arg-type]  # the subjects are those of the four lines above
