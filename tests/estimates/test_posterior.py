from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.estimates.posterior import (
    ORDERED,
    Effects,
    believe_rates,
    order_interval,
    predict_log,
)


@given(
    outcomes=st.lists(st.floats(0, 1), max_size=60),
    mean=st.floats(0, 1),
    weight=st.floats(0.1, 20),
    confidence=st.floats(0.5, 0.99),
)
def test_a_lower_bound_never_lies_above_the_mean(
    outcomes: list[float], mean: float, weight: float, confidence: float
) -> None:
    right, wrong = weight * mean + math.fsum(outcomes), weight * (1 - mean) + math.fsum(1 - one for one in outcomes)
    rate = believe_rates([(right, wrong)], confidence=confidence)[0]
    assert -1e-9 <= rate.lower <= rate.mean <= 1 + 1e-9
    assert 0 <= rate.sd <= 0.5


def test_more_outcomes_of_the_same_share_raise_the_bound() -> None:
    counts = [(0.9 * (n + 2), 0.1 * (n + 2)) for n in (0, 10, 100, 1000)]
    bounds = [rate.lower for rate in believe_rates(counts, confidence=0.9)]
    assert bounds == sorted(bounds)
    assert 0.5 < bounds[0] < 0.7
    assert bounds[-1] > 0.88


@given(st.lists(st.floats(0, 1e6), min_size=ORDERED, max_size=80))
def test_an_interval_of_ordered_values_lies_within_them(values: list[float]) -> None:
    low, high = order_interval(sorted(values))
    assert min(values) <= low <= high <= max(values)


def test_intervals_of_logarithms_shrink_with_what_is_known() -> None:
    few = predict_log([0.1, -0.1], centre=0.0, centre_weight=0.5, variance=1.0, variance_weight=4)
    many = predict_log([0.1, -0.1] * 8, centre=0.0, centre_weight=0.5, variance=1.0, variance_weight=4)
    assert few[0] < many[0] < -0.1 < 0.1 < many[1] < few[1]


def test_effects_of_agents_and_types_are_told_apart_and_foretell_a_pair_that_was_never_seen() -> None:
    rng = random.Random(1)
    effects = Effects(level=0.0, level_sd=3.0, agent_sd=1.5, type_sd=1.0, pair_sd=0.5)
    agents = {name: effects.new_agent() for name in ("dear", "cheap")}
    types = {name: effects.new_type() for name in ("long", "short", "other")}
    truth = {"dear": 2.0, "cheap": -2.0, "long": 1.0, "short": -1.0, "other": 0.0}
    pairs = [(agent, kind) for agent in agents for kind in types if (agent, kind) != ("dear", "short")]
    own = {pair: effects.new_pair() for pair in pairs}
    for _ in range(300):
        agent, kind = pair = rng.choice(pairs)
        log = 5.0 + truth[agent] + truth[kind] + rng.gauss(0, 0.3)
        effects.observe_amount(agents[agent], types[kind], own[pair], log)
    assert effects.predict(agents["dear"], types["short"]).mean == pytest.approx(5.0 + 2.0 - 1.0, abs=0.5)
    assert effects.noise == pytest.approx(0.09, rel=0.5)


def test_one_absurd_amount_moves_little() -> None:
    effects = Effects(level=0.0, level_sd=3.0, agent_sd=1.5, type_sd=1.0, pair_sd=0.5)
    agent, kind, pair = effects.new_agent(), effects.new_type(), effects.new_pair()
    for _ in range(50):
        effects.observe_amount(agent, kind, pair, 0.0)
    before = effects.predict(agent, kind).mean
    effects.observe_amount(agent, kind, pair, 30.0)
    assert abs(effects.predict(agent, kind).mean - before) < 0.5
