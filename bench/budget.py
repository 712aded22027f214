"""Whether a budget holds when many tasks draw on it at once and none costs what was expected.

    python -m bench.budget [--seeds 1000] [--seed 0] [--json]

200 tasks that could all run at once, of five agents, against a cap that pays for about 60 % of them. Three agents
report what they really cost: drawn around what their history says (log-normal, sigma 0.2, 0.5 and 0.9). Two report
nothing: one is charged the price that it declares, the other what was expected of it, marked as assumed. Tasks end in
random order. Each seed is one run.

    beyond_excess   dollars spent over the cap that are not explained by tasks that cost more than they had reserved:
                    to be 0 in every run
    over_cap        runs that ended over the cap at all, which only such tasks can cause; by how much at most and on
                    average, in shares of the cap; and the bound: what those tasks exceeded their reservations by
    share_used      share of the cap that was used, on average and at least
    naive           the same tasks where each only looks whether the total so far is below the cap before it starts

KAPELLE_BUDGET_SEEDS sets the number of seeds where it is not given.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import statistics
import sys
from dataclasses import dataclass
from typing import Any

from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, TaskContext
from kapelle.cost import Budget, CostProfiler
from kapelle.execution import Executor
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Journal, Outcome
from kapelle.routing import HALORouter
from kapelle.validation import AOPValidator, ApprovedPlan

TASKS = 200
SPREADS = {"steady": 0.2, "varied": 0.5, "wild": 0.9}
"""Agents that report what they cost, and the sigma of its logarithm."""
SILENT = ("declared", "unpriced")
MEAN_USD = 0.01
HISTORY = 50
SHARE = 0.6


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """What one run came to."""

    usd: float
    excess_usd: float
    """By how much tasks cost more than they had reserved, together."""
    done: int
    assumed: int


class Costly:
    """An agent whose cost is drawn; None reports nothing. It ends after a random number of turns of the loop."""

    def __init__(self, spread: float | None, chance: random.Random) -> None:
        self.spread = spread
        self.chance = chance

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Take a few turns of the loop, and cost something."""
        for _ in range(self.chance.randrange(8)):
            await asyncio.sleep(0)
        cost = None if self.spread is None else draw(self.spread, self.chance)
        return AgentResult(output="done", cost_usd=cost)


def draw(spread: float, chance: random.Random) -> float:
    """Return a cost whose mean is MEAN_USD."""
    return MEAN_USD * math.exp(chance.gauss(-spread * spread / 2, spread))


def main() -> None:
    """Print the figures, or with --json one JSON object. The exit code is 1 if the budget did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=int(os.environ.get("KAPELLE_BUDGET_SEEDS", "1000")))
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.seeds, options.seed)
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:<24}{value:.4g}" if isinstance(value, float) else f"{name:<24}{value}")
    if found["beyond_excess_usd"] > 1e-9:
        sys.exit(1)


def measure(seeds: int, first: int) -> dict[str, Any]:
    """Return what the runs of all seeds came to."""
    plan, cards = asyncio.run(approve(first))
    cap = round(SHARE * sum(estimate.cost_usd for estimate in plan.estimates.values()), 6)
    runs = [asyncio.run(spend(plan, cards, cap, seed)) for seed in range(first, first + seeds)]
    naive = [asyncio.run(spend_naively(plan, cap, seed)) for seed in range(first, first + seeds)]
    over = [max(0.0, run.usd - cap) / cap for run in runs]
    return {
        "seeds": seeds,
        "tasks": TASKS,
        "cap_usd": cap,
        "beyond_excess_usd": max(max(0.0, run.usd - cap - run.excess_usd) for run in runs),
        "over_cap_runs": sum(1 for share in over if share > 1e-9),
        "over_cap_share_max": max(over),
        "over_cap_share_mean": statistics.fmean(over),
        "excess_share_max": max(run.excess_usd for run in runs) / cap,
        "share_used_mean": statistics.fmean(run.usd / cap for run in runs),
        "share_used_min": min(run.usd / cap for run in runs),
        "done_mean": statistics.fmean(run.done for run in runs),
        "assumed_mean": statistics.fmean(run.assumed for run in runs),
        "naive_over_cap_runs": sum(1 for usd in naive if usd > cap + 1e-9),
        "naive_over_cap_share_max": max(0.0, max(naive) / cap - 1),
        "naive_over_cap_share_mean": statistics.fmean(max(0.0, usd / cap - 1) for usd in naive),
    }


async def approve(seed: int) -> tuple[ApprovedPlan, list[AgentCapability]]:
    """Return the plan, its estimates learned from a history of each agent that reports."""
    chance = random.Random(seed)
    names = (*SPREADS, *SILENT)
    cards = [
        AgentCapability(
            agent_id=name,
            task_types=(name,),
            cost_usd=MEAN_USD if name == "declared" else None,
            cost_tier="medium" if name == "unpriced" else "cheap",
            max_concurrency=TASKS,
        )
        for name in names
    ]
    history = [
        Outcome(run_id="h", task_id=str(n), task_type=name, agent=name, success=True, cost_usd=draw(spread, chance))
        for name, spread in SPREADS.items()
        for n in range(HISTORY)
    ]
    graph = TaskDAG(
        Task(task_id=f"t{n}", task_type=names[n % len(names)], description=f"task {n}") for n in range(TASKS)
    )
    registry = AgentRegistry(cards)
    routing = await HALORouter(registry).route_tasks(graph)
    result = await AOPValidator(registry, CostProfiler.from_outcomes(history)).validate_routing_plan(routing, graph)
    assert result.approved is not None, result.issues
    return result.approved, cards


async def spend(plan: ApprovedPlan, cards: list[AgentCapability], cap: float, seed: int) -> Spent:
    """Run the plan against the cap, and return what it came to."""
    chance = random.Random(seed)
    registry = AgentRegistry(
        cards, runners={card.agent_id: Costly(SPREADS.get(card.agent_id), chance) for card in cards}
    )
    budget, outcomes = Budget(usd=cap), list[Outcome]()
    journal = Journal(None, f"budget-{seed}", on_outcome=outcomes.append)
    ending = await Executor(registry).execute(plan, journal, budget=budget)
    return Spent(
        usd=budget.spent.usd,
        excess_usd=budget.overrun.usd,
        done=len(ending.outputs),
        assumed=sum(1 for one in outcomes if one.features.get("cost_assumed")),
    )


async def spend_naively(plan: ApprovedPlan, cap: float, seed: int) -> float:
    """Run the same tasks, each of which only looks whether the total so far is below the cap; return what was spent."""
    chance = random.Random(seed)
    total = 0.0

    async def one(task: Task) -> None:
        nonlocal total
        if total >= cap:
            return
        agent = Costly(SPREADS.get(task.task_type), chance)
        result = await agent.run(task, TaskContext(run_id="r", request=""))
        total += result.cost_usd if result.cost_usd is not None else plan.estimates[task.task_id].cost_usd

    await asyncio.gather(*(one(task) for task in plan.dag))
    return total


if __name__ == "__main__":
    main()
