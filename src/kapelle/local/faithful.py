"""A model that writes about what a folder gave, held to it: values that were found are in the text, others are not.

A model writes better than a template, and a small one loses half of what it is given. Which of both a text is can be
seen where what was given are values: names and numbers with their sources. Where one is lost, or a large number comes
from nowhere, what the model wrote is not taken, and the template writes. Prose is not held to anything: nobody could
say from its words whether it is true.
"""

from __future__ import annotations

import math
import re
from calendar import month_name
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

from kapelle.agents import MEMORY_MARK, WRITTEN_TYPES, AgentResult, ModelAgent, TaskContext, has_sources
from kapelle.graph import Task, bare_answer, render_output
from kapelle.language import plain
from kapelle.models import ModelClient

from .writer import MAX_SHORT_CHARS, WriterAgent, list_sources

ROUNDED = 0.006
"""By how much of itself a number may be rounded: 2.85 million for 2,849,000."""
LARGE = 10_000
"""Numbers from here on are no years, ranks or shares, and a text has them from somewhere."""
_MAX_SUMMED = 40
"""Of so many numbers at most the sums and differences are looked at."""
_CITATION = re.compile(r"\([^()\n]{1,200}:\d[^()\n]{0,20}\)")
_NUMBER = re.compile(
    r"(?<![\w.])"
    r"(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:[. '\u00a0\u202f]\d{3}){2,}|\d{1,18}(?:\.\d+|,\d{1,2}(?![\d,]))?)"
    r"(?:\s{0,3}(thousand|tausend|million(?:en|s)?|mio|millones|billion|trillion|bn|milliarden?|mrd|k|m)\b)?",
    re.IGNORECASE,
)
_SCALES = {
    "th": 1e3,
    "ta": 1e3,
    "k": 1e3,
    "milli": 1e6,
    "mio": 1e6,
    "m": 1e6,
    "b": 1e9,
    "milliard": 1e9,
    "mr": 1e9,
    "tr": 1e12,
}
_PERCENT = re.compile(r"\s{0,2}(?:%|percent\b|per cent\b|prozent\b)", re.IGNORECASE)
_DAY = re.compile(r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})")
_YEAR = re.compile(r"1\d{3}|20\d{2}")
_ADDRESS = re.compile(r"https?://[^\s)>\]]{1,300}")
_LABELLED = re.compile(r"^(?:- )?([^\n:]{1,200}): ([\d.,]{1,30})(?: \(|$)", re.MULTILINE)
_LISTED = re.compile(r"^- [^\n]{1,300}?: ([^\n:]{1,60})$", re.MULTILINE)


class FaithfulAgent(ModelAgent):
    """A ModelAgent whose texts about values with sources keep them, and list the sources."""

    def __init__(self, client: ModelClient, instructions: str = "") -> None:
        super().__init__(client, instructions)
        self._template = WriterAgent(mark=MEMORY_MARK)

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Do as ModelAgent does. Of a text that is not held to what it was given, the template's is taken instead."""
        result = await super().run(task, context)
        if task.task_type not in WRITTEN_TYPES or not isinstance(result.output, str):
            return result
        sourced = [output for output in context.upstream.values() if has_sources(output)]
        values = list(dict.fromkeys(value for output in sourced for value in values_of(output)))
        if not values:
            return result
        given = [context.request, render_output(dict(task.inputs)), *map(render_output, context.upstream.values())]
        known = " ".join(given)
        text = result.output
        is_held = all(holds(text, value) for value in values) and not from_nowhere(text, known)
        is_held = is_held and not loses_some(text, sourced)
        if not is_held or cites_others(text, known) or is_mixed_up(text, sourced):
            template = await self._template.run(task, context)
            return replace(result, output=template.output)
        body = result.output.strip()
        sources = list(dict.fromkeys(str(one) for output in sourced for one in output["sources"]))
        output = {"text": body + list_sources(sources), "answer": body, "body": body, "sources": sources}
        return replace(result, output=output)


def values_of(output: Mapping[str, Any]) -> Iterator[str]:
    """Return the values that an output tells: its bare answer, if that is one; else the numbers and short items in it.

    >>> list(values_of({"text": "Capital of Peru: Lima (a.csv:3)", "answer": "Lima", "sources": ["a.csv:3"]}))
    ['Lima']
    >>> list(values_of({"answer": "- Capital of Peru: Lima (a.csv:3)\\n- Area of Peru: 1,285,000 (a.csv:3)"}))
    ['1,285,000', 'Lima']
    """
    bare = bare_answer(output)
    if isinstance(bare, (int, float)):
        yield str(bare)
        return
    text = _CITATION.sub("", bare if isinstance(bare, str) else str(output.get("answer", "")))
    if isinstance(bare, str) and len(bare) <= MAX_SHORT_CHARS and len(bare.split()) <= 4:
        yield bare
        return
    yield from (match[0].strip() for match in _NUMBER.finditer(text) if _number(match) >= 1_000)
    yield from (match[1].strip() for match in _LISTED.finditer(text) if not _NUMBER.search(match[1]))


def holds(text: str, value: str) -> bool:
    """Whether a text has a value in it, numbers as they may be rounded and written.

    >>> holds("About 4.9 million live", "4,900,000"), holds("It is Brasilia.", "Brasília"), holds("Lima", "Quito")
    (True, True, False)
    """
    whole = _NUMBER.fullmatch(value.strip())
    if whole is not None and _YEAR.fullmatch(value.strip()):
        return _number(whole) in _numbers(text)  # a rounded year is another one
    if whole is not None:
        return any(_is_near(number, _number(whole)) for number in _numbers(text))
    said, wanted = _plain(text), _plain(value)
    day = _DAY.fullmatch(value.strip())
    if day is not None and value.strip() not in text:
        month = month_name[int(day["month"])] if 1 <= int(day["month"]) <= len(month_name) - 1 else value
        return bool(
            re.search(rf"\b{day['year']}\b", text)
            and re.search(rf"\b0?{int(day['day'])}(?:st|nd|rd|th)?\b", text)
            and re.search(rf"\b{month[:3]}(?:{month[3:]})?\b", text, re.IGNORECASE)
        )
    # Two letters more may be a genitive; inside of another word it is another word.
    return re.search(rf"(?<![a-z0-9]){re.escape(wanted)}(?:['’]?[a-z]{{1,2}})?(?![a-z0-9])", said) is not None


def loses_some(text: str, outputs: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a text names some of the things that facts are about, and not all; one in another language names none.

    >>> told = [{"fact": {"subject": "Peru"}}, {"fact": {"subject": "Brazil"}}]
    >>> loses_some("Peru and Brasil", told), loses_some("Peru, Brazil", told)
    (True, False)
    """
    facts = [output["fact"] for output in outputs if isinstance(output.get("fact"), Mapping)]
    named = [holds(text, str(fact["subject"])) for fact in facts if fact.get("subject")]
    return any(named) and not all(named)


def cites_others(text: str, known: str) -> bool:
    """Whether a text names a place in a file, or an address, that is not in what is known."""
    places = [match[0] for pattern in (_CITATION, _ADDRESS) for match in pattern.finditer(text)]
    return any(place.strip("().,;") not in known for place in places)


def is_mixed_up(text: str, outputs: Iterable[Mapping[str, Any]]) -> bool:
    """Whether numbers stand with the names of others: who has which is told by what stands before, after, or in turn.

    >>> told = [{"text": "Population of Peru: 33,000,000"}, {"text": "Population of Chile: 19,000,000"}]
    >>> is_mixed_up("Peru has 19 million, Chile 33 million.", told)
    True
    >>> is_mixed_up("33 million live in Peru and 19 million in Chile.", told)
    False
    """
    found = {match[1]: match[2] for output in outputs for match in _LABELLED.finditer(str(output.get("text", "")))}
    labels = {label: set(re.findall(r"\w+", _plain(label))) for label in found}
    names: dict[str, float] = {}
    for label, value in found.items():
        own = labels[label].difference(*(words for other, words in labels.items() if other != label))
        whole = _NUMBER.fullmatch(value.strip())
        if len(own) != 1 or whole is None:
            return False
        names[own.pop()] = _number(whole)
    numbers = list(names.values())
    if len(names) < 2 or any(_is_near(one, other) for one, other in combinations(numbers, 2)):
        return False
    folded = _plain(text)
    said = [(match.start(), match[0]) for match in re.finditer(r"\w+", folded) if match[0] in names]
    given = [
        (match.start(), next(name for name, one in names.items() if _is_near(one, _number(match))))
        for match in _NUMBER.finditer(folded)
        if any(_is_near(one, _number(match)) for one in numbers)
    ]
    before = all(next((name for at, name in reversed(said) if at < place), "") == owner for place, owner in given)
    after = all(next((name for at, name in said if at > place), "") == owner for place, owner in given)
    in_turn = list(dict.fromkeys(name for _, name in said)) == list(dict.fromkeys(owner for _, owner in given))
    return not (before or after or in_turn)


def from_nowhere(text: str, known: str) -> bool:
    """Whether a text has a large number that is neither in what is known, nor a sum or difference of two in it."""
    given = list(dict.fromkeys(_numbers(known)))[:_MAX_SUMMED]
    pairs = [number for one, other in combinations(given, 2) for number in (one + other, abs(one - other))]
    allowed = [*given, math.fsum(given), *pairs]
    large = [number for number in _numbers(_CITATION.sub("", text)) if number >= LARGE]
    return any(not any(_is_near(number, one) for one in allowed) for number in large)


def _numbers(text: str) -> Iterator[float]:
    for match in _NUMBER.finditer(text):
        yield _number(match)
        if _PERCENT.match(text, match.end()):
            yield _number(match) / 100


def _number(match: re.Match[str]) -> float:
    digits, unit = match[1], (match[2] or "").casefold()
    whole, comma, rest = digits.partition(",")
    if comma and whole.isdigit() and rest.isdigit() and len(rest) < 3:
        digits = f"{whole}.{rest}"
    elif not digits.replace(",", "").replace(".", "", 1).isdigit():
        digits = "".join(filter(str.isdigit, digits))
    starts = max((one for one in _SCALES if unit.startswith(one)), key=len, default="")
    return float(digits.replace(",", "")) * _SCALES.get(starts, 1.0)


def _is_near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=ROUNDED)


def _plain(text: str) -> str:
    return plain(" ".join(text.split()))
