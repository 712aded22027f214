"""What both stores do alike: every test here runs on a SQLite file and on a PostgreSQL server."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kapelle.errors import InvalidInput, LeaseLost, LedgerCorrupt, NotFound
from kapelle.ledger import EventKind, Journal, NewEvent, Outcome, Usage, rebuild_run
from kapelle.redaction import remember
from tests.ledger.runs import record_run
from tests.ledger.stores import AnyLedger, Store

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)

OUTCOME = Outcome(run_id="r", task_id="a", task_type="x", agent="b", success=True)


def test_reading_a_run_back_rebuilds_its_state(store: Store) -> None:
    with store.open() as ledger:
        record_run(ledger)
        live = rebuild_run(ledger.events("r1"))
    with store.open(read_only=True) as again:
        read = again.run("r1")
    assert read == live
    assert (read.state, read.results, read.cost_usd) == ("done", {"a": "Paris"}, 0.1)
    assert read.cost_by_agent == {"atlas": 0.1}
    assert "agent: atlas: it can" in read.explain()


# One ledger serves all examples: each is a run of its own.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(output=JSON, request=st.text())
def test_any_json_and_any_text_survive(store: Store, output: object, request: str) -> None:
    with store.open() as ledger:
        run_id = ledger.new_run_id()
        ledger.append(run_id, "run_started", {"request": request, "output": output})
        (event,) = ledger.events(run_id)
    assert event.data == {"request": request, "output": output}


def test_an_event_is_returned_as_it_is_read_back(store: Store) -> None:
    with store.open() as ledger:
        written = ledger.append("r", "task_skipped", {"reason": "x"}, task_id="a")
        assert (written,) == ledger.events("r")
        assert (written.seq, written.at) == (0, store.clock.now)


def test_outcomes_come_back_as_they_were(store: Store) -> None:
    usage = Usage(input_tokens=10, cached_tokens=4, output_tokens=3, calls=1)
    outcome = Outcome(
        run_id="r", task_id="t", task_type="x", agent="a", success=False, quality=0.1, usage=usage, cost_usd=1 / 3,
        seconds=1e-9, error="bad \udc80", features={"complexity": 1.5, "text": "\0 \udc80 漢"}, at=1.7e9 + 1 / 3,
    )  # fmt: skip
    with store.open() as ledger:
        ledger.record(outcome)
        ledger.append("r", "task_failed", task_id="t", outcomes=[outcome, replace(outcome, agent="b")])
        assert ledger.outcomes(agent="a") == (replace(outcome, error="bad ?"),) * 2
        assert [found.agent for found in ledger.outcomes(limit=2)] == ["a", "b"]


def test_an_outcome_keeps_its_kind_of_failure_and_the_version_of_its_agent(store: Store) -> None:
    told = replace(OUTCOME, success=False, failure="timeout", agent_version="2", features={"complexity": 1.0})
    with store.open() as ledger:
        ledger.record(told)
        assert ledger.outcomes() == (told,)


@pytest.mark.parametrize("features", [{"failure": "misspelt"}, {"failure": ["bug"]}, {"agent_version": 3}])
def test_an_outcome_whose_features_have_such_names_is_read_as_it_was(store: Store, features: dict[str, object]) -> None:
    old = replace(OUTCOME, features=features)
    with store.open() as ledger:
        ledger.record(old)
        assert ledger.outcomes() == (old,)


def test_an_event_that_cannot_be_written_leaves_no_outcome_either(store: Store) -> None:
    with store.open() as ledger:
        with pytest.raises(TypeError):
            ledger.append("r", "task_finished", {"output": object()}, task_id="a", outcomes=[OUTCOME])
        assert (ledger.events("r"), ledger.outcomes()) == ((), ())


@pytest.mark.parametrize("table", ["events", "outcomes"])
@pytest.mark.parametrize("change", ["UPDATE {} SET at = 0", "DELETE FROM {}"])
def test_rows_can_neither_be_changed_nor_deleted(store: Store, table: str, change: str) -> None:
    with store.open() as ledger:
        record_run(ledger)
        before = (ledger.events("r1"), ledger.outcomes())
        with pytest.raises(store.refused, match="append-only"):
            store.change(change.format(table))
        assert (ledger.events("r1"), ledger.outcomes()) == before


def test_threads_and_ledgers_on_one_store_never_take_the_same_place(store: Store) -> None:
    ledgers = [store.open() for _ in range(2)]
    ledgers[0].append("r", "run_started", {"request": ""})

    def write(ledger: AnyLedger) -> None:
        for _ in range(25):
            ledger.append("r", "task_skipped", task_id="x")

    threads = [threading.Thread(target=write, args=(ledger,)) for ledger in ledgers * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event.seq for event in ledgers[0].events("r")] == list(range(101))
    for ledger in ledgers:
        ledger.close()


def test_ledgers_that_create_one_store_at_once_find_it_made_once(store: Store) -> None:
    problems: list[BaseException] = []

    def create() -> None:
        try:
            with store.open() as ledger:
                ledger.append("r", "task_skipped", task_id="x")
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with store.open(read_only=True) as ledger:
        assert len(ledger.events("r")) == 4


def test_runs_are_listed_newest_first_and_found_by_the_beginning_of_their_id(store: Store) -> None:
    times = iter(range(100))
    with store.open(clock=lambda: float(next(times))) as ledger:
        record_run(ledger, "2026-a")
        record_run(ledger, "2026-b", state="partial")
        assert [(run.run_id, run.state, run.tasks_done) for run in ledger.runs()] == [
            ("2026-b", "partial", 1),
            ("2026-a", "done", 1),
        ]
        assert ledger.run("last").run_id == ledger.run("2026-b").run_id == "2026-b"
        with pytest.raises(NotFound, match="begins the ids of several runs"):
            ledger.run("2026")


@pytest.mark.parametrize("run_id", ["nope", "", "%", "_", "\udcff", "\0"])
def test_an_unknown_run_is_named(store: Store, run_id: str) -> None:
    with store.open() as ledger:
        record_run(ledger)
        with pytest.raises(NotFound, match="There is no run"):
            ledger.run(run_id)
        assert (ledger.events(run_id), ledger.questions(run_id), ledger.outcomes(agent=run_id)) == ((), (), ())


def test_a_journal_survives_a_watcher_that_fails(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: object) -> None:
        raise ValueError("display")

    with store.open() as ledger:
        journal = Journal(ledger, "r", on_event=fail)
        journal.write("run_started", {"request": "x"})
        journal.write("run_finished", {"state": "failed"})
        assert ledger.run("r").state == "failed"
    assert caplog.text.count("A watcher of run r failed") == 1


def test_a_closed_ledger_says_so(store: Store) -> None:
    ledger = store.open()
    ledger.close()
    ledger.close()
    with pytest.raises(InvalidInput, match="was closed"):
        ledger.runs()
    with pytest.raises(InvalidInput, match="was closed"):
        ledger.append("r", "run_started", {"request": "x"})


@pytest.mark.parametrize(
    ("column", "kind", "value"),
    [
        ("data", "run_started", "{}"),
        ("data", "run_started", '{"request": null}'),
        ("data", "run_started", "not JSON"),
        ("data", "run_started", "[1, 2]"),
        ("data", "run_started", "[" * 100_000),
        ("data", "run_finished", '{"state": "gone"}'),
        ("data", "task_finished", '{"cost_usd": "much"}'),
    ],
)
def test_an_event_that_cannot_be_read_is_named(store: Store, column: str, kind: str, value: object) -> None:
    with store.open() as ledger:
        record_run(ledger)
    store.change(f"UPDATE events SET {column} = ? WHERE kind = ?", value, kind, triggers=False)
    with store.open(read_only=True) as ledger:
        for read in (ledger.runs, lambda: ledger.run("r1")):
            with pytest.raises(LedgerCorrupt, match=rf"Run 'r1', event \d \('{kind}'\)"):
                read()


@pytest.mark.parametrize(("column", "value"), [("features", "x"), ("cost_usd", -1.0), ("quality", 7), ("calls", -1)])
def test_an_outcome_that_cannot_be_read_is_named(store: Store, column: str, value: object) -> None:
    with store.open() as ledger:
        record_run(ledger)
    store.change(f"UPDATE outcomes SET {column} = ?", value, triggers=False)
    with store.open() as ledger, pytest.raises(LedgerCorrupt, match="Outcome 1 in the ledger"):
        ledger.outcomes()


@pytest.mark.parametrize("request_text", ["lone \udc80", "nul \0", 'quote " and é'])
@pytest.mark.parametrize("output", [1, float("inf"), float("nan")])
def test_the_list_of_runs_shows_any_request_and_bears_any_output(
    store: Store, request_text: str, output: object
) -> None:
    with store.open() as ledger:
        ledger.append("r", "run_started", {"request": request_text, "output": output})
        ledger.append("r", "run_finished", {"state": "failed", "answer": "x", "output": output})
        (summary,) = ledger.runs()
    assert (summary.request, summary.state) == (request_text, "failed")


def test_the_list_of_runs_takes_no_answer_and_no_output_out_of_the_store(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.open() as ledger:
        record_run(ledger, output="x" * 100_000)
        ledger.append("r2", "run_started", {"request": "y" * 10})
        ledger.append("r2", "run_finished", {"state": "failed", "answer": "x" * 100_000})
        read = ledger._read
        taken: list[object] = []

        def watched(sql: str, values: Sequence[object]) -> list[object]:
            taken.extend(rows := read(sql, values))
            return rows

        monkeypatch.setattr(ledger, "_read", watched)
        assert len(ledger.runs()) == 2
    assert taken
    assert len(repr(taken)) < 2_000


def test_what_a_store_cannot_keep_is_refused_and_leaves_nothing(store: Store) -> None:
    outcome = Outcome(run_id="r", task_id="a", task_type="x", agent="b", success=True, usage=Usage(calls=2**70))
    with store.open() as ledger:
        with pytest.raises(InvalidInput, match="cannot keep this"):
            ledger.append("r", "task_finished", task_id="a", outcomes=[outcome])
        with pytest.raises(InvalidInput, match="cannot keep this"):
            ledger.append("r\udc80", "run_started", {"request": "x"})
        assert (ledger.events("r"), ledger.outcomes()) == ((), ())


def test_a_ledger_of_a_newer_version_is_refused(store: Store) -> None:
    store.open().close()
    store.set_version(1000)
    for read_only in (True, False):
        with pytest.raises(InvalidInput, match="newer kapelle"):
            store.open(read_only=read_only)


@pytest.mark.parametrize("version", [1, 2])
def test_a_ledger_from_before_the_first_release_is_refused_with_the_way_out(store: Store, version: int) -> None:
    with store.open() as ledger:
        record_run(ledger)
    before = store.rows("SELECT * FROM events ORDER BY seq")
    store.set_version(version)
    for read_only in (True, False):
        with pytest.raises(InvalidInput, match=rf"is of schema {version}.*name a new one with --db"):
            store.open(read_only=read_only)
    assert store.rows("SELECT * FROM events ORDER BY seq") == before


def test_events_are_readable_with_any_tool(store: Store) -> None:
    with store.open() as ledger:
        record_run(ledger)
    ((data,),) = store.rows("SELECT data FROM events WHERE kind = 'run_started'")
    assert json.loads(data) == {"request": "capital of France"}


def test_reading_where_there_is_no_ledger_names_the_way_out_and_makes_none(store: Store) -> None:
    for _ in range(2):
        with pytest.raises(NotFound, match="--db names another"):
            store.open(read_only=True)


def test_a_ledger_for_reading_refuses_to_write_and_sees_what_others_write(store: Store) -> None:
    with store.open() as writer, store.open(read_only=True) as reader:
        writer.append("r", "run_started", {"request": "x"})
        for write in (
            lambda: reader.append("r", "run_finished"),
            lambda: reader.record(OUTCOME),
            lambda: reader.acquire_lease("r", "a", 1),
        ):
            with pytest.raises(InvalidInput, match="opened for reading only"):
                write()
        assert len(reader.events("r")) == 1
        writer.append("r", "run_finished", {"state": "failed"})
        assert reader.runs()[0].state == "failed"


def new(kind: EventKind, **data: object) -> NewEvent:
    return NewEvent(at=1.5, kind=kind, task_id="a", data=data, outcomes=(OUTCOME,))


def test_events_that_are_written_together_follow_each_other_with_their_outcomes(store: Store) -> None:
    with store.open() as ledger:
        ledger.append("r", "run_started", {"request": "x"})
        found = ledger.append_all("r", [new("task_started"), new("task_finished", output="é" * 40_000)])
        assert ledger.events("r")[1:] == found
        assert [(one.seq, one.at, one.kind) for one in found] == [(1, 1.5, "task_started"), (2, 1.5, "task_finished")]
        assert len(ledger.outcomes()) == 2
        assert ledger.append_all("r", []) == ()
        assert ledger.append("r", "task_skipped").seq == 3


def test_a_secret_in_one_of_the_events_that_are_written_together_is_hidden(store: Store) -> None:
    with store.open() as ledger:
        remember("sk-very-secret-0123456789", owner=ledger)
        ledger.append("r", "run_started", {"request": "x"})
        told = [new("task_started", agent="noop"), new("task_finished", output="It is sk-very-secret-0123456789.")]
        found = ledger.append_all("r", told)
        assert [one.data for one in found] == [{"agent": "noop"}, {"output": "It is ***."}]
        assert ledger.events("r")[1:] == found


def test_events_that_are_written_together_are_all_there_or_none(store: Store) -> None:
    with store.open() as ledger:
        ledger.append("r", "run_started", {"request": "x"})
        unkept = replace(new("task_finished"), task_id="\ud800")
        with pytest.raises(InvalidInput):
            ledger.append_all("r", [new("task_started"), unkept])
        assert [one.kind for one in ledger.events("r")] == ["run_started"]
        assert ledger.outcomes() == ()


def test_events_that_are_written_together_under_a_lease_that_is_lost_are_not(store: Store) -> None:
    with store.open() as ledger:
        ledger.append("r", "run_started", {"request": "x"})
        lease = ledger.acquire_lease("r", "one", 60.0)
        ledger.release_lease(lease)
        with pytest.raises(LeaseLost):
            ledger.append_all("r", [new("task_started"), new("task_finished")], fence=lease.fence)
        assert len(ledger.events("r")) == 1


def test_a_turn_may_be_large(store: Store) -> None:
    with store.open() as ledger:
        ledger.append("r", "run_started", {"request": "x"})
        events = ledger.append_all("r", [new("task_started")] * 3_000)
        assert ledger.events("r")[1:] == events
        assert len(ledger.outcomes()) == 3_000
