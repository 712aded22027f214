"""Parts of a run, read without the rest of it: its outline, and one of its tasks.

What is read is folded as every run is (see rebuild), from events that are cut to the part before that. The hash chain
covers a run as a whole, so a part is not held against it: who reads all of it, and `kapelle doctor`, do that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kapelle.errors import LedgerCorrupt
from kapelle.graph import Task

from .event import Event, EventKind
from .fields import place_of
from .rebuild import rebuild_run
from .run import Run

OF_OUTLINE: tuple[EventKind, ...] = (
    "run_started",
    "run_approved",
    "run_rejected",
    "run_finished",
    "run_waiting",
    "run_resumed",
)
"""The events that tell where a run stands."""
GROWTH: tuple[EventKind, ...] = ("graph_patched", "task_expanded")
"""The events after which a task may be another than it was planned as."""

_BY_TASK = ("assignments", "explanations", "strategies", "estimates")
_SPACE = re.compile(r"[ \t\n\r,:]*")
_decode = json.JSONDecoder().raw_decode

ReadField = Callable[[int, str], str | None]
"""Returns the text of a large field of an event, by its place; None where it has no such large field."""


def outline_of(events: Sequence[Event]) -> Run:
    """Return a run without its tasks, its graph and its figures, from the events that are in OF_OUTLINE.

    Raises:
        LedgerCorrupt: they do not tell a run.
    """
    kept = [replace(one, data=_without_tasks(one)) for one in events]
    return replace(_rebuilt(kept), events=tuple(events))


def excerpt_of(events: Sequence[Event], task_id: str, read_field: ReadField) -> Run | None:
    """Return a run of which `tasks` has this one alone, and `graph` beside it what it waits for; None where its plan
    has no such task.

    Args:
        events: Those of the run as a whole, those of the task, and those of any task that tell of a stop, without their
            large fields. None of them is in GROWTH. Others, which only have the word in their texts, are passed over.

    Raises:
        LedgerCorrupt: they do not tell a run.
    """
    kept, is_there = [], False
    events = [one for one in events if one.task_id in (None, task_id) or one.data.get("by_stop") is True]
    for event in events:
        data = dict(event.data)
        if event.kind == "run_planned":
            data["graph"] = _cut_graph(_tasks_of(event, read_field), task_id)
            is_there = bool(data["graph"]["tasks"])
        elif event.kind in ("run_routed", "run_approved", "run_rejected"):
            picked = {name: _picked(event, name, task_id, read_field) for name in _BY_TASK}
            data |= {name: found for name, found in picked.items() if found is not None}
            data["metadata"], data["issues"] = {}, _issues_of(event, task_id, read_field)
        elif event.kind == "plan_reassigned":
            data |= {name: _picked(event, name, task_id, read_field) or {} for name in _BY_TASK}
        elif event.kind == "run_finished":
            data |= _whole_field(event, "answer", read_field)
        elif event.task_id is not None and event.task_id != task_id:
            # Of another task's end, only that the run was being stopped by then concerns this one.
            event, data = replace(event, kind="planning_spent", task_id=None), {"by_stop": True}
        elif event.task_id == task_id:
            data |= {name: json.loads(text) for name in _LARGE_OF_TASKS if (text := read_field(event.seq, name))}
        kept.append(replace(event, data=data))
    if not is_there:
        return None
    run = _rebuilt(kept)
    return replace(run, tasks={task_id: run.tasks[task_id]}, events=tuple(events))


_LARGE_OF_TASKS = ("output", "reason", "traceback", "readings", "text", "inputs", "upstream", "arguments", "answer")
"""Fields of a task's own events that may be kept apart."""


def _rebuilt(events: Iterable[Event]) -> Run:
    return rebuild_run(replace(one, seq=seq) for seq, one in enumerate(events))


def _without_tasks(event: Event) -> Mapping[str, Any]:
    if event.kind in ("run_approved", "run_rejected"):
        return {"estimates": {}, "issues": []}
    return event.data


def _whole_field(event: Event, name: str, read_field: ReadField) -> dict[str, Any]:
    text = read_field(event.seq, name)
    return {} if text is None else {name: json.loads(text)}


def _picked(event: Event, name: str, task_id: str, read_field: ReadField) -> dict[str, Any] | None:
    """Return a field that holds something by task, cut to one of them; None where there is no such field."""
    text = read_field(event.seq, name)
    if text is None:
        found = event.data.get(name)
        if not isinstance(found, Mapping):
            return None
        return {task_id: found[task_id]} if task_id in found else {}
    return {key: value for key, value in _members(event, text) if key == task_id}


def _issues_of(event: Event, task_id: str, read_field: ReadField) -> list[Any]:
    text = read_field(event.seq, "issues")
    found = event.data.get("issues", ()) if text is None else json.loads(text)
    return [one for one in found if isinstance(one, Mapping) and one.get("task_id") == task_id]


def _tasks_of(event: Event, read_field: ReadField) -> Iterator[Mapping[str, Any]]:
    """Yield the tasks of a plan as they were written, one at a time."""
    text = read_field(event.seq, "graph")
    graph = event.data.get("graph")
    if text is None:
        yield from graph.get("tasks", ()) if isinstance(graph, Mapping) else ()
        return
    start = re.search(r'"tasks": ?\[', text)  # the version before it holds no text
    if start is not None:
        yield from _items(event, text, start.end())


def _cut_graph(tasks: Iterable[Mapping[str, Any]], task_id: str) -> dict[str, Any]:
    """Return the graph of one task and of what it waits for, each of these without what it waits for itself."""
    kinds: dict[str, str] = {}
    found: Mapping[str, Any] | None = None
    for one in tasks:
        kinds[one["task_id"]] = one["task_type"]
        if one["task_id"] == task_id:
            found = one
    if found is None:
        return {"version": 1, "tasks": []}
    before = [{"task_id": name, "task_type": kinds[name]} for name in Task.from_dict(found).dependencies]
    return {"version": 1, "tasks": [*before, found]}


def _members(event: Event, text: str) -> Iterator[tuple[str, Any]]:
    """Yield the members of a JSON object one at a time: only one value is in memory."""
    place = text.index("{") + 1
    try:
        while text[place := _after_space(text, place)] != "}":
            key, place = _decode(text, place)
            value, place = _decode(text, _after_space(text, place))
            yield key, value
    except (ValueError, IndexError) as error:
        raise LedgerCorrupt(f"{place_of(event)} cannot be read: {error}") from error


def _items(event: Event, text: str, place: int) -> Iterator[Any]:
    """Yield the items of a JSON array that begins before this place."""
    try:
        while text[place := _after_space(text, place)] != "]":
            item, place = _decode(text, place)
            yield item
    except (ValueError, IndexError) as error:
        raise LedgerCorrupt(f"{place_of(event)} cannot be read: {error}") from error


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    assert found is not None  # it matches nothing, too
    return found.end()


def cut_to(run: Run, task_id: str) -> Run | None:
    """Return a run that was read whole as an excerpt of it; None where it has no such task."""
    found = run.tasks.get(task_id) or run.replaced.get(task_id)
    return None if found is None else replace(run, tasks={task_id: found})
