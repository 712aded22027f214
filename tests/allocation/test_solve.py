"""What plans too large for brute force must still hold: limits kept, bounds true, answers the same every time."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.allocation import lagrangian, mip
from kapelle.allocation.assignment import (
    Assignment,
    AssignmentProblem,
    Candidate,
    Limits,
    TaskChoices,
    fastest_choice,
    reduce_problem,
)
from kapelle.allocation.branch import branch
from kapelle.allocation.infeasible import explain_infeasible
from kapelle.allocation.lagrangian import search
from kapelle.allocation.solve import Solution, solve
from kapelle.allocation.tables import ProblemArrays, Timetable


def draw_problem(seed: int, tasks: int, agents: int = 6, **limits: object) -> AssignmentProblem:
    """Return a problem whose dearer agents are better and faster, some of its candidates strategies of two agents."""
    rng = random.Random(seed)
    levels = [rng.random() for _ in range(agents)]
    slots = []
    for number in range(tasks):
        candidates = []
        for agent, level in enumerate(levels):
            candidates.append(
                Candidate(
                    agent=f"a{agent}",
                    cost=20 ** (level * rng.uniform(0.7, 1.3)),
                    seconds=10 * 0.2 ** (level * rng.uniform(0.2, 1.2)),
                    quality=min(1.0, 0.6 + 0.4 * level * rng.uniform(0.6, 1.2)),
                    uses=(f"a{agent}", f"a{(agent + 1) % agents}") if rng.random() < 0.3 else (),
                )
            )
        before = tuple(sorted(rng.sample(range(number), min(number, rng.choice((0, 1, 2))))))
        slots.append(TaskChoices(candidates=tuple(candidates), before=before))
    return AssignmentProblem(slots=tuple(slots), limits=Limits(**limits))  # type: ignore[arg-type]  # fields of Limits


def draw_tight_problem(seed: int, tasks: int, agents: int = 6) -> AssignmentProblem:
    free = draw_problem(seed, tasks, agents)
    places = {f"a{agent}": 2 + 3 * tasks // agents for agent in range(agents)}
    fastest = free.totals(fastest_choice(free)).seconds
    return replace(free, limits=Limits(max_seconds=1.6 * fastest, min_quality=0.8, capacity=places))


def solve_whole(problem: AssignmentProblem) -> tuple[str, Assignment | None]:
    tables = ProblemArrays(problem)
    result = mip.minimize(tables, tables.exists, limits=problem.limits, time_limit_s=20.0)
    return result.status, result.choice


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tasks", [12, 30, 60])
def test_plans_of_all_sizes_cost_what_the_whole_model_says(seed: int, tasks: int) -> None:
    problem = draw_tight_problem(seed, tasks)
    status, best = solve_whole(problem)
    solution = solve(problem, time_limit_s=20.0, gap=1e-6)
    if best is None:
        assert (status, solution.status) == ("infeasible", "infeasible")
        return
    assert solution.status == "optimal"
    assert problem.allows(solution.choice)
    cost = problem.totals(best).cost
    assert problem.totals(solution.choice).cost == pytest.approx(cost, rel=3e-6)
    assert solution.lower_bound <= cost * (1 + 1e-9)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 25))
def test_the_lower_bounds_of_all_solvers_are_true(seed: int, tasks: int) -> None:
    problem = draw_tight_problem(seed, tasks)
    tables = ProblemArrays(problem)
    alive = tables.useful()
    found = search(tables, alive)
    branched = branch(problem, reduce_problem(problem).kept, nodes=300)
    prices = mip.relax(
        tables,
        alive,
        found.prices,
        limits=problem.limits,
        start=found.choice,
        precision=1e-6,
        remaining=lambda: 20.0,
    )
    _, best = solve_whole(problem)
    if best is None:
        return
    cost = problem.totals(best).cost * (1 + 1e-7)
    assert found.bound <= cost
    assert branched.bound <= cost
    assert prices.bound(tables, prices.reduced(tables, alive)) <= cost
    for choice in (found.choice, branched.choice):
        assert choice is None or problem.allows(choice)


def test_a_search_that_ends_before_its_node_limit_finds_the_least_cost() -> None:
    for seed in range(20):
        problem = draw_tight_problem(seed, 8)
        branched = branch(problem, reduce_problem(problem).kept, nodes=10**6)
        assert branched.exhausted
        status, best = solve_whole(problem)
        assert (branched.choice is None) == (status == "infeasible")
        if best is not None and branched.choice is not None:
            assert problem.totals(branched.choice).cost == pytest.approx(problem.totals(best).cost)


@pytest.mark.parametrize("tasks", [10, 40, 150])
def test_a_plan_is_the_same_every_time(tasks: int) -> None:
    problem = draw_tight_problem(3, tasks)

    def run() -> Solution:
        return solve(problem, time_limit_s=1e6, gap=0.005, clock=lambda: 0.0)

    assert run() == run()


def test_the_first_plan_is_told_at_once_and_timed_by_the_clock_given() -> None:
    problem, told = draw_tight_problem(1, 40), list[Assignment]()
    ticks = iter(range(10**6))
    solution = solve(problem, time_limit_s=1e6, gap=0.01, on_first=told.append, clock=lambda: float(next(ticks)))
    assert len(told) == 1
    assert problem.allows(told[0])
    assert solution.first_cost == problem.totals(told[0]).cost
    assert solution.first_cost >= problem.totals(solution.choice).cost
    assert solution.first_plan_s is not None
    assert 0 < solution.first_plan_s < next(ticks)


def test_a_deadline_that_only_the_fastest_plan_keeps_is_kept() -> None:
    free = draw_problem(5, 120)
    fastest = free.totals(fastest_choice(free)).seconds
    problem = replace(free, limits=Limits(max_seconds=fastest))
    tables = ProblemArrays(problem)
    found = search(tables, tables.useful())
    assert found.choice is not None
    assert problem.allows(found.choice)


def test_a_strategy_takes_a_place_of_every_agent_it_may_occupy() -> None:
    ladder = Candidate(agent="ladder", cost=1.0, seconds=1.0, quality=1.0, uses=("small", "large"))
    large = Candidate(agent="large", cost=3.0, seconds=1.0, quality=1.0)
    other = Candidate(agent="other", cost=9.0, seconds=1.0, quality=1.0)
    slots = tuple(TaskChoices(candidates=(other, large, ladder)) for _ in range(3))
    problem = AssignmentProblem(slots=slots, limits=Limits(capacity={"large": 2, "small": 1}))
    chosen = [slots[0].candidates[at].agent for at in solve(problem, time_limit_s=5.0, gap=0.0).choice]
    assert sorted(chosen) == ["ladder", "large", "other"]


def test_places_are_freed_along_a_chain_of_agents() -> None:
    def task(*agents: str) -> TaskChoices:
        candidates = [Candidate(agent=who, cost=n, seconds=1.0, quality=1.0) for n, who in enumerate(agents)]
        return TaskChoices(candidates=tuple(candidates))

    slots = (task("a0", "a1"), task("a0"), task("a1", "a2"), task("a2", "a3"), task("a3", "a4"))
    capacity = {f"a{n}": 1 for n in range(5)}
    problem = AssignmentProblem(slots=slots, limits=Limits(capacity=capacity))
    tables = ProblemArrays(problem)
    assert lagrangian.search(tables, tables.useful(), steps=1).choice == (1, 0, 1, 1, 1)


@pytest.mark.parametrize("limits", [Limits(min_quality=0.8), Limits(max_seconds=60.0)])
def test_without_any_time_there_still_is_a_plan_that_keeps_one_limit(limits: Limits) -> None:
    free = draw_problem(3, 100)
    problem = replace(free, limits=limits)
    solution = solve(problem, time_limit_s=0.0, gap=0.0)
    assert solution.status == "feasible"
    assert problem.allows(solution.choice)
    assert 0 < solution.lower_bound < problem.totals(solution.choice).cost


def test_limits_that_cannot_be_kept_name_the_agent_and_the_task() -> None:
    good, poor = (Candidate(agent=name, cost=1.0, seconds=1.0, quality=q) for name, q in (("ada", 0.9), ("bob", 0.5)))
    crowded = AssignmentProblem(
        slots=(TaskChoices(candidates=(good,)), TaskChoices(candidates=(good,), name="t1")),
        limits=Limits(capacity={"ada": 1}),
    )
    assert solve(crowded, time_limit_s=5.0, gap=0.0).status == "infeasible"
    explained = explain_infeasible(crowded, time_limit_s=5.0)
    assert explained.binding == {"agent_capacity": 1.0, "agent_capacity[ada]": 1.0}
    assert "agent_capacity[ada] 1" in explained.note
    picky = AssignmentProblem(
        slots=(TaskChoices(candidates=(good,)), TaskChoices(candidates=(poor,), min_quality=0.8)), limits=Limits()
    )
    assert solve(picky, time_limit_s=5.0, gap=0.0).status == "infeasible"
    explained = explain_infeasible(picky, time_limit_s=5.0)
    assert explained.binding == {
        "task_quality": pytest.approx(0.3),
        "task_quality[1]": pytest.approx(0.3),
    }


def test_an_explanation_stops_when_its_time_is_up_and_says_what_it_left_out() -> None:
    problem = draw_tight_problem(2, 30)
    ticks = iter(range(0, 10**6, 100))
    explained = explain_infeasible(problem, time_limit_s=1.0, clock=lambda: float(next(ticks)))
    assert explained.note.endswith(
        "The time ran out before it was known whether relaxing one alone is enough, of: "
        "max_total_time, min_quality_score, agent_capacity."
    )
    assert (explained.binding, explained.one_is_enough, explained.is_least) == ({}, False, False)


def test_a_budget_that_is_too_small_for_a_large_plan_is_told_with_what_is_enough() -> None:
    problem = draw_tight_problem(3, 600)
    impossible = replace(problem, limits=replace(problem.limits, max_cost=1e-3))
    assert solve(impossible, time_limit_s=5.0, gap=0.0).status == "infeasible"
    explained = explain_infeasible(impossible, time_limit_s=1.0)
    assert explained.one_is_enough
    more = replace(impossible.limits, max_cost=1e-3 + 1.01 * explained.binding["max_total_cost"])
    assert solve(replace(impossible, limits=more), time_limit_s=60.0, gap=0.5).status == "optimal"


@given(st.integers(0, 10_000), st.lists(st.tuples(st.integers(0, 19), st.integers(0, 5)), max_size=30))
def test_a_timetable_of_single_changes_is_that_of_the_whole_plan(seed: int, moves: list[tuple[int, int]]) -> None:
    tables = ProblemArrays(draw_problem(seed, 20))
    seconds = tables.seconds[:, 0].tolist()
    timetable = Timetable(tables, seconds)
    for t, at in moves:
        seconds[t] = float(tables.seconds[t, at])
        timetable.change(t, seconds[t])
    assert timetable.heads == tables.heads(seconds)
    assert timetable.tails == tables.tails(seconds)
    assert timetable.length() == pytest.approx(tables.critical_path(seconds)[0])
