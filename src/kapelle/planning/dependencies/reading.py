"""Reads a step as the scorer needs it: what it asks for, what it takes up again, what kind of sentence it is.

English only, by rules. Says nothing about edges: see question_features, instruction_features.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property

from kapelle.language import STOP_WORDS, plain, stem, word_set

from .step import BLANK, count_blanks, mark_blanks

MAX_WORDS = 60
"""Words of a step that are read; the point of a longer one stands at its beginning."""

_TOKEN = re.compile(r"_{3}|[^\W_]+(?:['’][a-z]+)?|[,?]")
_INNER = re.compile(r"\d.|\w[.@/]\w")
_QUOTED = re.compile(r"(?<!\w)'([^']{2,60})'|\"([^\"]{2,60})\"")

_QUANTITY = word_set(
    """many much old long tall high far big large heavy fast often deep wide hot cold expensive close strong loud
    hard"""
)
_TIME = word_set("year years date time century decade month day era age period")
_PLACE = word_set("country city state place location continent region area where county ocean town province planet")
_PERSON = word_set("who whom whose person people actor author president king queen character god goddess")
_AUXILIARY = word_set(
    """is are was were do does did has have had can could would will should may might must if isn't aren't don't
    doesn't didn't"""
)
# What the words beside "what" and "which" say of the answer, and what the other words that ask for one do.
_KINDS = {
    "time": _TIME,
    "place": _PLACE,
    "person": _PERSON,
    "number": word_set("number height weight length price cost population amount temperature size speed"),
}
_ASKS = {"when": "time", "where": "place", "who": "person", "whom": "person", "whose": "person", "why": "reason"}
_COMPARES = word_set(
    """than before after between same greater less more larger smaller higher lower older younger longer shorter earlier
    later least equal exceed exceeds overlap match matches both different include included includes including contain
    contains among common similar compare compared divided minus plus multiplied times either neither better worse
    fewer bigger heavier lighter closer cheaper within outside differ correspond intersect average difference
    total sum combine combined merge summarize overall"""
)
_BACK = word_set("it its them their they these those this that he she his her him again same rest result results")
_LEADS = {
    "after": word_set("after once afterwards afterward when"),
    "then": word_set("then next now"),
    "last": word_set("finally lastly"),
    "also": word_set("additionally also furthermore moreover"),
    "if": word_set("if"),
    "done": word_set("finished done enjoy congratulations"),
}
# Tips stand beside each other; moves of the hand follow each other. First words of instructions, by what they start.
_ADVICE = word_set(
    """accept acknowledge act always appreciate ask avoid be believe beware celebrate communicate consider develop do
    don don't drink eat embrace encourage enjoy ensure exercise express feel focus get give have help honor
    increase keep know learn limit listen live look love maintain make never notice pay play practice praise
    provide read realize recognize reduce refrain remember respect reward seek share show spend stay stop
    supplement support surround take talk teach think treat trust try understand use watch wear work"""
)
_HANDS = word_set(
    """add allow apply assemble attach bake beat begin bend blend boil bolt browse brush build button catch chop
    clamp click clip close collect color colour comb combine complete connect cook copy cover cream create
    crochet crop crush curl cut delete detach dig dip download drag drain draw drill drop dry dust enter
    exhale fasten file fill finish flip fold freeze fry garnish gather glue go grate grill grind hammer hang
    harvest heat hold identify inhale insert install kick knead kneel knit knot label ladle launch lay leave
    let lift line load locate lock log loop loosen lower mail mark mash measure melt mix move nail navigate
    new open outline pack paint paste peel pin place plant pleat plug polish position pour preheat press print
    prune pull push put raise rake refrigerate register release remove rename repeat request resize return
    rinse roast roll rotate rub run sand save scan scoop screw scroll scrub search season secure select send
    serve set sew shade shake sign simmer sit sketch slice slide soak solder spoon spray spread sprinkle
    squeeze stain stand start stick stir stitch straighten strain stretch submit swing swipe switch tap thaw
    thread throw tie tighten toast trace transfer trim tuck turn twist type uninstall unload unlock unpack
    unplug unscrew upload visit wait wash water weave weld whisk wipe wrap zip"""
)
_PREPARES = word_set(
    """gather choose find determine decide prepare get collect identify pick buy make plan set assess evaluate research
    understand consider learn analyze create check start begin"""
)


@dataclass(frozen=True, kw_only=True)  # no slots: properties are cached
class ReadStep:
    """The words of one step."""

    text: str

    @cached_property
    def blanks(self) -> int:
        """How many results of other steps it waits for."""
        return count_blanks(self.text)

    @cached_property
    def tokens(self) -> list[str]:
        """Plain words, blanks, commas and question marks, in order."""
        marked = mark_blanks(self.text[: MAX_WORDS * 12])
        return _TOKEN.findall(plain(marked).replace("’", "'"))[:MAX_WORDS]

    @cached_property
    def words(self) -> list[str]:
        """Plain words and blanks, in order."""
        return [token for token in self.tokens if token not in (",", "?")]

    @cached_property
    def stems(self) -> frozenset[str]:
        """The words that carry meaning."""
        return frozenset(stem(word) for word in self.words if word not in STOP_WORDS and word != BLANK)

    @cached_property
    def names(self) -> frozenset[str]:
        """What is quoted, numbered or spelt like an identifier."""
        text = self.text[:1000]
        quoted = [first or second for first, second in _QUOTED.findall(text)]
        bare = (word.strip(".,;:!?'\"()") for word in text.split())
        spelt = [word for word in bare if len(word) > 1 and (sum(map(str.isupper, word)) > 1 or _INNER.search(word))]
        return frozenset(plain(name) for name in (*quoted, *spelt))

    @cached_property
    def asks(self) -> str:
        """What kind of answer it asks for: `number`, `time`, `place`, `person`, `reason`, `yes`, `thing`."""
        words = self.words[:14]
        for position, word in enumerate(words):
            following = words[position + 1 : position + 4]
            if word == "how":
                return "number" if following and following[0] in _QUANTITY else "reason"
            if word in _ASKS:
                return _ASKS[word]
            if word in ("what", "which"):
                return next((kind for kind, known in _KINDS.items() if known & set(following)), "thing")
            if position == 0 and word in _AUXILIARY:
                return "yes"
        return "thing"

    @cached_property
    def asked_noun(self) -> str:
        """The stem after "what" or "which": of "Which country ...", countri."""
        for position, word in enumerate(self.words[:-1]):
            if word in ("what", "which"):
                following = self.words[position + 1]
                return "" if following in STOP_WORDS or following == BLANK else stem(following)
        return ""

    @cached_property
    def around_blanks(self) -> list[tuple[str, str]]:
        """The words before and after each blank."""
        padded = ["^", *self.tokens, "$"]
        return [(padded[at - 1], padded[at + 1]) for at, token in enumerate(padded) if token == BLANK]

    @cached_property
    def compares(self) -> bool:
        """Whether it sets things against each other or puts them together."""
        return not _COMPARES.isdisjoint(self.words)

    @cached_property
    def refers_back(self) -> bool:
        """Whether a pronoun or the like takes up something said before."""
        return not _BACK.isdisjoint(self.words)

    @cached_property
    def lead(self) -> str:
        """The connective it begins with, as a key of `_LEADS`, or an empty text."""
        first = self.words[0] if self.words else ""
        for kind, words in _LEADS.items():
            if first in words:
                return kind
        if self.words[:2] in (["now", "you"], ["you're", "done"], ["in", "addition"]):
            return "also" if first == "in" else "done"
        return ""

    @cached_property
    def verb(self) -> str:
        """The first word that is no connective."""
        skip = word_set("then next now finally lastly also first to please and")
        return next((word for word in self.words[:4] if word not in skip), "")

    @cached_property
    def manner(self) -> str:
        """`hands` for a move of the hand, `advice` for a tip, `prepare` for what starts something, or an empty text."""
        if self.verb in _HANDS:
            return "hands"
        if self.verb in _ADVICE:
            return "advice"
        return "prepare" if self.verb in _PREPARES else ""

    @cached_property
    def definite(self) -> frozenset[str]:
        """Stems of what it calls "the ..." or "your ...": known before, so perhaps from another step."""
        found = set()
        for position, word in enumerate(self.words):
            if word in ("the", "your", "this", "that", "these", "those", "each", "both"):
                for other in self.words[position + 1 : position + 3]:
                    if other not in STOP_WORDS and other != BLANK:
                        found.add(stem(other))
        return frozenset(found)


def overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the share of the smaller set that is in the other."""
    return len(one & other) / min(len(one), len(other)) if one and other else 0.0


def similarity(one: ReadStep, other: ReadStep) -> float:
    """Return how alike two steps are built, 0 to 1: the words they share in the same order, blanks included."""
    longest = max(len(one.words), len(other.words))
    if not longest or not set(one.words) & set(other.words):
        return 0.0
    blocks = SequenceMatcher(None, one.words, other.words, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / longest
