"""Small plans, solved exactly in plain Python: milliseconds, where loading NumPy and HiGHS takes a tenth of a second.

Theory. Prices for the limits give every candidate a reduced cost and the plan a lower bound (Lagrangian relaxation, as
in `lagrangian`, which has the formula). Then depth first, tasks in topological order, candidates by reduced cost: what
the choices so far have lost in reduced cost, added to the bound, is a lower bound of every plan that continues them. A
branch ends where that is above the best plan known, or where a limit cannot be kept any more however fast or good the
rest is. Ties end it too: where the cost can only be equalled, the rest must be able to gain in quality, then in
seconds, then in choices kept. So a search that ends before its node limit proves the best plan of all by
`AssignmentProblem.rank`, or that there is none.

Deterministic: it counts nodes and knows no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .assignment import TOLERANCE, Assignment, AssignmentProblem, round_off

Row = tuple[float, float, float, tuple[int, ...], int, float]
"""Of a candidate: cost, quality that counts, seconds, scarce agents it occupies, position, quality lost."""

_STEPS = 60
_DIVES = {10: 120, 20: 200, 30: 250, 45: 300}
"""After so many steps of the prices a plan is looked for, in so many nodes: prices rise best towards a good plan."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Branched:
    """What the search came to."""

    choice: Assignment | None
    """The best plan found that keeps all limits."""
    bound: float
    """No plan that keeps the limits costs less."""
    exhausted: bool
    """Whether the plan is proven the best by `AssignmentProblem.rank`; without a plan, that there is none."""


def branch(
    problem: AssignmentProblem,
    kept: Sequence[Sequence[int]],
    *,
    nodes: int,
    found: Callable[[Assignment], None] = lambda choice: None,
) -> Branched:
    """Return the best plan that a search of so many nodes finds, of the candidates kept (see `Reduced.kept`).

    `found` gets every plan that is better than those before.
    """
    if not problem.slots:
        return Branched(choice=(), bound=0.0, exhausted=True)
    search = _Search(problem, kept, found)
    search.raise_bound()
    exhausted = search.descend(nodes)
    bound = search.bound
    if exhausted and search.best is not None:
        bound = max(bound, search.best_cost)
    return Branched(choice=search.best, bound=max(0.0, bound), exhausted=exhausted)


class _Search:
    def __init__(
        self, problem: AssignmentProblem, kept: Sequence[Sequence[int]], found: Callable[[Assignment], None]
    ) -> None:
        self.problem, self.found = problem, found
        slots, limits = problem.slots, problem.limits
        self.n = len(slots)
        possible = Counter(
            agent
            for slot, positions in zip(slots, kept, strict=True)
            for agent in {agent for at in positions for agent in slot.candidates[at].occupied}
        )
        limited = [agent for agent, most in limits.capacity.items() if possible[agent] > most]
        scarce = {agent: at for at, agent in enumerate(limited)}
        self.capacity = [limits.capacity[agent] for agent in limited]
        self.needed = limits.min_quality * sum(slot.counts for slot in slots)
        self.deadline = limits.max_seconds
        most = limits.max_cost
        self.max_cost = float("inf") if most is None else most + TOLERANCE * max(1.0, most)
        self.candidates: list[list[Row]] = [
            [
                (
                    one.cost,
                    one.quality if slot.counts else 0.0,
                    one.seconds,
                    tuple(scarce[agent] for agent in one.occupied if agent in scarce),
                    at,
                    1 - one.quality,
                )
                for at, one in ((at, slot.candidates[at]) for at in positions)
                if slot.admits(one)
            ]
            for slot, positions in zip(slots, kept, strict=True)
        ]
        self.hopeless = not all(self.candidates)
        self.best: Assignment | None = None
        self.best_cost = float("inf")
        self.best_rank: tuple[float, float, float, int] = (float("inf"), 0.0, 0.0, 0)
        self.bound = float("-inf")
        self.losses: list[list[float]] = [[0.0] * len(some) for some in self.candidates]
        """What each candidate's reduced cost is above the least of its task, at the prices of the bound."""
        if self.hopeless:
            return
        self.best_quality = self._rests(lambda some: max(one[1] for one in some))
        self.least_lost = self._rests(lambda some: min(one[5] for one in some))
        self.least_seconds = self._rests(lambda some: min(one[2] for one in some))
        self.least_changes = self._rests(lambda some: float(min(one[4] != 0 for one in some)))
        fastest = [min(one[2] for one in some) for some in self.candidates]
        self.tails = [0.0] * self.n
        for t in range(self.n - 1, -1, -1):
            for before in slots[t].before:
                self.tails[before] = max(self.tails[before], self.tails[t] + fastest[t])

    def _rests(self, of: Callable[[list[Row]], float]) -> list[float]:
        """Return, for each task, the sum over it and all after it."""
        rests = [0.0]
        for some in reversed(self.candidates):
            rests.append(rests[-1] + of(some))
        return rests[::-1]

    def raise_bound(self) -> None:
        """Take subgradient steps; see `lagrangian.search`, which takes the same ones on arrays."""
        if self.hopeless:
            return
        n, candidates = self.n, self.candidates
        scale = sum(max(one[1] for one in some) - min(one[1] for one in some) for some in candidates) / n / 2 or 1.0
        unit = sum(max(one[2] for one in some) - min(one[2] for one in some) for some in candidates) / n / 2 or 1.0
        quality_price, flow = 0.0, 0.0
        agent_price = [0.0] * len(self.capacity)
        second_price = [0.0] * n
        pace, since_rise = 1.0, 0
        for step in range(_STEPS):
            value = quality_price * self.needed - flow * (self.deadline or 0.0)
            value -= sum(map(float.__mul__, agent_price, map(float, self.capacity)))
            quality = 0.0
            seconds, load, reduced = [], [-float(most) for most in self.capacity], []
            for some, price in zip(candidates, second_price, strict=True):
                costs = [one[0] - quality_price * one[1] + price * one[2] for one in some]
                if agent_price:
                    for at, one in enumerate(some):
                        for agent in one[3]:
                            costs[at] += agent_price[agent]
                least = min(costs)
                chosen = some[costs.index(least)]
                value += least
                quality += chosen[1]
                seconds.append(chosen[2])
                for agent in chosen[3]:
                    load[agent] += 1.0
                reduced.append((least, costs))
            if value > self.bound:
                self.bound, since_rise = value, 0
                self.losses = [[cost - least for cost in costs] for least, costs in reduced]
            else:
                since_rise += 1
                if since_rise >= 5:
                    pace, since_rise = pace * 0.7, 0
            if step in _DIVES and (self.best is None or self.best_cost > self.bound * (1 + TOLERANCE)):
                self.descend(_DIVES[step])

            late, path = 0.0, [0]
            if self.deadline is not None:
                finish = self.problem.finish_times(seconds)
                path = [max(range(n), key=finish.__getitem__)]
                late = (finish[path[0]] - self.deadline) / unit
                while before := self.problem.slots[path[-1]].before:
                    path.append(max(before, key=finish.__getitem__))
            missing = (self.needed - quality) / scale
            missing = missing if missing > 0 or quality_price else 0.0
            crowd = [over if over > 0 or price else 0.0 for over, price in zip(load, agent_price, strict=True)]
            steepness = missing**2 + sum(over * over for over in crowd) + max(0.0, late) ** 2
            target = self.best_cost if self.best is not None else max(1.2 * self.bound, 1e-9)
            if steepness <= 0 or target <= value:
                if not flow:
                    return
                size = 0.0
            else:
                size = pace * (target - value) / steepness
            quality_price = max(0.0, quality_price + size * missing / scale)
            agent_price = [max(0.0, price + size * over) for price, over in zip(agent_price, crowd, strict=True)]
            if late > 0:
                flow += size * late / unit
                for t in path:
                    second_price[t] += size * late / unit
            elif flow:
                flow *= 0.9
                second_price = [0.9 * price for price in second_price]

    def descend(self, nodes: int) -> bool:
        """Search depth first; return whether everything was seen or ruled out within so many nodes."""
        if self.hopeless:
            return True
        slots, needed = self.problem.slots, self.needed - TOLERANCE * max(1.0, self.needed)
        latest = float("inf") if self.deadline is None else self.deadline + TOLERANCE * max(1.0, self.deadline)
        load, finish, chosen = [0] * len(self.capacity), [0.0] * self.n, [0] * self.n
        # Where prices leave several candidates equal, the better one first finds better plans sooner.
        orders = [
            sorted(zip(losses, some, strict=True), key=lambda pair: (pair[0], -pair[1][1], pair[1][2]))
            for losses, some in zip(self.losses, self.candidates, strict=True)
        ]
        left = nodes
        base = max(self.bound, 0.0) if self.bound == float("-inf") else self.bound

        def visit(
            t: int, lost_value: float, cost: float, quality: float, lost: float, seconds: float, changes: int
        ) -> bool:
            nonlocal left
            left -= 1
            if left < 0:
                return False
            if t == self.n:
                self._take(tuple(chosen), cost)
                return True
            start = max([finish[before] for before in slots[t].before], default=0.0)
            rest = self.tails[t]
            for loss, (price, good, duration, agents, at, lack) in orders[t]:
                least = base + lost_value + loss
                ceiling = min(self.best_cost, self.max_cost)
                if least > ceiling + 1e-8 * max(1e-6, abs(ceiling)):
                    break
                if start + duration + rest > latest or quality + good + self.best_quality[t + 1] < needed:
                    continue
                if any(load[agent] >= self.capacity[agent] for agent in agents):
                    continue
                if least >= self.best_cost - 1e-10 * abs(self.best_cost) and self._only_ties_worse(
                    lost + lack + self.least_lost[t + 1],
                    seconds + duration + self.least_seconds[t + 1],
                    changes + (at != 0) + self.least_changes[t + 1],
                ):
                    continue
                for agent in agents:
                    load[agent] += 1
                finish[t], chosen[t] = start + duration, at
                whole = visit(
                    t + 1,
                    lost_value + loss,
                    cost + price,
                    quality + good,
                    lost + lack,
                    seconds + duration,
                    changes + (at != 0),
                )
                for agent in agents:
                    load[agent] -= 1
                if not whole:
                    return False
            return True

        return visit(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)

    def _only_ties_worse(self, lost: float, seconds: float, changes: float) -> bool:
        """Whether a plan of equal cost that has at least these is no better than the best one."""
        _, best_lost, best_seconds, best_changes = self.best_rank
        close = 1e-8
        if abs(lost - best_lost) > close * max(1e-6, best_lost):
            return lost > best_lost
        if abs(seconds - best_seconds) > close * max(1e-6, best_seconds):
            return seconds > best_seconds
        return changes >= best_changes and round_off(lost) >= best_lost and round_off(seconds) >= best_seconds

    def _take(self, choice: Assignment, cost: float) -> None:
        if cost > self.best_cost * (1 + 1e-8):
            return
        rank = self.problem.rank(choice)
        if (self.best is None or rank < self.best_rank) and self.problem.allows(choice):
            cheaper = self._cheapen(choice)
            if cheaper != choice and self.problem.allows(cheaper):
                choice, rank = cheaper, self.problem.rank(cheaper)
            self.best, self.best_rank = choice, rank
            self.best_cost = self.problem.totals(choice).cost
            self.found(choice)

    def _cheapen(self, choice: Assignment) -> Assignment:
        """Return the plan after single moves, always the one that saves most, until none keeps the limits and saves.

        A plan found by depth-first search pays for whatever its last tasks had to make good.
        """
        slots, latest = self.problem.slots, float("inf") if self.deadline is None else self.deadline
        chosen = [next(one for one in some if one[4] == at) for some, at in zip(self.candidates, choice, strict=True)]
        load = Counter(agent for one in chosen for agent in one[3])
        while True:
            spare = sum(one[1] for one in chosen) - self.needed
            finish = self.problem.finish_times([one[2] for one in chosen])
            rests = [0.0] * self.n
            for t in range(self.n - 1, -1, -1):
                for before in slots[t].before:
                    rests[before] = max(rests[before], rests[t] + chosen[t][2])
            most, move = 0.0, None
            for t, (some, now) in enumerate(zip(self.candidates, chosen, strict=True)):
                room = latest - rests[t] - finish[t] + now[2]
                for one in some:
                    if (
                        now[0] - one[0] > most
                        and now[1] - one[1] <= spare
                        and one[2] <= max(room, now[2])
                        and all(load[agent] < self.capacity[agent] or agent in now[3] for agent in one[3])
                    ):
                        most, move = now[0] - one[0], (t, one)
            if move is None:
                return tuple(one[4] for one in chosen)
            t, one = move
            load.subtract(chosen[t][3])
            load.update(one[3])
            chosen[t] = one
