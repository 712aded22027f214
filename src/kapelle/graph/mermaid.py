"""A graph as a Mermaid flowchart, the text that GitHub and most wikis draw (https://mermaid.js.org/syntax/flowchart.html)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from typing import Literal

from .captions import STATES, clean_text, cut_text, describe_task
from .task import Task

_LABEL_COLUMNS = 60
_COLOURS = {
    "waiting": "fill:#f1f5f9,stroke:#94a3b8,color:#0f172a",
    "running": "fill:#dbeafe,stroke:#2563eb,color:#0f172a",
    "done": "fill:#dcfce7,stroke:#15803d,color:#0f172a",
    "failed": "fill:#fee2e2,stroke:#b91c1c,color:#0f172a",
    "cancelled": "fill:#fef3c7,stroke:#b45309,color:#0f172a",
    "skipped": "fill:#f1f5f9,stroke:#94a3b8,color:#64748b,stroke-dasharray:4 3",
    "asking": "fill:#f3e8ff,stroke:#7e22ce,color:#0f172a",
}
_SPECIAL = re.compile(r"(?![\w .,:/+=?!()-])[\x00-\x7f]")
"""Everything in ASCII that Mermaid, Markdown or HTML could read as markup, even inside quotes."""


def draw_mermaid(
    tasks: Iterable[Task],
    *,
    direction: Literal["LR", "TD"] = "LR",
    status: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
    critical_path: Collection[str] = (),
) -> str:
    """Return the flowchart. Nodes are called n0, n1, ..., as words such as `end` have a meaning of their own."""
    status, notes = status or {}, notes or {}
    tasks = list(tasks)
    names = {task.task_id: f"n{number}" for number, task in enumerate(tasks)}
    lines = [f"flowchart {direction}"]
    lines += [f'  {names[task.task_id]}["{_label(task, status, notes)}"]' for task in tasks]
    edges = [(other, task.task_id) for task in tasks for other in task.dependencies]
    lines += [f"  {names[before]} --> {names[after]}" for before, after in edges]
    for state in STATES:
        members = [names[task.task_id] for task in tasks if status.get(task.task_id) == state]
        if members:
            lines += [f"  classDef {state} {_COLOURS[state]}", f"  class {','.join(members)} {state}"]
    path = [task_id for task_id in critical_path if task_id in names]
    if path:
        lines += ["  classDef critical stroke-width:3px", f"  class {','.join(names[each] for each in path)} critical"]
        steps = set(pairwise(path))
        numbers = [str(number) for number, edge in enumerate(edges) if edge in steps]
        lines += [f"  linkStyle {','.join(numbers)} stroke-width:3px"] if numbers else []
    return "\n".join(lines) + "\n"


def _label(task: Task, status: Mapping[str, str], notes: Mapping[str, str]) -> str:
    state = status.get(task.task_id, "")
    rows = [
        f"{task.task_id} · {task.task_type}" + (f" · {state}" if state else ""),
        describe_task(task),
        notes.get(task.task_id, ""),
    ]
    return "<br/>".join(_escape(cut_text(clean_text(row), _LABEL_COLUMNS)) for row in rows if row)


def _escape(text: str) -> str:
    return _SPECIAL.sub(lambda match: f"#{ord(match[0])};", text)
