"""Says which limits stand in the way of every plan, each by how much. Chooses nothing: see solve."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from .assignment import AssignmentProblem, Limits, cheapest_choice, fastest_choice, safest_choice
from .solve import HUGE, Clock

if TYPE_CHECKING:
    from . import mip

_GAP = 1e-3
"""How exactly is said how much a limit must give, relative."""

ONE_IS_ENOUGH = "Relaxing one of these limits by this much is enough, the others kept."
"""How the sentence of `explain_infeasible` begins where that is so."""


def explain_infeasible(
    problem: AssignmentProblem, *, time_limit_s: float, clock: Clock = time.perf_counter
) -> tuple[dict[str, float], str]:
    """Return which limits stand in the way, each by how much, and a sentence that says how to read it.

    The names are those of `AssignmentProblem.shortfalls`. First choice: limits of which relaxing one alone, by that
    much, is enough; capacities count as one limit, and so do the tasks' floors, with their parts beside the sum. If
    there is none, those that no plan can keep even by itself, and how much they miss at least. Takes about the time
    limit at most; what has not been found by then is not named.
    """
    from . import mip  # NumPy and HiGHS: only where they are needed
    from .tables import ProblemArrays

    alone = _missed_alone(problem)
    kinds = {_kind(name) for name in alone}
    relaxations = [one for one in _relaxations(problem) if kinds <= {one[0]}]
    enough: dict[str, float] = {}
    deadline = clock() + time_limit_s
    tables = ProblemArrays(problem) if relaxations and problem.size <= HUGE else None
    for number, (name, goal, relaxed) in enumerate(relaxations):
        share = (deadline - clock()) / (len(relaxations) - number)
        if tables is None or share <= 0:
            break
        alive = tables.useful(floors=goal != "lack", deadline=goal != "seconds")
        if int(alive.sum()) > HUGE:
            continue
        best = mip.minimize(tables, alive, goal, limits=relaxed, time_limit_s=share, gap=_GAP).choice
        if best is not None:
            missed = problem.shortfalls(best)
            if {_kind(one) for one in missed} == {name}:
                enough |= missed
    if enough:
        return enough, ONE_IS_ENOUGH + _parts(enough)
    if alone:
        return alone, "No plan keeps these limits, whatever the others; they must give at least this much." + _parts(
            alone
        )
    return {}, "Each limit can be kept by itself, but no plan keeps all of them together."


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
    return missed | {name: amount for name, amount in floors.items() if _kind(name) == "task_quality"}


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
