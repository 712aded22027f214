"""References from a task's inputs to the outputs of other tasks: `{s1}`.

    {s1}              the whole output of s1
    {s1.capital}      a field of it
    {s1[0]}           an item of it
    {country_2_from_s1}   the form that graph-planning prompts teach: a named or numbered part of s1's output
    {{s1}}            the literal text {s1}

A value that consists of one reference alone receives the output itself (a list stays a list); inside a longer text the
output is rendered as text. Knows nothing of tasks: see task.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_PATTERN = re.compile(r"\{\{|\}\}|\{(" + _NAME + r")((?:\.[A-Za-z_][A-Za-z0-9_]*|\[\d+\])*)\}")
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]")
_PART_OF = re.compile(r"(?P<part>[A-Za-z0-9_]+)_from_(?P<task>" + _NAME + r")")
_NUMBERED = re.compile(r".*_(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """One reference: which task's output, and which part of it."""

    task_id: str
    path: tuple[str | int, ...] = ()
    """Fields and items to follow, outermost first; empty for the whole output."""


def find_references(value: Any) -> tuple[Reference, ...]:
    """Return the references in a value, nested lists and mappings included, in reading order, each once."""
    return tuple(dict.fromkeys(_walk(value)))


def resolve_references(value: Any, outputs: Mapping[str, Any]) -> Any:
    """Return `value` with every reference replaced by the output it names, and `{{` by `{`.

    Raises:
        LookupError: an output, or the part of it that the reference names, does not exist.
    """
    if isinstance(value, str):
        return _resolve_text(value, outputs)
    if isinstance(value, Mapping):
        return {key: resolve_references(item, outputs) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve_references(item, outputs) for item in value]
    return value


def rename_references(value: Any, rename: Callable[[str], str]) -> Any:
    """Return `value` with every reference `{id...}` to a task replaced by the text `rename(id)`, if that differs."""
    if isinstance(value, str):

        def replace(match: re.Match[str]) -> str:
            if match[1] is None:
                return match[0]
            task_id = _reference(match[1], match[2]).task_id
            return match[0] if rename(task_id) == task_id else rename(task_id)

        return _PATTERN.sub(replace, value)
    if isinstance(value, Mapping):
        return {key: rename_references(item, rename) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rename_references(item, rename) for item in value]
    return value


def escape_braces(text: str) -> str:
    """Return text that survives `resolve_references` unchanged, whatever braces a user wrote in it."""
    return text.replace("{", "{{").replace("}", "}}")


def render_output(value: Any) -> str:
    """Return an output as the text that stands for it inside a longer text."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("text"), str):
        return str(value["text"])
    return json.dumps(value, ensure_ascii=False, default=str)


def _walk(value: Any) -> Iterator[Reference]:
    if isinstance(value, str):
        if "{" in value:
            for match in _PATTERN.finditer(value):
                if match[1] is not None:
                    yield _reference(match[1], match[2])
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _walk(item)


def _reference(name: str, steps: str) -> Reference:
    path = tuple(field or int(item) for field, item in _STEP.findall(steps))
    part = _PART_OF.fullmatch(name)
    if part is None:
        return Reference(task_id=name, path=path)
    return Reference(task_id=part["task"], path=(part["part"], *path))


def _resolve_text(text: str, outputs: Mapping[str, Any]) -> Any:
    if "{" not in text and "}" not in text:
        return text
    whole = _PATTERN.fullmatch(text)
    if whole is not None and whole[1] is not None:
        return _look_up(_reference(whole[1], whole[2]), outputs)

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        return render_output(_look_up(_reference(match[1], match[2]), outputs))

    return _PATTERN.sub(replace, text)


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
    numbered = _NUMBERED.fullmatch(step)
    if numbered is not None:
        items = _items(value)
        position = int(numbered[1]) - 1  # prompts count from one: country_1 is the first
        if 0 <= position < len(items):
            return items[position]
    if isinstance(value, str):
        return value  # a named part of a plain text: the text is the best there is
    raise LookupError(f"the output of {task_id!r} has no part {step!r}")


def _items(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    text = render_output(value)
    return [part.strip() for part in re.split(r"[,;\n]", text) if part.strip()]
