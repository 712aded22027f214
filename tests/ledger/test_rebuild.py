from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import LedgerCorrupt
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Event, EventKind, Run, RunBuilder, SqliteLedger, rebuild_run

Step = tuple[EventKind, str | None, dict[str, Any]]
GRAPH = TaskDAG(Task(task_id=f"t{number}", task_type="x") for number in range(4)).to_dict()
NEW = Task(task_id="new", task_type="x").to_dict()
GROWN: dict[str, Any] = {
    "change": {"version": 2, "removed": [f"t{number}" for number in range(4)], "tasks": [NEW]},
    "assignments": {},
    "explanations": {},
    "estimates": {},
}
COSTS = st.floats(0, 1e6) | st.none()


@st.composite
def whole_runs(draw: st.DrawFn) -> list[Step]:
    """A run with costs wherever there can be some, ended or not."""
    steps: list[Step] = [("run_started", None, {"request": "x"})]
    for _ in range(draw(st.integers(1, 2))):
        steps.append(("run_planned", None, {"graph": GRAPH, "planner": "p", "cost_usd": draw(COSTS)}))
    steps.append(("run_approved", None, {"estimates": {}, "issues": []}))
    for number in range(draw(st.integers(0, 4))):
        kind: EventKind = draw(st.sampled_from(("task_finished", "task_failed", "task_cancelled")))
        steps.append(("task_started", f"t{number}", {"agent": "a"}))
        for attempt in range(draw(st.integers(0, 2))):
            name = {"attempt": attempt}
            steps.append(("attempt_started", f"t{number}", {**name, "agent": f"a{attempt}", "step": "vote"}))
            steps.append(("attempt_finished", f"t{number}", {**name, "cost_usd": draw(COSTS)}))
            steps.append(("attempt_checked", f"t{number}", {**name, "passed": True, "cost_usd": draw(COSTS)}))
        steps.append((kind, f"t{number}", {"cost_usd": draw(COSTS), "seconds": 1.0, "output": draw(st.text())}))
    if draw(st.booleans()):
        steps.append(("graph_patched", None, {**GROWN, "planning_cost_usd": draw(COSTS)}))
        steps.append(("task_started", "new", {"agent": "a"}))
        steps.append(("task_expanded", "new", {**GROWN, "cost_usd": draw(COSTS), "planning_cost_usd": draw(COSTS)}))
    if draw(st.booleans()):
        steps.append(("run_finished", None, {"state": "partial", "answer": draw(st.text()), "overrun_usd": 0.5}))
    return steps


def events(*steps: Step) -> list[Event]:
    return [
        Event(run_id="r", seq=seq, at=float(seq), kind=kind, task_id=task_id, data=data)
        for seq, (kind, task_id, data) in enumerate(steps)
    ]


@given(whole_runs())
def test_a_run_and_its_line_in_the_list_say_the_same_cost(steps: list[Step]) -> None:
    with SqliteLedger() as ledger:
        for kind, task_id, data in steps:
            ledger.append("r", kind, data, task_id=task_id)
        (summary,) = ledger.runs()
        run = ledger.run("r")
    assert summary.cost_usd == pytest.approx(run.cost_usd, rel=1e-12)
    assert summary.state == (run.state if run.ended else "running")


@given(whole_runs())
def test_a_builder_tells_at_every_event_what_a_rebuild_would(steps: list[Step]) -> None:
    path, builder = events(*steps), RunBuilder()
    told: list[Run] = []
    for event in path:
        builder.add(event)
        told.append(builder.run())
    assert told == [rebuild_run(path[: count + 1]) for count in range(len(path))]
    assert [len(run.events) for run in told] == list(range(1, len(path) + 1)), "a run given out never changes"


def test_a_refused_event_leaves_the_builder_as_it_was() -> None:
    started, planned, *_ = events(("run_started", None, {"request": "x"}), ("run_planned", None, {"planner": "p"}))
    builder = RunBuilder()
    builder.add(started)
    before = builder.run()
    with pytest.raises(LedgerCorrupt, match="lacks 'graph'"):
        builder.add(planned)
    assert builder.run() == before


def test_an_event_of_another_run_is_refused() -> None:
    builder = RunBuilder()
    builder.add(events(("run_started", None, {"request": "x"}))[0])
    with pytest.raises(LedgerCorrupt, match="of another run, 'other'"):
        builder.add(Event(run_id="other", seq=1, at=0.0, kind="run_finished", data={"state": "failed"}))


PLANNED: Step = ("run_planned", None, {"graph": GRAPH, "planner": "p"})
APPROVED: Step = ("run_approved", None, {"estimates": {}, "issues": []})
STARTED: Step = ("run_started", None, {"request": "x"})


@pytest.mark.parametrize(
    ("steps", "where"),
    [
        ([("run_started", None, {})], r"event 0 \('run_started'\), lacks 'request'"),
        ([("run_started", None, {"request": 5})], "request=5, where a text must be"),
        ([("run_started", None, {"request": "x", "settings": {"budget_usd": "a lot"}})], "budget_usd='a lot'"),
        ([STARTED, ("run_planned", None, {"graph": {}, "planner": "p"})], r"event 1 \('run_planned'\), cannot be read"),
        ([STARTED, ("run_planned", None, {**PLANNED[2], "usage": {"x": 1}})], r"event 1 .* cannot be read: TypeError"),
        ([STARTED, ("run_planned", None, {**PLANNED[2], "cost_usd": True})], "cost_usd=True, where a number"),
        ([STARTED, ("run_planned", None, {**PLANNED[2], "notes": [1]})], "a list of texts"),
        ([STARTED, ("run_routed", None, {"assignments": [], "explanations": {}})], r"assignments=\[\]"),
        ([STARTED, ("run_routed", None, {"assignments": {"a": 1}, "explanations": {}})], "texts by task"),
        ([STARTED, ("run_approved", None, {"estimates": {"a": {}}, "issues": []})], "estimates with cost_usd"),
        ([STARTED, ("run_rejected", None, {"issues": [{}]})], "issues with severity"),
        ([STARTED, ("run_finished", None, {"state": "running"})], "state='running', where one of done, failed"),
        ([STARTED, PLANNED, APPROVED, ("task_started", "t0", {"agent": 1})], r"event 3 \('task_started'\).*agent=1"),
        ([STARTED, PLANNED, APPROVED, ("graph_patched", None, {"change": "x" * 200})], r"change='x+…, where a mapping"),
    ],
)
def test_data_of_the_wrong_kind_name_the_run_and_the_event(steps: list[Step], where: str) -> None:
    with pytest.raises(LedgerCorrupt, match=where) as caught:
        rebuild_run(events(*steps))
    assert str(caught.value).startswith("Run 'r'")


def test_an_overrun_is_read_and_told() -> None:
    end: Step = ("run_finished", None, {"state": "stopped", "overrun_usd": 0.02, "budget_spent_usd": 0.52})
    run = rebuild_run(events(STARTED, PLANNED, APPROVED, end))
    assert run.overrun_usd == 0.02
    assert "Tasks and planning cost $0.0200 more than was reserved for them." in run.explain()
    assert "reserved" not in rebuild_run(events(STARTED, PLANNED)).explain()


def test_an_event_of_one_task_copies_no_others() -> None:
    skipped: list[Step] = [("task_skipped", f"t{number}", {"reason": "late"}) for number in range(4)]
    path, builder = events(STARTED, PLANNED, APPROVED, *skipped), RunBuilder()
    for event in path[:3]:
        builder.add(event)
    tasks = builder._tasks
    for event in path[3:]:
        builder.add(event)
    assert builder._tasks is tasks


def test_a_task_that_asks_a_person_names_the_model_whose_price_nobody_knows() -> None:
    asked = {"question_id": "q-1", "kind": "answer", "about": "agent", "text": "Which?", "unpriced_model": "local:m"}
    began: Step = ("task_started", "t0", {"agent": "a"})
    run = rebuild_run(events(STARTED, PLANNED, APPROVED, began, ("task_asked", "t0", asked)))
    assert run.tasks["t0"].unpriced_model == "local:m"


@pytest.mark.parametrize("was_on", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_reading_leaves_the_garbage_collector_as_it_was(was_on: bool, fails: bool) -> None:
    seen: list[bool] = []

    def events() -> Iterator[Event]:
        yield Event(run_id="r", seq=0, at=0.0, kind="run_started", data={"request": "x"})
        seen.append(gc.isenabled())
        if fails:
            yield Event(run_id="r", seq=5, at=0.0, kind="run_waiting")

    before = gc.isenabled()
    (gc.enable if was_on else gc.disable)()
    try:
        with pytest.raises(LedgerCorrupt) if fails else nullcontext():
            rebuild_run(events())
        assert (seen, gc.isenabled()) == ([False], was_on)
    finally:
        (gc.enable if before else gc.disable)()
