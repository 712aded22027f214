"""How well estimates foretell what was not learned from, how soon they follow a change, and what they take.

    python -m bench.estimates [--data FILE ...] [--seeds N] [--json]        FILE as in recorded routing data

calibration   Of each recorded set a third is held out (1,500 rows at most); of 10 to 10,000 of the other rows, drawn
              again where there are not so many, each is tried by one agent, drawn by chance, as a ledger would have it.
              `loss` is the mean log loss of the expected success of every held-out row with every agent, `cell` that of
              the held-out mean of each pair itself, which nobody can know. `held` is the share of lower bounds at 90 %
              that the pair's held-out mean reaches, and `interval_success` of those means that lie between the bounds
              (two standard deviations) that condemn or spare an agent, among pairs with 60 held-out rows or more; that
              mean is itself uncertain by about 0.06. `interval` is the share of held-out costs within their 90 %
              interval, `cost` the mean absolute error of the logarithm of the expected cost.
drift         An agent that was right in 85 of 100 cases is right in 55 from then on, or the other way round: outcomes
              until what is expected is nearer to the new share than to the old one (`..._near`: within 10 points of the
              new one), the median over the seeds. `after` is how many outcomes came before.
declared      A task that is declared at a cent and costs 30: what is believed after so many bills.
alarms        Changes that are noticed in a thousand outcomes of an agent that does not change, by how often it is
              right.
us            Microseconds of processor time per estimate: of 50 agents at a thousand tasks of 20 types in one call, of
              300 agents at a task of each of 100 types (`estimate_all_apart`: no two alike), and of each pair alone.
              Per outcome that is learned: alone, with what is solved for the next question (`update_and_solve`), and
              with a question after each, or after ten.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.recorded import BadData, find_any_recorded
from kapelle.agents import AgentCapability
from kapelle.errors import KapelleError
from kapelle.estimates import CostProfiler
from kapelle.ledger import Outcome

SETS = ("llmrouter", "mmlu", "bfcl")
HELD_OUT = 1500
COUNTS = (10, 30, 100, 300, 1000, 10_000)
DECLARED = 0.85
KNOWN = (60, 200)
"""Outcomes before a change."""
STABLE = (0.55, 0.7, 0.85, 0.95)
"""How often an agent that does not change is right."""
PAIRED = 60
"""Held-out rows from which on a pair's mean is compared with bounds."""

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file of recorded outcomes."""
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as lines:
            rows: list[Row] = [json.loads(line) for line in lines]
        if len(rows) < PAIRED or len({frozenset(row["outcomes"]) for row in rows}) != 1:
            raise BadData(f"{path}: {PAIRED} rows or more are needed, all with the same agents.")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(f"{path}: {error!r:.200}") from error
    return rows


def default_files() -> list[Path]:
    """Return the recorded routing data that is at hand."""
    return find_any_recorded(*(f"{name}.jsonl.gz" for name in SETS), inside="routing")


def card(agent: str) -> AgentCapability:
    """Return the card of an agent that declares nothing."""
    return AgentCapability(agent_id=agent, task_types=("*",), success_rate=DECLARED)


def kind_of(row: Row) -> str:
    """Return a row's type of task; all are one where the set tells none apart."""
    return str(row.get("task_type") or row.get("category") or "task")


def outcome_of(row: Row, agent: str) -> Outcome:
    """Return what a ledger would hold of a row that one agent tried."""
    found = row["outcomes"][agent]
    return Outcome(
        run_id="bench",
        task_id=str(row["id"]),
        task_type=kind_of(row),
        agent=agent,
        success=found["quality"] >= 0.5,
        quality=found["quality"],
        cost_usd=found["cost_usd"],
    )


def log_loss(chance: float, value: float) -> float:
    """Return the log loss of a chance; certainty is taken for 0.999."""
    chance = min(max(chance, 1e-3), 1 - 1e-3)
    return -(value * math.log(chance) + (1 - value) * math.log(1 - chance))


# Calibration


def judge(rows: Sequence[Row], count: int, seed: int) -> dict[str, float]:
    """Learn from `count` rows, and return how well the held-out ones are foretold."""
    rng = random.Random(seed)
    rows = rng.sample(list(rows), len(rows))
    split = min(HELD_OUT, len(rows) // 3)
    held_out, pool = rows[:split], rows[split:]
    agents = sorted(rows[0]["outcomes"])
    profiler = CostProfiler()
    for row in pool[:count] if count <= len(pool) else rng.choices(pool, k=count):
        profiler.record_outcome(outcome_of(row, rng.choice(agents)))
    pairs: dict[tuple[str, str], list[Outcome]] = {}
    for row in held_out:
        for agent in agents:
            pairs.setdefault((agent, kind_of(row)), []).append(outcome_of(row, agent))
    sums = dict.fromkeys(("loss", "cell", "interval", "cost"), 0.0)
    held: list[bool] = []
    between: list[bool] = []
    for (agent, kind), outcomes in pairs.items():
        estimate = profiler.estimate(card(agent), kind)
        mean = sum(one.quality or 0.0 for one in outcomes) / len(outcomes)
        for one in outcomes:
            sums["loss"] += log_loss(estimate.success_rate, one.quality or 0.0)
            sums["cell"] += log_loss(mean, one.quality or 0.0)
            sums["interval"] += estimate.cost_low_usd <= one.cost_usd <= estimate.cost_high_usd
            sums["cost"] += abs(math.log(max(estimate.cost_usd, 1e-9) / max(one.cost_usd, 1e-9)))
        if len(outcomes) >= PAIRED:
            held.append(mean >= estimate.success_lower)
            between.append(estimate.success_bounds[0] <= mean <= estimate.success_bounds[1])
    total = sum(map(len, pairs.values()))
    return {name: value / total for name, value in sums.items()} | {
        "held": sum(held) / len(held) if held else math.nan,
        "interval_success": sum(between) / len(between) if between else math.nan,
    }


def calibrate(rows: Sequence[Row], seeds: int) -> dict[int, dict[str, float]]:
    """Return the mean figures over the seeds, by outcomes that were learned from."""
    found = {}
    for count in COUNTS:
        results = [judge(rows, count, seed) for seed in range(seeds)]
        found[count] = {name: _mean([one[name] for one in results]) for name in results[0]}
    return found


def _mean(values: Sequence[float]) -> float:
    """Return the mean of those that are known."""
    known = [value for value in values if not math.isnan(value)]
    return round(statistics.fmean(known), 4) if known else 0.0


# Changes


def follow(before: float, after: float, known: int, within: float, seed: int) -> int:
    """Return how many outcomes it takes until what is expected is as near as this; 1,000 where it never is."""
    rng, profiler, agent = random.Random(seed), CostProfiler(), card("a")

    def attempt(share: float) -> None:
        right = rng.random() < share
        profiler.record_outcome(
            Outcome(run_id="r", task_id="t", task_type="work", agent="a", success=right, quality=float(right))
        )

    for _ in range(known):
        attempt(before)
    for number in range(1, 1000):
        attempt(after)
        if abs(profiler.estimate(agent, "work").success_rate - after) <= within:
            return number
    return 1000


def measure_drift(seeds: int) -> dict[str, float]:
    """Return the median outcomes until a change is followed, by its direction and what was known before."""
    return {
        f"{name}_after_{known}{suffix}": statistics.median(
            follow(before, after, known, within, seed) for seed in range(40 * seeds)
        )
        for known in KNOWN
        for name, before, after in (("fall", 0.85, 0.55), ("rise", 0.55, 0.85))
        for suffix, within in (("", 0.15), ("_near", 0.1))
    }


def measure_alarms(seeds: int) -> dict[float, float]:
    """Return the changes noticed in a thousand outcomes where there is none, by how often the agent is right."""
    found = {}
    for share in STABLE:
        alarms = 0
        for seed in range(10 * seeds):
            rng, profiler = random.Random(seed), CostProfiler()
            for _ in range(1000):
                profiler.record_execution("t", "a", "work", 0, 0.0, rng.random() < share, cost_usd=0.0)
            alarms += len(profiler.get_statistics()["drifts"])
        found[share] = round(alarms / (10 * seeds), 3)
    return found


def measure_declared() -> dict[int, float]:
    """Return what is believed of a task that is declared at $0.01 and costs $0.30, by bills."""
    agent = AgentCapability(agent_id="a", task_types=("work",), cost_usd=0.01)
    found = {}
    profiler = CostProfiler()
    for bills in range(21):
        if bills in (0, 1, 2, 3, 5, 20):
            found[bills] = round(profiler.estimate(agent, "work").cost_usd, 4)
        profiler.record_execution("t", "a", "work", 100, 1.0, True, cost_usd=0.3)
    return found


# What it takes


def _world(
    rng: random.Random, agents: int, kinds: int, outcomes: int
) -> tuple[list[AgentCapability], list[str], list[Outcome]]:
    """Return agents, types, and outcomes of these."""
    cards, types = [card(f"a{number}") for number in range(agents)], [f"t{number}" for number in range(kinds)]
    rows = [
        Outcome(
            run_id="r",
            task_id="t",
            task_type=rng.choice(types),
            agent=rng.choice(cards).agent_id,
            success=True,
            quality=float(rng.random() < 0.8),
            cost_usd=rng.random(),
            seconds=rng.random(),
        )
        for _ in range(outcomes)
    ]
    return cards, types, rows


def measure_time() -> dict[str, float]:
    """Return microseconds, the least of five measurements each."""
    rng = random.Random(1)
    agents, kinds, rows = _world(rng, 50, 20, 5000)
    tasks = [(rng.choice(kinds), round(rng.uniform(0.5, 3.0), 1), "") for _ in range(1000)]
    profiler = CostProfiler.from_outcomes(rows)

    def estimate_all() -> None:
        profiler.record_outcome(rows[0])  # so that nothing is remembered
        if hasattr(profiler, "estimate_all"):
            profiler.estimate_all(agents, tasks)
        else:
            for kind, complexity, text in tasks:
                for agent in agents:
                    profiler.estimate(agent, kind, complexity, text=text)

    def estimate_pairs() -> None:
        """Of each agent at each type: what nothing alike was estimated for."""
        profiler.record_outcome(rows[0])
        for kind in kinds:
            for agent in agents:
                profiler.estimate(agent, kind)

    many, types, more = _world(rng, 300, 100, 20_000)
    large = CostProfiler.from_outcomes(more)

    def estimate_all_apart() -> None:
        large.record_outcome(more[0])
        if hasattr(large, "estimate_all"):
            large.estimate_all(many, [(kind, 1.0, "") for kind in types])
        else:
            for kind in types:
                for agent in many:
                    large.estimate(agent, kind)

    def learn(outcomes: Sequence[Outcome], asked_every: int) -> Callable[[], None]:
        def run() -> None:
            for number, row in enumerate(outcomes):
                profiler.record_outcome(row)
                if number % asked_every == asked_every - 1:
                    profiler.estimate(agents[0], kinds[0])

        return run

    first = rows[:200]
    unjudged = [replace(row, quality=None) for row in first]  # they leave the belief of how right agents are as it is
    found = {
        "estimate": _least(estimate_all, len(tasks) * len(agents)),
        "estimate_all_apart": _least(estimate_all_apart, len(many) * len(types)),
        "estimate_alone": _least(estimate_pairs, len(agents) * len(kinds)),
        "update": _least(learn(first, 1000), 200),
        "update_and_ask": _least(learn(first, 1), 200),
        "update_and_ask_in_tens": _least(learn(first, 10), 200),
        "read": _least(lambda: CostProfiler.from_outcomes(rows), len(rows)),
    }
    asked = _least(learn(unjudged, 1), 200) - _least(learn(unjudged, 1000), 200)
    return found | {"update_and_solve": round(found["update_and_ask"] - asked, 2)}


def _least(run: Callable[[], object], count: int) -> float:
    found = []
    for _ in range(5):
        began = time.process_time()
        run()
        found.append((time.process_time() - began) / count)
    return round(min(found) * 1e6, 2)


def main() -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.estimates", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, nargs="+", help="files of recorded outcomes; by default all three sets")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    seeds = max(options.seeds, 1)
    try:
        calibration = {
            path.name.partition(".")[0]: calibrate(read_rows(path), seeds) for path in options.data or default_files()
        }
    except (BadData, KapelleError) as error:
        print(error, file=sys.stderr)
        return 2
    for name, figures in calibration.items():
        print(f"{name:10} {'outcomes':>9}" + "".join(f"{title:>18}" for title in figures[COUNTS[0]]))
        for count, row in figures.items():
            print(f"{'':10} {count:>9,}" + "".join(f"{value:>18.4f}" for value in row.values()))
    found: dict[str, dict[Any, Any]] = {
        "calibration": calibration,
        "drift": measure_drift(seeds),
        "alarms": measure_alarms(seeds),
        "declared": measure_declared(),
        "us": measure_time(),
    }
    for part in ("drift", "alarms", "declared", "us"):
        print(f"{part}: " + ", ".join(f"{name} {value:g}" for name, value in found[part].items()))
    if options.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
