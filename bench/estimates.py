"""How well estimates foretell what was not learned from: rates of success, costs, and whether 90 % intervals hold 90 %.

    python -m bench.estimates [--data FILE] [--seeds N] [--json]        FILE as in shared/data/routing

Rows are shuffled; 1,500 are held out, and of so many others each is tried by one agent, drawn by chance, as a ledger
would have it. `loss` is the mean log loss of the expected success of every held-out row with every agent; `plain` is
the estimator that was replaced (0.85 as four outcomes, half the last ten and half all of them), `cell` the held-out
mean of each pair itself, which nobody can know. `held` is the share of lower bounds at 90 % that the pair's held-out
mean reaches (pairs with 60 held-out rows or more; that mean is itself uncertain by about 0.06, so that fewer than 90 %
of true bounds would be seen to hold). `cost` is the mean absolute error of the logarithm of the expected cost. `cold`
are agents that were never seen, one after the other. `interval` foretells every row's cost before it is learned.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kapelle.agents import AgentCapability
from kapelle.errors import KapelleError
from kapelle.estimates import CostProfiler
from kapelle.ledger import Outcome

FOLDERS = (Path("../shared/data"), Path(__file__).parent.parent.parent / "shared" / "data")
HELD_OUT = 1500
COUNTS = (30, 100, 300, 1000, 3000)
DECLARED = 0.85

Row = dict[str, Any]


class BadData(Exception):
    """A file is missing or malformed; the message is one line."""


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file of recorded outcomes."""
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as lines:
            rows: list[Row] = [json.loads(line) for line in lines]
        if len(rows) <= HELD_OUT or len({frozenset(row["outcomes"]) for row in rows}) != 1:
            raise BadData(f"{path}: more than {HELD_OUT} rows are needed, all with the same agents.")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(f"{path}: {error!r:.200}") from error
    return rows


def default_file() -> Path:
    """Return the recorded routing data that is at hand."""
    folders = (Path(os.environ["KAPELLE_BENCH_DATA"]),) if "KAPELLE_BENCH_DATA" in os.environ else FOLDERS
    for folder in folders:
        if (path := folder / "routing" / "llmrouter.jsonl.gz").is_file():
            return path
    raise BadData("There is no routing data at hand. Name a file with --data, or its folder with KAPELLE_BENCH_DATA.")


def card(agent: str) -> AgentCapability:
    """Return the card of an agent that declares nothing."""
    return AgentCapability(agent_id=agent, task_types=("*",), success_rate=DECLARED)


def outcome_of(row: Row, agent: str) -> Outcome:
    """Return what a ledger would hold of a row that one agent tried."""
    found = row["outcomes"][agent]
    return Outcome(
        run_id="bench",
        task_id=str(row["id"]),
        task_type=row["task_type"],
        agent=agent,
        success=found["quality"] >= 0.5,
        quality=found["quality"],
        cost_usd=found["cost_usd"],
    )


def plain_rate(seen: Sequence[float]) -> float:
    """Return what the estimator that was replaced expects."""
    if not seen:
        return DECLARED
    recent = seen[-10:]
    return (4 * DECLARED + len(seen) * (sum(seen) / len(seen) + sum(recent) / len(recent)) / 2) / (4 + len(seen))


def log_loss(chance: float, value: float) -> float:
    """Return the log loss of a chance; certainty is taken for 0.999."""
    chance = min(max(chance, 1e-3), 1 - 1e-3)
    return -(value * math.log(chance) + (1 - value) * math.log(1 - chance))


def judge(rows: Sequence[Row], count: int, seed: int, cold: str | None = None) -> dict[str, float]:
    """Learn from `count` rows, and return how well the held-out ones are foretold."""
    rng = random.Random(seed)
    rows = rng.sample(list(rows), len(rows))
    held_out, pool = rows[:HELD_OUT], rows[HELD_OUT:]
    agents = sorted(rows[0]["outcomes"])
    profiler = CostProfiler()
    seen: dict[tuple[str, str], list[Outcome]] = {}
    for row in pool[:count] if count <= len(pool) else rng.choices(pool, k=count):
        outcome = outcome_of(row, rng.choice([agent for agent in agents if agent != cold]))
        profiler.record_outcome(outcome)
        seen.setdefault((outcome.agent, outcome.task_type), []).append(outcome)
    pairs: dict[tuple[str, str], list[Outcome]] = {}
    for row in held_out:
        for agent in [cold] if cold else agents:
            pairs.setdefault((agent, row["task_type"]), []).append(outcome_of(row, agent))
    sums = dict.fromkeys(("loss", "plain", "cell", "cost", "plain_cost"), 0.0)
    held: list[bool] = []
    for (agent, kind), outcomes in pairs.items():
        estimate = profiler.estimate(card(agent), kind)
        known = seen.get((agent, kind), [])
        plain = plain_rate([one.quality or 0.0 for one in known])
        recent = [one.cost_usd for one in known[-10:]]
        plain_usd = sum(recent) / len(recent) if recent else profiler.estimate_cost(agent, kind)
        mean = sum(one.quality or 0.0 for one in outcomes) / len(outcomes)
        for one in outcomes:
            sums["loss"] += log_loss(estimate.success_rate, one.quality or 0.0)
            sums["plain"] += log_loss(plain, one.quality or 0.0)
            sums["cell"] += log_loss(mean, one.quality or 0.0)
            sums["cost"] += abs(math.log(max(estimate.cost_usd, 1e-9) / max(one.cost_usd, 1e-9)))
            sums["plain_cost"] += abs(math.log(max(plain_usd, 1e-9) / max(one.cost_usd, 1e-9)))
        if len(outcomes) >= 60:
            held.append(mean >= estimate.success_lower)
    total = sum(map(len, pairs.values()))
    return {name: value / total for name, value in sums.items()} | {"held": sum(held) / max(len(held), 1)}


def foretell(rows: Sequence[Row], seed: int) -> dict[str, list[int]]:
    """Return, by outcomes of the pair so far, how many costs lay within their interval, and of how many."""
    rng = random.Random(seed)
    profiler = CostProfiler()
    hits: dict[str, list[int]] = {"0": [0, 0], "1-3": [0, 0], "4-18": [0, 0], "19+": [0, 0], "all": [0, 0]}
    for row in rng.sample(list(rows), len(rows)):
        outcome = outcome_of(row, rng.choice(sorted(row["outcomes"])))
        estimate = profiler.estimate(card(outcome.agent), outcome.task_type)
        n = estimate.samples
        for name in ("0" if not n else "1-3" if n < 4 else "4-18" if n < 19 else "19+", "all"):
            hits[name][0] += estimate.cost_low_usd <= outcome.cost_usd <= estimate.cost_high_usd
            hits[name][1] += 1
        profiler.record_outcome(outcome)
    return hits


def measure(rows: Sequence[Row], seeds: int) -> dict[str, Any]:
    """Return every figure."""

    def mean(results: Sequence[dict[str, float]]) -> dict[str, float]:
        return {name: round(sum(result[name] for result in results) / len(results), 4) for name in results[0]}

    hits = [foretell(rows, seed) for seed in range(seeds)]
    return {
        "known": {count: mean([judge(rows, count, seed) for seed in range(seeds)]) for count in COUNTS},
        "cold": {
            count: mean([judge(rows, count, seed, agent) for seed, agent in enumerate(sorted(rows[0]["outcomes"]))])
            for count in COUNTS
        },
        "interval": {
            name: round(sum(one[name][0] for one in hits) / max(sum(one[name][1] for one in hits), 1), 4)
            for name in hits[0]
        },
    }


def main() -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.estimates", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        figures = measure(read_rows(options.data or default_file()), max(options.seeds, 1))
    except (BadData, KapelleError) as error:
        print(error, file=sys.stderr)
        return 2
    for part in ("known", "cold"):
        print(f"{part:6} {'outcomes':>9}" + "".join(f"{name:>12}" for name in figures[part][COUNTS[0]]))
        for count, row in figures[part].items():
            print(f"{'':6} {count:>9,}" + "".join(f"{value:>12.4f}" for value in row.values()))
    print("90 % intervals of cost hold: " + ", ".join(f"{share:.1%} ({n})" for n, share in figures["interval"].items()))
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
