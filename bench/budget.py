"""Whether a budget holds: whoever works, whatever is known of prices, however attempts end.

    python -m bench.budget                     every scenario, 5 seeds each
    python -m bench.budget --only breaks       those whose name has the word in it
    python -m bench.budget --seeds 50 --json   more of them, as one JSON object

Each run draws on a cap that does not pay for all its tasks. Scenarios differ in what is known of prices (declared,
learned from a history, known to nobody, too low or too high by ten, said to be zero), in how attempts end (answers;
streams that break off and replies that are refused, paid, with and without a report), in what works (Python agents,
agents of a YAML file, pydantic-ai agents, model agents), and in the graph's shape (all at once, one after the other).

    overrun        dollars of attempts that began beyond the cap, summed over all runs: what was set aside for them over
                   what was left, and all that was spent by one that began when the cap was reached: to be 0
    in hindsight   dollars of tasks that began when what others that had begun turned out to cost had reached the cap:
                   nobody could know; slow starts keep it small
    worst_share    largest share of the cap that a run has spent. What an attempt costs beyond what was set aside for it
                   is gone when it is known; so it may be over 1, by what attempts under way at once exceeded theirs
    no guard       the same tasks with nobody looking: what they would have cost, in shares of the cap
    look first     the same tasks, each of which looks whether the total so far is below the cap before it starts

The exit code is 1 if `overrun` is not 0. KAPELLE_BUDGET_SEEDS sets the number of seeds where it is not given.
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
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kapelle.agents import AgentCapability, AgentRegistry, AgentResult, ModelAgent, TaskContext, as_agent
from kapelle.budget import Budget
from kapelle.errors import AgentFailed, ContentRefused, ModelUnavailable
from kapelle.estimates import CostProfiler
from kapelle.execution import ExecutionLimits, Executor, RetryPolicy
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Event, Journal, Outcome, SqliteLedger, Usage
from kapelle.models import ModelReply, ModelRequest
from kapelle.routing import HALORouter
from kapelle.validation import AOPValidator, ApprovedPlan

MEAN_USD = 0.01
"""What an attempt costs on average."""
HISTORY = 50
SHARE = 0.6
"""What the cap pays for."""
GPT_4O_USD = 2.5e-6
"""Dollars per input token, by the table of genai-prices."""
LEAST_USD = 1e-8
"""Sums of floats differ by less."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """Who works, at what price, and how it ends."""

    name: str
    kind: str = "python"
    """`python`, `yaml`, `pydantic-ai` or `model`."""
    declared: float | None = None
    """What agents declare, in shares of what they cost on average; None is nothing."""
    learned: bool = False
    """Whether outcomes have told of prices before."""
    reports: bool = True
    """Whether agents tell what they cost."""
    spread: float = 0.5
    """Sigma of the logarithm of what an attempt costs."""
    fails: str = ""
    """How half of all attempts end: `breaks` (nobody tells what it cost), `refuses` (paid, and told), or not."""
    chain: bool = False
    tasks: int = 60
    agents: int = 5


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(name="learned, reported", learned=True, tasks=200),
    Scenario(name="declared, not reported", declared=1.0, reports=False, spread=0.0, tasks=200),
    Scenario(name="declared, reported", declared=1.0),
    Scenario(name="unpriced"),
    Scenario(name="unpriced, one agent each", agents=60),
    Scenario(name="unpriced, in a chain", chain=True),
    Scenario(name="unpriced YAML agents", kind="yaml"),
    Scenario(name="unpriced pydantic-ai agents", kind="pydantic-ai"),
    Scenario(name="unpriced model agents", kind="model"),
    Scenario(name="priced a tenth", declared=0.1),
    Scenario(name="priced a tenth, one agent", declared=0.1, agents=1),
    Scenario(name="priced a tenth, in a chain", declared=0.1, chain=True),
    Scenario(name="priced ten times", declared=10.0),
    Scenario(name="priced zero, wrongly", declared=0.0),
    Scenario(name="breaks off, declared", declared=1.0, fails="breaks"),
    Scenario(name="breaks off, unpriced", fails="breaks"),
    Scenario(name="breaks off, model agents", kind="model", fails="breaks"),
    Scenario(name="refuses, declared", declared=1.0, fails="refuses"),
    Scenario(name="refuses, unpriced", fails="refuses"),
    Scenario(name="refuses, model agents, in a chain", kind="model", fails="refuses", chain=True),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """What one run came to."""

    usd: float
    billed_usd: float
    """What its attempts really cost, told or not."""
    beyond_usd: float
    """Dollars of attempts that began beyond the cap."""
    hindsight_usd: float
    """Dollars of tasks that began when what others turned out to cost had reached the cap."""
    excess_usd: float
    """By how much tasks cost more than they had reserved, together."""
    done: int
    assumed: int


class Costs:
    """Says what every attempt of a run costs and how it ends: the same for whoever does it. Remembers the bill."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.billed_usd = 0.0
        self._seed = seed
        self._asked: dict[str, int] = {}

    def next(self, task: str) -> tuple[float, bool, int]:
        """Return what the next attempt at a task costs, whether it fails, and how many turns of the loop it takes."""
        number = self._asked[task] = self._asked.get(task, -1) + 1
        chance = random.Random(f"{self._seed} {task} {number}")
        usd, fails = draw(self.scenario.spread, chance), bool(self.scenario.fails) and chance.random() < 0.5
        self.billed_usd += usd
        return usd, fails, chance.randrange(8)


def draw(spread: float, chance: random.Random) -> float:
    """Return a cost whose mean is MEAN_USD."""
    return MEAN_USD * math.exp(chance.gauss(-spread * spread / 2, spread))


class Costly:
    """An agent that ends after some turns of the loop, and costs what is said."""

    def __init__(self, costs: Costs) -> None:
        self._costs = costs

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Take a few turns of the loop, and cost something."""
        usd, fails, turns = self._costs.next(task.task_id)
        for _ in range(turns):
            await asyncio.sleep(0)
        told = usd if self._costs.scenario.reports else None
        if not fails:
            return AgentResult(output="done", cost_usd=told)
        if self._costs.scenario.fails == "breaks":
            raise AgentFailed("the stream broke off", sent=True)
        raise AgentFailed("it was refused", cost_usd=told)


class CostlyModel:
    """A model whose replies cost what is said."""

    model = "bench:model"

    def __init__(self, costs: Costs) -> None:
        self._costs = costs

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> ModelReply:
        """Reply after a few turns of the loop, or not."""
        usd, fails, turns = self._costs.next(request.messages[-1].content)
        for _ in range(turns):
            await asyncio.sleep(0)
        usage = Usage(input_tokens=100, output_tokens=20, calls=1)
        if not fails:
            return ModelReply(text="done", usage=usage, cost_usd=usd, model=self.model, finish_reason="stop")
        if self._costs.scenario.fails == "breaks":
            raise ModelUnavailable("the stream broke off", sent=True)
        raise ContentRefused("it was refused", cost_usd=usd, usage=usage)


def library_agent(costs: Costs) -> Any:
    """Return a pydantic-ai agent, whose replies tell their tokens and a model that has a price."""
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
    from pydantic_ai.models.function import AgentInfo, FunctionModel
    from pydantic_ai.usage import RequestUsage

    async def reply(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        usd, _, turns = costs.next(str(messages[-1].parts[-1].content))  # type: ignore[union-attr]  # a prompt has one
        for _ in range(turns):
            await asyncio.sleep(0)
        usage = RequestUsage(input_tokens=round(usd / GPT_4O_USD), output_tokens=0)
        return ModelResponse(parts=[TextPart("done")], usage=usage, model_name="gpt-4o", provider_name="openai")

    return as_agent(Agent(FunctionModel(reply, model_name="gpt-4o")))


def main() -> None:
    """Print the figures, or with --json one JSON object. The exit code is 1 if the budget did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=int(os.environ.get("KAPELLE_BUDGET_SEEDS", "5")), help="of each")
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    parser.add_argument("--only", default="", metavar="WORD", help="only scenarios with this in their name")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    chosen = [one for one in SCENARIOS if options.only in one.name]
    if not chosen or options.seeds < 1:
        parser.error(f"nothing to do; scenarios are: {'; '.join(one.name for one in SCENARIOS)}")
    found = measure(options.seeds, options.seed, chosen, tell=sys.stderr.isatty() or not options.json)
    if options.json:
        print(json.dumps(found))
    else:
        print(f"\n{'overrun':<24}{found['overrun']:.6g}\n{'worst_share':<24}{found['worst_share']:.4g}")
    if found["overrun"] > LEAST_USD:
        sys.exit(1)


HEAD = (
    f"{'scenario':<36}{'beyond $':>10}{'hindsight $':>13}{'worst':>8}{'mean':>8}{'over':>6}{'done':>8}{'no guard':>10}"
    f"{'look first':>12}"
)


def measure(seeds: int, first: int, scenarios: Sequence[Scenario] = SCENARIOS, *, tell: bool = False) -> dict[str, Any]:
    """Return what the runs of all scenarios came to."""
    rows = []
    if tell:
        print(HEAD, file=sys.stderr, flush=True)
    for scenario in scenarios:
        row = measure_one(scenario, seeds, first)
        rows.append(row)
        if tell:
            print(
                f"{row['scenario']:<36}{row['overrun']:>10.4g}{row['hindsight_usd']:>13.4g}{row['worst_share']:>8.3f}{row['mean_share']:>8.3f}"
                f"{row['over_cap_runs']:>6}{row['done_mean']:>8.1f}{row['no_guard_share']:>10.2f}"
                f"{row['look_first_share']:>12.2f}",
                file=sys.stderr,
                flush=True,
            )
    return {
        "overrun": sum(row["overrun"] for row in rows),
        "worst_share": max(row["worst_share"] for row in rows),
        "beyond_excess_usd": max(row["beyond_excess_usd"] for row in rows),
        "seeds": seeds,
        "runs": seeds * len(rows),
        "scenarios": rows,
    }


def measure_one(scenario: Scenario, seeds: int, first: int) -> dict[str, Any]:
    """Return what the runs of one scenario came to."""
    runs: list[Spent] = []
    caps: list[float] = []
    naive: list[float] = []
    unguarded: list[float] = []
    for seed in range(first, first + seeds):
        costs = Costs(scenario, seed)
        with tempfile.TemporaryDirectory() as folder:
            cap, spent = asyncio.run(spend(scenario, costs, Path(folder), seed))
        caps.append(cap)
        runs.append(spent)
        naive.append(asyncio.run(spend_naively(scenario, cap, seed)))
        unguarded.append(asyncio.run(spend_naively(scenario, math.inf, seed)))
    shares = [run.usd / cap for run, cap in zip(runs, caps, strict=True)]
    return {
        "scenario": scenario.name,
        "tasks": scenario.tasks,
        "cap_usd": statistics.fmean(caps),
        "overrun": sum(run.beyond_usd for run in runs if run.beyond_usd > LEAST_USD),
        "hindsight_usd": sum(run.hindsight_usd for run in runs),
        "worst_share": max(shares),
        "mean_share": statistics.fmean(shares),
        "worst_billed_share": max(run.billed_usd / cap for run, cap in zip(runs, caps, strict=True)),
        "over_cap_runs": sum(1 for share in shares if share > 1 + LEAST_USD),
        "beyond_excess_usd": max(max(0.0, run.usd - cap - run.excess_usd) for run, cap in zip(runs, caps, strict=True)),
        "done_mean": statistics.fmean(run.done for run in runs),
        "assumed_mean": statistics.fmean(run.assumed for run in runs),
        "no_guard_share": statistics.fmean(usd / cap for usd, cap in zip(unguarded, caps, strict=True)),
        "look_first_share": statistics.fmean(usd / cap for usd, cap in zip(naive, caps, strict=True)),
    }


async def approve(
    scenario: Scenario, seed: int, runners: Mapping[str, Any], folder: Path
) -> tuple[ApprovedPlan, AgentRegistry]:
    """Return the approved plan and its agents."""
    chance = random.Random(seed)
    names = [f"a{number}" for number in range(scenario.agents)]
    declared = None if scenario.declared is None else scenario.declared * MEAN_USD
    cards = [
        AgentCapability(agent_id=name, task_types=(name,), cost_usd=declared, max_concurrency=scenario.tasks)
        for name in names
    ]
    if scenario.kind == "yaml":
        registry = from_yaml(cards, runners, folder / "agents.yaml")
    else:
        registry = AgentRegistry(cards, runners=runners)
    history = [
        Outcome(
            run_id="h", task_id=str(n), task_type=name, agent=name, success=True, cost_usd=draw(scenario.spread, chance)
        )
        for name in names
        for n in range(HISTORY if scenario.learned else 0)
    ]
    graph = TaskDAG(
        Task(
            task_id=f"t{n}",
            task_type=names[n % len(names)],
            description=f"t{n}",
            depends_on=(f"t{n - 1}",) if scenario.chain and n else (),
            on_failure="continue",
        )
        for n in range(scenario.tasks)
    )
    routing = await HALORouter(registry).route_tasks(graph)
    result = await AOPValidator(registry, CostProfiler.from_outcomes(history)).validate_routing_plan(routing, graph)
    assert result.approved is not None, result.issues
    return result.approved, registry


def from_yaml(cards: Sequence[AgentCapability], runners: Mapping[str, Any], path: Path) -> AgentRegistry:
    """Return the agents as a file defines them."""
    module = types.ModuleType("budgeted_agents")
    for name, runner in runners.items():
        setattr(module, name, runner)
    sys.modules[module.__name__] = module
    lines = (
        f"  - {{agent_id: {card.agent_id}, task_types: [{card.agent_id}], max_concurrency: {card.max_concurrency}, "
        f"run: '{module.__name__}:{card.agent_id}'}}"
        for card in cards
    )
    path.write_text("agents:\n" + "\n".join(lines) + "\n")
    return AgentRegistry.from_yaml(path)


def make_runner(scenario: Scenario, costs: Costs) -> Any:
    """Return what does the work in a scenario."""
    if scenario.kind == "pydantic-ai":
        return library_agent(_by_description(costs))
    if scenario.kind == "model":
        return ModelAgent(CostlyModel(_by_description(costs)))
    return Costly(costs)


def _by_description(costs: Costs) -> Any:
    """Costs of whoever knows a task by its words only."""
    return types.SimpleNamespace(
        scenario=costs.scenario, next=lambda words: costs.next(words.partition("): ")[2].partition("\n")[0])
    )


async def spend(scenario: Scenario, costs: Costs, folder: Path, seed: int) -> tuple[float, Spent]:
    """Run a scenario against its cap; return the cap, and what the run came to."""
    runner = make_runner(scenario, costs)
    runners = {f"a{number}": runner for number in range(scenario.agents)}
    plan, registry = await approve(scenario, seed, runners, folder)
    expected = sum(estimate.cost_usd for estimate in plan.estimates.values())
    cap = round(SHARE * (expected if scenario.learned else MEAN_USD * scenario.tasks), 6)
    if scenario.declared is not None and scenario.declared > 1:  # a plan that is over its budget would be refused
        cap = max(cap, expected)
    budget, outcomes, events = Budget(usd=cap), list[Outcome](), list[Event]()
    limits = ExecutionLimits(retry=RetryPolicy(max_attempts=2, first_delay_s=0.0), max_fallbacks=0)
    with SqliteLedger(":memory:") as ledger:
        journal = Journal(ledger, f"budget-{seed}", on_outcome=outcomes.append, on_event=events.append)
        journal.write("run_started", {"request": scenario.name})
        journal.write("run_planned", {"graph": plan.dag.to_dict(), "planner": "benchmark"})
        journal.write("run_routed", {"assignments": dict(plan.assignments), "explanations": {}})
        journal.write("run_approved", {"estimates": {}, "issues": []})
        ending = await Executor(registry).execute(plan, journal, budget=budget, limits=limits)
    beyond = sum(dollars_beyond(events, cap, is_zero=scenario.declared == 0))
    return cap, Spent(
        usd=budget.spent.usd,
        billed_usd=costs.billed_usd,
        beyond_usd=beyond,
        hindsight_usd=dollars_in_hindsight(events, cap),
        excess_usd=budget.overrun.usd,
        done=len(ending.outputs),
        assumed=sum(1 for one in outcomes if one.features.get("cost_assumed")),
    )


def dollars_beyond(events: Sequence[Event], cap: float, *, is_zero: bool = False) -> Iterator[float]:
    """Yield, for each attempt, the dollars with which it began beyond the cap.

    Where agents declare that they cost nothing, an attempt may begin at any time until one has cost something.
    """
    spent = 0.0
    reserved: dict[tuple[str | None, object], float] = {}
    reached: set[tuple[str | None, object]] = set()
    for event in events:
        data, only = event.data, (event.task_id, "only")
        place = (event.task_id, data.get("attempt", "only"))
        usd = float(data.get("reserved_usd", 0.0))
        if event.kind == "attempt_started" and only in reserved:  # it is told apart from here on
            reserved[place] = reserved.pop(only)
            if only in reached:
                reached.add(place)
        elif event.kind in ("task_started", "attempt_started"):
            before = spent + sum(reserved.values())
            reserved[place] = usd
            if before >= cap - LEAST_USD and not (is_zero and spent == 0):
                reached.add(place)
            else:
                yield max(0.0, before + usd - cap)
        elif event.kind in ("attempt_finished", "task_finished", "task_failed", "task_cancelled"):
            cost = float(data.get("cost_usd", 0.0))
            if place in reached and not str(data.get("reason") or "").startswith("The budget does not reach"):
                yield cost
            reserved.pop(place, None)
        spent += float(data.get("cost_usd", 0.0))


def dollars_in_hindsight(events: Sequence[Event], cap: float) -> float:
    """Return the dollars of tasks that began when what others that had begun turned out to cost had reached the cap."""
    costs: dict[str | None, float] = {}
    for event in events:
        costs[event.task_id] = costs.get(event.task_id, 0.0) + float(event.data.get("cost_usd", 0.0))
    total = beyond = 0.0
    for event in events:
        if event.kind == "task_started":
            beyond += costs[event.task_id] if total >= cap - LEAST_USD else 0.0
            total += costs[event.task_id]
    return beyond


async def spend_naively(scenario: Scenario, cap: float, seed: int) -> float:
    """Do the same tasks, each of which only looks whether the total so far is below the cap; return what was spent."""
    costs = Costs(scenario, seed)
    agent = Costly(costs)
    ready = replace(scenario, reports=True)
    costs.scenario = ready

    async def one(number: int) -> None:
        for _ in range(2):  # as often as the executor tries where a failure can pass
            if costs.billed_usd >= cap:
                return
            try:
                await agent.run(Task(task_id=f"t{number}", task_type="work"), TaskContext(run_id="r", request=""))
            except AgentFailed:
                if scenario.fails == "breaks":
                    continue
            return

    if scenario.chain:
        for number in range(scenario.tasks):
            await one(number)
    else:
        await asyncio.gather(*map(one, range(scenario.tasks)))
    return costs.billed_usd


if __name__ == "__main__":
    main()
