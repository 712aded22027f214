"""The command line as a process: it ends when its run has ended, whatever agents do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kapelle.process import signals as kapelle_process

AGENTS = """
import asyncio, sys, threading

def hang(task):
    print("at work", file=sys.stderr, flush=True)
    threading.Event().wait()

async def deaf(task):
    print("at work", file=sys.stderr, flush=True)
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue

async def wait(task):
    print("at work", file=sys.stderr, flush=True)
    await asyncio.Event().wait()

def leave(task):
    print("noise")
    sys.exit(0)
"""
PLAN = "tasks: [{id: a, type: work}, {id: b, type: work, depends_on: [a]}]"


def start(folder: Path, function: str, *options: str) -> subprocess.Popen[str]:
    (folder / "odd_agents.py").write_text(AGENTS)
    (folder / "agents.yaml").write_text(f"agents: [{{id: odd, task_types: [work], run: 'odd_agents:{function}'}}]")
    (folder / "plan.yaml").write_text(PLAN)
    command = [sys.executable, "-m", "kapelle.cli", "run", "plan.yaml", "--agents", "agents.yaml", *options]
    return subprocess.Popen(
        command, cwd=folder, text=True, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def ended(folder: Path) -> dict[str, str]:
    """Return the state of the newest run, as another process tells it, and of its tasks."""
    command = [sys.executable, "-m", "kapelle.cli", "explain", "last", "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout)
    return {"run": told["state"], **{task_id: task["state"] for task_id, task in told["tasks"].items()}}


@pytest.mark.slow
@pytest.mark.parametrize("function", ["hang", "deaf"])
def test_an_agent_that_never_ends_does_not_keep_the_program(tmp_path: Path, function: str) -> None:
    with start(tmp_path, function, "--deadline", "0.5") as process:
        _, err = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in err) == (1, False)
    assert ended(tmp_path) == {"run": "stopped", "a": "cancelled", "b": "skipped"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("function", ["wait", "hang"])
def test_a_signal_leaves_a_clean_run(tmp_path: Path, function: str, number: signal.Signals) -> None:
    with start(tmp_path, function) as process:
        assert process.stderr is not None
        while "at work" not in process.stderr.readline():
            continue
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in err) == (130, False)
    assert ended(tmp_path) == {"run": "stopped", "a": "cancelled", "b": "skipped"}


@pytest.mark.slow
def test_an_agent_that_ends_the_program_ends_its_task_only(tmp_path: Path) -> None:
    with start(tmp_path, "leave", "--json") as process:
        out, _ = process.communicate(timeout=30)
    told = json.loads(out)  # what the agent printed is not in it
    assert (process.returncode, told["state"]) == (1, "failed")
    assert "SystemExit" in told["stop_reason"]


@pytest.mark.slow
def test_a_signal_does_what_it_did_before_although_a_task_was_left_behind() -> None:
    left: list[asyncio.Task[None]] = []

    async def leave_one() -> None:
        async def deaf() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.Event().wait()

        left.append(asyncio.create_task(deaf()))
        await asyncio.sleep(0)

    kapelle_process.drive(leave_one())
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        loop = kapelle_process._left_behind.pop()
        left[0].cancel()
        loop.run_until_complete(asyncio.wait(left))
        loop.close()
