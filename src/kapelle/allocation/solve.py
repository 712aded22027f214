"""Solves an assignment problem with the least effort that proves the answer, and says why when there is none.

    1. trivial     the best candidate of each task by itself, if the limits allow it, is the best plan
    2. bounds      the cheapest, fastest and safest plan each show at once when a limit cannot be kept
    3. branch      small plans: exact in milliseconds, in plain Python
    4. heuristic   a plan and a bound at once, whatever the size
    5. exact       HiGHS: prices near the best, from a linear program; then the plan, among those candidates that a
                   better one can contain, starting from the best known, within the time limit

Among plans of equal cost the best one is chosen (`AssignmentProblem.rank`): proven so where `branch` ends its search,
else as far as single moves to candidates of equal cost, and swaps that bring an initial choice back, can make it. A
second solve that proved it for all took as long as the first.

A clock only says when to stop and how long the first plan took: what is solved within its time limit is the same every
time.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .assignment import (
    Assignment,
    AssignmentProblem,
    Candidate,
    Limits,
    cheapest_choice,
    exceeds,
    fastest_choice,
    reduce_problem,
    round_off,
    safest_choice,
)
from .branch import branch

if TYPE_CHECKING:
    from . import lagrangian, mip
    from .tables import Array, ProblemArrays

Status = Literal["optimal", "feasible", "infeasible", "unknown"]
Clock = Callable[[], float]

SMALL = 400
"""Candidates in all (26 tasks of 15 agents) up to which `branch` is tried."""
HUGE = 20_000
"""Candidates above which HiGHS takes minutes, whatever its time limit: it never gets more."""
_NODES = 4000
"""Of `branch`: 15 ms, which is what loading NumPy and HiGHS and one solve of that size take at least."""
_PRECISION = 1e-4
"""How near the prices come to the best ones, relative: the gap left by whole candidates is ten times that."""
_TIE_SLOTS = 300
"""Tasks up to which swaps are tried among plans of equal cost."""
_EXPLAIN_GAP = 1e-3
"""How exactly an explanation says how much a limit must give, relative."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Solution:
    """The best plan found, and what is proven about it."""

    choice: Assignment
    """The initial choice where no plan keeps the limits, or none was found in time."""
    status: Status
    solver: str
    lower_bound: float
    """No plan within the limits costs less."""
    first_plan_s: float | None = None
    """Seconds until the first plan within the limits was known; None where none was found."""
    first_cost: float | None = None
    """What that plan costs."""


def solve_trivially(problem: AssignmentProblem) -> Solution | None:
    """Return the solution if it needs no search, in microseconds; None if it does."""
    cheapest = cheapest_choice(problem)
    lowest = problem.totals(cheapest)
    if problem.allows(cheapest):
        return Solution(
            choice=cheapest,
            status="optimal",
            solver="trivial",
            lower_bound=lowest.cost,
            first_plan_s=0.0,
            first_cost=lowest.cost,
        )
    limits = problem.limits
    hopeless = (
        (limits.max_cost is not None and exceeds(lowest.cost, limits.max_cost))
        or (
            limits.max_seconds is not None
            and exceeds(problem.totals(fastest_choice(problem)).seconds, limits.max_seconds)
        )
        or exceeds(limits.min_quality, problem.totals(safest_choice(problem)).quality)
        or any(slot.min_quality and not any(map(slot.admits, slot.candidates)) for slot in problem.slots)
    )
    if hopeless:
        return _give_up(problem, "infeasible", solver="trivial")
    return None


def solve(
    problem: AssignmentProblem,
    *,
    time_limit_s: float,
    gap: float,
    on_first: Callable[[Assignment], None] | None = None,
    clock: Clock = time.perf_counter,
) -> Solution:
    """Return the best plan within the limits; or the initial one, where there is none or none was found in time.

    `gap` is what a plan may cost above the lower bound, relative, to count as optimal. `on_first` is called with the
    first plan that keeps all limits, as soon as it is known.
    """
    known = _Known(problem, on_first, clock)
    trivial = solve_trivially(problem)
    if trivial is not None:
        if trivial.status == "optimal":
            known.add(trivial.choice)
            trivial = dataclasses.replace(trivial, first_plan_s=known.first_s)
        return trivial
    known.add((0,) * len(problem.slots))
    if _candidates(problem) <= SMALL:
        branched = branch(problem, reduce_problem(problem).kept, nodes=_NODES, found=known.add)
        known.bound = max(known.bound, branched.bound)
        if branched.exhausted:
            return known.solution("branch", proven=True)
    return _solve_large(problem, known, time_limit_s=time_limit_s, gap=gap)


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
    from . import mip  # see `_solve_large`
    from .tables import ProblemArrays

    alone = _missed_alone(problem)
    kinds = {_kind(name) for name in alone}
    relaxations = [one for one in _relaxations(problem) if kinds <= {one[0]}]
    enough: dict[str, float] = {}
    deadline = clock() + time_limit_s
    tables = ProblemArrays(problem) if relaxations and _candidates(problem) <= HUGE else None
    for number, (name, goal, relaxed) in enumerate(relaxations):
        share = (deadline - clock()) / (len(relaxations) - number)
        if tables is None or share <= 0:
            break
        alive = tables.useful(floors=goal != "lack", deadline=goal != "seconds")
        if int(alive.sum()) > HUGE:
            continue
        best = mip.minimize(tables, alive, goal, limits=relaxed, time_limit_s=share, gap=_EXPLAIN_GAP).choice
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


class _Known:
    """The best plan known that keeps all limits, the lower bound, and when the first plan was found."""

    def __init__(self, problem: AssignmentProblem, on_first: Callable[[Assignment], None] | None, clock: Clock) -> None:
        self.problem, self.on_first, self.clock = problem, on_first, clock
        self.started = clock()
        self.best: Assignment | None = None
        self.best_cost = float("inf")
        self.cheapest: Assignment | None = None
        """The cheapest plan that keeps all limits but, perhaps, that on cost; and what it costs."""
        self.cheapest_cost = float("inf")
        self.bound = 0.0
        self.first_s: float | None = None
        self.first_cost: float | None = None

    def add(self, choice: Assignment) -> None:
        """Take note of a plan, if it is one."""
        missed = self.problem.shortfalls(choice)
        if not missed.keys() <= {"max_total_cost"}:
            return
        cost = self.problem.totals(choice).cost
        if cost < self.cheapest_cost:
            self.cheapest, self.cheapest_cost = choice, cost
        if missed:
            return
        if self.first_s is None:
            self.first_s, self.first_cost = self.clock() - self.started, cost
            if self.on_first is not None:
                self.on_first(choice)
        if self.best is None or self.problem.rank(choice) < self.problem.rank(self.best):
            self.best, self.best_cost = choice, cost

    def solution(self, solver: str, *, proven: bool) -> Solution:
        """Return what is known as the solution; `proven` tells whether the search is complete."""
        limit = self.problem.limits.max_cost
        if self.best is None:
            too_dear = limit is not None and exceeds(self.bound, limit)
            status: Status = "infeasible" if proven or too_dear else "unknown"
            return _give_up(self.problem, status, solver=solver, bound=self.bound)
        return Solution(
            choice=self.best,
            status="optimal" if proven else "feasible",
            solver=solver,
            lower_bound=min(self.bound, self.best_cost),
            first_plan_s=self.first_s,
            first_cost=self.first_cost,
        )


def _solve_large(problem: AssignmentProblem, known: _Known, *, time_limit_s: float, gap: float) -> Solution:
    # NumPy takes 50 ms to import, HiGHS 60 ms: only where a plan needs them.
    from . import lagrangian
    from .tables import ProblemArrays

    tables = ProblemArrays(problem)
    alive = tables.useful()
    found = lagrangian.search(tables, alive, enough=gap, found=known.add)
    known.bound = max(known.bound, found.bound)
    solver, proven = "lagrangian", known.cheapest_cost <= known.bound * (1 + gap)
    if not proven:
        solver = "highs"

        def remaining() -> float:
            return time_limit_s - (known.clock() - known.started)

        proven = _finish(tables, alive, found.prices, known, problem.limits, gap, remaining)
    if known.best is not None:
        known.add(_settle_ties(problem, known.best))
    return known.solution(solver, proven=proven)


def _finish(
    tables: ProblemArrays,
    alive: Array,
    prices: lagrangian.Prices,
    known: _Known,
    limits: Limits,
    gap: float,
    remaining: Callable[[], float],
) -> bool:
    """Let HiGHS close the gap; return whether the cheapest plan is proven, or that there is none."""
    from . import mip
    from .lagrangian import round_prices

    best_bound = prices.bound(tables, prices.reduced(tables, alive))
    prices = mip.relax(
        tables, alive, prices, limits=limits, start=known.cheapest, precision=max(gap, _PRECISION), remaining=remaining
    )
    reduced = prices.reduced(tables, alive)
    bound = prices.bound(tables, reduced)
    assert bound >= best_bound
    known.bound = max(known.bound, bound)
    rounded = round_prices(tables, alive, prices)
    if rounded is not None:
        known.add(rounded)
    if known.cheapest_cost <= known.bound * (1 + gap):
        return True

    # A plan that takes a candidate costs at least the bound and what the candidate's reduced cost is above the least.
    above = reduced - reduced.min(axis=1)[:, None]
    room = known.cheapest_cost - bound
    kept = alive & (above <= room + 1e-9 * max(1e-6, abs(known.cheapest_cost)))
    kept, left_out = _at_most(HUGE, kept, above)
    if known.cheapest is not None:
        kept[tables.rows, list(known.cheapest)] = True
    result = mip.minimize(tables, kept, limits=limits, time_limit_s=remaining(), gap=gap, start=known.cheapest)
    if result.choice is not None:
        known.add(result.choice)
    ruled_out = min(float("inf") if result.status == "infeasible" else result.bound, bound + left_out)
    if ruled_out < float("inf"):
        known.bound = max(known.bound, min(ruled_out, known.cheapest_cost))
    if known.cheapest is None:
        return result.status == "infeasible" and left_out == float("inf")
    if known.cheapest_cost <= known.bound * (1 + gap):
        return True
    # HiGHS has compared all that it was given, to its own precision, and what it was not given costs more.
    return result.status in ("optimal", "infeasible") and bound + left_out >= known.cheapest_cost * (1 - gap)


def _at_most(most: int, kept: Array, above: Array) -> tuple[Array, float]:
    """Return the entries with the smallest values, and the least value that had to go for it."""
    import numpy as np

    if int(kept.sum()) <= most:
        return kept, float("inf")
    limit = np.partition(above[kept], most)[most]
    fewer = kept & (above < limit)
    return fewer, float(limit)


def _settle_ties(problem: AssignmentProblem, choice: Assignment) -> Assignment:
    """Return a plan of equal cost that ranks at least as high: moves to candidates of equal cost, then swaps."""
    slots, best = problem.slots, list(choice)

    def try_instead(changes: dict[int, int]) -> None:
        nonlocal best
        other = list(best)
        for t, at in changes.items():
            other[t] = at
        if problem.rank(tuple(other)) < problem.rank(tuple(best)) and problem.allows(tuple(other)):
            best = other

    for t, slot in enumerate(slots):
        for at, one in enumerate(slot.candidates):
            now = slot.candidates[best[t]]
            if at != best[t] and one.cost == now.cost and _prefers(at, one, best[t], now):
                try_instead({t: at})
    if len(slots) > _TIE_SLOTS:
        return tuple(best)
    for t, slot in enumerate(slots):
        if best[t] == 0:
            continue
        now, wanted = slot.candidates[best[t]], slot.candidates[0]
        for other, partner in enumerate(slots):
            held = partner.candidates[best[other]]
            if held.agent != wanted.agent or best[other] == 0:
                continue
            for swapped, some in enumerate(partner.candidates):
                difference = wanted.cost + some.cost - now.cost - held.cost
                if some.agent == now.agent and abs(difference) <= 1e-9 * max(1e-6, now.cost):
                    try_instead({t: 0, other: swapped})
                    now = slot.candidates[best[t]]
            if best[t] == 0:
                break
    return tuple(best)


def _prefers(at: int, one: Candidate, now_at: int, now: Candidate) -> bool:
    return (round_off(-one.quality), one.seconds, at != 0) < (round_off(-now.quality), now.seconds, now_at != 0)


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


def _candidates(problem: AssignmentProblem) -> int:
    return sum(len(slot.candidates) for slot in problem.slots)


def _give_up(problem: AssignmentProblem, status: Status, *, solver: str, bound: float = 0.0) -> Solution:
    return Solution(choice=(0,) * len(problem.slots), status=status, solver=solver, lower_bound=bound)
