"""Takes a request apart into what it asks to be done, clause by clause. Says nothing of tasks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from kapelle.knowledge import STOP_WORDS, plain, word_set

from .reading import stem_of

MAX_DEMANDS = 400
"""Clauses of a request that are looked at; a longer request is a document."""

VERBS = word_set(
    """add adjust analyse analyze apply assess assign audit authenticate book build buy calculate call cancel change
    check classify clean collect compare compile compose compute configure confirm connect convert count create
    debug decrypt delete deploy describe design detect determine develop diagnose display download draft edit encrypt
    establish estimate evaluate examine exchange execute exploit explore export extract fetch filter find
    fix forecast format gather generate get give identify implement import improve inspect install interpret
    investigate list locate look look-up make manage map measure merge modify monitor move obtain open optimize order
    organize perform plan play plot post predict prepare prioritize process produce protect provide publish purchase
    put query rank read recommend record redeem register remove rename render repair replace reply report
    request research reserve reset resolve retrieve review run save scan schedule search secure select sell send set
    show simulate solve sort stop store stream submit suggest sum summarise summarize survey tell test track train
    transcribe transfer translate update upload validate verify view watch write"""
)
"""Words that begin a demand."""
WEAK_VERBS = word_set(
    """provide give show tell describe include explain add list identify suggest recommend let perform
    confirm make display add set"""
)
"""Those of them that as often only elaborate on what was asked before: "Provide the title, author and year"."""
GENERIC = frozenset(
    stem_of(word)
    for word in word_set(
        """information info detail details data result results list item thing please need help want like know
        assistance related regarding about including include based specific particular various also additionally
        finally lastly next then first second third afterwards furthermore moreover provide retrieve get find give
        show tell obtain gather make using use interested curious learn look check search available current currently
        latest new possible using used user following series different field fields activity name named
        titled called value number amount total task tasks"""
    )
)
"""Stems that say nothing of what a clause is about."""

_SENTENCE = re.compile(r"(?<=[.?!;])[\"')]*\s+(?=[A-Z\"'(])|\n+|;\s+")
_CONNECTIVE = re.compile(
    r"(?:,\s*(?:and\s+|then\s+|and\s+then\s+)?|(?<!\s)\s+and\s+(?:then\s+|also\s+|finally\s+)?|(?<!\s)\s+then\s+|^)"
    r"(?=(?:please\s+|also\s+|finally,?\s+|then,?\s+){0,4}(?P<verb>[A-Za-z][A-Za-z-]*)\b(?!\s*(?:,|\.|of\b|and\b)))",
    re.IGNORECASE,
)
_ASKED = re.compile(
    r"\b(?:please(?: also)?|(?:can|could|would|will) you(?: also)?(?: please)?(?: help me(?: to)?)?|help me(?: to)?|"
    r"let's|(?P<wish>(?:need|want|like|wish|love|you|have) to))\s+(?P<verb>[A-Za-z-]+)",
    re.IGNORECASE,
)
_WISH = re.compile(
    r"\b(?:i|we)(?:['’]m|['’]d| am| are| would)?(?: also| additionally| further)? (?:need|require|want|like|"
    r"(?:am )?looking for|interested in|curious about)\s+(?!to\b)"
    r"(?:(?:know|learn|learning|reading|getting) (?:about |more about )?)?",
    re.IGNORECASE,
)
_TAIL = frozenset(("and", "then", "also", "please", "finally", "i", "we"))
_MARKS = ' ,.;:!?"\n'
_WORD = re.compile(r"[^\W_]+")
_AUXILIARY = (
    r"(?:is|are|was|were|am|do|does|did|has|have|had|can|could|would|will|should|shall|may|might|must|isn't|aren't|"
    r"don't|doesn't|didn't|hasn't|wouldn't|couldn't|can't|won't|wasn't|weren't)"
)
_OPENING = re.compile(
    rf"^\W*(?:(?:if|when|given|assuming|in|on|for|according to)\b[^,?]{{3,200}},\s*)?{_AUXILIARY}\b", re.I
)
_POLITE = re.compile(
    r"\b(?:can|could|would|will)\s+you\b|^\W*(?:can|could|may)\s+(?:i|we)\s+(?:get|have|see|please)\b"
    r"|^\W*(?:do|have)\s+(?:you|not|n't)\b|\bplease\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """One thing that a request asks to be done."""

    text: str
    start: int
    """Where it begins in the request."""
    is_firm: bool
    """Whether it is an order of its own; else it is a wish, or elaborates on another."""
    head: tuple[str, ...]
    """The stems at its beginning that say what it is about, in order."""


def is_yes_no_question(text: str) -> bool:
    """Whether a text is one question that yes or no answers.

    >>> is_yes_no_question("Would a dog respond to a bell?"), is_yes_no_question("Can you find a hotel?")
    (True, False)
    """
    return bool(_OPENING.match(text)) and not _POLITE.search(text) and len(re.split(r"[?!.]\s+[A-Z]", text)) == 1


def split_demands(request: str, *, head_length: int = 7) -> tuple[Demand, ...]:
    """Return what a request asks for: a clause for each verb that begins a demand, and each wish.

    >>> [demand.text for demand in split_demands("Please scan the host, then encrypt the file. It is big.")]
    ['scan the host', 'encrypt the file']
    """
    found: list[Demand] = []
    position = 0
    for sentence in [*_SENTENCE.finditer(request), None]:
        end = sentence.start() if sentence is not None else len(request)
        for start, stop, is_firm in _clauses(request, position, end):
            text = request[start:stop].strip(_MARKS)
            while (words := text.rsplit(None, 1))[1:] and words[1].lower() in _TAIL:
                text = words[0].rstrip(_MARKS)
            stems = [
                stem_of(word) for word in _WORD.findall(plain(text)) if word not in STOP_WORDS and not word.isdigit()
            ]
            head = tuple(dict.fromkeys(one for one in stems if one not in GENERIC))[:head_length]
            if head:
                found.append(Demand(text=text, start=start, is_firm=is_firm, head=head))
        position = sentence.end() if sentence is not None else end
        if len(found) >= MAX_DEMANDS:
            break
    return tuple(found[:MAX_DEMANDS])


def _clauses(request: str, start: int, end: int) -> list[tuple[int, int, bool]]:
    """Return where the demands of one sentence begin and end; none for a sentence that only tells something."""
    sentence = request[start:end]
    begins: dict[int, bool] = {}
    for match in _WISH.finditer(sentence):
        begins[match.end()] = False
    for match in _CONNECTIVE.finditer(sentence):
        verb = match["verb"].lower().rpartition("-")[2]
        if verb in VERBS and not _inside_quotes(sentence, match.start("verb")):
            begins[match.start("verb")] = verb not in WEAK_VERBS
    for match in _ASKED.finditer(sentence):
        verb = match["verb"].lower().rpartition("-")[2]
        if verb in VERBS:
            begins.pop(match.start("verb"), None)
            begins[match.start("verb")] = verb not in WEAK_VERBS and match["wish"] is None
    ordered = sorted(begins)
    return [(start + here, start + following, begins[here]) for here, following in pairwise([*ordered, end - start])]


def _inside_quotes(text: str, position: int) -> bool:
    return text.count('"', 0, position) % 2 == 1 or len(re.findall(r"(?<!\w)'|'(?!\w)", text[:position])) % 2 == 1
