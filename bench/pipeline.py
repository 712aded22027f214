"""How much time kapelle itself adds to a request: planning, routing, cost, validation, dispatch and the ledger.

    python -m bench.pipeline [--rounds N] [--seed N] [--json]

Own time is the wall time of a run less the time in which at least one agent was at work. Measured on a 10-task plan
(given as a plan, so that its shape is fixed) with agents that answer at once, with a ledger on disk; on a request in
words through the rule planner and the real local agents; and, as the floor, on plain asyncio running the same graph
with the same agents and nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kapelle import AgentCapability, AgentRegistry, AgentResult, Engine, Plan, SqliteLedger, Task, TaskContext, TaskDAG
from kapelle.agents import Agent

ATLAS = Path(__file__).parent.parent / "examples" / "atlas" / "data"
REQUEST = (
    "For each of France, Germany, Italy and Spain, find its capital and its population; "
    "then write a report. What is the average population of countries in Europe?"
)


class Stopwatch:
    """Remembers when agents were at work."""

    def __init__(self) -> None:
        self.intervals: list[tuple[float, float]] = []

    def busy_s(self) -> float:
        """Seconds in which at least one agent was at work: the union of the intervals."""
        busy, end = 0.0, 0.0
        for start, stop in sorted(self.intervals):
            busy += max(0.0, stop - max(start, end))
            end = max(end, stop)
        return busy


class Timed:
    """Passes tasks on to an agent, and times it."""

    def __init__(self, agent: Agent | None, watch: Stopwatch) -> None:
        self._agent = agent
        self._watch = watch

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        start = time.perf_counter()
        result = AgentResult(output="done") if self._agent is None else await self._agent.run(task, context)
        self._watch.intervals.append((start, time.perf_counter()))
        return result


def ten_tasks(chance: random.Random) -> TaskDAG:
    """A plan of 10 tasks: each of the later ones needs one or two of the earlier."""
    tasks: list[Task] = []
    for number in range(10):
        before = chance.sample(range(number), min(number, chance.randint(1, 2))) if number > 2 else []
        tasks.append(
            Task(task_id=f"t{number}", task_type="work", depends_on=tuple(f"t{earlier}" for earlier in sorted(before)))
        )
    return TaskDAG(tasks)


def measure(rounds: int, seed: int) -> dict[str, Any]:
    """Return milliseconds: median and 95th percentile of own time, per case."""
    chance = random.Random(seed)
    graphs = [ten_tasks(chance) for _ in range(rounds)]
    with tempfile.TemporaryDirectory() as folder:
        return {
            "rounds": rounds,
            "tasks": 10,
            "own_ms": summary(asyncio.run(ten_task_plans(graphs, Path(folder)))),
            "own_ms_without_ledger_on_disk": summary(asyncio.run(ten_task_plans(graphs, None))),
            "request_own_ms": summary(asyncio.run(real_requests(rounds, Path(folder)))),
            "plain_asyncio_ms": summary([asyncio.run(plain(graph)) for graph in graphs]),
            "wanted_ms": 20.0,
        }


async def ten_task_plans(graphs: list[TaskDAG], folder: Path | None) -> list[float]:
    watch = Stopwatch()
    cards = [AgentCapability(agent_id=f"a{n}", task_types=("work",), cost_usd=0.01 * (n + 1)) for n in range(5)]
    registry = AgentRegistry(cards, runners={card.agent_id: Timed(None, watch) for card in cards})
    ledger = SqliteLedger(":memory:" if folder is None else folder / "plans.sqlite")
    with Engine(registry, model="none", ledger=ledger) as engine:
        plans = [Plan(request="benchmark", graph=graph, planner="bench") for graph in graphs]
        return [await own_ms(lambda plan=plan: engine.run(plan, budget_usd=5.0), watch) for plan in plans]  # type: ignore[misc]  # mypy cannot type a lambda with a default


async def real_requests(rounds: int, folder: Path) -> list[float]:
    watch = Stopwatch()
    with Engine(data=ATLAS, model="none", ledger=SqliteLedger(folder / "requests.sqlite")) as engine:
        for agent_id in engine.team.registry.runnable():
            card, runner = engine.team.registry[agent_id], engine.team.registry.runner(agent_id)
            engine.executor.agents = engine.executor.agents.with_agent(card, Timed(runner, watch))
        await engine.run(REQUEST)  # fills the folder's index, which is the agents' time, not ours
        return [await own_ms(lambda: engine.run(REQUEST), watch) for _ in range(rounds)]


async def own_ms(run: Callable[[], Any], watch: Stopwatch) -> float:
    watch.intervals.clear()
    start = time.perf_counter()
    done = await run()
    wall = time.perf_counter() - start
    assert done.state == "done", done.stop_reason
    return (wall - watch.busy_s()) * 1000


async def plain(graph: TaskDAG) -> float:
    """The least that any executor takes: a future per task, awaited by those that need it."""
    watch, context = Stopwatch(), TaskContext(run_id="r", request="")
    agent = Timed(None, watch)
    works: dict[str, asyncio.Task[AgentResult]] = {}

    async def work(task: Task) -> AgentResult:
        for earlier in task.dependencies:
            await works[earlier]
        return await agent.run(task, context)

    start = time.perf_counter()
    for task in graph:
        works[task.task_id] = asyncio.create_task(work(task))
    await asyncio.gather(*works.values())
    return (time.perf_counter() - start - watch.busy_s()) * 1000


def summary(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile and largest of milliseconds."""
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 3),
        "p95": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 3),
        "max": round(ordered[-1], 3),
    }


def main() -> None:
    """Print the table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.rounds, arguments.seed)
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"kapelle's own time per request, {found['rounds']} rounds (wanted: under {found['wanted_ms']:g} ms)")
    for title, key in (
        ("10-task plan, ledger on disk", "own_ms"),
        ("10-task plan, ledger in memory", "own_ms_without_ledger_on_disk"),
        ("10-task request in words, local agents", "request_own_ms"),
        ("plain asyncio, the same graphs", "plain_asyncio_ms"),
    ):
        row = found[key]
        print(f"  {title:<40} median {row['median']:8.2f} ms   p95 {row['p95']:8.2f} ms   max {row['max']:8.2f} ms")


if __name__ == "__main__":
    main()
