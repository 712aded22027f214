"""The assignment problem: one candidate for every task, at least cost, within limits. Values and pure functions only.

    minimise    the sum of the chosen costs
    so that     the sum of costs            <= max_cost
                the longest chain of tasks  <= max_seconds     (critical path; nothing queues)
                the mean quality            >= min_quality     (over the tasks that count)
                tasks of an agent           <= its capacity

Among plans of equal cost the better one wins, then the one with less work in seconds, then the one that keeps more of
the initial choices. Quality enters as expected success, so the mean is the expected share of tasks that succeed.

Solvers are apart: `solve` tries what needs none, `lagrangian` is fast, `mip` is exact. Knows nothing of agents' skills
or of where the figures come from: see optimizer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Choice = tuple[int, ...]
"""For every task the position of its chosen candidate."""

TOLERANCE = 1e-9
"""Relative: sums of floats that miss a limit by less than this keep it, so that 0.1 + 0.2 is within 0.3."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One way to get a task done."""

    agent: str
    cost: float
    seconds: float
    quality: float
    """Expected success, 0..1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A task to be filled: its candidates, the initial choice first."""

    candidates: tuple[Candidate, ...]
    before: tuple[int, ...] = ()
    """Positions of the slots that must be done first; all of them lie before this one."""
    counts: bool = True
    """Whether its quality counts: that of a finished task is no longer expected, it is known. Such a slot has one
    candidate."""

    def __post_init__(self) -> None:
        assert self.candidates
        assert self.counts or len(self.candidates) == 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a plan must keep; None is no limit."""

    max_cost: float | None = None
    max_seconds: float | None = None
    min_quality: float = 0.0
    capacity: Mapping[str, int] = field(default_factory=dict)
    """How many tasks an agent may get in the plan, for agents that are limited."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """What a plan comes to."""

    cost: float
    seconds: float
    quality: float
    """Mean over the slots that count; 1 where none does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Slots in topological order, and the limits."""

    slots: tuple[Slot, ...]
    limits: Limits

    def totals(self, choice: Choice) -> Totals:
        """Return what a choice comes to."""
        chosen = [slot.candidates[position] for slot, position in zip(self.slots, choice, strict=True)]
        counted = [one.quality for slot, one in zip(self.slots, chosen, strict=True) if slot.counts]
        return Totals(
            cost=math.fsum(one.cost for one in chosen),
            seconds=max(self.finish_times([one.seconds for one in chosen]), default=0.0),
            quality=math.fsum(counted) / len(counted) if counted else 1.0,
        )

    def finish_times(self, seconds: Sequence[float]) -> list[float]:
        """Return when every slot is done if each starts as soon as it can."""
        finish: list[float] = []
        for slot, duration in zip(self.slots, seconds, strict=True):
            finish.append(duration + max([finish[before] for before in slot.before], default=0.0))
        return finish

    def workload(self, choice: Choice) -> Counter[str]:
        """Return how many slots each agent gets."""
        return Counter(slot.candidates[at].agent for slot, at in zip(self.slots, choice, strict=True))

    def shortfalls(self, choice: Choice) -> dict[str, float]:
        """Return by how much a choice misses each limit; empty when it keeps them all."""
        totals, limits = self.totals(choice), self.limits
        missed = {}
        if limits.max_cost is not None and exceeds(totals.cost, limits.max_cost):
            missed["max_total_cost"] = totals.cost - limits.max_cost
        if limits.max_seconds is not None and exceeds(totals.seconds, limits.max_seconds):
            missed["max_total_time"] = totals.seconds - limits.max_seconds
        if exceeds(limits.min_quality, totals.quality):
            missed["min_quality_score"] = limits.min_quality - totals.quality
        workload = self.workload(choice)
        excess = sum(max(0, workload[agent] - capacity) for agent, capacity in limits.capacity.items())
        if excess:
            missed["agent_capacity"] = float(excess)
        return missed

    def allows(self, choice: Choice) -> bool:
        """Whether a choice keeps all limits."""
        return not self.shortfalls(choice)

    def rank(self, choice: Choice) -> tuple[float, float, float, int]:
        """Return what orders plans, smaller being better: cost, quality lost, seconds of work, choices changed."""
        chosen = [slot.candidates[position] for slot, position in zip(self.slots, choice, strict=True)]
        return (
            round_off(math.fsum(one.cost for one in chosen)),
            round_off(math.fsum(1 - one.quality for one in chosen)),
            round_off(math.fsum(one.seconds for one in chosen)),
            sum(position != 0 for position in choice),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Reduced:
    """A problem without candidates that no best plan needs, and the way back to the positions of the original."""

    original: tuple[Slot, ...]
    problem: Problem
    kept: tuple[tuple[int, ...], ...]
    """For every task the positions that its candidates had in the original."""

    def restore(self, choice: Choice) -> Choice:
        """Return the same choice in positions of the original problem."""
        return tuple(kept[position] for kept, position in zip(self.kept, choice, strict=True))

    def translate(self, choice: Choice) -> Choice:
        """Return a choice of the original in positions of this problem; what is gone gives way to what beats it."""
        translated = []
        for slot, rest, kept, position in zip(self.original, self.problem.slots, self.kept, choice, strict=True):
            if position in kept:
                translated.append(kept.index(position))
                continue
            gone = slot.candidates[position]
            translated.append(
                next(
                    at
                    for at, one in enumerate(rest.candidates)
                    if one.agent not in self.problem.limits.capacity and _beats(one, gone)
                )
            )
        return tuple(translated)


def exceeds(value: float, limit: float) -> bool:
    """Whether a sum of floats lies above a limit by more than rounding explains."""
    return value > limit + TOLERANCE * max(1.0, abs(limit))


def round_off(value: float) -> float:
    """Return the value with the last digits dropped, so that equal sums added in another order compare equal."""
    return float(f"{value:.9g}")


def cheapest_choice(problem: Problem) -> Choice:
    """Return the best candidate of every task by itself. If the limits allow it, no plan is better."""
    return _best_of_each(problem, lambda one: (one.cost, -one.quality, one.seconds))


def fastest_choice(problem: Problem) -> Choice:
    """Return the fastest candidate of every task: no plan has a shorter critical path."""
    return _best_of_each(problem, lambda one: (one.seconds, one.cost, -one.quality))


def safest_choice(problem: Problem) -> Choice:
    """Return the most reliable candidate of every task: no plan has a higher quality."""
    return _best_of_each(problem, lambda one: (-one.quality, one.cost, one.seconds))


def reduce_problem(problem: Problem) -> Reduced:
    """Drop every candidate that another one of its task beats: at most its cost and seconds, at least its quality.

    A plan that uses a beaten candidate becomes no worse by using the other, as long as that agent is free to take one
    more task; so an agent whose capacity could run out beats nobody.
    """
    possible = Counter(agent for slot in problem.slots for agent in {one.agent for one in slot.candidates})
    scarce = {agent for agent, capacity in problem.limits.capacity.items() if possible[agent] > capacity}
    kept = tuple(_unbeaten(slot.candidates, scarce) for slot in problem.slots)
    slots = tuple(
        Slot(
            candidates=tuple(slot.candidates[position] for position in positions),
            before=slot.before,
            counts=slot.counts,
        )
        for slot, positions in zip(problem.slots, kept, strict=True)
    )
    capacity = {agent: problem.limits.capacity[agent] for agent in sorted(scarce)}
    limits = Limits(
        max_cost=problem.limits.max_cost,
        max_seconds=problem.limits.max_seconds,
        min_quality=problem.limits.min_quality,
        capacity=capacity,
    )
    return Reduced(original=problem.slots, problem=Problem(slots=slots, limits=limits), kept=kept)


def _best_of_each(problem: Problem, key: Callable[[Candidate], tuple[float, ...]]) -> Choice:
    # min takes the first of equals, so the initial choice wins ties
    return tuple(min(range(len(slot.candidates)), key=lambda at: key(slot.candidates[at])) for slot in problem.slots)


def _unbeaten(candidates: tuple[Candidate, ...], scarce: set[str]) -> tuple[int, ...]:
    # The initial candidate comes first among equals, so it beats its doubles; a plan keeps it where it can.
    order = sorted(
        range(len(candidates)),
        key=lambda at: (candidates[at].cost, -candidates[at].quality, candidates[at].seconds, at),
    )
    kept: list[int] = []
    strong: list[Candidate] = []
    for position in order:
        one = candidates[position]
        if any(_beats(other, one) for other in strong):
            continue
        kept.append(position)
        if one.agent not in scarce:
            strong.append(one)
    return tuple(sorted(kept))


def _beats(one: Candidate, other: Candidate) -> bool:
    return one.cost <= other.cost and one.quality >= other.quality and one.seconds <= other.seconds
