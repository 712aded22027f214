"""Which call's result fills which blank argument, by the schemas of the tools. Rules with reasons, nothing learned.

Each blank argument is filled by exactly one earlier call. How well a call suits is the best match of one of its result
fields: the names (`artistId` and `artist_id`, or `id` of a tool that speaks of artists), the types, the descriptions.
Calls that leave an argument of the same name open are filled alike: a call that waits for a value itself did not find
it out. Arguments that differ
by their role alone (`originId`, `destinationId`) are filled by different calls, in order. Between equals a call whose
result nothing uses yet goes first, then the nearest.

A required argument that is missing altogether counts as blank only where a result field fits it by name: otherwise
the tool's default is as likely.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from kapelle.language import STOP_WORDS, split_words, stem, word_set
from kapelle.models import ToolDefinition

from .reading import overlap
from .step import PlanStep, blank_arguments, count_blanks, literal_arguments

SAME_NAME = 0.6
"""From this match on, names are taken for the same thing."""
CLOSE = 0.05
"""Matches closer than this are equals."""
MAX_FIELDS = 400
"""Result fields of one tool that are read."""

_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_ROLES = {
    stem(word): role
    for role, words in enumerate(
        (
            "origin from source start departure first left begin base",
            "destination to target end arrival second right other",
        )
    )
    for word in words.split()
}
_GENERIC = word_set("id key code number name value token url uri query q keyword keywords text search term input data")
_FREE_TEXT = word_set("q query keyword keywords search term text input numbers expression question")


@dataclass(frozen=True, kw_only=True, slots=True)
class FilledBlank:
    """A blank argument and the call whose result fills it."""

    source: int
    target: int
    argument: str
    reason: str
    confidence: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Field:
    """A place in a tool's result."""

    words: tuple[str, ...]
    path_words: frozenset[str]
    kind: str
    about: frozenset[str]
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tool:
    words: frozenset[str]
    """Of its name and description."""
    parameters: Mapping[str, Any]
    fields: tuple[_Field, ...]
    known: dict[tuple[tuple[str, ...], str, frozenset[str]], tuple[float, str]] = field(default_factory=dict)

    def best_field(self, words: tuple[str, ...], kind: str, described: frozenset[str]) -> tuple[float, str]:
        """Return how well a field of the result fits an argument, and which does best."""
        key = (words, kind, described)
        if key not in self.known:
            best, name = 0.0, ""
            for place in self.fields:
                match = _match_names(words, place, self.words)
                if kind and place.kind and kind != place.kind:
                    match -= 0.15
                if match < SAME_NAME:
                    match += 0.2 * overlap(described, place.about | place.path_words)
                if match > best:
                    best, name = match, place.name
            self.known[key] = best, name
        return self.known[key]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    step: PlanStep
    tool: _Tool
    blanks: tuple[tuple[str, str], ...]
    waits_for: frozenset[tuple[str, ...]]
    """Names of its blank arguments."""
    takes: frozenset[tuple[str, ...]]
    literals: frozenset[str]
    """The texts of more than two characters that it is given."""


def fill_blanks(
    steps: Sequence[PlanStep], tools: Mapping[str, ToolDefinition], decided: Mapping[int, Sequence[int]]
) -> list[FilledBlank]:
    """Return for every blank argument the call that fills it.

    Args:
        steps: calls, in an order in which they can run; a step without a tool is read as one that takes its text.
        tools: schemas by the tool's name.
        decided: sources that are known already, by the target.
    """
    known: dict[tuple[str, int], _Tool] = {}
    calls = [_read_call(step, tools, known) for step in steps]
    used = {source for sources in decided.values() for source in sources}
    found: list[FilledBlank] = []
    for target in range(1, len(calls)):
        mine = _fill_call(calls, target, used, found)
        used |= {filled.source for filled in mine}
        found += mine
        if not mine and target not in decided:
            missing = _fill_missing(calls, target)
            used |= {filled.source for filled in missing}
            found += missing
    return found


def _fill_call(calls: Sequence[_Call], target: int, used: set[int], before: Sequence[FilledBlank]) -> list[FilledBlank]:
    call = calls[target]
    groups: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for name, around in call.blanks:
        words = _name_words(name)
        groups[_without_role(words)].append((name, around))
    found: list[FilledBlank] = []
    for blanks in groups.values():
        roles = {_role(name) for name, _ in blanks}
        for name, around in blanks:
            suits = sorted(
                ((_suit(calls, source, target, name), source) for source in range(target)),
                key=lambda entry: (-round(entry[0][0] / CLOSE), entry[1] in used, -entry[1]),
            )
            best = suits[0][0][0]
            equals = sorted(source for (suit, _), source in suits if suit >= best - CLOSE)
            same = _same_value(name, before) if len(roles) == 1 else None
            if same is not None and not _is_fresh(calls, same.source, used, target):
                found.append(replace(same, target=target, reason=f"{same.reason}, as for {calls[same.target].step.id}"))
                continue
            count = max(1, count_blanks(around))
            role = _role(name)
            if count > 1:
                chosen = [source for _, source in suits[: min(count, len(suits))]]
            elif len(roles) > 1 and role is not None and len(equals) > 1:
                fresh = [source for source in equals if source not in used] or equals
                fresh = fresh[-len(blanks) :]
                chosen = [fresh[min(role, len(fresh) - 1)]]
            else:
                chosen = [_first_in_line(calls, suits[0][1], equals, used, target, name)]
            for source in chosen:
                suit, place = _suit(calls, source, target, name)
                found.append(_filled(calls, source, target, name, suit, place, alone=len(equals) == 1))
    return found


def _same_value(name: str, before: Sequence[FilledBlank]) -> FilledBlank | None:
    """Return what filled the argument of that name in an earlier call: whoever looks things up does so once."""
    words = _name_words(name)
    if not name or set(words) <= _FREE_TEXT:
        return None
    return next((filled for filled in before if _name_words(filled.argument) == words), None)


def _is_fresh(calls: Sequence[_Call], source: int, used: set[int], target: int) -> bool:
    """Say whether the tool of `source` was called once more since, and nothing uses that result yet."""
    tool = calls[source].step.tool
    return any(calls[other].step.tool == tool and other not in used for other in range(target))


def _first_in_line(
    calls: Sequence[_Call], chosen: int, equals: Sequence[int], used: set[int], target: int, name: str
) -> int:
    """Return the source to take: where as many calls wait as results of one tool do, the first gets the first."""
    tool = calls[chosen].step.tool
    results = [source for source in equals if source not in used and calls[source].step.tool == tool]
    words = _name_words(name)
    waiting = sum(words in call.waits_for for call in calls[target:])
    return results[0] if len(results) > 1 and waiting >= len(results) else chosen


def _fill_missing(calls: Sequence[_Call], target: int) -> list[FilledBlank]:
    """Fill required arguments that were left out, where a result has a field of that name."""
    call = calls[target]
    found = []
    for name, about in call.tool.parameters.items():
        required = isinstance(about, Mapping) and about.get("required") is True
        if not required or _name_words(name) in call.takes or _name_words(name) in call.waits_for:
            continue
        suits = [(_suit(calls, source, target, name), source) for source in range(target)]
        (suit, place), source = max(suits, key=lambda entry: (round(entry[0][0] / CLOSE), entry[1]))
        if suit >= SAME_NAME and place:
            found.append(_filled(calls, source, target, name, suit, place, alone=True))
    return found


def _filled(
    calls: Sequence[_Call], source: int, target: int, name: str, suit: float, place: str, *, alone: bool
) -> FilledBlank:
    there = calls[source].step
    giver = f"{there.id} ({there.tool})" if there.tool else there.id
    what = f"argument {name!r}" if name else "the blank"
    if place and suit >= SAME_NAME:
        reason = f"{what} is left open, and {giver} returns {place!r}"
    elif target == 1:
        reason = f"{what} is left open, and {giver} is the only step before"
    else:
        reason = f"{what} is left open, and {giver} is the likeliest to supply it"
    confidence = min(0.98, max(0.4, 0.45 + 0.5 * suit) + (0.05 if alone else -0.05) + (0.3 if target == 1 else 0.0))
    return FilledBlank(source=source, target=target, argument=name, reason=reason, confidence=round(confidence, 3))


def _suit(calls: Sequence[_Call], source: int, target: int, name: str) -> tuple[float, str]:
    """Return how well a call's result fills an argument, and the field that does."""
    there, here = calls[source], calls[target]
    words = _name_words(name)
    bare = _without_role(words)
    about = here.tool.parameters.get(name)
    kind = _kind(about)
    described = _about(about)
    best, best_name = there.tool.best_field(bare, kind, described)
    if not there.tool.fields:
        specific = frozenset(words) - _GENERIC
        best = 0.4 * overlap(specific, there.tool.words)
    # "can be extracted from the Search Airport API"
    best += 0.25 * overlap(described - here.tool.words, there.tool.words) if described else 0.0
    if words in there.waits_for or bare in there.waits_for:
        best -= 0.5
    elif words in there.takes and not set(bare) <= _FREE_TEXT:
        best -= 0.2
    best += 0.1 * overlap(here.tool.words, there.tool.words) + 0.1 * bool(here.literals & there.literals)
    return best, best_name


def _match_names(words: tuple[str, ...], place: _Field, tool_words: frozenset[str]) -> float:
    if not words:
        return 0.0
    if words == place.words:
        return 0.75 if set(words) <= _GENERIC else 1.0
    mine, theirs = frozenset(words), frozenset(place.words)
    if mine == theirs:
        return 0.95
    specific = mine - _GENERIC
    if mine & theirs & _GENERIC and specific and not (theirs - _GENERIC) and specific <= tool_words | place.path_words:
        return 0.85  # artistId is the `id` of a tool that finds artists
    if mine <= place.path_words and theirs & mine:
        return 0.8
    if specific and (theirs < mine or mine < theirs) and (specific & theirs):
        return 0.65
    if theirs < mine and theirs:
        return 0.6 if not theirs <= _GENERIC else 0.35
    return 0.3 * len(mine & theirs) / len(mine | theirs)


def _read_call(step: PlanStep, tools: Mapping[str, ToolDefinition], known: dict[tuple[str, int], _Tool]) -> _Call:
    schema = step.schema or tools.get(step.tool) or ToolDefinition(name=step.tool)
    key = (step.tool, id(step.schema))
    if key not in known:
        known[key] = _Tool(
            words=_stems(" ".join(_CAMEL.findall(step.tool.replace("_", " "))) + " " + schema.description),
            parameters=schema.properties,
            fields=tuple(_fields(schema.outputs)),
        )
    blanks = [*blank_arguments(step.arguments)]
    given = tuple(literal_arguments(step.arguments))
    if count_blanks(step.text):
        blanks.append(("", step.text))
    return _Call(
        step=step,
        tool=known[key],
        blanks=tuple(blanks),
        waits_for=frozenset(_name_words(name) for name, _ in blanks if name),
        takes=frozenset(_name_words(name) for name, _ in given),
        literals=frozenset(value.casefold() for _, value in given if len(value) > 2 and not value.isdecimal()),
    )


def _fields(results: Mapping[str, Any]) -> Iterator[_Field]:
    """Yield the places of a result, outermost first."""
    queue: list[tuple[tuple[str, ...], Any]] = [((str(name),), about) for name, about in results.items()]
    for at, (path, about) in enumerate(queue):
        if at >= MAX_FIELDS:
            return
        words = _name_words(path[-1])
        yield _Field(
            words=words,
            path_words=frozenset(word for part in path[-3:] for word in _name_words(part)),
            kind=_kind(about),
            about=_about(about),
            name=".".join(path),
        )
        if isinstance(about, Mapping) and len(path) < 8:
            inner = about
            while isinstance(inner.get("items"), Mapping):
                inner = inner["items"]
            properties = inner.get("properties")
            if isinstance(properties, Mapping):
                queue += [((*path, str(name)), value) for name, value in properties.items()]


@lru_cache(maxsize=4096)
def _name_words(name: str) -> tuple[str, ...]:
    """The stems in a name: `restaurantsId` is restaurant, id."""
    return tuple(stem(word.casefold()) for word in _CAMEL.findall(name)) or (name.casefold(),)


def _without_role(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in _ROLES and not word.isdecimal()) or words


def _role(name: str) -> int | None:
    words = _name_words(name)
    return next((_ROLES[word] for word in words if word in _ROLES), int(words[-1]) if words[-1].isdecimal() else None)


@lru_cache(maxsize=4096)
def _stems(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in split_words(text) if word not in STOP_WORDS and word not in _PLUMBING)


_PLUMBING = word_set(
    "api retrieve retrieves using use given get list search returns return provided information unique"
)


def _kind(about: Any) -> str:
    kind = about.get("type") if isinstance(about, Mapping) else about
    text = kind.casefold() if isinstance(kind, str) else ""
    if text in ("int", "integer", "float", "double"):
        return "number"
    if text in ("str", "string", "enum"):
        return "string"
    return text if text in ("number", "boolean") else ""


def _about(about: Any) -> frozenset[str]:
    text = about.get("description") if isinstance(about, Mapping) else None
    return _stems(text[:300]) if isinstance(text, str) else frozenset()
