"""A policy buys quality where it is cheapest, and what it promises on tasks it learned from holds on others."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import InvalidInput
from kapelle.estimates import LoggedOutcome, LoggedTask
from kapelle.evaluation.curve import Curve, choose_columns
from kapelle.evaluation.policy import RoutingPolicy, look_up
from kapelle.strategies import Cascade, Check, Single
from tests.estimates.test_predictor import EASY, HARD, world

TRAIN, TEST = world(400, seed=1), world(400, seed=2)


@cache
def policy_of_train() -> RoutingPolicy:
    return RoutingPolicy.fit(TRAIN)


def mean(tasks: list[LoggedTask], agent: str) -> tuple[float, float]:
    quality, cost = look_up(Single(agent=agent), tasks)
    return float(quality.mean()), float(cost.mean())


def test_easy_tasks_go_to_the_cheap_agent_and_hard_ones_to_the_strong() -> None:
    tasks = [
        LoggedTask(task_id="e", text=f"{EASY[1]} (77)", task_type="work"),
        LoggedTask(task_id="h", text=f"{HARD[1]} (77)", task_type="work"),
    ]
    assert policy_of_train().choose(tasks, policy_of_train().point(0.97)) == [
        Single(agent="weak"),
        Single(agent="strong"),
    ]


@pytest.mark.parametrize("share", [0.9, 0.95, 0.98])
def test_the_quality_that_was_promised_is_reached_for_much_less(share: float) -> None:
    best_quality, best_cost = mean(TEST, "strong")
    reached = policy_of_train().reached(TEST, policy_of_train().point(share))
    assert reached.quality > (share - 0.03) * best_quality
    assert reached.cost_usd < 0.7 * best_cost


@pytest.mark.slow
def test_more_quality_never_costs_less() -> None:
    costs = [policy_of_train().point(share).expected_cost_usd for share in np.linspace(0.3, 1.1, 30)]
    assert costs == sorted(costs)


def test_a_quality_out_of_reach_is_the_best_there_is() -> None:
    assert policy_of_train().point(5.0).expected_quality == policy_of_train().curve.points[-1, 1]


def test_where_one_agent_is_cheapest_and_best_it_does_everything() -> None:
    tasks = [
        LoggedTask(
            task_id=str(at),
            text=f"task {at}",
            outcomes={
                "good": LoggedOutcome(quality=1.0, cost_usd=1.0),
                "bad": LoggedOutcome(quality=0.0, cost_usd=2.0),
            },
        )
        for at in range(60)
    ]
    policy = RoutingPolicy.fit(tasks)
    assert set(policy.choose(tasks, policy.point(0.95))) == {Single(agent="good")}


def test_a_strategy_competes_like_an_agent_and_everyone_asked_is_paid() -> None:
    tasks = [
        LoggedTask(
            task_id=str(at),
            text=f"question {at % 7} of {at}",
            outcomes={
                "small": LoggedOutcome(quality=float(at % 3 > 0), cost_usd=0.01, output="4" if at % 3 else ""),
                "large": LoggedOutcome(quality=1.0, cost_usd=1.0, output="4"),
            },
        )
        for at in range(200)
    ]
    cascade = Cascade(cheap="small", check=Check(kind="well_formed"), strong=Single(agent="large"))
    policy = RoutingPolicy.fit(tasks, strategies=[cascade])
    reached = policy.reached(tasks, policy.point(1.0))
    assert set(policy.choose(tasks, policy.point(1.0))) == {cascade}
    assert reached.quality == 1.0
    assert reached.cost_usd == pytest.approx(0.01 + 67 / 200, abs=0.01)


def test_too_few_tasks_or_agents_are_refused() -> None:
    with pytest.raises(InvalidInput, match="40 tasks or more"):
        RoutingPolicy.fit(TRAIN[:10])
    with pytest.raises(InvalidInput, match="nobody tried all"):
        RoutingPolicy.fit(world(100, partial=True))


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InvalidInput, match="quality_share"):
        policy_of_train().point(share)


def test_a_margin_asks_for_more_and_costs_more_and_without_one_nothing_is_added() -> None:
    policy = policy_of_train()
    plain, safe = policy.point(0.95), policy.point(0.95, margin=1.0)
    assert plain == policy.point(0.95, margin=0.0)
    assert plain.expected_quality == pytest.approx(0.95 * policy.best_quality)
    assert safe.expected_quality == pytest.approx(plain.expected_quality + plain.quality_error)
    assert safe.expected_cost_usd > plain.expected_cost_usd


@pytest.mark.parametrize("margin", [-1.0, float("nan"), float("inf")])
def test_a_margin_that_is_none_is_refused(margin: float) -> None:
    with pytest.raises(InvalidInput, match="margin"):
        policy_of_train().point(0.95, margin=margin)


def many_guesses(agents: int, *, tell_apart: bool) -> list[LoggedTask]:
    """Agents alike but for the last, which is a little better; or for each a kind of task that it alone is good at."""
    rng = np.random.default_rng(4)
    tasks = []
    for at in range(240):
        kind = int(rng.integers(agents))
        chance = [0.5] * agents
        chance[kind if tell_apart else -1] = 0.9
        outcomes = {
            f"a{n:02}": LoggedOutcome(quality=float(rng.random() < chance[n]), cost_usd=0.01) for n in range(agents)
        }
        tasks.append(LoggedTask(task_id=str(at), text=f"case {at}", task_type=f"k{kind}", outcomes=outcomes))
    return tasks


def test_with_many_agents_predictions_are_pulled_to_their_means_as_far_as_that_routes_better() -> None:
    guarded = RoutingPolicy.fit(many_guesses(20, tell_apart=False))
    test = many_guesses(20, tell_apart=False)
    assert guarded.reached(test, guarded.point(5.0)).quality == pytest.approx(mean(test, "a19")[0], abs=0.05)
    told = RoutingPolicy.fit(many_guesses(16, tell_apart=True))
    test = many_guesses(16, tell_apart=True)
    assert told.reached(test, told.point(5.0)).quality > max(mean(test, f"a{n:02}")[0] for n in range(16)) + 0.1


TABLES = st.integers(1, 40).flatmap(
    lambda n: st.tuples(*(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=n, max_size=n),) * 3)
)


@given(TABLES, st.floats(0, 1))
def test_a_curve_ascends_and_a_point_on_it_comes_to_what_it_says(
    tables: tuple[list[list[float]], ...], wanted: float
) -> None:
    predicted, quality, cost = (np.array(table) for table in tables)
    curve = Curve.draw(predicted, cost, quality, cost)
    assert (np.diff(curve.points[:, :2], axis=0) > 0).all()
    point = curve.at_quality(wanted)
    rows = np.arange(len(quality))
    ends = []
    for drawn in (0.0, 1.0):
        chosen = choose_columns(predicted, cost, point, np.full(len(quality), drawn))
        ends.append((cost[rows, chosen].mean(), quality[rows, chosen].mean()))
    mixed = (
        point.share * np.array(ends[0]) + (1 - point.share) * np.array(ends[1])
        if point.share > 0
        else np.array(ends[1])
    )
    assert mixed == pytest.approx((point.expected_cost_usd, point.expected_quality), abs=1e-9)
