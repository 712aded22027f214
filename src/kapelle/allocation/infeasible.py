"""Says which limits stand in the way of every plan, each by how much. Chooses nothing: see solve."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .assignment import (
    Assignment,
    AssignmentProblem,
    Limits,
    cheapest_choice,
    fastest_choice,
    missing_places,
    safest_choice,
)
from .solve import HUGE, Clock, solve

if TYPE_CHECKING:
    from . import mip

_GAP = 1e-3
"""How exactly is said how much a limit must give, relative."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Why no plan keeps all limits."""

    binding: dict[str, float]
    """The limits that stand in the way, each by how much."""
    note: str
    """A sentence that says how to read it."""
    one_is_enough: bool
    """Whether it is enough to relax one of them; else each must give at least so much, and that may not do."""
    is_least: bool
    """Whether each amount is proven to be the least, up to a thousandth; there may have been no time for that."""


def explain_infeasible(
    problem: AssignmentProblem,
    *,
    time_limit_s: float,
    near: Assignment | None = None,
    clock: Clock = time.perf_counter,
) -> Explanation:
    """Return which limits stand in the way of a problem that is known to have no plan; `near` is the plan that came
    nearest.

    The names are those of `AssignmentProblem.shortfalls`. First choice: limits of which relaxing one alone, by that
    much, is enough; capacities count as one limit, and so do the tasks' floors, with their parts beside the sum. If
    there is none, those that no plan can keep even by itself, and how much they miss at least. Takes about the time
    limit at most; the note names the limits of which that was not enough to find it out.
    """
    alone = _missed_alone(problem)
    kinds = {_kind(name) for name in alone}
    relaxations = [one for one in _relaxations(problem) if kinds <= {one[0]}]
    enough: dict[str, float] = {}
    for choice in (cheapest_choice(problem), fastest_choice(problem), safest_choice(problem)):
        missed = problem.shortfalls(choice)
        if len(kinds) == 1 and missed == alone:  # no other plan misses it by less, and this one misses nothing else
            enough, relaxations = missed, []
    undecided: list[str] = []
    is_least = True
    deadline = clock() + time_limit_s
    for number, (name, goal, relaxed) in enumerate(relaxations):
        share = (deadline - clock()) / (len(relaxations) - number)
        status, best = _relax(problem, goal, relaxed, share) if share > 0 else ("unknown", None)
        if name == "max_total_cost" and status != "optimal":
            plans = [one for one in (best, near) if one is not None and problem.shortfalls(one).keys() == {name}]
            best = min(plans, key=lambda one: problem.totals(one).cost, default=best)
        if best is None:
            undecided += [name] if status == "unknown" else []
            continue
        missed = problem.shortfalls(best)
        if {_kind(one) for one in missed} == {name}:
            enough |= missed
            is_least = is_least and status == "optimal"
    if enough:
        note = "Relaxing one of these limits by this much is enough, the others kept."
    elif alone:
        note = "No plan keeps these limits, whatever the others; they must give at least this much."
    else:
        note = "No plan keeps all limits together."
        if not undecided:
            note += " Relaxing one of them alone is not enough."
    if undecided:
        note += (
            f" The time ran out before it was known whether relaxing one alone is enough, of: {', '.join(undecided)}."
        )
    binding = enough or alone
    return Explanation(
        binding=binding, note=note + _parts(binding), one_is_enough=bool(enough), is_least=bool(enough) and is_least
    )


def _relax(
    problem: AssignmentProblem, goal: mip.Goal, limits: Limits, time_limit_s: float
) -> tuple[str, Assignment | None]:
    """Return the plan that misses the limit of this goal by least, and how sure that is."""
    if goal == "cost":  # the usual problem, which is found a plan for at any size
        solution = solve(dataclasses.replace(problem, limits=limits), time_limit_s=time_limit_s, gap=_GAP)
        return solution.status, solution.choice if solution.first_cost is not None else None

    from . import mip  # NumPy and HiGHS: only where they are needed
    from .tables import ProblemArrays

    if problem.size > HUGE:
        return "unknown", None
    tables = ProblemArrays(problem)
    alive = tables.useful(floors=goal != "lack", deadline=goal != "seconds")
    found = mip.minimize(tables, alive, goal, limits=limits, time_limit_s=time_limit_s, gap=_GAP)
    return found.status, found.choice


def _missed_alone(problem: AssignmentProblem) -> dict[str, float]:
    missed = {}
    for name, choice in (
        ("max_total_cost", cheapest_choice(problem)),
        ("max_total_time", fastest_choice(problem)),
        ("min_quality_score", safest_choice(problem)),
    ):
        shortfall = problem.shortfalls(choice).get(name)
        if shortfall is not None:
            missed[name] = shortfall
    # The safest choice leaves a task below its floor only where every candidate is.
    floors = problem.shortfalls(safest_choice(problem))
    missed |= {name: amount for name, amount in floors.items() if _kind(name) == "task_quality"}
    places = missing_places(problem)
    return missed | {"agent_capacity": float(places)} if places else missed


def _relaxations(problem: AssignmentProblem) -> list[tuple[str, mip.Goal, Limits]]:
    limits = problem.limits
    found: list[tuple[str, mip.Goal, Limits]] = []
    if limits.max_cost is not None:
        found.append(("max_total_cost", "cost", dataclasses.replace(limits, max_cost=None)))
    if limits.max_seconds is not None:
        found.append(("max_total_time", "seconds", dataclasses.replace(limits, max_seconds=None)))
    if limits.min_quality > 0:
        found.append(("min_quality_score", "quality", dataclasses.replace(limits, min_quality=0.0)))
    if any(slot.min_quality and slot.counts for slot in problem.slots):
        found.append(("task_quality", "lack", limits))  # the goals of these two relax what they minimise
    if limits.capacity:
        found.append(("agent_capacity", "excess", limits))
    return found


def _kind(name: str) -> str:
    return name.partition("[")[0]


def _parts(missed: dict[str, float]) -> str:
    named = [f"{name} {amount:.4g}" for name, amount in missed.items() if "[" in name]
    return f" In parts: {', '.join(named)}." if named else ""
