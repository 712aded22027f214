"""The assignment problem: one candidate for every task, at least cost, within limits. Values and pure functions only.

    minimise    the sum of the chosen costs
    so that     the sum of costs            <= max_cost
                the longest chain of tasks  <= max_seconds     (critical path; nothing queues)
                the mean quality            >= min_quality     (over the tasks that count)
                each task's quality         >= its own floor   (of the tasks that count)
                tasks of an agent           <= its capacity    (a candidate may occupy several agents)

Among plans of equal cost the better one wins, then the one with less work in seconds, then the one that keeps more of
the initial choices.

Quality enters as a lower confidence bound of expected success, so the mean is a lower bound of the expected share of
tasks that succeed. The bounds are added as if all were wrong at once: tasks of one agent share that agent's error, so
it does not average out over them. Added like that they stay linear, and err on the safe side where agents differ.

Solvers are apart: `solve` tries what needs none, `lagrangian` is fast, `mip` is exact. Knows nothing of agents' skills
or of where the figures come from: see optimizer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

Assignment = tuple[int, ...]
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
    """Lower confidence bound of expected success, 0..1."""
    uses: tuple[str, ...] = ()
    """The agents that it may occupy, each of which needs a free place; empty: `agent` alone. A strategy such as "small,
    else large" is one candidate that uses both, since nobody knows beforehand which will do."""

    @property
    def occupied(self) -> tuple[str, ...]:
        """The agents whose capacity it takes one place of, each once."""
        return tuple(dict.fromkeys(self.uses)) if self.uses else (self.agent,)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskChoices:
    """A task to be filled: its candidates, the initial choice first."""

    candidates: tuple[Candidate, ...]
    before: tuple[int, ...] = ()
    """Positions of the slots that must be done first; all of them lie before this one."""
    counts: bool = True
    """Whether its quality counts: that of a finished task is no longer expected, it is known. Such a slot has one
    candidate."""
    min_quality: float = 0.0
    """The least quality of a candidate for this task. Not asked of a slot that does not count."""
    name: str = ""
    """What a message calls it; empty: its position."""

    def __post_init__(self) -> None:
        assert self.candidates
        assert self.counts or len(self.candidates) == 1

    def admits(self, candidate: Candidate) -> bool:
        """Whether a candidate is good enough for this task."""
        return not self.counts or not exceeds(self.min_quality, candidate.quality)


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
class AssignmentProblem:
    """Slots in topological order, and the limits."""

    slots: tuple[TaskChoices, ...]
    limits: Limits

    @property
    def size(self) -> int:
        """How many candidates there are, over all tasks."""
        return sum(len(slot.candidates) for slot in self.slots)

    def totals(self, choice: Assignment) -> Totals:
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

    def workload(self, choice: Assignment) -> Counter[str]:
        """Return how many slots each agent gets, or may get."""
        return Counter(
            agent for slot, at in zip(self.slots, choice, strict=True) for agent in slot.candidates[at].occupied
        )

    def shortfalls(self, choice: Assignment) -> dict[str, float]:
        """Return by how much a choice misses each limit; empty when it keeps them all.

        The names are `max_total_cost` (money), `max_total_time` (seconds), `min_quality_score`, `task_quality` (the
        tasks' floors) and `agent_capacity` (tasks too many). The last two are sums, beside which stand their parts:
        `task_quality[TASK]` and `agent_capacity[AGENT]`.
        """
        totals, limits = self.totals(choice), self.limits
        missed = {}
        if limits.max_cost is not None and exceeds(totals.cost, limits.max_cost):
            missed["max_total_cost"] = totals.cost - limits.max_cost
        if limits.max_seconds is not None and exceeds(totals.seconds, limits.max_seconds):
            missed["max_total_time"] = totals.seconds - limits.max_seconds
        if exceeds(limits.min_quality, totals.quality):
            missed["min_quality_score"] = limits.min_quality - totals.quality
        floors = {
            f"task_quality[{slot.name or position}]": slot.min_quality - slot.candidates[at].quality
            for position, (slot, at) in enumerate(zip(self.slots, choice, strict=True))
            if slot.min_quality and not slot.admits(slot.candidates[at])
        }
        if floors:
            missed |= {"task_quality": math.fsum(floors.values()), **floors}
        workload = self.workload(choice) if limits.capacity else Counter()
        crowds = {
            f"agent_capacity[{agent}]": float(workload[agent] - capacity)
            for agent, capacity in limits.capacity.items()
            if workload[agent] > capacity
        }
        if crowds:
            missed |= {"agent_capacity": math.fsum(crowds.values()), **crowds}
        return missed

    def allows(self, choice: Assignment) -> bool:
        """Whether a choice keeps all limits."""
        return not self.shortfalls(choice)

    def rank(self, choice: Assignment) -> tuple[float, float, float, int]:
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

    original: tuple[TaskChoices, ...]
    problem: AssignmentProblem
    kept: tuple[tuple[int, ...], ...]
    """For every task the positions that its candidates had in the original."""

    def restore(self, choice: Assignment) -> Assignment:
        """Return the same choice in positions of the original problem."""
        return tuple(kept[position] for kept, position in zip(self.kept, choice, strict=True))

    def translate(self, choice: Assignment) -> Assignment:
        """Return a choice of the original in positions of this problem; what is gone gives way to what beats it.

        The choice keeps the limits of the original.
        """
        scarce = self.problem.limits.capacity.keys()
        translated = []
        for slot, rest, kept, position in zip(self.original, self.problem.slots, self.kept, choice, strict=True):
            if position in kept:
                translated.append(kept.index(position))
                continue
            gone = slot.candidates[position]
            translated.append(next(at for at, one in enumerate(rest.candidates) if _beats(one, gone, scarce)))
        return tuple(translated)


def exceeds(value: float, limit: float) -> bool:
    """Whether a sum of floats lies above a limit by more than rounding explains."""
    return value > limit + TOLERANCE * max(1.0, abs(limit))


def round_off(value: float) -> float:
    """Return the value with the last digits dropped, so that equal sums added in another order compare equal."""
    return float(f"{value:.9g}")


def cheapest_choice(problem: AssignmentProblem) -> Assignment:
    """Return the best candidate of every task by itself. If the limits allow it, no plan is better.

    Like its siblings below it keeps the floors of the tasks, where a task has a candidate that does.
    """
    return _best_of_each(problem, lambda one: (one.cost, -one.quality, one.seconds))


def fastest_choice(problem: AssignmentProblem) -> Assignment:
    """Return the fastest candidate of every task: no plan has a shorter critical path."""
    return _best_of_each(problem, lambda one: (one.seconds, one.cost, -one.quality))


def safest_choice(problem: AssignmentProblem) -> Assignment:
    """Return the most reliable candidate of every task: no plan has a higher quality."""
    return _best_of_each(problem, lambda one: (-one.quality, one.cost, one.seconds))


def missing_places(problem: AssignmentProblem) -> int:
    """Return how many tasks there are at least for which no agent has a place left, whoever does the others."""
    capacity, bound = problem.limits.capacity, 0
    if not capacity:
        return 0
    limited: set[str] = set()
    for slot in problem.slots:
        held = [capacity.keys() & one.occupied for one in slot.candidates]
        bound += all(held)
        limited.update(*held)
    return max(0, bound - sum(capacity[agent] for agent in limited))


def reduce_problem(problem: AssignmentProblem) -> Reduced:
    """Drop every candidate that is below its task's floor or that another one of its task beats.

    To beat is to have at most the other's cost and seconds, at least its quality, and to need no place of an agent
    whose capacity could run out that the other does not need too. So a plan that uses the beaten candidate becomes no
    worse by using the other. A task all of whose candidates are below its floor keeps them.
    """
    capacity = problem.limits.capacity
    possible: Counter[str] = Counter()
    if capacity:
        for slot in problem.slots:
            possible.update({agent for one in slot.candidates for agent in one.occupied})
    scarce = {agent for agent, most in capacity.items() if possible[agent] > most}
    kept = tuple(_unbeaten(slot, scarce) for slot in problem.slots)
    slots = tuple(
        replace(slot, candidates=tuple(slot.candidates[position] for position in positions))
        for slot, positions in zip(problem.slots, kept, strict=True)
    )
    limits = replace(problem.limits, capacity={agent: capacity[agent] for agent in sorted(scarce)})
    return Reduced(original=problem.slots, problem=AssignmentProblem(slots=slots, limits=limits), kept=kept)


def _best_of_each(problem: AssignmentProblem, key: Callable[[Candidate], tuple[float, ...]]) -> Assignment:
    # min takes the first of equals, so the initial choice wins ties
    best = []
    for slot in problem.slots:
        admitted = _admitted(slot)
        best.append(min(admitted, key=[key(one) for one in slot.candidates].__getitem__))
    return tuple(best)


def _admitted(slot: TaskChoices) -> Sequence[int]:
    everyone = range(len(slot.candidates))
    if not slot.min_quality:
        return everyone
    return [at for at in everyone if slot.admits(slot.candidates[at])] or everyone


def _unbeaten(slot: TaskChoices, scarce: Collection[str]) -> tuple[int, ...]:
    # The initial candidate comes first among equals, so it beats its doubles; a plan keeps it where it can.
    candidates = slot.candidates
    order = sorted(
        _admitted(slot),
        key=lambda at: (candidates[at].cost, -candidates[at].quality, candidates[at].seconds, at),
    )
    kept: list[int] = []
    for position in order:
        if not any(_beats(candidates[other], candidates[position], scarce) for other in kept):
            kept.append(position)
    return tuple(sorted(kept))


def _beats(one: Candidate, other: Candidate, scarce: Collection[str]) -> bool:
    return (
        one.cost <= other.cost
        and one.quality >= other.quality
        and one.seconds <= other.seconds
        and (not scarce or all(agent not in scarce or agent in other.occupied for agent in one.occupied))
    )
