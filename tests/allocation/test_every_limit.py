"""Every limit at once, through the stages that small plans do not need, against brute force: no plan is missed, no
bound lies above the truth, and what is left open is said."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.allocation import solve as solving
from kapelle.allocation.alike import fold
from kapelle.allocation.assignment import Assignment, AssignmentProblem, Candidate, Limits, TaskChoices
from kapelle.allocation.infeasible import explain_infeasible
from kapelle.allocation.local_search import improve_by_pairs
from kapelle.allocation.solve import Solution, solve
from kapelle.allocation.tables import ProblemArrays
from kapelle.allocation.ties import settle_ties
from tests.allocation.test_assignment import relaxed
from tests.allocation.test_solve import draw_tight_problem

AGENTS = ("ada", "bob", "cem", "dan")
COSTS = st.sampled_from([0.0, 0.01, 0.01, 0.02, 0.05, 0.3])
ODD_COSTS = st.sampled_from([0.0, 1e-12, 1e-6, 0.01, 0.01, 1.0, 1e3, 1e9])


@st.composite
def limited_problems(draw: st.DrawFn, costs: st.SearchStrategy[float] = COSTS) -> AssignmentProblem:
    """Return a problem with a budget, a quality, floors, a deadline and capacities, some of its candidates cascades and
    some of its tasks alike. The limits are those that some plan just keeps, or a little more or less."""
    kinds = [
        tuple(
            Candidate(
                agent=agent,
                cost=draw(costs),
                seconds=draw(st.integers(0, 6)) / 2,
                quality=draw(st.sampled_from([0.5, 0.7, 0.8, 0.9, 1.0])),
                uses=draw(st.sampled_from([(), (), tuple(AGENTS[:2]), tuple(AGENTS[1:3])])),
            )
            for agent in draw(st.permutations(AGENTS))[: draw(st.integers(1, 4))]
        )
        for _ in range(draw(st.integers(1, 3)))
    ]
    slots = []
    for number in range(draw(st.integers(3, 5))):
        before = draw(st.sets(st.integers(0, number - 1), max_size=2)) if number else set()
        floor = draw(st.sampled_from([0.0, 0.0, 0.6]))
        slots.append(TaskChoices(candidates=draw(st.sampled_from(kinds)), before=tuple(before), min_quality=floor))
    free = AssignmentProblem(slots=tuple(slots), limits=Limits())
    witness = tuple(draw(st.integers(0, len(slot.candidates) - 1)) for slot in slots)
    kept, work = free.totals(witness), free.workload(witness)
    limits = Limits(
        max_cost=kept.cost * draw(st.sampled_from([0.9, 1.0, 1.0, 1.3, 3.0])),
        max_seconds=kept.seconds * draw(st.sampled_from([0.8, 1.0, 1.0, 1.3])),
        min_quality=kept.quality * draw(st.sampled_from([0.9, 1.0, 1.0])),
        capacity={agent: work[agent] + draw(st.integers(0, 1)) for agent in AGENTS},
    )
    return replace(free, limits=limits)


def least_cost(problem: AssignmentProblem) -> float:
    """Return what the cheapest plan within the limits costs; infinite where there is none."""
    every = itertools.product(*(range(len(slot.candidates)) for slot in problem.slots))
    return min((problem.totals(one).cost for one in every if problem.allows(one)), default=math.inf)


def solve_by_all_stages(problem: AssignmentProblem, *, time_limit_s: float = 20.0, gap: float = 0.0) -> Solution:
    """Solve as if the plan were large: no search in plain Python first, and a core of one candidate a task."""
    with mock.patch.object(solving, "SMALL", 0), mock.patch.object(solving, "_CORE", 1):
        return solve(problem, time_limit_s=time_limit_s, gap=gap)


@settings(max_examples=300, deadline=None)
@given(limited_problems(), st.sampled_from([0.0, 0.0, 0.01, 0.5]))
def test_no_plan_is_missed_and_none_costs_less_than_the_bound(problem: AssignmentProblem, gap: float) -> None:
    best, solution = least_cost(problem), solve_by_all_stages(problem, gap=gap)
    assert solution.status == ("optimal" if best < math.inf else "infeasible")
    if best < math.inf:
        assert problem.allows(solution.choice)
        assert best - 1e-8 <= problem.totals(solution.choice).cost <= best * (1 + gap) + 1e-8
        assert solution.lower_bound <= best + 1e-9


@settings(max_examples=200, deadline=None)
@given(limited_problems(ODD_COSTS), st.booleans())
def test_costs_of_all_orders_of_magnitude_are_compared(problem: AssignmentProblem, is_small: bool) -> None:
    best = least_cost(problem)
    solution = solve(problem, time_limit_s=20.0, gap=0.0) if is_small else solve_by_all_stages(problem)
    assert solution.status == ("optimal" if best < math.inf else "infeasible")
    if best < math.inf:
        assert problem.allows(solution.choice)
        assert problem.totals(solution.choice).cost == pytest.approx(best, rel=1e-7, abs=1e-8)


@settings(max_examples=150, deadline=None)
@given(limited_problems(), st.sampled_from([0.0, 0.01, 0.2]))
def test_a_bound_is_true_and_a_plan_keeps_its_limits_whatever_time_there_was(
    problem: AssignmentProblem, gap: float
) -> None:
    best, solution = least_cost(problem), solve_by_all_stages(problem, time_limit_s=0.0, gap=gap)
    assert solution.lower_bound <= best + 1e-9
    if solution.status in ("optimal", "feasible"):
        assert problem.allows(solution.choice)
    if solution.status == "optimal":
        assert problem.totals(solution.choice).cost <= best * (1 + gap) + 1e-8
    if solution.status == "infeasible":
        assert best == math.inf


@settings(max_examples=150, deadline=None)
@given(limited_problems(), st.sampled_from([0.0, 20.0]))
def test_what_is_said_of_limits_that_no_plan_keeps_is_true(problem: AssignmentProblem, time_limit_s: float) -> None:
    if least_cost(problem) < math.inf:
        return
    near = solve_by_all_stages(problem, time_limit_s=time_limit_s).too_dear
    explained = explain_infeasible(problem, time_limit_s=time_limit_s, near=near)
    for name, missing in explained.binding.items():
        if "[" not in name:
            enough = least_cost(relaxed(problem, name, missing * 1.001 + 1e-9)) < math.inf
            assert enough or not explained.one_is_enough
            exact = name in ("max_total_cost", "max_total_time", "min_quality_score")
            if exact and (explained.is_least or not explained.one_is_enough):
                assert least_cost(relaxed(problem, name, missing * 0.99 - 1e-6)) == math.inf


@settings(max_examples=150, deadline=None)
@given(limited_problems())
def test_pairs_of_moves_keep_the_limits_and_never_cost_more(problem: AssignmentProblem) -> None:
    problem = replace(problem, limits=replace(problem.limits, max_cost=None))
    tables = ProblemArrays(problem)
    above = tables.cost - tables.cost.min(axis=1)[:, None]
    every = itertools.product(*(range(len(slot.candidates)) for slot in problem.slots))
    for start in itertools.islice(filter(problem.allows, every), 5):
        improved = improve_by_pairs(tables, tables.useful(), above, start)
        assert problem.allows(improved)
        assert problem.totals(improved).cost <= problem.totals(start).cost + 1e-9


def test_two_tasks_swap_the_one_place_that_there_is() -> None:
    def task(at_home: float, away: float) -> TaskChoices:
        candidates = (("ada", at_home), ("bob", away))
        return TaskChoices(
            candidates=tuple(Candidate(agent=who, cost=cost, seconds=1.0, quality=1.0) for who, cost in candidates)
        )

    problem = AssignmentProblem(slots=(task(1.0, 2.0), task(1.0, 9.0)), limits=Limits(capacity={"ada": 1}))
    tables = ProblemArrays(problem)
    above = tables.cost - tables.cost.min(axis=1)[:, None]
    assert improve_by_pairs(tables, tables.exists, above, (0, 1)) == (1, 0)


@pytest.mark.parametrize(("good_gap", "share"), [(None, 1.0), (0.5, solving.GOOD_SHARE)])
def test_a_plan_that_is_good_enough_gets_a_share_of_the_time(good_gap: float | None, share: float) -> None:
    problem, given_s = draw_tight_problem(2, 60), list[float]()

    def note_time(*_: object, time_limit_s: float, start: Assignment | None, **__: object) -> object:
        given_s.append(time_limit_s)
        return mock.Mock(status="unknown", choice=None, bound=0.0)

    with mock.patch("kapelle.allocation.mip.minimize", note_time):
        solution = solve(problem, time_limit_s=100.0, gap=0.0, good_gap=good_gap, clock=lambda: 0.0)
    assert given_s
    assert set(given_s) == {100.0 * share}
    assert solution.status == "feasible"
    assert 0 < solution.lower_bound < problem.totals(solution.choice).cost


def test_hundreds_of_tasks_alike_are_solved_and_the_gap_is_said() -> None:
    candidates = tuple(
        Candidate(agent=f"a{n}", cost=0.01 * 1.3**n, seconds=9.0 - n, quality=0.6 + 0.045 * n) for n in range(9)
    )
    slots = tuple(TaskChoices(candidates=candidates, before=(t - 1,) if t % 10 else ()) for t in range(300))
    limits = Limits(max_cost=15.0, max_seconds=60.0, min_quality=0.8, capacity={f"a{n}": 60 for n in range(9)})
    problem = AssignmentProblem(slots=slots, limits=limits)
    solution = solve(problem, time_limit_s=20.0, gap=0.01)
    assert solution.status == "optimal"
    assert problem.allows(solution.choice)
    assert problem.totals(solution.choice).cost <= solution.lower_bound * 1.01


def alike(count: int, agents: int) -> AssignmentProblem:
    """Return a chain of tasks that are all alike, with all limits."""
    candidates = tuple(
        Candidate(agent=f"a{n}", cost=0.01 * 1.31**n, seconds=9.0 - 0.8 * n, quality=0.6 + 0.043 * n)
        for n in range(agents)
    )
    slots = tuple(TaskChoices(candidates=candidates, before=(t - 1,) if t else ()) for t in range(count))
    capacity = {f"a{n}": count // 5 for n in range(agents)}
    limits = Limits(max_cost=1.0 * count, max_seconds=6.1 * count, min_quality=0.75, capacity=capacity)
    return AssignmentProblem(slots=slots, limits=limits)


def test_a_long_chain_of_tasks_alike_is_proven_to_be_the_best() -> None:
    problem = alike(200, 9)
    solution = solve(problem, time_limit_s=60.0, gap=1e-6)
    assert solution.status == "optimal"
    assert problem.allows(solution.choice)


def test_choosing_among_plans_of_equal_cost_tries_few_of_the_swaps_of_tasks_alike() -> None:
    kinds = [tuple(Candidate(agent=who, cost=0.1, seconds=float(n), quality=0.9) for n, who in enumerate("abc"))]
    kinds += [(kinds[0][1], kinds[0][0], kinds[0][2]), (kinds[0][2], kinds[0][1], kinds[0][0])]
    slots = tuple(TaskChoices(candidates=kinds[t % 3], before=(t - 20,) if t >= 20 else ()) for t in range(200))
    problem = AssignmentProblem(slots=slots, limits=Limits(max_seconds=8.0, capacity={"a": 70, "b": 70, "c": 70}))
    with mock.patch.object(AssignmentProblem, "shortfalls", autospec=True, return_value={}) as tried:
        settle_ties(problem, tuple(1 + t % 2 for t in range(200)))
    assert 0 < tried.call_count <= 150
    with mock.patch.object(AssignmentProblem, "shortfalls", autospec=True) as tried:
        settle_ties(problem, tuple(1 + t % 2 for t in range(200)), is_over=lambda: True)
    assert not tried.called


def test_whoever_looks_for_a_plan_looks_at_the_clock() -> None:
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return float(looks)

    solution = solve(alike(200, 9), time_limit_s=50.0, gap=1e-6, clock=clock)
    assert looks < 100
    assert solution.status in ("optimal", "feasible", "unknown")


@settings(max_examples=150, deadline=None)
@given(limited_problems())
def test_folded_tasks_take_the_candidates_that_were_counted(problem: AssignmentProblem) -> None:
    tables = ProblemArrays(problem)
    folded = fold(tables, tables.exists)
    for choice in itertools.islice(itertools.product(*(range(len(slot.candidates)) for slot in problem.slots)), 40):
        unfolded = folded.choice(folded.counts(choice))
        before, after = problem.totals(choice), problem.totals(unfolded)
        assert (after.cost, after.quality) == pytest.approx((before.cost, before.quality))
        deadline = problem.limits.max_seconds
        assert deadline is not None
        assert after.seconds == pytest.approx(before.seconds) or max(before.seconds, after.seconds) <= deadline
        assert problem.workload(unfolded) == problem.workload(choice)
