"""What half a plan leaves out, for the model that wrote it: it is told once, and knows what it meant.

Beside the numbers and quoted names that `find_gaps` misses: what has a capital inside of a sentence, and the quantity
in "the population of ...". A name is there where any of its words stands in any task, in whatever form. A plan that has
none of them, in another language perhaps, is not judged, nor are capitals where most words have them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kapelle.graph import TaskDAG
from kapelle.language import find_quantities, plain, word_set

from .check import MAX_REQUEST, find_gaps, read_task

_QUOTED = re.compile(r"\"[^\"\n]{1,99}\"|“[^”\n]{1,99}”|«[^»\n]{1,99}»|(?<!\w)'[^'\n]{1,99}'(?!\w)")
_SENTENCE = re.compile(r"[.!?:;]\s+|\n\s*(?:[-*•]|\d+[.)])?\s*")
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_MEASURE = re.compile(r"\bthe ([a-z]{5,}?)s? (?:of|in) (?:the |[A-Z])")
_NO_MEASURE = word_set(
    "number total amount value result results sum rest kind type part parts group pair order light context course "
    "event case cases field names list lists table section chapter beginning middle bottom front difference "
    "differences first second third whole majority history state city cities country countries people place times "
    "world house university king queen president answer question title details information overview summary report "
    "comparison largest smallest highest lowest longest shortest greatest biggest oldest youngest average median"
)
"""Words before "of" that a plan may well say otherwise, or not at all."""
_ASKS_HOW = re.compile(r"\bhow \w+", re.IGNORECASE)
_NO_NAMES = word_set(
    "i i'm i'd i've i'll ok please the a an and or but if in on at for to of by with from as is are was were it its "
    "this that then also sql csv json xml yaml pdf html api url markdown usd eur"
)


def find_left_out(request: str, graph: TaskDAG) -> tuple[str, ...]:
    """Return the names and numbers of a request that no task speaks of, in the order of the request.

    >>> from kapelle.graph import Task
    >>> plan = TaskDAG([Task(task_id="s1", task_type="lookup", description="Find the population of France")])
    >>> find_left_out("Compare the population of France and Germany.", plan)
    ('Germany',)
    """
    request = request[:MAX_REQUEST]
    texts = [read_task(task) for task in graph]
    said = " ".join(f"{text.task.task_type} {' '.join(text.task.inputs)} {text.plain}" for text in texts)
    present = set(re.findall(r"\w+", said))
    starts = {word[:4] for word in present if len(word) > 3}
    wanted = {name: _is_there(name, present, starts) for name in _names(request)}
    if not _ASKS_HOW.search(said):  # "how many people live there" is a population
        measures = [found for found in _MEASURE.findall(request) if found not in _NO_MEASURE]
        wanted |= {measure: measure[:4] in starts for measure in measures}
    missing = [name for name, is_there in wanted.items() if not is_there]
    if wanted and len(missing) == len(wanted):
        return ()  # in another language, or by other names: nothing here can be compared
    missing += [gap.text for gap in find_gaps(request, texts)]
    return tuple(sorted(dict.fromkeys(missing), key=request.find))


def _names(request: str) -> Iterator[str]:
    """What is written with a capital inside of a sentence, each name whole; no dates, no quoted texts."""
    for one in find_quantities(request):
        request = request[: one.start] + "," * (one.end - one.start) + request[one.end :]
    for sentence in _SENTENCE.split(_QUOTED.sub(" , ", request)):
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


def _is_there(name: str, present: set[str], starts: set[str]) -> bool:
    """Whether any word of a name stands there, or one that begins as it does: Germany, German."""
    words = re.findall(r"\w+", re.sub(r"['’]s\b", "", plain(name)))
    return not words or any(word in present or (len(word) > 3 and word[:4] in starts) for word in words)
