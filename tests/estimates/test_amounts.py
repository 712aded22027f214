"""What was seen beats what was declared, and one odd bill does not."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.agents import AgentCapability
from kapelle.allocation import PlanEstimates
from kapelle.estimates import CostProfiler, Estimate
from kapelle.estimates.amounts import Belief, expect_amount, trust
from kapelle.graph import Task, TaskDAG
from kapelle.ledger import Outcome

RATIOS = st.one_of(st.floats(0.01, 0.5), st.floats(2.0, 100.0))
NOISES = st.sampled_from([0.0, 0.1, 0.3])
TASK = Task(task_id="t", task_type="work")


def card(declared: float) -> AgentCapability:
    return AgentCapability(agent_id="a", task_types=("work",), cost_usd=declared, seconds=declared)


def learn(amounts: list[float]) -> CostProfiler:
    profiler = CostProfiler()
    for amount in amounts:
        profiler.record_outcome(
            Outcome(run_id="r", task_id="t", task_type="work", agent="a", success=True, cost_usd=amount, seconds=amount)
        )
    return profiler


def planned(amounts: list[float], declared: float) -> Estimate:
    agent = card(declared)
    return PlanEstimates(learn(amounts), {"a": agent}, TaskDAG([TASK])).estimate(TASK, "a")


def scattered(around: float, noise: float, count: int, seed: int) -> list[float]:
    rng = random.Random(seed)
    return [around * math.exp(rng.gauss(0.0, noise)) for _ in range(count)]


def belief(declared: float) -> Belief:
    return Belief(declared, 4.0, math.log(declared), 0.36)


@given(declared=st.floats(0.001, 10.0), ratio=RATIOS, noise=NOISES, seed=st.integers(0, 1000))
def test_five_outcomes_that_contradict_a_declaration_are_believed_in_plans_and_in_the_documented_figures(
    declared: float, ratio: float, noise: float, seed: int
) -> None:
    amounts = scattered(declared * ratio, noise, 5, seed)
    known, mean = planned(amounts, declared), math.fsum(amounts) / 5
    profiler = learn(amounts)
    for found in (
        known.cost_usd,
        known.seconds,
        profiler.estimate_cost("a", "work"),
        profiler.estimate_time("a", "work"),
    ):
        assert found == pytest.approx(mean, rel=0.2)


@given(ratio=RATIOS, seed=st.integers(0, 1000))
def test_the_order_of_five_outcomes_hardly_matters(ratio: float, seed: int) -> None:
    amounts = scattered(ratio, 0.3, 5, seed)
    found = [planned(order, 1.0).cost_usd for order in (amounts, amounts[::-1], sorted(amounts))]
    assert max(found) <= 1.05 * min(found)


def test_a_cent_that_costs_thirty_is_believed_to_after_the_second_bill() -> None:
    found = [round(planned([0.3] * count, 0.01).cost_usd, 3) for count in (0, 1, 2, 5, 20)]
    assert found == [0.01, 0.068, 0.238, 0.3, 0.3]


@given(count=st.integers(2, 40), where=st.integers(0, 40), ratio=st.floats(0.01, 100.0))
def test_one_odd_bill_among_others_that_agree_leaves_the_declaration_its_weight(
    count: int, where: int, ratio: float
) -> None:
    amounts = [1.0] * count
    amounts[where % count] = ratio
    assert trust(amounts, belief(1.0), 0.5) == 1.0


@given(ratio=st.floats(0.01, 100.0))
def test_a_single_bill_counts_as_one_outcome_beside_four(ratio: float) -> None:
    assert planned([ratio], 1.0).cost_usd == pytest.approx((4.0 + ratio) / 5.0)


@given(noise=st.floats(0.0, 0.25), count=st.integers(1, 30), seed=st.integers(0, 1000))
def test_what_agrees_with_a_declaration_stays_near_it(noise: float, count: int, seed: int) -> None:
    amounts = scattered(1.0, noise, count, seed)
    assert planned(amounts, 1.0).cost_usd == pytest.approx(1.0, rel=0.35)


@given(st.lists(st.one_of(st.just(0.0), st.floats(1e-9, 1e6)), max_size=30), st.sampled_from([0.0, 1e-6, 1.0, 1e6]))
def test_an_amount_lies_in_its_interval_and_between_what_was_seen_and_what_was_believed(
    amounts: list[float], declared: float
) -> None:
    log = math.log(declared) if declared else None
    found = expect_amount(amounts, Belief(declared, 4.0, log, 0.36), 0.5)
    least, most = min([declared, *amounts]), max([declared, *amounts])
    assert least * (1 - 1e-9) <= found.mean <= most * (1 + 1e-9)
    assert 0.0 <= found.low <= found.mean <= found.high < math.inf


def test_what_was_declared_to_be_free_and_is_not_is_believed_after_five_bills() -> None:
    assert planned([0.3] * 5, 0.0).cost_usd == pytest.approx(0.3)
    assert planned([0.0] * 5, 0.3).cost_usd == pytest.approx(0.0)


def test_an_interval_leaves_the_declaration_too() -> None:
    known = planned([0.3] * 5, 0.01)
    assert known.cost_low_usd > 0.05
    assert known.cost_high_usd < 1.0


# What an agent took for other types of task


def elsewhere(amounts: list[float], *, own: Sequence[float] = ()) -> Estimate:
    profiler = CostProfiler()
    for kind, each in [*(("other", amount) for amount in amounts), *(("work", amount) for amount in own)]:
        profiler.record_execution("t", "a", kind, 0, each, True, cost_usd=each)
    return profiler.estimate(card(0.01), "work")


@given(ratio=st.floats(3.0, 100.0), noise=NOISES, seed=st.integers(0, 1000))
def test_an_agent_that_took_more_than_it_declares_is_believed_to_take_that_at_other_types(
    ratio: float, noise: float, seed: int
) -> None:
    amounts = scattered(0.01 * ratio, noise, 8, seed)
    known, mean = elsewhere(amounts), math.fsum(amounts) / 8
    assert known.cost_usd == pytest.approx(mean, rel=0.2)
    assert known.seconds == pytest.approx(mean, rel=0.2)
    assert known.cost_low_usd <= known.cost_usd <= known.cost_high_usd


def test_one_bill_elsewhere_moves_nothing_and_neither_does_an_agent_that_keeps_to_its_price() -> None:
    assert elsewhere([0.3]).cost_usd == 0.01
    assert elsewhere([0.01, 0.011, 0.009] * 5).cost_usd == pytest.approx(0.01, rel=0.001)


def test_its_own_bills_at_a_type_count_for_more_than_those_elsewhere() -> None:
    assert elsewhere([0.3] * 16, own=[0.01] * 5).cost_usd == pytest.approx(0.01, rel=0.2)


def test_what_failed_or_was_free_elsewhere_is_no_price() -> None:
    profiler = CostProfiler()
    for number in range(20):
        profiler.record_execution("t", "a", "other", 0, 0.01, number % 2 == 0, cost_usd=0.0 if number % 2 == 0 else 0.3)
    assert profiler.estimate(card(0.01), "work").cost_usd == 0.01


def test_others_are_believed_as_before() -> None:
    profiler = CostProfiler()
    for _ in range(8):
        profiler.record_execution("t", "b", "other", 0, 0.3, True, cost_usd=0.3)
    assert profiler.estimate(card(0.01), "work").cost_usd == 0.01
