"""Reads the inputs of a task: what is asked, under whichever of the usual names, as one text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kapelle.errors import AgentFailed
from kapelle.graph import Task
from kapelle.knowledge import quote_text

MAX_TEXT_CHARS = 10_000


def read_text(task: Task, *names: str) -> str:
    """Return the first of the named inputs that is there, as a text; an output of another task counts by its text."""
    for name in names:
        text = as_text(task.inputs.get(name)).strip()
        if text:
            return text[:MAX_TEXT_CHARS]
    return ""


def require_text(task: Task, *names: str) -> str:
    """Return what `read_text` finds, or else the task's description.

    Raises:
        AgentFailed: there is neither.
    """
    text = read_text(task, *names) or task.description.strip()[:MAX_TEXT_CHARS]
    if not text:
        raise AgentFailed(
            f"Task {quote_text(task.task_id)} does not say what is asked. Give it the input {names[0]!r}."
        )
    return text


def as_text(value: Any) -> str:
    """Return a value as people read it: a mapping with a `text` by that text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("text"), str):
        return str(value["text"])
    return json.dumps(value, ensure_ascii=False, default=str)


def show_number(value: Any) -> str:
    """Return a cell as people read it.

    >>> show_number(68000000), show_number(25745769.2307), show_number(None), show_number(0.00012345)
    ('68,000,000', '25,745,769.23', '', '0.00012345')
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.2f}".rstrip("0").rstrip(".") if abs(value) >= 1 else f"{value:.6g}"
