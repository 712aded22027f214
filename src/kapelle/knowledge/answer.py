"""Picks the sentence of a text that answers a question, or says that there is none. Extracts; never writes.

A sentence is weighed by the words it shares with the question, rare words more than common ones; the headings above it
count as said. Then come conditions, because a wrong sentence is worse than none: the names, numbers and superlatives of
the question must be there, and the sentence must hold what is asked for (a date for "when", a number for "how many").
Knows nothing of meaning: who did what to whom is only in the order of words, which it does not read.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .folder_index import Passage
from .words import STOP_WORDS, content_words, plain, split_words, stem, word_set

LEAST_COVERAGE = 0.8
"""Share of the question's words, by weight, that must be said. Below it, sentences are about something else."""
LEAST_OWN_SHARE = 0.3
"""Share that must be in the sentence itself and not only in its headings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A sentence that answers a question, and where it stands."""

    sentence: str
    value: str
    """The bare thing asked for, where it can be cut out (`Paris`, `1869`); otherwise the sentence."""
    subject: str
    """The heading that the sentence stands under, for sentences that only say "it"."""
    file: str
    line: int
    score: float
    """Share of the question's words, by weight, that are said, in 0..1."""

    @property
    def citation(self) -> str:
        """Where to look it up: `notes/france.md:3`."""
        return f"{self.file}:{self.line}"


def find_answer(
    question: str, passages: Sequence[Passage], *, rarity: Callable[[str], float] | None = None
) -> Answer | None:
    """Return the sentence of the passages that answers the question best, or None when none does.

    `rarity` gives the weight of a word; without it, words that occur in fewer of the passages weigh more.

    >>> note = Passage(file="france.md", first_line=3, last_line=3, heading="France", text="Its capital is Paris.")
    >>> found = find_answer("What is the capital of France?", [note])
    >>> found.value, found.citation
    ('Paris', 'france.md:3')
    >>> find_answer("What is the capital of Peru?", [note]) is None
    True
    """
    wanted = _Question.read(question)
    if not wanted.words or wanted.lacks_subject:
        return None
    weigh = rarity or _rarity_in(passages)
    weights = {word: max(weigh(word), 0.1) for word in wanted.words}
    best: Answer | None = None
    best_rank = (0.0, 0.0)
    for passage in passages:
        heading = {stem(word) for word in split_words(passage.heading)}
        for sentence, line in _sentences(passage):
            fit = _fit(wanted, weights, sentence, heading)
            if fit is None:
                continue
            score, rank = fit
            if (rank, passage.score) > best_rank:
                best_rank = (rank, passage.score)
                best = Answer(
                    sentence=sentence,
                    value=_cut_out(wanted, sentence, passage.heading) or sentence,
                    subject=passage.heading.split(" > ")[0],
                    file=passage.file,
                    line=line,
                    score=round(score, 3),
                )
    return best


@dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    words: tuple[str, ...]
    """Words that carry meaning, plain, without the ones that only ask."""
    must: frozenset[str]
    """Stems that the sentence or its headings must hold: names and numbers."""
    must_in_sentence: frozenset[str]
    """Stems that the sentence itself must hold: superlatives and ordinals."""
    asks_for: str
    """`date`, `number`, `person`, `place` or `anything`."""
    topic: str
    """`danube` for "what is the Danube", empty where the question has another form."""
    attribute: str
    """`capital` for "capital of France", empty where the question has another form."""
    lacks_subject: bool
    """Whether nothing readable stands after its "of", or it is about "it" or "its" something."""
    attribute_of: frozenset[str]
    """Stems of what it is an attribute of: `franc` for "capital of France"."""
    counted: str
    """Stem of what "how many" counts."""

    @staticmethod
    def read(question: str) -> _Question:
        plain_text = plain(question)
        asks_for = "anything"
        for pattern, kind in _ASKS:
            if re.search(pattern, plain_text):
                asks_for = kind
                break
        words = tuple(
            word for word in dict.fromkeys(content_words(question)) if word not in _ASKING and word not in STOP_WORDS
        )
        names = {plain(name) for name in re.findall(r"(?<!^)(?<![.?!] )\b[^\W\d_a-z]\w*", question)}
        numbers = {word for word in words if word.isdigit()}
        attribute = re.search(r"\b(\w+) of\b(.*)", plain_text)
        whole = re.fullmatch(
            r"(?:(?:what|who) (?:is|are|was|were) )?(?:the )?\w+(?: \w+)? of\b(.*)", plain_text.strip()
        )
        counted = re.search(r"\bhow many (\w+)", plain_text)
        topic = re.fullmatch(r"(?:what|who|where) (?:is|are|was|were) (?:an? |the )?([\w -]+?)\??", plain_text.strip())
        return _Question(
            words=words,
            must=frozenset(
                {stem(word) for word in words if word in names | numbers}
                | {stem(word) for word in (split_words(whole[1]) if whole else ()) if word not in STOP_WORDS}
            ),
            lacks_subject=_OWNED.match(plain_text) is not None
            or (len(words) < 2 and _PRONOUN.search(plain_text) is not None)
            or (attribute is not None and not set(split_words(attribute[2])) - STOP_WORDS),
            must_in_sentence=frozenset(stem(word) for word in words if _is_rank(word)),
            asks_for=asks_for,
            topic=topic[1] if topic else _name_alone(plain_text),
            attribute=attribute[1] if attribute and attribute[1] not in STOP_WORDS else "",
            attribute_of=frozenset(
                stem(word) for word in split_words(attribute[2] if attribute else "") if word not in STOP_WORDS
            ),
            counted=stem(counted[1]) if counted else "",
        )


_PRONOUN = re.compile(r"\b(?:it|they|them|he|she|him)\b")
_OWNED = re.compile(r"\W*(?:its|their|his|her)\b")


def _name_alone(plain_text: str) -> str:
    """Return what a request for a name and nothing else is about: "the Danube"."""
    match = re.fullmatch(r"(?:the )?([\w-]+(?: [\w-]+){0,2} ?)", plain_text.strip())
    return match[1].strip() if match and " of" not in match[1] else ""


_ASKS = (
    (r"\bwhen\b|\b(?:what|which|in what|in which) (?:year|date|day|century)\b", "date"),
    (r"\bhow (?:many|much|long|high|tall|deep|large|big|old|far|wide)\b", "number"),
    (r"\bwho\b|\bwhom\b|\bwhose\b", "person"),
    (r"\bwhere\b", "place"),
)
# Words that say how to ask, not what about.
_ASKING = word_set(
    """year date day century name named called list describe explain define definition mean means meaning know tell
    look lookup search research find answer question information info something fact facts"""
)
_RANKS = word_set("""first second third fourth fifth last most least best worst only""")
_NO_RANKS = word_set("forest rainforest interest request conquest harvest everest budapest bucharest")
_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_DATE = re.compile(
    rf"\b\d{{1,2}} (?:{_MONTH}) \d{{3,4}}\b|\b(?:{_MONTH})(?: \d{{1,2}},)? \d{{3,4}}\b"
    r"|\b\d{1,4} (?:BCE?|AD|CE)\b|\b[12]\d{3}\b|(?<=year )\d{1,4}\b|(?<=in )[5-9]\d{2}\b"
)
_NUMBER_WORDS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion"
).replace(" ", "|")
_NUMBER = re.compile(
    rf"\b\d+(?:[.,]\d+)*\b(?: (?:hundred|thousand|million|billion))?|\b(?:{_NUMBER_WORDS})\b", re.IGNORECASE
)
_PAST = re.compile(r"\b(?:before|former|formerly|until|once|no longer|used to)\b", re.IGNORECASE)


def _is_rank(word: str) -> bool:
    return word in _RANKS or (word.endswith("est") and len(word) > 5 and word not in _NO_RANKS)


def _fit(wanted: _Question, weights: dict[str, float], sentence: str, heading: set[str]) -> tuple[float, float] | None:
    """Return (coverage, rank) of a sentence, or None when it cannot be the answer."""
    words = split_words(sentence)
    own = {stem(word) for word in words}
    said = own | heading
    if not (wanted.must <= said and wanted.must_in_sentence <= own):
        return None
    ranks = {stem(word) for word in words if _is_rank(word)}
    if wanted.must_in_sentence and not ranks <= wanted.must_in_sentence:
        return None  # "the second highest" does not answer "the highest"
    if wanted.must_in_sentence and not _extent(sentence) <= {stem(word) for word in wanted.words} | heading:
        return None  # nor does "the highest of Japan"
    total = sum(weights.values())
    coverage = sum(weight for word, weight in weights.items() if stem(word) in said) / total
    own_share = sum(weight for word, weight in weights.items() if stem(word) in own) / total
    if coverage < LEAST_COVERAGE or own_share < LEAST_OWN_SHARE:
        return None
    if not _holds(wanted, sentence) or _is_of_another(wanted, sentence, heading):
        return None
    rank = coverage + 0.5 * own_share - 0.002 * len(words)
    if _PAST.search(sentence):
        rank -= 0.5
    if wanted.attribute and _attribute_value(wanted.attribute, sentence):
        rank += 0.5
    if wanted.topic and re.match(rf"(?:an? |the )?{re.escape(wanted.topic)} (?:is|are|was|were)\b", plain(sentence)):
        # What says what it is ("is a country") goes before what happened to it.
        rank += 0.5 if re.search(r" (?:is|are|was|were) (?:an?|the|one) ", plain(sentence)) else 0.3
    if wanted.asks_for == "place" and re.search(
        r"\b(?:lies?|stands?|located|situated) (?:in|on|at|near|between)\b", sentence
    ):
        rank += 0.4
    return coverage, max(rank, 0.001)


_EXTENT = re.compile(r"\b\w+est\b[^.;:,]*?\b(?:of|in|within|on)\b(?: the)?(?P<names>(?: [^\W\d_a-z][\w'-]*)+)")


def _extent(sentence: str) -> set[str]:
    """The stems of the names that a superlative is limited to: "the largest country of South America"."""
    return {stem(word) for match in _EXTENT.finditer(sentence) for word in split_words(match["names"])}


def _holds(wanted: _Question, sentence: str) -> bool:
    if wanted.asks_for == "date":
        return _DATE.search(sentence) is not None
    if wanted.counted:
        return _counts(wanted.counted, sentence)
    if wanted.asks_for == "number":
        numbers = {plain(match[0]) for match in _NUMBER.finditer(sentence)}
        return bool(numbers - set(wanted.words) - {"one"})
    if wanted.asks_for == "person":
        known = STOP_WORDS | {plain(month) for month in _MONTH.split("|")}
        names = {plain(name) for name in re.findall(r"\b[^\W\d_a-z][^\W\d_]+", sentence)} - known
        return bool({stem(name) for name in names} - {stem(word) for word in wanted.words})
    if wanted.asks_for == "place":
        return re.search(r"\b(?:in|on|at|near|between|of|from|through|off)\b", sentence) is not None
    return True


def _counts(counted: str, sentence: str) -> bool:
    """Whether a number stands before what is counted: "sixteen states", but not "the four largest islands"."""
    words = split_words(sentence)
    return any(
        stem(word) == counted
        and any(
            _NUMBER.fullmatch(words[before]) and not any(_is_rank(between) for between in words[before + 1 : place])
            for before in range(max(0, place - 2), place)
        )
        for place, word in enumerate(words)
    )


def _is_of_another(wanted: _Question, sentence: str, heading: set[str]) -> bool:
    """Whether the sentence gives this attribute of something else: "its capital" under another heading."""
    if not (wanted.attribute and wanted.attribute_of):
        return False
    word = re.escape(wanted.attribute)
    if re.search(rf"\b(?:its|their|the) {word} is\b", plain(sentence)):
        return not wanted.attribute_of <= heading
    named = [
        {stem(one) for one in split_words(match[1])} for match in re.finditer(rf"\b{word} of\b(.*)", plain(sentence))
    ]
    return bool(named) and not any(wanted.attribute_of <= found for found in named)


def _cut_out(wanted: _Question, sentence: str, heading: str) -> str:
    """Return the bare thing asked for, or nothing where that would be a guess."""
    if wanted.asks_for == "date":
        dates = [match[0] for match in _DATE.finditer(sentence)]
        return dates[0] if len(dates) == 1 else ""
    if wanted.asks_for == "number":
        numbers = [match[0] for match in _NUMBER.finditer(sentence) if plain(match[0]) not in wanted.words]
        return numbers[0] if len(numbers) == 1 else ""
    if wanted.attribute and wanted.asks_for == "anything" and not _PAST.search(sentence):
        return _attribute_value(wanted.attribute, sentence)
    return ""


_NAME = r"[^\W\d_a-z][\w'.-]*(?:(?: (?:de|of|the|la|le|del|da|do))* [^\W\d_a-z][\w'-]*)*"


def _attribute_value(attribute: str, sentence: str) -> str:
    word = re.escape(attribute)
    for pattern in (
        rf"\b{word} is ({_NAME})",  # Its capital is Paris.
        rf"^(?:The )?({_NAME}) is the {word} of\b",  # Paris is the capital of France.
        rf"({_NAME}), the {word} of\b",  # Khartoum, the capital of Sudan
    ):
        match = re.search(pattern, sentence)
        if match:
            return match[1].rstrip(".")
    return ""


_ABBREVIATIONS = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Dr|St|Mt|vs|e\.g|i\.e|approx|No|ca)\.$")


def _sentences(passage: Passage) -> Iterator[tuple[str, int]]:
    """Yield the sentences of a passage, each on one line, with the number of the line that it begins on."""
    text = passage.text
    start = 0
    ends = [match.end(1) for match in re.finditer(r"([.!?][\"')\]”’]*)(?=\s|$)", text)]
    ends += [match.start() for match in re.finditer(r"\n(?=[^\S\n]{0,99}(?:[-*+|]|\d{1,9}[.)])\s)", text)]
    for end in sorted({*ends, len(text)}):
        if end < len(text) and _ABBREVIATIONS.search(text, max(start, end - 10), end):
            continue
        part = text[start:end]
        sentence = re.sub(r"^(?:[-*+]|\d+[.)])\s+", "", " ".join(part.split()))
        if sentence and not sentence.startswith("|"):  # a row of a Markdown table is no sentence
            lead = len(part) - len(part.lstrip())
            yield sentence, passage.first_line + text.count("\n", 0, start + lead)
        start = end


def _rarity_in(passages: Sequence[Passage]) -> Callable[[str], float]:
    counts: Counter[str] = Counter()
    for passage in passages:
        counts.update({stem(word) for word in split_words(f"{passage.heading} {passage.text}")})

    def rarity(word: str) -> float:
        return math.log(1 + (len(passages) + 1) / (counts[stem(word)] + 0.5))

    return rarity
