"""The names that models give to the fields of tasks in JSON, and what they tell at first sight: a task, or several.

Reads no task: see json_task.
"""

from __future__ import annotations

import re
import zlib
from typing import Any

from kapelle.graph import names_a_part

from .loose_json import JsonObject

LISTS = (
    "tasks", "nodes", "steps", "subtasks", "sub_tasks", "graph", "plan", "dag", "task_graph", "phases", "stages",
    "sub_steps", "substeps", "children", "actions", "workflow", "task_list", "levels",
)  # fmt: skip
ORDERS = (
    "execution_order", "order", "sequence", "schedule", "batches", "waves", "parallel_groups", "execution_levels",
)  # fmt: skip
"""Lists of ids beside the tasks: what runs together, and what after it."""
_GROUPS = ("parallel", "branches", "sequence")
"""Where a step of a list holds tasks of its own, beside the names of lists."""
EDGES = ("edges", "links", "dependencies", "dependency_graph", "graph_edges", "task_dependencies")
THOUGHTS = ("think", "thought", "thoughts", "reasoning", "analysis")
ID = ("id", "task_id", "node_id", "step_id", "taskId", "ID", "Id")
TYPE = ("type", "task_type", "tool", "tool_name", "function", "action", "operation", "call", "kind")
DESCRIPTION = ("description", "task", "text", "content", "instruction", "instructions", "desc", "title", "goal")
INPUTS = ("inputs", "input", "args", "arguments", "parameters", "params", "action_input", "tool_input", "kwargs")
DEPENDS = (
    "depends_on", "depends", "dependencies", "deps", "dependsOn", "dep", "after", "dependency", "prerequisites",
    "predecessors", "needs", "blocked_by", "blockedBy", "wait_for", "waits_for", "parents", "upstream",
)  # fmt: skip
TAUGHT = frozenset({"query", "question", "sql", "code", "expression"})
"""Inputs that prompts name. That they stand beside the inputs needs no note."""
NO_KIND = frozenset({"function", "tool", "tool_use", "tool_call", "function_call", "action", "call", "task", "step"})
"""Types that only say that something is done."""
TASK_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


def looks_like_task(value: Any) -> bool:
    if not isinstance(value, JsonObject):
        return False
    has_id, has_kind = any(name in value for name in ID), any(name in value for name in TYPE)
    has_inputs = any(name in value for name in (*INPUTS, *DEPENDS, *TAUGHT))
    has_work = has_inputs or any(name in value for name in DESCRIPTION)
    return (has_id and (has_kind or has_work)) or (has_kind and has_work) or ("name" in value and has_inputs)


def find_group(item: Any) -> str | None:
    """The name of the field in which a step holds tasks of its own; None if it is a task."""
    if not isinstance(item, JsonObject):
        return None
    for name in (*LISTS, *_GROUPS):
        inner = item.get(name)
        parts = list(inner.values()) if isinstance(inner, JsonObject) else inner
        if isinstance(parts, list) and parts and all(isinstance(part, JsonObject) for part in parts):
            return name
    return None


def holds_tasks(item: Any) -> bool:
    items = item if isinstance(item, list) else [item]
    return any(isinstance(part, JsonObject) and (set(part) & {*ID, *TYPE, *DEPENDS}) for part in items)


def clean_id(text: str) -> str:
    """Return an id that a task may have: the same one, if it may; a number stays one, for `tidy_node` to name."""
    name = text.strip().strip("#$<>{}\"'` ")
    name = re.sub(r"(?<=\w)\.(?:answer|output|result|text)\Z", "", name)
    if not TASK_ID.fullmatch(name):
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or f"t{zlib.crc32(text.encode()):x}"
    if names_a_part(name):
        name = name.replace("_from_", "_of_")
    return f"s{name}" if not name.isdigit() and not re.match(r"[A-Za-z_]", name) else name[:128]


def take(fields: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Remove and return the first of these fields that says something; the others stay."""
    for name in names:
        if fields.get(name) is not None:
            return fields.pop(name)
    return None
