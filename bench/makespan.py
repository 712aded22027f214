"""How close runs of real workflows come to the least time there is, really executed with asyncio.

    python -m bench.makespan [--data FILE] [--workers K] [--limit N] [--seconds 3] [--rounds 9] [--scheduled] [--json]

The graphs are recorded workflow runs (WfInstances). Run times are scaled down, each graph by one factor, so that its
bound, max(critical path, work / K), is `--seconds`; more for graphs of very many tasks, so that each still has six
milliseconds of it. Each task is an agent's call that sleeps, in an event loop whose selector waits to the microsecond:
the usual one (epoll) rounds every wait up to a millisecond, which is a third of a task here. In the same run:

    kapelle     the executor, which is told each task's time: an approved plan, no journal
    learned     the same, with times learned from a ledger's outcomes of all other graphs, by type of task: what no
                other graph has is guessed
    levels      a barrier after each level of the graph, at most K at a time
    langgraph   a StateGraph with the same edges, `max_concurrency` K (extra `bench`); none above 1,000 tasks
    ideal       simulated, not run: critical-path list scheduling with known times (Graham 1966, Hu 1961)
    scheduled, scheduled_levels     simulated, too: what kapelle's order of starts and what a barrier after each level
                would take if nothing but the tasks took time. With --scheduled nothing else is worked out

Figures are ratios to the bound. Sleeping itself is late by the clock's granularity: `timer` is the ratio of a chain of
bare `asyncio.sleep` along each graph's critical path. Besides, as `chains_*`, a whole run of the engine: see `chains`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import gzip
import heapq
import json
import operator
import re
import selectors
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypedDict

from bench.recorded import BadData, find_recorded
from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.budget import Budget
from kapelle.estimates import CostProfiler, Estimate
from kapelle.execution import ExecutionLimits, Executor, choose_start_order
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Journal, Outcome
from kapelle.routing import HALORouter
from kapelle.validation import AOPValidator, ApprovedPlan

from . import chains

FILE = "workflows/wfinstances.jsonl.gz"
LEAST_TASK_S = 0.006
UNLIMITED = 100_000
MOST_LANGGRAPH = 1000
SIMULATED = ("ideal", "scheduled", "scheduled_levels")
RUN = ("timer", "kapelle", "learned", "levels", "langgraph")
NOISE = 1.002
"""Two runs of the same differ by less than this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workflow:
    """A recorded run, scaled."""

    name: str
    graph: TaskDAG
    seconds: Mapping[str, float]
    bound: float
    scale: float


class Sleeper:
    """An agent that takes as long as a task took."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self.seconds = seconds

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Sleep."""
        await asyncio.sleep(self.seconds[task.task_id])
        return AgentResult(output=None, cost_usd=0.0)


class Known(CostProfiler):
    """Knows how long each task takes: tasks say in their description which they are.

    Args:
        doubt: By how many times that may be wrong.
    """

    def __init__(self, seconds: Mapping[str, float], doubt: float = 1.0) -> None:
        super().__init__()
        self.seconds, self.doubt = seconds, doubt

    @property
    def reads_words(self) -> bool:
        """Tasks differ by what they say."""
        return True

    def estimate_all(
        self, agents: Sequence[AgentCapability], tasks: Sequence[tuple[str, float, str]]
    ) -> list[list[Estimate]]:
        """Return the estimates with the known times."""
        found = super().estimate_all(agents, tasks)
        return [
            [self._told(one, text) for one in estimates] for (_, _, text), estimates in zip(tasks, found, strict=True)
        ]

    def _told(self, estimate: Estimate, text: str) -> Estimate:
        seconds = self.seconds[text]
        return replace(estimate, seconds=seconds, seconds_low=seconds / self.doubt, seconds_high=seconds * self.doubt)


def main() -> None:
    """Print a table, or with --json one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--workers", default="4", help="a number, or `unlimited`")
    parser.add_argument("--limit", type=int, default=0, help="only so many graphs, the smallest first")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=chains.ROUNDS, help="of the chains; the least of them counts")
    parser.add_argument("--scheduled", action="store_true", help="run nothing: only what is simulated, in seconds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    workers = UNLIMITED if options.workers == "unlimited" else int(options.workers)
    path = options.data or find_data()
    found = measure(path, workers, options.limit, options.seconds, only_scheduled=options.scheduled)
    if not options.scheduled:
        found |= chains.measure(options.rounds)
    if options.json:
        print(json.dumps({**found, "workers": options.workers}))
        return
    systems = SIMULATED if options.scheduled else (*SIMULATED, *RUN)
    print(f"{'graph':<42}{'tasks':>6}" + "".join(f"{name:>17}" for name in systems))
    for row in found["graphs"]:
        shown = "".join(f"{row[name]:>17.4f}" if row.get(name) is not None else f"{'-':>17}" for name in systems)
        print(f"{row['name']:<42}{row['tasks']:>6}{shown}")
    for name, figures in found["systems"].items():
        print(
            f"{name:<17} mean {figures['ratio_mean']:.3f}  max {figures['ratio_max']:.3f}  ({figures['graphs']} graphs)"
        )
    print(f"kapelle's order above levels, if it takes no time: {found['scheduled_above_levels']} graphs")
    if options.scheduled:
        return
    print(f"kapelle to ideal: mean {found['to_ideal_mean']:.4f}, max {found['to_ideal_max']:.4f}")
    print(
        f"kapelle above levels: {found['above_levels']} graphs; learned above levels: {found['learned_above_levels']}"
    )
    names = ("asyncio", "executor", "engine")
    print("chains of short sleeps: " + ", ".join(f"{name} {found[f'chains_{name}']:.3f}" for name in names))


def find_data() -> Path:
    """Return the file of workflows, or end with a word on where it is looked for."""
    try:
        return find_recorded(FILE)[0]
    except BadData as error:
        sys.exit(str(error))


def measure(path: Path, workers: int, limit: int, seconds: float, *, only_scheduled: bool = False) -> dict[str, Any]:
    """Run every graph with every system, unless only schedules are wanted, and return the ratios to its bound."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = sorted((json.loads(line) for line in lines), key=lambda row: len(row["tasks"]))
    rows = rows[:limit] if limit else rows
    table = []
    for row in rows:
        flow = read_workflow(row, workers, seconds)
        known = plan_with(flow, Known(flow.seconds), workers)
        found = simulate_all(flow, known[0], workers)
        if not only_scheduled:
            found |= run_all(flow, known, [other for other in rows if other is not row], workers)
        table.append(found)
    figures = {}
    for name in (*SIMULATED, *RUN):
        ratios = [row[name] for row in table if row.get(name) is not None]
        if ratios:
            figures[name] = {"ratio_mean": statistics.fmean(ratios), "ratio_max": max(ratios), "graphs": len(ratios)}
    scheduled_above = sum(1 for row in table if row["scheduled"] > row["scheduled_levels"] * NOISE)
    simulated = {"graphs": table, "systems": figures, "scheduled_above_levels": scheduled_above}
    if only_scheduled:
        return simulated
    to_ideal = [row["kapelle"] / row["ideal"] for row in table]
    return {
        **simulated,
        "ratio_mean": figures["kapelle"]["ratio_mean"],
        "ratio_max": figures["kapelle"]["ratio_max"],
        "to_ideal_mean": figures["kapelle"]["ratio_mean"] / figures["ideal"]["ratio_mean"],
        "to_ideal_max": max(to_ideal),
        "above_levels": sum(1 for row in table if row["kapelle"] > row["levels"] * NOISE),
        "learned_above_levels": sum(1 for row in table if row["learned"] > row["levels"] * NOISE),
    }


def read_workflow(row: dict[str, Any], workers: int, seconds: float) -> Workflow:
    """Return a recorded workflow, scaled to its bound."""
    ids = {task["id"]: f"t{number}" for number, task in enumerate(row["tasks"])}
    graph = TaskDAG(
        Task(
            task_id=ids[task["id"]],
            task_type=type_of(task["name"]),
            description=ids[task["id"]],
            depends_on=tuple(ids[parent] for parent in task["parents"]),
        )
        for task in in_order(row["tasks"])
    )
    took = {ids[task["id"]]: float(task["runtime_s"]) for task in row["tasks"]}
    bound = max(graph.critical_path(took).seconds, sum(took.values()) / workers)
    wanted = max(seconds, LEAST_TASK_S * len(graph))
    scale = wanted / bound
    return Workflow(
        name=row["name"],
        graph=graph,
        seconds={name: value * scale for name, value in took.items()},
        bound=wanted,
        scale=scale,
    )


def in_order(tasks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return tasks so that each comes after its parents: a graph is built that way."""
    by_id = {task["id"]: task for task in tasks}
    waiting = {task["id"]: len(task["parents"]) for task in tasks}
    children: dict[str, list[str]] = {task["id"]: [] for task in tasks}
    for task in tasks:
        for parent in task["parents"]:
            children[parent].append(task["id"])
    found = [name for name, count in waiting.items() if count == 0]
    for name in found:  # grows
        for child in children[name]:
            waiting[child] -= 1
            if waiting[child] == 0:
                found.append(child)
    return [by_id[name] for name in found]


def type_of(name: str) -> str:
    """Return what kind of work a task is: its name without the numbers of this one."""
    return re.sub(r"[\W_]*(ID)?\d[\d_]*$", "", name) or name


def simulate_all(flow: Workflow, known: ApprovedPlan, workers: int) -> dict[str, Any]:
    """Return what is known of a graph without running it."""
    scheduled_s = choose_start_order(known, is_told=True).seconds
    assert scheduled_s is not None
    return {
        "name": flow.name,
        "tasks": len(flow.graph),
        "bound_s": flow.bound,
        "scale": flow.scale,
        "ideal": simulate(flow, workers) / flow.bound,
        "scheduled": scheduled_s / flow.bound,
        "scheduled_levels": simulate_levels(flow, workers) / flow.bound,
    }


def run_all(
    flow: Workflow, known: tuple[ApprovedPlan, AgentRegistry], others: Sequence[dict[str, Any]], workers: int
) -> dict[str, Any]:
    """Run one graph with every system."""
    path = flow.graph.critical_path(flow.seconds)
    chain = [flow.seconds[name] for name in path.tasks]
    learned = plan_with(flow, profiler_from(others, flow), workers)
    return {
        "timer": timed(lambda: sleep_all(chain)) / path.seconds,
        "kapelle": timed(lambda: execute(flow, known, workers)) / flow.bound,
        "learned": timed(lambda: execute(flow, learned, workers)) / flow.bound,
        "levels": timed(lambda: by_levels(flow, workers)) / flow.bound,
        "langgraph": run_langgraph(flow, workers),
    }


def timed(run: Callable[[], Awaitable[float]]) -> float:
    """Return what a coroutine measured, in an event loop of its own."""
    gc.collect()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(run())  # type: ignore[arg-type]  # it is a coroutine


async def sleep_all(chain: Sequence[float]) -> float:
    """Sleep one after the other."""
    started = time.perf_counter()
    for seconds in chain:
        await asyncio.sleep(seconds)
    return time.perf_counter() - started


def profiler_from(others: Sequence[dict[str, Any]], flow: Workflow) -> CostProfiler:
    """Return what is learned from other graphs, at this one's scale."""
    outcomes = [
        Outcome(
            run_id=row["name"],
            task_id=str(number),
            task_type=type_of(task["name"]),
            agent="sleeper",
            success=True,
            seconds=float(task["runtime_s"]) * flow.scale,
        )
        for row in others
        for number, task in enumerate(row["tasks"])
    ]
    return CostProfiler.from_outcomes(outcomes)


def plan_with(flow: Workflow, profiler: CostProfiler, workers: int) -> tuple[ApprovedPlan, AgentRegistry]:
    """Return the graph as an approved plan for one agent that does K tasks at a time."""
    types = tuple(sorted({task.task_type for task in flow.graph}))
    card = AgentCapability(agent_id="sleeper", task_types=types, cost_tier="free", max_concurrency=workers)
    registry = AgentRegistry([card], runners={"sleeper": Sleeper(flow.seconds)})

    async def approve() -> ApprovedPlan:
        routing = await HALORouter(registry).route_tasks(flow.graph)
        found = await AOPValidator(registry, profiler).validate_routing_plan(routing, flow.graph)
        assert found.approved is not None, found.issues
        return found.approved

    return asyncio.run(approve()), registry


async def execute(flow: Workflow, plan: tuple[ApprovedPlan, AgentRegistry], workers: int) -> float:
    """Run the plan with the executor, and return the seconds."""
    approved, registry = plan
    executor, journal = Executor(registry), Journal(None, "makespan")
    started = time.perf_counter()
    ending = await executor.execute(approved, journal, budget=Budget(), limits=ExecutionLimits())
    seconds = time.perf_counter() - started
    assert ending.state == "done", ending.stop_reason
    return seconds


async def by_levels(flow: Workflow, workers: int) -> float:
    """Run the graph level by level, at most K tasks at a time."""
    places = asyncio.Semaphore(workers)

    async def one(name: str) -> None:
        async with places:
            await asyncio.sleep(flow.seconds[name])

    started = time.perf_counter()
    for level in flow.graph.levels():
        await asyncio.gather(*(one(name) for name in level))
    return time.perf_counter() - started


def simulate(flow: Workflow, workers: int) -> float:
    """Return how long the list schedule takes: whenever a worker is free, the ready task with the longest path."""
    urgency = flow.graph.urgency(flow.seconds)
    waiting = {task.task_id: len(task.dependencies) for task in flow.graph}
    ready = [(-urgency[name], name) for name, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            _, name = heapq.heappop(ready)
            heapq.heappush(running, (now + flow.seconds[name], name))
        now, done = heapq.heappop(running)
        for name in flow.graph.dependents(done):
            waiting[name] -= 1
            if waiting[name] == 0:
                heapq.heappush(ready, (-urgency[name], name))
    return now


def simulate_levels(flow: Workflow, workers: int) -> float:
    """Return how long the graph takes level by level."""
    seconds = 0.0
    for level in flow.graph.levels():
        free = [0.0] * min(workers, len(level))
        for name in level:
            heapq.heapreplace(free, free[0] + flow.seconds[name])
        seconds += max(free)
    return seconds


class _State(TypedDict):
    """What LangGraph's nodes write: nothing that matters."""

    done: Annotated[list[str], operator.add]


def run_langgraph(flow: Workflow, workers: int) -> float | None:
    """Return LangGraph's ratio; None if it is not installed, or the graph is too large for it."""
    try:
        from langgraph.graph import END, START, StateGraph
    except ImportError:
        return None
    if len(flow.graph) > MOST_LANGGRAPH:
        return None

    def node(seconds: float) -> Callable[[_State], Awaitable[dict[str, list[str]]]]:
        async def work(state: _State) -> dict[str, list[str]]:
            await asyncio.sleep(seconds)
            return {"done": []}

        return work

    builder: Any = StateGraph(_State)
    for task in flow.graph:
        builder.add_node(task.task_id, node(flow.seconds[task.task_id]))
    for task in flow.graph:
        builder.add_edge(list(task.dependencies) if task.dependencies else START, task.task_id)
    for name in flow.graph.sinks:
        builder.add_edge(name, END)
    compiled = builder.compile()

    async def whole() -> float:
        config: dict[str, Any] = {"recursion_limit": len(flow.graph) + 10, "max_concurrency": workers}
        started = time.perf_counter()
        await compiled.ainvoke({"done": []}, config)
        return time.perf_counter() - started

    return timed(whole) / flow.bound


if __name__ == "__main__":
    main()
