"""References from a task's inputs to the outputs of other tasks: `{s1}`.

    {s1}              the whole output of s1; in a longer text its bare answer, where that is one line, else its text
    {s1.capital}      a field of it
    {s1[0]}           an item of it
    {s1.answer}       its bare answer: the field of that name, else the whole output as text
    {s1.text}         the output as the text that people read: the field of that name, else the whole output as text
    {country_2_from_s1}   the form that graph-planning prompts teach: a named or numbered part of s1's output
    {{s1}}            the literal text {s1}

Any other brace is an error, so that a misspelt reference is not sent to a model as it stands. The keys of mappings
hold no references. A value that consists of one reference alone receives the output itself (a list stays a list);
inside a longer text the output is rendered as text. What an output holds is data: braces in it are no references, and
`split_filled` tells it from the text around it. Knows nothing of tasks: see task.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kapelle.errors import InvalidGraph

_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
REFERENCE_PATTERN = r"\{(" + _NAME + r")((?:\.[A-Za-z_][A-Za-z0-9_]*|\[[0-9]{1,9}\])*)\}"
_PATTERN = re.compile(r"\{\{|\}\}|" + REFERENCE_PATTERN + r"|[{}]")
_SPACED = REFERENCE_PATTERN.replace(r"\{", r"\{ {0,8}", 1).removesuffix(r"\}") + r" {0,8}\}"
# An odd brace more is that of a reference within literal ones.
_DOUBLED = re.compile(r"(?<!\{)\{(?:\{\{)*" + _SPACED + r"(?:\}\})*\}(?!\})")
_IN_KEY = re.compile(r"\{{0,8}" + _SPACED + r"\}{0,8}")
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]+)\]")
_PART_OF = re.compile(r"(?P<part>[A-Za-z0-9_]{1,256})_from_(?P<task>" + _NAME + r")")
_NUMBERED = re.compile(r".*_([0-9]{1,9})")
_WHOLE = ("answer", "text", "output", "result")
"""Names for an output as such, where it has no part of that name: models write {s1.output} for {s1}."""
_SEPARATOR = "; "
"""Between references that stand for one in a text: reads well in a question, as in "population of Paris; Berlin"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """One reference: which task's output, and which part of it."""

    task_id: str
    path: tuple[str | int, ...] = ()
    """Fields and items to follow, outermost first; empty for the whole output."""

    def __str__(self) -> str:
        """Return the reference as it is written, `{s1.capital}`."""
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return "{" + self.task_id + "".join(steps) + "}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Filled:
    """What stands in a text in the place of a reference: data, whatever the text around it is."""

    reference: Reference
    value: Any

    @property
    def text(self) -> str:
        """The value as it stands in the text."""
        return render_output(self.bare)

    @property
    def bare(self) -> Any:
        """What the output says and nothing more: see `bare_answer`."""
        return bare_answer(self.value)


def find_references(value: Any) -> tuple[Reference, ...]:
    """Return the references in a value, nested lists and mappings included, in reading order, each once.

    Raises:
        InvalidGraph: a brace belongs to no reference.
    """
    return tuple(dict.fromkeys(_walk(value)))


def is_reference(text: str) -> bool:
    """Say whether a text is one reference and nothing else, so that it receives the output itself.

    >>> is_reference("{s1}"), is_reference("{s1} and {s2}"), is_reference("{{s1}}")
    (True, False, False)
    """
    return _whole_reference(text) is not None


def resolve_references(value: Any, outputs: Mapping[str, Any]) -> Any:
    """Return `value` with every reference replaced by the output it names, and `{{` by `{`.

    Raises:
        LookupError: an output, or the part of it that the reference names, does not exist.
        InvalidGraph: a brace belongs to no reference.
    """
    return change_texts(value, lambda text: _resolve_text(text, outputs))


def split_filled(text: str, outputs: Mapping[str, Any]) -> tuple[str | Filled, ...]:
    """Return the parts of a text with references: the literal ones, and what is filled in between.

    Raises:
        LookupError, InvalidGraph: as for `resolve_references`.

    >>> [part if isinstance(part, str) else part.value for part in split_filled("{s1} of {{x}}", {"s1": 3})]
    [3, ' of {x}']
    """
    parts: list[str | Filled] = []
    literal: list[str] = []
    position = 0

    def end_literal() -> None:
        if said := "".join(literal):
            parts.append(said)
        literal.clear()

    for match in _PATTERN.finditer(text):
        literal.append(text[position : match.start()])
        position = match.end()
        token = _read(match)
        if isinstance(token, str):
            literal.append(token)
        else:
            end_literal()
            parts.append(Filled(reference=token, value=_look_up(token, outputs)))
    literal.append(text[position:])
    end_literal()
    return tuple(parts) or ("",)


def replace_references(value: Any, stand_ins: Callable[[Reference], Sequence[Reference]]) -> Any:
    """Return `value` with every reference replaced by those that now stand for it.

    Where several stand for one, a value that is the reference alone becomes a list of them (see `references`: a list
    stays a list), and a longer text names them one after the other: `"of {s1}"` becomes `"of {s1_1}; {s1_2}"`.

    Raises:
        InvalidGraph: a brace belongs to no reference.
    """
    return change_texts(value, lambda text: _replace_in_text(text, stand_ins))


def rename_references(value: Any, rename: Callable[[str], str]) -> Any:
    """Return `value` with every reference to a task turned to the task `rename(task_id)`; paths are kept.

    >>> rename_references("capital of {country_1_from_s1}", lambda task_id: "x_" + task_id)
    'capital of {x_s1.country_1}'
    """
    return replace_references(value, lambda reference: (replace(reference, task_id=rename(reference.task_id)),))


def escape_braces(text: str) -> str:
    """Return text that survives `resolve_references` unchanged, whatever braces a user wrote in it."""
    return text.replace("{", "{{").replace("}", "}}")


def change_texts(value: Any, change: Callable[[str], Any]) -> Any:
    """Return `value` with every text in it changed that holds a brace; keys stay."""
    if isinstance(value, str):
        return change(value) if "{" in value or "}" in value else value
    if isinstance(value, (dict, Mapping)):  # the one is told fast, and is what nearly all of them are
        return {key: change_texts(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [change_texts(item, change) for item in value]
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Literal:
    """What reads like a reference, and stays the text that it is."""

    place: str
    """Where it stands in the value, as `['query'][0]`."""
    written: str
    """How it is written there."""
    reference: Reference
    """What it would be if it were one."""


def find_literals(value: Any, names: Collection[str], *, place: str = "") -> Iterator[Literal]:
    """Find what reads like a reference to one of these tasks and is none: in doubled braces, in a key, or unquoted in a
    YAML file, where `{s1}` is a mapping.

    >>> [found.written for found in find_literals({"query": "of {{s1.answer}} and {s1}"}, {"s1"})]
    ['{{s1.answer}}']
    """
    if isinstance(value, str):
        if "{{" in value:
            yield from _literals(_DOUBLED, value, names, place)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _literals(_IN_KEY, key, names, place)
            alone = _PATTERN.fullmatch("{" + key + "}") if item is None and len(value) == 1 else None
            if alone is not None and alone[1] is not None:
                reference = _reference(alone[1], alone[2])
                if reference.task_id in names:
                    yield Literal(place=place, written=alone[0], reference=reference)
            yield from find_literals(item, names, place=f"{place}[{key!r:.40}]")
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from find_literals(item, names, place=f"{place}[{number}]")


def _literals(pattern: re.Pattern[str], text: str, names: Collection[str], place: str) -> Iterator[Literal]:
    for match in pattern.finditer(text):
        reference = _reference(match[1], match[2])
        if reference.task_id in names:
            yield Literal(place=place, written=match[0], reference=reference)


def names_a_part(name: str) -> bool:
    """Say whether `{name}` would be read as a part of another task's output, as `country_1_from_s1` is."""
    return _PART_OF.fullmatch(name) is not None


def render_output(value: Any) -> str:
    """Return an output as the text that stands for it inside a longer text."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("text"), str):
        return str(value["text"])
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):  # keys that are no texts, or a value that contains itself
        return repr(value)


def bare_answer(value: Any) -> Any:
    """Return what an output says and nothing more, as it fits into a question: its field `answer`, where that is a text
    of one line or a number; else the output itself.

    >>> bare_answer({"text": "Capital of Peru: Lima (cities.csv:3)", "answer": "Lima"})
    'Lima'
    """
    answer = value.get("answer") if isinstance(value, Mapping) else None
    if isinstance(answer, (int, float)) and not isinstance(answer, bool):
        return answer
    if isinstance(answer, str) and answer.strip() and len(answer.strip().splitlines()) == 1:
        return answer.strip()
    return value


def _walk(value: Any) -> Iterator[Reference]:
    if isinstance(value, str):
        if "{" in value or "}" in value:
            for match in _PATTERN.finditer(value):
                token = _read(match)
                if isinstance(token, Reference):
                    yield token
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _walk(item)


def _read(match: re.Match[str]) -> Reference | str:
    """Return the reference that was matched, or the literal brace that a doubled one stands for."""
    if match[1] is not None:
        return _reference(match[1], match[2])
    if len(match[0]) == 2:
        return match[0][0]
    start = max(0, match.start() - 20)
    excerpt = match.string[start : match.start() + 30]
    raise InvalidGraph(
        f"the brace at position {match.start()} belongs to no reference, in {excerpt!r}. "
        "A reference is {task_id}, {task_id.field} or {task_id[0]}; write {{ and }} for literal braces."
    )


def _reference(name: str, steps: str) -> Reference:
    path = tuple(field or int(item) for field, item in _STEP.findall(steps))
    part = _PART_OF.fullmatch(name)
    if part is None:
        return Reference(task_id=name, path=path)
    return Reference(task_id=part["task"], path=(part["part"], *path))


def _whole_reference(text: str) -> Reference | None:
    whole = _PATTERN.fullmatch(text)
    return _reference(whole[1], whole[2]) if whole is not None and whole[1] is not None else None


def _replace_in_text(text: str, stand_ins: Callable[[Reference], Sequence[Reference]]) -> Any:
    whole = _whole_reference(text)
    if whole is not None:
        found = tuple(stand_ins(whole))
        if len(found) != 1:
            return [str(reference) for reference in found]
        return text if found[0] == whole else str(found[0])

    def rewrite(match: re.Match[str]) -> str:
        token = _read(match)
        if isinstance(token, str):
            return match[0]
        found = tuple(stand_ins(token))
        return match[0] if found == (token,) else _SEPARATOR.join(map(str, found))

    return _PATTERN.sub(rewrite, text)


def _resolve_text(text: str, outputs: Mapping[str, Any]) -> Any:
    first, *others = split_filled(text, outputs)
    if isinstance(first, Filled) and not others:
        return first.value
    return "".join(part if isinstance(part, str) else part.text for part in (first, *others))


def _look_up(reference: Reference, outputs: Mapping[str, Any]) -> Any:
    if reference.task_id not in outputs:
        raise LookupError(f"there is no output of {reference.task_id!r}")
    value = outputs[reference.task_id]
    for step in reference.path:
        value = _follow(value, step, reference.task_id)
    return value


def _follow(value: Any, step: str | int, task_id: str) -> Any:
    if isinstance(step, int):
        if isinstance(value, (list, tuple)) and step < len(value):
            return value[step]
        raise LookupError(f"the output of {task_id!r} has no item {step}")
    if isinstance(value, Mapping) and step in value:
        return value[step]
    number = part_number(step)
    if number is not None:
        items = _items(value)
        if 1 <= number <= len(items):
            return items[number - 1]
    if isinstance(value, str):
        return value  # a named part of a plain text: the text is the best there is
    if step in _WHOLE:
        return render_output(value)  # every output has an answer: see the head of this file
    raise LookupError(f"the output of {task_id!r} has no part {step!r}")


def part_number(step: str) -> int | None:
    """Return the number at the end of a part's name; prompts count from one, so `country_1` is the first."""
    numbered = _NUMBERED.fullmatch(step)
    return int(numbered[1]) if numbered is not None else None


def _items(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, Mapping):  # what lists its items says itself where each begins and ends
        for key in ("rows", "items", "results"):
            if isinstance(value.get(key), (list, tuple)):
                return [row[0] if isinstance(row, (list, tuple)) and row else row for row in value[key]]
        if isinstance(value.get("fact"), Mapping):  # one cell of a table, whatever stands in it
            return [value.get("answer", value)]
    text = render_output(bare_answer(value))
    return [part.strip() for part in re.split(r"[,;\n]", text) if part.strip()]
