"""Solves an assignment problem with the least effort that proves the answer, and says why when there is none.

    1. trivial     the best candidate of each task by itself, if the limits allow it, is the best plan
    2. bounds      the cheapest, fastest and safest plan each show at once when a limit cannot be kept
    3. heuristic   for large plans: a plan and a bound at once
    4. exact       HiGHS, starting from that, within the time limit; then among plans of equal cost the best one

The clock is HiGHS's own: a plan that is solved within its time limit is the same every time.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .assignment import Choice, Limits, Problem, cheapest_choice, exceeds, fastest_choice, reduce_problem, safest_choice

if TYPE_CHECKING:
    from . import mip

Status = Literal["optimal", "feasible", "infeasible", "unknown"]

LARGE = 500
"""Candidates in all (33 tasks of 15 agents) above which a heuristic looks for a plan before HiGHS does."""
HUGE = 20_000
"""Candidates that no other beats above which HiGHS takes minutes, whatever its time limit: the heuristic must do."""
_EXPLAIN_GAP = 1e-3
"""How exactly an explanation says how much a limit must give, relative."""
_TIE_SHARE = 0.2
"""Share of the time limit that may go into choosing among plans of equal cost."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Solution:
    """The best plan found, and what is proven about it."""

    choice: Choice
    """The initial choice where no plan keeps the limits, or none was found in time."""
    status: Status
    solver: str
    lower_bound: float
    """No plan within the limits costs less."""


def solve_trivially(problem: Problem) -> Solution | None:
    """Return the solution if it needs no search, in microseconds; None if it does."""
    cheapest = cheapest_choice(problem)
    lowest = problem.totals(cheapest)
    if problem.allows(cheapest):
        return Solution(choice=cheapest, status="optimal", solver="trivial", lower_bound=lowest.cost)
    limits = problem.limits
    hopeless = (
        (limits.max_cost is not None and exceeds(lowest.cost, limits.max_cost))
        or (
            limits.max_seconds is not None
            and exceeds(problem.totals(fastest_choice(problem)).seconds, limits.max_seconds)
        )
        or exceeds(limits.min_quality, problem.totals(safest_choice(problem)).quality)
    )
    if hopeless:
        return _give_up(problem, "infeasible", solver="trivial")
    return None


def solve(problem: Problem, *, time_limit_s: float, gap: float) -> Solution:
    """Return the best plan within the limits; or the initial one, where there is none or none was found in time."""
    trivial = solve_trivially(problem)
    if trivial is not None:
        return trivial
    reduced = reduce_problem(problem)
    small = reduced.problem
    initial = (0,) * len(problem.slots)
    best = reduced.translate(initial) if problem.allows(initial) else None
    bound, proven, solver = 0.0, False, "none"
    # NumPy takes 50 ms to import: only where a plan needs more than the trivial argument.
    from . import mip
    from .lagrangian import search

    if _candidates(problem) > LARGE:
        found, bound = search(small)
        best, solver = _better(small, best, found), "lagrangian"
        proven = best is not None and small.totals(best).cost <= bound * (1 + gap)
    if not proven and _candidates(small) <= HUGE:
        # No row limits the cost: if the least cost is above the limit, that is the proof that no plan keeps it.
        result = mip.minimize(small, "cost", limits=small.limits, time_limit_s=time_limit_s, gap=gap, start=best)
        solver = "highs"
        if result.status == "infeasible" and best is None:
            return _give_up(problem, "infeasible", solver=solver, bound=bound)
        if result.status != "infeasible":
            bound = max(bound, result.bound)
        if result.choice is not None and set(small.shortfalls(result.choice)) <= {"max_total_cost"}:
            best = _better(small, best, result.choice)
            proven = result.status == "optimal"
            if proven and small.allows(result.choice):
                best = _break_ties(small, result.choice, time_limit_s=_TIE_SHARE * time_limit_s)

    if best is None or not small.allows(best):
        limit = small.limits.max_cost
        too_dear = limit is not None and (exceeds(bound, limit) or (proven and best is not None))
        return _give_up(problem, "infeasible" if too_dear else "unknown", solver=solver, bound=bound)
    choice = reduced.restore(best)
    if problem.allows(initial) and problem.rank(initial) <= problem.rank(choice):
        choice = initial
    return Solution(
        choice=choice,
        status="optimal" if proven else "feasible",
        solver=solver,
        lower_bound=min(bound, problem.totals(choice).cost),
    )


def explain_infeasible(problem: Problem, *, time_limit_s: float) -> tuple[dict[str, float], str]:
    """Return which limits stand in the way, each by how much, and a sentence that says how to read it.

    First choice: limits of which relaxing one alone, by that much, is enough. If there is none, those that no plan can
    keep even by itself, and how much they miss at least.
    """
    from . import mip  # see `solve`

    alone = _missed_alone(problem)
    small = reduce_problem(problem).problem
    relaxations = [one for one in _relaxations(small.limits) if set(alone) <= {one[0]}]
    enough: dict[str, float] = {}
    if _candidates(small) <= LARGE:
        for name, goal, relaxed in relaxations:
            best = mip.minimize(
                small, goal, limits=relaxed, time_limit_s=time_limit_s / len(relaxations), gap=_EXPLAIN_GAP
            ).choice
            if best is not None and set(missed := small.shortfalls(best)) == {name}:
                enough[name] = missed[name]
    if enough:
        return enough, "Relaxing one of these limits by this much is enough, the others kept."
    if alone:
        return alone, "No plan keeps these limits, whatever the others; they must give at least this much."
    return {}, "Each limit can be kept by itself, but no plan keeps all of them together."


def _missed_alone(problem: Problem) -> dict[str, float]:
    missed = {}
    for name, choice in (
        ("max_total_cost", cheapest_choice(problem)),
        ("max_total_time", fastest_choice(problem)),
        ("min_quality_score", safest_choice(problem)),
    ):
        shortfall = problem.shortfalls(choice).get(name)
        if shortfall is not None:
            missed[name] = shortfall
    return missed


def _relaxations(limits: Limits) -> list[tuple[str, mip.Goal, Limits]]:
    found: list[tuple[str, mip.Goal, Limits]] = []
    if limits.max_cost is not None:
        found.append(("max_total_cost", "cost", dataclasses.replace(limits, max_cost=None)))
    if limits.max_seconds is not None:
        found.append(("max_total_time", "seconds", dataclasses.replace(limits, max_seconds=None)))
    if limits.min_quality > 0:
        found.append(("min_quality_score", "quality", dataclasses.replace(limits, min_quality=0.0)))
    if limits.capacity:
        found.append(("agent_capacity", "excess", limits))  # its goal relaxes it
    return found


def _break_ties(problem: Problem, best: Choice, *, time_limit_s: float) -> Choice:
    """Return the best of the plans that cost no more than `best`."""
    from . import mip  # see `solve`

    limits = dataclasses.replace(problem.limits, max_cost=problem.totals(best).cost)
    found = mip.minimize(problem, "tie", limits=limits, time_limit_s=time_limit_s, start=best).choice
    return _better(problem, best, found if found is not None and problem.allows(found) else None) or best


def _better(problem: Problem, one: Choice | None, other: Choice | None) -> Choice | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other, key=problem.rank)


def _candidates(problem: Problem) -> int:
    return sum(len(slot.candidates) for slot in problem.slots)


def _give_up(problem: Problem, status: Status, *, solver: str, bound: float = 0.0) -> Solution:
    return Solution(choice=(0,) * len(problem.slots), status=status, solver=solver, lower_bound=bound)
