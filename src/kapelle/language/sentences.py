"""Cuts English texts into sentences: requests and short texts at marks before capitals, documents with their lists."""

from __future__ import annotations

import re
from collections.abc import Iterator

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
_ABBREVIATIONS = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Dr|St|Mt|vs|e\.g|i\.e|approx|No|ca)\.$")


def split_sentences(text: str, opening: str = r"[^\W\d_a-z]") -> list[str]:
    """Return the sentences of a text: each ends at a mark before a space and what a next one opens with, a capital.

    >>> split_sentences("It is 3.5 km long. See notes.md for more. Who knows?")
    ['It is 3.5 km long.', 'See notes.md for more.', 'Who knows?']
    """
    return re.split(rf"(?<=[.?!])\s+(?={opening})", text)


def find_sentences(text: str, most_chars: int) -> Iterator[tuple[str, int]]:
    """Yield the sentences of a document, each on one line, with the place where it begins; none that are longer.

    List items and lines such as "Status: done" are sentences of their own; rows of Markdown tables are none.
    """
    start = 0
    ends = [match.end(1) for match in re.finditer(r"([.!?][\"')\]”’]*)(?=\s|$)", text)]
    ends += [
        match.start()
        for match in re.finditer(r"\n(?=[^\S\n]{0,99}(?:(?:[-*+|]|\d{1,9}[.)])\s|\W{0,4}\w[\w ]{0,40}:))", text)
    ]
    for end in sorted({*ends, len(text)}):
        if end < len(text) and _ABBREVIATIONS.search(text, max(start, end - 10), end):
            continue
        part = text[start:end]
        sentence = re.sub(r"^(?:[-*+]|\d+[.)])\s+", "", " ".join(part.split()))
        if 0 < len(sentence) <= most_chars and not sentence.startswith("|"):
            yield sentence, start + len(part) - len(part.lstrip())
        start = end


def is_yes_no_question(text: str) -> bool:
    """Whether a text is one question that yes or no answers.

    >>> is_yes_no_question("Would a dog respond to a bell?"), is_yes_no_question("Can you find a hotel?")
    (True, False)
    """
    return bool(_OPENING.match(text)) and not _POLITE.search(text) and len(split_sentences(text, "[A-Z]")) == 1
