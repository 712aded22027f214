"""A model that writes about what a folder gave, held to it: values that were found are in the text, others are not.

A model writes better than a template, and a small one loses half of what it is given. Which of both a text is can be
seen where what was given are values: names and numbers with their sources. Where one is lost, or a large number comes
from nowhere, what the model wrote is not taken, and the template writes. Prose is not held to anything: nobody could
say from its words whether it is true.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

from kapelle.agents import MEMORY_MARK, AgentResult, ModelAgent, TaskContext, has_sources
from kapelle.graph import Task, bare_answer, render_output
from kapelle.knowledge import split_words
from kapelle.models import ModelClient

from .writer import MAX_SHORT_CHARS, WriterAgent, list_sources

HELD_TYPES = frozenset({"write", "report", "compare", "summarize", "answer"})
"""Types of task that put together what others have found."""
ROUNDED = 0.006
"""By how much of itself a number may be rounded: 2.85 million for 2,849,000."""
LARGE = 10_000
"""Numbers from here on are no years, ranks or shares, and a text has them from somewhere."""
_MOST_SUMMED = 40
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
_LISTED = re.compile(r"^- [^\n]{1,300}?: ([^\n:]{1,60})$", re.MULTILINE)


class FaithfulAgent(ModelAgent):
    """A ModelAgent whose texts about values with sources keep them, and list the sources."""

    def __init__(self, client: ModelClient, instructions: str = "") -> None:
        super().__init__(client, instructions)
        self._template = WriterAgent(mark=MEMORY_MARK)

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Do as ModelAgent does. Of a text that is not held to what it was given, the template's is taken instead."""
        result = await super().run(task, context)
        if task.task_type not in HELD_TYPES or not isinstance(result.output, str):
            return result
        sourced = [output for output in context.upstream.values() if has_sources(output)]
        values = list(dict.fromkeys(value for output in sourced for value in values_of(output)))
        if not values:
            return result
        given = [context.request, render_output(dict(task.inputs)), *map(render_output, context.upstream.values())]
        known = " ".join(given)
        if any(not holds(result.output, value) for value in values) or from_nowhere(result.output, known):
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
    if whole is not None:
        return any(_is_near(number, _number(whole)) for number in _numbers(text))
    words, there = split_words(value), split_words(text)
    return any(there[at : at + len(words)] == words for at in range(len(there))) or not words


def from_nowhere(text: str, known: str) -> bool:
    """Whether a text has a large number that is neither in what is known, nor a sum or difference of two in it."""
    given = list(dict.fromkeys(_numbers(known)))[:_MOST_SUMMED]
    pairs = [number for one, other in combinations(given, 2) for number in (one + other, abs(one - other))]
    allowed = [*given, math.fsum(given), *pairs]
    large = [number for number in _numbers(_CITATION.sub("", text)) if number >= LARGE]
    return any(not any(_is_near(number, one) for one in allowed) for number in large)


def _numbers(text: str) -> Iterator[float]:
    return map(_number, _NUMBER.finditer(text))


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
