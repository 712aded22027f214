"""The assignment problem as arrays, and the timetable of a plan that follows single changes. Decides nothing.

One row per task, padded to the widest; what no best plan needs is marked dead rather than removed, so that positions
stay those of the problem. Needs NumPy: small plans do without it, see `branch`.
"""

from __future__ import annotations

import copy
import functools
import heapq
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .assignment import TOLERANCE, Assignment, AssignmentProblem

Array = np.ndarray[Any, np.dtype[Any]]

_BLOCK = 2_000_000
"""Comparisons of candidates at a time: a few MB of truth values."""


class Lists(NamedTuple):
    """Tables as nested lists."""

    cost: list[list[float]]
    seconds: list[list[float]]
    quality: list[list[float]]
    agents: list[list[list[int]]]


class ProblemArrays:
    """A problem as arrays of (tasks, candidates)."""

    def __init__(self, problem: AssignmentProblem) -> None:
        slots, limits = problem.slots, problem.limits
        flat = [one for slot in slots for one in slot.candidates]
        sizes = np.array([len(slot.candidates) for slot in slots])
        self.n, self.width = len(slots), int(sizes.max(initial=1))
        self.rows = np.arange(self.n)
        self.exists = np.arange(self.width) < sizes[:, None]
        self.cost = self._spread([one.cost for one in flat], np.inf)
        self.seconds = self._spread([one.seconds for one in flat], 0.0)
        success = self._spread([one.quality for one in flat], 0.0)
        self.counts = np.array([slot.counts for slot in slots], dtype=bool)
        """Whether the quality of a task counts."""
        self.sizes = np.ones(self.n, dtype=np.intp)
        """How many tasks a row stands for: more than one only in folded tables, see `alike`."""
        self.timed = np.ones(self.n, dtype=bool)
        """Whether a row's time can matter."""
        self.quality = np.where(self.counts[:, None], success, 0.0)
        """0 where it does not count."""
        floors = np.array([slot.min_quality for slot in slots], dtype=float)
        floors[~self.counts] = 0.0
        self.lack = np.maximum(0.0, floors[:, None] - success)
        """By how much a candidate misses its task's own floor."""
        self.needed = limits.min_quality * int(self.counts.sum())
        self.deadline = limits.max_seconds
        self.before = [slot.before for slot in slots]
        self.after: list[list[int]] = [[] for _ in slots]
        for t, before in enumerate(self.before):
            for other in before:
                self.after[other].append(t)

        possible: Counter[str] = Counter()
        if limits.capacity:
            for slot in slots:
                possible.update({agent for one in slot.candidates for agent in (one.uses or (one.agent,))})
        self.scarce = tuple(sorted(agent for agent, most in limits.capacity.items() if possible[agent] > most))
        """Agents whose capacity could run out."""
        self.capacity = np.array([limits.capacity[agent] for agent in self.scarce], dtype=float)
        number = {agent: at for at, agent in enumerate(self.scarce)}
        nobody = len(self.scarce)
        deepest = max((len(one.occupied) for one in flat if one.uses), default=1)
        layers = [[number.get(one.agent, nobody) for one in flat]]
        layers += [[nobody] * len(flat) for _ in range(deepest - 1)]
        for at, one in enumerate(flat):
            if one.uses:
                used = [number.get(agent, nobody) for agent in one.occupied]
                for depth, layer in enumerate(layers):
                    layer[at] = used[depth] if depth < len(used) else nobody
        self.agents = np.stack([self._spread(layer, nobody).astype(np.intp) for layer in layers])
        """Numbers of the scarce agents that a candidate occupies, in layers; `len(scarce)` is nobody."""

    def select(self, rows: Array, *, sizes: Array, before: Sequence[tuple[int, ...]], timed: Array) -> ProblemArrays:
        """Return tables of these rows, each of which stands for so many tasks, and waits for so many of the others."""
        some = copy.copy(self)
        some.__dict__.pop("lists", None)
        some.n, some.rows, some.sizes, some.timed = len(rows), np.arange(len(rows)), sizes, timed
        for name in ("exists", "cost", "seconds", "quality", "counts", "lack"):
            setattr(some, name, getattr(self, name)[rows])
        some.agents = self.agents[:, rows]
        some.before = list(before)
        some.after = [[] for _ in rows]
        for row, others in enumerate(before):
            for other in others:
                some.after[other].append(row)
        return some

    def _spread(self, flat: Sequence[float], empty: float) -> Array:
        table = np.full((self.n, self.width), empty)
        table[self.exists] = flat
        return table

    @functools.cached_property
    def lists(self) -> Lists:
        """The same tables as nested lists: single entries of arrays are slow to read."""
        agents = self.agents.transpose(1, 2, 0).tolist()
        return Lists(
            cost=self.cost.tolist(), seconds=self.seconds.tolist(), quality=self.quality.tolist(), agents=agents
        )

    def useful(self, *, floors: bool = True, deadline: bool = True) -> Array:
        """Return which candidates a best plan may need: good enough, fast enough, and beaten by none of its task.

        A task all of whose candidates fail a test keeps them: the solver then finds that there is no plan.
        """
        alive = self.exists.copy()
        if floors:
            alive = _unless_empty(alive & (self.lack <= TOLERANCE), alive)
        if deadline and self.deadline is not None:
            shortest = np.where(alive, self.seconds, np.inf).min(axis=1).tolist()
            room = [self.deadline * (1 + TOLERANCE) - time for time in self.waiting(shortest)]
            alive = _unless_empty(alive & (self.seconds <= np.array(room)[:, None] + TOLERANCE), alive)
        nobody = len(self.scarce)
        if nobody and not (self.agents == nobody).all(axis=0)[alive].any() and len(self.agents) == 1:
            return alive  # a place with each agent is worth something of its own, so none beats another
        step = max(1, _BLOCK // self.width**2)
        for begin in range(0, self.n, step):
            part = slice(begin, begin + step)
            alive[part] &= ~self._beaten(part, alive[part])
        return alive

    def _beaten(self, part: slice, alive: Array) -> Array:
        """Return which candidates of these tasks another one beats; see `assignment.reduce_problem`."""
        cost, seconds, quality = self.cost[part], self.seconds[part], self.quality[part]
        below = (
            (cost[:, :, None] <= cost[:, None, :])
            & (seconds[:, :, None] <= seconds[:, None, :])
            & (quality[:, :, None] >= quality[:, None, :])
            & (self.lack[part][:, :, None] <= self.lack[part][:, None, :])
        )
        for used in self.agents[:, part]:
            anyones = used == len(self.scarce)
            shared: Array = (self.agents[:, part, None, :] == used[:, :, None]).any(axis=0)
            below &= anyones[:, :, None] | shared
        later = np.tri(self.width, k=-1, dtype=bool)
        beats = below & ~(below.transpose(0, 2, 1) & later) & alive[:, :, None]
        beats[:, np.arange(self.width), np.arange(self.width)] = False
        beaten: Array = beats.any(axis=1)
        return beaten

    def prices_of(self, agent_price: Array) -> Array:
        """Return what the places that each candidate occupies cost at these prices."""
        padded = np.append(agent_price, 0.0)
        prices: Array = padded[self.agents[0]]
        for layer in self.agents[1:]:
            prices += padded[layer]
        return prices

    def load(self, chosen: Array) -> Array:
        """Return how many tasks each scarce agent gets."""
        counts = np.bincount(self.agents[:, self.rows, chosen].ravel(), minlength=len(self.scarce) + 1)
        return counts[: len(self.scarce)].astype(float)

    def heads(self, seconds: Sequence[float]) -> list[float]:
        """Return when each task can start."""
        start = [0.0] * self.n
        for t, before in enumerate(self.before):
            if before:
                start[t] = max([start[other] + seconds[other] for other in before])
        return start

    def tails(self, seconds: Sequence[float]) -> list[float]:
        """Return how long it takes from the end of each task to the end of the plan."""
        rest = [0.0] * self.n
        for t in range(self.n - 1, -1, -1):
            if self.after[t]:
                rest[t] = max([rest[other] + seconds[other] for other in self.after[t]])
        return rest

    def waiting(self, seconds: Sequence[float]) -> list[float]:
        """Return the time that the longest chain through each task spends on its other tasks."""
        return [start + rest for start, rest in zip(self.heads(seconds), self.tails(seconds), strict=True)]

    def critical_path(self, seconds: Sequence[float]) -> tuple[float, list[int]]:
        """Return the longest chain and its tasks."""
        start = self.heads(seconds)
        finish = [begin + duration for begin, duration in zip(start, seconds, strict=True)]
        length = max(finish, default=0.0)
        path = [finish.index(length)] if finish else []
        while path and self.before[path[-1]]:
            path.append(max(self.before[path[-1]], key=finish.__getitem__))
        return length, path

    def choice(self, chosen: Array) -> Assignment:
        """Return chosen positions as plain numbers."""
        return tuple(chosen.tolist())


class Timetable:
    """When tasks start and how much comes after them, kept up to date as single durations change.

    A change costs as much as the part of the graph whose times it moves, which is small in most plans.
    """

    def __init__(self, tables: ProblemArrays, seconds: Sequence[float]) -> None:
        self._before, self._after = tables.before, tables.after
        self.seconds = list(seconds)
        self.heads, self.tails = tables.heads(self.seconds), tables.tails(self.seconds)

    def length(self) -> float:
        """Return the length of the longest chain."""
        return max(map(sum, zip(self.heads, self.seconds, self.tails, strict=True)), default=0.0)

    def waiting(self, t: int) -> float:
        """Return the time that the longest chain through a task spends on its other tasks."""
        return self.heads[t] + self.tails[t]

    def path(self) -> list[int]:
        """Return the tasks of a longest chain, the last one first."""
        finish = [head + second for head, second in zip(self.heads, self.seconds, strict=True)]
        path = [max(range(len(finish)), key=finish.__getitem__)]
        while self._before[path[-1]]:
            path.append(max(self._before[path[-1]], key=finish.__getitem__))
        return path

    def change(self, t: int, seconds: float) -> None:
        """Let a task take another time."""
        if seconds == self.seconds[t]:
            return
        self.seconds[t] = seconds
        heads, tails, durations = self.heads, self.tails, self.seconds
        queue, known = list(self._after[t]), set(self._after[t])
        heapq.heapify(queue)
        while queue:
            at = heapq.heappop(queue)
            head = max([heads[other] + durations[other] for other in self._before[at]])
            if head != heads[at]:
                heads[at] = head
                for other in self._after[at]:
                    if other not in known:
                        known.add(other)
                        heapq.heappush(queue, other)
        queue, known = [-other for other in self._before[t]], set(self._before[t])
        heapq.heapify(queue)
        while queue:
            at = -heapq.heappop(queue)
            tail = max([tails[other] + durations[other] for other in self._after[at]])
            if tail != tails[at]:
                tails[at] = tail
                for other in self._before[at]:
                    if other not in known:
                        known.add(other)
                        heapq.heappush(queue, -other)


def _unless_empty(some: Array, all_: Array) -> Array:
    kept: Array = np.where(some.any(axis=1, keepdims=True), some, all_)
    return kept
