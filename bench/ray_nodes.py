"""Kills nodes of a Ray cluster while tasks run on them: what is lost, what is done twice, what ran where it must not.

    python -m bench.ray_nodes [--kills 12] [--tasks 36] [--seed 0] [--json]

The cluster is Ray's own for tests: a head without places for tasks, and three nodes, all on this machine. One node has
a GPU (as Ray counts them), one has something special, one has neither. A run has tasks that ask for the one, the other,
or only a part of a processor. Again and again a node on which tasks run is killed, and another of its sort is added,
until there were so many kills. At the end tasks ask for what no node has, or has any more.

    lost                 a task is not done, or has left no end in the file, or its output is not there
    repeated_finished    a task began again after its end was in the ledger
    resources_honoured   every task ran on a node that has what it asked for, and what no node has was named as that
    nodes_killed         each while a task was running on it
    workers_lost         attempts that ended with their node
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG
from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.execution import ExecutionLimits, RetryPolicy
from kapelle.execution.backends.ray_backend import RayBackend
from kapelle.ledger import Run

from .crash.effects import Effects

SORTS: tuple[dict[str, Any], ...] = ({"num_gpus": 1}, {"resources": {"special": 1}}, {})
"""What each node has beside its processors."""
WANTED: tuple[dict[str, float], ...] = ({"num_gpus": 1}, {"special": 0.5}, {"num_cpus": 0.5}, {"num_cpus": 0.25})
"""What tasks ask for, in turn."""
STORE_BYTES = 80 * 2**20
NOTICED_SOON = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500}
"""How often the head asks nodes whether they live. By itself Ray takes 20 s to notice that one is dead."""
PATIENCE_S = 30.0


@dataclass(kw_only=True)
class Found:
    """What was found."""

    lost: int = 0
    repeated_finished: int = 0
    resources_honoured: bool = True
    nodes_killed: int = 0
    workers_lost: int = 0
    tasks_begun: int = 0
    runs: int = 0
    impossible: list[str] = field(default_factory=list)
    """Why tasks that ask for what no node has, or has any more, did not run."""
    problems: list[str] = field(default_factory=list)


class Tracer:
    """An agent that leaves a line when it begins and when it ends, with the node that it is on."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Take some time, and tell where."""
        import ray

        where = {"node": ray.get_runtime_context().get_node_id(), "gpus": len(ray.get_gpu_ids())}
        self._effects.leave("begin", task=task.task_id, **where)
        await asyncio.sleep(random.uniform(0.05, 0.6))
        self._effects.leave("end", task=task.task_id, **where)
        # Some results stay in the store of the node that they were made on until they are fetched.
        return AgentResult(output=output_of(task.task_id), cost_usd=0.01)


def output_of(task_id: str) -> str:
    """Return what a task gives."""
    return task_id * (80_000 if int(task_id[1:]) % 5 == 0 else 1)


class Nodes:
    """The cluster's nodes, and which sort each was, the dead ones included."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {
            "num_cpus": 0,
            "include_dashboard": False,
            "object_store_memory": STORE_BYTES,
            "_system_config": NOTICED_SOON,
        }
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.sorts: dict[str, int] = {}
        self._alive = [self._add(sort) for sort in range(len(SORTS))]

    def kill(self, sort: int) -> None:
        """Kill a node with everything on it."""
        self.cluster.remove_node(self._alive[sort], allow_graceful=False)

    def replace(self, sort: int) -> None:
        """Kill a node, and add another of its sort."""
        self.kill(sort)
        self._alive[sort] = self._add(sort)

    def _add(self, sort: int) -> Any:
        node = self.cluster.add_node(num_cpus=2, object_store_memory=STORE_BYTES, **SORTS[sort])
        self.sorts[node.node_id] = sort
        return node


def measure(kills: int, tasks: int, seed: int) -> Found:
    """Run tasks and kill nodes until there were so many kills."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    found = Found()
    nodes = Nodes()
    try:
        with tempfile.TemporaryDirectory(prefix="kapelle-nodes-") as folder:
            _measure(kills, tasks, random.Random(seed), nodes, Path(folder), found)
    finally:
        nodes.cluster.shutdown()  # type: ignore[no-untyped-call]  # Ray's
    return found


def _measure(kills: int, tasks: int, chance: random.Random, nodes: Nodes, folder: Path, found: Found) -> None:
    effects = Effects(folder / "effects.jsonl")
    card = AgentCapability(agent_id="tracer", task_types=("work",), cost_usd=0.01, max_concurrency=24)
    engine = Engine(
        AgentRegistry([card], runners={"tracer": Tracer(effects)}),
        model="none",
        ledger=SqliteLedger(folder / "ledger.sqlite"),
        backend=(backend := RayBackend(nodes.cluster.address, patience_s=PATIENCE_S)),
        limits=ExecutionLimits(retry=RetryPolicy(max_attempts=30, first_delay_s=0.05, max_delay_s=0.5)),
    )
    # Ray adds nodes in a program's main thread only, so it is the engine that has another one.
    with ThreadPoolExecutor(1) as thread:
        while found.nodes_killed < kills or not found.runs:
            effects.path.write_text("")
            plan = Plan(request=f"run {found.runs}", graph=_make_graph(tasks, chance), planner="bench")
            working = thread.submit(asyncio.run, engine.run(plan, budget_usd=100.0))
            begun_before = 0
            while not wait({working}, timeout=chance.uniform(0.02, 0.5)).done:
                running = _running(effects)
                if found.nodes_killed == kills or not running or len(effects.read()) == begun_before:
                    continue  # nothing is done: killing the next node would let nothing be done ever
                begun_before = len(effects.read())
                nodes.replace(nodes.sorts[chance.choice(sorted(running.values()))])
                found.nodes_killed += 1
            _check(working.result(), effects, nodes, found)
            found.runs += 1
    engine.executor.backend = RayBackend(nodes.cluster.address, patience_s=1.0)
    for wanted, told in (({"num_gpus": 64}, "64 GPU"), ({"special": 1}, "1 special")):
        if "special" in wanted:
            nodes.kill(1)  # the only one that has it
        task = Task(task_id="t0", task_type="work", metadata={"resources": wanted})
        run = asyncio.run(engine.run(Plan(request="impossible", graph=TaskDAG([task]), planner="bench")))
        reason = run.tasks["t0"].reason or ""
        found.impossible.append(reason)
        if run.tasks["t0"].state != "failed" or told not in reason:
            found.resources_honoured = False
            found.problems.append(f"what no node has: {run.tasks['t0'].state}, {reason}")
    asyncio.run(backend.close())


def _make_graph(count: int, chance: random.Random) -> TaskDAG:
    tasks = []
    for number in range(count):
        before = chance.sample(range(number), min(number, 2)) if number % 3 == 2 else []
        tasks.append(
            Task(
                task_id=f"t{number}",
                task_type="work",
                description=f"task {number}",
                depends_on=tuple(f"t{other}" for other in before),
                metadata={"resources": WANTED[number % len(WANTED)]},
            )
        )
    return TaskDAG(tasks)


def _running(effects: Effects) -> dict[str, str]:
    """Return the tasks that have begun and not ended, with the node of each."""
    running: dict[str, str] = {}
    for one in effects.read():
        if one["what"] == "begin":
            running[one["task"]] = one["node"]
        else:
            running.pop(one["task"], None)
    return running


def _check(run: Run, effects: Effects, nodes: Nodes, found: Found) -> None:
    traces = effects.read()
    ended = {one["task"] for one in traces if one["what"] == "end"}
    finished = {event.task_id: event.at for event in run.events if event.kind == "task_finished"}
    for name, task in run.tasks.items():
        if task.state != "done" or name not in ended or task.output != output_of(name):
            found.lost += 1
            found.problems.append(f"{name} is {task.state}: {task.reason}")
        found.workers_lost += sum(1 for one in task.attempts if "is gone" in (one.reason or ""))
    for one in traces:
        if one["what"] != "begin":
            continue
        found.tasks_begun += 1
        if one["at"] > finished.get(one["task"], float("inf")):
            found.repeated_finished += 1
            found.problems.append(f"{one['task']} began again")
        wanted = WANTED[int(one["task"][1:]) % len(WANTED)]
        has = SORTS[nodes.sorts[one["node"]]]
        honoured = (one["gpus"] == 1 and "num_gpus" in has) if "num_gpus" in wanted else one["gpus"] == 0
        if not honoured or ("special" in wanted and "special" not in has.get("resources", {})):
            found.resources_honoured = False
            found.problems.append(f"{one['task']} wanted {wanted}, and ran on a node with {has}: {one['gpus']} GPUs")


def main() -> None:
    """Print what was found, or with --json one JSON object. The exit code is 1 if something was lost or done twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--tasks", type=int, default=36, help="in each run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    started = time.perf_counter()
    warnings.simplefilter("ignore")  # Ray leaves sockets and files to the garbage collector
    found = measure(options.kills, options.tasks, options.seed)
    result = {**vars(found), "seconds": round(time.perf_counter() - started, 1)}
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:<20}{value}")
    if found.lost or found.repeated_finished or not found.resources_honoured:
        sys.exit(1)


if __name__ == "__main__":
    main()
