"""Reads the inputs of a task: what is asked, under whichever of the usual names, as one text, and what in it is data.

An input that is one reference alone is the output itself: a query that another task wrote is run, and as a question an
output is its bare answer. Inside a longer text an output, or an item of a `for each`, is data: a value to look for,
whatever it holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kapelle.agents import TaskContext
from kapelle.errors import CannotAnswer
from kapelle.graph import Filled, Task, bare_answer, render_output, split_filled
from kapelle.language import quote_text

MAX_TEXT_CHARS = 10_000
_QUESTIONS = ("query", "question", "request", "expression")


def read_text(task: Task, *names: str) -> str:
    """Return the first of the named inputs that is there, as a text; an output of another task counts by its text, and
    as a question by its bare answer."""
    for name in names:
        value = task.inputs.get(name)
        text = (as_text(value) if name not in _QUESTIONS else as_text(bare_answer(value))).strip()
        if text:
            return text[:MAX_TEXT_CHARS]
    return ""


def require_text(task: Task, *names: str) -> str:
    """Return what `read_text` finds, or else the task's description.

    Raises:
        CannotAnswer: there is neither.
    """
    text = read_text(task, *names) or task.description.strip()[:MAX_TEXT_CHARS]
    if not text:
        raise CannotAnswer(
            f"Task {quote_text(task.task_id)} does not say what is asked. Give it the input {names[0]!r}."
        )
    return text


def read_parts(task: Task, context: TaskContext, name: str) -> tuple[str | Filled, ...]:
    """Return the parts of an input that is a text: what was written, and the outputs that were filled into it."""
    written = task.written.get(name)
    if task.written is task.inputs or not isinstance(written, str):
        return (as_text(task.inputs.get(name)),)
    try:
        return split_filled(written, context.upstream)
    except LookupError:  # whoever runs the agent gives no outputs
        return (as_text(task.inputs.get(name)),)


def find_data(task: Task, context: TaskContext, *names: str) -> tuple[str, ...]:
    """Return the texts that are data inside the text that `read_text` finds under these names."""
    name = next((name for name in names if as_text(task.inputs.get(name)).strip()), "")
    parts = read_parts(task, context, name)
    found: list[str] = []
    if len(parts) > 1:
        for part in parts:
            if isinstance(part, Filled):
                found += _values(part, context)
    item = task.metadata.get("item")
    if isinstance(item, str) and item in as_text(task.inputs.get(name)):
        found.append(item)
    return tuple(dict.fromkeys(text for text in found if text.strip()))


def _values(part: Filled, context: TaskContext) -> list[str]:
    """The values that an output is: the cells of its rows, where its answer lists those, else the whole text."""
    output = context.upstream.get(part.reference.task_id)
    rows = output.get("rows") if isinstance(output, Mapping) else None
    if part.reference.path in ((), ("answer",)) and isinstance(rows, (list, tuple)):
        return [render_output(row[0] if isinstance(row, (list, tuple)) and row else row) for row in rows]
    return [part.text]


def as_text(value: Any) -> str:
    """Return a value as people read it: a mapping with a `text` by that text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("text"), str):
        return str(value["text"])
    return json.dumps(value, ensure_ascii=False, default=str)


def show_cell(value: Any, is_code: bool) -> str:
    """Return a cell as people read it: of a code or a year, the digits alone.

    >>> show_cell(2011, True), show_cell(2011, False)
    ('2011', '2,011')
    """
    return str(value) if is_code and isinstance(value, int) else show_number(value)


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
