"""What happens in a run, as events: the states a run and its tasks can be in, and which event leads where.

    run:   planning ──planned, routed──> planning ──approved──> running ──finished──> done | partial | failed | stopped
                                         planning ──finished──> failed (no plan, or not approved)
                                         running ──waiting──> waiting (only people can bring it on)
           anything but done ──resumed──> planning (nothing was approved yet) | running
    task:  waiting ──started──> running ──finished──> done
                                running ──failed────> failed
                                running ──cancelled─> cancelled
                                running ──expanded──> expanded (other tasks take its place)
                                running ──attempt_started, attempt_finished──> running
                                running ──check_started, attempt_checked──> running
                                running ──task_step──> running (of an agent that acts in steps: see its loop)
                                running ──interrupted──> waiting (its engine died; found when the run is resumed)
           waiting, running ──asked──> asking ──answered──> waiting
           waiting ──skipped──> skipped        waiting ──failed──> failed (a person said no)

A task with one agent and one attempt is told by `task_started` and its end. Where a strategy asks several agents, each
attempt has events of its own, with its cost; the end of the task then says whose answer was taken. When a run is
resumed, what failed, was cancelled or was skipped waits anew; what is done or expanded stays so for ever. Tasks that
wait may be given to other agents (`plan_reassigned`): no task begins by an assignment that no event tells of.

The tables below are the definition; `tests/ledger/test_event.py` holds every other step to be refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

RunState = Literal["planning", "running", "waiting", "done", "partial", "failed", "stopped", "interrupted"]
"""`interrupted` is in no record: it is how a run that is under way reads once its engine is known to be dead."""
"""`waiting`: nothing goes on until a person answers. `partial`: it ended with some tasks failed. `stopped`: a limit or
a person ended it early."""
TaskState = Literal["waiting", "running", "asking", "done", "failed", "cancelled", "skipped", "expanded"]

EventKind = Literal[
    "run_started",
    "run_planned",
    "run_routed",
    "run_approved",
    "run_rejected",
    "run_finished",
    "run_waiting",
    "run_resumed",
    "graph_patched",
    "plan_reassigned",
    "planning_started",
    "planning_spent",
    "task_started",
    "task_finished",
    "task_failed",
    "task_cancelled",
    "task_skipped",
    "task_expanded",
    "task_interrupted",
    "task_asked",
    "question_answered",
    "attempt_started",
    "attempt_finished",
    "check_started",
    "attempt_checked",
    "task_step",
]

ENDED: frozenset[RunState] = frozenset({"done", "partial", "failed", "stopped"})

RUN_STEPS: Mapping[tuple[RunState | None, EventKind], RunState | None] = {
    (None, "run_started"): "planning",
    ("planning", "run_planned"): "planning",
    ("planning", "run_routed"): "planning",
    ("planning", "run_rejected"): "planning",
    ("planning", "run_approved"): "running",
    ("planning", "planning_spent"): "planning",
    ("planning", "run_finished"): None,  # the event itself names the end state
    ("running", "run_finished"): None,
    ("running", "task_started"): "running",
    ("running", "task_finished"): "running",
    ("running", "task_failed"): "running",
    ("running", "task_cancelled"): "running",
    ("running", "task_skipped"): "running",
    ("running", "task_expanded"): "running",
    ("running", "attempt_started"): "running",
    ("running", "attempt_finished"): "running",
    ("running", "check_started"): "running",
    ("running", "attempt_checked"): "running",
    ("running", "task_step"): "running",
    ("running", "graph_patched"): "running",
    ("running", "plan_reassigned"): "running",
    ("running", "planning_spent"): "running",
    ("planning", "planning_started"): "planning",
    ("running", "planning_started"): "running",
    ("running", "task_interrupted"): "running",
    ("running", "task_asked"): "running",
    ("running", "question_answered"): "running",
    ("running", "run_waiting"): "waiting",
    ("planning", "run_resumed"): None,
    ("running", "run_resumed"): None,
    ("waiting", "run_resumed"): None,
    ("partial", "run_resumed"): None,
    ("failed", "run_resumed"): None,
    ("stopped", "run_resumed"): None,
}
"""The state after an event; None where the event's data name it. What is not here must not happen."""

TASK_STEPS: Mapping[tuple[TaskState, EventKind], TaskState] = {
    ("waiting", "task_started"): "running",
    ("waiting", "task_skipped"): "skipped",
    ("running", "task_finished"): "done",
    ("running", "task_failed"): "failed",
    ("running", "task_cancelled"): "cancelled",
    ("running", "task_expanded"): "expanded",
    ("running", "attempt_started"): "running",
    ("running", "attempt_finished"): "running",
    ("running", "check_started"): "running",
    ("running", "attempt_checked"): "running",
    ("running", "task_step"): "running",
    ("running", "task_interrupted"): "waiting",
    ("running", "task_asked"): "asking",
    ("waiting", "task_asked"): "asking",
    ("asking", "question_answered"): "waiting",
    ("waiting", "task_failed"): "failed",
}

TRIED_AGAIN: frozenset[TaskState] = frozenset({"failed", "cancelled", "skipped"})
"""States of tasks that wait anew when their run is resumed."""

COST_FIELDS: Mapping[EventKind, tuple[str, ...]] = {
    "run_planned": ("cost_usd",),
    "graph_patched": ("planning_cost_usd",),
    "task_finished": ("cost_usd",),
    "task_failed": ("cost_usd",),
    "task_cancelled": ("cost_usd",),
    "task_expanded": ("cost_usd", "planning_cost_usd"),
    "task_interrupted": ("cost_usd",),
    "task_asked": ("cost_usd",),
    "attempt_finished": ("cost_usd",),
    "attempt_checked": ("cost_usd",),
    "planning_spent": ("planning_cost_usd",),
}
"""What of an event's data is money spent. A run and its line in the list of runs both add up exactly these."""

CLOCK_JUMP = "clock_jump_s"
"""In an event's data: by how many seconds the ledger's clock was set since the event before; absent for none."""

EVENT_KINDS: tuple[EventKind, ...] = get_args(EventKind)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One thing that happened in a run. Events are only ever appended."""

    run_id: str
    seq: int
    """Position in its run, from 0, without gaps."""
    at: float
    """Seconds since the epoch."""
    kind: EventKind
    task_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON values."""
