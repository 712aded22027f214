"""What is kept of outcomes is bounded by pairs, the least recently used go, and totals and answers outlive them."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from kapelle.agents import AgentCapability
from kapelle.estimates import CostProfiler, experience
from tests.estimates.test_correctness import Words, card, judged

MOST = 20


@pytest.fixture(autouse=True)
def few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experience, "MAX_PAIRS", MOST)


def names(count: int) -> Iterator[tuple[str, str]]:
    """Names that come once, and between them a pair that works on."""
    for number in range(count):
        yield ("steady", "work") if number % 4 == 0 else (f"a{number}", f"t{number % 50}")


def test_pairs_that_work_on_stay_and_those_that_came_once_go() -> None:
    profiler = CostProfiler()
    for agent, kind in names(400):
        profiler.record_outcome(judged(1.0, agent=agent, kind=kind))
        known = profiler._experience
        assert len(known.histories) <= MOST
        assert {agent for agent, _ in known.histories} == set(known.agents)
        assert {kind for _, kind in known.histories} == set(known.types)
    steady, once = profiler.get_profile("steady", "work"), profiler.get_profile("a1", "t1")
    assert steady is not None
    assert steady.total_executions == 100
    assert once is None


def test_totals_count_what_was_forgotten_too() -> None:
    profiler = CostProfiler()
    for number, (agent, kind) in enumerate(names(400)):
        profiler.record_execution("t", agent, kind, 100, 1.0, number % 8 > 0, cost_usd=0.25)
    told = profiler.get_statistics()
    assert (told["total_executions"], told["total_cost_usd"], told["success_rate"]) == (400, 100.0, 0.875)


def test_an_agent_that_was_forgotten_is_as_new() -> None:
    profiler = CostProfiler()
    for _ in range(30):
        profiler.record_execution("t", "once", "work", 100, 1.0, False, cost_usd=2.0)
    failed = profiler.estimate(card("once"), "work")
    for agent, kind in names(400):
        profiler.record_outcome(judged(1.0, agent=agent, kind=kind))
    assert failed.success_rate < 0.2
    assert profiler.estimate(card("once"), "work") == profiler.estimate(card("new"), "work")
    assert profiler.explain(card("once"), "work") == profiler.explain(card("new"), "work")


@pytest.mark.parametrize("words", [None, Words()], ids=["no words", "words"])
def test_what_is_forgotten_does_not_hang_on_who_asked(words: Words | None) -> None:
    asked, unasked, rng = CostProfiler(words), CostProfiler(words), random.Random(1)
    agents = [card("steady"), card("a3"), AgentCapability(agent_id="a399", task_types=("*",), cost_usd=0.5)]
    tasks = [("work", 1.0, "how long?"), ("t49", 1.0, ""), ("new", 2.0, "")]
    for number, (agent, kind) in enumerate(names(400)):
        outcome = judged(float(rng.random() < 0.7), agent=agent, kind=kind, at=10.0 + number, text=f"name {number}")
        asked.record_outcome(outcome)
        unasked.record_outcome(outcome)
        if number % 7 == 0:
            asked.estimate_all(agents, tasks)
    for found, wanted in zip(asked.estimate_all(agents, tasks), unasked.estimate_all(agents, tasks), strict=True):
        assert [one.success_rate for one in found] == pytest.approx([one.success_rate for one in wanted], abs=1e-9)
        assert [one.success_lower for one in found] == pytest.approx([one.success_lower for one in wanted], abs=1e-6)
        assert [one.cost_usd for one in found] == [one.cost_usd for one in wanted]
