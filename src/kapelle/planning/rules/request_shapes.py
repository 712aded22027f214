"""The shapes of requests that rules know, as patterns, and what they take out of a text. Knows nothing of tasks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kapelle.errors import CannotPlan
from kapelle.language import Fact, parse_facts, quote_text, replace_pronoun, split_items

from .stand_ins import cut_before_stand_in

FIND_VERBS = (
    "find out", "find", "look up", "lookup", "search for", "search", "get", "tell me about", "tell me", "show me",
    "show", "give me", "give", "name", "identify", "determine", "retrieve", "fetch", "list", "research", "describe",
    "explain",
)  # fmt: skip
OTHER_VERBS = (
    "compare", "contrast", "calculate", "compute", "evaluate", "add up", "sum up", "summarize", "summarise", "recap",
    "add", "write", "draft", "compose", "prepare", "produce", "create", "generate", "report", "run", "count", "rank",
)  # fmt: skip

QUESTION = re.compile(
    r"(?:(?:(?:at|in|on|within|by|for|with|from)\s+)?(?:what|whom|whose|which|how)|who|when|where|why|is|are|was|were|does|do|"
    r"did|can|could|has|have|had|will|must|may|should)\b",
    re.IGNORECASE,
)
WHAT_IS = re.compile(
    r"(?:(?:what|who)(?:'s|\s+(?:is|are|was|were))\b(?!\s+\w+ed\b)|how\s+much\s+is\b|"
    r"(?:what|which)\s+[a-z]+\s+is\s+(?=the\s+(?!\w+est\b|most\b|least\b)[a-z]+(?:\s[a-z]+)?\s+of\b))"
    r"(?!.{0,200}\b(?:of|with|by|for|from|to|in|on)\??$)\s*",
    re.IGNORECASE,
)
WHAT_IS_KNOWN = re.compile(
    r"(?:what\s+(?:you\s+know|is\s+known|there\s+is)|everything|all)\s+(?:about|on|of)\s+", re.IGNORECASE
)
TABLE_WORDS = re.compile(
    r"\b(?:(?:how many|number of|count|total|sum of|average|mean|median|maximum|minimum|top \d+)\b|"
    r"(?:which|what|the|list)\s+(?:the\s+)?\d+\s|per\s+[a-z]+|by\s+[a-z]+|(?:more|less|fewer|greater|larger|longer|higher)\s+than\s+\d|"
    r"(?:over|under|above|below)\s+\d)",
    re.IGNORECASE,
)
SUPERLATIVE = re.compile(
    r"\b(?:largest|biggest|smallest|highest|lowest|longest|shortest|most|least|tallest)\b", re.IGNORECASE
)
LISTS = re.compile(
    r"list\b|(?:which|what)\s+(?:[a-z]+\s+)?(?!is|was|does|has)[a-z]{2,}s\b|"
    r"(?:list|find|show|which|what|name)?\b\s*(?:are\s+)?(?:the\s+)?(?:top\s+)?(?:\d+|two|three|four|five|six|seven|eight|nine|ten)\s",
    re.IGNORECASE,
)
"""A question for several things: "which rivers ..."."""
THEIRS = re.compile(r"\b(?:their|each of them)\b", re.IGNORECASE)
THEIRS_WITHIN = re.compile(r"(?<!\w)\w{3,}+\s++(?:and|with)\s++their\s", re.IGNORECASE)
"""A "their" that means what stands before it: "the rivers and their lengths"."""
ADDING = re.compile(r"add\s+(?:up\s+)?(?:them|these|those|both|the\s+\w+)(?:\s+(?:up|together))?", re.IGNORECASE)
SQL = re.compile(r"(?:select|with)\s.+\sfrom\s", re.IGNORECASE | re.DOTALL)
_ARITHMETIC = re.compile(
    r"(?=.*\d)(?=.*(?:[-+*/^%×÷]|\bof\b|\btimes\b|\bplus\b|\bminus\b|\bdivided by\b))"
    r"[\d\s.,()+*/^%×÷-]*(?:(?:of|times|plus|minus|divided by)[\d\s.,()+*/^%×÷-]+)*"
)
EACH = re.compile(r"for\s+(?:each|every|all)\s+(?:of\s+)?(?:the\s+)?(?P<items>.+?)[,:]?", re.IGNORECASE)
EACH_OF_LAST = re.compile(
    r"for\s+(?:each|every|all)(?:\s+one)?(?:\s+of\s+(?:them|these|those|the\s+(?:results?|answers?|items?)))?",
    re.IGNORECASE,
)
"""A "for each" that names no items: those of the question before."""
EACH_WITH_BODY = re.compile(
    r"(?P<each>for\s+(?:each|every|all)\b[^:]*?)(?:"
    r"\s*[,:]\s*(?P<question>(?:what|who|when|where|which|why|how)\b.+)|"
    r"[,:]?\s+(?P<verb>(?:find|look\s+up|get|give\s+me|tell\s+me|determine|count|list)\s+"
    r"(?:the|its|their|all|what|who|when|where|which|how)\b.+)|"
    r"\s*:\s+(?P<listed>.+))",
    re.IGNORECASE,
)
UNSAID_OF = re.compile(
    r"(?:the\s+)?[a-z][a-z-]*(?:\s+(?!(?:of|in|on|from|with|for)\b)[a-z][a-z-]*){0,3}", re.IGNORECASE
)
"""What a body asks for where it leaves "of it" unsaid: "the capital"."""
EACH_AFTER = re.compile(
    r"(?P<body>.+?)(?<![\s,]),?\s++for\s++(?:each|every|all)\s++of\s++(?:the\s++)?(?P<items>.+)", re.IGNORECASE
)
OF_EACH = re.compile(
    r"(?:the\s++)?(?P<attributes>[a-z ,]+?)(?<!\s)\s++of\s++(?:each|every)\s++(?:of\s++)?(?:the\s++)?(?P<items>.+)",
    re.IGNORECASE,
)
EACH_WITHIN = re.compile(
    r"(?<=\w)(?:,?\s+and\b)?[,;]?\s+for\s+each(?:\s+one)?(?:\s+of\s+(?:them|these|those))?(?:,\s+|\s+)"
    r"(?=(?:the|its|their|find|list|look\s+up|get|give|tell|count)\b)",
    re.IGNORECASE,
)
"""A "for each" in the middle: "the longest rivers and, for each, the countries it runs through"."""
_DAY = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day|tomorrow|tonight|noon|next\s\w+|the\s+end\s+of)"
_FORM = (
    r"(?:json|pdf|csv|xml|yaml|html|excel|spreadsheet|tabular|table|chart|graph|diagram|poem|e-?mail|letter|slides?)"
)
_UNIT = r"(?:thousand|million|billion|percent|mile|feet|inche|acre|euro|dollar|pound|yen)s?"
_TONGUE = "English|French|German|Spanish|Italian|Portuguese|Dutch|Russian|Chinese|Japanese|Polish|Arabic|Latin"
UNFULFILLED = re.compile(
    rf"\b(?:(?:as|in|into|to)\s+(?:an?\s+)?{_FORM}|by\s+(?:e-?mail|mail|post|phone|text)|"
    rf"(?:in|into)\s+(?:{_TONGUE}|{_UNIT}|(?:upper|lower)case)(?!\s[a-z])|for\s+(?:children|kids|beginners|experts|managers)|"
    r"(?:in|with)\s+(?:\w+\s+){1,3}(?:words?|sentences?|bullet\s+points?|bullets|lines|paragraphs?|pages?|sections?|examples?)|"
    r"respectively|vice\s+versa|(?:the\s+)?latter|(?:the\s+)?same\s+(?:for|with)|"
    r"(?<=\bof\s)(?:and|also|for|do|not|neither|nor|at|in|e-?mail|mail|send|post|save|print|translate|ignore|"
    r"\w+\s+(?:find|write|list|show|give))\b.*)\b",
    re.IGNORECASE,
)
"""Forms of an answer that no rule gives, and words that stand for others."""
UNPLANNED = re.compile(
    rf"{UNFULFILLED.pattern}|\b(?:(?:the\s+)?former|otherwise|else|unless|if|except|excluding|ignoring|without|instead|only|"
    rf"using|but|not|neither|nor|twice|quickly|urgently|sorted|times|plus|minus|divided\s+by|in\s+that\s+order|"
    rf"(?:by|before|until)\s+{_DAY}|(?:compared\s+(?:with|to)\s+)?last\s+(?:year|month|week|quarter))\b",
    re.IGNORECASE,
)
"""The same, and words of a lookup that ask for more than to look something up."""
_HEAD = re.compile(
    r"(.*?)(?:(\s(?:in|of|with|on|along|from|that|which|who|whose|where|over|above|under|below|at|by|near|between|"
    r"to|for|around|through|across|and|or|more|less|fewer|spoken|written|built|known|found|made|born|[a-z]+ed|"
    r"[a-z]+ing(?=\s)|[a-z]+er(?=\s+than\b)|(?=\d))\b)(.*)|$)",
    re.DOTALL,
)
WRITING = re.compile(
    r"(?:write|draft|compose|prepare|produce|create|make|generate|give me|report)\b\s*+"
    r"(?:me\s++|up\s++)?(?:a|an|the)?\s*+"
    r"(?:(?:short|brief|concise|detailed|final|one-page|written|markdown|full)\s++)*"
    r"(?P<form>report|summary|overview|memo|article|document|essay|brief|note|comparison|table|answer)?\b\s*"
    r"(?:(?P<link>on|about|of|comparing|for|covering|from|with|that|over|back)\b\s*(?P<topic>.*))?",
    re.IGNORECASE,
)
SUMMING = re.compile(r"(?:summari[sz]e|sum up|recap|condense)\b\s*(?P<topic>.*)", re.IGNORECASE)
COMPARING = re.compile(
    r"(?:compare|contrast|what\s+(?:is|are)\s+the\s+differences?\s+(?:in\s+(?P<inside>.+?)\s+)?between|"
    r"(?:explain\s+)?(?:the\s+)?differences?\s+(?:in\s+(?P<within>.+?)\s+)?between)\s+(?P<things>.+?)"
    r"(?:\s+(?:by|in terms of|with respect to|regarding|on)\s+(?:their\s+|the\s+)?(?P<by>.+))?",
    re.IGNORECASE,
)
_VERSUS = re.compile(r"(?P<things>.+?(?<!\s)\s++(?:vs\.?|versus)\s++(?s:.+))", re.IGNORECASE)
_WHICH_IS = re.compile(
    r"(?:which|who|what)\s+(?:one\s+)?(?:is|has|are|have)\s+(?:the\s+)?"
    r"(?P<adjective>[a-z ]+?)[,:]\s*(?P<things>.+\sor\s.+)",
    re.IGNORECASE,
)
_IS_MORE = re.compile(
    r"(?:is|are)\s++(?!there\b)(?P<one>.+?)(?<!\s)\s++(?P<adjective>[a-z]+er|more\s++[a-z]+)(?<!\s)\s++than\s++"
    r"(?P<other>.+)",
    re.IGNORECASE,
)
_WHICH_OF = re.compile(
    r"(?:which|who|what)\s+(?:one\s+)?of\s+(?:the\s+)?(?P<things>.+?,?\s+(?:and|or)\s+.+?)\s+(?:is|has|are|have)\s+"
    r"(?:the\s+)?(?P<adjective>[a-z ]+)",
    re.IGNORECASE,
)
_HOW_MUCH_MORE = re.compile(
    r"(?:by\s+)?how\s+(?:much|many\s+times|many\s+\w+)\s+(?P<adjective>[a-z]+er|more\s+[a-z]+)\s+(?:is|are)\s+"
    r"(?P<one>.+?)\s+than\s+(?P<other>.+)",
    re.IGNORECASE,
)
_ENDING = r"\.(?:md|markdown|txt|rst|html?|csv|tsv|sqlite3?|db)"
_FILE = re.compile(rf"(?<![\w./-])[\w./-]*\w{_ENDING}\b", re.IGNORECASE)
TABLE_FILE = re.compile(r"\.(?:csv|tsv|sqlite3?|db)$", re.IGNORECASE)

# What an adjective measures, for "which is longer, the Rhine or the Danube?".
_MEASURES = {
    "larger": "area", "bigger": "area", "smaller": "area", "longer": "length", "shorter": "length",
    "higher": "height", "taller": "height", "lower": "height", "deeper": "depth", "older": "age",
    "more populous": "population", "more people": "population", "more inhabitants": "population",
    "larger population": "population", "heavier": "weight", "faster": "speed", "cheaper": "price",
}  # fmt: skip


def read_expression(text: str) -> str | None:
    """The arithmetic that is asked for, in operators, or None."""
    body = re.sub(r"^(?:calculate|compute|evaluate|what(?:'s| is)|how much is)\s+", "", text, flags=re.IGNORECASE)
    body = body.rstrip("?=. ")
    if not _ARITHMETIC.fullmatch(body):
        return None
    body = re.sub(r"(?<![\d.])([\d.]++)\s*+%\s*+of\s*", r"\1 / 100 * ", body)
    for words, operator in (("divided by", "/"), ("times", "*"), ("plus", "+"), ("minus", "-"), ("of", "*")):
        body = re.sub(rf"\b{words}\b", operator, body, flags=re.IGNORECASE)
    body = re.sub(r"(?<=\d),(?=\d{3}\b)", "", body).replace("×", "*").replace("÷", "/").replace("^", "**")
    return re.sub(r"(?<![\d.])([\d.]++)\s*+%(?!\s*\d)", r"(\1 / 100)", body).strip()


def read_comparison(text: str) -> list[Fact] | None:
    """The facts that a comparison is about, or None if the text is no comparison."""
    text = text.rstrip("?").strip()
    if (which := _WHICH_IS.fullmatch(text) or _WHICH_OF.fullmatch(text)) is not None:
        return _measured(which["adjective"], split_items(which["things"]))
    more = _IS_MORE.fullmatch(text) or _HOW_MUCH_MORE.fullmatch(text)
    if more is not None and not re.match(r"\d", more["other"]):
        return _measured(more["adjective"], [more["one"], more["other"]])
    if (found := COMPARING.fullmatch(re.sub(r"(?<!\s)\s+(?:with|against|to)\s+", " and ", text, count=1))) is not None:
        attributes = found["by"] or found["inside"] or found["within"]
        if attributes is not None:
            return parse_facts(f"{attributes} of {found['things']}")
        return _with_nouns(parse_facts(found["things"]))
    if _VERSUS.fullmatch(text):
        return parse_facts(text)
    return None


def _with_nouns(facts: list[Fact]) -> list[Fact]:
    """ "The highest and the lowest mountain in Europe": a rank without its noun gets what follows that of the last."""
    last = facts[-1].of if facts and not facts[-1].attribute else ""
    rest = re.fullmatch(r"\w+est\s+(?P<rest>.+)", last) if isinstance(last, str) else None
    if rest is None:
        return facts
    return [
        Fact(attribute="", of=f"{fact.of} {rest['rest']}") if re.fullmatch(r"\w+est", fact.text) else fact
        for fact in facts
    ]


def _measured(adjective: str, things: Sequence[str]) -> list[Fact]:
    """What an adjective compares: "larger" the areas of things, or numbers that are there already."""
    facts = [fact for thing in things for fact in parse_facts(thing)[:1]]
    if len(facts) < len(things):
        raise CannotPlan(f"What is to be compared by {quote_text(adjective)} is not said. Name both things.")
    if facts[0].attribute:  # "larger than that of Japan" is about what the first thing has of it
        owners = [
            re.sub(r"^(?:that|those|the one) of\s+(?:the\s+)?", "", thing, flags=re.IGNORECASE) for thing in things
        ]
        return [
            fact if fact.attribute == facts[0].attribute else Fact(attribute=facts[0].attribute, of=owner)
            for fact, owner in zip(facts, owners, strict=True)
        ]
    words = re.sub(r"\b(\w+)est\b", r"\1er", " ".join(adjective.lower().split())).replace("most ", "more ")
    measure = _MEASURES.get(words, "")
    comparative, _, noun = words.partition(" ")
    if not measure and comparative in _MEASURES:  # "the larger population"
        measure = noun
    if not measure:
        raise CannotPlan(
            f"What {quote_text(adjective)} measures is not known. Name it, as in 'compare A and B by area'."
        )
    return [Fact(attribute=measure, of=fact.of) for fact in facts]


def aspect_of(subject: str, aspect: str) -> str:
    """What to find out about a subject: "its length" and "length" alike are "the length of" it."""
    about = replace_pronoun(aspect, subject)
    if about == aspect and re.fullmatch(r"(?:the )?[a-z]+(?: [a-z]+)?", aspect):
        return f"{aspect} of {subject}"
    return about


def find_files(text: str, known: Sequence[str] = ()) -> list[str]:
    """Return the files that a text names: those `known`, with their spaces; names in quotes; words with an ending.

    >>> find_files("Compare semi colon.csv and notes/a.md", ["data/semi colon.csv"])
    ['data/semi colon.csv', 'notes/a.md']
    """
    found: dict[int, str] = {}
    # Longer names first, and each place once: "semi colon.csv" is not "colon.csv".
    names = sorted({(name, file) for file in known for name in (file, file.rpartition("/")[2])})
    names.sort(key=lambda named: -len(named[0]))
    lower = text.lower()
    for name, file in names:
        if name.lower() not in lower:  # a folder has thousands of files, and a pattern for each takes seconds
            continue
        pattern = rf"(?<![\w./-]){re.escape(name)}(?![\w/-])"
        for match in re.finditer(pattern, text, re.IGNORECASE):
            found.setdefault(match.start(), file)
        text = re.sub(pattern, lambda match: " " * len(match[0]), text, flags=re.IGNORECASE)
    for match in re.finditer(rf"[\"'](?P<quoted>[^\"']*?{_ENDING})[\"']|{_FILE.pattern}", text, re.IGNORECASE):
        found[match.start()] = match["quoted"] or match[0]
    return [found[start] for start in sorted(found)]


def file_ending(text: str) -> str:
    """Return the ending of a text that is the name of a file, such as `.csv`; empty for other texts."""
    found = re.search(rf"{_ENDING}$", text, re.IGNORECASE)
    return "" if found is None else found[0]


def with_owner(text: str, owner: str) -> str:
    """Return what is to be found of an owner in words that name it.

    >>> with_owner("find its capital", "Peru"), with_owner("find the capital and its area", "Peru")
    ('find the capital of Peru', 'find the capital of Peru and its area')
    """
    both = re.fullmatch(r"(?P<first>.*?\bthe\s+[a-z]+)(?P<rest>\s+and\s+(?:its|their)\s+.+)", text, re.IGNORECASE)
    if both is not None and not re.search(r"\b(?:its|their|of)\b", both["first"]):
        return f"{both['first']} of {owner}{both['rest']}"
    return replace_pronoun(text, owner)


def without_verb(text: str) -> str:
    verbs = "|".join(re.escape(verb) for verb in FIND_VERBS)
    return re.sub(rf"^(?:{verbs})\b[\s:,]*", "", text, count=1, flags=re.IGNORECASE) or text


def to_plural(phrase: str) -> str:
    """The noun at the head of a phrase in the plural: "country in Europe" becomes "countries in Europe"."""
    head, joint, rest = _HEAD.match(phrase).groups()  # type: ignore[union-attr]  # it matches any text
    if re.search(r"[^aeiou]y$", head):
        head = head[:-1] + "ies"
    elif not head.endswith("s"):
        head += "es" if head.endswith(("x", "ch", "sh")) else "s"
    return f"{head}{joint or ''}{rest or ''}"


def as_title(text: str) -> str:
    text = " ".join(text.split())
    return cut_before_stand_in(text[:1].upper() + text[1:], 200)
