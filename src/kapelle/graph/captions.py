"""The words that stand for a task in a picture: one line, no control characters, cut to the space there is."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from kapelle.redaction import STEERS, hide_known

from .references import find_references, is_reference, render_output, split_filled
from .task import Task

STATES = ("waiting", "running", "done", "failed", "cancelled", "skipped", "asking")
"""The states of a task that pictures have a colour for; any other is shown by its name alone."""
MAX_TITLE_COLUMNS = 120
"""Of a heading."""
_ASKED = ("query", "question", "request", "title", "topic", "subject", "item", "expression")
"""Inputs that say what a task is about."""


def describe_task(task: Task) -> str:
    """Return what the task does as one line: its description, or else its inputs."""
    if task.description.strip():
        return clean_text(task.description)
    query = task.inputs.get("query")
    if isinstance(query, str) and len(task.inputs) == 1:
        return clean_text(query)
    return clean_text(", ".join(f"{name}: {_shown(value)}" for name, value in task.inputs.items()))


def title_task(task: Task, outputs: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Return what a task is about, as a heading: its description as it is; else what its inputs ask; else its type.

    Args:
        outputs: Of the tasks that its inputs refer to, as far as they are known.

    >>> title_task(Task(task_id="s2", task_type="lookup", inputs={"query": "population of {s1}"}), {"s1": "Lima"})
    'Population of Lima'
    >>> title_task(Task(task_id="s3", task_type="compare_values", inputs={"arg1": "{s1}", "arg2": "{s2}"}))
    'Compare values'
    """
    if task.description.strip():
        return task.description
    asked = [task.inputs[name] for name in (*_ASKED, *task.inputs) if name in task.inputs]
    said = next((one for one in asked if isinstance(one, str) and one.strip() and not is_reference(one.strip())), None)
    title = clean_text(re.sub(r"[_:.-]+", " ", task.task_type) if said is None else _filled(said, outputs))
    title = cut_text(title, MAX_TITLE_COLUMNS)
    return title[:1].upper() + title[1:]


def _filled(text: str, outputs: Mapping[str, Any]) -> str:
    """Fill a text with what is known; a reference to what is not stays as it is."""
    known = {reference.task_id: outputs.get(reference.task_id, str(reference)) for reference in find_references(text)}
    try:
        return "".join(part if isinstance(part, str) else part.text for part in split_filled(text, known))
    except LookupError:
        return text


def clean_text(text: str) -> str:
    """Return the text as one line without characters that show nothing or turn the rest of a line around.

    Known keys are hidden here, before the text is cut: nobody could find half of one.
    """
    line = " ".join(hide_known(text).split())
    return line if line.isprintable() else STEERS.sub("\ufffd", line)


def cut_text(text: str, width: int) -> str:
    """Return the text, or as much of it as fits in `width` columns with an ellipsis; wide characters take two."""
    if text.isascii() and len(text) <= width:
        return text
    used = 0
    fits = 0
    for position, char in enumerate(text):
        used += _columns(char)
        if used <= width - 1:
            fits = position + 1
        if used > width:
            return text[:fits].rstrip() + "…"
    return text


def wrap_text(text: str, width: int, lines: int) -> list[str]:
    """Return at most so many lines, broken at spaces where there are any, the last one cut."""
    wrapped: list[str] = []
    rest = text
    while rest and len(wrapped) < lines - 1:
        line = cut_text(rest, width)
        if line == rest:
            break
        line = line[:-1]
        at = len(line) if rest[len(line) :].startswith(" ") else line.rfind(" ")
        line = line[:at] if at > 0 else line
        wrapped.append(line.rstrip())
        rest = rest[len(line) :].lstrip()
    return [*wrapped, cut_text(rest, width)] if rest else wrapped


def _shown(value: Any) -> str:
    return render_output(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
