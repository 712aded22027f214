"""Short sleeps in chains of unequal length, by a whole run of the engine: what a user waits for beyond the work itself.

Between one first and one last task stand fourteen chains of one to thirteen sleeps, and four sleep at a time: no order
is faster than 27 sleeps one after the other. Figures are ratios to that, each the least of the rounds, in turn. The
event loop is the usual one, which rounds every wait up to a millisecond: plain asyncio says what that costs.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from kapelle import Engine, SqliteLedger, agent
from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.budget import Budget
from kapelle.estimates import CostProfiler
from kapelle.execution import Executor
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Journal
from kapelle.planning import Plan
from kapelle.routing import HALORouter
from kapelle.validation import AOPValidator

LENGTHS = (1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10, 11, 12, 13)
PLACES = 4
SLEEP_S = 0.01
ROUNDS = 9


def measure(rounds: int = ROUNDS, sleep_s: float = SLEEP_S) -> dict[str, float]:
    """Return the ratios of plain asyncio, of the executor and of the engine, both with their journal on disk."""
    dag, found = chains_of(LENGTHS), dict[str, float]()
    bound_s = sleep_s * (2 + -(-sum(LENGTHS) // PLACES))
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            systems: dict[str, Callable[[], Awaitable[float]]] = {
                "asyncio": lambda: by_asyncio(dag, sleep_s),
                "executor": lambda: by_executor(dag, sleep_s, Path(folder) / "executor.db"),
                "engine": lambda: by_engine(dag, sleep_s, Path(folder) / "engine.db"),
            }
            for name, run in systems.items():
                ratio = asyncio.run(run()) / bound_s  # type: ignore[arg-type]  # they are coroutines
                found[name] = min(ratio, found.get(name, ratio))
    return {"chains_bound_s": bound_s, **{f"chains_{name}": ratio for name, ratio in found.items()}}


def chains_of(lengths: tuple[int, ...]) -> TaskDAG:
    """Return a first task, chains of these lengths after it, and a last task after them all."""
    tasks, ends = [Task(task_id="first", task_type="sleep")], []
    for chain, length in enumerate(lengths):
        before = "first"
        for link in range(length):
            name = f"chain{chain}-{link}"
            tasks.append(Task(task_id=name, task_type="sleep", depends_on=(before,)))
            before = name
        ends.append(before)
    return TaskDAG([*tasks, Task(task_id="last", task_type="sleep", depends_on=tuple(ends))])


async def by_asyncio(dag: TaskDAG, sleep_s: float) -> float:
    """Return the seconds that a task per node takes, each of which waits for those it depends on and for a place."""
    places, done = asyncio.Semaphore(PLACES), {task.task_id: asyncio.Event() for task in dag}

    async def one(task: Task) -> None:
        for before in task.dependencies:
            await done[before].wait()
        async with places:
            await asyncio.sleep(sleep_s)
        done[task.task_id].set()

    started = time.perf_counter()
    await asyncio.gather(*(one(task) for task in dag))
    return time.perf_counter() - started


class Sleeper:
    """An agent that sleeps."""

    def __init__(self, sleep_s: float) -> None:
        self.sleep_s = sleep_s

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Sleep."""
        await asyncio.sleep(self.sleep_s)
        return AgentResult(output="done", cost_usd=0.0)


async def by_executor(dag: TaskDAG, sleep_s: float, path: Path) -> float:
    """Return the seconds of the executor alone, whose plan was approved before."""
    card = AgentCapability(agent_id="sleeper", task_types=("sleep",), cost_tier="free", max_concurrency=PLACES)
    registry = AgentRegistry([card], runners={"sleeper": Sleeper(sleep_s)})
    routing = await HALORouter(registry).route_tasks(dag)
    validation = await AOPValidator(registry, CostProfiler()).validate_routing_plan(routing, dag)
    assert validation.approved is not None, validation.issues
    with SqliteLedger(path) as ledger:
        executor, journal = Executor(registry), Journal(ledger, "chains")
        started = time.perf_counter()
        ending = await executor.execute(validation.approved, journal, budget=Budget())
        seconds = time.perf_counter() - started
    assert ending.state == "done", ending.stop_reason
    return seconds


async def by_engine(dag: TaskDAG, sleep_s: float, path: Path) -> float:
    """Return the seconds of a whole run: routed, validated, executed, and read back."""

    @agent(task_types=["sleep"], cost_usd=0.0, max_concurrency=PLACES)
    async def sleeper(task: Task) -> str:
        await asyncio.sleep(sleep_s)
        return "done"

    with Engine(agents=[sleeper], model="none", ledger=SqliteLedger(path)) as engine:
        started = time.perf_counter()
        run = await engine.run(Plan(request="Sleep", graph=dag, planner="bench"))
        seconds = time.perf_counter() - started
    assert run.state == "done", run.stop_reason
    return seconds
