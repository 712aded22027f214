"""Numbers, dates, identifiers and quoted names of a request that no task has; `read_task` puts what a task says
into the form that it is compared in. Pure.

Only what is right nine times in ten is said: numbers where the request has few of them, or a task speaks of what
stands beside one ("sensor ID 59" became "sensor ID") or has another in its place; quoted names where not one word of
them is in any task. Prose that leaves out all details of a part is written so on purpose, and what clauses ask
for is reworded too often to be compared by words: on plans of kinds never seen such findings were mostly wrong. Not
missed either: years of questions that yes or no answers, which are reasoned away, and numbers that belong to a name
("PHP 5"), rank something ("6th") or are written out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kapelle.graph import Task
from kapelle.language import (
    STOP_WORDS,
    Quantity,
    find_quantities,
    is_yes_no_question,
    plain,
    split_name,
    split_words,
    stem,
    stems_of,
)

MAX_TEXT = 20_000
"""Characters of a task that are read: longer ones are data, and everything about them is said at the beginning."""

Quantities = frozenset[tuple[str, str, str | None]]
"""The numbers, dates and identifiers of a text: see `Quantity.keys`."""
_REFERENCE = re.compile(r"\{\{|\}\}|\{[^{}]{0,300}\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskText:
    """The words of one task."""

    task: Task
    text: str
    """Description and the texts of the inputs, without references."""
    own: frozenset[str]
    """Stems of that text."""
    stems: frozenset[str]
    """Those, and the stems of what the task is called and of what its tool is said to do."""
    quantities: Quantities
    plain: str
    """The text in lower case and without accents."""


def read_task(task: Task, tool_words: str = "") -> TaskText:
    """Return a task's words; `tool_words` is what its tool is said to do."""
    text = _text_of(task)
    own = stems_of(text)
    return TaskText(
        task=task,
        text=text,
        own=own,
        stems=own | stems_of(" ".join((split_name(task.task_type), *map(split_name, task.inputs), tool_words))),
        quantities=read_quantities(task),
        plain=plain(text),
    )


def read_quantities(task: Task) -> Quantities:
    """Return the `quantities` of a task's words alone."""
    return frozenset(key for one in find_quantities(_text_of(task)) for key in one.keys)


def _text_of(task: Task) -> str:
    text = " ; ".join((task.description, *_texts_of(task.inputs)))[:MAX_TEXT]
    return _REFERENCE.sub(lambda match: match[0][0] if len(match[0]) == 2 else " … ", text)


def _texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts_of(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield f"{value:.12g}" if isinstance(value, float) else str(value)


MAX_REQUEST = 20_000
"""Characters of a request that are checked; what is longer is a document that was pasted in."""
FEW_QUANTITIES = 3
"""A request with so few numbers is expected to have every one in its plan."""
NEIGHBOURS = 2
"""Words before and after a number that say what it is the number of."""

_QUOTED = re.compile(r"(?<!\w)['\"“‘]([^'\"“”‘’]{2,80})['\"”’](?!\w)")
_OF_A_NAME = re.compile(r"(?<=[\w'’,] )(?!(?:ID|No|Number)\s)[^\W\d_a-z][\w'’-]*\s$")
_TITLE = re.compile(r"[A-Z][^\W\d_A-Z]+(?:[ '’-]+[^\W\d_]+)*")
_SENTENCES = re.compile(r"[.?!;]\s+\S|\n\s*\S")


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """Something that the request names and no task speaks of."""

    subject: Literal["number", "date", "identifier", "name"]
    text: str
    """As it stands in the request."""
    nearest: str | None = None
    """The task that is about the same, where there is one."""


def find_gaps(request: str, texts: Sequence[TaskText]) -> tuple[Gap, ...]:
    """Return what no task covers; the same whatever the order of the tasks."""
    if not texts:
        return ()
    request = request[:MAX_REQUEST]
    texts = sorted(texts, key=lambda one: one.task.task_id)
    gaps = [*_absent_quantities(request, texts), *_absent_names(request, texts)]
    first = {gap.text: gap for gap in reversed(gaps)}  # the first of those that say the same
    return tuple(gap for gap in gaps if first[gap.text] is gap)


def _absent_quantities(request: str, texts: Sequence[TaskText]) -> Iterator[Gap]:
    there = frozenset(key for text in texts for key in text.quantities)
    known = frozenset[str]().union(*(text.stems for text in texts))
    everything = " ; ".join(text.plain for text in texts)
    asked = find_quantities(request)
    invented = {key for key in there if not any(key in one.keys for one in asked)}
    is_short = len({(one.kind, one.value) for one in asked if not one.is_word}) <= FEW_QUANTITIES and (
        _SENTENCES.search(request) is None or all(text.task.inputs for text in texts)
    )
    asks_whether = is_yes_no_question(request)
    for one in asked:
        words = request[one.start : one.end]
        if one.is_word or one.is_among(there) or _is_no_figure(request, one, asks_whether=asks_whether):
            continue
        if one.kind == "identifier" and re.search(rf"(?<!\w){re.escape(plain(words))}(?!\w)", everything):
            continue
        if one.kind == "identifier" and stems_of(words) <= known:
            continue
        before, after = _neighbours(request, one)
        nearest = _nearest(before | after, texts)
        beside = nearest is not None and _speaks_of(nearest, before, after)
        if is_short or beside or _is_replaced(nearest, one, invented):
            yield Gap(subject=one.kind, text=words, nearest=nearest.task.task_id if nearest is not None else None)


def _is_no_figure(request: str, one: Quantity, *, asks_whether: bool) -> bool:
    """Whether a number ranks, belongs to a name, or is the year of a question that is reasoned away."""
    words = request[one.start : one.end]
    if one.kind != "number":
        return asks_whether and one.kind == "date"
    if re.search(r"\d(?:st|nd|rd|th|s)$", words) or _OF_A_NAME.search(request[: one.start]):
        return True
    return asks_whether and re.fullmatch(r"1\d{3}|20\d{2}|\d\d", words) is not None


def _is_replaced(nearest: TaskText | None, one: Quantity, invented: set[tuple[str, str, str | None]]) -> bool:
    """Whether the task about the same has a number that the request does not have."""
    return nearest is not None and any(kind == one.kind for kind, _, _ in nearest.quantities & invented)


def _neighbours(request: str, one: Quantity) -> tuple[frozenset[str], frozenset[str]]:
    """Return the stems next to a number, within its sentence."""
    before = re.split(r"[.?!]\s", request[max(0, one.start - 120) : one.start])[-1]
    after = re.split(r"[.?!](?:\s|$)", request[one.end : one.end + 80])[0]
    left = [stem(word) for word in split_words(before) if word not in STOP_WORDS]
    right = [stem(word) for word in split_words(after) if word not in STOP_WORDS]
    return frozenset(left[-NEIGHBOURS:]), frozenset(right[:NEIGHBOURS])


def _speaks_of(text: TaskText, before: frozenset[str], after: frozenset[str]) -> bool:
    both = before | after
    met = len(both & text.own)
    return met >= 2 and (met >= 3 or met == len(both) or before <= text.own)


def _nearest(stems: frozenset[str], texts: Sequence[TaskText]) -> TaskText | None:
    best = max(texts, key=lambda text: len(stems & text.own))
    return best if stems & best.own else None


def _absent_names(request: str, texts: Sequence[TaskText]) -> Iterator[Gap]:
    """Quoted names of things; a quoted word of code or a password may be left to whoever does the task."""
    known = frozenset[str]().union(*(text.stems for text in texts))
    for match in _QUOTED.finditer(request):
        stems = stems_of(match[1])
        if stems and not stems & known and _TITLE.fullmatch(match[1]):
            yield Gap(subject="name", text=match[1])
