"""Picks the sentence of a text that answers a question, or says that there is none. Extracts; never writes.

A sentence that merely shares words with the question is no answer, and a wrong one is worse than none. So every word of
the question that carries meaning must stand in the sentence or in the headings above it, and in one clause with nothing
between them but small words and what is asked for: "the budget of the project", not "of the next project". Then the
clause must say what is asked (a date for "when", a reason for "why"), about the same thing ("the office", not "the head
of the office"), at the same time, and must deny no more and no less than the question does. Sentences that fit and say
different things are all returned. Knows nothing of meaning: other words for the same thing are not found.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kapelle.language import (
    NUMBER_WORDS,
    PERSONAL,
    STOP_WORDS,
    UNITS,
    ProseQuestion,
    find_sentences,
    plain,
    split_words,
    stem,
    word_set,
)

from .folder_index import Passage

MAX_SENTENCE_CHARS = 1_000
"""What is longer is no sentence but a table or a listing without marks."""
MAX_PARTS = 30
"""So many stretches of a sentence between marks are read; one with more is a listing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundAnswer:
    """A sentence that answers a question, and where it stands."""

    sentence: str
    value: str
    """The bare thing asked for, where it can be cut out (`Paris`, `1869`); otherwise the sentence."""
    subject: str
    """The heading that the sentence stands under, for sentences that only say "it"."""
    file: str
    line: int
    others: tuple[FoundAnswer, ...] = ()
    """Sentences that answer the question too, and say something else."""

    @property
    def citation(self) -> str:
        """Where to look it up: `notes/france.md:3`."""
        return f"{self.file}:{self.line}"


def find_answer(question: str, passages: Sequence[Passage]) -> FoundAnswer | None:
    """Return the sentence of the passages that answers the question best, or None when none does.

    >>> note = Passage(file="france.md", first_line=3, last_line=3, heading="France", text="Its capital is Paris.")
    >>> found = find_answer("What is the capital of France?", [note])
    >>> found.value, found.citation
    ('Paris', 'france.md:3')
    >>> find_answer("What is the capital of Peru?", [note]) is None
    True
    """
    wanted = ProseQuestion.read(question)
    if not wanted.words:
        return None
    fits: list[tuple[float, frozenset[str], FoundAnswer]] = []
    for passage in passages:
        for sentence, start in find_sentences(passage.text, MAX_SENTENCE_CHARS):
            if (fit := _fit(wanted, sentence, passage.heading)) is not None:
                rank, claim, value = fit
                subject = passage.heading.split(" > ")[0]
                line = passage.first_line + passage.text.count("\n", 0, start)
                answer = FoundAnswer(sentence=sentence, value=value, subject=subject, file=passage.file, line=line)
                fits.append((rank, claim, answer))
    if not fits:
        return None
    _, said, best = max(fits, key=lambda fit: fit[0])
    others = {
        other.sentence: other
        for _, claim, other in fits
        if not (claim <= said or said <= claim) and not {"a", "an", "one"} & claim & said  # two definitions are both so
    }
    return replace(best, others=tuple(others.values()))


def unsaid_words(question: str, passages: Sequence[Passage]) -> tuple[str, ...]:
    """Return the words of a question that carry meaning and stand in none of the passages."""
    said = {stem(word) for passage in passages for word in split_words(f"{passage.heading} {passage.text}")}
    return tuple(word for word in ProseQuestion.read(question).words if stem(word) not in said)


_RANKS = word_set("first second third fourth fifth last most least best worst only")
_NO_RANKS = word_set("forest rainforest interest request conquest harvest everest budapest bucharest")
_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_DATE = re.compile(
    rf"\b\d{{1,2}} (?:{_MONTH}) \d{{3,4}}\b|\b(?:{_MONTH})(?: \d{{1,2}},)? \d{{3,4}}\b"
    r"|\b\d{1,4} (?:BCE?|AD|CE)\b|\b[12]\d{3}-\d\d-\d\d\b|\b[12]\d{3}\b|(?<=year )\d{1,4}\b|(?<=in )[5-9]\d{2}\b"
)
_TIME = re.compile(
    rf"{_DATE.pattern}|\b(?:\d{{1,2}} )?(?:{_MONTH})\b(?: \d{{1,2}}\b)?|\b\d{{1,2}}:\d\d\b|\b\d{{1,2}} ?[ap]m\b"
    r"|\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)days?\b|\bthe \w+ (?:day|week|month|year)\b"
    r"|\bwithin \w+ (?:minute|hour|day|week|month|year)s?\b"
    r"|\b(?:when|after|once|before|as soon as|if)\b.+"
)
_SCALES = "hundred|thousand|million|billion"
_NUMBER = re.compile(
    rf"\b\d+(?:[.,]\d+)*\b(?: (?:{_SCALES}))?|\b(?:{'|'.join(NUMBER_WORDS)}|{_SCALES})\b", re.IGNORECASE
)
_NOT = re.compile(r"\b(?:not|no|never|without|nobody|none|neither|nor|cannot|nothing|hardly)\b|n['’]t\b")
_EXCEPT = re.compile(r"\b(?:except|excluding|unless|other than|apart from|besides|instead)\b|\bnot only\b")
_FORMER = re.compile(r"\b(?:former|formerly|previous|previously|originally|once|no longer|used to)\b")
_OUTDATED = re.compile(rf"{_FORMER.pattern}|\b(?:old|until|obsolete|deprecated|archived?|draft|rejected|cancelled)\b")
_WAS, _IS = re.compile(r"\b(?:was|were|had|did)\b"), re.compile(r"\b(?:is|are|has|have|does|do)\b")
_WILL = re.compile(r"\b(?:will|would|might|could|planned|expected|to be|nearly|almost)\b")
_UNTOLD = re.compile(r"\W*(?:if|unless|suppose|whether)\b|.*\?\W*$", re.IGNORECASE | re.DOTALL)
_REASON = re.compile(r"\b(?:because|since(?! \d)|so that|due to|owing to|in order to|as a result of)\b", re.IGNORECASE)
_INEXACT = re.compile(r"\b(?:if|only|about|around|up to|than|least|most|under|over|nearly|almost|before|after|until)\b")
_COPULA = word_set("is are was were means mean lasts last costs cost weighs weigh equals totals takes take remains has")
_PLACES = word_set("in on at near between off along behind opposite")
_AT_PLACE = re.compile(
    rf"(?: (?:is|are|was|were|lies?|stands?|located|situated))* (?:{'|'.join(_PLACES)}) "
    rf"(?:(?:the|an?|its) |(?=[^\W\d_a-z]|[a-z]+ \d)(?!{_MONTH}))"
)
_ARTICLES = word_set("the a an its their his her our this that these those all every each any")
_LOOSE = word_set("of in at on for within inside")
_GOVERNS = _LOOSE | word_set("from by to with without near under about through into than since after")
_SMALL = (
    STOP_WORDS
    | _COPULA
    | word_set("may must shall within during until per year s there also already now longer km up least cannot never")
)
_SOME = word_set("some few many most half several")
_NAME = r"[^\W\d_a-z][\w'.-]*(?:(?: (?:de|of|the|la|le|del|da|do))* [^\W\d_a-z][\w'-]*)*"
_CLAUSE = re.compile(r"[;,:–—]\s+(?:(?:and|but|while)\s)?|\s(?:and|but|while|whereas|because|so that)\s|$")
_NO_VALUE = r"\w+ed|\w+ing|too|very|not|still|also|about|due|\w+er than|more|less|among|(?:in|at)(?! \d)"
_EQUALS = re.compile(
    rf"\s+(?:{'|'.join(sorted(_COPULA))})\b(?! (?:{_NO_VALUE})\b)\s*|[\s*_]*[:=][*_]*\s+|,\s+(?=[^\W\d_a-z])"
)


def _is_rank(word: str) -> bool:
    return word in _RANKS or (word.endswith("est") and len(word) > 5 and word not in _NO_RANKS)


def _fit(wanted: ProseQuestion, sentence: str, heading: str) -> tuple[float, frozenset[str], str] | None:
    """Return how well a sentence fits, what it says and the value; or None when it cannot be the answer."""
    words, above, told, asked = split_words(sentence), split_words(heading), plain(sentence), wanted.text
    own, known = set(map(stem, words)), set(map(stem, above))
    held = wanted.stems & own
    if not wanted.stems <= own | known or 3 * len(held) < len(wanted.stems) or _UNTOLD.match(sentence):
        return None
    ranks, asked_ranks = ({stem(word) for word in said if _is_rank(word)} for said in (words, wanted.words))
    extent = {stem(word) for names in _RANKED_IN.findall(sentence) for word in split_words(names)}
    if asked_ranks and not (asked_ranks <= own and ranks <= asked_ranks and extent <= wanted.stems | known):
        return None  # neither "the second highest" nor "the highest of Japan" answers "the highest"
    if _figures(asked) - _figures(told) - set(above) or not _is_of_same_time(wanted, told, plain(heading)):
        return None
    if bool(_EXCEPT.search(told)) != bool(_EXCEPT.search(asked)):
        return None
    marks = list(_CLAUSE.finditer(sentence))
    starts = [0, *(mark.end() for mark in marks[:-1])]
    parts = [(0, len(sentence)), *((start, len(sentence)) for start in starts)]
    parts += [(start, mark.start()) for start, mark in zip(starts, marks, strict=True)]
    for start, end in list(dict.fromkeys(parts))[:MAX_PARTS]:
        if (found := _Clause(wanted, sentence, start, end, known).read()) is not None:
            return len(held) - 0.01 * len(words), found[0], found[1] or sentence
    return None


# The names that a superlative is limited to: "the largest country of South America".
_RANKED_IN = re.compile(r"\b\w+est\b[^.;:,]*?\b(?:of|in|within|on)\b(?: the)?((?: [^\W\d_a-z][\w'-]*)+)")


def _figures(text: str) -> set[str]:
    return {number.replace(",", "") for number in re.findall(r"\d+(?:[.,:]\d+)*", text)}


def _is_of_same_time(wanted: ProseQuestion, told: str, heading: str) -> bool:
    asked, told = wanted.text, told.replace("no longer", "not") if wanted.asks_for == "truth" else told
    if bool(_FORMER.search(told)) != bool(_FORMER.search(asked)):
        return False
    if (above := _OUTDATED.search(heading)) is not None and above[0] not in asked:
        return False
    verb = re.match(r"who (\w+s)\b", asked)  # "who leads it" is not who led it
    if verb and any(stem(word) == stem(verb[1]) and _is_past(word) for word in split_words(told)):
        return _IS.search(told) is not None
    if _WAS.search(asked):
        past = _WAS.search(told) or not {f"{word}s" for word in wanted.words} & set(split_words(told))
        return bool(past) and not (_WILL.search(told) or (_IS.search(told) and not _WAS.search(told)))
    return not ((_IS.search(asked) or wanted.asks_for == "thing") and _WAS.search(told) and not _IS.search(told))


def _is_past(verb: str) -> bool:
    return verb.endswith("ed") or not verb.startswith(stem(verb))


_Found = tuple[frozenset[str], str] | None
"""What a clause says, as words to compare, and the value where it can be cut out."""


class _Clause:
    """A clause of a sentence, to be read for what a question asks."""

    def __init__(self, wanted: ProseQuestion, sentence: str, start: int, end: int, known: set[str]) -> None:
        self.wanted, self.text, self.before = wanted, sentence[start:end], sentence[:start]
        self.spans = [match.span() for match in re.finditer(r"[^\W_]+", self.text)]
        self.words = [plain(self.text[first:last]) for first, last in self.spans]
        self.stems = [stem(word) for word in self.words]
        self.own = wanted.stems & set(self.stems)
        self.known = known
        if self.words and PERSONAL.fullmatch(self.words[0]):
            self.known = known | {stem(word) for word in split_words(self.before)}
        # The shortest stretch that holds all of them, and what stands right before it.
        latest: dict[str, int] = {}
        self.first, self.last = 0, len(self.words)
        for place, word in enumerate(self.stems):
            if word in self.own:
                latest[word] = place
                if len(latest) == len(self.own) and place - min(latest.values()) < self.last - self.first:
                    self.first, self.last = min(latest.values()), place
        while self.first and self.stems[self.first - 1] in self.own:
            self.first -= 1

    def read(self) -> _Found:
        wanted = self.wanted
        if not self.own or not wanted.stems - self.own <= self.known or not self._is_governed_alike():
            return None
        if _SOME & set(self.words[: self.first]) - set(split_words(wanted.text)):
            return None  # some of them are not all
        reason = _REASON.search(self.text) if wanted.asks_for == "reason" else None
        denied = _NOT.search(plain(self.text[: reason.start()] if reason else self.text))
        if bool(denied) != bool(_NOT.search(wanted.text)) and not (denied and wanted.asks_for == "truth"):
            return None
        order = tuple(dict.fromkeys(s for s in self.stems[self.first : self.last + 1] if s in wanted.order))
        by = wanted.asks_for == "person" and "by" in self.words
        if not by and order != tuple(s for s in wanted.order if s in self.own):
            return None
        if wanted.asks_for in ("date", "number"):
            return self._read_figure(_TIME if wanted.asks_for == "date" else _NUMBER)
        if wanted.asks_for == "which" or (wanted.asks_for == "person" and wanted.order):
            return self._read_name(by=by) or (self._read_equal() if wanted.asks_for == "which" else None)
        if wanted.asks_for in ("thing", "person"):
            return self._read_equal()
        if self._foreign(0, self.last):
            return None
        end = self.spans[self.last][1]
        rest, after = self.text[end:], self.words[self.last + 1 :]
        claim = frozenset(self.words[place] for place in self._foreign(self.last, len(self.words)))
        if wanted.asks_for == "truth":
            modified = re.match(r"[\s-]+\w", rest) and self._foreign(self.last, self.last + 2)
            hedged = _WILL.search(self.text) and not _WILL.search(wanted.text)
            claim = frozenset({"no" if denied else "yes"})
            fits = not modified and not hedged and (denied is None or denied.start() < end)
        elif wanted.asks_for == "reason":
            fits = reason is not None and reason.start() >= end
        elif wanted.asks_for == "way":
            fits = after[:1] != [] and (after[0] in _WAYS or (self.words[0] == "to" and rest.startswith(",")))
        elif wanted.asks_for == "place":
            fits = _AT_PLACE.match(rest) is not None
        else:  # what is written is not whom it is written to
            fits = bool(claim) and (after[0] not in _GOVERNS or wanted.text.endswith(after[0]))
        return (claim, "") if fits else None

    def _foreign(self, start: int, end: int) -> list[int]:
        """The places of words that carry a meaning which is not in the question."""
        places = range(start, min(end, len(self.words)))
        return [p for p in places if self.words[p] not in _SMALL and self.stems[p] not in self.wanted.stems]

    def _is_governed_alike(self) -> bool:
        """Whether "of", "from" or "in" stands before the same words as in the question, or before none."""
        asked = _governors(split_words(self.wanted.text))
        for word, told in _governors(self.words).items():
            before = asked.get(word, "")
            loose = {told, before} <= _LOOSE or (not before and told in ("by", "to"))
            if word in self.own and told not in ("", before) and not loose:
                return False
        return True

    def _read_figure(self, pattern: re.Pattern[str]) -> _Found:
        wanted, fits = self.wanted, []
        how = re.search(r"\bhow (many \w+|\w+)", wanted.text)
        unit = UNITS.get(how[1], "") if how else ""
        counted = stem(how[1][5:]) if how and how[1].startswith("many ") else ""
        figures = [m for m in pattern.finditer(self.text) if plain(m[0]) not in (*wanted.words, "one")]
        kind = re.search(r"\b(?:is|are) an? (\w+) of (?=\w)", self.text) if counted else None
        ranges = [m.span() for m in figures] + ([kind.span(1)] if kind else [])  # "is a federation of sixteen states"
        ranges += [m.span() for m in re.finditer(r"(?<=\d )[a-z]+", self.text)]
        rest = self.spans[self.last][1]  # "was opened by the mayor of Riga in 1869"
        ranges += [m.span() for m in re.finditer(rf"\b(?:by|in|at) (?:the )?{_NAME}", self.text) if m.start() >= rest]
        inside = {p for p, (at, _) in enumerate(self.spans) if any(start <= at < end for start, end in ranges)}
        for match in figures:
            places = [place for place, (at, _) in enumerate(self.spans) if match.start() <= at < match.end()]
            after = slice(places[-1] + 1, places[-1] + 3)
            other = rf"(?! (?!{how[1]})(?:long|high|tall|deep|wide|thick|old|away)\b)" if how else ""
            if unit and not re.match(rf"[\s-]*(?:{unit})(?!\w){other}", self.text[match.end() :]):
                continue
            if counted and not kind and self.words[places[0] - 1 : places[0]] == ["of"]:
                continue  # "of 40 students, 30 passed"
            # "Two states are small" is not how many there are, nor is "the four largest islands".
            if counted and (not places[0] or counted not in self.stems[after] or _is_rank(self.words[after.start])):
                continue
            if set(self._foreign(0, max(self.last, places[0]))) <= inside:
                fits.append(match[0])
        exact = len(fits) == 1 and not _INEXACT.search(self.text) and (pattern is _NUMBER or _DATE.fullmatch(fits[0]))
        said = frozenset(word for text in fits for word in split_words(text))
        return (said, fits[0] if exact else "") if fits else None

    def _read_name(self, *, by: bool) -> _Found:
        """Who does it (the name before the verb or behind "by"), or which one of a kind: "the Hamburg office has"."""
        wanted, foreign = self.wanted, self._foreign(0, self.last)
        kind = re.match(r"(?:what|which|who) (\w+)", wanted.text)
        if by and not foreign:
            foreign = self._foreign(self.words.index("by"), len(self.words))
            foreign = [place for place in foreign if self.words[place - 1] not in _PLACES]
        else:
            after = foreign[-1] + 1 if foreign else 0
            beside = self.stems[after : after + (2 if self.words[after : after + 1] == ["also"] else 1)]
            together = (
                foreign and beside and foreign[-1] - foreign[0] < len(foreign) and all(map(self._is_name, foreign))
            )
            of_another = self.own < wanted.stems and self._foreign(self.last, len(self.words))
            foreign = foreign if together and kind and stem(kind[1]) in beside and not of_another else []
        return (frozenset(self.words[place] for place in foreign), "") if foreign else None

    def _is_name(self, place: int) -> bool:
        raw = self.text[slice(*self.spans[place])]
        return raw[0].isupper() and raw not in _MONTH.split("|")

    def _read_equal(self) -> _Found:
        """What something is: "the capital is Paris", "Paris is the capital", "Paris, the capital", "capital: Paris"."""
        rest = self.text[self.spans[self.last][1] :]
        start = self.first
        while start and self.words[start - 1] in _ARTICLES | {"not"}:
            start -= 1
        lead = self.text[: self.spans[start][0]].strip(" *_")
        if self._foreign(self.first, self.last):
            return None
        if not lead and (equal := _EQUALS.match(rest)) is not None:
            said = rest[equal.end() :]
        elif not lead and not rest.partition(",")[0].strip(" .") and self.before.endswith(", "):
            words = self.before[:-2].split()[-8:]
            ends = (" ".join(words[at:]) for at in range(len(words)))
            said = next((end for end in ends if re.fullmatch(_NAME, end)), "")
        elif start and self.words[start - 1] in _COPULA and not self._foreign(self.last + 1, self.last + 2):
            if self.words[self.last + 1 : self.last + 2] in (["of"], ["in"], ["for"]):
                return None  # "Lyon is the capital of that region" is not about the whole
            said = self.text[: self.spans[start - 1][0]].strip() or self.before.rstrip(" ,")
            if _COPULA & set(split_words(said)):
                return None  # "Sydney, it is said, is the capital"
        else:
            return None
        first = re.split(r"[,.;]\s|\.$", said)[0]
        claim = frozenset(word for word in split_words(first) if word not in _SMALL or word in ("a", "an"))
        value = re.match(rf"(?:[Tt]he )?({_NAME})(?=[,.;)]|\s*$)", said)
        if not claim or (self.wanted.asks_for != "thing" and not re.match(r"(?:[Tt]he )?[^\W_a-z]", said)):
            return None
        return claim, value[1].rstrip(".") if value else ""


_WAYS = word_set("by with using via through")


def _governors(words: Sequence[str]) -> dict[str, str]:
    """The preposition before each word, articles between them left aside, by the word's stem."""
    found: dict[str, str] = {}
    for place, word in enumerate(words):
        before = place - 1
        while before > 0 and words[before] in _ARTICLES:
            before -= 1
        found.setdefault(stem(word), words[before] if before >= 0 and words[before] in _GOVERNS else "")
    return found
