"""The solvers against brute force: on tiny problems every plan can be tried."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.allocation.assignment import Assignment, AssignmentProblem, Candidate, Limits, TaskChoices, reduce_problem
from kapelle.allocation.infeasible import explain_infeasible
from kapelle.allocation.lagrangian import search
from kapelle.allocation.solve import solve
from kapelle.allocation.tables import ProblemArrays

AGENTS = ("ada", "bob", "cem")


@st.composite
def problems(draw: st.DrawFn) -> AssignmentProblem:
    slots = []
    for number in range(draw(st.integers(1, 5))):
        counts = draw(st.sampled_from([True, True, False]))
        agents = draw(st.permutations(AGENTS))[: draw(st.integers(1, 3)) if counts else 1]
        candidates = tuple(
            Candidate(
                agent=agent,
                cost=draw(st.integers(0, 4)) / 100,
                seconds=draw(st.integers(0, 5)) / 2,
                quality=draw(st.sampled_from([0.5, 0.8, 0.85, 1.0])),
                uses=draw(st.sampled_from([(), (), (agent,), tuple(AGENTS[:2]), tuple(AGENTS[1:])])),
            )
            for agent in agents
        )
        before = draw(st.sets(st.integers(0, number - 1), max_size=2)) if number else set()
        floor = draw(st.sampled_from([0.0, 0.0, 0.0, 0.6, 0.85]))
        slots.append(TaskChoices(candidates=candidates, before=tuple(sorted(before)), counts=counts, min_quality=floor))
    limits = Limits(
        max_cost=draw(st.none() | st.integers(0, 12).map(lambda cents: cents / 100)),
        max_seconds=draw(st.none() | st.integers(0, 12).map(lambda halves: halves / 2)),
        min_quality=draw(st.sampled_from([0.0, 0.6, 0.8, 0.85, 0.9, 1.0])),
        capacity=draw(st.dictionaries(st.sampled_from(AGENTS), st.integers(0, 3))),
    )
    return AssignmentProblem(slots=tuple(slots), limits=limits)


def all_allowed(problem: AssignmentProblem) -> list[Assignment]:
    every = itertools.product(*(range(len(slot.candidates)) for slot in problem.slots))
    return [choice for choice in every if problem.allows(choice)]


@settings(max_examples=400, deadline=None)
@given(problems())
def test_the_solution_is_the_best_of_all_plans_and_none_is_missed(problem: AssignmentProblem) -> None:
    allowed = all_allowed(problem)
    solution = solve(problem, time_limit_s=5.0, gap=0.0)
    assert (solution.status == "optimal") == bool(allowed)
    if not allowed:
        assert solution.status == "infeasible"
        assert solution.choice == (0,) * len(problem.slots)
        return
    best = min(map(problem.rank, allowed))
    assert problem.rank(solution.choice) == best
    assert solution.lower_bound == pytest.approx(best[0], abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(problems())
def test_the_heuristic_keeps_the_limits_and_its_bound_is_true(problem: AssignmentProblem) -> None:
    tables = ProblemArrays(problem)
    found = search(tables, tables.useful())
    allowed = all_allowed(problem)
    if found.choice is not None:
        assert set(problem.shortfalls(found.choice)) <= {"max_total_cost"}
    if allowed:
        assert found.bound <= min(problem.totals(choice).cost for choice in allowed) + 1e-9


@given(problems())
def test_reducing_loses_no_best_plan_and_replaces_what_is_gone(problem: AssignmentProblem) -> None:
    reduced = reduce_problem(problem)
    allowed, rest = all_allowed(problem), all_allowed(reduced.problem)
    assert bool(allowed) == bool(rest)
    if allowed:
        assert min(map(problem.rank, allowed)) == min(problem.rank(reduced.restore(choice)) for choice in rest)
    for choice in allowed:
        assert reduced.problem.allows(reduced.translate(choice))


@settings(max_examples=150, deadline=None)
@given(problems())
def test_relaxing_a_binding_limit_by_what_it_misses_makes_a_plan_possible(problem: AssignmentProblem) -> None:
    if all_allowed(problem):
        return
    explained = explain_infeasible(problem, time_limit_s=5.0)
    assert "time ran out" not in explained.note
    if not explained.one_is_enough:
        return
    assert explained.is_least
    for name, missing in explained.binding.items():
        if "[" in name:
            continue  # the parts of a sum give way together
        assert all_allowed(relaxed(problem, name, missing * 1.001 + 1e-9))
        if name in ("max_total_cost", "max_total_time", "min_quality_score"):
            assert not all_allowed(relaxed(problem, name, missing * 0.99 - 1e-6))


def relaxed(problem: AssignmentProblem, name: str, by: float) -> AssignmentProblem:
    limits = problem.limits
    cost, seconds, quality, capacity = limits.max_cost, limits.max_seconds, limits.min_quality, dict(limits.capacity)
    slots = problem.slots
    if name == "max_total_cost":
        cost = (cost or 0) + by
    elif name == "max_total_time":
        seconds = (seconds or 0) + by
    elif name == "min_quality_score":
        quality -= by
    elif name == "task_quality":
        slots = tuple(replace(slot, min_quality=max(0.0, slot.min_quality - by)) for slot in slots)
    else:
        capacity = {agent: most + round(by) for agent, most in capacity.items()}
    return AssignmentProblem(
        slots=slots,
        limits=Limits(max_cost=cost, max_seconds=seconds, min_quality=max(0.0, quality), capacity=capacity),
    )
