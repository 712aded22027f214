"""The state machines are tables: what stands in them happens, everything else is refused."""

from __future__ import annotations

import itertools
from dataclasses import replace
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
    "plan_reassigned": {"assignments": {}, "strategies": {}, "explanations": {}, "estimates": {}},
    "task_expanded": GROWN,
    "attempt_started": {"attempt": 0, "agent": "small", "step": "cheap"},
    "attempt_finished": {"attempt": 0},
    "attempt_checked": {"attempt": 0, "passed": True},
    "task_step": {"agent": "small", "what": "asked", "number": 1, "data": {}},
    "run_resumed": {"state": "running"},
    "task_asked": {"question_id": "q-1", "kind": "answer", "about": "agent", "text": "Which one?"},
    "question_answered": {"question_id": "q-1", "answer": "this one"},
}
PATHS: dict[str | None, list[EventKind]] = {
    None: [],
    "planning": ["run_started", "run_planned"],
    "running": ["run_started", "run_planned", "run_approved"],
    "waiting": ["run_started", "run_planned", "run_approved", "run_waiting"],
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
    "asking": ["task_started", "task_asked"],
}


OF_TASKS = ("task_", "attempt_", "check_", "question_")


def events(*kinds: EventKind) -> list[Event]:
    return [
        Event(
            run_id="r",
            seq=seq,
            at=float(seq),
            kind=kind,
            task_id="a" if kind.startswith(OF_TASKS) else None,
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
    "check_started": ["task_started", "attempt_started"],
    "task_step": ["task_started"],
    "task_interrupted": ["task_started"],
    "question_answered": ["task_started", "task_asked"],
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
    list(itertools.product(TASK_PATHS, [kind for kind in EVENT_KINDS if kind.startswith(OF_TASKS)])),
)
def test_a_task_takes_exactly_the_steps_of_the_table(state: str, kind: EventKind) -> None:
    needed = FIRST.get(kind, []) if state == "running" and kind != "question_answered" else []
    before = [one for one in needed if one not in TASK_PATHS["running"]]
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


def test_a_run_that_had_ended_tries_again_what_came_to_nothing_and_keeps_what_it_cost() -> None:
    path = events("run_started", "run_planned", "run_approved", "task_started", "task_failed", "run_finished")
    path[4] = replace(path[4], data={"reason": "no", "cost_usd": 0.5})
    path[5] = replace(path[5], data={"state": "failed"})
    resumed = Event(run_id="r", seq=6, at=6.0, kind="run_resumed", data={"state": "running"})
    run = rebuild_run([*path, resumed])
    assert (run.state, run.tasks["a"].state, run.cost_usd) == ("running", "waiting", 0.5)


def test_a_run_that_was_cut_off_goes_on_as_it_was() -> None:
    path = events("run_started", "run_planned", "run_approved", "task_skipped", "run_resumed")
    assert rebuild_run(path).tasks["a"].state == "skipped"


def test_the_time_for_which_a_run_was_worked_on_is_known() -> None:
    path = events("run_started", "run_planned", "run_approved", "run_waiting")
    later = [Event(run_id="r", seq=4, at=100.0, kind="run_resumed", data={"state": "running"})]
    later.append(Event(run_id="r", seq=5, at=101.0, kind="task_skipped", task_id="a"))
    for keeps_events in (True, False):
        assert rebuild_run([*path, *later], keeps_events=keeps_events).active_seconds == 3.0 + 1.0
