"""Faults of agents, disks, databases and clocks: each gives a clear error, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kapelle import Engine, Plan, Run, SqliteLedger, Task, TaskDAG, agent
from kapelle.agents import AgentResult
from kapelle.errors import InvalidInput, KapelleError, LedgerBusy, LedgerCorrupt
from kapelle.execution import ExecutionLimits, RetryPolicy
from kapelle.ledger import PostgresLedger, connection
from tests.ledger.postgres_server import PostgresServer


def work(task_id: str, *after: str, **fields: Any) -> Task:
    return Task(task_id=task_id, task_type="work", depends_on=after, **fields)


def plan(*tasks: Task) -> Plan:
    return Plan(request="test", graph=TaskDAG(tasks), planner="test")


def engine_with(function: Any, path: Path | str = ":memory:", **options: Any) -> Engine:
    own = agent(task_types=["work"], cost_usd=0.01)(function)
    ledger = options.pop("ledger", None) or SqliteLedger(path)
    return Engine([own], model="none", ledger=ledger, **options)


def go(engine: Engine, *tasks: Task, **terms: Any) -> Run:
    return asyncio.run(engine.run(plan(*tasks), **terms))


class Hostile:
    """An output that fails whatever is done with it."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__

    def __iter__(self) -> Any:
        raise RuntimeError("no")


BAD: dict[str, Any] = {
    "an error": RuntimeError("broken"),
    "an error that cannot be shown": type("Silent", (Exception,), {"__str__": lambda self: 1 / 0})(),
    "the end of the program": SystemExit(3),
    "an interrupt": KeyboardInterrupt(),
    "a generator's end": GeneratorExit(),
    "a cancellation": asyncio.CancelledError(),
    "an object": object(),
    "a hostile object": Hostile(),
    "bytes": b"\xff\xfe",
    "a deep list": eval("[" * 90 + "]" * 90),
    "not a number": float("nan"),
    "100 MB": "x" * 100_000_000,
    "a coroutine": None,
}


@pytest.mark.parametrize("name", BAD)
def test_whatever_one_agent_gives_the_others_go_on(name: str) -> None:
    async def agent_of_ours(task: Task) -> Any:
        if task.task_id != "bad":
            return "fine"
        if isinstance(BAD[name], BaseException):
            raise BAD[name]
        return BAD[name]

    run = go(engine_with(agent_of_ours), work("bad"), work("good"), work("after", "good"))
    assert (run.tasks["good"].state, run.tasks["after"].state) == ("done", "done")
    assert run.state in ("done", "partial")
    if run.state == "partial":
        assert len(run.tasks["bad"].reason or "") < 3000
        assert run.tasks["bad"].cost_usd == 0.01  # it may have been billed


def test_an_output_of_100_mb_is_refused_with_a_way_out() -> None:
    async def large(task: Task) -> str:
        return "x" * 100_000_000

    run = go(engine_with(large), work("a"))
    assert "Write it to a file, and return the file's name" in (run.tasks["a"].reason or "")


def test_an_agent_that_hangs_and_ignores_its_cancellation_holds_up_nobody() -> None:
    cancelled: list[str] = []

    async def stubborn(task: Task) -> str:
        while task.task_id == "hang":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append("once more")
                if len(cancelled) > 1:  # the end of the run, which nothing outlives
                    raise
        return "fine"

    run = go(engine_with(stubborn, limits=ExecutionLimits(task_timeout_s=0.1)), work("hang"), work("b"), work("c", "b"))
    assert (run.tasks["hang"].state, run.tasks["c"].state) == ("failed", "done")
    assert "longer than its 0.1 s" in (run.tasks["hang"].reason or "")


def test_an_agent_that_spawns_tasks_for_ever_is_stopped_with_a_reason() -> None:
    calls = 0

    async def spawns(task: Task) -> AgentResult:
        nonlocal calls
        calls += 1
        return AgentResult(output=None, expansion=TaskDAG([work("again", description="the same")]), cost_usd=0.0)

    run = go(engine_with(spawns), work("a"), work("b"))
    assert run.state == "failed"
    assert calls <= 10
    assert "expansions deep" in str(run.stop_reason) or "loop" in str(run.stop_reason)


def test_a_loop_is_stopped_before_the_depth_allows_it() -> None:
    async def spawns_itself(task: Task) -> AgentResult:
        return AgentResult(output=None, expansion=TaskDAG([work("x", description="again")]), cost_usd=0.0)

    limits = ExecutionLimits(max_same_calls=2)
    run = go(engine_with(spawns_itself, limits=limits), work("a"))
    assert "This is a loop" in str(run.stop_reason)


def test_a_full_disk_ends_the_run_with_a_clear_error_and_what_was_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"

    async def fills(task: Task) -> str:
        if task.task_id == "b":  # from now on the database may not grow
            pages = engine.ledger._connection.execute("PRAGMA page_count").fetchone()[0]  # type: ignore[attr-defined]  # a real one
            engine.ledger._connection.execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]  # a real one
        return task.task_id + "x" * 20_000

    engine = engine_with(fills, path)
    with pytest.raises(InvalidInput, match="Check the disk"):
        go(engine, work("a"), work("b", "a"), work("c", "b"))
    engine.close()

    async def mended(task: Task) -> str:
        return "now"

    again = engine_with(mended, path)
    before = again.ledger.run("last")
    assert before.tasks["a"].state == "done"
    run = asyncio.run(again.resume("last"))
    assert (run.state, run.tasks["a"].output[:1], run.tasks["c"].output) == ("done", "a", "now")


@pytest.mark.slow
def test_a_database_that_is_locked_for_too_long_ends_the_run_and_it_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.1)
    path = tmp_path / "l.sqlite"
    blocker: list[sqlite3.Connection] = []

    async def locks(task: Task) -> str:
        if task.task_id == "b" and not blocker:
            blocker.append(sqlite3.connect(path, isolation_level=None))
            blocker[0].execute("BEGIN IMMEDIATE")
        return task.task_id

    engine = engine_with(locks, path)
    with pytest.raises(LedgerBusy, match="Another process holds the ledger"):
        go(engine, work("a"), work("b", "a"))
    blocker[0].close()
    run = asyncio.run(engine.resume("last"))
    assert (run.state, run.results) == ("done", {"a": "a", "b": "b"})


def test_a_database_that_is_gone_is_said_and_no_new_one_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"

    def files() -> list[Path]:
        return list(tmp_path.iterdir())

    async def deletes(task: Task) -> str:
        if task.task_id == "b":
            for file in files():
                file.unlink()
        return task.task_id

    with pytest.raises(LedgerCorrupt, match="was removed or replaced while it was open"):
        go(engine_with(deletes, path), work("a"), work("b", "a"), work("c", "b"))


@pytest.mark.slow
def test_a_server_that_goes_away_ends_the_run_and_it_goes_on_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.2)
    with PostgresServer() as server:

        async def stops(task: Task) -> str:
            if task.task_id == "b" and not stopped:
                stopped.append(1)
                server.kill()
            return task.task_id

        stopped: list[int] = []
        engine = engine_with(stops, ledger=PostgresLedger(server.url()))
        with pytest.raises(LedgerBusy):
            go(engine, work("a"), work("b", "a"), work("c", "b"))
        server.start()
        run = asyncio.run(engine.resume("last"))
        assert (run.state, set(run.results)) == ("done", {"a", "b", "c"})
        assert [event.kind for event in run.events].count("task_finished") == 3
        engine.close()


def test_a_clock_that_jumps_back_harms_no_run(tmp_path: Path) -> None:
    now = [2_000_000_000.0]

    async def turns_back(task: Task) -> str:
        now[0] -= 10_000
        return task.task_id

    engine = engine_with(turns_back, ledger=SqliteLedger(tmp_path / "l", clock=lambda: now[0]))
    run = go(engine, work("a"), work("b", "a"), work("c"), deadline_s=60)
    assert (run.state, run.seconds, run.active_seconds) == ("done", 0.0, run.active_seconds)
    assert run.active_seconds >= 0
    assert engine.ledger.run("last") == run


CHILD = """
import asyncio, sys, time
from pathlib import Path
from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG, agent
from kapelle.errors import KapelleError
path, effects, ahead_s = sys.argv[1], sys.argv[2], float(sys.argv[3])

@agent(task_types=["work"], cost_usd=0.01)
async def worker(task):
    with open(effects, "a") as lines:
        lines.write(task.task_id + "\\n")
    while task.task_id not in Path(effects + ".let").read_text():
        await asyncio.sleep(0.01)
    return task.task_id

async def whole():
    engine = Engine([worker], model="none", ledger=SqliteLedger(path, clock=lambda: time.time() + ahead_s))
    print("ready", flush=True)
    sys.stdin.readline()
    if sys.argv[4] == "run":
        after = [()] + [(f"t{n}",) for n in range(4)]
        graph = TaskDAG([Task(task_id=f"t{n}", task_type="work", depends_on=after[n]) for n in range(5)])
        return await engine.run(Plan(request="x", graph=graph, planner="t"))
    return await engine.resume("last")

try:
    print(asyncio.run(whole()).state)
except KapelleError as error:
    print(type(error).__name__)
"""


def child(path: Path, what: str, ahead_s: float = 0.0) -> subprocess.Popen[str]:
    """Start an engine whose clock is ahead by so much; its tasks go on where `let_finish` lets them."""
    command = [sys.executable, "-c", CHILD, str(path / "l.sqlite"), str(path / "effects"), str(ahead_s), what]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def let_finish(path: Path, *tasks: str) -> None:
    (path / "effects.let").write_text(" ".join(tasks))


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def wait_for_effects(path: Path, count: int) -> None:
    wait_until(lambda: (path / "effects").exists() and len((path / "effects").read_text().split()) >= count)


def wait_until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("the run did not get that far")


@pytest.mark.slow
def test_of_two_that_resume_at_once_exactly_one_works(tmp_path: Path) -> None:
    let_finish(tmp_path, "t0")
    first = child(tmp_path, "run")
    begin(first)
    wait_for_effects(tmp_path, 2)
    first.kill()
    first.communicate()
    both = [child(tmp_path, "resume"), child(tmp_path, "resume")]
    for one in both:
        begin(one)
    wait_until(lambda: any(one.poll() is not None for one in both))
    let_finish(tmp_path, "t0", "t1", "t2", "t3", "t4")
    ends = sorted(one.communicate(timeout=60)[0].split()[-1] for one in both)
    assert ends == ["RunBusy", "done"]
    effects = (tmp_path / "effects").read_text().split()
    assert sorted(set(effects)) == [f"t{n}" for n in range(5)]
    assert len(effects) == 6  # the one that was cut off ran twice, and no other


@pytest.mark.slow
def test_an_engine_that_was_paused_and_overtaken_finishes_nothing(tmp_path: Path) -> None:
    let_finish(tmp_path, "t0")
    paused = child(tmp_path, "run")
    begin(paused)
    wait_for_effects(tmp_path, 2)
    os.kill(paused.pid, signal.SIGSTOP)  # as a laptop that sleeps: its lease runs out
    let_finish(tmp_path, "t0", "t1", "t2", "t3", "t4")
    other = child(tmp_path, "resume", ahead_s=3600.0)
    begin(other)
    assert other.communicate(timeout=60)[0].split()[-1] == "done"
    os.kill(paused.pid, signal.SIGCONT)
    assert paused.communicate(timeout=60)[0].split()[-1] == "LeaseLost"
    with SqliteLedger(tmp_path / "l.sqlite") as ledger:
        run = ledger.run("last")
    assert (run.state, [event.kind for event in run.events].count("task_finished")) == ("done", 5)


def test_retries_of_a_provider_that_never_recovers_end(tmp_path: Path) -> None:
    calls = 0

    async def overloaded(task: Task) -> str:
        nonlocal calls
        calls += 1
        raise ConnectionError("overloaded")

    limits = ExecutionLimits(retry=RetryPolicy(max_attempts=4, first_delay_s=0.001))
    run = go(engine_with(overloaded, limits=limits), work("a"), budget_usd=1)
    assert (run.state, calls) == ("failed", 4)
    assert run.cost_usd == pytest.approx(0.04)


def test_errors_are_all_of_one_tree() -> None:
    assert issubclass(LedgerBusy, KapelleError)
