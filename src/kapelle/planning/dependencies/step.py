"""What goes in and what comes out: steps of a plan, edges with reasons. Infers nothing.

Two things in a step speak of other steps:

    reference   names the step whose result is meant: `{s1}`, `{s1.name}`, `#1`, `$s1`, `$s1.name$`, `${s1}`, "step 1"
    blank       says that some result is meant, not which: `___`, `<...>`, `?`; None or an empty text as an argument
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kapelle.models import ToolDefinition

BLANK = "___"
"""How a place for another step's result is written when nothing says whose."""

EdgeKind = Literal["reference", "argument", "blank", "words", "usual", "model"]

_BLANK = re.compile(r"_{3,}|<(?:\.\.\.|…|blank|result|output|answer)>", re.IGNORECASE)
_BLANK_VALUE = re.compile(r"\s*(?:\?+|_{2,}|<[^<>]*>|tbd|todo|unknown)\s*", re.IGNORECASE)
_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_REFERENCE = re.compile(
    rf"\{{\s*(?:(?P<part>[A-Za-z0-9_]{{1,256}})_from_)?(?P<brace>{_NAME})(?:[.\[][^{{}}]*)?\}}"
    rf"|\$\{{?(?P<dollar>{_NAME}|\d+)"
    r"|(?<!\w)#(?P<number>\d{1,4})\b"
    r"|\bstep\s+(?P<step>\d{1,4})\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanStep:
    """One step of a plan: words, or a call of a tool, or both."""

    id: str
    text: str = ""
    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    schema: ToolDefinition | None = None
    """The schema of `tool`, where it is not among the `tools` given to `infer_dependencies`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """`target` waits for `source`."""

    source: str
    target: str
    reason: str
    """Why, in a sentence for people."""
    confidence: float
    """How likely the edge is, 0 to 1; 1 for what is written down."""
    kind: EdgeKind
    """Where it comes from. `usual`: such steps tend to wait for each other, though nothing in them is open."""


def count_blanks(text: str) -> int:
    """Return how many places of a text wait for another step's result.

    >>> count_blanks("Is ___ more than ___?")
    2
    """
    return len(_BLANK.findall(text))


def mark_blanks(text: str) -> str:
    """Return the text with each blank written as one word, apart from its neighbours."""
    return _BLANK.sub(f" {BLANK} ", text)


def is_blank(value: Any) -> bool:
    """Say whether an argument waits for another step's result, wholly or in part."""
    if value is None:
        return True
    if isinstance(value, str):
        return not value.strip() or _BLANK_VALUE.fullmatch(value) is not None or _BLANK.search(value) is not None
    return False


def blank_arguments(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name of each argument that holds a blank, with the text around the blank; nested ones by their key."""
    for name, value in arguments.items():
        for leaf_name, leaf in _leaves(str(name), value):
            if is_blank(leaf):
                yield leaf_name, leaf if isinstance(leaf, str) else ""


def literal_arguments(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each argument that is given."""
    for name, value in arguments.items():
        for leaf_name, leaf in _leaves(str(name), value):
            if not is_blank(leaf):
                yield leaf_name, leaf if isinstance(leaf, str) else json.dumps(leaf, default=str)


def find_referred(step: PlanStep, steps: Sequence[PlanStep]) -> dict[str, str]:
    """Return the other steps that a step names, each with the words that name it.

    `#2` and "step 2" mean the step with the id `2` or `s2` where there is one, else the second.
    """
    ids = {other.id: other.id for other in reversed(steps)}
    texts = [step.text, *(leaf for _, leaf in literal_arguments(step.arguments))]
    found: dict[str, str] = {}
    for text in texts:
        for match in _REFERENCE.finditer(text):
            source = _resolve(match, ids, steps)
            if source is not None and source != step.id:
                found.setdefault(source, match[0])
    return found


def _resolve(match: re.Match[str], ids: Mapping[str, str], steps: Sequence[PlanStep]) -> str | None:
    name = match["brace"] or match["dollar"] or match["number"] or match["step"]
    if name in ids:
        return ids[name]
    if not name.isdigit():
        return None
    if f"s{name}" in ids:
        return ids[f"s{name}"]
    number = int(name)
    return steps[number - 1].id if 1 <= number <= len(steps) else None


def _leaves(name: str, value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    if depth < 8 and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(str(key), item, depth + 1)
    elif depth < 8 and isinstance(value, (list, tuple)) and value:
        for item in value:
            yield from _leaves(name, item, depth + 1)
    else:
        yield name, value
