"""What the whole line takes for a task, from a thousand tasks to a hundred thousand.

    python -m bench.scale [--sizes 1000,10000,100000] [--rounds 1] [--folder DIR] [--json]

A plan is given: layers of 50 tasks, each of which waits for two of the layer before, done by an agent that returns at
once. It is routed, validated, run and written into a ledger in a file. Then a process that has seen nothing of it reads
it back, lists the runs, and tells one task; and another goes on with a run that was cut off after half of its tasks.
Every size and every part has a process of its own, so the memory of each is its own too.

    ms          of the whole line, a task: a given plan to a run that has ended, without reading it back
    read_ms     of reading a run back from its file, a task
    resume_s    of going on with a run of which half is done, to its end, as a whole
    list_ms, task_ms, explain_ms    of the list of runs, of telling one task, and of telling the run, once each
    mb, read_mb, resume_mb, task_mb the most memory that the process of each part had, in MB
    growth      ms at the largest size, times that at the smallest

Times are the least of the rounds, memory is the most of them. `mb` at the top is the most of all processes.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.engine import Engine
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import SqliteLedger
from kapelle.planning import Plan

SIZES = (1_000, 10_000, 100_000)
WIDTH = 50
WAITS_FOR = 2
PARTS = ("run", "read", "task", "cut", "resume")
"""What a size is measured at, in turn; `cut` only makes what `resume` goes on with."""


class NoOp:
    """An agent that does nothing, and ends its process at once after so many tasks, as a kill does."""

    def __init__(self, most: int | None) -> None:
        self._left = most

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Return at once."""
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                print("{}", flush=True)
                os._exit(0)
        return AgentResult(output=task.task_id, cost_usd=0.0)


def main() -> None:
    """Print a table, or with --json one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the ledgers lie; by default a temporary folder")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    if options.part is not None:
        print(json.dumps(measure_part(options.part, sizes[0], options.folder)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = measure(sizes, options.rounds, Path(folder))
    if options.json:
        print(json.dumps(found))
        return
    names = list(next(iter(found["sizes"].values())))
    print(f"{'tasks':<10}" + "".join(f"{name:>12}" for name in names))
    for size, row in found["sizes"].items():
        print(f"{size:<10}" + "".join(f"{row[name]:>12.3f}" for name in names))
    print(f"growth {found['growth']:.2f}, mb {found['mb']:.0f}, read_ms {found['read_ms']:.4f}")


def measure(sizes: list[int], rounds: int, folder: Path) -> dict[str, Any]:
    """Return the figures by size, and those of the largest."""
    rows: dict[str, dict[str, float]] = {}
    for size in sizes:
        for number in range(rounds):
            place = folder / f"{size}-{number}"
            place.mkdir()
            row: dict[str, float] = {}
            for part in PARTS:
                row |= _in_a_process(part, size, place)
            before = rows.setdefault(str(size), row)
            rows[str(size)] = {
                name: max(value, before[name]) if name.endswith("mb") else min(value, before[name])
                for name, value in row.items()
            }
    least, most = rows[str(min(sizes))], rows[str(max(sizes))]
    return {
        "growth": most["ms"] / least["ms"],
        "mb": max(value for name, value in most.items() if name.endswith("mb")),
        "read_ms": most["read_ms"],
        "sizes": rows,
        "rounds": rounds,
        "python": sys.version.split()[0],
    }


def _in_a_process(part: str, size: int, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.scale", "--part", part, "--sizes", str(size), "--folder", str(folder)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(told.splitlines()[-1])
    return found


def measure_part(part: str, size: int, folder: Path) -> dict[str, float]:
    """Return the figures of one part, whose ledgers are those that the parts before it left in the folder."""
    parts: Mapping[str, Callable[[int, Path], dict[str, float]]] = {
        "run": run_whole,
        "read": read_back,
        "task": tell_task,
        "cut": cut_off,
        "resume": go_on,
    }
    return parts[part](size, folder)


def run_whole(size: int, folder: Path) -> dict[str, float]:
    """Plan to end."""
    plan = given(size)
    with engine_at(folder / "whole.sqlite", size) as engine:
        started = time.perf_counter()
        run = asyncio.run(engine.run(plan, max_tasks=size))
        seconds = time.perf_counter() - started
    assert run.state == "done", run.stop_reason
    return {"ms": seconds / size * 1e3, "mb": peak_mb()}


def read_back(size: int, folder: Path) -> dict[str, float]:
    """Read a run from its file, and tell it."""
    with SqliteLedger(folder / "whole.sqlite", read_only=True) as ledger:
        started = time.perf_counter()
        run = ledger.run("last")
        read = time.perf_counter()
        words = run.explain()
        told = time.perf_counter()
    assert len(run.tasks) == size
    assert words
    return {"read_ms": (read - started) / size * 1e3, "explain_ms": (told - read) * 1e3, "read_mb": peak_mb()}


def tell_task(size: int, folder: Path) -> dict[str, float]:
    """List the runs, and tell one task."""
    with SqliteLedger(folder / "whole.sqlite", read_only=True) as ledger:
        started = time.perf_counter()
        (summary,) = ledger.runs()
        listed = time.perf_counter()
        words = ledger.excerpt("last", f"t{size - 1}").explain_task(f"t{size - 1}")
        told = time.perf_counter()
    assert summary.tasks_done == size
    assert words
    return {"list_ms": (listed - started) * 1e3, "task_ms": (told - listed) * 1e3, "task_mb": peak_mb()}


def cut_off(size: int, folder: Path) -> dict[str, float]:
    """Leave a run of which half is done."""
    with engine_at(folder / "cut.sqlite", size, most=size // 2) as engine:
        asyncio.run(engine.run(given(size), max_tasks=size))
    raise AssertionError("the run was not cut off")


def go_on(size: int, folder: Path) -> dict[str, float]:
    """Go on with it."""
    with engine_at(folder / "cut.sqlite", size) as engine:
        started = time.perf_counter()
        run = asyncio.run(engine.resume("last"))
        seconds = time.perf_counter() - started
    assert run.state == "done", run.stop_reason
    return {"resume_s": seconds, "resume_mb": peak_mb()}


def given(size: int) -> Plan:
    """Return a plan of so many tasks in layers."""
    return Plan(request="scale", graph=layered(size), planner="bench")


def layered(size: int, *, seed: int = 0) -> TaskDAG:
    """Return a graph in layers of WIDTH tasks, each of which waits for two of the layer before."""
    chance = random.Random(seed)
    layers = [range(first, min(first + WIDTH, size)) for first in range(0, size, WIDTH)]
    before = {
        number: tuple(f"t{other}" for other in sorted(chance.sample(above, min(WAITS_FOR, len(above)))))
        for above, layer in itertools.pairwise(layers)
        for number in layer
    }
    return TaskDAG(
        Task(task_id=f"t{number}", task_type="work", description=f"do {number}", depends_on=before.get(number, ()))
        for number in range(size)
    )


def engine_at(path: Path, size: int, *, most: int | None = None) -> Engine:
    """Return an engine with one free agent that does all tasks at once if it may."""
    card = AgentCapability(agent_id="noop", task_types=("work",), cost_usd=0.0, max_concurrency=size)
    registry = AgentRegistry([card], runners={"noop": NoOp(most)})
    return Engine(agents=registry, model="none", ledger=SqliteLedger(path), environ={})


def peak_mb() -> float:
    """Return the most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
