"""How long planning by rules and validation take for a plan of 50 tasks, without a model.

    python -m bench.planning [--rounds N] [--json]

Planned are requests that split into 50 tasks: independent look-ups, and chains of two. Validated are the plans that
came out, against their requests, with the documented agents and the default estimates. The first call counts too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from typing import Any

from kapelle import AgentCapability, AgentRegistry, AOPValidator, CostProfiler, HALORouter, Plan
from kapelle.planning import RulePlanner

WANTED_MS = {"planning": 50.0, "validation": 20.0}
AGENTS = AgentRegistry.default().merged(
    AgentRegistry([AgentCapability(agent_id="finder", task_types=("lookup", "combine"), cost_tier="free")])
)


def requests() -> dict[str, str]:
    """Requests that the rules split into 50 tasks each."""
    names = [f"Place{number:02d}" for number in range(60)]
    return {
        "independent": f"Find the capital of {', '.join(names[:48])} and {names[48]}.",
        "chains": " ".join(f"Find the population of the capital of {name}." for name in names[:24])
        + " Find the area of Peru.",
    }


async def measure(rounds: int) -> dict[str, Any]:
    """Return milliseconds per stage and request: median, 99th percentile, first call."""
    profiler = CostProfiler()
    router, validator = HALORouter(AGENTS), AOPValidator(AGENTS, profiler)
    found: dict[str, Any] = {"wanted_p99_ms": WANTED_MS}
    for name, request in requests().items():
        planning, validation = [], []
        plan: Plan | None = None
        for _ in range(rounds):
            start = time.perf_counter()
            plan = await RulePlanner().plan(request, AGENTS)
            planning.append((time.perf_counter() - start) * 1000)
            routing = await router.route_tasks(plan.graph)
            start = time.perf_counter()
            result = await validator.validate_routing_plan(routing, plan.graph, max_budget=10.0, request=request)
            validation.append((time.perf_counter() - start) * 1000)
            assert result.passed, result.issues
        assert plan is not None
        found[name] = {
            "tasks": len(plan.graph),
            "planning_ms": summary(planning),
            "validation_ms": summary(validation),
        }
    return found


def summary(values: list[float]) -> dict[str, float]:
    """Median, 99th percentile and first of milliseconds."""
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 2),
        "p99": round(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 2),
        "first": round(values[0], 2),
    }


def main() -> None:
    """Print the table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = asyncio.run(measure(arguments.rounds))
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"99th percentile wanted: planning {WANTED_MS['planning']:g} ms, validation {WANTED_MS['validation']:g} ms")
    for name in requests():
        for stage in ("planning", "validation"):
            row = found[name][f"{stage}_ms"]
            print(
                f"{name:<12} {found[name]['tasks']} tasks  {stage:<10}  median {row['median']:6.2f} ms   "
                f"p99 {row['p99']:6.2f} ms   first call {row['first']:6.2f} ms"
            )


if __name__ == "__main__":
    main()
