"""Kills runs at random moments and resumes them: what is lost, what is done twice, what is paid too much.

    python -m bench.crash [--kills 200] [--store sqlite|postgres] [--seed 0] [--json]

A run has 60 tasks in layers. Their agents leave a line in a file outside of the ledger when they begin and when they
end: that is the side effect. Some fail at first for a reason that passes, some have their answer checked, some give
large results; the budget is tight. The process that runs it is killed (SIGKILL) after a random time, another resumes
the run, and is killed too, until the run is done; then the next run begins, until there were so many kills.

    lost                a task that is done in the ledger has left no end in the file, or its output is not there
    repeated_finished   a task began again after its end was in the ledger
    keys_changed        a task that was cut off ran again with another idempotency key
    overrun             a run has cost more than its budget, beyond what its tasks cost more than was set aside for them
    stuck               a run did not go on

All of them are to be 0. Nightly: --kills 1000. KAPELLE_CRASH_KILLS sets the number where it is not given.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kapelle import Engine, Plan, Task, TaskDAG, agent
from kapelle.agents import AgentResult, TaskContext
from kapelle.errors import TryAgain
from kapelle.execution import ExecutionLimits, RetryPolicy
from kapelle.ledger import Run, open_ledger

TASKS = 60
WIDTH = 8
BUDGET_USD = 0.60
"""As much as the plan is expected to cost; each kill costs what was set aside. Raised by as much again if need be."""
LONGEST_S = 0.30
MOST_RESUMES = 200


@dataclass(kw_only=True)
class Counts:
    """What was found, over all runs."""

    kills: int = 0
    runs: int = 0
    resumes: int = 0
    raised_budgets: int = 0
    lost: int = 0
    repeated_finished: int = 0
    keys_changed: int = 0
    overrun: int = 0
    stuck: int = 0
    tasks_interrupted: int = 0
    killed_after: Counter[str] = field(default_factory=Counter)
    """The last event in the ledger when the process died."""


def main() -> None:
    """Print the counts, or with --json one JSON object. The exit code is 1 if any that must be 0 is not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=int(os.environ.get("KAPELLE_CRASH_KILLS", "200")))
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    started = time.perf_counter()
    found = measure(options.kills, options.store, options.seed)
    result = {**vars(found), "killed_after": dict(found.killed_after), "seconds": time.perf_counter() - started}
    if options.json:
        print(json.dumps({**result, "store": options.store, "seed": options.seed}))
    else:
        for name, value in result.items():
            print(f"{name:<20}{value}")
    if found.lost or found.repeated_finished or found.keys_changed or found.overrun or found.stuck:
        sys.exit(1)


def measure(kills: int, store: str, seed: int) -> Counts:
    """Kill and resume until there were so many kills, and return what was found."""
    counts, chance = Counts(), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="kapelle-crash-") as folder:
        server = None
        location = str(Path(folder) / "ledger.sqlite")
        if store == "postgres":
            from tests.ledger.postgres_server import PostgresServer

            server = PostgresServer()
            location = server.new_database("crash")
        try:
            while counts.kills < kills:
                effects = Path(folder) / f"effects-{counts.runs}.jsonl"
                effects.touch()
                kill_one_run(location, effects, chance, counts, kills)
                counts.runs += 1
        finally:
            if server is not None:
                server.stop()
    return counts


def kill_one_run(location: str, effects: Path, chance: random.Random, counts: Counts, kills: int) -> None:
    """Start a run, kill and resume it until it is done, and count what went wrong."""
    run_id: str | None = None
    budget = BUDGET_USD
    done_before: set[str] = set()
    seed = chance.randrange(10**6)
    for _ in range(MOST_RESUMES):
        seen = sum(1 for _ in read_effects(effects))
        child = os.fork()
        if child == 0:
            work(location, effects, run_id, budget, seed)  # never returns
        kill = counts.kills < kills
        time.sleep(chance.uniform(0.0, LONGEST_S) if kill else 0.0)
        if kill:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        counts.kills += killed
        counts.resumes += run_id is not None
        again = [one for one in list(read_effects(effects))[seen:] if one["what"] == "begin"]
        counts.repeated_finished += sum(1 for one in again if one["task"] in done_before)
        run = read_run(location, effects, run_id)
        if run is None:
            continue  # it died before its first event
        run_id = run.run_id
        if killed:
            counts.killed_after[run.events[-1].kind] += 1
        done_before = set(run.results)
        if run.cost_usd > budget + excess_of(run) + 1e-9:
            counts.overrun += 1
        if run.state == "done":
            check(run, effects, counts)
            return
        if run.state in ("stopped", "partial") and "budget" in (run.stop_reason or ""):
            budget += BUDGET_USD
            counts.raised_budgets += 1
        elif run.ended:
            print(f"run {run_id} ended as {run.state}: {run.stop_reason}", file=sys.stderr)
            break
    counts.stuck += 1


def excess_of(run: Run) -> float:
    """Return by how much the tasks of a run cost more than was set aside for them, as its events tell."""
    reserved: dict[tuple[str | None, Any], float] = {}
    excess = 0.0
    for event in run.events:
        key = (event.task_id, event.data.get("attempt"))
        if event.kind in ("task_started", "attempt_started"):
            reserved[key] = float(event.data.get("reserved_usd", 0.0))
        elif event.kind in ("task_finished", "task_failed", "attempt_finished"):
            cost = float(event.data.get("cost_usd", 0.0))
            excess += max(0.0, cost - reserved.get(key, cost))
    return excess


def check(run: Run, effects: Path, counts: Counts) -> None:
    """Hold the ledger against the file."""
    ended = {one["task"] for one in read_effects(effects) if one["what"] == "end"}
    keys: dict[str, set[str]] = {}
    for one in read_effects(effects):
        keys.setdefault(one["task"], set()).add(one["key"])
    expected = {f"t{number}" for number in range(TASKS)}
    counts.lost += len(expected - run.results.keys()) + len(run.results.keys() - ended)
    counts.lost += sum(1 for name, output in run.results.items() if output != output_of(name))
    counts.keys_changed += sum(1 for found in keys.values() if len(found) > 1)
    counts.tasks_interrupted += sum(1 for event in run.events if event.kind == "task_interrupted")


def work(location: str, effects: Path, run_id: str | None, budget: float, seed: int) -> None:
    """What a child process does: run, or resume, and leave without a trace."""
    code = 1
    try:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
        with open_ledger(location) as ledger:
            engine = Engine(
                [make_agent(effects, seed)],
                model="none",
                ledger=ledger,
                validators={"checked": lambda output: output is not None},
                limits=ExecutionLimits(retry=RetryPolicy(first_delay_s=0.002)),
            )
            if run_id is None:
                plan = Plan(request=str(effects), graph=make_graph(seed), planner="bench")
                run = asyncio.run(engine.run(plan, budget_usd=budget))
            else:
                run = asyncio.run(engine.resume(run_id, budget_usd=budget))
            code = 0 if run.ended else 1
    finally:
        os._exit(code)


def make_graph(seed: int) -> TaskDAG:
    """Return a layered graph of different kinds of tasks."""
    chance = random.Random(seed)
    tasks = []
    for number in range(TASKS):
        layer = number // WIDTH
        above = range((layer - 1) * WIDTH, layer * WIDTH) if layer else range(0)
        kind = chance.choice(["plain", "plain", "flaky", "checked", "large"])
        after = tuple(f"t{other}" for other in chance.sample(list(above), min(2, len(above))))
        tasks.append(Task(task_id=f"t{number}", task_type=kind, description=f"task {number}", depends_on=after))
    return TaskDAG(tasks)


def output_of(task_id: str) -> str:
    """Return what a task gives: some large, and the same each time."""
    return task_id * (20_000 if int(task_id[1:]) % 7 == 0 else 1)


def make_agent(effects: Path, seed: int) -> Any:
    """Return the agent that leaves traces."""
    asked: Counter[str] = Counter()

    @agent(task_types=["plain", "flaky", "checked", "large"], cost_usd=0.01, max_concurrency=WIDTH)
    async def worker(task: Task, context: TaskContext) -> AgentResult:
        chance = random.Random(f"{seed} {task.task_id} {os.getpid()}")
        leave(effects, "begin", task.task_id, context.idempotency_key)
        await asyncio.sleep(chance.uniform(0.001, 0.015))
        asked[task.task_id] += 1
        if task.task_type == "flaky" and asked[task.task_id] == 1 and chance.random() < 0.5:
            raise TryAgain("It is busy.")
        leave(effects, "end", task.task_id, context.idempotency_key)
        # What it declares, so that no task costs more than is set aside for it: whatever is over the cap is our fault.
        return AgentResult(output=output_of(task.task_id), cost_usd=0.01)

    return worker


def leave(effects: Path, what: str, task: str, key: str) -> None:
    """Append a line to the file in one write, which nothing tears apart."""
    line = json.dumps({"what": what, "task": task, "key": key, "pid": os.getpid()}) + "\n"
    handle = os.open(effects, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def read_effects(effects: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of the file."""
    for line in effects.read_text().splitlines():
        yield json.loads(line)


def read_run(location: str, effects: Path, run_id: str | None) -> Run | None:
    """Return the run as the ledger has it; None if it has none of it yet."""
    try:
        with open_ledger(location) as ledger:
            if run_id is not None:
                return ledger.run(run_id)
            mine = [one.run_id for one in ledger.runs(limit=5) if one.request == str(effects)]
            return ledger.run(mine[0]) if mine else None
    except Exception as error:  # whatever it is, it is a finding
        print(f"the ledger cannot be read: {type(error).__name__}: {error}", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
