"""`kapelle doctor`: every check fails where it should, says what to do, and never breaks the command."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from kapelle.cli import doctor
from kapelle.cli.doctor import CHECKS, EXTRAS, CheckResult, Surroundings, examine
from kapelle.ledger import SqliteLedger, ledger_path, this_process
from tests.cli.test_cli import kapelle  # noqa: F401 - a fixture
from tests.ledger.runs import record_run

NAMES = [check.__name__.removeprefix("check_") for check in CHECKS]


def write_ledger() -> Path:
    with SqliteLedger(ledger_path()) as ledger:
        record_run(ledger, "r1")
        record_run(ledger, "r2")
    return Path(ledger_path())


def change(statement: str) -> None:
    connection = sqlite3.connect(ledger_path())
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(statement)
    connection.commit()
    connection.close()


def look(name: str, **surroundings: Any) -> CheckResult:
    """Return what one check finds."""
    found = examine(Surroundings(**{"environ": os.environ, **surroundings}))
    return next(check for check in found if check.name == name)


def test_on_a_new_machine_all_is_well_and_nothing_is_left_behind(kapelle: Any, tmp_path: Path) -> None:  # noqa: F811
    done = kapelle("doctor")
    assert (done.code, done.err) == (0, "")
    assert f"All {len(CHECKS)} checks passed." in done.out
    for words in ("There is none yet", "No model is configured", "offline", "A program ran in it"):
        assert words in done.out
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_in_memory_begins_empty(kapelle: Any) -> None:  # noqa: F811
    assert kapelle("doctor", "--db", ":memory:").code == 0


def test_json_is_one_object_and_names_every_check(kapelle: Any) -> None:  # noqa: F811
    write_ledger()
    done = kapelle("doctor", "--json")
    assert (done.code, done.err, done.out.count("\n")) == (0, "", 1)
    assert list(done.data) == ["checks"]
    assert [list(check) for check in done.data["checks"]] == [["name", "ok", "detail", "remedy"]] * len(CHECKS)
    assert [check["name"] for check in done.data["checks"]] == NAMES
    assert {check["ok"] for check in done.data["checks"]} == {True}
    assert {check["remedy"] for check in done.data["checks"]} == {""}


def test_a_damaged_run_is_named_and_the_others_are_counted(kapelle: Any) -> None:  # noqa: F811
    write_ledger()
    change("UPDATE events SET data = replace(data, 'it can', 'it cat') WHERE run_id = 'r1' AND seq = 2")
    done = kapelle("doctor", "--json")
    (check,) = [one for one in done.data["checks"] if not one["ok"]]
    assert (done.code, check["name"]) == (1, "runs")
    assert "1 of 2 runs damaged: Run 'r1', event 2 ('run_routed'), is not as it was written" in check["detail"]
    assert "copy of the ledger" in check["remedy"]
    shown = kapelle("doctor")
    assert (shown.code, "failed" in shown.out, "→ Put a copy" in shown.out) == (1, True, True)


def test_of_many_damaged_runs_some_are_named() -> None:
    with SqliteLedger(ledger_path()) as ledger:
        for number in range(9):
            record_run(ledger, f"r{number}")
    change("DELETE FROM events WHERE seq = 6")
    check = look("runs")
    assert check.detail.startswith("9 of 9 runs damaged: Run 'r0': event 6 is missing")
    assert check.detail.endswith("and 4 more")


def test_runs_from_before_there_were_chains_are_told_and_are_no_fault() -> None:
    with SqliteLedger(ledger_path()) as ledger:
        record_run(ledger, "r1", state="stopped")
        record_run(ledger, "r2", state="stopped")
    change("UPDATE events SET hash = NULL")
    change("UPDATE chains SET start = length, hash = zeroblob(32)")
    with SqliteLedger(ledger_path()) as ledger:
        ledger.append("r2", "run_resumed", {"state": "running"})
        ledger.append("r2", "run_finished", {"state": "done"})
    check = look("runs")
    assert check.ok
    assert check.detail == (
        "2 runs, nothing found wrong; 1 not chained, from before events were: r1; "
        "1 not chained in part, from before events were: r2 before event 7"
    )


@pytest.mark.parametrize("owner", [None, "dead"])
def test_a_run_that_nobody_works_on_is_told_with_the_command_to_go_on(owner: str | None) -> None:
    with SqliteLedger(ledger_path()) as ledger:
        ledger.append("r1", "run_started", {"request": "x"})
        if owner is not None:
            ledger.acquire_lease("r1", this_process().rpartition("@")[0] + "@1", 1000)
    check = look("unfinished", db=ledger_path())
    assert (check.ok, "r1" in check.detail) == (False, True)
    assert check.remedy == f"To go on: kapelle resume r1 --db {ledger_path()}"
    with SqliteLedger(ledger_path()) as ledger:
        if owner is None:
            ledger.acquire_lease("r1", this_process(), 1000)
            assert look("unfinished").ok


@pytest.mark.parametrize(("ahead", "ok"), [(-1.0, True), (1.0, True), (3600.0, False)])
def test_a_clock_before_the_newest_event_is_told(ahead: float, ok: bool) -> None:
    with SqliteLedger(ledger_path(), clock=lambda: 1e9 + ahead) as ledger:
        record_run(ledger)
    check = look("clock", clock=lambda: 1e9)
    assert (check.ok, bool(check.remedy)) == (ok, not ok)


@pytest.mark.parametrize(
    ("environ", "ok", "words"),
    [
        ({}, True, "This is offline"),
        ({"KAPELLE_MODEL": "none"}, True, "This is offline"),
        ({"OPENAI_API_KEY": "sk-test-0123456789"}, True, "It was not called"),
        ({"KAPELLE_MODEL": "local:tiny", "KAPELLE_BASE_URL": "http://127.0.0.1:1/v1"}, False, "Nobody listens there"),
        ({"KAPELLE_MODEL": "tiny", "KAPELLE_BASE_URL": "http://127.0.0.1:1"}, False, "Start its server"),
        ({"KAPELLE_MODEL": "ollama:tiny", "OLLAMA_BASE_URL": "http://127.0.0.1:1/v1"}, False, "Nobody listens there"),
        ({"KAPELLE_MODEL": "openai:gpt-5"}, False, "OPENAI_API_KEY"),
        ({"KAPELLE_MODEL": "a b"}, False, "provider:name"),
        ({"KAPELLE_BASE_URL": "http://127.0.0.1:1/v1"}, False, "KAPELLE_MODEL"),
    ],
)
def test_the_model_is_what_the_environment_names(environ: dict[str, str], ok: bool, words: str) -> None:
    check = look("model", environ={**os.environ, **environ})
    assert (check.ok, words in check.detail + check.remedy) == (ok, True)
    assert "sk-test" not in check.detail + check.remedy


def test_a_server_that_listens_is_not_called() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        check = look("model", environ={**os.environ, "KAPELLE_MODEL": "tiny", "KAPELLE_BASE_URL": url})
        server.settimeout(30)
        connection, _ = server.accept()
        with connection:
            assert connection.recv(100) == b""
    assert (check.ok, "It was not called" in check.detail) == (True, True)


@pytest.mark.parametrize("name", ["strategies.json", "success.npz", "difficulty.npz"])
def test_what_was_learned_and_cannot_be_read_is_named(name: str) -> None:
    folder = Path(f"{write_ledger()}.learned")
    folder.mkdir()
    assert look("learned").ok
    (folder / name).write_text("{")
    check = look("learned")
    assert (check.ok, name in check.detail, check.remedy) == (False, True, "Learn anew: kapelle learn")


@pytest.mark.parametrize("what", ["text", "folder", "newer", "other"])
def test_a_ledger_that_cannot_be_opened_is_one_fault_and_what_needs_it_is_not_checked(kapelle: Any, what: str) -> None:  # noqa: F811
    path = Path(ledger_path())
    if what == "text":
        path.write_text("not a database, but long enough to be one " * 50)
    elif what == "folder":
        path.mkdir()
    elif what == "newer":
        write_ledger()
        change("PRAGMA user_version = 1000")
    else:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE customers (name TEXT)")
        connection.close()
    done = kapelle("doctor", "--json")
    found = {check["name"]: check for check in done.data["checks"]}
    assert (done.code, found["ledger"]["ok"]) == (1, False)
    for name in ("runs", "unfinished", "clock", "learned"):
        assert (found[name]["ok"], found[name]["detail"]) == (False, "Not checked: the ledger cannot be opened.")
    assert all(check["ok"] or check["remedy"] for check in found.values())


def test_a_disk_that_is_full_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 10**18)
    check = look("disk")
    assert (check.ok, "kapelle gc" in check.remedy) == (False, True)


def test_a_sandbox_that_does_not_work_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    check = look("sandbox")
    assert (check.ok, bool(check.remedy)) == (False, True)


class _Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [ValueError("broken\n\x1b[2J"), RecursionError(), MemoryError(), _Unspeakable()])
def test_a_check_that_raises_has_failed_and_the_others_go_on(
    kapelle: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def check_luck(_: Surroundings) -> CheckResult:
        print("a library that prints")
        raise error

    monkeypatch.setattr(doctor, "CHECKS", (check_luck, doctor.check_python))
    done = kapelle("doctor", "--json")
    assert (done.code, [(one["name"], one["ok"]) for one in done.data["checks"]]) == (
        1,
        [("luck", False), ("python", True)],
    )
    shown = kapelle("doctor")
    assert (shown.code, "\x1b[2J" in shown.out, "Traceback" in shown.out + shown.err) == (1, False, False)


@pytest.mark.parametrize("words", [["--nope"], ["now"], ["--db"]])
def test_wrong_usage_is_told_with_exit_code_2(kapelle: Any, words: list[str]) -> None:  # noqa: F811
    done = kapelle("doctor", *words)
    assert (done.code, done.out) == (2, "")


def test_every_extra_is_known_by_its_module() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(EXTRAS) == set(project["project"]["optional-dependencies"]) - {"bench", "bench-llm"}


def test_a_file_that_may_not_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_ledger()
    path.chmod(0o400)
    check = look("ledger")
    assert check.ok == (os.geteuid() == 0), json.dumps(check.detail)  # the superuser may write everywhere
