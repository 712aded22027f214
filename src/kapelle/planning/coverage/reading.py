"""What a task says, in the form that it is compared in: stems, numbers, the words as they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kapelle.graph import Task
from kapelle.language import find_quantities, plain, split_name, stems_of

MAX_TEXT = 20_000
"""Characters of a task that are read: longer ones are data, and everything about them is said at the beginning."""

_REFERENCE = re.compile(r"\{\{|\}\}|\{[^{}]{0,300}\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskText:
    """The words of one task."""

    task: Task
    text: str
    """Description and the texts of the inputs, without references."""
    own: frozenset[str]
    """Stems of that text."""
    stems: frozenset[str]
    """Those, and the stems of what the task is called and of what its tool is said to do."""
    quantities: frozenset[tuple[str, str, str | None]]
    """See `Quantity.keys`."""
    plain: str
    """The text in lower case and without accents."""


def read_task(task: Task, tool_words: str = "") -> TaskText:
    """Return a task's words; `tool_words` is what its tool is said to do."""
    text = " ; ".join((task.description, *_texts_of(task.inputs)))[:MAX_TEXT]
    text = _REFERENCE.sub(lambda match: match[0][0] if len(match[0]) == 2 else " … ", text)
    quantities = frozenset(key for one in find_quantities(text) for key in one.keys)
    own = stems_of(text)
    return TaskText(
        task=task,
        text=text,
        own=own,
        stems=own | stems_of(" ".join((split_name(task.task_type), *map(split_name, task.inputs), tool_words))),
        quantities=quantities,
        plain=plain(text),
    )


def _texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts_of(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield f"{value:.12g}" if isinstance(value, float) else str(value)
