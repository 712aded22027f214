"""A plan and a lower bound at once, for plans too large to wait for an exact solver.

Theory (Lagrangian relaxation, Fisher 1981). Give every limit a price instead: l for quality, u[a] for a place with a
limited agent, and w[t] for a second on task t. Then each task chooses by itself, and for any prices

    L = sum over t of min over a of (cost - l * quality + u[a] + w[t] * seconds)  +  l * Q - sum u * capacity - F * T

is at most the cost of the best plan, provided w is a flow of size F along chains of the graph (every chain's duration
is at most T, so paying F for them charges no more than F * T). We build w from critical paths that are too long, each
added with some weight, so it is such a flow at any time. Subgradient steps raise L.

What the tasks choose under the prices nearly keeps the limits; `_repair` moves tasks until all are kept, and `_improve`
moves them to cheaper candidates while they stay kept. A feasible plan can be missed where deadlines are tight.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from .assignment import TOLERANCE, Choice, Problem

_STEPS = 150
_REPAIR_EVERY = 10


def search(problem: Problem) -> tuple[Choice | None, float]:
    """Return a plan that keeps the limits, cost aside, or None; and a cost that no such plan can beat."""
    if not problem.slots:
        return (), 0.0
    tables = _Tables(problem)
    limits = problem.limits
    deadline = limits.max_seconds
    needed = limits.min_quality * tables.counted

    quality_price, flow = 0.0, 0.0
    agent_price = np.zeros(len(tables.scarce))
    second_price = np.zeros(tables.n)
    best: Choice | None = None
    best_cost = np.inf
    bound = 0.0
    pace, since_rise = 1.0, 0
    typical = float(tables.cost[tables.real].mean()) or 1.0

    for step in range(_STEPS):
        reduced = tables.cost - quality_price * tables.quality + second_price[:, None] * tables.seconds
        reduced += tables.prices_of(agent_price)
        chosen = reduced.argmin(axis=1)
        value = float(reduced[tables.rows, chosen].sum()) + quality_price * needed
        value -= float(agent_price @ tables.capacity) + (flow * deadline if deadline is not None else 0.0)
        if value > bound:
            bound, since_rise = value, 0
        else:
            since_rise += 1
            if since_rise >= 8:
                pace, since_rise = pace * 0.7, 0

        if step % _REPAIR_EVERY == 0 or step == _STEPS - 1:
            plan = _Plan(problem, tables, chosen.copy())
            if plan.repair(reduced):
                plan.improve()
                if plan.cost() < best_cost:
                    best, best_cost = plan.choice(), plan.cost()

        missing = needed - float(tables.quality[tables.rows, chosen].sum())
        crowd = tables.load(chosen) - tables.capacity
        late, path = (0.0, np.zeros(0, dtype=int)) if deadline is None else tables.critical_path(chosen)
        late = late - deadline if deadline is not None else 0.0

        # Polyak's step towards the best known cost; quality and places are relaxed per unit, time per second.
        target = best_cost if np.isfinite(best_cost) else bound + typical * tables.n * 0.2
        steepness = missing**2 + float(crowd @ crowd) + (late**2 if late > 0 else 0.0)
        if steepness <= 0 or target - value <= TOLERANCE * max(1.0, abs(target)):
            if late >= 0 and not flow:
                break
            size = 0.0
        else:
            size = pace * (target - value) / steepness
        quality_price = max(0.0, quality_price + size * missing)
        agent_price = np.maximum(0.0, agent_price + size * crowd)
        if late > 0:
            second_price[path] += size * late
            flow += size * late
        elif flow:
            second_price *= 0.9
            flow *= 0.9
    return best, max(0.0, bound)


class _Tables:
    """The problem as arrays, one row per task, padded with candidates that nobody would choose."""

    def __init__(self, problem: Problem) -> None:
        slots = problem.slots
        width = max(len(slot.candidates) for slot in slots)
        self.n = len(slots)
        self.rows = np.arange(self.n)
        self.real = np.zeros((self.n, width), dtype=bool)
        self.cost = np.full((self.n, width), np.inf)
        self.seconds = np.zeros((self.n, width))
        self.quality = np.zeros((self.n, width))
        self.scarce = {agent: number for number, agent in enumerate(problem.limits.capacity)}
        self.agent = np.full((self.n, width), len(self.scarce))
        self.capacity = np.array(list(problem.limits.capacity.values()), dtype=float)
        self.counted = sum(slot.counts for slot in slots)
        self.before = [slot.before for slot in slots]
        self.after: list[list[int]] = [[] for _ in slots]
        for t, slot in enumerate(slots):
            for before in slot.before:
                self.after[before].append(t)
            for at, one in enumerate(slot.candidates):
                self.real[t, at] = True
                self.cost[t, at], self.seconds[t, at] = one.cost, one.seconds
                self.quality[t, at] = one.quality if slot.counts else 0.0
                self.agent[t, at] = self.scarce.get(one.agent, len(self.scarce))

    def prices_of(self, agent_price: np.ndarray) -> np.ndarray:
        prices: np.ndarray = np.append(agent_price, 0.0)[self.agent]
        return prices

    def load(self, chosen: np.ndarray) -> np.ndarray:
        counts = np.bincount(self.agent[self.rows, chosen], minlength=len(self.scarce) + 1)
        return counts[: len(self.scarce)].astype(float)

    def heads(self, seconds: list[float]) -> list[float]:
        """Return when each task can start."""
        start = [0.0] * self.n
        for t, before in enumerate(self.before):
            if before:
                start[t] = max([start[other] + seconds[other] for other in before])
        return start

    def tails(self, seconds: list[float]) -> list[float]:
        """Return how long it takes from the end of each task to the end of the plan."""
        rest = [0.0] * self.n
        for t in range(self.n - 1, -1, -1):
            if self.after[t]:
                rest[t] = max([rest[other] + seconds[other] for other in self.after[t]])
        return rest

    def critical_path(self, chosen: np.ndarray) -> tuple[float, np.ndarray]:
        seconds = self.seconds[self.rows, chosen].tolist()
        start = self.heads(seconds)
        t = max(range(self.n), key=lambda one: start[one] + seconds[one])
        length, path = start[t] + seconds[t], [t]
        while self.before[t]:
            t = max(self.before[t], key=lambda one: start[one] + seconds[one])
            path.append(t)
        return length, np.array(path)


class _Plan:
    """A choice that is being changed, one task at a time."""

    def __init__(self, problem: Problem, tables: _Tables, chosen: np.ndarray) -> None:
        self.tables = tables
        self.chosen = chosen
        self.limits = problem.limits
        self.needed = problem.limits.min_quality * tables.counted
        self.deadline = problem.limits.max_seconds
        self.load = Counter({int(k): int(v) for k, v in enumerate(tables.load(chosen))})

    def choice(self) -> Choice:
        return tuple(int(position) for position in self.chosen)

    def cost(self) -> float:
        return float(self.tables.cost[self.tables.rows, self.chosen].sum())

    def repair(self, reduced: np.ndarray) -> bool:
        """Move tasks until all limits but that on cost are kept; False if that gets stuck."""
        return self._shed_load(reduced) and self._get_faster(reduced) and self._get_better()

    def improve(self) -> None:
        """Move tasks to cheaper candidates while all limits stay kept, the largest saving first."""
        tables = self.tables
        saving = tables.cost[tables.rows, self.chosen][:, None] - tables.cost
        slack = self._quality() - self.needed
        room = self._room()
        for t, at in _ascending(-saving, saving > 0):
            now = int(self.chosen[t])
            loss = tables.quality[t, now] - tables.quality[t, at]
            slower = tables.seconds[t, at] > tables.seconds[t, now]
            if (
                tables.cost[t, at] >= tables.cost[t, now]
                or loss > slack
                or (slower and tables.seconds[t, at] > room[t])
            ):
                continue
            if self._has_place(t, at):
                self._move(t, at)
                slack -= loss
                if slower:
                    room = self._room()

    def _shed_load(self, reduced: np.ndarray) -> bool:
        tables = self.tables
        for agent, capacity in enumerate(tables.capacity.tolist()):
            while self.load[agent] > capacity:
                mine = np.flatnonzero(tables.agent[tables.rows, self.chosen] == agent)
                full = [other for other, most in enumerate(tables.capacity.tolist()) if self.load[other] >= most]
                price = np.where(np.isin(tables.agent[mine], full), np.inf, reduced[mine])
                price = price - reduced[mine, self.chosen[mine]][:, None]
                flat = int(np.argmin(price))
                row, at = divmod(flat, price.shape[1])
                if not np.isfinite(price[row, at]):
                    return False
                self._move(int(mine[row]), at)
        return True

    def _get_faster(self, reduced: np.ndarray) -> bool:
        if self.deadline is None:
            return True
        tables = self.tables
        for _ in range(2 * tables.n):
            length, path = tables.critical_path(self.chosen)
            if length <= self.deadline * (1 + TOLERANCE):
                return True
            gain = tables.seconds[path, self.chosen[path]][:, None] - tables.seconds[path]
            price = np.maximum(reduced[path] - reduced[path, self.chosen[path]][:, None], 1e-12)
            ratio = np.where((gain > 0) & tables.real[path], price / np.maximum(gain, 1e-12), np.inf)
            for flat in np.argsort(ratio, axis=None, kind="stable").tolist():
                row, at = divmod(flat, ratio.shape[1])
                if not np.isfinite(ratio[row, at]):
                    return False
                if self._has_place(int(path[row]), at):
                    self._move(int(path[row]), at)
                    break
            else:
                return False
        return False

    def _get_better(self) -> bool:
        tables = self.tables
        missing = self.needed - self._quality()
        enough = TOLERANCE * max(1.0, self.needed)
        moved = True
        while missing > enough and moved:
            moved = False
            gain = tables.quality - tables.quality[tables.rows, self.chosen][:, None]
            price = np.maximum(tables.cost - tables.cost[tables.rows, self.chosen][:, None], 1e-12)
            room = self._room()
            fits = (gain > 0) & tables.real & (tables.seconds <= np.array(room)[:, None])
            touched = set()
            for t, at in _ascending(price / np.maximum(np.minimum(gain, missing), 1e-12), fits):
                if missing <= enough:
                    break
                if t in touched or tables.seconds[t, at] > room[t] or not self._has_place(t, at):
                    continue
                slower = tables.seconds[t, at] > tables.seconds[t, self.chosen[t]]
                self._move(t, at)
                touched.add(t)
                missing -= gain[t, at]
                moved = True
                if slower:
                    room = self._room()
        return missing <= enough

    def _quality(self) -> float:
        return float(self.tables.quality[self.tables.rows, self.chosen].sum())

    def _room(self) -> list[float]:
        """Return how long each task may take, the others as they are."""
        if self.deadline is None:
            return [float("inf")] * self.tables.n
        seconds = self.tables.seconds[self.tables.rows, self.chosen].tolist()
        latest = self.deadline * (1 + TOLERANCE)
        starts, rests = self.tables.heads(seconds), self.tables.tails(seconds)
        return [latest - start - rest for start, rest in zip(starts, rests, strict=True)]

    def _has_place(self, t: int, at: int) -> bool:
        agent = int(self.tables.agent[t, at])
        if agent == len(self.tables.scarce) or agent == int(self.tables.agent[t, self.chosen[t]]):
            return True
        return bool(self.load[agent] < self.tables.capacity[agent])

    def _move(self, t: int, at: int) -> None:
        self.load[int(self.tables.agent[t, self.chosen[t]])] -= 1
        self.load[int(self.tables.agent[t, at])] += 1
        self.chosen[t] = at


def _ascending(value: np.ndarray, allowed: np.ndarray) -> list[list[int]]:
    """Return (row, column) of the allowed entries, the smallest value first."""
    moves = np.argwhere(allowed)
    order = np.argsort(value[moves[:, 0], moves[:, 1]], kind="stable")
    ordered: list[list[int]] = moves[order].tolist()
    return ordered
