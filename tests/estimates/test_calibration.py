"""Ninety percent means ninety percent: intervals and bounds against outcomes that were not learned from.

Every outcome is foretold before it is learned, in worlds whose agents, types and pairs differ by factors, so that most
pairs have few outcomes; `kapelle.estimates.experience` and the profiler are tested together.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from kapelle.agents import AgentCapability
from kapelle.estimates import CostProfiler
from kapelle.estimates.quantiles import expit
from kapelle.ledger import Outcome

DISTRIBUTIONS: dict[str, Callable[[random.Random], float]] = {
    "log-normal": lambda rng: rng.lognormvariate(0, 0.5),
    "heavy log-normal": lambda rng: rng.lognormvariate(0, 2),
    "gamma": lambda rng: rng.gammavariate(2, 0.5),
    "exponential": lambda rng: rng.expovariate(1),
    "Pareto": lambda rng: rng.paretovariate(1.5),
    "uniform": lambda rng: rng.uniform(0.2, 1.8),
    # The shape of recorded costs: a price per token, prompts of very different lengths, answers of one length.
    "prompt and answer": lambda rng: 0.25 * min(rng.lognormvariate(5.5, 0.8), 4000) + 150,
}
AGENTS, TYPES = 6, 8


def card(agent: object) -> AgentCapability:
    return AgentCapability(agent_id=f"a{agent}", task_types=("*",), cost_tier="medium")


def outcome(agent: object, kind: object, *, success: bool = True, cost: float = 0.0, seconds: float = 0.0) -> Outcome:
    return Outcome(
        run_id="r",
        task_id="t",
        task_type=f"t{kind}",
        agent=f"a{agent}",
        success=success,
        quality=float(success),
        cost_usd=cost,
        seconds=seconds,
    )


def attempts(draw: Callable[[random.Random], float], seed: int) -> Iterator[Outcome]:
    rng = random.Random(seed)
    agents = [rng.lognormvariate(-5, 1.2) for _ in range(AGENTS)]
    types = [rng.lognormvariate(0, 0.8) for _ in range(TYPES)]
    for _ in range(1200):
        agent, kind = rng.randrange(AGENTS), int(TYPES * rng.random() ** 2)
        scale = agents[agent] * types[kind]
        yield outcome(agent, kind, cost=scale * draw(rng), seconds=1000 * scale * draw(rng))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_intervals_of_cost_and_time_hold_ninety_percent_of_what_comes_next(name: str) -> None:
    inside: dict[str, list[bool]] = {"cost": [], "seconds": [], "few": []}
    profiler = CostProfiler()
    for one in attempts(DISTRIBUTIONS[name], seed=1):
        estimate = profiler.estimate(card(one.agent[1:]), one.task_type)
        cost = estimate.cost_low_usd <= one.cost_usd <= estimate.cost_high_usd
        seconds = estimate.seconds_low <= one.seconds <= estimate.seconds_high
        inside["cost"].append(cost)
        inside["seconds"].append(seconds)
        if estimate.samples < 19:
            inside["few"] += [cost, seconds]
        profiler.record_outcome(one)
    shares = {kind: sum(hits) / len(hits) for kind, hits in inside.items()}
    assert all(0.85 <= share <= 0.95 for share in shares.values()), shares


def chances(rng: random.Random) -> dict[tuple[int, int], float]:
    agents = [rng.gauss(0, 0.8) for _ in range(AGENTS)]
    types = [rng.gauss(0, 1.0) for _ in range(TYPES)]
    return {(a, t): expit(1 + agents[a] + types[t] + rng.gauss(0, 0.7)) for a in range(AGENTS) for t in range(TYPES)}


@pytest.mark.parametrize("count", [30, 300, 1500])
def test_nine_of_ten_lower_bounds_of_success_hold(count: int) -> None:
    held = []
    for seed in range(6):
        rng = random.Random(seed)
        truth = chances(rng)
        profiler = CostProfiler(confidence=0.9)
        for agent, kind in rng.choices(list(truth), k=count):
            profiler.record_outcome(outcome(agent, kind, success=rng.random() < truth[agent, kind]))
        held += [
            chance >= profiler.estimate(card(agent), f"t{kind}").success_lower
            for (agent, kind), chance in truth.items()
        ]
    assert 0.87 <= sum(held) / len(held) <= 0.97


def test_a_few_right_answers_elsewhere_prove_little() -> None:
    profiler = CostProfiler()
    for kind in range(5):
        profiler.record_outcome(outcome(1, kind))
    elsewhere, there = profiler.estimate(card(1), "new"), profiler.estimate(card(1), "t0")
    assert elsewhere.success_rate > 0.9
    assert elsewhere.success_lower < there.success_lower < 0.7
    untried = profiler.estimate(card(2), "new")
    assert (untried.success_rate, round(untried.success_lower, 2)) == (0.85, 0.53)  # what it declares, as before


def test_an_agent_that_declares_certainty_and_was_right_is_not_certain() -> None:
    profiler, sure = CostProfiler(), AgentCapability(agent_id="a1", task_types=("*",), success_rate=1.0)
    for count in range(1, 30):
        profiler.record_outcome(outcome(1, 1))
        found = profiler.estimate(sure, "t1")
        assert found.success_lower < 1.0
        assert 0.002 < found.success_sd < 1.0 / count


@pytest.mark.slow
def test_of_tasks_foretold_to_succeed_so_often_so_many_do() -> None:
    bins: dict[int, list[tuple[float, bool]]] = {}
    for seed in range(4):
        rng = random.Random(seed)
        truth = chances(rng)
        profiler = CostProfiler()
        for number, (agent, kind) in enumerate(rng.choices(list(truth), k=1500)):
            success = rng.random() < truth[agent, kind]
            if number >= 150:
                foretold = profiler.estimate(card(agent), f"t{kind}").success_rate
                bins.setdefault(int(foretold * 5), []).append((foretold, success))
            profiler.record_outcome(outcome(agent, kind, success=success))
    for pairs in bins.values():
        if len(pairs) >= 200:
            assert sum(f for f, _ in pairs) / len(pairs) == pytest.approx(
                sum(s for _, s in pairs) / len(pairs), abs=0.06
            )


def test_a_pair_that_was_never_tried_is_told_from_its_agent_and_its_type() -> None:
    profiler = CostProfiler()
    pairs = [(1, 1, 0.9), (1, 2, 0.5), (2, 1, 0.5), (3, 1, 0.9), (3, 2, 0.5)]
    for number in range(40):
        for agent, kind, share in pairs:
            profiler.record_outcome(outcome(agent, kind, success=number % 10 < share * 10, cost=0.01 * agent))
    weak, strong = profiler.estimate(card(2), "t2"), profiler.estimate(card(1), "t2")
    assert weak.success_rate < strong.success_rate < 0.55
    assert weak.success_sd > strong.success_sd
    assert (weak.samples, weak.source) == (0, "default")
    assert weak.cost_usd == pytest.approx(0.02, rel=0.3)
