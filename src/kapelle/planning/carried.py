"""Finds the names and numbers of a request that no task of its plan carries: half a plan looks like a whole one.

Conservative, because a false alarm costs a call: only what stands in quotes, in digits, or with a capital inside of a
sentence, and the quantity in "the population of ...". A name counts as carried where any of its words stands in any
task, in whatever form. A plan that carries none of them, in another language perhaps, is not judged, nor are capitals
where all words have them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from kapelle.graph import TaskDAG

MAX_JUDGED_CHARS = 4_000
"""Of a request, what is judged; its beginning says what is wanted, the rest is material."""
MAX_QUOTED_CHARS = 60
"""A longer text in quotes is material, not a name."""
_QUOTED = re.compile(r"\"([^\"\n]+)\"|“([^”\n]+)”|«([^»\n]+)»|(?<!\w)'([^'\n]+)'(?!\w)")
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*")
_SENTENCE = re.compile(r"(?:[.!?:;]\s+|\n\s*(?:[-*•]|\d+[.)])?\s*)")
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_MEASURE = re.compile(r"\bthe ([a-z]{5,}?)s? (?:of|in) (?:the |[A-Z])")
_NO_MEASURE = frozenset({
    "number", "total", "amount", "value", "result", "results", "sum", "rest", "kind", "type", "part", "parts", "group",
    "pair", "order", "light", "context", "course", "event", "case", "cases", "field", "names", "list", "lists", "table",
    "section", "chapter", "beginning", "middle", "bottom", "front", "difference", "differences", "first", "second",
    "third", "whole", "majority", "history", "state", "city", "cities", "country", "countries", "people", "place",
    "times", "world", "house", "university", "king", "queen", "president", "answer", "question", "title",
    "details", "information", "overview", "summary", "report", "comparison", "largest", "smallest",
    "highest", "lowest", "longest", "shortest", "greatest", "biggest", "oldest", "youngest", "average", "median",
})  # fmt: skip
"""Words before "of" that a plan may well say otherwise, or not at all."""
_ASKS_HOW = re.compile(r"\bhow \w+", re.IGNORECASE)
_NO_NAMES = frozenset({
    "i", "i'm", "i'd", "i've", "i'll", "ok", "please", "the", "a", "an", "and", "or", "but", "if", "in", "on", "at",
    "for", "to", "of", "by", "with", "from", "as", "is", "are", "was", "were", "it", "its", "this", "that", "then",
    "also", "sql", "csv", "json", "xml", "yaml", "pdf", "html", "api", "url", "markdown", "usd", "eur",
})  # fmt: skip
_NUMBER_WORDS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


def find_uncarried(request: str, graph: TaskDAG) -> tuple[str, ...]:
    """Return the names and numbers of a request that no task speaks of, in the order of the request.

    >>> from kapelle.graph import Task
    >>> plan = TaskDAG([Task(task_id="s1", task_type="lookup", description="Find the population of France")])
    >>> find_uncarried("Compare the population of France and Germany.", plan)
    ('Germany',)
    """
    words = request[:MAX_JUDGED_CHARS]
    said = _fold(" ".join(_texts(graph)))
    present = set(re.findall(r"\w+", said))
    starts = {word[:4] for word in present if len(word) > 3}
    wanted = {name: _is_carried(name, present, starts) for name in _names(words)}
    wanted |= {number: _is_counted(number, said, present) for number in _NUMBER.findall(words)}
    if not _ASKS_HOW.search(said):  # "how many people live there" is a population
        measures = [found for found in _MEASURE.findall(words) if found not in _NO_MEASURE]
        wanted |= {measure: measure[:4] in starts for measure in measures}
    if not any(wanted.values()):
        return ()  # in another language, or by other names: nothing here can be compared
    return tuple(name for name, is_carried in wanted.items() if not is_carried)


def _texts(graph: TaskDAG) -> Iterator[str]:
    for task in graph:
        yield f"{task.task_type} {task.description}"
        yield from _strings(task.inputs)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield str(name)
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)
    elif value is not None:
        yield str(value)


def _fold(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text)
    return "".join(sign for sign in plain if not unicodedata.combining(sign)).casefold()


def _names(request: str) -> Iterator[str]:
    """What stands in quotes, and what is written with a capital inside of a sentence; each name whole."""
    for match in _QUOTED.finditer(request):
        quoted = next(part for part in match.groups() if part is not None).strip()
        if quoted and len(quoted) <= MAX_QUOTED_CHARS:
            yield quoted
    plain = _QUOTED.sub(" , ", request)
    for sentence in _SENTENCE.split(plain):
        words = list(_WORD.finditer(sentence))
        capital = [word for word in words if word[0][0].isupper()]
        if len(words) > 3 and len(capital) > len(words) / 2:
            continue  # a heading, or shouted: capitals say nothing
        run: list[re.Match[str]] = []
        for word in [*words[1:], None]:
            is_name = word is not None and word[0][0].isupper() and word[0].casefold() not in _NO_NAMES
            if run and (not is_name or word is None or sentence[run[-1].end() : word.start()] != " "):
                yield sentence[run[0].start() : run[-1].end()]
                run = []
            if is_name and word is not None:
                run.append(word)


def _is_carried(name: str, present: set[str], starts: set[str]) -> bool:
    """Whether any word of a name stands there, or one that begins as it does: Germany, German."""
    words = re.findall(r"\w+", re.sub(r"['’]s\b", "", _fold(name)))
    return not words or any(word in present or (len(word) > 3 and word[:4] in starts) for word in words)


def _is_counted(number: str, said: str, present: set[str]) -> bool:
    digits = re.sub(r"\D", "", number)
    if digits in {re.sub(r"\D", "", found) for found in _NUMBER.findall(said)} or digits in said.replace(",", ""):
        return True
    bare = digits.lstrip("0")
    if bare and int(bare[:6]) < len(_NUMBER_WORDS) and _NUMBER_WORDS[int(bare[:6])] in present:
        return True
    return bool(re.search(r"[.,]", number)) and digits.rstrip("0") in re.sub(r"[.,]", "", said)
