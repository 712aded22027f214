"""How fast a whole plan is assigned, and how near the best: first plan, final plan, proven gap, on random plans.

    python -m bench.optimizer [--seeds N] [--json]

Two tables, medians over the seeds (p95 beside them where it says so):

`rows`, the solver by itself, from the stated problem to the plan: 20x15, 50x15, 200x50 and 1000x100 (tasks x agents).
The agents trade money for time and quality as markets do, with noise, and tasks differ in size and difficulty. All
limits bind: an agent takes twice its even share of the tasks, the mean quality is 0.9, the deadline lies midway between
the fastest and the cheapest plan. Beside it, in the same run: HiGHS on the whole model in the same time, and `greedy`,
which gives each task, in order, the cheapest agent with a place left that reaches the quality by itself. Greedy may be
late; the solver may not. `loop` is the time of that greedy choice and its critical path as one naive NumPy pass, one
task after the other over arrays that are there already; `ratio` is first plan / loop. Whatever is imported is loaded
before.

`latency`, end to end: `DAAOOptimizer.optimize_routing_plan` with profiler, registry and graph, for plans of 5, 20 and
50 tasks and 15 agents, without limits that bind; with quality, deadline and capacity; and with `all` limits: also a
budget of 2 % above what the plan would cost without one, agents that take some types of tasks only, tasks that ask for
skills, and cascades of two agents, each of which takes places with both. The last row is 200 tasks and 50 agents, with
all limits. Each plan is made three times, the least time counts. `p50` and `p95` are milliseconds, over four times the
seeds for rows of all limits.

Synthetic figures: they compare methods, and say nothing about anyone's bill.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import math
import random
import statistics
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.allocation import DAAOOptimizer, OptimizationConstraints, OptimizedPlan, mip
from kapelle.allocation.assignment import (
    Assignment,
    AssignmentProblem,
    Candidate,
    Limits,
    TaskChoices,
    cheapest_choice,
    fastest_choice,
)
from kapelle.allocation.solve import solve
from kapelle.allocation.tables import ProblemArrays
from kapelle.estimates import CostProfiler
from kapelle.graph import Task, TaskDAG
from kapelle.strategies import Cascade, Check, Single, StrategyEstimate, agents_of

SIZES = ((20, 15), (50, 15), (200, 50), (1000, 100))
WANTED_MS = {20: 5, 50: 20, 200: 150, 1000: 800}
PLANS = ((5, 15), (20, 15), (50, 15))
LARGE_PLAN = (200, 50)
WANTED_P50 = {(20, "all"): 50, (50, "all"): 200, (200, "all"): 1000}
SKILLS = ("law", "code", "maths")
TASK_TYPES = ("search", "analyze", "write", "test", "implement", "review")
MIN_QUALITY = 0.9
TIME_LIMIT_S = 2.0
GAP = 1e-6


def main() -> None:
    """Print two tables, or with --json one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="instances of each size")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.seeds)
    measure_solver(draw_problem(random.Random(0), 30, 15))  # imports are not what is measured
    rows = [
        summarize(
            {"tasks": tasks, "agents": agents, "wanted_first_ms": WANTED_MS[tasks]},
            [measure_solver(draw_problem(random.Random(f"{seed} {tasks} {agents}"), tasks, agents)) for seed in seeds],
        )
        for tasks, agents in SIZES
    ]
    more = range(options.seed, options.seed + 4 * options.seeds)
    latency = [
        summarize_latency(tasks, agents, limits, some)
        for tasks, agents in PLANS
        for limits, some in (("none", seeds), ("quality+deadline+capacity", seeds), ("all", more))
    ]
    latency.append(summarize_latency(*LARGE_PLAN, "all", seeds))
    if options.json:
        print(json.dumps({"seeds": list(seeds), "time_limit_s": TIME_LIMIT_S, "rows": rows, "latency": latency}))
        return
    print(
        f"{'tasks x agents':>14} {'first ms':>9} {'wanted':>7} {'loop ms':>8} {'ratio':>6} {'first/final':>11} "
        f"{'final ms':>9} {'gap':>8} {'worst':>8} {'vs greedy':>10} {'late':>5} {'HiGHS ms':>9} "
        f"{'its gap':>8} {'no plan':>8}"
    )
    for row in rows:
        highs_gap = "-" if row["highs_gap"] is None else f"{row['highs_gap']:.3%}"
        print(
            f"{row['tasks']:>7} x {row['agents']:<4} {row['first_ms']:>9.1f} {row['wanted_first_ms']:>7} "
            f"{row['loop_ms']:>8.2f} {row['ratio']:>6.1f} {row['first_to_final_cost']:>11.3f} {row['final_ms']:>9.0f} "
            f"{row['gap']:>8.3%} {row['gap_worst']:>8.3%} {row['vs_greedy']:>+10.1%} {row['greedy_late']:>5.0%} "
            f"{row['highs_ms']:>9.0f} {highs_gap:>8} {row['highs_no_plan']:>8.0%}"
        )
    print(
        f"\n{'tasks x agents':>14} {'limits':>26} {'p50 ms':>8} {'p95 ms':>8} {'wanted':>7} {'gap':>8} {'worst':>8} "
        f"{'proven':>8} {'no plan':>8}"
    )
    for row in latency:
        print(
            f"{row['tasks']:>7} x {row['agents']:<4} {row['limits']:>26} {row['p50']:>8.1f} {row['p95']:>8.1f} "
            f"{row['wanted_p50'] or '-':>7} {row['gap']:>8.3%} {row['gap_worst']:>8.3%} {row['proven']:>8.0%} "
            f"{row['infeasible']:>8.0%}"
        )


def summarize_latency(tasks: int, agents: int, limits: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Return what plans of this size took: median and 95th percentile of the times, gaps, and how many were proven."""
    measured = [measure_latency(tasks, agents, limits, seed) for seed in seeds]
    times = sorted(one["ms"] for one in measured if one["ms"] is not None)
    row = {"tasks": tasks, "agents": agents, "limits": limits, "wanted_p50": WANTED_P50.get((tasks, limits))}
    row |= {"p50": statistics.median(times), "p95": times[math.ceil(0.95 * len(times)) - 1]}
    return summarize(row, measured)


def summarize(row: dict[str, Any], measured: Sequence[dict[str, float | None]]) -> dict[str, Any]:
    """Return the row with the median of each figure, the worst of times and gaps, and the mean of what is 0 or 1."""
    row = dict(row)
    for name in measured[0]:
        values = [one for figures in measured if (one := figures[name]) is not None]
        if name in ("greedy_late", "highs_no_plan", "proven", "infeasible"):
            row[name] = statistics.fmean(values)
            continue
        row[name] = statistics.median(values) if values else None
        if name in ("ms", "gap", "first_ms"):
            row[f"{name}_worst"] = max(values)
    return row


def measure_solver(problem: AssignmentProblem) -> dict[str, float | None]:
    """Solve one problem, with ours, with HiGHS alone, and greedily."""
    begun = time.perf_counter()
    solution = solve(problem, time_limit_s=TIME_LIMIT_S, gap=GAP)
    final_ms = 1000 * (time.perf_counter() - begun)
    assert solution.first_plan_s is not None, f"no plan was found: {solution.status}"
    assert solution.first_cost is not None
    assert problem.allows(solution.choice)
    cost = problem.totals(solution.choice).cost

    begun = time.perf_counter()
    tables = ProblemArrays(problem)
    alone = mip.minimize(tables, tables.exists, limits=problem.limits, time_limit_s=TIME_LIMIT_S, gap=GAP)
    highs_ms = 1000 * (time.perf_counter() - begun)
    highs_gap = None
    if alone.choice is not None:
        highs_cost = problem.totals(alone.choice).cost
        highs_gap = max(0.0, highs_cost - alone.bound) / highs_cost

    loops = [choose_greedily(problem, tables) for _ in range(5)]
    loop_ms = 1000 * min(seconds for _, _, seconds in loops)
    greedy, length, _ = loops[0]
    deadline = problem.limits.max_seconds
    first_ms = 1000 * solution.first_plan_s
    return {
        "first_ms": first_ms,
        "loop_ms": loop_ms,
        "ratio": first_ms / loop_ms,
        "first_to_final_cost": solution.first_cost / cost,
        "final_ms": final_ms,
        "gap": max(0.0, cost - solution.lower_bound) / cost,
        "vs_greedy": cost / problem.totals(greedy).cost - 1,
        "greedy_late": float(deadline is not None and length > deadline),
        "highs_ms": highs_ms,
        "highs_gap": highs_gap,
        "highs_no_plan": float(alone.choice is None),
    }


def choose_greedily(problem: AssignmentProblem, tables: ProblemArrays) -> tuple[Assignment, float, float]:
    """Return the greedy choice, the length of its critical path, and the seconds that one pass took."""
    cost, quality, duration, agent = tables.cost, tables.quality, tables.seconds, tables.agents[0]
    begun = time.perf_counter()
    left = np.append(tables.capacity, np.inf)
    finish = np.zeros(tables.n)
    chosen = []
    for t, before in enumerate(tables.before):
        free = left[agent[t]] > 0
        good = free & (quality[t] >= MIN_QUALITY)
        at = int(np.where(good, cost[t], np.inf).argmin() if good.any() else np.where(free, quality[t], -1.0).argmax())
        left[agent[t, at]] -= 1
        finish[t] = duration[t, at] + (finish[list(before)].max() if before else 0.0)
        chosen.append(at)
    length = float(finish.max())
    return tuple(chosen), length, time.perf_counter() - begun


def draw_problem(rng: random.Random, tasks: int, agents: int) -> AssignmentProblem:
    """Return a random problem in which capacity, quality and deadline bind."""
    traits: list[dict[str, tuple[float, float, float]]] = []
    for _ in range(agents):
        level = rng.random()
        success = 0.7 + 0.29 * level**0.5
        traits.append(
            {
                kind: (
                    0.002 * 100 ** (level * rng.uniform(0.7, 1.3)),
                    20.0 * 0.2 ** (level * rng.uniform(0.2, 1.2)),
                    min(0.995, success + rng.uniform(-0.05, 0.05)),
                )
                for kind in TASK_TYPES
            }
        )
    slots = []
    for number in range(tasks):
        kind, size, ease = rng.choice(TASK_TYPES), rng.uniform(0.5, 2.0), rng.gauss(0, 0.3)
        candidates = tuple(
            Candidate(
                agent=f"agent_{agent}",
                cost=cost * size,
                seconds=seconds * size,
                quality=1 / (1 + (1 / quality - 1) * math.exp(-ease)),
            )
            for agent, (cost, seconds, quality) in enumerate(one[kind] for one in traits)
        )
        slots.append(TaskChoices(candidates=candidates, before=tuple(sorted(draw_before(rng, number)))))
    free = AssignmentProblem(slots=tuple(slots), limits=Limits())
    slowest, fastest = (free.totals(choose(free)).seconds for choose in (cheapest_choice, fastest_choice))
    places = max(2, math.ceil(2 * tasks / agents))
    limits = Limits(
        max_seconds=(slowest + fastest) / 2,
        min_quality=MIN_QUALITY,
        capacity={f"agent_{agent}": places for agent in range(agents)},
    )
    return AssignmentProblem(slots=tuple(slots), limits=limits)


def draw_before(rng: random.Random, number: int) -> list[int]:
    """Return what a task waits for: nothing, one earlier task, or two."""
    return rng.sample(range(number), min(number, rng.choice((0, 1, 1, 2))))


def measure_latency(tasks: int, agents: int, limits: str, seed: int) -> dict[str, float | None]:
    """Optimise one plan end to end, the best of three times."""
    rng = random.Random(f"{seed} {tasks}")
    profiler, registry, dag = make_world(rng, tasks, agents, skilled=limits == "all")
    strategies = DrawnCascades(profiler, registry) if limits == "all" else None
    optimizer = DAAOOptimizer(profiler, registry, strategies=strategies, time_limit_s=TIME_LIMIT_S)
    initial = {task.task_id: rng.choice([name for name, card in registry.items() if card.takes(task)]) for task in dag}

    def run(constraints: OptimizationConstraints, plan: Mapping[str, str] = initial) -> tuple[OptimizedPlan, float]:
        begun = time.perf_counter()
        found = asyncio.run(optimizer.optimize_routing_plan(plan, dag, constraints))
        return found, 1000 * (time.perf_counter() - begun)

    constraints = OptimizationConstraints(min_quality_score=0.0)
    if limits != "none":
        cheapest, _ = run(constraints)
        seconds, careful = {}, {}
        for task in dag:
            able = [card for card in registry.values() if card.takes(task)]
            known = {card.agent_id: profiler.estimate(card, task.task_type) for card in able}
            seconds[task.task_id] = min(one.seconds for one in known.values())
            careful[task.task_id] = max(known, key=lambda name: known[name].success_lower)
        safest = run(constraints, careful)[0].optimization_details["baseline_quality"]
        constraints = OptimizationConstraints(
            min_quality_score=(cheapest.quality_score + safest) / 2,
            max_total_time=(cheapest.estimated_time + dag.critical_path(seconds).seconds) / 2,
            agent_capacity=dict.fromkeys(registry, max(2, math.ceil(2 * tasks / agents))),
        )
    if limits == "all":
        constraints = dataclasses.replace(constraints, max_total_cost=1.02 * run(constraints)[0].estimated_cost)
    runs = [run(constraints) for _ in range(3)]
    details = runs[0][0].optimization_details
    return {
        "ms": min(ms for _, ms in runs),
        "gap": details["gap"],
        "proven": float(details["status"] in ("optimal", "infeasible")),
        "infeasible": float(details["status"] == "infeasible"),
    }


class DrawnCascades:
    """Cascades of two agents for every type of task, as they would come out if failures were independent: the cheap one
    is checked, and its failures go to the strong one. A StrategySource."""

    def __init__(self, profiler: CostProfiler, registry: AgentRegistry, *, each: int = 6) -> None:
        self._of: dict[str, list[StrategyEstimate]] = {}
        for kind in TASK_TYPES:
            known = {
                name: profiler.estimate(card, kind)
                for name, card in registry.items()
                if kind in card.task_types or "*" in card.task_types
            }
            by_cost = sorted(known, key=lambda name: known[name].cost_usd)
            half = len(by_cost) // 2
            found = []
            for cheap, strong in list(zip(by_cost[:half], by_cost[half:], strict=False))[:each]:
                one, other = known[cheap], known[strong]
                on = 1 - 0.9 * one.success_rate
                quality = 0.97 * (1 - (1 - one.success_rate) * (1 - other.success_rate))
                found.append(
                    StrategyEstimate(
                        strategy=Cascade(cheap=cheap, check=Check(kind="well_formed"), strong=Single(agent=strong)),
                        cost_usd=one.cost_usd + on * other.cost_usd,
                        seconds=one.seconds + on * other.seconds,
                        quality=quality,
                        quality_lower=quality - 0.03,
                        quality_sd=0.02,
                        samples=200,
                    )
                )
            self._of[kind] = found

    def for_task(self, task_type: str, agents: Collection[str]) -> Sequence[StrategyEstimate]:
        """Return the cascades of this type whose agents are all there."""
        return [one for one in self._of[task_type] if set(agents_of(one.strategy)) <= set(agents)]


def make_world(
    rng: random.Random, tasks: int, agents: int, *, skilled: bool = False
) -> tuple[CostProfiler, AgentRegistry, TaskDAG]:
    """Return a profiler with forty outcomes per agent and type, the agents, and a graph.

    Where it is `skilled`, agents take four types of the six and have two skills of the three, and a third of the tasks
    asks for a skill; the first two agents can do everything.
    """
    capabilities = []
    profiler = CostProfiler()
    for number in range(agents):
        level = rng.random()
        types: tuple[str, ...] = ("*",)
        skills: frozenset[str] = frozenset(SKILLS)
        if skilled and number > 1:
            types, skills = tuple(rng.sample(TASK_TYPES, 4)), frozenset(rng.sample(SKILLS, 2))
        agent = AgentCapability(
            agent_id=f"agent_{number}", task_types=types, skills=skills, success_rate=0.7 + 0.29 * level**0.5
        )
        capabilities.append(agent)
        for task_type in TASK_TYPES:
            cost = 0.002 * 100 ** (level * rng.uniform(0.7, 1.3))
            seconds = 20.0 * 0.2 ** (level * rng.uniform(0.2, 1.2))
            for _ in range(40):
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
            depends_on=tuple(f"t{other}" for other in draw_before(rng, number)),
            requirements=frozenset(rng.sample(SKILLS, 1)) if skilled and rng.random() < 1 / 3 else frozenset(),
        )
        for number in range(tasks)
    )
    return profiler, AgentRegistry(capabilities), graph


if __name__ == "__main__":
    main()
