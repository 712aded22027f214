from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import InvalidInput, LedgerCorrupt, NotFound
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Outcome, SqliteLedger, Usage, ledger_path, rebuild_run
from kapelle.ledger.schema import MIGRATIONS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def record_run(ledger: SqliteLedger, run_id: str = "r1", *, state: str = "done", output: object = "Paris") -> None:
    dag = TaskDAG([Task(task_id="a", task_type="lookup")])
    outcome = Outcome(run_id=run_id, task_id="a", task_type="lookup", agent="atlas", success=True, cost_usd=0.1)
    ledger.append(run_id, "run_started", {"request": "capital of France"})
    ledger.append(run_id, "run_planned", {"graph": dag.to_dict(), "planner": "rules"})
    ledger.append(run_id, "run_routed", {"assignments": {"a": "atlas"}, "explanations": {"a": "it can"}})
    ledger.append(run_id, "run_approved", {"estimates": {}, "issues": []})
    ledger.append(run_id, "task_started", {"agent": "atlas"}, task_id="a")
    ledger.append(
        run_id, "task_finished", {"output": output, "cost_usd": 0.1, "seconds": 2}, task_id="a", outcomes=[outcome]
    )
    ledger.append(run_id, "run_finished", {"state": state, "answer": "Paris"})


def test_reading_a_run_back_rebuilds_its_state(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "l.sqlite") as ledger:
        record_run(ledger)
        live = rebuild_run(ledger.events("r1"))
    with SqliteLedger(tmp_path / "l.sqlite") as again:
        read = again.run("r1")
    assert read == live
    assert (read.state, read.results, read.cost_usd, read.cost_by_agent) == (
        "done",
        {"a": "Paris"},
        0.1,
        {"atlas": 0.1},
    )
    assert "agent: atlas: it can" in read.explain()


@given(JSON, st.text())
def test_any_json_and_any_text_survive(output: object, request: str) -> None:
    with SqliteLedger() as ledger:
        ledger.append("r", "run_started", {"request": request, "output": output})
        (event,) = ledger.events("r")
    assert event.data == {"request": request, "output": output}


def test_outcomes_come_back_as_they_were() -> None:
    usage = Usage(input_tokens=10, cached_tokens=4, output_tokens=3, calls=1)
    outcome = Outcome(
        run_id="r", task_id="t", task_type="x", agent="a", success=False, quality=0.5, usage=usage, cost_usd=0.25,
        seconds=1.5, error="bad \udc80", features={"complexity": 1.5}, at=3.0,
    )  # fmt: skip
    with SqliteLedger() as ledger:
        ledger.record(outcome)
        (found,) = ledger.outcomes(agent="a")
    assert found.error == "bad ?"
    assert [getattr(found, name) for name in ("usage", "quality", "success", "features", "at")] == [
        usage, 0.5, False, {"complexity": 1.5}, 3.0,
    ]  # fmt: skip


def test_an_event_that_cannot_be_written_leaves_no_outcome_either() -> None:
    outcome = Outcome(run_id="r", task_id="a", task_type="x", agent="b", success=True)
    with SqliteLedger() as ledger:
        with pytest.raises(TypeError):
            ledger.append("r", "task_finished", {"output": object()}, task_id="a", outcomes=[outcome])
        assert (ledger.events("r"), ledger.outcomes()) == ((), ())


def test_events_cannot_be_changed(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "l.sqlite") as ledger:
        record_run(ledger)
    with (
        sqlite3.connect(tmp_path / "l.sqlite") as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute("UPDATE events SET data = '{}'")
    connection.close()


def test_threads_and_ledgers_on_one_file_never_take_the_same_place(tmp_path: Path) -> None:
    ledgers = [SqliteLedger(tmp_path / "l.sqlite") for _ in range(2)]
    ledgers[0].append("r", "run_started", {"request": ""})

    def write(ledger: SqliteLedger) -> None:
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


def test_runs_are_listed_newest_first_and_found_by_the_beginning_of_their_id() -> None:
    times = iter(range(100))
    with SqliteLedger(clock=lambda: float(next(times))) as ledger:
        record_run(ledger, "2026-a")
        record_run(ledger, "2026-b", state="partial")
        assert [(run.run_id, run.state, run.tasks_done) for run in ledger.runs()] == [
            ("2026-b", "partial", 1),
            ("2026-a", "done", 1),
        ]
        assert ledger.run("last").run_id == ledger.run("2026-b").run_id == "2026-b"
        with pytest.raises(NotFound, match="begins the ids of several runs"):
            ledger.run("2026")


@pytest.mark.parametrize("run_id", ["nope", "", "%", "_"])
def test_an_unknown_run_is_named(run_id: str) -> None:
    with SqliteLedger() as ledger:
        record_run(ledger)
        with pytest.raises(NotFound, match="There is no run"):
            ledger.run(run_id)


def test_a_file_that_is_no_ledger_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be one " * 50)
    with pytest.raises(InvalidInput, match="is no ledger"):
        SqliteLedger(path)
    assert path.read_text().startswith("not a database")


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "other.sqlite")
    connection.execute("CREATE TABLE customers (name TEXT)")
    connection.close()
    with pytest.raises(InvalidInput, match="a database of something else"):
        SqliteLedger(tmp_path / "other.sqlite")


def test_a_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    SqliteLedger(tmp_path / "l.sqlite").close()
    connection = sqlite3.connect(tmp_path / "l.sqlite")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(InvalidInput, match="newer kapelle"):
        SqliteLedger(tmp_path / "l.sqlite")


def test_a_folder_where_the_file_should_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--db"):
        SqliteLedger(tmp_path)


def test_the_path_is_the_option_else_the_variable_else_the_data_directory() -> None:
    assert ledger_path("a.db", {"KAPELLE_DB": "b.db"}) == "a.db"
    assert ledger_path(None, {"KAPELLE_DB": "b.db"}) == "b.db"
    assert ledger_path(None, {}).endswith("ledger.sqlite")


def test_a_journal_survives_a_watcher_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    from kapelle.ledger import Journal

    def fail(event: object) -> None:
        raise ValueError("display")

    with SqliteLedger() as ledger:
        journal = Journal(ledger, "r", on_event=fail)
        journal.write("run_started", {"request": "x"})
        journal.write("run_finished", {"state": "failed"})
        assert ledger.run("r").state == "failed"
    assert caplog.text.count("A watcher of run r failed") == 1


def test_events_are_readable_with_any_sqlite_tool(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "l.sqlite") as ledger:
        record_run(ledger)
    connection = sqlite3.connect(tmp_path / "l.sqlite")
    (data,) = connection.execute("SELECT data FROM events WHERE kind = 'run_started'").fetchone()
    connection.close()
    assert json.loads(data) == {"request": "capital of France"}


def test_a_closed_ledger_says_so() -> None:
    ledger = SqliteLedger()
    ledger.close()
    ledger.close()
    with pytest.raises(InvalidInput, match="was closed"):
        ledger.runs()
    with pytest.raises(InvalidInput, match="was closed"):
        ledger.append("r", "run_started", {"request": "x"})


def damage(path: Path, statement: str, *values: object) -> None:
    """Change a row as only somebody who drops the triggers can."""
    connection = sqlite3.connect(path)
    for trigger in ("events_are_final", "outcomes_are_final"):
        connection.execute(f"DROP TRIGGER {trigger}")
    connection.execute(statement, values)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("column", "kind", "value"),
    [
        ("data", "run_started", "{}"),
        ("data", "run_started", '{"request": null}'),
        ("data", "run_started", "not JSON"),
        ("data", "run_started", "[1, 2]"),
        ("data", "run_started", b"\xff"),
        ("data", "run_started", "[" * 100_000),
        ("at", "run_started", "yesterday"),
        ("data", "run_finished", '{"state": "gone"}'),
        ("data", "task_finished", '{"cost_usd": "much"}'),
    ],
)
def test_an_event_that_cannot_be_read_is_named(tmp_path: Path, column: str, kind: str, value: object) -> None:
    with SqliteLedger(tmp_path / "l.sqlite") as ledger:
        record_run(ledger)
    damage(tmp_path / "l.sqlite", f"UPDATE events SET {column} = ? WHERE kind = ?", value, kind)
    with SqliteLedger(tmp_path / "l.sqlite", read_only=True) as ledger:
        for read in (ledger.runs, lambda: ledger.run("r1")):
            with pytest.raises(LedgerCorrupt, match=rf"Run 'r1', event \d \('{kind}'\)"):
                read()


@pytest.mark.parametrize(("column", "value"), [("features", "x"), ("cost_usd", "x"), ("quality", 7), ("calls", "x")])
def test_an_outcome_that_cannot_be_read_is_named(tmp_path: Path, column: str, value: object) -> None:
    with SqliteLedger(tmp_path / "l.sqlite") as ledger:
        record_run(ledger)
    damage(tmp_path / "l.sqlite", f"UPDATE outcomes SET {column} = ?", value)
    with SqliteLedger(tmp_path / "l.sqlite") as ledger, pytest.raises(LedgerCorrupt, match="Outcome 1 in the ledger"):
        ledger.outcomes()


def test_text_that_is_no_utf_8_is_damage(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "l.sqlite") as ledger:
        record_run(ledger)
    damage(tmp_path / "l.sqlite", "UPDATE events SET data = CAST(x'22ff22' AS TEXT)")
    with SqliteLedger(tmp_path / "l.sqlite") as ledger, pytest.raises(LedgerCorrupt, match="is damaged"):
        ledger.run("r1")


@pytest.mark.parametrize("request_text", ["lone \udc80", "nul \0", 'quote " and é'])
@pytest.mark.parametrize("output", [1, float("inf"), float("nan")])
def test_the_list_of_runs_shows_any_request_and_bears_any_output(request_text: str, output: object) -> None:
    with SqliteLedger() as ledger:
        ledger.append("r", "run_started", {"request": request_text, "output": output})
        ledger.append("r", "run_finished", {"state": "failed", "answer": "x", "output": output})
        (summary,) = ledger.runs()
    assert (summary.request, summary.state) == (request_text, "failed")


def test_the_list_of_runs_takes_no_answer_and_no_output_out_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with SqliteLedger() as ledger:
        record_run(ledger, output="x" * 100_000)
        ledger.append("r2", "run_started", {"request": "y" * 10})
        ledger.append("r2", "run_finished", {"state": "failed", "answer": "x" * 100_000})
        read = ledger._history._read
        taken: list[object] = []

        def watched(sql: str, values: Sequence[object]) -> list[object]:
            taken.extend(rows := read(sql, values))
            return rows

        monkeypatch.setattr(ledger._history, "_read", watched)
        assert len(ledger.runs()) == 2
    assert taken
    assert len(repr(taken)) < 2_000


def test_what_sqlite_cannot_keep_is_refused_and_leaves_nothing() -> None:
    outcome = Outcome(run_id="r", task_id="a", task_type="x", agent="b", success=True, usage=Usage(calls=2**70))
    with SqliteLedger() as ledger:
        with pytest.raises(InvalidInput, match="cannot keep this"):
            ledger.append("r", "task_finished", task_id="a", outcomes=[outcome])
        with pytest.raises(InvalidInput, match="cannot keep this"):
            ledger.append("r\udc80", "run_started", {"request": "x"})
        assert (ledger.events("r"), ledger.outcomes()) == ((), ())
