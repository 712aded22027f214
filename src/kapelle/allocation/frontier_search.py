"""Finds the plans that no other one beats: by all assignments where these are few, else by solving within limits."""

from __future__ import annotations

import bisect
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from kapelle.errors import InvalidInput
from kapelle.graph import TaskDAG

from .assignment import (
    Assignment,
    AssignmentProblem,
    Limits,
    Reduced,
    exceeds,
    fastest_choice,
    reduce_problem,
    safest_choice,
)
from .constraints import OptimizationConstraints, is_amount
from .formulation import Formulation, has_plan
from .frontier import FoundPoint, Frontier, FrontierPoint, Method, ranges_of, vector_of
from .optimizer import AnyPlan, DAAOOptimizer
from .solve import Solution, solve

ENUMERABLE = 100_000
"""Plans in all up to which every one is looked at: a tenth of a second."""
EXACT = 500
"""Candidates that no other beats up to which every point is solved to the end; 1 % is enough above."""
_EXACT_GAP, _LARGE_GAP = 1e-6, 0.01
_NEXT = 1e-7
"""Relative: how much faster a plan must be to count as another one."""
_HALVINGS = 5
_MIN_S = 0.02
"""Seconds that a target gets even when time is short."""


def pareto_frontier(
    initial_plan: AnyPlan,
    dag: TaskDAG,
    constraints: OptimizationConstraints | None = None,
    *,
    optimizer: DAAOOptimizer,
    points: int = 25,
    time_limit_s: float = 4.0,
    timer: Callable[[], float] = time.perf_counter,
) -> Frontier:
    """Return plans within the constraints of which none beats another one in cost, time and quality at once.

    Without a `min_quality_score` all qualities are shown, low ones too.

    Args:
        initial_plan: What may be changed, as for `optimize_routing_plan`.
        dag: Its tasks.
        constraints: What every point must keep.
        optimizer: Knows the agents, their estimates and the strategies.
        points: How many to return at most, spread over the frontier.
        time_limit_s: When to stop looking for more.
        timer: The clock of the time limit.

    Raises:
        InvalidInput: as `optimize_routing_plan`; or `points` or `time_limit_s` is no positive number.
    """
    if isinstance(points, bool) or not isinstance(points, int) or points < 1:
        raise InvalidInput(f"points is {points!r}; it must be a whole number, 1 or more.")
    if not is_amount(time_limit_s):
        raise InvalidInput(f"time_limit_s is {time_limit_s!r}; it must be a number of seconds.")
    constraints = constraints or OptimizationConstraints()
    if constraints.min_quality_score is None:
        constraints = replace(constraints, min_quality_score=0.0)
    formulation = optimizer.formulate(initial_plan, dag, constraints)
    search = _Search(formulation, points=points, deadline=timer() + time_limit_s, timer=timer)
    frontier = search.run()
    if not frontier.points and (begun := optimizer.relax(formulation)) is not None:
        frontier = _Search(begun, points=points, deadline=timer() + time_limit_s, timer=timer).run()
    return frontier


class _Search:
    """Finds the frontier of one problem."""

    def __init__(self, formulation: Formulation, *, points: int, deadline: float, timer: Callable[[], float]) -> None:
        self._formulation = formulation
        self._reduced: Reduced = reduce_problem(formulation.problem)
        self._small: AssignmentProblem = self._reduced.problem
        self._points = points
        self._deadline = deadline
        self._timer = timer
        self._size = self._small.size
        self._gap = _EXACT_GAP if self._size <= EXACT else _LARGE_GAP
        self._solved: list[tuple[Limits, FoundPoint | None]] = []
        self._settled: dict[Assignment, FoundPoint] = {}

    def run(self) -> Frontier:
        if math.prod(len(slot.candidates) for slot in self._small.slots) <= ENUMERABLE:
            return self._enumerate()
        return self._by_grid()

    # Enumeration

    def _enumerate(self) -> Frontier:
        import numpy as np

        small, limits = self._small, self._small.limits
        counts = [len(slot.candidates) for slot in small.slots]
        plans = np.arange(math.prod(counts))
        cost, quality = np.zeros(len(plans)), np.zeros(len(plans))
        load = {agent: np.zeros(len(plans)) for agent in limits.capacity}
        allowed = np.ones(len(plans), dtype=bool)
        finish: list[Any] = []
        chosen: list[Any] = []
        rest = plans
        for slot, count in zip(small.slots, counts, strict=True):
            rest, at = np.divmod(rest, count)
            chosen.append(at)
            cost += np.array([one.cost for one in slot.candidates])[at]
            if slot.counts:
                quality += np.array([one.quality for one in slot.candidates])[at]
                allowed &= np.array([slot.admits(one) for one in slot.candidates])[at]
            start = np.max([finish[before] for before in slot.before], axis=0) if slot.before else 0.0
            finish.append(start + np.array([one.seconds for one in slot.candidates])[at])
            for agent, held in load.items():
                held += np.array([agent in one.occupied for one in slot.candidates], dtype=float)[at]
        seconds = np.max(finish, axis=0) if finish else np.zeros(len(plans))
        counted = sum(slot.counts for slot in small.slots)
        quality = quality / counted if counted else np.ones(len(plans))
        for agent, held in load.items():
            allowed &= held <= limits.capacity[agent]
        slack = 1e-9
        if limits.max_cost is not None:
            allowed &= cost <= limits.max_cost + slack * max(1.0, limits.max_cost)
        if limits.max_seconds is not None:
            allowed &= seconds <= limits.max_seconds + slack * max(1.0, limits.max_seconds)
        allowed &= quality >= limits.min_quality - slack

        which = np.flatnonzero(allowed)
        # Sums of the same figures in another order differ in the last digits, and are the same all the same.
        axes = [np.round(axis[which] / (float(axis.max()) or 1.0), 10) for axis in (cost, seconds, quality)]
        order = np.lexsort((axes[1], -axes[2], axes[0]))
        which = which[order]
        kept = _unbeaten(axes[1][order].tolist(), (-axes[2][order]).tolist())
        found = []
        for position in kept:
            plan = int(which[position])
            choice = tuple(int(at[plan]) for at in chosen)
            totals = small.totals(choice)
            solution = Solution(choice=choice, status="optimal", solver="enumeration", lower_bound=totals.cost)
            found.append(self._found(choice, solution, limits))
        if not found:
            return self._nothing("enumeration")
        shown = _spread(found, self._points)
        return self._frontier(shown, "enumeration", complete=len(shown) == len(found), total=len(found))

    # Epsilon-constraint

    def _by_grid(self) -> Frontier:
        """Solve a grid of qualities and deadlines, the loosest first."""
        limits = self._small.limits
        cheapest = self._solve(limits)
        if cheapest is None:
            return self._nothing("epsilon-constraint")
        highest = self._most_quality(cheapest)
        best = self._solve(replace(limits, min_quality=highest)) or cheapest
        longest = max(cheapest.seconds, best.seconds)
        shortest = self._least_seconds(cheapest)
        fastest = self._solve(replace(limits, max_seconds=shortest)) or cheapest
        lowest = min(cheapest.quality, fastest.quality)

        steps = max(2, math.ceil(math.sqrt(self._points)))
        targets = sorted(itertools.product(range(steps + 1), repeat=2), key=lambda target: (sum(target), target))
        for better, sooner in targets:
            if self._is_late():
                break
            quality = lowest + (highest - lowest) * better / steps
            seconds = longest - (longest - shortest) * sooner / steps
            self._solve(
                replace(
                    limits,
                    min_quality=max(limits.min_quality, quality),
                    max_seconds=seconds if sooner else limits.max_seconds,
                )
            )
        stopped = self._is_late()
        distinct = {one.vector: one for one in self._settled.values()}
        found = sorted(distinct.values(), key=lambda one: (one.vector[0], one.vector[2], one.vector[1]))
        kept = _unbeaten([one.vector[1] for one in found], [one.vector[2] for one in found])
        shown = _spread([found[position] for position in kept], self._points)
        return self._frontier(shown, "epsilon-constraint", complete=False, stopped=stopped)

    def _solve(self, limits: Limits) -> FoundPoint | None:
        """Return the cheapest plan within limits, as good as its cost allows and then as fast; None where none was
        found."""
        found = self._cheapest(limits)
        if found is None:
            return None
        if found.choice in self._settled:
            return self._settled[found.choice]
        began = found
        # `solve` takes the best among plans of equal cost; of those that are equally good this takes the fastest. What
        # it solves for that is a target as well: the next faster plan.
        while self._size <= EXACT and not self._is_late():
            sooner = self._cheapest(replace(limits, min_quality=found.quality, max_seconds=found.seconds * (1 - _NEXT)))
            if sooner is None or exceeds(sooner.cost, found.cost):
                break
            found = replace(sooner, limits=found.limits, solution=replace(found.solution, choice=sooner.choice))
        self._settled[began.choice] = self._settled[found.choice] = found
        return found

    def _cheapest(self, limits: Limits) -> FoundPoint | None:
        """Return the cheapest plan within limits. What is known of looser ones may say it: if they have none, there is
        none; if their cheapest keeps these too, it is the cheapest here."""
        for looser, known in self._solved:
            if not _implies(limits, looser):
                continue
            if known is None:
                return None
            if AssignmentProblem(slots=self._small.slots, limits=limits).allows(known.choice):
                return replace(known, limits=limits)
        solution = self._run(AssignmentProblem(slots=self._small.slots, limits=limits))
        found = self._found(solution.choice, solution, limits) if has_plan(solution) else None
        if found is not None or solution.status == "infeasible":
            self._solved.append((limits, found))
        return found

    def _most_quality(self, cheapest: FoundPoint) -> float:
        """Return the highest quality within the limits, as far as it is found in time.

        Where the best candidates of all tasks make no plan within the limits it takes a search, in which cost and
        quality have changed places: the least quality lost, on the mean of what is not spent.
        """
        small, limits = self._small, self._small.limits
        safest = safest_choice(small)
        if small.allows(safest):
            return small.totals(safest).quality
        dearest = max(one.cost for slot in small.slots for one in slot.candidates) or 1.0
        slots = tuple(
            replace(
                slot,
                candidates=tuple(
                    replace(one, cost=1 - one.quality if slot.counts else 0.0, quality=1 - one.cost / dearest)
                    for one in slot.candidates
                    if slot.admits(one) or not any(map(slot.admits, slot.candidates))
                ),
                min_quality=0.0,
                counts=True,
            )
            for slot in small.slots
        )
        unspent = 0.0 if limits.max_cost is None else max(0.0, 1 - limits.max_cost / dearest / len(slots))
        solution = self._run(AssignmentProblem(slots=slots, limits=replace(limits, max_cost=None, min_quality=unspent)))
        counted = sum(slot.counts for slot in small.slots)
        if not has_plan(solution) or not counted:
            return cheapest.quality
        lost = math.fsum(slot.candidates[at].cost for slot, at in zip(slots, solution.choice, strict=True))
        return max(cheapest.quality, 1 - lost / counted)

    def _least_seconds(self, cheapest: FoundPoint) -> float:
        """Return the least time within the limits, or nearly, as far as it is found in time."""
        fastest = fastest_choice(self._small)
        low, high = self._small.totals(fastest).seconds, cheapest.seconds
        if self._small.allows(fastest):
            return low
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            found = self._cheapest(replace(self._small.limits, max_seconds=middle))
            low, high = (middle, high) if found is None else (low, found.seconds)
        return high

    def _run(self, problem: AssignmentProblem) -> Solution:
        left = self._deadline - self._timer()
        # A target may take no more than a share of the time, and none is lost where the time is over.
        return solve(problem, time_limit_s=max(_MIN_S, left / 4), gap=self._gap)

    def _is_late(self) -> bool:
        return self._timer() >= self._deadline

    # Results

    def _found(self, choice: Assignment, solution: Solution, limits: Limits) -> FoundPoint:
        totals = self._small.totals(choice)
        return FoundPoint(
            choice=choice,
            cost=totals.cost,
            seconds=totals.seconds,
            quality=totals.quality,
            solution=solution,
            limits=limits,
        )

    def _frontier(
        self, found: Sequence[FoundPoint], method: Method, *, complete: bool, total: int = 0, stopped: bool = False
    ) -> Frontier:
        points = tuple(self._point(one) for one in sorted(found, key=lambda one: (one.cost, -one.quality, one.seconds)))
        gap = max((max(0.0, one.cost - one.solution.lower_bound) / one.cost if one.cost else 0.0) for one in found)
        if method == "enumeration":
            note = "Every plan was looked at" + ("." if complete else f"; {len(found)} of {total} points are shown.")
        else:
            note = "The cheapest plan for each of a grid of qualities and deadlines; there may be others between them."
            note += " Time ran out before the whole grid was solved." if stopped else ""
        return Frontier(points=points, method=method, complete=complete, gap=gap, note=note)

    def _point(self, one: FoundPoint) -> FrontierPoint:
        choice = self._reduced.restore(one.choice)
        # The plan is told by the limits that it was found for; the capacities are those of the user.
        limits = replace(one.limits, capacity=self._formulation.problem.limits.capacity)
        plan = self._formulation.with_limits(limits).plan(replace(one.solution, choice=choice))
        return FrontierPoint(cost_usd=one.cost, seconds=one.seconds, quality=one.quality, plan=plan)

    def _nothing(self, method: Method) -> Frontier:
        note = "No plan keeps the constraints; optimize_routing_plan says which of them stand in the way."
        return Frontier(points=(), method=method, complete=method == "enumeration", gap=0.0, note=note)


def _implies(limits: Limits, looser: Limits) -> bool:
    """Whether every plan that keeps `limits` keeps `looser` too. Their capacities are the same."""
    pairs = ((limits.max_seconds, looser.max_seconds), (limits.max_cost, looser.max_cost))
    within = all(upper is None or (value is not None and value <= upper) for value, upper in pairs)
    return within and limits.min_quality >= looser.min_quality


def _unbeaten(seconds: Sequence[float], lost: Sequence[float]) -> list[int]:
    """Return the positions of what nothing before it beats, in lists that are sorted by cost, quality lost, seconds.

    What came before is at most as dear, so it is beaten if one of those was as good and as fast. `edge` holds the
    fastest for every quality so far: the more is lost, the fewer seconds.
    """
    kept: list[int] = []
    edge: list[tuple[float, float]] = []
    for position, (second, loss) in enumerate(zip(seconds, lost, strict=True)):
        place = bisect.bisect_right(edge, (loss, math.inf))
        if place and edge[place - 1][1] <= second:
            continue
        end = place
        while end < len(edge) and edge[end][1] >= second:
            end += 1
        begin = place - 1 if place and edge[place - 1][0] == loss else place
        edge[begin:end] = [(loss, second)]
        kept.append(position)
    return kept


def _spread(found: Sequence[FoundPoint], most: int) -> list[FoundPoint]:
    """Return so many at most: the cheapest, fastest and best, then always the one farthest from those taken."""
    if len(found) <= most:
        return list(found)
    lows, spans = ranges_of(found)
    places = [
        tuple((v - low) / span for v, low, span in zip(vector_of(one), lows, spans, strict=True)) for one in found
    ]
    columns = list(zip(*(one.vector for one in found), strict=True))
    taken = list(dict.fromkeys(column.index(min(column)) for column in columns))[:most]
    away = [min(math.dist(place, places[n]) for n in taken) for place in places]
    while len(taken) < most:
        n = max(range(len(found)), key=away.__getitem__)
        taken.append(n)
        away = [min(old, math.dist(place, places[n])) for old, place in zip(away, places, strict=True)]
    return [found[n] for n in sorted(taken)]
