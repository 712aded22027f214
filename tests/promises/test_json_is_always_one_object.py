"""With --json, standard output is one JSON object: of every command, whatever goes wrong, whoever else writes there."""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st

from kapelle import cli
from kapelle.cli.printing import json_alone, print_json
from kapelle.errors import AgentFailed, InvalidPlan, KapelleError, LedgerBusy, RunBusy
from kapelle.ledger import SqliteLedger, ledger_path, open_ledger
from tests.cli.test_cli import ATLAS, COMPARE
from tests.cli.test_cli import Outcome as Outcome
from tests.cli.test_cli import kapelle as kapelle
from tests.ledger.runs import record_run

COMMANDS = {
    command.callback.__name__: command
    for command in cli.app.registered_commands
    if command.callback is not None and "as_json" in inspect.signature(command.callback).parameters
}
WORDS = {"REQUEST|FILE": COMPARE, "RUN": "last", "QUESTION|RUN": "last", "VALUE": "yes"}
"""What stands for an argument that must be given."""


@functools.cache
def params(name: str) -> list[Any]:
    return list(typer.main.get_command(cli.app).commands[name].params)  # type: ignore[attr-defined]  # a group


@functools.cache
def takes_number(name: str, option: str) -> bool:
    hints = get_type_hints(COMMANDS[name].callback)
    return bool({int, float} & {hints.get(option), *get_args(hints.get(option))})


def arguments(name: str) -> list[str]:
    """The least that a command must be given."""
    needed = [one for one in params(name) if one.param_type_name == "argument" and one.required]
    return [name, *(WORDS.get(str(one.metavar), "last") for one in needed)]


def one_object(done: Outcome, *, code: int | None = None) -> dict[str, Any]:
    """Return the object that a command printed, and check that it is the only thing it printed."""

    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is no JSON")

    assert done.out.count("\n") == 1, done.out
    found = json.loads(done.out, parse_constant=refuse)
    assert isinstance(found, dict)
    if "error" in found and isinstance(found["error"], dict):
        assert found["error"]["exit_code"] == done.code
        assert found["error"]["kind"] != ""
        assert found["error"]["message"] != ""
        assert "remedy" in found["error"]
    if code is not None:
        assert done.code == code
    return found


def error_of(done: Outcome, *, code: int | None = None) -> dict[str, Any]:
    found = one_object(done, code=code)
    assert done.code != 0
    assert isinstance(found.get("error"), dict), found
    error: dict[str, Any] = found["error"]
    return error


USAGE = [
    (name, [*arguments(name), *wrong])
    for name in COMMANDS
    for wrong in (
        ["--no-such-option"],
        ["one", "too", "many", "words"],
        *(
            [next(iter(one.opts)), "lots"]
            for one in params(name)
            if one.param_type_name == "option" and takes_number(name, one.name)
        ),
        *([next(iter(one.opts))] for one in params(name) if one.param_type_name == "option" and not one.is_flag),
    )
] + [(name, [name]) for name in COMMANDS if len(arguments(name)) > 1]


@pytest.mark.parametrize(("name", "words"), USAGE, ids=[" ".join(words) for _, words in USAGE])
def test_what_is_typed_wrongly_is_an_object(kapelle: Any, name: str, words: list[str]) -> None:
    error = error_of(kapelle(words[0], "--json", *words[1:]), code=2)
    assert error["remedy"] == f"See: kapelle {name} --help" or error["kind"] in ("InvalidInput", "NotFound")


@pytest.mark.parametrize("words", [["dance"], ["--dance"], []], ids=str)
def test_so_is_what_is_no_command(kapelle: Any, words: list[str]) -> None:
    assert error_of(kapelle(*words, "--json"), code=2)["kind"] in ("UsageError", "NoSuchOption", "NoSuchCommand")


class Ours(KapelleError):
    """An error that a user has added to the tree."""

    def __str__(self) -> str:
        raise ValueError("no words")


RAISED: dict[str, tuple[BaseException, int]] = {
    "a fault of the user's": (InvalidPlan("wrong", place="plan.yaml, line 3"), 2),
    "an error of the root": (KapelleError("odd \x1b[31m \ud800 text"), 1),
    "a fault that passes": (LedgerBusy("busy", retry_after_s=3.0), 1),
    "a busy run": (RunBusy("r1", owner="somebody", wait_s=2.0), 1),
    "paid": (AgentFailed("no", cost_usd=0.5), 1),
    "a wrong plan that was paid": (InvalidPlan("wrong"), 1),
    "interrupted": (KeyboardInterrupt(), 130),
    "a bug": (ZeroDivisionError("division by zero"), 1),
    "a bug without words": (ValueError(), 1),
    "out of memory": (MemoryError(), 1),
    "too deep": (RecursionError("deep"), 1),
    "ended with a code": (SystemExit(7), 7),
    "ended with words": (SystemExit("words"), 1),
    "aborted": (typer.Abort(), 1),
    "a reader that has gone": (BrokenPipeError(32, "Broken pipe"), 1),
}
RAISED["a wrong plan that was paid"][0].cost_usd = 0.25  # type: ignore[attr-defined]  # an instance


@pytest.mark.parametrize(
    ("name", "what"),
    [*(("run", what) for what in RAISED), *((name, what) for name in COMMANDS for what in ("interrupted", "a bug"))],
)
def test_whatever_a_command_raises_is_an_object(
    kapelle: Any, monkeypatch: pytest.MonkeyPatch, name: str, what: str
) -> None:
    error, code = RAISED[what]

    @functools.wraps(COMMANDS[name].callback)  # type: ignore[arg-type]  # it has one
    def raising(*_: Any, **__: Any) -> None:
        print("something else")
        os.write(1, b"from below\n")
        raise error

    monkeypatch.setattr(COMMANDS[name], "callback", raising)
    done = kapelle(*arguments(name), "--json")
    found = error_of(done, code=code)
    assert found["kind"] == ("SystemExit" if what == "a reader that has gone" else type(error).__name__)
    assert ("something else" in done.err, "from below" in done.err) == (True, True)
    for field in ("place", "run_id", "cost_usd", "retry_after_s"):
        if (value := getattr(error, field, None)) and isinstance(error, KapelleError):
            assert found[field] == value


def test_an_error_that_cannot_say_what_it_is_is_an_object_too(kapelle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    @functools.wraps(COMMANDS["runs"].callback)  # type: ignore[arg-type]  # it has one
    def raising(**_: Any) -> None:
        raise Ours

    monkeypatch.setattr(COMMANDS["runs"], "callback", raising)
    assert error_of(kapelle("runs", "--json"))["kind"] == "Ours"


READS = ("explain", "resume", "stop", "approve", "reject", "answer")


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("has_ledger", [False, True])
def test_a_run_that_is_not_there_is_an_object(kapelle: Any, name: str, has_ledger: bool) -> None:
    if has_ledger:
        kapelle("run", COMPARE, "--data", ATLAS)
    words = [name, "no-such-run", *(["yes"] if name == "answer" else [])]
    assert error_of(kapelle(*words, "--json"), code=2)["kind"] == "NotFound"


FILES = [
    ["run", "no-such-plan.yaml"],
    ["plan", "no-such-plan.json"],
    ["run", COMPARE, "--data", "/nowhere"],
    ["plan", COMPARE, "--agents", "/nowhere.yaml"],
    ["agents", "--agents", "/nowhere.yaml"],
    ["run", COMPARE, "--svg", "/nowhere/x.svg"],
    ["run", COMPARE, "-o", "/nowhere/x.md"],
    ["resume", "last", "--svg", "/nowhere/x.svg"],
    ["explain", "last", "--svg", "/nowhere/x.svg"],
    ["savings", "/nowhere.csv"],
    ["learn", "/nowhere.csv"],
    ["run", COMPARE, "--model", "no such model"],
    ["run", COMPARE, "--backend", "steam"],
    ["run", COMPARE, "--budget", "nan"],
    ["run", COMPARE, "--budget", "-1"],
    ["plan", COMPARE, "--quality", "7"],
    ["gc", "--keep-days", "inf"],
    ["run", "Make me happy"],
]


@pytest.mark.parametrize("words", FILES, ids=" ".join)
def test_what_is_not_there_or_no_value_is_an_object(kapelle: Any, words: list[str]) -> None:
    assert error_of(kapelle(*words, "--json"), code=2)["message"]


KINDS = ("a folder", "no database", "cut off", "below a file", "not to be written", "a server")


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "cut off") for name in COMMANDS), *((name, kind) for name in ("run", "explain", "gc") for kind in KINDS)],
)
def test_a_ledger_that_is_out_of_order_is_an_object(kapelle: Any, tmp_path: Path, name: str, kind: str) -> None:
    place = tmp_path / "odd.sqlite"
    match kind:
        case "a folder":
            place.mkdir()
        case "no database":
            place.write_bytes(b"SQLite format 3\x00" + bytes(range(256)) * 20)
        case "cut off":
            with SqliteLedger(ledger_path()) as ledger:
                record_run(ledger, "r1")
            whole = Path(ledger_path()).read_bytes()
            place.write_bytes(whole[: len(whole) // 2])
        case "below a file":
            place.write_text("")
            place = place / "x" / "ledger.sqlite"
        case "not to be written":
            place = Path("/proc/kapelle.sqlite")
    db = str(place)
    if kind == "a server":
        pytest.importorskip("psycopg")
        db = "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"
    if any("--db" in one.opts for one in params(name)):
        one_object(kapelle(*arguments(name), "--json", "--db", db))


def test_a_ledger_that_contradicts_itself_is_an_object(kapelle: Any) -> None:
    kapelle("run", COMPARE, "--data", ATLAS)
    with closing(sqlite3.connect(ledger_path(), isolation_level=None)) as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("UPDATE events SET data = '{}' WHERE kind = 'run_planned'")
    assert error_of(kapelle("explain", "last", "--json"), code=1)["kind"] == "LedgerCorrupt"
    assert error_of(kapelle("resume", "last", "--json"), code=1)["kind"] == "LedgerCorrupt"
    assert one_object(kapelle("doctor", "--json"), code=1)["checks"]


def test_a_plan_that_is_refused_names_the_run_its_issues_and_the_way_out(kapelle: Any, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("tasks: [{id: a, type: fly}]")
    error = error_of(kapelle("run", str(tmp_path / "plan.yaml"), "--json"), code=2)
    with open_ledger(ledger_path(), read_only=True) as ledger:
        run_id = ledger.run("last").run_id
    assert (error["kind"], error["run_id"], error["cost_usd"]) == ("PlanRejected", run_id, 0.0)
    assert (error["issues"][0]["task_id"], error["issues"][0]["severity"]) == ("a", "error")
    assert error["remedy"].startswith(error["issues"][0]["way_out"])


def test_a_bug_that_ended_a_run_names_the_run(kapelle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def plan(*_: Any) -> Any:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("kapelle.planning.RulePlanner.plan", plan)
    error = error_of(kapelle("run", COMPARE, "--data", ATLAS, "--json"), code=1)
    with open_ledger(ledger_path(), read_only=True) as ledger:
        assert (error["kind"], error["run_id"]) == ("ZeroDivisionError", ledger.run("last").run_id)


def test_a_plan_file_with_a_fault_names_its_place(kapelle: Any, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("tasks: 3")
    assert "plan.yaml" in error_of(kapelle("run", str(tmp_path / "plan.yaml"), "--json"), code=2)["place"]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_help_and_version_leave_standard_output_to_the_object(kapelle: Any, name: str) -> None:
    done = kapelle(name, "--help", "--json")
    assert (one_object(done, code=0), "Usage" in done.err) == ({"exit_code": 0}, True)


def test_a_file_that_cannot_be_written_in_the_end_makes_no_second_object(
    kapelle: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys.modules["kapelle.cli.run"], "check_targets", lambda *_: None)  # it went meanwhile
    done = kapelle("run", COMPARE, "--data", ATLAS, "-o", "/nowhere/x.md", "--json")
    assert (one_object(done, code=2)["state"], "Cannot write" in done.err) == ("done", True)


NOISY = """
import os, subprocess, sys
print("imported")
def work(task):
    print("printed")
    os.write(1, b"written below\\n")
    subprocess.run([sys.executable, "-c", "print('a program of its own')"])
    sys.__stdout__.write("past the redirection\\n")
    return {"nan": float("nan")} if task.inputs.get("odd") else "done"
"""


@pytest.mark.slow
def test_agents_that_write_to_standard_output_do_not_spoil_it(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    (tmp_path / "agents.yaml").write_text('agents: [{id: n, task_types: [work], cost_usd: 0, run: "noisy:work"}]')
    (tmp_path / "plan.yaml").write_text("tasks: [{id: a, type: work}, {id: b, type: work, depends_on: [a]}]")
    command = [sys.executable, "-m", "kapelle", "run", str(tmp_path / "plan.yaml"), "--json"]
    command += ["--agents", str(tmp_path / "agents.yaml"), "--db", str(tmp_path / "l.sqlite")]
    for backend in ("asyncio", "threads"):
        done = subprocess.run([*command, "--backend", backend], capture_output=True, text=True)
        assert one_object(Outcome(done.returncode, done.stdout, done.stderr), code=0)["state"] == "done"
        for words in ("imported", "printed", "written below", "a program of its own", "past the redirection"):
            assert words in done.stderr


@pytest.mark.slow
def test_a_program_whose_reader_has_gone_or_that_closed_its_streams_ends_quietly(tmp_path: Path) -> None:
    command = f"{sys.executable} -m kapelle runs --json --db {tmp_path / 'none.sqlite'}"
    for redirection in (">&-", "2>&-", ">&- 2>&-", "| true"):
        done = subprocess.run(["bash", "-c", f"{command} {redirection}"], capture_output=True, text=True)
        assert "Traceback" not in done.stderr
        if redirection == "2>&-":
            assert error_of(Outcome(2, done.stdout, ""))["kind"] == "NotFound"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device here")
@pytest.mark.parametrize("words", ["--version", "runs --json"])
def test_a_disk_without_room_for_what_is_printed_is_no_fault_of_ours(words: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m kapelle {words}" + (
        f" --db {tmp_path / 'none.sqlite'}" if "--json" in words else ""
    )
    done = subprocess.run(["bash", "-c", f"{command} > /dev/full"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "fault of kapelle" not in done.stderr
    assert "error: " in done.stderr


@pytest.mark.parametrize("command", ["explain", "forget", "questions", "approve", "stop"])
def test_what_is_typed_and_is_no_utf_8_is_not_found(kapelle: Any, command: str, tmp_path: Path) -> None:
    location = str(tmp_path / "l.sqlite")
    with SqliteLedger(location) as ledger:
        record_run(ledger)
    assert error_of(kapelle(command, "\udcff", "--json", "--db", location), code=2)["kind"] == "NotFound"


KEYS = st.text() | st.integers() | st.floats() | st.none() | st.booleans() | st.tuples(st.integers())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates() | st.decimals(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.sets(st.integers()) | st.dictionaries(KEYS, inner),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES))
def test_whatever_is_printed_reads_as_json(value: dict[Any, Any]) -> None:
    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is no JSON")

    read, write = os.pipe()
    before = os.dup(1)
    os.dup2(write, 1)
    os.close(write)
    stream = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    stdout, sys.stdout = sys.stdout, stream
    try:
        with json_alone():
            print_json(value)
            print_json({"a second": 1})
    finally:
        sys.stdout = stdout
        os.dup2(before, 1)
        os.close(before)
    with open(read, encoding="utf-8") as file:
        found = json.loads(file.read(), parse_constant=refuse)
    assert isinstance(found, dict)
    assert len(found) <= len(value)
    for name, item in value.items():
        if isinstance(name, str) and name.isascii() and isinstance(item, float) and math.isfinite(item):
            assert found[name] == item
