"""Solves an assignment problem with the least effort that proves the answer. Why there is none: see infeasible.

    1. trivial     the best candidate of each task by itself, if the limits allow it, is the best plan
    2. bounds      the cheapest, fastest and safest plan each show at once when a limit cannot be kept
    3. branch      small plans: exact in milliseconds, in plain Python
    4. heuristic   a plan and a bound at once, whatever the size
    5. exact       HiGHS: prices near the best, from a linear program; a good plan among the few candidates that are
                   best at these prices; then the best plan, among those candidates that a better one than that can
                   contain, within the time limit

Among plans of equal cost the best one is chosen (`AssignmentProblem.rank`): proven so where `branch` ends its search,
else as far as single moves to candidates of equal cost, and swaps that bring an initial choice back, can make it. A
second solve that proved it for all took as long as the first.

A clock only says when to stop and how long the first plan took: what is solved within its time limit is the same every
time.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .assignment import (
    Assignment,
    AssignmentProblem,
    Limits,
    cheapest_choice,
    exceeds,
    fastest_choice,
    missing_places,
    reduce_problem,
    safest_choice,
)
from .branch import branch
from .ties import settle_ties

if TYPE_CHECKING:
    from . import lagrangian
    from .tables import Array, ProblemArrays

Status = Literal["optimal", "feasible", "infeasible", "unknown"]
Clock = Callable[[], float]

SMALL = 200
"""Candidates in all (13 tasks of 15 agents) up to which `branch` is tried: it ends its search for half of them."""
HUGE = 20_000
"""Candidates above which HiGHS takes minutes, whatever its time limit: it never gets more."""
GOOD_SHARE = 1 / 3
"""Of the time limit: what is spent at most on a plan that is good already."""
_NODES = 4000
"""Of `branch`: 15 ms, which is what loading NumPy and HiGHS and one solve of that size take at least."""
_PRECISION = 1e-4
"""How near the prices come to the best ones, relative: the gap left by whole candidates is ten times that."""
_CORE = 2
"""Candidates of a task, on average, among which a good plan is looked for first: they hold one within 0.1 % of the
best, and HiGHS needs a fourth of the time there. (The core of a knapsack problem, Balas and Zemel 1980.)"""
_CORE_NODES = 1000
"""Of the search for that plan."""
_FEW_STEPS = 25
"""Of the search without a solver, where plans are improved by pairs: the linear program takes less for more."""
_SEARCH_SHARE = 0.2
"""Of the time limit: what the search without a solver takes at most once it has a plan. Long chains, of which each
move changes all times, took it all, and the linear program comes nearer in a tenth."""
_FIRST_SHARE = 0.6
"""Of the time limit: what it takes at most where it finds no plan."""
_RELAX_SHARE = 0.8
"""Of the time limit: when prices are rounded to a plan at the latest, where there is none yet."""
_TIES_SHARE = 1.1
"""Of the time limit: when choosing among plans of equal cost ends, which has a little time of its own."""
_PAIRED = 100
"""Tasks up to which plans are improved by pairs of moves: 2 ms a plan of 50 tasks, 60 ms one of 200."""


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
    too_dear: Assignment | None = None
    """The cheapest plan known that keeps all limits but that on cost, where none is known that keeps it too."""


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
        or missing_places(problem) > 0
    )
    if hopeless:
        return _give_up(problem, "infeasible", solver="trivial")
    return None


def solve(
    problem: AssignmentProblem,
    *,
    time_limit_s: float,
    gap: float,
    good_gap: float | None = None,
    on_first: Callable[[Assignment], None] | None = None,
    clock: Clock = time.perf_counter,
) -> Solution:
    """Return the best plan within the limits; or the initial one, where there is none or none was found in time.

    `gap` is what a plan may cost above the lower bound, relative, to count as optimal. Where it costs at most
    `good_gap` above it, no more than `GOOD_SHARE` of the time limit is spent; None always spends it whole. `on_first`
    is called with the first plan that keeps all limits, as soon as it is known.
    """
    known = _Known(problem, on_first, clock)
    trivial = solve_trivially(problem)
    if trivial is not None:
        if trivial.status == "optimal":
            known.add(trivial.choice)
            trivial = dataclasses.replace(trivial, first_plan_s=known.first_s)
        return trivial
    known.add((0,) * len(problem.slots))
    if problem.size <= SMALL:
        branched = branch(problem, reduce_problem(problem).kept, nodes=_NODES, found=known.add)
        known.bound = max(known.bound, branched.bound)
        if branched.exhausted:
            return known.solution("branch", proven=True)
    aims = (gap,) if good_gap is None or good_gap <= gap else (good_gap, gap)
    return _solve_large(problem, known, time_limit_s=time_limit_s, aims=aims)


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

    def is_within(self, gap: float) -> bool:
        """Whether the best plan costs at most this much, relative, above the bound; without a plan, whether the bound
        leaves no room for one, however near those come that are too dear."""
        if self.best is None:
            return self._is_hopeless()
        return self.cheapest_cost <= self.bound * (1 + gap)

    def is_too_dear(self) -> bool:
        """Whether plans are known that keep all limits but that on cost, and none that keeps it too."""
        return self.best is None and self.cheapest is not None

    def _is_hopeless(self) -> bool:
        limit = self.problem.limits.max_cost
        return limit is not None and exceeds(self.bound, limit)

    def solution(self, solver: str, *, proven: bool) -> Solution:
        """Return what is known as the solution; `proven` tells whether the search is complete."""
        if self.best is None:
            status: Status = "infeasible" if proven or self._is_hopeless() else "unknown"
            given_up = _give_up(self.problem, status, solver=solver, bound=self.bound)
            return dataclasses.replace(given_up, too_dear=self.cheapest)
        return Solution(
            choice=self.best,
            status="optimal" if proven else "feasible",
            solver=solver,
            lower_bound=min(self.bound, self.best_cost),
            first_plan_s=self.first_s,
            first_cost=self.first_cost,
        )


def _solve_large(problem: AssignmentProblem, known: _Known, *, time_limit_s: float, aims: Sequence[float]) -> Solution:
    # NumPy takes 50 ms to import, HiGHS 60 ms: only where a plan needs them.
    from . import lagrangian
    from .tables import ProblemArrays

    tables = ProblemArrays(problem)
    alive = tables.useful()
    plans: list[Assignment] = []

    def take(plan: Assignment) -> None:
        plans.append(plan)
        known.add(plan)

    def is_over(share: float = 1.0) -> bool:
        return known.clock() - known.started >= share * time_limit_s

    found = lagrangian.search(
        tables,
        alive,
        steps=_FEW_STEPS if tables.n <= _PAIRED else lagrangian.STEPS,
        enough=aims[-1],
        found=take,
        is_over=lambda: is_over(_SEARCH_SHARE if plans else _FIRST_SHARE),
    )
    known.bound = max(known.bound, found.bound)
    solver, proven = "lagrangian", known.is_within(aims[-1])
    if not proven:
        solver = "highs"

        def remaining(share: float = 1.0) -> float:
            if len(aims) > 1 and known.is_within(aims[0]):
                share = min(share, GOOD_SHARE)
            return share * time_limit_s - (known.clock() - known.started)

        proven = _finish(tables, alive, found.prices, known, problem.limits, aims, remaining, plans)
    if known.best is None and not proven:
        # Hardly anyone's idea of a good plan, but one that keeps the limits, and its gap says how far it may be off.
        for plan in (safest_choice(problem), fastest_choice(problem)):
            known.add(plan)
    if known.best is not None:
        known.add(settle_ties(problem, known.best, is_over=lambda: is_over(_TIES_SHARE)))
    return known.solution(solver, proven=proven)


def _finish(
    tables: ProblemArrays,
    alive: Array,
    prices: lagrangian.Prices,
    known: _Known,
    limits: Limits,
    aims: Sequence[float],
    remaining: Callable[..., float],
    plans: Sequence[Assignment],
) -> bool:
    """Let HiGHS close the gap; return whether the cheapest plan is proven, or that there is none.

    The gap is to come down to the last of the `aims`, or at least to the first; `plans` are those found so far, and
    `remaining` tells how many seconds there are of a share of the time limit.
    """
    from . import mip
    from .lagrangian import round_prices
    from .local_search import improve_by_pairs

    gap = aims[-1]
    best_bound = prices.bound(tables, prices.reduced(tables, alive))
    prices = mip.relax(
        tables,
        alive,
        prices,
        limits=limits,
        start=known.cheapest,
        precision=max(gap, _PRECISION),
        remaining=lambda: remaining(1.0 if known.cheapest is not None else _RELAX_SHARE),
    )
    reduced = prices.reduced(tables, alive)
    bound = prices.bound(tables, reduced)
    assert bound >= best_bound
    known.bound = max(known.bound, bound)

    def is_over() -> bool:
        return remaining() <= 0

    rounded = round_prices(tables, alive, prices, is_over=is_over)
    if rounded is not None:
        known.add(rounded)

    # A plan that takes a candidate costs at least the bound and what the candidate's reduced cost is above the least.
    above = reduced - reduced.min(axis=1)[:, None]
    if tables.n <= _PAIRED and not known.is_within(gap):
        for plan in dict.fromkeys(one for one in (known.cheapest, rounded, *plans[-2:]) if one is not None):
            known.add(improve_by_pairs(tables, alive, above, plan, is_over=is_over))
    if known.is_within(gap):
        return True

    if remaining() > 0 and int(_worth(alive, above, known, bound).sum()) > _CORE * tables.n:
        # A better plan rules more candidates out, and the best one hardly ever has a candidate that is far above.
        core, left_out = _at_most(_CORE * tables.n, alive, above)
        _minimize(tables, core, known, limits, bound + left_out, gap, remaining(), nodes=_CORE_NODES)
    # Straight to the last aim: whoever solved for the first one before would solve most plans twice. What is not even
    # good by then is solved again, for the rest of the time, until it is.
    status, left_out = "unknown", 0.0
    for aim, share in ((gap, GOOD_SHARE), (aims[0], 1.0)) if len(aims) > 1 else ((gap, 1.0),):
        if remaining(share) <= 0:
            continue
        kept, left_out = _at_most(HUGE, _worth(alive, above, known, bound), above)
        status = _minimize(tables, kept, known, limits, bound + left_out, aim, remaining(share))
        if known.cheapest is None:
            if status == "infeasible":
                return left_out == float("inf")
        elif status in ("optimal", "infeasible") or known.is_within(aims[0]):
            break
    if known.best is None or known.is_within(gap):
        return known.is_within(gap)
    # HiGHS has compared all that it was given, to its own precision, and what it was not given costs more.
    return aim == gap and status in ("optimal", "infeasible") and bound + left_out >= known.cheapest_cost * (1 - gap)


def _worth(alive: Array, above: Array, known: _Known, bound: float) -> Array:
    """Return the candidates that a plan can contain that costs less than the cheapest one known."""
    worth: Array = alive & (above <= known.cheapest_cost - bound + 1e-9 * max(1e-6, abs(known.cheapest_cost)))
    return worth


def _minimize(
    tables: ProblemArrays,
    kept: Array,
    known: _Known,
    limits: Limits,
    others: float,
    gap: float,
    time_limit_s: float,
    *,
    nodes: int | None = None,
) -> str:
    """Let HiGHS look for the cheapest plan of these candidates, and take note of it, and of the bound if plans with
    other candidates cost at least `others`; return its status. Where all known plans are too dear, the gap is 0: within
    any other there may be one that is not."""
    from . import mip

    if known.cheapest is not None:
        kept[tables.rows, list(known.cheapest)] = True
    result = mip.minimize(
        tables,
        kept,
        limits=limits,
        time_limit_s=time_limit_s,
        gap=0.0 if known.is_too_dear() else gap,
        start=known.cheapest,
        nodes=nodes,
    )
    if result.choice is not None:
        known.add(result.choice)
    ruled_out = min(float("inf") if result.status == "infeasible" else result.bound, others)
    if ruled_out < float("inf"):
        known.bound = max(known.bound, min(ruled_out, known.cheapest_cost))
    return result.status


def _at_most(most: int, kept: Array, above: Array) -> tuple[Array, float]:
    """Return the entries with the smallest values, and the least value that had to go for it."""
    import numpy as np

    if int(kept.sum()) <= most:
        return kept, float("inf")
    limit = np.partition(above[kept], most)[most]
    fewer = kept & (above < limit)
    return fewer, float(limit)


def _give_up(problem: AssignmentProblem, status: Status, *, solver: str, bound: float = 0.0) -> Solution:
    return Solution(choice=(0,) * len(problem.slots), status=status, solver=solver, lower_bound=bound)
