"""How long graphs take: 10,000 tasks and 30,000 edges, against a plain loop over lists in the same run.

    python -m bench.graph [--seed N] [--json]

The plain loop gets what it needs for nothing: integers for names, adjacency lists both ways. `TaskDAG` starts from its
tasks and answers with their ids. A ratio says how much dearer that is.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from kapelle.graph import Task, TaskDAG

TASKS = 10_000
EDGES = 30_000
_ROUNDS = 15


def main() -> None:
    """Measure, and print a table or one JSON object as the last line."""
    parser = argparse.ArgumentParser(description="How long graphs of 10,000 tasks take.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    figures = measure(arguments.seed)
    if arguments.json:
        print(json.dumps(figures))
        return
    print(f"{figures['tasks']:,} tasks, {figures['edges']:,} edges, {figures['levels']} levels, seed {figures['seed']}")
    print(f"{'':34}{'ms':>8}{'plain ms':>10}{'ratio':>7}")
    for name, row in figures["times"].items():
        plain = f"{row['plain_ms']:10.2f}{row['ratio']:7.2f}" if "ratio" in row else ""
        print(f"{name:34}{row['ms']:8.2f}{plain}")


def measure(seed: int) -> dict[str, Any]:
    """Return medians in milliseconds; the plain loops run in turn with ours, so both see the same machine."""
    tasks, seconds = make_tasks(random.Random(seed))
    dag = TaskDAG(tasks)
    numbers = {task.task_id: number for number, task in enumerate(tasks)}
    before = [[numbers[other] for other in task.dependencies] for task in tasks]
    after: list[list[int]] = [[] for _ in tasks]
    for number, others in enumerate(before):
        for other in others:
            after[other].append(number)
    weights = [seconds[task.task_id] for task in tasks]
    assert [len(level) for level in dag.levels()] == [len(level) for level in plain_levels(before, after)]
    assert abs(dag.critical_path(seconds).seconds - plain_critical_path(before, after, weights)) < 1e-6

    done = frozenset(dag.topological_order()[: TASKS // 2])
    xml = dag.to_xml()
    values = dag.to_dict()
    times = {
        "levels": compare(dag.levels, lambda: plain_levels(before, after)),
        "critical path": compare(
            lambda: dag.critical_path(seconds), lambda: plain_critical_path(before, after, weights)
        ),
        "levels and critical path": compare(
            lambda: (dag.levels(), dag.critical_path(seconds)),
            lambda: (plain_levels(before, after), plain_critical_path(before, after, weights)),
        ),
        "topological order": {"ms": median_ms(dag.topological_order)},
        "ready tasks, half of them done": {"ms": median_ms(lambda: dag.ready_tasks(done))},
        "transitive reduction": {"ms": median_ms(dag.transitive_reduction, rounds=3)},
        "build the tasks": {"ms": median_ms(lambda: make_tasks(random.Random(seed)), rounds=3)},
        "build the graph from its tasks": {"ms": median_ms(lambda: TaskDAG(tasks))},
        "to a mapping": {"ms": median_ms(dag.to_dict, rounds=5)},
        "from a mapping": {"ms": median_ms(lambda: TaskDAG.from_dict(values), rounds=5)},
        "to XML": {"ms": median_ms(dag.to_xml, rounds=5)},
        "from XML": {"ms": median_ms(lambda: TaskDAG.from_xml(xml), rounds=5)},
    }
    return {"seed": seed, "tasks": len(dag), "edges": len(dag.edges), "levels": dag.depth, "times": times}


def make_tasks(chance: random.Random) -> tuple[list[Task], dict[str, float]]:
    """Return tasks with three edges each, on average, from any of the 500 before, and their seconds."""
    waits: list[set[int]] = [set() for _ in range(TASKS)]
    edges = 0
    while edges < EDGES:
        task = chance.randrange(1, TASKS)
        other = chance.randrange(max(0, task - 500), task)
        if other not in waits[task]:
            waits[task].add(other)
            edges += 1
    tasks = [
        Task(
            task_id=f"task_{number}",
            task_type="search",
            depends_on=tuple(f"task_{other}" for other in sorted(others)),
            inputs={"query": f"question {number}"},
        )
        for number, others in enumerate(waits)
    ]
    return tasks, {task.task_id: chance.uniform(0.1, 10.0) for task in tasks}


def plain_levels(before: list[list[int]], after: list[list[int]]) -> list[list[int]]:
    """Return the levels of numbered nodes: the plainest loop there is."""
    waiting = [len(others) for others in before]
    level = [node for node in range(len(before)) if not waiting[node]]
    levels = []
    while level:
        levels.append(level)
        following = []
        for node in level:
            for other in after[node]:
                waiting[other] -= 1
                if not waiting[other]:
                    following.append(other)
        level = following
    return levels


def plain_critical_path(before: list[list[int]], after: list[list[int]], weights: list[float]) -> float:
    """Return the weight of the heaviest path of numbered nodes, in one pass of Kahn's algorithm."""
    waiting = [len(others) for others in before]
    ends = list(weights)
    queue = [node for node in range(len(before)) if not waiting[node]]
    for node in queue:
        end = ends[node]
        for other in after[node]:
            if end + weights[other] > ends[other]:
                ends[other] = end + weights[other]
            waiting[other] -= 1
            if not waiting[other]:
                queue.append(other)
    return max(ends)


def compare(ours: Callable[[], object], plain: Callable[[], object]) -> dict[str, float]:
    """Return the medians of both, taken in turn, and their ratio."""
    pairs = [(time_ms(ours), time_ms(plain)) for _ in range(_ROUNDS)]
    ms = statistics.median(pair[0] for pair in pairs)
    plain_ms = statistics.median(pair[1] for pair in pairs)
    return {"ms": round(ms, 3), "plain_ms": round(plain_ms, 3), "ratio": round(ms / plain_ms, 2)}


def median_ms(action: Callable[[], object], *, rounds: int = _ROUNDS) -> float:
    """Return the median time of an action in milliseconds."""
    return round(statistics.median(time_ms(action) for _ in range(rounds)), 3)


def time_ms(action: Callable[[], object]) -> float:
    """Return how long an action takes, in milliseconds."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()
