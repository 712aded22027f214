"""The explorer finds better agents that a bad beginning would hide, and never spends what is not there."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.agents import AgentCapability
from kapelle.allocation import Explorer
from kapelle.allocation.exploration import EVENLY
from kapelle.errors import InvalidInput
from kapelle.estimates import CostProfiler, Estimate
from kapelle.graph import Task, TaskDAG

DAG = TaskDAG([Task(task_id="t", task_type="work")])


def estimate(rate: float, *, sd: float = 0.2, cost_usd: float = 0.1, samples: int = 0) -> Estimate:
    return Estimate(
        cost_usd=cost_usd, seconds=1, success_rate=rate, tokens=0, samples=samples, source="default", success_sd=sd
    )


def work_for_days(share: float, *, days: int = 400) -> tuple[float, CostProfiler]:
    """Let two agents work, of which the better one had a bad beginning; return the successes, and what was learned."""
    truth = {"usual": 0.6, "better": 0.95}
    cards = {name: AgentCapability(agent_id=name, task_types=("work",), cost_usd=0.1) for name in truth}
    profiler, rng = CostProfiler(), random.Random(7)
    for name, worked in (("usual", [True] * 6 + [False] * 4), ("better", [False] * 2)):
        for success in worked:
            profiler.record_execution("past", name, "work", 100, 1.0, success, cost_usd=0.1)
    explorer, done = Explorer(share=share), 0
    for day in range(days):
        able = {name: profiler.estimate(card, "work") for name, card in cards.items()}
        mine = max(able, key=lambda name: able[name].success_rate)
        moves = explorer.decide(f"day {day}", DAG, {"t": mine}, {"t": able}, left_usd=math.inf).moves
        agent = moves["t"].agent if moves else mine
        success = rng.random() < truth[agent]
        done += success
        profiler.record_execution(str(day), agent, "work", 100, 1.0, success, cost_usd=0.1)
    return done / days, profiler


@pytest.mark.slow
def test_without_exploration_a_bad_beginning_lasts_and_with_it_the_better_agent_is_found() -> None:
    locked_in, _ = work_for_days(0.0)
    found, profiler = work_for_days(0.2)
    assert locked_in < 0.7
    assert found > locked_in + 0.1
    assert profiler.estimate_success_rate("better", "work") > 0.85


def test_draws_have_half_the_width_of_what_is_believed() -> None:
    able = {"a": estimate(0.6, sd=0.0), "b": estimate(0.5, sd=0.1)}
    done = [Explorer(share=1.0).decide(f"r{n}", DAG, {"t": "a"}, {"t": able}, left_usd=math.inf) for n in range(100)]
    shares = [1.0 - one.stays["t"] if one.stays else one.moves["t"].propensity for one in done]
    # The draws of b pass a's mean where a normal one lies two of its standard deviations, of 0.05, above its own.
    assert sum(shares) / len(shares) == pytest.approx((1 - EVENLY) * 0.023 + EVENLY / 2, abs=0.006)


@given(st.integers(2, 9), st.floats(0.01, 1.0), st.integers(0, 99))
def test_no_agent_is_so_bad_that_it_is_never_tried_again(size: int, share: float, seed: int) -> None:
    able = {"a": estimate(1.0, sd=0.0)} | {f"b{n}": estimate(0.0, sd=0.0) for n in range(1, size)}
    done = Explorer(share=share, seed=seed).decide("r", DAG, {"t": "a"}, {"t": able}, left_usd=math.inf)
    least = share * EVENLY / size
    if done.moves:
        assert done.moves["t"].propensity == pytest.approx(least)
    else:
        assert done.stays["t"] == pytest.approx(1 - (size - 1) * least)


def test_a_share_of_zero_changes_nothing() -> None:
    able = {"a": estimate(0.1), "b": estimate(0.9)}
    assert Explorer().decide("r", DAG, {"t": "a"}, {"t": able}, left_usd=math.inf).moves == {}


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 2)), min_size=2, max_size=5),
    st.floats(0, 3),
    st.integers(0, 999),
)
def test_moves_never_cost_more_than_is_left(agents: list[tuple[float, float, float]], left: float, seed: int) -> None:
    able = {f"a{n}": estimate(rate, sd=sd, cost_usd=cost) for n, (rate, sd, cost) in enumerate(agents)}
    dag = TaskDAG(Task(task_id=f"t{n}", task_type="work") for n in range(6))
    assigned = dict.fromkeys(dag.tasks, "a0")
    moves = (
        Explorer(share=1.0, seed=seed).decide("r", dag, assigned, dict.fromkeys(dag.tasks, able), left_usd=left).moves
    )
    assert sum(max(0.0, move.extra_cost_usd) for move in moves.values()) <= left + 1e-9
    assert all(0 < move.propensity <= 1 for move in moves.values())


@pytest.mark.parametrize("fields", [{"risk": "high"}, {"deadline_s": 9.0}])
def test_tasks_that_could_do_harm_stay(fields: dict[str, object]) -> None:
    dag = TaskDAG([Task(task_id="t", task_type="work", **fields)])  # type: ignore[arg-type]  # fields of a task
    able = {"a": estimate(0.1), "b": estimate(0.9)}
    assert Explorer(share=1.0).decide("r", dag, {"t": "a"}, {"t": able}, left_usd=math.inf).moves == {}


@pytest.mark.slow
def test_what_is_said_of_the_probability_is_what_happens() -> None:
    able, explorer = {"a": estimate(0.7, sd=0.1), "b": estimate(0.6, sd=0.2)}, Explorer(share=0.5)
    runs = [f"r{n}" for n in range(1500)]
    done = [explorer.decide(run, DAG, {"t": "a"}, {"t": able}, left_usd=math.inf) for run in runs]
    said = [one.stays["t"] for one in done if one.stays]
    assert len(said) / len(runs) == pytest.approx(sum(said) / len(said), abs=0.04)


@pytest.mark.slow
def test_what_the_budget_could_not_pay_counts_as_staying() -> None:
    able = {"a": estimate(0.5, cost_usd=0.1), "dear": estimate(0.9, cost_usd=1.0), "cheap": estimate(0.5, cost_usd=0.1)}
    explorer = Explorer(share=1.0)
    done = [explorer.decide(f"r{n}", DAG, {"t": "a"}, {"t": able}, left_usd=0.5) for n in range(1500)]
    assert {one.moves["t"].agent for one in done if one.moves} == {"cheap"}
    said = [one.stays["t"] for one in done if one.stays]
    kept = len(said) / len(done)
    assert kept == pytest.approx(sum(said) / len(said), abs=0.05)
    unbounded = [explorer.decide(f"r{n}", DAG, {"t": "a"}, {"t": able}, left_usd=math.inf) for n in range(1500)]
    assert kept > sum(bool(one.stays) for one in unbounded) / len(unbounded) + 0.1


@given(st.floats(0.01, 1), st.floats(0, 1), st.integers(0, 99))
def test_every_task_that_may_explore_has_a_known_probability(share: float, left: float, seed: int) -> None:
    able = {"a": estimate(0.4), "b": estimate(0.6, cost_usd=0.5), "c": estimate(0.5, cost_usd=0.05)}
    dag = TaskDAG(Task(task_id=f"t{n}", task_type="work") for n in range(4))
    done = Explorer(share=share, seed=seed).decide(
        "r", dag, dict.fromkeys(dag.tasks, "a"), dict.fromkeys(dag.tasks, able), left_usd=left
    )
    assert {*done.moves} | {*done.stays} == {*dag.tasks}
    assert not {*done.moves} & {*done.stays}
    assert all(1 - share - 1e-9 <= chance <= 1 for chance in done.stays.values())


def test_a_run_explores_the_same_when_it_is_repeated() -> None:
    able = {"a": estimate(0.5), "b": estimate(0.5)}
    explorer = Explorer(share=0.5)
    first = [explorer.decide(f"r{n}", DAG, {"t": "a"}, {"t": able}, left_usd=1).moves for n in range(20)]
    assert first == [explorer.decide(f"r{n}", DAG, {"t": "a"}, {"t": able}, left_usd=1).moves for n in range(20)]


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, True])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InvalidInput, match="no share of tasks"):
        Explorer(share=share)
