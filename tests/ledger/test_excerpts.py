"""A part of a run says what the whole says of it, however much or little of the run is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bench.simulate.play import play
from bench.simulate.world import draw_world
from kapelle.errors import LedgerCorrupt, NotFound
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Event, Ledger, Run, RunBuilder, SqliteLedger, history, read_told
from kapelle.ledger.excerpts import GROWTH
from kapelle.terminal import tell_history
from tests.ledger.runs import record_run
from tests.ledger.stores import Store
from tests.scale import scaled

PAGES = (1, 2, 3, 6, 7, 8)
"""Of the seven events of `record_run`: smaller, as large and larger."""


def copy_of(events: Sequence[Event]) -> SqliteLedger:
    ledger = SqliteLedger()
    for event in events:
        ledger.append(event.run_id, event.kind, event.data, task_id=event.task_id)
    return ledger


def record_large(ledger: Ledger, count: int = 900) -> None:
    """Write a run whose graph, agents, reasons and estimates are all too large to lie beside the event."""
    names = [f"t{number}" for number in range(count)]
    dag = TaskDAG(
        Task(task_id=name, task_type="x", description="it " * 8, depends_on=("t0", "t1") if name == "t7" else ())
        for name in names
    )
    estimate = {"cost_usd": 0.1, "seconds": 1.0, "success_rate": 0.5, "usage": {"calls": 1}}
    ledger.append("r", "run_started", {"request": "all of it"})
    ledger.append("r", "run_planned", {"graph": dag.to_dict(), "planner": "p"})
    agents = {"assignments": dict.fromkeys(names, "the one"), "explanations": {name: f"{name}: " * 9 for name in names}}
    ledger.append("r", "run_routed", agents)
    issue = {"severity": "warning", "message": "slow", "way_out": "wait", "task_id": "t7"}
    estimates = {name: {**estimate, "samples": number % 3} for number, name in enumerate(names)}
    ledger.append("r", "run_approved", {"estimates": estimates, "issues": [issue, {**issue, "task_id": "t8"}]})
    for name in ("t6", "t7"):
        ledger.append("r", "task_started", {"agent": "the one"}, task_id=name)
        ledger.append("r", "task_finished", {"output": f"{name} " * 20_000, "cost_usd": 0.2}, task_id=name)


def test_an_excerpt_tells_of_a_task_what_the_whole_run_tells() -> None:
    for seed in range(scaled(100, least=20)):
        run = play(draw_world(seed)).run
        if run is None:
            continue
        with copy_of(run.events) as ledger:
            whole = ledger.run(run.run_id)
            for task_id in (*whole.tasks, *whole.replaced):
                cut = ledger.excerpt(run.run_id, task_id)
                assert cut.explain_task(task_id, verbose=True) == whole.explain_task(task_id, verbose=True)
                assert [*cut.tasks] == [task_id]


def test_an_outline_says_where_a_run_stands() -> None:
    for seed in range(scaled(100, least=20)):
        run = play(draw_world(seed)).run
        if run is None:
            continue
        with copy_of(run.events) as ledger:
            whole, outline = ledger.run(run.run_id), ledger.outline(run.run_id)
        for name in ("run_id", "request", "state", "settings", "stop_reason", "started_at", "finished_at", "answer"):
            assert getattr(outline, name) == getattr(whole, name), name
        assert (outline.approved_at is None) == (whole.approved_at is None)


def test_of_large_fields_an_excerpt_has_its_own_part(store: Store) -> None:
    with store.open() as ledger:
        record_large(ledger)
    with store.open(read_only=True) as ledger:
        whole, cut = ledger.run("r"), ledger.excerpt("r", "t7")
    assert cut.explain_task("t7") == whole.explain_task("t7")
    assert "(after t0, t1)" in cut.explain_task("t7")
    assert [len(one) for one in (cut.tasks, cut.assignments, cut.explanations, cut.estimates, cut.issues)] == [1] * 5
    assert cut.tasks["t7"] == whole.tasks["t7"]


def test_what_no_run_has_is_not_found(store: Store) -> None:
    with store.open() as ledger:
        record_run(ledger)
        for run_id, task_id, said in (("r1", "b", "no task 'b'"), ("r9", "a", "no run 'r9'"), ("r1", "", "no task")):
            with pytest.raises(NotFound, match=said):
                ledger.excerpt(run_id, task_id)
        with pytest.raises(NotFound, match="no run"):
            ledger.outline("r9")
        assert ledger.find_run("last") == ledger.find_run("r") == "r1"


def test_a_large_field_that_is_cut_off_is_told_as_damage(store: Store) -> None:
    with store.open() as ledger:
        record_large(ledger)
    store.change("UPDATE blobs SET text = substr(text, 1, 5000)")
    with store.open(read_only=True) as ledger, pytest.raises(LedgerCorrupt, match=r"Run 'r', event"):
        ledger.excerpt("r", "t899")


def test_a_run_whose_graph_changes_is_read_whole_for_one_task() -> None:
    grown = [run for seed in range(60) if (run := play(draw_world(seed)).run) is not None and run.graph_version > 1]
    assert grown
    assert all(any(event.kind in GROWTH for event in run.events) for run in grown)


@pytest.mark.parametrize("page", PAGES)
def test_a_run_is_the_same_whatever_the_size_of_pages(store: Store, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.open() as ledger:
        record_run(ledger, output="x" * 40_000)
        whole, line = ledger.run("r1"), ledger.runs()
        monkeypatch.setattr(history, "PAGE", page)
        assert ledger.run("r1") == whole
        assert ledger.run("r1").events == whole.events == tuple(ledger.stream("r1"))
        assert ledger.runs() == line
        assert ledger.events("nobody's") == ()


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("gone", range(7))
def test_an_event_that_is_missing_is_noticed_at_every_border_of_pages(
    store: Store, page: int, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.open() as ledger:
        record_run(ledger)
    store.change(f"DELETE FROM events WHERE seq = {gone}", triggers=False)
    monkeypatch.setattr(history, "PAGE", page)
    with store.open(read_only=True) as ledger, pytest.raises(LedgerCorrupt, match=f"event {gone} is missing"):
        ledger.run("r1")


def test_what_was_read_before_a_run_was_collected_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with SqliteLedger() as ledger:
        record_run(ledger)
        monkeypatch.setattr(history, "PAGE", 2)
        events = ledger.stream("r1")
        assert next(events).seq == 0
        ledger.collect(float("inf"))
        with pytest.raises(LedgerCorrupt):
            list(events)
        assert ledger.events("r1") == ()


def test_a_run_that_goes_on_is_folded_from_where_it_was() -> None:
    for seed in range(scaled(100, least=20)):
        run = play(draw_world(seed)).run
        if run is None:
            continue
        middle = len(run.events) // 2
        first, going_on = RunBuilder(), None
        for event in run.events[:middle]:
            first.add(event)
        before = first.run() if middle else None
        going_on = RunBuilder(before)
        for event in run.events[middle:]:
            going_on.add(event)
        assert going_on.run() == run
        assert before is None or before == replace(before, events=())


def test_a_run_is_told_the_same_without_the_events_of_its_tasks_work() -> None:
    resumed = 0
    for seed in range(scaled(100, least=20)):
        run = play(draw_world(seed)).run
        if run is None:
            continue
        with copy_of(run.events) as ledger:
            whole, told = ledger.run(run.run_id), read_told(ledger, run.run_id)
            again, _ = ledger.fold(run.run_id, tell_history)
        assert told == again == whole
        assert told.explain(verbose=True, full=True) == whole.explain(verbose=True, full=True)
        assert told.active_seconds == whole.active_seconds
        assert told.events == again.events
        resumed += sum(one.kind == "run_resumed" for one in told.events)
    assert resumed > 0


def test_of_a_large_run_that_is_told_hardly_an_event_is_kept(store: Store) -> None:
    with store.open() as ledger:
        record_large(ledger)
        assert [event.seq for event in read_told(ledger, "r").events] == [0, len(ledger.events("r")) - 1]


@pytest.mark.parametrize("ends", [False, True])
def test_of_other_tasks_only_a_stop_is_in_an_excerpt_and_no_text_that_reads_like_one(store: Store, ends: bool) -> None:
    said = {"output": {"by_stop": True}, "cost_usd": 0.5, "agent": '"by_stop": true'}
    with store.open() as ledger:
        graph = TaskDAG([Task(task_id="a", task_type="x"), Task(task_id="b", task_type="x")])
        ledger.append("r", "run_started", {"request": '"by_stop"'})
        ledger.append("r", "run_planned", {"graph": graph.to_dict(), "planner": "p"})
        ledger.append("r", "run_routed", {"assignments": {}, "explanations": {}})
        ledger.append("r", "run_approved", {"estimates": {}, "issues": []})
        ledger.append("r", "task_started", said, task_id="a")
        if ends:
            ledger.append("r", "task_finished", said, task_id="a")
        assert not ledger.run("r").stop_began
        assert not ledger.excerpt("r", "b").stop_began
        assert [event.task_id for event in ledger.excerpt("r", "b").events] == [None] * 4
        ledger.append("r", "task_skipped", {"reason": "stopped", "by_stop": True}, task_id="b")
        assert ledger.run("r").stop_began
        assert ledger.excerpt("r", "a").stop_began


def test_a_builder_that_keeps_few_events_still_misses_one() -> None:
    run = play(draw_world(5)).run
    assert run is not None
    builder = RunBuilder(keeps_events=False)
    for event in run.events:
        builder.add(event)
    with pytest.raises(LedgerCorrupt, match=f"event {len(run.events)} is missing"):
        builder.add(replace(run.events[-1], seq=len(run.events) + 1))


def test_what_a_builder_shows_of_now_is_the_run_by_now() -> None:
    run = play(draw_world(3)).run
    assert run is not None
    builder = RunBuilder()
    assert builder.now is None
    for event in run.events:
        builder.add(event)
        assert builder.now is not None
        assert replace(builder.now, tasks=dict(builder.now.tasks)) == builder.run()


def test_estimates_of_tasks_that_are_alike_are_one_value_and_keep_their_types() -> None:
    with SqliteLedger() as ledger:
        record_large(ledger)
        run = ledger.run("r")
    assert len({id(one) for one in run.estimates.values()}) == 3
    assert json.dumps(run.estimates["t4"]) == json.dumps(
        {"cost_usd": 0.1, "seconds": 1.0, "success_rate": 0.5, "usage": {"calls": 1}, "samples": 1}
    )


def test_a_run_says_in_a_line_what_it_is() -> None:
    assert repr(Run(run_id="r1", request="x" * 1_000)) == "<Run r1: planning, 0 tasks, $0>"
