"""Several graphs as one problem: their tasks side by side, the agents that they share, and the places of these.

Chooses nothing, and knows no budget: see portfolio, and mip for the program that comes of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from .assignment import Assignment, AssignmentProblem, Limits, TaskChoices


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """What agents do at a time, as capacities: those of a level of all graphs that could run out."""

    capacity: Mapping[str, int]
    """`AGENT at level N` to the places there."""

    @classmethod
    def of(cls, problems: Iterable[AssignmentProblem], at_once: Mapping[str, int]) -> Places:
        possible: Counter[tuple[str, int]] = Counter()
        for problem in problems:
            for slot, level in zip(problem.slots, _levels(problem), strict=True):
                agents = {agent for one in slot.candidates for agent in one.occupied} if slot.counts else set()
                possible.update((agent, level) for agent in agents)
        scarce = sorted(place for place, count in possible.items() if count > at_once.get(place[0], count))
        return cls(capacity={_place(agent, level): at_once[agent] for agent, level in scarce})

    def hold(self, problem: AssignmentProblem) -> AssignmentProblem:
        """Return the problem, in which candidates take these places too."""
        if not self.capacity:
            return problem
        slots = []
        for slot, level in zip(problem.slots, _levels(problem), strict=True):
            candidates = []
            for one in slot.candidates:
                places = [name for agent in one.occupied if (name := _place(agent, level)) in self.capacity]
                candidates.append(replace(one, uses=(*one.occupied, *places)) if places and slot.counts else one)
            slots.append(replace(slot, candidates=tuple(candidates)))
        return replace(problem, slots=tuple(slots))


def _levels(problem: AssignmentProblem) -> list[int]:
    return [round(end) - 1 for end in problem.finish_times([1.0] * len(problem.slots))]


def _place(agent: str, level: int) -> str:
    return f"{agent} at level {level}"  # no agent's id has a space


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """What HiGHS found for all graphs."""

    choices: dict[str, Assignment] | None
    bound: float
    proven: bool
    infeasible: bool


class Union:
    """All graphs as one problem, in which each keeps its own limits and capacities."""

    def __init__(self, problems: Mapping[str, AssignmentProblem], shared: Mapping[str, int]) -> None:
        from . import mip, tables  # NumPy takes 50 ms: only where graphs get in each other's way

        slots: list[TaskChoices] = []
        capacity = dict(shared)
        self._spans: dict[str, tuple[int, int]] = {}
        self._parts: list[mip.Part] = []
        for name, problem in problems.items():
            begin, own = len(slots), problem.limits.capacity
            # No agent's id has a space, so these are other agents: places in one graph.
            capacity |= {f"{agent} in {name}": most for agent, most in own.items()}
            for slot in problem.slots:
                candidates = tuple(
                    replace(
                        one,
                        uses=(*one.occupied, *(f"{agent} in {name}" for agent in one.occupied if agent in own)),
                    )
                    for one in slot.candidates
                )
                before = tuple(begin + other for other in slot.before)
                slots.append(replace(slot, candidates=candidates, before=before))
            self._spans[name] = begin, len(slots)
            self._parts.append(mip.Part(begin=begin, end=len(slots), limits=problem.limits))
        self._tables = tables.ProblemArrays(AssignmentProblem(slots=tuple(slots), limits=Limits(capacity=capacity)))
        self._alive = self._tables.useful()
        self.size = int(self._alive.sum())

    def solve(
        self,
        *,
        time_limit_s: float,
        gap: float,
        start: Mapping[str, Assignment] | None = None,
        may_exceed: Collection[str] = (),
    ) -> Joined:
        """Minimise the cost; or, where capacities may be exceeded, the places that are missing."""
        from . import mip

        tables, alive, flat = self._tables, self._alive, None
        if start is not None:
            flat = tuple(at for name in self._spans for at in start[name])
            alive = alive.copy()
            alive[tables.rows, list(flat)] = True
        result = mip.minimize(
            tables,
            alive,
            "excess" if may_exceed else "cost",
            limits=Limits(),
            time_limit_s=time_limit_s,
            gap=gap,
            start=flat,
            parts=self._parts,
            may_exceed=may_exceed or None,
        )
        choice = result.choice
        return Joined(
            choices=None if choice is None else {name: choice[a:b] for name, (a, b) in self._spans.items()},
            bound=0.0 if may_exceed or result.status == "infeasible" else result.bound,
            proven=result.status == "optimal",
            infeasible=result.status == "infeasible",
        )
