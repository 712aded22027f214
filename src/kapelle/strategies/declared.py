"""What a task declares for its answer: functions, a schema, tests. Reads, and judges nothing: see examination."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from kapelle.graph import Task

DECLARED = ("functions", "tools", "output_schema", "tests")
"""What of a task's metadata or inputs the checks look at."""
MAX_DECLARATION_CHARS = 200_000
"""Of a task's declared functions."""
MAX_CALL_DEPTH = 30
"""Brackets within brackets; arguments of real calls stay in single digits."""


def task_context(task: Task) -> str:
    """Return what a task declares for its answer as JSON, the same text that `LoggedTask.context` holds of it."""
    found: dict[str, Any] = {}
    for name in DECLARED:
        value = task.metadata.get(name, task.inputs.get(name))
        if isinstance(value, str) and name != "tests":
            try:
                value = (
                    json.loads(value) if len(value) <= MAX_DECLARATION_CHARS and not is_too_deep(value, 100) else None
                )
            except (ValueError, RecursionError):
                value = None
        if value:
            found[name] = value
    return json.dumps(found, sort_keys=True, default=str) if found else ""


@lru_cache(maxsize=256)
def declared(context: str) -> Mapping[str, Any]:
    """Return what such a text declares; nothing where it is none."""
    if not context.lstrip().startswith("{") or len(context) > MAX_DECLARATION_CHARS or is_too_deep(context, 100):
        return {}
    try:
        data = json.loads(context)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def is_too_deep(text: str, most: int = MAX_CALL_DEPTH) -> bool:
    """Return whether brackets nest deeper than `most`. Brackets within texts count too: refusing those is safe."""
    depth = 0
    for bracket in re.findall(r"[\[\](){}]", text):
        depth += 1 if bracket in "([{" else -1
        if depth > most:
            return True
    return False
