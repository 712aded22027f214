"""The state machines are tables: what stands in them happens, everything else is refused."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from kapelle.errors import LedgerCorrupt
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import EVENT_KINDS, RUN_STEPS, TASK_STEPS, Event, EventKind, rebuild_run

GRAPH = TaskDAG([Task(task_id="a", task_type="work")]).to_dict()
GROWN: dict[str, Any] = {
    "change": {"version": 2, "removed": ["a"], "tasks": [Task(task_id="b", task_type="work").to_dict()]},
    "assignments": {},
    "explanations": {},
    "estimates": {},
}
DATA: dict[str, dict[str, Any]] = {
    "run_started": {"request": "test"},
    "run_planned": {"graph": GRAPH, "planner": "test"},
    "run_routed": {"assignments": {}, "explanations": {}},
    "run_approved": {"estimates": {}, "issues": []},
    "run_rejected": {"issues": []},
    "run_finished": {"state": "done", "answer": ""},
    "graph_patched": GROWN,
    "task_expanded": GROWN,
    "attempt_started": {"attempt": 0, "agent": "small", "step": "cheap"},
    "attempt_finished": {"attempt": 0},
    "attempt_checked": {"attempt": 0, "passed": True},
}
PATHS: dict[str | None, list[EventKind]] = {
    None: [],
    "planning": ["run_started", "run_planned"],
    "running": ["run_started", "run_planned", "run_approved"],
    "done": ["run_started", "run_planned", "run_approved", "run_finished"],
}
TASK_PATHS: dict[str, list[EventKind]] = {
    "waiting": [],
    "running": ["task_started"],
    "done": ["task_started", "task_finished"],
    "failed": ["task_started", "task_failed"],
    "cancelled": ["task_started", "task_cancelled"],
    "skipped": ["task_skipped"],
    "expanded": ["task_started", "task_expanded"],
}


def events(*kinds: EventKind) -> list[Event]:
    return [
        Event(
            run_id="r",
            seq=seq,
            at=float(seq),
            kind=kind,
            task_id="a" if kind.startswith(("task_", "attempt_")) else None,
            data=DATA.get(kind, {}),
        )
        for seq, kind in enumerate(kinds)
    ]


FIRST: dict[EventKind, list[EventKind]] = {
    "task_finished": ["task_started"],
    "task_failed": ["task_started"],
    "task_cancelled": ["task_started"],
    "task_expanded": ["task_started"],
    "attempt_started": ["task_started"],
    "attempt_finished": ["task_started", "attempt_started"],
    "attempt_checked": ["task_started", "attempt_started"],
}
"""What must have happened to the task before."""


@pytest.mark.parametrize(("state", "kind"), list(itertools.product(PATHS, EVENT_KINDS)))
def test_a_run_takes_exactly_the_steps_of_the_table(state: str | None, kind: EventKind) -> None:
    before = FIRST.get(kind, []) if state == "running" else []
    path = events(*PATHS[state], *before, kind)
    if (state, kind) in RUN_STEPS:
        assert len(rebuild_run(path).events) == len(path)
    else:
        with pytest.raises(LedgerCorrupt, match="cannot follow in state"):
            rebuild_run(path)


@pytest.mark.parametrize(
    ("state", "kind"),
    list(itertools.product(TASK_PATHS, [kind for kind in EVENT_KINDS if kind.startswith(("task_", "attempt_"))])),
)
def test_a_task_takes_exactly_the_steps_of_the_table(state: str, kind: EventKind) -> None:
    before = [one for one in FIRST.get(kind, []) if one not in TASK_PATHS["running"]] if state == "running" else []
    path = events(*PATHS["running"], *TASK_PATHS[state], *before, kind)
    if (state, kind) in TASK_STEPS:
        run = rebuild_run(path)
        assert {**run.replaced, **run.tasks}["a"].state == TASK_STEPS[(state, kind)]  # type: ignore[index]  # as in the table
    else:
        with pytest.raises(LedgerCorrupt, match="cannot happen to task 'a', which is"):
            rebuild_run(path)


def test_a_gap_in_the_events_is_noticed() -> None:
    first, _, third = events("run_started", "run_planned", "run_approved")
    with pytest.raises(LedgerCorrupt, match="event 1 is missing"):
        rebuild_run([first, third])


def test_no_events_are_no_run() -> None:
    with pytest.raises(LedgerCorrupt, match="without events"):
        rebuild_run([])
