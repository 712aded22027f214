"""How long the plan optimiser takes, and what it saves against two rules, on seeded random plans.

    python -m bench.optimizer [--seed N] [--json]

The agents trade money for time and quality as markets do, with noise: a dearer agent tends to be faster and more
reliable. The limits lie between what the cheapest plan reaches and the best that is possible. Rules, in the same run:
`greedy` gives each task its cheapest agent that meets the mean quality by itself; `safest` gives each its most
reliable one. Either may break the deadline; the optimiser may not. Synthetic figures: they compare methods, and say
nothing about anyone's bill.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.cost import CostProfiler, DAAOOptimizer, OptimizationConstraints, OptimizedPlan
from kapelle.graph import Task, TaskDAG

Rule = Callable[[CostProfiler, AgentRegistry, Task], str]

SIZES = ((5, 15), (10, 15), (20, 15), (50, 15), (60, 20), (200, 50), (1000, 100))
TASK_TYPES = ("search", "analyze", "write", "test", "implement", "review")
MIN_QUALITY = 0.9


def main() -> None:
    """Print a table, or with --json one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(tasks, agents, options.seed) for tasks, agents in SIZES]
    if options.json:
        print(json.dumps({"seed": options.seed, "rows": rows}))
        return
    print(
        f"{'tasks x agents':>14} {'limits':>18} {'ms':>8} {'status':>9} {'gap':>8} {'vs greedy':>10} {'vs safest':>10}"
    )
    for row in rows:
        for kind in ("no limits", "quality", "quality+deadline"):
            cell = row[kind]
            print(
                f"{row['tasks']:>7} x {row['agents']:<4} {kind:>18} {cell['ms']:>8.1f} {cell['status']:>9} "
                f"{cell['gap']:>8.2%} {cell['vs_greedy']:>+10.1%} {cell['vs_safest']:>+10.1%}"
                + (" (greedy is late)" if cell["greedy_is_late"] else "")
            )


def measure(tasks: int, agents: int, seed: int) -> dict[str, Any]:
    """Optimise one random plan under ever more limits, and compare with the rules."""
    rng = random.Random(f"{seed} {tasks} {agents}")
    profiler, registry, dag = make_world(rng, tasks, agents)
    optimizer = DAAOOptimizer(profiler, registry)
    initial = {task.task_id: rng.choice(list(registry)) for task in dag}

    def run(**limits: Any) -> tuple[OptimizedPlan, float]:
        started = time.perf_counter()
        plan = asyncio.run(optimizer.optimize_routing_plan(initial, dag, OptimizationConstraints(**limits)))
        return plan, 1000 * (time.perf_counter() - started)

    run(min_quality_score=0.0, max_total_time=1e9)  # imports and caches are not what is measured
    greedy = follow_rule(profiler, registry, dag, cheapest_good_enough)
    safest = follow_rule(profiler, registry, dag, most_reliable)
    longest = run(min_quality_score=0.0)[0].estimated_time
    shortest = dag.critical_path({t: fastest(profiler, registry, dag.tasks[t]) for t in dag.tasks}).seconds
    row: dict[str, Any] = {"tasks": tasks, "agents": agents}
    for kind, limits in {
        "no limits": {"min_quality_score": 0.0},
        "quality": {"min_quality_score": MIN_QUALITY},
        "quality+deadline": {"min_quality_score": MIN_QUALITY, "max_total_time": (longest + shortest) / 2},
    }.items():
        plan, ms = run(**limits)
        details = plan.optimization_details
        row[kind] = {
            "ms": ms,
            "status": details["status"],
            "solver": details["solver"],
            "cost_usd": plan.estimated_cost,
            "gap": details["gap"] or 0.0,
            "vs_greedy": plan.estimated_cost / greedy["baseline_cost"] - 1,
            "vs_safest": plan.estimated_cost / safest["baseline_cost"] - 1,
            "greedy_is_late": greedy["baseline_time"] > limits.get("max_total_time", greedy["baseline_time"]),
        }
    return row


def make_world(rng: random.Random, tasks: int, agents: int) -> tuple[CostProfiler, AgentRegistry, TaskDAG]:
    """Return a profiler with ten outcomes per agent and type, the agents, and a graph."""
    capabilities = []
    profiler = CostProfiler()
    for number in range(agents):
        level = rng.random()
        agent = AgentCapability(agent_id=f"agent_{number}", task_types=("*",), success_rate=0.7 + 0.29 * level**0.5)
        capabilities.append(agent)
        for task_type in TASK_TYPES:
            cost = 0.002 * 100 ** (level * rng.uniform(0.7, 1.3))
            seconds = 20.0 * 0.2 ** (level * rng.uniform(0.2, 1.2))
            for _ in range(10):
                profiler.record_execution(
                    task_id="past",
                    agent_name=agent.agent_id,
                    task_type=task_type,
                    tokens_used=1000,
                    execution_time_seconds=seconds * rng.uniform(0.8, 1.2),
                    success=rng.random() < agent.success_rate,
                    cost_usd=cost * rng.uniform(0.8, 1.2),
                )
    graph = TaskDAG(
        Task(
            task_id=f"t{number}",
            task_type=rng.choice(TASK_TYPES),
            depends_on=tuple(f"t{other}" for other in rng.sample(range(number), min(number, rng.choice((0, 1, 1, 2))))),
        )
        for number in range(tasks)
    )
    return profiler, AgentRegistry(capabilities), graph


def follow_rule(profiler: CostProfiler, registry: AgentRegistry, dag: TaskDAG, rule: Rule) -> Mapping[str, Any]:
    """Return what a plan comes to in which every task's agent is chosen by a rule, on its own."""
    initial = {task.task_id: rule(profiler, registry, task) for task in dag}
    plan = asyncio.run(DAAOOptimizer(profiler, registry).optimize_routing_plan(initial, dag))
    return plan.optimization_details


def cheapest_good_enough(profiler: CostProfiler, registry: AgentRegistry, task: Task) -> str:
    """The greedy rule: the least cost among agents that meet the quality by themselves, else the most reliable."""
    estimates = {agent: profiler.estimate(registry[agent], task.task_type) for agent in registry}
    good = [agent for agent, estimate in estimates.items() if estimate.success_rate >= MIN_QUALITY]
    if not good:
        return most_reliable(profiler, registry, task)
    return min(good, key=lambda agent: estimates[agent].cost_usd)


def most_reliable(profiler: CostProfiler, registry: AgentRegistry, task: Task) -> str:
    """The careful rule: the agent that succeeds most often."""
    return max(registry, key=lambda agent: profiler.estimate(registry[agent], task.task_type).success_rate)


def fastest(profiler: CostProfiler, registry: AgentRegistry, task: Task) -> float:
    """Return the seconds of the fastest agent, for a task of ordinary complexity."""
    return min(profiler.estimate(registry[agent], task.task_type).seconds for agent in registry)


if __name__ == "__main__":
    main()
